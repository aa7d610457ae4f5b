// SPDX-License-Identifier: MIT
// The pace of a loop's flushes: tries both ways, and keeps to the one that pays.
#include "chatnode/pace.h"

enum {
    STRETCH_FLUSHES = 128, // busy flushes in the way that pays, then a trial of the other one
    TRIAL_FLUSHES = 4,
    // Waiting pays when a write carries so many per cent of what it carries without.
    PAYS_PERCENT = 125,
    SCALE = 256,
};

void cn_pace_init(struct cn_pace *pace, int64_t max_us)
{
    // The first stretch is a short one, so that a new loop soon knows.
    *pace = (struct cn_pace){.max_us = max_us,
                             .way = CN_PACE_GATHERS,
                             .flushes = STRETCH_FLUSHES - TRIAL_FLUSHES,
                             .ended_us = INT64_MIN / 2};
}

static int64_t pause_us(const struct cn_pace *pace)
{
    return pace->took_us < pace->max_us ? pace->took_us : pace->max_us;
}

int64_t cn_pace_wait_us(struct cn_pace *pace, int64_t now_us)
{
    int64_t left_us = pace->ended_us + pause_us(pace) - now_us;
    if (pace->begun)
        return 0;
    if (left_us > 0)
        pace->busy = true;
    return left_us > 0 && pace->way == CN_PACE_GATHERS ? left_us : 0;
}

static enum cn_pace_way other(enum cn_pace_way way)
{
    return way == CN_PACE_GATHERS ? CN_PACE_AT_ONCE : CN_PACE_GATHERS;
}

static enum cn_pace_way better(const struct cn_pace *pace)
{
    return pace->carried[CN_PACE_GATHERS] * 100 >= pace->carried[CN_PACE_AT_ONCE] * PAYS_PERCENT
               ? CN_PACE_GATHERS
               : CN_PACE_AT_ONCE;
}

// A stretch is over: the other way is tried, or, after the trial, the better one taken.
static void turn_over(struct cn_pace *pace)
{
    pace->carried[pace->way] = pace->frames * SCALE / pace->writes;
    pace->way = pace->is_trial ? better(pace) : other(pace->way);
    pace->is_trial = !pace->is_trial;
    pace->frames = pace->writes = 0;
    pace->flushes = 0;
}

static void count(struct cn_pace *pace)
{
    uint32_t length = pace->is_trial ? TRIAL_FLUSHES : STRETCH_FLUSHES;
    if (++pace->flushes >= length && pace->writes > 0)
        turn_over(pace);
}

void cn_pace_carried(struct cn_pace *pace, int64_t frames, int64_t writes)
{
    if (!pace->busy)
        return;
    pace->frames += frames;
    pace->writes += writes;
}

void cn_pace_spent(struct cn_pace *pace, int64_t begin_us, int64_t end_us, bool done)
{
    pace->spent_us += end_us - begin_us;
    pace->begun = !done;
    if (!done)
        return;
    if (pace->busy)
        count(pace);
    pace->busy = false;
    pace->took_us = pace->spent_us;
    pace->spent_us = 0;
    pace->ended_us = end_us;
}
