// SPDX-License-Identifier: MIT
// The pace of a loop's flushes: tries all ways, and keeps to the one that pays.
#include "chatnode/pace.h"

enum {
    STREAM_FLUSHES = 4, // busy ones in a row: only then is there anything to gather
    // Busy flushes in the best way, then a trial of each other one: short enough that what it costs
    // is not seen in the slowest hundredth of the messages.
    STRETCH_FLUSHES = 512,
    TRIAL_FLUSHES = 4,
    LATEST_FLUSHES = 16, // of a stretch, which count: the load may have changed
    ENOUGH_PERCENT = 80, // of what the writes carry the way they carry most
    SHORTLY_US = 1000,
    SCALE = 256,
};

void cn_pace_init(struct cn_pace *pace, int64_t max_us)
{
    // The first stretch is a short one, so that a new loop soon knows.
    *pace = (struct cn_pace){.max_us = max_us,
                             .way = CN_PACE_GATHERS,
                             .best = CN_PACE_GATHERS,
                             .flushes = STRETCH_FLUSHES - TRIAL_FLUSHES,
                             .ended_us = INT64_MIN / 2};
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// The longest pause there is after the last flush: what comes later found an idle loop.
static int64_t longest_us(const struct cn_pace *pace)
{
    return least(pace->took_us + pace->took_us / 2, pace->max_us);
}

static int64_t pause_us(const struct cn_pace *pace)
{
    if (pace->way == CN_PACE_AT_ONCE)
        return 0;
    return pace->way == CN_PACE_SHORTLY ? least(SHORTLY_US, longest_us(pace)) : longest_us(pace);
}

static bool is_in_stream(const struct cn_pace *pace)
{
    return pace->busy && pace->row == STREAM_FLUSHES;
}

int64_t cn_pace_wait_us(struct cn_pace *pace, int64_t now_us)
{
    if (pace->begun)
        return 0;
    int64_t since_us = now_us - pace->ended_us;
    if (since_us < longest_us(pace))
        pace->busy = true;
    if (!is_in_stream(pace))
        return 0;
    return since_us < pause_us(pace) ? pause_us(pace) - since_us : 0;
}

// The way that waits least of those that carry enough.
static enum cn_pace_way choose(const struct cn_pace *pace)
{
    int64_t most = 0;
    for (int way = 0; way < CN_PACE_WAYS; way++)
        if (pace->carried[way] > most)
            most = pace->carried[way];
    int way = 0;
    while (pace->carried[way] * 100 < most * ENOUGH_PERCENT)
        way++;
    return (enum cn_pace_way)way;
}

// A stretch is over: the next way is tried, or, after the last one's trial, the best one taken.
static void turn_over(struct cn_pace *pace)
{
    pace->carried[pace->way] = pace->frames * SCALE / pace->writes;
    pace->way = (pace->way + 1) % CN_PACE_WAYS;
    if (pace->way == pace->best)
        pace->way = pace->best = choose(pace);
    pace->frames = pace->writes = 0;
    pace->flushes = 0;
}

static void count(struct cn_pace *pace)
{
    uint32_t length = pace->way == pace->best ? STRETCH_FLUSHES : TRIAL_FLUSHES;
    pace->flushes++;
    if (pace->flushes >= length && pace->writes > 0)
        turn_over(pace);
    else if (pace->flushes == STRETCH_FLUSHES - LATEST_FLUSHES)
        pace->frames = pace->writes = 0;
}

void cn_pace_carried(struct cn_pace *pace, int64_t frames, int64_t writes)
{
    if (!is_in_stream(pace))
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
    if (is_in_stream(pace))
        count(pace);
    else
        pace->row = pace->busy ? pace->row + 1 : 0;
    pace->busy = false;
    pace->took_us = pace->spent_us;
    pace->spent_us = 0;
    pace->ended_us = end_us;
}
