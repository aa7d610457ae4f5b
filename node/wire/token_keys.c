// SPDX-License-Identifier: MIT
// The keys that tokens are verified with: each with its one algorithm, and strong enough for it.
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "token_private.h"
#include "wire_private.h"

enum cn_err cn_keys_add(struct cn_keys *keys, enum cn_alg alg, EVP_PKEY *public,
                        struct cn_str secret, struct cn_str kid, const char **why)
{
    enum cn_err err = CN_FULL;
    char *bytes = NULL;
    *why = "more than 64 keys";
    if (keys->count < CN_KEYS_MAX) {
        err = CN_NOMEM;
        bytes = malloc(secret.len + kid.len + 1);
    }
    if (!bytes) {
        EVP_PKEY_free(public);
        return err;
    }
    if (secret.len > 0)
        memcpy(bytes, secret.ptr, secret.len);
    if (kid.len > 0)
        memcpy(bytes + secret.len, kid.ptr, kid.len);
    keys->list[keys->count++] = (struct cn_key){
        .alg = alg, .public = public, .bytes = bytes, .secret_len = secret.len, .kid_len = kid.len};
    return CN_OK;
}

void cn_keys_free(struct cn_keys *keys)
{
    if (!keys)
        return;
    for (size_t i = 0; i < keys->count; i++) {
        struct cn_key *key = &keys->list[i];
        EVP_PKEY_free(key->public);
        OPENSSL_cleanse(key->bytes, key->secret_len);
        free(key->bytes);
    }
    free(keys);
}

size_t cn_keys_count(const struct cn_keys *keys)
{
    return keys->count;
}

static enum cn_err read_pem_key(struct cn_keys *keys, const char *label, const unsigned char *der,
                                long len, const char **why)
{
    *why = "PEM that is no PUBLIC KEY; of private keys and certificates give the public key";
    if (strcmp(label, "PUBLIC KEY") != 0)
        return CN_INVALID;
    *why = "a PEM public key cannot be read";
    EVP_PKEY *public = d2i_PUBKEY(NULL, &der, len);
    if (!public)
        return cn_openssl_err(CN_INVALID);
    enum cn_alg alg;
    enum cn_err err = cn_alg_of_key(keys, public, &alg, why);
    if (err != CN_OK) {
        EVP_PKEY_free(public);
        return err == CN_NOTFOUND ? CN_INVALID : err;
    }
    struct cn_str none = {NULL, 0};
    return cn_keys_add(keys, alg, public, none, none, why);
}

static bool is_at_end(void)
{
    return ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_PEM &&
           ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

static enum cn_err read_pem(struct cn_keys *keys, struct cn_str text, const char **why)
{
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    enum cn_err err = bio ? CN_OK : CN_NOMEM;
    ERR_clear_error();
    while (err == CN_OK) {
        char *label = NULL, *header = NULL;
        unsigned char *der = NULL;
        long len = 0;
        if (PEM_read_bio(bio, &label, &header, &der, &len) != 1)
            break;
        err = read_pem_key(keys, label, der, len, why);
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)len);
    }
    if (err == CN_OK && !is_at_end()) {
        *why = "PEM that cannot be read";
        err = CN_INVALID;
    }
    BIO_free(bio);
    if (err != CN_OK)
        return cn_openssl_err(err);
    ERR_clear_error();
    return CN_OK;
}

static enum cn_err read_text(struct cn_keys *keys, struct cn_str text, const char **why)
{
    *why = "the keys are longer than 256 KiB";
    if (text.len > CN_KEYS_BYTES_MAX)
        return CN_INVALID;
    enum cn_err err = cn_json_begins_object(text) ? cn_keys_read_jwks(keys, text, why)
                                                  : read_pem(keys, text, why);
    if (err == CN_OK && keys->count == 0) {
        *why = "there is no key of use: neither a JWK set nor PEM public keys";
        err = CN_INVALID;
    }
    return err;
}

enum cn_err cn_keys_parse(struct cn_str text, struct cn_str secret, struct cn_keys **out,
                          const char **why)
{
    *out = NULL;
    *why = "out of memory";
    struct cn_keys *keys = calloc(1, sizeof(*keys));
    enum cn_err err = keys ? CN_OK : CN_NOMEM;
    if (err == CN_OK && text.len > 0)
        err = read_text(keys, text, why);
    if (err == CN_OK && secret.len > 0) {
        err = cn_secret_check(CN_ALG_HS256, secret, why);
        if (err == CN_OK)
            err = cn_keys_add(keys, CN_ALG_HS256, NULL, secret, (struct cn_str){NULL, 0}, why);
    }
    if (err != CN_OK) {
        cn_keys_free(keys);
        return err == CN_FULL ? CN_INVALID : err;
    }
    *out = keys;
    return CN_OK;
}

static enum cn_err add_all(struct cn_keys *to, const struct cn_keys *from, const char **why)
{
    enum cn_err err = CN_OK;
    for (size_t i = 0; err == CN_OK && i < from->count; i++) {
        const struct cn_key *key = &from->list[i];
        if (key->public)
            EVP_PKEY_up_ref(key->public);
        err = cn_keys_add(to, key->alg, key->public, cn_key_secret(key), cn_key_kid(key), why);
    }
    return err;
}

enum cn_err cn_keys_join(const struct cn_keys *a, const struct cn_keys *b, struct cn_keys **out)
{
    const char *why;
    struct cn_keys *keys = calloc(1, sizeof(*keys));
    enum cn_err err = keys ? add_all(keys, a, &why) : CN_NOMEM;
    if (err == CN_OK)
        err = b ? add_all(keys, b, &why) : CN_OK;
    if (err != CN_OK) {
        cn_keys_free(keys);
        keys = NULL;
    }
    *out = keys;
    return err;
}
