// SPDX-License-Identifier: MIT
// The dialects of the bench, the frames under them, and the URLs of servers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "chatnode/frame.h"
#include "dialect.h"
#include "link.h"

static const struct cn_party member = {.tag = 0xbeef, .number = 5, .room = 3};
static const struct cn_party user = {.tag = 0xbeef, .number = 5, .room = -1};

// The unit that the text is, in a server's frame.
static struct cn_unit read_text(const struct cn_dialect *dialect, const char *text)
{
    static char bytes[1024];
    size_t header = cn_frame_header(CN_OPCODE_TEXT, strlen(text), (unsigned char *)bytes);
    memcpy(bytes + header, text, strlen(text));
    struct cn_unit unit;
    assert_true(dialect->cut(bytes, header + strlen(text), &unit));
    assert_int_equal(unit.size, header + strlen(text));
    return unit;
}

static void assert_path(const struct cn_dialect *dialect, const struct cn_party *party,
                        const char *expected)
{
    char path[CN_LINK_PATH_BYTES];
    dialect->path("/ws", party, path, sizeof(path));
    assert_string_equal(path, expected);
}

static void paths_name_user_and_room(void **state)
{
    (void)state;
    assert_path(&cn_dialect_chatnode, &member, "/ws?user=bbeef-5&room=bbeef-3");
    assert_path(&cn_dialect_chatnode, &user, "/ws?user=bbeef-5&room=");
    assert_path(&cn_dialect_plain, &member, "/ws?room=bbeef-3");
    assert_path(&cn_dialect_plain, &user, "/ws");
}

// The longest URL that is taken leaves room for what a client appends.
static void paths_are_never_cut(void **state)
{
    (void)state;
    const struct cn_party longest = {.tag = 0xffff, .number = 99999999, .room = 9999999};
    char base[CN_LINK_BASE_BYTES];
    char path[CN_LINK_PATH_BYTES];
    memset(base, 'x', sizeof(base) - 1);
    base[sizeof(base) - 1] = '\0';
    size_t len = cn_dialect_chatnode.path(base, &longest, path, sizeof(path));
    assert_int_equal(len, strlen(path));
    assert_in_range(len, sizeof(base), sizeof(path) - 100); // positions follow
    assert_string_equal(path + len - 13, "bffff-9999999");
}

static void assert_publish(const struct cn_dialect *dialect, const struct cn_party *party, long to,
                           long id, const char *expected)
{
    char text[256];
    size_t len = dialect->publish(party, to, id, "hello", 5, text, sizeof(text));
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(text, expected, len);
}

static void publishes_are_what_the_server_takes(void **state)
{
    (void)state;
    assert_publish(&cn_dialect_chatnode, &member, -1, -1,
                   "{\"type\":\"message\",\"room\":\"bbeef-3\",\"content\":\"hello\"}");
    assert_publish(&cn_dialect_chatnode, &user, 4, 17,
                   "{\"type\":\"direct\",\"to\":\"bbeef-4\",\"id\":\"17\",\"content\":\"hello\"}");
    assert_publish(&cn_dialect_plain, &member, -1, -1, "hello");
}

static void what_a_node_says_is_recognised(void **state)
{
    (void)state;
    const struct cn_dialect *node = &cn_dialect_chatnode;
    struct cn_unit unit =
        read_text(node, "{\"pos\":\"12-34\",\"type\":\"message\",\"content\":\"x\"}");
    assert_int_equal(unit.kind, CN_UNIT_MESSAGE);
    assert_int_equal(unit.pos.gen, 12);
    assert_int_equal(unit.pos.seq, 34);
    unit = read_text(node, "{\"type\":\"ack\",\"id\":\"99\",\"pos\":\"1-2\",\"ts\":3}");
    assert_int_equal(unit.kind, CN_UNIT_ACK);
    assert_int_equal(unit.id, 99);
    assert_int_equal(unit.pos.seq, 2);
    unit = read_text(node, "{\"type\":\"error\",\"id\":\"7\",\"code\":\"busy\",\"retry\":true}");
    assert_int_equal(unit.kind, CN_UNIT_REFUSAL);
    assert_int_equal(unit.id, 7);
    assert_true(unit.retry);
    unit = read_text(node, "{\"type\":\"error\",\"code\":\"busy\",\"retry\":false}");
    assert_int_equal(unit.id, -1);
    assert_false(unit.retry);
    assert_int_equal(read_text(node, "{\"type\":\"joined\",\"room\":\"a\"}").kind, CN_UNIT_READY);
    assert_int_equal(read_text(node, "{\"type\":\"gap\",\"room\":\"a\"}").kind, CN_UNIT_GAP);
    assert_int_equal(read_text(node, "{\"type\":\"welcome\"}").kind, CN_UNIT_OTHER);
    assert_int_equal(node->greetings(&member), 2);
    assert_int_equal(node->greetings(&user), 1);
}

static void odd_answers_do_no_harm(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "{\"pos\":",
                                        "{\"pos\":\"",
                                        "{\"pos\":\"x-y\"}",
                                        "{\"type\":\"ack\"",
                                        "{\"type\":\"ack\",\"id\":\"",
                                        "{\"type\":\"ack\",\"id\":\"1x\"}"};
    for (size_t i = 0; i < CN_COUNT(texts); i++) {
        struct cn_unit unit = read_text(&cn_dialect_chatnode, texts[i]);
        assert_true(cn_pos_is_zero(unit.pos));
        assert_int_equal(unit.id, -1);
    }
}

static void a_plain_text_is_a_message(void **state)
{
    (void)state;
    struct cn_unit unit = read_text(&cn_dialect_plain, "anything");
    assert_int_equal(unit.kind, CN_UNIT_MESSAGE);
    assert_int_equal(unit.len, 8);
    assert_memory_equal(unit.text, "anything", 8);
}

static void a_ping_is_answered_with_its_payload(void **state)
{
    (void)state;
    const struct cn_dialect *const dialects[] = {&cn_dialect_chatnode, &cn_dialect_plain};
    for (size_t i = 0; i < CN_COUNT(dialects); i++) {
        char ping[] = {(char)0x89, 3, 'a', 'b', 'c'};
        struct cn_unit unit;
        assert_true(dialects[i]->cut(ping, sizeof(ping), &unit));
        assert_int_equal(unit.kind, CN_UNIT_PING);
        char out[64];
        assert_int_equal(dialects[i]->answer(&unit, out, sizeof(out)), 9);
        assert_memory_equal(out, "\x8a\x83\0\0\0\0abc", 9);
    }
}

static void a_piece_of_a_message_is_told_apart(void **state)
{
    (void)state;
    char first[] = {CN_WS_TEXT, 1, 'x'}; // without the bit that says that it is all
    char last[] = {(char)0x80, 1, 'x'};
    struct cn_unit unit;
    assert_true(cn_dialect_chatnode.cut(first, sizeof(first), &unit));
    assert_int_equal(unit.kind, CN_UNIT_PIECE);
    assert_true(cn_dialect_plain.cut(last, sizeof(last), &unit));
    assert_int_equal(unit.kind, CN_UNIT_PIECE);
}

// Every length that changes the form of a header, and every place where one may be cut off.
static void frames_are_cut_where_they_end(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 125, 126, 65535, 65536, 70000};
    static char bytes[80000];
    for (size_t i = 0; i < CN_COUNT(lengths); i++) {
        size_t header = cn_frame_header(CN_OPCODE_TEXT, lengths[i], (unsigned char *)bytes);
        size_t size = header + lengths[i];
        struct cn_ws_frame frame;
        assert_true(cn_ws_cut(bytes, size + 5, &frame));
        assert_int_equal(frame.size, size);
        assert_int_equal(frame.payload_len, lengths[i]);
        assert_int_equal(frame.opcode, CN_WS_TEXT);
        for (size_t cut = 0; cut <= header; cut++)
            assert_int_equal(cn_ws_cut(bytes, cut, &frame), cut == size);
        if (lengths[i] > 0)
            assert_false(cn_ws_cut(bytes, size - 1, &frame));
    }
}

static void frames_that_are_written_have_the_right_length(void **state)
{
    (void)state;
    static char out[70100];
    static char payload[70000];
    assert_int_equal(cn_ws_write(CN_WS_TEXT, payload, 125, out), 131);
    assert_memory_equal(out, "\x81\xfd\0\0\0\0", 6);
    assert_int_equal(cn_ws_write(CN_WS_TEXT, payload, 126, out), 134);
    assert_memory_equal(out, "\x81\xfe\0\x7e\0\0\0\0", 8);
    assert_int_equal(cn_ws_write(CN_WS_TEXT, payload, 70000, out), 70014);
    assert_memory_equal(out, "\x81\xff\0\0\0\0\0\x01\x11\x70\0\0\0\0", 14);
}

static void urls_are_read(void **state)
{
    (void)state;
    struct cn_endpoint endpoint;
    const char *why = NULL;
    assert_true(cn_endpoint_parse("ws://127.0.0.1:8000/ws?a=b", &endpoint, &why));
    assert_string_equal(endpoint.host, "127.0.0.1:8000");
    assert_string_equal(endpoint.path, "/ws?a=b");
    assert_true(endpoint.websocket);
    assert_true(endpoint.loopback);
    assert_true(cn_endpoint_parse("tcp://[::1]:4222", &endpoint, &why));
    assert_false(endpoint.websocket);
    assert_false(endpoint.loopback);
    static const char *const wrong[] = {"http://a/",        "wss://127.0.0.1:1/", "ws://127.0.0.1",
                                        "ws://:80/",        "ws://127.0.0.1:/",   "",
                                        "ws://127.0.0.1:x/"};
    for (size_t i = 0; i < CN_COUNT(wrong); i++) {
        why = NULL;
        assert_false(cn_endpoint_parse(wrong[i], &endpoint, &why));
        assert_non_null(why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_name_user_and_room),
        cmocka_unit_test(paths_are_never_cut),
        cmocka_unit_test(publishes_are_what_the_server_takes),
        cmocka_unit_test(what_a_node_says_is_recognised),
        cmocka_unit_test(odd_answers_do_no_harm),
        cmocka_unit_test(a_plain_text_is_a_message),
        cmocka_unit_test(a_ping_is_answered_with_its_payload),
        cmocka_unit_test(frames_are_cut_where_they_end),
        cmocka_unit_test(frames_that_are_written_have_the_right_length),
        cmocka_unit_test(urls_are_read),
        cmocka_unit_test(a_piece_of_a_message_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
