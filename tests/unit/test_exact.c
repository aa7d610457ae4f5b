// SPDX-License-Identifier: MIT
// Recovery is exact or says that it is not: what the log answers when it changes under the reader.
#include "support/hall.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub_private.h"

static int open_rig(void **state)
{
    (void)state;
    return hall_open((const char *const[]){"--ring-frames", "16", NULL});
}

static int open_short_log(void **state)
{
    (void)state;
    return hall_open(
        (const char *const[]){"--ring-frames", "16", "--history-messages", "120", NULL});
}

static int open_short_life(void **state)
{
    (void)state;
    return hall_open((const char *const[]){"--ring-frames", "16", "--history-ttl", "20",
                                           "--slow-timeout", "3600000", "--ping-interval",
                                           "3600000", "--pong-timeout", "3600000", NULL});
}

static struct cn_entry entry_of(struct cn_pos pos, const char *content, char text[256])
{
    char where[CN_POS_TEXT_BYTES];
    size_t len = cn_pos_format(pos, where);
    int end = snprintf(text, 256,
                       "{\"pos\":\"%.*s\",\"ts\":1,\"type\":\"message\",\"room\":\"hall\","
                       "\"from\":\"ann\",\"content\":\"%s\"}",
                       (int)len, where, content);
    return (struct cn_entry){pos, {text, (size_t)end}};
}

// The second page does not follow the first one: the log was trimmed in between.
static void test_an_inexact_second_page_is_a_gap(void **state)
{
    (void)state;
    struct client *ann = hall_fill(0, 200);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    hall.holds = true;
    hall_join(bob, hall.said[99]);
    hub_rig_settle(&hall.rig);
    char text[2][256];
    struct cn_entry entries[] = {entry_of(hall_pos(100), "m100", text[0]),
                                 entry_of(hall_pos(101), "m101", text[1])};
    const struct cn_page first = {
        .entries = entries, .count = 2, .exact = true, .more = true, .tail = hall_pos(199)};
    hall_answer(&first);
    hall_expect_joined(bob, "true");
    client_expect_series(bob, "m", 100, 2);
    client_expect_nothing(bob);
    struct cn_entry later = entry_of(hall_pos(150), "m150", text[0]);
    const struct cn_page second = {.entries = &later, .count = 1, .tail = hall_pos(199)};
    hall_answer(&second);
    client_expect_nothing(bob); // of the page that does not fit nothing is shown
    hall_release();
    assert_true(frame_has(client_expect(bob, "gap"), "reset", "true"));
    client_expect_series(bob, "m", 100, 100);
    hall_say(ann, 200);
    client_expect_series(bob, "m", 200, 1);
    client_expect_nothing(bob);
}

// Who cannot go on from where it was reads the newest. That may take long, and more is said
// meanwhile than they hold: whoever is told of the gap misses nothing that is said after that.
static void test_the_gap_is_told_when_the_newest_are_there(void **state)
{
    (void)state;
    struct client *ann = hall_fill(0, 20);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    hall.holds = true;
    hall_join(bob, "1-1");
    hub_rig_settle(&hall.rig);
    const struct cn_page lost = {.tail = hall_pos(19)};
    hall_answer(&lost);
    hall_expect_joined(bob, "false");
    const struct cn_page away = {.err = CN_UNAVAILABLE};
    hall_answer(&away); // and so the newest are asked for again
    for (int i = 20; i < 150; i++)
        hall_say(ann, i);
    client_expect_nothing(bob);
    hub_rig_pass_ms(&hall.rig, 1000);
    hall_release();
    client_expect(bob, "gap");
    client_expect_series(bob, "m", 50, 100);
    hall_say(ann, 150);
    client_expect_series(bob, "m", 150, 1);
    client_expect_nothing(bob);
}

// A page of which the bus left everything out, since it was not well-formed, and there is more.
static void test_an_empty_page_with_more_behind_it(void **state)
{
    (void)state;
    hall_fill(0, 100);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    hall.holds = true;
    hall_join(bob, hall.said[5]);
    hub_rig_settle(&hall.rig);
    const struct cn_page empty = {.exact = true, .more = true, .tail = hall_pos(99)};
    hall_answer(&empty);
    hall_release();
    hall_expect_joined(bob, "true");
    client_expect(bob, "gap");
    client_expect_series(bob, "m", 0, 100);
    client_expect_nothing(bob);
}

// Between two pages the log ends, and a new generation begins.
static void test_a_new_generation_between_two_pages(void **state)
{
    (void)state;
    struct client *ann = hall_fill(0, 200);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    hall_join(bob, hall.said[99]);
    hub_rig_turn_main(&hall.rig); // the first page is on its way
    hall.holds = true;
    hub_rig_settle(&hall.rig);
    hall_expect_joined(bob, "true");
    client_expect_series(bob, "m", 100, 64);
    client_expect_nothing(bob);
    hub_rig_pass_ms(&hall.rig, 20 * 1000);
    for (int i = 200; i < 240; i++) // more than the ring hall.holds
        hall_say(ann, i);
    hall_release();
    client_expect(bob, "gap");
    client_expect_series(bob, "m", 200, 40);
    client_expect_nothing(bob);
    hall_say(ann, 240);
    client_expect_series(bob, "m", 240, 1);
}

// Nobody gets less from a page read for another than from one of his own: here the log is trimmed
// while the read is under way, and the position of him who shares it is not in it.
static void test_a_shared_page_that_does_not_fit(void **state)
{
    (void)state;
    struct client *ann = hall_fill(0, 120);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    struct client *cid = rig_member(&hall.rig, 0, "cid", "");
    struct client *dan = rig_member(&hall.rig, 0, "dan", "");
    hall.holds = true;
    hall_join(bob, hall.said[10]);
    hall_join(cid, hall.said[20]);
    hall_join(dan, hall.said[60]);
    hub_rig_settle(&hall.rig);
    assert_int_equal(hall.held_count, 1);
    for (int i = 120; i < 150; i++) // 30 to 149 are left
        hall_say(ann, i);
    hall.reads = 0;
    hall_release();
    hall_expect_joined(bob, "false");
    client_expect(bob, "gap");
    client_expect_series(bob, "m", 50, 100);
    hall_expect_joined(cid, "false");
    client_expect(cid, "gap");
    client_expect_series(cid, "m", 50, 100);
    hall_expect_joined(dan, "true");
    client_expect_series(dan, "m", 61, 89);
    client_expect_nothing(bob);
    client_expect_nothing(cid);
    client_expect_nothing(dan);
}

// A position that was never given, above all others, in a room without entries: nothing later may
// be withheld because it is lower.
static void test_a_position_of_the_future_in_an_empty_room(void **state)
{
    (void)state;
    struct client *ann = rig_member(&hall.rig, 0, "ann", "hall");
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    hall_join(bob, "18446744073709551615-7");
    hub_rig_settle(&hall.rig);
    hall_expect_joined(bob, "false");
    client_expect(bob, "gap");
    hall_say(ann, 0);
    client_expect_series(bob, "m", 0, 1);
    hall_say(ann, 1);
    client_expect_series(bob, "m", 1, 1);
    client_expect_nothing(bob);
}

// The log has expired while the ring still has entries: they are what is left of the newest.
static void test_a_log_that_expired_under_the_ring(void **state)
{
    (void)state;
    struct client *ann = hall_fill(0, 5);
    hub_rig_pass_ms(&hall.rig, 20 * 1000);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    hall_join(bob, "99-7");
    hub_rig_settle(&hall.rig);
    hall_expect_joined(bob, "false");
    client_expect(bob, "gap");
    client_expect_series(bob, "m", 0, 5);
    client_expect_nothing(bob);
    hall_say(ann, 5);
    client_expect_series(bob, "m", 5, 1);
}

// The channel begins anew, as after the loss of a Redis: pages of before are not shown to who
// comes now, and who was ahead of the bus does not wait for what will never come.
static void test_a_reset_clears_the_shelf(void **state)
{
    (void)state;
    hall_fill(0, 100);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    struct client *cid = rig_member(&hall.rig, 0, "cid", "");
    hall_join(bob, hall.said[30]);
    hub_rig_settle(&hall.rig);
    assert_true(bob->loop->kept_pages > 0);
    hall.holds = true;
    hall_join(cid, hall.said[0]);
    hub_rig_settle(&hall.rig);
    assert_int_equal(hall.held_count, 1);
    struct cn_channel_name name;
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("hall"), &name), CN_OK);
    cn_channel_on_reset(hall.rig.hub, &name, (struct cn_pos){UINT64_MAX - 5, 3});
    hub_rig_settle(&hall.rig);
    assert_int_equal(bob->loop->kept_pages, 0);
    struct client *dan = rig_member(&hall.rig, 0, "dan", "");
    hall_join(dan, hall.said[0]);
    hub_rig_settle(&hall.rig);
    assert_int_equal(hall.held_count, 2); // it does not wait for the read of before
    hall_release();
    // The log here is still the old one and never reaches the ring: that is said, and ends.
    hall_expect_joined(dan, "true");
    client_expect_series(dan, "m", 1, 99);
    client_expect(dan, "gap");
    client_expect(dan, "gap"); // the one that all get, in the ring
    client_expect_nothing(dan);
}

static void test_who_is_ahead_when_the_channel_begins_anew(void **state)
{
    (void)state;
    struct client *ann = hall_fill(0, 40);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    hall.holds = true;
    hall_join(bob, hall.said[9]);
    hub_rig_settle(&hall.rig);
    struct cn_pos far = {UINT64_MAX - 5, 3};
    char text[256];
    struct cn_entry entry = entry_of(far, "m10", text);
    const struct cn_page page = {.entries = &entry, .count = 1, .exact = true, .tail = far};
    hall_answer(&page);
    hall_expect_joined(bob, "true");
    client_expect_series(bob, "m", 10, 1);
    hall_say(ann, 40);
    client_expect_nothing(bob); // it waits for the bus to come so far
    struct cn_channel_name name;
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("hall"), &name), CN_OK);
    cn_channel_on_reset(hall.rig.hub, &name, hall_pos(39));
    hall.holds = false;
    hub_rig_settle(&hall.rig);
    client_expect(bob, "gap");
    client_expect_series(bob, "m", 0, 41);
    client_expect_nothing(bob);
    client_expect(ann, "gap");
    hall_say(ann, 41);
    client_expect_series(bob, "m", 41, 1);
    client_expect_nothing(bob); // not the gap once more that stands in the ring
}

static void reset_at(struct client *ann, int last)
{
    struct cn_channel_name name;
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("hall"), &name), CN_OK);
    cn_channel_on_reset(hall.rig.hub, &name, hall_pos(last));
    hub_rig_settle(&hall.rig);
    client_expect(ann, "gap");
}

// Whoever comes back with a position that the log has is told no gap, however the ring begins.
static void test_a_gap_in_the_ring_is_not_for_who_lost_nothing(void **state)
{
    (void)state;
    struct client *ann = hall_fill(0, 40);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    struct client *dan = rig_member(&hall.rig, 0, "dan", "");
    reset_at(ann, 39);
    hall_join(bob, hall.said[39]);
    hall_join(dan, hall.said[20]);
    hub_rig_settle(&hall.rig);
    hall_say(ann, 40);
    hall_expect_joined(bob, "true");
    client_expect_series(bob, "m", 40, 1);
    client_expect_nothing(bob);
    hall_expect_joined(dan, "true");
    client_expect_series(dan, "m", 21, 20);
    client_expect_nothing(dan);
}

// One who was told the gap, and falls behind before anything follows it, goes on behind the gap.
static void test_who_falls_after_a_gap_misses_nothing_behind_it(void **state)
{
    (void)state;
    struct client *ann = hall_fill(0, 40);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "hall");
    hub_rig_settle(&hall.rig);
    fake_sink_skip(&bob->sink);
    reset_at(ann, 39);
    client_expect(bob, "gap");
    fake_sink_limit(&bob->sink, 0);
    client_send(bob, "{\"type\":\"ping\"}");
    for (int i = 40; i < 400; i++)
        hall_say(ann, i);
    hub_rig_settle(&hall.rig);
    client_drain(bob);
    hub_rig_settle(&hall.rig);
    client_expect(bob, "pong");
    client_expect_series(bob, "m", 40, 360);
    client_expect_nothing(bob);
}

// A read that fails is tried again, once for all who need it.
static void test_a_read_that_fails_is_tried_again_for_all(void **state)
{
    (void)state;
    hall_fill(0, 60);
    struct client *crowd[10];
    for (int i = 0; i < 10; i++) {
        crowd[i] = rig_member(&hall.rig, 0, NULL, "");
        const struct cn_recovery_order order = {
            .has_since = true, .since = hall_pos(9), .patient = true};
        struct cn_channel_name name;
        assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("hall"), &name), CN_OK);
        hall.holds = true;
        assert_int_equal(cn_member_join(crowd[i]->session, &name, &order), CN_OK);
        hub_rig_settle(&hall.rig);
    }
    hall.reads = 0;
    const struct cn_page failed = {.err = CN_UNAVAILABLE};
    hall_answer(&failed);
    hall.holds = false;
    hub_rig_pass_ms(&hall.rig, 50);
    assert_int_equal(hall.reads, 1);
    for (int i = 0; i < 10; i++) {
        hall_expect_joined(crowd[i], "true");
        client_expect_series(crowd[i], "m", 10, 50);
    }
}

int main(void)
{
#define TEST(open, name) cmocka_unit_test_setup_teardown(name, open, hall_close)
    const struct CMUnitTest tests[] = {
        TEST(open_rig, test_an_inexact_second_page_is_a_gap),
        TEST(open_rig, test_the_gap_is_told_when_the_newest_are_there),
        TEST(open_rig, test_an_empty_page_with_more_behind_it),
        TEST(open_short_life, test_a_new_generation_between_two_pages),
        TEST(open_short_log, test_a_shared_page_that_does_not_fit),
        TEST(open_rig, test_a_position_of_the_future_in_an_empty_room),
        TEST(open_short_life, test_a_log_that_expired_under_the_ring),
        TEST(open_rig, test_a_reset_clears_the_shelf),
        TEST(open_rig, test_who_is_ahead_when_the_channel_begins_anew),
        TEST(open_rig, test_a_gap_in_the_ring_is_not_for_who_lost_nothing),
        TEST(open_rig, test_who_falls_after_a_gap_misses_nothing_behind_it),
        TEST(open_rig, test_a_read_that_fails_is_tried_again_for_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
