// SPDX-License-Identifier: MIT
// The PROXY protocol: before a connection goes to a loop, main reads from it who the balancer's
// client is. Exactly the header is taken; what follows, TLS or HTTP, is the loop's.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chatnode/log.h"
#include "chatnode/proxy_header.h"
#include "edge_private.h"

enum { DEADLINE_MS = 5000, WAITING_MAX = 1024 };

// A connection whose header is not whole. Main thread.
struct waiting {
    struct cn_link all; // in the edge's list
    struct cn_edge *edge;
    int fd;
    struct cn_address balancer;
    struct cn_io *io;
    struct cn_timer *deadline;
    size_t len; // of what was taken from the socket: all of it header
    unsigned char bytes[CN_PROXY_BYTES_MAX];
};

// Lets go of all but the socket.
static void forget(struct waiting *waiting)
{
    waiting->edge->waiting_count--;
    cn_list_remove(&waiting->all);
    cn_io_free(waiting->io);
    cn_timer_free(waiting->deadline);
    free(waiting);
}

static void give_up(struct waiting *waiting, const char *why)
{
    char text[CN_ADDRESS_BYTES];
    struct cn_edge *edge = waiting->edge;
    int fd = waiting->fd;
    cn_address_format(&waiting->balancer, text);
    CN_LOG(DEBUG, "proxy.refused", "a connection without a good PROXY header was closed",
           CN_F_STR("balancer", text), CN_F_STR("why", why));
    cn_metrics_add(CN_M_REFUSED_PROXY, 1);
    forget(waiting);
    cn_edge_drop(edge, fd);
}

static void hand_over(struct waiting *waiting, const struct cn_proxy_header *header)
{
    struct cn_edge *edge = waiting->edge;
    int fd = waiting->fd;
    const struct cn_address address = header->has_address ? header->address : waiting->balancer;
    bool is_told = header->has_address;
    forget(waiting);
    cn_edge_hand_over(edge, fd, &address, is_told);
}

// Takes `len` bytes that were seen already. They are there: anything else is a broken socket.
static bool take(struct waiting *waiting, size_t len)
{
    ssize_t got = recv(waiting->fd, waiting->bytes + waiting->len, len, MSG_DONTWAIT);
    return got >= 0 && (size_t)got == len;
}

// What is looked at first is taken only as far as it is header. So a part of one is taken too, and
// the socket wakes main only for more.
static void on_readable(void *arg, int events)
{
    struct waiting *waiting = arg;
    struct cn_proxy_header header;
    (void)events;
    ssize_t seen = recv(waiting->fd, waiting->bytes + waiting->len,
                        sizeof(waiting->bytes) - waiting->len, MSG_PEEK | MSG_DONTWAIT);
    if (seen < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (seen <= 0) {
        give_up(waiting, "the connection ended");
        return;
    }
    enum cn_err err = cn_proxy_header_read(waiting->bytes, waiting->len + (size_t)seen, &header);
    size_t more = err ? (size_t)seen : header.len - waiting->len;
    if (err == CN_INVALID) {
        give_up(waiting, "it is none, or too long");
    } else if (!take(waiting, more)) {
        give_up(waiting, "the connection ended");
    } else {
        waiting->len += more;
        if (!err)
            hand_over(waiting, &header);
    }
}

static void on_deadline(void *arg)
{
    give_up(arg, "it did not come in time");
}

static enum cn_err watch(struct waiting *waiting)
{
    struct cn_reactor *reactor = waiting->edge->reactor;
    enum cn_err err = cn_timer_new(reactor, on_deadline, waiting, &waiting->deadline);
    if (!err)
        err = cn_io_new(reactor, waiting->fd, on_readable, waiting, &waiting->io);
    if (err)
        return err;
    cn_timer_start(waiting->deadline, DEADLINE_MS);
    cn_io_watch(waiting->io, CN_IO_READ);
    return CN_OK;
}

// Whoever is no balancer, and whoever comes when too many wait, is hung up on.
static bool may_wait(const struct cn_edge *edge, const struct cn_address *balancer)
{
    return edge->waiting_count < WAITING_MAX && cn_networks_have(&edge->trusted, balancer);
}

void cn_proxy_await(struct cn_edge *edge, int fd, const struct cn_address *balancer)
{
    struct waiting *waiting = may_wait(edge, balancer) ? malloc(sizeof(*waiting)) : NULL;
    if (!waiting) {
        cn_metrics_add(CN_M_REFUSED_PROXY, 1);
        cn_edge_drop(edge, fd);
        return;
    }
    memset(waiting, 0, offsetof(struct waiting, bytes));
    waiting->edge = edge;
    waiting->fd = fd;
    waiting->balancer = *balancer;
    cn_list_push_back(&edge->waiting, &waiting->all);
    edge->waiting_count++;
    if (watch(waiting))
        give_up(waiting, "there is no memory to wait for it");
    else
        on_readable(waiting, CN_IO_READ); // it may be there already
}

void cn_proxy_close_all(struct cn_edge *edge)
{
    CN_LIST_EACH_SAFE (link, &edge->waiting)
        give_up(CN_CONTAINER(link, struct waiting, all), "the node is going away");
}
