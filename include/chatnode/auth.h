// SPDX-License-Identifier: MIT
// Who a client is, and what it may do. The authority says what a token is worth, at once or later;
// cn_auth_allows is the one function that every request passes.
#ifndef CHATNODE_AUTH_H
#define CHATNODE_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/config.h"
#include "chatnode/err.h"
#include "chatnode/loop.h"
#include "chatnode/protocol.h"
#include "chatnode/token.h"

struct cn_hub;

// ---- The authority: one a hub, NULL in open mode ----

struct cn_auth;

// Makes it as the configuration says; *out is NULL for `auth=open`. CN_INVALID: *why says what is
// wrong (static text); CN_NOMEM. Main thread.
CN_MUSTCHECK enum cn_err cn_auth_new(const struct cn_config *config, struct cn_hub *hub,
                                     struct cn_auth **out, const char **why);

// Begins to fetch keys, if that was asked for. Main thread, once; takes NULL.
void cn_auth_start(struct cn_auth *auth);

// Takes auth-keys and auth-secret of a fresh configuration, which is only borrowed. CN_INVALID:
// *why says what is wrong (static text); CN_NOMEM: nothing is changed then. Main thread; takes
// NULL.
CN_MUSTCHECK enum cn_err cn_auth_reload(struct cn_auth *auth, const struct cn_config *fresh,
                                        const char **why);

// Frees it; the loops' threads have ended. Takes NULL. Main thread.
void cn_auth_free(struct cn_auth *auth);

// What a token is worth.
struct cn_verdict {
    enum cn_token_fault fault;
    struct cn_grant *grant; // owned; with CN_TOKEN_NONE only
};

// A question to the authority. Borrowed for the call.
struct cn_auth_question {
    struct cn_loop *loop;
    uint64_t session; // who asks: a late answer finds it by this number
    struct cn_str token;
    // Of the client's hello; absent when it has a token already.
    struct cn_str user, room, address;
};

// Asks what the token is worth. True: *verdict is the answer. False: it is not known yet, and one
// call of cn_auth_done follows, unless the node ends. Does not block. The loop's thread.
CN_MUSTCHECK bool cn_auth_begin(struct cn_auth *auth, const struct cn_auth_question *question,
                                struct cn_verdict *verdict);

// A late answer, within `auth-timeout` of the question; takes verdict->grant. It finds the session
// by its number, or is dropped. Main thread.
void cn_auth_done(struct cn_hub *hub, uint64_t session, struct cn_verdict *verdict);

// ---- What may be done ----

enum cn_access_kind {
    CN_ACCESS_FREE,  // by everybody, also before a token was shown
    CN_ACCESS_OWN,   // by everybody who has shown a token: it concerns only himself
    CN_ACCESS_ROOM,  // with `right` in the room
    CN_ACCESS_DIRECT // by who may send directed messages
};

// What a request needs.
struct cn_access {
    enum cn_access_kind kind;
    enum cn_right right; // of CN_ACCESS_ROOM
};

// Whether the bearer of `grant` (NULL: nobody has shown a token) may do what needs `access`, now.
// `room` is looked at for CN_ACCESS_ROOM only. With `auth` NULL, in open mode, everybody may do
// everything. What is not granted is denied. False: *problem says why. Any thread.
CN_MUSTCHECK bool cn_auth_allows(const struct cn_auth *auth, const struct cn_grant *grant,
                                 const struct cn_access *access, struct cn_str room,
                                 enum cn_problem *problem);

// Entries of the room from before this moment are not for the bearer; 0: all are for him. Pure.
int64_t cn_auth_from_ms(const struct cn_grant *grant, struct cn_str room);

// How long after its expiry a grant still counts, for clocks that differ.
int64_t cn_auth_leeway_ms(const struct cn_auth *auth);

#endif
