// SPDX-License-Identifier: MIT
// Origins: which texts are one, and which two are the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/origin.h"

static struct cn_origin origin_of(const char *text)
{
    struct cn_origin origin;
    if (cn_origin_parse(cn_str_of(text), &origin))
        fail_msg("%s was not read", text);
    return origin;
}

static void texts_that_are_no_origin(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "null",
                                        "*",
                                        "a.b",
                                        "://a",
                                        "http://",
                                        "http:/a",
                                        "http:a",
                                        "https://a.b/",
                                        "https://a/b",
                                        "https://a?b",
                                        "https://a#b",
                                        "https://u@a",
                                        "https://u:p@a",
                                        "https://a:",
                                        "https://a:0",
                                        "https://a:65536",
                                        "https://a:4433333",
                                        "https://a:-1",
                                        "https://a:1:2",
                                        "https://:443",
                                        "https://a b",
                                        " https://a",
                                        "https://a ",
                                        "1http://a",
                                        "ht tp://a",
                                        "https://[::1",
                                        "https://::1",
                                        "https://[x]",
                                        "https://[]",
                                        "https://[::1]x",
                                        "https://[::1]:",
                                        "https://a,b",
                                        "https://*.a",
                                        "https://a\n",
                                        "https://a%41",
                                        "https://\xc3\xa4.example"};
    struct cn_origin origin;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (cn_origin_parse(cn_str_of(texts[i]), &origin) != CN_INVALID)
            fail_msg("\"%s\" was read", texts[i]);
    assert_int_equal(cn_origin_parse((struct cn_str){"https://a\0", 10}, &origin), CN_INVALID);
    assert_int_equal(cn_origin_parse((struct cn_str){NULL, 0}, &origin), CN_INVALID);
}

static void two_are_the_same_by_scheme_host_and_port(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        const char *b;
        bool same;
    } rows[] = {
        {"https://a.b", "https://a.b", true},
        {"https://a.b", "https://a.b:443", true},
        {"http://a.b:80", "http://a.b", true},
        {"HTTPS://A.B", "https://a.b:443", true},
        {"https://[2001:DB8::1]", "https://[2001:db8::1]:443", true},
        {"app://a", "app://a", true},
        {"http://a.b", "https://a.b", false},
        {"http://a.b:443", "https://a.b", false},
        {"https://a.b:80", "https://a.b", false},
        {"https://a.b", "https://a.b.", false},
        {"https://a.b", "https://x.a.b", false},
        {"https://a.b", "https://a.bc", false},
        {"https://a.b:8443", "https://a.b:844", false},
        {"app://a", "app://a:443", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cn_origin a = origin_of(rows[i].a);
        struct cn_origin b = origin_of(rows[i].b);
        if (cn_origin_equal(&a, &b) != rows[i].same || cn_origin_equal(&b, &a) != rows[i].same)
            fail_msg("%s, %s", rows[i].a, rows[i].b);
    }
}

static bool is_own(const char *host, bool is_tls, const char *text)
{
    struct cn_origin own;
    struct cn_origin origin = origin_of(text);
    return cn_origin_of_host(cn_str_of(host), is_tls, &own) == CN_OK &&
           cn_origin_equal(&own, &origin);
}

static void a_server_has_the_origin_that_it_was_asked_for(void **state)
{
    (void)state;
    assert_true(is_own("a.b", false, "http://a.b"));
    assert_true(is_own("a.b:80", false, "http://a.b"));
    assert_true(is_own("A.b:8000", false, "http://a.B:8000"));
    assert_true(is_own("a.b", true, "https://a.b"));
    assert_true(is_own("a.b:443", true, "https://a.b"));
    assert_true(is_own("[::1]:8000", false, "http://[::1]:8000"));
    assert_true(is_own("[::1]", true, "https://[::1]"));
    assert_false(is_own("a.b", false, "https://a.b"));
    assert_false(is_own("a.b", true, "http://a.b"));
    assert_false(is_own("a.b", true, "http://a.b:443"));
    assert_false(is_own("a.b:8000", false, "http://a.b"));
    struct cn_origin own;
    static const char *const hosts[] = {"", ":80", "a b", "a/b", "a:x", "u@a", "a,b", "a:80,a:80"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        assert_int_equal(cn_origin_of_host(cn_str_of(hosts[i]), false, &own), CN_INVALID);
}

static bool is_listed(const char *list, const char *text)
{
    struct cn_origin origin = origin_of(text);
    return cn_origin_is_listed(cn_str_of(list), &origin);
}

static void lists_are_exact(void **state)
{
    (void)state;
    assert_false(is_listed("", "https://a.b"));
    assert_true(is_listed("*", "https://a.b"));
    assert_true(is_listed("https://x.y,*", "https://a.b"));
    assert_true(is_listed("https://x.y,https://a.b:443", "https://a.b"));
    assert_false(is_listed("https://x.y,https://a.b:444", "https://a.b"));
    assert_false(is_listed("https://x.y,", "https://a.b"));
    assert_false(is_listed("**,https://*", "https://a.b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_are_no_origin),
        cmocka_unit_test(two_are_the_same_by_scheme_host_and_port),
        cmocka_unit_test(a_server_has_the_origin_that_it_was_asked_for),
        cmocka_unit_test(lists_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
