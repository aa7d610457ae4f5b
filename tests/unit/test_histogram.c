// SPDX-License-Identifier: MIT
// Histograms: percentiles held against those of the sorted values, for several distributions.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "histogram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chatnode/check.h"

enum { VALUES = 20011 };

static const int64_t beyond_us = (int64_t)1 << CN_HISTOGRAM_TOP_LOG2;

static uint64_t random_state;

// xorshift64*: the same numbers in each run.
static double random_share(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (double)((random_state * 0x2545F4914F6CDD1D) >> 11) / (double)(1LL << 53);
}

static int64_t constant_us(void)
{
    return 123456;
}

static int64_t uniform_us(void)
{
    return (int64_t)(random_share() * 5000);
}

static int64_t exponential_us(void)
{
    return (int64_t)(-40000 * log(1 - random_share()));
}

// From 1 us to an hour, each power of ten as often as the other.
static int64_t log_uniform_us(void)
{
    return (int64_t)exp(random_share() * log(3.6e9));
}

// Mostly fast, and one in a hundred stalled.
static int64_t bimodal_us(void)
{
    return random_share() < 0.99 ? (int64_t)(200 + random_share() * 50)
                                 : (int64_t)(2e6 + random_share() * 1e6);
}

static struct cn_histogram *new_histogram(void)
{
    struct cn_histogram *histogram = calloc(1, sizeof(*histogram));
    assert_non_null(histogram);
    return histogram;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

// At most 0.1 % above the exact one, and never below.
static void check_share(const struct cn_histogram *histogram, const int64_t *sorted, int permille)
{
    int rank = (permille * VALUES + 999) / 1000;
    int64_t exact = sorted[rank > 0 ? rank - 1 : 0];
    int64_t got = cn_histogram_at(histogram, permille / 1000.0);
    assert_in_range(got, exact, exact + exact / 1000);
}

static void check_distribution(int64_t (*draw)(void))
{
    static const int permilles[] = {0, 1, 10, 250, 500, 900, 990, 999, 1000};
    struct cn_histogram *histogram = new_histogram();
    int64_t *values = calloc(VALUES, sizeof(*values));
    assert_non_null(values);
    double sum = 0;
    random_state = 0x9E3779B97F4A7C15;
    for (int i = 0; i < VALUES; i++) {
        values[i] = draw();
        sum += (double)values[i];
        cn_histogram_add(histogram, values[i], 1);
    }
    qsort(values, VALUES, sizeof(*values), compare);
    for (size_t i = 0; i < CN_COUNT(permilles); i++)
        check_share(histogram, values, permilles[i]);
    assert_int_equal(cn_histogram_count(histogram), VALUES);
    assert_int_equal(histogram->max_us, values[VALUES - 1]);
    assert_int_equal(cn_histogram_at(histogram, 1), values[VALUES - 1]);
    assert_true(fabs(cn_histogram_mean(histogram) - sum / VALUES) <= sum / VALUES * 1e-9);
    free(values);
    free(histogram);
}

static void test_distributions(void **state)
{
    (void)state;
    check_distribution(constant_us);
    check_distribution(uniform_us);
    check_distribution(exponential_us);
    check_distribution(log_uniform_us);
    check_distribution(bimodal_us);
}

static void check_bucket(int64_t us)
{
    struct cn_histogram *histogram = new_histogram();
    cn_histogram_add(histogram, us, 2);
    cn_histogram_add(histogram, beyond_us, 1); // else the maximum would hide the bucket's end
    assert_in_range(cn_histogram_at(histogram, 0.5), us, us + us / 1000);
    free(histogram);
}

static void test_each_power_of_two_has_its_buckets(void **state)
{
    (void)state;
    for (int log2 = 0; log2 < CN_HISTOGRAM_TOP_LOG2; log2++) {
        int64_t us = (int64_t)1 << log2;
        check_bucket(us - 1);
        check_bucket(us);
        check_bucket(us + us / 2);
    }
    check_bucket(beyond_us - 1);
}

static void test_empty(void **state)
{
    (void)state;
    struct cn_histogram *histogram = new_histogram();
    cn_histogram_add(histogram, 5, 0);
    assert_int_equal(cn_histogram_count(histogram), 0);
    assert_int_equal(cn_histogram_at(histogram, 0.5), 0);
    assert_int_equal(histogram->max_us, 0);
    assert_true(cn_histogram_mean(histogram) == 0);
    free(histogram);
}

static void test_beyond_the_last_bucket(void **state)
{
    (void)state;
    struct cn_histogram *histogram = new_histogram();
    cn_histogram_add(histogram, -7, 1);
    cn_histogram_add(histogram, beyond_us - 1, 1);
    cn_histogram_add(histogram, beyond_us, 1);
    cn_histogram_add(histogram, 3 * beyond_us, 2);
    assert_int_equal(cn_histogram_count(histogram), 5);
    assert_int_equal(histogram->clipped, 3);
    assert_int_equal(histogram->max_us, 3 * beyond_us);
    assert_int_equal(cn_histogram_at(histogram, 0.2), 0);
    assert_int_equal(cn_histogram_at(histogram, 1), beyond_us - 1);
    free(histogram);
}

// 7 % of 100 are 7, although 0.07 * 100 is a little more.
static void test_ranks_are_exact(void **state)
{
    (void)state;
    struct cn_histogram *histogram = new_histogram();
    for (int i = 1; i <= 100; i++)
        cn_histogram_add(histogram, i, 1);
    for (int i = 1; i <= 100; i++)
        assert_int_equal(cn_histogram_at(histogram, i / 100.0), i);
    assert_int_equal(cn_histogram_at(histogram, 0.071), 8);
    free(histogram);
}

static void test_many_at_once(void **state)
{
    (void)state;
    struct cn_histogram *histogram = new_histogram();
    cn_histogram_add(histogram, 1000, 5000000000);
    cn_histogram_add(histogram, 3000, 5000000000);
    assert_int_equal(cn_histogram_count(histogram), 10000000000);
    assert_int_equal(cn_histogram_at(histogram, 0.5), 1000);
    assert_true(cn_histogram_mean(histogram) == 2000);
    free(histogram);
}

static void test_merging_is_adding_all(void **state)
{
    (void)state;
    struct cn_histogram *parts[2] = {new_histogram(), new_histogram()};
    struct cn_histogram *whole = new_histogram();
    random_state = 1;
    for (int i = 0; i < VALUES; i++) {
        int64_t us = i % 100 == 0 ? beyond_us + i : exponential_us();
        cn_histogram_add(parts[i % 3 == 0], us, 2);
        cn_histogram_add(whole, us, 2);
    }
    cn_histogram_merge(parts[0], parts[1]);
    assert_memory_equal(parts[0], whole, sizeof(*whole));
    free(parts[0]);
    free(parts[1]);
    free(whole);
}

static void test_the_difference_of_two_moments(void **state)
{
    (void)state;
    struct cn_histogram *now = new_histogram();
    struct cn_histogram *before = new_histogram();
    struct cn_histogram *second = new_histogram();
    cn_histogram_add(now, 900000, 3);
    *before = *now;
    cn_histogram_add(now, 100, 2);
    cn_histogram_add(now, 500001, 1);
    cn_histogram_since(now, before, second);
    assert_int_equal(cn_histogram_count(second), 3);
    assert_int_equal(cn_histogram_at(second, 0.5), 100);
    assert_in_range(second->max_us, 500001, 500501);
    assert_true(cn_histogram_mean(second) == (2 * 100 + 500001) / 3.0);
    cn_histogram_since(now, now, second);
    assert_int_equal(cn_histogram_count(second), 0);
    assert_int_equal(second->max_us, 0);
    free(now);
    free(before);
    free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_each_power_of_two_has_its_buckets),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_beyond_the_last_bucket),
        cmocka_unit_test(test_ranks_are_exact),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_merging_is_adding_all),
        cmocka_unit_test(test_the_difference_of_two_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
