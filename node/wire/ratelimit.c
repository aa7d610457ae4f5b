// SPDX-License-Identifier: MIT
// A token bucket. Thousandths of tokens, as then what comes in a millisecond is a whole number.
#include "chatnode/ratelimit.h"

enum { UNIT = 1000 };

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t level_at(const struct cn_ratelimit *limit, int64_t now_ms)
{
    int64_t lacking = limit->capacity * UNIT - limit->level;
    int64_t passed_ms = now_ms - limit->seen_ms;
    if (lacking == 0 || passed_ms <= 0)
        return limit->level;
    // Compared before it is multiplied, so that a long pause does not overflow.
    if (passed_ms >= divide_up(lacking, limit->per_s))
        return limit->capacity * UNIT;
    return limit->level + passed_ms * limit->per_s;
}

void cn_ratelimit_init(struct cn_ratelimit *limit, int64_t capacity, int64_t per_s, int64_t now_ms)
{
    CN_ASSERT(capacity >= 1 && per_s >= 0);
    *limit = (struct cn_ratelimit){capacity, per_s, capacity * UNIT, now_ms};
}

int64_t cn_ratelimit_take(struct cn_ratelimit *limit, int64_t cost, int64_t reserve, int64_t now_ms)
{
    CN_ASSERT(cost >= 0 && reserve >= 0 && cost + reserve <= limit->capacity);
    if (limit->per_s == 0)
        return 0;
    int64_t level = level_at(limit, now_ms);
    int64_t lacking = (cost + reserve) * UNIT - level;
    if (lacking > 0)
        return divide_up(lacking, limit->per_s);
    limit->level = level - cost * UNIT;
    if (now_ms > limit->seen_ms)
        limit->seen_ms = now_ms;
    return 0;
}

int64_t cn_ratelimit_full_in_ms(const struct cn_ratelimit *limit, int64_t now_ms)
{
    int64_t lacking = limit->capacity * UNIT - level_at(limit, now_ms);
    return lacking == 0 ? 0 : divide_up(lacking, limit->per_s);
}
