// SPDX-License-Identifier: MIT
// Quotas by key (an address, a user): how many may hold it at once, and how much may be done under
// it each second, by whichever thread. A bounded, sharded table; not for the way of every message
// unless that is asked for.
#ifndef CHATNODE_QUOTA_H
#define CHATNODE_QUOTA_H

#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

enum { CN_QUOTA_KEY_MAX = 64 }; // bytes

struct cn_quotas;
struct cn_quota; // of one key; in place while somebody holds it

struct cn_quota_terms {
    int64_t holders_max; // of one key; 0: any number
    int64_t per_s;       // tokens that come to one key each second; 0: no limit
    int64_t burst;       // tokens that it has at most, at least 1
    // Keys that nobody holds are kept while their tokens come back, but at most so many: beyond it
    // the longest unused is forgotten, and begins anew with all tokens.
    size_t idle_max;
};

// An empty table; NULL without memory.
CN_MUSTCHECK struct cn_quotas *cn_quotas_new(const struct cn_quota_terms *terms);

// Frees it; nobody holds a key any more. Takes NULL.
void cn_quotas_free(struct cn_quotas *quotas);

// Takes `cost` tokens of the key's, and holds it until cn_quota_release. CN_FULL: it has as many
// holders as it may; CN_REFUSED: it has not enough tokens, they will be there in *in_ms
// milliseconds; CN_NOMEM. Nothing was taken then. A cost beyond the burst is the burst. Any thread.
CN_MUSTCHECK enum cn_err cn_quota_hold(struct cn_quotas *quotas, struct cn_str key, int64_t cost,
                                       int64_t now_ms, struct cn_quota **out, int64_t *in_ms);

// Takes `cost` tokens of a key that the caller holds, and returns 0; else in how many milliseconds
// they will be there. Any thread.
CN_MUSTCHECK int64_t cn_quota_take(struct cn_quotas *quotas, struct cn_quota *quota, int64_t cost,
                                   int64_t now_ms);

// Lets go of it; the caller forgets it. Any thread.
void cn_quota_release(struct cn_quotas *quotas, struct cn_quota *quota, int64_t now_ms);

// Keys in the table, held or not. Any thread.
size_t cn_quotas_count(struct cn_quotas *quotas);

#endif
