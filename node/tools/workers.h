// SPDX-License-Identifier: MIT
// Several processes that share memory and one piece of work, and the one that started them.
#ifndef CHATNODE_TOOLS_WORKERS_H
#define CHATNODE_TOOLS_WORKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "chatnode/check.h"

enum { CN_WORKERS_MAX = 64 };

struct cn_workers {
    int count;
    pid_t pids[CN_WORKERS_MAX]; // 0: has ended
    int wakes[CN_WORKERS_MAX];  // an eventfd each; any process may write to it
    int errors;                 // what they wrote to stderr, in memory
    int code;                   // with which the first one failed; 0: none did
};

// Zeroed memory that the processes started from now on share with this one; NULL without memory.
// It lasts as long as the program.
CN_MUSTCHECK void *cn_workers_share(size_t bytes);

// Starts `count` processes; each calls `work` with its number and `context` and ends with what it
// returns. SIGINT is left to the starter; they are killed when the starter ends. What they write to
// stderr is kept, so that it does not come between what the starter shows there. False, with
// nothing left running, when the system refuses.
CN_MUSTCHECK bool cn_workers_start(struct cn_workers *workers, int count,
                                   int (*work)(int index, void *context), void *context);

// Wakes all of them, or one.
void cn_workers_wake_all(const struct cn_workers *workers);
void cn_workers_wake(const struct cn_workers *workers, int index);

// Takes note of those that have ended; how many have not. Does not block.
int cn_workers_running(struct cn_workers *workers);

// Kills those that still run, and waits for their end.
void cn_workers_stop(struct cn_workers *workers);

// Writes to stderr what they have written there, at most 64 KiB, once; a line that several have
// written one after the other, once too. False when they have written nothing.
bool cn_workers_tell(struct cn_workers *workers);

// Lets this process open as many descriptors as the system allows it; how many that are.
long cn_workers_raise_descriptors(void);

#endif
