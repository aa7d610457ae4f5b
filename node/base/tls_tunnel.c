// SPDX-License-Identifier: MIT
// A TLS client between a plain socket pair and a TCP connection: a pump with one buffer each way.
//
// What is read on one side is written to the other before more is read: so a side that takes
// nothing stops the other by the system's own buffers, and the tunnel keeps 16 KiB each way at
// most.
#include "chatnode/tls_tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chatnode/clock.h"

enum { BUFFER_BYTES = 16384 }; // a TLS record at most

enum state { CONNECTING, SHAKING, OPEN, ENDED };

struct way {
    size_t from, to; // what is still to be written stands between
    unsigned char bytes[BUFFER_BYTES];
};

struct cn_tls_tunnel {
    struct cn_tls_tunnel_events events;
    enum state state;
    int tcp_fd;
    int plain_fd;
    struct cn_io *tcp;
    struct cn_io *plain;
    SSL *ssl;
    bool wants_write; // OpenSSL waits until the TCP socket takes something
    struct way out;   // from the plain end to TLS
    struct way in;
};

static bool is_empty(const struct way *way)
{
    return way->from == way->to;
}

// ---- The end ----

static void stop(struct cn_tls_tunnel *tunnel)
{
    tunnel->state = ENDED;
    cn_io_watch(tunnel->tcp, 0);
    cn_io_watch(tunnel->plain, 0);
}

static void end(struct cn_tls_tunnel *tunnel, enum cn_tls_end reason, const char *why)
{
    stop(tunnel);
    tunnel->events.ended(tunnel->events.arg, reason, why);
}

// What OpenSSL says of a failure: a word about the certificate is the better one, if there is one.
static void end_by_tls(struct cn_tls_tunnel *tunnel)
{
    struct cn_tls_why why;
    cn_tls_error(&why);
    long verdict = SSL_get_verify_result(tunnel->ssl);
    end(tunnel, CN_TLS_END_REFUSED,
        verdict == X509_V_OK ? why.text : X509_verify_cert_error_string(verdict));
}

// The TCP connection is over. The library reads what came before, then the end of the stream.
static void end_by_peer(struct cn_tls_tunnel *tunnel, int error)
{
    if (tunnel->state == OPEN) {
        stop(tunnel);
        (void)shutdown(tunnel->plain_fd, SHUT_RDWR);
    } else {
        end(tunnel, CN_TLS_END_REFUSED, error ? strerror(error) : "closed by the other side");
    }
}

// Looks at what an operation of OpenSSL's returned that was not done. True: it may be done later;
// else the tunnel has ended, and may be freed.
static bool may_wait(struct cn_tls_tunnel *tunnel, int result)
{
    int error = errno;
    int what = SSL_get_error(tunnel->ssl, result);
    if (what == SSL_ERROR_WANT_WRITE)
        tunnel->wants_write = true;
    if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE)
        return true;
    if (what == SSL_ERROR_SSL)
        end_by_tls(tunnel);
    else
        end_by_peer(tunnel, what == SSL_ERROR_SYSCALL ? error : 0);
    return false;
}

// ---- The pump ----

enum step { STILL, MOVED, GONE }; // GONE: the tunnel has ended, and may be freed

static enum step take_plain(struct cn_tls_tunnel *tunnel)
{
    struct way *way = &tunnel->out;
    if (!is_empty(way))
        return STILL;
    ssize_t got = recv(tunnel->plain_fd, way->bytes, sizeof(way->bytes), MSG_DONTWAIT);
    way->from = 0;
    way->to = got > 0 ? (size_t)got : 0;
    if (got != 0)
        return got > 0 ? MOVED : STILL;
    stop(tunnel); // the library has closed its end, and will let go of the tunnel
    return GONE;
}

static enum step write_tls(struct cn_tls_tunnel *tunnel)
{
    struct way *way = &tunnel->out;
    if (is_empty(way))
        return STILL;
    ERR_clear_error();
    errno = 0;
    int put = SSL_write(tunnel->ssl, way->bytes + way->from, (int)(way->to - way->from));
    if (put <= 0)
        return may_wait(tunnel, put) ? STILL : GONE;
    way->from += (size_t)put;
    return MOVED;
}

static enum step read_tls(struct cn_tls_tunnel *tunnel)
{
    struct way *way = &tunnel->in;
    if (!is_empty(way))
        return STILL;
    ERR_clear_error();
    errno = 0;
    int got = SSL_read(tunnel->ssl, way->bytes, sizeof(way->bytes));
    if (got <= 0)
        return may_wait(tunnel, got) ? STILL : GONE;
    way->from = 0;
    way->to = (size_t)got;
    return MOVED;
}

static enum step give_plain(struct cn_tls_tunnel *tunnel)
{
    struct way *way = &tunnel->in;
    if (is_empty(way))
        return STILL;
    ssize_t put = send(tunnel->plain_fd, way->bytes + way->from, way->to - way->from,
                       MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put <= 0)
        return STILL; // full; or closed, which take_plain sees
    way->from += (size_t)put;
    return MOVED;
}

// Moves what can be moved. It ends: that is bounded by the buffers of a pair whose other end is
// served by this same thread. False: GONE.
static bool pump(struct cn_tls_tunnel *tunnel)
{
    typedef enum step step_fn(struct cn_tls_tunnel *);
    static step_fn *const steps[] = {take_plain, write_tls, read_tls, give_plain};
    bool moved = true;
    while (moved) {
        moved = false;
        for (size_t i = 0; i < CN_COUNT(steps); i++) {
            enum step step = steps[i](tunnel);
            if (step == GONE)
                return false;
            moved |= step == MOVED;
        }
    }
    return true;
}

// ---- Events ----

static void watch(struct cn_tls_tunnel *tunnel)
{
    bool is_open = tunnel->state == OPEN;
    cn_io_watch(tunnel->tcp,
                (is_empty(&tunnel->in) ? CN_IO_READ : 0) | (tunnel->wants_write ? CN_IO_WRITE : 0));
    cn_io_watch(tunnel->plain, (is_open && is_empty(&tunnel->out) ? CN_IO_READ : 0) |
                                   (is_empty(&tunnel->in) ? 0 : CN_IO_WRITE));
}

static void carry(struct cn_tls_tunnel *tunnel)
{
    tunnel->wants_write = false;
    if (pump(tunnel))
        watch(tunnel);
}

static void shake(struct cn_tls_tunnel *tunnel)
{
    tunnel->wants_write = false;
    ERR_clear_error();
    errno = 0;
    int result = SSL_connect(tunnel->ssl);
    if (result != 1) {
        if (may_wait(tunnel, result))
            watch(tunnel);
        return;
    }
    tunnel->state = OPEN;
    watch(tunnel);
    tunnel->events.open(tunnel->events.arg);
}

static void connected(struct cn_tls_tunnel *tunnel)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(tunnel->tcp_fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error) {
        end(tunnel, CN_TLS_END_CONNECT, strerror(error));
        return;
    }
    tunnel->state = SHAKING;
    shake(tunnel);
}

static void on_tcp(void *arg, int events)
{
    struct cn_tls_tunnel *tunnel = arg;
    (void)events;
    if (tunnel->state == CONNECTING)
        connected(tunnel);
    else if (tunnel->state == SHAKING)
        shake(tunnel);
    else
        carry(tunnel);
}

static void on_plain(void *arg, int events)
{
    (void)events;
    carry(arg);
}

// ---- Life ----

// Whom the other side's certificate must be for: RFC 6125. The name is also told (SNI, RFC 6066
// section 3), an address must not be.
static bool name_peer(SSL *ssl, const char *host)
{
    struct in6_addr address;
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);
    if (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(rules, host);
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(rules, host, 0) && SSL_set_tlsext_host_name(ssl, host);
}

static enum cn_err open_tls(struct cn_tls_tunnel *tunnel, const char *host,
                            const struct cn_tls_files *files, struct cn_tls_why *why)
{
    SSL_CTX *context;
    enum cn_err err = cn_tls_client_new(files, cn_clock_wall_ms() / 1000, &context, why);
    if (err)
        return err;
    tunnel->ssl = SSL_new(context);
    cn_tls_client_free(context); // the connection holds it
    if (!tunnel->ssl || !SSL_set_fd(tunnel->ssl, tunnel->tcp_fd) || !name_peer(tunnel->ssl, host))
        return CN_NOMEM;
    return CN_OK;
}

static enum cn_err open_ends(struct cn_tls_tunnel *tunnel, struct cn_reactor *reactor,
                             int *plain_end)
{
    int pair[2];
    int one = 1;
    // Without it a message is later; nothing else depends on it.
    (void)setsockopt(tunnel->tcp_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        return CN_SYSTEM;
    tunnel->plain_fd = pair[0];
    enum cn_err err = cn_io_new(reactor, tunnel->tcp_fd, on_tcp, tunnel, &tunnel->tcp);
    if (!err)
        err = cn_io_new(reactor, tunnel->plain_fd, on_plain, tunnel, &tunnel->plain);
    if (err)
        close(pair[1]);
    else
        *plain_end = pair[1];
    return err;
}

enum cn_err cn_tls_tunnel_new(struct cn_reactor *reactor, int fd, const char *host,
                              const struct cn_tls_files *files,
                              const struct cn_tls_tunnel_events *events, int *plain_end,
                              struct cn_tls_tunnel **out, struct cn_tls_why *why)
{
    struct cn_tls_tunnel *tunnel = calloc(1, sizeof(*tunnel));
    if (!tunnel) {
        close(fd);
        return CN_NOMEM;
    }
    tunnel->events = *events;
    tunnel->tcp_fd = fd;
    tunnel->plain_fd = -1;
    enum cn_err err = open_tls(tunnel, host, files, why);
    if (!err)
        err = open_ends(tunnel, reactor, plain_end);
    if (err) {
        cn_tls_tunnel_free(tunnel);
        return err;
    }
    cn_io_watch(tunnel->tcp, CN_IO_WRITE);
    *out = tunnel;
    return CN_OK;
}

void cn_tls_tunnel_free(struct cn_tls_tunnel *tunnel)
{
    if (!tunnel)
        return;
    cn_io_free(tunnel->tcp);
    cn_io_free(tunnel->plain);
    if (tunnel->ssl && tunnel->state == OPEN) {
        ERR_clear_error();
        (void)SSL_shutdown(tunnel->ssl); // says goodbye, if the socket takes it
    }
    SSL_free(tunnel->ssl);
    if (tunnel->plain_fd >= 0)
        close(tunnel->plain_fd);
    close(tunnel->tcp_fd);
    explicit_bzero(tunnel, sizeof(*tunnel)); // passwords passed through it
    free(tunnel);
}
