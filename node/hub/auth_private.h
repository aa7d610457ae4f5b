// SPDX-License-Identifier: MIT
// The authority, for the files that it is made of.
#ifndef CHATNODE_AUTH_PRIVATE_H
#define CHATNODE_AUTH_PRIVATE_H

#include "chatnode/auth.h"
#include "chatnode/keyring.h"
#include "chatnode/list.h"

struct cn_hook;

struct cn_auth {
    // Constant after cn_auth_new; any thread.
    const struct cn_config *config;
    struct cn_hub *hub;
    struct cn_keyring *keyring; // any thread
    struct cn_hook *hook;       // NULL: keys decide
    // Main thread: tokens that wait for fresh keys (auth_late.c).
    struct cn_link late;
    size_t late_count;
};

// What the token must say besides its signature, now.
struct cn_token_rules cn_auth_rules(const struct cn_auth *auth);

// ---- auth_late.c: tokens whose key is not known, but may be in a moment ----

// Sends the token to main, where it waits until fresh keys were fetched, or that failed; then
// cn_auth_done. False: that could not be done. The loop's thread.
CN_MUSTCHECK bool cn_late_ask(const struct cn_auth_question *question);

// Fresh keys were fetched, or that failed: decides on all that wait. `arg` is the struct cn_auth.
// Main thread.
void cn_late_decide(void *arg);

// Forgets all that wait. Main thread.
void cn_late_fini(struct cn_auth *auth);

// ---- auth_hook.c: a backend that decides instead of keys ----

// As auth-url says. CN_INVALID: *why says what is wrong (static text); CN_NOMEM; CN_UNAVAILABLE.
// Main thread, as cn_hook_free, which takes NULL.
CN_MUSTCHECK enum cn_err cn_hook_new(struct cn_auth *auth, struct cn_hook **out, const char **why);
void cn_hook_free(struct cn_hook *hook);

// Sends the question to the backend; then cn_auth_done. Anything but CN_TOKEN_NONE: it could not be
// sent. The loop's thread.
CN_MUSTCHECK enum cn_token_fault cn_hook_ask(struct cn_hook *hook,
                                             const struct cn_auth_question *question);

#endif
