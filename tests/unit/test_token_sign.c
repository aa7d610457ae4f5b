// SPDX-License-Identifier: MIT
// Making tokens: what is signed is believed, keys go to text and back, claims say what was granted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "chatnode/token_sign.h"
#include "support/mint.h"

static const char encrypted_pem[] =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgdrt3u8xnloAICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEECPsjTbPOpq7FEr3R7gJH1MEgZB6\n"
    "ewkaGeILIg48mEJFa0Mrf67e7j1Bwh00x302jJKoP7KdBwNlPZdOVKSmrO0gbgSb\n"
    "heyiJqDGoxP36opGFPdPQrbKXLm01NbycvssIWm1D5QPxoxEBiQ88cuPLmP5bYXL\n"
    "dhMDmt50Y1kH13SsgErctGphTf1yiJWvUqmq+GMf/jSEugnh9kPY17e1IXzunH0=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";
static const char public_pem[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+L+ue0mtI9/S/mjOnqRckJGOaPWB\n"
    "rZj3jJx0Azv4wiwhKLQ1WFKWLRP8Wdh4mxgpIZPf1JYLMoDU5tZSZCFB0g==\n"
    "-----END PUBLIC KEY-----\n";

static const struct cn_str none = {NULL, 0};
static const struct cn_token_rules rules = {.now_s = 1700000000};

static const struct {
    const char *kind, *alg;
} kinds[] = {{"hs256", "HS256"}, {"rs256", "RS256"}, {"es256", "ES256"}, {"ed25519", "EdDSA"}};

// Signs with the signer, and looks whether the set in `jwks` believes it.
static bool is_believed(const struct cn_signer *signer, struct cn_str jwks)
{
    struct cn_buf token;
    struct cn_keys *keys;
    struct cn_grant *grant;
    const char *why;
    cn_buf_init(&token, 65536);
    assert_int_equal(cn_signer_sign(signer, cn_str_of("k"),
                                    cn_str_of("{\"sub\":\"ann\",\"exp\":1700000100}"), &token),
                     CN_OK);
    assert_int_equal(cn_keys_parse(jwks, none, &keys, &why), CN_OK);
    enum cn_token_fault fault = cn_token_verify(keys, cn_buf_str(&token), &rules, &grant);
    cn_grant_free(grant);
    cn_keys_free(keys);
    cn_buf_fini(&token);
    return fault == CN_TOKEN_NONE;
}

static void keys_go_to_text_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(kinds); i++) {
        struct cn_signer *made, *read;
        struct cn_buf private, jwks;
        const char *why;
        cn_buf_init(&private, 65536);
        cn_buf_init(&jwks, 65536);
        assert_int_equal(cn_signer_make(cn_str_of(kinds[i].kind), &made), CN_OK);
        assert_string_equal(cn_signer_alg(made), kinds[i].alg);
        assert_int_equal(cn_signer_write_private(made, &private), CN_OK);
        assert_int_equal(cn_signer_write_jwks(made, cn_str_of("k"), &jwks), CN_OK);
        bool is_secret = i == 0;
        assert_int_equal(cn_signer_read(is_secret ? none : cn_buf_str(&private),
                                        is_secret ? cn_buf_str(&private) : none, &read, &why),
                         CN_OK);
        assert_string_equal(cn_signer_alg(read), kinds[i].alg);
        assert_true(is_believed(made, cn_buf_str(&jwks)));
        assert_true(is_believed(read, cn_buf_str(&jwks)));
        cn_signer_free(made);
        cn_signer_free(read);
        cn_buf_fini(&private);
        cn_buf_fini(&jwks);
    }
    cn_signer_free(NULL);
}

static void what_is_no_private_key_is_refused(void **state)
{
    (void)state;
    struct cn_signer *signer;
    const char *why;
    static const char *const texts[] = {encrypted_pem, public_pem, "x"};
    for (size_t i = 0; i < CN_COUNT(texts); i++) {
        assert_int_equal(cn_signer_read(cn_str_of(texts[i]), none, &signer, &why), CN_INVALID);
        assert_null(signer);
        assert_non_null(why);
    }
    assert_int_equal(cn_signer_read(none, cn_str_of("short"), &signer, &why), CN_INVALID);
    assert_int_equal(cn_signer_read(none, none, &signer, &why), CN_INVALID);
    assert_int_equal(cn_signer_make(cn_str_of("rsa"), &signer), CN_INVALID);
    assert_null(signer);
}

static void claims_say_what_was_granted(void **state)
{
    (void)state;
    struct cn_grant *made = calloc(1, sizeof(*made) + 2 * sizeof(made->rules[0]));
    made->user = cn_str_of("ann");
    made->name = cn_str_of("Ann \xE2\x82\xAC");
    made->jti = cn_str_of("t1");
    made->issued_s = 1699999999;
    made->expires_s = 1700000100;
    made->direct = made->admin = true;
    made->rule_count = 2;
    made->rules[0] = (struct cn_grant_rule){cn_str_of("team.*"), 7, 0};
    made->rules[1] = (struct cn_grant_rule){cn_str_of("x"), 1u << CN_RIGHT_MODERATE, 1600000000000};
    struct cn_buf text;
    cn_buf_init(&text, 4096);
    assert_int_equal(cn_grant_write(made, cn_str_of("us"), cn_str_of("chat"), &text), CN_OK);
    struct cn_token_rules strict = rules;
    strict.issuer = cn_str_of("us");
    strict.audience = cn_str_of("chat");
    struct cn_grant *read;
    const char *why;
    assert_int_equal(cn_grant_read(cn_buf_str(&text), &strict, &read, &why), CN_TOKEN_NONE);
    assert_true(cn_str_equal(read->user, made->user) && cn_str_equal(read->name, made->name) &&
                cn_str_equal(read->jti, made->jti));
    assert_int_equal(read->issued_s, made->issued_s);
    assert_int_equal(read->expires_s, made->expires_s);
    assert_true(read->direct && read->admin);
    assert_int_equal(read->rule_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(cn_str_equal(read->rules[i].pattern, made->rules[i].pattern));
        assert_int_equal(read->rules[i].rights, made->rules[i].rights);
        assert_int_equal(read->rules[i].from_ms, made->rules[i].from_ms);
    }
    cn_grant_free(read);
    made->name = cn_str_of("\xFF");
    assert_int_equal(cn_grant_write(made, none, none, &text), CN_INVALID);
    free(made);
    cn_buf_fini(&text);
}

// Each allocation fails once while a key is made, written and signed with.
static enum cn_err use(const char *kind, struct cn_buf *out)
{
    struct cn_signer *signer;
    enum cn_err err = cn_signer_make(cn_str_of(kind), &signer);
    if (err != CN_OK)
        return err;
    err = cn_signer_write_jwks(signer, cn_str_of("k"), out);
    if (err == CN_OK)
        err = cn_signer_write_private(signer, out);
    if (err == CN_OK)
        err = cn_signer_sign(signer, cn_str_of("k"), cn_str_of("{}"), out);
    cn_signer_free(signer);
    return err;
}

static void want_of_memory_is_said(void **state)
{
    (void)state;
    static const char *const quick[] = {"hs256", "es256", "ed25519"};
    for (size_t i = 0; i < CN_COUNT(quick); i++) {
        bool was_whole = false;
        for (int nth = 0; !was_whole; nth++) {
            struct cn_buf out;
            cn_buf_init(&out, 65536);
            mint_memory_fail(nth);
            enum cn_err err = use(quick[i], &out);
            was_whole = !mint_memory_has_failed();
            mint_memory_fail(-1);
            assert_true(err == CN_OK || !was_whole);
            cn_buf_fini(&out);
        }
    }
}

int main(void)
{
    mint_memory_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_go_to_text_and_back),
        cmocka_unit_test(what_is_no_private_key_is_refused),
        cmocka_unit_test(claims_say_what_was_granted),
        cmocka_unit_test(want_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
