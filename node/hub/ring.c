// SPDX-License-Identifier: MIT
// The ring: recent frames of one channel on one loop.
#include "chatnode/ring.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 4 };

static uint32_t round_up(size_t n)
{
    uint32_t power = FIRST_SLOTS;
    while (power < n)
        power *= 2;
    return power;
}

void cn_ring_init(struct cn_ring *ring, size_t max_frames, size_t max_bytes, struct cn_pos floor)
{
    CN_ASSERT(max_frames <= CN_RING_FRAMES_MAX);
    *ring = (struct cn_ring){
        .max_frames = round_up(max_frames), .max_bytes = max_bytes, .floor = floor};
}

static struct cn_frame **slot_of(const struct cn_ring *ring, uint64_t ordinal)
{
    return &ring->slots[ordinal & (ring->slot_count - 1)];
}

struct cn_frame *cn_ring_at(const struct cn_ring *ring, uint64_t ordinal)
{
    CN_ASSERT(ordinal >= ring->first && ordinal < ring->next);
    return *slot_of(ring, ordinal);
}

static void evict_first(struct cn_ring *ring)
{
    struct cn_frame *frame = cn_ring_at(ring, ring->first);
    if (!cn_pos_is_zero(frame->pos))
        ring->floor = frame->pos;
    ring->bytes -= frame->len;
    ring->first++;
    cn_frame_release(frame);
}

void cn_ring_fini(struct cn_ring *ring)
{
    while (ring->first < ring->next)
        evict_first(ring);
    free(ring->slots);
    ring->slots = NULL;
    ring->slot_count = 0;
}

static size_t held(const struct cn_ring *ring)
{
    return (size_t)(ring->next - ring->first);
}

uint64_t cn_ring_first_with(const struct cn_ring *ring, size_t len)
{
    uint64_t first = ring->first + (held(ring) == ring->max_frames);
    size_t bytes = ring->bytes + len;
    for (uint64_t i = ring->first; i < ring->next && (i < first || bytes > ring->max_bytes); i++) {
        bytes -= cn_ring_at(ring, i)->len;
        first = i + 1;
    }
    return first;
}

static enum cn_err grow(struct cn_ring *ring)
{
    uint32_t slot_count = ring->slot_count ? ring->slot_count * 2 : FIRST_SLOTS;
    struct cn_frame **slots = calloc(slot_count, sizeof(struct cn_frame *));
    if (!slots)
        return CN_NOMEM;
    for (uint64_t i = ring->first; i < ring->next; i++)
        slots[i & (slot_count - 1)] = *slot_of(ring, i);
    free(ring->slots);
    ring->slots = slots;
    ring->slot_count = slot_count;
    return CN_OK;
}

enum cn_err cn_ring_append(struct cn_ring *ring, struct cn_frame *frame)
{
    uint64_t first = cn_ring_first_with(ring, frame->len);
    while (ring->first < first)
        evict_first(ring);
    if (held(ring) == ring->slot_count) {
        enum cn_err err = grow(ring);
        if (err)
            return err;
    }
    *slot_of(ring, ring->next) = cn_frame_hold(frame);
    ring->bytes += frame->len;
    ring->next++;
    return CN_OK;
}

void cn_ring_skip(struct cn_ring *ring, struct cn_pos floor)
{
    while (ring->first < ring->next)
        evict_first(ring);
    ring->next++;
    ring->first = ring->next;
    ring->floor = floor;
}

// True when the ring begins with a gap: what the channel lost is before it, the floor after it.
static bool begins_with_gap(const struct cn_ring *ring)
{
    return ring->first < ring->next && cn_pos_is_zero(cn_ring_at(ring, ring->first)->pos);
}

// The first frame for who has the floor: the gap is not for him. (But 0-0 is no entry: who knows
// only that may have missed what was before the gap.)
static uint64_t after_floor(const struct cn_ring *ring)
{
    return ring->first + (begins_with_gap(ring) && !cn_pos_is_zero(ring->floor));
}

enum cn_err cn_ring_after(const struct cn_ring *ring, struct cn_pos pos, uint64_t *ordinal)
{
    for (uint64_t i = ring->next; i > ring->first; i--) {
        struct cn_pos at = cn_ring_at(ring, i - 1)->pos;
        if (!cn_pos_is_zero(at) && cn_pos_compare(at, pos) == 0) {
            *ordinal = i;
            return CN_OK;
        }
    }
    if (cn_pos_is_zero(pos) || cn_pos_compare(ring->floor, pos) != 0)
        return CN_NOTFOUND;
    *ordinal = after_floor(ring);
    return CN_OK;
}

enum cn_err cn_ring_from(const struct cn_ring *ring, struct cn_pos pos, uint64_t *ordinal)
{
    for (uint64_t i = ring->next; i > ring->first; i--) {
        struct cn_pos at = cn_ring_at(ring, i - 1)->pos;
        if (!cn_pos_is_zero(at) && cn_pos_compare(at, pos) <= 0) {
            *ordinal = i;
            return CN_OK;
        }
    }
    if (cn_pos_compare(ring->floor, pos) > 0)
        return CN_NOTFOUND;
    *ordinal = after_floor(ring);
    return CN_OK;
}

// Who has the gap goes on from the floor: it is the first frame as long as it is held.
static struct cn_pos pos_behind(const struct cn_ring *ring, const struct cn_frame *frame)
{
    return cn_pos_is_zero(frame->pos) ? ring->floor : frame->pos;
}

static void add_frame(const struct cn_ring *ring, struct cn_buf *scratch, struct cn_span *span)
{
    const struct cn_frame *frame = cn_ring_at(ring, span->end++);
    memcpy(scratch->data + scratch->len, frame->bytes, frame->len);
    scratch->len += frame->len;
    span->pos = pos_behind(ring, frame);
}

void cn_ring_span(const struct cn_ring *ring, uint64_t from, uint64_t to, struct cn_buf *scratch,
                  struct cn_span *span)
{
    CN_ASSERT(from < to);
    const struct cn_frame *first = cn_ring_at(ring, from);
    span->end = from;
    scratch->len = 0;
    if (from + 1 == to || first->len > scratch->cap) {
        span->bytes = (struct cn_str){(const char *)first->bytes, first->len};
        span->end++;
        span->pos = pos_behind(ring, first);
        return;
    }
    while (span->end < to && scratch->len + cn_ring_at(ring, span->end)->len <= scratch->cap)
        add_frame(ring, scratch, span);
    span->bytes = cn_buf_str(scratch);
}
