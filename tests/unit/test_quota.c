// SPDX-License-Identifier: MIT
// Quotas: holders, tokens, what is forgotten and what is not, and several threads at once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "chatnode/hash.h"
#include "chatnode/quota.h"
#include "chatnode/thread.h"

enum { NOW = 5000, THREADS = 4, ROUNDS = 3000, SHARDS = 16 };

static bool no_memory;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory ? NULL : __real_calloc(count, size);
}

static struct cn_quotas *new_quotas(int64_t holders_max, int64_t per_s, int64_t burst,
                                    size_t idle_max)
{
    const struct cn_quota_terms terms = {holders_max, per_s, burst, idle_max};
    struct cn_quotas *quotas = cn_quotas_new(&terms);
    assert_non_null(quotas);
    return quotas;
}

static enum cn_err hold(struct cn_quotas *quotas, const char *key, int64_t now_ms,
                        struct cn_quota **out)
{
    int64_t in_ms;
    return cn_quota_hold(quotas, cn_str_of(key), 1, now_ms, out, &in_ms);
}

static void a_key_has_only_so_many_holders(void **state)
{
    (void)state;
    struct cn_quotas *quotas = new_quotas(2, 0, 1, 100);
    struct cn_quota *one, *two, *three, *other;
    assert_int_equal(hold(quotas, "a", NOW, &one), CN_OK);
    assert_int_equal(hold(quotas, "a", NOW, &two), CN_OK);
    assert_int_equal(hold(quotas, "a", NOW, &three), CN_FULL);
    assert_int_equal(hold(quotas, "b", NOW, &other), CN_OK); // a neighbour notices nothing
    assert_int_equal(cn_quotas_count(quotas), 2);
    cn_quota_release(quotas, one, NOW);
    assert_int_equal(hold(quotas, "a", NOW, &three), CN_OK);
    cn_quota_release(quotas, two, NOW);
    cn_quota_release(quotas, three, NOW);
    cn_quota_release(quotas, other, NOW);
    assert_int_equal(cn_quotas_count(quotas), 0);
    cn_quotas_free(quotas);
}

static void tokens_are_taken_with_each_hold_and_survive_the_holders(void **state)
{
    (void)state;
    struct cn_quotas *quotas = new_quotas(0, 1, 2, 1600);
    struct cn_quota *quota;
    int64_t in_ms = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hold(quotas, "a", NOW, &quota), CN_OK);
        cn_quota_release(quotas, quota, NOW);
    }
    assert_int_equal(cn_quota_hold(quotas, CN_STR_LITERAL("a"), 1, NOW, &quota, &in_ms),
                     CN_REFUSED);
    assert_int_equal(in_ms, 1000);
    assert_int_equal(hold(quotas, "b", NOW, &quota), CN_OK);
    cn_quota_release(quotas, quota, NOW);
    assert_int_equal(hold(quotas, "a", NOW + 1000, &quota), CN_OK);
    assert_int_equal(cn_quota_take(quotas, quota, 1, NOW + 1000), 1000);
    assert_int_equal(cn_quota_take(quotas, quota, 1, NOW + 2000), 0);
    assert_int_equal(cn_quota_take(quotas, quota, 99, NOW + 3000), 1000); // as much as there can be
    assert_int_equal(cn_quota_take(quotas, quota, 99, NOW + 4000), 0);
    cn_quota_release(quotas, quota, NOW + 4000);
    cn_quotas_free(quotas);
}

static void unused_keys_are_forgotten(void **state)
{
    (void)state;
    struct cn_quotas *quotas = new_quotas(0, 1, 2, 2 * SHARDS);
    struct cn_quota *held;
    assert_int_equal(hold(quotas, "held", NOW, &held), CN_OK);
    for (int i = 0; i < 1000; i++) {
        char key[16];
        struct cn_quota *quota;
        snprintf(key, sizeof(key), "%d", i);
        assert_int_equal(hold(quotas, key, NOW, &quota), CN_OK);
        cn_quota_release(quotas, quota, NOW);
        assert_true(cn_quotas_count(quotas) <= 2 * SHARDS + 1);
    }
    // The one that is held is not among them: it has one token left.
    assert_int_equal(cn_quota_take(quotas, held, 1, NOW), 0);
    assert_int_equal(cn_quota_take(quotas, held, 1, NOW), 1000);
    cn_quota_release(quotas, held, NOW);
    cn_quotas_free(quotas);
}

static void without_memory_nothing_is_held(void **state)
{
    (void)state;
    struct cn_quotas *quotas = new_quotas(1, 1, 1, 16);
    struct cn_quota *quota = NULL;
    no_memory = true;
    enum cn_err err = hold(quotas, "a", NOW, &quota);
    const struct cn_quota_terms terms = {0};
    struct cn_quotas *none = cn_quotas_new(&terms);
    no_memory = false;
    assert_int_equal(err, CN_NOMEM);
    assert_null(none);
    assert_int_equal(cn_quotas_count(quotas), 0);
    cn_quotas_free(quotas);
    cn_quotas_free(NULL);
}

static void come_and_go(void *arg)
{
    struct cn_quotas *quotas = arg;
    for (int i = 0; i < ROUNDS; i++) {
        char key[16];
        struct cn_quota *quota;
        snprintf(key, sizeof(key), "%d", i % 37);
        if (hold(quotas, key, NOW + i, &quota))
            continue;
        (void)!cn_quota_take(quotas, quota, 1, NOW + i);
        cn_quota_release(quotas, quota, NOW + i);
    }
}

static void threads_share_a_table(void **state)
{
    (void)state;
    struct cn_quotas *quotas = new_quotas(3, 1000, 5, 2 * SHARDS);
    struct cn_thread threads[THREADS] = {0};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(cn_thread_start(&threads[i], "quota", come_and_go, quotas), CN_OK);
    for (int i = 0; i < THREADS; i++)
        cn_thread_join(&threads[i]);
    assert_true(cn_quotas_count(quotas) <= 2 * SHARDS);
    cn_quotas_free(quotas); // asserts that nobody holds any
}

static int seed(void **state)
{
    (void)state;
    return cn_hash_seed() == CN_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_has_only_so_many_holders),
        cmocka_unit_test(tokens_are_taken_with_each_hold_and_survive_the_holders),
        cmocka_unit_test(unused_keys_are_forgotten),
        cmocka_unit_test(without_memory_nothing_is_held),
        cmocka_unit_test(threads_share_a_table),
    };
    return cmocka_run_group_tests(tests, seed, NULL);
}
