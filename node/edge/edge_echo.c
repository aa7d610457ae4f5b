// SPDX-License-Identifier: MIT
// The echo at /echo, for suites that test whether a server keeps RFC 6455 (`conformance-echo`):
// each message comes back as it came, through the same receiving and the same way out as a
// session's.
//
// A message is sent in fragments of one write each (RFC 6455 section 5.4), so that a pong may go
// out between two of them, and a full socket holds up at most one. While a message is not out
// nothing is read, but for what the library has read already: at most RX_BUFFER_BYTES and 16.
#include <stdlib.h>

#include "edge_private.h"

enum {
    HEADER_BYTES = 4, // of a frame that one write carries
    WAITING_MAX = 256,
    CONTINUATION = 0x0,
    TEXT = 0x1,
    BINARY = 0x2,
    FINAL = 0x80,
    LENGTH_16_BITS = 126
};

// A message on its way out.
struct saying {
    struct cn_link link;
    struct cn_buf message;
    size_t sent; // of it
    bool is_begun;
    bool is_binary;
};

struct cn_echo {
    struct cn_link sayings; // oldest first
    unsigned waiting;       // how many
};

bool cn_echo_is_on(const struct cn_edge *edge, const char *path)
{
    return edge->config->conformance_echo && strcmp(path, "/echo") == 0;
}

bool cn_echo_has_room(struct cn_edge *edge)
{
    return atomic_load(&edge->echoes) < CN_ECHOES_MAX;
}

enum cn_err cn_echo_open(struct cn_conn *conn)
{
    struct cn_edge *edge = conn->loop->edge;
    // Others may have come since the handshake's check.
    bool has_room = atomic_fetch_add(&edge->echoes, 1) < CN_ECHOES_MAX;
    conn->echo = has_room ? calloc(1, sizeof(*conn->echo)) : NULL;
    if (!conn->echo) {
        atomic_fetch_sub(&edge->echoes, 1);
        return CN_NOMEM;
    }
    cn_list_init(&conn->echo->sayings);
    return CN_OK;
}

static void drop_oldest(struct cn_echo *echo)
{
    struct saying *saying = CN_CONTAINER(cn_list_pop_front(&echo->sayings), struct saying, link);
    cn_buf_fini(&saying->message);
    free(saying);
    echo->waiting--;
}

void cn_echo_close(struct cn_conn *conn)
{
    if (!conn->echo)
        return;
    while (conn->echo->waiting > 0)
        drop_oldest(conn->echo);
    free(conn->echo);
    conn->echo = NULL;
    atomic_fetch_sub(&conn->loop->edge->echoes, 1);
}

// Makes the frame of the next fragment in `frame`, CN_SINK_BYTES long; returns its length.
static size_t make_fragment(struct saying *saying, unsigned char *frame)
{
    size_t left = saying->message.len - saying->sent;
    size_t len = left < CN_SINK_BYTES - HEADER_BYTES ? left : CN_SINK_BYTES - HEADER_BYTES;
    unsigned opcode = saying->is_begun ? CONTINUATION : saying->is_binary ? BINARY : TEXT;
    size_t at = 0;
    frame[at++] = (unsigned char)(opcode | (len == left ? FINAL : 0));
    frame[at++] = len < LENGTH_16_BITS ? (unsigned char)len : LENGTH_16_BITS;
    if (len >= LENGTH_16_BITS) {
        frame[at++] = (unsigned char)(len >> 8);
        frame[at++] = (unsigned char)len;
    }
    if (len > 0)
        memcpy(frame + at, saying->message.data + saying->sent, len);
    saying->sent += len;
    saying->is_begun = true;
    return at + len;
}

bool cn_echo_flush(struct cn_conn *conn)
{
    struct cn_echo *echo = conn->echo;
    bool is_taken = true;
    while (is_taken && echo->waiting > 0) {
        unsigned char frame[CN_SINK_BYTES];
        struct saying *saying = CN_CONTAINER(echo->sayings.next, struct saying, link);
        size_t len = make_fragment(saying, frame);
        if (frame[0] & FINAL)
            drop_oldest(echo);
        is_taken = cn_conn_write(conn, frame, len);
    }
    return is_taken;
}

void cn_echo_go_on(struct cn_conn *conn)
{
    bool is_taken = cn_echo_flush(conn);
    lws_rx_flow_control(conn->wsi, is_taken);
}

enum cn_err cn_echo_take(struct cn_conn *conn, struct cn_buf *message, bool is_binary)
{
    struct cn_echo *echo = conn->echo;
    struct saying *saying = echo->waiting < WAITING_MAX ? calloc(1, sizeof(*saying)) : NULL;
    if (!saying)
        return CN_NOMEM;
    saying->is_binary = is_binary;
    saying->message = *message;
    *message = (struct cn_buf){.max_bytes = message->max_bytes};
    cn_list_push_back(&echo->sayings, &saying->link);
    echo->waiting++;
    // When the socket is writable the library answers a ping that came before this message, then
    // tells us: the suites want that order.
    lws_callback_on_writable(conn->wsi);
    return CN_OK;
}
