// SPDX-License-Identifier: MIT
// The edge: listeners on the main thread, and the loops that serve HTTP and WebSocket.
#ifndef CHATNODE_EDGE_H
#define CHATNODE_EDGE_H

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/config.h"
#include "chatnode/err.h"
#include "chatnode/hub.h"
#include "chatnode/reactor.h"

struct cn_edge;

// What an edge is made of; all borrowed for its life.
struct cn_edge_parts {
    const struct cn_config *config;
    struct cn_reactor *reactor;
    struct cn_hub *hub;
};

// Makes the edge; nothing listens yet. Main thread. CN_NOMEM; CN_INVALID: a list of origins or
// proxies, or a file for TLS, cannot be read (logged).
CN_MUSTCHECK enum cn_err cn_edge_new(const struct cn_edge_parts *parts, struct cn_edge **out);

// Starts the loops' threads, then the listeners. CN_SYSTEM: logged what failed. Main thread.
CN_MUSTCHECK enum cn_err cn_edge_start(struct cn_edge *edge);

// Applies what can be applied of a fresh configuration without a restart: reads the files for TLS
// again, and uses what is in them for connections that begin from now on. CN_INVALID: a file is
// bad (logged), and nothing was changed. Main thread, between start and stop.
CN_MUSTCHECK enum cn_err cn_edge_reload(struct cn_edge *edge, const struct cn_config *fresh);

// Whether the files that the configuration names for TLS can be used; logs what is wrong.
CN_MUSTCHECK enum cn_err cn_edge_check(const struct cn_config *config);

// Closes the public listener, begins no session any more and no publish of the HTTP API; the
// internal listener goes on. Main thread.
void cn_edge_stop_accepting(struct cn_edge *edge);

// Publishes of the HTTP API whose answers are not written yet. After cn_edge_stop_accepting none
// begins, so that 0 is final. Any thread.
size_t cn_edge_publishes(const struct cn_edge *edge);

// Ends every loop and waits for it; open sockets are closed. Main thread; legal twice and after a
// failed start.
void cn_edge_stop(struct cn_edge *edge);

// Frees it; stopped before. Takes NULL.
void cn_edge_free(struct cn_edge *edge);

// The ports that the listeners got; 0 for one that is off. Main thread.
int cn_edge_port(const struct cn_edge *edge);
int cn_edge_internal_port(const struct cn_edge *edge);

#endif
