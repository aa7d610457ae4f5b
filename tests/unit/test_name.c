// SPDX-License-Identifier: MIT
// Names: what users, rooms and requests may be called, channels' names, and UTF-8.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/name.h"

static const char sixty_four[] = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd";

static void names_are_an_allow_list(void **state)
{
    (void)state;
    // By brute force: each byte alone.
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        bool is_id = byte != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                         "0123456789_-",
                                         c) != NULL;
        struct cn_str name = {&c, 1};
        assert_int_equal(cn_name_is_valid_id(name), is_id);
        assert_int_equal(cn_name_is_valid(name), is_id || c == '.' || c == ':');
    }
}

static void names_have_1_to_64_bytes(void **state)
{
    (void)state;
    assert_int_equal(sizeof(sixty_four) - 1, CN_NAME_MAX);
    assert_true(cn_name_is_valid(CN_STR_LITERAL(sixty_four)));
    assert_true(cn_name_is_valid_id(CN_STR_LITERAL(sixty_four)));
    assert_false(cn_name_is_valid((struct cn_str){sixty_four, sizeof(sixty_four)})); // with its NUL
    assert_false(cn_name_is_valid(CN_STR_LITERAL("aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbcccccccccccccccc"
                                                 "dddddddddddddddde")));
    assert_false(cn_name_is_valid(CN_STR_LITERAL("")));
    assert_false(cn_name_is_valid_id((struct cn_str){NULL, 0}));
}

static void channel_names_go_there_and_back(void **state)
{
    (void)state;
    struct cn_channel_name name, back;
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("lobby"), &name), CN_OK);
    assert_string_equal(name.text, "r:lobby");
    assert_int_equal(cn_channel_name_kind(&name), CN_CHANNEL_ROOM);
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_INBOX, cn_str_of(sixty_four), &name), CN_OK);
    assert_int_equal(name.len, CN_CHANNEL_NAME_MAX);
    assert_int_equal(cn_channel_name_parse(cn_channel_name_str(&name), &back), CN_OK);
    assert_int_equal(cn_channel_name_kind(&back), CN_CHANNEL_INBOX);
    struct cn_channel_name again = cn_channel_name_of((struct cn_str){back.text, back.len});
    assert_true(cn_str_equal(cn_channel_name_str(&again), cn_channel_name_str(&back)));
    assert_int_equal(again.text[again.len], '\0');
    assert_true(cn_str_equal(cn_channel_name_bare(&back), cn_str_of(sixty_four)));
    assert_int_equal(back.text[back.len], '\0');
}

static void bad_channel_names_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",       "r",     "r:",         "x:lobby", "R:lobby",
                                        "rlobby", "r:a b", "u:\xC3\xA9", "r:{a}"};
    struct cn_channel_name name;
    for (size_t i = 0; i < CN_COUNT(texts); i++)
        assert_int_equal(cn_channel_name_parse(cn_str_of(texts[i]), &name), CN_INVALID);
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("a*"), &name), CN_INVALID);
}

struct utf8_case {
    const char *text;
    bool is_valid;
};

static const struct utf8_case utf8_cases[] = {
    {"", true},
    {"plain ASCII, longer than a word", true},
    {"\x7F", true},
    {"\xC2\x80", true},          // U+0080
    {"\xDF\xBF", true},          // U+07FF
    {"\xE0\xA0\x80", true},      // U+0800
    {"\xED\x9F\xBF", true},      // U+D7FF
    {"\xEE\x80\x80", true},      // U+E000
    {"\xEF\xBF\xBF", true},      // U+FFFF
    {"\xF0\x90\x80\x80", true},  // U+10000
    {"\xF4\x8F\xBF\xBF", true},  // U+10FFFF
    {"1234567\xC3\xA9", true},   // across a word's end
    {"\x80", false},             // a tail alone
    {"\xC0\x80", false},         // overlong NUL
    {"\xC1\xBF", false},         // overlong
    {"\xE0\x9F\xBF", false},     // overlong
    {"\xF0\x8F\xBF\xBF", false}, // overlong
    {"\xED\xA0\x80", false},     // U+D800
    {"\xED\xBF\xBF", false},     // U+DFFF
    {"\xF4\x90\x80\x80", false}, // U+110000
    {"\xF5\x80\x80\x80", false},
    {"\xFF", false},
    {"\xC3", false},         // cut short
    {"\xE2\x82", false},     // cut short
    {"\xF0\x9F\x98", false}, // cut short
    {"\xC3(", false},
    {"\xE2\x82(", false},
    {"12345678\xFF", false},
};

static void utf8_is_what_rfc_3629_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(utf8_cases); i++)
        assert_int_equal(cn_name_is_utf8(cn_str_of(utf8_cases[i].text)), utf8_cases[i].is_valid);
    assert_true(cn_name_is_utf8((struct cn_str){"a\0b", 3})); // U+0000 is a character too
}

// Each code point that can be encoded by the rule of the RFC passes, at each offset in a word.
static void every_code_point_is_accepted(void **state)
{
    (void)state;
    for (unsigned code = 0x80; code <= 0x10FFFF; code += code < 0x3000 ? 1 : 37) {
        bool is_surrogate = code >= 0xD800 && code <= 0xDFFF;
        char text[16] = "aaaaaaa";
        unsigned char *at = (unsigned char *)text + code % 8;
        size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
        for (size_t i = len; i > 1; i--)
            at[i - 1] = (unsigned char)(0x80 | ((code >> (6 * (len - i))) & 0x3F));
        at[0] = (unsigned char)(leads[len] | (code >> (6 * (len - 1))));
        assert_int_equal(cn_name_is_utf8((struct cn_str){text, code % 8 + len}), !is_surrogate);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_an_allow_list),
        cmocka_unit_test(names_have_1_to_64_bytes),
        cmocka_unit_test(channel_names_go_there_and_back),
        cmocka_unit_test(bad_channel_names_are_refused),
        cmocka_unit_test(utf8_is_what_rfc_3629_says),
        cmocka_unit_test(every_code_point_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
