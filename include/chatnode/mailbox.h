// SPDX-License-Identifier: MIT
// The only door between threads: a bounded first-in-first-out queue with many writers, one reader.
#ifndef CHATNODE_MAILBOX_H
#define CHATNODE_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/thread.h"

// The link inside a letter. `free` disposes of a letter that nobody will read any more.
struct cn_mail {
    struct cn_mail *next;
    void (*free)(struct cn_mail *mail);
};

struct cn_mailbox {
    struct cn_mutex lock; // guards first, last, count, closed
    struct cn_mail *first;
    struct cn_mail *last;
    size_t count;
    bool closed;
    size_t capacity;         // constant
    void (*wake)(void *arg); // constant; called without the lock
    void *arg;
};

// Makes an empty mailbox for at most `capacity` letters. `wake(arg)` runs on the writer's thread
// each time the box goes from empty to not empty, and must only wake the reader.
void cn_mailbox_init(struct cn_mailbox *box, size_t capacity, void (*wake)(void *arg), void *arg);

// Frees what is left in it. No writer may be left.
void cn_mailbox_fini(struct cn_mailbox *box);

// Puts a letter in; any thread, may wait for the lock only. On CN_OK it belongs to the reader. On
// CN_FULL (capacity reached; the policy is the caller's) and CN_CLOSED it stays the caller's.
CN_MUSTCHECK enum cn_err cn_mailbox_put(struct cn_mailbox *box, struct cn_mail *mail);

// As cn_mailbox_put, but past the capacity: for letters whose number is bounded elsewhere (one per
// session or per channel) and which must not be lost. A closed box frees the letter.
void cn_mailbox_put_always(struct cn_mailbox *box, struct cn_mail *mail);

// Takes all letters, oldest first, linked by `next`; NULL when empty. The reader's thread.
CN_MUSTCHECK struct cn_mail *cn_mailbox_take_all(struct cn_mailbox *box);

// From now on putting fails with CN_CLOSED; what is inside can still be taken. Any thread.
void cn_mailbox_close(struct cn_mailbox *box);

#endif
