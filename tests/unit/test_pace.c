// SPDX-License-Identifier: MIT
// The pace of flushes, held against loads that a machine might have, on a clock of the test's own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/pace.h"

enum { MAX_US = 10000, MEMBERS = 1000, LONG = 5000 };

static struct cn_pace pace;
static int64_t now_us;

static int set_up(void **state)
{
    (void)state;
    now_us = 1000000;
    cn_pace_init(&pace, MAX_US);
    return 0;
}

// A flush of `frames` frames to each member that takes `us`; in slices when there are several.
static void flush(int64_t frames, int64_t us, int slices)
{
    for (int i = 0; i < slices; i++) {
        assert_int_equal(cn_pace_wait_us(&pace, now_us), 0);
        int64_t begin_us = now_us;
        now_us += us / slices;
        cn_pace_carried(&pace, frames * MEMBERS / slices, MEMBERS / slices);
        cn_pace_spent(&pace, begin_us, now_us, i + 1 == slices);
    }
}

static void wait_and_flush(int64_t frames, int64_t us)
{
    now_us += cn_pace_wait_us(&pace, now_us);
    flush(frames, us, 1);
}

// As many busy flushes as it takes until the loop waits.
static void stream(int64_t us)
{
    for (int i = 0; i < 5; i++)
        flush(1, us, 1);
}

static void the_first_after_a_pause_goes_at_once(void **state)
{
    (void)state;
    assert_int_equal(cn_pace_wait_us(&pace, now_us), 0);
    flush(1, 3000, 1);
    now_us += 4500;
    assert_int_equal(cn_pace_wait_us(&pace, now_us), 0);
}

// Two, or some more, that happen to come close together gain nothing by waiting.
static void a_few_close_together_go_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 5; j++) {
            assert_int_equal(cn_pace_wait_us(&pace, now_us), 0);
            flush(1, 3000, 1);
            now_us += 100;
        }
        assert_int_equal(cn_pace_wait_us(&pace, now_us), 4400);
        wait_and_flush(1, 3000);
        now_us += 100000;
    }
}

static void a_wait_is_half_as_long_again_as_the_flush_was(void **state)
{
    (void)state;
    stream(3000);
    assert_int_equal(cn_pace_wait_us(&pace, now_us), 4500);
    now_us += 1000;
    assert_int_equal(cn_pace_wait_us(&pace, now_us), 3500);
}

static void all_slices_count(void **state)
{
    (void)state;
    stream(1000);
    now_us += cn_pace_wait_us(&pace, now_us);
    flush(1, 4000, 4);
    assert_int_equal(cn_pace_wait_us(&pace, now_us), 6000);
}

static void a_wait_has_its_bound(void **state)
{
    (void)state;
    stream(1000);
    now_us += cn_pace_wait_us(&pace, now_us);
    flush(1, 70000, 1);
    assert_int_equal(cn_pace_wait_us(&pace, now_us), MAX_US);
    cn_pace_init(&pace, 0);
    stream(70000);
    assert_int_equal(cn_pace_wait_us(&pace, now_us), 0);
}

// ---- Loads ----

// One message in flight: the next one comes 200 us after a flush, never more than one at a time.
static int64_t closed_loop(int flushes)
{
    int64_t begin_us = now_us;
    for (int i = 0; i < flushes; i++) {
        now_us += 200;
        wait_and_flush(1, 2500);
    }
    return now_us - begin_us;
}

// `window` messages in flight: they come one after the other within 300 us of the end of a flush,
// and what has not come by the next one is in the one after. The writes to a member for 100
// messages.
static int64_t window_loop(int flushes, int64_t window)
{
    int64_t late = 0;
    int64_t messages = 0;
    for (int i = 0; i < flushes; i++) {
        now_us += 50;
        int64_t wait_us = cn_pace_wait_us(&pace, now_us);
        int64_t frames = wait_us > 250 ? window : late + (window - late) / 2;
        late = window - frames;
        messages += frames;
        now_us += wait_us;
        flush(frames, 2500, 1);
    }
    return (int64_t)flushes * 100 / messages;
}

// Messages come every `every_us`, whatever the node does. The writes to a member for 100 messages.
static int64_t open_loop(int flushes, int64_t every_us)
{
    int64_t next_us = now_us;
    int64_t messages = 0;
    for (int i = 0; i < flushes; i++) {
        if (now_us < next_us)
            now_us = next_us;
        now_us += cn_pace_wait_us(&pace, now_us);
        int64_t frames = (now_us - next_us) / every_us + 1;
        next_us += frames * every_us;
        messages += frames;
        flush(frames, 2500 + 100 * frames, 1);
    }
    return (int64_t)flushes * 100 / messages;
}

static void who_waits_for_what_he_is_sent_is_not_kept_waiting(void **state)
{
    (void)state;
    (void)closed_loop(20); // it learns
    int64_t took_us = closed_loop(LONG);
    assert_in_range(took_us, LONG * INT64_C(2700), LONG * INT64_C(2700) * 105 / 100);
}

static void what_is_on_its_way_is_waited_for_shortly(void **state)
{
    (void)state;
    (void)window_loop(20, 16);
    int64_t begin_us = now_us;
    assert_in_range(window_loop(LONG, 16), 6, 7); // not 12, as it would be at once
    assert_in_range(now_us - begin_us, LONG * INT64_C(3450), LONG * INT64_C(3600));
}

static void many_a_second_gather(void **state)
{
    (void)state;
    (void)open_loop(20, 3333);
    // 300 a second, 2.6 ms a flush: at once it would be 100 writes for 100 messages.
    assert_in_range(open_loop(LONG, 3333), 45, 58);
}

static void more_than_it_can_write_one_by_one_gather_too(void **state)
{
    (void)state;
    (void)open_loop(20, 500);
    int64_t paced = open_loop(LONG, 500);
    cn_pace_init(&pace, 0);
    (void)open_loop(20, 500);
    assert_in_range(paced * 100 / open_loop(LONG, 500), 25, 50);
}

static void it_follows_the_load(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        (void)closed_loop(600);
        assert_in_range(closed_loop(1000), 0, 1000 * 2700 * 105 / 100);
        (void)open_loop(600, 3333);
        assert_in_range(open_loop(1000, 3333), 45, 58);
    }
}

// Flushes after a pause say nothing of either way.
static void a_quiet_room_teaches_nothing(void **state)
{
    (void)state;
    (void)open_loop(300, 3333);
    (void)open_loop(1000, 100000);
    assert_in_range(open_loop(100, 3333), 45, 58);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_first_after_a_pause_goes_at_once, set_up),
        cmocka_unit_test_setup(a_few_close_together_go_at_once, set_up),
        cmocka_unit_test_setup(a_wait_is_half_as_long_again_as_the_flush_was, set_up),
        cmocka_unit_test_setup(all_slices_count, set_up),
        cmocka_unit_test_setup(a_wait_has_its_bound, set_up),
        cmocka_unit_test_setup(who_waits_for_what_he_is_sent_is_not_kept_waiting, set_up),
        cmocka_unit_test_setup(what_is_on_its_way_is_waited_for_shortly, set_up),
        cmocka_unit_test_setup(many_a_second_gather, set_up),
        cmocka_unit_test_setup(more_than_it_can_write_one_by_one_gather_too, set_up),
        cmocka_unit_test_setup(it_follows_the_load, set_up),
        cmocka_unit_test_setup(a_quiet_room_teaches_nothing, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
