// SPDX-License-Identifier: MIT
// Metrics: sums over threads, the Prometheus text, and the table as Markdown.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/metrics.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "chatnode/thread.h"
#include "unit/dies.h"

enum { SENT_OK, SENT_ERROR, SESSIONS, DELAY, DELAY_LABELLED, ROWS };
enum { THREADS = 4, ROUNDS = 50000 };

static const struct cn_metric table[ROWS] = {
    [SENT_OK] = {CN_METRIC_COUNTER, "t_sent_total", "result=\"ok\"", "Sent,\nall of \\ them."},
    [SENT_ERROR] = {CN_METRIC_COUNTER, "t_sent_total", "result=\"error\"", "Sent."},
    [SESSIONS] = {CN_METRIC_GAUGE, "t_sessions", "", "Sessions | now."},
    [DELAY] = {CN_METRIC_HISTOGRAM, "t_delay_seconds", "", "Delay."},
    [DELAY_LABELLED] = {CN_METRIC_HISTOGRAM, "t_wait_seconds", "queue=\"a\"", "Wait."},
};

// Linked with --wrap=calloc,--wrap=aligned_alloc: allocations of metrics.c can be made to fail.
static int allocations_left = -1;
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static bool may_allocate(void)
{
    if (allocations_left < 0)
        return true;
    if (allocations_left == 0)
        return false;
    allocations_left--;
    return true;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return may_allocate() ? __real_aligned_alloc(alignment, size) : NULL;
}

static int start(void **state)
{
    (void)state;
    return cn_metrics_start(table, ROWS) == CN_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    cn_metrics_stop();
    return 0;
}

// The exposition as a C string that the caller frees.
static char *expose(void)
{
    struct cn_buf buf;
    cn_buf_init(&buf, 1 << 20);
    assert_int_equal(cn_metrics_expose(&buf), CN_OK);
    assert_int_equal(cn_buf_append(&buf, "", 1), CN_OK);
    return buf.data;
}

static void assert_exposed(const char *lines)
{
    char *text = expose();
    if (strstr(text, lines) == NULL)
        fail_msg("not in the exposition:\n%s\nwhich is:\n%s", lines, text);
    free(text);
}

static void test_counting_without_and_with_an_own_slot(void **state)
{
    (void)state;
    cn_metrics_add(SENT_OK, 2);
    cn_metrics_add(SESSIONS, 5);
    assert_int_equal(cn_metrics_join(), CN_OK);
    assert_int_equal(cn_metrics_join(), CN_OK);
    cn_metrics_add(SENT_OK, 3);
    cn_metrics_add(SESSIONS, -2);
    assert_int_equal(cn_metrics_sum(SENT_OK), 5);
    assert_int_equal(cn_metrics_sum(SENT_ERROR), 0);
    assert_int_equal(cn_metrics_sum(SESSIONS), 3);
}

static void test_families_have_one_head(void **state)
{
    (void)state;
    cn_metrics_add(SENT_OK, 7);
    cn_metrics_add(SESSIONS, 1);
    char *text = expose();
    const char *expected = "# HELP t_sent_total Sent,\\nall of \\\\ them.\n"
                           "# TYPE t_sent_total counter\n"
                           "t_sent_total{result=\"ok\"} 7\n"
                           "t_sent_total{result=\"error\"} 0\n"
                           "# HELP t_sessions Sessions | now.\n"
                           "# TYPE t_sessions gauge\n"
                           "t_sessions 1\n"
                           "# HELP t_delay_seconds Delay.\n"
                           "# TYPE t_delay_seconds histogram\n"
                           "t_delay_seconds_bucket{le=\"0.0001\"} 0\n";
    assert_memory_equal(text, expected, strlen(expected));
    assert_int_equal(text[strlen(text) - 1], '\n');
    free(text);
}

static void test_histogram(void **state)
{
    (void)state;
    const int64_t observed_us[] = {-5, 0, 100, 101, 2500, 999999, 10000000, 10000001};
    for (size_t i = 0; i < CN_COUNT(observed_us); i++)
        cn_metrics_observe_us(DELAY, observed_us[i]);
    assert_int_equal(cn_metrics_sum(DELAY), 8);
    assert_exposed("t_delay_seconds_bucket{le=\"0.0001\"} 3\n"
                   "t_delay_seconds_bucket{le=\"0.00025\"} 4\n"
                   "t_delay_seconds_bucket{le=\"0.0005\"} 4\n"
                   "t_delay_seconds_bucket{le=\"0.001\"} 4\n"
                   "t_delay_seconds_bucket{le=\"0.0025\"} 5\n"
                   "t_delay_seconds_bucket{le=\"0.005\"} 5\n"
                   "t_delay_seconds_bucket{le=\"0.01\"} 5\n"
                   "t_delay_seconds_bucket{le=\"0.025\"} 5\n"
                   "t_delay_seconds_bucket{le=\"0.05\"} 5\n"
                   "t_delay_seconds_bucket{le=\"0.1\"} 5\n"
                   "t_delay_seconds_bucket{le=\"0.25\"} 5\n"
                   "t_delay_seconds_bucket{le=\"0.5\"} 5\n"
                   "t_delay_seconds_bucket{le=\"1\"} 6\n"
                   "t_delay_seconds_bucket{le=\"2.5\"} 6\n"
                   "t_delay_seconds_bucket{le=\"5\"} 6\n"
                   "t_delay_seconds_bucket{le=\"10\"} 7\n"
                   "t_delay_seconds_bucket{le=\"+Inf\"} 8\n"
                   "t_delay_seconds_sum 21.002701\n"
                   "t_delay_seconds_count 8\n");
}

static void test_histogram_joins_labels(void **state)
{
    (void)state;
    cn_metrics_observe_us(DELAY_LABELLED, 1500000);
    assert_exposed("t_wait_seconds_bucket{queue=\"a\",le=\"+Inf\"} 1\n"
                   "t_wait_seconds_sum{queue=\"a\"} 1.500000\n"
                   "t_wait_seconds_count{queue=\"a\"} 1\n");
}

static void count_much(void *arg)
{
    atomic_int *failures = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (i == ROUNDS / 2 && cn_metrics_join() != CN_OK)
            atomic_fetch_add(failures, 1);
        cn_metrics_add(SENT_OK, 1);
        cn_metrics_observe_us(DELAY, 300);
    }
}

// Half through the shared slot, half through an own one, and scraped all the while.
static void test_threads_lose_nothing(void **state)
{
    (void)state;
    atomic_int failures = 0;
    struct cn_thread threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(cn_thread_start(&threads[i], "count", count_much, &failures), CN_OK);
    int64_t last = 0;
    while (last < ROUNDS) {
        int64_t sum = cn_metrics_sum(SENT_OK);
        assert_true(sum >= last);
        last = sum;
        free(expose());
    }
    for (int i = 0; i < THREADS; i++)
        cn_thread_join(&threads[i]);
    assert_int_equal(failures, 0);
    assert_int_equal(cn_metrics_sum(SENT_OK), THREADS * ROUNDS);
    assert_int_equal(cn_metrics_sum(DELAY), THREADS * ROUNDS);
    assert_exposed("t_delay_seconds_sum 60.000000\n");
}

static void test_document(void **state)
{
    (void)state;
    struct cn_buf buf;
    cn_buf_init(&buf, 4096);
    assert_int_equal(cn_metrics_document(&buf), CN_OK);
    assert_int_equal(cn_buf_append(&buf, "", 1), CN_OK);
    const char *head = "| name | labels | type | help |\n|---|---|---|---|\n";
    assert_memory_equal(buf.data, head, strlen(head));
    assert_non_null(
        strstr(buf.data, "\n| `t_sent_total` | `result=\"error\"` | counter | Sent. |\n"));
    assert_non_null(strstr(buf.data, "\n| `t_sessions` |  | gauge | Sessions \\| now. |\n"));
    assert_non_null(strstr(buf.data, "\n| `t_delay_seconds` |  | histogram | Delay. |\n"));
    assert_non_null(strstr(buf.data, "| Sent, all of \\ them. |\n"));
    cn_buf_fini(&buf);
}

static void test_failed_exposition_appends_nothing(void **state)
{
    (void)state;
    struct cn_buf buf;
    cn_buf_init(&buf, 300);
    assert_int_equal(cn_buf_append_str(&buf, cn_str_of("before")), CN_OK);
    assert_int_equal(cn_metrics_expose(&buf), CN_FULL);
    assert_int_equal(buf.len, 6);
    assert_int_equal(cn_metrics_document(&buf), CN_FULL);
    assert_int_equal(buf.len, 6);
    cn_buf_fini(&buf);
}

static void test_start_and_join_without_memory(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        allocations_left = i;
        assert_int_equal(cn_metrics_start(table, ROWS), CN_NOMEM);
    }
    allocations_left = -1;
    assert_int_equal(cn_metrics_start(table, ROWS), CN_OK);
    allocations_left = 0;
    assert_int_equal(cn_metrics_join(), CN_NOMEM);
    allocations_left = -1;
    cn_metrics_add(SENT_OK, 1);
    assert_int_equal(cn_metrics_sum(SENT_OK), 1);
    cn_metrics_stop();
}

static void lower_a_counter(void *arg)
{
    (void)arg;
    cn_metrics_add(SENT_OK, -1);
}

static void add_past_the_table(void *arg)
{
    (void)arg;
    cn_metrics_add(ROWS, 1);
}

static void observe_a_counter(void *arg)
{
    (void)arg;
    cn_metrics_observe_us(SENT_OK, 1);
}

static void test_misuse_aborts(void **state)
{
    (void)state;
    char said[512];
    assert_true(dies(lower_a_counter, NULL, said, sizeof(said)));
    assert_true(dies(add_past_the_table, NULL, said, sizeof(said)));
    assert_true(dies(observe_a_counter, NULL, said, sizeof(said)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counting_without_and_with_an_own_slot, start, stop),
        cmocka_unit_test_setup_teardown(test_families_have_one_head, start, stop),
        cmocka_unit_test_setup_teardown(test_histogram, start, stop),
        cmocka_unit_test_setup_teardown(test_histogram_joins_labels, start, stop),
        cmocka_unit_test_setup_teardown(test_threads_lose_nothing, start, stop),
        cmocka_unit_test_setup_teardown(test_document, start, stop),
        cmocka_unit_test_setup_teardown(test_failed_exposition_appends_nothing, start, stop),
        cmocka_unit_test(test_start_and_join_without_memory),
        cmocka_unit_test_setup_teardown(test_misuse_aborts, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
