// SPDX-License-Identifier: MIT
// Tests of the dialects of other servers (tests/bench/peers/): what clients send, and how what
// servers send is cut and understood.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "peer_dialects.h"

static const struct cn_party party = {.tag = 0xab, .number = 7, .room = 3};

static void assert_text(const char *bytes, size_t len, const char *expected)
{
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(bytes, expected, len);
}

// A server's text frame of up to 125 bytes.
static size_t frame(const char *text, char *out)
{
    out[0] = (char)0x81;
    out[1] = (char)strlen(text);
    memcpy(out + 2, text, strlen(text));
    return strlen(text) + 2;
}

static struct cn_unit cut(const struct cn_dialect *dialect, char *bytes, size_t len)
{
    struct cn_unit unit;
    for (size_t part = 0; part < len; part++)
        assert_false(dialect->cut(bytes, part, &unit));
    assert_true(dialect->cut(bytes, len, &unit));
    assert_int_equal(unit.size, len);
    return unit;
}

static struct cn_unit cut_frame(const char *text)
{
    static char bytes[128];
    return cut(&cn_dialect_socketio, bytes, frame(text, bytes));
}

static struct cn_unit cut_line(const char *line)
{
    static char bytes[128];
    memcpy(bytes, line, strlen(line));
    return cut(&cn_dialect_nats, bytes, strlen(line));
}

static void test_socketio_writes(void **state)
{
    (void)state;
    char out[256];
    size_t len = cn_dialect_socketio.path("/socket.io/", &party, out, sizeof(out));
    assert_text(out, len, "/socket.io/?EIO=4&transport=websocket");
    len = cn_dialect_socketio.hello(&party, out, sizeof(out));
    assert_text(out, len, "40{\"room\":\"b00ab-3\"}");
    len = cn_dialect_socketio.publish(&party, -1, -1, "hello", 5, out, sizeof(out));
    assert_text(out, len, "42[\"m\",\"hello\"]");
}

static void test_socketio_reads(void **state)
{
    (void)state;
    assert_int_equal(cut_frame("0{\"sid\":\"x\"}").kind, CN_UNIT_OTHER);
    assert_int_equal(cut_frame("40{\"sid\":\"y\"}").kind, CN_UNIT_READY);
    assert_int_equal(cut_frame("44{\"message\":\"no\"}").kind, CN_UNIT_REFUSAL);
    assert_int_equal(cut_frame("42[\"other\"]").kind, CN_UNIT_OTHER);
    struct cn_unit unit = cut_frame("42[\"m\",\"hello\"]");
    assert_int_equal(unit.kind, CN_UNIT_MESSAGE);
    assert_text(unit.text, unit.len, "42[\"m\",\"hello\"]");
}

static void test_socketio_answers_pings(void **state)
{
    (void)state;
    struct cn_unit ping = cut_frame("2");
    assert_int_equal(ping.kind, CN_UNIT_PING);
    char out[64];
    size_t len = cn_dialect_socketio.answer(&ping, out, sizeof(out));
    static const char masked_with_zero[] = {(char)0x81, (char)0x81, 0, 0, 0, 0, '3'};
    assert_int_equal(len, sizeof(masked_with_zero));
    assert_memory_equal(out, masked_with_zero, len);
}

static void test_nats_writes(void **state)
{
    (void)state;
    char out[256];
    size_t len = cn_dialect_nats.hello(&party, out, sizeof(out));
    assert_text(out, len,
                "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB b00ab-3 1\r\nPING\r\n");
    len = cn_dialect_nats.publish(&party, -1, -1, "hello", 5, out, sizeof(out));
    assert_text(out, len, "PUB b00ab-3 5\r\nhello\r\n");
}

static void test_nats_reads(void **state)
{
    (void)state;
    assert_int_equal(cut_line("INFO {\"port\":1}\r\n").kind, CN_UNIT_OTHER);
    assert_int_equal(cut_line("PONG\r\n").kind, CN_UNIT_READY);
    assert_int_equal(cut_line("-ERR 'Slow Consumer'\r\n").kind, CN_UNIT_REFUSAL);
    struct cn_unit unit = cut_line("MSG b00ab-3 1 12\r\nhello\r\nthere\r\n");
    assert_int_equal(unit.kind, CN_UNIT_MESSAGE);
    assert_text(unit.text, unit.len, "hello\r\nthere");
}

static void test_nats_answers_pings(void **state)
{
    (void)state;
    struct cn_unit ping = cut_line("PING\r\n");
    assert_int_equal(ping.kind, CN_UNIT_PING);
    char out[16];
    assert_text(out, cn_dialect_nats.answer(&ping, out, sizeof(out)), "PONG\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_socketio_writes),
        cmocka_unit_test(test_socketio_reads),
        cmocka_unit_test(test_socketio_answers_pings),
        cmocka_unit_test(test_nats_writes),
        cmocka_unit_test(test_nats_reads),
        cmocka_unit_test(test_nats_answers_pings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
