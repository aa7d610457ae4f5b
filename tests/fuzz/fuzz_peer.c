// SPDX-License-Identifier: MIT
// Fuzz target: what a proxy says of a client's address. Lines: the list of trusted networks, the
// socket's address, X-Forwarded-For. Only whom we trust is believed, and only as far.
#include "fuzz/fuzz.h"

#include <arpa/inet.h>

#include "edge_private.h"

enum { ITEMS_MAX = 4096 };

static char *next_line(struct cn_str *rest)
{
    struct cn_str line = {"", 0};
    (void)fuzz_cut(rest, '\n', &line);
    return fuzz_string(line);
}

static bool is_address(const char *text)
{
    struct in6_addr any;
    return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

// The same answer found in another way: the items from right to left, empty ones left out.
static const char *expect(const struct cn_networks *trusted, const char *socket_address, char *said)
{
    char *items[ITEMS_MAX];
    size_t count = 0;
    char *rest = NULL;
    for (char *item = strtok_r(said, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
        item += strspn(item, " ");
        size_t len = strlen(item);
        while (len > 0 && item[len - 1] == ' ')
            item[--len] = '\0';
        if (len > 0 && count < ITEMS_MAX)
            items[count++] = item;
    }
    const char *found = socket_address;
    while (cn_networks_have(trusted, found) && count > 0 && is_address(items[count - 1]))
        found = items[--count];
    return found;
}

static void try_address(const struct cn_networks *trusted, const char *socket_address,
                        char *forwarded_for)
{
    char address[CN_ADDRESS_BYTES];
    char wanted[CN_ADDRESS_BYTES];
    char *said = strdup(forwarded_for);
    CN_ASSERT(said);
    memset(address, 'x', sizeof(address));
    snprintf(wanted, sizeof(wanted), "%s", expect(trusted, socket_address, said));
    cn_peer_address(trusted, socket_address, forwarded_for, address);
    CN_ASSERT(memchr(address, '\0', sizeof(address)));
    CN_ASSERT(strcmp(address, wanted) == 0);
    free(said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cn_str rest = {(const char *)data, size};
    char *list = next_line(&rest);
    char *socket_address = next_line(&rest);
    char *forwarded_for = next_line(&rest);
    struct cn_networks trusted;
    enum cn_err err = cn_networks_parse(list, &trusted);
    CN_ASSERT(err == CN_OK || err == CN_INVALID);
    if (!err)
        try_address(&trusted, socket_address, forwarded_for);
    cn_networks_fini(&trusted);
    (void)cn_peer_is_loopback(list);
    free(list);
    free(socket_address);
    free(forwarded_for);
    return 0;
}
