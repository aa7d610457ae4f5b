// SPDX-License-Identifier: MIT
// One connection to Redis that is kept alive, and the address that it goes to. Main thread only.
#ifndef CHATNODE_REDIS_LINK_H
#define CHATNODE_REDIS_LINK_H

#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include "chatnode/buf.h"
#include "chatnode/bus.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/reactor.h"
#include "chatnode/tls_tunnel.h"

// ---- redis_url.c ----

struct cn_redis_url {
    char host[256]; // empty with a unix socket
    int port;
    char path[104]; // of the unix socket, or empty
    char user[128]; // empty: the default user
    char password[512];
    int db;
    bool tls;
};

// Reads redis://[[user]:password@]host[:port][/db], the same with rediss:// for TLS, or
// unix://[[user]:password@]/path[?db=N]; user, password and path may be percent-encoded.
// CN_INVALID: *why says what is wrong (static text).
CN_MUSTCHECK enum cn_err cn_redis_url_parse(struct cn_str text, struct cn_redis_url *out,
                                            const char **why);

// ---- redis_guard.c ----

// What looks at a connection's answers while they are read.
struct cn_redis_guard {
    redisAsyncContext *ac;
    const redisReplyObjectFunctions *own; // hiredis'
    redisReplyObjectFunctions guarded;
    bool has_refused; // bytes that no Redis sends
};

// Before anything is read from the connection, which must end before the guard does.
void cn_redis_guard_set(struct cn_redis_guard *guard, redisAsyncContext *ac);

// ---- redis_link.c, redis_greet.c ----

struct cn_redis_link;

struct cn_redis_link_events {
    void *arg;
    // Connected, logged in, and it is a master that is new enough.
    void (*up)(void *arg);
    // An attempt failed, or the connection broke: the next attempt is on its way. Answers of
    // commands under way come as NULL before or after.
    void (*down)(void *arg, enum cn_bus_cause cause, const char *why);
    // It answers, but can never do; no further attempt is made.
    void (*fatal)(void *arg, const char *why);
    // Send something that is answered: the watchdog listens.
    void (*beat)(void *arg);
};

// A link that is not started. `url`, and `files` for TLS, are borrowed for its life; `name` is what
// CLIENT LIST shows.
CN_MUSTCHECK enum cn_err
cn_redis_link_new(struct cn_reactor *reactor, const struct cn_redis_url *url,
                  const struct cn_tls_files *files, const char *name, int64_t watchdog_ms,
                  const struct cn_redis_link_events *events, struct cn_redis_link **out);

// Closes and frees; commands under way get NULL, no event follows. Not from a reply's callback.
void cn_redis_link_free(struct cn_redis_link *link);

// Makes the first attempt to connect, in this turn of the reactor or the next.
void cn_redis_link_start(struct cn_redis_link *link);
bool cn_redis_link_is_started(const struct cn_redis_link *link);
bool cn_redis_link_is_up(const struct cn_redis_link *link);

// The server's INFO run_id, master_replid and redis_version; empty before the first `up`.
const char *cn_redis_link_run_id(const struct cn_redis_link *link);
const char *cn_redis_link_lineage(const struct cn_redis_link *link);
const char *cn_redis_link_version(const struct cn_redis_link *link);

// Gives the connection up for `why` and makes a new one after the back-off. Legal in a callback.
void cn_redis_link_fail(struct cn_redis_link *link, enum cn_bus_cause cause, const char *why);

// Gives up for good: events.fatal.
void cn_redis_link_condemn(struct cn_redis_link *link, const char *why);

// Sends one command. False: it is not sent and `fn` will not be called.
bool cn_redis_link_send(struct cn_redis_link *link, redisCallbackFn *fn, void *subject,
                        size_t count, const struct cn_str *args);

// redis_greet.c: sends AUTH, SELECT, CLIENT SETNAME and INFO; ends in cn_redis_link_greeted, in
// cn_redis_link_fail or in cn_redis_link_condemn.
struct cn_redis_greeting {
    struct cn_redis_link *link;
    const struct cn_redis_url *url;
    char name[128];
    char version[32];
    char run_id[64];
    char lineage[64]; // master_replid
};
void cn_redis_greet(struct cn_redis_greeting *greeting);
void cn_redis_link_greeted(struct cn_redis_link *link);

// redis_tunnel.c: puts a tunnel with TLS between hiredis and the connection that `ac` has begun to
// make. The context counts as connected from then on; `events` say when it is. CN_INVALID: *why
// says what is wrong with the files; CN_SYSTEM, CN_NOMEM. `ac` stays the caller's to free.
CN_MUSTCHECK enum cn_err cn_redis_tunnel_open(struct cn_reactor *reactor, redisAsyncContext *ac,
                                              const char *host, const struct cn_tls_files *files,
                                              const struct cn_tls_tunnel_events *events,
                                              struct cn_tls_tunnel **out, struct cn_tls_why *why);

#endif
