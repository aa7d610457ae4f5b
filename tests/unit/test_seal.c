// SPDX-License-Identifier: MIT
// Seals: known values, and all that one must not believe.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "chatnode/clock.h"
#include "chatnode/seal.h"

#define OLD_KEY "0123456789abcdef0123456789abcdef"
#define NEW_KEY "fedcba9876543210fedcba9876543210"

static struct cn_sealer *sealer_of(const char *keys)
{
    struct cn_sealer *sealer = NULL;
    const char *why = NULL;
    assert_int_equal(cn_sealer_new(cn_str_of(keys), &sealer, &why), CN_OK);
    return sealer;
}

static struct cn_seal_subject subject_of(const char *place, const char *text)
{
    return (struct cn_seal_subject){'e', cn_str_of(place), cn_str_of(text)};
}

static enum cn_seal_fault check(const char *keys, struct cn_seal_subject subject,
                                struct cn_str seal)
{
    struct cn_sealer *sealer = sealer_of(keys);
    enum cn_seal_fault fault = cn_seal_check(sealer, &subject, seal);
    cn_sealer_free(sealer);
    return fault;
}

static struct cn_str make(const char *keys, struct cn_seal_subject subject, char out[CN_SEAL_BYTES])
{
    struct cn_sealer *sealer = sealer_of(keys);
    assert_int_equal(cn_seal_make(sealer, &subject, out), CN_OK);
    cn_sealer_free(sealer);
    return (struct cn_str){out, CN_SEAL_BYTES};
}

// As computed by another program:
//   python3 -c "import hmac,base64 as b; k=b'0123456789abcdef'*2; h=lambda m:
//   hmac.digest(k,m,'sha256') print(b.urlsafe_b64encode(h(b'k\0')[:2] +
//   h(b'e\x07r:lobby{}')[:16]))"
static void test_a_seal_is_the_known_one(void **state)
{
    (void)state;
    char out[CN_SEAL_BYTES];
    struct cn_str seal = make(OLD_KEY, subject_of("r:lobby", "{}"), out);
    assert_true(cn_str_equal(seal, CN_STR_LITERAL("~2ATqP0RRZZGuh65Tuaa68YGe_")));
}

static void test_a_seal_is_of_its_text_and_place_and_purpose(void **state)
{
    (void)state;
    char out[CN_SEAL_BYTES];
    struct cn_seal_subject subject = subject_of("r:lobby", "{\"a\":1}");
    struct cn_str seal = make(OLD_KEY, subject, out);
    assert_int_equal(check(OLD_KEY, subject, seal), CN_SEAL_FAULT_NONE);
    assert_int_equal(check(OLD_KEY, subject_of("r:lobby", "{\"a\":2}"), seal), CN_SEAL_FAULT_SEAL);
    assert_int_equal(check(OLD_KEY, subject_of("r:lobbz", "{\"a\":1}"), seal), CN_SEAL_FAULT_SEAL);
    assert_int_equal(check(OLD_KEY, subject_of("r:lobby{", "\"a\":1}"), seal), CN_SEAL_FAULT_SEAL);
    subject.purpose = 'n';
    assert_int_equal(check(OLD_KEY, subject, seal), CN_SEAL_FAULT_SEAL);
}

static void test_any_changed_byte_of_a_seal_shows(void **state)
{
    (void)state;
    char out[CN_SEAL_BYTES];
    const struct cn_seal_subject subject = subject_of("r:lobby", "{}");
    struct cn_str seal = make(OLD_KEY, subject, out);
    for (size_t i = 0; i < CN_SEAL_BYTES; i++) {
        out[i] ^= 1;
        assert_int_not_equal(check(OLD_KEY, subject, seal), CN_SEAL_FAULT_NONE);
        out[i] ^= 1;
    }
    assert_int_equal(check(OLD_KEY, subject, seal), CN_SEAL_FAULT_NONE);
    for (size_t len = 0; len < CN_SEAL_BYTES; len++)
        assert_int_equal(check(OLD_KEY, subject, (struct cn_str){out, len}), CN_SEAL_FAULT_FORM);
    out[1] = '3';
    assert_int_equal(check(OLD_KEY, subject, seal), CN_SEAL_FAULT_VERSION);
}

static void test_the_first_key_seals_and_all_are_believed(void **state)
{
    (void)state;
    char old_out[CN_SEAL_BYTES], new_out[CN_SEAL_BYTES], both_out[CN_SEAL_BYTES];
    const struct cn_seal_subject subject = subject_of("i:ann", "{}");
    struct cn_str old_seal = make(OLD_KEY, subject, old_out);
    struct cn_str new_seal = make(NEW_KEY, subject, new_out);
    struct cn_str both_seal = make(NEW_KEY ",\n " OLD_KEY "\n", subject, both_out);
    assert_true(cn_str_equal(both_seal, new_seal));
    assert_int_equal(check(NEW_KEY " " OLD_KEY, subject, old_seal), CN_SEAL_FAULT_NONE);
    assert_int_equal(check(OLD_KEY "," NEW_KEY, subject, new_seal), CN_SEAL_FAULT_NONE);
    assert_int_equal(check(NEW_KEY, subject, old_seal), CN_SEAL_FAULT_UNKNOWN_KEY);
}

static void test_keys_that_will_not_do(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      " ,\n",
                                      "short",
                                      OLD_KEY ",short",
                                      "0123456789abcdef0123456789abcde",
                                      OLD_KEY "," OLD_KEY "," OLD_KEY "," OLD_KEY "," OLD_KEY
                                              "," OLD_KEY "," OLD_KEY "," OLD_KEY "," OLD_KEY};
    for (size_t i = 0; i < CN_COUNT(bad); i++) {
        struct cn_sealer *sealer = NULL;
        const char *why = NULL;
        assert_int_equal(cn_sealer_new(cn_str_of(bad[i]), &sealer, &why), CN_INVALID);
        assert_null(sealer);
        assert_non_null(strstr(why, "bus-key"));
    }
    cn_sealer_free(NULL);
}

static void test_a_seal_is_cut_off(void **state)
{
    (void)state;
    static const struct {
        const char *text, *rest, *seal;
    } cases[] = {
        {"{\"a\":\"~2\"}", "{\"a\":\"~2\"}", NULL},
        {"{}~2abc", "{}", "~2abc"},
        {"{\"a\":\"~2\"}~9", "{\"a\":\"~2\"}", "~9"},
        {"garbage", "garbage", NULL},
        {"~", "", "~"},
        {"", "", NULL},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        struct cn_str text = cn_str_of(cases[i].text);
        struct cn_str seal = cn_seal_cut(&text);
        assert_true(cn_str_equal(text, cn_str_of(cases[i].rest)));
        assert_int_equal(seal.ptr != NULL, cases[i].seal != NULL);
        if (cases[i].seal)
            assert_true(cn_str_equal(seal, cn_str_of(cases[i].seal)));
    }
}

static void test_the_words_of_faults(void **state)
{
    (void)state;
    assert_string_equal(cn_seal_fault_word(CN_SEAL_FAULT_UNKNOWN_KEY), "unknown_key");
    assert_string_equal(cn_seal_fault_word(CN_SEAL_FAULT_UNSTORED), "unstored");
}

// Printed, not judged: what a seal costs (docs/operations.md).
static void test_what_a_seal_costs(void **state)
{
    (void)state;
    enum { TIMES = 20000, BYTES = 240 };
    static char text[BYTES + 1];
    char out[CN_SEAL_BYTES];
    memset(text, 'x', BYTES);
    struct cn_sealer *sealer = sealer_of(OLD_KEY);
    const struct cn_seal_subject subject = subject_of("r:lobby", text);
    int64_t begun_us = cn_clock_us();
    for (int i = 0; i < TIMES; i++)
        assert_int_equal(cn_seal_make(sealer, &subject, out), CN_OK);
    int64_t took_us = cn_clock_us() - begun_us;
    print_message("a seal over %d bytes: %.2f us\n", BYTES, (double)took_us / TIMES);
    cn_sealer_free(sealer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_seal_is_the_known_one),
        cmocka_unit_test(test_a_seal_is_of_its_text_and_place_and_purpose),
        cmocka_unit_test(test_any_changed_byte_of_a_seal_shows),
        cmocka_unit_test(test_the_first_key_seals_and_all_are_believed),
        cmocka_unit_test(test_keys_that_will_not_do),
        cmocka_unit_test(test_a_seal_is_cut_off),
        cmocka_unit_test(test_the_words_of_faults),
        cmocka_unit_test(test_what_a_seal_costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
