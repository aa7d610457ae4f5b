// SPDX-License-Identifier: MIT
// What the files of the hub share about passes: what a session has to show where tokens are asked
// for. The loop's thread.
#ifndef CHATNODE_PASS_PRIVATE_H
#define CHATNODE_PASS_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "chatnode/agenda.h"
#include "chatnode/auth.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/session.h"

struct cn_recovery_order;
struct cn_wish;

struct cn_pass {
    struct cn_session *session;
    struct cn_agenda_item next; // in the loop's agenda, by the wall's clock: the warning, the end
    struct cn_wish *wish;       // what the hello said; NULL once a token was believed
    bool asks;                  // the authority has a token of ours and has not answered
    char id[CN_NAME_MAX + 1];   // of the request with that token, or ""
};

// Makes the session wait for a token, with what its hello said. CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_pass_new(struct cn_session *session, const struct cn_hello *hello);

// Frees it and forgets its times. Takes NULL.
void cn_pass_free(struct cn_pass *pass);

// The client shows a token, its first or a fresh one; `id` may be absent. May end the session.
void cn_pass_show(struct cn_session *session, struct cn_str token, struct cn_str id);

// The authority has answered. Takes verdict->grant if it is of use. May end the session.
void cn_pass_decide(struct cn_session *session, struct cn_verdict *verdict);

// Without the right to a room's history nothing is resumed there: the order then says so.
void cn_pass_temper(const struct cn_session *session, struct cn_str room,
                    struct cn_recovery_order *order);

// How long the session's token lasts yet, by the wall's clock; 0 once only the leeway keeps it.
int64_t cn_pass_left_ms(const struct cn_session *session, int64_t now_ms);

// Closes who has shown no token in time, warns and closes whose token expires. For cn_loop_tick.
void cn_pass_sweep(struct cn_loop *loop, int64_t now_ms);

// In how many ms the next of these is due, `most` at most.
int64_t cn_pass_next_ms(const struct cn_loop *loop, int64_t most);

#endif
