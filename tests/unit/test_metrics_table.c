// SPDX-License-Identifier: MIT
// The table of metrics: names and labels as Prometheus wants them, families that stand together.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/metrics_table.h"

#include <stdio.h>
#include <string.h>

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void test_names_follow_the_conventions(void **state)
{
    (void)state;
    const struct cn_metric *table = cn_metric_table();
    for (size_t i = 0; i < CN_METRIC_ROWS; i++) {
        const struct cn_metric *row = &table[i];
        assert_non_null(row->name);
        assert_non_null(row->labels);
        assert_non_null(row->help);
        assert_memory_equal(row->name, "chatnode_", 9);
        assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(row->name));
        assert_int_equal(ends_with(row->name, "_total"), row->type == CN_METRIC_COUNTER);
        bool is_moment = ends_with(row->name, "_timestamp_seconds");
        assert_int_equal(ends_with(row->name, "_seconds") && !is_moment,
                         row->type == CN_METRIC_HISTOGRAM);
    }
}

static void test_a_family_stands_together_with_one_type_and_one_help(void **state)
{
    (void)state;
    const struct cn_metric *table = cn_metric_table();
    for (size_t i = 0; i < CN_METRIC_ROWS; i++) {
        bool first = i == 0 || strcmp(table[i].name, table[i - 1].name) != 0;
        if (first)
            assert_true(strlen(table[i].help) > 0);
        else
            assert_int_equal(table[i].type, table[i - 1].type);
        for (size_t k = 0; k < i; k++) {
            bool same = strcmp(table[i].name, table[k].name) == 0;
            assert_false(same && first); // a family that was left is not taken up again
            assert_false(same && strcmp(table[i].labels, table[k].labels) == 0);
        }
    }
}

static void test_each_reason_has_its_row(void **state)
{
    (void)state;
    const struct cn_metric *table = cn_metric_table();
    for (int reason = 0; reason < CN_REASON_COUNT; reason++) {
        char labels[64];
        snprintf(labels, sizeof(labels), "reason=\"%s\"", cn_reason_name((enum cn_reason)reason));
        unsigned row = cn_metric_closed((enum cn_reason)reason);
        assert_true(row < CN_METRIC_ROWS);
        assert_string_equal(table[row].name, "chatnode_disconnects_total");
        assert_string_equal(table[row].labels, labels);
    }
    assert_int_equal(cn_metric_closed(CN_REASON_SLOW), CN_M_CLOSED_SLOW);
}

static void test_the_whole_table_can_be_exposed(void **state)
{
    (void)state;
    struct cn_buf out;
    cn_buf_init(&out, 1 << 20);
    assert_int_equal(cn_metrics_start(cn_metric_table(), CN_METRIC_ROWS), CN_OK);
    cn_metrics_add(CN_M_CLOSED_NO_PONG, 3);
    assert_int_equal(cn_metrics_expose(&out), CN_OK);
    assert_int_equal(cn_buf_append(&out, "", 1), CN_OK);
    assert_non_null(strstr(out.data, "\nchatnode_disconnects_total{reason=\"no_pong\"} 3\n"));
    cn_metrics_stop();
    cn_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_follow_the_conventions),
        cmocka_unit_test(test_a_family_stands_together_with_one_type_and_one_help),
        cmocka_unit_test(test_each_reason_has_its_row),
        cmocka_unit_test(test_the_whole_table_can_be_exposed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
