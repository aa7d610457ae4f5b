// SPDX-License-Identifier: MIT
// One connection to Redis that is kept alive: hiredis on the reactor, back-off, watchdog.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "redis_private.h"

#include "chatnode/clock.h"
#include "chatnode/reactor.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS   2000
#define STEADY_MS        500 // up for so long, the back-off begins from its start again
#define BEAT_MAX_MS      1000
#define ARGS_MAX         (CN_REDIS_BATCH + 1)

enum link_state { LINK_IDLE, LINK_CONNECTING, LINK_GREETING, LINK_UP, LINK_CONDEMNED };

struct cn_redis_link {
    struct cn_reactor *reactor;
    const struct cn_redis_url *url;
    const struct cn_tls_files *files; // for TLS
    struct cn_redis_link_events events;
    int64_t watchdog_ms;
    enum link_state state;
    bool started;
    redisAsyncContext *ac;
    struct cn_tls_tunnel *tunnel; // of this connection, or NULL
    struct cn_io *io;
    struct cn_io *old_io; // of the connection before: freed when the next one is opened
    int watched;
    struct cn_timer *retry;
    struct cn_timer *tick;
    int64_t heard_ms;  // when something was last read
    int64_t ticked_ms; // when the watchdog last looked
    int64_t up_ms;
    unsigned attempts; // since the last steady connection
    struct cn_redis_greeting greeting;
    struct cn_redis_guard guard;
};

// ---- hiredis's hooks ----

static void watch(struct cn_redis_link *link, int events)
{
    if (link->io == NULL || link->watched == events)
        return;
    link->watched = events;
    cn_io_watch(link->io, events);
}

static void add_read(void *arg)
{
    struct cn_redis_link *link = arg;
    watch(link, link->watched | CN_IO_READ);
}

static void del_read(void *arg)
{
    struct cn_redis_link *link = arg;
    watch(link, link->watched & ~CN_IO_READ);
}

static void add_write(void *arg)
{
    struct cn_redis_link *link = arg;
    watch(link, link->watched | CN_IO_WRITE);
}

static void del_write(void *arg)
{
    struct cn_redis_link *link = arg;
    watch(link, link->watched & ~CN_IO_WRITE);
}

// hiredis closes the descriptor after this. The watch may be running right now, so it is kept.
static void cleanup(void *arg)
{
    struct cn_redis_link *link = arg;
    if (link->io == NULL)
        return;
    watch(link, 0);
    cn_io_free(link->old_io);
    link->old_io = link->io;
    link->io = NULL;
}

// hiredis asserts that each answer belongs to a command, so one that nobody asked for is caught
// here. (An error is let through: it is how Redis says that it has too many clients.)
static bool is_unasked(const redisAsyncContext *ac)
{
    char first;
    if (ac->replies.head != NULL || (ac->c.flags & REDIS_SUBSCRIBED))
        return false;
    return recv(ac->c.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first != '-';
}

static void on_ready(void *arg, int events)
{
    struct cn_redis_link *link = arg;
    redisAsyncContext *ac = link->ac;
    if (ac && (events & CN_IO_READ)) {
        link->heard_ms = cn_clock_ms();
        if (is_unasked(ac)) {
            cn_redis_link_fail(link, CN_CAUSE_STRANGE,
                               "it speaks without being asked: this is not Redis");
            return;
        }
        redisAsyncHandleRead(ac);
    }
    if (ac && link->ac == ac && (events & CN_IO_WRITE))
        redisAsyncHandleWrite(ac);
}

// ---- Falling down and getting up ----

// Uniform between 0 and a ceiling that doubles with each attempt ("full jitter").
static int64_t backoff_ms(unsigned attempts)
{
    int64_t ceiling = BACKOFF_FIRST_MS;
    for (unsigned i = 0; i < attempts && ceiling < BACKOFF_MAX_MS; i++)
        ceiling *= 2;
    if (ceiling > BACKOFF_MAX_MS)
        ceiling = BACKOFF_MAX_MS;
    uint32_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        return ceiling;
    return (int64_t)(random % (uint32_t)(ceiling + 1));
}

static void drop_tunnel(struct cn_redis_link *link)
{
    cn_tls_tunnel_free(link->tunnel);
    link->tunnel = NULL;
}

// The connection is gone, or never came: tells it and sets the time of the next attempt.
static void lose(struct cn_redis_link *link, enum cn_bus_cause cause, const char *why)
{
    drop_tunnel(link);
    bool steady = link->state == LINK_UP && cn_clock_ms() - link->up_ms >= STEADY_MS;
    link->attempts = steady ? 0 : link->attempts + 1;
    link->state = LINK_IDLE;
    cn_timer_stop(link->tick);
    cn_timer_start(link->retry, backoff_ms(link->attempts));
    link->events.down(link->events.arg, cause, why);
}

// Lets hiredis forget the connection; within one of its callbacks it does so after that returns.
static void drop(struct cn_redis_link *link)
{
    redisAsyncContext *ac = link->ac;
    link->ac = NULL;
    drop_tunnel(link);
    if (ac == NULL)
        return;
    ac->data = NULL;
    redisAsyncFree(ac);
}

void cn_redis_link_fail(struct cn_redis_link *link, enum cn_bus_cause cause, const char *why)
{
    if (link->ac == NULL)
        return;
    char text[256];
    snprintf(text, sizeof(text), "%.255s", why); // `why` may be in memory that drop frees
    drop(link);
    lose(link, cause, text);
}

void cn_redis_link_condemn(struct cn_redis_link *link, const char *why)
{
    drop(link);
    link->state = LINK_CONDEMNED;
    cn_timer_stop(link->tick);
    cn_timer_stop(link->retry);
    link->events.fatal(link->events.arg, why);
}

// What hiredis says, in words for an operator.
static enum cn_bus_cause explain(const struct cn_redis_link *link, const char *errstr, char *out,
                                 size_t size)
{
    if (errstr[0] == '\0')
        errstr = "closed by us";
    if (link->state == LINK_CONNECTING) {
        snprintf(out, size, "cannot connect: %s", errstr);
        return CN_CAUSE_CONNECT;
    }
    if (link->guard.has_refused)
        errstr = "it says what nobody asked for";
    if (link->guard.has_refused || strncmp(errstr, "Protocol error", 14) == 0) {
        snprintf(out, size, "what answers is not Redis: %s", errstr);
        return CN_CAUSE_STRANGE;
    }
    snprintf(out, size, "the connection broke: %s", errstr);
    return CN_CAUSE_CLOSED;
}

static void greet(struct cn_redis_link *link)
{
    link->state = LINK_GREETING;
    link->heard_ms = cn_clock_ms();
    cn_redis_greet(&link->greeting);
}

static void on_connect(const redisAsyncContext *ac, int status)
{
    struct cn_redis_link *link = ac->data;
    if (link == NULL || link->ac != ac)
        return;
    if (status == REDIS_OK) {
        greet(link);
        return;
    }
    char why[200];
    enum cn_bus_cause cause = explain(link, ac->c.errstr, why, sizeof(why));
    link->ac = NULL; // hiredis frees it
    lose(link, cause, why);
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
    (void)status;
    struct cn_redis_link *link = ac->data;
    if (link == NULL || link->ac != ac)
        return;
    char why[200];
    enum cn_bus_cause cause = explain(link, ac->c.errstr, why, sizeof(why));
    link->ac = NULL;
    lose(link, cause, why);
}

static void on_tunnel_open(void *arg)
{
    greet(arg);
}

static void on_tunnel_ended(void *arg, enum cn_tls_end end, const char *why)
{
    bool is_tls = end == CN_TLS_END_REFUSED;
    char text[CN_TLS_WHY_BYTES];
    snprintf(text, sizeof(text), "%s: %.280s", is_tls ? "TLS failed" : "cannot connect", why);
    cn_redis_link_fail(arg, is_tls ? CN_CAUSE_TLS : CN_CAUSE_CONNECT, text);
}

static enum cn_err attach(struct cn_redis_link *link, redisAsyncContext *ac)
{
    enum cn_err err = cn_io_new(link->reactor, ac->c.fd, on_ready, link, &link->io);
    if (err != CN_OK)
        return err;
    link->watched = 0;
    link->ac = ac;
    cn_redis_guard_set(&link->guard, ac);
    ac->data = link;
    ac->ev.data = link;
    ac->ev.addRead = add_read;
    ac->ev.delRead = del_read;
    ac->ev.addWrite = add_write;
    ac->ev.delWrite = del_write;
    ac->ev.cleanup = cleanup;
    if (!link->tunnel)
        redisAsyncSetConnectCallback(ac, on_connect);
    redisAsyncSetDisconnectCallback(ac, on_disconnect);
    return CN_OK;
}

// As redisAsyncConnect; a name is looked up here, which may block.
static redisAsyncContext *make_context(const struct cn_redis_url *url, char *why, size_t size)
{
    redisAsyncContext *ac =
        url->path[0] ? redisAsyncConnectUnix(url->path) : redisAsyncConnect(url->host, url->port);
    if (ac != NULL && ac->err == 0)
        return ac;
    snprintf(why, size, "cannot connect: %s", ac ? ac->errstr : "out of memory");
    if (ac)
        redisAsyncFree(ac);
    return NULL;
}

static int64_t beat_ms(const struct cn_redis_link *link)
{
    int64_t ms = link->watchdog_ms / 3;
    return ms > BEAT_MAX_MS ? BEAT_MAX_MS : ms > 0 ? ms : 1;
}

// Leads the connection through TLS; true if it is to be so.
static bool secure(struct cn_redis_link *link, redisAsyncContext *ac)
{
    const struct cn_tls_tunnel_events events = {link, on_tunnel_open, on_tunnel_ended};
    struct cn_tls_why why = {""};
    enum cn_err err = cn_redis_tunnel_open(link->reactor, ac, link->url->host, link->files, &events,
                                           &link->tunnel, &why);
    if (err == CN_OK)
        return true;
    redisAsyncFree(ac);
    if (err == CN_INVALID)
        lose(link, CN_CAUSE_TLS, why.text);
    else
        lose(link, CN_CAUSE_MEMORY, "no memory, or no descriptor, for TLS");
    return false;
}

static void on_retry(void *arg)
{
    struct cn_redis_link *link = arg;
    char why[200];
    cn_io_free(link->old_io);
    link->old_io = NULL;
    link->state = LINK_CONNECTING;
    redisAsyncContext *ac = make_context(link->url, why, sizeof(why));
    if (ac == NULL) {
        lose(link, CN_CAUSE_CONNECT, why);
        return;
    }
    if (link->url->tls && !secure(link, ac))
        return;
    if (attach(link, ac) != CN_OK) {
        redisAsyncFree(ac);
        lose(link, CN_CAUSE_MEMORY, "out of memory");
        return;
    }
    link->heard_ms = link->ticked_ms = cn_clock_ms();
    cn_timer_start(link->tick, beat_ms(link));
}

// ---- The watchdog ----

static void on_tick(void *arg)
{
    struct cn_redis_link *link = arg;
    int64_t now = cn_clock_ms();
    // When this process itself stood still, what came meanwhile is yet to be read.
    if (now - link->ticked_ms > 2 * beat_ms(link))
        link->heard_ms = now;
    link->ticked_ms = now;
    cn_timer_start(link->tick, beat_ms(link));
    if (now - link->heard_ms >= link->watchdog_ms) {
        char why[120];
        snprintf(why, sizeof(why), "no answer within %lld ms%s", (long long)link->watchdog_ms,
                 link->state == LINK_UP ? ""
                 : link->tunnel         ? "; is it Redis, and does it speak TLS there?"
                                        : "; is it Redis?");
        cn_redis_link_fail(link, CN_CAUSE_SILENT, why);
    } else if (link->state == LINK_UP) {
        link->events.beat(link->events.arg);
    }
}

// ---- Life ----

// CLIENT SETNAME takes no spaces and no control characters.
static void set_name(struct cn_redis_greeting *greeting, const char *name)
{
    snprintf(greeting->name, sizeof(greeting->name), "%s", name);
    for (char *at = greeting->name; *at; at++) {
        if (*at <= ' ' || *at > '~')
            *at = '_';
    }
}

enum cn_err cn_redis_link_new(struct cn_reactor *reactor, const struct cn_redis_url *url,
                              const struct cn_tls_files *files, const char *name,
                              int64_t watchdog_ms, const struct cn_redis_link_events *events,
                              struct cn_redis_link **out)
{
    struct cn_redis_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return CN_NOMEM;
    link->reactor = reactor;
    link->url = url;
    link->files = files;
    link->events = *events;
    link->watchdog_ms = watchdog_ms;
    link->greeting.link = link;
    link->greeting.url = url;
    set_name(&link->greeting, name);
    enum cn_err err = cn_timer_new(reactor, on_retry, link, &link->retry);
    if (err == CN_OK)
        err = cn_timer_new(reactor, on_tick, link, &link->tick);
    if (err != CN_OK) {
        cn_redis_link_free(link);
        return err;
    }
    *out = link;
    return CN_OK;
}

void cn_redis_link_free(struct cn_redis_link *link)
{
    if (link == NULL)
        return;
    link->state = LINK_IDLE;
    drop(link);
    cn_io_free(link->old_io);
    cn_timer_free(link->retry);
    cn_timer_free(link->tick);
    explicit_bzero(link, sizeof(*link));
    free(link);
}

void cn_redis_link_start(struct cn_redis_link *link)
{
    link->started = true;
    cn_timer_start(link->retry, 0);
}

bool cn_redis_link_is_started(const struct cn_redis_link *link)
{
    return link->started;
}

bool cn_redis_link_is_up(const struct cn_redis_link *link)
{
    return link->state == LINK_UP;
}

const char *cn_redis_link_run_id(const struct cn_redis_link *link)
{
    return link->greeting.run_id;
}

const char *cn_redis_link_lineage(const struct cn_redis_link *link)
{
    return link->greeting.lineage;
}

const char *cn_redis_link_version(const struct cn_redis_link *link)
{
    return link->greeting.version;
}

void cn_redis_link_greeted(struct cn_redis_link *link)
{
    if (link->state != LINK_GREETING)
        return;
    link->state = LINK_UP;
    link->up_ms = cn_clock_ms();
    link->events.up(link->events.arg);
}

bool cn_redis_link_send(struct cn_redis_link *link, redisCallbackFn *fn, void *subject,
                        size_t count, const struct cn_str *args)
{
    const char *argv[ARGS_MAX];
    size_t lens[ARGS_MAX];
    CN_ASSERT(count <= ARGS_MAX);
    if (link->ac == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        argv[i] = args[i].len ? args[i].ptr : "";
        lens[i] = args[i].len;
    }
    return redisAsyncCommandArgv(link->ac, fn, subject, (int)count, argv, lens) == REDIS_OK;
}
