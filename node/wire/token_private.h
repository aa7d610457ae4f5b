// SPDX-License-Identifier: MIT
// What the files about tokens share: the algorithms, and a key as it is kept. Only they and this
// header know OpenSSL.
#ifndef CHATNODE_TOKEN_PRIVATE_H
#define CHATNODE_TOKEN_PRIVATE_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/token.h"

// X(symbol, word, hash): RFC 7518 section 3.1, RFC 8037 section 3.1. The first three are symmetric.
#define CN_ALG_TABLE(X)                                                                            \
    X(HS256, "HS256", EVP_sha256)                                                                  \
    X(HS384, "HS384", EVP_sha384)                                                                  \
    X(HS512, "HS512", EVP_sha512)                                                                  \
    X(RS256, "RS256", EVP_sha256)                                                                  \
    X(ES256, "ES256", EVP_sha256)                                                                  \
    X(EDDSA, "EdDSA", EVP_md_null)

enum cn_alg {
#define X(symbol, word, hash) CN_ALG_##symbol,
    CN_ALG_TABLE(X)
#undef X
        CN_ALG_COUNT
};

enum {
    CN_KID_MAX = 128,     // bytes of a key's id; longer ones are unknown
    CN_SECRET_MAX = 1024, // bytes of a symmetric key
    CN_RSA_BITS_MIN = 2048,
    CN_RSA_BITS_MAX = 8192,
    CN_RSA_WORK_MAX = 128, // of a set: 64 keys of 2,048 bits, 16 of 4,096, or 2 of 8,192
    CN_ES256_HALF = 32     // bytes of r, s, x and y
};

static inline bool cn_alg_is_symmetric(enum cn_alg alg)
{
    return alg <= CN_ALG_HS512;
}

// The algorithm of this word, exactly; CN_ALG_COUNT when there is none. Its word; its hash.
enum cn_alg cn_alg_find(struct cn_str word);
const char *cn_alg_word(enum cn_alg alg);
const EVP_MD *cn_alg_hash(enum cn_alg alg);

// A key and the one algorithm that it is for.
struct cn_key {
    enum cn_alg alg;
    EVP_PKEY *public; // NULL for a symmetric one
    char *bytes;      // the secret, then the kid; owned
    size_t secret_len;
    size_t kid_len; // 0: it has none
};

struct cn_keys {
    size_t count;
    int work; // that looking at its RSA keys was; one is 2 ms of CPU, a key of 2,048 bits
    struct cn_key list[CN_KEYS_MAX];
};

static inline struct cn_str cn_key_secret(const struct cn_key *key)
{
    return (struct cn_str){key->bytes, key->secret_len};
}

static inline struct cn_str cn_key_kid(const struct cn_key *key)
{
    return (struct cn_str){key->bytes + key->secret_len, key->kid_len};
}

// The three parts of a token as they came, and what is signed.
struct cn_token_parts {
    struct cn_str header, payload, signature, text;
};

// Three parts between two dots, none of them empty, CN_TOKEN_BYTES_MAX in all. Pure.
bool cn_token_split(struct cn_str token, struct cn_token_parts *out);

// True when the signature of the text is this key's. *is_memory is set when that could not be
// found out.
bool cn_key_verifies(const struct cn_key *key, struct cn_str text, struct cn_str signature,
                     bool *is_memory);

// CN_NOMEM when what OpenSSL failed in last was memory, else `err`; forgets its errors.
enum cn_err cn_openssl_err(enum cn_err err);

// The one algorithm for such a public key, after a look at its strength, which counts as the work
// of `keys`; NULL: of none. CN_NOTFOUND: of a kind that is not used here. CN_INVALID: *why.
CN_MUSTCHECK enum cn_err cn_alg_of_key(struct cn_keys *keys, EVP_PKEY *public, enum cn_alg *out,
                                       const char **why);

// Takes copies of secret and kid, and `public` in any case. CN_FULL, CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_keys_add(struct cn_keys *keys, enum cn_alg alg, EVP_PKEY *public,
                                     struct cn_str secret, struct cn_str kid, const char **why);

// CN_INVALID when it is too short or too long for the algorithm: *why.
CN_MUSTCHECK enum cn_err cn_secret_check(enum cn_alg alg, struct cn_str secret, const char **why);

// Adds the keys of a JWK set (RFC 7517 section 5).
CN_MUSTCHECK enum cn_err cn_keys_read_jwks(struct cn_keys *keys, struct cn_str text,
                                           const char **why);

#endif
