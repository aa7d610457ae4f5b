// SPDX-License-Identifier: MIT
// A TLS client for a library that knows only plain sockets: one end of a socket pair is the
// library's, the tunnel carries what passes through it over a TCP connection with TLS. The
// reactor's thread.
#ifndef CHATNODE_TLS_TUNNEL_H
#define CHATNODE_TLS_TUNNEL_H

#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/reactor.h"
#include "chatnode/tls.h"

struct cn_tls_tunnel;

enum cn_tls_end {
    CN_TLS_END_CONNECT, // no TCP connection came about
    CN_TLS_END_REFUSED  // TLS failed: one side does not believe the other, or does not speak TLS
};

struct cn_tls_tunnel_events {
    void *arg;
    // The other side is who it should be: the plain end may be used. May free the tunnel.
    void (*open)(void *arg);
    // It was never open, or the other side no longer believes us. A connection that breaks or is
    // closed once it is open shows at the plain end instead, as the end of the stream behind what
    // was read. At most once. May free the tunnel.
    void (*ended)(void *arg, enum cn_tls_end end, const char *why);
};

// Takes `fd`, a TCP socket that is connected or being connected, non-blocking, and closes it in the
// end, also when it fails. `host` is the name, or the address, that the other side's certificate
// must be for. *plain_end is the library's end, non-blocking, the caller's to close. `files` is
// read now (may block for that). CN_INVALID: *why says what is wrong with it; CN_SYSTEM, CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_tls_tunnel_new(struct cn_reactor *reactor, int fd, const char *host,
                                           const struct cn_tls_files *files,
                                           const struct cn_tls_tunnel_events *events,
                                           int *plain_end, struct cn_tls_tunnel **out,
                                           struct cn_tls_why *why);

// Ends it; no event follows. Takes NULL.
void cn_tls_tunnel_free(struct cn_tls_tunnel *tunnel);

#endif
