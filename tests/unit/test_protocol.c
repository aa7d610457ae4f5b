// SPDX-License-Identifier: MIT
// The tables of error codes and close reasons: complete, distinct, and within what RFC 6455 allows.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "chatnode/check.h"
#include "chatnode/protocol.h"

static const enum cn_problem problems[] = {
#define X(symbol, ...) CN_PROBLEM_##symbol,
    CN_PROBLEM_TABLE(X)
#undef X
};

// Small letters, digits and underscores: fit for a metric's label and a constant's name.
static void assert_is_word(const char *text)
{
    assert_true(strlen(text) > 0);
    assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(text));
}

static void problems_are_distinct_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(problems); i++) {
        assert_is_word(cn_problem_code(problems[i]));
        assert_true(strlen(cn_problem_message(problems[i])) > 0);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(cn_problem_code(problems[i]), cn_problem_code(problems[j]));
    }
    assert_string_equal(cn_problem_code(CN_PROBLEM_BAD_JSON), "bad_json");
    assert_false(cn_problem_retry(CN_PROBLEM_BAD_JSON));
    assert_true(cn_problem_retry(CN_PROBLEM_UNAVAILABLE));
}

// Codes that a server may put into a close frame (RFC 6455 section 7.4 and IANA), and our own.
static bool may_be_sent(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 4000 && code <= 4999);
}

static void reasons_fit_into_close_frames(void **state)
{
    (void)state;
    for (int i = 0; i < CN_REASON_COUNT; i++) {
        enum cn_reason reason = (enum cn_reason)i;
        assert_is_word(cn_reason_name(reason));
        assert_in_range(strlen(cn_reason_text(reason)), 1, 123);
        unsigned code = cn_reason_close_code(reason);
        assert_true(code == 0 || may_be_sent(code));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(cn_reason_name(reason), cn_reason_name((enum cn_reason)j));
    }
    assert_int_equal(cn_reason_close_code(CN_REASON_RESTART), 1012);
    assert_int_equal(cn_reason_close_code(CN_REASON_PEER), 0);
    assert_string_equal(cn_reason_name(CN_REASON_SLOW), "slow");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(problems_are_distinct_words),
        cmocka_unit_test(reasons_fit_into_close_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
