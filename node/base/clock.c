// SPDX-License-Identifier: MIT
// The system's clocks, or the one a test turns by hand.
#include "chatnode/clock.h"

#include <stddef.h>
#include <time.h>

#include "chatnode/check.h"

// Written before threads start, read by all.
static const int64_t *fake_us;

static int64_t read_us(clockid_t clock)
{
    struct timespec now;
    int rc = clock_gettime(clock, &now);
    CN_ASSERT(rc == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t cn_clock_us(void)
{
    return fake_us != NULL ? *fake_us : read_us(CLOCK_MONOTONIC);
}

int64_t cn_clock_ms(void)
{
    return cn_clock_us() / 1000;
}

int64_t cn_clock_wall_ms(void)
{
    return (fake_us != NULL ? *fake_us : read_us(CLOCK_REALTIME)) / 1000;
}

int64_t cn_clock_thread_cpu_us(void)
{
    return read_us(CLOCK_THREAD_CPUTIME_ID);
}

void cn_clock_set_fake(const int64_t *us)
{
    fake_us = us;
}
