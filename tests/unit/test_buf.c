// SPDX-License-Identifier: MIT
// Views and buffers: the bound, growth, and that a failed append changes nothing.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/buf.h"

#include <stdlib.h>

// Linked with --wrap=realloc: what buf.c allocates can be made to fail.
static bool no_memory;
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_realloc(void *old, size_t size)
{
    return no_memory ? NULL : __real_realloc(old, size);
}

static void assert_holds(const struct cn_buf *buf, const char *text)
{
    assert_int_equal(buf->len, strlen(text));
    assert_memory_equal(buf->data, text, buf->len);
}

static void test_views(void **state)
{
    (void)state;
    assert_null(cn_str_of(NULL).ptr);
    assert_int_equal(cn_str_of("abc").len, 3);
    assert_int_equal(CN_STR_LITERAL("a\0b").len, 3);
    assert_true(cn_str_equal(cn_str_of("abc"), CN_STR_LITERAL("abc")));
    assert_false(cn_str_equal(cn_str_of("abc"), cn_str_of("abd")));
    assert_false(cn_str_equal(cn_str_of("abc"), cn_str_of("ab")));
    assert_true(cn_str_equal(cn_str_of(NULL), cn_str_of("")));
}

static void test_copy_of_view(void **state)
{
    (void)state;
    char out[4] = "zzz";
    assert_int_equal(cn_str_copy((struct cn_str){"abcdef", 3}, out, sizeof(out)), CN_OK);
    assert_string_equal(out, "abc");
    assert_int_equal(cn_str_copy(cn_str_of("abcd"), out, sizeof(out)), CN_FULL);
    assert_string_equal(out, "");
    assert_int_equal(cn_str_copy(cn_str_of(NULL), out, sizeof(out)), CN_OK);
    assert_string_equal(out, "");
}

static void test_digits(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {9, "9"},
        {10, "10"},
        {99, "99"},
        {100, "100"},
        {1000, "1000"},
        {9999, "9999"},
        {10000, "10000"},
        {100000, "100000"},
        {99999999, "99999999"},
        {100000000, "100000000"},
        {1700000000042, "1700000000042"},
        {UINT64_MAX, "18446744073709551615"},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        char out[CN_DIGITS_MAX];
        size_t len = cn_digits_format(cases[i].value, out);
        assert_true(cn_str_equal((struct cn_str){out, len}, cn_str_of(cases[i].text)));
    }
}

static void test_adopted_memory_is_the_buffers(void **state)
{
    (void)state;
    struct cn_buf buf;
    cn_buf_init(&buf, 100);
    char *memory = malloc(cn_buf_bytes(10));
    assert_non_null(memory);
    cn_buf_adopt(&buf, memory, 10);
    assert_int_equal(cn_buf_printf(&buf, "%s", "0123456789"), CN_OK); // and its NUL
    assert_ptr_equal(buf.data, memory);
    assert_int_equal(cn_buf_append(&buf, "x", 1), CN_OK);
    assert_true(cn_str_equal(cn_buf_str(&buf), cn_str_of("0123456789x")));
    cn_buf_fini(&buf);
}

static void test_append_up_to_the_bound(void **state)
{
    (void)state;
    struct cn_buf buf;
    cn_buf_init(&buf, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(cn_buf_append(&buf, &(char){(char)i}, 1), CN_OK);
    assert_true(buf.cap <= 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(buf.data[i], i);
    assert_int_equal(cn_buf_append(&buf, "x", 1), CN_FULL);
    assert_int_equal(buf.len, 100);
    assert_int_equal(cn_buf_append(&buf, NULL, 0), CN_OK);
    cn_buf_fini(&buf);
    cn_buf_fini(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.max_bytes, 100);
}

static void test_huge_append_does_not_wrap_around(void **state)
{
    (void)state;
    struct cn_buf buf;
    cn_buf_init(&buf, 100);
    assert_int_equal(cn_buf_append_str(&buf, cn_str_of("abc")), CN_OK);
    volatile size_t huge = SIZE_MAX; // the compiler would see through it
    assert_int_equal(cn_buf_append(&buf, "x", huge), CN_FULL);
    assert_null(cn_buf_reserve(&buf, SIZE_MAX - 1));
    assert_holds(&buf, "abc");
    cn_buf_fini(&buf);
    cn_buf_init(&buf, SIZE_MAX);
    assert_null(cn_buf_reserve(&buf, SIZE_MAX));
    assert_null(buf.data);
}

static void test_printf_grows_and_keeps_the_bound(void **state)
{
    (void)state;
    struct cn_buf buf;
    cn_buf_init(&buf, 70);
    assert_int_equal(cn_buf_printf(&buf, "%s-%d", "abc", 42), CN_OK);
    assert_holds(&buf, "abc-42");
    assert_int_equal(cn_buf_printf(&buf, "%064d", 1), CN_OK);
    assert_int_equal(buf.len, 70);
    assert_int_equal(buf.data[69], '1');
    assert_int_equal(cn_buf_printf(&buf, "%s", ""), CN_OK);
    assert_int_equal(cn_buf_printf(&buf, "y"), CN_FULL);
    assert_int_equal(buf.len, 70);
    assert_int_equal(buf.data[69], '1');
    cn_buf_fini(&buf);
}

static void test_reserve_then_fill(void **state)
{
    (void)state;
    struct cn_buf buf = {.max_bytes = 1000};
    char *room = cn_buf_reserve(&buf, 500);
    assert_non_null(room);
    assert_int_equal(buf.len, 0);
    memset(room, 'r', 500);
    buf.len += 500;
    assert_null(cn_buf_reserve(&buf, 501));
    assert_non_null(cn_buf_reserve(&buf, 500));
    assert_int_equal(buf.data[499], 'r');
    assert_int_equal(cn_buf_str(&buf).len, 500);
    cn_buf_fini(&buf);
}

static void test_consume_from_the_front(void **state)
{
    (void)state;
    struct cn_buf buf;
    cn_buf_init(&buf, 100);
    cn_buf_consume(&buf, 0);
    assert_int_equal(cn_buf_append_str(&buf, cn_str_of("hello world")), CN_OK);
    cn_buf_consume(&buf, 6);
    assert_holds(&buf, "world");
    cn_buf_consume(&buf, 5);
    assert_int_equal(buf.len, 0);
    cn_buf_fini(&buf);
}

static void test_reset_keeps_small_allocations(void **state)
{
    (void)state;
    struct cn_buf buf;
    cn_buf_init(&buf, 4096);
    assert_int_equal(cn_buf_append_str(&buf, cn_str_of("abc")), CN_OK);
    const char *kept = buf.data;
    cn_buf_reset(&buf, 1024);
    assert_int_equal(buf.len, 0);
    assert_ptr_equal(buf.data, kept);
    assert_non_null(cn_buf_reserve(&buf, 4000));
    cn_buf_reset(&buf, 1024);
    assert_null(buf.data);
    assert_int_equal(buf.cap, 0);
    assert_int_equal(buf.max_bytes, 4096);
}

static void test_without_memory_nothing_changes(void **state)
{
    (void)state;
    struct cn_buf buf;
    cn_buf_init(&buf, 4096);
    no_memory = true;
    assert_int_equal(cn_buf_append(&buf, "a", 1), CN_NOMEM);
    no_memory = false;
    assert_int_equal(cn_buf_append_str(&buf, cn_str_of("abc")), CN_OK);
    no_memory = true;
    assert_null(cn_buf_reserve(&buf, 1000));
    assert_int_equal(cn_buf_printf(&buf, "%01000d", 1), CN_NOMEM);
    no_memory = false;
    assert_holds(&buf, "abc");
    cn_buf_fini(&buf);
}

static void test_digits_are_read(void **state)
{
    (void)state;
    int64_t value = -1;
    static const char *const bad[] = {"", "1234", "12a", "-1", "+1", " 1", "1.0"};
    for (size_t i = 0; i < CN_COUNT(bad); i++)
        assert_false(cn_str_read_digits(cn_str_of(bad[i]), 3, &value));
    assert_false(cn_str_read_digits((struct cn_str){NULL, 0}, 3, &value));
    assert_int_equal(value, -1);
    assert_true(cn_str_read_digits(cn_str_of("007"), 3, &value));
    assert_int_equal(value, 7);
    assert_true(cn_str_read_digits(cn_str_of("999999999999999999"), 18, &value));
    assert_int_equal(value, INT64_C(999999999999999999));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_copy_of_view),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_digits_are_read),
        cmocka_unit_test(test_adopted_memory_is_the_buffers),
        cmocka_unit_test(test_append_up_to_the_bound),
        cmocka_unit_test(test_huge_append_does_not_wrap_around),
        cmocka_unit_test(test_printf_grows_and_keeps_the_bound),
        cmocka_unit_test(test_reserve_then_fill),
        cmocka_unit_test(test_consume_from_the_front),
        cmocka_unit_test(test_reset_keeps_small_allocations),
        cmocka_unit_test(test_without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
