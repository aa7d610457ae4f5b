// SPDX-License-Identifier: MIT
// What the files of the edge share of the echo at /echo (edge_echo.c): for suites that test the
// WebSocket.
#ifndef CHATNODE_ECHO_PRIVATE_H
#define CHATNODE_ECHO_PRIVATE_H

#include <stdbool.h>

#include "chatnode/buf.h"

struct cn_conn;
struct cn_edge;

// Sends whole frames; as the op `write` of a sink (edge_ws.c).
bool cn_conn_write(struct cn_conn *conn, const unsigned char *bytes, size_t len);

enum { CN_ECHOES_MAX = 16, CN_ECHO_BYTES_MAX = 1 << 24 };

// True when the setting is on and this is the path. Any thread.
bool cn_echo_is_on(const struct cn_edge *edge, const char *path);

// One more connection may be made to it. Any thread.
bool cn_echo_has_room(struct cn_edge *edge);

// Makes conn->echo. CN_NOMEM, also when there are as many as there may be.
CN_MUSTCHECK enum cn_err cn_echo_open(struct cn_conn *conn);

// Ends conn->echo, if there is one.
void cn_echo_close(struct cn_conn *conn);

// Has the message sent back soon; takes its memory. CN_NOMEM, also when too many wait.
CN_MUSTCHECK enum cn_err cn_echo_take(struct cn_conn *conn, struct cn_buf *message, bool is_binary);

// Sends what waits; false when the socket took no more.
bool cn_echo_flush(struct cn_conn *conn);

// The same when the socket is writable; then more is read.
void cn_echo_go_on(struct cn_conn *conn);

#endif
