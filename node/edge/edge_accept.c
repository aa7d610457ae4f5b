// SPDX-License-Identifier: MIT
// Accepting: main takes connections from the listeners and hands them to the loops in turn.
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "chatnode/clock.h"
#include "chatnode/log.h"
#include "edge_private.h"

enum { SEND_BUFFER_BYTES = 131072, SAY_EVERY_MS = 10000 };

static void set_options(int fd)
{
    int one = 1;
    int bytes = SEND_BUFFER_BYTES;
    // Neither is needed for correctness: without them a message is later, or a slow reader dearer.
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static void hand_over(struct cn_edge *edge, int fd, enum cn_audience audience)
{
    struct cn_edge_loop *loop = &edge->loops[edge->next_loop++ % edge->loop_count];
    atomic_fetch_add(cn_edge_count(edge, audience), 1);
    cn_metrics_add(CN_M_CONNECTIONS, 1);
    set_options(fd);
    cn_edge_loop_adopt(loop, fd, audience);
}

// Says no before anything was read; the client may be told too late to notice, the log is not. Who
// expects TLS is told nothing.
static void refuse(struct cn_edge *edge, int fd, enum cn_audience audience)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n"
                                 "content-length: 0\r\nconnection: close\r\n\r\n";
    cn_metrics_add(CN_M_REFUSED_LIMIT, 1);
    if (!edge->tls[audience].identity)
        (void)!write(fd, answer, sizeof(answer) - 1);
    close(fd);
    int64_t now_ms = cn_clock_ms();
    if (edge->said_full_ms && now_ms - edge->said_full_ms < SAY_EVERY_MS)
        return;
    edge->said_full_ms = now_ms;
    CN_LOG(WARN, "accept.full", "connections are refused: there are as many as there may be",
           CN_F_INT("connections", atomic_load(&edge->connections)),
           CN_F_INT("of_operators", atomic_load(&edge->operators)));
}

static void on_public(void *arg, int fd, const struct sockaddr *peer)
{
    struct cn_edge *edge = arg;
    (void)peer;
    if ((int64_t)atomic_load(&edge->connections) >= edge->config->max_connections)
        refuse(edge, fd, CN_AUDIENCE_PUBLIC);
    else
        hand_over(edge, fd, CN_AUDIENCE_PUBLIC);
}

static void on_internal(void *arg, int fd, const struct sockaddr *peer)
{
    struct cn_edge *edge = arg;
    (void)peer;
    if (atomic_load(&edge->operators) >= CN_OPERATORS_MAX)
        refuse(edge, fd, CN_AUDIENCE_INTERNAL);
    else
        hand_over(edge, fd, CN_AUDIENCE_INTERNAL);
}

static void on_failed(void *arg, int error)
{
    (void)arg;
    cn_metrics_add(CN_M_REFUSED_DESCRIPTORS, 1);
    CN_LOG(ERROR, "accept.failed", "connections wait: the system has no descriptors to give",
           CN_F_STR("error", strerror(error)));
}

static enum cn_err listen_on(struct cn_edge *edge, const char *address,
                             void (*accepted)(void *arg, int fd, const struct sockaddr *peer),
                             struct cn_listener **out)
{
    enum cn_err err =
        cn_listener_open(edge->reactor, cn_str_of(address), accepted, on_failed, edge, out);
    if (!err)
        return CN_OK;
    if (err == CN_SYSTEM)
        CN_LOG(ERROR, "listen.failed", "could not listen; is another program there?",
               CN_F_STR("address", address), CN_F_STR("error", strerror(errno)));
    else
        CN_LOG(ERROR, "listen.failed", "could not listen: not a numeric address with a port",
               CN_F_STR("address", address), CN_F_STR("error", cn_err_str(err)));
    return err;
}

enum cn_err cn_edge_listen(struct cn_edge *edge)
{
    enum cn_err err = listen_on(edge, edge->config->listen, on_public, &edge->public_listener);
    if (err || !edge->config->internal_listen[0])
        return err;
    return listen_on(edge, edge->config->internal_listen, on_internal, &edge->internal_listener);
}
