// SPDX-License-Identifier: MIT
// What an `ack` is worth: from what a store says of itself to one word for operators and clients.
#ifndef CHATNODE_DURABILITY_H
#define CHATNODE_DURABILITY_H

#include <stdbool.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

// X(symbol, word, promise): from weak to strong.
#define CN_DURABILITY_TABLE(X)                                                                     \
    X(UNKNOWN, "unknown", "not known yet: the bus was never reached")                              \
    X(MEMORY, "memory", "lost when the process that holds it ends")                                \
    X(DISK, "disk", "survives a crash of Redis; a power failure may cost the last seconds")        \
    X(DISK_ALWAYS, "disk-always", "survives a crash and a power failure of Redis")                 \
    X(REPLICATED, "replicated", "at least one replica has it before the ack")

enum cn_durability {
#define X(symbol, word, promise) CN_DURABILITY_##symbol,
    CN_DURABILITY_TABLE(X)
#undef X
        CN_DURABILITY_COUNT
};

// What a Redis says of itself: CONFIG GET and INFO.
struct cn_store {
    bool aof;              // appendonly, and its last write went well
    bool fsync_always;     // appendfsync, during a rewrite too
    bool fsync_never;      // left to the kernel
    bool evicts;           // maxmemory is set and maxmemory-policy is not noeviction
    bool config_hidden;    // CONFIG GET is not allowed: appendfsync is not known
    unsigned replicas;     // connected and online
    unsigned min_replicas; // min-replicas-to-write
};

// What an ack of this store can promise when acks wait for a replica (`waits`) or do not.
enum cn_durability cn_durability_of(const struct cn_store *store, bool waits);

// Static texts of the table.
const char *cn_durability_word(enum cn_durability durability);
const char *cn_durability_promise(enum cn_durability durability);

// Reads what `require-durability` may say: none (UNKNOWN in *out), disk, disk-always, replicated.
// CN_INVALID otherwise.
CN_MUSTCHECK enum cn_err cn_durability_parse(struct cn_str word, enum cn_durability *out);

#endif
