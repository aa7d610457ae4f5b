// SPDX-License-Identifier: MIT
// Results: the same fields as a table and as JSON, byte for byte, and the verdict.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "result.h"

#include <math.h>
#include <stdlib.h>

#include "chatnode/check.h"

static struct cn_histogram latency;
static struct cn_histogram nothing;
static const char *const urls[] = {"ws://a/ws", "ws://b/ws", NULL};

// What the function wrote to a file in memory; the caller frees it.
static char *printed(void (*print)(FILE *, const struct cn_field *, size_t),
                     const struct cn_field *fields, size_t count)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    assert_non_null(file);
    print(file, fields, count);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void check(const struct cn_field *fields, size_t count, const char *json, const char *table)
{
    char *text = printed(cn_result_print_json, fields, count);
    assert_string_equal(text, json);
    free(text);
    text = printed(cn_result_print_table, fields, count);
    assert_string_equal(text, table);
    free(text);
}

static void test_every_kind_of_field(void **state)
{
    (void)state;
    for (int i = 1; i <= 1000; i++)
        cn_histogram_add(&latency, i * 2, 1);
    const struct cn_field fields[] = {
        {.kind = CN_FIELD_TEXT, .key = "scenario", .label = "scenario", .text = "fanout"},
        {.kind = CN_FIELD_TEXTS, .key = "urls", .label = "servers", .texts = urls},
        {.kind = CN_FIELD_TIMES_US, .key = "latency_us", .label = "latency", .times = &latency},
        {.kind = CN_FIELD_COUNT, .key = "messages", .label = "messages", .count = 1234567},
        {.kind = CN_FIELD_REAL,
         .key = "messages_per_second",
         .label = "rate",
         .quantity = CN_QUANTITY_RATE,
         .real = 123456.75},
        {.kind = CN_FIELD_GROUP, .key = "server", .label = "server"},
        {.kind = CN_FIELD_REAL,
         .key = "cpu_share",
         .label = "CPU",
         .quantity = CN_QUANTITY_SHARE,
         .real = 0.985},
        {.kind = CN_FIELD_TIMES_MS, .key = "connect_ms", .label = "connect", .times = &latency},
        {.kind = CN_FIELD_END},
        {.kind = CN_FIELD_FLAG, .key = "complete", .label = "complete", .flag = true},
    };
    check(fields, CN_COUNT(fields),
          "{\"scenario\": \"fanout\", \"urls\": [\"ws://a/ws\", \"ws://b/ws\"], "
          "\"latency_us\": {\"p50\": 1000, \"p90\": 1800, \"p99\": 1980, \"p999\": 1998, "
          "\"max\": 2000, \"mean\": 1001, \"count\": 1000}, \"messages\": 1234567, "
          "\"messages_per_second\": 123456.75, \"server\": {\"cpu_share\": 0.985, "
          "\"connect_ms\": {\"p50\": 1, \"p90\": 1.8, \"p99\": 1.98, \"p999\": 1.998, "
          "\"max\": 2, \"mean\": 1.001, \"count\": 1000}}, \"complete\": true}\n",
          "scenario    fanout\n"
          "servers     ws://a/ws, ws://b/ws\n"
          "messages    1,234,567\n"
          "rate        123,457/s\n"
          "complete    yes\n"
          "\n"
          "                   p50       p90       p99     p99.9       max      mean\n"
          "latency           1 ms   1.80 ms   1.98 ms   2.00 ms      2 ms   1.00 ms\n"
          "connect           1 ms   1.80 ms   1.98 ms   2.00 ms      2 ms   1.00 ms\n"
          "\n"
          "server\n"
          "  CPU       98.5 %\n");
}

static void test_what_is_absent(void **state)
{
    (void)state;
    const struct cn_field fields[] = {
        {.kind = CN_FIELD_TEXT, .key = "text", .label = "text"},
        {.kind = CN_FIELD_TEXTS, .key = "texts", .label = "texts"},
        {.kind = CN_FIELD_COUNT, .key = "count", .label = "count", .absent = true, .count = 1},
        {.kind = CN_FIELD_REAL, .key = "nan", .label = "nan", .real = NAN},
        {.kind = CN_FIELD_TIMES_US, .key = "times", .label = "times"},
        {.kind = CN_FIELD_TIMES_US, .key = "empty", .label = "empty", .times = &nothing},
        {.kind = CN_FIELD_GROUP, .key = "group", .label = "group", .absent = true},
        {.kind = CN_FIELD_COUNT, .key = "inner", .label = "inner", .count = 2},
        {.kind = CN_FIELD_TIMES_US, .key = "more", .label = "more", .times = &latency},
        {.kind = CN_FIELD_END},
        {.kind = CN_FIELD_COUNT, .key = "json_only", .count = 3},
        {.kind = CN_FIELD_COUNT, .label = "table only", .count = 4},
    };
    check(fields, CN_COUNT(fields),
          "{\"text\": null, \"texts\": null, \"count\": null, \"nan\": null, \"times\": null, "
          "\"empty\": null, \"group\": null, \"json_only\": 3}\n",
          "table only    4\n");
}

static void test_texts_are_escaped(void **state)
{
    (void)state;
    const struct cn_field fields[] = {
        {.kind = CN_FIELD_TEXT, .key = "a", .text = "\"\\\n\x01 caf\xc3\xa9"},
        {.kind = CN_FIELD_TEXT, .key = "b", .text = "\xff!"},
    };
    check(fields, CN_COUNT(fields),
          "{\"a\": \"\\\"\\\\\\u000a\\u0001 caf\xc3\xa9\", \"b\": \"\\ufffd!\"}\n", "");
}

static void check_verdict(struct cn_verdict verdict, bool right, const char *expected)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    assert_non_null(file);
    cn_verdict_print(file, &verdict, right ? "the server's CPU" : NULL);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(cn_verdict_is_right(&verdict), right);
    assert_string_equal(text, expected);
    free(text);
}

static void test_verdicts(void **state)
{
    (void)state;
    check_verdict((struct cn_verdict){.complete = true}, true,
                  "complete: nothing lost, doubled or reordered\nlimited by: the server's CPU\n");
    check_verdict((struct cn_verdict){.lost = 1234, .duplicates = 1}, false,
                  "NOT COMPLETE: 1,234 lost, 1 doubled\n");
    check_verdict((struct cn_verdict){.complete = true, .disordered = 2}, false,
                  "WRONG: 2 reordered\n");
    check_verdict((struct cn_verdict){.reason = "12 clients never connected"}, false,
                  "NOT COMPLETE: 12 clients never connected\n");
    check_verdict((struct cn_verdict){.complete = true, .reason = "2 gaps"}, false,
                  "WRONG: 2 gaps\n");
    check_verdict((struct cn_verdict){0}, false, "NOT COMPLETE\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_field),
        cmocka_unit_test(test_what_is_absent),
        cmocka_unit_test(test_texts_are_escaped),
        cmocka_unit_test(test_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
