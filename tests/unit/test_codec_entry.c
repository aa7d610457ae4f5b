// SPDX-License-Identifier: MIT
// Entries from the bus: what passes the check, and what is seen in them without parsing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "chatnode/codec.h"
#include "chatnode/name.h"

#define S CN_STR_LITERAL

// ---- The check ----

#define ENTRY(pos, ts, rest) "{\"pos\":\"" pos "\",\"ts\":" ts ",\"type\":\"" rest

static const char *const bad_entries[] = {
    "",
    "{",
    "{}",
    "{\"pos\":\"",
    "{\"pos\":\"1-1",
    "{\"pos\":\"1-1\"",
    ENTRY("1-1", "5", ""),
    ENTRY("1-1", "5", "message\""),
    ENTRY("1-1", "", "message\"}"),
    ENTRY("1-1", "05", "message\"}"),
    ENTRY("1-1", "-5", "message\"}"),
    ENTRY("1-1", "1234567890123456789", "message\"}"),
    ENTRY("", "5", "message\"}"),
    ENTRY("1", "5", "message\"}"),
    ENTRY("01-1", "5", "message\"}"),
    ENTRY("18446744073709551616-1", "5", "message\"}"),
    ENTRY("1-1", "5", "message\"} "),
    ENTRY("1-1", "5", "message\"}\n"),
    ENTRY("1-1", "5", "mess\x01ge\"}"),
    ENTRY("1-1", "5", "message\",\"content\":\"a long line\twith a tab\"}"),
    ENTRY("1-1", "5", "message\",\"content\":\"\xC3(\"}"),
    ENTRY("1-1", "5", "message\",\"content\":\"\xED\xA0\x80\"}"),
    " " ENTRY("1-1", "5", "message\"}"),
    "{\"ts\":5,\"pos\":\"1-1\",\"type\":\"message\"}",
};

static void the_time_of_storing_is_read(void **state)
{
    (void)state;
    assert_int_equal(cn_codec_entry_ts(S(ENTRY("1-1", "0", "message\"}"))), 0);
    assert_int_equal(cn_codec_entry_ts(S(ENTRY("1-1", "1700000000123", "message\"}"))),
                     1700000000123);
    assert_int_equal(cn_codec_entry_ts(S(ENTRY("7-0", "123456789012345678", "message\"}"))),
                     123456789012345678);
    assert_int_equal(cn_codec_entry_ts(S("{\"type\":\"gap\",\"reset\":true}")), -1);
    assert_int_equal(cn_codec_entry_ts(S("")), -1);
    assert_int_equal(cn_codec_entry_ts(S(ENTRY("1-1", "", "message\"}"))), -1);
}

static void entries_of_strangers_are_checked(void **state)
{
    (void)state;
    struct cn_pos pos = {3, 3};
    for (size_t i = 0; i < CN_COUNT(bad_entries); i++) {
        enum cn_err err = cn_codec_entry_check(cn_str_of(bad_entries[i]), 4096, &pos);
        if (err != CN_INVALID)
            print_error("passed: %s\n", bad_entries[i]);
        assert_int_equal(err, CN_INVALID);
        assert_true(pos.gen == 3 && pos.seq == 3);
    }
    const struct cn_str good = S(ENTRY("18446744073709551615-0", "0", "x\xF0\x9F\x98\x80\"}"));
    assert_int_equal(cn_codec_entry_check(good, good.len - 1, &pos), CN_INVALID);
    assert_int_equal(cn_codec_entry_check(good, good.len, &pos), CN_OK);
    assert_true(pos.gen == UINT64_MAX && pos.seq == 0);
}

// Each prefix of a good entry is a bad one; memory behind the view is not read.
static void entries_cut_short_are_refused(void **state)
{
    (void)state;
    static const char text[] = ENTRY("12-34", "567", "message\",\"content\":\"hello\"}");
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        char *copy = malloc(len + 1);
        struct cn_pos pos;
        assert_non_null(copy);
        memcpy(copy, text, len);
        char *exact = realloc(copy, len ? len : 1);
        assert_non_null(exact);
        assert_int_equal(cn_codec_entry_check((struct cn_str){exact, len}, 4096, &pos), CN_INVALID);
        free(exact);
    }
}

// Each byte below 0x20 is found at each place in a word.
static void control_characters_are_found_anywhere(void **state)
{
    (void)state;
    for (size_t at = 30; at < 70; at++) {
        for (char c = 0; c < 0x22; c++) {
            char text[81] = ENTRY("1-1", "5", "");
            size_t head = strlen(text);
            memset(text + head, 'x', 80 - head);
            text[79] = '}';
            if (at < head)
                continue;
            text[at] = c;
            struct cn_pos pos;
            enum cn_err err = cn_codec_entry_check((struct cn_str){text, 80}, 4096, &pos);
            assert_int_equal(err, c < 0x20 ? CN_INVALID : CN_OK);
        }
    }
}

// ---- Whom a message is between ----

#define DIRECT(from, to, rest)                                                                     \
    ENTRY("1-1", "5", "direct\",\"from\":\"" from "\",\"to\":\"" to "\"" rest)

struct between_case {
    const char *text;
    bool is;
};

static const struct between_case between_cases[] = {
    {DIRECT("ann", "bob", ",\"content\":1}"), true},
    {DIRECT("bob", "ann", ",\"content\":1}"), true},
    {DIRECT("ann", "ann", ",\"content\":1}"), false},
    {DIRECT("bob", "bob", ",\"content\":1}"), false},
    {DIRECT("ann", "bobo", ",\"content\":1}"), false},
    {DIRECT("ann", "bo", ",\"content\":1}"), false},
    {DIRECT("cid", "ann", ",\"content\":1}"), false},
    {DIRECT("ann", "bob", ",\"id\":1}"), false},
    {DIRECT("ann", "", ",\"content\":1}"), false},
    {DIRECT("", "bob", ",\"content\":1}"), false},
    // What somebody wrote looks like a message between the two.
    {DIRECT("cid", "ann", ",\"content\":\"\\\"from\\\":\\\"bob\\\"\"}"), false},
    {DIRECT("cid", "ann", ",\"content\":{\"type\":\"direct\",\"from\":\"ann\",\"to\":\"bob\"}}"),
     false},
    {DIRECT("cid", "ann",
            ",\"content\":{\"pos\":\"1-1\",\"ts\":5,\"type\":\"direct\",\"from\":\"bob\","
            "\"to\":\"ann\",\"content\":1}}"),
     false},
    {DIRECT("bob", "ann", ",\"content\":{\"from\":\"cid\",\"to\":\"cid\"}}"), true},
    {ENTRY("1-1", "5", "message\",\"room\":\"a\",\"from\":\"bob\",\"content\":1}"), false},
    {ENTRY("1-1", "5", "message\",\"from\":\"bob\",\"to\":\"ann\",\"content\":1}"), false},
    {ENTRY("1-1", "5", "directx\",\"from\":\"bob\",\"to\":\"ann\",\"content\":1}"), false},
    // What the server never writes.
    {ENTRY("1-1", "5", "direct\",\"to\":\"bob\",\"from\":\"ann\",\"content\":1}"), false},
    {ENTRY("1-1", "5", "direct\", \"from\":\"ann\",\"to\":\"bob\",\"content\":1}"), false},
    {DIRECT("\\u0061nn", "bob", ",\"content\":1}"), false},
};

static void the_two_of_a_message_are_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(between_cases); i++) {
        struct cn_str text = cn_str_of(between_cases[i].text);
        struct cn_pos pos;
        assert_int_equal(cn_codec_entry_check(text, 4096, &pos), CN_OK);
        if (cn_codec_entry_is_between(text, S("ann"), S("bob")) != between_cases[i].is)
            fail_msg("%s", between_cases[i].text);
        assert_true(cn_codec_entry_is_between(text, S("bob"), S("ann")) == between_cases[i].is);
    }
    const struct cn_str note = S(DIRECT("ann", "ann", ",\"content\":1}"));
    assert_true(cn_codec_entry_is_between(note, S("ann"), S("ann")));
    const struct cn_str other = S(DIRECT("ann", "bob", ",\"content\":1}"));
    assert_false(cn_codec_entry_is_between(other, S("ann"), S("ann")));
}

// The longest names there may be, and one byte more.
static void names_have_a_length(void **state)
{
    (void)state;
    char name[CN_NAME_MAX + 2];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    for (int longer = 0; longer < 2; longer++) {
        struct cn_str user = {name, CN_NAME_MAX + (size_t)longer};
        struct cn_buf text;
        cn_buf_init(&text, 4096);
        assert_int_equal(cn_buf_append_str(&text, S("{\"pos\":\"1-1\",\"ts\":5,")), CN_OK);
        assert_int_equal(cn_codec_direct_body(&text, user, S("bob"), S("1"), S("i")), CN_OK);
        assert_true(cn_codec_entry_is_between(cn_buf_str(&text), user, S("bob")) == !longer);
        cn_buf_fini(&text);
    }
}

// Cut short anywhere, memory behind the view is not read and nothing is found too early.
static void entries_cut_short_are_between_nobody(void **state)
{
    (void)state;
    static const char text[] = DIRECT("ann", "bob", ",\"content\":");
    for (size_t len = 0; len < sizeof(text); len++) {
        char *exact = malloc(len ? len : 1);
        assert_non_null(exact);
        memcpy(exact, text, len);
        bool is = cn_codec_entry_is_between((struct cn_str){exact, len}, S("ann"), S("bob"));
        assert_true(is == (len >= sizeof(text) - 1));
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_time_of_storing_is_read),
        cmocka_unit_test(entries_of_strangers_are_checked),
        cmocka_unit_test(entries_cut_short_are_refused),
        cmocka_unit_test(control_characters_are_found_anywhere),
        cmocka_unit_test(the_two_of_a_message_are_seen),
        cmocka_unit_test(names_have_a_length),
        cmocka_unit_test(entries_cut_short_are_between_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
