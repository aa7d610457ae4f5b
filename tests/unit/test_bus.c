// SPDX-License-Identifier: MIT
// Tests of the generic part of the bus that need no store: construction, bounds, refusals.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "chatnode/bus.h"
#include "chatnode/clock.h"

static void on_wake(void *arg)
{
    (void)arg;
}

static void on_open(void *arg, const struct cn_channel_name *channel, struct cn_pos tail)
{
    (void)channel;
    (void)tail;
    ++*(int *)arg;
}

static void on_entry(void *arg, const struct cn_channel_name *channel, struct cn_pos pos,
                     struct cn_str text)
{
    (void)arg;
    (void)channel;
    (void)pos;
    (void)text;
}

static void on_durability(void *arg, enum cn_durability durability, const struct cn_store *store)
{
    (void)arg;
    assert_int_equal(durability, CN_DURABILITY_MEMORY);
    assert_null(store);
}

static void on_state(void *arg, enum cn_bus_state state, enum cn_bus_cause cause, const char *why)
{
    (void)arg;
    (void)state;
    (void)cause;
    assert_non_null(why);
}

static void on_fatal(void *arg, const char *why)
{
    (void)arg;
    fail_msg("%s", why);
}

static void on_notice(void *arg, struct cn_str text, bool again)
{
    (void)again;
    (void)arg;
    (void)text;
}

static void on_noticed(void *arg)
{
    (void)arg;
}

static struct cn_bus_options sensible(void)
{
    return (struct cn_bus_options){.node = "n",
                                   .prefix = "p:",
                                   .history_messages = 10,
                                   .history_ttl_s = 60,
                                   .dedupe_ttl_s = 60,
                                   .watchdog_ms = 3000,
                                   .queue = 4,
                                   .entry_bytes = 1000,
                                   .held_messages = 16};
}

struct bench {
    struct cn_reactor *reactor;
    struct cn_bus *bus;
    int opens;
};

static enum cn_err make(struct bench *bench, const struct cn_bus_options *options, const char **why)
{
    const struct cn_bus_events events = {&bench->opens, on_open,  on_entry,  on_open,   on_state,
                                         on_durability, on_fatal, on_notice, on_noticed};
    *bench = (struct bench){0};
    assert_int_equal(cn_reactor_new(&bench->reactor, on_wake, NULL), CN_OK);
    return cn_bus_new(bench->reactor, options, &events, &bench->bus, why);
}

static void unmake(struct bench *bench)
{
    cn_bus_free(bench->bus);
    cn_reactor_free(bench->reactor);
}

struct answer {
    int calls;
    enum cn_err err;
};

static void on_published(void *arg, const struct cn_publish *publish,
                         const struct cn_published *result)
{
    struct answer *answer = arg;
    (void)publish;
    answer->calls++;
    answer->err = result->err;
}

static void on_page(void *arg, const struct cn_read *read, const struct cn_page *page)
{
    struct answer *answer = arg;
    (void)read;
    answer->calls++;
    answer->err = page->err;
}

static void fill_and_take(struct bench *bench, struct cn_publish *publish, int64_t ms,
                          struct answer *answer)
{
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("r"), &publish->channel),
                     CN_OK);
    strcpy(publish->user, "ann");
    strcpy(publish->id, "x");
    publish->deadline_ms = cn_clock_ms() + ms;
    publish->done = on_published;
    publish->arg = answer;
    cn_bus_publish_take(bench->bus, &publish);
    assert_null(publish);
}

static void publish(struct bench *bench, int64_t ms, struct answer *answer)
{
    struct cn_publish *publish = cn_publish_new(CN_STR_LITERAL("\"type\":\"message\"}"), 0);
    assert_non_null(publish);
    fill_and_take(bench, publish, ms, answer);
}

// Who holds a reference may read a publish in which the bus has no part any more.
static void test_a_publish_may_be_held(void **state)
{
    (void)state;
    struct bench bench;
    struct cn_bus_options options = sensible();
    const char *why = NULL;
    assert_int_equal(make(&bench, &options, &why), CN_OK);
    assert_int_equal(cn_bus_start(bench.bus), CN_OK);
    const struct cn_str body = CN_STR_LITERAL("\"type\":\"message\"}");
    size_t bytes = cn_publish_bytes(body.len, 3);
    char *memory = malloc(bytes);
    assert_non_null(memory);
    memset(memory, 0xAA, bytes);
    struct cn_publish *publish = cn_publish_make(memory, body, 3);
    assert_ptr_equal(publish, memory);
    assert_memory_equal(publish->context, "\0\0", 3);
    assert_ptr_equal((char *)publish->context + 3, memory + bytes);
    struct answer answer = {0};
    cn_ref_hold(&publish->ref);
    fill_and_take(&bench, publish, 1000, &answer);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.err, CN_OK);
    assert_memory_equal(publish->body, body.ptr, body.len);
    assert_string_equal(publish->id, "x");
    cn_publish_free(publish);
    unmake(&bench);
}

static void read_newest(struct bench *bench, int64_t ms, struct answer *answer)
{
    struct cn_read *read = calloc(1, sizeof(*read));
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("r"), &read->channel), CN_OK);
    read->kind = CN_READ_NEWEST;
    read->limit = 1;
    read->deadline_ms = cn_clock_ms() + ms;
    read->done = on_page;
    read->arg = answer;
    read->context = malloc(1);
    cn_bus_read_take(bench->bus, &read);
    assert_null(read);
}

static void test_a_bad_url_says_why(void **state)
{
    (void)state;
    struct bench bench;
    struct cn_bus_options options = sensible();
    const char *why = NULL;
    options.url = "http://x";
    assert_int_equal(make(&bench, &options, &why), CN_INVALID);
    assert_non_null(strstr(why, "redis://"));
    unmake(&bench);
    char prefix[200] = {0};
    memset(prefix, 'x', 199);
    options.url = "redis://x";
    options.prefix = prefix;
    assert_int_equal(make(&bench, &options, &why), CN_INVALID);
    assert_non_null(strstr(why, "prefix"));
    unmake(&bench);
}

static void test_names(void **state)
{
    (void)state;
    struct bench bench;
    struct cn_bus_options options = sensible();
    const char *why = NULL;
    assert_int_equal(make(&bench, &options, &why), CN_OK);
    assert_string_equal(cn_bus_name(bench.bus), "memory");
    assert_int_equal(cn_bus_state(bench.bus), CN_BUS_CONNECTING);
    assert_int_equal(cn_bus_start(bench.bus), CN_OK);
    assert_int_equal(cn_bus_state(bench.bus), CN_BUS_UP);
    unmake(&bench);
    options.url = "redis://127.0.0.1:1";
    assert_int_equal(make(&bench, &options, &why), CN_OK);
    assert_string_equal(cn_bus_name(bench.bus), "redis");
    unmake(&bench); // never started
    cn_bus_free(NULL);
    cn_publish_free(NULL);
    cn_publish_free(cn_publish_new(CN_STR_LITERAL("x"), 1));
}

// A bus that is not started takes requests and holds them.
static void test_requests_wait_until_their_deadline(void **state)
{
    (void)state;
    struct bench bench;
    struct cn_bus_options options = sensible();
    const char *why = NULL;
    struct answer answers[6] = {0};
    assert_int_equal(make(&bench, &options, &why), CN_OK);
    publish(&bench, 60000, &answers[0]);
    publish(&bench, 30, &answers[1]);
    read_newest(&bench, 10, &answers[2]);
    read_newest(&bench, 60000, &answers[3]);
    assert_int_equal(cn_bus_pending(bench.bus), 4);
    publish(&bench, 60000, &answers[4]); // beyond the bound
    read_newest(&bench, 60000, &answers[5]);
    for (int i = 4; i < 6; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].err, CN_FULL);
    }
    int64_t begin = cn_clock_ms();
    while (cn_bus_pending(bench.bus) > 2 && cn_clock_ms() < begin + 5000)
        cn_reactor_turn(bench.reactor, 20);
    assert_true(cn_clock_ms() - begin < 1000);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].err, CN_UNAVAILABLE);
    }
    assert_int_equal(answers[0].calls + answers[3].calls, 0);
    unmake(&bench);
    for (int i = 0; i < 4; i += 3) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].err, CN_UNAVAILABLE);
    }
}

static void test_what_waits_is_served_at_the_start(void **state)
{
    (void)state;
    struct bench bench;
    struct cn_bus_options options = sensible();
    const char *why = NULL;
    struct answer answers[2] = {0};
    struct cn_channel_name room;
    assert_int_equal(make(&bench, &options, &why), CN_OK);
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("r"), &room), CN_OK);
    assert_int_equal(cn_bus_subscribe(bench.bus, &room), CN_OK);
    publish(&bench, 60000, &answers[0]);
    read_newest(&bench, 60000, &answers[1]);
    assert_int_equal(bench.opens, 0);
    assert_int_equal(cn_bus_start(bench.bus), CN_OK);
    assert_int_equal(bench.opens, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].err, CN_OK);
    }
    unmake(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bad_url_says_why),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_a_publish_may_be_held),
        cmocka_unit_test(test_requests_wait_until_their_deadline),
        cmocka_unit_test(test_what_waits_is_served_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
