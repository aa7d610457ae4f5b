// SPDX-License-Identifier: MIT
// Plain HTTP: the chat page and the SDK from memory, and what operators may ask.
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "edge_private.h"

enum {
    HEAD_BYTES = 2048,
    CHUNK_BYTES = 16384,
    ETAG_BYTES = 128,
    LENGTH_BYTES = 20,
    SMALL_BYTES = 4096
};

// What is still to be written of an answer's body.
struct cn_http_body {
    const unsigned char *bytes;
    size_t len;
    size_t at;
    bool closes;         // the connection ends with it
    struct cn_buf owned; // empty for a file from memory
};

struct fixed_header {
    const char *name; // with the colon, as libwebsockets wants it
    const char *value;
};

static const struct fixed_header fixed_headers[] = {
    {"content-security-policy:",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
     "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"x-content-type-options:", "nosniff"},
    {"referrer-policy:", "no-referrer"},
    {"cross-origin-opener-policy:", "same-origin"},
};

// ---- Writing ----

static int add_header(struct lws *wsi, const char *name, const char *value, unsigned char **at,
                      unsigned char *end)
{
    return lws_add_http_header_by_name(wsi, (const unsigned char *)name,
                                       (const unsigned char *)value, (int)strlen(value), at, end);
}

static int write_head(struct lws *wsi, const struct cn_reply *reply, size_t len)
{
    unsigned char buffer[LWS_PRE + HEAD_BYTES];
    unsigned char *start = buffer + LWS_PRE;
    unsigned char *at = start;
    unsigned char *end = buffer + sizeof(buffer) - 1;
    int failed = lws_add_http_common_headers(wsi, reply->status, reply->content_type,
                                             (lws_filepos_t)len, &at, end);
    for (size_t i = 0; !failed && i < CN_COUNT(fixed_headers); i++)
        failed = add_header(wsi, fixed_headers[i].name, fixed_headers[i].value, &at, end);
    if (!failed)
        failed = add_header(wsi, "cache-control:", reply->etag ? "no-cache" : "no-store", &at, end);
    if (!failed && reply->etag)
        failed = add_header(wsi, "etag:", reply->etag, &at, end);
    if (!failed && reply->name)
        failed = add_header(wsi, reply->name, reply->value, &at, end);
    if (!failed && reply->closes)
        failed = add_header(wsi, "connection:", "close", &at, end);
    return failed ? -1 : lws_finalize_write_http_header(wsi, start, &at, end);
}

int cn_http_refuse(struct lws *wsi, unsigned status, int64_t retry_after_s)
{
    unsigned char buffer[LWS_PRE + HEAD_BYTES];
    unsigned char *start = buffer + LWS_PRE;
    unsigned char *at = start;
    unsigned char *end = buffer + sizeof(buffer) - 1;
    char seconds[24];
    snprintf(seconds, sizeof(seconds), "%lld", (long long)retry_after_s);
    int failed = lws_add_http_header_status(wsi, status, &at, end) ||
                 lws_add_http_header_content_length(wsi, 0, &at, end) ||
                 add_header(wsi, "connection:", "close", &at, end) ||
                 (retry_after_s && add_header(wsi, "retry-after:", seconds, &at, end));
    if (!failed && status == 405)
        failed = add_header(wsi, "allow:", "GET", &at, end);
    if (!failed && status == 426) // RFC 6455 section 4.4
        failed = add_header(wsi, "sec-websocket-version:", "13", &at, end);
    if (!failed)
        (void)!lws_finalize_write_http_header(wsi, start, &at, end);
    return -1;
}

// The answer is out. What the callback returns then.
static int complete(struct lws *wsi, bool closes)
{
    return closes || lws_http_transaction_completed(wsi) ? -1 : 0;
}

void cn_http_drop(struct cn_conn *conn)
{
    if (!conn)
        return;
    if (conn->body)
        cn_buf_fini(&conn->body->owned);
    free(conn->body);
    conn->body = NULL;
    cn_api_drop(conn->call);
    conn->call = NULL;
    free(conn->greeting);
    conn->greeting = NULL;
}

int cn_http_writable(struct lws *wsi, struct cn_conn *conn)
{
    struct cn_http_body *body = conn->body;
    if (!body)
        return 0;
    unsigned char buffer[LWS_PRE + CHUNK_BYTES];
    size_t len = body->len - body->at < CHUNK_BYTES ? body->len - body->at : CHUNK_BYTES;
    bool last = body->at + len == body->len;
    memcpy(buffer + LWS_PRE, body->bytes + body->at, len);
    if (lws_write(wsi, buffer + LWS_PRE, len, last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
        return -1;
    body->at += len;
    if (!last) {
        lws_callback_on_writable(wsi);
        return 0;
    }
    bool closes = body->closes;
    cn_http_drop(conn);
    return complete(wsi, closes);
}

int cn_http_reply(struct lws *wsi, struct cn_conn *conn, struct cn_reply *reply, bool head_only)
{
    size_t len = reply->bytes.len;
    struct cn_http_body *body = head_only || len == 0 ? NULL : calloc(1, sizeof(*body));
    if (write_head(wsi, reply, len) || (!body && !head_only && len > 0)) {
        free(body);
        cn_buf_fini(&reply->owned);
        return -1;
    }
    if (!body) {
        cn_buf_fini(&reply->owned);
        return complete(wsi, reply->closes);
    }
    body->bytes = (const unsigned char *)reply->bytes.ptr;
    body->len = len;
    body->closes = reply->closes;
    body->owned = reply->owned;
    conn->body = body;
    lws_callback_on_writable(wsi);
    return 0;
}

int cn_http_reply_now(struct lws *wsi, struct cn_reply *reply)
{
    unsigned char buffer[LWS_PRE + SMALL_BYTES];
    size_t len = reply->bytes.len;
    CN_ASSERT(len <= SMALL_BYTES);
    if (len > 0)
        memcpy(buffer + LWS_PRE, reply->bytes.ptr, len);
    cn_buf_fini(&reply->owned);
    bool head_only = len == 0 || lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0;
    if (write_head(wsi, reply, len) ||
        (!head_only && lws_write(wsi, buffer + LWS_PRE, len, LWS_WRITE_HTTP_FINAL) < 0))
        return -1;
    return complete(wsi, reply->closes);
}

// ---- What is asked ----

static bool is_unchanged(struct lws *wsi, const char *etag)
{
    char known[ETAG_BYTES];
    return lws_hdr_copy(wsi, known, sizeof(known), WSI_TOKEN_HTTP_IF_NONE_MATCH) > 0 &&
           strstr(known, etag);
}

static void find_asset(struct lws *wsi, struct cn_str path, struct cn_reply *reply)
{
    const struct cn_asset *asset = cn_asset_find(path);
    if (!asset)
        return;
    reply->etag = asset->etag;
    reply->content_type = asset->content_type;
    reply->status = is_unchanged(wsi, asset->etag) ? 304 : 200;
    reply->bytes = (struct cn_str){(const char *)asset->bytes, asset->len};
}

static int find_answer(struct cn_hub *hub, enum cn_audience audience, struct cn_str path,
                       struct cn_reply *reply)
{
    struct cn_answer answer;
    enum cn_err err = cn_admin_answer(hub, audience, path, &answer);
    reply->owned = answer.body;
    if (err == CN_OK) {
        reply->status = (unsigned)answer.status;
        reply->content_type = answer.content_type;
        reply->bytes = cn_buf_str(&reply->owned);
    }
    return err == CN_OK || err == CN_NOTFOUND ? 0 : -1;
}

// ---- A request's body: only the HTTP API takes one ----

int64_t cn_http_body_length(struct lws *wsi)
{
    char text[LENGTH_BYTES];
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0)
        return CN_HTTP_LENGTH_NONE;
    int len = lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_LENGTH);
    if (len <= 0 || strspn(text, "0123456789") != (size_t)len)
        return CN_HTTP_LENGTH_BAD;
    return strtoll(text, NULL, 10);
}

int cn_http_body(struct cn_conn *conn, struct cn_str piece)
{
    return conn && conn->call ? cn_api_body(conn->call, piece) : -1;
}

int cn_http_body_end(struct cn_conn *conn)
{
    return conn && conn->call ? cn_api_body_end(conn->call) : 0;
}

// ---- All together ----

// A body may follow, which nobody wants to read: the connection ends.
static int reply_plainly(struct lws *wsi, unsigned status, struct cn_str text)
{
    struct cn_reply reply = {.status = status,
                             .content_type = "text/plain; charset=utf-8",
                             .closes = true,
                             .bytes = text};
    if (status == 405) {
        reply.name = "allow:";
        reply.value = "GET, HEAD";
    }
    return cn_http_reply_now(wsi, &reply);
}

static bool has_body(struct lws *wsi)
{
    int64_t len = cn_http_body_length(wsi);
    return len > 0 || len == CN_HTTP_LENGTH_BAD ||
           lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
}

static bool is_below(struct cn_str path, struct cn_str folder)
{
    return path.len >= folder.len && memcmp(path.ptr, folder.ptr, folder.len) == 0;
}

int cn_http_request(struct cn_edge_loop *loop, struct lws *wsi, struct cn_conn *conn,
                    struct cn_str path)
{
    enum cn_audience audience = cn_edge_audience(wsi);
    if (audience == CN_AUDIENCE_INTERNAL && is_below(path, CN_STR_LITERAL("/api/")))
        return cn_api_request(loop, wsi, conn, path);
    bool head_only = lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0;
    if (!head_only && lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) <= 0)
        return reply_plainly(wsi, 405, CN_STR_LITERAL("method not allowed\n"));
    if (has_body(wsi))
        return reply_plainly(wsi, 400, CN_STR_LITERAL("no body expected\n"));
    struct cn_reply reply = {.status = 404,
                             .content_type = "text/plain; charset=utf-8",
                             // No POST to the API may wait behind it, see cn_api_body_end.
                             .closes = audience == CN_AUDIENCE_INTERNAL,
                             .bytes = CN_STR_LITERAL("not found\n")};
    if (find_answer(loop->edge->hub, audience, path, &reply)) {
        cn_buf_fini(&reply.owned);
        return -1;
    }
    if (reply.status == 404 && audience == CN_AUDIENCE_PUBLIC)
        find_asset(wsi, path, &reply);
    // 304 names the length of what it leaves out (RFC 9110 section 8.6).
    return cn_http_reply(wsi, conn, &reply, head_only || reply.status == 304);
}
