// SPDX-License-Identifier: MIT
// Listening sockets on the reactor: accepts in small batches and rests when descriptors run out.
#include "chatnode/reactor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A batch is bounded so that a flood of connections leaves the other events their turn.
enum { ACCEPT_BATCH = 64, REST_MS = 250, HOST_BYTES = 64 };

// Owned by the reactor's thread.
struct cn_listener {
    int fd;
    int port;
    bool paused;  // told to by the owner
    bool resting; // descriptors ran out; ends with the timer
    bool in_callback;
    struct cn_io *io;
    struct cn_timer *rest;
    void (*accepted)(void *arg, int fd, const struct sockaddr *peer);
    void (*failed)(void *arg, int error);
    void *arg;
};

static void update_watch(struct cn_listener *listener)
{
    cn_io_watch(listener->io, listener->paused || listener->resting ? 0 : CN_IO_READ);
}

static void on_rested(void *arg)
{
    struct cn_listener *listener = arg;
    listener->resting = false;
    update_watch(listener);
}

// What concerns only the one connection that was to be accepted (accept(2), "Error handling").
static bool is_of_connection(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case EOPNOTSUPP:
        return true;
    default:
        return false;
    }
}

static void rest(struct cn_listener *listener, int error)
{
    listener->resting = true;
    update_watch(listener);
    cn_timer_start(listener->rest, REST_MS);
    listener->failed(listener->arg, error);
}

// Accepts one; false when there is nothing more to do now.
static bool accept_one(struct cn_listener *listener)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    int fd = accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        listener->accepted(listener->arg, fd, (const struct sockaddr *)&peer);
        return !listener->paused;
    }
    if (is_of_connection(errno))
        return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
        rest(listener, errno);
    return false;
}

static void on_connections(void *arg, int events)
{
    (void)events;
    struct cn_listener *listener = arg;
    listener->in_callback = true;
    for (int i = 0; i < ACCEPT_BATCH && accept_one(listener); i++)
        ;
    listener->in_callback = false;
}

// 0 to 65535 in decimal, at most five digits.
static bool is_port(struct cn_str text)
{
    unsigned port = 0;
    for (size_t i = 0; i < text.len && i < 6; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text.ptr[i] - '0');
    }
    return text.len >= 1 && text.len <= 5 && port <= 65535;
}

// Cuts "HOST:PORT" or "[HOST]:PORT" into its parts; true when both are there.
static bool split_address(struct cn_str addr, struct cn_str *host, struct cn_str *port)
{
    const char *colon = addr.len > 0 ? memrchr(addr.ptr, ':', addr.len) : NULL;
    if (colon == NULL)
        return false;
    *host = (struct cn_str){addr.ptr, (size_t)(colon - addr.ptr)};
    *port = (struct cn_str){colon + 1, addr.len - host->len - 1};
    bool has_colons = host->len > 0 && memchr(host->ptr, ':', host->len) != NULL;
    bool bracketed = host->len > 2 && host->ptr[0] == '[' && host->ptr[host->len - 1] == ']';
    if (bracketed)
        *host = (struct cn_str){host->ptr + 1, host->len - 2};
    return host->len > 0 && bracketed == has_colons && is_port(*port);
}

// Only numeric addresses: nothing here may wait for a name server.
static enum cn_err resolve(struct cn_str addr, struct addrinfo **out)
{
    struct cn_str host_text;
    struct cn_str port_text;
    char host[HOST_BYTES];
    char port[8];
    if (!split_address(addr, &host_text, &port_text))
        return CN_INVALID;
    if (memchr(host_text.ptr, '\0', host_text.len) != NULL ||
        cn_str_copy(host_text, host, sizeof(host)) != CN_OK ||
        cn_str_copy(port_text, port, sizeof(port)) != CN_OK)
        return CN_INVALID;
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(host, port, &hints, out);
    if (rc == EAI_MEMORY)
        return CN_NOMEM;
    if (rc == EAI_SYSTEM)
        return CN_SYSTEM;
    return rc == 0 ? CN_OK : CN_INVALID;
}

// "[::]" takes IPv4 too, whatever the system's default is.
static enum cn_err set_options(int fd, int family)
{
    int on = 1;
    int off = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
        return CN_SYSTEM;
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0)
        return CN_SYSTEM;
    return CN_OK;
}

static int port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {.v6 = {0}};
    socklen_t len = sizeof(bound);
    if (getsockname(fd, &bound.any, &len) != 0)
        return -1;
    return ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
}

static enum cn_err bind_socket(struct cn_listener *listener, const struct addrinfo *at)
{
    listener->fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->fd < 0 || set_options(listener->fd, at->ai_family) != CN_OK)
        return CN_SYSTEM;
    if (bind(listener->fd, at->ai_addr, at->ai_addrlen) != 0)
        return CN_SYSTEM;
    if (listen(listener->fd, SOMAXCONN) != 0)
        return CN_SYSTEM;
    listener->port = port_of(listener->fd);
    return listener->port < 0 ? CN_SYSTEM : CN_OK;
}

static enum cn_err open_listener(struct cn_reactor *reactor, struct cn_listener *listener,
                                 struct cn_str addr)
{
    struct addrinfo *found = NULL;
    enum cn_err err = resolve(addr, &found);
    if (err != CN_OK)
        return err;
    err = bind_socket(listener, found);
    freeaddrinfo(found);
    if (err == CN_OK)
        err = cn_timer_new(reactor, on_rested, listener, &listener->rest);
    if (err == CN_OK)
        err = cn_io_new(reactor, listener->fd, on_connections, listener, &listener->io);
    if (err == CN_OK)
        update_watch(listener);
    return err;
}

enum cn_err cn_listener_open(struct cn_reactor *reactor, struct cn_str addr,
                             void (*accepted)(void *arg, int fd, const struct sockaddr *peer),
                             void (*failed)(void *arg, int error), void *arg,
                             struct cn_listener **out)
{
    struct cn_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return CN_NOMEM;
    *listener = (struct cn_listener){.fd = -1, .accepted = accepted, .failed = failed, .arg = arg};
    enum cn_err err = open_listener(reactor, listener, addr);
    if (err != CN_OK) {
        int saved_errno = errno;
        cn_listener_close(listener);
        errno = saved_errno;
        return err;
    }
    *out = listener;
    return CN_OK;
}

void cn_listener_close(struct cn_listener *listener)
{
    if (listener == NULL)
        return;
    CN_ASSERT(!listener->in_callback);
    cn_io_free(listener->io);
    cn_timer_free(listener->rest);
    if (listener->fd >= 0)
        (void)close(listener->fd);
    free(listener);
}

int cn_listener_port(const struct cn_listener *listener)
{
    return listener->port;
}

void cn_listener_pause(struct cn_listener *listener)
{
    listener->paused = true;
    update_watch(listener);
}

void cn_listener_resume(struct cn_listener *listener)
{
    listener->paused = false;
    update_watch(listener);
}
