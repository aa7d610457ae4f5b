// SPDX-License-Identifier: MIT
// The handshake: what a request to upgrade must look like to become a session. libwebsockets itself
// would accept much more (an h2c upgrade, version 8, a short key, a body, any Origin).
#include <stdlib.h>
#include <strings.h>

#include "chatnode/log.h"
#include "chatnode/name.h"
#include "edge_private.h"

enum { HEADER_BYTES = 512, ARGUMENT_BYTES = CN_TOKEN_HEADER_BYTES, KEY_CHARS = 24, STOP = -1 };

enum verdict {
    GOOD,
    BAD_REQUEST = 400,
    BAD_ORIGIN = 403,
    NOT_FOUND = 404,
    BAD_METHOD = 405,
    BAD_VERSION = 426
};

// The header's value, or NULL when it is absent, or does not fit.
static const char *header(struct lws *wsi, enum lws_token_indexes token, char *out, int size)
{
    return lws_hdr_copy(wsi, out, size, token) > 0 ? out : NULL;
}

static bool has(struct lws *wsi, enum lws_token_indexes token)
{
    return lws_hdr_total_length(wsi, token) > 0;
}

static bool header_is(struct lws *wsi, enum lws_token_indexes token, const char *value)
{
    char text[HEADER_BYTES];
    const char *found = header(wsi, token, text, sizeof(text));
    return found && strcasecmp(found, value) == 0;
}

// ---- RFC 6455 section 4.2.1 ----

// "Connection: keep-alive, Upgrade" names the upgrade among others.
static bool connection_says_upgrade(struct lws *wsi)
{
    char text[HEADER_BYTES];
    const char *found = header(wsi, WSI_TOKEN_CONNECTION, text, sizeof(text));
    return found && strcasestr(found, "upgrade");
}

static bool key_is_good(struct lws *wsi)
{
    char key[HEADER_BYTES];
    const char *found = header(wsi, WSI_TOKEN_KEY, key, sizeof(key));
    return found && strlen(found) == KEY_CHARS && strcmp(found + KEY_CHARS - 2, "==") == 0;
}

static enum verdict check_request(struct lws *wsi)
{
    char path[HEADER_BYTES];
    const char *found = header(wsi, WSI_TOKEN_GET_URI, path, sizeof(path));
    if (!found)
        return BAD_METHOD;
    if (strcmp(found, "/ws") != 0)
        return NOT_FOUND;
    if (has(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) || has(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
        return BAD_REQUEST;
    if (!header_is(wsi, WSI_TOKEN_VERSION, "13"))
        return BAD_VERSION;
    if (!connection_says_upgrade(wsi) || !key_is_good(wsi) || !has(wsi, WSI_TOKEN_HOST))
        return BAD_REQUEST;
    return cn_token_offers_are_good(wsi) ? GOOD : BAD_REQUEST;
}

// ---- Origin: against pages of others that use a visitor's browser ----

static bool list_has(const char *list, const char *origin)
{
    size_t len = strlen(origin);
    for (const char *at = list; *at;) {
        at += strspn(at, ", ");
        size_t item = strcspn(at, ", ");
        if ((item == 1 && *at == '*') || (item == len && strncasecmp(at, origin, len) == 0))
            return true;
        at += item;
    }
    return false;
}

// Without a list, a page may connect to the host that served it. No Origin: not a browser.
static bool origin_is_allowed(const struct cn_config *config, struct lws *wsi)
{
    char origin[HEADER_BYTES];
    char host[HEADER_BYTES];
    if (!has(wsi, WSI_TOKEN_ORIGIN))
        return true;
    if (!header(wsi, WSI_TOKEN_ORIGIN, origin, sizeof(origin)) || strcmp(origin, "null") == 0)
        return false;
    if (config->allowed_origins[0])
        return list_has(config->allowed_origins, origin);
    const char *name = strstr(origin, "://");
    return name && header(wsi, WSI_TOKEN_HOST, host, sizeof(host)) &&
           strcasecmp(name + 3, host) == 0;
}

// ---- The query ----

static bool take_name(const char *value, bool may_be_empty, char *out, struct cn_str *view)
{
    struct cn_str text = cn_str_of(value);
    bool good = cn_name_is_valid(text) || (may_be_empty && text.len == 0);
    if (!good || cn_str_copy(text, out, CN_NAME_MAX + 1))
        return false;
    *view = (struct cn_str){out, text.len};
    return true;
}

static bool take_position(const char *value, bool *has_pos, struct cn_pos *pos)
{
    *has_pos = true;
    return cn_pos_parse(cn_str_of(value), pos) == CN_OK;
}

// One "key=value" of the query; unknown keys are none of our business.
static bool take_argument(struct cn_greeting *greeting, char *argument)
{
    char *equals = strchr(argument, '=');
    if (!equals)
        return true;
    *equals = '\0';
    const char *value = equals + 1;
    struct cn_hello *hello = &greeting->hello;
    if (strcmp(argument, "user") == 0)
        return take_name(value, false, greeting->user, &hello->user);
    if (strcmp(argument, "room") == 0)
        return take_name(value, true, greeting->room, &hello->room);
    if (strcmp(argument, "since") == 0)
        return take_position(value, &hello->has_since, &hello->since);
    if (strcmp(argument, "inbox") == 0)
        return take_position(value, &hello->has_inbox_since, &hello->inbox_since);
    return true;
}

// A token has its own place (edge_token.c); nothing else may be so long.
static bool is_right_length(const char *argument, int len)
{
    return len < HEADER_BYTES || strncmp(argument, "token=", 6) == 0;
}

static enum verdict read_query(struct lws *wsi, struct cn_greeting *greeting)
{
    char argument[ARGUMENT_BYTES];
    for (int i = 0;; i++) {
        int len =
            lws_hdr_copy_fragment(wsi, argument, sizeof(argument), WSI_TOKEN_HTTP_URI_ARGS, i);
        if (len < 0 && lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i) == 0)
            return GOOD; // there are no more
        if (len < 0 || !is_right_length(argument, len) ||
            (len > 0 && !take_argument(greeting, argument)))
            return BAD_REQUEST;
    }
}

// ---- All together ----

static void read_address(struct cn_edge *edge, struct lws *wsi, struct cn_greeting *greeting)
{
    char socket_address[CN_ADDRESS_BYTES];
    char forwarded_for[HEADER_BYTES] = "";
    lws_get_peer_simple(wsi, socket_address, sizeof(socket_address));
    (void)header(wsi, WSI_TOKEN_X_FORWARDED_FOR, forwarded_for, sizeof(forwarded_for));
    cn_peer_address(&edge->trusted, socket_address, forwarded_for, greeting->address);
    greeting->hello.address = cn_str_of(greeting->address);
}

static int refuse(struct lws *wsi, enum verdict verdict)
{
    cn_metrics_add(verdict == BAD_ORIGIN ? CN_M_REFUSED_ORIGIN : CN_M_REFUSED_HANDSHAKE, 1);
    CN_LOG(DEBUG, "handshake.refused", "a handshake was refused", CN_F_INT("status", verdict));
    if (lws_return_http_status(wsi, (unsigned)verdict, NULL))
        return STOP;
    return lws_http_transaction_completed(wsi) ? STOP : 1;
}

// The request is good, but not now.
static int put_off(struct lws *wsi, enum cn_metric_row row, int64_t retry_after_s)
{
    cn_metrics_add(row, 1);
    CN_LOG(DEBUG, "handshake.refused", "a client shall come back later",
           CN_F_INT("retry_after_s", retry_after_s));
    return cn_http_refuse(wsi, 503, retry_after_s);
}

static enum verdict check(struct cn_edge_loop *loop, struct lws *wsi, struct cn_greeting *greeting)
{
    enum verdict verdict = check_request(wsi);
    if (verdict)
        return verdict;
    if (cn_edge_audience(wsi) != CN_AUDIENCE_PUBLIC)
        return NOT_FOUND;
    if (!origin_is_allowed(loop->edge->config, wsi))
        return BAD_ORIGIN;
    return read_query(wsi, greeting);
}

int cn_handshake_check(struct cn_edge_loop *loop, struct lws *wsi)
{
    // Without the header the library has an upgrade in mind whose memory it may have freed.
    if (lws_hdr_total_length(wsi, WSI_TOKEN_UPGRADE) <= 0)
        return STOP;
    if (!header_is(wsi, WSI_TOKEN_UPGRADE, "websocket")) {
        cn_metrics_add(CN_M_REFUSED_HANDSHAKE, 1);
        return STOP;
    }
    struct cn_greeting greeting = {0};
    enum verdict verdict = check(loop, wsi, &greeting);
    if (verdict)
        return refuse(wsi, verdict);
    if (atomic_load(&loop->edge->is_closed))
        return put_off(wsi, CN_M_REFUSED_DRAINING, 1);
    const struct cn_hello *hello = &greeting.hello;
    int64_t retry_after_s =
        cn_governor_admit(&loop->edge->governor, hello->has_since || hello->has_inbox_since);
    return retry_after_s ? put_off(wsi, CN_M_REFUSED_RATE, retry_after_s) : 0;
}

int cn_handshake_greet(struct cn_edge_loop *loop, struct lws *wsi, struct cn_conn *conn)
{
    char text[CN_TOKEN_HEADER_BYTES];
    struct cn_str token = {NULL, 0};
    if (strcmp(loop->edge->config->auth, "token") == 0)
        token = cn_token_find(loop->edge->config, wsi, text);
    struct cn_greeting *greeting = calloc(1, sizeof(*greeting) + token.len + 1);
    if (!greeting || read_query(wsi, greeting)) {
        free(greeting);
        return STOP;
    }
    read_address(loop->edge, wsi, greeting);
    if (token.ptr) {
        memcpy(greeting->token, token.ptr, token.len);
        greeting->hello.token = (struct cn_str){greeting->token, token.len};
    }
    conn->greeting = greeting;
    return 0;
}
