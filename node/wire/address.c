// SPDX-License-Identifier: MIT
// Addresses and networks as text, and whose word about a client's address is taken: the trusted
// proxies' and no other's.
#include "chatnode/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "wire_private.h"

enum { MAPPED_BITS = 96, GROUP_BYTES = 8 };

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const struct cn_address *address)
{
    return memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

struct cn_address cn_address_of_v4(const unsigned char bytes[4])
{
    struct cn_address address;
    memcpy(address.bytes, mapped, sizeof(mapped));
    memcpy(address.bytes + sizeof(mapped), bytes, 4);
    return address;
}

enum cn_err cn_address_parse(struct cn_str text, struct cn_address *out)
{
    char copy[INET6_ADDRSTRLEN];
    unsigned char four[4];
    if (text.len == 0 || memchr(text.ptr, '\0', text.len) || cn_str_copy(text, copy, sizeof(copy)))
        return CN_INVALID;
    if (inet_pton(AF_INET, copy, four) == 1) {
        *out = cn_address_of_v4(four);
        return CN_OK;
    }
    return inet_pton(AF_INET6, copy, out->bytes) == 1 ? CN_OK : CN_INVALID;
}

enum cn_err cn_address_of(const struct sockaddr *socket, struct cn_address *out)
{
    if (socket->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, socket, sizeof(four));
        *out = cn_address_of_v4((const unsigned char *)&four.sin_addr);
        return CN_OK;
    }
    if (socket->sa_family != AF_INET6)
        return CN_INVALID;
    struct sockaddr_in6 six;
    memcpy(&six, socket, sizeof(six));
    memcpy(out->bytes, &six.sin6_addr, sizeof(out->bytes));
    return CN_OK;
}

void cn_address_format(const struct cn_address *address, char out[CN_ADDRESS_BYTES])
{
    bool four = is_v4(address);
    const unsigned char *bytes = address->bytes + (four ? sizeof(mapped) : 0);
    out[0] = '\0';
    (void)inet_ntop(four ? AF_INET : AF_INET6, bytes, out, CN_ADDRESS_BYTES);
}

bool cn_address_equal(const struct cn_address *a, const struct cn_address *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool cn_address_is_loopback(const struct cn_address *address)
{
    static const struct cn_address six = {.bytes = {[15] = 1}};
    return is_v4(address) ? address->bytes[12] == 127 : cn_address_equal(address, &six);
}

struct cn_address cn_address_group(const struct cn_address *address)
{
    struct cn_address group = *address;
    if (!is_v4(address))
        memset(group.bytes + GROUP_BYTES, 0, sizeof(group.bytes) - GROUP_BYTES);
    return group;
}

// ---- Networks ----

static bool parse_network(struct cn_str text, struct cn_network *out)
{
    const char *slash = memchr(text.ptr, '/', text.len);
    size_t len = slash ? (size_t)(slash - text.ptr) : text.len;
    if (cn_address_parse((struct cn_str){text.ptr, len}, &out->address))
        return false;
    // A mapped address has colons: its bits are those of the mapped form.
    bool four = is_v4(&out->address) && !memchr(text.ptr, ':', len);
    int64_t bits = four ? 32 : 128;
    if (slash && !cn_text_is_number((struct cn_str){slash + 1, text.len - len - 1}, 0, bits, &bits))
        return false;
    out->prefix_bits = (unsigned)bits + (four ? MAPPED_BITS : 0);
    return true;
}

static struct cn_str trim(struct cn_str text)
{
    while (text.len > 0 && (*text.ptr == ' ' || *text.ptr == '\t')) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

enum cn_err cn_networks_parse(struct cn_str list, struct cn_networks *out)
{
    *out = (struct cn_networks){0};
    // An entry has two characters at the least.
    struct cn_network *all = calloc(list.len / 2 + 1, sizeof(*all));
    size_t count = 0;
    bool good = true;
    if (!all)
        return CN_NOMEM;
    while (good && list.len > 0) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.ptr) : list.len;
        good = parse_network(trim((struct cn_str){list.ptr, len}), &all[count++]);
        size_t step = len + (comma != NULL);
        list = (struct cn_str){list.ptr + step, list.len - step};
    }
    if (!good) {
        free(all);
        return CN_INVALID;
    }
    *out = (struct cn_networks){all, count};
    return CN_OK;
}

void cn_networks_fini(struct cn_networks *networks)
{
    free(networks->all);
    *networks = (struct cn_networks){0};
}

static bool is_in(const struct cn_network *network, const struct cn_address *address)
{
    unsigned whole = network->prefix_bits / 8;
    unsigned rest = network->prefix_bits % 8;
    if (memcmp(network->address.bytes, address->bytes, whole) != 0)
        return false;
    return rest == 0 ||
           ((network->address.bytes[whole] ^ address->bytes[whole]) >> (8 - rest)) == 0;
}

bool cn_networks_have(const struct cn_networks *networks, const struct cn_address *address)
{
    for (size_t i = 0; i < networks->count; i++)
        if (is_in(&networks->all[i], address))
            return true;
    return false;
}

// ---- Whom to believe ----

static bool is_port(struct cn_str text)
{
    int64_t port;
    return text.len <= 5 && cn_text_is_number(text, 0, 65535, &port);
}

// "192.0.2.7", "192.0.2.7:4711", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711"
static bool parse_hop(struct cn_str text, struct cn_address *out)
{
    if (cn_address_parse(text, out) == CN_OK)
        return true;
    const char *end = text.len > 0 && *text.ptr == '[' ? memchr(text.ptr, ']', text.len) : NULL;
    const char *colon = text.len > 0 ? memrchr(text.ptr, ':', text.len) : NULL;
    if (end) {
        struct cn_str host = {text.ptr + 1, (size_t)(end - text.ptr) - 1};
        struct cn_str rest = {end + 1, text.len - host.len - 2};
        bool good_rest = rest.len == 0 ||
                         (*rest.ptr == ':' && is_port((struct cn_str){rest.ptr + 1, rest.len - 1}));
        return good_rest && cn_address_parse(host, out) == CN_OK && memchr(host.ptr, ':', host.len);
    }
    if (!colon)
        return false;
    struct cn_str host = {text.ptr, (size_t)(colon - text.ptr)};
    return is_port((struct cn_str){colon + 1, text.len - host.len - 1}) &&
           !memchr(host.ptr, ':', host.len) && cn_address_parse(host, out) == CN_OK;
}

// Cuts the last item off the list; absent when there is none. Empty items do not count (RFC 9110
// section 5.6.1).
static struct cn_str cut_last(struct cn_str *list)
{
    struct cn_str item = {NULL, 0};
    while (list->len > 0 && item.len == 0) {
        const char *comma = memrchr(list->ptr, ',', list->len);
        size_t start = comma ? (size_t)(comma - list->ptr) + 1 : 0;
        item = trim((struct cn_str){list->ptr + start, list->len - start});
        list->len = comma ? start - 1 : 0;
    }
    return item;
}

struct cn_address cn_address_forwarded(const struct cn_networks *trusted,
                                       const struct cn_address *peer, struct cn_str forwarded_for)
{
    struct cn_address address = *peer;
    struct cn_address before;
    while (cn_networks_have(trusted, &address)) {
        struct cn_str item = cut_last(&forwarded_for);
        if (item.len == 0 || !parse_hop(item, &before))
            break;
        address = before;
    }
    return address;
}
