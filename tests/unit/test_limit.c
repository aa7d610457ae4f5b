// SPDX-License-Identifier: MIT
// What limited a run: the first of the facts that explains it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "chatnode/check.h"
#include "limit.h"

static void assert_limit(struct cn_limit_facts facts, const char *word)
{
    const char *limit = cn_limit_judge(&facts);
    if (strstr(limit, word) == NULL)
        fail_msg("%s does not speak of %s", limit, word);
}

static void each_fact_has_its_sentence(void **state)
{
    (void)state;
    assert_limit((struct cn_limit_facts){.interrupted = true, .dropped = 1}, "interrupted");
    assert_limit((struct cn_limit_facts){.dropped = 1, .lost = 1}, "ended connections");
    assert_limit((struct cn_limit_facts){.refusals = 1, .lost = 1}, "refused");
    assert_limit((struct cn_limit_facts){.overflowed = true}, "too far behind");
    assert_limit((struct cn_limit_facts){.lost = 1, .server_thread = 1}, "did not come");
    assert_limit((struct cn_limit_facts){.idle = true}, "no load");
    assert_limit((struct cn_limit_facts){.server_thread = 0.97, .in_flight = 1}, "a thread of it");
    assert_limit((struct cn_limit_facts){.server_thread = 0.94, .in_flight = 1}, "in flight");
    assert_limit((struct cn_limit_facts){.generator = 0.96, .machine = 1}, "generator");
    assert_limit((struct cn_limit_facts){.machine = 0.99, .in_flight = 1}, "all processors");
    assert_limit((struct cn_limit_facts){.machine = 0.5}, "nothing");
}

static void a_pace_limits_only_if_it_was_kept(void **state)
{
    (void)state;
    const struct cn_limit_facts kept = {.rate = 100, .reached = 99, .server_thread = 0.96};
    const struct cn_limit_facts missed = {.rate = 100, .reached = 60, .server_thread = 0.96};
    assert_limit(kept, "pace");
    assert_limit(missed, "server");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fact_has_its_sentence),
        cmocka_unit_test(a_pace_limits_only_if_it_was_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
