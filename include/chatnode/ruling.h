// SPDX-License-Identifier: MIT
// Rulings: whose sessions end, and whose tokens are believed no more. As operators give them by
// the HTTP API, and as nodes tell them each other.
#ifndef CHATNODE_RULING_H
#define CHATNODE_RULING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/protocol.h"

enum {
    CN_RULING_SUBJECT_MAX = 128, // bytes of a jti at most; a user's name is shorter
    CN_RULING_TEXT_BYTES = 512,
    CN_RULING_TTL_MAX_S = 366 * 86400
};

// X(symbol, word): what it is about.
#define CN_RULING_TABLE(X)                                                                         \
    X(USER, "user")     /* all tokens of a user that were issued until then, and his sessions */   \
    X(TOKEN, "jti")     /* one token, and the sessions that it opened */                           \
    X(SESSIONS, "kick") /* the sessions of a user; nothing is kept */

enum cn_ruling_kind {
#define X(symbol, word) CN_RULING_##symbol,
    CN_RULING_TABLE(X)
#undef X
        CN_RULING_KINDS
};

// Static text of the table. Any thread.
const char *cn_ruling_word(enum cn_ruling_kind kind);

struct cn_ruling {
    enum cn_ruling_kind kind;
    int64_t before_s; // Unix time: tokens issued then or earlier; of a user
    int64_t until_s;  // Unix time from which on it says nothing any more
    size_t subject_len;
    char subject[CN_RULING_SUBJECT_MAX + 1]; // the user, or the jti; with a NUL
};

static inline struct cn_str cn_ruling_subject(const struct cn_ruling *ruling)
{
    return (struct cn_str){ruling->subject, ruling->subject_len};
}

// What the HTTP API is asked: {"user":U} or {"jti":J}, and "ttl_s" from 1 to CN_RULING_TTL_MAX_S;
// without it `ttl_s` counts. With `kick` only {"user":U}. `now_s` is Unix time. CN_INVALID:
// *problem says why; CN_NOMEM. A jti is 1 to CN_RULING_SUBJECT_MAX bytes of UTF-8 without control
// characters, quotes and backslashes.
CN_MUSTCHECK enum cn_err cn_ruling_decode(struct cn_str body, bool kick, int64_t ttl_s,
                                          int64_t now_s, struct cn_ruling *out,
                                          enum cn_problem *problem);

// Writes it as nodes tell it each other; returns its length. Pure.
size_t cn_ruling_format(const struct cn_ruling *ruling, char out[CN_RULING_TEXT_BYTES]);

// Reads that again, as if a stranger had written it. CN_INVALID: it is none, or of a version that
// is not known here. Pure.
CN_MUSTCHECK enum cn_err cn_ruling_parse(struct cn_str text, struct cn_ruling *out);

#endif
