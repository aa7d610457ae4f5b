// SPDX-License-Identifier: MIT
// Tokens: which are believed, why the others are not, and what they grant.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "chatnode/token.h"
#include "chatnode/token_sign.h"
#include "support/mint.h"
#include "wire_private.h"

#define HEADER "{\"alg\":\"HS256\"}"
#define NOW    1700000000
#define GOOD   "\"sub\":\"ann\",\"exp\":1700000100"

static const struct cn_token_rules plain = {.now_s = NOW};

// The fault of a token signed with the secret of the tests.
static enum cn_token_fault judge(struct cn_str token, const struct cn_token_rules *rules)
{
    struct cn_keys *keys = mint_keys(NULL, MINT_SECRET);
    struct cn_grant *grant;
    enum cn_token_fault fault = cn_token_verify(keys, token, rules, &grant);
    assert_int_equal(fault == CN_TOKEN_NONE, grant != NULL);
    cn_grant_free(grant);
    cn_keys_free(keys);
    return fault;
}

static enum cn_token_fault judge_claims(const char *claims)
{
    return judge(mint(HEADER, claims), &plain);
}

// The grant of claims that must be right.
static struct cn_grant *grant_of(const char *claims)
{
    struct cn_grant *grant;
    const char *why = NULL;
    if (cn_grant_read(cn_str_of(claims), &plain, &grant, &why) != CN_TOKEN_NONE)
        fail_msg("%s: %s", claims, why);
    return grant;
}

// The examples are no tokens of ours: their claims are found wrong, after their signatures. With
// one bit less they are not even looked at.
static void examples_of_the_rfcs(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(mint_rfc_tokens); i++) {
        struct cn_keys *keys = mint_keys(mint_rfc_keys[i], NULL);
        struct cn_grant *grant;
        struct cn_str token = cn_str_of(mint_rfc_tokens[i]);
        assert_int_equal(cn_token_verify(keys, token, &plain, &grant), CN_TOKEN_MALFORMED);
        char *bent = strdup(mint_rfc_tokens[i]);
        char *signature = strrchr(bent, '.') + 5;
        *signature = *signature == 'A' ? 'B' : 'A';
        assert_int_equal(cn_token_verify(keys, cn_str_of(bent), &plain, &grant),
                         CN_TOKEN_SIGNATURE);
        free(bent);
        cn_keys_free(keys);
    }
}

static void a_good_token_becomes_a_grant(void **state)
{
    (void)state;
    struct cn_keys *keys = mint_keys(NULL, MINT_SECRET);
    struct cn_grant *grant;
    struct cn_str token =
        mint("{\"alg\":\"HS256\",\"typ\":\"JWT\"}",
             "{" GOOD ",\"name\":\"Ann \xC3\x84\",\"jti\":\"t-1\",\"iat\":1699999999,"
             "\"direct\":true,\"admin\":true,\"rooms\":{\"lobby\":\"*\"}}");
    assert_int_equal(cn_token_verify(keys, token, &plain, &grant), CN_TOKEN_NONE);
    assert_true(cn_str_equal(grant->user, cn_str_of("ann")));
    assert_true(cn_str_equal(grant->name, cn_str_of("Ann \xC3\x84")));
    assert_true(cn_str_equal(grant->jti, cn_str_of("t-1")));
    assert_int_equal(grant->issued_s, 1699999999);
    assert_int_equal(grant->expires_s, 1700000100);
    assert_true(grant->direct);
    assert_true(grant->admin);
    assert_int_equal(grant->rule_count, 1);
    cn_grant_free(grant);
    cn_keys_free(keys);
}

static void what_is_not_given_is_not_granted(void **state)
{
    (void)state;
    struct cn_grant *grant = grant_of("{" GOOD "}");
    assert_null(grant->name.ptr);
    assert_null(grant->jti.ptr);
    assert_false(grant->direct);
    assert_false(grant->admin);
    for (int right = 0; right < CN_RIGHT_COUNT; right++)
        assert_false(cn_grant_allows(grant, cn_str_of("lobby"), (enum cn_right)right, NULL));
    cn_grant_free(grant);
    cn_grant_free(NULL);
}

static void headers_choose_among_our_keys_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        enum cn_token_fault fault;
    } cases[] = {
        {"{\"alg\":\"HS256\"}", CN_TOKEN_NONE},
        {"{\"alg\":\"HS256\",\"typ\":\"jwt\"}", CN_TOKEN_NONE},
        {"{\"alg\":\"HS256\",\"typ\":\"at+JWT\"}", CN_TOKEN_NONE},
        {"{\"alg\":\"HS256\",\"typ\":\"application/at+jwt\"}", CN_TOKEN_NONE},
        {"{\"alg\":\"HS256\",\"jku\":\"https://"
         "example.org\",\"jwk\":{\"kty\":\"oct\"},\"x5u\":\"u\"}",
         CN_TOKEN_NONE},
        {"{\"alg\":\"HS256\",\"kid\":\"other\"}", CN_TOKEN_NONE}, // our key has no id
        {"{\"alg\":\"HS256\",\"typ\":\"secevent+jwt\"}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"HS256\",\"typ\":1}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":1}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"HS256\",\"alg\":\"HS256\"}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"none\"}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"None\"}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"hs256\"}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"\"}", CN_TOKEN_MALFORMED},
        {"{\"alg\":[\"HS256\"]}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"PS256\"}", CN_TOKEN_MALFORMED},
        {"{}", CN_TOKEN_MALFORMED},
        {"[]", CN_TOKEN_MALFORMED},
        {"\"HS256\"", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"HS256\"}x", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"HS256\",\"a\":[[[[[[1]]]]]]}", CN_TOKEN_MALFORMED},
        {"{\"alg\":\"HS512\"}", CN_TOKEN_UNKNOWN_KEY},
        {"{\"alg\":\"RS256\"}", CN_TOKEN_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\"}", CN_TOKEN_UNKNOWN_KEY},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        enum cn_token_fault fault = judge(mint(cases[i].header, "{" GOOD "}"), &plain);
        if (fault != cases[i].fault)
            fail_msg("%s: %s", cases[i].header, cn_token_fault_word(fault));
    }
}

static void claims_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *claims;
        enum cn_token_fault fault;
    } cases[] = {
        {"{" GOOD "}", CN_TOKEN_NONE},
        {"{\"sub\":\"ann\",\"exp\":1700000000.5}", CN_TOKEN_EXPIRED},
        {"{\"sub\":\"ann\",\"exp\":1700000001.5}", CN_TOKEN_NONE},
        {"{\"sub\":\"ann\",\"exp\":1.7000001e9}", CN_TOKEN_NONE},
        {"{" GOOD ",\"other\":{\"a\":[1,{\"b\":null}]}}", CN_TOKEN_NONE},
        {"{" GOOD ",\"rooms\":{\"a*\":[],\"b\":[\"join\",\"send\",\"join\"]}}", CN_TOKEN_NONE},
        {"{" GOOD ",\"rooms\":{\"a\":{\"rights\":\"*\",\"from\":5}}}", CN_TOKEN_NONE},
        {"{\"sub\":\"ann\"}", CN_TOKEN_EXPIRED},
        {"{\"sub\":\"ann\",\"exp\":1700000000}", CN_TOKEN_EXPIRED},
        {"{\"sub\":\"ann\",\"exp\":0}", CN_TOKEN_EXPIRED},
        {"{" GOOD ",\"nbf\":1700000001}", CN_TOKEN_EARLY},
        {"{" GOOD ",\"iat\":1700000001}", CN_TOKEN_EARLY},
        {"{\"sub\":\"ann\",\"exp\":\"1700000100\"}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"ann\",\"exp\":null}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"ann\",\"exp\":true}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"ann\",\"exp\":-1}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"ann\",\"exp\":253402300800}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"ann\",\"exp\":9223372036854775807}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"ann\",\"exp\":9223372036854775808}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"ann\",\"exp\":1e300}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"ann\",\"exp\":1e999}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"ann\",\"exp\":NaN}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"nbf\":\"0\"}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"iat\":{}}", CN_TOKEN_MALFORMED},
        {"{\"exp\":1700000100}", CN_TOKEN_MALFORMED},
        {"{\"sub\":7,\"exp\":1700000100}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"\",\"exp\":1700000100}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"a b\",\"exp\":1700000100}", CN_TOKEN_MALFORMED},
        {"{\"sub\":\"ann*\",\"exp\":1700000100}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"sub\":\"eve\"}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"s\\u0075b\":\"eve\"}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"a\":\"\\u0000\"}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"name\":\"\"}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"name\":5}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"name\":\"a\\nb\"}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"name\":\"a\\u007f\"}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"name\":\"a\\u0085\"}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"name\":\"\\u00a0\"}", CN_TOKEN_NONE},
        {"{" GOOD ",\"jti\":5}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"direct\":1}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"admin\":\"true\"}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":[\"lobby\"]}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":\"*\"}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"\":\"*\"}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a b\":\"*\"}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a\":\"join\"}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a\":[\"Join\"]}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a\":[\"*\"]}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a\":[1]}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a\":true}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a\":{}}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a\":{\"from\":1}}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a\":{\"rights\":\"*\",\"form\":1}}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a\":{\"rights\":\"*\",\"from\":\"1\"}}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a\":{\"rights\":\"*\",\"from\":-1}}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"rooms\":{\"a\":\"*\",\"a\":[]}}", CN_TOKEN_MALFORMED},
        {"[]", CN_TOKEN_MALFORMED},
        {"", CN_TOKEN_MALFORMED},
        {"{" GOOD "", CN_TOKEN_MALFORMED},
        {"{" GOOD "}{}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"a\":[[[[[[[[1]]]]]]]]}", CN_TOKEN_MALFORMED},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        enum cn_token_fault fault = judge_claims(cases[i].claims);
        if (fault != cases[i].fault)
            fail_msg("%s: %s", cases[i].claims, cn_token_fault_word(fault));
    }
}

static void bounds_are_exact(void **state)
{
    (void)state;
    char claims[8192], text[256];
    for (int len = CN_GRANT_TEXT_MAX; len <= CN_GRANT_TEXT_MAX + 1; len++) {
        enum cn_token_fault fault = len > CN_GRANT_TEXT_MAX ? CN_TOKEN_MALFORMED : CN_TOKEN_NONE;
        snprintf(text, sizeof(text), "%0*d", len, 0);
        snprintf(claims, sizeof(claims), "{" GOOD ",\"name\":\"%s\"}", text);
        assert_int_equal(judge_claims(claims), fault);
        snprintf(claims, sizeof(claims), "{" GOOD ",\"jti\":\"%s\"}", text);
        assert_int_equal(judge_claims(claims), fault);
        snprintf(claims, sizeof(claims), "{" GOOD ",\"rooms\":{\"%s\":[]}}", text);
        assert_int_equal(judge_claims(claims), fault);
    }
    for (int count = CN_GRANT_RULES_MAX; count <= CN_GRANT_RULES_MAX + 1; count++) {
        size_t at = (size_t)snprintf(claims, sizeof(claims), "{" GOOD ",\"rooms\":{\"a\":[]");
        for (int i = 1; i < count; i++)
            at += (size_t)snprintf(claims + at, sizeof(claims) - at, ",\"b%d\":[]", i);
        snprintf(claims + at, sizeof(claims) - at, "}}");
        assert_int_equal(judge_claims(claims),
                         count > CN_GRANT_RULES_MAX ? CN_TOKEN_MALFORMED : CN_TOKEN_NONE);
    }
}

static void a_long_token_is_refused(void **state)
{
    (void)state;
    static char claims[8192];
    bool was_right = false;
    // The longest that is taken, and the next one.
    for (int pad = 5900; pad < 6200; pad++) {
        snprintf(claims, sizeof(claims), "{" GOOD ",\"a\":\"%0*d\"}", pad, 0);
        struct cn_str token = mint(HEADER, claims);
        enum cn_token_fault fault = judge(token, &plain);
        assert_int_equal(fault,
                         token.len > CN_TOKEN_BYTES_MAX ? CN_TOKEN_MALFORMED : CN_TOKEN_NONE);
        was_right |= fault == CN_TOKEN_NONE;
    }
    assert_true(was_right);
    assert_int_equal(judge((struct cn_str){NULL, 0}, &plain), CN_TOKEN_MALFORMED);
}

static void leeway_is_exact(void **state)
{
    (void)state;
    struct cn_token_rules rules = {.now_s = NOW, .leeway_s = 60};
    static const struct {
        const char *claim;
        int64_t from, to; // it is right while the time is in [from, to)
    } cases[] = {
        {"\"exp\":1700000000", 0, NOW + 60},
        {"\"exp\":1900000000,\"nbf\":1700000000", NOW - 60, INT64_MAX},
        {"\"exp\":1900000000,\"iat\":1700000000", NOW - 60, INT64_MAX},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        char claims[128];
        snprintf(claims, sizeof(claims), "{\"sub\":\"ann\",%s}", cases[i].claim);
        for (int64_t offset = -62; offset <= 62; offset++) {
            rules.now_s = NOW + offset;
            bool is_right = rules.now_s >= cases[i].from && rules.now_s < cases[i].to;
            assert_int_equal(judge(mint(HEADER, claims), &rules) == CN_TOKEN_NONE, is_right);
        }
    }
}

static void audience_and_issuer(void **state)
{
    (void)state;
    struct cn_token_rules rules = {
        .now_s = NOW, .audience = cn_str_of("chat"), .issuer = cn_str_of("https://id.example.org")};
#define ISS ",\"iss\":\"https://id.example.org\""
    static const struct {
        const char *claims;
        enum cn_token_fault fault;
    } cases[] = {
        {"{" GOOD ISS ",\"aud\":\"chat\"}", CN_TOKEN_NONE},
        {"{" GOOD ISS ",\"aud\":[\"mail\",\"chat\"]}", CN_TOKEN_NONE},
        {"{" GOOD ISS ",\"aud\":[]}", CN_TOKEN_AUDIENCE},
        {"{" GOOD ISS ",\"aud\":[\"mail\",\"cha\",\"chatt\"]}", CN_TOKEN_AUDIENCE},
        {"{" GOOD ISS ",\"aud\":\"Chat\"}", CN_TOKEN_AUDIENCE},
        {"{" GOOD ISS "}", CN_TOKEN_AUDIENCE},
        {"{" GOOD ISS ",\"aud\":{\"chat\":1}}", CN_TOKEN_MALFORMED},
        {"{" GOOD ISS ",\"aud\":[\"chat\",1]}", CN_TOKEN_MALFORMED},
        {"{" GOOD ",\"aud\":\"chat\"}", CN_TOKEN_ISSUER},
        {"{" GOOD ",\"aud\":\"chat\",\"iss\":\"https://id.example.org/\"}", CN_TOKEN_ISSUER},
        {"{" GOOD ",\"aud\":\"chat\",\"iss\":[\"https://id.example.org\"]}", CN_TOKEN_MALFORMED},
    };
#undef ISS
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        enum cn_token_fault fault = judge(mint(HEADER, cases[i].claims), &rules);
        if (fault != cases[i].fault)
            fail_msg("%s: %s", cases[i].claims, cn_token_fault_word(fault));
        assert_int_equal(judge_claims(cases[i].claims), CN_TOKEN_NONE);
    }
}

// Every byte is worth something: cut anywhere, or with any byte changed, it is refused.
static void garbled_tokens_are_refused(void **state)
{
    (void)state;
    struct cn_str good = mint(HEADER, "{" GOOD ",\"rooms\":{\"*\":\"*\"}}");
    char *text = strndup(good.ptr, good.len);
    size_t len = good.len;
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_not_equal(judge((struct cn_str){text, cut}, &plain), CN_TOKEN_NONE);
        assert_int_not_equal(judge((struct cn_str){text + cut + 1, len - cut - 1}, &plain),
                             CN_TOKEN_NONE);
    }
    struct cn_keys *keys = mint_keys(NULL, MINT_SECRET);
    for (size_t at = 0; at < len; at++) {
        char kept = text[at];
        for (int byte = 0; byte < 256; byte++) {
            struct cn_grant *grant;
            text[at] = (char)byte;
            bool is_right =
                cn_token_verify(keys, (struct cn_str){text, len}, &plain, &grant) == CN_TOKEN_NONE;
            assert_int_equal(is_right, text[at] == kept);
            cn_grant_free(grant);
        }
        text[at] = kept;
    }
    cn_keys_free(keys);
    free(text);
}

static void the_form_is_strict(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        ".b.c",
        "a..c",
        "e30.e30.",
        "e30.e30.e30.e30",
        "eyJhbGciOiJub25lIn0.e30.",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjE3MDAwMDAxMDB9.",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjE3MDAwMDAxMDB9.AA",
        "eyJlbmMiOiJBMTI4R0NNIiwiYWxnIjoiZGlyIn0..AA.AA.AA"};
    for (size_t i = 0; i < CN_COUNT(forms); i++)
        assert_int_equal(judge(cn_str_of(forms[i]), &plain), CN_TOKEN_MALFORMED);
    static const char *const tails[] = {"=", "==", ".", " ", "\n", "A", "AA", "AAA"};
    for (size_t i = 0; i < CN_COUNT(tails); i++) {
        struct cn_str token = mint(HEADER, "{" GOOD "}");
        char longer[512];
        snprintf(longer, sizeof(longer), "%.*s%s", (int)token.len, token.ptr, tails[i]);
        assert_int_not_equal(judge(cn_str_of(longer), &plain), CN_TOKEN_NONE);
    }
}

// The classic confusion: a public RSA key, in each of its spellings, is no secret.
static void a_public_key_is_no_secret(void **state)
{
    (void)state;
    struct cn_signer *signer;
    struct cn_buf jwks, pem;
    cn_buf_init(&jwks, 65536);
    cn_buf_init(&pem, 65536);
    assert_int_equal(cn_signer_make(cn_str_of("rs256"), &signer), CN_OK);
    assert_int_equal(cn_signer_write_jwks(signer, cn_str_of("k"), &jwks), CN_OK);
    struct cn_keys *keys;
    const char *why;
    assert_int_equal(cn_keys_parse(cn_buf_str(&jwks), (struct cn_str){NULL, 0}, &keys, &why),
                     CN_OK);
    static const char *const headers[] = {HEADER, "{\"alg\":\"HS256\",\"kid\":\"k\"}",
                                          "{\"alg\":\"RS256\",\"kid\":\"k\"}",
                                          "{\"alg\":\"none\",\"kid\":\"k\"}"};
    for (size_t i = 0; i < CN_COUNT(headers); i++) {
        struct cn_grant *grant;
        struct cn_str token = mint_with(headers[i], "{" GOOD "}", cn_buf_str(&jwks));
        assert_int_not_equal(cn_token_verify(keys, token, &plain, &grant), CN_TOKEN_NONE);
    }
    cn_keys_free(keys);
    cn_signer_free(signer);
    cn_buf_fini(&jwks);
    cn_buf_fini(&pem);
}

// Signs with each of two keys of the same kind, and looks what a set with the first says.
static void only_its_own_key_verifies(void **state)
{
    (void)state;
    static const char *const kinds[] = {"hs256", "rs256", "es256", "ed25519"};
    for (size_t i = 0; i < CN_COUNT(kinds); i++) {
        struct cn_signer *own, *other;
        struct cn_buf jwks, tokens[4];
        cn_buf_init(&jwks, 65536);
        assert_int_equal(cn_signer_make(cn_str_of(kinds[i]), &own), CN_OK);
        assert_int_equal(cn_signer_make(cn_str_of(kinds[i]), &other), CN_OK);
        assert_int_equal(cn_signer_write_jwks(own, cn_str_of("k1"), &jwks), CN_OK);
        struct cn_keys *keys;
        const char *why;
        assert_int_equal(cn_keys_parse(cn_buf_str(&jwks), (struct cn_str){NULL, 0}, &keys, &why),
                         CN_OK);
        static const enum cn_token_fault faults[] = {CN_TOKEN_NONE, CN_TOKEN_NONE,
                                                     CN_TOKEN_SIGNATURE, CN_TOKEN_UNKNOWN_KEY};
        for (size_t j = 0; j < CN_COUNT(tokens); j++) {
            cn_buf_init(&tokens[j], 65536);
            struct cn_str kid = cn_str_of(j == 0 ? "" : j == 3 ? "k2" : "k1");
            assert_int_equal(
                cn_signer_sign(j < 2 ? own : other, kid, cn_str_of("{" GOOD "}"), &tokens[j]),
                CN_OK);
            struct cn_grant *grant;
            assert_int_equal(cn_token_verify(keys, cn_buf_str(&tokens[j]), &plain, &grant),
                             faults[j]);
            cn_grant_free(grant);
            cn_buf_fini(&tokens[j]);
        }
        cn_keys_free(keys);
        cn_signer_free(own);
        cn_signer_free(other);
        cn_buf_fini(&jwks);
    }
}

static void answers_say_how_long_they_may_be_kept(void **state)
{
    (void)state;
    static const struct {
        const char *claims;
        int64_t cache_s;
    } cases[] = {
        {"{\"cache_s\":1}", 1},
        {"{\"cache_s\":3600}", 3600},
        {"{\"cache_s\":3601}", 3600},
        {"{\"cache_s\":0}", 0},
        {"{\"cache_s\":-1}", 0},
        {"{\"cache_s\":1.5}", 0},
        {"{\"cache_s\":\"60\"}", 0},
        {"{}", 0},
        {"[]", 0},
        {"{", 0},
        {"", 0},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++)
        assert_int_equal(cn_grant_cache_s(cn_str_of(cases[i].claims)), cases[i].cache_s);
}

// FIPS 180-4's example.
static void a_digest_is_sha256(void **state)
{
    (void)state;
    static const unsigned char expected[CN_TOKEN_DIGEST_BYTES] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    unsigned char digest[CN_TOKEN_DIGEST_BYTES];
    assert_true(cn_token_digest(cn_str_of("abc"), digest));
    assert_memory_equal(digest, expected, sizeof(expected));
}

// ---- Rights ----

static void patterns_match(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *room;
        bool does;
    } cases[] = {
        {"lobby", "lobby", true},
        {"lobby", "lobb", false},
        {"lobby", "lobbyy", false},
        {"*", "a", true},
        {"*", "", true},
        {"a*", "a", true},
        {"a*", "ba", false},
        {"*a", "ba", true},
        {"*a", "ab", false},
        {"a*c", "abc", true},
        {"a*c", "ac", true},
        {"a*c", "acb", false},
        {"team.*", "team.x.y", true},
        {"team.*", "teamx", false},
        {"*.*", "a.b", true},
        {"a*b*c", "aXbYbZc", true},
        {"a*b*c", "acb", false},
        {"**", "x", true},
        {"a**b", "ab", true},
        {"*ab*ab*", "abab", true},
        {"*ab*ab*", "aba", false},
        {"Lobby", "lobby", false},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        char claims[128];
        snprintf(claims, sizeof(claims), "{" GOOD ",\"rooms\":{\"%s\":[\"join\"]}}",
                 cases[i].pattern);
        struct cn_grant *grant = grant_of(claims);
        if (cn_grant_allows(grant, cn_str_of(cases[i].room), CN_RIGHT_JOIN, NULL) != cases[i].does)
            fail_msg("%s %s", cases[i].pattern, cases[i].room);
        assert_false(cn_grant_allows(grant, cn_str_of(cases[i].room), CN_RIGHT_SEND, NULL));
        cn_grant_free(grant);
    }
}

// What would take a backtracking matcher longer than the test may last.
static void patterns_do_not_blow_up(void **state)
{
    (void)state;
    char claims[512];
    char pattern[CN_GRANT_TEXT_MAX + 1] = "";
    for (size_t i = 0; i + 3 < sizeof(pattern); i += 2)
        memcpy(pattern + i, "*a", 3);
    snprintf(claims, sizeof(claims), "{" GOOD ",\"rooms\":{\"%sb\":\"*\"}}", pattern);
    struct cn_grant *grant = grant_of(claims);
    static const char room[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (int i = 0; i < 1000; i++)
        assert_false(cn_grant_allows(grant, cn_str_of(room), CN_RIGHT_JOIN, NULL));
    cn_grant_free(grant);
}

static void rules_add_up(void **state)
{
    (void)state;
    struct cn_grant *grant = grant_of(
        "{" GOOD ",\"rooms\":{\"*\":{\"rights\":[\"join\",\"history\"],\"from\":1600000000.25},"
        "\"team.*\":{\"rights\":[\"history\"],\"from\":1500000000},\"team.a\":[\"send\","
        "\"moderate\"],"
        "\"all\":\"*\"}}");
    int64_t from_ms = -1;
    struct cn_str room = cn_str_of("team.a");
    assert_true(cn_grant_allows(grant, room, CN_RIGHT_JOIN, &from_ms));
    assert_int_equal(from_ms, 1600000000 * INT64_C(1000));
    assert_true(cn_grant_allows(grant, room, CN_RIGHT_HISTORY, &from_ms));
    assert_int_equal(from_ms, 1500000000 * INT64_C(1000));
    assert_true(cn_grant_allows(grant, room, CN_RIGHT_SEND, &from_ms));
    assert_int_equal(from_ms, 0);
    assert_true(cn_grant_allows(grant, room, CN_RIGHT_MODERATE, NULL));
    assert_false(cn_grant_allows(grant, room, CN_RIGHT_PRESENCE, &from_ms));
    assert_false(cn_grant_allows(grant, cn_str_of("x"), CN_RIGHT_SEND, NULL));
    // * is all but to moderate.
    for (int right = 0; right < CN_RIGHT_COUNT; right++)
        assert_int_equal(cn_grant_allows(grant, cn_str_of("all"), (enum cn_right)right, NULL),
                         right != CN_RIGHT_MODERATE);
    cn_grant_free(grant);
}

// ---- Memory ----

// Verifies with each allocation failing once: the good token is at worst not judged, the bad one is
// never believed.
static void sweep(const struct cn_keys *keys, struct cn_str token, bool is_good)
{
    bool was_whole = false;
    for (int nth = 0; !was_whole; nth++) {
        struct cn_grant *grant;
        mint_memory_fail(nth);
        enum cn_token_fault fault = cn_token_verify(keys, token, &plain, &grant);
        was_whole = !mint_memory_has_failed();
        mint_memory_fail(-1);
        assert_int_equal(fault == CN_TOKEN_NONE, grant != NULL);
        assert_true(is_good || fault != CN_TOKEN_NONE);
        if (is_good)
            assert_true(fault == CN_TOKEN_NONE ? true : !was_whole);
        cn_grant_free(grant);
    }
}

static void want_of_memory_lets_nobody_in(void **state)
{
    (void)state;
    static const char *const kinds[] = {"hs256", "es256", "ed25519", "rs256"};
    for (size_t i = 0; i < CN_COUNT(kinds); i++) {
        struct cn_signer *signer;
        struct cn_buf jwks, token;
        struct cn_keys *keys;
        const char *why;
        cn_buf_init(&jwks, 65536);
        cn_buf_init(&token, 65536);
        assert_int_equal(cn_signer_make(cn_str_of(kinds[i]), &signer), CN_OK);
        assert_int_equal(cn_signer_write_jwks(signer, cn_str_of(""), &jwks), CN_OK);
        assert_int_equal(
            cn_signer_sign(signer, cn_str_of(""),
                           cn_str_of("{" GOOD ",\"rooms\":{\"*\":{\"rights\":\"*\",\"from\":1}}}"),
                           &token),
            CN_OK);
        assert_int_equal(cn_keys_parse(cn_buf_str(&jwks), cn_str_of(""), &keys, &why), CN_OK);
        sweep(keys, cn_buf_str(&token), true);
        char *signature = memrchr(token.data, '.', token.len);
        signature[3] = signature[3] == 'A' ? 'B' : 'A';
        sweep(keys, cn_buf_str(&token), false);
        cn_keys_free(keys);
        cn_signer_free(signer);
        cn_buf_fini(&jwks);
        cn_buf_fini(&token);
    }
}

static void words_are_those_of_the_tables(void **state)
{
    (void)state;
    assert_string_equal(cn_token_fault_word(CN_TOKEN_UNKNOWN_KEY), "unknown_key");
    assert_string_equal(cn_right_word(CN_RIGHT_MODERATE), "moderate");
}

int main(void)
{
    mint_memory_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_rfcs),
        cmocka_unit_test(a_good_token_becomes_a_grant),
        cmocka_unit_test(what_is_not_given_is_not_granted),
        cmocka_unit_test(headers_choose_among_our_keys_and_nothing_else),
        cmocka_unit_test(claims_are_checked),
        cmocka_unit_test(bounds_are_exact),
        cmocka_unit_test(a_long_token_is_refused),
        cmocka_unit_test(leeway_is_exact),
        cmocka_unit_test(audience_and_issuer),
        cmocka_unit_test(garbled_tokens_are_refused),
        cmocka_unit_test(the_form_is_strict),
        cmocka_unit_test(a_public_key_is_no_secret),
        cmocka_unit_test(only_its_own_key_verifies),
        cmocka_unit_test(answers_say_how_long_they_may_be_kept),
        cmocka_unit_test(a_digest_is_sha256),
        cmocka_unit_test(patterns_match),
        cmocka_unit_test(patterns_do_not_blow_up),
        cmocka_unit_test(rules_add_up),
        cmocka_unit_test(want_of_memory_lets_nobody_in),
        cmocka_unit_test(words_are_those_of_the_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
