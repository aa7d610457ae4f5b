// SPDX-License-Identifier: MIT
// Tests of the reading of Redis addresses.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "redis_private.h"

static struct cn_redis_url parse(const char *text)
{
    struct cn_redis_url url;
    const char *why = NULL;
    enum cn_err err = cn_redis_url_parse(cn_str_of(text), &url, &why);
    if (err != CN_OK)
        print_error("%s: %s\n", text, why);
    assert_int_equal(err, CN_OK);
    assert_null(why);
    return url;
}

static void refuse(const char *text, const char *part)
{
    struct cn_redis_url url;
    const char *why = NULL;
    assert_int_equal(cn_redis_url_parse(cn_str_of(text), &url, &why), CN_INVALID);
    assert_non_null(why);
    if (strstr(why, part) == NULL)
        fail_msg("%s: %s", text, why);
}

static void test_hosts(void **state)
{
    (void)state;
    struct cn_redis_url url = parse("redis://localhost");
    assert_string_equal(url.host, "localhost");
    assert_int_equal(url.port, 6379);
    assert_int_equal(url.db, 0);
    assert_string_equal(url.path, "");
    assert_string_equal(url.password, "");
    url = parse("redis://10.0.0.1:7000/");
    assert_string_equal(url.host, "10.0.0.1");
    assert_int_equal(url.port, 7000);
    url = parse("redis://redis:6380/3");
    assert_int_equal(url.port, 6380);
    assert_int_equal(url.db, 3);
    url = parse("redis://redis?db=5");
    assert_int_equal(url.db, 5);
    url = parse("redis://[::1]:7001/2");
    assert_string_equal(url.host, "::1");
    assert_int_equal(url.port, 7001);
    assert_int_equal(url.db, 2);
    url = parse("redis://[fe80::1]");
    assert_string_equal(url.host, "fe80::1");
    assert_int_equal(url.port, 6379);
}

static void test_logins(void **state)
{
    (void)state;
    struct cn_redis_url url = parse("redis://ann:secret@host:1/1");
    assert_string_equal(url.user, "ann");
    assert_string_equal(url.password, "secret");
    assert_string_equal(url.host, "host");
    url = parse("redis://:secret@host");
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "secret");
    url = parse("redis://ann:a%3A%2f%40@b@host");
    assert_string_equal(url.password, "a:/@@b");
    url = parse("unix://ann:secret@/run/redis.sock");
    assert_string_equal(url.user, "ann");
    assert_string_equal(url.path, "/run/redis.sock");
}

static void test_sockets(void **state)
{
    (void)state;
    struct cn_redis_url url = parse("unix:///run/redis/redis.sock");
    assert_string_equal(url.path, "/run/redis/redis.sock");
    assert_string_equal(url.host, "");
    url = parse("unix:///a%20b?db=7");
    assert_string_equal(url.path, "/a b");
    assert_int_equal(url.db, 7);
}

static void test_bad_ones_say_why(void **state)
{
    (void)state;
    refuse("", "redis://");
    refuse("localhost:6379", "redis://");
    refuse("http://localhost", "redis://");
    refuse("rediss://", "host");
    refuse("redis://", "host");
    refuse("redis://:6379", "host");
    refuse("redis://host:", "port");
    refuse("redis://host:0", "port");
    refuse("redis://host:65536", "port");
    refuse("redis://host:12a", "port");
    refuse("redis://[::1", "]");
    refuse("redis://[::1]x", "after [address]");
    refuse("redis://host/x", "database");
    refuse("redis://host/-1", "database");
    refuse("redis://host?x=1", "db=");
    refuse("redis://host?db=", "db=");
    refuse("redis://ann@host", "password");
    refuse("redis://ann:@host", "password is empty");
    refuse("redis://ann:%zz@host", "percent");
    refuse("redis://ann:%00@host", "percent");
    refuse("redis://ann:%4@host", "percent");
    refuse("unix://relative", "absolute");
    refuse("unix://", "absolute");
    char text[400] = "unix:///";
    memset(text + 8, 'x', 200);
    refuse(text, "too long");
}

static void test_keys(void **state)
{
    (void)state;
    struct cn_redis_keys keys;
    struct cn_redis_key key;
    struct cn_channel_name room, parsed;
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("tea"), &room), CN_OK);
    assert_int_equal(cn_redis_keys_init(&keys, cn_str_of("p:"), 0), CN_OK);
    cn_redis_keys_log(&keys, &room, &key);
    assert_true(cn_str_equal(cn_redis_key_str(&key), cn_str_of("p:{r:tea}log")));
    cn_redis_keys_meta(&keys, &room, &key);
    assert_true(cn_str_equal(cn_redis_key_str(&key), cn_str_of("p:{r:tea}meta")));
    cn_redis_keys_id(&keys, &room, "ann:b", "x1", &key);
    assert_true(cn_str_equal(cn_redis_key_str(&key), cn_str_of("p:{r:tea}id:ann:b:x1")));
    cn_redis_keys_channel(&keys, &room, &key);
    assert_true(cn_str_equal(cn_redis_key_str(&key), cn_str_of("p:{r:tea}")));
    assert_int_equal(cn_redis_keys_parse_channel(&keys, cn_redis_key_str(&key), &parsed), CN_OK);
    assert_string_equal(parsed.text, "r:tea");
    cn_redis_keys_heartbeat(&keys, &key);
    assert_int_equal(cn_redis_keys_parse_channel(&keys, cn_redis_key_str(&key), &parsed),
                     CN_INVALID);
}

static void test_foreign_channels(void **state)
{
    (void)state;
    struct cn_redis_keys keys;
    struct cn_channel_name parsed;
    const char *const foreign[] = {"",         "p:",        "p:{",        "p:{}",
                                   "p:{r:tea", "p:{x:tea}", "q:{r:tea}",  "p:{r:tea}log",
                                   "p:{r:}",   "p:[r:tea}", "p:{r:t ea}", "p:{r:tea}db:1"};
    assert_int_equal(cn_redis_keys_init(&keys, cn_str_of("p:"), 0), CN_OK);
    for (size_t i = 0; i < CN_COUNT(foreign); i++)
        assert_int_equal(cn_redis_keys_parse_channel(&keys, cn_str_of(foreign[i]), &parsed),
                         CN_INVALID);
    assert_int_equal(cn_redis_keys_init(&keys, cn_str_of("p:"), 1), CN_OK);
    assert_int_equal(cn_redis_keys_parse_channel(&keys, cn_str_of("p:{r:tea}db:1"), &parsed),
                     CN_OK);
    assert_int_equal(cn_redis_keys_parse_channel(&keys, cn_str_of("p:{r:tea}"), &parsed),
                     CN_INVALID);
    char long_prefix[CN_REDIS_PREFIX_MAX + 2] = {0};
    memset(long_prefix, 'x', CN_REDIS_PREFIX_MAX + 1);
    assert_int_equal(cn_redis_keys_init(&keys, cn_str_of(long_prefix), 1), CN_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),   cmocka_unit_test(test_logins),
        cmocka_unit_test(test_sockets), cmocka_unit_test(test_bad_ones_say_why),
        cmocka_unit_test(test_keys),    cmocka_unit_test(test_foreign_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
