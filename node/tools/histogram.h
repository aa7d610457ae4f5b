// SPDX-License-Identifier: MIT
// Histograms of durations with three significant digits, in memory of a fixed size.
//
// As in HdrHistogram, buckets are linear within a power of two: below 2,048 us each microsecond has
// its own, above 1,024 share each power of two, so that a bucket is less than 0.1 % wide.
#ifndef CHATNODE_TOOLS_HISTOGRAM_H
#define CHATNODE_TOOLS_HISTOGRAM_H

#include <stdint.h>

enum {
    CN_HISTOGRAM_STEPS_LOG2 = 10, // buckets in each power of two
    CN_HISTOGRAM_TOP_LOG2 = 32,   // values below 2^32 us have a bucket: 71 minutes
    CN_HISTOGRAM_BUCKETS = (CN_HISTOGRAM_TOP_LOG2 - CN_HISTOGRAM_STEPS_LOG2 + 1)
                           << CN_HISTOGRAM_STEPS_LOG2
};

// Plain data without pointers, 184 KiB, of which only touched pages take memory. Zeroed memory is
// an empty one, also in memory that processes share. One process adds; the others may read at the
// same time, and then see the latest additions or not yet.
struct cn_histogram {
    uint64_t buckets[CN_HISTOGRAM_BUCKETS];
    uint64_t clipped; // values beyond the last bucket, which counts them too
    uint64_t sum_us;
    int64_t max_us; // exact, even beyond the last bucket; 0 when empty
};

// Notes a duration that occurred `times` times. Below 0 counts as 0, which a clock that other
// processors read too may give. Constant time, allocates nothing.
void cn_histogram_add(struct cn_histogram *histogram, int64_t us, uint64_t times);

// Adds everything that `other` counted.
void cn_histogram_merge(struct cn_histogram *histogram, const struct cn_histogram *other);

// What `now` counted since `before`, a copy of it taken earlier. The maximum of that time is known
// up to its bucket only.
void cn_histogram_since(const struct cn_histogram *now, const struct cn_histogram *before,
                        struct cn_histogram *out);

// How many durations were noted. Counts the buckets: not for every message.
uint64_t cn_histogram_count(const struct cn_histogram *histogram);

// The smallest duration that the share (0 to 1) of all do not exceed, at most 0.1 % too high and
// never above the maximum; 0 when empty. Beyond the last bucket it is 2^32 - 1 us.
int64_t cn_histogram_at(const struct cn_histogram *histogram, double share);

// The exact mean; 0 when empty.
double cn_histogram_mean(const struct cn_histogram *histogram);

#endif
