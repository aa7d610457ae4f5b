// SPDX-License-Identifier: MIT
// A WebSocket connection: from libwebsockets' events to the session, and the session's sink. Every
// byte of an established WebSocket goes out through `sink_write`, or `sink_write_tls`.
#include <stdlib.h>
#include <sys/socket.h>

#include "edge_private.h"

enum { CLOSE_CODES = 5000 }; // there are no higher ones

// ---- The sink ----

// What the socket takes at once; 0 when it takes nothing, or is broken: the library will see that.
static size_t send_now(const struct cn_conn *conn, const unsigned char *bytes, size_t len)
{
    // The library may have kept a pong that was not taken whole: nothing may overtake it.
    if (lws_partial_buffered(conn->wsi))
        return 0;
    ssize_t sent = send(conn->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent > 0 ? (size_t)sent : 0;
}

// RAW: the frames have their headers. The library writes through a pointer that is not const but
// changes nothing on this way. What the socket does not take it keeps, and sends before WRITEABLE
// comes. A broken socket is told by CLOSED later; until then it counts as full.
static bool write_by_library(struct cn_conn *conn, const unsigned char *bytes, size_t len)
{
    int sent = lws_write(conn->wsi, (unsigned char *)(uintptr_t)bytes, len, LWS_WRITE_RAW);
    if (sent >= 0 && !lws_partial_buffered(conn->wsi))
        return true;
    if (sent >= 0) {
        lws_callback_on_writable(conn->wsi);
        cn_stalled_add(conn);
    }
    return false;
}

static bool sink_write(struct cn_sink *sink, const unsigned char *bytes, size_t len)
{
    struct cn_conn *conn = CN_CONTAINER(sink, struct cn_conn, sink);
    size_t sent = send_now(conn, bytes, len);
    return sent == len || write_by_library(conn, bytes + sent, len - sent);
}

// Only the library may write to an encrypted connection.
static bool sink_write_tls(struct cn_sink *sink, const unsigned char *bytes, size_t len)
{
    return write_by_library(CN_CONTAINER(sink, struct cn_conn, sink), bytes, len);
}

bool cn_conn_write(struct cn_conn *conn, const unsigned char *bytes, size_t len)
{
    return conn->sink.ops->write(&conn->sink, bytes, len);
}

// Closing happens in the loop's turn, as it must not happen in a callback of the connection's own.
static void sink_close(struct cn_sink *sink, enum cn_reason reason)
{
    struct cn_conn *conn = CN_CONTAINER(sink, struct cn_conn, sink);
    conn->reason = reason;
    cn_list_push_back(&conn->loop->closing, &conn->closing);
    cn_edge_loop_wake(conn->loop);
}

static const struct cn_sink_ops sink_ops = {.write = sink_write, .close = sink_close};
static const struct cn_sink_ops sink_ops_tls = {.write = sink_write_tls, .close = sink_close};

static void set_close_reason(struct cn_conn *conn, enum cn_reason reason)
{
    const char *text = cn_reason_text(reason);
    lws_close_reason(conn->wsi, (enum lws_close_status)cn_reason_close_code(reason),
                     (unsigned char *)(uintptr_t)text, strlen(text));
}

void cn_ws_close_wanted(struct cn_edge_loop *loop)
{
    struct cn_link *link;
    while ((link = cn_list_pop_front(&loop->closing))) {
        struct cn_conn *conn = CN_CONTAINER(link, struct cn_conn, closing);
        set_close_reason(conn, conn->reason);
        lws_set_timeout(conn->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
    }
}

// ---- Messages that come in parts ----

static void drop_partial(struct cn_conn *conn)
{
    if (conn->partial)
        cn_buf_fini(conn->partial);
    free(conn->partial);
    conn->partial = NULL;
}

static size_t message_max(const struct cn_conn *conn)
{
    return conn->echo ? CN_ECHO_BYTES_MAX : (size_t)conn->loop->edge->config->max_message_bytes;
}

// Adds a part; CN_NOMEM. Few connections ever need it, so it is made with the first part.
static enum cn_err add_part(struct cn_conn *conn, const char *bytes, size_t len)
{
    if (!conn->partial) {
        conn->partial = malloc(sizeof(*conn->partial));
        if (!conn->partial)
            return CN_NOMEM;
        cn_buf_init(conn->partial, message_max(conn));
    }
    return cn_buf_append(conn->partial, bytes, len);
}

// ---- Events ----

void cn_ws_open(struct cn_conn *conn, struct lws *wsi)
{
    struct cn_greeting *greeting = conn->greeting;
    conn->greeting = NULL;
    conn->sink.ops = lws_is_ssl(wsi) ? &sink_ops_tls : &sink_ops;
    conn->wsi = wsi;
    conn->fd = lws_get_socket_fd(wsi);
    conn->loop = lws_context_user(lws_get_context(wsi));
    cn_list_init(&conn->closing);
    cn_list_init(&conn->stalled);
    CN_ASSERT(greeting);
    enum cn_err err = greeting->is_echo ? cn_echo_open(conn)
                                        : cn_session_new(conn->loop->hub_loop, &conn->sink,
                                                         &greeting->hello, &conn->session);
    if (err)
        sink_close(&conn->sink, err == CN_FULL ? CN_REASON_TOO_MANY : CN_REASON_INTERNAL);
    free(greeting);
}

// The session ends with its socket.
static void let_go(struct cn_conn *conn, enum cn_reason reason)
{
    struct cn_session *session = conn->session;
    conn->session = NULL;
    drop_partial(conn);
    cn_echo_close(conn);
    if (session)
        cn_session_detach(session, reason);
}

static int refuse_message(struct cn_conn *conn, enum cn_reason reason)
{
    set_close_reason(conn, reason);
    let_go(conn, reason);
    return -1;
}

static void pass_on(struct cn_conn *conn, struct cn_str message)
{
    if (lws_frame_is_binary(conn->wsi))
        cn_session_receive_binary(conn->session);
    else
        cn_session_receive(conn->session, message);
}

int cn_ws_receive(struct cn_conn *conn, const char *bytes, size_t len)
{
    if (!conn->session && !conn->echo)
        return 0;
    cn_edge_loop_note_read(conn->loop, conn->fd, len);
    size_t before = conn->partial ? conn->partial->len : 0;
    bool first = lws_is_first_fragment(conn->wsi) && before == 0;
    bool final = lws_is_final_fragment(conn->wsi);
    if (len > message_max(conn) - before)
        return refuse_message(conn, CN_REASON_TOO_BIG);
    if (first && final && conn->session) {
        pass_on(conn, (struct cn_str){bytes, len});
        return 0;
    }
    if (add_part(conn, bytes, len))
        return refuse_message(conn, CN_REASON_INTERNAL);
    if (!final)
        return 0;
    if (conn->session)
        pass_on(conn, cn_buf_str(conn->partial));
    else if (cn_echo_take(conn, conn->partial, lws_frame_is_binary(conn->wsi)))
        return refuse_message(conn, CN_REASON_INTERNAL);
    drop_partial(conn);
    return 0;
}

void cn_ws_writable(struct cn_conn *conn)
{
    cn_list_remove(&conn->stalled);
    if (conn->session)
        cn_session_writable(conn->session);
    else if (conn->echo)
        cn_echo_go_on(conn);
}

void cn_ws_pong(struct cn_conn *conn)
{
    if (conn->session)
        cn_session_alive(conn->session);
}

// RFC 6455 sections 5.5.1 and 7.4: a payload begins with two bytes of code. The library has looked
// at codes below 3000.
static bool is_good_close(const unsigned char *payload, size_t len)
{
    return len == 0 || (len >= 2 && ((unsigned)payload[0] << 8 | payload[1]) < CLOSE_CODES);
}

int cn_ws_peer_closes(struct cn_conn *conn, const unsigned char *payload, size_t len)
{
    cn_list_remove(&conn->closing);
    if (!is_good_close(payload, len))
        return refuse_message(conn, CN_REASON_PROTOCOL);
    let_go(conn, CN_REASON_PEER);
    return 0;
}

// What the library is about to close for, if it found fault with the client itself; else the
// connection was lost.
static enum cn_reason reason_of_end(struct lws *wsi)
{
    if (lws_get_close_length(wsi) < 2)
        return CN_REASON_LOST;
    const unsigned char *payload = lws_get_close_payload(wsi);
    unsigned code = (unsigned)payload[0] << 8 | payload[1];
    if (code == LWS_CLOSE_STATUS_PROTOCOL_ERR)
        return CN_REASON_PROTOCOL;
    return code == LWS_CLOSE_STATUS_INVALID_PAYLOAD ? CN_REASON_TEXT : CN_REASON_LOST;
}

void cn_ws_gone(struct cn_conn *conn)
{
    cn_http_drop(conn); // it may have died between the handshake's check and its end
    if (!conn || !conn->wsi)
        return;
    // What was said before a fault of the client's was found is still answered.
    if (conn->echo && lws_get_close_length(conn->wsi) >= 2)
        (void)cn_echo_flush(conn);
    cn_list_remove(&conn->closing);
    cn_list_remove(&conn->stalled);
    let_go(conn, reason_of_end(conn->wsi));
}
