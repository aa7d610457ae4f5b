// SPDX-License-Identifier: MIT
// The handshake: what a request to upgrade must look like to become a session. libwebsockets itself
// would accept much more (an h2c upgrade, version 8, a short key, a body, any Origin).
#include <stdlib.h>
#include <strings.h>

#include "chatnode/log.h"
#include "chatnode/name.h"
#include "chatnode/origin.h"
#include "edge_private.h"

enum { HEADER_BYTES = 512, ARGUMENT_BYTES = CN_TOKEN_HEADER_BYTES, KEY_BYTES = 22, STOP = -1 };

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

// ---- HTTP: what a request must look like whatever it asks for ----

// True when the header came more than once. The library joins the values by commas.
static bool is_repeated(struct lws *wsi, enum lws_token_indexes token)
{
    return lws_hdr_fragment_length(wsi, token, 1) > 0;
}

static bool has_repeated(struct lws *wsi)
{
    static const enum lws_token_indexes once[] = {
        WSI_TOKEN_HOST,
        WSI_TOKEN_UPGRADE,
        WSI_TOKEN_KEY,
        WSI_TOKEN_VERSION,
        WSI_TOKEN_ORIGIN,
        WSI_TOKEN_HTTP_CONTENT_LENGTH,
        WSI_TOKEN_HTTP_AUTHORIZATION,
    };
    for (size_t i = 0; i < CN_COUNT(once); i++)
        if (is_repeated(wsi, once[i]))
            return true;
    return false;
}

// No control character but the tab (RFC 9110 section 5.5).
static bool is_clean(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

// The target's path and query too: a control character there was an escape.
static bool values_are_clean(struct lws *wsi)
{
    char text[CN_HEADER_BYTES];
    for (int token = 0; token < WSI_TOKEN_COUNT; token++) {
        if (lws_hdr_total_length(wsi, (enum lws_token_indexes)token) <= 0)
            continue;
        int len = lws_hdr_copy(wsi, text, sizeof(text), (enum lws_token_indexes)token);
        if (len < 0 || !is_clean(text, (size_t)len) || strlen(text) != (size_t)len)
            return false;
    }
    return true;
}

static bool has_body(struct lws *wsi)
{
    return has(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) || has(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING);
}

// ---- RFC 6455 section 4.2.1 ----

// "Connection: keep-alive, Upgrade" names the upgrade among others.
static bool connection_says_upgrade(struct lws *wsi)
{
    char text[HEADER_BYTES];
    char *rest = NULL;
    if (!header(wsi, WSI_TOKEN_CONNECTION, text, sizeof(text)))
        return false;
    for (char *word = strtok_r(text, ", \t", &rest); word; word = strtok_r(NULL, ", \t", &rest))
        if (strcasecmp(word, "upgrade") == 0)
            return true;
    return false;
}

// 16 bytes in base64: 22 characters, the last of which has only two bits to say, and "==".
static bool key_is_good(struct lws *wsi)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char key[HEADER_BYTES];
    const char *found = header(wsi, WSI_TOKEN_KEY, key, sizeof(key));
    return found && strspn(found, letters) == KEY_BYTES && strchr("AQgw", found[KEY_BYTES - 1]) &&
           strcmp(found + KEY_BYTES, "==") == 0;
}

static bool is_for_echo(const struct cn_edge *edge, struct lws *wsi)
{
    char path[HEADER_BYTES];
    const char *found = header(wsi, WSI_TOKEN_GET_URI, path, sizeof(path));
    return found && cn_echo_is_on(edge, found);
}

static enum verdict check_request(const struct cn_edge *edge, struct lws *wsi)
{
    char path[HEADER_BYTES];
    const char *found = header(wsi, WSI_TOKEN_GET_URI, path, sizeof(path));
    if (!has(wsi, WSI_TOKEN_GET_URI))
        return BAD_METHOD;
    if (has_repeated(wsi) || !values_are_clean(wsi) || has_body(wsi) ||
        !header_is(wsi, WSI_TOKEN_HTTP, "HTTP/1.1") || (found && found[0] != '/'))
        return BAD_REQUEST;
    if (!found || (strcmp(found, "/ws") != 0 && !cn_echo_is_on(edge, found)))
        return NOT_FOUND;
    if (!header_is(wsi, WSI_TOKEN_VERSION, "13"))
        return BAD_VERSION;
    if (!connection_says_upgrade(wsi) || !key_is_good(wsi) || !has(wsi, WSI_TOKEN_HOST))
        return BAD_REQUEST;
    return cn_token_offers_are_good(wsi) ? GOOD : BAD_REQUEST;
}

// ---- Origin: against pages of others that use a visitor's browser ----

// Without a list, a page may connect to the server that it came from: scheme, host and port.
static bool is_of_same_host(const struct cn_edge *edge, struct lws *wsi,
                            const struct cn_origin *origin)
{
    char host[HEADER_BYTES];
    struct cn_origin own;
    return header(wsi, WSI_TOKEN_HOST, host, sizeof(host)) &&
           cn_origin_of_host(cn_str_of(host), cn_peer_is_tls(edge, wsi), &own) == CN_OK &&
           cn_origin_equal(&own, origin);
}

// No Origin: not a browser.
static bool origin_is_allowed(const struct cn_edge *edge, struct lws *wsi)
{
    char text[HEADER_BYTES];
    struct cn_origin origin;
    if (!has(wsi, WSI_TOKEN_ORIGIN))
        return !edge->config->require_origin;
    if (!header(wsi, WSI_TOKEN_ORIGIN, text, sizeof(text)) ||
        cn_origin_parse(cn_str_of(text), &origin))
        return false;
    const struct cn_str list = cn_str_of(edge->config->allowed_origins);
    return list.len > 0 ? cn_origin_is_listed(list, &origin) : is_of_same_host(edge, wsi, &origin);
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
        argument[0] = '\0';
        int len =
            lws_hdr_copy_fragment(wsi, argument, sizeof(argument), WSI_TOKEN_HTTP_URI_ARGS, i);
        if (len < 0 && lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i) == 0)
            return GOOD; // there are no more
        // A NUL, which was an escape, would hide what stands behind it.
        if (len < 0 || strlen(argument) != (size_t)len || !is_right_length(argument, len) ||
            (len > 0 && !take_argument(greeting, argument)))
            return BAD_REQUEST;
    }
}

// ---- All together ----

static void read_address(const struct cn_edge *edge, struct lws *wsi, struct cn_greeting *greeting)
{
    struct cn_address address;
    if (cn_peer_client_address(edge, wsi, &address))
        cn_address_format(&address, greeting->address);
    greeting->hello.address = cn_str_of(greeting->address);
}

// The connection ends: what else may have been sent is not looked at as a request of its own.
static int refuse(struct lws *wsi, enum verdict verdict)
{
    cn_metrics_add(verdict == BAD_ORIGIN ? CN_M_REFUSED_ORIGIN : CN_M_REFUSED_HANDSHAKE, 1);
    CN_LOG(DEBUG, "handshake.refused", "a handshake was refused", CN_F_INT("status", verdict));
    return cn_http_refuse(wsi, (unsigned)verdict, 0);
}

// The request is good, but not now.
static int put_off(struct lws *wsi, unsigned status, int64_t retry_after_s)
{
    CN_LOG(DEBUG, "handshake.refused", "a client shall come back later", CN_F_INT("status", status),
           CN_F_INT("retry_after_s", retry_after_s));
    return cn_http_refuse(wsi, status, retry_after_s);
}

// A client behind a trusted proxy is counted only now that its address is known. 0: it may come in.
static int64_t admit_forwarded(struct cn_edge *edge, struct lws *wsi)
{
    struct cn_address peer;
    struct cn_address client;
    const struct cn_peer *known = cn_peer_of(wsi);
    if (edge->trusted.count == 0 || !edge->addresses || (known && known->quota) ||
        !cn_peer_address(wsi, &peer) || !cn_peer_client_address(edge, wsi, &client) ||
        cn_address_equal(&peer, &client))
        return 0;
    struct cn_peer *forwarded;
    int64_t retry_after_s = cn_peer_admit(edge, &client, false, &forwarded);
    if (!forwarded)
        return retry_after_s;
    forwarded->address = peer; // the socket's stays what it is
    cn_peer_free(edge, cn_peer_of(wsi));
    lws_set_opaque_user_data(wsi, forwarded);
    return 0;
}

// A good request may have to wait for those before it. 0, or what libwebsockets gets.
static int admit(struct cn_edge *edge, struct lws *wsi, const struct cn_hello *hello)
{
    int64_t retry_after_s = admit_forwarded(edge, wsi);
    if (retry_after_s)
        return put_off(wsi, 429, retry_after_s);
    retry_after_s = cn_governor_admit(&edge->governor, hello->has_since || hello->has_inbox_since);
    if (!retry_after_s)
        return 0;
    cn_metrics_add(CN_M_REFUSED_RATE, 1);
    return put_off(wsi, 503, retry_after_s);
}

static enum verdict check(struct cn_edge_loop *loop, struct lws *wsi, struct cn_greeting *greeting)
{
    enum verdict verdict = check_request(loop->edge, wsi);
    if (verdict)
        return verdict;
    if (cn_edge_audience(wsi) != CN_AUDIENCE_PUBLIC)
        return NOT_FOUND;
    if (!origin_is_allowed(loop->edge, wsi))
        return BAD_ORIGIN;
    return read_query(wsi, greeting);
}

int cn_handshake_check(struct cn_edge_loop *loop, struct lws *wsi)
{
    // Without the header the library has an upgrade in mind whose memory it may have freed.
    if (lws_hdr_total_length(wsi, WSI_TOKEN_UPGRADE) <= 0)
        return STOP;
    if (!header_is(wsi, WSI_TOKEN_UPGRADE, "websocket"))
        return refuse(wsi, BAD_REQUEST);
    struct cn_greeting greeting = {0};
    enum verdict verdict = check(loop, wsi, &greeting);
    if (verdict)
        return refuse(wsi, verdict);
    bool is_full = is_for_echo(loop->edge, wsi) && !cn_echo_has_room(loop->edge);
    if (!is_full && !atomic_load(&loop->edge->is_closed))
        return admit(loop->edge, wsi, &greeting.hello);
    cn_metrics_add(is_full ? CN_M_REFUSED_LIMIT : CN_M_REFUSED_DRAINING, 1);
    return put_off(wsi, 503, 1);
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
    greeting->is_echo = is_for_echo(loop->edge, wsi);
    conn->greeting = greeting;
    return 0;
}
