// SPDX-License-Identifier: MIT
// Threads and locks: names, signals, exclusion, and the check of lock ranks.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/thread.h"

#include <stdatomic.h>

#include "unit/dies.h"

enum { THREADS = 4, ROUNDS = 20000 };

struct seen {
    char name[16];
    sigset_t blocked;
    int runs;
    int failures;
};

static void look_around(void *arg)
{
    struct seen *seen = arg;
    seen->runs++;
    seen->failures += pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name)) != 0;
    seen->failures += pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked) != 0;
}

static void test_thread_runs_with_name_and_blocked_signals(void **state)
{
    (void)state;
    struct seen seen = {.runs = 0};
    struct cn_thread thread;
    sigset_t before;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
    assert_int_equal(cn_thread_start(&thread, "a-name-that-is-too-long", look_around, &seen),
                     CN_OK);
    cn_thread_join(&thread);
    assert_int_equal(seen.runs, 1);
    assert_int_equal(seen.failures, 0);
    assert_string_equal(seen.name, "a-name-that-is-");
    const int blocked[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGPIPE};
    for (size_t i = 0; i < CN_COUNT(blocked); i++)
        assert_int_equal(sigismember(&seen.blocked, blocked[i]), 1);
    sigset_t after;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

static void test_join_of_what_never_started(void **state)
{
    (void)state;
    struct seen seen = {.runs = 0};
    struct cn_thread thread = {0};
    cn_thread_join(&thread);
    assert_int_equal(cn_thread_start(&thread, "twice", look_around, &seen), CN_OK);
    cn_thread_join(&thread);
    cn_thread_join(&thread);
    assert_int_equal(seen.runs, 1);
}

struct shared {
    struct cn_mutex mutex;
    struct cn_rwlock rwlock;
    long by_mutex;
    long by_rwlock;
    atomic_long torn;
    long twin;
};

static void count_up(void *arg)
{
    struct shared *shared = arg;
    for (int i = 0; i < ROUNDS; i++) {
        cn_mutex_lock(&shared->mutex);
        cn_mutex_assert_held(&shared->mutex);
        shared->by_mutex++;
        cn_mutex_unlock(&shared->mutex);
        cn_rwlock_write(&shared->rwlock);
        cn_rwlock_assert_held(&shared->rwlock);
        shared->by_rwlock++;
        shared->twin++;
        cn_rwlock_unlock(&shared->rwlock);
        cn_rwlock_read(&shared->rwlock);
        if (shared->by_rwlock != shared->twin)
            atomic_fetch_add(&shared->torn, 1);
        cn_rwlock_unlock(&shared->rwlock);
        cn_lock_assert_none();
    }
}

static void test_locks_exclude(void **state)
{
    (void)state;
    struct shared shared = {.by_mutex = 0};
    struct cn_thread threads[THREADS];
    cn_mutex_init(&shared.mutex, CN_RANK_MAILBOX);
    cn_rwlock_init(&shared.rwlock, CN_RANK_REGISTRY_USER);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(cn_thread_start(&threads[i], "count", count_up, &shared), CN_OK);
    for (int i = 0; i < THREADS; i++)
        cn_thread_join(&threads[i]);
    assert_int_equal(shared.by_mutex, THREADS * ROUNDS);
    assert_int_equal(shared.by_rwlock, THREADS * ROUNDS);
    assert_int_equal(shared.torn, 0);
    cn_mutex_fini(&shared.mutex);
    cn_rwlock_fini(&shared.rwlock);
}

struct locks {
    struct cn_rwlock sessions;
    struct cn_rwlock users;
    struct cn_mutex mailbox;
    struct cn_mutex other_mailbox;
};

static void init_locks(struct locks *locks)
{
    cn_rwlock_init(&locks->sessions, CN_RANK_REGISTRY_SESSION);
    cn_rwlock_init(&locks->users, CN_RANK_REGISTRY_USER);
    cn_mutex_init(&locks->mailbox, CN_RANK_MAILBOX);
    cn_mutex_init(&locks->other_mailbox, CN_RANK_MAILBOX);
}

static void fini_locks(struct locks *locks)
{
    cn_rwlock_fini(&locks->sessions);
    cn_rwlock_fini(&locks->users);
    cn_mutex_fini(&locks->mailbox);
    cn_mutex_fini(&locks->other_mailbox);
}

static void test_rising_ranks_and_any_order_of_giving_back(void **state)
{
    (void)state;
    struct locks locks;
    init_locks(&locks);
    cn_rwlock_read(&locks.sessions);
    cn_rwlock_write(&locks.users);
    cn_mutex_lock(&locks.mailbox);
    cn_rwlock_assert_held(&locks.sessions);
    cn_rwlock_unlock(&locks.sessions);
    cn_rwlock_assert_held(&locks.users);
    cn_mutex_unlock(&locks.mailbox);
    cn_rwlock_unlock(&locks.users);
    cn_lock_assert_none();
    cn_rwlock_read(&locks.sessions);
    cn_rwlock_unlock(&locks.sessions);
    fini_locks(&locks);
}

static void take_falling(void *arg)
{
    struct locks *locks = arg;
    cn_mutex_lock(&locks->mailbox);
    cn_rwlock_read(&locks->sessions);
}

static void take_equal(void *arg)
{
    struct locks *locks = arg;
    cn_mutex_lock(&locks->mailbox);
    cn_mutex_lock(&locks->other_mailbox);
}

static void claim_unheld_mutex(void *arg)
{
    struct locks *locks = arg;
    cn_mutex_lock(&locks->mailbox);
    cn_mutex_assert_held(&locks->other_mailbox);
}

static void claim_unheld_rwlock(void *arg)
{
    struct locks *locks = arg;
    cn_rwlock_assert_held(&locks->users);
}

static void claim_none_held(void *arg)
{
    struct locks *locks = arg;
    cn_rwlock_read(&locks->users);
    cn_lock_assert_none();
}

static void give_back_unheld(void *arg)
{
    struct locks *locks = arg;
    cn_rwlock_read(&locks->sessions);
    cn_mutex_unlock(&locks->mailbox);
}

// The checks are there exactly in the builds that ask for them.
#ifdef CN_CHECK_LOCKS
enum { CHECKED = 1 };
#else
enum { CHECKED = 0 };
#endif

static void test_misuse_aborts(void **state)
{
    (void)state;
    void (*const misuses[])(void *arg) = {
        take_falling,        take_equal,      claim_unheld_mutex,
        claim_unheld_rwlock, claim_none_held, give_back_unheld,
    };
    struct locks locks;
    init_locks(&locks);
    char said[512];
    for (size_t i = 0; i < CN_COUNT(misuses) && CHECKED; i++)
        assert_true(dies(misuses[i], &locks, said, sizeof(said)));
    if (!CHECKED)
        assert_false(dies(claim_unheld_rwlock, &locks, said, sizeof(said)));
    fini_locks(&locks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thread_runs_with_name_and_blocked_signals),
        cmocka_unit_test(test_join_of_what_never_started),
        cmocka_unit_test(test_locks_exclude),
        cmocka_unit_test(test_rising_ranks_and_any_order_of_giving_back),
        cmocka_unit_test(test_misuse_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
