// SPDX-License-Identifier: MIT
// A token bucket: how much may happen at once, and how much each second. Pure: the time is passed
// in. No locking: one owner, or the caller's lock.
#ifndef CHATNODE_RATELIMIT_H
#define CHATNODE_RATELIMIT_H

#include <stdint.h>

#include "chatnode/check.h"

// Plain data; made by cn_ratelimit_init.
struct cn_ratelimit {
    int64_t capacity; // tokens that it holds at most
    int64_t per_s;    // tokens that come each second; 0: no limit at all
    int64_t level;    // what was there at `seen_ms`, in thousandths of a token
    int64_t seen_ms;
};

// Makes a full bucket of `capacity` tokens (at least 1) that gets `per_s` tokens a second; 0: every
// take succeeds. Both at most 10^12.
void cn_ratelimit_init(struct cn_ratelimit *limit, int64_t capacity, int64_t per_s, int64_t now_ms);

// Takes `cost` tokens if at least `reserve` are left then, and returns 0. Else takes nothing and
// returns in how many milliseconds, 1 or more, it could be done if nobody else took any. `cost` and
// `reserve` together must fit into the bucket. A clock that goes back gives no tokens.
CN_MUSTCHECK int64_t cn_ratelimit_take(struct cn_ratelimit *limit, int64_t cost, int64_t reserve,
                                       int64_t now_ms);

// In how many milliseconds the bucket is full if nobody takes any; 0: it is.
int64_t cn_ratelimit_full_in_ms(const struct cn_ratelimit *limit, int64_t now_ms);

#endif
