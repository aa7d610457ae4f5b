// SPDX-License-Identifier: MIT
// The clocks, in one place so that tests can turn them by hand.
#ifndef CHATNODE_CLOCK_H
#define CHATNODE_CLOCK_H

#include <stdint.h>

// Milliseconds of the monotonic clock. Any thread.
int64_t cn_clock_ms(void);

// Microseconds of the monotonic clock. Any thread.
int64_t cn_clock_us(void);

// Milliseconds since 1970-01-01 UTC; may jump. Any thread.
int64_t cn_clock_wall_ms(void);

// CPU time of the calling thread in microseconds.
int64_t cn_clock_thread_cpu_us(void);

// Tests only, before threads start: from now on all but the CPU clock answer from `*us`
// (microseconds, for the wall clock too); NULL gives the real clocks back.
void cn_clock_set_fake(const int64_t *us);

#endif
