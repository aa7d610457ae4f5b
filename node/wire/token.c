// SPDX-License-Identifier: MIT
// Tokens: a compact JWS (RFC 7515), believed after its signature and not before.
#include "chatnode/token.h"

#include <jansson.h>

#include "token_private.h"
#include "wire_private.h"

static const char *const fault_words[] = {
#define X(symbol, word) [CN_TOKEN_##symbol] = word,
    CN_TOKEN_FAULT_TABLE(X)
#undef X
};

const char *cn_token_fault_word(enum cn_token_fault fault)
{
    return fault_words[fault];
}

bool cn_token_split(struct cn_str token, struct cn_token_parts *out)
{
    if (token.len == 0 || token.len > CN_TOKEN_BYTES_MAX)
        return false;
    const char *end = token.ptr + token.len;
    const char *first = memchr(token.ptr, '.', token.len);
    const char *second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (!second || memchr(second + 1, '.', (size_t)(end - second - 1)))
        return false;
    out->header = (struct cn_str){token.ptr, (size_t)(first - token.ptr)};
    out->payload = (struct cn_str){first + 1, (size_t)(second - first - 1)};
    out->signature = (struct cn_str){second + 1, (size_t)(end - second - 1)};
    out->text = (struct cn_str){token.ptr, (size_t)(second - token.ptr)};
    return out->header.len > 0 && out->payload.len > 0 && out->signature.len > 0;
}

// ---- The header ----

struct header {
    enum cn_alg alg;
    bool has_kid;
    size_t kid_len; // longer than the bound: of no key
    char kid[CN_KID_MAX];
};

// Absent, JWT (RFC 7519 section 5.1) or at+jwt (RFC 9068 section 2.1), in any case of letters.
static bool is_right_type(const json_t *root)
{
    const char *typ = json_string_value(json_object_get(root, "typ"));
    return !json_object_get(root, "typ") ||
           (typ && (strcasecmp(typ, "JWT") == 0 || strcasecmp(typ, "at+jwt") == 0 ||
                    strcasecmp(typ, "application/at+jwt") == 0));
}

// jku, jwk, x5u and x5c are not looked at: keys come from us. What crit lists must be understood,
// and nothing that it may list is (RFC 7515 section 4.1.11).
static bool read_members(const json_t *root, struct header *out)
{
    if (json_object_get(root, "crit") || !is_right_type(root))
        return false;
    out->alg = cn_alg_find(cn_json_text(root, "alg"));
    out->has_kid = json_object_get(root, "kid") != NULL;
    struct cn_str kid = cn_json_text(root, "kid");
    out->kid_len = kid.len;
    if (kid.len > 0 && kid.len <= sizeof(out->kid))
        memcpy(out->kid, kid.ptr, kid.len);
    return out->alg != CN_ALG_COUNT && (!out->has_kid || kid.ptr);
}

static enum cn_token_fault read_header(struct cn_str part, struct header *out)
{
    static const struct cn_json_bounds bounds = {.depth_max = 6, .nodes_max = 64};
    unsigned char bytes[CN_BASE64URL_BYTES(CN_TOKEN_BYTES_MAX)];
    size_t len;
    if (!cn_base64url_decode(part, bytes, &len))
        return CN_TOKEN_MALFORMED;
    json_t *root;
    enum cn_err err = cn_json_load((struct cn_str){(char *)bytes, len}, &bounds, &root);
    if (err != CN_OK)
        return err == CN_NOMEM ? CN_TOKEN_MEMORY : CN_TOKEN_MALFORMED;
    bool is_right = json_is_object(root) && read_members(root, out);
    json_decref(root);
    return is_right ? CN_TOKEN_NONE : CN_TOKEN_MALFORMED;
}

// ---- The signature ----

static bool has_kid(const struct cn_key *key, const struct header *header)
{
    return key->kid_len > 0 && header->kid_len <= CN_KID_MAX &&
           cn_str_equal(cn_key_kid(key), (struct cn_str){header->kid, header->kid_len});
}

// Whether some key of the token's algorithm has its kid.
static bool is_known(const struct cn_keys *keys, const struct header *header)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->list[i].alg == header->alg && has_kid(&keys->list[i], header))
            return true;
    }
    return false;
}

// Tries the keys that may have signed it.
static enum cn_token_fault check_signature(const struct cn_keys *keys, const struct header *header,
                                           const struct cn_token_parts *parts)
{
    unsigned char bytes[CN_BASE64URL_BYTES(CN_TOKEN_BYTES_MAX)];
    size_t len, tried = 0;
    if (!cn_base64url_decode(parts->signature, bytes, &len))
        return CN_TOKEN_MALFORMED;
    struct cn_str signature = {(char *)bytes, len};
    bool is_kid_known = is_known(keys, header), is_memory = false;
    for (size_t i = 0; i < keys->count && tried < CN_KEYS_TRIED_MAX; i++) {
        const struct cn_key *key = &keys->list[i];
        if (key->alg != header->alg || (is_kid_known && !has_kid(key, header)) ||
            (!is_kid_known && header->has_kid && key->kid_len > 0))
            continue;
        tried++;
        if (cn_key_verifies(key, parts->text, signature, &is_memory))
            return CN_TOKEN_NONE;
    }
    if (is_memory)
        return CN_TOKEN_MEMORY;
    return tried > 0 && (is_kid_known || !header->has_kid) ? CN_TOKEN_SIGNATURE
                                                           : CN_TOKEN_UNKNOWN_KEY;
}

static enum cn_token_fault read_claims(struct cn_str part, const struct cn_token_rules *rules,
                                       struct cn_grant **out)
{
    unsigned char bytes[CN_BASE64URL_BYTES(CN_TOKEN_BYTES_MAX)];
    size_t len;
    const char *why;
    if (!cn_base64url_decode(part, bytes, &len))
        return CN_TOKEN_MALFORMED;
    return cn_grant_read((struct cn_str){(char *)bytes, len}, rules, out, &why);
}

enum cn_token_fault cn_token_verify(const struct cn_keys *keys, struct cn_str token,
                                    const struct cn_token_rules *rules, struct cn_grant **out)
{
    struct cn_token_parts parts;
    struct header header;
    *out = NULL;
    if (!cn_token_split(token, &parts))
        return CN_TOKEN_MALFORMED;
    enum cn_token_fault fault = read_header(parts.header, &header);
    if (fault == CN_TOKEN_NONE)
        fault = check_signature(keys, &header, &parts);
    if (fault == CN_TOKEN_NONE)
        fault = read_claims(parts.payload, rules, out);
    return fault;
}

bool cn_token_digest(struct cn_str token, unsigned char digest[CN_TOKEN_DIGEST_BYTES])
{
    return EVP_Digest(token.ptr, token.len, digest, NULL, EVP_sha256(), NULL) == 1;
}
