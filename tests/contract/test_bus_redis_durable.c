// SPDX-License-Identifier: MIT
// What the bus over Redis promises: it says how durable an ack is, keeps to it, submits again what
// a failover lost, and finds what no message would show.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/bus_probe.h"
#include "support/redis_server.h"

// A primary and a replica, and an address that leads to one of them.
struct pair {
    struct redis_server primary, replica;
    char link[96];
    char url[128];
};

static void point(struct pair *pair, const struct redis_server *server)
{
    unlink(pair->link);
    assert_int_equal(symlink(server->socket, pair->link), 0);
}

static bool is_on_replica(const struct pair *pair, const char *key)
{
    char command[64];
    snprintf(command, sizeof(command), "EXISTS %s", key);
    return redis_server_command(&pair->replica, command) == 1;
}

static long long count_on_replica(const struct pair *pair)
{
    return redis_server_command(&pair->replica, "XLEN chatnode:test:{r:lobby}log");
}

// The primary takes a new lineage when its first replica comes.
static void attach(struct pair *pair)
{
    char command[64];
    int64_t end_ms = cn_clock_ms() + PROBE_WAIT_MS;
    snprintf(command, sizeof(command), "REPLICAOF 127.0.0.1 %d", pair->primary.port);
    redis_server_command(&pair->replica, command);
    while (redis_server_command(&pair->primary, "WAIT 1 20") != 1)
        assert_true(cn_clock_ms() < end_ms);
    redis_server_command(&pair->primary, "SET attached 1");
    while (!is_on_replica(pair, "attached"))
        assert_true(cn_clock_ms() < end_ms);
}

static void pair_start(struct pair *pair)
{
    static const char *const fast[] = {"--repl-diskless-sync-delay", "0", NULL};
    redis_server_start(&pair->primary, true, fast);
    redis_server_start(&pair->replica, true, fast);
    snprintf(pair->link, sizeof(pair->link), "%s/address", pair->replica.dir);
    snprintf(pair->url, sizeof(pair->url), "unix://%s", pair->link);
    point(pair, &pair->primary);
}

static void pair_stop(struct pair *pair)
{
    unlink(pair->link);
    redis_server_stop(&pair->primary);
    redis_server_stop(&pair->replica);
}

static struct cn_bus_options options_for(const char *url)
{
    struct cn_bus_options options = probe_options();
    options.url = url;
    options.watchdog_ms = 300;
    return options;
}

static void open_subscribed(struct probe *probe, struct cn_bus_options options)
{
    probe_open(probe, NULL, &options);
    WAIT_UNTIL(probe, probe_is_up(probe));
    probe_subscribe(probe, "lobby");
    WAIT_UNTIL(probe, probe_count(probe, PROBE_OPEN, "lobby") == 1);
}

// A Redis and a bus on it that has subscribed to the lobby; and their end.
static void open_alone(struct redis_server *server, struct probe *probe)
{
    redis_server_start(server, false, NULL);
    open_subscribed(probe, options_for(server->url));
}

static void close_alone(struct redis_server *server, struct probe *probe)
{
    probe_close(probe);
    redis_server_stop(server);
}

static struct cn_published store(struct probe *probe, int number)
{
    char id[16];
    snprintf(id, sizeof(id), "m%d", number);
    return probe_store(probe, "lobby", "ann", id);
}

// ---- Failover ----

// The replica got five of eight acked messages when the primary died.
static void fail_over_with_a_cut_tail(struct pair *pair, struct probe *probe,
                                      struct cn_pos stored[8])
{
    for (int i = 0; i < 8; i++) {
        if (i == 5) {
            WAIT_UNTIL(probe, count_on_replica(pair) == 5);
            redis_server_command(&pair->replica, "REPLICAOF NO ONE");
        }
        struct cn_published published = store(probe, i);
        assert_int_equal(published.err, CN_OK);
        stored[i] = published.pos;
    }
    WAIT_UNTIL(probe, probe->entries == 8);
    point(pair, &pair->replica);
    redis_server_kill(&pair->primary, SIGKILL);
}

static void test_what_a_failover_lost_is_submitted_again(void **state)
{
    (void)state;
    struct pair pair;
    struct probe probe;
    struct cn_pos stored[8];
    struct probe_page page;
    pair_start(&pair);
    attach(&pair);
    open_subscribed(&probe, options_for(pair.url));
    fail_over_with_a_cut_tail(&pair, &probe, stored);
    WAIT_UNTIL(&probe, cn_bus_stats(probe.bus)->restored == 3);
    assert_int_equal(cn_bus_stats(probe.bus)->failovers, 1);
    assert_int_equal(cn_bus_stats(probe.bus)->unrestored, 0);
    // The member is told that something broke, then what was restored, under new positions.
    WAIT_UNTIL(&probe, probe.entries == 11);
    assert_int_equal(probe_count(&probe, PROBE_RESET, "lobby"), 1);
    probe_assert_ordered(&probe, "lobby");
    // The log holds each once, in its order; the numbers of the lost ones stand for nothing else.
    probe_read(&probe, "lobby", CN_READ_NEWEST, (struct cn_pos){0}, 100, &page);
    assert_int_equal(page.page.count, 8);
    for (int i = 0; i < 8; i++) {
        char id[24];
        snprintf(id, sizeof(id), "\"id\":\"m%d\"", i);
        assert_non_null(strstr(page.text[i], id));
        assert_true(i < 5 ? page.pos[i].gen == stored[i].gen : page.pos[i].gen > stored[i].gen);
    }
    probe_page_fini(&page);
    struct cn_published again = store(&probe, 7);
    assert_true(again.dup && again.pos.gen > stored[7].gen);
    probe_close(&probe);
    pair_stop(&pair);
}

static void test_publishes_wait_until_the_replay_is_over(void **state)
{
    (void)state;
    struct pair pair;
    struct probe probe;
    struct cn_pos stored[8];
    struct probe_answer next = {0};
    pair_start(&pair);
    attach(&pair);
    open_subscribed(&probe, options_for(pair.url));
    fail_over_with_a_cut_tail(&pair, &probe, stored);
    probe_publish(&probe, "lobby", "ann", "m8", &next);
    WAIT_UNTIL(&probe, next.calls == 1);
    assert_int_equal(next.result.err, CN_OK);
    assert_int_equal(next.result.pos.seq, 3); // behind the three that were restored
    probe_close(&probe);
    pair_stop(&pair);
}

static void test_nothing_is_submitted_again_when_that_is_off(void **state)
{
    (void)state;
    struct pair pair;
    struct probe probe;
    struct cn_pos stored[8];
    pair_start(&pair);
    attach(&pair);
    struct cn_bus_options options = options_for(pair.url);
    options.replay_ms = 0;
    open_subscribed(&probe, options);
    fail_over_with_a_cut_tail(&pair, &probe, stored);
    WAIT_UNTIL(&probe, cn_bus_stats(probe.bus)->failovers == 1 && probe_is_up(&probe));
    struct cn_published next = store(&probe, 8);
    assert_int_equal(next.pos.seq, 0);
    assert_true(next.pos.gen > stored[7].gen);
    assert_int_equal(cn_bus_stats(probe.bus)->restored, 0);
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_RESET, "lobby") == 1);
    probe_close(&probe);
    pair_stop(&pair);
}

static void test_what_has_no_room_is_counted(void **state)
{
    (void)state;
    struct pair pair;
    struct probe probe;
    struct cn_pos stored[8];
    pair_start(&pair);
    attach(&pair);
    struct cn_bus_options options = options_for(pair.url);
    options.replay_bytes = 600; // two or so
    open_subscribed(&probe, options);
    fail_over_with_a_cut_tail(&pair, &probe, stored);
    assert_true(cn_bus_stats(probe.bus)->forgotten >= 5);
    WAIT_UNTIL(&probe, cn_bus_stats(probe.bus)->restored > 0 && probe_is_up(&probe));
    assert_true(cn_bus_stats(probe.bus)->restored < 3);
    probe_close(&probe);
    pair_stop(&pair);
}

static void test_a_new_master_without_replicas_gets_it_when_it_can(void **state)
{
    (void)state;
    struct pair pair;
    struct probe probe;
    struct cn_pos stored[8];
    pair_start(&pair);
    attach(&pair);
    open_subscribed(&probe, options_for(pair.url));
    redis_server_command(&pair.replica, "CONFIG SET min-replicas-to-write 1");
    fail_over_with_a_cut_tail(&pair, &probe, stored);
    WAIT_UNTIL(&probe, cn_bus_stats(probe.bus)->failovers == 1);
    redis_server_command(&pair.replica, "CONFIG SET min-replicas-to-write 0");
    WAIT_UNTIL(&probe, cn_bus_stats(probe.bus)->restored == 3);
    assert_int_equal(cn_bus_stats(probe.bus)->unrestored, 0);
    assert_int_equal(store(&probe, 8).pos.seq, 3);
    probe_close(&probe);
    pair_stop(&pair);
}

// A master that becomes another's replica and a master again has lost all, with no connection cut.
static void test_a_quiet_change_of_data_is_noticed(void **state)
{
    (void)state;
    struct pair pair;
    struct probe probe;
    char command[64];
    pair_start(&pair);
    open_subscribed(&probe, options_for(pair.url));
    for (int i = 0; i < 5; i++)
        assert_int_equal(store(&probe, i).err, CN_OK);
    redis_server_command(&pair.replica, "SET other 1");
    snprintf(command, sizeof(command), "REPLICAOF 127.0.0.1 %d", pair.replica.port);
    redis_server_command(&pair.primary, command);
    WAIT_UNTIL(&probe, redis_server_command(&pair.primary, "EXISTS other") == 1);
    redis_server_command(&pair.primary, "REPLICAOF NO ONE");
    WAIT_UNTIL(&probe, cn_bus_stats(probe.bus)->restored == 5);
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_RESET, "lobby") == 1 && probe.entries == 10);
    probe_close(&probe);
    pair_stop(&pair);
}

// What was stored long before is not at risk: only its second ack is young.
static void test_a_message_acked_twice_is_not_stored_twice(void **state)
{
    (void)state;
    static const char *const args[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};
    struct redis_server server;
    struct probe probe;
    struct probe_page page;
    redis_server_start(&server, false, args);
    struct cn_bus_options options = options_for(server.url);
    options.replay_ms = 500;
    open_subscribed(&probe, options);
    struct cn_published first = store(&probe, 1);
    for (int i = 2; probe.count == 0 || store(&probe, i).ts_ms - first.ts_ms <= 600; i++)
        cn_reactor_turn(probe.reactor, 20);
    assert_true(store(&probe, 1).dup);
    redis_server_command(&server,
                         "DEL chatnode:test:{r:lobby}id:ann:m1"); // as if its time were over
    redis_server_kill(&server, SIGKILL);
    redis_server_restart(&server);
    WAIT_UNTIL(&probe, cn_bus_stats(probe.bus)->failovers == 1 && probe_is_up(&probe));
    (void)probe_store(&probe, "lobby", "ann", "last");
    probe_read(&probe, "lobby", CN_READ_NEWEST, (struct cn_pos){0}, 500, &page);
    int found = 0;
    for (size_t i = 0; i < page.page.count; i++)
        found += strstr(page.text[i], "\"id\":\"m1\"") != NULL;
    assert_int_equal(found, 1);
    probe_page_fini(&page);
    close_alone(&server, &probe);
}

static void test_a_redis_that_comes_back_empty_gets_the_last_messages_again(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    open_alone(&server, &probe);
    struct cn_pos old = {0};
    for (int i = 0; i < 5; i++)
        old = store(&probe, i).pos;
    WAIT_UNTIL(&probe, probe.entries == 5);
    redis_server_kill(&server, SIGKILL);
    redis_server_restart(&server);
    WAIT_UNTIL(&probe, probe.entries == 10);
    assert_int_equal(probe_count(&probe, PROBE_RESET, "lobby"), 1);
    assert_true(probe_event(&probe, PROBE_ENTRY, "lobby", 5)->pos.gen > old.gen);
    assert_int_equal(cn_bus_stats(probe.bus)->restored, 5);
    close_alone(&server, &probe);
}

// ---- Durability ----

static void test_the_bus_says_what_redis_can_promise(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        enum cn_durability durability;
    } steps[] = {
        {"CONFIG SET appendonly yes", CN_DURABILITY_DISK},
        {"CONFIG SET appendfsync always", CN_DURABILITY_DISK_ALWAYS},
        {"CONFIG SET maxmemory 1gb maxmemory-policy allkeys-lru", CN_DURABILITY_MEMORY},
        {"CONFIG SET maxmemory-policy noeviction", CN_DURABILITY_DISK_ALWAYS},
        {"CONFIG SET maxmemory 4gb maxmemory-policy volatile-ttl", CN_DURABILITY_MEMORY},
        {"CONFIG SET maxmemory 0", CN_DURABILITY_DISK_ALWAYS},
        {"CONFIG SET no-appendfsync-on-rewrite yes", CN_DURABILITY_DISK},
        {"CONFIG SET appendonly no", CN_DURABILITY_MEMORY},
    };
    struct redis_server server;
    struct probe probe;
    open_alone(&server, &probe);
    assert_int_equal(probe.durability, CN_DURABILITY_MEMORY);
    for (size_t i = 0; i < CN_COUNT(steps); i++) {
        redis_server_command(&server, steps[i].command);
        WAIT_UNTIL(&probe, probe.durability == steps[i].durability);
    }
    redis_server_command(&server, "ACL SETUSER chatnode -config|get");
    WAIT_UNTIL(&probe, probe.store.config_hidden);
    close_alone(&server, &probe);
}

static void test_what_is_not_durable_enough_is_refused(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    redis_server_start(&server, false, NULL);
    struct cn_bus_options options = options_for(server.url);
    options.required = CN_DURABILITY_DISK;
    open_subscribed(&probe, options);
    assert_int_equal(store(&probe, 1).err, CN_NOTDURABLE);
    assert_int_equal(cn_bus_stats(probe.bus)->refused, 1);
    redis_server_command(&server, "CONFIG SET appendonly yes");
    WAIT_UNTIL(&probe, probe.durability == CN_DURABILITY_DISK);
    struct cn_published stored = store(&probe, 1);
    assert_true(stored.err == CN_OK && !stored.dup);
    close_alone(&server, &probe);
}

static void test_an_ack_waits_for_a_replica(void **state)
{
    (void)state;
    struct pair pair;
    struct probe probe;
    pair_start(&pair);
    struct cn_bus_options options = options_for(pair.url);
    options.required = CN_DURABILITY_REPLICATED;
    open_subscribed(&probe, options);
    assert_int_equal(store(&probe, 1).err, CN_NOTDURABLE); // there is none
    attach(&pair);
    WAIT_UNTIL(&probe, probe.durability == CN_DURABILITY_REPLICATED);
    for (int i = 1; i <= 20; i++) {
        assert_int_equal(store(&probe, i).err, CN_OK);
        assert_int_equal(count_on_replica(&pair), i);
    }
    // One that hears nothing any more: stored, but not acked.
    redis_server_signal(&pair.replica, SIGSTOP);
    assert_int_equal(store(&probe, 21).err, CN_NOTDURABLE);
    assert_int_equal(cn_bus_stats(probe.bus)->unreplicated, 1);
    assert_int_equal(store(&probe, 21).err, CN_NOTDURABLE); // nor is the repeated one
    redis_server_signal(&pair.replica, SIGCONT);
    WAIT_UNTIL(&probe, store(&probe, 21).err == CN_OK);
    assert_true(store(&probe, 21).dup);
    assert_int_equal(count_on_replica(&pair), 21);
    probe_close(&probe);
    pair_stop(&pair);
}

static void test_a_frozen_replica_holds_nothing_else_up(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static struct probe_answer answers[MANY];
    struct pair pair;
    struct probe probe;
    memset(answers, 0, sizeof(answers));
    pair_start(&pair);
    struct cn_bus_options options = options_for(pair.url);
    options.required = CN_DURABILITY_REPLICATED;
    open_subscribed(&probe, options);
    attach(&pair);
    WAIT_UNTIL(&probe, probe.durability == CN_DURABILITY_REPLICATED);
    WAIT_UNTIL(&probe, store(&probe, 0).err == CN_OK);
    redis_server_signal(&pair.replica, SIGSTOP);
    for (int i = 0; i < MANY; i++) {
        char id[16];
        snprintf(id, sizeof(id), "n%d", i);
        probe_publish_for(&probe, "lobby", "ann", id, id, 500, &answers[i]);
        cn_reactor_turn(probe.reactor, 1);
    }
    WAIT_UNTIL(&probe, cn_bus_pending(probe.bus) == 0);
    for (int i = 0; i < MANY; i++) {
        enum cn_err err = answers[i].result.err;
        assert_true(answers[i].calls == 1 && (err == CN_NOTDURABLE || err == CN_UNAVAILABLE));
    }
    // No queue of waits is left: the bus hears at once that the replica is gone.
    redis_server_kill(&pair.replica, SIGKILL);
    WAIT_UNTIL(&probe, probe.durability == CN_DURABILITY_MEMORY);
    probe_close(&probe);
    pair_stop(&pair);
}

static void test_replica_wait_must_leave_the_watchdog_time(void **state)
{
    (void)state;
    struct cn_bus_options options = options_for("redis://127.0.0.1:1");
    options.required = CN_DURABILITY_REPLICATED;
    options.replica_wait_ms = options.watchdog_ms / 2;
    const char *why = NULL;
    assert_int_equal(probe_try(&options, &why), CN_INVALID);
    assert_non_null(strstr(why, "replica-wait"));
}

static void test_many_acks_wait_for_a_replica_together(void **state)
{
    (void)state;
    enum { MANY = 500 };
    struct pair pair;
    struct probe probe;
    static struct probe_answer answers[MANY];
    memset(answers, 0, sizeof(answers));
    pair_start(&pair);
    struct cn_bus_options options = options_for(pair.url);
    options.required = CN_DURABILITY_REPLICATED;
    open_subscribed(&probe, options);
    attach(&pair);
    WAIT_UNTIL(&probe, probe.durability == CN_DURABILITY_REPLICATED);
    for (int i = 0; i < MANY; i++) {
        char id[16];
        snprintf(id, sizeof(id), "n%d", i);
        probe_publish(&probe, "lobby", "ann", id, &answers[i]);
    }
    redis_server_command(&pair.primary, "CLIENT KILL TYPE normal"); // in the middle of it
    WAIT_UNTIL(&probe, cn_bus_pending(probe.bus) == 0);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(answers[i].result.err, CN_OK);
        assert_int_equal(answers[i].result.pos.seq, i);
    }
    probe_close(&probe);
    pair_stop(&pair);
}

static void test_too_few_replicas_for_redis_itself(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    open_alone(&server, &probe);
    redis_server_command(&server, "CONFIG SET min-replicas-to-write 1");
    assert_int_equal(store(&probe, 1).err, CN_NOTDURABLE);
    redis_server_command(&server, "CONFIG SET min-replicas-to-write 0");
    assert_int_equal(store(&probe, 1).err, CN_OK);
    assert_true(probe_is_up(&probe));
    close_alone(&server, &probe);
}

static void test_a_demoted_redis_is_left_and_its_publish_tried_again(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    struct probe_answer answer = {0};
    open_alone(&server, &probe);
    redis_server_command(&server, "REPLICAOF 127.0.0.1 1");
    probe_publish(&probe, "lobby", "ann", "m1", &answer);
    WAIT_UNTIL(&probe, !probe_is_up(&probe));
    assert_int_equal(probe.cause, CN_CAUSE_REPLICA);
    redis_server_command(&server, "REPLICAOF NO ONE");
    WAIT_UNTIL(&probe, answer.calls == 1);
    assert_int_equal(answer.result.err, CN_OK);
    close_alone(&server, &probe);
}

// ---- The slow check ----

static void test_a_last_message_that_was_never_told_is_found(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    char command[160];
    redis_server_start(&server, false, NULL);
    struct cn_bus_options options = options_for(server.url);
    options.check_ms = 100;
    open_subscribed(&probe, options);
    struct cn_pos first = store(&probe, 1).pos;
    WAIT_UNTIL(&probe, probe.entries == 1);
    snprintf(command, sizeof(command),
             "XADD chatnode:test:{r:lobby}log %llu-* d \"ts\":1,\"type\":\"message\"}",
             (unsigned long long)first.gen);
    redis_server_command(&server, command);
    WAIT_UNTIL(&probe, probe.entries == 2);
    assert_int_equal(cn_bus_stats(probe.bus)->checks_off, 1);
    close_alone(&server, &probe);
}

static void test_a_log_that_is_emptied_in_silence_is_told(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    redis_server_start(&server, false, NULL);
    struct cn_bus_options options = options_for(server.url);
    options.check_ms = 100;
    open_subscribed(&probe, options);
    (void)store(&probe, 1);
    WAIT_UNTIL(&probe, probe.entries == 1);
    uint64_t checks = cn_bus_stats(probe.bus)->checks;
    WAIT_UNTIL(&probe, cn_bus_stats(probe.bus)->checks > checks);
    assert_int_equal(cn_bus_stats(probe.bus)->checks_off, 0);
    redis_server_command(&server, "FLUSHALL");
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_RESET, "lobby") == 1);
    assert_pos(probe_event(&probe, PROBE_RESET, "lobby", 0)->pos, ((struct cn_pos){0, 0}));
    close_alone(&server, &probe);
}

static void test_a_log_that_expires_is_no_gap(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    struct probe_page page;
    redis_server_start(&server, false, NULL);
    struct cn_bus_options options = options_for(server.url);
    options.check_ms = 100;
    options.history_ttl_s = 1;
    open_subscribed(&probe, options);
    (void)store(&probe, 1);
    WAIT_UNTIL(&probe, redis_server_command(&server, "EXISTS chatnode:test:{r:lobby}log") == 0);
    uint64_t checks = cn_bus_stats(probe.bus)->checks;
    WAIT_UNTIL(&probe, cn_bus_stats(probe.bus)->checks >= checks + 2);
    assert_int_equal(probe_count(&probe, PROBE_RESET, "lobby"), 0);
    // But who knows only the time before the first entry has missed it.
    probe_read(&probe, "lobby", CN_READ_AFTER, (struct cn_pos){0}, 10, &page);
    assert_false(page.page.exact);
    probe_page_fini(&page);
    (void)store(&probe, 2);
    probe_read(&probe, "lobby", CN_READ_AFTER, (struct cn_pos){0}, 10, &page);
    assert_false(page.page.exact);
    assert_int_equal(page.page.count, 1);
    probe_page_fini(&page);
    close_alone(&server, &probe);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    redis_server_shows_config = true; // as the notes of deploy/redis-users.acl say
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_failover_lost_is_submitted_again),
        cmocka_unit_test(test_publishes_wait_until_the_replay_is_over),
        cmocka_unit_test(test_nothing_is_submitted_again_when_that_is_off),
        cmocka_unit_test(test_what_has_no_room_is_counted),
        cmocka_unit_test(test_a_new_master_without_replicas_gets_it_when_it_can),
        cmocka_unit_test(test_a_quiet_change_of_data_is_noticed),
        cmocka_unit_test(test_a_message_acked_twice_is_not_stored_twice),
        cmocka_unit_test(test_a_redis_that_comes_back_empty_gets_the_last_messages_again),
        cmocka_unit_test(test_the_bus_says_what_redis_can_promise),
        cmocka_unit_test(test_what_is_not_durable_enough_is_refused),
        cmocka_unit_test(test_an_ack_waits_for_a_replica),
        cmocka_unit_test(test_a_frozen_replica_holds_nothing_else_up),
        cmocka_unit_test(test_replica_wait_must_leave_the_watchdog_time),
        cmocka_unit_test(test_many_acks_wait_for_a_replica_together),
        cmocka_unit_test(test_too_few_replicas_for_redis_itself),
        cmocka_unit_test(test_a_demoted_redis_is_left_and_its_publish_tried_again),
        cmocka_unit_test(test_a_last_message_that_was_never_told_is_found),
        cmocka_unit_test(test_a_log_that_is_emptied_in_silence_is_told),
        cmocka_unit_test(test_a_log_that_expires_is_no_gap),
    };
    return cmocka_run_group_tests_name("durability of redis", tests, NULL, NULL);
}
