// SPDX-License-Identifier: MIT
// The accept governor: a node that everybody comes back to at once takes in only so many sessions a
// second, and tells the others when to try again.
#include "chatnode/clock.h"
#include "edge_private.h"

enum { BURST_S = 2, TURNED_AWAY_S = 60 };

void cn_governor_init(struct cn_governor *governor, int64_t per_s)
{
    int64_t now_ms = cn_clock_ms();
    int64_t at_least = per_s ? per_s : 1;
    cn_mutex_init(&governor->lock, CN_RANK_GOVERNOR);
    cn_ratelimit_init(&governor->admitted, at_least * BURST_S, per_s, now_ms);
    cn_ratelimit_init(&governor->turned_away, at_least * TURNED_AWAY_S, per_s, now_ms);
    governor->noise = (uint32_t)now_ms;
}

void cn_governor_fini(struct cn_governor *governor)
{
    cn_mutex_fini(&governor->lock);
}

// When there will be room: behind those who were told so before. With some noise, so that not all
// of one second come back in one second.
static int64_t retry_after_s_locked(struct cn_governor *governor, int64_t wait_ms, int64_t now_ms)
{
    cn_mutex_assert_held(&governor->lock);
    // Empty: as many as in TURNED_AWAY_S have been turned away; nobody is sent further than that.
    (void)!cn_ratelimit_take(&governor->turned_away, 1, 0, now_ms);
    wait_ms += cn_ratelimit_full_in_ms(&governor->turned_away, now_ms);
    int64_t seconds = 1 + wait_ms / 1000;
    governor->noise = governor->noise * 1664525 + 1013904223;
    return seconds + (governor->noise >> 16) % (seconds / 4 + 2);
}

int64_t cn_governor_admit(struct cn_governor *governor, bool resumes)
{
    int64_t seconds = 0;
    cn_mutex_lock(&governor->lock);
    int64_t now_ms = cn_clock_ms();
    int64_t reserve = resumes ? 0 : governor->admitted.capacity / 2;
    int64_t wait_ms = cn_ratelimit_take(&governor->admitted, 1, reserve, now_ms);
    if (wait_ms > 0)
        seconds = retry_after_s_locked(governor, wait_ms, now_ms);
    cn_mutex_unlock(&governor->lock);
    return seconds;
}
