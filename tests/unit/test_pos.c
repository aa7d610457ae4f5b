// SPDX-License-Identifier: MIT
// Positions: what is one, what is none, and how they follow each other.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/pos.h"

static void parses_and_formats_the_same_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"0-0", "1-0", "1700000000000-42",
                                        "18446744073709551615-18446744073709551615"};
    for (size_t i = 0; i < CN_COUNT(texts); i++) {
        struct cn_pos pos;
        char out[CN_POS_TEXT_BYTES];
        assert_int_equal(cn_pos_parse(cn_str_of(texts[i]), &pos), CN_OK);
        assert_int_equal(cn_pos_format(pos, out), strlen(texts[i]));
        assert_string_equal(out, texts[i]);
    }
}

static void refuses_what_is_no_position(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "-",
                                        "1",
                                        "1-",
                                        "-1",
                                        "1-1-1",
                                        "01-1",
                                        "1-01",
                                        "+1-1",
                                        "1-+1",
                                        " 1-1",
                                        "1-1 ",
                                        "1--1",
                                        "a-1",
                                        "0x1-1",
                                        "1_1-1",
                                        "1.0-1",
                                        "18446744073709551616-0",
                                        "0-18446744073709551616",
                                        "99999999999999999999999999-0"};
    for (size_t i = 0; i < CN_COUNT(texts); i++) {
        struct cn_pos pos = {7, 8};
        assert_int_equal(cn_pos_parse(cn_str_of(texts[i]), &pos), CN_INVALID);
        assert_true(pos.gen == 7 && pos.seq == 8);
    }
    struct cn_pos pos;
    assert_int_equal(cn_pos_parse(CN_STR_LITERAL("1-1\0"), &pos), CN_INVALID);
    assert_int_equal(cn_pos_parse((struct cn_str){NULL, 0}, &pos), CN_INVALID);
}

static void reads_no_further_than_the_view(void **state)
{
    (void)state;
    struct cn_pos pos;
    assert_int_equal(cn_pos_parse((struct cn_str){"12-345", 4}, &pos), CN_OK);
    assert_true(pos.gen == 12 && pos.seq == 3);
}

static void compares_and_follows(void **state)
{
    (void)state;
    const struct cn_pos zero = {0, 0}, first = {5, 0}, second = {5, 1}, next_gen = {6, 0};
    assert_true(cn_pos_compare(zero, first) < 0);
    assert_true(cn_pos_compare(second, first) > 0);
    assert_true(cn_pos_compare(next_gen, second) > 0);
    assert_int_equal(cn_pos_compare(second, second), 0);
    assert_true(cn_pos_follows(first, zero));
    assert_true(cn_pos_follows(second, first));
    assert_false(cn_pos_follows(second, zero));
    assert_false(cn_pos_follows(next_gen, second));
    assert_false(cn_pos_follows(second, second));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_and_formats_the_same_text),
        cmocka_unit_test(refuses_what_is_no_position),
        cmocka_unit_test(reads_no_further_than_the_view),
        cmocka_unit_test(compares_and_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
