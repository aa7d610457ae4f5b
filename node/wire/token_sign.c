// SPDX-License-Identifier: MIT
// Making tokens: new keys, JWK sets of them, and signatures.
#include "chatnode/token_sign.h"

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "token_private.h"
#include "wire_private.h"

enum {
    NEW_RSA_BITS = 3072,
    NEW_SECRET_BYTES = 32, // written in base64url, which is the secret
    SIGNATURE_MAX = CN_RSA_BITS_MAX / 8
};

struct cn_signer {
    enum cn_alg alg;
    EVP_PKEY *private;    // NULL: symmetric
    struct cn_buf secret; // of a symmetric one
};

void cn_signer_free(struct cn_signer *signer)
{
    if (!signer)
        return;
    EVP_PKEY_free(signer->private);
    if (signer->secret.len > 0)
        OPENSSL_cleanse(signer->secret.data, signer->secret.len);
    cn_buf_fini(&signer->secret);
    free(signer);
}

const char *cn_signer_alg(const struct cn_signer *signer)
{
    return cn_alg_word(signer->alg);
}

// ---- Reading and making keys ----

// Takes `private` in any case.
static enum cn_err make_private(EVP_PKEY *private, struct cn_signer **out, const char **why)
{
    struct cn_signer *signer = NULL;
    enum cn_alg alg;
    enum cn_err err = cn_alg_of_key(NULL, private, &alg, why);
    if (err == CN_OK) {
        signer = calloc(1, sizeof(*signer));
        err = signer ? CN_OK : CN_NOMEM;
    }
    if (err != CN_OK) {
        EVP_PKEY_free(private);
        return err == CN_NOTFOUND ? CN_INVALID : err;
    }
    signer->alg = alg;
    signer->private = private;
    *out = signer;
    return CN_OK;
}

static enum cn_err make_symmetric(struct cn_str secret, struct cn_signer **out, const char **why)
{
    enum cn_err err = cn_secret_check(CN_ALG_HS256, secret, why);
    if (err != CN_OK)
        return err;
    struct cn_signer *signer = calloc(1, sizeof(*signer));
    if (!signer)
        return CN_NOMEM;
    signer->alg = CN_ALG_HS256;
    cn_buf_init(&signer->secret, CN_SECRET_MAX);
    err = cn_buf_append_str(&signer->secret, secret);
    if (err != CN_OK) {
        cn_signer_free(signer);
        return err;
    }
    *out = signer;
    return CN_OK;
}

// A key with a passphrase is refused, rather than asked for at the terminal.
static int on_passphrase(char *buf, int size, int is_writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)is_writing;
    (void)arg;
    return -1;
}

enum cn_err cn_signer_read(struct cn_str pem, struct cn_str secret, struct cn_signer **out,
                           const char **why)
{
    *out = NULL;
    if (pem.len == 0)
        return make_symmetric(secret, out, why);
    *why = "not a private key in PEM, or one with a passphrase";
    if (pem.len > CN_KEYS_BYTES_MAX)
        return CN_INVALID;
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    if (!bio)
        return CN_NOMEM;
    EVP_PKEY *private = PEM_read_bio_PrivateKey(bio, NULL, on_passphrase, NULL);
    BIO_free(bio);
    return private ? make_private(private, out, why) : cn_openssl_err(CN_INVALID);
}

static enum cn_err make_random_secret(struct cn_signer **out, const char **why)
{
    unsigned char bytes[NEW_SECRET_BYTES];
    char text[CN_BASE64URL_CHARS(NEW_SECRET_BYTES)];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return cn_openssl_err(CN_SYSTEM);
    size_t len = cn_base64url_encode(bytes, sizeof(bytes), text);
    enum cn_err err = make_symmetric((struct cn_str){text, len}, out, why);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    OPENSSL_cleanse(text, sizeof(text));
    return err;
}

static EVP_PKEY *generate(struct cn_str kind)
{
    if (cn_str_equal(kind, CN_STR_LITERAL("ed25519")))
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (cn_str_equal(kind, CN_STR_LITERAL("es256")))
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)NEW_RSA_BITS);
}

enum cn_err cn_signer_make(struct cn_str kind, struct cn_signer **out)
{
    static const char *const kinds[] = {"ed25519", "es256", "rs256"};
    const char *why;
    *out = NULL;
    if (cn_str_equal(kind, CN_STR_LITERAL("hs256")))
        return make_random_secret(out, &why);
    bool is_known = false;
    for (size_t i = 0; i < CN_COUNT(kinds); i++)
        is_known |= cn_str_equal(kind, cn_str_of(kinds[i]));
    if (!is_known)
        return CN_INVALID;
    EVP_PKEY *private = generate(kind);
    return private ? make_private(private, out, &why) : cn_openssl_err(CN_SYSTEM);
}

// ---- Writing keys ----

enum cn_err cn_signer_write_private(const struct cn_signer *signer, struct cn_buf *out)
{
    if (!signer->private)
        return cn_buf_append_str(out, cn_buf_str(&signer->secret));
    enum cn_err err = CN_NOMEM;
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_secmem());
    if (bio &&
        PEM_write_bio_PKCS8PrivateKey(bio, signer->private, NULL, NULL, 0, NULL, NULL) == 1) {
        long len = BIO_get_mem_data(bio, &text);
        err = cn_buf_append(out, text, (size_t)len);
    }
    BIO_free(bio);
    return err == CN_NOMEM ? cn_openssl_err(CN_NOMEM) : err;
}

// Sets a member to base64url of the bytes.
static enum cn_err set_bytes(json_t *jwk, const char *member, const unsigned char *bytes,
                             size_t len)
{
    char *text = malloc(CN_BASE64URL_CHARS(len) + 1);
    if (!text)
        return CN_NOMEM;
    size_t chars = cn_base64url_encode(bytes, len, text);
    int failed = json_object_set_new(jwk, member, json_stringn(text, chars));
    free(text);
    return failed ? CN_NOMEM : CN_OK;
}

static enum cn_err set_number(json_t *jwk, const char *member, const EVP_PKEY *key,
                              const char *param)
{
    unsigned char bytes[CN_RSA_BITS_MAX / 8];
    BIGNUM *number = NULL;
    if (EVP_PKEY_get_bn_param(key, param, &number) != 1)
        return cn_openssl_err(CN_SYSTEM);
    int len = BN_bn2bin(number, bytes);
    BN_free(number);
    return set_bytes(jwk, member, bytes, (size_t)len);
}

static enum cn_err set_rsa(json_t *jwk, const EVP_PKEY *key)
{
    json_object_set_new(jwk, "kty", json_string("RSA"));
    enum cn_err err = set_number(jwk, "n", key, OSSL_PKEY_PARAM_RSA_N);
    return err ? err : set_number(jwk, "e", key, OSSL_PKEY_PARAM_RSA_E);
}

static enum cn_err set_p256(json_t *jwk, const EVP_PKEY *key)
{
    unsigned char point[1 + 2 * CN_ES256_HALF];
    size_t len;
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len) !=
            1 ||
        len != sizeof(point) || point[0] != 4)
        return cn_openssl_err(CN_SYSTEM);
    json_object_set_new(jwk, "kty", json_string("EC"));
    json_object_set_new(jwk, "crv", json_string("P-256"));
    enum cn_err err = set_bytes(jwk, "x", point + 1, CN_ES256_HALF);
    return err ? err : set_bytes(jwk, "y", point + 1 + CN_ES256_HALF, CN_ES256_HALF);
}

static enum cn_err set_ed25519(json_t *jwk, const EVP_PKEY *key)
{
    unsigned char bytes[32];
    size_t len = sizeof(bytes);
    if (EVP_PKEY_get_raw_public_key(key, bytes, &len) != 1)
        return cn_openssl_err(CN_SYSTEM);
    json_object_set_new(jwk, "kty", json_string("OKP"));
    json_object_set_new(jwk, "crv", json_string("Ed25519"));
    return set_bytes(jwk, "x", bytes, len);
}

static enum cn_err set_secret(json_t *jwk, const struct cn_signer *signer)
{
    json_object_set_new(jwk, "kty", json_string("oct"));
    return set_bytes(jwk, "k", (const unsigned char *)signer->secret.data, signer->secret.len);
}

static enum cn_err set_key(json_t *jwk, const struct cn_signer *signer)
{
    switch (signer->alg) {
    case CN_ALG_RS256:
        return set_rsa(jwk, signer->private);
    case CN_ALG_ES256:
        return set_p256(jwk, signer->private);
    case CN_ALG_EDDSA:
        return set_ed25519(jwk, signer->private);
    default:
        return set_secret(jwk, signer);
    }
}

// Appends the text of `root`, and frees it; NULL: there was no memory for it.
static enum cn_err append_json(struct cn_buf *out, json_t *root)
{
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    enum cn_err err = text ? cn_buf_append_str(out, cn_str_of(text)) : CN_NOMEM;
    free(text);
    return err;
}

enum cn_err cn_signer_write_jwks(const struct cn_signer *signer, struct cn_str kid,
                                 struct cn_buf *out)
{
    json_t *jwk = json_object();
    enum cn_err err = jwk ? set_key(jwk, signer) : CN_NOMEM;
    if (err != CN_OK) {
        json_decref(jwk);
        return err;
    }
    if (kid.len > 0)
        json_object_set_new(jwk, "kid", json_stringn(kid.ptr, kid.len));
    json_object_set_new(jwk, "alg", json_string(cn_signer_alg(signer)));
    json_object_set_new(jwk, "use", json_string("sig"));
    return append_json(out, json_pack("{s:[o]}", "keys", jwk));
}

// ---- Signing ----

static enum cn_err append_base64url(struct cn_buf *out, const void *bytes, size_t len)
{
    char *at = cn_buf_reserve(out, CN_BASE64URL_CHARS(len));
    if (!at)
        return CN_FULL;
    out->len += cn_base64url_encode(bytes, len, at);
    return CN_OK;
}

// From DER to r and s as they are (RFC 7518 section 3.4).
static bool flatten(unsigned char *signature, size_t *len)
{
    const unsigned char *at = signature;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)*len);
    bool is_right =
        pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, CN_ES256_HALF) > 0 &&
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + CN_ES256_HALF, CN_ES256_HALF) > 0;
    ECDSA_SIG_free(pair);
    *len = (size_t)2 * CN_ES256_HALF;
    return is_right;
}

static bool sign_private(const struct cn_signer *signer, struct cn_str text,
                         unsigned char signature[SIGNATURE_MAX], size_t *len)
{
    const EVP_MD *hash = signer->alg == CN_ALG_EDDSA ? NULL : cn_alg_hash(signer->alg);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    *len = SIGNATURE_MAX;
    bool is_right =
        ctx && EVP_DigestSignInit(ctx, NULL, hash, NULL, signer->private) == 1 &&
        EVP_DigestSign(ctx, signature, len, (const unsigned char *)text.ptr, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    return is_right && (signer->alg != CN_ALG_ES256 || flatten(signature, len));
}

static bool sign_symmetric(const struct cn_signer *signer, struct cn_str text,
                           unsigned char signature[SIGNATURE_MAX], size_t *len)
{
    unsigned mac_len = 0;
    bool is_right = HMAC(cn_alg_hash(signer->alg), signer->secret.data, (int)signer->secret.len,
                         (const unsigned char *)text.ptr, text.len, signature, &mac_len) != NULL;
    *len = mac_len;
    return is_right;
}

static enum cn_err append_header(const struct cn_signer *signer, struct cn_str kid,
                                 struct cn_buf *out)
{
    struct cn_buf text;
    cn_buf_init(&text, 1024);
    json_t *root = json_pack("{s:s,s:s}", "alg", cn_signer_alg(signer), "typ", "JWT");
    if (root && kid.len > 0)
        json_object_set_new(root, "kid", json_stringn(kid.ptr, kid.len));
    enum cn_err err = append_json(&text, root);
    if (err == CN_OK)
        err = append_base64url(out, text.data, text.len);
    cn_buf_fini(&text);
    return err;
}

enum cn_err cn_signer_sign(const struct cn_signer *signer, struct cn_str kid, struct cn_str claims,
                           struct cn_buf *out)
{
    unsigned char signature[SIGNATURE_MAX];
    size_t len = 0, begin = out->len;
    enum cn_err err = append_header(signer, kid, out);
    if (err == CN_OK)
        err = cn_buf_append(out, ".", 1);
    if (err == CN_OK)
        err = append_base64url(out, claims.ptr, claims.len);
    if (err != CN_OK)
        return err;
    struct cn_str text = {out->data + begin, out->len - begin};
    if (!(signer->private ? sign_private : sign_symmetric)(signer, text, signature, &len))
        return cn_openssl_err(CN_SYSTEM);
    err = cn_buf_append(out, ".", 1);
    return err ? err : append_base64url(out, signature, len);
}

// ---- Claims ----

static json_t *text_of(struct cn_str text)
{
    return json_stringn(text.ptr, text.len);
}

static json_t *rule_of(const struct cn_grant_rule *rule)
{
    json_t *rights = json_array();
    for (unsigned i = 0; i < CN_RIGHT_COUNT; i++) {
        if (rule->rights & 1u << i)
            json_array_append_new(rights, json_string(cn_right_word((enum cn_right)i)));
    }
    if (rule->from_ms == 0)
        return rights;
    return json_pack("{s:o,s:f}", "rights", rights, "from", (double)rule->from_ms / 1000);
}

static bool set_texts(json_t *root, const struct cn_grant *grant, struct cn_str issuer,
                      struct cn_str audience)
{
    const struct {
        const char *claim;
        struct cn_str text;
    } texts[] = {{"iss", issuer},
                 {"sub", grant->user},
                 {"aud", audience},
                 {"name", grant->name},
                 {"jti", grant->jti}};
    bool is_set = true;
    for (size_t i = 0; i < CN_COUNT(texts); i++) {
        if (texts[i].text.len > 0)
            is_set &= json_object_set_new(root, texts[i].claim, text_of(texts[i].text)) == 0;
    }
    return is_set;
}

static bool set_rest(json_t *root, const struct cn_grant *grant)
{
    json_t *rooms = json_object();
    bool is_set = true;
    for (size_t i = 0; i < grant->rule_count; i++) {
        char pattern[CN_GRANT_TEXT_MAX + 1];
        is_set &= cn_str_copy(grant->rules[i].pattern, pattern, sizeof(pattern)) == CN_OK &&
                  json_object_set_new(rooms, pattern, rule_of(&grant->rules[i])) == 0;
    }
    is_set &= json_object_set_new(root, "rooms", rooms) == 0;
    if (grant->issued_s != 0)
        is_set &= json_object_set_new(root, "iat", json_integer(grant->issued_s)) == 0;
    is_set &= json_object_set_new(root, "exp", json_integer(grant->expires_s)) == 0;
    is_set &= json_object_set_new(root, "direct", json_boolean(grant->direct)) == 0;
    return is_set && (!grant->admin || json_object_set_new(root, "admin", json_true()) == 0);
}

enum cn_err cn_grant_write(const struct cn_grant *grant, struct cn_str issuer,
                           struct cn_str audience, struct cn_buf *out)
{
    json_t *root = json_object();
    if (!root)
        return CN_NOMEM;
    if (!set_texts(root, grant, issuer, audience) || !set_rest(root, grant)) {
        json_decref(root);
        return CN_INVALID;
    }
    return append_json(out, root);
}

// ---- Reading for people ----

// Appends one part of a token, decoded.
static enum cn_err print_part(struct cn_str part, struct cn_buf *out)
{
    static const struct cn_json_bounds bounds = {.depth_max = 16, .nodes_max = 4096};
    unsigned char bytes[CN_BASE64URL_BYTES(CN_TOKEN_BYTES_MAX)];
    size_t len;
    json_t *root;
    if (!cn_base64url_decode(part, bytes, &len))
        return CN_INVALID;
    enum cn_err err = cn_json_load((struct cn_str){(char *)bytes, len}, &bounds, &root);
    if (err != CN_OK)
        return err;
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    json_decref(root);
    err = text ? cn_buf_printf(out, "%s\n", text) : CN_NOMEM;
    free(text);
    return err;
}

enum cn_err cn_token_print(struct cn_str token, struct cn_buf *out)
{
    struct cn_token_parts parts;
    if (!cn_token_split(token, &parts))
        return CN_INVALID;
    enum cn_err err = print_part(parts.header, out);
    return err ? err : print_part(parts.payload, out);
}

const char *cn_token_complaint(struct cn_str token, const struct cn_token_rules *rules)
{
    struct cn_token_parts parts;
    unsigned char bytes[CN_BASE64URL_BYTES(CN_TOKEN_BYTES_MAX)];
    size_t len;
    struct cn_grant *grant;
    const char *why = NULL;
    if (!cn_token_split(token, &parts) || !cn_base64url_decode(parts.payload, bytes, &len))
        return NULL;
    if (cn_grant_read((struct cn_str){(char *)bytes, len}, rules, &grant, &why) == CN_TOKEN_NONE)
        why = NULL;
    cn_grant_free(grant);
    return why;
}
