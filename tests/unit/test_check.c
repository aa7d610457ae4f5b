// SPDX-License-Identifier: MIT
// Assertions: a false one reports and aborts, a true one does nothing.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/check.h"
#include "unit/dies.h"

static void claim_nonsense(void *arg)
{
    (void)arg;
    CN_ASSERT(1 + 1 == 3);
}

static void claim_truth(void *arg)
{
    int evaluated = 0;
    CN_ASSERT(++evaluated == 1);
    *(int *)arg = evaluated;
}

static void report_too_much(void *arg)
{
    (void)arg;
    char expr[2000];
    memset(expr, 'x', sizeof(expr) - 1);
    expr[sizeof(expr) - 1] = '\0';
    cn_check_failed(expr, "file.c", 7);
}

static void test_false_assertion_aborts_with_report(void **state)
{
    (void)state;
    char said[512];
    assert_true(dies(claim_nonsense, NULL, said, sizeof(said)));
    assert_non_null(strstr(said, "test_check.c:"));
    assert_non_null(strstr(said, "assertion failed: 1 + 1 == 3\n"));
}

static void test_true_assertion_evaluates_once(void **state)
{
    (void)state;
    int evaluated = 0;
    claim_truth(&evaluated);
    assert_int_equal(evaluated, 1);
    char said[512];
    assert_false(dies(claim_truth, &evaluated, said, sizeof(said)));
    assert_string_equal(said, "");
}

static void test_long_report_is_cut_to_one_line(void **state)
{
    (void)state;
    char said[4096];
    assert_true(dies(report_too_much, NULL, said, sizeof(said)));
    assert_true(strlen(said) < 600);
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
}

static void test_count_of_array(void **state)
{
    (void)state;
    const int three[] = {1, 2, 3};
    assert_int_equal(CN_COUNT(three), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_false_assertion_aborts_with_report),
        cmocka_unit_test(test_true_assertion_evaluates_once),
        cmocka_unit_test(test_long_report_is_cut_to_one_line),
        cmocka_unit_test(test_count_of_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
