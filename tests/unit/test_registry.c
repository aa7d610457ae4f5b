// SPDX-License-Identifier: MIT
// The registry: by id, by user, many of them, and from many threads at once.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/registry.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chatnode/thread.h"

enum { MANY = 20000, THREADS = 4, TURNS = 3000, KEPT = 16 };

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static atomic_int callocs_left = -1; // until one fails; -1: never

void *__wrap_calloc(size_t count, size_t size)
{
    if (atomic_load(&callocs_left) < 0)
        return __real_calloc(count, size);
    if (atomic_load(&callocs_left) == 0)
        return NULL;
    atomic_fetch_sub(&callocs_left, 1);
    return __real_calloc(count, size);
}

static struct cn_registry *make(void)
{
    struct cn_registry *registry = cn_registry_new(0);
    assert_non_null(registry);
    return registry;
}

static enum cn_err add(struct cn_registry *registry, const char *user,
                       struct cn_registration *entry)
{
    return cn_registry_add(registry, cn_str_of(user), entry);
}

static size_t sessions_of(struct cn_registry *registry, const char *user)
{
    return cn_registry_user_sessions(registry, cn_str_of(user), NULL, 0);
}

static void test_one_without_a_name_is_found_by_its_id(void **state)
{
    (void)state;
    struct cn_registry *registry = make();
    struct cn_registration a = {.loop = 2};
    struct cn_registration b = {.loop = 2};
    assert_int_equal(add(registry, NULL, &a), CN_OK);
    assert_int_equal(add(registry, NULL, &b), CN_OK);
    assert_null(a.user);
    assert_ptr_equal(cn_registry_find(registry, a.id), &a);
    assert_int_equal(sessions_of(registry, "ann"), 0);
    assert_int_equal(cn_registry_name(registry, cn_str_of("ann"), &a), CN_OK);
    assert_string_equal(a.user, "ann");
    assert_int_equal(sessions_of(registry, "ann"), 1);
    assert_int_equal(cn_registry_count(registry), 2);
    cn_registry_remove(registry, &a);
    cn_registry_remove(registry, &b);
    assert_int_equal(sessions_of(registry, "ann"), 0);
    assert_int_equal(cn_registry_count(registry), 0);
    cn_registry_free(registry);
}

static void test_by_id(void **state)
{
    (void)state;
    struct cn_registry *registry = make();
    struct cn_registration a = {.loop = 3};
    struct cn_registration b = {.loop = 1};
    assert_int_equal(add(registry, "ann", &a), CN_OK);
    assert_int_equal(add(registry, "bob", &b), CN_OK);
    assert_int_not_equal(a.id, b.id);
    assert_string_equal(a.user, "ann");
    assert_int_equal(cn_registry_count(registry), 2);
    unsigned loop = 99;
    assert_int_equal(cn_registry_find_loop(registry, a.id, &loop), CN_OK);
    assert_int_equal(loop, 3);
    assert_ptr_equal(cn_registry_find(registry, b.id), &b);
    cn_registry_remove(registry, &a);
    assert_null(cn_registry_find(registry, a.id));
    loop = 99;
    assert_int_equal(cn_registry_find_loop(registry, a.id, &loop), CN_NOTFOUND);
    assert_int_equal(loop, 99);
    uint64_t old = a.id;
    assert_int_equal(add(registry, "ann", &a), CN_OK);
    assert_int_not_equal(a.id, old); // an id is never given out again
    cn_registry_remove(registry, &a);
    cn_registry_remove(registry, &b);
    assert_int_equal(cn_registry_count(registry), 0);
    cn_registry_free(registry);
    cn_registry_free(NULL);
}

static void test_by_user(void **state)
{
    (void)state;
    struct cn_registry *registry = make();
    struct cn_registration a[5];
    for (size_t i = 0; i < 5; i++) {
        a[i] = (struct cn_registration){.loop = 0};
        assert_int_equal(add(registry, i == 4 ? "annette" : "ann", &a[i]), CN_OK);
    }
    uint64_t ids[3] = {0};
    assert_int_equal(cn_registry_user_sessions(registry, cn_str_of("ann"), ids, 3), 4);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(ids[i], a[i].id);
    assert_int_equal(sessions_of(registry, "annette"), 1);
    assert_int_equal(sessions_of(registry, "an"), 0);
    cn_registry_remove(registry, &a[1]);
    assert_int_equal(cn_registry_user_sessions(registry, cn_str_of("ann"), ids, 3), 3);
    assert_int_equal(ids[1], a[2].id);
    cn_registry_remove(registry, &a[0]);
    cn_registry_remove(registry, &a[2]);
    cn_registry_remove(registry, &a[3]);
    assert_int_equal(sessions_of(registry, "ann"), 0);
    cn_registry_remove(registry, &a[4]);
    cn_registry_free(registry);
}

static void test_many(void **state)
{
    (void)state;
    struct cn_registry *registry = make();
    struct cn_registration *all = calloc(MANY, sizeof(*all));
    assert_non_null(all);
    for (unsigned i = 0; i < MANY; i++) {
        char user[32];
        snprintf(user, sizeof(user), "user-%u", i / 2);
        all[i] = (struct cn_registration){.loop = i % 64};
        assert_int_equal(add(registry, user, &all[i]), CN_OK);
    }
    assert_int_equal(cn_registry_count(registry), MANY);
    for (unsigned i = 0; i < MANY; i++) {
        assert_ptr_equal(cn_registry_find(registry, all[i].id), &all[i]);
        assert_int_equal(sessions_of(registry, all[i].user), 2);
    }
    for (unsigned i = 0; i < MANY; i += 2)
        cn_registry_remove(registry, &all[i]);
    for (unsigned i = 0; i < MANY; i++)
        assert_ptr_equal(cn_registry_find(registry, all[i].id), i % 2 ? &all[i] : NULL);
    for (unsigned i = 1; i < MANY; i += 2)
        cn_registry_remove(registry, &all[i]);
    free(all);
    cn_registry_free(registry);
}

// Whichever allocation fails, the entry is in nowhere.
static void test_without_memory_nothing_is_added(void **state)
{
    (void)state;
    struct cn_registry *registry = make();
    struct cn_registration a = {.loop = 0};
    enum cn_err err = CN_NOMEM;
    int failures = 0;
    for (int left = 0; err; left++) {
        atomic_store(&callocs_left, left);
        err = add(registry, "ann", &a);
        atomic_store(&callocs_left, -1);
        if (!err)
            break;
        failures++;
        assert_int_equal(err, CN_NOMEM);
        assert_int_equal(cn_registry_count(registry), 0);
        assert_null(cn_registry_find(registry, a.id));
        assert_int_equal(sessions_of(registry, "ann"), 0);
    }
    assert_true(failures >= 3); // the id's table, the user, the user's table
    cn_registry_remove(registry, &a);
    cn_registry_free(registry);
}

// ---- Threads: each adds and removes its own, and asks for the others' ----

struct worker {
    struct cn_thread thread;
    struct cn_registry *registry;
    unsigned index;
    uint64_t wrong;
};

static void run(void *arg)
{
    struct worker *worker = arg;
    struct cn_registration own[KEPT];
    for (unsigned turn = 0; turn < TURNS; turn++) {
        unsigned slot = turn % KEPT;
        if (turn >= KEPT)
            cn_registry_remove(worker->registry, &own[slot]);
        own[slot] = (struct cn_registration){.loop = worker->index};
        if (add(worker->registry, turn % 3 ? "shared" : "other", &own[slot]))
            abort();
        unsigned loop;
        uint64_t ids[8];
        worker->wrong += cn_registry_find(worker->registry, own[slot].id) != &own[slot];
        if (!cn_registry_find_loop(worker->registry, own[slot].id - turn % 7, &loop))
            worker->wrong += loop >= THREADS;
        worker->wrong += cn_registry_user_sessions(worker->registry, cn_str_of("shared"), ids, 8) >
                         (size_t)THREADS * KEPT;
    }
    for (unsigned slot = 0; slot < KEPT; slot++)
        cn_registry_remove(worker->registry, &own[slot]);
}

static void test_many_threads(void **state)
{
    (void)state;
    struct cn_registry *registry = make();
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.registry = registry, .index = i};
        assert_int_equal(cn_thread_start(&workers[i].thread, "worker", run, &workers[i]), CN_OK);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        cn_thread_join(&workers[i].thread);
        assert_int_equal(workers[i].wrong, 0);
    }
    assert_int_equal(cn_registry_count(registry), 0);
    cn_registry_free(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_id),
        cmocka_unit_test(test_one_without_a_name_is_found_by_its_id),
        cmocka_unit_test(test_by_user),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_without_memory_nothing_is_added),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
