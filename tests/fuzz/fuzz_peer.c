// SPDX-License-Identifier: MIT
// Fuzz target: what balancers and browsers say of a client. The first byte says what the rest is:
//
//   f  lines: the list of trusted networks, the socket's address, X-Forwarded-For
//   p  the beginning of a connection with a PROXY header, version 1 or 2
//   o  lines: a list of allowed origins, an Origin, a Host
//
// Only whom we trust is believed, and only as far; what is half there is neither taken nor refused.
#include "fuzz/fuzz.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "chatnode/address.h"
#include "chatnode/origin.h"
#include "chatnode/proxy_header.h"

static struct cn_str next_line(struct cn_str *rest)
{
    struct cn_str line = {"", 0};
    (void)fuzz_cut(rest, '\n', &line);
    return line;
}

// An address has one text, which is read as the same address, by us and by the system.
static void check_address(const struct cn_address *address)
{
    char text[CN_ADDRESS_BYTES];
    struct cn_address again;
    struct in6_addr six;
    struct in_addr four;
    cn_address_format(address, text);
    CN_ASSERT(cn_address_parse(cn_str_of(text), &again) == CN_OK);
    CN_ASSERT(cn_address_equal(address, &again));
    CN_ASSERT(inet_pton(AF_INET6, text, &six) == 1 || inet_pton(AF_INET, text, &four) == 1);
    struct cn_address group = cn_address_group(address);
    struct cn_address same = cn_address_group(&group);
    CN_ASSERT(cn_address_equal(&group, &same));
}

static void try_forwarded(struct cn_str text)
{
    struct cn_networks trusted;
    struct cn_address peer;
    struct cn_str list = next_line(&text), socket_address = next_line(&text);
    struct cn_str said = next_line(&text);
    enum cn_err err = cn_networks_parse(list, &trusted);
    CN_ASSERT(err == CN_OK || err == CN_INVALID);
    if (!err && cn_address_parse(socket_address, &peer) == CN_OK) {
        struct cn_address found = cn_address_forwarded(&trusted, &peer, said);
        check_address(&found);
        CN_ASSERT(cn_networks_have(&trusted, &peer) || cn_address_equal(&found, &peer));
        // Who adds to the left of what trusted proxies wrote changes nothing that was found there.
        struct cn_buf longer;
        cn_buf_init(&longer, said.len + 16);
        CN_ASSERT(!cn_buf_printf(&longer, "192.0.2.1,") && !cn_buf_append_str(&longer, said));
        struct cn_address other = cn_address_forwarded(&trusted, &peer, cn_buf_str(&longer));
        CN_ASSERT(cn_networks_have(&trusted, &found) || cn_address_equal(&found, &other));
        cn_buf_fini(&longer);
    }
    if (!err)
        cn_networks_fini(&trusted);
}

static void try_proxy(struct cn_str text)
{
    struct cn_proxy_header whole, part;
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    enum cn_err err = cn_proxy_header_read(bytes, text.len, &whole);
    CN_ASSERT(err == CN_OK || err == CN_NOTFOUND || err == CN_INVALID);
    CN_ASSERT(err != CN_NOTFOUND || text.len < CN_PROXY_BYTES_MAX);
    if (err != CN_OK)
        return;
    CN_ASSERT(whole.len > 0 && whole.len <= text.len && whole.len <= CN_PROXY_BYTES_MAX);
    if (whole.has_address)
        check_address(&whole.address);
    // Byte by byte it is a header that is not whole yet, until it is.
    for (size_t len = 0; len <= whole.len; len++) {
        char *exact = fuzz_copy((struct cn_str){text.ptr, len});
        enum cn_err so_far = cn_proxy_header_read((unsigned char *)exact, len, &part);
        CN_ASSERT(so_far == (len < whole.len ? CN_NOTFOUND : CN_OK));
        free(exact);
    }
    CN_ASSERT(part.len == whole.len && part.has_address == whole.has_address);
}

static void try_origin(struct cn_str text)
{
    struct cn_origin origin, of_host;
    struct cn_str list = next_line(&text), said = next_line(&text), host = next_line(&text);
    if (cn_origin_parse(said, &origin))
        return;
    CN_ASSERT(cn_origin_equal(&origin, &origin));
    CN_ASSERT(origin.port < 65536 && origin.host.len > 0 && origin.scheme.len > 0);
    CN_ASSERT(cn_origin_is_listed(said, &origin) || memchr(said.ptr, ',', said.len));
    if (cn_origin_is_listed(list, &origin))
        CN_ASSERT(list.len > 0);
    if (cn_origin_of_host(host, true, &of_host) == CN_OK)
        CN_ASSERT(of_host.host.len > 0 && of_host.host.len <= host.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cn_str rest = {(const char *)data, size};
    uint8_t kind = fuzz_byte(&rest);
    char *exact = fuzz_copy(rest);
    struct cn_str text = {exact, rest.len};
    if (kind == 'f')
        try_forwarded(text);
    else if (kind == 'p')
        try_proxy(text);
    else if (kind == 'o')
        try_origin(text);
    free(exact);
    return 0;
}
