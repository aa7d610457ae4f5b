// SPDX-License-Identifier: MIT
// Rulings: what operators ask, and what nodes tell each other.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "chatnode/ruling.h"

enum { NOW_S = 1700000000, TTL_S = 3600 };

static enum cn_err decode(const char *body, bool kick, struct cn_ruling *out,
                          enum cn_problem *problem)
{
    return cn_ruling_decode(cn_str_of(body), kick, TTL_S, NOW_S, out, problem);
}

static void test_a_user_is_revoked(void **state)
{
    (void)state;
    struct cn_ruling ruling;
    enum cn_problem problem;
    assert_int_equal(decode("{\"user\":\"ann\"}", false, &ruling, &problem), CN_OK);
    assert_int_equal(ruling.kind, CN_RULING_USER);
    assert_string_equal(ruling.subject, "ann");
    assert_int_equal(ruling.before_s, NOW_S);
    assert_int_equal(ruling.until_s, NOW_S + TTL_S);
}

static void test_a_token_is_revoked(void **state)
{
    (void)state;
    struct cn_ruling ruling;
    enum cn_problem problem;
    assert_int_equal(decode("{\"jti\":\"a b/c=\",\"ttl_s\":5}", false, &ruling, &problem), CN_OK);
    assert_int_equal(ruling.kind, CN_RULING_TOKEN);
    assert_true(cn_str_equal(cn_ruling_subject(&ruling), CN_STR_LITERAL("a b/c=")));
    assert_int_equal(ruling.until_s, NOW_S + 5);
}

static void test_sessions_are_ended(void **state)
{
    (void)state;
    struct cn_ruling ruling;
    enum cn_problem problem;
    assert_int_equal(decode("{\"user\":\"ann\"}", true, &ruling, &problem), CN_OK);
    assert_int_equal(ruling.kind, CN_RULING_SESSIONS);
    assert_string_equal(cn_ruling_word(ruling.kind), "kick");
    assert_int_equal(decode("{\"jti\":\"x\"}", true, &ruling, &problem), CN_INVALID);
}

static void test_what_is_no_order(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum cn_problem problem;
    } rows[] = {
        {"", CN_PROBLEM_BAD_JSON},
        {"[]", CN_PROBLEM_BAD_JSON},
        {"{\"user\":\"ann\"", CN_PROBLEM_BAD_JSON},
        {"{\"user\":\"ann\",\"user\":\"bob\"}", CN_PROBLEM_BAD_JSON},
        {"{}", CN_PROBLEM_BAD_REQUEST},
        {"{\"user\":\"ann\",\"jti\":\"x\"}", CN_PROBLEM_BAD_REQUEST},
        {"{\"user\":\"ann\",\"ttl_s\":0}", CN_PROBLEM_BAD_REQUEST},
        {"{\"user\":\"ann\",\"ttl_s\":\"5\"}", CN_PROBLEM_BAD_REQUEST},
        {"{\"user\":\"ann\",\"ttl_s\":31622401}", CN_PROBLEM_BAD_REQUEST},
        {"{\"user\":\"a b\"}", CN_PROBLEM_BAD_NAME},
        {"{\"user\":7}", CN_PROBLEM_BAD_NAME},
        {"{\"jti\":\"\"}", CN_PROBLEM_BAD_REQUEST},
        {"{\"jti\":\"a\\\"b\"}", CN_PROBLEM_BAD_REQUEST},
        {"{\"jti\":\"a\\\\b\"}", CN_PROBLEM_BAD_REQUEST},
        {"{\"jti\":\"a\\nb\"}", CN_PROBLEM_BAD_REQUEST},
    };
    for (size_t i = 0; i < CN_COUNT(rows); i++) {
        struct cn_ruling ruling;
        enum cn_problem problem;
        assert_int_equal(decode(rows[i].body, false, &ruling, &problem), CN_INVALID);
        assert_int_equal(problem, rows[i].problem);
    }
}

static void test_the_longest_jti(void **state)
{
    (void)state;
    for (size_t len = CN_RULING_SUBJECT_MAX; len <= CN_RULING_SUBJECT_MAX + 1; len++) {
        char body[CN_RULING_SUBJECT_MAX + 32] = "{\"jti\":\"";
        struct cn_ruling ruling;
        enum cn_problem problem;
        memset(body + strlen(body), 'x', len);
        strcat(body, "\"}");
        enum cn_err wanted = len > CN_RULING_SUBJECT_MAX ? CN_INVALID : CN_OK;
        assert_int_equal(decode(body, false, &ruling, &problem), wanted);
        if (wanted == CN_OK) {
            char text[CN_RULING_TEXT_BYTES];
            struct cn_ruling again;
            size_t text_len = cn_ruling_format(&ruling, text);
            assert_int_equal(cn_ruling_parse((struct cn_str){text, text_len}, &again), CN_OK);
            assert_memory_equal(&again, &ruling, sizeof(ruling));
        }
    }
}

#define GOOD                                                                                       \
    "{\"v\":\"1\",\"end\":\"user\",\"subject\":\"ann\",\"before\":\"1700000000\","                 \
    "\"until\":\"1700003600\"}"

static void test_there_and_back(void **state)
{
    (void)state;
    struct cn_ruling ruling, again;
    enum cn_problem problem;
    char text[CN_RULING_TEXT_BYTES];
    assert_int_equal(decode("{\"user\":\"ann\"}", false, &ruling, &problem), CN_OK);
    size_t len = cn_ruling_format(&ruling, text);
    assert_true(cn_str_equal((struct cn_str){text, len}, CN_STR_LITERAL(GOOD)));
    assert_int_equal(cn_ruling_parse((struct cn_str){text, len}, &again), CN_OK);
    assert_memory_equal(&again, &ruling, sizeof(ruling));
}

static void test_what_strangers_write(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{}",
        "garbage",
        "{\"v\":\"2\",\"end\":\"user\",\"subject\":\"ann\",\"before\":\"1\",\"until\":\"2\"}",
        "{\"v\":\"1\",\"end\":\"world\",\"subject\":\"ann\",\"before\":\"1\",\"until\":\"2\"}",
        "{\"v\":\"1\",\"end\":\"user\",\"subject\":\"a b\",\"before\":\"1\",\"until\":\"2\"}",
        "{\"v\":\"1\",\"end\":\"user\",\"subject\":\"ann\",\"before\":\"-1\",\"until\":\"2\"}",
        "{\"v\":\"1\",\"end\":\"user\",\"subject\":\"ann\",\"before\":\"1\",\"until\":\"\"}",
        "{\"v\":\"1\",\"end\":\"user\",\"subject\":\"ann\",\"before\":\"1\"}",
        "{\"v\":\"1\",\"end\":\"jti\",\"subject\":\"a\\\\b\",\"before\":\"1\",\"until\":\"2\"}",
        ("{\"v\":\"1\",\"end\":\"user\",\"subject\":\"ann\",\"before\":\"1\",\"until\":"
         "\"123456789012\"}"),
    };
    for (size_t i = 0; i < CN_COUNT(bad); i++) {
        struct cn_ruling ruling;
        assert_int_equal(cn_ruling_parse(cn_str_of(bad[i]), &ruling), CN_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_user_is_revoked),    cmocka_unit_test(test_a_token_is_revoked),
        cmocka_unit_test(test_sessions_are_ended),   cmocka_unit_test(test_what_is_no_order),
        cmocka_unit_test(test_the_longest_jti),      cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_what_strangers_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
