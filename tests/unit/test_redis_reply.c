// SPDX-License-Identifier: MIT
// Tests of the reading of Redis's answers, fed as the bytes of the protocol (RESP2).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "redis_private.h"

static redisReply *reply_of(const char *bytes)
{
    void *reply = NULL;
    redisReader *reader = redisReaderCreate();
    assert_non_null(reader);
    assert_int_equal(redisReaderFeed(reader, bytes, strlen(bytes)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);
    return reply;
}

static void check_outcome(const char *bytes, enum cn_redis_outcome wanted)
{
    redisReply *reply = reply_of(bytes);
    assert_int_equal(cn_redis_reply_outcome(reply), wanted);
    freeReplyObject(reply);
}

static void test_errors_are_mapped(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        enum cn_redis_outcome outcome;
        enum cn_err err;
        enum cn_bus_cause cause;
    } rows[] = {
#define REFUSED(bytes, err, cause) {bytes, CN_REDIS_REFUSED, CN_##err, CN_CAUSE_##cause}
#define RETRIED(bytes, cause)                                                                      \
    {                                                                                              \
        bytes, CN_REDIS_RETRY, CN_UNAVAILABLE, CN_CAUSE_##cause                                    \
    }
        REFUSED("-OOM command not allowed\r\n", NOSPACE, STRANGE),
        REFUSED("-NOREPLICAS Not enough good replicas to write.\r\n", NOTDURABLE, STRANGE),
        REFUSED("-MISCONF Redis is configured to save RDB snapshots\r\n", REFUSED, STRANGE),
        REFUSED("-WRONGTYPE Operation against a key\r\n", REFUSED, STRANGE),
        REFUSED("-NOPERM this user has no permissions\r\n", REFUSED, AUTH),
        REFUSED("-ERR AUTH <password> called without any\r\n", REFUSED, AUTH),
        REFUSED("-ERR something\r\n", REFUSED, STRANGE),
        REFUSED("-O\r\n", REFUSED, STRANGE),
        RETRIED("-READONLY You can't write against a read only replica.\r\n", REPLICA),
        RETRIED("-MASTERDOWN Link with MASTER is down\r\n", REPLICA),
        RETRIED("-UNBLOCKED force unblock from blocking operation\r\n", REPLICA),
        RETRIED("-LOADING Redis is loading\r\n", BUSY),
        RETRIED("-BUSY Redis is busy running a script.\r\n", BUSY),
        RETRIED("-ERR max number of clients reached\r\n", BUSY),
        RETRIED("-NOAUTH Authentication required.\r\n", AUTH),
        RETRIED("-WRONGPASS invalid username-password pair\r\n", AUTH),
#undef REFUSED
#undef RETRIED
        {"-NOSCRIPT No matching script.\r\n", CN_REDIS_NOSCRIPT, CN_UNAVAILABLE, CN_CAUSE_STARTING},
    };
    assert_int_equal(cn_redis_reply_outcome(NULL), CN_REDIS_LOST);
    check_outcome("+OK\r\n", CN_REDIS_DONE);
    check_outcome("*0\r\n", CN_REDIS_DONE);
    for (size_t i = 0; i < CN_COUNT(rows); i++) {
        redisReply *reply = reply_of(rows[i].bytes);
        assert_int_equal(cn_redis_reply_outcome(reply), rows[i].outcome);
        assert_int_equal(cn_redis_reply_refusal(reply), rows[i].err);
        assert_int_equal(cn_redis_reply_cause(reply), rows[i].cause);
        freeReplyObject(reply);
    }
}

static enum cn_err published(const char *bytes, struct cn_published *out)
{
    redisReply *reply = reply_of(bytes);
    enum cn_err err = cn_redis_reply_published(reply, out);
    freeReplyObject(reply);
    return err;
}

static void test_published(void **state)
{
    (void)state;
    struct cn_published result;
    assert_int_equal(published("+7-2 55 1\r\n", &result), CN_OK);
    assert_int_equal(result.pos.gen, 7);
    assert_int_equal(result.pos.seq, 2);
    assert_int_equal(result.ts_ms, 55);
    assert_true(result.dup);
    assert_int_equal(published("$8\r\n7-2 55 0\r\n", &result), CN_OK);
    assert_false(result.dup);
    const char *const bad[] = {
        "+OK\r\n",
        ":1\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "$0\r\n\r\n",
        "+7-2 55\r\n",
        "+7-2 55 \r\n",
        "+7-2 55 2\r\n",
        "+7-2 55 1 \r\n",
        "+7-2  55 1\r\n",
        "+7x2 55 1\r\n",
        "+7-2 5x 1\r\n",
        "+7-2  1\r\n",
        "+ 7-2 55 1\r\n",
        "+7-2 1234567890123456789 1\r\n",
        "*1\r\n+7-2 55 1\r\n",
    };
    for (size_t i = 0; i < CN_COUNT(bad); i++)
        assert_int_equal(published(bad[i], &result), CN_INVALID);
}

#define TEXT "{\"pos\":\"7-1\",\"ts\":5,\"type\":\"message\"}"

static enum cn_err page_of(const redisReply *reply, size_t entry_bytes, bool backwards,
                           struct cn_redis_page *page)
{
    const struct cn_channel_name lobby = cn_channel_name_of(CN_STR_LITERAL("r:lobby"));
    const struct cn_redis_reading reading = {{.entry_bytes = entry_bytes}, &lobby, backwards};
    return cn_redis_reply_page(reply, &reading, page);
}

static void test_page(void **state)
{
    (void)state;
    struct cn_redis_page page;
    // Two entries: a good one, and one whose text claims another position.
    redisReply *reply = reply_of("*7\r\n:1\r\n:0\r\n$3\r\n7-2\r\n"
                                 "$3\r\n7-1\r\n$37\r\n" TEXT "\r\n"
                                 "$3\r\n7-2\r\n$37\r\n" TEXT "\r\n");
    assert_int_equal(sizeof(TEXT) - 1, 37);
    assert_int_equal(page_of(reply, 100, false, &page), CN_OK);
    assert_true(page.page.exact);
    assert_false(page.page.more);
    assert_int_equal(page.page.count, 1);
    assert_int_equal(page.bad[CN_SEAL_FAULT_FORM], 1);
    assert_int_equal(page.page.edge.seq, 2); // also what was left out was looked at
    assert_int_equal(page.page.tail.seq, 2);
    assert_int_equal(page.end.seq, 2);
    assert_int_equal(page.page.entries[0].pos.seq, 1);
    assert_true(cn_str_equal(page.page.entries[0].text, cn_str_of(TEXT)));
    cn_redis_page_fini(&page);
    assert_int_equal(page_of(reply, 36, true, &page), CN_OK); // all are too long
    assert_int_equal(page.page.count, 0);
    assert_int_equal(page.bad[CN_SEAL_FAULT_SIZE], 2);
    assert_int_equal(page.page.edge.seq, 1);
    cn_redis_page_fini(&page);
    freeReplyObject(reply);
}

static void test_bad_pages(void **state)
{
    (void)state;
    struct cn_redis_page page;
    const char *const bad[] = {
        "+OK\r\n",
        "*-1\r\n",
        "*2\r\n:1\r\n:0\r\n",
        "*4\r\n:1\r\n:0\r\n$3\r\n0-0\r\n$3\r\n7-1\r\n",
        "*3\r\n$1\r\n1\r\n:0\r\n$3\r\n0-0\r\n",
        "*3\r\n:1\r\n+0\r\n$3\r\n0-0\r\n",
        "*3\r\n:1\r\n:0\r\n$-1\r\n",
        "*3\r\n:1\r\n:0\r\n$3\r\nabc\r\n",
        "*5\r\n:1\r\n:0\r\n$3\r\n0-0\r\n$1\r\nx\r\n$1\r\ny\r\n",
    };
    for (size_t i = 0; i < CN_COUNT(bad); i++) {
        redisReply *reply = reply_of(bad[i]);
        assert_int_equal(page_of(reply, 100, false, &page), CN_INVALID);
        freeReplyObject(reply);
    }
}

static void test_info(void **state)
{
    (void)state;
    char value[8];
    redisReply *reply = reply_of("+OK\r\n");
    assert_false(cn_redis_reply_info(reply, "role", value, sizeof(value)));
    freeReplyObject(reply);
    reply = reply_of("$48\r\n# Replication\r\nrole:master\r\nrolex:1\r\nlong:1234\r\n"
                     "\r\n");
    assert_true(cn_redis_reply_info(reply, "role", value, sizeof(value)));
    assert_string_equal(value, "master");
    assert_true(cn_redis_reply_info(reply, "rolex", value, sizeof(value)));
    assert_string_equal(value, "1");
    assert_false(cn_redis_reply_info(reply, "rol", value, sizeof(value)));
    assert_false(cn_redis_reply_info(reply, "# Replication", value, sizeof(value)));
    assert_false(cn_redis_reply_info(reply, "long", value, 4));
    freeReplyObject(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_are_mapped),
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_bad_pages),
        cmocka_unit_test(test_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
