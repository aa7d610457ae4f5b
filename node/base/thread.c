// SPDX-License-Identifier: MIT
// Threads and ranked locks over pthreads; with CN_CHECK_LOCKS each thread keeps a list of what it
// holds and aborts on a lock taken against the order.
#include "chatnode/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#ifdef CN_CHECK_LOCKS

// More than there are ranks can never be held.
enum { HELD_MAX = 8 };

struct held {
    const void *lock;
    enum cn_lock_rank rank;
};

// The calling thread's locks in the order of taking, so in rising rank.
static _Thread_local struct held held_locks[HELD_MAX];
static _Thread_local unsigned held_count;

// Before waiting for the lock: a deadlock must abort, not hang.
static void note_taking(const void *lock, enum cn_lock_rank rank)
{
    CN_ASSERT(held_count < HELD_MAX);
    if (held_count > 0)
        CN_ASSERT(rank > held_locks[held_count - 1].rank);
    held_locks[held_count++] = (struct held){lock, rank};
}

static unsigned index_of(const void *lock)
{
    unsigned at = 0;
    while (at < held_count && held_locks[at].lock != lock)
        at++;
    return at;
}

static void note_giving(const void *lock)
{
    unsigned at = index_of(lock);
    CN_ASSERT(at < held_count);
    for (held_count--; at < held_count; at++)
        held_locks[at] = held_locks[at + 1];
}

static void check_held(const void *lock)
{
    CN_ASSERT(index_of(lock) < held_count);
}

static void check_none_held(void)
{
    CN_ASSERT(held_count == 0);
}

#else

static void note_taking(const void *lock, enum cn_lock_rank rank)
{
    (void)lock;
    (void)rank;
}

static void note_giving(const void *lock)
{
    (void)lock;
}

static void check_held(const void *lock)
{
    (void)lock;
}

static void check_none_held(void)
{
}

#endif

// The name is an aid for ps and debuggers only, so its failure is of no account.
static void *run_thread(void *arg)
{
    struct cn_thread *thread = arg;
    (void)pthread_setname_np(pthread_self(), thread->name);
    thread->run(thread->arg);
    check_none_held();
    return NULL;
}

enum cn_err cn_thread_start(struct cn_thread *thread, const char *name, void (*run)(void *arg),
                            void *arg)
{
    *thread = (struct cn_thread){.run = run, .arg = arg};
    (void)snprintf(thread->name, sizeof(thread->name), "%.15s", name);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    int rc = pthread_sigmask(SIG_SETMASK, &all, &before);
    CN_ASSERT(rc == 0);
    int failed = pthread_create(&thread->id, NULL, run_thread, thread);
    rc = pthread_sigmask(SIG_SETMASK, &before, NULL);
    CN_ASSERT(rc == 0);
    errno = failed;
    thread->started = failed == 0;
    return failed == 0 ? CN_OK : CN_SYSTEM;
}

void cn_thread_join(struct cn_thread *thread)
{
    if (!thread->started)
        return;
    int rc = pthread_join(thread->id, NULL);
    CN_ASSERT(rc == 0);
    thread->started = 0;
}

void cn_mutex_init(struct cn_mutex *mutex, enum cn_lock_rank rank)
{
    int rc = pthread_mutex_init(&mutex->lock, NULL);
    CN_ASSERT(rc == 0);
    mutex->rank = rank;
}

void cn_mutex_fini(struct cn_mutex *mutex)
{
    int rc = pthread_mutex_destroy(&mutex->lock);
    CN_ASSERT(rc == 0);
}

void cn_mutex_lock(struct cn_mutex *mutex)
{
    note_taking(mutex, mutex->rank);
    int rc = pthread_mutex_lock(&mutex->lock);
    CN_ASSERT(rc == 0);
}

void cn_mutex_unlock(struct cn_mutex *mutex)
{
    note_giving(mutex);
    int rc = pthread_mutex_unlock(&mutex->lock);
    CN_ASSERT(rc == 0);
}

// Writers go first, since a registry that is read all the time would starve them otherwise. Nobody
// reads recursively (ranks forbid it), so that cannot deadlock.
void cn_rwlock_init(struct cn_rwlock *rwlock, enum cn_lock_rank rank)
{
    pthread_rwlockattr_t attr;
    int rc = pthread_rwlockattr_init(&attr);
    CN_ASSERT(rc == 0);
    rc = pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    CN_ASSERT(rc == 0);
    rc = pthread_rwlock_init(&rwlock->lock, &attr);
    CN_ASSERT(rc == 0);
    (void)pthread_rwlockattr_destroy(&attr);
    rwlock->rank = rank;
}

void cn_rwlock_fini(struct cn_rwlock *rwlock)
{
    int rc = pthread_rwlock_destroy(&rwlock->lock);
    CN_ASSERT(rc == 0);
}

void cn_rwlock_read(struct cn_rwlock *rwlock)
{
    note_taking(rwlock, rwlock->rank);
    int rc = pthread_rwlock_rdlock(&rwlock->lock);
    CN_ASSERT(rc == 0);
}

void cn_rwlock_write(struct cn_rwlock *rwlock)
{
    note_taking(rwlock, rwlock->rank);
    int rc = pthread_rwlock_wrlock(&rwlock->lock);
    CN_ASSERT(rc == 0);
}

void cn_rwlock_unlock(struct cn_rwlock *rwlock)
{
    note_giving(rwlock);
    int rc = pthread_rwlock_unlock(&rwlock->lock);
    CN_ASSERT(rc == 0);
}

void cn_lock_assert_none(void)
{
    check_none_held();
}

void cn_mutex_assert_held(const struct cn_mutex *mutex)
{
    check_held(mutex);
}

void cn_rwlock_assert_held(const struct cn_rwlock *rwlock)
{
    check_held(rwlock);
}
