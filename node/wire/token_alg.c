// SPDX-License-Identifier: MIT
// The algorithms of tokens: which one a key is for, whether it is strong enough, whether a
// signature is its own.
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "token_private.h"

static const struct {
    const char *word;
    const EVP_MD *(*hash)(void);
} algs[] = {
#define X(symbol, word, hash) [CN_ALG_##symbol] = {word, hash},
    CN_ALG_TABLE(X)
#undef X
};

enum cn_alg cn_alg_find(struct cn_str word)
{
    for (int i = 0; i < CN_ALG_COUNT; i++) {
        if (cn_str_equal(word, cn_str_of(algs[i].word)))
            return (enum cn_alg)i;
    }
    return CN_ALG_COUNT;
}

const char *cn_alg_word(enum cn_alg alg)
{
    return algs[alg].word;
}

const EVP_MD *cn_alg_hash(enum cn_alg alg)
{
    return algs[alg].hash();
}

enum cn_err cn_openssl_err(enum cn_err err)
{
    bool is_memory = ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
    ERR_clear_error();
    return is_memory ? CN_NOMEM : err;
}

// ---- Strength ----

// The exponent is odd, at least 65537 (NIST SP 800-56B section 6.4.1.1) and of a usual size; 1
// would make signatures of thin air.
static bool is_good_exponent(const EVP_PKEY *key)
{
    BIGNUM *e = NULL;
    bool is_good = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1 && BN_is_odd(e) &&
                   BN_num_bits(e) > 16 && BN_num_bits(e) <= 64;
    BN_free(e);
    return is_good;
}

static bool is_p256(const EVP_PKEY *key)
{
    char group[32];
    size_t len;
    return EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

// What OpenSSL itself finds: a point off the curve, a modulus that is a prime.
static bool is_sound(EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool is_sound = ctx && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return is_sound;
}

// Points whose order divides 8, in all their spellings but for the sign of x, which is the last
// bit. Of a key among them anybody can make signatures (RFC 8032 section 5.1.7 does not refuse
// them, nor does OpenSSL); the first one is a text of zeros, as in a set that was not filled in.
static bool is_of_small_order(const EVP_PKEY *key)
{
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    unsigned char bytes[32];
    char text[2 * sizeof(bytes) + 1];
    size_t len = sizeof(bytes);
    if (EVP_PKEY_get_raw_public_key(key, bytes, &len) != 1 || len != sizeof(bytes))
        return true;
    bytes[len - 1] &= 0x7F;
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    for (size_t i = 0; i < CN_COUNT(points); i++) {
        if (strcmp(text, points[i]) == 0)
            return true;
    }
    return false;
}

// Looking at a key takes time by the cube of its length: main does it, and must not be kept from
// its other work for long. False when the set's keys are too much of it together.
static bool is_affordable(struct cn_keys *keys, int bits)
{
    int blocks = (bits + CN_RSA_BITS_MIN - 1) / CN_RSA_BITS_MIN;
    if (!keys)
        return true;
    keys->work += blocks * blocks * blocks;
    return keys->work <= CN_RSA_WORK_MAX;
}

// The complaint about an RSA key, or NULL.
static const char *judge_rsa(struct cn_keys *keys, const EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);
    if (bits < CN_RSA_BITS_MIN)
        return "an RSA key has less than 2048 bits";
    if (bits > CN_RSA_BITS_MAX)
        return "an RSA key has more than 8192 bits";
    if (!is_affordable(keys, bits))
        return "the RSA keys are too many for their lengths together";
    return is_good_exponent(key) ? NULL : "an RSA key's exponent is not right";
}

enum cn_err cn_alg_of_key(struct cn_keys *keys, EVP_PKEY *public, enum cn_alg *out,
                          const char **why)
{
    const char *complaint = NULL;
    if (EVP_PKEY_is_a(public, "ED25519")) {
        *out = CN_ALG_EDDSA;
        if (!is_of_small_order(public))
            return CN_OK;
        *why = "an Ed25519 key is a point of small order";
        return cn_openssl_err(CN_INVALID);
    }
    if (EVP_PKEY_is_a(public, "RSA")) {
        *out = CN_ALG_RS256;
        complaint = judge_rsa(keys, public);
    } else if (EVP_PKEY_is_a(public, "EC") && is_p256(public)) {
        *out = CN_ALG_ES256;
    } else {
        *why = "a key is neither RSA, P-256 nor Ed25519";
        return cn_openssl_err(CN_NOTFOUND);
    }
    if (!complaint && !is_sound(public))
        complaint = "a public key is not a sound one";
    if (!complaint)
        return CN_OK;
    *why = complaint;
    return cn_openssl_err(CN_INVALID);
}

enum cn_err cn_secret_check(enum cn_alg alg, struct cn_str secret, const char **why)
{
    // RFC 7518 section 3.2: no shorter than the hash.
    if (secret.len < (size_t)EVP_MD_get_size(cn_alg_hash(alg)))
        *why = "a secret is too short: HS256 takes 32 bytes at least, HS384 48, HS512 64";
    else if (secret.len > CN_SECRET_MAX)
        *why = "a secret is longer than 1024 bytes";
    else
        return CN_OK;
    return CN_INVALID;
}

// ---- Signatures ----

static bool verify_secret(const struct cn_key *key, struct cn_str text, struct cn_str signature,
                          bool *is_memory)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!HMAC(cn_alg_hash(key->alg), key->bytes, (int)key->secret_len,
              (const unsigned char *)text.ptr, text.len, mac, &len)) {
        *is_memory = true;
        return false;
    }
    bool is_equal = signature.len == len && CRYPTO_memcmp(mac, signature.ptr, len) == 0;
    OPENSSL_cleanse(mac, sizeof(mac));
    return is_equal;
}

static bool verify_public(const struct cn_key *key, struct cn_str text, struct cn_str signature,
                          bool *is_memory)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *hash = key->alg == CN_ALG_EDDSA ? NULL : cn_alg_hash(key->alg);
    ERR_clear_error();
    bool is_equal = ctx && EVP_DigestVerifyInit(ctx, NULL, hash, NULL, key->public) == 1 &&
                    EVP_DigestVerify(ctx, (const unsigned char *)signature.ptr, signature.len,
                                     (const unsigned char *)text.ptr, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!is_equal)
        *is_memory |= cn_openssl_err(CN_INVALID) == CN_NOMEM;
    return is_equal;
}

// RFC 7518 section 3.4: r and s as they are, one behind the other; OpenSSL takes them in DER.
static bool verify_es256(const struct cn_key *key, struct cn_str text, struct cn_str signature,
                         bool *is_memory)
{
    if (signature.len != (size_t)2 * CN_ES256_HALF)
        return false;
    const unsigned char *bytes = (const unsigned char *)signature.ptr;
    unsigned char *der = NULL;
    int len = -1;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, CN_ES256_HALF, NULL);
    BIGNUM *s = BN_bin2bn(bytes + CN_ES256_HALF, CN_ES256_HALF, NULL);
    if (pair && r && s && ECDSA_SIG_set0(pair, r, s) == 1)
        r = s = NULL; // the pair has them
    if (pair && !r && !s)
        len = i2d_ECDSA_SIG(pair, &der);
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    bool is_equal = false;
    if (len > 0)
        is_equal = verify_public(key, text, (struct cn_str){(char *)der, (size_t)len}, is_memory);
    else
        *is_memory = true;
    OPENSSL_free(der);
    return is_equal;
}

bool cn_key_verifies(const struct cn_key *key, struct cn_str text, struct cn_str signature,
                     bool *is_memory)
{
    if (cn_alg_is_symmetric(key->alg))
        return verify_secret(key, text, signature, is_memory);
    if (key->alg == CN_ALG_ES256)
        return verify_es256(key, text, signature, is_memory);
    return verify_public(key, text, signature, is_memory);
}
