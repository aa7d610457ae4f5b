// SPDX-License-Identifier: MIT
// The codec: requests from friendly and hostile text, and that all it writes is JSON.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "chatnode/codec.h"
#include "chatnode/name.h"

static enum cn_err decode(const char *text, struct cn_request *out, enum cn_problem *problem)
{
    return cn_request_decode(cn_str_of(text), out, problem);
}

static void assert_view(struct cn_str view, const char *text)
{
    if (!cn_str_equal(view, cn_str_of(text)))
        print_error("\"%.*s\" instead of \"%s\"\n", (int)view.len, view.ptr,
                    text ? text : "(absent)");
    assert_true(cn_str_equal(view, cn_str_of(text)));
}

// ---- Requests that are right ----

struct good_case {
    const char *text;
    enum cn_request_type type;
    const char *id, *room, *to, *content; // NULL: absent
};

static const struct good_case good_cases[] = {
    {"{\"type\":\"message\",\"content\":\"hi\"}", CN_REQUEST_MESSAGE, 0, 0, 0, "\"hi\""},
    {" \t\r\n{\"type\":\"message\",\"content\":null}\n", CN_REQUEST_MESSAGE, 0, 0, 0, "null"},
    {"{\"type\":\"message\",\"room\":\"r.1:x\",\"id\":\"a_-1\",\"content\":{ \"a\" : [ 1, 2 ] }}",
     CN_REQUEST_MESSAGE, "a_-1", "r.1:x", 0, "{\"a\":[1,2]}"},
    {"{\"type\":\"message\",\"content\":\"\xC3\xA9 \\u00e9 \\u0000 \\ud83d\\ude00\"}",
     CN_REQUEST_MESSAGE, 0, 0, 0, "\"\xC3\xA9 \xC3\xA9 \\u0000 \xF0\x9F\x98\x80\""},
    {"{\"type\":\"message\",\"content\":-0.5,\"colour\":\"red\"}", CN_REQUEST_MESSAGE, 0, 0, 0,
     "-0.5"},
    {"{\"\\u0074ype\":\"mess\\u0061ge\",\"content\":9223372036854775807}", CN_REQUEST_MESSAGE, 0, 0,
     0, "9223372036854775807"},
    {"{\"type\":\"direct\",\"to\":\"bob\",\"content\":\"x\",\"id\":\"1\"}", CN_REQUEST_DIRECT, "1",
     0, "bob", "\"x\""},
    {"{\"type\":\"join\",\"room\":\"a\"}", CN_REQUEST_JOIN, 0, "a", 0, 0},
    {"{\"type\":\"join\",\"room\":\"a\",\"content\":[[[1]]]}", CN_REQUEST_JOIN, 0, "a", 0, 0},
    {"{\"type\":\"leave\",\"room\":\"a\",\"id\":\"9\"}", CN_REQUEST_LEAVE, "9", "a", 0, 0},
    {"{\"type\":\"history\"}", CN_REQUEST_HISTORY, 0, 0, 0, 0},
    {"{\"type\":\"ping\",\"id\":\"p\",\"since\":7}", CN_REQUEST_PING, "p", 0, 0, 0},
    // What is not an object is a message to the default room, as it stands.
    {"hello", CN_REQUEST_MESSAGE, 0, 0, 0, "\"hello\""},
    {"", CN_REQUEST_MESSAGE, 0, 0, 0, "\"\""},
    {" \n", CN_REQUEST_MESSAGE, 0, 0, 0, "\" \\n\""},
    {"[1,2]", CN_REQUEST_MESSAGE, 0, 0, 0, "\"[1,2]\""},
    {"\"x\"", CN_REQUEST_MESSAGE, 0, 0, 0, "\"\\\"x\\\"\""},
    {"42", CN_REQUEST_MESSAGE, 0, 0, 0, "\"42\""},
    {"{\n\t\"type\":\"message\",\r\n\t\"content\":\"\xC3\xA9\"\n}", CN_REQUEST_MESSAGE, 0, 0, 0,
     "\"\xC3\xA9\""},
    {"a\x01\t\\\x1F/", CN_REQUEST_MESSAGE, 0, 0, 0, "\"a\\u0001\\t\\\\\\u001f/\""},
    {"\xEF\xBB\xBF{}", CN_REQUEST_MESSAGE, 0, 0, 0, "\"\xEF\xBB\xBF{}\""},
    {"bad \xFF\xC3 utf8", CN_REQUEST_MESSAGE, 0, 0, 0, "\"bad \xEF\xBF\xBD\xEF\xBF\xBD utf8\""},
};

static void good_requests_are_decoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(good_cases); i++) {
        const struct good_case *want = &good_cases[i];
        struct cn_request request;
        enum cn_problem problem;
        assert_int_equal(decode(want->text, &request, &problem), CN_OK);
        assert_int_equal(request.type, want->type);
        assert_view(request.id, want->id);
        assert_view(request.room, want->room);
        assert_view(request.to, want->to);
        assert_view(request.content, want->content);
        assert_int_equal(request.room.ptr == NULL, want->room == NULL);
        cn_request_fini(&request);
        cn_request_fini(&request);
    }
}

static void tokens_are_decoded_as_they_are(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"type\":\"auth\"}",
        "{\"type\":\"auth\",\"token\":\"\"}",
        "{\"type\":\"auth\",\"token\":7}",
        "{\"type\":\"auth\",\"token\":null,\"x\":[]}",
        "{\"type\":\"auth\",\"token\":\"t\",\"room\":\"lobby\"}",
    };
    struct cn_request request;
    enum cn_problem problem;
    assert_int_equal(
        decode("{\"type\":\"auth\",\"token\":\"a.b-c_d\",\"id\":\"i\"}", &request, &problem),
        CN_OK);
    assert_int_equal(request.type, CN_REQUEST_AUTH);
    assert_view(request.token, "a.b-c_d");
    cn_request_fini(&request);
    for (size_t i = 0; i < CN_COUNT(bad); i++) {
        assert_int_equal(decode(bad[i], &request, &problem), CN_INVALID);
        assert_int_equal(problem, CN_PROBLEM_BAD_REQUEST);
        cn_request_fini(&request);
    }
    // No request but this one has a token.
    assert_int_equal(decode("{\"type\":\"ping\",\"token\":\"a\"}", &request, &problem), CN_OK);
    assert_null(request.token.ptr);
    cn_request_fini(&request);
}

static void plain_text_may_hold_nul(void **state)
{
    (void)state;
    struct cn_request request;
    enum cn_problem problem;
    assert_int_equal(cn_request_decode((struct cn_str){"a\0b", 3}, &request, &problem), CN_OK);
    assert_view(request.content, "\"a\\u0000b\"");
    cn_request_fini(&request);
}

static void positions_and_limit_are_decoded(void **state)
{
    (void)state;
    struct cn_request request;
    enum cn_problem problem;
    assert_int_equal(
        decode("{\"type\":\"join\",\"room\":\"a\",\"since\":\"7-8\"}", &request, &problem), CN_OK);
    assert_true(request.has_since && request.since.gen == 7 && request.since.seq == 8);
    cn_request_fini(&request);
    assert_int_equal(
        decode("{\"type\":\"history\",\"before\":\"9-1\",\"limit\":200}", &request, &problem),
        CN_OK);
    assert_true(request.has_before && !request.has_after && request.before.gen == 9);
    assert_int_equal(request.limit, 200);
    cn_request_fini(&request);
    assert_int_equal(decode("{\"type\":\"history\",\"with\":\"bob\"}", &request, &problem), CN_OK);
    assert_view(request.with, "bob");
    assert_view(request.room, NULL);
    cn_request_fini(&request);
    assert_int_equal(decode("{\"type\":\"history\",\"after\":\"0-0\"}", &request, &problem), CN_OK);
    assert_true(request.has_after && !request.has_before && cn_pos_is_zero(request.after));
    assert_int_equal(request.limit, 50);
    cn_request_fini(&request);
}

// ---- Requests that are wrong ----

struct bad_case {
    const char *text;
    enum cn_problem problem;
    const char *id; // that the error can name
};

#define MESSAGE_WITH(content) "{\"type\":\"message\",\"id\":\"i\",\"content\":" content "}"

static const struct bad_case bad_cases[] = {
    // Not JSON.
    {"{", CN_PROBLEM_BAD_JSON, 0},
    {" {\"a\":1", CN_PROBLEM_BAD_JSON, 0},
    {"{\"a\":1}}", CN_PROBLEM_BAD_JSON, 0},
    {"{\"a\":1} {\"b\":1}", CN_PROBLEM_BAD_JSON, 0},
    {"{'a':1}", CN_PROBLEM_BAD_JSON, 0},
    {"{\"a\":1,}", CN_PROBLEM_BAD_JSON, 0},
    {"{\"a\":01}", CN_PROBLEM_BAD_JSON, 0},
    {"{\"a\":NaN}", CN_PROBLEM_BAD_JSON, 0},
    {"{\"a\"::::1}", CN_PROBLEM_BAD_JSON, 0},
    {"{\"a\":\"\\", CN_PROBLEM_BAD_JSON, 0},
    {"{\"a\":\"\x01\"}", CN_PROBLEM_BAD_JSON, 0},
    {"{\"a\":\"\xFF\"}", CN_PROBLEM_BAD_JSON, 0},
    {"{\n\"a\":\"\x01\"}", CN_PROBLEM_BAD_JSON, 0},
    {"{\n\"a\":\"\xFF\"}", CN_PROBLEM_BAD_JSON, 0},
    {"{\n\"\xC3\":\"\xA9\"}", CN_PROBLEM_BAD_JSON, 0},
    {"{\"\":\"1\",\"\":\"2\"}", CN_PROBLEM_BAD_JSON, 0},
    {MESSAGE_WITH("\"\\ud800\""), CN_PROBLEM_BAD_JSON, 0},
    {MESSAGE_WITH("\"\\udc00\\ud800\""), CN_PROBLEM_BAD_JSON, 0},
    {MESSAGE_WITH("\"\\ud83dx\""), CN_PROBLEM_BAD_JSON, 0},
    {MESSAGE_WITH("\"\xED\xA0\x80\""), CN_PROBLEM_BAD_JSON, 0},
    {MESSAGE_WITH("1e999"), CN_PROBLEM_BAD_JSON, 0},
    {MESSAGE_WITH("123456789012345678901234567890"), CN_PROBLEM_BAD_JSON, 0},
    // One key twice: which one counts would be anybody's guess.
    {"{\"type\":\"ping\",\"type\":\"message\"}", CN_PROBLEM_BAD_JSON, 0},
    {"{\"type\":\"ping\",\"\\u0074ype\":\"message\"}", CN_PROBLEM_BAD_JSON, 0},
    {MESSAGE_WITH("{\"a\":{\"b\":1,\"\\u0062\":2}}"), CN_PROBLEM_BAD_JSON, 0},
    {"{\"type\\u0000x\":\"ping\"}", CN_PROBLEM_BAD_JSON, 0},
    // The type.
    {"{}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"id\":\"i\"}", CN_PROBLEM_BAD_REQUEST, "i"},
    {"{\"id\":\"i\",\"type\":5}", CN_PROBLEM_BAD_REQUEST, "i"},
    {"{\"id\":\"i\",\"type\":\"dance\"}", CN_PROBLEM_UNKNOWN_TYPE, "i"},
    {"{\"id\":\"i\",\"type\":\"ping\\u0000\"}", CN_PROBLEM_UNKNOWN_TYPE, "i"},
    {"{\"id\":\"i\",\"type\":\"\"}", CN_PROBLEM_UNKNOWN_TYPE, "i"},
    // The id.
    {"{\"type\":\"ping\",\"id\":\"\"}", CN_PROBLEM_BAD_ID, 0},
    {"{\"type\":\"ping\",\"id\":7}", CN_PROBLEM_BAD_ID, 0},
    {"{\"type\":\"ping\",\"id\":\"a b\"}", CN_PROBLEM_BAD_ID, 0},
    {"{\"type\":\"ping\",\"id\":\"a\\u0000\"}", CN_PROBLEM_BAD_ID, 0},
    {"{\"type\":\"ping\",\"id\":"
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
     CN_PROBLEM_BAD_ID, 0},
    // Fields that are missing.
    {"{\"type\":\"message\",\"id\":\"i\"}", CN_PROBLEM_BAD_REQUEST, "i"},
    {"{\"type\":\"direct\",\"content\":1}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"direct\",\"to\":\"a\"}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"join\"}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"leave\",\"id\":\"i\"}", CN_PROBLEM_BAD_REQUEST, "i"},
    // An address that the request has no place for: it must not go elsewhere instead.
    {"{\"type\":\"message\",\"to\":\"bob\",\"content\":\"secret\"}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"direct\",\"to\":\"bob\",\"room\":\"a\",\"content\":1}", CN_PROBLEM_BAD_REQUEST,
     0},
    {"{\"type\":\"join\",\"room\":\"a\",\"with\":\"bob\"}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"history\",\"with\":\"bob\",\"room\":\"a\"}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"history\",\"with\":\"bob\",\"to\":\"a\"}", CN_PROBLEM_BAD_REQUEST, 0},
    // Names and positions.
    {"{\"type\":\"join\",\"room\":\"\",\"id\":\"i\"}", CN_PROBLEM_BAD_NAME, "i"},
    {"{\"type\":\"join\",\"room\":\"a b\"}", CN_PROBLEM_BAD_NAME, 0},
    {"{\"type\":\"join\",\"room\":[\"a\"]}", CN_PROBLEM_BAD_NAME, 0},
    {"{\"type\":\"join\",\"room\":\"a\\u0000b\"}", CN_PROBLEM_BAD_NAME, 0},
    {"{\"type\":\"message\",\"room\":null,\"content\":1}", CN_PROBLEM_BAD_NAME, 0},
    {"{\"type\":\"direct\",\"to\":\"\xC3\xA9\",\"content\":1}", CN_PROBLEM_BAD_NAME, 0},
    {"{\"type\":\"history\",\"with\":\"a b\",\"id\":\"i\"}", CN_PROBLEM_BAD_NAME, "i"},
    {"{\"type\":\"history\",\"with\":[\"a\"]}", CN_PROBLEM_BAD_NAME, 0},
    {"{\"type\":\"join\",\"room\":\"a\",\"since\":\"7\"}", CN_PROBLEM_BAD_POSITION, 0},
    {"{\"type\":\"join\",\"room\":\"a\",\"since\":7}", CN_PROBLEM_BAD_POSITION, 0},
    {"{\"type\":\"join\",\"room\":\"a\",\"since\":\"1-1\\u0000\"}", CN_PROBLEM_BAD_POSITION, 0},
    {"{\"type\":\"history\",\"before\":\"x\"}", CN_PROBLEM_BAD_POSITION, 0},
    {"{\"type\":\"history\",\"after\":\"-1\"}", CN_PROBLEM_BAD_POSITION, 0},
    {"{\"type\":\"history\",\"before\":\"1-1\",\"after\":\"1-1\"}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"history\",\"limit\":0}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"history\",\"limit\":201}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"history\",\"limit\":-1}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"history\",\"limit\":5.0}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"history\",\"limit\":\"5\"}", CN_PROBLEM_BAD_REQUEST, 0},
    {"{\"type\":\"history\",\"limit\":4294967297}", CN_PROBLEM_BAD_REQUEST, 0},
};

static void bad_requests_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(bad_cases); i++) {
        const struct bad_case *want = &bad_cases[i];
        struct cn_request request;
        enum cn_problem problem = CN_PROBLEM_INTERNAL;
        assert_int_equal(decode(want->text, &request, &problem), CN_INVALID);
        if (problem != want->problem)
            print_error("%s: %s\n", want->text, cn_problem_code(problem));
        assert_int_equal(problem, want->problem);
        assert_view(request.id, want->id);
        cn_request_fini(&request);
    }
}

// ---- In place and by the parser ----

static const char *const plain_texts[] = {
    "{\"type\":\"message\",\"room\":\"r\",\"id\":\"i\",\"content\":\"hi\"}",
    " { \"type\" :\t\"message\" ,\r\n\"content\": \"\" } \n",
    "{\"type\":\"message\",\"content\":\"\xC3\xA9 \xF0\x9F\x98\x80 \x7F /\"}",
    "{\"type\":\"message\",\"content\":\"a\\\"b\\n\"}",
    "{\"type\":\"message\",\"content\":\"\\u00e9\"}",
    "{\"type\":\"message\",\"content\":\"\\\"\\\\\\b\\f\\n\\r\\t\\\\\"}",
    "{\"type\":\"message\",\"content\":\"\\\\\\\"\",\"id\":\"\\n\"}",
    "{\"type\":\"message\",\"content\":\"a\\/b\"}",
    "{\"type\":\"message\",\"content\":\"a\\x\"}",
    "{\"type\":\"message\",\"content\":\"a\\\"}",
    "{\"type\":\"message\",\"content\":\"a\\",
    "{\"type\":\"message\",\"content\":\"a\",\"room\":\"b\\t\"}",
    "{\"type\":\"message\\n\",\"content\":\"a\"}",
    "{\"type\":\"message\",\"content\":\"a\",\"con\\ttent\":\"a\"}",
    "{\"type\":\"join\",\"room\":\"b\",\"since\":\"1-1\\\"\"}",
    "{\"type\":\"message\",\"content\":\"eight by\tte\"}",
    "{\"type\":\"message\",\"content\":\"x\",\"\":\"\"}",
    "{\"type\":\"message\",\"content\":\"x\"",
    "{\"type\":\"message\",\"content\":\"x\"}}",
    "{\"type\":\"message\",\"content\":\"x\",}",
    "{\"type\":\"message\"\"content\":\"x\"}",
    "{\"type\":\"message\",\"content\":\"x\",\"1\":\"\",\"2\":\"\",\"3\":\"\",\"4\":\"\",\"5\":"
    "\"\","
    "\"6\":\"\",\"7\":\"\"}",
};

static void assert_same_request(const struct cn_request *a, const struct cn_request *b)
{
    assert_int_equal(a->type, b->type);
    assert_true(cn_str_equal(a->id, b->id) && cn_str_equal(a->room, b->room));
    assert_true(cn_str_equal(a->to, b->to) && cn_str_equal(a->with, b->with));
    assert_true(cn_str_equal(a->content, b->content));
    assert_true(cn_pos_compare(a->since, b->since) == 0 && a->limit == b->limit);
}

// A member that is no string is for the parser: nothing else may change by it.
static void check_by_parser(const char *text)
{
    char with_number[1024];
    struct cn_request one, other;
    enum cn_problem problem = CN_PROBLEM_INTERNAL, other_problem = CN_PROBLEM_INTERNAL;
    const char *key = strchr(text, '"');
    if (text[strspn(text, " \t\r\n")] != '{' || !key)
        return;
    snprintf(with_number, sizeof(with_number), "{\"zz\":0,%s", key);
    enum cn_err err = decode(text, &one, &problem);
    assert_int_equal(decode(with_number, &other, &other_problem), err);
    if (problem != other_problem)
        print_error("%s\n", text);
    assert_int_equal(problem, other_problem);
    assert_same_request(&one, &other);
    cn_request_fini(&one);
    cn_request_fini(&other);
}

static void an_object_is_the_same_in_place_and_by_the_parser(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(plain_texts); i++)
        check_by_parser(plain_texts[i]);
    for (size_t i = 0; i < CN_COUNT(good_cases); i++)
        check_by_parser(good_cases[i].text);
    for (size_t i = 0; i < CN_COUNT(bad_cases); i++)
        check_by_parser(bad_cases[i].text);
}

// What most clients send costs no memory.
static void an_object_of_strings_is_read_in_place(void **state)
{
    (void)state;
    struct cn_request request;
    enum cn_problem problem;
    const char *text = "{\"type\":\"message\",\"id\":\"i\",\"content\":\"a\\n\\\"hi\\\"\"}";
    assert_int_equal(decode(text, &request, &problem), CN_OK);
    assert_null(request.owned);
    assert_null(request.owned_text);
    assert_ptr_equal(request.content.ptr, strstr(text, "\"a"));
    assert_view(request.content, "\"a\\n\\\"hi\\\"\"");
    cn_request_fini(&request);
}

static void raw_nul_in_an_object_is_not_json(void **state)
{
    (void)state;
    static const char text[] = "{\"type\":\"ping\"\0}";
    struct cn_request request;
    enum cn_problem problem;
    assert_int_equal(cn_request_decode(CN_STR_LITERAL(text), &request, &problem), CN_INVALID);
    assert_int_equal(problem, CN_PROBLEM_BAD_JSON);
    cn_request_fini(&request);
}

// ---- Bounds ----

// `head`, then `unit` `times` times, then `tail`: what decoding it gives; CN_PROBLEM_INTERNAL:
// fine.
// ---- What the HTTP API publishes ----

static void publishes_are_decoded(void **state)
{
    (void)state;
    struct cn_request request;
    enum cn_problem problem;
    const char *to_room = " {\"room\":\"hall\",\"from\":\"bot\",\"content\":{ \"a\" : 1 },"
                          "\"id\":\"x-1\",\"type\":\"ping\",\"colour\":7}";
    assert_int_equal(cn_request_decode_publish(cn_str_of(to_room), &request, &problem), CN_OK);
    assert_int_equal(request.type, CN_REQUEST_MESSAGE);
    assert_view(request.room, "hall");
    assert_view(request.from, "bot");
    assert_view(request.to, NULL);
    assert_view(request.id, "x-1");
    assert_view(request.content, "{\"a\":1}");
    cn_request_fini(&request);
    const char *to_user = "{\"to\":\"bob\",\"from\":\"bot\",\"content\":null}";
    assert_int_equal(cn_request_decode_publish(cn_str_of(to_user), &request, &problem), CN_OK);
    assert_int_equal(request.type, CN_REQUEST_DIRECT);
    assert_view(request.to, "bob");
    assert_view(request.room, NULL);
    assert_view(request.id, NULL);
    cn_request_fini(&request);
}

static void bad_publishes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum cn_problem problem;
    } cases[] = {
        {"", CN_PROBLEM_BAD_JSON},
        {"hello", CN_PROBLEM_BAD_JSON},
        {"[{}]", CN_PROBLEM_BAD_JSON},
        {"{", CN_PROBLEM_BAD_JSON},
        {"{\"room\":\"a\",\"room\":\"b\",\"from\":\"c\",\"content\":1}", CN_PROBLEM_BAD_JSON},
        {"{}", CN_PROBLEM_BAD_REQUEST},
        {"{\"room\":\"a\",\"content\":1}", CN_PROBLEM_BAD_REQUEST},
        {"{\"room\":\"a\",\"from\":\"b\"}", CN_PROBLEM_BAD_REQUEST},
        {"{\"from\":\"b\",\"content\":1}", CN_PROBLEM_BAD_REQUEST},
        {"{\"room\":\"a\",\"to\":\"b\",\"from\":\"c\",\"content\":1}", CN_PROBLEM_BAD_REQUEST},
        {"{\"with\":\"a\",\"to\":\"b\",\"from\":\"c\",\"content\":1}", CN_PROBLEM_BAD_REQUEST},
        {"{\"room\":\"a b\",\"from\":\"c\",\"content\":1}", CN_PROBLEM_BAD_NAME},
        {"{\"room\":\"a\",\"from\":\"\",\"content\":1}", CN_PROBLEM_BAD_NAME},
        {"{\"room\":\"a\",\"from\":7,\"content\":1}", CN_PROBLEM_BAD_NAME},
        {"{\"to\":null,\"from\":\"c\",\"content\":1}", CN_PROBLEM_BAD_NAME},
        {"{\"room\":\"a\",\"from\":\"c\",\"content\":1,\"id\":\"a.b\"}", CN_PROBLEM_BAD_ID},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        struct cn_request request;
        enum cn_problem problem;
        assert_int_equal(cn_request_decode_publish(cn_str_of(cases[i].text), &request, &problem),
                         CN_INVALID);
        if (problem != cases[i].problem)
            print_error("%s: %s\n", cases[i].text, cn_problem_code(problem));
        assert_int_equal(problem, cases[i].problem);
        cn_request_fini(&request);
    }
}

// A client's frame says who it is from in vain.
static void the_sender_of_a_frame_is_not_read(void **state)
{
    (void)state;
    struct cn_request request;
    enum cn_problem problem;
    const char *text = "{\"type\":\"message\",\"from\":\"eve\",\"content\":1}";
    assert_int_equal(decode(text, &request, &problem), CN_OK);
    assert_view(request.from, NULL);
    cn_request_fini(&request);
}

static enum cn_problem decode_repeated(const char *head, const char *unit, size_t times,
                                       const char *tail)
{
    struct cn_buf text;
    struct cn_request request;
    enum cn_problem problem = CN_PROBLEM_INTERNAL;
    cn_buf_init(&text, 1 << 20);
    assert_int_equal(cn_buf_append_str(&text, cn_str_of(head)), CN_OK);
    for (size_t i = 0; i < times; i++)
        assert_int_equal(cn_buf_append_str(&text, cn_str_of(unit)), CN_OK);
    assert_int_equal(cn_buf_append_str(&text, cn_str_of(tail)), CN_OK);
    enum cn_err err = cn_request_decode(cn_buf_str(&text), &request, &problem);
    assert_true(err == CN_OK || err == CN_INVALID);
    cn_request_fini(&request);
    cn_buf_fini(&text);
    return err == CN_OK ? CN_PROBLEM_INTERNAL : problem;
}

static void depth_is_bounded(void **state)
{
    (void)state;
    const char *head = "{\"type\":\"message\",\"content\":";
    assert_int_equal(decode_repeated(head, "[", 15, "]]]]]]]]]]]]]]]}"), CN_PROBLEM_INTERNAL);
    assert_int_equal(decode_repeated(head, "[", 16, "]]]]]]]]]]]]]]]]}"), CN_PROBLEM_BAD_JSON);
    assert_int_equal(decode_repeated(head, "{\"a\":", 14, "0}}}}}}}}}}}}}}}"), CN_PROBLEM_INTERNAL);
    assert_int_equal(decode_repeated(head, "{\"a\":", 16, "0}}}}}}}}}}}}}}}}}"),
                     CN_PROBLEM_BAD_JSON);
    assert_int_equal(decode_repeated(head, "[", 65536, ""), CN_PROBLEM_BAD_JSON);
    assert_int_equal(decode_repeated("", "{\"a\":", 13000, ""), CN_PROBLEM_BAD_JSON);
    // Brackets inside strings, also behind escaped quotes, are no nesting.
    assert_int_equal(decode_repeated("{\"type\":\"message\",\"content\":\"\\\"", "[{", 100, "\"}"),
                     CN_PROBLEM_INTERNAL);
    assert_int_equal(decode_repeated("", "[", 65536, ""), CN_PROBLEM_INTERNAL); // plain text
}

static void number_of_values_is_bounded(void **state)
{
    (void)state;
    // The frame's object, its type, the array, its first element: four values besides the rest.
    const char *head = "{\"type\":\"message\",\"content\":[0";
    const size_t rest = CN_CODEC_NODES_MAX - 4;
    assert_int_equal(decode_repeated(head, ",0", rest, "]}"), CN_PROBLEM_INTERNAL);
    assert_int_equal(decode_repeated(head, ",0", rest + 1, "]}"), CN_PROBLEM_BAD_JSON);
    assert_int_equal(decode_repeated(head, ", []", rest, "]}"), CN_PROBLEM_INTERNAL);
    assert_int_equal(decode_repeated(head, ", []", rest + 1, "]}"), CN_PROBLEM_BAD_JSON);
    assert_int_equal(decode_repeated(head, ",{\"k\":1}", rest / 2, "]}"), CN_PROBLEM_INTERNAL);
    assert_int_equal(decode_repeated(head, ",{\"k\":1}", rest / 2 + 1, "]}"), CN_PROBLEM_BAD_JSON);
}

static size_t allocations;

static void *count_allocation(size_t len)
{
    allocations++;
    return malloc(len);
}

// What breaks a bound is refused before the parser sees it: it allocates nothing. Colons that are
// no JSON do not make room for more values before them.
static void the_parser_never_sees_hostile_text(void **state)
{
    (void)state;
    char colons[20002];
    memset(colons, ':', sizeof(colons) - 1);
    colons[sizeof(colons) - 1] = '\0';
    assert_int_equal(decode_repeated("{\"type\":\"ping\",\"a\":1}", "", 0, ""),
                     CN_PROBLEM_INTERNAL);
    json_set_alloc_funcs(count_allocation, free); // after the codec has set its own
    allocations = 0;
    assert_int_equal(decode_repeated("{\"a\":", "[", 65536, ""), CN_PROBLEM_BAD_JSON);
    assert_int_equal(decode_repeated("{\"a\":[0", ",0", 10000, colons), CN_PROBLEM_BAD_JSON);
    assert_int_equal(decode_repeated("{\"a\":[0", ",0", 10000, "]}"), CN_PROBLEM_BAD_JSON);
    assert_int_equal(allocations, 0);
    assert_int_equal(decode_repeated("{\"type\":\"ping\",\"a\":1}", "", 0, ""),
                     CN_PROBLEM_INTERNAL);
    assert_true(allocations > 0);
    json_set_alloc_funcs(malloc, free);
}

static size_t searched_bytes;

void *__real_memchr(const void *bytes, int wanted, size_t len);
void *__wrap_memchr(const void *bytes, int wanted, size_t len);

void *__wrap_memchr(const void *bytes, int wanted, size_t len)
{
    const char *found = __real_memchr(bytes, wanted, len);
    searched_bytes += found ? (size_t)(found - (const char *)bytes) + 1 : len;
    return (void *)(uintptr_t)found;
}

// A text that is one escape after the other takes no more than any other text of its length: it is
// gone through a fixed number of times, not once for each escape.
static void escapes_are_searched_once(void **state)
{
    (void)state;
    static const char head[] = "{\"type\":\"message\",\"content\":\"";
    static const char *const escapes[] = {"\\n", "\\\"", "\\\\"};
    const size_t times = 30000;
    for (size_t i = 0; i < CN_COUNT(escapes); i++) {
        searched_bytes = 0;
        assert_int_equal(decode_repeated(head, escapes[i], times, "\"}"), CN_PROBLEM_INTERNAL);
        assert_true(searched_bytes >= 2 * times);
        assert_true(searched_bytes <= 20 * times);
    }
}

// ---- Everything that is written is JSON ----

typedef enum cn_err write_fn(struct cn_buf *out);

static const struct cn_pos some_pos = {1700000000000, 42};
static const struct cn_str absent = {NULL, 0};

#define S CN_STR_LITERAL

static enum cn_err write_welcome(struct cn_buf *out)
{
    return cn_codec_welcome(out, &(struct cn_welcome){.user = S("ann"),
                                                      .session = S("s1"),
                                                      .node = S("n\"1\\"),
                                                      .version = S("0.1"),
                                                      .ping_ms = 25000,
                                                      .max_message_bytes = 65536,
                                                      .max_rooms = 128,
                                                      .max_in_flight = 64,
                                                      .dedupe_ms = 300000,
                                                      .durability = S("disk")});
}

static enum cn_err write_welcome_with_token(struct cn_buf *out)
{
    return cn_codec_welcome(out, &(struct cn_welcome){.user = S("ann"),
                                                      .session = S("s1"),
                                                      .node = S("n"),
                                                      .version = S("0.1"),
                                                      .durability = S("disk"),
                                                      .has_token = true,
                                                      .name = S("\"A\""),
                                                      .expires_s = 1700000000,
                                                      .expires_in_ms = -1});
}

#define WRITER(name, call)                                                                         \
    static enum cn_err name(struct cn_buf *out)                                                    \
    {                                                                                              \
        return call;                                                                               \
    }
WRITER(write_joined, cn_codec_joined(out, S("lobby"), some_pos, true, S("i")))
WRITER(write_joined_inbox, cn_codec_joined(out, absent, (struct cn_pos){0, 0}, false, absent))
WRITER(write_left, cn_codec_left(out, S("lobby"), S("i"), (struct cn_str){NULL, 0}))
WRITER(write_left_for, cn_codec_left(out, S("lobby"), absent, S("denied")))
WRITER(write_refusal, cn_codec_refusal(out, CN_PROBLEM_UNAUTHENTICATED, S("i"), S("expired")))
WRITER(write_authenticated, cn_codec_authenticated(out, 1700000000, 60000, S("i")))
WRITER(write_expiring, cn_codec_expiring(out, 30000))
WRITER(write_ack, cn_codec_ack(out, S("i"), some_pos, 1700000000001, false))
WRITER(write_error, cn_codec_error(out, CN_PROBLEM_NOT_JOINED, S("i")))
WRITER(write_error_without_id, cn_codec_error(out, CN_PROBLEM_OVERLOADED, absent))
WRITER(write_gap, cn_codec_gap_reset(out, S("lobby")))
WRITER(write_gap_inbox, cn_codec_gap_reset(out, absent))
static enum cn_err write_history(struct cn_buf *out)
{
    const struct cn_history_words words = {.room = S("lobby"),
                                           .id = S("i"),
                                           .entries = S("{\"pos\":\"1-0\"},{\"pos\":\"1-1\"}"),
                                           .more = true,
                                           .next = {1, 0}};
    return cn_codec_history(out, &words);
}

WRITER(write_history_empty,
       cn_codec_history(out, &(struct cn_history_words){.room = S("lobby"), .next = {1, 0}}))
WRITER(write_history_with,
       cn_codec_history(out,
                        &(struct cn_history_words){.with = S("bob"), .more = true, .next = {7, 8}}))
WRITER(write_stored, cn_codec_api_stored(out, (struct cn_pos){7, 8}, 9, true, CN_STR_LITERAL("i")))
WRITER(write_api_error, cn_codec_api_error(out, CN_PROBLEM_UNAUTHORIZED))
WRITER(write_reconnect, cn_codec_reconnect(out, 1500, CN_REASON_RESTART))
WRITER(write_pong, cn_codec_pong(out, absent))
static enum cn_err write_message(struct cn_buf *out)
{
    enum cn_err err = cn_buf_append_str(out, S("{\"pos\":\"7-1\",\"ts\":8,"));
    return err ? err : cn_codec_message_body(out, S("r"), S("ann"), S("[1,\"\xC3\xA9\"]"), S("i"));
}

static enum cn_err write_direct(struct cn_buf *out)
{
    enum cn_err err = cn_buf_append_str(out, S("{\"pos\":\"7-1\",\"ts\":8,"));
    return err ? err : cn_codec_direct_body(out, S("ann"), S("bob"), S("\"hi\""), absent);
}

#define POS "\"pos\":\"1700000000000-42\""

struct written_case {
    write_fn *write;
    const char *text;
};

static const struct written_case written_cases[] = {
    {write_welcome, "{\"type\":\"welcome\",\"user\":\"ann\",\"session\":\"s1\","
                    "\"node\":\"n\\\"1\\\\\",\"version\":\"0.1\",\"ping_ms\":25000,"
                    "\"limits\":{\"max_message_bytes\":65536,\"max_rooms\":128,"
                    "\"max_in_flight\":64,\"dedupe_ms\":300000},\"durability\":\"disk\"}"},
    {write_joined, "{\"type\":\"joined\",\"room\":\"lobby\"," POS ",\"recovered\":true,"
                   "\"id\":\"i\"}"},
    {write_joined_inbox,
     "{\"type\":\"joined\",\"inbox\":true,\"pos\":\"0-0\",\"recovered\":false}"},
    {write_welcome_with_token, "{\"type\":\"welcome\",\"user\":\"ann\",\"session\":\"s1\","
                               "\"node\":\"n\",\"version\":\"0.1\",\"ping_ms\":0,"
                               "\"limits\":{\"max_message_bytes\":0,\"max_rooms\":0,"
                               "\"max_in_flight\":0,\"dedupe_ms\":0},\"durability\":\"disk\","
                               "\"name\":\"\\\"A\\\"\",\"exp\":1700000000,"
                               "\"expires_in_ms\":-1}"},
    {write_left_for, "{\"type\":\"left\",\"room\":\"lobby\",\"reason\":\"denied\"}"},
    {write_refusal, "{\"type\":\"error\",\"id\":\"i\",\"code\":\"unauthenticated\","
                    "\"message\":\"show a valid token first\",\"reason\":\"expired\","
                    "\"retry\":false}"},
    {write_authenticated, "{\"type\":\"authenticated\",\"exp\":1700000000,"
                          "\"expires_in_ms\":60000,\"id\":\"i\"}"},
    {write_expiring, "{\"type\":\"expiring\",\"in_ms\":30000}"},
    {write_left, "{\"type\":\"left\",\"room\":\"lobby\",\"id\":\"i\"}"},
    {write_ack, "{\"type\":\"ack\",\"id\":\"i\"," POS ",\"ts\":1700000000001,\"dup\":false}"},
    {write_error, "{\"type\":\"error\",\"id\":\"i\",\"code\":\"not_joined\","
                  "\"message\":\"join the room first\",\"retry\":false}"},
    {write_error_without_id,
     "{\"type\":\"error\",\"code\":\"overloaded\","
     "\"message\":\"too many requests are waiting; try again\",\"retry\":true}"},
    {write_gap, "{\"type\":\"gap\",\"room\":\"lobby\",\"reset\":true}"},
    {write_gap_inbox, "{\"type\":\"gap\",\"inbox\":true,\"reset\":true}"},
    {write_history, "{\"type\":\"history\",\"room\":\"lobby\",\"id\":\"i\",\"messages\":["
                    "{\"pos\":\"1-0\"},{\"pos\":\"1-1\"}],\"more\":true,\"next\":\"1-0\"}"},
    {write_history_empty,
     "{\"type\":\"history\",\"room\":\"lobby\",\"messages\":[],\"more\":false}"},
    {write_stored, "{\"pos\":\"7-8\",\"ts\":9,\"dup\":true,\"id\":\"i\"}"},
    {write_api_error, "{\"error\":{\"code\":\"unauthorized\",\"message\":\"the key is missing or "
                      "wrong\",\"retry\":false}}"},
    {write_history_with, "{\"type\":\"history\",\"with\":\"bob\",\"messages\":[],"
                         "\"more\":true,\"next\":\"7-8\"}"},
    {write_reconnect, "{\"type\":\"reconnect\",\"in_ms\":1500,\"reason\":\"restart\"}"},
    {write_pong, "{\"type\":\"pong\"}"},
    {write_message, "{\"pos\":\"7-1\",\"ts\":8,\"type\":\"message\",\"room\":\"r\","
                    "\"from\":\"ann\",\"content\":[1,\"\xC3\xA9\"],\"id\":\"i\"}"},
    {write_direct, "{\"pos\":\"7-1\",\"ts\":8,\"type\":\"direct\",\"from\":\"ann\",\"to\":\"bob\","
                   "\"content\":\"hi\"}"},
};

static void answers_are_as_written_in_the_contract(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(written_cases); i++) {
        struct cn_buf out;
        cn_buf_init(&out, 4096);
        assert_int_equal(written_cases[i].write(&out), CN_OK);
        assert_view(cn_buf_str(&out), written_cases[i].text);
        json_t *json = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
        assert_true(json_is_object(json));
        json_decref(json);
        cn_buf_fini(&out);
    }
}

// At each bound short of enough, nothing of the answer stays behind.
static void answers_are_written_whole_or_not_at_all(void **state)
{
    (void)state;
    struct cn_buf out;
    for (size_t i = 0; i < CN_COUNT(written_cases); i++) {
        if (written_cases[i].write == write_message || written_cases[i].write == write_direct)
            continue; // these append twice
        size_t needed = strlen(written_cases[i].text);
        for (size_t bound = 3; bound < 3 + needed; bound++) {
            cn_buf_init(&out, bound);
            assert_int_equal(cn_buf_append(&out, "abc", 3), CN_OK);
            assert_int_equal(written_cases[i].write(&out), CN_FULL);
            assert_view(cn_buf_str(&out), "abc");
            cn_buf_fini(&out);
        }
    }
}

// Any bytes at all become a JSON string, and valid text comes back as it was.
static void quoting_survives_any_bytes(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (int round = 0; round < 3000; round++) {
        char text[24];
        for (size_t i = 0; i < sizeof(text); i++) {
            seed = seed * 1103515245u + 12345u;
            text[i] = (char)(seed >> (round % 2 ? 16 : 18) & (round % 3 ? 0x7F : 0xFF));
        }
        struct cn_str view = {text, sizeof(text)};
        struct cn_buf out;
        cn_buf_init(&out, 6 * sizeof(text) + 2);
        assert_int_equal(cn_codec_quote(&out, view), CN_OK);
        json_t *json = json_loadb(out.data, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_true(json_is_string(json));
        struct cn_str back = {json_string_value(json), json_string_length(json)};
        assert_int_equal(cn_str_equal(back, view), cn_name_is_utf8(view));
        json_decref(json);
        cn_buf_fini(&out);
    }
}

// What a request brings in comes out as an entry that is JSON and passes the check.
static void requests_become_entries(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(good_cases); i++) {
        struct cn_request request;
        enum cn_problem problem;
        struct cn_buf out;
        struct cn_pos pos;
        cn_buf_init(&out, 4096);
        assert_int_equal(decode(good_cases[i].text, &request, &problem), CN_OK);
        struct cn_str content = request.content.ptr ? request.content : S("0");
        assert_int_equal(cn_buf_append_str(&out, S("{\"pos\":\"5-6\",\"ts\":1700000000000,")),
                         CN_OK);
        assert_int_equal(cn_codec_message_body(&out, S("r"), S("ann"), content, request.id), CN_OK);
        assert_int_equal(cn_codec_entry_check(cn_buf_str(&out), 4096, &pos), CN_OK);
        assert_true(pos.gen == 5 && pos.seq == 6);
        json_t *json = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        assert_non_null(json_object_get(json, "content"));
        json_decref(json);
        cn_request_fini(&request);
        cn_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publishes_are_decoded),
        cmocka_unit_test(bad_publishes_are_refused),
        cmocka_unit_test(the_sender_of_a_frame_is_not_read),
        cmocka_unit_test(good_requests_are_decoded),
        cmocka_unit_test(tokens_are_decoded_as_they_are),
        cmocka_unit_test(plain_text_may_hold_nul),
        cmocka_unit_test(positions_and_limit_are_decoded),
        cmocka_unit_test(bad_requests_are_refused_by_name),
        cmocka_unit_test(an_object_is_the_same_in_place_and_by_the_parser),
        cmocka_unit_test(an_object_of_strings_is_read_in_place),
        cmocka_unit_test(raw_nul_in_an_object_is_not_json),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(number_of_values_is_bounded),
        cmocka_unit_test(answers_are_as_written_in_the_contract),
        cmocka_unit_test(answers_are_written_whole_or_not_at_all),
        cmocka_unit_test(quoting_survives_any_bytes),
        cmocka_unit_test(requests_become_entries),
        cmocka_unit_test(escapes_are_searched_once),
        cmocka_unit_test(the_parser_never_sees_hostile_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
