// SPDX-License-Identifier: MIT
// The PROXY protocol's header: good and bad ones, and each good one cut off at every place.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "chatnode/proxy_header.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"

struct row {
    const char *bytes;
    size_t len;
    const char *address; // NULL: none
};

#define ROW(text, address)                                                                         \
    {                                                                                              \
        text, sizeof(text) - 1, address                                                            \
    }

static const struct row good[] = {
    ROW("PROXY TCP4 192.0.2.7 192.0.2.1 4711 8000\r\n", "192.0.2.7"),
    ROW("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    ROW("PROXY TCP6 2001:db8::7 2001:db8::1 1 0\r\n", "2001:db8::7"),
    ROW("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "192.0.2.7"),
    ROW("PROXY UNKNOWN\r\n", NULL),
    ROW("PROXY UNKNOWN ffff::1 anything at all\r\n", NULL),
    ROW(V2 "\x21\x11\0\x0c\xc0\0\2\7\xc0\0\2\1\x12\x67\x1f\x40", "192.0.2.7"),
    ROW(V2
        "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
        "\x12\x67\x1f\x40",
        "2001:db8::7"),
    // With what follows the addresses: types and lengths that are skipped, and a broken one too.
    ROW(V2 "\x21\x11\0\x13\xc0\0\2\7\xc0\0\2\1\x12\x67\x1f\x40\3\0\4abcd", "192.0.2.7"),
    ROW(V2 "\x21\x11\0\x0e\xc0\0\2\7\xc0\0\2\1\x12\x67\x1f\x40\3\xff", "192.0.2.7"),
    // The balancer's own connection: whatever the addresses are.
    ROW(V2 "\x20\0\0\0", NULL),
    ROW(V2 "\x20\x11\0\x0c\xc0\0\2\7\xc0\0\2\1\x12\x67\x1f\x40", NULL),
    ROW(V2 "\x20\x11\0\2xx", NULL),
    // No addresses, or of another kind.
    ROW(V2 "\x21\0\0\0", NULL),
    ROW(V2 "\x21\0\0\3abc", NULL),
    ROW(V2 "\x21\x12\0\x0c\xc0\0\2\7\xc0\0\2\1\x12\x67\x1f\x40", NULL),
};

static const struct row bad[] = {
    ROW("GET / HTTP/1.1\r\n\r\n", NULL),
    ROW("proxy UNKNOWN\r\n", NULL),
    ROW("PROXY  TCP4 192.0.2.7 192.0.2.1 4711 8000\r\n", NULL),
    ROW("PROXY TCP4 192.0.2.7 192.0.2.1 4711 8000\n", NULL),
    ROW("PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n", NULL),
    ROW("PROXY TCP4 192.0.2.7 192.0.2.1 4711 8000 1\r\n", NULL),
    ROW("PROXY TCP4 192.0.2.7 192.0.2.1 4711 65536\r\n", NULL),
    ROW("PROXY TCP4 192.0.2.7 192.0.2.1 x 1\r\n", NULL),
    ROW("PROXY TCP4 192.0.2.7 192.0.2.1 01 1\r\n", NULL),
    ROW("PROXY TCP4 192.0.2.7 192.0.2.1 1 1 \r\n", NULL),
    ROW("PROXY TCP4 192.0.2 192.0.2.1 1 1\r\n", NULL),
    ROW("PROXY TCP4 ::1 ::1 1 1\r\n", NULL),
    ROW("PROXY TCP6 192.0.2.7 192.0.2.1 1 1\r\n", NULL),
    ROW("PROXY TCP6 [::1] ::1 1 1\r\n", NULL),
    ROW("PROXY UDP4 192.0.2.7 192.0.2.1 1 1\r\n", NULL),
    ROW("PROXY UNKNOWNS\r\n", NULL),
    ROW("PROXY \r\n", NULL),
    ROW("PROXY TCP4 192.0.2.7\0 192.0.2.1 1 1\r\n", NULL),
    ROW(V2 "\x11\x11\0\0", NULL),                                   // version 1 in the form of 2
    ROW(V2 "\x22\x11\0\0", NULL),                                   // neither LOCAL nor PROXY
    ROW(V2 "\x21\x11\0\x0b\xc0\0\2\7\xc0\0\2\1\x12\x67\x1f", NULL), // too short for its addresses
    ROW(V2 "\x21\x21\0\x0c\xc0\0\2\7\xc0\0\2\1\x12\x67\x1f\x40", NULL),
    ROW(V2 "\x21\x31\0\x0c\xc0\0\2\7\xc0\0\2\1\x12\x67\x1f\x40", NULL),
    ROW(V2 "\x21\x41\0\0", NULL),                                       // no such family
    ROW(V2 "\x21\x13\0\x0c\xc0\0\2\7\xc0\0\2\1\x12\x67\x1f\x40", NULL), // nor transport
    ROW(V2 "\x21\x11\x02\x09", NULL), // longer than 536 in all: known before it is there
    ROW(V2 "\x21\x11\xff\xff", NULL),
};

// In memory of exactly this size, so that a sanitizer sees every byte too much.
static enum cn_err read_exactly(const char *bytes, size_t len, struct cn_proxy_header *out)
{
    unsigned char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    enum cn_err err = cn_proxy_header_read(copy, len, out);
    free(copy);
    return err;
}

static void good_headers_say_who_the_client_is(void **state)
{
    (void)state;
    char text[CN_ADDRESS_BYTES];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct cn_proxy_header header;
        if (read_exactly(good[i].bytes, good[i].len, &header) != CN_OK)
            fail_msg("good header %zu", i);
        assert_int_equal(header.len, good[i].len);
        assert_int_equal(header.has_address, good[i].address != NULL);
        if (good[i].address) {
            cn_address_format(&header.address, text);
            assert_string_equal(text, good[i].address);
        }
    }
}

static void a_part_of_one_is_waited_for(void **state)
{
    (void)state;
    struct cn_proxy_header header;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        for (size_t len = 0; len < good[i].len; len++)
            if (read_exactly(good[i].bytes, len, &header) != CN_NOTFOUND)
                fail_msg("good header %zu, %zu bytes of it", i, len);
}

static void what_follows_is_not_looked_at(void **state)
{
    (void)state;
    char bytes[1024];
    struct cn_proxy_header header;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        memset(bytes, '\n', sizeof(bytes));
        memcpy(bytes, good[i].bytes, good[i].len);
        assert_int_equal(read_exactly(bytes, sizeof(bytes), &header), CN_OK);
        assert_int_equal(header.len, good[i].len);
    }
}

static void bad_ones_are_refused_and_never_read_too_far(void **state)
{
    (void)state;
    struct cn_proxy_header header;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (read_exactly(bad[i].bytes, bad[i].len, &header) != CN_INVALID)
            fail_msg("bad header %zu was read", i);
        for (size_t len = 0; len < bad[i].len; len++)
            assert_int_not_equal(read_exactly(bad[i].bytes, len, &header), CN_OK);
    }
}

static void a_line_without_end_is_refused_at_its_bound(void **state)
{
    (void)state;
    char line[2 * CN_PROXY_V1_BYTES_MAX];
    struct cn_proxy_header header;
    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(read_exactly(line, CN_PROXY_V1_BYTES_MAX - 1, &header), CN_NOTFOUND);
    assert_int_equal(read_exactly(line, CN_PROXY_V1_BYTES_MAX, &header), CN_INVALID);
    assert_int_equal(read_exactly(line, sizeof(line), &header), CN_INVALID);
    memcpy(line + CN_PROXY_V1_BYTES_MAX - 2, "\r\n", 2);
    assert_int_equal(read_exactly(line, CN_PROXY_V1_BYTES_MAX, &header), CN_OK);
    assert_int_equal(header.len, CN_PROXY_V1_BYTES_MAX);
}

static void the_longest_of_version_2_is_read(void **state)
{
    (void)state;
    char bytes[CN_PROXY_BYTES_MAX] = V2 "\x21\x31\x02\x08"; // of UNIX sockets, with 304 bytes more
    struct cn_proxy_header header;
    assert_int_equal(read_exactly(bytes, sizeof(bytes), &header), CN_OK);
    assert_int_equal(header.len, CN_PROXY_BYTES_MAX);
    assert_false(header.has_address);
    assert_int_equal(read_exactly(bytes, sizeof(bytes) - 1, &header), CN_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_headers_say_who_the_client_is),
        cmocka_unit_test(a_part_of_one_is_waited_for),
        cmocka_unit_test(what_follows_is_not_looked_at),
        cmocka_unit_test(bad_ones_are_refused_and_never_read_too_far),
        cmocka_unit_test(a_line_without_end_is_refused_at_its_bound),
        cmocka_unit_test(the_longest_of_version_2_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
