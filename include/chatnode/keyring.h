// SPDX-License-Identifier: MIT
// The keys that tokens are verified with now: those of the settings, and a JWK set that is fetched
// by its URL, again and again. Main replaces them whole; every thread may verify.
#ifndef CHATNODE_KEYRING_H
#define CHATNODE_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/reactor.h"
#include "chatnode/token.h"

struct cn_keyring;

// All borrowed for the keyring's life.
struct cn_keyring_options {
    struct cn_reactor *reactor;
    const char *url;     // of a JWK set; empty: none is fetched
    const char *ca_file; // as of struct cn_fetcher_options
    int64_t refresh_ms;  // between two fetches
    // Main thread: a fetch has ended, well or not.
    void (*on_fetched)(void *arg);
    void *arg;
};

// Makes it with these keys of the settings (as cn_keys_parse) and nothing fetched. CN_INVALID: *why
// says what is wrong (static text); CN_NOMEM. Main thread, as all but the last three.
CN_MUSTCHECK enum cn_err cn_keyring_new(const struct cn_keyring_options *options,
                                        struct cn_str text, struct cn_str secret,
                                        struct cn_keyring **out, const char **why);

// Begins the first fetch.
void cn_keyring_start(struct cn_keyring *keyring);

// Frees it; no other thread uses it any more. Takes NULL.
void cn_keyring_free(struct cn_keyring *keyring);

// Puts other keys of the settings in the place of the old ones; on an error nothing is changed. As
// cn_keyring_new.
CN_MUSTCHECK enum cn_err cn_keyring_replace(struct cn_keyring *keyring, struct cn_str text,
                                            struct cn_str secret, const char **why);

// True when a fetch is under way now: one that was, or one that begins, unless there was one within
// the last minute.
bool cn_keyring_refresh(struct cn_keyring *keyring);

// As cn_token_verify, with the keys of now. CN_TOKEN_UNAVAILABLE instead of CN_TOKEN_UNKNOWN_KEY as
// long as no set could be fetched. Any thread.
CN_MUSTCHECK enum cn_token_fault cn_keyring_verify(struct cn_keyring *keyring, struct cn_str token,
                                                   const struct cn_token_rules *rules,
                                                   struct cn_grant **out);

// True when cn_keyring_refresh would be. Any thread.
bool cn_keyring_may_refresh(struct cn_keyring *keyring);

// How many keys there are now. Any thread.
size_t cn_keyring_count(struct cn_keyring *keyring);

#endif
