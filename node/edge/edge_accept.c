// SPDX-License-Identifier: MIT
// Accepting: main takes connections from the listeners and hands them to the loops in turn.
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chatnode/clock.h"
#include "chatnode/log.h"
#include "edge_private.h"

enum { SEND_BUFFER_BYTES = 131072, SAY_EVERY_MS = 10000, FULL_RETRY_S = 5 };

static void set_options(int fd)
{
    int one = 1;
    int bytes = SEND_BUFFER_BYTES;
    // Neither is needed for correctness: without them a message is later, or a slow reader dearer.
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static void give_to_loop(struct cn_edge *edge, int fd, enum cn_audience audience,
                         struct cn_peer *peer)
{
    struct cn_edge_loop *loop = &edge->loops[edge->next_loop++ % edge->loop_count];
    set_options(fd);
    cn_edge_loop_adopt(loop, fd, audience, peer);
}

// One more is open, and stays so until the loop, or cn_edge_drop, has closed it.
static void count(struct cn_edge *edge, enum cn_audience audience)
{
    atomic_fetch_add(cn_edge_count(edge, audience), 1);
    cn_metrics_add(CN_M_CONNECTIONS, 1);
}

void cn_edge_drop(struct cn_edge *edge, int fd)
{
    close(fd);
    atomic_fetch_sub(cn_edge_count(edge, CN_AUDIENCE_PUBLIC), 1);
    cn_metrics_add(CN_M_CONNECTIONS, -1);
}

// The log tells of a reason once in a while only.
static bool is_time_to_say(int64_t *said_ms)
{
    int64_t now_ms = cn_clock_ms();
    if (*said_ms && now_ms - *said_ms < SAY_EVERY_MS)
        return false;
    *said_ms = now_ms;
    return true;
}

// Says no before anything was read; the client may be told too late to notice. Who expects TLS is
// told nothing.
static void say_no(const struct cn_edge *edge, enum cn_audience audience, int fd,
                   const char *status, int64_t retry_after_s)
{
    char answer[160];
    if (edge->tls[audience].identity)
        return;
    int len = snprintf(answer, sizeof(answer),
                       "HTTP/1.1 %s\r\nretry-after: %lld\r\ncontent-length: 0\r\n"
                       "connection: close\r\n\r\n",
                       status, (long long)retry_after_s);
    (void)!write(fd, answer, (size_t)len);
}

static void refuse(struct cn_edge *edge, int fd, enum cn_audience audience)
{
    cn_metrics_add(CN_M_REFUSED_LIMIT, 1);
    say_no(edge, audience, fd, "503 Service Unavailable", FULL_RETRY_S);
    close(fd);
    if (is_time_to_say(&edge->said_full_ms))
        CN_LOG(WARN, "accept.full", "connections are refused: there are as many as there may be",
               CN_F_INT("connections", atomic_load(&edge->connections)),
               CN_F_INT("of_operators", atomic_load(&edge->operators)));
}

void cn_edge_hand_over(struct cn_edge *edge, int fd, const struct cn_address *address, bool is_told)
{
    struct cn_peer *peer;
    char text[CN_ADDRESS_BYTES];
    int64_t retry_after_s = cn_peer_admit(edge, address, is_told, &peer);
    if (!retry_after_s) {
        give_to_loop(edge, fd, CN_AUDIENCE_PUBLIC, peer);
        return;
    }
    say_no(edge, CN_AUDIENCE_PUBLIC, fd, "429 Too Many Requests", retry_after_s);
    cn_edge_drop(edge, fd);
    if (!is_time_to_say(&edge->said_crowded_ms))
        return;
    cn_address_format(address, text);
    CN_LOG(WARN, "accept.address",
           "connections of one address are refused; a balancer should be in trusted-proxies",
           CN_F_STR("address", text));
}

static void on_public(void *arg, int fd, const struct sockaddr *socket)
{
    struct cn_edge *edge = arg;
    struct cn_address address;
    if ((int64_t)atomic_load(&edge->connections) >= edge->config->max_connections ||
        cn_address_of(socket, &address)) {
        refuse(edge, fd, CN_AUDIENCE_PUBLIC);
        return;
    }
    count(edge, CN_AUDIENCE_PUBLIC);
    if (edge->awaits_proxy)
        cn_proxy_await(edge, fd, &address);
    else
        cn_edge_hand_over(edge, fd, &address, false);
}

static void on_internal(void *arg, int fd, const struct sockaddr *socket)
{
    struct cn_edge *edge = arg;
    (void)socket;
    if (atomic_load(&edge->operators) >= CN_OPERATORS_MAX) {
        refuse(edge, fd, CN_AUDIENCE_INTERNAL);
        return;
    }
    count(edge, CN_AUDIENCE_INTERNAL);
    give_to_loop(edge, fd, CN_AUDIENCE_INTERNAL, NULL);
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
