// SPDX-License-Identifier: MIT
// The ring: the recent frames of one channel on one loop, addressed by ordinals that only grow. It
// serves lagging members and returning ones alike. One owner, no locking.
#ifndef CHATNODE_RING_H
#define CHATNODE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/frame.h"
#include "chatnode/pos.h"

// Holds frames [first, next). Every entry after `floor` is among them, without a hole.
struct cn_ring {
    struct cn_frame **slots; // NULL while it never held a frame
    uint32_t slot_count;     // a power of two
    uint32_t max_frames;     // the same
    uint64_t first;
    uint64_t next;
    size_t bytes;
    size_t max_bytes;
    struct cn_pos floor; // the entry before the first one held: the channel's position when empty
};

enum { CN_RING_FRAMES_MAX = 1 << 30 };

// An empty ring that allocates nothing yet. `max_frames` is rounded up to a power of two.
void cn_ring_init(struct cn_ring *ring, size_t max_frames, size_t max_bytes, struct cn_pos floor);

// Releases all frames; legal twice.
void cn_ring_fini(struct cn_ring *ring);

// What `first` will be once a frame of `len` bytes has been appended: all before it is evicted.
uint64_t cn_ring_first_with(const struct cn_ring *ring, size_t len);

// Appends a reference of its own to `frame`, evicting the oldest beyond the bounds (a single frame
// larger than max_bytes is held all the same). CN_NOMEM: nothing changed.
CN_MUSTCHECK enum cn_err cn_ring_append(struct cn_ring *ring, struct cn_frame *frame);

// Something will be appended soon: the frame that may have to go for it came long ago, and its
// memory is fetched meanwhile. Inline in any case: GCC takes a function that only prefetches for
// one without effect.
static inline __attribute__((always_inline)) void cn_ring_expect(const struct cn_ring *ring)
{
    if (ring->first < ring->next)
        __builtin_prefetch(ring->slots[ring->first & (ring->slot_count - 1)]);
}

// Drops all frames, and one ordinal more, so that whoever had read up to `next` knows that he
// missed something. The channel goes on after `floor`.
void cn_ring_skip(struct cn_ring *ring, struct cn_pos floor);

// The frame at an ordinal in [first, next), borrowed.
struct cn_frame *cn_ring_at(const struct cn_ring *ring, uint64_t ordinal);

// The ordinal of the first frame after the entry at `pos`. CN_NOTFOUND unless that entry is held or
// is the floor. 0-0 is no entry: whether anything was lost since only the log can tell.
CN_MUSTCHECK enum cn_err cn_ring_after(const struct cn_ring *ring, struct cn_pos pos,
                                       uint64_t *ordinal);

// The ordinal of the first frame after `pos`, whether or not the entry at `pos` is held.
// CN_NOTFOUND when `pos` is before the floor, so that entries after it may be missing.
CN_MUSTCHECK enum cn_err cn_ring_from(const struct cn_ring *ring, struct cn_pos pos,
                                      uint64_t *ordinal);

// A part of the ring as contiguous bytes.
struct cn_span {
    struct cn_str bytes; // valid until the ring or the scratch changes
    uint64_t end;        // the ordinal behind it
    struct cn_pos pos;   // of its last entry; behind a gap, where the channel goes on
};

// The frames [from, to) as one span, cut at a frame's end so that it fits into `scratch`, which
// must have its bytes allocated (a single larger frame comes whole). One frame is given as it
// stands; several are joined in `scratch`, whose former content is lost. `from` < `to`, both within
// the ring.
void cn_ring_span(const struct cn_ring *ring, uint64_t from, uint64_t to, struct cn_buf *scratch,
                  struct cn_span *span);

#endif
