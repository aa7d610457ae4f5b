// SPDX-License-Identifier: MIT
// Addresses: text, networks, and which of the forwarded ones is believed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <string.h>

#include "chatnode/address.h"

static struct cn_address address_of(const char *text)
{
    struct cn_address address;
    if (cn_address_parse(cn_str_of(text), &address))
        fail_msg("%s was not read", text);
    return address;
}

static void assert_text(const struct cn_address *address, const char *expected)
{
    char text[CN_ADDRESS_BYTES];
    cn_address_format(address, text);
    assert_string_equal(text, expected);
}

static void addresses_are_read_and_written(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"192.0.2.7", "192.0.2.7"},
        {"::ffff:192.0.2.7", "192.0.2.7"},
        {"2001:DB8:0::1", "2001:db8::1"},
        {"::1", "::1"},
        {"::", "::"},
        {"0.0.0.0", "0.0.0.0"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct cn_address address = address_of(pairs[i][0]);
        assert_text(&address, pairs[i][1]);
    }
}

static void other_text_is_no_address(void **state)
{
    (void)state;
    static const char *const texts[] = {"",         "x",         "192.0.2",    "192.0.2.256",
                                        "1.2.3.4:", "[::1]",     "::1%lo",     " ::1",
                                        "::1 ",     "1.2.3.4/8", "::1::2",     "01.2.3.4x",
                                        "1.2.3.4,", "0x1.2.3.4", "12345::123g"};
    struct cn_address address;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (cn_address_parse(cn_str_of(texts[i]), &address) != CN_INVALID)
            fail_msg("\"%s\" was read", texts[i]);
    assert_int_equal(cn_address_parse((struct cn_str){"::1\0", 4}, &address), CN_INVALID);
    assert_int_equal(cn_address_parse((struct cn_str){NULL, 0}, &address), CN_INVALID);
}

static void sockets_have_addresses(void **state)
{
    (void)state;
    struct cn_address address;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000207)};
    assert_int_equal(cn_address_of((struct sockaddr *)&four, &address), CN_OK);
    assert_text(&address, "192.0.2.7");
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    assert_int_equal(cn_address_of((struct sockaddr *)&six, &address), CN_OK);
    assert_text(&address, "::1");
    struct sockaddr other = {.sa_family = AF_UNIX};
    assert_int_equal(cn_address_of(&other, &address), CN_INVALID);
}

static void loopback_is_this_machine(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is;
    } rows[] = {
        {"127.0.0.1", true},  {"127.9.9.9", true}, {"::1", true}, {"::ffff:127.0.0.1", true},
        {"128.0.0.1", false}, {"::2", false},      {"::", false}, {"fe80::1", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cn_address address = address_of(rows[i].text);
        assert_int_equal(cn_address_is_loopback(&address), rows[i].is);
    }
}

static bool same_group(const char *a, const char *b)
{
    struct cn_address one = address_of(a);
    struct cn_address other = address_of(b);
    one = cn_address_group(&one);
    other = cn_address_group(&other);
    return cn_address_equal(&one, &other);
}

static void a_group_is_an_ipv4_address_or_an_ipv6_network(void **state)
{
    (void)state;
    assert_false(same_group("192.0.2.7", "192.0.2.8"));
    assert_true(same_group("192.0.2.7", "::ffff:192.0.2.7"));
    assert_true(same_group("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_false(same_group("2001:db8:1:2::1", "2001:db8:1:3::1"));
}

static bool list_has(const char *list, const char *text)
{
    struct cn_networks networks;
    struct cn_address address = address_of(text);
    assert_int_equal(cn_networks_parse(cn_str_of(list), &networks), CN_OK);
    bool has = cn_networks_have(&networks, &address);
    cn_networks_fini(&networks);
    cn_networks_fini(&networks);
    return has;
}

static void networks_have_their_addresses(void **state)
{
    (void)state;
    assert_false(list_has("", "10.0.0.1"));
    assert_true(list_has("10.0.0.0/8", "10.255.255.255"));
    assert_false(list_has("10.0.0.0/8", "11.0.0.0"));
    assert_true(list_has("10.0.0.0/9", "10.127.0.1"));
    assert_false(list_has("10.0.0.0/9", "10.128.0.1"));
    assert_true(list_has("192.0.2.7", "::ffff:192.0.2.7"));
    assert_true(list_has("0.0.0.0/0", "203.0.113.9"));
    assert_false(list_has("0.0.0.0/0", "2001:db8::1"));
    assert_true(list_has("::/0", "203.0.113.9")); // mapped
    assert_true(list_has("192.0.2.1, 2001:db8::/33", "2001:db8:7fff::"));
    assert_false(list_has("192.0.2.1, 2001:db8::/33", "2001:db8:8000::"));
    assert_true(list_has("::ffff:10.0.0.0/104", "10.1.2.3"));
}

static void wrong_lists_are_refused(void **state)
{
    (void)state;
    static const char *const lists[] = {"x",          ",",           "10.0.0.0/33", "10.0.0.0/",
                                        "::/129",     "10.0.0.0/-1", ",10.0.0.1",   "10.0.0.0/8/8",
                                        "10.0.0.0/ 8"};
    struct cn_networks networks;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        if (cn_networks_parse(cn_str_of(lists[i]), &networks) != CN_INVALID)
            fail_msg("\"%s\" was read", lists[i]);
}

static void the_right_most_untrusted_hop_is_the_client(void **state)
{
    (void)state;
    static const struct {
        const char *peer;
        const char *forwarded_for;
        const char *client;
    } rows[] = {
        {"203.0.113.9", "198.51.100.1", "203.0.113.9"}, // who is not trusted is not believed
        {"10.0.0.1", "", "10.0.0.1"},
        {"10.0.0.1", "198.51.100.1", "198.51.100.1"},
        {"10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"}, // the left ones are the client's own
        {"10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"},
        {"10.0.0.1", "198.51.100.1,10.0.0.2,10.0.0.3", "198.51.100.1"},
        {"10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"}, // all are trusted: the left-most
        {"10.0.0.1", "198.51.100.1:4711", "198.51.100.1"},
        {"10.0.0.1", "2001:db8::7", "2001:db8::7"},
        {"10.0.0.1", "[2001:db8::7]", "2001:db8::7"},
        {"10.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"},
        {"10.0.0.1", " \t198.51.100.1\t , ,\t", "198.51.100.1"}, // empty items do not count
        {"10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"}, // no address: nothing left of it counts
        {"10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.2"},
        {"10.0.0.1", "198.51.100.1:x", "10.0.0.1"},
        {"10.0.0.1", "198.51.100.1:65536", "10.0.0.1"},
        {"10.0.0.1", "198.51.100.1:123456", "10.0.0.1"},
        {"10.0.0.1", "198.51.100.1:", "10.0.0.1"},
        {"10.0.0.1", "[198.51.100.1]", "10.0.0.1"},
        {"10.0.0.1", "[2001:db8::7", "10.0.0.1"},
        {"10.0.0.1", "[2001:db8::7]x", "10.0.0.1"},
        {"10.0.0.1", "[2001:db8::7]:", "10.0.0.1"},
        {"10.0.0.1", "[]", "10.0.0.1"},
        {"10.0.0.1", "[", "10.0.0.1"},
        {"10.0.0.1", "]:1", "10.0.0.1"},
        {"10.0.0.1", ":", "10.0.0.1"},
        {"10.0.0.1", ",,,", "10.0.0.1"},
        {"10.0.0.1", "198.51.100.1 198.51.100.2", "10.0.0.1"},
        {"fd00::1", "::ffff:198.51.100.1", "198.51.100.1"},
        {"::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"},
    };
    struct cn_networks trusted;
    assert_int_equal(cn_networks_parse(CN_STR_LITERAL("10.0.0.0/8,fd00::/8"), &trusted), CN_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cn_address peer = address_of(rows[i].peer);
        struct cn_address client =
            cn_address_forwarded(&trusted, &peer, cn_str_of(rows[i].forwarded_for));
        assert_text(&client, rows[i].client);
    }
    cn_networks_fini(&trusted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_and_written),
        cmocka_unit_test(other_text_is_no_address),
        cmocka_unit_test(sockets_have_addresses),
        cmocka_unit_test(loopback_is_this_machine),
        cmocka_unit_test(a_group_is_an_ipv4_address_or_an_ipv6_network),
        cmocka_unit_test(networks_have_their_addresses),
        cmocka_unit_test(wrong_lists_are_refused),
        cmocka_unit_test(the_right_most_untrusted_hop_is_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
