// SPDX-License-Identifier: MIT
// Keys for tokens: which are taken, which left out, which refused with what words; and which of
// them a token is tried with.
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

static const char ed25519_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                  "MCowBQYDK2VwAyEAFEqpSz43FqjJ7GirRLGnfp9jdUIQT23Gb3aEA/guZ7Q=\n"
                                  "-----END PUBLIC KEY-----\n";
static const char p256_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+L+ue0mtI9/S/mjOnqRckJGOaPWB\n"
                               "rZj3jJx0Azv4wiwhKLQ1WFKWLRP8Wdh4mxgpIZPf1JYLMoDU5tZSZCFB0g==\n"
                               "-----END PUBLIC KEY-----\n";
static const char rsa2048_pem[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA63XqfJkmZhT8QRsDyfBx\n"
    "Gd8ZVXbZ6EzH/nXB6m2n5kHkmfq2S560UEdsjX9LghW3ZeTeNMfZTQWxZ+wfFylJ\n"
    "dzvqUUeoI8WsBrNajRRmjjA3hJRcYwithWF+RUL8q+SLV4VJTdb066FbZqFUmoGv\n"
    "R98mHR2unqzmx+dLgGyil5M/JFtEmvuy3Tlfksf3+b8ZIca+p1UbvBvbGUxuiJRx\n"
    "rmMlhXNj1Uhbno+eYMj4I+Mf8qtoMiUCGHZDM0O63lSjxHl8OyJkWyWRxEeRnaaw\n"
    "A32oedMzAIoxA5ke28i8LfV1akUlIyu0rE3JgXhDkN7kuXuz7jsPxHFxpa5VgVw+\n"
    "dQIDAQAB\n"
    "-----END PUBLIC KEY-----\n";
static const char p384_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEmAwX6TO78FAYz1esWoX/gbtdQ3T3+Sde\n"
                               "PhMyN/177kn2jrT9ZryYbMd14OQWzUsBeXYX27PgQzGwVU2K/nLX/4mqPk+hB0Zy\n"
                               "5y4RddxB01n0WCZfQzx1/63bKzgF2d49\n"
                               "-----END PUBLIC KEY-----\n";
static const char rsa1024_pem[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDQYTaJB4JcFjQXaIgTkkoBGDoB\n"
    "x1ODFWCRrVU4zV0bq4hXjUaXnsS+EGoji65qboE8FOdykOkTL86h8RvJc7HsLsAA\n"
    "dqdMIp0Rkjv0YoYxU70ZNbnipgE/4Y8X40NR3tLqI1wYrW+7NrsvuEBf+zvGy1eN\n"
    "TC1HPI1rfcSjtuNIIwIDAQAB\n"
    "-----END PUBLIC KEY-----\n";
static const char p256_private_pem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgikPcweFPvjwmfx8h\n"
    "9VUmo/iMt6rAHG3dLvCHA9bH4nahRANCAAT4v657Sa0j39L+aM6epFyQkY5o9YGt\n"
    "mPeMnHQDO/jCLCEotDVYUpYtE/xZ2HibGCkhk9/UlgsygNTm1lJkIUHS\n"
    "-----END PRIVATE KEY-----\n";

#define K32    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" // 32 bytes
#define K48    K32 "MDEyMzQ1Njc4OWFiY2RlZg"
#define K64    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg"
#define P256_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define P256_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define ED_X   "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define GOOD   "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\"}"

static const struct cn_str none = {NULL, 0};

static size_t count_of(const char *text)
{
    struct cn_keys *keys = mint_keys(text, NULL);
    size_t count = cn_keys_count(keys);
    cn_keys_free(keys);
    return count;
}

// What is said of keys that must be refused.
static const char *complaint(const char *text, const char *secret)
{
    struct cn_keys *keys;
    const char *why = NULL;
    if (cn_keys_parse(cn_str_of(text), cn_str_of(secret), &keys, &why) != CN_INVALID)
        fail_msg("taken: %s", text);
    assert_null(keys);
    assert_non_null(why);
    return why;
}

static void pem_keys_are_taken_one_after_the_other(void **state)
{
    (void)state;
    char text[4096];
    assert_int_equal(count_of(ed25519_pem), 1);
    assert_int_equal(count_of(p256_pem), 1);
    assert_int_equal(count_of(rsa2048_pem), 1);
    snprintf(text, sizeof(text), "the old one:\n%s\n\nthe new one:\r\n%s%s", ed25519_pem, p256_pem,
             rsa2048_pem);
    assert_int_equal(count_of(text), 3);
}

static void bad_pem_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        rsa1024_pem,
        p384_pem,
        p256_private_pem,
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAFEqp\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC "
        "KEY-----\nMCowBQYDK2VwAyEAFEqpSz43FqjJ7GirRLGnfp9jdUIQT23Gb3aEA/guZ7Q=\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "not a key",
        " ",
        "[]",
    };
    for (size_t i = 0; i < CN_COUNT(texts); i++)
        complaint(texts[i], NULL);
    char text[4096];
    snprintf(text, sizeof(text), "%s%s", ed25519_pem, p256_private_pem);
    assert_non_null(strstr(complaint(text, NULL), "private"));
    assert_non_null(strstr(complaint(rsa1024_pem, NULL), "2048"));
}

static void sets_are_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(mint_rfc_keys); i++)
        assert_int_equal(count_of(mint_rfc_keys[i]), 1);
    static const struct {
        const char *jwk;
        bool is_taken;
    } cases[] = {
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"sig\",\"alg\":\"EdDSA\",\"x\":\"" ED_X "\"",
         true},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"key_ops\":[\"sign\",\"verify\"],\"x\":\"" ED_X "\"",
         true},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x5c\":[\"AA\"],\"x\":\"" ED_X "\"",
         true},
        {"\"kty\":\"oct\",\"alg\":\"HS384\",\"k\":\"" K64 "\"", true},
        {"\"kty\":\"oct\",\"alg\":\"HS512\",\"k\":\"" K64 "\"", true},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"enc\",\"x\":\"" ED_X "\"", false},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":1,\"x\":\"" ED_X "\"", false},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"key_ops\":[],\"x\":\"" ED_X "\"", false},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"key_ops\":\"verify\",\"x\":\"" ED_X "\"", false},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"key_ops\":[\"sign\",1],\"x\":\"" ED_X "\"", false},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"ES256\",\"x\":\"" ED_X "\"", false},
        {"\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" ED_X "\"", false},
        {"\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AA\",\"y\":\"AA\"", false},
        {"\"kty\":\"RSA\",\"alg\":\"RSA-OAEP\",\"n\":\"AA\",\"e\":\"AQAB\"", false},
        {"\"kty\":\"RSA\",\"alg\":\"PS256\",\"n\":\"AA\",\"e\":\"AQAB\"", false},
        {"\"kty\":\"new\"", false},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "\n {\"keys\":[{%s}," GOOD "]}", cases[i].jwk);
        if (count_of(text) != 1u + cases[i].is_taken)
            fail_msg("%s", cases[i].jwk);
    }
}

static void bad_sets_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part; // of the complaint
    } cases[] = {
        {"{", "JSON"},
        {"{\"keys\":[]}", "no key"},
        {"{\"keys\":[{\"kty\":\"new\"}]}", "no key"},
        {"{\"keys\":{}}", "JWK set"},
        {"{\"keys\":[],\"keys\":[]}", "twice"},
        {"{\"keys\":[[[[[[[1]]]]]]]}", "JSON"},
        {GOOD, "JWK set"},
        {"{\"keys\":[1]}", "kty"},
        {"{\"keys\":[{}]}", "kty"},
        {"{\"keys\":[{\"kty\":1}]}", "kty"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"kid\":\"\"}]}", "kid"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"kid\":5}]}", "kid"},
        {"{\"keys\":[{\"kty\":\"oct\",\"k\":\"" K32 "\"}]}", "alg"},
        {"{\"keys\":[{\"kty\":\"oct\",\"alg\":\"RS256\",\"k\":\"" K32 "\"}]}", "alg"},
        {"{\"keys\":[{\"kty\":\"oct\",\"alg\":\"none\",\"k\":\"" K32 "\"}]}", "alg"},
        {"{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\"}]}", "base64url"},
        {"{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"" K32 "=\"}]}", "base64url"},
        {"{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"c2hvcnQ\"}]}", "short"},
        {"{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS384\",\"k\":\"" K32 "\"}]}", "short"},
        {"{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS512\",\"k\":\"" K32 "\"}]}", "short"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"d\":\"" ED_X "\"}]}",
         "private"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}", "32 bytes"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}]}", "32 bytes"},
        // A point off the curve, a coordinate too short, none at all, infinity.
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\",\"y\":\"" P256_X
         "\"}]}",
         "point"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"" P256_Y "\"}]}",
         "point"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\"}]}", "point"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
         "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
         "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
         "point"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", "2048"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\"}]}", "RSA"},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        const char *why = complaint(cases[i].text, NULL);
        if (!strstr(why, cases[i].part))
            fail_msg("%s: %s", cases[i].text, why);
    }
}

// Such a key makes one signature right for every text: that of the point 1 is 1 and 0.
static void points_of_small_order_are_no_keys(void **state)
{
    (void)state;
    static const char *const points[] = {
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
        "7P_______________________________________38",
        "7f_______________________________________38",
        "7v_______________________________________38",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
    };
    for (size_t i = 0; i < CN_COUNT(points); i++) {
        char text[256];
        snprintf(text, sizeof(text),
                 "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"}]}", points[i]);
        const char *why = complaint(text, NULL);
        if (!strstr(why, "small order"))
            fail_msg("%s: %s", points[i], why);
    }
}

// To look at a key takes time by the cube of its length: a set may not stop a node for seconds.
static void long_rsa_keys_are_few(void **state)
{
    (void)state;
    enum { DIGITS = 1366 }; // of 2^8191 + 3
    static char text[3 * DIGITS + 256];
    char digits[DIGITS + 1];
    memset(digits, 'A', DIGITS);
    digits[0] = 'g';
    digits[DIGITS - 1] = 'w';
    digits[DIGITS] = '\0';
    snprintf(text, sizeof(text),
             "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"%s\"},"
             "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"%s\"}]}",
             digits, digits);
    assert_int_equal(count_of(text), 2);
    size_t len = strlen(text) - 2;
    snprintf(text + len, sizeof(text) - len, ",{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"%s\"}]}",
             digits);
    const char *why = complaint(text, NULL);
    if (!strstr(why, "together"))
        fail_msg("%s", why);
}

// An exponent of 1 would make anybody's bytes a signature.
static void rsa_exponents_are_checked(void **state)
{
    (void)state;
    static const char *const exponents[] = {"AQ", "Aw", "AQAA", "AAAA", "AQAAAAAAAAAB"};
    const char *good = mint_rfc_keys[1];
    const char *at = strstr(good, "AQAB\"}");
    for (size_t i = 0; i < CN_COUNT(exponents); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "%.*s%s\"}]}", (int)(at - good), good, exponents[i]);
        complaint(text, NULL);
    }
}

static void secrets_have_32_bytes(void **state)
{
    (void)state;
    assert_non_null(strstr(complaint(NULL, "0123456789abcdef0123456789abcde"), "short"));
    struct cn_keys *keys = mint_keys(NULL, MINT_SECRET);
    assert_int_equal(cn_keys_count(keys), 1);
    cn_keys_free(keys);
    char longest[1026];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[1025] = '\0';
    assert_non_null(strstr(complaint(NULL, longest), "longer"));
    longest[1024] = '\0';
    cn_keys_free(mint_keys(NULL, longest));
    keys = mint_keys(NULL, NULL); // no keys are a set too
    assert_int_equal(cn_keys_count(keys), 0);
    cn_keys_free(keys);
    cn_keys_free(NULL);
}

static void too_many_are_refused(void **state)
{
    (void)state;
    char text[16384] = "{\"keys\":[" GOOD;
    for (int i = 1; i < CN_KEYS_MAX; i++)
        strncat(text, "," GOOD, sizeof(text) - strlen(text) - 1);
    size_t len = strlen(text);
    snprintf(text + len, sizeof(text) - len, "]}");
    assert_int_equal(count_of(text), CN_KEYS_MAX);
    assert_non_null(strstr(complaint(text, MINT_SECRET), "64"));
    snprintf(text + len, sizeof(text) - len, "," GOOD "]}");
    assert_non_null(strstr(complaint(text, NULL), "64"));
    char *huge = malloc(CN_KEYS_BYTES_MAX + 2);
    memset(huge, ' ', CN_KEYS_BYTES_MAX + 1);
    huge[CN_KEYS_BYTES_MAX + 1] = '\0';
    assert_non_null(strstr(complaint(huge, NULL), "256 KiB"));
    free(huge);
}

// ---- Which key is tried ----

#define OCT(kid, k) "{\"kty\":\"oct\",\"alg\":\"HS256\"" kid ",\"k\":\"" k "\"}"
#define OTHER       "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY" // not the secret of the tests
#define CLAIMS      "{\"sub\":\"ann\",\"exp\":1700000100}"

static enum cn_token_fault judge(const char *set, const char *header)
{
    static const struct cn_token_rules rules = {.now_s = 1700000000};
    struct cn_keys *keys = mint_keys(set, NULL);
    struct cn_grant *grant;
    enum cn_token_fault fault = cn_token_verify(keys, mint(header, CLAIMS), &rules, &grant);
    cn_grant_free(grant);
    cn_keys_free(keys);
    return fault;
}

static void the_kid_chooses_the_key(void **state)
{
    (void)state;
    static const char a_is_ours[] =
        "{\"keys\":[" OCT(",\"kid\":\"a\"", K32) "," OCT(",\"kid\":\"b\"", OTHER) "]}";
    static const char nameless_is_ours[] =
        "{\"keys\":[" OCT(",\"kid\":\"b\"", OTHER) "," OCT("", K32) "]}";
    static const struct {
        const char *set, *header;
        enum cn_token_fault fault;
    } cases[] = {
        {a_is_ours, "{\"alg\":\"HS256\",\"kid\":\"a\"}", CN_TOKEN_NONE},
        {a_is_ours, "{\"alg\":\"HS256\",\"kid\":\"b\"}", CN_TOKEN_SIGNATURE},
        {a_is_ours, "{\"alg\":\"HS256\",\"kid\":\"c\"}", CN_TOKEN_UNKNOWN_KEY},
        {a_is_ours, "{\"alg\":\"HS256\",\"kid\":\"\"}", CN_TOKEN_UNKNOWN_KEY},
        {a_is_ours, "{\"alg\":\"HS256\",\"kid\":\"../../a\"}", CN_TOKEN_UNKNOWN_KEY},
        {a_is_ours, "{\"alg\":\"HS256\"}", CN_TOKEN_NONE},
        {nameless_is_ours, "{\"alg\":\"HS256\"}", CN_TOKEN_NONE},
        {nameless_is_ours, "{\"alg\":\"HS256\",\"kid\":\"c\"}", CN_TOKEN_NONE},
        {nameless_is_ours, "{\"alg\":\"HS256\",\"kid\":\"b\"}", CN_TOKEN_SIGNATURE},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        enum cn_token_fault fault = judge(cases[i].set, cases[i].header);
        if (fault != cases[i].fault)
            fail_msg("%s: %s", cases[i].header, cn_token_fault_word(fault));
    }
}

static void no_more_than_eight_keys_are_tried(void **state)
{
    (void)state;
    for (int before = CN_KEYS_TRIED_MAX - 1; before <= CN_KEYS_TRIED_MAX; before++) {
        char text[4096] = "{\"keys\":[";
        for (int i = 0; i < before; i++)
            strncat(text, OCT("", OTHER) ",", sizeof(text) - strlen(text) - 1);
        strncat(text, OCT("", K32) "]}", sizeof(text) - strlen(text) - 1);
        assert_int_equal(judge(text, "{\"alg\":\"HS256\"}"),
                         before < CN_KEYS_TRIED_MAX ? CN_TOKEN_NONE : CN_TOKEN_SIGNATURE);
    }
}

static void sets_are_joined(void **state)
{
    (void)state;
    static const struct cn_token_rules rules = {.now_s = 1700000000};
    struct cn_keys *a = mint_keys(mint_rfc_keys[2], NULL);
    struct cn_keys *b = mint_keys("{\"keys\":[" GOOD "]}", MINT_SECRET), *both, *more;
    assert_int_equal(cn_keys_join(a, b, &both), CN_OK);
    cn_keys_free(a);
    cn_keys_free(b);
    assert_int_equal(cn_keys_count(both), 3);
    struct cn_grant *grant;
    assert_int_equal(cn_token_verify(both, mint("{\"alg\":\"HS256\"}", CLAIMS), &rules, &grant),
                     CN_TOKEN_NONE);
    cn_grant_free(grant);
    for (int i = 0; i < 5; i++) { // 6, 12, 24, 48; the next is too many
        enum cn_err err = cn_keys_join(both, both, &more);
        assert_int_equal(err, i < 4 ? CN_OK : CN_FULL);
        if (err == CN_OK) {
            cn_keys_free(both);
            both = more;
        }
    }
    assert_null(more);
    cn_keys_free(both);
}

// Allocations fail one by one, ever fewer of the later ones, since there are thousands: no leak, no
// crash, no keys that are only half there.
static void want_of_memory_is_said(void **state)
{
    (void)state;
    static const char *const texts[] = {ed25519_pem, p256_pem, rsa2048_pem,
                                        "{\"keys\":[" GOOD "," OCT("", K32) "]}"};
    for (size_t i = 0; i < CN_COUNT(texts) + CN_COUNT(mint_rfc_keys); i++) {
        const char *text = i < CN_COUNT(texts) ? texts[i] : mint_rfc_keys[i - CN_COUNT(texts)];
        size_t whole = count_of(text);
        bool was_whole = false;
        for (int nth = 0; !was_whole; nth += 1 + nth / 64) {
            struct cn_keys *keys;
            const char *why;
            mint_memory_fail(nth);
            enum cn_err err = cn_keys_parse(cn_str_of(text), none, &keys, &why);
            was_whole = !mint_memory_has_failed();
            mint_memory_fail(-1);
            assert_true(err == CN_OK || !was_whole);
            if (err == CN_OK)
                assert_int_equal(cn_keys_count(keys), whole);
            else
                assert_null(keys);
            cn_keys_free(keys);
        }
    }
}

int main(void)
{
    mint_memory_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pem_keys_are_taken_one_after_the_other),
        cmocka_unit_test(bad_pem_is_refused),
        cmocka_unit_test(sets_are_taken),
        cmocka_unit_test(bad_sets_are_refused),
        cmocka_unit_test(points_of_small_order_are_no_keys),
        cmocka_unit_test(long_rsa_keys_are_few),
        cmocka_unit_test(rsa_exponents_are_checked),
        cmocka_unit_test(secrets_have_32_bytes),
        cmocka_unit_test(too_many_are_refused),
        cmocka_unit_test(the_kid_chooses_the_key),
        cmocka_unit_test(no_more_than_eight_keys_are_tried),
        cmocka_unit_test(sets_are_joined),
        cmocka_unit_test(want_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
