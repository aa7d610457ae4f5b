// SPDX-License-Identifier: MIT
// A session: its welcome, its outbox, its pings, and its one end.
#include "support/hub_rig.h"

#include <stdio.h>
#include <string.h>

#include "hub_private.h"

static struct hub_rig rig;

static int open_rig(void **state)
{
    (void)state;
    hub_rig_open(&rig, 1, NULL);
    hub_rig_start(&rig);
    return 0;
}

static int open_small_rig(void **state)
{
    (void)state;
    static const char *const settings[] = {"--outbox", "4096", NULL};
    hub_rig_open(&rig, 1, settings);
    hub_rig_start(&rig);
    return 0;
}

static int open_patient_rig(void **state)
{
    (void)state;
    static const char *const settings[] = {"--slow-timeout", "3600000", NULL};
    hub_rig_open(&rig, 1, settings);
    hub_rig_start(&rig);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

static int64_t closed(enum cn_reason reason)
{
    return cn_metrics_sum(cn_metric_closed(reason));
}

// ---- Birth ----

static void test_welcome_then_inbox_then_room(void **state)
{
    (void)state;
    struct client *ann = rig_client(&rig, 0, "ann", NULL);
    const char *text = client_expect(ann, "welcome");
    assert_true(frame_has(text, "user", "\"ann\""));
    assert_true(frame_has(text, "node", "\"rig\""));
    assert_true(frame_has(text, "durability", "\"memory\""));
    client_expect_nothing(ann); // main has not opened the channels yet
    hub_rig_settle(&rig);
    text = client_expect(ann, "joined");
    assert_true(frame_has(text, "inbox", "true"));
    text = client_expect(ann, "joined");
    assert_true(frame_has(text, "room", "\"lobby\""));
    assert_true(frame_has(text, "pos", "\"0-0\""));
    client_expect_nothing(ann);
}

static void test_an_empty_room_is_no_room(void **state)
{
    (void)state;
    struct client *ann = rig_client(&rig, 0, "ann", "");
    hub_rig_settle(&rig);
    client_expect(ann, "welcome");
    assert_true(frame_has(client_expect(ann, "joined"), "inbox", "true"));
    client_expect_nothing(ann);
    assert_int_equal(cn_metrics_sum(CN_M_MEMBERS), 1);
}

static void test_guests_get_names_of_their_own(void **state)
{
    (void)state;
    char name[65];
    struct client *one = rig_client(&rig, 0, NULL, "");
    struct client *two = rig_client(&rig, 0, NULL, "");
    snprintf(name, sizeof(name), "%s", frame_text(client_expect(one, "welcome"), "user"));
    assert_memory_equal(name, "guest-", 6);
    assert_int_equal(strlen(name), 14);
    assert_string_not_equal(frame_text(client_expect(two, "welcome"), "user"), name);
}

static void test_ping_binary_and_nonsense_are_answered(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "{\"type\":\"ping\",\"id\":\"p1\"}");
    assert_true(frame_has(client_expect(ann, "pong"), "id", "\"p1\""));
    cn_session_receive_binary(ann->session);
    assert_true(frame_has(client_expect(ann, "error"), "code", "\"binary\""));
    client_send(ann, "{\"type\":\"dance\",\"id\":\"d1\"}");
    const char *text = client_expect(ann, "error");
    assert_true(frame_has(text, "code", "\"unknown_type\""));
    assert_true(frame_has(text, "id", "\"d1\""));
    assert_int_equal(cn_metrics_sum(CN_M_REQUESTS), 3);
    assert_int_equal(cn_metrics_sum(CN_M_PROBLEMS), 2);
}

// ---- The end ----

static void test_an_end_is_counted_once_under_its_first_reason(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    cn_session_close(ann->session, CN_REASON_TOO_BIG);
    cn_session_close(ann->session, CN_REASON_SLOW);
    assert_true(ann->sink.closed);
    assert_int_equal(ann->sink.reason, CN_REASON_TOO_BIG);
    client_gone(ann);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    cn_session_detach(bob->session, CN_REASON_PEER);
    bob->session = NULL;
    assert_false(bob->sink.closed); // nothing is left to close
    assert_int_equal(closed(CN_REASON_TOO_BIG), 1);
    assert_int_equal(closed(CN_REASON_PEER), 1);
    assert_int_equal(closed(CN_REASON_SLOW), 0);
    assert_int_equal(closed(CN_REASON_LOST), 0);
    assert_int_equal(cn_metrics_sum(CN_M_SESSIONS), 0);
    assert_int_equal(cn_metrics_sum(CN_M_SESSIONS_OPENED), 2);
}

static void test_a_closed_session_hears_and_says_nothing(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    cn_session_close(ann->session, CN_REASON_INTERNAL);
    client_send(ann, "{\"type\":\"ping\"}");
    client_send(ann, "hello");
    cn_session_receive_binary(ann->session);
    cn_session_alive(ann->session);
    cn_session_writable(ann->session);
    rig_say(&rig, bob, "lobby", "hi");
    client_expect_nothing(ann);
    client_expect(bob, "message");
    client_expect_nothing(bob);
}

static void test_memory_is_freed_at_the_end_of_the_turn(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct cn_loop *loop = ann->loop;
    assert_int_equal(cn_loop_sessions(loop), 1);
    cn_session_close(ann->session, CN_REASON_RESTART);
    assert_int_equal(cn_loop_sessions(loop), 1); // the socket is still there
    client_gone(ann);
    assert_int_equal(cn_loop_sessions(loop), 0);
    assert_false(cn_list_is_empty(&loop->dead));
    hub_rig_turn_loop(&rig, 0);
    assert_true(cn_list_is_empty(&loop->dead));
}

// ---- The outbox ----

static void test_a_slow_reader_is_closed_at_the_bound(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    fake_sink_limit(&ann->sink, 0);
    client_send(ann, "{\"type\":\"ping\"}"); // fills the socket
    size_t waiting = 0;
    while (!ann->sink.closed) {
        waiting = ann->session->outbox.len;
        assert_true(waiting <= 4096);
        client_send(ann, "{\"type\":\"ping\"}");
    }
    assert_true(waiting > 4000);
    assert_int_equal(ann->sink.reason, CN_REASON_SLOW);
    assert_int_equal(closed(CN_REASON_SLOW), 1);
    assert_int_equal(ann->session->outbox.cap, 0);
}

// The bound is reached by the answer to a join, while the new member is being made ready.
static void test_the_bound_is_reached_in_the_midst_of_a_join(void **state)
{
    (void)state;
    struct client *bob = rig_member(&rig, 0, "bob", "hall");
    rig_say(&rig, bob, "hall", "zero");
    char since[CN_POS_TEXT_BYTES];
    snprintf(since, sizeof(since), "%s", frame_text(client_expect(bob, "message"), "pos"));
    rig_say(&rig, bob, "hall", "one");
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    fake_sink_limit(&ann->sink, 0);
    client_send(ann, "{\"type\":\"ping\"}");
    for (int i = 0; !ann->sink.closed; i++) {
        assert_true(i < 1000);
        client_send(ann, "{\"type\":\"join\",\"room\":\"hall\",\"since\":\"%s\"}", since);
    }
    assert_int_equal(ann->sink.reason, CN_REASON_SLOW);
    hub_rig_settle(&rig);
    rig_say(&rig, bob, "hall", "two");
    assert_int_equal(cn_metrics_sum(CN_M_MEMBERS), 2);
}

// The same by a page: three answers in a row about one member.
static void test_the_bound_is_reached_by_a_page(void **state)
{
    (void)state;
    for (int filling = 0; filling < 60; filling++) {
        struct client *ann = rig_member(&rig, 0, "ann", NULL);
        fake_sink_limit(&ann->sink, 0);
        client_send(ann, "{\"type\":\"ping\"}");
        while (ann->session->outbox.len < 3900 + (size_t)filling * 3)
            client_send(ann, "{\"type\":\"ping\",\"id\":\"%.*s\"}", 1 + filling % 3, "aaa");
        client_send(ann, "{\"type\":\"join\",\"room\":\"lobby\",\"since\":\"5-5\"}");
        hub_rig_settle(&rig);
        assert_true(ann->sink.closed || ann->session->outbox.len <= 4096);
        client_gone(ann);
    }
}

static void test_many_answers_are_no_slowness_while_the_socket_takes_them(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    for (int i = 0; i < 10; i++)
        rig_say(&rig, ann, "lobby",
                "a message of some hundred bytes, so that pages of history come to something: "
                "abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz");
    fake_sink_skip(&ann->sink);
    for (int i = 0; i < 20; i++)
        client_send(ann, "{\"type\":\"history\",\"limit\":5}");
    hub_rig_settle(&rig);
    assert_false(ann->sink.closed);
    for (int i = 0; i < 20; i++)
        client_expect(ann, "history");
}

// The sink checks that no write is larger than it may be.
static void test_what_waited_goes_out_in_writes_of_the_right_size(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    fake_sink_limit(&ann->sink, 0);
    client_send(ann, "{\"type\":\"ping\"}");
    for (int i = 0; i < 3000; i++)
        client_send(ann, "{\"type\":\"ping\",\"id\":\"p%d\"}", i);
    assert_false(ann->sink.closed);
    fake_sink_skip(&ann->sink);
    size_t before = ann->sink.writes;
    fake_sink_drain(&ann->sink);
    fake_sink_limit(&ann->sink, 2); // takes two writes, then it is full again
    cn_session_writable(ann->session);
    assert_int_equal(ann->sink.writes, before + 2);
    assert_true(ann->sink.full);
    assert_true(ann->session->outbox.len > 0);
    client_drain(ann);
    assert_true(ann->sink.largest_write > CN_SINK_BYTES / 2);
    for (int i = 0; i < 3000; i++) {
        char id[16];
        snprintf(id, sizeof(id), "\"p%d\"", i);
        assert_true(frame_has(client_expect(ann, "pong"), "id", id));
    }
    client_expect_nothing(ann);
}

// ---- Pings ----

static size_t pings(const struct client *client)
{
    return fake_sink_count(&client->sink, CN_OPCODE_PING);
}

static void test_a_silent_session_is_pinged_and_then_ended(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    int64_t interval_ms = rig.config.ping_interval_ms;
    int64_t timeout_ms = rig.config.pong_timeout_ms;
    hub_rig_pass_ms(&rig, interval_ms - 1);
    assert_int_equal(pings(ann), 0);
    hub_rig_pass_ms(&rig, 1);
    assert_int_equal(pings(ann), 1);
    hub_rig_pass_ms(&rig, timeout_ms - 1);
    cn_session_alive(ann->session); // a pong in the last moment
    hub_rig_pass_ms(&rig, 1);
    assert_false(ann->sink.closed);
    hub_rig_pass_ms(&rig, interval_ms);
    assert_int_equal(pings(ann), 2);
    hub_rig_pass_ms(&rig, timeout_ms);
    assert_true(ann->sink.closed);
    assert_int_equal(ann->sink.reason, CN_REASON_NO_PONG);
    assert_int_equal(closed(CN_REASON_NO_PONG), 1);
}

static void test_who_speaks_is_not_pinged(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    for (int i = 0; i < 10; i++) {
        hub_rig_pass_ms(&rig, rig.config.ping_interval_ms - 1);
        client_send(ann, "{\"type\":\"ping\"}");
    }
    assert_int_equal(pings(ann), 0);
}

static void test_a_full_socket_gets_no_ping_and_reading_on_is_its_pong(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    fake_sink_limit(&ann->sink, 0);
    fake_sink_limit(&bob->sink, 0);
    client_send(ann, "{\"type\":\"ping\"}");
    client_send(bob, "{\"type\":\"ping\"}");
    hub_rig_pass_ms(&rig, rig.config.ping_interval_ms);
    assert_int_equal(pings(ann), 0);
    client_drain(ann);
    hub_rig_pass_ms(&rig, rig.config.pong_timeout_ms);
    assert_false(ann->sink.closed);
    assert_true(bob->sink.closed); // it took nothing for all that time
    assert_int_equal(bob->sink.reason, CN_REASON_NO_PONG);
}

// Also one that goes on sending, and is alive for all that.
static void test_who_takes_nothing_in_time_is_closed_as_slow(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    struct client *cid = rig_member(&rig, 0, "cid", NULL);
    fake_sink_limit(&bob->sink, 0);
    fake_sink_limit(&cid->sink, 0);
    rig_say(&rig, ann, "lobby", "one"); // fills both
    int64_t timeout_ms = rig.config.slow_timeout_ms;
    for (int i = 0; i < 9; i++) {
        client_send(bob, "{\"type\":\"ping\"}");
        client_send(cid, "{\"type\":\"ping\"}");
        hub_rig_pass_ms(&rig, timeout_ms / 10);
    }
    fake_sink_drain(&cid->sink);
    fake_sink_limit(&cid->sink, 0);
    cn_session_writable(cid->session); // it takes something, and is full again
    hub_rig_pass_ms(&rig, timeout_ms / 10 - 1);
    assert_false(bob->sink.closed);
    hub_rig_pass_ms(&rig, 1);
    assert_true(bob->sink.closed);
    assert_int_equal(bob->sink.reason, CN_REASON_SLOW);
    assert_int_equal(closed(CN_REASON_SLOW), 1);
    hub_rig_pass_ms(&rig, timeout_ms * 9 / 10 - 1);
    assert_false(cid->sink.closed);
    client_drain(cid);
    hub_rig_pass_ms(&rig, 2);
    assert_false(cid->sink.closed);
    assert_int_equal(closed(CN_REASON_SLOW), 1);
}

// Its end fills the socket: that is no second reason to end.
static void test_a_socket_that_is_filled_by_the_end(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    fake_sink_limit(&ann->sink, 0);
    cn_session_answer(ann->session, cn_codec_pong(&ann->loop->text, (struct cn_str){NULL, 0}));
    cn_session_close(ann->session, CN_REASON_INTERNAL);
    assert_true(ann->sink.full);
    hub_rig_pass_ms(&rig, rig.config.slow_timeout_ms + 1);
    assert_int_equal(ann->sink.reason, CN_REASON_INTERNAL);
    assert_int_equal(closed(CN_REASON_SLOW), 0);
}

static void test_pings_of_those_who_came_together_are_spread(void **state)
{
    (void)state;
    enum { CROWD = 1600, STEPS = 50 };
    struct client *crowd[CROWD];
    for (int i = 0; i < CROWD; i++)
        crowd[i] = rig_client(&rig, 0, NULL, "");
    hub_rig_settle(&rig);
    hub_rig_pass_ms(&rig, rig.config.ping_interval_ms - 1);
    size_t so_far = 0;
    for (int step = 0; step < STEPS; step++) {
        hub_rig_pass_ms(&rig, rig.config.ping_interval_ms / STEPS);
        size_t sent = 0;
        for (int i = 0; i < CROWD; i++)
            sent += pings(crowd[i]);
        // At most twice an even share, and a few more.
        assert_true(sent - so_far <= 2 * CROWD / STEPS + 32);
        so_far = sent;
        for (int i = 0; i < CROWD; i++)
            if (pings(crowd[i]) > 0)
                cn_session_alive(crowd[i]->session);
    }
    assert_true(so_far >= CROWD);
    assert_int_equal(closed(CN_REASON_NO_PONG), 0);
}

// ---- Being sent away ----

static void test_all_are_sent_away_within_the_spread(void **state)
{
    (void)state;
    enum { CROWD = 10 };
    struct client *crowd[CROWD];
    for (int i = 0; i < CROWD; i++)
        crowd[i] = rig_member(&rig, 0, NULL, NULL);
    hub_rig_pass_ms(&rig, rig.config.ping_interval_ms); // some wait for their pong
    cn_session_alive(crowd[3]->session);
    cn_loop_send_away(crowd[0]->loop, 5000, CN_REASON_RESTART);
    cn_loop_send_away(crowd[0]->loop, 5000, CN_REASON_RESTART); // twice is once
    hub_rig_settle(&rig);
    bool told[CROWD] = {false};
    for (int i = 0; i < CROWD; i++) {
        const char *text = client_expect(crowd[i], "reconnect");
        assert_true(frame_has(text, "reason", "\"restart\""));
        int in_ms = -1;
        assert_int_equal(sscanf(strstr(text, "\"in_ms\":") + 8, "%d", &in_ms), 1);
        assert_true(in_ms >= 0 && in_ms < 5000 && in_ms % 500 == 0);
        assert_false(told[in_ms / 500]); // each has a time of its own
        told[in_ms / 500] = true;
        client_expect_nothing(crowd[i]);
    }
    for (int step = 1; step <= CROWD; step++) {
        size_t gone = 0;
        for (int i = 0; i < CROWD; i++)
            gone += crowd[i]->sink.closed;
        assert_true(gone >= (size_t)step - 1 && gone <= (size_t)step);
        hub_rig_pass_ms(&rig, 500);
    }
    assert_int_equal(closed(CN_REASON_RESTART), CROWD);
}

// Turns the loop alone: main, and the bus behind it, get no turn.
static void pass_without_main_ms(int64_t ms)
{
    rig.now_us += ms * 1000;
    assert_true(cn_loop_tick(cn_hub_loop(rig.hub, 0)) > 0);
    hub_rig_turn_loop(&rig, 0);
}

static void test_who_waits_for_an_answer_goes_after_it(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"a1\"}");
    cn_loop_send_away(ann->loop, 0, CN_REASON_RESTART);
    pass_without_main_ms(rig.config.publish_deadline_ms);
    assert_true(bob->sink.closed);
    assert_false(ann->sink.closed);
    client_expect(ann, "reconnect");
    hub_rig_settle(&rig);
    client_expect(ann, "ack");
    pass_without_main_ms(10);
    assert_true(ann->sink.closed);
    assert_int_equal(closed(CN_REASON_RESTART), 2);
}

static void test_nobody_waits_longer_than_the_bus_may_take(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"a1\"}");
    cn_loop_send_away(ann->loop, 0, CN_REASON_RESTART);
    pass_without_main_ms(rig.config.publish_deadline_ms);
    assert_false(ann->sink.closed);
    pass_without_main_ms(1000);
    assert_true(ann->sink.closed);
}

static void test_all_are_closed_whatever_they_wait_for(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    hub_rig_pass_ms(&rig, rig.config.ping_interval_ms); // both wait for their pong
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"a1\"}");
    cn_loop_send_away(ann->loop, 5000, CN_REASON_RESTART);
    cn_loop_close_all(ann->loop, CN_REASON_RESTART);
    assert_true(ann->sink.closed);
    assert_true(bob->sink.closed);
    client_expect(ann, "reconnect");
    client_expect(bob, "reconnect");
    assert_int_equal(closed(CN_REASON_RESTART), 2);
}

int main(void)
{
#define TEST(name)         cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
#define TEST_SMALL(name)   cmocka_unit_test_setup_teardown(name, open_small_rig, close_rig)
#define TEST_PATIENT(name) cmocka_unit_test_setup_teardown(name, open_patient_rig, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(test_welcome_then_inbox_then_room),
        TEST(test_an_empty_room_is_no_room),
        TEST(test_guests_get_names_of_their_own),
        TEST(test_ping_binary_and_nonsense_are_answered),
        TEST(test_an_end_is_counted_once_under_its_first_reason),
        TEST(test_a_closed_session_hears_and_says_nothing),
        TEST(test_memory_is_freed_at_the_end_of_the_turn),
        TEST_SMALL(test_a_slow_reader_is_closed_at_the_bound),
        TEST_SMALL(test_the_bound_is_reached_in_the_midst_of_a_join),
        TEST_SMALL(test_the_bound_is_reached_by_a_page),
        TEST_SMALL(test_many_answers_are_no_slowness_while_the_socket_takes_them),
        TEST(test_what_waited_goes_out_in_writes_of_the_right_size),
        TEST(test_a_silent_session_is_pinged_and_then_ended),
        TEST(test_who_speaks_is_not_pinged),
        TEST_PATIENT(test_a_full_socket_gets_no_ping_and_reading_on_is_its_pong),
        TEST(test_who_takes_nothing_in_time_is_closed_as_slow),
        TEST(test_a_socket_that_is_filled_by_the_end),
        TEST(test_pings_of_those_who_came_together_are_spread),
        TEST(test_all_are_sent_away_within_the_spread),
        TEST(test_who_waits_for_an_answer_goes_after_it),
        TEST(test_nobody_waits_longer_than_the_bus_may_take),
        TEST(test_all_are_closed_whatever_they_wait_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
