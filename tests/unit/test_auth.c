// SPDX-License-Identifier: MIT
// Tokens and sessions: who is let in and when he is closed, every request against every right, what
// a resume may bring, and answers of the authority that come later.
#include "support/fake_token.h"
#include "support/hub_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chatnode/auth.h"
#include "chatnode/clock.h"
#include "hub_private.h"

static struct hub_rig rig;

// ---- The authority under the test's hand ----

static bool answers_later;
static uint64_t asker; // the session that asked last
static int questions;

bool __real_cn_auth_begin(struct cn_auth *auth, const struct cn_auth_question *question,
                          struct cn_verdict *verdict);
bool __wrap_cn_auth_begin(struct cn_auth *auth, const struct cn_auth_question *question,
                          struct cn_verdict *verdict);

bool __wrap_cn_auth_begin(struct cn_auth *auth, const struct cn_auth_question *question,
                          struct cn_verdict *verdict)
{
    questions++;
    asker = question->session;
    return !answers_later && __real_cn_auth_begin(auth, question, verdict);
}

static int64_t now_s(void)
{
    return cn_clock_wall_ms() / 1000;
}

// The late answer comes.
static void answer(uint64_t session, enum cn_token_fault fault, const char *token)
{
    struct cn_verdict verdict = {fault, token ? fake_grant(token, now_s()) : NULL};
    cn_auth_done(rig.hub, session, &verdict);
    assert_null(verdict.grant);
    hub_rig_settle(&rig);
}

// ---- Memory under the test's hand ----

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static int left = -1; // allocations until one fails; -1: none does

static bool fails(void)
{
    return left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

// The fake sockets have memory.
static const struct cn_sink_ops *sink_ops;

static bool write_calmly(struct cn_sink *sink, const unsigned char *bytes, size_t len)
{
    int before = left;
    left = -1;
    bool took = sink_ops->write(sink, bytes, len);
    left = before;
    return took;
}

static void close_calmly(struct cn_sink *sink, enum cn_reason reason)
{
    sink_ops->close(sink, reason);
}

// ---- Rigs and clients ----

static int open_rig(void **state)
{
    (void)state;
    static const char *const settings[] = {"--auth",
                                           "token",
                                           "--auth-secret",
                                           "0123456789abcdef0123456789abcdef",
                                           "--auth-leeway",
                                           "5",
                                           "--auth-warning",
                                           "30000",
                                           "--ping-interval",
                                           "3600000",
                                           NULL};
    answers_later = false;
    questions = 0;
    hub_rig_open(&rig, 1, settings);
    hub_rig_start(&rig);
    return 0;
}

static int open_open_rig(void **state)
{
    (void)state;
    hub_rig_open(&rig, 1, NULL);
    hub_rig_start(&rig);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

static struct client *greet(const char *token, const char *room)
{
    const struct cn_hello hello = {.room = cn_str_of(room), .token = cn_str_of(token)};
    struct client *client = rig_greet(&rig, 0, &hello);
    hub_rig_settle(&rig);
    return client;
}

// One that is in, with all frames so far passed over.
static struct client *bearer(const char *token, const char *room)
{
    struct client *client = greet(token, room);
    client_expect(client, "welcome");
    fake_sink_skip(&client->sink);
    return client;
}

static void show(struct client *client, const char *token)
{
    client_send(client, "{\"type\":\"auth\",\"token\":\"%s\",\"id\":\"a1\"}", token);
    hub_rig_settle(&rig);
}

static void expect_error(struct client *client, const char *code)
{
    char json[64];
    snprintf(json, sizeof(json), "\"%s\"", code);
    const char *text = client_expect(client, "error");
    if (!frame_has(text, "code", json))
        fail_msg("wanted %s, got %.200s", code, text);
}

static void expect_closed(const struct client *client, enum cn_reason reason)
{
    assert_true(client->sink.closed);
    assert_string_equal(cn_reason_name(client->sink.reason), cn_reason_name(reason));
}

static int64_t members(void)
{
    return cn_metrics_sum(CN_M_MEMBERS);
}

// ---- Getting in ----

static void test_a_token_of_the_hello_lets_in(void **state)
{
    (void)state;
    struct client *ann = greet("user=ann;name=Ann A.;in=100;rooms=*:join", "lobby");
    const char *text = client_expect(ann, "welcome");
    assert_true(frame_has(text, "user", "\"ann\""));
    assert_true(frame_has(text, "name", "\"Ann A.\""));
    assert_true(frame_has(text, "expires_in_ms", "100000"));
    assert_true(frame_has(client_expect(ann, "joined"), "inbox", "true"));
    assert_true(frame_has(client_expect(ann, "joined"), "room", "\"lobby\""));
    assert_int_equal(cn_metrics_sum(CN_M_AUTH_NONE), 1);
}

static void test_until_then_nothing_is_done(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "{\"type\":\"message\",\"content\":1,\"id\":\"i\"}",
        "{\"type\":\"direct\",\"to\":\"bob\",\"content\":1,\"id\":\"i\"}",
        "{\"type\":\"join\",\"room\":\"r\",\"id\":\"i\"}",
        "{\"type\":\"leave\",\"room\":\"r\",\"id\":\"i\"}",
        "{\"type\":\"history\",\"id\":\"i\"}",
        "{\"type\":\"history\",\"with\":\"bob\",\"id\":\"i\"}",
        "{\"type\":\"ping\",\"id\":\"i\"}",
        "plain text",
    };
    struct client *ann = greet(NULL, NULL);
    client_expect_nothing(ann);
    for (size_t i = 0; i < CN_COUNT(requests); i++) {
        client_send(ann, "%s", requests[i]);
        hub_rig_settle(&rig);
        expect_error(ann, "unauthenticated");
        client_expect_nothing(ann);
    }
    cn_session_receive_binary(ann->session);
    expect_error(ann, "binary");
    uint64_t ids[1];
    assert_int_equal(members(), 0);
    assert_int_equal(cn_metrics_sum(CN_M_PUBLISHES), 0);
    assert_int_equal(cn_registry_user_sessions(cn_hub_registry(rig.hub), cn_str_of("ann"), ids, 1),
                     0);
    show(ann, "user=ann;rooms=lobby:join");
    client_expect(ann, "welcome");
    assert_int_equal(members(), 2);
    assert_int_equal(cn_registry_user_sessions(cn_hub_registry(rig.hub), cn_str_of("ann"), ids, 1),
                     1);
}

static void test_a_long_frame_is_not_even_read(void **state)
{
    (void)state;
    static char spaces[20000];
    memset(spaces, ' ', sizeof(spaces) - 1);
    struct client *ann = greet(NULL, "");
    client_send(ann, "{\"type\":\"auth\",%s\"token\":\"user=ann\"}", spaces);
    expect_error(ann, "unauthenticated");
    assert_int_equal(questions, 0);
}

static void test_what_the_hello_wanted_is_done_then(void **state)
{
    (void)state;
    struct client *bob = bearer("user=bob;rooms=*:join,send,history", "r");
    rig_say(&rig, bob, "r", "one");
    char since[64];
    snprintf(since, sizeof(since), "%s", frame_text(client_expect(bob, "message"), "pos"));
    rig_say(&rig, bob, "r", "two");
    struct cn_hello hello = {.room = cn_str_of("r"), .has_since = true};
    assert_int_equal(cn_pos_parse(cn_str_of(since), &hello.since), CN_OK);
    struct client *ann = rig_greet(&rig, 0, &hello);
    show(ann, "user=ann;rooms=r:join,history");
    client_expect(ann, "welcome");
    assert_true(frame_has(client_expect(ann, "joined"), "recovered", "true"));
    assert_true(frame_has(client_expect(ann, "message"), "content", "\"two\""));
    assert_true(frame_has(client_expect(ann, "joined"), "inbox", "true"));
}

static void test_no_token_in_time_closes(void **state)
{
    (void)state;
    struct client *ann = greet(NULL, NULL);
    struct client *bob = greet(NULL, NULL);
    hub_rig_pass_ms(&rig, 4000);
    show(bob, "user=bob");
    assert_false(ann->sink.closed);
    hub_rig_pass_ms(&rig, 1000);
    expect_closed(ann, CN_REASON_UNAUTHENTICATED);
    assert_false(bob->sink.closed);
    assert_int_equal(cn_metrics_sum(cn_metric_closed(CN_REASON_UNAUTHENTICATED)), 1);
}

static void test_each_fault_is_told_counted_and_closes(void **state)
{
    (void)state;
    for (int i = 1; i < CN_TOKEN_FAULT_COUNT; i++) {
        enum cn_token_fault fault = (enum cn_token_fault)i;
        char token[64];
        char reason[64];
        snprintf(token, sizeof(token), "fault=%s", cn_token_fault_word(fault));
        snprintf(reason, sizeof(reason), "\"%s\"", cn_token_fault_word(fault));
        struct client *ann = greet(i % 2 ? token : NULL, "");
        if (i % 2 == 0)
            show(ann, token);
        assert_true(frame_has(client_expect(ann, "error"), "reason", reason));
        client_expect_nothing(ann);
        bool is_ours = fault == CN_TOKEN_MEMORY || fault == CN_TOKEN_UNAVAILABLE;
        expect_closed(ann, is_ours                     ? CN_REASON_INTERNAL
                           : fault == CN_TOKEN_REVOKED ? CN_REASON_REVOKED
                           : fault == CN_TOKEN_DENIED  ? CN_REASON_DENIED
                                                       : CN_REASON_UNAUTHENTICATED);
        assert_int_equal(cn_metrics_sum(cn_metric_auth(fault)), 1);
    }
    assert_int_equal(members(), 0);
}

static void test_a_user_who_is_named_must_be_the_tokens(void **state)
{
    (void)state;
    struct cn_hello hello = {.user = cn_str_of("ann"), .token = cn_str_of("user=bob")};
    struct client *ann = rig_greet(&rig, 0, &hello);
    expect_error(ann, "other_user");
    expect_closed(ann, CN_REASON_UNAUTHENTICATED);
    hello.token = cn_str_of("user=ann");
    client_expect(rig_greet(&rig, 0, &hello), "welcome");
}

static void test_open_mode_wants_no_tokens(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "{\"type\":\"auth\",\"token\":\"x\",\"id\":\"a1\"}");
    const char *text = client_expect(ann, "error");
    assert_true(frame_has(text, "code", "\"no_tokens\"") && frame_has(text, "id", "\"a1\""));
    assert_false(ann->sink.closed);
    const struct cn_hello hello = {.user = cn_str_of("bob"), .token = cn_str_of("x")};
    text = client_expect(rig_greet(&rig, 0, &hello), "welcome");
    assert_null(strstr(text, "expires_in_ms"));
}

static void test_those_who_wait_are_sent_away_too(void **state)
{
    (void)state;
    struct client *ann = greet(NULL, NULL);
    cn_loop_send_away(ann->loop, 0, CN_REASON_RESTART);
    hub_rig_settle(&rig);
    client_expect(ann, "reconnect");
    cn_loop_close_all(ann->loop, CN_REASON_RESTART);
    expect_closed(ann, CN_REASON_RESTART);
}

// ---- Staying in ----

static void test_a_warning_then_the_end(void **state)
{
    (void)state;
    struct client *ann = bearer("user=ann;in=100", "");
    hub_rig_pass_ms(&rig, 69000);
    client_expect_nothing(ann);
    hub_rig_pass_ms(&rig, 1000);
    assert_true(frame_has(client_expect(ann, "expiring"), "in_ms", "30000"));
    hub_rig_pass_ms(&rig, 20000);
    hub_rig_pass_ms(&rig, 14000); // 104 s: within the leeway
    client_expect_nothing(ann);
    assert_false(ann->sink.closed);
    hub_rig_pass_ms(&rig, 1000);
    expect_closed(ann, CN_REASON_EXPIRED);
}

static void test_with_little_time_the_warning_comes_at_half(void **state)
{
    (void)state;
    struct client *ann = bearer("user=ann;in=20", "");
    hub_rig_pass_ms(&rig, 9000);
    client_expect_nothing(ann);
    hub_rig_pass_ms(&rig, 1000);
    assert_true(frame_has(client_expect(ann, "expiring"), "in_ms", "10000"));
}

// What is left of a token that only the leeway keeps alive is nothing, and not less.
static void test_no_time_is_left_in_the_leeway(void **state)
{
    (void)state;
    struct client *ann = greet("user=ann;in=-2", "");
    assert_true(frame_has(client_expect(ann, "welcome"), "expires_in_ms", "0"));
    hub_rig_pass_ms(&rig, 4000);
    expect_closed(ann, CN_REASON_EXPIRED);
}

static void test_a_fresh_token_takes_the_old_ones_place(void **state)
{
    (void)state;
    struct client *ann = bearer("user=ann;in=10;rooms=*:join", "lobby");
    show(ann, "user=ann;in=1000;rooms=*:join,send");
    const char *text = client_expect(ann, "authenticated");
    assert_true(frame_has(text, "id", "\"a1\"") && frame_has(text, "expires_in_ms", "1000000"));
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"m1\"}");
    hub_rig_settle(&rig);
    client_expect(ann, "ack");
    fake_sink_skip(&ann->sink);
    hub_rig_pass_ms(&rig, 20000); // the old one's time is over
    client_expect_nothing(ann);
    assert_false(ann->sink.closed);
}

static void test_a_bad_or_foreign_token_changes_nothing(void **state)
{
    (void)state;
    struct client *ann = bearer("user=ann;in=100;rooms=lobby:join,send", "lobby");
    show(ann, "fault=signature");
    expect_error(ann, "unauthenticated");
    show(ann, "user=bob;in=1000;rooms=*:join");
    expect_error(ann, "other_user");
    assert_false(ann->sink.closed);
    rig_say(&rig, ann, "lobby", "still here");
    client_expect(ann, "message");
    hub_rig_pass_ms(&rig, 70000);
    client_expect(ann, "expiring");
}

static void test_rooms_that_it_forbids_are_left(void **state)
{
    (void)state;
    struct client *ann = bearer("user=ann;rooms=*:join", "keep");
    client_send(ann, "{\"type\":\"join\",\"room\":\"drop\"}");
    hub_rig_settle(&rig);
    fake_sink_skip(&ann->sink);
    assert_int_equal(members(), 3);
    show(ann, "user=ann;rooms=keep:join");
    client_expect(ann, "authenticated");
    const char *text = client_expect(ann, "left");
    assert_true(frame_has(text, "room", "\"drop\"") && frame_has(text, "reason", "\"denied\""));
    client_expect_nothing(ann);
    assert_int_equal(members(), 2);
}

// A loop that was stopped has not had its tick yet.
static void test_a_grant_that_is_over_allows_nothing(void **state)
{
    (void)state;
    struct client *ann = bearer("user=ann;in=10;rooms=*:join,send", "lobby");
    rig.now_us += 16 * INT64_C(1000000);
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"m1\"}");
    expect_error(ann, "unauthenticated");
}

// ---- Every request and every right ----

static const struct {
    const char *request;
    const char *granted; // the least that allows it
    const char *answer;  // its first answer then
} needs[] = {
    {"{\"type\":\"message\",\"room\":\"r\",\"content\":1,\"id\":\"i\"}", "rooms=r:join,send",
     "ack"},
    {"{\"type\":\"direct\",\"to\":\"bob\",\"content\":1,\"id\":\"i\"}", "direct;rooms=r:join",
     "ack"},
    {"{\"type\":\"join\",\"room\":\"s\",\"id\":\"i\"}", "rooms=r:join|s:join", "joined"},
    {"{\"type\":\"history\",\"room\":\"r\",\"id\":\"i\"}", "rooms=r:join,history", "history"},
    {"{\"type\":\"history\",\"with\":\"bob\",\"id\":\"i\"}", "rooms=r:join", "history"},
    {"{\"type\":\"leave\",\"room\":\"r\",\"id\":\"i\"}", "rooms=r:join", "left"},
    {"{\"type\":\"ping\",\"id\":\"i\"}", "rooms=r:join", "pong"},
};

// Grants that have other rights, or the right ones elsewhere.
static const char *const grants[] = {
    "rooms=r:join",
    "rooms=r:join,send",
    "rooms=r:join,history",
    "rooms=r:join,presence,moderate",
    "rooms=r:join|s:join",
    "direct;rooms=r:join",
    "rooms=r:join|other:join,send,history,presence,moderate",
    "direct;rooms=*:join,send,history,presence,moderate",
};

static bool has(const char *grant, const char *word)
{
    return strstr(grant, word) != NULL;
}

// What the grant allows, told apart from cn_grant_allows: by looking at its text.
static bool is_granted(size_t need, const char *grant)
{
    bool all = has(grant, "*:");
    switch (need) {
    case 0:
        return all || has(grant, "r:join,send");
    case 1:
        return has(grant, "direct");
    case 2:
        return all || has(grant, "s:join");
    case 3:
        return all || has(grant, "r:join,history");
    default:
        return true;
    }
}

static bool other_room_only(const char *grant)
{
    return has(grant, "other:");
}

static void test_every_request_needs_its_right(void **state)
{
    (void)state;
    for (size_t g = 0; g < CN_COUNT(grants); g++) {
        for (size_t n = 0; n < CN_COUNT(needs); n++) {
            char token[256];
            snprintf(token, sizeof(token), "user=u%zu.%zu;%s", g, n, grants[g]);
            struct client *ann = bearer(token, "r");
            client_send(ann, "%s", needs[n].request);
            hub_rig_settle(&rig);
            bool granted = n == 0 || n == 3
                               ? is_granted(n, grants[g]) && !other_room_only(grants[g])
                               : is_granted(n, grants[g]);
            if (granted)
                client_expect(ann, needs[n].answer);
            else
                expect_error(ann, "denied");
            client_gone(ann);
            hub_rig_settle(&rig);
        }
    }
}

static void test_the_least_grant_is_enough(void **state)
{
    (void)state;
    for (size_t n = 0; n < CN_COUNT(needs); n++) {
        char token[256];
        snprintf(token, sizeof(token), "user=u%zu;%s", n, needs[n].granted);
        struct client *ann = bearer(token, "r");
        client_send(ann, "%s", needs[n].request);
        hub_rig_settle(&rig);
        assert_true(frame_has(client_expect(ann, needs[n].answer),
                              needs[n].answer[0] == 'h' ? "messages" : "id",
                              needs[n].answer[0] == 'h' ? "[" : "\"i\""));
        client_gone(ann);
    }
}

static void test_a_hellos_room_needs_the_right_to_join(void **state)
{
    (void)state;
    struct client *ann = greet("user=ann;rooms=other:join", "lobby");
    client_expect(ann, "welcome");
    expect_error(ann, "denied");
    assert_true(frame_has(client_expect(ann, "joined"), "inbox", "true"));
    assert_int_equal(members(), 1);
}

static void test_a_right_that_begins_later_is_none_yet(void **state)
{
    (void)state;
    char token[128];
    snprintf(token, sizeof(token), "user=ann;rooms=r:join@%lld",
             (long long)cn_clock_wall_ms() + 20000);
    struct client *ann = bearer(token, "");
    client_send(ann, "{\"type\":\"join\",\"room\":\"r\",\"id\":\"i\"}");
    expect_error(ann, "denied");
    hub_rig_pass_ms(&rig, 15000); // the leeway is 5 s
    client_send(ann, "{\"type\":\"join\",\"room\":\"r\",\"id\":\"i\"}");
    hub_rig_settle(&rig);
    client_expect(ann, "joined");
}

// ---- Resuming ----

enum { SAID = 6 };

static struct {
    char pos[SAID][64];
    int64_t ts_ms[SAID];
} said;

// bob says "0" to "5" in the room, a second apart, and stays.
static struct client *fill_room(void)
{
    struct client *bob = bearer("user=bob;in=1000;rooms=*:join,send", "r");
    for (int i = 0; i < SAID; i++) {
        char text[16];
        rig.now_us += 1000000;
        snprintf(text, sizeof(text), "%d", i);
        rig_say(&rig, bob, "r", text);
        snprintf(said.pos[i], sizeof(said.pos[i]), "%s",
                 frame_text(client_expect(bob, "message"), "pos"));
        said.ts_ms[i] = cn_clock_wall_ms();
    }
    return bob;
}

static struct client *resume(const char *rule, int64_t from_ms, int since)
{
    char token[128];
    if (from_ms)
        snprintf(token, sizeof(token), "user=ann;rooms=%s@%lld", rule, (long long)from_ms);
    else
        snprintf(token, sizeof(token), "user=ann;rooms=%s", rule);
    struct client *ann = bearer(token, "");
    client_send(ann, "{\"type\":\"join\",\"room\":\"r\",\"since\":\"%s\",\"id\":\"j\"}",
                said.pos[since]);
    hub_rig_settle(&rig);
    return ann;
}

static void expect_from(struct client *ann, int first)
{
    for (int i = first; i < SAID; i++) {
        char json[16];
        snprintf(json, sizeof(json), "\"%d\"", i);
        assert_true(frame_has(client_expect(ann, "message"), "content", json));
    }
    client_expect_nothing(ann);
}

static void expect_joined(struct client *ann, bool recovered, bool gap)
{
    assert_true(frame_has(client_expect(ann, "joined"), "recovered", recovered ? "true" : "false"));
    if (gap)
        client_expect(ann, "gap");
}

static void test_without_history_a_resume_is_a_plain_join(void **state)
{
    (void)state;
    struct client *bob = fill_room();
    struct client *ann = resume("r:join", 0, 1);
    expect_joined(ann, false, true);
    client_expect_nothing(ann);
    rig_say(&rig, bob, "r", "now");
    assert_true(frame_has(client_expect(ann, "message"), "content", "\"now\""));
}

// From the ring, since bob keeps the feed alive.
static void test_a_resume_from_the_ring_begins_at_from(void **state)
{
    (void)state;
    fill_room();
    struct client *ann = resume("r:join,history", said.ts_ms[4], 1);
    expect_joined(ann, false, true);
    expect_from(ann, 4);
    ann = resume("r:join,history", said.ts_ms[2], 1); // nothing is held back
    expect_joined(ann, true, false);
    expect_from(ann, 2);
    ann = resume("r:join,history", 0, 1);
    expect_joined(ann, true, false);
    expect_from(ann, 2);
}

// From the log, since nobody is in the room.
static void test_a_resume_from_the_log_begins_at_from(void **state)
{
    (void)state;
    client_gone(fill_room());
    hub_rig_settle(&rig);
    struct client *ann = resume("r:join,history", said.ts_ms[4], 1);
    expect_joined(ann, false, true);
    expect_from(ann, 4);
    client_gone(ann);
    hub_rig_settle(&rig);
    ann = resume("r:join,history", said.ts_ms[2], 1);
    expect_joined(ann, true, false);
    expect_from(ann, 2);
    client_gone(ann);
    hub_rig_settle(&rig);
    ann = resume("r:join,history", said.ts_ms[5] + 1, 1); // all of it is held back
    expect_joined(ann, false, true);
    client_expect_nothing(ann);
}

// The page with the newest comes to who names a position that nobody knows.
static void test_the_newest_begin_at_from_too(void **state)
{
    (void)state;
    client_gone(fill_room());
    hub_rig_settle(&rig);
    snprintf(said.pos[0], sizeof(said.pos[0]), "7-7");
    struct client *ann = resume("r:join,history", said.ts_ms[3], 0);
    expect_joined(ann, false, true);
    expect_from(ann, 3);
}

// Her socket is full, she resumes, and before it has room she shows a token that allows less.
static struct client *resume_and_lose(const char *rule)
{
    char token[128];
    struct client *ann = bearer("user=ann;rooms=r:join,history", "");
    fake_sink_limit(&ann->sink, 0);
    client_send(ann, "{\"type\":\"ping\"}");
    hub_rig_settle(&rig);
    assert_true(ann->sink.full);
    client_send(ann, "{\"type\":\"join\",\"room\":\"r\",\"since\":\"%s\"}", said.pos[1]);
    hub_rig_settle(&rig);
    snprintf(token, sizeof(token), "user=ann;rooms=%s", rule);
    show(ann, token);
    fake_sink_drain(&ann->sink);
    cn_session_writable(ann->session);
    hub_rig_settle(&rig);
    client_expect(ann, "pong");
    return ann;
}

static void expect_only_what_comes(struct client *ann, struct client *bob)
{
    bool has_gap = false;
    const char *text;
    while ((text = fake_sink_next(&ann->sink))) {
        assert_false(frame_is(text, "message"));
        has_gap |= frame_is(text, "gap");
    }
    assert_true(has_gap);
    rig_say(&rig, bob, "r", "now");
    assert_true(frame_has(client_expect(ann, "message"), "content", "\"now\""));
    client_expect_nothing(ann);
}

static void test_what_is_owed_from_the_ring_goes_with_the_right(void **state)
{
    (void)state;
    struct client *bob = fill_room();
    expect_only_what_comes(resume_and_lose("r:join"), bob);
    char rule[64];
    snprintf(rule, sizeof(rule), "r:join,history@%lld", (long long)said.ts_ms[4]);
    expect_only_what_comes(resume_and_lose(rule), bob);
}

static void test_what_is_owed_from_the_log_goes_with_the_right(void **state)
{
    (void)state;
    client_gone(fill_room());
    hub_rig_settle(&rig);
    struct client *ann = resume_and_lose("r:join");
    struct client *bob = bearer("user=bob;in=1000;rooms=*:join,send", "r");
    expect_only_what_comes(ann, bob);
}

// A fresh token that allows as much takes nothing away.
static void test_what_is_owed_stays_with_the_right(void **state)
{
    (void)state;
    fill_room();
    struct client *ann = resume_and_lose("r:join,send,history");
    client_expect(ann, "joined");
    client_expect(ann, "authenticated");
    expect_from(ann, 2);
}

static void expect_history(struct client *ann, const char *arguments, const char *first, bool more)
{
    client_send(ann, "{\"type\":\"history\",\"room\":\"r\"%s}", arguments);
    hub_rig_settle(&rig);
    const char *text = client_expect(ann, "history");
    assert_true(frame_has(text, "more", more ? "true" : "false"));
    const char *found = strstr(text, "\"content\":");
    if (first)
        assert_memory_equal(found + strlen("\"content\":"), first, strlen(first));
    else
        assert_null(found);
}

static void test_history_begins_at_from(void **state)
{
    (void)state;
    fill_room();
    char token[128];
    snprintf(token, sizeof(token), "user=ann;rooms=r:join,history@%lld", (long long)said.ts_ms[3]);
    struct client *ann = bearer(token, "r");
    expect_history(ann, "", "\"3\"", false);
    expect_history(ann, ",\"limit\":3", "\"3\"", true); // what is before is looked at later
    expect_history(ann, ",\"limit\":2", "\"4\"", true);
    char after[128];
    snprintf(after, sizeof(after), ",\"after\":\"%s\"", said.pos[0]);
    expect_history(ann, after, "\"3\"", false);
    snprintf(after, sizeof(after), ",\"before\":\"%s\"", said.pos[3]);
    expect_history(ann, after, NULL, false);
}

// ---- Answers that come later ----

static void test_a_late_answer_lets_in(void **state)
{
    (void)state;
    answers_later = true;
    struct client *ann = greet("user=ann", "lobby");
    client_expect_nothing(ann);
    client_send(ann, "{\"type\":\"ping\"}");
    expect_error(ann, "unauthenticated");
    show(ann, "user=ann"); // one question at a time
    expect_error(ann, "overloaded");
    answer(asker, CN_TOKEN_NONE, "user=ann;rooms=lobby:join");
    client_expect(ann, "welcome");
    assert_int_equal(questions, 1);
}

static void test_a_late_no_closes(void **state)
{
    (void)state;
    answers_later = true;
    struct client *ann = greet("user=ann", "lobby");
    answer(asker, CN_TOKEN_DENIED, NULL);
    expect_error(ann, "denied");
    expect_closed(ann, CN_REASON_DENIED);
}

static void test_no_answer_is_the_servers_fault(void **state)
{
    (void)state;
    answers_later = true;
    struct client *ann = greet("user=ann", "lobby");
    hub_rig_pass_ms(&rig, 5000);
    expect_closed(ann, CN_REASON_INTERNAL);
    answer(asker, CN_TOKEN_NONE, "user=ann"); // nobody is there any more
    client_gone(ann);
    answer(asker, CN_TOKEN_NONE, "user=ann");
}

static void test_a_late_answer_renews(void **state)
{
    (void)state;
    struct client *ann = bearer("user=ann;in=100", "");
    answers_later = true;
    show(ann, "user=ann;in=1000");
    client_expect_nothing(ann);
    answer(asker, CN_TOKEN_NONE, "user=ann;in=1000");
    client_expect(ann, "authenticated");
    answer(asker, CN_TOKEN_NONE, "user=ann;in=2000"); // nobody has asked
    client_expect_nothing(ann);
}

static void test_a_session_that_ends_while_it_waits(void **state)
{
    (void)state;
    answers_later = true;
    client_gone(greet("user=ann", "lobby"));
    client_gone(greet(NULL, "lobby"));
    hub_rig_pass_ms(&rig, 5000);
    answer(asker, CN_TOKEN_NONE, "user=ann");
    assert_int_equal(members(), 0);
}

// ---- Without memory ----

// A client whose session may not come about.
static struct client *greet_without_memory(const struct cn_hello *hello)
{
    static const struct cn_sink_ops calm_ops = {.write = write_calmly, .close = close_calmly};
    int before = left;
    left = -1;
    struct client *client = calloc(1, sizeof(*client));
    assert_non_null(client);
    fake_sink_init(&client->sink);
    sink_ops = client->sink.sink.ops;
    client->sink.sink.ops = &calm_ops;
    client->loop = cn_hub_loop(rig.hub, 0);
    rig.clients[rig.client_count++] = client;
    left = before;
    if (cn_session_new(client->loop, &client->sink.sink, hello, &client->session))
        client->session = NULL;
    return client;
}

static void say(struct client *client, const char *text)
{
    if (client->session)
        cn_session_receive(client->session, cn_str_of(text));
    hub_rig_settle(&rig);
}

// In by the hello or by a request, a fresh token, a room less, a late answer, the end.
static void live(void)
{
    const struct cn_hello by_hello = {.room = cn_str_of("r"),
                                      .token = cn_str_of("user=ann;in=20;rooms=*:join,send")};
    const struct cn_hello by_request = {.room = cn_str_of("r"), .address = cn_str_of("::1")};
    struct client *ann = greet_without_memory(&by_hello);
    struct client *bob = greet_without_memory(&by_request);
    say(bob, "{\"type\":\"auth\",\"token\":\"user=bob;in=20;rooms=*:join,history\"}");
    say(ann, "{\"type\":\"message\",\"room\":\"r\",\"content\":1,\"id\":\"m1\"}");
    say(ann, "{\"type\":\"auth\",\"token\":\"user=ann;in=40;rooms=s:join\",\"id\":\"a1\"}");
    answers_later = true;
    say(bob, "{\"type\":\"auth\",\"token\":\"user=bob;in=40\",\"id\":\"a1\"}");
    struct cn_verdict verdict = {CN_TOKEN_NONE, fake_grant("user=bob;in=40", now_s())};
    if (verdict.grant)
        cn_auth_done(rig.hub, asker, &verdict);
    answers_later = false;
    hub_rig_settle(&rig);
    for (int i = 0; i < 5; i++)
        hub_rig_pass_ms(&rig, 10000);
}

static void test_each_allocation_may_fail(void **state)
{
    (void)state;
    enum { ALLOCATIONS_MAX = 2000 };
    int at = 0;
    for (; at < ALLOCATIONS_MAX; at++) {
        open_rig(NULL);
        left = at;
        live();
        bool is_over = left >= 0;
        left = -1;
        for (size_t i = 0; i < rig.client_count; i++) {
            const struct client *client = rig.clients[i];
            assert_true(!client->session || client->sink.closed); // nobody outlives his token
        }
        hub_rig_close(&rig);
        if (is_over)
            break;
    }
    assert_in_range(at, 40, ALLOCATIONS_MAX - 1);
}

#define IN(open, test) cmocka_unit_test_setup_teardown(test, open, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN(open_rig, test_a_token_of_the_hello_lets_in),
        IN(open_rig, test_until_then_nothing_is_done),
        IN(open_rig, test_a_long_frame_is_not_even_read),
        IN(open_rig, test_what_the_hello_wanted_is_done_then),
        IN(open_rig, test_no_token_in_time_closes),
        IN(open_rig, test_each_fault_is_told_counted_and_closes),
        IN(open_rig, test_a_user_who_is_named_must_be_the_tokens),
        IN(open_open_rig, test_open_mode_wants_no_tokens),
        IN(open_rig, test_those_who_wait_are_sent_away_too),
        IN(open_rig, test_a_warning_then_the_end),
        IN(open_rig, test_with_little_time_the_warning_comes_at_half),
        IN(open_rig, test_no_time_is_left_in_the_leeway),
        IN(open_rig, test_a_fresh_token_takes_the_old_ones_place),
        IN(open_rig, test_a_bad_or_foreign_token_changes_nothing),
        IN(open_rig, test_rooms_that_it_forbids_are_left),
        IN(open_rig, test_a_grant_that_is_over_allows_nothing),
        IN(open_rig, test_every_request_needs_its_right),
        IN(open_rig, test_the_least_grant_is_enough),
        IN(open_rig, test_a_hellos_room_needs_the_right_to_join),
        IN(open_rig, test_a_right_that_begins_later_is_none_yet),
        IN(open_rig, test_without_history_a_resume_is_a_plain_join),
        IN(open_rig, test_a_resume_from_the_ring_begins_at_from),
        IN(open_rig, test_a_resume_from_the_log_begins_at_from),
        IN(open_rig, test_the_newest_begin_at_from_too),
        IN(open_rig, test_what_is_owed_from_the_ring_goes_with_the_right),
        IN(open_rig, test_what_is_owed_from_the_log_goes_with_the_right),
        IN(open_rig, test_what_is_owed_stays_with_the_right),
        IN(open_rig, test_history_begins_at_from),
        IN(open_rig, test_a_late_answer_lets_in),
        IN(open_rig, test_a_late_no_closes),
        IN(open_rig, test_no_answer_is_the_servers_fault),
        IN(open_rig, test_a_late_answer_renews),
        IN(open_rig, test_a_session_that_ends_while_it_waits),
        cmocka_unit_test(test_each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
