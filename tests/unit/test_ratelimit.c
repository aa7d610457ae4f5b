// SPDX-License-Identifier: MIT
// The token bucket: what it gives, when, and what it keeps back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/ratelimit.h"
#include "dies.h"

enum { NOW = 5000 };

static struct cn_ratelimit limit;

static int take_all(int64_t reserve, int64_t now_ms)
{
    int taken = 0;
    while (cn_ratelimit_take(&limit, 1, reserve, now_ms) == 0)
        assert_true(++taken < 100000);
    return taken;
}

static void a_new_bucket_is_full(void **state)
{
    (void)state;
    cn_ratelimit_init(&limit, 10, 5, NOW);
    assert_int_equal(cn_ratelimit_full_in_ms(&limit, NOW), 0);
    assert_int_equal(take_all(0, NOW), 10);
    assert_int_equal(cn_ratelimit_full_in_ms(&limit, NOW), 2000);
}

static void tokens_come_at_the_rate(void **state)
{
    (void)state;
    cn_ratelimit_init(&limit, 10, 5, NOW);
    assert_int_equal(take_all(0, NOW), 10);
    assert_int_equal(cn_ratelimit_take(&limit, 1, 0, NOW), 200);
    assert_int_equal(cn_ratelimit_take(&limit, 1, 0, NOW + 199), 1);
    assert_int_equal(cn_ratelimit_take(&limit, 1, 0, NOW + 200), 0);
    assert_int_equal(cn_ratelimit_take(&limit, 1, 0, NOW + 200), 200);
    int taken = 0;
    for (int64_t ms = 201; ms <= 60200; ms++)
        taken += cn_ratelimit_take(&limit, 1, 0, NOW + ms) == 0;
    assert_int_equal(taken, 60 * 5); // no token is lost to rounding
}

static void an_uneven_rate_loses_nothing_either(void **state)
{
    (void)state;
    cn_ratelimit_init(&limit, 7, 7, NOW);
    assert_int_equal(take_all(0, NOW), 7);
    int taken = 0;
    for (int64_t ms = 1; ms <= 10000; ms++)
        taken += cn_ratelimit_take(&limit, 1, 0, NOW + ms) == 0;
    assert_int_equal(taken, 70);
}

static void it_never_holds_more_than_it_can(void **state)
{
    (void)state;
    cn_ratelimit_init(&limit, 10, 5, NOW);
    assert_int_equal(take_all(0, NOW + 3600000), 10);
    assert_int_equal(take_all(0, NOW + 3600000 + 1999), 9);
    assert_int_equal(take_all(0, INT64_MAX), 10);
}

static void a_reserve_is_for_others(void **state)
{
    (void)state;
    cn_ratelimit_init(&limit, 10, 5, NOW);
    assert_int_equal(take_all(5, NOW), 5);
    assert_int_equal(cn_ratelimit_take(&limit, 1, 5, NOW), 200);
    assert_int_equal(take_all(0, NOW), 5);
    assert_int_equal(cn_ratelimit_take(&limit, 1, 5, NOW), 1200);
    assert_int_equal(cn_ratelimit_take(&limit, 1, 5, NOW + 1200), 0);
}

static void a_refusal_takes_nothing(void **state)
{
    (void)state;
    cn_ratelimit_init(&limit, 10, 5, NOW);
    assert_int_equal(cn_ratelimit_take(&limit, 8, 0, NOW), 0);
    assert_int_equal(cn_ratelimit_take(&limit, 3, 0, NOW), 200);
    assert_int_equal(cn_ratelimit_take(&limit, 2, 0, NOW), 0);
}

static void a_clock_that_goes_back_gives_nothing(void **state)
{
    (void)state;
    cn_ratelimit_init(&limit, 10, 5, NOW);
    assert_int_equal(take_all(0, NOW), 10);
    assert_int_equal(cn_ratelimit_take(&limit, 1, 0, NOW - 1000), 200);
    assert_int_equal(cn_ratelimit_take(&limit, 0, 0, NOW - 1000), 0);
    assert_int_equal(take_all(0, NOW + 200), 1);
}

static void without_a_rate_there_is_no_limit(void **state)
{
    (void)state;
    cn_ratelimit_init(&limit, 1, 0, NOW);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(cn_ratelimit_take(&limit, 1, 0, NOW), 0);
    assert_int_equal(cn_ratelimit_full_in_ms(&limit, NOW), 0);
}

static void large_numbers_do_not_overflow(void **state)
{
    (void)state;
    const int64_t large = INT64_C(1000000000000);
    cn_ratelimit_init(&limit, large, large, 0);
    assert_int_equal(cn_ratelimit_take(&limit, large, 0, 0), 0);
    assert_int_equal(cn_ratelimit_take(&limit, large, 0, 0), 1000);
    assert_int_equal(cn_ratelimit_take(&limit, large, 0, INT64_MAX / 2), 0);
}

static void ask_for_too_much(void *arg)
{
    (void)arg;
    cn_ratelimit_init(&limit, 10, 5, NOW);
    (void)!cn_ratelimit_take(&limit, 6, 5, NOW);
}

static void what_can_never_be_had_is_a_mistake(void **state)
{
    (void)state;
    char said[512];
    assert_true(dies(ask_for_too_much, NULL, said, sizeof(said)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_bucket_is_full),
        cmocka_unit_test(tokens_come_at_the_rate),
        cmocka_unit_test(an_uneven_rate_loses_nothing_either),
        cmocka_unit_test(it_never_holds_more_than_it_can),
        cmocka_unit_test(a_reserve_is_for_others),
        cmocka_unit_test(a_refusal_takes_nothing),
        cmocka_unit_test(a_clock_that_goes_back_gives_nothing),
        cmocka_unit_test(without_a_rate_there_is_no_limit),
        cmocka_unit_test(large_numbers_do_not_overflow),
        cmocka_unit_test(what_can_never_be_had_is_a_mistake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
