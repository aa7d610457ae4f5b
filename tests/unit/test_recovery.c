// SPDX-License-Identifier: MIT
// Recovery: from the ring, from the log, across what was trimmed, and while the bus is down.
#include "support/hub_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub_private.h"

enum { SAID_MAX = 2048, HELD_MAX = 64 };

static struct hub_rig rig;
static char said[SAID_MAX][CN_POS_TEXT_BYTES]; // the position of "m<i>"

// ---- Entries may be held back, as when the log answers faster than the bus tells ----

struct held {
    struct cn_channel_name name;
    struct cn_pos pos;
    char text[512];
    size_t len;
};

static bool holds;
static struct held held[HELD_MAX];
static size_t held_count;

void __real_cn_channel_on_entry(void *arg, const struct cn_channel_name *name, struct cn_pos pos,
                                struct cn_str text);
void __wrap_cn_channel_on_entry(void *arg, const struct cn_channel_name *name, struct cn_pos pos,
                                struct cn_str text);

void __wrap_cn_channel_on_entry(void *arg, const struct cn_channel_name *name, struct cn_pos pos,
                                struct cn_str text)
{
    if (!holds) {
        __real_cn_channel_on_entry(arg, name, pos, text);
        return;
    }
    assert_true(held_count < HELD_MAX && text.len < sizeof(held[0].text));
    held[held_count] = (struct held){.name = *name, .pos = pos, .len = text.len};
    memcpy(held[held_count++].text, text.ptr, text.len);
}

static void release_held(size_t count)
{
    assert_true(count <= held_count);
    for (size_t i = 0; i < count; i++)
        __real_cn_channel_on_entry(rig.hub, &held[i].name, held[i].pos,
                                   (struct cn_str){held[i].text, held[i].len});
    held_count -= count;
    memmove(held, held + count, held_count * sizeof(held[0]));
}

// ---- The rig ----

static int open_with(const char *const *settings)
{
    holds = false;
    held_count = 0;
    hub_rig_open(&rig, 2, settings);
    hub_rig_start(&rig);
    return 0;
}

static int open_small_ring(void **state)
{
    (void)state;
    return open_with((const char *const[]){"--ring-frames", "16", NULL});
}

static int open_short_log(void **state)
{
    (void)state;
    return open_with(
        (const char *const[]){"--ring-frames", "16", "--history-messages", "120", NULL});
}

static int open_few_reads(void **state)
{
    (void)state;
    return open_with((const char *const[]){"--ring-frames", "16", "--max-in-flight", "2", NULL});
}

static int open_down(void **state)
{
    (void)state;
    hub_rig_open(&rig, 2, NULL);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

// `ann` says "m<from>"... in the room; their positions are noted.
static void say_series(struct client *ann, const char *room, int from, int count)
{
    for (int i = from; i < from + count; i++) {
        char content[16];
        snprintf(content, sizeof(content), "m%d", i);
        rig_say(&rig, ann, room, content);
        snprintf(said[i], sizeof(said[i]), "%s", frame_text(client_expect(ann, "message"), "pos"));
    }
}

static const char *expect_joined(struct client *client, const char *recovered)
{
    const char *text = client_expect(client, "joined");
    if (!frame_has(text, "recovered", recovered))
        fail_msg("wanted recovered:%s, got %s", recovered, text);
    return text;
}

static void join_since(struct client *client, const char *room, const char *since)
{
    client_send(client, "{\"type\":\"join\",\"room\":\"%s\",\"since\":\"%s\",\"id\":\"j\"}", room,
                since);
}

// ---- Resuming ----

static void test_resuming_from_the_ring(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    say_series(ann, "hall", 0, 10);
    struct client *bob = rig_member(&rig, 0, "bob", "");
    join_since(bob, "hall", said[3]);
    const char *text = expect_joined(bob, "true"); // at once: no other thread was asked
    assert_true(frame_has(text, "id", "\"j\""));
    assert_string_equal(frame_text(text, "pos"), said[9]);
    client_expect_series(bob, "m", 4, 6);
    say_series(ann, "hall", 10, 1);
    client_expect_series(bob, "m", 10, 1);
    client_expect_nothing(bob);
    join_since(bob, "hall", said[10]); // nothing was missed
    expect_joined(bob, "true");
    client_expect_nothing(bob);
    assert_int_equal(cn_metrics_sum(CN_M_JOINS_EXACT), 2);
}

static void test_resuming_from_the_log_page_by_page(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    say_series(ann, "hall", 0, 300);
    for (unsigned loop = 0; loop < 2; loop++) { // on loop 1 the feed is new
        struct cn_pos since;
        assert_int_equal(cn_pos_parse(cn_str_of(said[9]), &since), CN_OK);
        const struct cn_hello hello = {
            .user = cn_str_of("bob"), .room = cn_str_of("hall"), .has_since = true, .since = since};
        struct client *bob = rig_greet(&rig, loop, &hello);
        hub_rig_settle(&rig);
        client_expect(bob, "welcome");
        assert_true(frame_has(client_expect(bob, "joined"), "inbox", "true"));
        expect_joined(bob, "true");
        client_expect_series(bob, "m", 10, 290);
        client_expect_nothing(bob);
    }
    assert_int_equal(cn_metrics_sum(CN_M_JOINS_RESET), 0);
}

static void test_live_messages_during_a_long_resume(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    say_series(ann, "hall", 0, 300);
    for (unsigned loop = 0; loop < 2; loop++) {
        struct client *bob = rig_member(&rig, loop, "bob", "");
        int live = 300 + (int)loop * 200;
        int from = (int)loop * 150;
        join_since(bob, "hall", said[from]);
        for (int i = 0; i < 200; i++) {
            client_send(ann, "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"m%d\"}",
                        live + i);
            hub_rig_turn(&rig); // one step only: pages and live messages interleave
        }
        hub_rig_settle(&rig);
        expect_joined(bob, "true");
        client_expect_series(bob, "m", from + 1, live + 200 - from - 1);
        client_expect_nothing(bob);
        client_expect_series(ann, "m", live, 200);
    }
}

static void test_a_slow_socket_during_a_long_resume(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    say_series(ann, "hall", 0, 200);
    struct client *bob = rig_member(&rig, 0, "bob", "");
    fake_sink_limit(&bob->sink, 1);
    join_since(bob, "hall", said[0]);
    hub_rig_settle(&rig);
    for (int i = 0; i < 20; i++) {
        fake_sink_drain(&bob->sink);
        fake_sink_limit(&bob->sink, 1);
        cn_session_writable(bob->session);
        hub_rig_settle(&rig);
        say_series(ann, "hall", 200 + 20 * i, 20); // more than the ring holds
    }
    client_drain(bob);
    hub_rig_settle(&rig);
    expect_joined(bob, "true");
    client_expect_series(bob, "m", 1, 599);
    client_expect_nothing(bob);
}

// The log's answer overtakes the bus: what it told already comes no second time.
static void test_the_log_is_ahead_of_the_bus(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    say_series(ann, "hall", 0, 40);
    holds = true;
    for (int i = 40; i < 50; i++) {
        char content[16];
        snprintf(content, sizeof(content), "m%d", i);
        rig_say(&rig, ann, "hall", content);
    }
    client_expect_nothing(ann);
    struct client *bob = rig_member(&rig, 0, "bob", "");
    join_since(bob, "hall", said[5]);
    hub_rig_settle(&rig);
    expect_joined(bob, "true");
    client_expect_series(bob, "m", 6, 44);
    release_held(5);
    hub_rig_settle(&rig);
    client_expect_nothing(bob);
    client_expect_series(ann, "m", 40, 5);
    holds = false;
    release_held(5);
    hub_rig_settle(&rig);
    client_expect_nothing(bob);
    client_expect_series(ann, "m", 45, 5);
    say_series(ann, "hall", 50, 3);
    client_expect_series(bob, "m", 50, 3);
}

// The same when the channel is reset meanwhile, and when the member leaves.
static void test_ahead_of_the_bus_and_then_a_skip_or_the_end(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    say_series(ann, "hall", 0, 40);
    holds = true;
    rig_say(&rig, ann, "hall", "m40");
    rig_say(&rig, ann, "hall", "m41");
    struct client *bob = rig_member(&rig, 0, "bob", "");
    struct client *cid = rig_member(&rig, 0, "cid", "");
    join_since(bob, "hall", said[38]);
    join_since(cid, "hall", said[5]);
    hub_rig_settle(&rig);
    join_since(bob, "hall", said[5]);
    hub_rig_settle(&rig);
    client_gone(cid);
    expect_joined(bob, "true");
    client_expect_series(bob, "m", 39, 1);
    expect_joined(bob, "true");
    client_expect_series(bob, "m", 6, 36);
    holds = false;
    rig_say(&rig, ann, "hall", "m42"); // the bus tells 42, as if 40 and 41 had been dropped
    client_expect_series(bob, "m", 42, 1);
    client_expect_nothing(bob);
}

// ---- What is not there any more ----

static void test_trimmed_is_told_and_the_newest_follow(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    say_series(ann, "hall", 0, 300);
    struct client *bob = rig_member(&rig, 0, "bob", "");
    join_since(bob, "hall", said[20]);
    hub_rig_settle(&rig);
    expect_joined(bob, "false");
    const char *text = client_expect(bob, "gap");
    assert_true(frame_has(text, "reset", "true"));
    client_expect_series(bob, "m", 200, 100);
    client_expect_nothing(bob);
    say_series(ann, "hall", 300, 1);
    client_expect_series(bob, "m", 300, 1);
    assert_int_equal(cn_metrics_sum(CN_M_JOINS_RESET), 1);
    // From the beginning: exact only while nothing was ever trimmed.
    join_since(bob, "hall", "0-0");
    hub_rig_settle(&rig);
    expect_joined(bob, "false");
    client_expect(bob, "gap");
    // A position that never was.
    join_since(bob, "hall", "99-7");
    hub_rig_settle(&rig);
    fake_sink_skip(&bob->sink);
    say_series(ann, "hall", 301, 1);
    client_expect_series(bob, "m", 301, 1);
}

static void test_trimmed_between_two_pages(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    say_series(ann, "hall", 0, 120);
    struct client *bob = rig_member(&rig, 0, "bob", "");
    fake_sink_limit(&bob->sink, 2);
    join_since(bob, "hall", said[5]);
    hub_rig_settle(&rig); // the answer and the first page have filled the socket
    say_series(ann, "hall", 120, 200);
    client_drain(bob);
    hub_rig_settle(&rig);
    expect_joined(bob, "true");
    client_expect_series(bob, "m", 6, 64);
    client_expect(bob, "gap");
    client_expect_series(bob, "m", 220, 100);
    client_expect_nothing(bob);
}

// ---- The inbox ----

static void test_the_inbox_brings_its_newest_hundred(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "");
    for (int i = 0; i < 150; i++) {
        client_send(ann, "{\"type\":\"direct\",\"to\":\"bob\",\"content\":\"d%d\"}", i);
        hub_rig_settle(&rig);
    }
    struct client *bob = rig_client(&rig, 1, "bob", "");
    hub_rig_settle(&rig);
    client_expect(bob, "welcome");
    assert_true(frame_has(expect_joined(bob, "false"), "inbox", "true"));
    char pos[CN_POS_TEXT_BYTES] = "";
    for (int i = 50; i < 150; i++) {
        char json[16];
        snprintf(json, sizeof(json), "\"d%d\"", i);
        const char *text = client_expect(bob, "direct");
        assert_true(frame_has(text, "content", json));
        if (i == 120)
            snprintf(pos, sizeof(pos), "%s", frame_text(text, "pos"));
    }
    client_expect_nothing(bob);
    client_gone(bob);
    hub_rig_settle(&rig);
    // With a position it goes on from there.
    struct cn_hello hello = {
        .user = cn_str_of("bob"), .room = cn_str_of(""), .has_inbox_since = true};
    assert_int_equal(cn_pos_parse(cn_str_of(pos), &hello.inbox_since), CN_OK);
    bob = rig_greet(&rig, 0, &hello);
    hub_rig_settle(&rig);
    client_expect(bob, "welcome");
    assert_true(frame_has(expect_joined(bob, "true"), "inbox", "true"));
    for (int i = 121; i < 150; i++)
        client_expect(bob, "direct");
    client_expect_nothing(bob);
}

// ---- The bus is down ----

static void test_a_join_without_the_bus_fails_in_time(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "{\"type\":\"join\",\"room\":\"hall\",\"id\":\"j1\"}");
    hub_rig_pass_ms(&rig, rig.config.publish_deadline_ms - 1);
    client_expect_nothing(ann);
    hub_rig_pass_ms(&rig, 1);
    const char *text = client_expect(ann, "error");
    assert_true(frame_has(text, "code", "\"unavailable\""));
    assert_true(frame_has(text, "retry", "true"));
    assert_true(frame_has(text, "id", "\"j1\""));
    client_send(ann, "{\"type\":\"leave\",\"room\":\"hall\",\"id\":\"l1\"}");
    assert_true(frame_has(client_expect(ann, "error"), "code", "\"not_joined\""));
    // The joins of the greeting wait for the bus, however long that takes.
    hub_rig_pass_ms(&rig, 60 * 1000);
    hub_rig_start(&rig);
    assert_true(frame_has(client_expect(ann, "joined"), "inbox", "true"));
    assert_true(frame_has(client_expect(ann, "joined"), "room", "\"lobby\""));
    client_expect_nothing(ann);
    client_send(ann, "{\"type\":\"join\",\"room\":\"hall\",\"id\":\"j2\"}");
    hub_rig_settle(&rig);
    assert_true(frame_has(client_expect(ann, "joined"), "id", "\"j2\""));
    assert_int_equal(cn_metrics_sum(CN_M_CHANNELS), 3);
}

// ---- Ends and bounds ----

static void test_a_page_for_a_membership_that_ended_is_dropped(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    say_series(ann, "hall", 0, 100);
    struct client *bob = rig_member(&rig, 0, "bob", "");
    struct client *cid = rig_member(&rig, 0, "cid", "");
    join_since(bob, "hall", said[2]);
    join_since(cid, "hall", said[2]);
    hub_rig_turn_main(&rig); // both pages are on their way
    client_send(bob, "{\"type\":\"leave\",\"room\":\"hall\"}");
    assert_true(frame_has(client_expect(bob, "error"), "code", "\"superseded\""));
    client_expect(bob, "left");
    join_since(bob, "hall", said[80]);
    client_gone(cid);
    hub_rig_turn_loop(&rig, 0); // the first page comes before the second one was asked for
    client_expect_nothing(bob);
    hub_rig_settle(&rig);
    expect_joined(bob, "true");
    client_expect_series(bob, "m", 81, 19);
    client_expect_nothing(bob);
    assert_int_equal(bob->session->in_flight, 0);
}

// Each request gets an answer, also the one whose place another took; and in this order.
static void test_a_join_overtaken_by_another_is_answered(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    say_series(ann, "hall", 0, 100);
    struct client *bob = rig_member(&rig, 0, "bob", "");
    join_since(bob, "hall", said[2]);
    client_send(bob, "{\"type\":\"join\",\"room\":\"hall\",\"since\":\"%s\",\"id\":\"k\"}",
                said[3]);
    const char *text = client_expect(bob, "error");
    assert_true(frame_has(text, "code", "\"superseded\""));
    assert_true(frame_has(text, "retry", "false"));
    assert_true(frame_has(text, "id", "\"j\""));
    hub_rig_settle(&rig);
    text = expect_joined(bob, "true");
    assert_true(frame_has(text, "id", "\"k\""));
    client_expect_series(bob, "m", 4, 96);
    // One that was answered is not answered twice, and one without an id not at all.
    join_since(bob, "hall", said[99]);
    expect_joined(bob, "true");
    client_send(bob, "{\"type\":\"join\",\"room\":\"hall\",\"since\":\"0-0\"}");
    client_send(bob, "{\"type\":\"leave\",\"room\":\"hall\",\"id\":\"l\"}");
    assert_true(frame_has(client_expect(bob, "left"), "id", "\"l\""));
    client_expect_nothing(bob);
    hub_rig_settle(&rig);
    client_expect_nothing(bob);
}

// A room that is not open yet.
static void test_a_join_overtaken_while_it_waits_for_the_bus(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "");
    client_send(ann, "{\"type\":\"join\",\"room\":\"hall\",\"id\":\"j1\"}");
    client_send(ann, "{\"type\":\"join\",\"room\":\"hall\",\"id\":\"j2\"}");
    assert_true(frame_has(client_expect(ann, "error"), "id", "\"j1\""));
    hub_rig_start(&rig);
    client_expect(ann, "joined"); // the inbox
    assert_true(frame_has(client_expect(ann, "joined"), "id", "\"j2\""));
    client_expect_nothing(ann);
}

static void test_one_session_reads_only_so_much_at_once(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "");
    for (int room = 0; room < 10; room++) {
        char name[16];
        snprintf(name, sizeof(name), "room-%d", room);
        client_send(ann, "{\"type\":\"join\",\"room\":\"%s\"}", name);
        hub_rig_settle(&rig);
        client_expect(ann, "joined");
        say_series(ann, name, 0, 40);
    }
    struct client *bob = rig_member(&rig, 0, "bob", "");
    for (int room = 0; room < 10; room++) {
        client_send(bob, "{\"type\":\"join\",\"room\":\"room-%d\",\"since\":\"0-0\"}", room);
        assert_true(bob->session->in_flight <= 2);
    }
    size_t joined = 0;
    for (int i = 0; i < 100 && joined < 10; i++) {
        hub_rig_pass_ms(&rig, 50);
        for (const char *text; (text = fake_sink_next(&bob->sink)) != NULL;)
            joined += frame_is(text, "joined");
    }
    assert_int_equal(joined, 10);
    assert_int_equal(bob->session->in_flight, 0);
    size_t messages = 0;
    for (size_t i = 0; i < bob->sink.count; i++)
        messages += frame_is(bob->sink.frames[i].text, "message");
    assert_int_equal(messages, 400);
}

int main(void)
{
#define TEST(open, name) cmocka_unit_test_setup_teardown(name, open, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(open_small_ring, test_resuming_from_the_ring),
        TEST(open_small_ring, test_resuming_from_the_log_page_by_page),
        TEST(open_small_ring, test_live_messages_during_a_long_resume),
        TEST(open_small_ring, test_a_slow_socket_during_a_long_resume),
        TEST(open_small_ring, test_the_log_is_ahead_of_the_bus),
        TEST(open_small_ring, test_ahead_of_the_bus_and_then_a_skip_or_the_end),
        TEST(open_short_log, test_trimmed_is_told_and_the_newest_follow),
        TEST(open_short_log, test_trimmed_between_two_pages),
        TEST(open_small_ring, test_the_inbox_brings_its_newest_hundred),
        TEST(open_down, test_a_join_without_the_bus_fails_in_time),
        TEST(open_small_ring, test_a_page_for_a_membership_that_ended_is_dropped),
        TEST(open_small_ring, test_a_join_overtaken_by_another_is_answered),
        TEST(open_down, test_a_join_overtaken_while_it_waits_for_the_bus),
        TEST(open_few_reads, test_one_session_reads_only_so_much_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
