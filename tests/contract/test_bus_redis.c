// SPDX-License-Identifier: MIT
// The contract of the bus over Redis, and what only Redis can do to it: faults under load.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract/bus_contract.h"
#include "support/bus_probe.h"
#include "support/redis_server.h"

static struct redis_server shared;

static void prepare(struct cn_bus_options *options)
{
    static char prefixes[64][24];
    static unsigned count;
    char *prefix = prefixes[count++ % 64];
    snprintf(prefix, sizeof(prefixes[0]), "chatnode:t%u:", count);
    options->url = shared.url;
    options->prefix = prefix;
}

// ---- Load: one node publishes to three rooms, another one listens ----

enum { ROOMS = 3, PER_ROOM = 700 };

static const char *const room_names[ROOMS] = {"lobby", "tea", "coffee"};

struct load {
    struct cn_reactor *reactor;
    struct probe from, to;
    struct probe_answer answers[ROOMS * PER_ROOM];
    int sent;
    int fault_at; // the number of messages at which the next fault is due
};

static void on_wake(void *arg)
{
    (void)arg;
}

static void load_open(struct load *load, struct cn_bus_options options)
{
    memset(load, 0, sizeof(*load));
    assert_int_equal(cn_reactor_new(&load->reactor, on_wake, NULL), CN_OK);
    options.history_messages = 5000;
    probe_open(&load->from, load->reactor, &options);
    probe_open(&load->to, load->reactor, &options);
    for (int i = 0; i < ROOMS; i++)
        probe_subscribe(&load->to, room_names[i]);
    WAIT_UNTIL(&load->from, probe_is_up(&load->from) && load->to.count == ROOMS);
    load->fault_at = PER_ROOM / 10;
}

static void load_close(struct load *load)
{
    probe_close(&load->from);
    probe_close(&load->to);
    cn_reactor_free(load->reactor);
    free(load);
}

// True each time that `every` more messages were sent, and what the last fault broke is mended.
static bool is_due(struct load *load, int every)
{
    if (load->sent < load->fault_at)
        return false;
    WAIT_UNTIL(&load->from, probe_is_up(&load->from) && probe_is_up(&load->to));
    load->fault_at = load->sent + every;
    return true;
}

// Publishes `count` messages to the rooms in turn, as far as there are any left.
static void load_publish(struct load *load, int count)
{
    char id[16];
    for (int i = 0; i < count && load->sent < ROOMS * PER_ROOM; i++, load->sent++) {
        snprintf(id, sizeof(id), "m%d", load->sent);
        probe_publish_for(&load->from, room_names[load->sent % ROOMS], "ann", id, id, 20000,
                          &load->answers[load->sent]);
    }
}

// Publishes one message to each room and lets the reactor run; false when all was sent.
static bool load_step(struct load *load)
{
    load_publish(load, ROOMS);
    cn_reactor_turn(load->reactor, 1);
    return load->sent < ROOMS * PER_ROOM;
}

// Each message was acked once and came once, in the order of publishing, with its position.
static void check_room(struct load *load, int room)
{
    const char *name = room_names[room];
    assert_int_equal(probe_count(&load->to, PROBE_ENTRY, name), PER_ROOM);
    assert_int_equal(probe_count(&load->to, PROBE_RESET, name), 0);
    assert_int_equal(probe_count(&load->to, PROBE_OPEN, name), 1);
    probe_assert_ordered(&load->to, name);
    int n = 0;
    for (size_t i = 0; i < load->to.count; i++) {
        const struct probe_event *event = &load->to.events[i];
        char wanted[32];
        if (event->kind != PROBE_ENTRY || strcmp(event->channel.text + 2, name) != 0)
            continue;
        snprintf(wanted, sizeof(wanted), "\"id\":\"m%d\"}", n * ROOMS + room);
        assert_non_null(strstr(event->text, wanted));
        const struct probe_answer *answer = &load->answers[n * ROOMS + room];
        assert_int_equal(answer->calls, 1);
        assert_int_equal(answer->result.err, CN_OK);
        assert_pos(answer->result.pos, event->pos);
        n++;
    }
}

static void load_check(struct load *load)
{
    WAIT_UNTIL(&load->from, cn_bus_pending(load->from.bus) == 0);
    WAIT_UNTIL(&load->to, load->to.entries == ROOMS * PER_ROOM);
    for (int i = 0; i < ROOMS; i++)
        check_room(load, i);
}

static struct load *load_new(void)
{
    struct load *load = malloc(sizeof(*load));
    assert_non_null(load);
    return load;
}

// A whole load, with these commands sent to Redis each `every` messages; checked.
static struct load *load_under(int every, const char *const *faults)
{
    struct load *load = load_new();
    struct cn_bus_options options = probe_options();
    prepare(&options);
    load_open(load, options);
    while (load_step(load))
        for (const char *const *fault = is_due(load, every) ? faults : NULL; fault && *fault;
             fault++)
            redis_server_command(&shared, *fault);
    load_check(load);
    return load;
}

static void test_cut_subscriptions_lose_and_repeat_nothing(void **state)
{
    (void)state;
    static const char *const faults[] = {"CLIENT KILL TYPE pubsub", NULL};
    struct load *load = load_under(300, faults);
    assert_true(cn_bus_stats(load->to.bus)->reconnects > 0);
    assert_true(cn_bus_stats(load->to.bus)->injected > 0);
    load_close(load);
}

// Publishes without a pause while the listener comes back, until a message finds a channel that is
// confirmed but not read yet, and no room to be held.
static void test_held_messages_that_overflow_are_read_again(void **state)
{
    (void)state;
    enum { MOST = 20000 };
    static struct probe_answer answers[MOST];
    struct load *load = load_new();
    struct cn_bus_options options = probe_options();
    char id[16];
    size_t sent = 0;
    memset(answers, 0, sizeof(answers));
    prepare(&options);
    options.held_messages = 0;
    load_open(load, options);
    const struct cn_bus_stats *stats = cn_bus_stats(load->to.bus);
    while (stats->overflows == 0) {
        uint64_t wanted = stats->catch_ups + ROOMS;
        redis_server_command(&shared, "CLIENT KILL TYPE pubsub");
        while (stats->catch_ups < wanted && sent < MOST) {
            snprintf(id, sizeof(id), "m%zu", sent);
            probe_publish_for(&load->from, room_names[sent % ROOMS], "ann", id, id, 20000,
                              &answers[sent]);
            sent++;
            cn_reactor_turn(load->reactor, 1);
        }
        assert_true(sent < MOST);
        WAIT_UNTIL(&load->to, load->to.entries == sent);
    }
    for (int i = 0; i < ROOMS; i++) {
        probe_assert_ordered(&load->to, room_names[i]);
        assert_int_equal(probe_count(&load->to, PROBE_RESET, room_names[i]), 0);
    }
    WAIT_UNTIL(&load->from, cn_bus_pending(load->from.bus) == 0);
    for (size_t i = 0; i < sent; i++)
        assert_true(answers[i].calls == 1 && answers[i].result.err == CN_OK);
    load_close(load);
}

static void test_cut_commands_lose_and_repeat_nothing(void **state)
{
    (void)state;
    static const char *const faults[] = {"CLIENT KILL TYPE normal", NULL};
    struct load *load = load_under(300, faults);
    assert_true(cn_bus_stats(load->from.bus)->reconnects > 0);
    load_close(load);
}

static void test_everything_cut_at_once_loses_and_repeats_nothing(void **state)
{
    (void)state;
    static const char *const faults[] = {"CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub",
                                         NULL};
    load_close(load_under(400, faults));
}

static void test_flushed_scripts_are_loaded_again(void **state)
{
    (void)state;
    static const char *const faults[] = {"SCRIPT FLUSH", NULL};
    struct load *load = load_under(60, faults);
    assert_int_equal(cn_bus_stats(load->from.bus)->reconnects, 0); // none was given up for it
    load_close(load);
}

static void test_a_killed_redis_with_its_file_loses_nothing(void **state)
{
    (void)state;
    static const char *const args[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};
    struct redis_server server;
    struct load *load = load_new();
    struct cn_bus_options options = probe_options();
    redis_server_start(&server, false, args);
    options.url = server.url;
    load_open(load, options);
    bool more = true;
    for (int round = 1; round <= 3; round++) {
        while (more && load->sent < round * ROOMS * PER_ROOM / 4)
            more = load_step(load);
        WAIT_UNTIL(&load->from, load->answers[0].calls == 1); // stored before the first kill
        redis_server_kill(&server, SIGKILL);
        for (int i = 0; i < 10 && more; i++)
            more = load_step(load);
        assert_int_not_equal(cn_bus_state(load->from.bus), CN_BUS_UP);
        redis_server_restart(&server);
    }
    while (load_step(load))
        ;
    load_check(load);
    const struct cn_pos first = load->answers[0].result.pos;
    assert_true(load->answers[ROOMS * PER_ROOM - 1].result.pos.gen > first.gen);
    load_close(load);
    redis_server_stop(&server);
}

// ---- Single faults ----

static void open_up(struct probe *probe, struct cn_bus_options options)
{
    probe_open(probe, NULL, &options);
    WAIT_UNTIL(probe, probe_is_up(probe));
}

static void open_subscribed(struct probe *probe, struct cn_bus_options options, const char *room)
{
    open_up(probe, options);
    probe_subscribe(probe, room);
    WAIT_UNTIL(probe, probe_count(probe, PROBE_OPEN, room) == 1);
}

static void test_a_lost_log_is_told_as_a_reset(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    struct cn_bus_options options = probe_options();
    redis_server_start(&server, false, NULL);
    options.url = server.url;
    open_subscribed(&probe, options, "lobby");
    struct cn_pos old = {0};
    for (int i = 0; i < 5; i++)
        old = probe_store(&probe, "lobby", "ann", (char[]){'a', (char)('0' + i), 0}).pos;
    WAIT_UNTIL(&probe, probe.entries == 5);
    redis_server_command(&server, "FLUSHALL");
    struct cn_pos young = probe_store(&probe, "lobby", "ann", "b1").pos;
    assert_true(young.gen > old.gen);
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_RESET, "lobby") == 1);
    assert_pos(probe_event(&probe, PROBE_RESET, "lobby", 0)->pos, ((struct cn_pos){0, 0}));
    WAIT_UNTIL(&probe, probe.entries == 6);
    assert_pos(probe_event(&probe, PROBE_ENTRY, "lobby", 5)->pos, young);
    struct cn_pos next = probe_store(&probe, "lobby", "ann", "b2").pos;
    WAIT_UNTIL(&probe, probe.entries == 7);
    assert_pos(probe_event(&probe, PROBE_ENTRY, "lobby", 6)->pos, next);
    assert_int_equal(cn_bus_stats(probe.bus)->resets, 1);
    probe_close(&probe);
    redis_server_stop(&server);
}

static void test_a_lost_lineage_never_repeats_a_position(void **state)
{
    (void)state;
    struct probe probe;
    struct cn_bus_options options = probe_options();
    char command[96];
    prepare(&options);
    open_subscribed(&probe, options, "lobby");
    struct cn_pos first = probe_store(&probe, "lobby", "ann", "a1").pos;
    snprintf(command, sizeof(command), "DEL %s{r:lobby}meta", options.prefix);
    assert_int_equal(redis_server_command(&shared, command), 1);
    struct cn_pos second = probe_store(&probe, "lobby", "ann", "a2").pos;
    assert_true(second.gen > first.gen);
    snprintf(command, sizeof(command), "SET %s{r:lobby}meta 0abc:9999999999:9999999999999999:1",
             options.prefix);
    redis_server_command(&shared, command);
    struct cn_pos third = probe_store(&probe, "lobby", "ann", "a3").pos;
    assert_pos(third, (struct cn_pos){10000000000000000, 0});
    WAIT_UNTIL(&probe, probe.entries == 3);
    assert_int_equal(probe_count(&probe, PROBE_RESET, "lobby"), 0);
    probe_close(&probe);
}

static void test_an_emptied_redis_never_repeats_a_generation(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    struct cn_bus_options options = probe_options();
    redis_server_start(&server, false, NULL);
    options.url = server.url;
    open_up(&probe, options);
    struct cn_pos last = {0};
    for (int i = 0; i < 300; i++) {
        struct cn_pos pos = probe_store(&probe, "lobby", "ann", "a").pos;
        assert_int_equal(pos.seq, 0);
        assert_true(pos.gen > last.gen);
        last = pos;
        redis_server_command(&server, "FLUSHALL");
    }
    probe_close(&probe);
    redis_server_stop(&server);
}

static void test_messages_of_strangers_are_dropped(void **state)
{
    (void)state;
    struct probe probe;
    struct cn_bus_options options = probe_options();
    char command[256];
    prepare(&options);
    open_subscribed(&probe, options, "lobby");
    struct cn_pos first = probe_store(&probe, "lobby", "ann", "a1").pos;
    snprintf(command, sizeof(command), "PUBLISH %s{r:lobby} garbage", options.prefix);
    assert_int_equal(redis_server_command(&shared, command), 1);
    snprintf(command, sizeof(command),
             "PUBLISH %s{r:lobby} {\"pos\":\"%llu-77\",\"ts\":1,\"type\":\"message\"}",
             options.prefix, (unsigned long long)first.gen);
    assert_int_equal(redis_server_command(&shared, command), 1);
    WAIT_UNTIL(&probe, cn_bus_stats(probe.bus)->bad_entries == 2);
    snprintf(command, sizeof(command), "XADD %s{r:lobby}log %llu-* d nonsense", options.prefix,
             (unsigned long long)first.gen);
    redis_server_command(&shared, command);
    struct cn_pos last = probe_store(&probe, "lobby", "ann", "a2").pos;
    assert_int_equal(last.seq, 2);
    WAIT_UNTIL(&probe, probe.entries == 2);
    assert_pos(probe_event(&probe, PROBE_ENTRY, "lobby", 1)->pos, last);
    assert_int_equal(cn_bus_stats(probe.bus)->bad_entries, 3);
    assert_int_equal(probe_count(&probe, PROBE_RESET, "lobby"), 0);
    probe_close(&probe);
}

static void test_a_full_redis_refuses_and_stores_nothing(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    struct cn_bus_options options = probe_options();
    redis_server_start(&server, false, NULL);
    options.url = server.url;
    open_subscribed(&probe, options, "lobby");
    struct cn_pos first = probe_store(&probe, "lobby", "ann", "a1").pos;
    redis_server_command(&server, "CONFIG SET maxmemory 1000");
    assert_int_equal(probe_store(&probe, "lobby", "ann", "a2").err, CN_NOSPACE);
    struct cn_published again = probe_store(&probe, "lobby", "ann", "a1");
    assert_true(again.err == CN_OK && again.dup);
    redis_server_command(&server, "CONFIG SET maxmemory 0");
    struct cn_published second = probe_store(&probe, "lobby", "ann", "a2");
    assert_int_equal(second.err, CN_OK);
    assert_false(second.dup);
    assert_pos(second.pos, (struct cn_pos){first.gen, 1});
    assert_true(probe_is_up(&probe));
    probe_close(&probe);
    redis_server_stop(&server);
}

// Publishes of one turn go in one call of the script.
static void test_one_that_is_refused_does_not_fail_the_others(void **state)
{
    (void)state;
    static const char *const rooms[] = {"lobby", "broken", "lobby", "tea", "broken", "lobby"};
    static const char *const ids[] = {"a", "b", "c", "d", "e", "a"};
    struct probe probe;
    struct probe_answer answers[CN_COUNT(rooms)] = {0};
    struct cn_bus_options options = probe_options();
    char command[64];
    prepare(&options);
    open_up(&probe, options);
    snprintf(command, sizeof(command), "SET %s{r:broken}log string", options.prefix);
    redis_server_command(&shared, command);
    for (size_t i = 0; i < CN_COUNT(rooms); i++)
        probe_publish(&probe, rooms[i], "ann", ids[i], &answers[i]);
    WAIT_UNTIL(&probe, cn_bus_pending(probe.bus) == 0);
    for (size_t i = 0; i < CN_COUNT(rooms); i++)
        assert_int_equal(answers[i].result.err, i == 1 || i == 4 ? CN_REFUSED : CN_OK);
    assert_int_equal(answers[2].result.pos.seq, 1);
    assert_int_equal(answers[3].result.pos.seq, 0);
    assert_true(answers[5].result.dup);
    assert_pos(answers[5].result.pos, answers[0].result.pos);
    assert_int_equal(cn_bus_stats(probe.bus)->refused, 2);
    probe_close(&probe);
}

// Two nodes: one loads the scripts again while calls of the other are under way.
static void test_flushed_scripts_do_not_change_an_order(void **state)
{
    (void)state;
    enum { MANY = 2000 };
    static struct probe_answer answers[MANY];
    struct probe one, two;
    struct probe_answer other[20] = {0};
    struct cn_bus_options options = probe_options();
    char id[16];
    memset(answers, 0, sizeof(answers));
    prepare(&options);
    open_up(&one, options);
    probe_open(&two, one.reactor, &options);
    WAIT_UNTIL(&two, probe_is_up(&two));
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof(id), "o%d", i);
        probe_publish(&one, "lobby", "ann", id, &answers[i]);
        if (i % 100 != 50)
            continue;
        redis_server_command(&shared, "SCRIPT FLUSH");
        probe_publish(&two, "tea", "bob", id, &other[i / 100]);
        cn_reactor_turn(one.reactor, 1);
    }
    WAIT_UNTIL(&one, cn_bus_pending(one.bus) == 0);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(answers[i].result.err, CN_OK);
        assert_int_equal(answers[i].result.pos.seq, i);
    }
    probe_close(&two);
    probe_close(&one);
}

static void test_a_stopped_redis_is_noticed_and_used_again(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    struct probe_answer answer = {0};
    struct cn_bus_options options = probe_options();
    redis_server_start(&server, true, NULL);
    options.url = server.url;
    options.watchdog_ms = 300;
    open_subscribed(&probe, options, "lobby");
    redis_server_signal(&server, SIGSTOP);
    int64_t begin = cn_clock_ms();
    probe_publish_for(&probe, "lobby", "ann", "a1", "a1", 100, &answer);
    WAIT_UNTIL(&probe, answer.calls == 1);
    assert_int_equal(answer.result.err, CN_UNAVAILABLE);
    assert_true(cn_clock_ms() - begin >= 100);
    assert_int_equal(cn_bus_pending(probe.bus), 0);
    WAIT_UNTIL(&probe, !probe_is_up(&probe));
    assert_non_null(strstr(probe.why, "no answer"));
    redis_server_signal(&server, SIGCONT);
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    struct cn_published last = probe_store(&probe, "lobby", "ann", "a2");
    assert_int_equal(last.err, CN_OK);
    WAIT_UNTIL(&probe, probe.entries == last.pos.seq + 1);
    probe_assert_ordered(&probe, "lobby");
    assert_int_equal(answer.calls, 1);
    probe_close(&probe);
    redis_server_stop(&server);
}

static void test_a_late_answer_is_dropped(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    struct probe_answer answer = {0};
    struct cn_bus_options options = probe_options();
    redis_server_start(&server, false, NULL);
    options.url = server.url;
    open_subscribed(&probe, options, "lobby");
    redis_server_signal(&server, SIGSTOP);
    probe_publish_for(&probe, "lobby", "ann", "a1", "a1", 50, &answer);
    WAIT_UNTIL(&probe, answer.calls == 1);
    assert_int_equal(answer.result.err, CN_UNAVAILABLE);
    redis_server_signal(&server, SIGCONT);
    WAIT_UNTIL(&probe, cn_bus_stats(probe.bus)->late == 1);
    assert_int_equal(answer.calls, 1);
    assert_true(probe_store(&probe, "lobby", "ann", "a1").dup);
    probe_close(&probe);
    redis_server_stop(&server);
}

static void test_freeing_in_an_outage_answers_what_is_pending(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    struct probe_answer answers[20] = {0};
    struct cn_bus_options options = probe_options();
    redis_server_start(&server, false, NULL);
    options.url = server.url;
    open_subscribed(&probe, options, "lobby");
    redis_server_signal(&server, SIGSTOP);
    for (int i = 0; i < 20; i++) {
        probe_publish_for(&probe, "lobby", "ann", (char[]){'a', (char)('a' + i), 0}, "x",
                          i < 10 ? 1 : 5000, &answers[i]);
    }
    WAIT_UNTIL(&probe, answers[9].calls == 1);
    probe_close(&probe);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].result.err, CN_UNAVAILABLE);
    }
    redis_server_stop(&server);
}

static void test_publishes_wait_for_the_bus_within_their_deadline(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    struct probe_answer answers[20] = {0}, hasty = {0};
    struct cn_bus_options options = probe_options();
    redis_server_start(&server, false, NULL);
    redis_server_kill(&server, SIGKILL);
    options.url = server.url;
    probe_open(&probe, NULL, &options);
    probe_publish_for(&probe, "lobby", "ann", "hasty", "x", 50, &hasty);
    for (int i = 0; i < 20; i++) {
        probe_publish_for(&probe, "lobby", "ann", (char[]){'a', (char)('a' + i), 0}, "x", 9000,
                          &answers[i]);
    }
    WAIT_UNTIL(&probe, hasty.calls == 1);
    assert_int_equal(hasty.result.err, CN_UNAVAILABLE);
    redis_server_restart(&server);
    WAIT_UNTIL(&probe, answers[19].calls == 1);
    for (int i = 0; i < 20; i++)
        assert_int_equal(answers[i].result.pos.seq, i);
    probe_close(&probe);
    redis_server_stop(&server);
}

static int run_faults(void)
{
    const struct CMUnitTest faults[] = {
        cmocka_unit_test(test_cut_subscriptions_lose_and_repeat_nothing),
        cmocka_unit_test(test_held_messages_that_overflow_are_read_again),
        cmocka_unit_test(test_cut_commands_lose_and_repeat_nothing),
        cmocka_unit_test(test_everything_cut_at_once_loses_and_repeats_nothing),
        cmocka_unit_test(test_flushed_scripts_are_loaded_again),
        cmocka_unit_test(test_a_killed_redis_with_its_file_loses_nothing),
        cmocka_unit_test(test_a_lost_log_is_told_as_a_reset),
        cmocka_unit_test(test_a_lost_lineage_never_repeats_a_position),
        cmocka_unit_test(test_an_emptied_redis_never_repeats_a_generation),
        cmocka_unit_test(test_messages_of_strangers_are_dropped),
        cmocka_unit_test(test_a_full_redis_refuses_and_stores_nothing),
        cmocka_unit_test(test_one_that_is_refused_does_not_fail_the_others),
        cmocka_unit_test(test_flushed_scripts_do_not_change_an_order),
        cmocka_unit_test(test_a_stopped_redis_is_noticed_and_used_again),
        cmocka_unit_test(test_a_late_answer_is_dropped),
        cmocka_unit_test(test_freeing_in_an_outage_answers_what_is_pending),
        cmocka_unit_test(test_publishes_wait_for_the_bus_within_their_deadline),
    };
    return cmocka_run_group_tests_name("faults of redis", faults, NULL, NULL);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    redis_server_start(&shared, false, NULL);
    int failed = bus_contract_run("redis", prepare) + run_faults();
    redis_server_stop(&shared);
    return failed;
}
