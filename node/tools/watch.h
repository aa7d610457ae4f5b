// SPDX-License-Identifier: MIT
// The check of what arrives: nothing lost, nothing twice, one order for all members of a room.
//
// What one room's members receive is one common stream of bytes. The member that is foremost parses
// what it gets and extends the stream; the others are compared with it (memcmp), which is the check
// and costs next to nothing. Who receives something else than the stream is followed by itself
// from then on, by the numbers and the content of the messages.
#ifndef CHATNODE_TOOLS_WATCH_H
#define CHATNODE_TOOLS_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/check.h"
#include "histogram.h"

// ---- The stamp at the beginning of each message's content ----

enum { CN_STAMP_BYTES = 40 };

struct cn_stamp {
    unsigned tag;  // 16 bits: of the run
    unsigned room; // 24 bits
    unsigned lane; // 16 bits: which of those who write to the room
    uint32_t seq;  // from 0, of this lane
    unsigned slot; // 16 bits: the sender's own
    bool again;    // it was refused before, and may have been overtaken
    int64_t due_us;
    const char *content; // as it was found: where it begins. Not written
};

void cn_stamp_write(const struct cn_stamp *stamp, char out[CN_STAMP_BYTES]);

// Finds a stamp of the run `tag` in the text; false when there is none.
CN_MUSTCHECK bool cn_stamp_find(const char *text, size_t len, unsigned tag, struct cn_stamp *out);

// ---- Numbers of one lane ----

// Zeroed: nothing has come yet.
struct cn_sequence {
    uint32_t next; // one past the highest that has come
    uint64_t seen; // bit k: next - 1 - k has come
};

enum cn_sequence_verdict { CN_SEQUENCE_NEW, CN_SEQUENCE_LATE, CN_SEQUENCE_DOUBLE };

// Takes notice of a number. Late is one that was passed over up to 63 numbers ago; what is older
// than that counts as doubled.
enum cn_sequence_verdict cn_sequence_note(struct cn_sequence *sequence, uint32_t seq);

// ---- What the streams of a process share ----

// One thread.
struct cn_watch {
    struct cn_histogram *latency; // of what was due at `measured_from_us` or later
    int64_t measured_from_us;
    uint64_t deliveries; // each message at each member, once
    uint64_t measured;   // those of them that are in `latency`
    uint64_t duplicates;
    uint64_t disordered;
    bool overflowed; // a member is too far behind: the stream had to be cut off
    size_t payload;  // length of each content, which is part of the order's hash
    // All members of a stream have this message.
    void (*on_complete)(void *context, unsigned room, unsigned lane, unsigned slot);
    void *context;
};

// ---- One room ----

struct cn_watch_entry {
    uint64_t begin; // in the stream
    uint64_t end;
    int64_t due_us;        // as the stamp says
    uint64_t order_before; // the stream's hash without it
    uint32_t got;          // members that have it
    uint32_t behind;       // members that follow the stream and are not here yet
    uint32_t seq;
    uint32_t next_before; // of its lane, before it came
    uint16_t lane;
    uint16_t slot;
    bool again;
    enum cn_sequence_verdict verdict;
};

struct cn_stream {
    struct cn_watch *watch;
    unsigned room;
    uint32_t members; // in this process
    unsigned lane_count;
    struct cn_sequence *lanes; // as the foremost member has them
    char *bytes;
    size_t cap;
    uint64_t base; // the stream's offset of bytes[0]
    uint64_t end;
    struct cn_watch_entry *entries; // a ring: number n is at n & (entry_cap - 1)
    size_t entry_cap;
    uint64_t first; // entries before it have been forgotten
    uint64_t held;  // the first one whose bytes are needed; what is before it all followers have
    uint64_t next;
    uint64_t order;                // a hash of all entries in their order
    struct cn_watch_member *alone; // those who have left the stream
    uint32_t alone_count;
};

// Zeroed: nothing has come yet.
struct cn_watch_member {
    uint64_t next;           // the entry that must come
    uint64_t at;             // where it begins in the stream
    uint64_t unique;         // messages, without those that came twice
    struct cn_sequence *own; // once it has left the stream; a sequence for each lane
    uint64_t order;          // and the hash of what it received. `next` is then where to look
    struct cn_watch_member *next_alone;
};

// False without memory. A stream takes no memory for bytes before the first message.
CN_MUSTCHECK bool cn_stream_init(struct cn_stream *stream, struct cn_watch *watch, unsigned room,
                                 uint32_t members, unsigned lanes);
void cn_stream_fini(struct cn_stream *stream);

// Takes the whole messages at the beginning of the bytes that are the next ones of the stream;
// returns how many bytes they are.
size_t cn_stream_follow(struct cn_stream *stream, struct cn_watch_member *member, const char *bytes,
                        size_t len, int64_t now_us);

// Takes one message that cn_stream_follow did not: `bytes` are the whole piece, `stamp` what was
// found in it; its room is the stream's. The member stays where it is until cn_stream_fini.
void cn_stream_take(struct cn_stream *stream, struct cn_watch_member *member, const char *bytes,
                    size_t len, const struct cn_stamp *stamp, int64_t now_us);

// At the end, when nothing was lost: members that received something else than the others, or in
// another order. What comes twice or late explains that, and has been counted.
uint32_t cn_stream_reordered(const struct cn_stream *stream);

#endif
