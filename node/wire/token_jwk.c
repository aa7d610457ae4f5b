// SPDX-License-Identifier: MIT
// JWK sets (RFC 7517, RFC 7518 section 6, RFC 8037 section 2): from JSON to public keys.
#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/param_build.h>

#include "token_private.h"
#include "wire_private.h"

enum {
    MEMBER_CHARS_MAX = CN_BASE64URL_CHARS(CN_RSA_BITS_MAX / 8) + 8, // of a base64url member
    ED25519_BYTES = 32
};

// Longer is no key of ours.
_Static_assert(CN_SECRET_MAX <= CN_RSA_BITS_MAX / 8, "a secret fits where a modulus does");

struct member {
    unsigned char bytes[CN_BASE64URL_BYTES(MEMBER_CHARS_MAX)];
    size_t len;
};

// False when there is no such member, or it is not base64url, or too long.
static bool read_member(const json_t *jwk, const char *name, struct member *out)
{
    struct cn_str text = cn_json_text(jwk, name);
    out->len = 0;
    return text.len > 0 && text.len <= MEMBER_CHARS_MAX &&
           cn_base64url_decode(text, out->bytes, &out->len) && out->len > 0;
}

// ---- One key of each kind ----

// NULL when OpenSSL does not take them.
static EVP_PKEY *make_public(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *make_rsa_of(BIGNUM *n, BIGNUM *e)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (build && n && e && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        params = OSSL_PARAM_BLD_to_param(build);
    if (params)
        key = make_public("RSA", params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    return key;
}

static EVP_PKEY *read_rsa(const json_t *jwk)
{
    struct member n, e;
    if (!read_member(jwk, "n", &n) || !read_member(jwk, "e", &e))
        return NULL;
    BIGNUM *modulus = BN_bin2bn(n.bytes, (int)n.len, NULL);
    BIGNUM *exponent = BN_bin2bn(e.bytes, (int)e.len, NULL);
    EVP_PKEY *key = make_rsa_of(modulus, exponent);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

static EVP_PKEY *read_p256(const json_t *jwk)
{
    struct member x, y;
    if (!read_member(jwk, "x", &x) || !read_member(jwk, "y", &y) || x.len != CN_ES256_HALF ||
        y.len != CN_ES256_HALF)
        return NULL;
    unsigned char point[1 + 2 * CN_ES256_HALF] = {4}; // uncompressed
    memcpy(point + 1, x.bytes, CN_ES256_HALF);
    memcpy(point + 1 + CN_ES256_HALF, y.bytes, CN_ES256_HALF);
    char group[] = "prime256v1";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
        OSSL_PARAM_construct_end(),
    };
    return make_public("EC", params);
}

static EVP_PKEY *read_ed25519(const json_t *jwk)
{
    struct member x;
    if (!read_member(jwk, "x", &x) || x.len != ED25519_BYTES)
        return NULL;
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x.bytes, x.len);
}

// X(kty, crv, algorithm, reader, why): which keys of a set are used.
static const struct kind {
    const char *kty;
    const char *crv; // NULL: has none
    enum cn_alg alg;
    EVP_PKEY *(*read)(const json_t *jwk); // NULL: a bad key, or no memory
    const char *why;
} kinds[] = {
    {"RSA", NULL, CN_ALG_RS256, read_rsa, "an RSA key's n or e is not right"},
    {"EC", "P-256", CN_ALG_ES256, read_p256, "a P-256 key's x and y are not a point of the curve"},
    {"OKP", "Ed25519", CN_ALG_EDDSA, read_ed25519, "an Ed25519 key's x is not 32 bytes"},
};

static const struct kind *find_kind(const json_t *jwk)
{
    struct cn_str kty = cn_json_text(jwk, "kty"), crv = cn_json_text(jwk, "crv");
    for (size_t i = 0; i < CN_COUNT(kinds); i++) {
        if (cn_str_equal(kty, cn_str_of(kinds[i].kty)) &&
            (!kinds[i].crv || cn_str_equal(crv, cn_str_of(kinds[i].crv))))
            return &kinds[i];
    }
    return NULL;
}

static enum cn_err read_secret(struct cn_keys *keys, const json_t *jwk, struct cn_str kid,
                               const char **why)
{
    enum cn_alg alg = cn_alg_find(cn_json_text(jwk, "alg"));
    if (alg == CN_ALG_COUNT || !cn_alg_is_symmetric(alg)) {
        *why = "a symmetric key needs an alg: HS256, HS384 or HS512";
        return CN_INVALID;
    }
    struct member k;
    if (!read_member(jwk, "k", &k)) {
        *why = "a symmetric key's k is not base64url, or too long";
        return CN_INVALID;
    }
    struct cn_str secret = {(char *)k.bytes, k.len};
    enum cn_err err = cn_secret_check(alg, secret, why);
    if (err == CN_OK)
        err = cn_keys_add(keys, alg, NULL, secret, kid, why);
    OPENSSL_cleanse(k.bytes, sizeof(k.bytes));
    return err;
}

static enum cn_err read_public(struct cn_keys *keys, const json_t *jwk, struct cn_str kid,
                               const char **why)
{
    const struct kind *kind = find_kind(jwk);
    const json_t *word = json_object_get(jwk, "alg");
    if (!kind || (word && cn_alg_find(cn_json_text(jwk, "alg")) != kind->alg))
        return CN_OK; // left out
    *why = "a private key stands among the keys: only its public half belongs there";
    if (json_object_get(jwk, "d"))
        return CN_INVALID;
    *why = kind->why;
    EVP_PKEY *public = kind->read(jwk);
    if (!public)
        return cn_openssl_err(CN_INVALID);
    enum cn_alg alg;
    enum cn_err err = cn_alg_of_key(keys, public, &alg, why);
    if (err != CN_OK) {
        EVP_PKEY_free(public);
        return err;
    }
    return cn_keys_add(keys, alg, public, (struct cn_str){NULL, 0}, kid, why);
}

// ---- The set ----

// True unless `use` or `key_ops` say that it is for something else (RFC 7517 sections 4.2, 4.3).
static bool is_for_signatures(const json_t *jwk)
{
    const json_t *use = json_object_get(jwk, "use"), *ops = json_object_get(jwk, "key_ops");
    if (use && !cn_str_equal(cn_json_text(jwk, "use"), CN_STR_LITERAL("sig")))
        return false;
    bool verifies = !ops;
    for (size_t i = 0; i < json_array_size(ops); i++) {
        const char *word = json_string_value(json_array_get(ops, i));
        verifies |= word && strcmp(word, "verify") == 0;
    }
    return verifies;
}

static enum cn_err read_jwk(struct cn_keys *keys, const json_t *jwk, const char **why)
{
    *why = "a key is not an object with kty";
    struct cn_str kty = cn_json_text(jwk, "kty"), kid = cn_json_text(jwk, "kid");
    if (!kty.ptr)
        return CN_INVALID;
    *why = "a kid must be a string of 1 to 128 bytes";
    if (json_object_get(jwk, "kid") && (kid.len == 0 || kid.len > CN_KID_MAX))
        return CN_INVALID;
    if (!is_for_signatures(jwk))
        return CN_OK; // left out
    if (cn_str_equal(kty, CN_STR_LITERAL("oct")))
        return read_secret(keys, jwk, kid, why);
    return read_public(keys, jwk, kid, why);
}

enum cn_err cn_keys_read_jwks(struct cn_keys *keys, struct cn_str text, const char **why)
{
    static const struct cn_json_bounds bounds = {.depth_max = 6, .nodes_max = 4096};
    json_t *root;
    *why = "not JSON, or with a member twice";
    enum cn_err err = cn_json_load(text, &bounds, &root);
    if (err != CN_OK)
        return err;
    const json_t *list = json_object_get(root, "keys");
    if (!json_is_array(list)) {
        *why = "not a JWK set: an object with an array `keys`";
        err = CN_INVALID;
    }
    for (size_t i = 0; err == CN_OK && i < json_array_size(list); i++)
        err = read_jwk(keys, json_array_get(list, i), why);
    json_decref(root);
    return err;
}
