// SPDX-License-Identifier: MIT
// The contract of a bus as tests, run over each implementation.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract/bus_contract.h"
#include "support/bus_probe.h"

static void (*prepare_options)(struct cn_bus_options *options);

static const struct cn_pos zero = {0, 0};

static void open_with(struct probe *probe, struct cn_bus_options options)
{
    prepare_options(&options);
    probe_open(probe, NULL, &options);
    WAIT_UNTIL(probe, probe_is_up(probe));
}

static void open_probe(struct probe *probe)
{
    open_with(probe, probe_options());
}

static void store_many(struct probe *probe, const char *room, int count)
{
    char id[32];
    struct probe_answer *answers = calloc((size_t)count, sizeof(*answers));
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof(id), "m%d", i);
        probe_publish(probe, room, "ann", id, &answers[i]);
    }
    WAIT_UNTIL(probe, cn_bus_pending(probe->bus) == 0);
    for (int i = 0; i < count; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].result.err, CN_OK);
    }
    free(answers);
}

static void subscribe_open(struct probe *probe, const char *room)
{
    size_t before = probe_count(probe, PROBE_OPEN, room);
    probe_subscribe(probe, room);
    WAIT_UNTIL(probe, probe_count(probe, PROBE_OPEN, room) > before);
}

// ---- Publishing ----

static void test_publishes_are_acked_in_order_with_contiguous_positions(void **state)
{
    (void)state;
    struct probe probe;
    struct probe_answer answers[200] = {0};
    char id[16];
    open_probe(&probe);
    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof(id), "m%d", i);
        probe_publish(&probe, "lobby", "ann", id, &answers[i]);
    }
    WAIT_UNTIL(&probe, answers[199].calls == 1);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].result.err, CN_OK);
        assert_false(answers[i].result.dup);
        assert_int_equal(answers[i].result.pos.seq, i);
        assert_int_equal(answers[i].result.pos.gen, answers[0].result.pos.gen);
        assert_true(answers[i].result.ts_ms > 1600000000000);
    }
    assert_true(answers[0].result.pos.gen > 1600000000000);
    probe_close(&probe);
}

static void test_entries_come_in_order_with_their_finished_text(void **state)
{
    (void)state;
    struct probe probe;
    char wanted[256];
    open_probe(&probe);
    subscribe_open(&probe, "lobby");
    assert_pos(probe_event(&probe, PROBE_OPEN, "lobby", 0)->pos, zero);
    store_many(&probe, "lobby", 100);
    struct cn_published last = probe_store(&probe, "lobby", "bob", "hello");
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_ENTRY, "lobby") == 101);
    probe_assert_ordered(&probe, "lobby");
    const struct probe_event *event = probe_event(&probe, PROBE_ENTRY, "lobby", 100);
    assert_pos(event->pos, last.pos);
    snprintf(wanted, sizeof(wanted),
             "{\"pos\":\"%llu-%llu\",\"ts\":%lld,\"type\":\"message\",\"room\":\"lobby\","
             "\"from\":\"bob\",\"content\":\"hello\",\"id\":\"hello\"}",
             (unsigned long long)last.pos.gen, (unsigned long long)last.pos.seq,
             (long long)last.ts_ms);
    assert_string_equal(event->text, wanted);
    probe_close(&probe);
}

static void test_the_same_id_is_stored_once(void **state)
{
    (void)state;
    struct probe probe;
    open_probe(&probe);
    subscribe_open(&probe, "lobby");
    struct cn_published first = probe_store(&probe, "lobby", "ann", "a1");
    struct cn_published other = probe_store(&probe, "lobby", "ann", "a2");
    struct cn_published again = probe_store(&probe, "lobby", "ann", "a1");
    assert_false(first.dup);
    assert_true(again.dup);
    assert_int_equal(again.err, CN_OK);
    assert_pos(again.pos, first.pos);
    assert_int_equal(again.ts_ms, first.ts_ms);
    assert_int_equal(other.pos.seq, 1);
    struct cn_published next = probe_store(&probe, "lobby", "ann", "a3");
    assert_int_equal(next.pos.seq, 2);
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_ENTRY, "lobby") == 3);
    probe_close(&probe);
}

static void test_ids_belong_to_their_user_and_channel(void **state)
{
    (void)state;
    struct probe probe;
    open_probe(&probe);
    assert_false(probe_store(&probe, "lobby", "ann", "a1").dup);
    assert_false(probe_store(&probe, "lobby", "bob", "a1").dup);
    assert_false(probe_store(&probe, "tea", "ann", "a1").dup);
    // The key of "ann:x" with "y" must not be that of "ann" with "x:y" or the like.
    assert_false(probe_store(&probe, "lobby", "ann:a1", "b").dup);
    assert_false(probe_store(&probe, "lobby", "ann", "b").dup);
    assert_true(probe_store(&probe, "lobby", "bob", "a1").dup);
    probe_close(&probe);
}

static void test_ids_are_forgotten_after_their_time(void **state)
{
    (void)state;
    struct probe probe;
    struct cn_bus_options options = probe_options();
    options.dedupe_ttl_s = 1;
    open_with(&probe, options);
    struct cn_published first = probe_store(&probe, "lobby", "ann", "a1");
    WAIT_UNTIL(&probe, !probe_store(&probe, "lobby", "ann", "a1").dup);
    struct probe_page page;
    probe_read(&probe, "lobby", CN_READ_NEWEST, zero, 10, &page);
    assert_int_equal(page.page.count, 2);
    assert_pos(page.pos[0], first.pos);
    probe_page_fini(&page);
    probe_close(&probe);
}

static void test_a_big_body_passes(void **state)
{
    (void)state;
    struct probe probe;
    struct probe_answer answer = {0};
    size_t size = 700 * 1024;
    char *content = malloc(size + 1);
    open_probe(&probe);
    subscribe_open(&probe, "lobby");
    memset(content, 'x', size);
    content[size] = '\0';
    probe_publish_for(&probe, "lobby", "ann", "big", content, 5000, &answer);
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_ENTRY, "lobby") == 1);
    WAIT_UNTIL(&probe, answer.calls == 1);
    assert_int_equal(answer.result.err, CN_OK);
    assert_non_null(strstr(probe_event(&probe, PROBE_ENTRY, "lobby", 0)->text, content));
    free(content);
    probe_close(&probe);
}

static void test_a_body_beyond_the_bound_is_refused(void **state)
{
    (void)state;
    struct probe probe;
    struct probe_answer answer = {0};
    struct cn_bus_options options = probe_options();
    options.entry_bytes = 256;
    char content[300];
    open_with(&probe, options);
    memset(content, 'x', sizeof(content) - 1);
    content[sizeof(content) - 1] = '\0';
    probe_publish_for(&probe, "lobby", "ann", "big", content, 5000, &answer);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.result.err, CN_REFUSED);
    assert_int_equal(probe_store(&probe, "lobby", "ann", "small").err, CN_OK);
    probe_close(&probe);
}

// ---- Reading ----

static void check_page(struct probe *probe, enum cn_read_kind kind, struct cn_pos from,
                       unsigned limit, uint64_t first_seq, size_t count, bool more)
{
    struct probe_page page;
    probe_read(probe, "lobby", kind, from, limit, &page);
    assert_int_equal(page.page.err, CN_OK);
    assert_int_equal(page.page.count, count);
    assert_int_equal(page.page.more, more);
    assert_int_equal(page.page.tail.seq, 9);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(page.pos[i].seq, first_seq + i);
    if (kind == CN_READ_AFTER)
        assert_true(page.page.exact);
    probe_page_fini(&page);
}

static void test_a_log_is_read_after_before_and_from_its_end(void **state)
{
    (void)state;
    struct probe probe;
    open_probe(&probe);
    store_many(&probe, "lobby", 9);
    struct cn_pos tail = probe_store(&probe, "lobby", "ann", "last").pos;
    struct cn_pos four = {tail.gen, 4}, beyond = {tail.gen + 1, 0};
    check_page(&probe, CN_READ_AFTER, four, 512, 5, 5, false);
    check_page(&probe, CN_READ_AFTER, four, 5, 5, 5, false);
    check_page(&probe, CN_READ_AFTER, four, 4, 5, 4, true);
    check_page(&probe, CN_READ_AFTER, tail, 10, 0, 0, false);
    check_page(&probe, CN_READ_AFTER, zero, 100, 0, 10, false);
    check_page(&probe, CN_READ_BEFORE, four, 10, 0, 4, false);
    check_page(&probe, CN_READ_BEFORE, four, 3, 1, 3, true);
    check_page(&probe, CN_READ_BEFORE, zero, 3, 0, 0, false);
    check_page(&probe, CN_READ_BEFORE, beyond, 3, 7, 3, true);
    check_page(&probe, CN_READ_NEWEST, zero, 3, 7, 3, true);
    check_page(&probe, CN_READ_NEWEST, zero, 10, 0, 10, false);
    probe_close(&probe);
}

static void test_a_read_gives_the_text_that_was_told(void **state)
{
    (void)state;
    struct probe probe;
    struct probe_page page;
    open_probe(&probe);
    subscribe_open(&probe, "lobby");
    store_many(&probe, "lobby", 3);
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_ENTRY, "lobby") == 3);
    probe_read(&probe, "lobby", CN_READ_NEWEST, zero, 10, &page);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(page.text[i], probe_event(&probe, PROBE_ENTRY, "lobby", i)->text);
    probe_page_fini(&page);
    probe_close(&probe);
}

static bool is_exact(struct probe *probe, const char *room, struct cn_pos from)
{
    struct probe_page page;
    probe_read(probe, room, CN_READ_AFTER, from, 1, &page);
    assert_int_equal(page.page.err, CN_OK);
    probe_page_fini(&page);
    return page.page.exact;
}

static void test_a_read_is_exact_while_its_anchor_is_in_the_log(void **state)
{
    (void)state;
    struct probe probe;
    struct cn_bus_options options = probe_options();
    options.history_messages = 100;
    open_with(&probe, options);
    struct cn_pos first = probe_store(&probe, "lobby", "ann", "first").pos;
    assert_true(is_exact(&probe, "lobby", zero));
    assert_true(is_exact(&probe, "lobby", first));
    assert_false(is_exact(&probe, "lobby", (struct cn_pos){first.gen, 1}));
    assert_false(is_exact(&probe, "lobby", (struct cn_pos){first.gen - 1, 0}));
    store_many(&probe, "lobby", 600); // so many that also a coarse store must have trimmed
    assert_false(is_exact(&probe, "lobby", zero));
    assert_false(is_exact(&probe, "lobby", first));
    assert_true(is_exact(&probe, "lobby", (struct cn_pos){first.gen, 600}));
    assert_true(is_exact(&probe, "lobby", (struct cn_pos){first.gen, 501}));
    probe_close(&probe);
}

static void test_an_empty_log_is_exact_from_zero_only(void **state)
{
    (void)state;
    struct probe probe;
    struct probe_page page;
    open_probe(&probe);
    probe_read(&probe, "nobody", CN_READ_AFTER, zero, 10, &page);
    assert_true(page.page.exact);
    assert_false(page.page.more);
    assert_int_equal(page.page.count, 0);
    assert_pos(page.page.tail, zero);
    assert_false(is_exact(&probe, "nobody", (struct cn_pos){1700000000000, 3}));
    assert_false(is_exact(&probe, "nobody", (struct cn_pos){UINT64_MAX, UINT64_MAX}));
    probe_close(&probe);
}

static void test_a_log_expires_and_begins_a_new_generation(void **state)
{
    (void)state;
    struct probe probe;
    struct cn_bus_options options = probe_options();
    options.history_ttl_s = 1;
    open_with(&probe, options);
    struct cn_pos old = probe_store(&probe, "lobby", "ann", "a1").pos;
    assert_true(is_exact(&probe, "lobby", old));
    WAIT_UNTIL(&probe, !is_exact(&probe, "lobby", old));
    struct cn_pos young = probe_store(&probe, "lobby", "ann", "a2").pos;
    assert_true(young.gen > old.gen);
    assert_int_equal(young.seq, 0);
    probe_close(&probe);
}

// ---- Subscriptions ----

static void test_on_open_gives_the_tail(void **state)
{
    (void)state;
    struct probe probe;
    open_probe(&probe);
    store_many(&probe, "lobby", 5);
    struct cn_pos tail = probe_store(&probe, "lobby", "ann", "last").pos;
    subscribe_open(&probe, "lobby");
    assert_pos(probe_event(&probe, PROBE_OPEN, "lobby", 0)->pos, tail);
    probe_store(&probe, "lobby", "ann", "next");
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_ENTRY, "lobby") == 1);
    assert_int_equal(probe_event(&probe, PROBE_ENTRY, "lobby", 0)->pos.seq, tail.seq + 1);
    assert_int_equal(probe_count(&probe, PROBE_OPEN, "lobby"), 1);
    probe_close(&probe);
}

static void test_nothing_is_told_after_unsubscribe(void **state)
{
    (void)state;
    struct probe probe;
    open_probe(&probe);
    subscribe_open(&probe, "lobby");
    subscribe_open(&probe, "tea");
    store_many(&probe, "lobby", 3);
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_ENTRY, "lobby") == 3);
    probe_unsubscribe(&probe, "lobby");
    assert_int_equal(probe_store(&probe, "lobby", "bob", "unheard").err, CN_OK);
    probe_store(&probe, "tea", "bob", "heard");
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_ENTRY, "tea") == 1);
    assert_int_equal(probe_count(&probe, PROBE_ENTRY, "lobby"), 3);
    probe_close(&probe);
}

static void test_a_channel_can_be_subscribed_again(void **state)
{
    (void)state;
    struct probe probe;
    open_probe(&probe);
    subscribe_open(&probe, "lobby");
    probe_unsubscribe(&probe, "lobby");
    struct cn_pos missed = probe_store(&probe, "lobby", "ann", "missed").pos;
    subscribe_open(&probe, "lobby");
    assert_pos(probe_event(&probe, PROBE_OPEN, "lobby", 1)->pos, missed);
    // Within one turn, before anything could be confirmed:
    probe_unsubscribe(&probe, "lobby");
    probe_subscribe(&probe, "lobby");
    probe_unsubscribe(&probe, "lobby");
    subscribe_open(&probe, "lobby");
    probe_store(&probe, "lobby", "ann", "heard");
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_ENTRY, "lobby") == 1);
    probe_close(&probe);
}

static void test_a_subscription_can_end_and_begin_at_any_moment(void **state)
{
    (void)state;
    struct probe probe;
    char id[16];
    struct probe_answer answers[300] = {0};
    open_probe(&probe);
    subscribe_open(&probe, "lobby");
    for (int i = 0; i < 300; i++) {
        snprintf(id, sizeof(id), "m%d", i);
        probe_publish(&probe, "lobby", "ann", id, &answers[i]);
        if (i % 7 == 0)
            probe_unsubscribe(&probe, "lobby");
        if (i % 3 == 0)
            cn_reactor_turn(probe.reactor, 0);
        if (i % 7 == 0)
            probe_subscribe(&probe, "lobby");
    }
    WAIT_UNTIL(&probe, cn_bus_pending(probe.bus) == 0);
    struct cn_pos last = probe_store(&probe, "lobby", "ann", "last").pos;
    WAIT_UNTIL(&probe,
               probe.count > 0 && cn_pos_compare(probe.events[probe.count - 1].pos, last) == 0);
    probe_assert_ordered(&probe, "lobby");
    assert_int_equal(probe_count(&probe, PROBE_RESET, "lobby"), 0);
    probe_close(&probe);
}

static void test_thousands_of_channels_are_subscribed(void **state)
{
    (void)state;
    enum { ROOMS = 2000 };
    struct probe probe;
    struct probe_answer answers[ROOMS] = {0};
    char room[16];
    open_probe(&probe);
    for (int i = 0; i < ROOMS; i++) {
        snprintf(room, sizeof(room), "room%d", i);
        probe_subscribe(&probe, room);
    }
    WAIT_UNTIL(&probe, probe.count == ROOMS);
    for (int i = 0; i < ROOMS; i++) {
        snprintf(room, sizeof(room), "room%d", i);
        probe_publish(&probe, room, "ann", "a", &answers[i]);
    }
    WAIT_UNTIL(&probe, probe.entries == ROOMS);
    for (int i = 0; i < ROOMS; i++)
        assert_int_equal(probe.events[i].kind, PROBE_OPEN);
    for (int i = 0; i < ROOMS; i++) {
        snprintf(room, sizeof(room), "room%d", i);
        probe_unsubscribe(&probe, room);
    }
    WAIT_UNTIL(&probe, cn_bus_pending(probe.bus) == 0);
    probe_close(&probe);
}

// ---- Bounds ----

static void test_a_passed_deadline_answers_exactly_once(void **state)
{
    (void)state;
    struct probe probe;
    struct probe_answer answer = {0}, next = {0};
    open_probe(&probe);
    probe_publish_for(&probe, "lobby", "ann", "a1", "late", -1, &answer);
    WAIT_UNTIL(&probe, answer.calls > 0);
    assert_true(answer.result.err == CN_UNAVAILABLE || answer.result.err == CN_OK);
    probe_publish(&probe, "lobby", "ann", "a2", &next);
    WAIT_UNTIL(&probe, next.calls == 1);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(cn_bus_pending(probe.bus), 0);
    probe_close(&probe);
}

static void test_a_full_queue_says_so_at_once(void **state)
{
    (void)state;
    struct probe probe;
    struct probe_answer answers[40] = {0};
    struct cn_bus_options options = probe_options();
    char id[16];
    options.queue = 16;
    open_with(&probe, options);
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof(id), "m%d", i);
        probe_publish(&probe, "lobby", "ann", id, &answers[i]);
        assert_true(cn_bus_pending(probe.bus) <= 16);
    }
    for (int i = 16; i < 40 && answers[15].calls == 0; i++) { // memory never has a queue
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].result.err, CN_FULL);
    }
    WAIT_UNTIL(&probe, cn_bus_pending(probe.bus) == 0);
    for (int i = 0; i < 16; i++)
        assert_int_equal(answers[i].result.err, CN_OK);
    assert_int_equal(probe_store(&probe, "lobby", "ann", "again").err, CN_OK);
    probe_close(&probe);
}

static void test_freeing_answers_what_is_pending(void **state)
{
    (void)state;
    struct probe probe;
    struct probe_answer answers[50] = {0};
    struct probe_page page;
    char id[16];
    open_probe(&probe);
    probe_read(&probe, "lobby", CN_READ_NEWEST, zero, 1, &page);
    probe_page_fini(&page);
    subscribe_open(&probe, "lobby");
    for (int i = 0; i < 50; i++) {
        snprintf(id, sizeof(id), "m%d", i);
        probe_publish(&probe, "lobby", "ann", id, &answers[i]);
    }
    probe_close(&probe);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_true(answers[i].result.err == CN_OK || answers[i].result.err == CN_UNAVAILABLE);
    }
}

// ---- Notices ----

static void test_a_notice_is_heard_by_who_sends_it(void **state)
{
    (void)state;
    struct probe probe;
    open_probe(&probe);
    WAIT_UNTIL(&probe, probe.boards == 1); // nothing was kept
    assert_int_equal(probe.notices, 0);
    assert_int_equal(probe_notify(&probe, "{\"n\":1}", cn_clock_wall_ms() + 60000), CN_OK);
    WAIT_UNTIL(&probe, probe.notices == 1);
    assert_string_equal(probe.notice, "{\"n\":1}");
    assert_int_equal(probe_notify(&probe, "{\"n\":2}", 0), CN_OK);
    WAIT_UNTIL(&probe, probe.notices == 2);
    assert_string_equal(probe.notice, "{\"n\":2}");
    assert_int_equal(probe.again, 0);
    probe_close(&probe);
}

static void on_noted(void *arg, enum cn_err err)
{
    ++((int *)arg)[err];
}

static void test_too_many_notices_at_once_are_refused(void **state)
{
    (void)state;
    enum { SENT = 200 };
    struct probe probe;
    int results[64] = {0};
    open_probe(&probe);
    for (int i = 0; i < SENT; i++)
        cn_bus_notify(probe.bus, CN_STR_LITERAL("{}"), 0, on_noted, results);
    WAIT_UNTIL(&probe, results[CN_OK] + results[CN_FULL] == SENT);
    assert_true(results[CN_OK] >= 64);
    WAIT_UNTIL(&probe, probe.notices == (size_t)results[CN_OK]);
    probe_close(&probe);
}

static void test_freeing_answers_notices(void **state)
{
    (void)state;
    struct probe probe;
    int results[64] = {0};
    open_probe(&probe);
    cn_bus_notify(probe.bus, CN_STR_LITERAL("{}"), 0, on_noted, results);
    probe_close(&probe);
    assert_int_equal(results[CN_OK] + results[CN_UNAVAILABLE], 1);
}

static void test_keys_that_will_not_do_are_refused(void **state)
{
    (void)state;
    struct probe probe;
    struct cn_bus_options options = probe_options();
    const char *why = NULL;
    prepare_options(&options);
    options.keys = "too short";
    assert_int_equal(probe_try(&options, &why), CN_INVALID);
    assert_non_null(strstr(why, "bus-key"));
    open_probe(&probe);
    assert_int_equal(cn_bus_rekey(probe.bus, "too short", false, &why), CN_INVALID);
    assert_int_equal(probe_store(&probe, "lobby", "ann", "a1").err, CN_OK);
    probe_close(&probe);
}

// ---- Callbacks that ask for more ----

struct chain {
    struct probe *probe;
    int left;
};

static void on_chained(void *arg, const struct cn_publish *publish,
                       const struct cn_published *result)
{
    struct chain *chain = arg;
    assert_int_equal(result->err, CN_OK);
    if (--chain->left == 0)
        return;
    struct cn_publish *next = cn_publish_new((struct cn_str){publish->body, publish->body_len}, 0);
    next->channel = publish->channel;
    memcpy(next->user, publish->user, sizeof(next->user));
    snprintf(next->id, sizeof(next->id), "c%d", chain->left);
    next->deadline_ms = publish->deadline_ms;
    next->done = on_chained;
    next->arg = chain;
    cn_bus_publish_take(chain->probe->bus, &next);
}

static void test_an_answer_may_publish_again(void **state)
{
    (void)state;
    struct probe probe;
    struct chain chain = {&probe, 100000};
    open_probe(&probe);
    chain.left = strcmp(cn_bus_name(probe.bus), "memory") == 0 ? 100000 : 500;
    probe.ignores_entries = true;
    int count = chain.left;
    subscribe_open(&probe, "lobby");
    struct cn_str body = CN_STR_LITERAL("\"type\":\"message\",\"content\":1}");
    struct cn_publish *publish = cn_publish_new(body, 0);
    publish->channel = probe_room("lobby");
    strcpy(publish->user, "ann");
    strcpy(publish->id, "c");
    publish->deadline_ms = cn_clock_ms() + 20000;
    publish->done = on_chained;
    publish->arg = &chain;
    cn_bus_publish_take(probe.bus, &publish);
    WAIT_UNTIL(&probe, chain.left == 0);
    WAIT_UNTIL(&probe, probe.entries == (size_t)count);
    probe_close(&probe);
}

int bus_contract_run(const char *name, void (*prepare)(struct cn_bus_options *options))
{
    prepare_options = prepare;
    const struct CMUnitTest contract[] = {
        cmocka_unit_test(test_publishes_are_acked_in_order_with_contiguous_positions),
        cmocka_unit_test(test_entries_come_in_order_with_their_finished_text),
        cmocka_unit_test(test_the_same_id_is_stored_once),
        cmocka_unit_test(test_ids_belong_to_their_user_and_channel),
        cmocka_unit_test(test_ids_are_forgotten_after_their_time),
        cmocka_unit_test(test_a_big_body_passes),
        cmocka_unit_test(test_a_body_beyond_the_bound_is_refused),
        cmocka_unit_test(test_a_log_is_read_after_before_and_from_its_end),
        cmocka_unit_test(test_a_read_gives_the_text_that_was_told),
        cmocka_unit_test(test_a_read_is_exact_while_its_anchor_is_in_the_log),
        cmocka_unit_test(test_an_empty_log_is_exact_from_zero_only),
        cmocka_unit_test(test_a_log_expires_and_begins_a_new_generation),
        cmocka_unit_test(test_on_open_gives_the_tail),
        cmocka_unit_test(test_nothing_is_told_after_unsubscribe),
        cmocka_unit_test(test_a_channel_can_be_subscribed_again),
        cmocka_unit_test(test_a_subscription_can_end_and_begin_at_any_moment),
        cmocka_unit_test(test_thousands_of_channels_are_subscribed),
        cmocka_unit_test(test_a_passed_deadline_answers_exactly_once),
        cmocka_unit_test(test_a_full_queue_says_so_at_once),
        cmocka_unit_test(test_freeing_answers_what_is_pending),
        cmocka_unit_test(test_an_answer_may_publish_again),
        cmocka_unit_test(test_a_notice_is_heard_by_who_sends_it),
        cmocka_unit_test(test_too_many_notices_at_once_are_refused),
        cmocka_unit_test(test_freeing_answers_notices),
        cmocka_unit_test(test_keys_that_will_not_do_are_refused),
    };
    printf("# contract of the %s bus\n", name);
    return cmocka_run_group_tests_name("bus contract", contract, NULL, NULL);
}
