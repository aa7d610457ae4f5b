// SPDX-License-Identifier: MIT
// Named threads, and locks with ranks. In builds with CN_CHECK_LOCKS each thread remembers what it
// holds: taking a lock whose rank is not above the highest held, and giving back one that is not
// held, abort.
#ifndef CHATNODE_THREAD_H
#define CHATNODE_THREAD_H

#include <pthread.h>

#include "chatnode/check.h"
#include "chatnode/err.h"

// Locks are only taken from a lower to a higher rank; the owners are listed in docs/concurrency.md.
enum cn_lock_rank {
    CN_RANK_REGISTRY_SESSION = 1,
    CN_RANK_REGISTRY_USER,
    CN_RANK_MAILBOX,
    CN_RANK_GOVERNOR,
    CN_RANK_QUOTA,
    CN_RANK_THROTTLE,
    CN_RANK_REVOCATIONS,
    CN_RANK_KEYRING
};

struct cn_mutex {
    pthread_mutex_t lock;
    enum cn_lock_rank rank;
};

struct cn_rwlock {
    pthread_rwlock_t lock;
    enum cn_lock_rank rank;
};

struct cn_thread {
    pthread_t id;
    char name[16];
    void (*run)(void *arg);
    void *arg;
    int started;
};

// Starts `run(arg)` on a new thread with all signals blocked; `name` is cut to 15 bytes. `thread`
// must stay in place until stopped. CN_SYSTEM.
CN_MUSTCHECK enum cn_err cn_thread_start(struct cn_thread *thread, const char *name,
                                         void (*run)(void *arg), void *arg);

// Waits for the end of the thread; legal on one that never started (zeroed).
void cn_thread_join(struct cn_thread *thread);

// Makes an unlocked mutex of this rank, in place; and disposes of one that nobody holds.
void cn_mutex_init(struct cn_mutex *mutex, enum cn_lock_rank rank);
void cn_mutex_fini(struct cn_mutex *mutex); // takes an initialised one, once

// Waits until the calling thread alone holds it; and lets it go. Any thread. Not recursive.
void cn_mutex_lock(struct cn_mutex *mutex);
void cn_mutex_unlock(struct cn_mutex *mutex); // by the thread that locked it

// Makes an unlocked rwlock of this rank, in place; and disposes of one that nobody holds.
void cn_rwlock_init(struct cn_rwlock *rwlock, enum cn_lock_rank rank);
void cn_rwlock_fini(struct cn_rwlock *rwlock); // takes an initialised one, once

// Waits until no thread writes / until the calling thread alone holds it; and lets it go. Any
// thread. Writers come first; not recursive, reading neither.
void cn_rwlock_read(struct cn_rwlock *rwlock);
void cn_rwlock_write(struct cn_rwlock *rwlock);  // excludes readers and writers
void cn_rwlock_unlock(struct cn_rwlock *rwlock); // by the thread that holds it, for either

// Aborts (with CN_CHECK_LOCKS) unless the calling thread holds no lock / holds this lock: the first
// before calling bus, sink or a callback, the others at the head of a `_locked` function.
void cn_lock_assert_none(void);
void cn_mutex_assert_held(const struct cn_mutex *mutex);
void cn_rwlock_assert_held(const struct cn_rwlock *rwlock);

#endif
