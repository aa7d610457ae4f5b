// SPDX-License-Identifier: MIT
// Tokens of the handshake: where a client may put one, and the subprotocols among which it may
// stand. RFC 6750 section 2.1; RFC 6455 section 4.2.2.
#include <strings.h>

#include "edge_private.h"

static const struct cn_str bearer_protocol = CN_STR_LITERAL("bearer.");

// ---- The subprotocols that are offered ----

// What stands between the lines of a header that came more than once.
static char separator_of(enum lws_token_indexes token)
{
    if (token == WSI_TOKEN_HTTP_URI_ARGS)
        return '&';
    return token == WSI_TOKEN_HTTP_COOKIE ? ';' : ',';
}

// The whole header, its lines joined; its length, -1 when it does not fit.
static int copy_header(struct lws *wsi, char *out, int size, enum lws_token_indexes token)
{
    int len = 0;
    out[0] = '\0';
    if (lws_hdr_total_length(wsi, token) >= size)
        return -1;
    for (int i = 0;; i++) {
        int at = i > 0 ? len + 1 : len;
        int part = at < size ? lws_hdr_copy_fragment(wsi, out + at, size - at, token, i) : -1;
        if (part < 0 && lws_hdr_fragment_length(wsi, token, i) == 0)
            return len; // there are no more
        if (part < 0)
            return -1;
        if (at > len)
            out[len] = separator_of(token);
        len = at + part;
    }
}

static int copy_list(struct lws *wsi, char list[CN_TOKEN_HEADER_BYTES])
{
    return copy_header(wsi, list, CN_TOKEN_HEADER_BYTES, WSI_TOKEN_PROTOCOL);
}

// The next item of a list between commas, or one that is absent; *at goes on behind it.
static struct cn_str next_item(const char **at)
{
    *at += strspn(*at, ", \t");
    struct cn_str item = {**at ? *at : NULL, strcspn(*at, ", \t")};
    *at += item.len;
    return item;
}

static bool is_bearer(struct cn_str item)
{
    return item.len > bearer_protocol.len &&
           memcmp(item.ptr, bearer_protocol.ptr, bearer_protocol.len) == 0;
}

bool cn_token_offers_are_good(struct lws *wsi)
{
    char list[CN_TOKEN_HEADER_BYTES];
    int len = copy_list(wsi, list);
    if (len <= 0)
        return len == 0;
    const char *at = list;
    struct cn_str item;
    while ((item = next_item(&at)).ptr)
        if (cn_str_equal(item, CN_STR_LITERAL(CN_PROTOCOL_SUBPROTOCOL)))
            return true;
    return false;
}

// The library copies the offers to a buffer of 127 bytes in order to choose one of them, and hangs
// up when they do not fit: no token would. So it is shown those that are no tokens, by this
// function in place of its own of that name (docs/decisions/0014-tokens-among-the-subprotocols.md).
// -1: they do not fit.
static int copy_offers(struct lws *wsi, char *out, int size)
{
    char list[CN_TOKEN_HEADER_BYTES];
    int len = 0;
    out[0] = '\0';
    if (copy_list(wsi, list) < 0)
        return -1;
    const char *at = list;
    struct cn_str item;
    while ((item = next_item(&at)).ptr) {
        if (is_bearer(item))
            continue;
        if (item.len >= (size_t)(size - len) - 1)
            return -1;
        if (len > 0)
            out[len++] = ',';
        memcpy(out + len, item.ptr, item.len);
        len += (int)item.len;
        out[len] = '\0';
    }
    return len;
}

int lws_hdr_copy(struct lws *wsi, char *out, int size, enum lws_token_indexes token)
{
    return token == WSI_TOKEN_PROTOCOL ? copy_offers(wsi, out, size)
                                       : copy_header(wsi, out, size, token);
}

// ---- Where a token may be ----

// "Authorization: Bearer TOKEN"
static struct cn_str of_authorization(struct lws *wsi, char *out, size_t size)
{
    static const char scheme[] = "Bearer ";
    size_t len = sizeof(scheme) - 1;
    int copied = lws_hdr_copy(wsi, out, (int)size, WSI_TOKEN_HTTP_AUTHORIZATION);
    if (copied <= (int)len || strncasecmp(out, scheme, len) != 0)
        return (struct cn_str){NULL, 0};
    return (struct cn_str){out + len, (size_t)copied - len};
}

// "Sec-WebSocket-Protocol: chatnode.v1, bearer.TOKEN"
static struct cn_str of_protocols(struct lws *wsi, char list[CN_TOKEN_HEADER_BYTES])
{
    struct cn_str item = {NULL, 0};
    const char *at = list;
    if (copy_list(wsi, list) <= 0)
        return item;
    while ((item = next_item(&at)).ptr)
        if (is_bearer(item))
            return (struct cn_str){item.ptr + bearer_protocol.len, item.len - bearer_protocol.len};
    return item;
}

// "/ws?token=TOKEN"
static struct cn_str of_query(struct lws *wsi, char *out, size_t size)
{
    static const char key[] = "token=";
    size_t len = sizeof(key) - 1;
    for (int i = 0; lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i) > 0; i++) {
        int copied = lws_hdr_copy_fragment(wsi, out, (int)size, WSI_TOKEN_HTTP_URI_ARGS, i);
        if (copied > (int)len && strncmp(out, key, len) == 0)
            return (struct cn_str){out + len, (size_t)copied - len};
    }
    return (struct cn_str){NULL, 0};
}

struct cn_str cn_token_find(const struct cn_config *config, struct lws *wsi,
                            char out[CN_TOKEN_HEADER_BYTES])
{
    struct cn_str token = of_authorization(wsi, out, CN_TOKEN_HEADER_BYTES);
    if (!token.ptr)
        token = of_protocols(wsi, out);
    if (!token.ptr && config->auth_query)
        token = of_query(wsi, out, CN_TOKEN_HEADER_BYTES);
    return token;
}
