// SPDX-License-Identifier: MIT
// Fuzz target: tokens and keys. The first byte says what the rest is:
//
//   h  a line with a header and the claims, which are signed here, so that they are read
//   r  a whole token
//   k  keys: a JWK set, or PEM
//   g  claims as the connect hook answers them
//
// A token that is believed has a signature that only the key's owner can make, and a grant that
// keeps its bounds.
#include "fuzz/fuzz.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "chatnode/token.h"

#define SECRET "0123456789abcdef0123456789abcdef"

enum { NOW_S = 1700000000, SIGNATURE_BYTES = 32, SIGNATURE_CHARS = 43 };

static const struct cn_token_rules rules = {
    .audience = {"chat", 4}, .leeway_s = 60, .now_s = NOW_S};

// Appends RFC 4648's base64url without padding.
static void add_base64url(struct cn_buf *out, const unsigned char *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        unsigned group = (unsigned)bytes[i] << 16;
        group |= have > 1 ? (unsigned)bytes[i + 1] << 8 : 0;
        group |= have > 2 ? bytes[i + 2] : 0;
        for (size_t j = 0; j <= have; j++)
            CN_ASSERT(!cn_buf_append(out, &digits[group >> (18 - 6 * j) & 63], 1));
    }
}

static void add_signature(struct cn_buf *token)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    CN_ASSERT(HMAC(EVP_sha256(), SECRET, sizeof(SECRET) - 1, (unsigned char *)token->data,
                   token->len, mac, &len) &&
              len == SIGNATURE_BYTES);
    CN_ASSERT(!cn_buf_append(token, ".", 1));
    add_base64url(token, mac, len);
}

static void check_grant(const struct cn_grant *grant)
{
    int64_t from_ms;
    CN_ASSERT(cn_name_is_valid(grant->user));
    CN_ASSERT(grant->expires_s > NOW_S - rules.leeway_s);
    CN_ASSERT(grant->rule_count <= CN_GRANT_RULES_MAX);
    for (size_t i = 0; i < grant->rule_count; i++) {
        const struct cn_grant_rule *rule = &grant->rules[i];
        CN_ASSERT(rule->pattern.ptr && rule->rights < 1u << CN_RIGHT_COUNT && rule->from_ms >= 0);
    }
    for (int right = 0; right < CN_RIGHT_COUNT; right++)
        if (cn_grant_allows(grant, CN_STR_LITERAL("kitchen"), (enum cn_right)right, &from_ms))
            CN_ASSERT(grant->rule_count > 0 && from_ms >= 0);
}

static void verify(const struct cn_keys *keys, struct cn_str token)
{
    struct cn_grant *grant = NULL;
    enum cn_token_fault fault = cn_token_verify(keys, token, &rules, &grant);
    CN_ASSERT(fault < CN_TOKEN_FAULT_COUNT && cn_token_fault_word(fault)[0]);
    CN_ASSERT((fault == CN_TOKEN_NONE) == (grant != NULL));
    if (grant)
        check_grant(grant);
    cn_grant_free(grant);
}

static struct cn_keys *secret_keys(void)
{
    static struct cn_keys *keys;
    const char *why = NULL;
    if (!keys)
        CN_ASSERT(!cn_keys_parse(CN_STR_LITERAL(""), CN_STR_LITERAL(SECRET), &keys, &why));
    return keys;
}

static void try_claims(struct cn_str text)
{
    struct cn_str header = {"", 0};
    struct cn_buf token;
    cn_buf_init(&token, 1 << 22);
    (void)fuzz_cut(&text, '\n', &header);
    add_base64url(&token, (const unsigned char *)header.ptr, header.len);
    CN_ASSERT(!cn_buf_append(&token, ".", 1));
    add_base64url(&token, (const unsigned char *)text.ptr, text.len);
    add_signature(&token);
    verify(secret_keys(), cn_buf_str(&token));
    cn_buf_fini(&token);
}

// What was believed has our signature behind its last dot.
static void try_token(struct cn_str text)
{
    struct cn_grant *grant = NULL;
    if (cn_token_verify(secret_keys(), text, &rules, &grant) != CN_TOKEN_NONE)
        return;
    struct cn_buf again;
    cn_buf_init(&again, 1 << 22);
    CN_ASSERT(text.len > SIGNATURE_CHARS + 1);
    CN_ASSERT(!cn_buf_append(&again, text.ptr, text.len - SIGNATURE_CHARS - 1));
    add_signature(&again);
    CN_ASSERT(cn_str_equal(cn_buf_str(&again), text));
    cn_buf_fini(&again);
    check_grant(grant);
    cn_grant_free(grant);
}

static void try_keys(struct cn_str text)
{
    static const struct cn_str token = CN_STR_LITERAL(
        "eyJhbGciOiJFUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cn"
        "VlfQ."
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
    struct cn_keys *keys = NULL;
    const char *why = NULL;
    enum cn_err err = cn_keys_parse(text, CN_STR_LITERAL(""), &keys, &why);
    CN_ASSERT(err == CN_OK || err == CN_INVALID);
    CN_ASSERT(err == CN_OK || (why && why[0]));
    if (!err)
        verify(keys, token);
    cn_keys_free(keys);
}

static void try_answer(struct cn_str text)
{
    struct cn_grant *grant = NULL;
    const char *why = NULL;
    enum cn_token_fault fault = cn_grant_read(text, &rules, &grant, &why);
    CN_ASSERT((fault == CN_TOKEN_NONE) == (grant != NULL));
    CN_ASSERT(grant || (why && why[0]));
    if (grant)
        check_grant(grant);
    cn_grant_free(grant);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cn_str rest = {(const char *)data, size};
    uint8_t kind = fuzz_byte(&rest);
    char *exact = fuzz_copy(rest);
    struct cn_str text = {exact, rest.len};
    if (kind == 'h')
        try_claims(text);
    else if (kind == 'r')
        try_token(text);
    else if (kind == 'k')
        try_keys(text);
    else if (kind == 'g')
        try_answer(text);
    free(exact);
    return 0;
}
