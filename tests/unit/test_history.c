// SPDX-License-Identifier: MIT
// The command `history`: limits, directions, and pages too large for a session's outbox.
#include "support/hub_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub_private.h"

static struct hub_rig rig;
static char said[256][CN_POS_TEXT_BYTES];

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

static int open_small_outbox(void **state)
{
    (void)state;
    return open_with((const char *const[]){"--outbox", "4096", NULL});
}

static int open_long_log(void **state)
{
    (void)state;
    return open_with((const char *const[]){"--history-messages", "100000", NULL});
}

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

static void say_series(struct client *ann, const char *padding, int count)
{
    for (int i = 0; i < count; i++) {
        client_send(ann, "{\"type\":\"message\",\"content\":\"%sm%d\"}", padding, i);
        hub_rig_settle(&rig);
        snprintf(said[i], sizeof(said[i]), "%s", frame_text(client_expect(ann, "message"), "pos"));
    }
}

// The answer must hold exactly "m<from>" to "m<from + count - 1>".
static void expect_history(struct client *client, int from, int count, bool more)
{
    hub_rig_settle(&rig);
    const char *text = client_expect(client, "history");
    const char *at = strstr(text, "\"messages\":[");
    assert_non_null(at);
    for (int i = from; i < from + count; i++) {
        char end[32];
        snprintf(end, sizeof(end), "m%d\"", i);
        at = strstr(at, end);
        if (!at)
            fail_msg("no m%d in %.300s", i, text);
    }
    int entries = 0;
    for (at = text; (at = strstr(at, "\"from\":")) != NULL; at++)
        entries++;
    assert_int_equal(entries, count);
    assert_true(frame_has(text, "more", more ? "true" : "false"));
}

static void test_directions_and_limits(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "{\"type\":\"history\",\"id\":\"h0\"}");
    hub_rig_settle(&rig);
    const char *text = client_expect(ann, "history");
    assert_true(frame_has(text, "messages", "[]"));
    assert_true(frame_has(text, "id", "\"h0\""));
    assert_true(frame_has(text, "room", "\"lobby\""));
    say_series(ann, "", 100);
    client_send(ann, "{\"type\":\"history\"}");
    expect_history(ann, 50, 50, true);
    client_send(ann, "{\"type\":\"history\",\"limit\":3}");
    expect_history(ann, 97, 3, true);
    client_send(ann, "{\"type\":\"history\",\"limit\":200}");
    expect_history(ann, 0, 100, false);
    client_send(ann, "{\"type\":\"history\",\"limit\":10,\"before\":\"%s\"}", said[50]);
    expect_history(ann, 40, 10, true);
    client_send(ann, "{\"type\":\"history\",\"limit\":50,\"before\":\"%s\"}", said[20]);
    expect_history(ann, 0, 20, false);
    client_send(ann, "{\"type\":\"history\",\"limit\":10,\"after\":\"%s\"}", said[50]);
    expect_history(ann, 51, 10, true);
    client_send(ann, "{\"type\":\"history\",\"limit\":10,\"after\":\"%s\"}", said[95]);
    expect_history(ann, 96, 4, false);
}

// Where `more` is said, `next` goes on without a hole.
static void test_the_whole_log_by_next(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    say_series(ann, "", 100);
    client_send(ann, "{\"type\":\"history\",\"limit\":30}");
    expect_history(ann, 70, 30, true);
    for (int from = 40; from >= 0; from -= 30) {
        const char *next = frame_text(ann->sink.frames[ann->sink.next - 1].text, "next");
        assert_string_equal(next, said[from + 30]);
        client_send(ann, "{\"type\":\"history\",\"limit\":30,\"before\":\"%s\"}", next);
        expect_history(ann, from, 30, true);
    }
    client_send(ann, "{\"type\":\"history\",\"limit\":30,\"before\":\"%s\"}", said[10]);
    expect_history(ann, 0, 10, false);
    assert_null(strstr(ann->sink.frames[ann->sink.next - 1].text, "\"next\""));
    client_send(ann, "{\"type\":\"history\",\"limit\":30,\"after\":\"%s\"}", said[9]);
    expect_history(ann, 10, 30, true);
    assert_string_equal(frame_text(ann->sink.frames[ann->sink.next - 1].text, "next"), said[39]);
}

// ---- Conversations ----

// `from` says "m<i>" to `to`; the two clients are on one loop.
static void tell(struct client *from, const char *to, int i)
{
    client_send(from, "{\"type\":\"direct\",\"to\":\"%s\",\"content\":\"m%d\"}", to, i);
    hub_rig_settle(&rig);
    fake_sink_skip(&from->sink);
}

static const char *last_text(const struct client *client)
{
    return client->sink.frames[client->sink.next - 1].text;
}

static void test_the_conversation_with_one_user(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "");
    struct client *bob = rig_member(&rig, 0, "bob", "");
    struct client *cid = rig_member(&rig, 0, "cid", "");
    for (int i = 0; i < 20; i++) {
        tell(i % 2 ? ann : bob, i % 2 ? "bob" : "ann", i);
        tell(cid, "ann", 1000 + i);
        tell(ann, "cid", 2000 + i);
        tell(cid, "bob", 3000 + i);
    }
    tell(ann, "ann", 77);
    fake_sink_skip(&ann->sink);
    client_send(ann, "{\"type\":\"history\",\"with\":\"bob\",\"id\":\"h\"}");
    expect_history(ann, 0, 20, false);
    assert_true(frame_has(last_text(ann), "with", "\"bob\""));
    assert_true(frame_has(last_text(ann), "id", "\"h\""));
    assert_null(strstr(last_text(ann), "\"room\""));
    client_send(ann, "{\"type\":\"history\",\"with\":\"bob\",\"limit\":5}");
    expect_history(ann, 15, 5, true);
    char next[CN_POS_TEXT_BYTES];
    snprintf(next, sizeof(next), "%s", frame_text(last_text(ann), "next"));
    client_send(ann, "{\"type\":\"history\",\"with\":\"bob\",\"limit\":15,\"before\":\"%s\"}",
                next);
    expect_history(ann, 0, 15, false);
    client_send(ann, "{\"type\":\"history\",\"with\":\"bob\",\"limit\":3,\"after\":\"0-0\"}");
    expect_history(ann, 0, 3, true);
    snprintf(next, sizeof(next), "%s", frame_text(last_text(ann), "next"));
    client_send(ann, "{\"type\":\"history\",\"with\":\"bob\",\"limit\":200,\"after\":\"%s\"}",
                next);
    expect_history(ann, 3, 17, false);
    client_send(ann, "{\"type\":\"history\",\"with\":\"ann\"}");
    expect_history(ann, 77, 1, false);
    client_send(ann, "{\"type\":\"history\",\"with\":\"zoe\"}");
    expect_history(ann, 0, 0, false);
    assert_int_equal(ann->session->in_flight, 0);
}

// What it looks for stands far back among others' messages: page after page, to a bound.
static void test_a_conversation_far_back(void **state)
{
    (void)state;
    enum { PAGE = 512, PAGES = 64, OTHERS = PAGE * PAGES };
    struct client *bob = rig_member(&rig, 0, "bob", "");
    struct client *cid = rig_member(&rig, 0, "cid", "");
    tell(bob, "ann", 0);
    for (int i = 0; i < OTHERS; i++)
        tell(cid, "ann", 5000);
    tell(bob, "ann", 1);
    struct client *ann = rig_member(&rig, 0, "ann", "");
    int64_t before = cn_metrics_sum(CN_M_READS_SENT);
    client_send(ann, "{\"type\":\"history\",\"with\":\"bob\"}");
    expect_history(ann, 1, 1, true); // the first one stands two entries too far
    assert_int_equal(cn_metrics_sum(CN_M_READS_SENT) - before, PAGES);
    char next[CN_POS_TEXT_BYTES];
    snprintf(next, sizeof(next), "%s", frame_text(last_text(ann), "next"));
    client_send(ann, "{\"type\":\"history\",\"with\":\"bob\",\"before\":\"%s\"}", next);
    expect_history(ann, 0, 1, false);
    // Forwards, with nothing found: `next` goes on all the same.
    client_send(ann, "{\"type\":\"history\",\"with\":\"zoe\",\"after\":\"0-0\"}");
    expect_history(ann, 0, 0, true);
    snprintf(next, sizeof(next), "%s", frame_text(last_text(ann), "next"));
    client_send(ann, "{\"type\":\"history\",\"with\":\"zoe\",\"after\":\"%s\"}", next);
    expect_history(ann, 0, 0, false);
}

static void test_few_conversations_at_once(void **state)
{
    (void)state;
    enum { AT_ONCE = 8 };
    struct client *bob = rig_member(&rig, 0, "bob", "");
    struct client *ann = rig_member(&rig, 0, "ann", "");
    for (int i = 0; i < 600; i++)
        tell(bob, "ann", i);
    fake_sink_skip(&ann->sink);
    for (int pass = 0; pass < 2; pass++) { // what has ended counts no more
        for (int i = 0; i <= AT_ONCE; i++)
            client_send(ann, "{\"type\":\"history\",\"with\":\"%s\"}", i % 2 ? "zoe" : "bob");
        assert_true(frame_has(client_expect(ann, "error"), "code", "\"overloaded\""));
        hub_rig_settle(&rig);
        for (int i = 0; i < AT_ONCE; i++)
            client_expect(ann, "history");
        client_expect_nothing(ann);
        assert_int_equal(ann->session->searches, 0);
    }
}

// Who asked is gone while a page is under way.
static void test_a_conversation_that_nobody_waits_for(void **state)
{
    (void)state;
    struct client *bob = rig_member(&rig, 0, "bob", "");
    struct client *ann = rig_member(&rig, 0, "ann", "");
    for (int i = 0; i < 600; i++)
        tell(bob, "ann", i);
    int64_t before = cn_metrics_sum(CN_M_READS_SENT);
    client_send(ann, "{\"type\":\"history\",\"with\":\"zoe\"}");
    hub_rig_turn(&rig); // the first page has come, the second one is asked for
    assert_int_equal(cn_metrics_sum(CN_M_READS_SENT) - before, 2);
    client_gone(ann);
    hub_rig_settle(&rig);
    assert_int_equal(cn_metrics_sum(CN_M_READS_SENT) - before, 2);
}

static void test_only_members_may_read(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "{\"type\":\"history\",\"room\":\"hall\",\"id\":\"h1\"}");
    const char *text = client_expect(ann, "error");
    assert_true(frame_has(text, "code", "\"not_joined\""));
    assert_true(frame_has(text, "id", "\"h1\""));
}

static void test_reads_in_flight_are_bounded(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    for (int64_t i = 0; i <= rig.config.max_in_flight; i++)
        client_send(ann, "{\"type\":\"history\",\"id\":\"h%d\"}", (int)i);
    assert_true(frame_has(client_expect(ann, "error"), "code", "\"overloaded\""));
    hub_rig_settle(&rig);
    assert_int_equal(ann->session->in_flight, 0);
}

static void test_a_page_too_large_is_cut_and_says_so(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    char padding[401];
    memset(padding, '.', sizeof(padding) - 1);
    padding[sizeof(padding) - 1] = '\0';
    say_series(ann, padding, 10); // about 500 bytes each; 2,048 may be used
    client_send(ann, "{\"type\":\"history\"}");
    expect_history(ann, 6, 4, true);
    client_send(ann, "{\"type\":\"history\",\"before\":\"%s\"}", said[8]);
    expect_history(ann, 4, 4, true);
    client_send(ann, "{\"type\":\"history\",\"after\":\"%s\"}", said[1]);
    expect_history(ann, 2, 4, true);
    assert_false(ann->sink.closed);
}

// One entry may be larger than all that may wait; who asks for it must not be closed for it.
static void test_one_entry_larger_than_the_outbox(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    char text[20001];
    memset(text, 1, sizeof(text) - 1); // each byte is six in JSON
    text[sizeof(text) - 1] = '\0';
    client_send(ann, "%s", text);
    hub_rig_settle(&rig);
    client_expect(ann, "message");
    for (int i = 0; i < 3; i++)
        client_send(ann, "{\"type\":\"history\",\"limit\":1}");
    hub_rig_settle(&rig);
    for (int i = 0; i < 3; i++)
        assert_true(strlen(client_expect(ann, "history")) > 120000);
    assert_false(ann->sink.closed);
    // Behind a full socket one such answer waits, not two.
    fake_sink_limit(&ann->sink, 0);
    client_send(ann, "{\"type\":\"ping\"}");
    client_send(ann, "{\"type\":\"history\",\"limit\":1}");
    hub_rig_settle(&rig);
    assert_false(ann->sink.closed);
    client_send(ann, "{\"type\":\"history\",\"limit\":1}");
    hub_rig_settle(&rig);
    assert_true(ann->sink.closed);
    assert_int_equal(ann->sink.reason, CN_REASON_SLOW);
}

int main(void)
{
#define TEST(open, name) cmocka_unit_test_setup_teardown(name, open, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(open_rig, test_directions_and_limits),
        TEST(open_rig, test_the_whole_log_by_next),
        TEST(open_rig, test_the_conversation_with_one_user),
        TEST(open_long_log, test_a_conversation_far_back),
        TEST(open_rig, test_few_conversations_at_once),
        TEST(open_rig, test_a_conversation_that_nobody_waits_for),
        TEST(open_rig, test_only_members_may_read),
        TEST(open_rig, test_reads_in_flight_are_bounded),
        TEST(open_small_outbox, test_a_page_too_large_is_cut_and_says_so),
        TEST(open_small_outbox, test_one_entry_larger_than_the_outbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
