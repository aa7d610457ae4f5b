// SPDX-License-Identifier: MIT
// Histograms: which bucket a duration falls into, and what the buckets say together.
#include "histogram.h"

#include <stddef.h>

enum { STEPS = 1 << CN_HISTOGRAM_STEPS_LOG2 };

static size_t bucket_of(uint64_t us)
{
    if (us < (size_t)2 * STEPS)
        return (size_t)us;
    int shift = 63 - __builtin_clzll(us) - CN_HISTOGRAM_STEPS_LOG2;
    return ((size_t)shift << CN_HISTOGRAM_STEPS_LOG2) + (size_t)(us >> shift);
}

static int64_t highest_of(size_t bucket)
{
    if (bucket < (size_t)2 * STEPS)
        return (int64_t)bucket;
    size_t shift = (bucket >> CN_HISTOGRAM_STEPS_LOG2) - 1;
    size_t step = bucket - (shift << CN_HISTOGRAM_STEPS_LOG2);
    return (int64_t)(((step + 1) << shift) - 1);
}

void cn_histogram_add(struct cn_histogram *histogram, int64_t us, uint64_t times)
{
    if (times == 0)
        return;
    uint64_t value = us < 0 ? 0 : (uint64_t)us;
    size_t bucket = CN_HISTOGRAM_BUCKETS - 1;
    if (value >> CN_HISTOGRAM_TOP_LOG2 == 0)
        bucket = bucket_of(value);
    else
        histogram->clipped += times;
    histogram->buckets[bucket] += times;
    histogram->sum_us += value * times;
    if (us > histogram->max_us)
        histogram->max_us = us;
}

void cn_histogram_merge(struct cn_histogram *histogram, const struct cn_histogram *other)
{
    for (size_t i = 0; i < CN_HISTOGRAM_BUCKETS; i++)
        histogram->buckets[i] += other->buckets[i];
    histogram->clipped += other->clipped;
    histogram->sum_us += other->sum_us;
    if (other->max_us > histogram->max_us)
        histogram->max_us = other->max_us;
}

void cn_histogram_since(const struct cn_histogram *now, const struct cn_histogram *before,
                        struct cn_histogram *out)
{
    int64_t highest = 0;
    for (size_t i = 0; i < CN_HISTOGRAM_BUCKETS; i++) {
        out->buckets[i] = now->buckets[i] - before->buckets[i];
        if (out->buckets[i] > 0)
            highest = highest_of(i);
    }
    out->clipped = now->clipped - before->clipped;
    out->sum_us = now->sum_us - before->sum_us;
    out->max_us = out->clipped > 0 || highest > now->max_us ? now->max_us : highest;
}

uint64_t cn_histogram_count(const struct cn_histogram *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i < CN_HISTOGRAM_BUCKETS; i++)
        count += histogram->buckets[i];
    return count;
}

// How many durations make up the share: at least one, and rounded up unless what is above a whole
// number is only the error of the multiplication.
static uint64_t rank_of(double share, uint64_t count)
{
    double exact = share * (double)count;
    uint64_t rank = exact > 0 ? (uint64_t)(exact * (1 - 4e-16)) + 1 : 1;
    return rank < count ? rank : count;
}

int64_t cn_histogram_at(const struct cn_histogram *histogram, double share)
{
    uint64_t count = cn_histogram_count(histogram);
    if (count == 0)
        return 0;
    uint64_t rank = rank_of(share, count);
    uint64_t seen = 0;
    size_t bucket = 0;
    while (bucket < CN_HISTOGRAM_BUCKETS - 1 && (seen += histogram->buckets[bucket]) < rank)
        bucket++;
    int64_t highest = highest_of(bucket);
    return highest < histogram->max_us ? highest : histogram->max_us;
}

double cn_histogram_mean(const struct cn_histogram *histogram)
{
    uint64_t count = cn_histogram_count(histogram);
    return count == 0 ? 0 : (double)histogram->sum_us / (double)count;
}
