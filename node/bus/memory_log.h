// SPDX-License-Identifier: MIT
// One channel's log in memory, with the same rules as a Redis stream under XADD MAXLEN.
#ifndef CHATNODE_MEMORY_LOG_H
#define CHATNODE_MEMORY_LOG_H

#include "chatnode/bus.h"

struct cn_memory_entry;

// Zeroed memory is an empty log. One owner, no locking.
struct cn_memory_log {
    struct cn_memory_entry **ring; // `count` entries from `first` on, oldest first
    size_t cap;                    // slots of the ring, a power of two or 0
    size_t first;
    size_t count;
    uint64_t added; // entries ever appended since the log was empty: as a stream's entries-added
};

// Frees all entries: the log is empty then, as if it had never been.
void cn_memory_log_clear(struct cn_memory_log *log);

// Appends an entry with the finished text of `body`, dropping the oldest beyond `keep`. The text
// lives until the entry is dropped; *out borrows it. CN_NOMEM: nothing changed.
CN_MUSTCHECK enum cn_err cn_memory_log_append(struct cn_memory_log *log, struct cn_pos pos,
                                              int64_t ts_ms, struct cn_str body, size_t keep,
                                              struct cn_entry *out);

// An entry will be appended soon: the one that may be dropped for it was written long ago, and its
// memory is fetched meanwhile.
void cn_memory_log_expect(const struct cn_memory_log *log);

// The newest entry's position, 0-0 if there is none.
struct cn_pos cn_memory_log_tail(const struct cn_memory_log *log);

// Reads a page as cn_read says; `entries` has room for `limit` ones, whose texts are borrowed.
void cn_memory_log_read(const struct cn_memory_log *log, enum cn_read_kind kind, struct cn_pos from,
                        unsigned limit, struct cn_entry *entries, struct cn_page *page);

#endif
