// SPDX-License-Identifier: MIT
// What the files of the edge share: the structs of edge, loop and connection. libwebsockets is used
// in this folder only.
#ifndef CHATNODE_EDGE_PRIVATE_H
#define CHATNODE_EDGE_PRIVATE_H

#include <libwebsockets.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "chatnode/admin.h"
#include "chatnode/api.h"
#include "chatnode/buf.h"
#include "chatnode/config.h"
#include "chatnode/edge.h"
#include "chatnode/hub.h"
#include "chatnode/list.h"
#include "chatnode/loop.h"
#include "chatnode/metrics_table.h"
#include "chatnode/protocol.h"
#include "chatnode/session.h"
#include "chatnode/thread.h"
#include "chatnode/web.h"

#include "echo_private.h"
#include "governor_private.h"
#include "http_private.h"
#include "peer_private.h"
#include "tls_private.h"

enum {
    CN_HEADER_BYTES = 4096, // of a request's headers, all together
    CN_TOKEN_HEADER_BYTES = CN_HEADER_BYTES + 1,
    CN_AWAITED_MAX = 128, // newcomers that a loop looks after itself while connections end
    CN_OPERATORS_MAX = 64 // connections to the internal listener; part of the reserved descriptors
};

// ---- edge_loop.c ----

struct cn_edge_loop {
    // Constant once the thread runs.
    struct cn_edge *edge;
    struct cn_loop *hub_loop;
    struct cn_thread thread;
    struct lws_context *context;
    struct lws_vhost *vhosts[CN_AUDIENCES]; // of the listeners; the same one where both are plain
    struct ssl_ctx_st *tls[CN_AUDIENCES];   // OpenSSL's contexts of these; NULL: plain
    struct ssl_ctx_st *made;                // that of the vhost that is being made
    sem_t ready;                            // posted once the context is made, or has failed
    sem_t leave; // posted once nobody will wake the loop any more: the context may go
    // Any thread.
    atomic_bool stopping;
    // The loop's thread.
    struct cn_link closing;      // connections that their sessions want closed
    struct cn_link stalled;      // connections for which libwebsockets keeps bytes
    struct cn_link calls;        // of the HTTP API that wait for the bus
    struct cn_link answered;     // and those whose answer is to be sent
    uint64_t last_ticket;        // of these
    int64_t finish_ms;           // when the sockets that are left are closed; 0: not stopping
    bool left;                   // and when they have been
    bool is_busy;                // in a turn or a tick
    int64_t turned_ms;           // when the last turn ended
    int read_fd;                 // the socket that was read last
    size_t read_bytes;           // its messages, in a row since main was last told
    unsigned put_off;            // how often in a row telling main was put off
    unsigned adopted;            // connections in `awaited`, or that have ever been there
    int awaited[CN_AWAITED_MAX]; // the latest whose requests were not there at once; a ring
    lws_sorted_usec_list_t turn_timer;
    lws_sorted_usec_list_t tick_timer;
    lws_sorted_usec_list_t pass_on_timer;
    lws_sorted_usec_list_t answer_timer;
    lws_sorted_usec_list_t stalled_timer;
};

// Starts the thread and waits until its context is made. CN_SYSTEM.
CN_MUSTCHECK enum cn_err cn_edge_loop_start(struct cn_edge_loop *loop);

// Ends the thread, closing its sockets; legal on one that never started.
void cn_edge_loop_stop(struct cn_edge_loop *loop);

// Gives a connected socket, and its peer (may be NULL), to the loop; main thread. The loop closes
// it if it cannot adopt it.
void cn_edge_loop_adopt(struct cn_edge_loop *loop, int fd, enum cn_audience audience,
                        struct cn_peer *peer);

// Makes the loop take a turn. Any thread.
void cn_edge_loop_wake(struct cn_edge_loop *loop);

// One turn, or, once the loop is to end, a step of its end: may close every socket and the context.
// From LWS_CALLBACK_EVENT_WAIT_CANCELLED and timers. The loop's thread.
void cn_edge_loop_turn(struct cn_edge_loop *loop);

// One turn, whatever comes next: the context stays. From any callback. The loop's thread.
void cn_edge_loop_serve(struct cn_edge_loop *loop);

// The socket has given a message of `len` bytes, or a part of one. The loop's thread.
static inline void cn_edge_loop_note_read(struct cn_edge_loop *loop, int fd, size_t len)
{
    loop->read_bytes = (fd == loop->read_fd ? loop->read_bytes : 0) + len;
    loop->read_fd = fd;
}

// The listener that the connection came in by.
enum cn_audience cn_edge_audience(struct lws *wsi);

// The protocols' table for a context.
const struct lws_protocols *cn_edge_protocols(void);

// ---- edge_attention.c: who comes while thousands go ----

// The loop has adopted this socket: serves its request now if it is there already. With TLS more
// comes before the request.
void cn_attention_adopted(struct cn_edge_loop *loop, int fd, bool has_tls);

// From the events of connections that end: takes a turn, and serves newcomers, if the last turn was
// too long ago. No-op within a turn.
void cn_attention_look(struct cn_edge_loop *loop);

// ---- edge_stalled.c: whose socket is full ----

// libwebsockets keeps bytes that the socket did not take: until conn->stalled is out of the loop's
// list the client is watched, and cut off when it ends its side.
void cn_stalled_add(struct cn_conn *conn);

// ---- edge.c ----

struct cn_edge {
    // Constant after cn_edge_new.
    const struct cn_config *config;
    struct cn_reactor *reactor;
    struct cn_hub *hub;
    struct cn_networks trusted;
    struct cn_quotas *addresses; // NULL: none is limited; has locks of its own
    bool is_local;               // the internal listener is on loopback
    bool awaits_proxy;           // public connections begin with a PROXY header
    struct cn_edge_loop *loops;
    unsigned loop_count;
    bool has_tls; // one of the listeners at least
    // Any thread.
    atomic_size_t connections; // open sockets of the public listener
    atomic_size_t operators;   // and of the internal one
    atomic_size_t publishes;   // of the HTTP API, until the answer is written
    atomic_uint echoes;        // connections to /echo
    atomic_bool is_closed;     // no session begins any more, nor a publish of the HTTP API
    struct cn_governor governor;
    // Main thread.
    struct cn_listener *public_listener;
    struct cn_listener *internal_listener;
    struct cn_edge_tls tls[CN_AUDIENCES];
    struct ssl_ctx_st *tls_client; // for the client in libwebsockets, which nobody uses
    struct cn_timer *tls_timer;    // looks at the certificates' ends
    unsigned next_loop;
    struct cn_link waiting; // connections whose PROXY header has not come
    size_t waiting_count;
    int64_t said_full_ms;    // when the log last told that connections are refused
    int64_t said_crowded_ms; // the same of one address
};

// The count of open sockets of this audience. Any thread.
static inline atomic_size_t *cn_edge_count(struct cn_edge *edge, enum cn_audience audience)
{
    return audience == CN_AUDIENCE_INTERNAL ? &edge->operators : &edge->connections;
}

// ---- edge_accept.c ----

// Gives a public connection from this address to a loop, or refuses it: there are too many from
// there. `is_told`: a PROXY header has said so. Main thread.
void cn_edge_hand_over(struct cn_edge *edge, int fd, const struct cn_address *address,
                       bool is_told);

// Closes a public connection that no loop has got. Main thread.
void cn_edge_drop(struct cn_edge *edge, int fd);

// Opens both listeners. CN_SYSTEM, CN_INVALID: logged. Main thread.
CN_MUSTCHECK enum cn_err cn_edge_listen(struct cn_edge *edge);

// ---- edge_ws.c: a connection ----

struct cn_greeting;
struct cn_http_body;
struct cn_call;

// libwebsockets' user data of a connection, zeroed by it. The loop's thread.
struct cn_conn {
    struct cn_sink sink; // first: a session's way to this socket
    struct lws *wsi;
    int fd; // of the socket
    struct cn_edge_loop *loop;
    struct cn_session *session;   // NULL before the handshake and after the end
    struct cn_echo *echo;         // of a connection to /echo, which has no session
    struct cn_greeting *greeting; // between the handshake's check and its end
    struct cn_http_body *body;    // of the answer to a plain request, while it is written
    struct cn_call *call;         // of the HTTP API, until its answer is written
    struct cn_buf *partial;       // of a message that comes in parts, until it is whole; else NULL
    struct cn_link closing;       // in the loop's list
    struct cn_link stalled;       // in the loop's list from a full socket to the next writable one
    enum cn_reason reason;        // to close for
};

void cn_ws_open(struct cn_conn *conn, struct lws *wsi);
int cn_ws_receive(struct cn_conn *conn, const char *bytes, size_t len);
void cn_ws_writable(struct cn_conn *conn);
void cn_ws_pong(struct cn_conn *conn);
int cn_ws_peer_closes(struct cn_conn *conn, const unsigned char *payload, size_t len);
void cn_ws_gone(struct cn_conn *conn);

// Closes the connections that their sessions want closed.
void cn_ws_close_wanted(struct cn_edge_loop *loop);

// ---- edge_token.c ----

// The token that a handshake brings, in `out`, or one that is absent: of the header Authorization,
// of a subprotocol bearer.TOKEN, or, if the settings allow it, of the query.
struct cn_str cn_token_find(const struct cn_config *config, struct lws *wsi,
                            char out[CN_TOKEN_HEADER_BYTES]);

// True when no subprotocols are offered, or ours among them: a browser does not take another.
bool cn_token_offers_are_good(struct lws *wsi);

// ---- edge_handshake.c ----

// What the handshake said, kept until the socket is a WebSocket. Free with free(3).
struct cn_greeting {
    struct cn_hello hello; // points into this struct
    char user[CN_NAME_MAX + 1];
    char room[CN_NAME_MAX + 1];
    char address[CN_ADDRESS_BYTES];
    bool is_echo; // the path is /echo
    char token[]; // with a NUL
};

// Checks a request to upgrade (RFC 6455 section 4.2.1 and more, see docs/protocol.md). 0: good.
// Else libwebsockets' return value after the refusal was sent.
int cn_handshake_check(struct cn_edge_loop *loop, struct lws *wsi);

// Keeps what a good request said in conn->greeting; 0, or -1 to hang up.
int cn_handshake_greet(struct cn_edge_loop *loop, struct lws *wsi, struct cn_conn *conn);

#endif
