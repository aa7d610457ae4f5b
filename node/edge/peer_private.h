// SPDX-License-Identifier: MIT
// Who is at the other end of a connection, what its address is allowed, and who says so.
#ifndef CHATNODE_PEER_PRIVATE_H
#define CHATNODE_PEER_PRIVATE_H

#include <libwebsockets.h>
#include <stdbool.h>
#include <stdint.h>

#include "chatnode/address.h"
#include "chatnode/quota.h"

struct cn_edge;

// ---- edge_peer.c: who the other end of a connection is ----

// Of a connection whose address is limited, or was told by a PROXY header. Owned by the connection;
// libwebsockets' opaque data of it.
struct cn_peer {
    struct cn_address address;
    struct cn_quota *quota; // held in edge->addresses; NULL: exempt
};

// The connection's, or NULL: it has none, or is an operator's. The loop's thread.
struct cn_peer *cn_peer_of(struct lws *wsi);

// True for "127.0.0.1:9000", "[::1]:9000" and the like: only this machine can connect there.
bool cn_peer_is_loopback(const char *listen);

// The address of the socket's other end, or of the one that a PROXY header named for it. False: it
// has gone already.
bool cn_peer_address(struct lws *wsi, struct cn_address *out);

// The client's address: the same, or, where that is trusted, what X-Forwarded-For says.
bool cn_peer_client_address(const struct cn_edge *edge, struct lws *wsi, struct cn_address *out);

// Whether the client came over TLS: to us, or to a trusted proxy that says so (X-Forwarded-Proto).
bool cn_peer_is_tls(const struct cn_edge *edge, struct lws *wsi);

// ---- edge_quota.c: limits by address ----

// Makes edge->addresses if the settings ask for any limit. CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_edge_quota_init(struct cn_edge *edge);

// Counts a connection from this address. 0: it may be; *out is then due to cn_peer_free, or NULL
// where nothing is to be kept of it. Else in how many seconds the client may try again. Any thread.
CN_MUSTCHECK int64_t cn_peer_admit(struct cn_edge *edge, const struct cn_address *address,
                                   bool is_told, struct cn_peer **out);
void cn_peer_free(struct cn_edge *edge, struct cn_peer *peer); // takes NULL

// ---- edge_proxy.c: the PROXY protocol ----

// Reads the header, then hands the connection over; one without a good header, or from an address
// that is not trusted, is closed. The descriptor is its own from now on. Main thread.
void cn_proxy_await(struct cn_edge *edge, int fd, const struct cn_address *balancer);

// Closes the connections whose header has not come.
void cn_proxy_close_all(struct cn_edge *edge);

#endif
