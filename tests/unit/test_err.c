// SPDX-License-Identifier: MIT
// Results: each has its text, and anything else is survived.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/err.h"

#include <string.h>

static void test_every_result_has_a_text(void **state)
{
    (void)state;
    int results = 0;
#define X(symbol, text)                                                                            \
    assert_string_equal(cn_err_str(CN_##symbol), text);                                            \
    results++;
    CN_ERR_TABLE(X)
#undef X
    assert_true(results > 5);
}

static void test_ok_is_zero(void **state)
{
    (void)state;
    assert_int_equal(CN_OK, 0);
}

static void test_unknown_result(void **state)
{
    (void)state;
    assert_string_equal(cn_err_str((enum cn_err)(CN_SYSTEM + 1)), "unknown error");
    assert_string_equal(cn_err_str((enum cn_err) - 1), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_result_has_a_text),
        cmocka_unit_test(test_ok_is_zero),
        cmocka_unit_test(test_unknown_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
