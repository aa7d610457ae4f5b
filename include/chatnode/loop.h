// SPDX-License-Identifier: MIT
// The hub's part of one loop: its sessions, its feeds, its mailbox. Everything here belongs to the
// loop's thread, but for cn_loop_post.
#ifndef CHATNODE_LOOP_H
#define CHATNODE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/mailbox.h"
#include "chatnode/protocol.h"

struct cn_loop;

// A letter to a loop. `read` runs on the loop's thread and disposes of the letter.
struct cn_letter {
    struct cn_mail mail; // mail.free disposes of it unread
    void (*read)(struct cn_letter *letter, struct cn_loop *loop);
};

// Sets how main wakes this loop for its letters: once at the end of main's turn. Before the first
// letter.
void cn_loop_set_wake(struct cn_loop *loop, void (*wake)(void *arg), void *arg);

// Sets how the loop asks for a call of cn_loop_pass_on at the end of its turn, when all that was
// ready has been served; without it that is called at once. Before the first session.
void cn_loop_set_defer(struct cn_loop *loop, void (*defer)(void *arg), void *arg);

// Wakes main if this loop has asked something of it since the last call. True when a turn is due
// now: a flush was held back, and nothing is on its way that would go with it.
bool cn_loop_pass_on(struct cn_loop *loop);

// Sends a letter; main thread. On CN_FULL and CN_CLOSED it stays the caller's.
CN_MUSTCHECK enum cn_err cn_loop_post(struct cn_loop *loop, struct cn_letter *letter);

// As cn_loop_post, past the bound: for letters whose number is bounded elsewhere.
void cn_loop_post_always(struct cn_loop *loop, struct cn_letter *letter);

// One turn: reads all letters, flushes what is due, frees the sessions that ended. Returns in how
// many milliseconds the next turn is due, -1 for none, 0 for at once.
CN_MUSTCHECK int64_t cn_loop_turn(struct cn_loop *loop);

// Pings silent sessions, ends those that did not answer. Returns in how many milliseconds it wants
// to be called again.
CN_MUSTCHECK int64_t cn_loop_tick(struct cn_loop *loop);

// Tells every session to go: a `reconnect` frame with its delay spread over `spread_ms`, then a
// close for `reason`.
void cn_loop_send_away(struct cn_loop *loop, int64_t spread_ms, enum cn_reason reason);

// Closes every session now, also those that were sent away for later or wait for answers.
void cn_loop_close_all(struct cn_loop *loop, enum cn_reason reason);

// Sessions whose socket is not gone yet.
size_t cn_loop_sessions(const struct cn_loop *loop);

// When the loop last had its tick, cn_clock_ms(). Any thread.
int64_t cn_loop_alive_ms(const struct cn_loop *loop);

// The loop's number, 0 and up. Any thread.
unsigned cn_loop_index(const struct cn_loop *loop);

#endif
