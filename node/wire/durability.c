// SPDX-License-Identifier: MIT
// What an `ack` is worth.
#include "chatnode/durability.h"

static const struct {
    const char *word;
    const char *promise;
} table[] = {
#define X(symbol, word, promise) {word, promise},
    CN_DURABILITY_TABLE(X)
#undef X
};

// What may be evicted at any time is kept nowhere. A replica counts only when acks wait for it: one
// that is behind at a failover has not got what was acked.
enum cn_durability cn_durability_of(const struct cn_store *store, bool waits)
{
    if (store->evicts)
        return CN_DURABILITY_MEMORY;
    if (waits && store->replicas > 0)
        return CN_DURABILITY_REPLICATED;
    if (!store->aof)
        return CN_DURABILITY_MEMORY;
    return store->fsync_always ? CN_DURABILITY_DISK_ALWAYS : CN_DURABILITY_DISK;
}

const char *cn_durability_word(enum cn_durability durability)
{
    return table[durability].word;
}

const char *cn_durability_promise(enum cn_durability durability)
{
    return table[durability].promise;
}

enum cn_err cn_durability_parse(struct cn_str word, enum cn_durability *out)
{
    *out = CN_DURABILITY_UNKNOWN;
    if (cn_str_equal(word, CN_STR_LITERAL("none")))
        return CN_OK;
    for (int i = CN_DURABILITY_DISK; i < CN_DURABILITY_COUNT; i++) {
        *out = (enum cn_durability)i;
        if (cn_str_equal(word, cn_str_of(table[i].word)))
            return CN_OK;
    }
    return CN_INVALID;
}
