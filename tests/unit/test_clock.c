// SPDX-License-Identifier: MIT
// Clocks: the real ones move forward, the fake one only by hand.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/clock.h"

#include <time.h>

static void test_monotonic_clock_moves_forward(void **state)
{
    (void)state;
    int64_t start_us = cn_clock_us();
    int64_t now_us = start_us;
    while (now_us < start_us + 2000) {
        int64_t next_us = cn_clock_us();
        assert_true(next_us >= now_us);
        now_us = next_us;
    }
    assert_true(cn_clock_ms() >= now_us / 1000);
    assert_true(cn_clock_ms() <= cn_clock_us() / 1000);
}

static void test_wall_clock_is_unix_time(void **state)
{
    (void)state;
    int64_t before_ms = (int64_t)time(NULL) * 1000 - 1000;
    int64_t now_ms = cn_clock_wall_ms();
    assert_true(now_ms >= before_ms);
    assert_true(now_ms <= before_ms + 10000);
}

static void test_cpu_clock_counts_work(void **state)
{
    (void)state;
    int64_t start_us = cn_clock_thread_cpu_us();
    int64_t deadline_ms = cn_clock_ms() + 10000;
    while (cn_clock_thread_cpu_us() < start_us + 1000)
        assert_true(cn_clock_ms() < deadline_ms);
}

static void test_fake_clock_moves_by_hand(void **state)
{
    (void)state;
    int64_t fake_us = 1700000000123456;
    cn_clock_set_fake(&fake_us);
    assert_int_equal(cn_clock_us(), 1700000000123456);
    assert_int_equal(cn_clock_ms(), 1700000000123);
    assert_int_equal(cn_clock_wall_ms(), 1700000000123);
    fake_us += 1000;
    assert_int_equal(cn_clock_ms(), 1700000000124);
    assert_true(cn_clock_thread_cpu_us() < fake_us);
    cn_clock_set_fake(NULL);
    assert_true(cn_clock_us() != fake_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic_clock_moves_forward),
        cmocka_unit_test(test_wall_clock_is_unix_time),
        cmocka_unit_test(test_cpu_clock_counts_work),
        cmocka_unit_test(test_fake_clock_moves_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
