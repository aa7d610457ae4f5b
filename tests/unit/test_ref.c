// SPDX-License-Identifier: MIT
// The reference count: the last release says so, also among threads.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/ref.h"
#include "chatnode/thread.h"
#include "unit/dies.h"

enum { THREADS = 4, ROUNDS = 20000 };

struct shared {
    struct cn_ref ref;
    atomic_int last_releases;
    atomic_int started;
    long notes[THREADS]; // plain: what each wrote before its release, the last one may read
    long sum;
};

static void test_last_release(void **state)
{
    (void)state;
    struct cn_ref ref;
    cn_ref_init(&ref);
    cn_ref_hold(&ref);
    assert_false(cn_ref_release(&ref));
    assert_true(cn_ref_release(&ref));
}

static void give_back(struct shared *shared)
{
    if (!cn_ref_release(&shared->ref))
        return;
    atomic_fetch_add_explicit(&shared->last_releases, 1, memory_order_relaxed);
    for (int i = 0; i < THREADS; i++)
        shared->sum += shared->notes[i];
}

static void hold_and_release(void *arg)
{
    struct shared *shared = arg;
    for (int i = 0; i < ROUNDS; i++) {
        cn_ref_hold(&shared->ref);
        if (cn_ref_release(&shared->ref))
            atomic_fetch_add(&shared->last_releases, 1);
    }
    int own = atomic_fetch_add_explicit(&shared->started, 1, memory_order_relaxed);
    shared->notes[own] = ROUNDS;
    give_back(shared);
}

static void test_one_last_release_among_threads(void **state)
{
    (void)state;
    struct shared shared = {.last_releases = 0};
    struct cn_thread threads[THREADS];
    cn_ref_init(&shared.ref);
    for (int i = 0; i < THREADS; i++) {
        cn_ref_hold(&shared.ref);
        assert_int_equal(cn_thread_start(&threads[i], "ref", hold_and_release, &shared), CN_OK);
    }
    give_back(&shared);
    for (int i = 0; i < THREADS; i++)
        cn_thread_join(&threads[i]);
    assert_int_equal(shared.last_releases, 1);
    assert_int_equal(shared.sum, THREADS * ROUNDS);
}

static void hold_the_dead(void *arg)
{
    struct cn_ref *ref = arg;
    cn_ref_init(ref);
    if (cn_ref_release(ref))
        cn_ref_hold(ref);
}

static void release_the_dead(void *arg)
{
    struct cn_ref *ref = arg;
    cn_ref_init(ref);
    if (cn_ref_release(ref) && cn_ref_release(ref))
        _exit(1);
}

static void test_use_after_the_last_release_aborts(void **state)
{
    (void)state;
    struct cn_ref ref;
    char said[256];
    assert_true(dies(hold_the_dead, &ref, said, sizeof(said)));
    assert_true(dies(release_the_dead, &ref, said, sizeof(said)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_release),
        cmocka_unit_test(test_one_last_release_among_threads),
        cmocka_unit_test(test_use_after_the_last_release_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
