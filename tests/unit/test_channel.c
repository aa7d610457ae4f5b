// SPDX-License-Identifier: MIT
// Channels between main and its loops: opening, closing, opening again meanwhile, and what a loop
// with a full mailbox missed.
#include "support/hub_rig.h"

#include <stdio.h>

#include "chatnode/clock.h"
#include "hub_private.h"

static struct hub_rig rig;

static int open_rig(void **state)
{
    (void)state;
    hub_rig_open(&rig, 2, NULL);
    hub_rig_start(&rig);
    return 0;
}

static int open_small_mailbox(void **state)
{
    (void)state;
    static const char *const settings[] = {
        "--mailbox", "1024", "--ring-frames", "16", "--history-messages", "5000", NULL};
    hub_rig_open(&rig, 2, settings);
    hub_rig_start(&rig);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

static void join(struct client *client, const char *room)
{
    client_send(client, "{\"type\":\"join\",\"room\":\"%s\"}", room);
}

static void leave(struct client *client, const char *room)
{
    client_send(client, "{\"type\":\"leave\",\"room\":\"%s\"}", room);
}

static void test_a_channel_lives_as_long_as_a_loop_has_members(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "");
    struct client *bob = rig_member(&rig, 1, "bob", "");
    int64_t channels = cn_metrics_sum(CN_M_CHANNELS);
    int64_t feeds = cn_metrics_sum(CN_M_FEEDS);
    join(ann, "hall");
    join(bob, "hall");
    hub_rig_settle(&rig);
    assert_int_equal(cn_metrics_sum(CN_M_CHANNELS), channels + 1);
    assert_int_equal(cn_metrics_sum(CN_M_FEEDS), feeds + 2);
    client_expect(ann, "joined");
    client_expect(bob, "joined");
    leave(ann, "hall");
    client_expect(ann, "left");
    rig_say(&rig, bob, "hall", "m0");
    client_expect_series(bob, "m", 0, 1);
    client_expect_nothing(ann);
    assert_int_equal(cn_metrics_sum(CN_M_CHANNELS), channels + 1);
    assert_int_equal(cn_metrics_sum(CN_M_FEEDS), feeds + 1);
    leave(bob, "hall");
    hub_rig_settle(&rig);
    assert_int_equal(cn_metrics_sum(CN_M_CHANNELS), channels);
    assert_int_equal(cn_metrics_sum(CN_M_FEEDS), feeds);
}

// Wherever main is with the unsubscribing, who comes back is a member and hears everything.
static void test_leaving_and_joining_again_meanwhile(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "");
    for (int turns = 0; turns < 6; turns++) {
        join(ann, "hall");
        hub_rig_settle(&rig);
        client_expect(ann, "joined");
        leave(ann, "hall");
        client_expect(ann, "left");
        for (int i = 0; i < turns; i++)
            i % 2 ? hub_rig_turn_loop(&rig, 0) : hub_rig_turn_main(&rig);
        join(ann, "hall");
        hub_rig_settle(&rig);
        client_expect(ann, "joined");
        rig_say(&rig, ann, "hall", "m0");
        client_expect_series(ann, "m", 0, 1);
        leave(ann, "hall");
        join(ann, "hall");
        leave(ann, "hall");
        hub_rig_settle(&rig);
        client_expect(ann, "left");
        client_expect(ann, "left");
        client_expect_nothing(ann);
    }
    assert_int_equal(cn_metrics_sum(CN_M_FEEDS), 1);
    assert_int_equal(cn_metrics_sum(CN_M_CHANNELS), 1);
}

// The first asks that main reads are about a channel that the loop has already left.
static void test_leaving_before_main_knew_of_the_join(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "");
    struct client *bob = rig_member(&rig, 0, "bob", "");
    join(ann, "hall");
    leave(ann, "hall");
    join(bob, "hall"); // waits until the feed has closed, then opens it again
    hub_rig_settle(&rig);
    client_expect(ann, "left");
    client_expect(bob, "joined");
    rig_say(&rig, bob, "hall", "m0");
    client_expect_series(bob, "m", 0, 1);
    join(ann, "nook");
    client_gone(ann);
    hub_rig_settle(&rig);
    assert_int_equal(cn_metrics_sum(CN_M_FEEDS), 2);
}

static void test_rooms_are_bounded_and_joining_again_is_no_second_membership(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "");
    int64_t bound = rig.config.max_rooms;
    for (int64_t i = 0; i <= bound; i++) {
        client_send(ann, "{\"type\":\"join\",\"room\":\"r%d\",\"id\":\"j\"}", (int)i);
        hub_rig_settle(&rig);
        if (i < bound)
            client_expect(ann, "joined");
    }
    assert_true(frame_has(client_expect(ann, "error"), "code", "\"too_many_rooms\""));
    join(ann, "r5"); // is in it already
    hub_rig_settle(&rig);
    client_expect(ann, "joined");
    rig_say(&rig, ann, "r5", "m0");
    client_expect_series(ann, "m", 0, 1);
    client_expect_nothing(ann);
    assert_int_equal(ann->session->rooms, bound);
    assert_int_equal(cn_metrics_sum(CN_M_MEMBERS), bound + 1);
}

// Fills loop 1's mailbox: only main and loop 0 turn.
static void flood(struct client *ann, int count)
{
    for (int i = 0; i < count; i++) {
        client_send(ann, "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"m%d\"}", i);
        if (i % 32 == 31 || i == count - 1) {
            hub_rig_turn_main(&rig);
            hub_rig_turn_loop(&rig, 0);
            hub_rig_turn_loop(&rig, 0);
        }
    }
}

static void wait_until_told(unsigned loop)
{
    int64_t missed_before = cn_metrics_sum(CN_M_MAILBOX_FULL_LOOP);
    // Main tells by a timer of the reactor's own clock.
    for (int i = 0; i < 1000 && !cn_list_is_empty(&rig.hub->missed); i++) {
        cn_reactor_turn(rig.reactor, 20);
        hub_rig_turn_loop(&rig, loop);
    }
    assert_true(cn_list_is_empty(&rig.hub->missed));
    assert_int_equal(cn_metrics_sum(CN_M_MAILBOX_FULL_LOOP), missed_before);
}

static void test_what_a_full_mailbox_missed_comes_from_history(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    struct client *bob = rig_member(&rig, 1, "bob", "hall");
    struct client *cid = rig_member(&rig, 1, "cid", "hall");
    fake_sink_limit(&cid->sink, 0);
    flood(ann, 2000);
    client_expect_series(ann, "m", 0, 2000);
    assert_int_equal(cn_metrics_sum(CN_M_MAILBOX_FULL_LOOP), 1);
    hub_rig_turn_loop(&rig, 1);
    wait_until_told(1);
    hub_rig_settle(&rig);
    client_expect_series(bob, "m", 0, 2000);
    client_expect_nothing(bob);
    client_drain(cid);
    hub_rig_settle(&rig);
    client_expect_series(cid, "m", 0, 2000);
    rig_say(&rig, ann, "hall", "m2000");
    client_expect_series(bob, "m", 2000, 1);
    client_expect_series(cid, "m", 2000, 1);
    client_expect_nothing(cid);
}

static void test_who_leaves_need_not_be_told_what_was_missed(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    struct client *bob = rig_member(&rig, 1, "bob", "hall");
    flood(ann, 1500);
    assert_false(cn_list_is_empty(&rig.hub->missed));
    leave(bob, "hall");
    hub_rig_turn_main(&rig);
    assert_true(cn_list_is_empty(&rig.hub->missed));
    hub_rig_settle(&rig);
    join(bob, "hall");
    hub_rig_settle(&rig);
    fake_sink_skip(&bob->sink);
    rig_say(&rig, ann, "hall", "m1500");
    client_expect_series(bob, "m", 1500, 1);
}

int main(void)
{
#define TEST(open, name) cmocka_unit_test_setup_teardown(name, open, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(open_rig, test_a_channel_lives_as_long_as_a_loop_has_members),
        TEST(open_rig, test_leaving_and_joining_again_meanwhile),
        TEST(open_rig, test_leaving_before_main_knew_of_the_join),
        TEST(open_rig, test_rooms_are_bounded_and_joining_again_is_no_second_membership),
        TEST(open_small_mailbox, test_what_a_full_mailbox_missed_comes_from_history),
        TEST(open_small_mailbox, test_who_leaves_need_not_be_told_what_was_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
