// SPDX-License-Identifier: MIT
// What the files of the edge share of plain HTTP and of the HTTP API.
#ifndef CHATNODE_HTTP_PRIVATE_H
#define CHATNODE_HTTP_PRIVATE_H

#include <libwebsockets.h>
#include <stdbool.h>
#include <stdint.h>

#include "chatnode/buf.h"

struct cn_call;
struct cn_conn;
struct cn_edge_loop;

// ---- edge_http.c ----

// An answer ready to be sent.
struct cn_reply {
    unsigned status;
    const char *content_type;
    const char *etag;    // NULL: not to be cached
    const char *name;    // of one more header, with the colon; NULL: none
    const char *value;   // its value
    bool closes;         // the connection ends with it
    struct cn_str bytes; // in `owned`, or static
    struct cn_buf owned;
};

// Sends the head, and keeps the body for when the socket takes it. Takes reply->owned. What the
// callback returns then.
int cn_http_reply(struct lws *wsi, struct cn_conn *conn, struct cn_reply *reply, bool head_only);

// Sends head and body at once, for a small answer; takes reply->owned. What a callback returns
// then; outside of one: not 0 means that the connection must go.
int cn_http_reply_now(struct lws *wsi, struct cn_reply *reply);

// The length that the request's body has by its head, or one of these: not said, or no number.
enum { CN_HTTP_LENGTH_NONE = -1, CN_HTTP_LENGTH_BAD = -2 };
int64_t cn_http_body_length(struct lws *wsi);

// A piece of a request's body, and its end.
int cn_http_body(struct cn_conn *conn, struct cn_str piece);
int cn_http_body_end(struct cn_conn *conn);

// Answers a plain request; what libwebsockets' callback returns.
int cn_http_request(struct cn_edge_loop *loop, struct lws *wsi, struct cn_conn *conn,
                    struct cn_str path);
int cn_http_writable(struct lws *wsi, struct cn_conn *conn);
void cn_http_drop(struct cn_conn *conn);

// Refuses a request with a head only, and makes the client leave. `retry_after_s` 0: it need not
// come back. What the callback returns then, to hang up.
int cn_http_refuse(struct lws *wsi, unsigned status, int64_t retry_after_s);

// ---- edge_api.c: the transport of the HTTP API ----

// Begins an answer to a request below /api/; what the callback returns.
int cn_api_request(struct cn_edge_loop *loop, struct lws *wsi, struct cn_conn *conn,
                   struct cn_str path);

// More of its body, its end; and the connection's end.
int cn_api_body(struct cn_call *call, struct cn_str piece);
int cn_api_body_end(struct cn_call *call);
void cn_api_drop(struct cn_call *call); // takes NULL

#endif
