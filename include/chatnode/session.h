// SPDX-License-Identifier: MIT
// A session: one client connection, and its way to the socket (the sink). A session and its sink
// belong to one loop's thread.
#ifndef CHATNODE_SESSION_H
#define CHATNODE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/loop.h"
#include "chatnode/pos.h"
#include "chatnode/protocol.h"

struct cn_session;
struct cn_sink;

// The seam to the socket: the edge, or a test's fake. Called on the loop's thread.
struct cn_sink_ops {
    // Sends whole WebSocket frames, at most CN_SINK_BYTES, in one write. The sink takes all bytes:
    // what the socket does not take it keeps. Returns true when the socket took them all; false
    // when it is full: nothing more may be written until the sink calls cn_session_writable.
    bool (*write)(struct cn_sink *sink, const unsigned char *bytes, size_t len);
    // Sends a close frame with the reason's code and text, then closes. Returns at once and does
    // not call back into the session; cn_session_detach follows later.
    void (*close)(struct cn_sink *sink, enum cn_reason reason);
};

// The most that one write carries, cut at a frame's end unless one frame alone is larger; what one
// slow client can pin in the sink.
enum { CN_SINK_BYTES = 32768 };

struct cn_sink {
    const struct cn_sink_ops *ops;
};

// What the handshake said. Borrowed for the call.
struct cn_hello {
    struct cn_str user; // absent: a guest's name is made; with tokens: must be the token's
    struct cn_str room; // absent: the default room; empty: none
    bool has_since;     // resume the room from here
    struct cn_pos since;
    bool has_inbox_since; // resume the inbox from here
    struct cn_pos inbox_since;
    struct cn_str address; // the client's, for the log
    struct cn_str token;   // absent: it must come by a request `auth`
};

// Begins a session on an open socket: registers it, sends `welcome`, joins inbox and room; where
// tokens are asked for, once a token was believed. The names must be valid. `sink` must live until
// cn_session_detach. CN_NOMEM, or CN_FULL, when the user has as many sessions as may be: nothing
// was begun.
CN_MUSTCHECK enum cn_err cn_session_new(struct cn_loop *loop, struct cn_sink *sink,
                                        const struct cn_hello *hello, struct cn_session **out);

// One whole text message of the client, valid UTF-8. Any error is answered to the client.
void cn_session_receive(struct cn_session *session, struct cn_str text);

// One whole binary message: answered with an error.
void cn_session_receive_binary(struct cn_session *session);

// A pong, or any other sign of life.
void cn_session_alive(struct cn_session *session);

// The socket takes bytes again.
void cn_session_writable(struct cn_session *session);

// Ends the session for `reason`: the one place where a session ends. Leaves all channels at once
// and asks the sink to close. Legal twice; the first reason counts.
void cn_session_close(struct cn_session *session, enum cn_reason reason);

// The socket is gone: ends the session for `reason` if it has not ended, and lets go of the sink.
// The session is freed at the end of the loop's turn; the caller forgets it.
void cn_session_detach(struct cn_session *session, enum cn_reason reason);

#endif
