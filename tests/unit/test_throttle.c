// SPDX-License-Identifier: MIT
// Throttles: what requests cost, who is told to wait and for how long, who is closed, and that
// neighbours notice nothing.
#include "support/hub_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chatnode/throttle.h"
#include "hub_private.h"

static struct hub_rig rig;

static void open_rig(const char *const *settings)
{
    hub_rig_open(&rig, 1, settings);
    hub_rig_start(&rig);
}

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

static void ping(struct client *client, int times)
{
    for (int i = 0; i < times; i++)
        client_send(client, "{\"type\":\"ping\"}");
}

static void expect_pongs(struct client *client, int times)
{
    for (int i = 0; i < times; i++)
        client_expect(client, "pong");
}

// The next frame says to wait; for how long.
static int64_t expect_wait(struct client *client)
{
    const char *text = client_expect(client, "error");
    assert_true(frame_has(text, "code", "\"rate_limited\""));
    assert_true(frame_has(text, "retry", "true"));
    const char *in_ms = strstr(text, "\"in_ms\":");
    assert_non_null(in_ms);
    return strtoll(in_ms + 8, NULL, 10);
}

static void without_limits_nothing_is_kept(void **state)
{
    (void)state;
    open_rig(NULL);
    struct client *ann = rig_member(&rig, 0, "ann", "");
    ping(ann, 1000);
    expect_pongs(ann, 1000);
    assert_null(rig.hub->throttles);
    assert_null(ann->session->throttle);
}

static void beyond_the_rate_a_session_is_told_how_long_to_wait(void **state)
{
    (void)state;
    static const char *const settings[] = {"--message-rate", "10", "--message-burst", "2", NULL};
    open_rig(settings);
    struct client *ann = rig_member(&rig, 0, "ann", "");
    struct client *bob = rig_member(&rig, 0, "bob", "");
    for (int i = 0; i < 3; i++)
        client_send(ann, "{\"type\":\"leave\",\"room\":\"x\",\"id\":\"i%d\"}", i);
    client_expect(ann, "error");
    client_expect(ann, "error");
    assert_int_equal(expect_wait(ann), 100);
    ping(bob, 1);
    expect_pongs(bob, 1);
    hub_rig_pass_ms(&rig, 100);
    client_send(ann, "{\"type\":\"leave\",\"room\":\"x\",\"id\":\"i3\"}");
    assert_true(frame_has(client_expect(ann, "error"), "code", "\"not_joined\""));
    assert_int_equal(cn_metrics_sum(CN_M_LIMITED_MESSAGES), 1);
}

static void the_error_names_the_request(void **state)
{
    (void)state;
    static const char *const settings[] = {"--message-rate", "1", "--message-burst", "1", NULL};
    open_rig(settings);
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"a\"}");
    client_send(ann, "{\"type\":\"message\",\"content\":2,\"id\":\"b\"}");
    const char *text = client_expect(ann, "error");
    assert_true(frame_has(text, "id", "\"b\""));
    assert_true(frame_has(text, "code", "\"rate_limited\""));
    client_send(ann, "{\"type\":"); // not even a request
    assert_int_equal(expect_wait(ann), 1000);
    cn_session_receive_binary(ann->session);
    assert_int_equal(expect_wait(ann), 1000);
}

static void requests_cost_what_they_ask_for(void **state)
{
    (void)state;
    static const char *const settings[] = {"--message-rate", "1", "--message-burst", "10", NULL};
    open_rig(settings);
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    ping(ann, 40); // a tenth each
    expect_pongs(ann, 40);
    client_send(ann, "{\"type\":\"history\",\"limit\":200}"); // four
    client_send(ann, "{\"type\":\"history\",\"limit\":51}");  // two: there is nothing left
    ping(ann, 1);
    assert_int_equal(expect_wait(ann), 100);
    hub_rig_pass_ms(&rig, 999);
    client_send(ann, "{\"type\":\"history\",\"limit\":50}"); // one
    hub_rig_settle(&rig);
    client_expect(ann, "history");
    client_expect(ann, "history");
    assert_int_equal(expect_wait(ann), 1);
}

static void a_request_beyond_the_burst_costs_all_of_it(void **state)
{
    (void)state;
    static const char *const settings[] = {"--message-rate", "1", "--message-burst", "1", NULL};
    open_rig(settings);
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "{\"type\":\"history\",\"limit\":200}");
    hub_rig_settle(&rig);
    client_expect(ann, "history");
}

static void bytes_are_limited_and_one_message_always_fits(void **state)
{
    (void)state;
    static const char *const settings[] = {"--byte-rate", "100", "--max-message", "1000", NULL};
    char content[801];
    memset(content, 'x', sizeof(content) - 1);
    content[sizeof(content) - 1] = '\0';
    open_rig(settings);
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "{\"type\":\"ping\",\"pad\":\"%s\"}", content);
    client_send(ann, "{\"type\":\"ping\",\"pad\":\"%s\"}", content);
    expect_pongs(ann, 1);
    int64_t in_ms = expect_wait(ann);
    assert_in_range(in_ms, 6000, 7000);
    ping(ann, 1); // a small one still fits
    expect_pongs(ann, 1);
    assert_int_equal(cn_metrics_sum(CN_M_LIMITED_BYTES), 1);
}

static void joins_are_limited_and_nothing_else_by_that(void **state)
{
    (void)state;
    static const char *const settings[] = {"--join-rate", "1", NULL};
    open_rig(settings);
    struct client *ann = rig_member(&rig, 0, "ann", "");
    for (int i = 0; i < 3; i++)
        client_send(ann, "{\"type\":\"join\",\"room\":\"r%d\"}", i);
    hub_rig_settle(&rig);
    assert_int_equal(expect_wait(ann), 1000);
    client_expect(ann, "joined");
    client_expect(ann, "joined");
    ping(ann, 50);
    expect_pongs(ann, 50);
    assert_int_equal(cn_metrics_sum(CN_M_LIMITED_JOINS), 1);
}

static void a_refused_request_takes_nothing(void **state)
{
    (void)state;
    static const char *const settings[] = {"--message-rate",
                                           "1",
                                           "--message-burst",
                                           "2",
                                           "--join-rate",
                                           "1",
                                           "--flood-limit",
                                           "0",
                                           NULL};
    open_rig(settings);
    struct client *ann = rig_member(&rig, 0, "ann", "");
    for (int i = 0; i < 2; i++)
        client_send(ann, "{\"type\":\"join\",\"room\":\"r%d\"}", i);
    hub_rig_settle(&rig);
    client_expect(ann, "joined");
    client_expect(ann, "joined");
    for (int i = 0; i < 500; i++) {
        client_send(ann, "{\"type\":\"join\",\"room\":\"s\"}");
        assert_int_equal(expect_wait(ann), 1000);
    }
    hub_rig_pass_ms(&rig, 1000);
    client_send(ann, "{\"type\":\"join\",\"room\":\"s\"}");
    hub_rig_settle(&rig);
    client_expect(ann, "joined");
}

static void a_users_sessions_share_what_the_user_has(void **state)
{
    (void)state;
    static const char *const settings[] = {"--user-message-rate", "1", "--message-burst", "3",
                                           NULL};
    open_rig(settings);
    struct client *one = rig_member(&rig, 0, "ann", "");
    struct client *two = rig_member(&rig, 0, "ann", "");
    struct client *bob = rig_member(&rig, 0, "bob", "");
    ping(one, 20);
    expect_pongs(one, 20);
    ping(two, 11);
    expect_pongs(two, 10);
    assert_int_equal(expect_wait(two), 100);
    ping(bob, 1);
    expect_pongs(bob, 1);
    client_gone(one);
    client_gone(two);
    hub_rig_settle(&rig);
    struct client *back = rig_member(&rig, 0, "ann", ""); // coming back brings nothing
    ping(back, 1);
    assert_int_equal(expect_wait(back), 100);
    assert_int_equal(cn_metrics_sum(CN_M_LIMITED_USER), 2);
}

static void the_nodes_rate_is_nobodys_fault(void **state)
{
    (void)state;
    static const char *const settings[] = {"--node-message-rate", "1", "--flood-limit", "1", NULL};
    open_rig(settings);
    struct client *ann = rig_member(&rig, 0, "ann", "");
    struct client *bob = rig_member(&rig, 0, "bob", "");
    ping(ann, 20);
    expect_pongs(ann, 20);
    for (int i = 0; i < 10; i++) {
        ping(bob, 1);
        const char *text = client_expect(bob, "error");
        assert_true(frame_has(text, "code", "\"overloaded\""));
        assert_true(frame_has(text, "retry", "true"));
    }
    assert_int_equal(cn_metrics_sum(CN_M_LIMITED_NODE), 10);
}

static void who_does_not_stop_is_closed(void **state)
{
    (void)state;
    static const char *const settings[] = {
        "--message-rate", "1", "--message-burst", "1", "--flood-limit", "10", NULL};
    open_rig(settings);
    struct client *ann = rig_member(&rig, 0, "ann", "");
    struct client *bob = rig_member(&rig, 0, "bob", "");
    ping(ann, 20);
    expect_pongs(ann, 10);
    for (int i = 0; i < 10; i++)
        expect_wait(ann);
    hub_rig_pass_ms(&rig, CN_FLOOD_WINDOW_MS); // patience comes back
    ping(ann, 20);
    expect_pongs(ann, 10);
    for (int i = 0; i < 10; i++)
        expect_wait(ann);
    assert_int_equal(cn_metrics_sum(cn_metric_closed(CN_REASON_FLOODING)), 0);
    ping(ann, 3);
    expect_wait(ann);
    client_expect_nothing(ann);
    assert_int_equal(cn_metrics_sum(cn_metric_closed(CN_REASON_FLOODING)), 1);
    ping(bob, 1);
    expect_pongs(bob, 1);
}

// Before it has shown a token a session's long frames are not read, but they cost.
static void who_waits_for_a_token_is_limited_too(void **state)
{
    (void)state;
    static const char *const settings[] = {"--auth",
                                           "token",
                                           "--auth-secret",
                                           "0123456789abcdef0123456789abcdef",
                                           "--message-rate",
                                           "1",
                                           "--message-burst",
                                           "2",
                                           "--flood-limit",
                                           "2",
                                           NULL};
    static char spaces[20000];
    memset(spaces, ' ', sizeof(spaces) - 1);
    open_rig(settings);
    const struct cn_hello hello = {.room = CN_STR_LITERAL("")};
    struct client *ann = rig_greet(&rig, 0, &hello);
    for (int i = 0; i < 2; i++) {
        client_send(ann, "{%s", spaces);
        hub_rig_settle(&rig);
        assert_true(frame_has(client_expect(ann, "error"), "code", "\"unauthenticated\""));
    }
    for (int i = 0; i < 3; i++) {
        client_send(ann, "{%s", spaces);
        expect_wait(ann);
    }
    hub_rig_settle(&rig);
    assert_true(ann->sink.closed);
    assert_int_equal(ann->sink.reason, CN_REASON_FLOODING);
}

static void a_user_has_only_so_many_sessions(void **state)
{
    (void)state;
    static const char *const settings[] = {"--max-connections-per-user", "2", NULL};
    open_rig(settings);
    struct client *one = rig_member(&rig, 0, "ann", "");
    rig_member(&rig, 0, "ann", "");
    struct fake_sink sink = {0};
    struct cn_session *session = NULL;
    const struct cn_hello hello = {.user = CN_STR_LITERAL("ann")};
    struct cn_loop *loop = cn_hub_loop(rig.hub, 0);
    assert_int_equal(cn_session_new(loop, &sink.sink, &hello, &session), CN_FULL);
    assert_null(session);
    rig_member(&rig, 0, "bob", "");
    client_gone(one);
    hub_rig_settle(&rig);
    rig_member(&rig, 0, "ann", "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(without_limits_nothing_is_kept),
        TEST(beyond_the_rate_a_session_is_told_how_long_to_wait),
        TEST(the_error_names_the_request),
        TEST(requests_cost_what_they_ask_for),
        TEST(a_request_beyond_the_burst_costs_all_of_it),
        TEST(bytes_are_limited_and_one_message_always_fits),
        TEST(joins_are_limited_and_nothing_else_by_that),
        TEST(a_refused_request_takes_nothing),
        TEST(a_users_sessions_share_what_the_user_has),
        TEST(the_nodes_rate_is_nobodys_fault),
        TEST(who_does_not_stop_is_closed),
        TEST(who_waits_for_a_token_is_limited_too),
        TEST(a_user_has_only_so_many_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
