// SPDX-License-Identifier: MIT
// Whose word about a client's address is taken: the trusted proxies' and no other's.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge_private.h"

enum { MAPPED_BITS = 96 };

static bool parse_address(const char *text, struct in6_addr *out, unsigned *extra_bits)
{
    struct in_addr four;
    *extra_bits = 0;
    if (inet_pton(AF_INET6, text, out) == 1)
        return true;
    if (inet_pton(AF_INET, text, &four) != 1)
        return false;
    memset(out, 0, sizeof(*out));
    out->s6_addr[10] = out->s6_addr[11] = 0xff;
    memcpy(&out->s6_addr[12], &four, sizeof(four));
    *extra_bits = MAPPED_BITS;
    return true;
}

static bool parse_network(char *text, struct cn_network *out)
{
    unsigned extra_bits;
    char *slash = strchr(text, '/');
    if (slash)
        *slash++ = '\0';
    if (!parse_address(text, &out->address, &extra_bits))
        return false;
    unsigned long bits = 128 - extra_bits;
    if (slash) {
        char *end;
        unsigned long asked = strtoul(slash, &end, 10);
        if (*slash < '0' || *slash > '9' || *end || asked > bits)
            return false;
        bits = asked;
    }
    out->prefix_bits = (unsigned)bits + extra_bits;
    return true;
}

enum cn_err cn_networks_parse(const char *list, struct cn_networks *out)
{
    *out = (struct cn_networks){0};
    char *copy = strdup(list);
    // An entry has two characters at the least.
    struct cn_network *all = calloc(strlen(list) / 2 + 1, sizeof(*all));
    enum cn_err err = copy && all ? CN_OK : CN_NOMEM;
    size_t count = 0;
    char *rest = NULL;
    for (char *text = copy && all ? strtok_r(copy, ", ", &rest) : NULL; text && !err;
         text = strtok_r(NULL, ", ", &rest))
        err = parse_network(text, &all[count++]) ? CN_OK : CN_INVALID;
    free(copy);
    if (err) {
        free(all);
        return err;
    }
    *out = (struct cn_networks){all, count};
    return CN_OK;
}

void cn_networks_fini(struct cn_networks *networks)
{
    free(networks->all);
    *networks = (struct cn_networks){0};
}

static bool is_in(const struct cn_network *network, const struct in6_addr *address)
{
    unsigned whole = network->prefix_bits / 8;
    unsigned rest = network->prefix_bits % 8;
    if (memcmp(network->address.s6_addr, address->s6_addr, whole) != 0)
        return false;
    return rest == 0 ||
           ((network->address.s6_addr[whole] ^ address->s6_addr[whole]) >> (8 - rest)) == 0;
}

bool cn_networks_have(const struct cn_networks *networks, const char *address)
{
    struct in6_addr parsed;
    unsigned extra_bits;
    if (!parse_address(address, &parsed, &extra_bits))
        return false;
    for (size_t i = 0; i < networks->count; i++)
        if (is_in(&networks->all[i], &parsed))
            return true;
    return false;
}

bool cn_peer_is_loopback(const char *listen)
{
    static const char loopback[] = "127.0.0.0/8, ::1";
    char host[CN_ADDRESS_BYTES];
    struct cn_networks networks;
    const char *colon = strrchr(listen, ':');
    struct cn_str text = {listen, colon ? (size_t)(colon - listen) : 0};
    if (text.len >= 2 && text.ptr[0] == '[')
        text = (struct cn_str){text.ptr + 1, text.len - 2};
    if (cn_str_copy(text, host, sizeof(host)) || cn_networks_parse(loopback, &networks))
        return false;
    bool found = cn_networks_have(&networks, host);
    cn_networks_fini(&networks);
    return found;
}

// Cuts the last address off the list and returns it, without spaces around it; NULL: none is left.
static char *cut_last(char **rest)
{
    char *list = *rest;
    size_t len = strlen(list);
    while (len > 0 && (list[len - 1] == ' ' || list[len - 1] == ','))
        list[--len] = '\0';
    if (len == 0)
        return NULL;
    char *comma = strrchr(list, ',');
    if (!comma) {
        *rest = list + len;
        return list + strspn(list, " ");
    }
    *comma = '\0';
    return comma + 1 + strspn(comma + 1, " ");
}

void cn_peer_address(const struct cn_networks *trusted, const char *socket_address,
                     char *forwarded_for, char out[CN_ADDRESS_BYTES])
{
    const char *address = socket_address;
    while (cn_networks_have(trusted, address)) {
        const char *before = cut_last(&forwarded_for);
        struct in6_addr ignored;
        unsigned extra_bits;
        if (!before || !parse_address(before, &ignored, &extra_bits))
            break;
        address = before;
    }
    snprintf(out, CN_ADDRESS_BYTES, "%s", address);
}
