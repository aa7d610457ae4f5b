// SPDX-License-Identifier: MIT
// Reading the URL of a server: where to connect, and what to ask for there.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "chatnode/buf.h"
#include "link.h"

// Takes "HOST:PORT" or "[HOST]:PORT" apart; false when it is not one of them.
static bool split(const char *text, char host[CN_LINK_HOST_BYTES], char port[8])
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || strlen(colon + 1) < 1 || strlen(colon + 1) > 5)
        return false;
    struct cn_str name = {text, (size_t)(colon - text)};
    if (name.len > 2 && text[0] == '[' && colon[-1] == ']')
        name = (struct cn_str){text + 1, name.len - 2};
    return cn_str_copy(name, host, CN_LINK_HOST_BYTES) == CN_OK &&
           cn_str_copy(cn_str_of(colon + 1), port, 8) == CN_OK;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    return address->ss_family == AF_INET && ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static bool resolve(struct cn_endpoint *out, const char **why)
{
    char host[CN_LINK_HOST_BYTES];
    char port[8];
    *why = "is not HOST:PORT";
    if (!split(out->host, host, port))
        return false;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host, port, &hints, &found);
    if (code != 0) {
        *why = gai_strerror(code);
        return false;
    }
    memcpy(&out->address, found->ai_addr, found->ai_addrlen);
    out->address_len = found->ai_addrlen;
    out->loopback = is_loopback(&out->address);
    freeaddrinfo(found);
    return true;
}

bool cn_endpoint_parse(const char *url, struct cn_endpoint *out, const char **why)
{
    *out = (struct cn_endpoint){.websocket = strncmp(url, "ws://", 5) == 0};
    *why = strncmp(url, "wss://", 6) == 0 ? "wants TLS, which the bench does not speak"
                                          : "does not begin with ws:// or tcp://";
    if (!out->websocket && strncmp(url, "tcp://", 6) != 0)
        return false;
    const char *host = strstr(url, "://") + 3;
    size_t len = strcspn(host, "/?");
    const char *path = host + len;
    *why = "is too long";
    if (cn_str_copy((struct cn_str){host, len}, out->host, sizeof(out->host)) != CN_OK ||
        cn_str_copy(cn_str_of(*path ? path : "/"), out->path, sizeof(out->path)) != CN_OK)
        return false;
    return resolve(out, why);
}
