// SPDX-License-Identifier: MIT
// The options of the bench: what is taken, what is refused and why, what holds without them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "bench_private.h"

enum { WORDS_MAX = 64 };

static bool parse(const char *scenario, char **words, struct cn_bench_options *out, char why[256])
{
    int count = 0;
    while (words[count] != NULL)
        count++;
    return cn_bench_options_parse(cn_scenario_find(scenario), count, words, out, why);
}

#define WORDS(...)                                                                                 \
    (char *[])                                                                                     \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static void without_options_the_defaults_hold(void **state)
{
    (void)state;
    struct cn_bench_options options;
    char why[256];
    assert_true(cn_bench_options_parse(cn_scenario_find("fanout"), 0, NULL, &options, why));
    assert_int_equal(options.url_count, 1);
    assert_string_equal(options.urls[0], "ws://127.0.0.1:8000/ws");
    assert_null(options.urls[1]);
    assert_int_equal(options.clients, 100);
    assert_int_equal(options.payload, 128);
    assert_true(options.seconds > 0);
    assert_int_equal(options.in_flight, 0);
    assert_false(options.json);
}

static void both_ways_to_write_a_value_are_taken(void **state)
{
    (void)state;
    struct cn_bench_options options;
    char why[256];
    assert_true(parse("fanout",
                      WORDS("--clients", "7", "--rate=2.5", "--url", "ws://a:1", "--url=ws://b:2",
                            "--json", "--pid", "11", "--pid=12"),
                      &options, why));
    assert_int_equal(options.clients, 7);
    assert_true(options.rate > 2.4 && options.rate < 2.6);
    assert_int_equal(options.url_count, 2);
    assert_string_equal(options.urls[1], "ws://b:2");
    assert_int_equal(options.pid_count, 2);
    assert_int_equal(options.pids[1], 12);
    assert_true(options.json);
}

static void assert_refused(const char *scenario, char **words, const char *complaint)
{
    struct cn_bench_options options;
    char why[256] = "";
    assert_false(parse(scenario, words, &options, why));
    if (strstr(why, complaint) == NULL)
        fail_msg("%s does not say %s", why, complaint);
}

static void nonsense_is_refused_with_a_reason(void **state)
{
    (void)state;
    assert_refused("fanout", WORDS("--client", "7"), "--client is no option");
    assert_refused("fanout", WORDS("clients"), "clients is no option");
    assert_refused("fanout", WORDS("--clients"), "--clients needs a value");
    assert_refused("fanout", WORDS("--json=yes"), "--json takes no value");
    assert_refused("fanout", WORDS("--clients", "0"), "from 1 to");
    assert_refused("fanout", WORDS("--clients", "7x"), "not 7x");
    assert_refused("fanout", WORDS("--clients", "99999999999999999999"), "from 1 to");
    assert_refused("fanout", WORDS("--rate", "nan"), "--rate takes a number");
    assert_refused("fanout", WORDS("--rate", ""), "--rate takes a number");
    assert_refused("fanout", WORDS("--rooms", "3"), "--rooms does not apply to fanout");
    assert_refused("idle", WORDS("--in-flight", "3"), "--in-flight does not apply to idle");
    assert_refused("fanin", WORDS("--acks"), "--acks does not apply to fanin");
}

// Scenarios may have an option in common that means something else to each.
static void each_scenario_has_its_own_defaults(void **state)
{
    (void)state;
    struct cn_bench_options options;
    char why[256];
    assert_true(parse("jitter", WORDS("--seconds", "3"), &options, why));
    assert_int_equal(options.clients, 2000);
    assert_int_equal(options.rooms, 20);
    assert_int_equal(options.cut, 15000);
    assert_int_equal(options.offline, 2000);
    assert_true(options.seconds > 2.9 && options.seconds < 3.1);
    assert_true(parse("churn", WORDS("--payload", "8"), &options, why));
    assert_int_equal(options.clients, 10000);
    assert_int_equal(options.newcomers, 500);
    assert_int_equal(options.rooms, 0);
    assert_int_equal(options.cut, 0);
    assert_int_equal(options.payload, 8);
    assert_refused("fanout", WORDS("--payload", "8"), "--payload takes a whole number from");
    assert_refused("churn", WORDS("--rooms", "3"), "--rooms does not apply to churn");
    assert_refused("avalanche", WORDS("--cut", "3"), "--cut does not apply to avalanche");
    assert_refused("jitter", WORDS("--kill-pid", "3"), "--kill-pid does not apply to jitter");
}

static void lists_have_a_bound(void **state)
{
    (void)state;
    char *words[CN_BENCH_URLS_MAX + 2] = {NULL};
    for (int i = 0; i <= CN_BENCH_URLS_MAX; i++)
        words[i] = "--url=ws://a:1";
    assert_refused("fanout", words, "64 times at most");
}

static void scenarios_are_found_by_name(void **state)
{
    (void)state;
    static const char *const names[] = {"fanout", "rooms",  "direct",    "fanin",
                                        "idle",   "jitter", "avalanche", "churn"};
    for (size_t i = 0; i < CN_COUNT(names); i++)
        assert_string_equal(cn_scenario_find(names[i])->name, names[i]);
    assert_null(cn_scenario_find("dance"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_options_the_defaults_hold),
        cmocka_unit_test(both_ways_to_write_a_value_are_taken),
        cmocka_unit_test(nonsense_is_refused_with_a_reason),
        cmocka_unit_test(each_scenario_has_its_own_defaults),
        cmocka_unit_test(lists_have_a_bound),
        cmocka_unit_test(scenarios_are_found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
