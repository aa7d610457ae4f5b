// SPDX-License-Identifier: MIT
// TLS for hiredis, which has none in Debian 12: a tunnel takes over the connection that it has
// begun to make, and hiredis gets one end of a socket pair in its place.
#include <fcntl.h>
#include <unistd.h>

#include "redis_link.h"

enum cn_err cn_redis_tunnel_open(struct cn_reactor *reactor, redisAsyncContext *ac,
                                 const char *host, const struct cn_tls_files *files,
                                 const struct cn_tls_tunnel_events *events,
                                 struct cn_tls_tunnel **out, struct cn_tls_why *why)
{
    int plain_end;
    int tcp = fcntl(ac->c.fd, F_DUPFD_CLOEXEC, 0);
    if (tcp < 0)
        return CN_SYSTEM;
    enum cn_err err = cn_tls_tunnel_new(reactor, tcp, host, files, events, &plain_end, out, why);
    if (err)
        return err;
    // The number stays, so hiredis need not know; the socket behind it is another one.
    int same = dup3(plain_end, ac->c.fd, O_CLOEXEC);
    close(plain_end);
    if (same < 0) {
        cn_tls_tunnel_free(*out);
        *out = NULL;
        return CN_SYSTEM;
    }
    // A socket pair is connected from its birth. Told so, hiredis asks no questions about it that
    // are meant for TCP, and calls no callback for that: the tunnel's `open` stands in for it.
    ac->c.flags |= REDIS_CONNECTED;
    return CN_OK;
}
