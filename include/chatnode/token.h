// SPDX-License-Identifier: MIT
// Tokens: who somebody is and what they may do, signed by whom we trust (RFC 7515, 7517, 7519). A
// key has one algorithm, fixed by us; what a token's header says can only choose among our keys.
#ifndef CHATNODE_TOKEN_H
#define CHATNODE_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/name.h"

enum {
    CN_TOKEN_BYTES_MAX = 8192,  // a longer token is refused unread
    CN_GRANT_RULES_MAX = 256,   // patterns of rooms in one token
    CN_GRANT_TEXT_MAX = 128,    // bytes of name, jti and of each pattern
    CN_KEYS_MAX = 64,           // keys in one set
    CN_KEYS_BYTES_MAX = 262144, // of a set's text
    CN_TOKEN_DIGEST_BYTES = 32,
    CN_GRANT_CACHE_S_MAX = 3600,
    CN_KEYS_TRIED_MAX = 8 // keys that are tried for one token
};

// X(symbol, word): what may be done in a room.
#define CN_RIGHT_TABLE(X)                                                                          \
    X(JOIN, "join")                                                                                \
    X(SEND, "send")                                                                                \
    X(HISTORY, "history")                                                                          \
    X(PRESENCE, "presence")                                                                        \
    X(MODERATE, "moderate")

enum cn_right {
#define X(symbol, word) CN_RIGHT_##symbol,
    CN_RIGHT_TABLE(X)
#undef X
        CN_RIGHT_COUNT
};

// Static text of the table. Any thread.
const char *cn_right_word(enum cn_right right);

// ---- What a token grants ----

// One room, or all rooms of a pattern: a name in which each * stands for any number of characters.
struct cn_grant_rule {
    struct cn_str pattern;
    unsigned rights; // 1u << enum cn_right
    int64_t from_ms; // entries before this moment are not for the bearer; 0: all are
};

// A verified token's claims. One allocation; immutable; free with cn_grant_free.
struct cn_grant {
    struct cn_str user; // sub: a valid name
    struct cn_str name; // name: how to show the user; absent when not given
    struct cn_str jti;  // absent when not given
    int64_t issued_s;   // iat, Unix time; 0 when not given
    int64_t expires_s;  // exp, Unix time
    bool direct;        // may send directed messages
    bool admin;         // may use what only operators may
    size_t rule_count;
    struct cn_grant_rule rules[];
};

// Frees it; takes NULL.
void cn_grant_free(struct cn_grant *grant);

// True when a rule for this room has the right; several rules add up. *from_ms, if not NULL, is
// then the earliest moment that one of those rules allows. Pure.
bool cn_grant_allows(const struct cn_grant *grant, struct cn_str room, enum cn_right right,
                     int64_t *from_ms);

// ---- Keys ----

struct cn_keys;

// Reads keys: a JWK set (RFC 7517 section 5), or PEM public keys one after the other, each with the
// one algorithm that fits it (RSA: RS256, P-256: ES256, Ed25519: EdDSA). `secret`, if not empty, is
// one more key, for HS256. Both empty: a set without keys. In a set, a key's `alg` must be given
// for symmetric keys; keys with a `use` other than sig, with `key_ops` without verify, with another
// `alg`, or of unknown kinds are left out. CN_INVALID: *why says what is wrong (static text), for
// weak keys and private ones too; CN_NOMEM. Immutable: any number of threads may verify with it at
// once.
CN_MUSTCHECK enum cn_err cn_keys_parse(struct cn_str text, struct cn_str secret,
                                       struct cn_keys **out, const char **why);
void cn_keys_free(struct cn_keys *keys); // takes NULL
size_t cn_keys_count(const struct cn_keys *keys);

// The keys of both, those of `a` first, in a set of its own; `b` may be NULL. CN_FULL: more than
// CN_KEYS_MAX.
CN_MUSTCHECK enum cn_err cn_keys_join(const struct cn_keys *a, const struct cn_keys *b,
                                      struct cn_keys **out);

// ---- Verifying ----

// X(symbol, word): why a token is not believed; `word` labels the metric and the log.
#define CN_TOKEN_FAULT_TABLE(X)                                                                    \
    X(NONE, "none")                                                                                \
    X(MALFORMED, "malformed") /* not a signed token, or too long, or a claim of a wrong type */    \
    X(UNKNOWN_KEY, "unknown_key") /* no key has this kid and algorithm: fresh keys may help */     \
    X(SIGNATURE, "signature")                                                                      \
    X(EXPIRED, "expired") /* or without exp */                                                     \
    X(EARLY, "early")     /* nbf, or iat, lies ahead */                                            \
    X(AUDIENCE, "audience")                                                                        \
    X(ISSUER, "issuer")                                                                            \
    X(REVOKED, "revoked")                                                                          \
    X(DENIED, "denied")           /* a backend that was asked said no */                           \
    X(UNAVAILABLE, "unavailable") /* keys, or a backend, that were asked for did not answer */     \
    X(MEMORY, "memory")

enum cn_token_fault {
#define X(symbol, word) CN_TOKEN_##symbol,
    CN_TOKEN_FAULT_TABLE(X)
#undef X
        CN_TOKEN_FAULT_COUNT
};

// Static text of the table. Any thread.
const char *cn_token_fault_word(enum cn_token_fault fault);

// What is asked of a token besides its signature.
struct cn_token_rules {
    struct cn_str audience; // aud must be or contain it; empty: not looked at
    struct cn_str issuer;   // iss must be it; empty: not looked at
    int64_t leeway_s;       // 0 to 60, of clocks that differ
    int64_t now_s;          // Unix time
};

// Verifies a compact JWS with these keys and checks its claims; on CN_TOKEN_NONE the caller owns
// *out. Of the keys with the header's algorithm those are tried that have its kid; when none has
// it, or the header has none, those without a kid, or all: CN_KEYS_TRIED_MAX at most, in order.
// Pure; any thread; does not block.
CN_MUSTCHECK enum cn_token_fault cn_token_verify(const struct cn_keys *keys, struct cn_str token,
                                                 const struct cn_token_rules *rules,
                                                 struct cn_grant **out);

// Reads claims, as JSON, that somebody we trust has made: a token's after its signature, or an
// answer of the connect hook. On CN_TOKEN_NONE the caller owns *out; else *why says what is wrong
// (static text). Pure; any thread.
CN_MUSTCHECK enum cn_token_fault cn_grant_read(struct cn_str claims,
                                               const struct cn_token_rules *rules,
                                               struct cn_grant **out, const char **why);

// How long such an answer may be kept: its `cache_s`, from 0 to CN_GRANT_CACHE_S_MAX; else 0. Pure.
int64_t cn_grant_cache_s(struct cn_str claims);

// SHA-256 of the token: what it is remembered by. False without memory. Any thread.
CN_MUSTCHECK bool cn_token_digest(struct cn_str token, unsigned char digest[CN_TOKEN_DIGEST_BYTES]);

#endif
