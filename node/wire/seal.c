// SPDX-License-Identifier: MIT
// Seals: keyed once, then two hashes a text.
#include "chatnode/seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "wire_private.h"

enum {
    MARK_BYTES = 2,
    MAC_BYTES = 16,
    HASH_BYTES = 32,
    HEAD_BYTES = 2,
    PLACE_MAX = 255,
    SEAL_BYTES_MAX = 128 // of a version to come
};

// A key, as a context that has taken it in.
struct key {
    EVP_MAC_CTX *context;
    unsigned char mark[MARK_BYTES]; // of which key it is; says nothing of the key itself
};

struct cn_sealer {
    EVP_MAC *hmac;
    size_t count;
    struct key keys[CN_SEAL_KEYS_MAX];
};

const char *cn_seal_fault_word(enum cn_seal_fault fault)
{
    static const char *const words[] = {
#define X(symbol, word) word,
        CN_SEAL_FAULT_TABLE(X)
#undef X
    };
    return words[fault];
}

// ---- HMAC ----

static bool begin(EVP_MAC_CTX *context)
{
    return EVP_MAC_init(context, NULL, 0, NULL) == 1; // the key stays
}

static bool finish(EVP_MAC_CTX *context, unsigned char out[HASH_BYTES])
{
    size_t len = 0;
    return EVP_MAC_final(context, out, &len, HASH_BYTES) == 1 && len == HASH_BYTES;
}

// Purpose and length of the place come first, so that no two subjects are the same bytes.
static bool hash(const struct key *key, const struct cn_seal_subject *subject,
                 unsigned char out[HASH_BYTES])
{
    unsigned char head[HEAD_BYTES + PLACE_MAX];
    CN_ASSERT(subject->place.len <= PLACE_MAX);
    head[0] = (unsigned char)subject->purpose;
    head[1] = (unsigned char)subject->place.len;
    if (subject->place.len > 0)
        memcpy(head + HEAD_BYTES, subject->place.ptr, subject->place.len);
    return begin(key->context) &&
           EVP_MAC_update(key->context, head, HEAD_BYTES + subject->place.len) == 1 &&
           EVP_MAC_update(key->context, (const unsigned char *)subject->text.ptr,
                          subject->text.len) == 1 &&
           finish(key->context, out);
}

// ---- Text ----

// `~2`, and which key it was in the first of the letters that follow.
static bool make(const struct key *key, const struct cn_seal_subject *subject,
                 char out[CN_SEAL_BYTES])
{
    unsigned char bytes[MARK_BYTES + HASH_BYTES];
    _Static_assert((MARK_BYTES + MAC_BYTES) % 3 == 0, "base64 without padding");
    _Static_assert((MARK_BYTES + MAC_BYTES) / 3 * 4 + 2 == CN_SEAL_BYTES, "all of it");
    memcpy(bytes, key->mark, MARK_BYTES);
    if (!hash(key, subject, bytes + MARK_BYTES))
        return false;
    out[0] = '~';
    out[1] = CN_SEAL_VERSION;
    return cn_base64url_encode(bytes, MARK_BYTES + MAC_BYTES, out + 2) == CN_SEAL_BYTES - 2;
}

// The letters that come from the mark alone.
enum { MARK_LETTERS = 2 };

static bool has_mark(const struct key *key, struct cn_str seal)
{
    char letters[4];
    cn_base64url_encode(key->mark, MARK_BYTES, letters);
    return memcmp(letters, seal.ptr + 2, MARK_LETTERS) == 0;
}

// ---- Keys ----

static bool is_separator(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// Cuts the next key off `rest`; empty when there is none left.
static struct cn_str next_key(struct cn_str *rest)
{
    while (rest->len > 0 && is_separator(*rest->ptr))
        *rest = (struct cn_str){rest->ptr + 1, rest->len - 1};
    struct cn_str key = {rest->ptr, 0};
    while (key.len < rest->len && !is_separator(key.ptr[key.len]))
        key.len++;
    *rest = (struct cn_str){rest->ptr + key.len, rest->len - key.len};
    return key;
}

static enum cn_err add_key(struct cn_sealer *sealer, struct cn_str text)
{
    char sha256[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", sha256, 0),
                                 OSSL_PARAM_construct_end()};
    struct key *key = &sealer->keys[sealer->count];
    unsigned char bytes[HASH_BYTES];
    key->context = EVP_MAC_CTX_new(sealer->hmac);
    if (!key->context)
        return CN_NOMEM;
    sealer->count++;
    const struct cn_seal_subject about = {.purpose = 'k'};
    if (EVP_MAC_init(key->context, (const unsigned char *)text.ptr, text.len, params) != 1 ||
        !hash(key, &about, bytes))
        return CN_SYSTEM;
    memcpy(key->mark, bytes, MARK_BYTES);
    return CN_OK;
}

static enum cn_err add_keys(struct cn_sealer *sealer, struct cn_str rest, const char **why)
{
    struct cn_str key;
    enum cn_err err = CN_OK;
    while (!err && (key = next_key(&rest)).len > 0) {
        *why = key.len < CN_SEAL_KEY_BYTES_MIN     ? "bus-key: a key has less than 32 bytes"
               : sealer->count == CN_SEAL_KEYS_MAX ? "bus-key: more than 8 keys"
                                                   : NULL;
        err = *why ? CN_INVALID : add_key(sealer, key);
    }
    if (!err && sealer->count == 0) {
        *why = "bus-key: no key in it";
        err = CN_INVALID;
    }
    return err;
}

enum cn_err cn_sealer_new(struct cn_str keys, struct cn_sealer **out, const char **why)
{
    struct cn_sealer *sealer = calloc(1, sizeof(*sealer));
    *why = "out of memory";
    if (!sealer)
        return CN_NOMEM;
    sealer->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    enum cn_err err = sealer->hmac ? add_keys(sealer, keys, why) : CN_SYSTEM;
    if (err == CN_SYSTEM)
        *why = "bus-key: libcrypto has no HMAC-SHA256";
    if (err) {
        cn_sealer_free(sealer);
        return err;
    }
    *out = sealer;
    return CN_OK;
}

void cn_sealer_free(struct cn_sealer *sealer)
{
    if (!sealer)
        return;
    for (size_t i = 0; i < sealer->count; i++)
        EVP_MAC_CTX_free(sealer->keys[i].context); // overwrites the key
    EVP_MAC_free(sealer->hmac);
    free(sealer);
}

// ---- Seals ----

enum cn_err cn_seal_make(struct cn_sealer *sealer, const struct cn_seal_subject *subject,
                         char out[CN_SEAL_BYTES])
{
    return make(&sealer->keys[0], subject, out) ? CN_OK : CN_SYSTEM;
}

enum cn_seal_fault cn_seal_check(struct cn_sealer *sealer, const struct cn_seal_subject *subject,
                                 struct cn_str seal)
{
    if (seal.len < 2 || seal.ptr[0] != '~')
        return CN_SEAL_FAULT_FORM;
    if (seal.ptr[1] != CN_SEAL_VERSION)
        return CN_SEAL_FAULT_VERSION;
    if (seal.len != CN_SEAL_BYTES)
        return CN_SEAL_FAULT_FORM;
    enum cn_seal_fault fault = CN_SEAL_FAULT_UNKNOWN_KEY;
    for (size_t i = 0; i < sealer->count; i++) {
        char wanted[CN_SEAL_BYTES];
        if (!has_mark(&sealer->keys[i], seal))
            continue;
        fault = CN_SEAL_FAULT_SEAL;
        if (make(&sealer->keys[i], subject, wanted) &&
            CRYPTO_memcmp(wanted, seal.ptr, CN_SEAL_BYTES) == 0)
            return CN_SEAL_FAULT_NONE;
    }
    return fault;
}

struct cn_str cn_seal_cut(struct cn_str *text)
{
    size_t most = text->len < SEAL_BYTES_MAX ? text->len : SEAL_BYTES_MAX;
    if (text->len == 0 || text->ptr[text->len - 1] == '}')
        return (struct cn_str){NULL, 0};
    for (size_t back = 1; back <= most; back++) {
        size_t at = text->len - back;
        if (text->ptr[at] != '~')
            continue;
        *text = (struct cn_str){text->ptr, at};
        return (struct cn_str){text->ptr + at, back};
    }
    return (struct cn_str){NULL, 0};
}
