// SPDX-License-Identifier: MIT
// The shelf: one read of the log serves all who wait for it; and what a stalled member holds.
#include "support/hall.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub_private.h"

enum { CROWD = 1000 };

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

static size_t shared(void)
{
    return (size_t)cn_metrics_sum(CN_M_READS_SHARED);
}

// ---- Sharing ----

static void test_a_crowd_that_comes_back_reads_once(void **state)
{
    (void)state;
    struct client *ann = hall_fill(1, 60);
    static struct client *crowd[CROWD];
    for (int i = 0; i < CROWD; i++)
        crowd[i] = rig_member(&hall.rig, 0, NULL, "");
    hall.reads = 0;
    int64_t sent = cn_metrics_sum(CN_M_READS_SENT);
    for (int i = 0; i < CROWD; i++)
        hall_join(crowd[i], hall.said[9]);
    client_send(ann, "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"m60\"}");
    hub_rig_settle(&hall.rig);
    client_expect_series(ann, "m", 60, 1);
    assert_int_equal(hall.reads, 1);
    assert_int_equal(cn_metrics_sum(CN_M_READS_SENT) - sent, 1);
    assert_int_equal(shared(), CROWD - 1);
    for (int i = 0; i < CROWD; i++) {
        hall_expect_joined(crowd[i], "true");
        client_expect_series(crowd[i], "m", 10, 51);
        client_expect_nothing(crowd[i]);
        assert_int_equal(crowd[i]->session->in_flight, 0);
    }
    assert_int_equal(cn_metrics_sum(CN_M_LAGGING), 0);
    assert_int_equal(cn_metrics_sum(CN_M_JOINS_EXACT), CROWD);
}

// Positions close together, each in its turn: while the read is under way, and when it is here.
static void test_neighbours_share_a_page(void **state)
{
    (void)state;
    hall_fill(0, 300);
    for (int pass = 0; pass < 2; pass++) {
        struct client *crowd[50];
        for (int i = 0; i < 50; i++)
            crowd[i] = rig_member(&hall.rig, 0, NULL, "");
        hall.reads = 0;
        for (int i = 0; i < 50; i++)
            hall_join(crowd[i], hall.said[100 + i]);
        hub_rig_settle(&hall.rig);
        for (int i = 0; i < 50; i++) {
            hall_expect_joined(crowd[i], "true");
            client_expect_series(crowd[i], "m", 101 + i, 199 - i);
            client_expect_nothing(crowd[i]);
        }
        assert_true(hall.reads == (pass ? 0 : 4)); // 64 at a time, for 199
    }
}

static void test_the_newest_after_a_gap_are_shared(void **state)
{
    (void)state;
    hall_fill(1, 200);
    struct client *crowd[20];
    for (int i = 0; i < 20; i++)
        crowd[i] = rig_member(&hall.rig, 0, NULL, "");
    hall.reads = 0;
    for (int i = 0; i < 20; i++)
        hall_join(crowd[i], hall.said[3]); // trimmed long ago
    hub_rig_settle(&hall.rig);
    assert_int_equal(hall.reads, 2); // what follows, which is not exact; the newest
    assert_int_equal(shared(), 2 * 19);
    for (int i = 0; i < 20; i++) {
        hall_expect_joined(crowd[i], "false");
        client_expect(crowd[i], "gap");
        client_expect_series(crowd[i], "m", 100, 100);
        client_expect_nothing(crowd[i]);
    }
}

static void test_who_read_first_may_leave(void **state)
{
    (void)state;
    hall_fill(0, 60);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    struct client *cid = rig_member(&hall.rig, 0, "cid", "");
    struct client *dan = rig_member(&hall.rig, 0, "dan", "");
    hall.reads = 0;
    hall_join(bob, hall.said[9]);
    hall_join(cid, hall.said[9]);
    hall_join(dan, hall.said[11]);
    hub_rig_turn_main(&hall.rig); // the page is on its way
    client_gone(bob);
    client_send(cid, "{\"type\":\"leave\",\"room\":\"hall\"}");
    hub_rig_settle(&hall.rig);
    hall_expect_joined(dan, "true");
    client_expect_series(dan, "m", 12, 48);
    client_expect(cid, "left");
    client_expect_nothing(cid);
    assert_int_equal(hall.reads, 1);
    assert_int_equal(cid->session->in_flight, 0);
}

// The feed ends and begins anew while its page is on the way.
static void test_a_page_for_a_feed_that_ended(void **state)
{
    (void)state;
    struct client *ann = hall_fill(1, 60);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "hall");
    hall_join(bob, hall.said[9]);
    hall.holds = true;
    hub_rig_settle(&hall.rig);
    client_send(bob, "{\"type\":\"leave\",\"room\":\"hall\"}");
    hub_rig_settle(&hall.rig);
    hall_join(bob, hall.said[19]);
    hub_rig_settle(&hall.rig);
    assert_int_equal(hall.held_count, 2);
    hall_release();
    client_expect(bob, "left");
    hall_expect_joined(bob, "true");
    client_expect_series(bob, "m", 20, 40);
    client_expect_nothing(bob);
    hall_say(ann, 60);
    client_expect_series(bob, "m", 60, 1);
    assert_int_equal(bob->session->in_flight, 0);
}

// ---- Bounds ----

static void test_only_so_many_reads_of_a_feed_at_once(void **state)
{
    (void)state;
    enum { APART = 10, READS_AT_ONCE = 16 };
    struct client *ann = hall_fill(0, 500);
    struct client *crowd[40];
    hall.holds = true;
    for (int i = 0; i < 40; i++) { // each before those who read already
        crowd[i] = rig_member(&hall.rig, 0, NULL, "");
        hall_join(crowd[i], hall.said[450 - APART * i]);
        hub_rig_settle(&hall.rig);
    }
    assert_int_equal(hall.held_count, READS_AT_ONCE);
    client_send(crowd[39], "{\"type\":\"leave\",\"room\":\"hall\"}"); // it waited for its turn
    hall_release();
    for (int i = 0; i < 39; i++) {
        hall_expect_joined(crowd[i], "true");
        client_expect_series(crowd[i], "m", 451 - APART * i, 49 + APART * i);
        client_expect_nothing(crowd[i]);
    }
    hall_say(ann, 500);
    client_expect_series(crowd[20], "m", 500, 1);
    client_expect(crowd[39], "left");
    client_expect_nothing(crowd[39]);
}

static void test_pages_are_kept_for_a_moment_only(void **state)
{
    (void)state;
    hall_fill(0, 300);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    hall_join(bob, hall.said[9]);
    hub_rig_settle(&hall.rig);
    struct cn_loop *loop = bob->loop;
    assert_int_equal(loop->kept_pages, 5);
    assert_true(loop->kept_bytes > 0);
    assert_int_equal(cn_metrics_sum(CN_M_SHELF_BYTES), (int64_t)loop->kept_bytes);
    hub_rig_pass_ms(&hall.rig, 1999);
    assert_int_equal(loop->kept_pages, 5);
    hub_rig_pass_ms(&hall.rig, 1);
    assert_int_equal(loop->kept_pages, 0);
    assert_int_equal(loop->kept_bytes, 0);
    assert_int_equal(cn_metrics_sum(CN_M_SHELF_BYTES), 0);
}

static void test_the_pages_kept_have_a_size(void **state)
{
    (void)state;
    struct client *ann = rig_member(&hall.rig, 0, "ann", "");
    char padding[30001];
    memset(padding, '.', sizeof(padding) - 1);
    padding[sizeof(padding) - 1] = '\0';
    for (int room = 0; room < 8; room++) { // about 1.1 MiB each
        char name[16];
        snprintf(name, sizeof(name), "room-%d", room);
        client_send(ann, "{\"type\":\"join\",\"room\":\"%s\"}", name);
        for (int i = 0; i < 40; i++) {
            rig_say(&hall.rig, ann, name, padding);
            fake_sink_skip(&ann->sink);
        }
        client_send(ann, "{\"type\":\"join\",\"room\":\"%s\",\"since\":\"0-0\"}", name);
        hub_rig_settle(&hall.rig);
        client_expect(ann, "joined");
        assert_int_equal(fake_sink_count(&ann->sink, 1) - ann->sink.next, 40);
        fake_sink_skip(&ann->sink);
        assert_true(ann->loop->kept_bytes <= 4 << 20);
    }
    assert_true(ann->loop->kept_bytes > 3 << 20);
    assert_int_equal(ann->loop->kept_pages, 7); // each room had two, since a page is cut at 1 MiB
}

// ---- What one member with a full socket costs: its position ----

static void test_a_member_that_is_stalled_holds_no_page(void **state)
{
    (void)state;
    struct client *ann = hall_fill(0, 300);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    struct client *cid = rig_member(&hall.rig, 0, "cid", "");
    char padding[1001];
    memset(padding, '.', sizeof(padding) - 1);
    padding[sizeof(padding) - 1] = '\0';
    for (int i = 0; i < 100; i++)
        rig_say(&hall.rig, ann, "hall", padding);
    fake_sink_limit(&bob->sink, 1); // the answer to the join fills it
    fake_sink_limit(&cid->sink, 2); // the first 32 KiB, in the midst of a page
    hall_join(bob, hall.said[200]);
    hall_join(cid, hall.said[299]);
    hub_rig_settle(&hall.rig);
    assert_true(bob->session->choked && cid->session->choked);
    assert_int_equal(cn_metrics_sum(CN_M_LAGGING), 2);
    hub_rig_pass_ms(&hall.rig, 2500);
    assert_int_equal(bob->loop->kept_pages, 0);
    hall.reads = 0;
    hub_rig_settle(&hall.rig);
    assert_int_equal(hall.reads, 0); // nothing is read for a socket that takes nothing
    client_drain(bob);
    hub_rig_settle(&hall.rig);
    hall_expect_joined(bob, "true");
    client_expect_series(bob, "m", 201, 99);
    assert_int_equal(hall.reads, 4); // all of its 199 entries, 64 at a time
    hub_rig_pass_ms(&hall.rig, 2500);
    hall.reads = 0;
    client_drain(cid);
    hub_rig_settle(&hall.rig);
    assert_int_equal(hall.reads, 2); // what was left of the page too
    hall_expect_joined(cid, "true");
    for (int i = 0; i < 100; i++) {
        client_expect(bob, "message");
        client_expect(cid, "message");
    }
    client_expect_nothing(bob);
    client_expect_nothing(cid);
    assert_int_equal(cn_metrics_sum(CN_M_LAGGING), 0);
}

// A page that comes when the socket has become full is not kept for it, and no answer is given
// that may turn out wrong.
static void test_a_page_that_finds_the_socket_full(void **state)
{
    (void)state;
    struct client *ann = hall_fill(0, 60);
    struct client *bob = rig_member(&hall.rig, 0, "bob", "");
    hall.holds = true;
    hall_join(bob, hall.said[9]);
    hub_rig_settle(&hall.rig);
    fake_sink_limit(&bob->sink, 0);
    client_send(bob, "{\"type\":\"ping\"}");
    hall_release();
    client_expect(bob, "pong");
    client_expect_nothing(bob);
    hall_say(ann, 60);
    client_drain(bob);
    hub_rig_settle(&hall.rig);
    hall_expect_joined(bob, "true");
    client_expect_series(bob, "m", 10, 51);
    client_expect_nothing(bob);
}

int main(void)
{
#define TEST(open, name) cmocka_unit_test_setup_teardown(name, open, hall_close)
    const struct CMUnitTest tests[] = {
        TEST(open_rig, test_a_crowd_that_comes_back_reads_once),
        TEST(open_rig, test_neighbours_share_a_page),
        TEST(open_short_log, test_the_newest_after_a_gap_are_shared),
        TEST(open_rig, test_who_read_first_may_leave),
        TEST(open_rig, test_a_page_for_a_feed_that_ended),
        TEST(open_rig, test_only_so_many_reads_of_a_feed_at_once),
        TEST(open_rig, test_pages_are_kept_for_a_moment_only),
        TEST(open_rig, test_the_pages_kept_have_a_size),
        TEST(open_rig, test_a_member_that_is_stalled_holds_no_page),
        TEST(open_rig, test_a_page_that_finds_the_socket_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
