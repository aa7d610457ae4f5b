// SPDX-License-Identifier: MIT
// The fan-out: spans, pacing, slices, and members whose sockets are full.
#include "support/hub_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub_private.h"

static struct hub_rig rig;

static int open_with(const char *const *settings)
{
    hub_rig_open(&rig, 1, settings);
    hub_rig_start(&rig);
    return 0;
}

static int open_rig(void **state)
{
    (void)state;
    return open_with(NULL);
}

// Room for a crowd of one user, which is cheap to make.
static int open_for_crowd(void **state)
{
    (void)state;
    return open_with((const char *const[]){"--max-connections-per-user", "0", NULL});
}

static int open_small_ring(void **state)
{
    (void)state;
    return open_with((const char *const[]){"--ring-frames", "16", NULL});
}

static int open_narrow_ring(void **state)
{
    (void)state;
    return open_with((const char *const[]){"--ring-bytes", "65536", NULL});
}

static int open_unpaced(void **state)
{
    (void)state;
    return open_with((const char *const[]){"--flush-max", "0", NULL});
}

// Nobody is pinged or closed, however much time passes.
static int open_patient(void **state)
{
    (void)state;
    return open_with((const char *const[]){"--ping-interval", "3600000", "--pong-timeout",
                                           "3600000", "--slow-timeout", "3600000", NULL});
}

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

// Sends "<prefix><from>"... to the room without a turn in between.
static void send_series(struct client *client, const char *room, const char *prefix, int from,
                        int count)
{
    for (int i = from; i < from + count; i++)
        client_send(client, "{\"type\":\"message\",\"room\":\"%s\",\"content\":\"%s%d\"}", room,
                    prefix, i);
}

// The same with a turn after each few, since only so many may be in flight.
static void say_series(struct client *client, const char *room, const char *prefix, int from,
                       int count)
{
    for (int i = from; i < from + count; i += 16) {
        int part = from + count - i < 16 ? from + count - i : 16;
        send_series(client, room, prefix, i, part);
        hub_rig_settle(&rig);
    }
}

// ---- Spans ----

static void test_many_messages_are_one_write_for_each_member(void **state)
{
    (void)state;
    struct client *crowd[10];
    for (int i = 0; i < 10; i++)
        crowd[i] = rig_member(&rig, 0, NULL, NULL);
    size_t writes[10];
    for (int i = 0; i < 10; i++)
        writes[i] = crowd[i]->sink.writes;
    send_series(crowd[0], "lobby", "m", 0, 30);
    hub_rig_settle(&rig);
    for (int i = 0; i < 10; i++) {
        client_expect_series(crowd[i], "m", 0, 30);
        assert_int_equal(crowd[i]->sink.writes, writes[i] + 1);
    }
    assert_int_equal(cn_metrics_sum(CN_M_DELIVERED), 300);
    assert_int_equal(cn_metrics_sum(CN_M_FLUSHES), 1);
}

static void test_a_span_is_cut_at_what_a_sink_takes(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    char prefix[5001];
    memset(prefix, 'x', sizeof(prefix) - 1);
    prefix[sizeof(prefix) - 1] = '\0';
    size_t writes = ann->sink.writes;
    for (int i = 0; i < 40; i++)
        client_send(ann, "{\"type\":\"message\",\"content\":\"%s%d\"}", prefix, i);
    hub_rig_settle(&rig);
    for (int i = 0; i < 40; i++) {
        char end[16];
        snprintf(end, sizeof(end), "x%d\"", i);
        assert_non_null(strstr(client_expect(ann, "message"), end));
    }
    assert_int_equal(ann->sink.writes - writes, 7); // 6 frames of 5 KB fit into 32 KiB
}

static void test_one_message_larger_than_a_span_comes_whole(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    char *large = malloc(50001);
    assert_non_null(large);
    memset(large, 'y', 50000);
    large[50000] = '\0';
    send_series(ann, "lobby", "before", 0, 2);
    client_send(ann, "%s", large);
    send_series(ann, "lobby", "after", 0, 2);
    hub_rig_settle(&rig);
    client_expect_series(ann, "before", 0, 2);
    assert_true(strlen(client_expect(ann, "message")) > 50000);
    client_expect_series(ann, "after", 0, 2);
    free(large);
}

// A burst that needs more room than the frames already delivered give: nothing may be evicted
// unsent.
static void test_a_burst_larger_than_the_ring_loses_nothing(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    say_series(ann, "lobby", "small", 0, 10);
    client_expect_series(ann, "small", 0, 10);
    char prefix[5001];
    memset(prefix, 'z', sizeof(prefix) - 1);
    prefix[sizeof(prefix) - 1] = '\0';
    for (int i = 0; i < 40; i++)
        client_send(ann, "{\"type\":\"message\",\"content\":\"%s%d\"}", prefix, i);
    hub_rig_settle(&rig);
    for (int i = 0; i < 40; i++) {
        char end[16];
        snprintf(end, sizeof(end), "z%d\"", i);
        assert_non_null(strstr(client_expect(ann, "message"), end));
    }
    client_expect_nothing(ann);
}

// ---- Pacing ----

// So many messages close together that the loop takes them for a stream: after the next one it
// waits. The first of them comes after a pause.
static void begin_stream(struct client *client, const char *room)
{
    rig.now_us += 1000000;
    fake_sink_skip(&client->sink);
    for (int i = 0; i < 4; i++) {
        char content[16];
        snprintf(content, sizeof(content), "s%d", i);
        rig_say(&rig, client, room, content);
        client_expect_series(client, "s", i, 1);
    }
}

static void test_a_busy_loop_gathers(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    ann->sink.clock_us = &rig.now_us;
    ann->sink.cost_us = 4000;
    begin_stream(ann, "lobby");
    size_t writes = ann->sink.writes;
    rig_say(&rig, ann, "lobby", "m0"); // at once: until now there were too few of them
    client_expect_series(ann, "m", 0, 1);
    rig_say(&rig, ann, "lobby", "m1");
    assert_int_equal(rig.next_ms[0], 6); // it took 4 ms, so it waits for 6
    rig.now_us += 5000;
    rig_say(&rig, ann, "lobby", "m2");
    assert_int_equal(rig.next_ms[0], 1);
    client_expect_nothing(ann);
    rig.now_us += 1000;
    hub_rig_settle(&rig);
    client_expect_series(ann, "m", 1, 2);
    assert_int_equal(ann->sink.writes, writes + 2);
    assert_int_equal(rig.next_ms[0], -1);
}

static void test_gathering_has_its_bound(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    ann->sink.clock_us = &rig.now_us;
    ann->sink.cost_us = 70000;
    begin_stream(ann, "lobby");
    rig_say(&rig, ann, "lobby", "m0");
    rig_say(&rig, ann, "lobby", "m1");
    assert_int_equal(rig.next_ms[0], rig.config.flush_max_ms);
    client_expect_series(ann, "m", 0, 1);
    rig.now_us += rig.config.flush_max_ms * 1000;
    hub_rig_settle(&rig);
    client_expect_series(ann, "m", 1, 1);
}

static void test_gathering_can_be_turned_off(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    ann->sink.clock_us = &rig.now_us;
    ann->sink.cost_us = 4000;
    for (int i = 0; i < 5; i++) {
        char content[16];
        snprintf(content, sizeof(content), "m%d", i);
        rig_say(&rig, ann, "lobby", content);
        client_expect_series(ann, "m", i, 1);
    }
}

// Who joins while frames wait is not given those, and all that come later.
static void test_joining_while_frames_wait(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    ann->sink.clock_us = &rig.now_us;
    ann->sink.cost_us = 9000;
    begin_stream(ann, "lobby");
    rig_say(&rig, ann, "lobby", "m0");
    rig_say(&rig, ann, "lobby", "m1"); // waits
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    rig_say(&rig, ann, "lobby", "m2");
    client_expect_series(ann, "m", 0, 1);
    client_expect_nothing(bob);
    hub_rig_pass_ms(&rig, 10);
    client_expect_series(ann, "m", 1, 2);
    client_expect_series(bob, "m", 2, 1);
    hub_rig_pass_ms(&rig, 10);
    rig_say(&rig, ann, "lobby", "m3");
    client_expect_series(bob, "m", 3, 1);
    client_expect_nothing(bob);
}

// ---- Held back ----

static void note_defer(void *arg)
{
    ++*(int *)arg;
}

// A loop whose last flush took `us`, some time ago, and that is told when its sockets were served.
static struct client *after_flush(int64_t us)
{
    static int defers;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    ann->sink.clock_us = &rig.now_us;
    ann->sink.cost_us = us;
    rig_say(&rig, ann, "lobby", "m0");
    client_expect_series(ann, "m", 0, 1);
    rig.now_us += 1000000;
    cn_loop_set_defer(ann->loop, note_defer, &defers);
    return ann;
}

// m1 has come to the loop, m2 is with main.
static void send_two(struct client *ann)
{
    send_series(ann, "lobby", "m", 1, 1);
    hub_rig_turn_main(&rig);
    send_series(ann, "lobby", "m", 2, 1);
    hub_rig_turn_loop(&rig, 0);
}

static void test_a_long_flush_takes_along_what_is_on_its_way(void **state)
{
    (void)state;
    struct client *ann = after_flush(4000);
    size_t writes = ann->sink.writes;
    send_two(ann);
    assert_int_equal(rig.next_ms[0], 1);
    assert_false(cn_loop_pass_on(ann->loop)); // m2 has not come back yet
    hub_rig_turn_main(&rig);
    hub_rig_turn_loop(&rig, 0);
    client_expect_nothing(ann); // other sockets may have received something
    assert_true(cn_loop_pass_on(ann->loop));
    hub_rig_turn_loop(&rig, 0);
    client_expect_series(ann, "m", 1, 2);
    assert_int_equal(ann->sink.writes, writes + 1);
    assert_int_equal(rig.next_ms[0], -1);
    assert_false(cn_loop_pass_on(ann->loop));
}

static void test_a_flush_is_not_held_back_for_long(void **state)
{
    (void)state;
    struct client *ann = after_flush(4000);
    send_two(ann);
    client_expect_nothing(ann);
    rig.now_us += 999;
    hub_rig_turn_loop(&rig, 0);
    client_expect_nothing(ann);
    rig.now_us += 1;
    hub_rig_turn_loop(&rig, 0); // main is slow
    client_expect_series(ann, "m", 1, 1);
    hub_rig_turn_main(&rig);
    rig.now_us += 1000000;
    hub_rig_turn_loop(&rig, 0);
    assert_true(cn_loop_pass_on(ann->loop));
    hub_rig_turn_loop(&rig, 0);
    client_expect_series(ann, "m", 2, 1);
}

static void test_a_short_flush_is_not_held_back(void **state)
{
    (void)state;
    struct client *ann = after_flush(400);
    send_two(ann);
    client_expect_series(ann, "m", 1, 1);
    hub_rig_settle(&rig);
    client_expect_series(ann, "m", 2, 1);
}

// What a session asked for that has ended since is waited for no more.
static void test_who_is_gone_holds_nothing_back(void **state)
{
    (void)state;
    struct client *ann = after_flush(4000);
    struct client *bob = rig_client(&rig, 0, "bob", "lobby");
    hub_rig_settle(&rig);
    send_series(ann, "lobby", "m", 1, 1);
    hub_rig_turn_main(&rig);
    send_series(bob, "lobby", "b", 0, 1);
    hub_rig_turn_loop(&rig, 0);
    assert_false(cn_loop_pass_on(ann->loop));
    client_gone(bob);
    assert_true(cn_loop_pass_on(ann->loop));
    hub_rig_turn_loop(&rig, 0);
    client_expect_series(ann, "m", 1, 1);
}

// ---- Slices ----

static size_t messages(const struct client *client, const char *content)
{
    size_t count = 0;
    for (size_t i = 0; i < client->sink.count; i++)
        count += frame_is(client->sink.frames[i].text, "message") &&
                 frame_has(client->sink.frames[i].text, "content", content);
    return count;
}

static void test_a_crowd_is_served_in_slices_and_nobody_is_missed(void **state)
{
    (void)state;
    enum { CROWD = 3500 };
    struct client **crowd = calloc(CROWD, sizeof(*crowd));
    assert_non_null(crowd);
    for (int i = 0; i < CROWD; i++)
        crowd[i] = rig_client(&rig, 0, "crowd", "hall");
    hub_rig_settle(&rig);
    client_send(crowd[0], "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"hi\"}");
    hub_rig_turn_main(&rig);
    hub_rig_turn_loop(&rig, 0);
    assert_int_equal(rig.next_ms[0], 0); // there is more to do at once
    size_t served = 0;
    for (int i = 0; i < CROWD; i++)
        served += messages(crowd[i], "\"hi\"");
    assert_int_equal(served, 2000);
    // Of those who have it and those who do not, some leave; others come.
    for (int i = 1; i < CROWD; i += 3)
        client_gone(crowd[i]);
    struct client *late[100];
    for (int i = 0; i < 100; i++)
        late[i] = rig_client(&rig, 0, "late", "hall");
    for (int i = 2; i < CROWD; i += 7)
        if (crowd[i]->session)
            client_gone(crowd[i]);
    rig_say(&rig, crowd[0], "hall", "ho");
    for (int i = 0; i < CROWD; i++) {
        size_t got = messages(crowd[i], "\"hi\"");
        assert_true(crowd[i]->session ? got == 1 : got <= 1);
        assert_int_equal(messages(crowd[i], "\"ho\""), crowd[i]->session ? 1 : 0);
    }
    for (int i = 0; i < 100; i++) {
        assert_int_equal(messages(late[i], "\"hi\""), 0); // said before they came
        assert_int_equal(messages(late[i], "\"ho\""), 1);
    }
    free(crowd);
}

// What comes while a crowd is being served is no reason to go on without the pause.
static void test_a_crowds_next_flush_is_paced_too(void **state)
{
    (void)state;
    enum { CROWD = 2500 };
    struct client *first = rig_client(&rig, 0, "first", "hall");
    first->sink.clock_us = &rig.now_us;
    first->sink.cost_us = 4000;
    for (int i = 1; i < CROWD; i++)
        (void)rig_client(&rig, 0, "crowd", "hall");
    hub_rig_settle(&rig);
    begin_stream(first, "hall");
    client_send(first, "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"m0\"}");
    hub_rig_turn_main(&rig);
    hub_rig_turn_loop(&rig, 0);
    assert_int_equal(rig.next_ms[0], 0); // the first slice
    client_send(first, "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"m1\"}");
    hub_rig_turn_main(&rig);
    hub_rig_turn_loop(&rig, 0);
    assert_int_equal(rig.next_ms[0], 6);
    assert_int_equal(messages(first, "\"m0\""), 1);
    assert_int_equal(messages(first, "\"m1\""), 0);
    rig.now_us += 6000;
    hub_rig_settle(&rig);
    for (size_t i = 0; i < rig.client_count; i++)
        assert_int_equal(messages(rig.clients[i], "\"m1\""), 1);
}

static void test_a_busy_channel_does_not_starve_another(void **state)
{
    (void)state;
    enum { CROWD = 2500 };
    struct client *speaker = NULL;
    for (int i = 0; i < CROWD; i++)
        speaker = rig_client(&rig, 0, "crowd", "hall");
    struct client *ann = rig_member(&rig, 0, "ann", "nook");
    client_send(speaker, "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"a\"}");
    hub_rig_turn_main(&rig);
    client_send(ann, "{\"type\":\"message\",\"room\":\"nook\",\"content\":\"hi\"}");
    for (int i = 0; i < 8; i++) {
        client_send(speaker, "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"a\"}");
        hub_rig_turn_main(&rig);
        hub_rig_turn_loop(&rig, 0);
    }
    assert_int_equal(messages(ann, "\"hi\""), 1);
    hub_rig_settle(&rig);
}

// ---- Full sockets ----

static void test_a_choked_member_costs_nothing_and_catches_up_in_order(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    fake_sink_limit(&bob->sink, 0);
    say_series(ann, "lobby", "m", 0, 200);
    client_expect_series(ann, "m", 0, 200); // one slow reader delays nobody
    assert_int_equal(bob->session->outbox.cap, 0);
    size_t writes = bob->sink.writes;
    client_drain(bob);
    client_expect_series(bob, "m", 0, 200);
    assert_true(bob->sink.writes - writes <= 2);
    client_expect_nothing(bob);
    rig_say(&rig, ann, "lobby", "m200");
    client_expect_series(bob, "m", 200, 1);
    assert_int_equal(cn_metrics_sum(CN_M_LAGGED), 1);
    assert_int_equal(cn_metrics_sum(CN_M_FALLEN), 0);
}

static void test_catching_up_may_choke_again(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    char prefix[3001];
    memset(prefix, 'q', sizeof(prefix) - 1);
    prefix[sizeof(prefix) - 1] = '\0';
    fake_sink_limit(&bob->sink, 0);
    for (int i = 0; i < 60; i++) {
        client_send(ann, "{\"type\":\"message\",\"content\":\"%s%d\"}", prefix, i);
        if (i % 20 == 19)
            hub_rig_settle(&rig);
    }
    int rounds = 0;
    while (bob->sink.full) {
        fake_sink_drain(&bob->sink);
        fake_sink_limit(&bob->sink, 1);
        cn_session_writable(bob->session);
        assert_true(++rounds < 20);
        if (rounds == 10)
            break;
    }
    client_drain(bob);
    for (int i = 0; i < 60; i++) {
        char end[16];
        snprintf(end, sizeof(end), "q%d\"", i);
        assert_non_null(strstr(client_expect(bob, "message"), end));
    }
    client_expect_nothing(bob);
}

static void test_who_fell_off_the_ring_goes_on_from_history(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    say_series(ann, "lobby", "m", 0, 5);
    fake_sink_limit(&bob->sink, 0);
    say_series(ann, "lobby", "m", 5, 400);
    client_drain(bob);
    hub_rig_settle(&rig);
    client_expect_series(bob, "m", 0, 405);
    client_expect_nothing(bob);
    assert_int_equal(cn_metrics_sum(CN_M_FALLEN), 1);
    say_series(ann, "lobby", "m", 405, 3);
    client_expect_series(bob, "m", 405, 3);
}

// Joined while frames wait to be flushed, choked before the first one: it is owed only what came
// after.
static void test_who_joined_without_history_gets_none_when_it_falls(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    ann->sink.clock_us = &rig.now_us;
    ann->sink.cost_us = 9000;
    say_series(ann, "lobby", "old", 0, 5);
    send_series(ann, "lobby", "old", 5, 3); // these wait
    hub_rig_settle(&rig);
    struct client *bob = rig_client(&rig, 0, "bob", NULL);
    hub_rig_settle(&rig);
    fake_sink_skip(&bob->sink);
    fake_sink_limit(&bob->sink, 0);
    client_send(bob, "{\"type\":\"ping\"}");
    say_series(ann, "lobby", "m", 0, 100);
    hub_rig_pass_ms(&rig, 20);
    client_drain(bob);
    hub_rig_settle(&rig);
    client_expect(bob, "pong");
    client_expect_series(bob, "m", 0, 100);
    client_expect_nothing(bob);
}

// ---- Lost continuity ----

static void reset(const char *room, struct cn_pos tail)
{
    struct cn_channel_name name;
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of(room), &name), CN_OK);
    cn_channel_on_reset(rig.hub, &name, tail);
}

static void test_a_reset_is_told_in_its_place(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    struct client *cid = rig_member(&rig, 0, "cid", NULL);
    fake_sink_limit(&bob->sink, 0); // full, but level
    fake_sink_limit(&cid->sink, 0); // behind
    client_send(cid, "{\"type\":\"ping\"}");
    say_series(ann, "lobby", "m", 0, 3);
    const char *pos = frame_text(client_expect(ann, "message"), "pos");
    struct cn_pos tail;
    assert_int_equal(cn_pos_parse(cn_str_of(pos), &tail), CN_OK);
    tail.seq += 2;
    reset("lobby", tail);
    hub_rig_settle(&rig);
    say_series(ann, "lobby", "m", 3, 2);
    client_expect_series(ann, "m", 1, 2);
    const char *text = client_expect(ann, "gap");
    assert_true(frame_has(text, "reset", "true"));
    assert_true(frame_has(text, "room", "\"lobby\""));
    client_expect_series(ann, "m", 3, 2);
    client_expect_nothing(ann);
    client_drain(bob);
    hub_rig_settle(&rig);
    client_expect_series(bob, "m", 0, 3);
    client_expect(bob, "gap");
    client_expect_series(bob, "m", 3, 2);
    client_expect_nothing(bob);
    // Who was behind reads the log, which in truth has lost nothing.
    client_drain(cid);
    hub_rig_settle(&rig);
    client_expect(cid, "pong");
    client_expect_series(cid, "m", 0, 5);
    client_expect_nothing(cid);
}

// Level, but its socket was full when the channel began anew from nothing; and it was not told
// before the ring had moved on. It goes on from where it was, not from where the others go on.
static void test_who_falls_before_a_reset_is_told_keeps_its_place(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    say_series(ann, "lobby", "m", 0, 5);
    client_expect_series(bob, "m", 0, 5);
    fake_sink_limit(&bob->sink, 0);
    client_send(bob, "{\"type\":\"ping\"}");
    hub_rig_settle(&rig);
    reset("lobby", (struct cn_pos){0, 0});
    hub_rig_settle(&rig);
    say_series(ann, "lobby", "m", 5, 40);
    client_expect_series(ann, "m", 0, 5);
    client_expect(ann, "gap");
    client_drain(bob);
    hub_rig_settle(&rig);
    client_expect(bob, "pong");
    client_expect_series(bob, "m", 5, 40); // the log has its place: in truth nothing was lost
    client_expect_nothing(bob);
}

// ---- Silence ----

static struct cn_feed *lobby(void)
{
    struct cn_channel_name name;
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("lobby"), &name), CN_OK);
    struct cn_feed *feed = cn_feed_find(cn_hub_loop(rig.hub, 0), &name);
    assert_non_null(feed);
    return feed;
}

static void test_a_silent_room_gives_its_ring_back_and_loses_nothing(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    fake_sink_limit(&bob->sink, 0);
    say_series(ann, "lobby", "m", 0, 5);
    hub_rig_pass_ms(&rig, 30 * 1000);
    say_series(ann, "lobby", "m", 5, 1);
    hub_rig_pass_ms(&rig, 58 * 1000);
    assert_int_equal(lobby()->ring.first, 0);
    hub_rig_pass_ms(&rig, 4 * 1000);
    assert_null(lobby()->ring.slots);
    assert_int_equal(lobby()->ring.first, 6);
    assert_int_equal(lobby()->ring.bytes, 0);
    say_series(ann, "lobby", "m", 6, 3);
    client_expect_series(ann, "m", 0, 9);
    client_drain(bob); // he was behind: the log has what the ring has not
    hub_rig_settle(&rig);
    client_expect_series(bob, "m", 0, 9);
    client_expect_nothing(bob);
    hub_rig_pass_ms(&rig, 70 * 1000);
    assert_null(lobby()->ring.slots);
}

static void test_who_returns_to_a_silent_room_missed_nothing(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    say_series(ann, "lobby", "m", 0, 3);
    char last[64];
    for (int i = 0; i < 3; i++)
        snprintf(last, sizeof(last), "%s", frame_text(client_expect(ann, "message"), "pos"));
    hub_rig_pass_ms(&rig, 70 * 1000);
    assert_null(lobby()->ring.slots);
    struct client *bob = rig_member(&rig, 0, "bob", "");
    int64_t reads = cn_metrics_sum(CN_M_READS_SENT);
    client_send(bob, "{\"type\":\"join\",\"room\":\"lobby\",\"since\":\"%s\"}", last);
    hub_rig_settle(&rig);
    assert_true(frame_has(client_expect(bob, "joined"), "recovered", "true"));
    assert_int_equal(cn_metrics_sum(CN_M_READS_SENT), reads); // the ring still knows its end
    client_expect_nothing(bob);
}

// It began anew from nothing, and the ring that began with the gap was given back: what was before
// is not forgotten, as the log tells it.
static void test_who_returns_to_a_silent_room_from_nothing_is_told_by_the_log(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 0, "bob", "");
    say_series(ann, "lobby", "m", 0, 5);
    reset("lobby", (struct cn_pos){0, 0});
    hub_rig_settle(&rig);
    hub_rig_pass_ms(&rig, 70 * 1000);
    assert_null(lobby()->ring.slots);
    client_send(bob, "{\"type\":\"join\",\"room\":\"lobby\",\"since\":\"0-0\"}");
    hub_rig_settle(&rig);
    assert_true(frame_has(client_expect(bob, "joined"), "recovered", "true"));
    client_expect_series(bob, "m", 0, 5);
    client_expect_nothing(bob);
}

int main(void)
{
#define TEST(open, name) cmocka_unit_test_setup_teardown(name, open, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(open_rig, test_many_messages_are_one_write_for_each_member),
        TEST(open_rig, test_a_span_is_cut_at_what_a_sink_takes),
        TEST(open_rig, test_one_message_larger_than_a_span_comes_whole),
        TEST(open_narrow_ring, test_a_burst_larger_than_the_ring_loses_nothing),
        TEST(open_rig, test_a_busy_loop_gathers),
        TEST(open_rig, test_gathering_has_its_bound),
        TEST(open_unpaced, test_gathering_can_be_turned_off),
        TEST(open_rig, test_a_long_flush_takes_along_what_is_on_its_way),
        TEST(open_rig, test_a_flush_is_not_held_back_for_long),
        TEST(open_rig, test_a_short_flush_is_not_held_back),
        TEST(open_rig, test_who_is_gone_holds_nothing_back),
        TEST(open_rig, test_joining_while_frames_wait),
        TEST(open_for_crowd, test_a_crowd_is_served_in_slices_and_nobody_is_missed),
        TEST(open_for_crowd, test_a_crowds_next_flush_is_paced_too),
        TEST(open_for_crowd, test_a_busy_channel_does_not_starve_another),
        TEST(open_rig, test_a_choked_member_costs_nothing_and_catches_up_in_order),
        TEST(open_rig, test_catching_up_may_choke_again),
        TEST(open_small_ring, test_who_fell_off_the_ring_goes_on_from_history),
        TEST(open_small_ring, test_who_joined_without_history_gets_none_when_it_falls),
        TEST(open_rig, test_a_reset_is_told_in_its_place),
        TEST(open_small_ring, test_who_falls_before_a_reset_is_told_keeps_its_place),
        TEST(open_patient, test_a_silent_room_gives_its_ring_back_and_loses_nothing),
        TEST(open_patient, test_who_returns_to_a_silent_room_missed_nothing),
        TEST(open_patient, test_who_returns_to_a_silent_room_from_nothing_is_told_by_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
