// SPDX-License-Identifier: MIT
// Memory runs out: a day in the hub's life, once for each allocation in it, which fails; and once
// more with a whole stretch of them failing. Nobody may get less than the contract says: what was
// acked reaches every member that stays, in order, or a gap is told.
#include "support/hub_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub_private.h"

enum { MEMBERS = 4, ALLOCATIONS_MAX = 20000, ERA_MS = 60000 };

// ---- Which allocations fail ----

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static struct {
    bool armed;
    int seen;    // allocations since it was armed
    int first;   // this one fails
    int failing; // and so many in a row
} scarcity;

static bool fails(void)
{
    if (!scarcity.armed)
        return false;
    int number = ++scarcity.seen;
    return number >= scarcity.first && number < scarcity.first + scarcity.failing;
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

// ---- The fake sockets have memory ----

static const struct cn_sink_ops *sink_ops;

static bool write_calmly(struct cn_sink *sink, const unsigned char *bytes, size_t len)
{
    bool armed = scarcity.armed;
    scarcity.armed = false;
    bool took = sink_ops->write(sink, bytes, len);
    scarcity.armed = armed;
    return took;
}

static void close_calmly(struct cn_sink *sink, enum cn_reason reason)
{
    sink_ops->close(sink, reason);
}

static const struct cn_sink_ops calm_ops = {.write = write_calmly, .close = close_calmly};

// ---- The day ----

static struct hub_rig rig;
static struct client *members[MEMBERS];

static bool is_open(const struct client *client)
{
    return client->session && !client->sink.closed;
}

// As the edge does: a socket that was closed is gone a moment later.
static void bury_the_closed(void)
{
    for (size_t i = 0; i < rig.client_count; i++)
        if (rig.clients[i]->sink.closed)
            client_gone(rig.clients[i]);
}

static void settle(void)
{
    hub_rig_settle(&rig);
    bury_the_closed();
}

static void pass_ms(int64_t ms)
{
    hub_rig_pass_ms(&rig, ms);
    bury_the_closed();
}

// A client whose session may not come about.
static struct client *greet(unsigned loop, const struct cn_hello *hello)
{
    bool armed = scarcity.armed;
    scarcity.armed = false;
    struct client *client = calloc(1, sizeof(*client));
    assert_non_null(client);
    fake_sink_init(&client->sink);
    sink_ops = client->sink.sink.ops;
    client->sink.sink.ops = &calm_ops;
    client->loop = cn_hub_loop(rig.hub, loop);
    rig.clients[rig.client_count++] = client;
    scarcity.armed = armed;
    if (cn_session_new(client->loop, &client->sink.sink, hello, &client->session))
        client->session = NULL;
    return client;
}

static struct client *member(unsigned loop, const char *user, const char *room)
{
    const struct cn_hello hello = {.user = cn_str_of(user), .room = cn_str_of(room)};
    return greet(loop, &hello);
}

static void say(struct client *client, const char *text)
{
    if (is_open(client))
        cn_session_receive(client->session, cn_str_of(text));
}

static void drain(struct client *client)
{
    bool was_full = client->sink.full;
    fake_sink_drain(&client->sink);
    if (is_open(client) && was_full)
        cn_session_writable(client->session);
}

// Callers of the HTTP API: how many publishes were begun, and how many were answered.
static int begun, answered;

static void note_answer(void *arg, uint64_t ticket, struct cn_answer *answer)
{
    (void)arg;
    (void)ticket;
    answered++;
    cn_buf_fini(&answer->body);
}

static void call(const char *body)
{
    const struct cn_api_caller caller = {.answered = note_answer};
    const struct cn_str no_key = {NULL, 0};
    enum cn_problem problem;
    if (!cn_api_publish(cn_hub_loop(rig.hub, 0), cn_str_of(body), no_key, &caller, &problem))
        begun++;
}

// Everything that a session can do, and a caller, with a slow reader, a returning one, and the
// sweeps of time.
static void live_a_day(void)
{
    say(members[0], "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"one\",\"id\":\"m1\"}");
    say(members[1], "{\"type\":\"message\",\"room\":\"hall\",\"content\":{\"deep\":[1,2]}}");
    settle();
    say(members[1], "{\"type\":\"join\",\"room\":\"annex\",\"id\":\"j1\"}");
    say(members[0], "{\"type\":\"direct\",\"to\":\"bob\",\"content\":\"psst\",\"id\":\"d1\"}");
    settle();
    call("{\"room\":\"hall\",\"content\":\"from afar\",\"from\":\"web\"}");
    call("{\"to\":\"bob\",\"content\":{\"deep\":[1]},\"from\":\"ann\",\"id\":\"w1\"}");
    settle();
    fake_sink_limit(&members[2]->sink, 1);
    for (int i = 0; i < 40; i++) {
        say(members[0], "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"more\"}");
        settle();
    }
    const struct cn_hello back = {
        .user = cn_str_of("eve"), .room = cn_str_of("hall"), .has_since = true};
    struct client *eve = greet(1, &back);
    settle();
    say(eve, "{\"type\":\"history\",\"room\":\"hall\",\"limit\":5,\"id\":\"h1\"}");
    say(members[1], "{\"type\":\"history\",\"with\":\"ann\",\"limit\":5,\"id\":\"h2\"}");
    settle();
    say(members[1], "{\"type\":\"leave\",\"room\":\"annex\"}");
    say(members[1], "not an object");
    say(members[0], "{\"type\":\"ping\",\"id\":\"p1\"}");
    settle();
    drain(members[2]);
    settle();
    pass_ms(1000);
}

// ---- What must be true after it ----

static int64_t seq_of(const char *frame)
{
    const char *dash = strchr(frame_text(frame, "pos"), '-');
    return dash ? atoll(dash + 1) : -1;
}

// Every message of the room, once and in order, from the first one on that the client saw; or a gap
// was told.
static void check_order(struct client *client)
{
    int64_t last = -1;
    const char *frame;
    while ((frame = fake_sink_next(&client->sink))) {
        if (frame_is(frame, "gap"))
            last = -1;
        bool is_live = strncmp(frame, "{\"pos\":", 7) == 0; // a `history` has entries inside
        if (!is_live || !frame_has(frame, "room", "\"hall\""))
            continue;
        int64_t seq = seq_of(frame);
        if (last >= 0 && seq != last + 1)
            fail_msg("allocation %d of %d: %lld follows %lld", scarcity.first, scarcity.failing,
                     (long long)seq, (long long)last);
        last = seq;
    }
}

static bool has_got(const struct client *client, const char *text)
{
    for (size_t i = 0; i < client->sink.count; i++)
        if (strstr(client->sink.frames[i].text, text))
            return true;
    return false;
}

// No request is met by silence. When there is no memory to parse one, its id is not known either.
static void check_answer(const struct client *client, const char *id)
{
    char json[32];
    snprintf(json, sizeof(json), "\"id\":\"%s\"", id);
    if (is_open(client) && !has_got(client, json) &&
        !has_got(client, "{\"type\":\"error\",\"code\":\"internal\""))
        fail_msg("allocation %d of %d: no answer to %s", scarcity.first, scarcity.failing, id);
}

static void check_answers(void)
{
    if (answered != begun || atomic_load(&rig.hub->api_waiting))
        fail_msg("allocation %d of %d: %d calls were begun, %d answered", scarcity.first,
                 scarcity.failing, begun, answered);
    static const struct {
        unsigned member;
        const char *id;
    } asked[] = {{0, "m1"}, {1, "j1"}, {0, "d1"}, {1, "h2"}, {0, "p1"}};
    for (size_t i = 0; i < CN_COUNT(asked); i++)
        check_answer(members[asked[i].member], asked[i].id);
}

static const char *const users[] = {"ann", "bob", "kim", "joe", "eve", "zoe"};

// Whoever is still there works as ever, and so does who comes anew.
static void check_health(void)
{
    struct client *fresh = member(0, "zoe", "hall");
    settle();
    assert_true(is_open(fresh));
    say(fresh,
        "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"still there?\",\"id\":\"z\"}");
    settle();
    for (size_t i = 0; i < CN_COUNT(users); i++) {
        char text[128];
        snprintf(text, sizeof(text), "{\"type\":\"direct\",\"to\":\"%s\",\"content\":\"you, %s?\"}",
                 users[i], users[i]);
        say(fresh, text);
        settle();
    }
    pass_ms(1000);
    for (size_t i = 0; i < rig.client_count; i++) {
        struct client *client = rig.clients[i];
        char yours[32];
        snprintf(yours, sizeof(yours), "you, %s?", users[i]);
        if (is_open(client) && !(has_got(client, "still there?") && has_got(client, yours)))
            fail_msg("allocation %d of %d: client %zu is open and deaf", scarcity.first,
                     scarcity.failing, i);
        check_order(client);
    }
    check_answers();
}

static void begin(void)
{
    static const char *const settings[] = {"--ring-frames", "16", "--max-rooms", "4", NULL};
    begun = answered = 0;
    hub_rig_open(&rig, 2, settings);
    hub_rig_start(&rig);
    for (unsigned i = 0; i < MEMBERS; i++)
        members[i] = member(i % 2, users[i], "hall");
    settle();
}

// Lives one day with these allocations failing; returns how many there were.
static int try(int first, int failing)
{
    begin();
    scarcity.first = first;
    scarcity.failing = failing;
    scarcity.seen = 0;
    scarcity.armed = true;
    live_a_day();
    scarcity.armed = false;
    // What waits for a retry or a deadline gets its time.
    for (int64_t ms = 0; ms < ERA_MS; ms += ERA_MS / 20) {
        for (size_t i = 0; i < rig.client_count; i++) {
            drain(rig.clients[i]);
            if (is_open(rig.clients[i]))
                cn_session_alive(rig.clients[i]->session);
        }
        cn_channel_retry_missed(rig.hub); // its timer looks at no fake clock
        pass_ms(ERA_MS / 20);
    }
    check_health();
    hub_rig_close(&rig);
    return scarcity.seen;
}

static void a_day_with_memory_is_a_good_day(void **state)
{
    (void)state;
    assert_in_range(try(ALLOCATIONS_MAX, 0), 100, ALLOCATIONS_MAX);
    assert_int_equal(begun, 2);
    assert_int_equal(try(ALLOCATIONS_MAX, 0), scarcity.seen); // the same each time
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    int first = 1;
    while (try(first, 1) >= first)
        first++;
    assert_in_range(first, 100, ALLOCATIONS_MAX);
}

static void a_stretch_of_them_may_fail(void **state)
{
    (void)state;
    static const int stretches[] = {3, 20, 100, ALLOCATIONS_MAX};
    for (size_t i = 0; i < CN_COUNT(stretches); i++)
        for (int first = 1; try(first, stretches[i]) >= first; first += 7)
            ;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_day_with_memory_is_a_good_day),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(a_stretch_of_them_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
