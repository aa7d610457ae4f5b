// SPDX-License-Identifier: MIT
// The main thread's event loop: the only file that knows libevent.
#include "chatnode/reactor.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "chatnode/log.h"

// Owned by the thread that runs it, but for `woken` and `wake_fd`, which any thread may use.
struct cn_reactor {
    struct event_base *base;
    struct event wake;  // reads wake_fd
    struct event guard; // ends a turn that found nothing to do
    int wake_fd;        // an eventfd; constant
    atomic_bool woken;  // a wake is on its way, no need for another write
    bool stopping;
    void (*on_wake)(void *arg);
    void *arg;
    void (*after)(void *arg);
    void *after_arg;
};

struct cn_timer {
    struct event event;
    void (*fire)(void *arg);
    void *arg;
};

struct cn_io {
    struct event event;
    struct event_base *base;
    int fd;
    int events; // CN_IO_*, what is watched now
    void (*ready)(void *arg, int events);
    void *arg;
};

struct cn_signal {
    struct event event;
    void (*caught)(void *arg);
    void *arg;
};

// libevent needs memory for a pointer or two when an event is added. Failing there cannot be told
// to anyone who only starts a timer, and a timer that silently never fires would be worse.
static void add_event(struct event *event, const struct timeval *after)
{
    int rc = event_add(event, after);
    CN_ASSERT(rc == 0);
}

static struct timeval timeval_of_ms(int64_t ms)
{
    int64_t positive = ms > 0 ? ms : 0;
    return (struct timeval){.tv_sec = positive / 1000, .tv_usec = positive % 1000 * 1000};
}

static void on_library_log(int severity, const char *text)
{
    if (severity >= EVENT_LOG_WARN)
        CN_LOG(WARN, "reactor.library", "libevent has a complaint", CN_F_STR("text", text));
}

// Clears the flag before the callback: a wake from now on means another round.
static void on_wake_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct cn_reactor *reactor = arg;
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof(count));
    CN_ASSERT(got == (ssize_t)sizeof(count) || errno == EAGAIN);
    atomic_exchange(&reactor->woken, false);
    reactor->on_wake(reactor->arg);
}

static void nothing_after(void *arg)
{
    (void)arg;
}

static void on_guard(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

// Exact timers: without these flags libevent counts from a coarse clock, read once a turn, and
// fires early after a long callback.
static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    if (config == NULL)
        return NULL;
    struct event_base *base = NULL;
    int flags = EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_NO_CACHE_TIME |
                EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV;
    if (event_config_set_flag(config, flags) == 0)
        base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static enum cn_err open_reactor(struct cn_reactor *reactor)
{
    reactor->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (reactor->wake_fd < 0)
        return CN_SYSTEM;
    reactor->base = new_base();
    if (reactor->base == NULL)
        return errno == ENOMEM ? CN_NOMEM : CN_SYSTEM;
    int rc = event_assign(&reactor->wake, reactor->base, reactor->wake_fd, EV_READ | EV_PERSIST,
                          on_wake_readable, reactor);
    CN_ASSERT(rc == 0);
    rc = event_assign(&reactor->guard, reactor->base, -1, 0, on_guard, NULL);
    CN_ASSERT(rc == 0);
    return event_add(&reactor->wake, NULL) == 0 ? CN_OK : CN_SYSTEM;
}

enum cn_err cn_reactor_new(struct cn_reactor **out, void (*on_wake)(void *arg), void *arg)
{
    struct cn_reactor *reactor = calloc(1, sizeof(*reactor));
    if (reactor == NULL)
        return CN_NOMEM;
    event_set_log_callback(on_library_log);
    reactor->on_wake = on_wake;
    reactor->arg = arg;
    reactor->after = nothing_after;
    enum cn_err err = open_reactor(reactor);
    if (err != CN_OK) {
        int saved_errno = errno;
        cn_reactor_free(reactor);
        errno = saved_errno;
        return err;
    }
    *out = reactor;
    return CN_OK;
}

void cn_reactor_free(struct cn_reactor *reactor)
{
    if (reactor == NULL)
        return;
    if (reactor->base != NULL) {
        if (event_initialized(&reactor->wake))
            (void)event_del(&reactor->wake);
        event_base_free(reactor->base);
    }
    if (reactor->wake_fd >= 0)
        (void)close(reactor->wake_fd);
    free(reactor);
}

void cn_reactor_set_after(struct cn_reactor *reactor, void (*after)(void *arg), void *arg)
{
    reactor->after = after ? after : nothing_after;
    reactor->after_arg = arg;
}

static void turn(struct cn_reactor *reactor, int flags)
{
    int rc = event_base_loop(reactor->base, flags);
    CN_ASSERT(rc == 0);
    reactor->after(reactor->after_arg);
}

void cn_reactor_run(struct cn_reactor *reactor)
{
    reactor->after(reactor->after_arg);
    while (!reactor->stopping)
        turn(reactor, EVLOOP_ONCE);
    reactor->stopping = false;
}

void cn_reactor_turn(struct cn_reactor *reactor, int max_wait_ms)
{
    struct timeval after = timeval_of_ms(max_wait_ms);
    add_event(&reactor->guard, &after);
    turn(reactor, max_wait_ms > 0 ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
    (void)event_del(&reactor->guard);
}

void cn_reactor_stop(struct cn_reactor *reactor)
{
    reactor->stopping = true;
}

void cn_reactor_wake(struct cn_reactor *reactor)
{
    if (atomic_exchange(&reactor->woken, true))
        return;
    uint64_t one = 1;
    ssize_t put = write(reactor->wake_fd, &one, sizeof(one));
    CN_ASSERT(put == (ssize_t)sizeof(one) || errno == EAGAIN);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct cn_timer *timer = arg;
    timer->fire(timer->arg); // may have freed the timer
}

enum cn_err cn_timer_new(struct cn_reactor *reactor, void (*fire)(void *arg), void *arg,
                         struct cn_timer **out)
{
    struct cn_timer *timer = calloc(1, sizeof(*timer));
    if (timer == NULL)
        return CN_NOMEM;
    timer->fire = fire;
    timer->arg = arg;
    int rc = event_assign(&timer->event, reactor->base, -1, 0, on_timeout, timer);
    CN_ASSERT(rc == 0);
    *out = timer;
    return CN_OK;
}

void cn_timer_free(struct cn_timer *timer)
{
    if (timer == NULL)
        return;
    cn_timer_stop(timer);
    free(timer);
}

void cn_timer_start(struct cn_timer *timer, int64_t ms)
{
    struct timeval after = timeval_of_ms(ms);
    add_event(&timer->event, &after);
}

void cn_timer_stop(struct cn_timer *timer)
{
    (void)event_del(&timer->event);
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct cn_io *io = arg;
    int events = (what & EV_READ ? CN_IO_READ : 0) | (what & EV_WRITE ? CN_IO_WRITE : 0);
    io->ready(io->arg, events); // may have freed the io
}

static void assign_io(struct cn_io *io, int events)
{
    int flags =
        EV_PERSIST | (events & CN_IO_READ ? EV_READ : 0) | (events & CN_IO_WRITE ? EV_WRITE : 0);
    int rc = event_assign(&io->event, io->base, io->fd, (short)flags, on_io, io);
    CN_ASSERT(rc == 0);
    io->events = events;
}

// Watches once and stops again: a descriptor that cannot be watched is refused here, and libevent
// has the memory for it from now on.
enum cn_err cn_io_new(struct cn_reactor *reactor, int fd, void (*ready)(void *arg, int events),
                      void *arg, struct cn_io **out)
{
    struct cn_io *io = calloc(1, sizeof(*io));
    if (io == NULL)
        return CN_NOMEM;
    *io = (struct cn_io){.base = reactor->base, .fd = fd, .ready = ready, .arg = arg};
    assign_io(io, CN_IO_READ);
    if (event_add(&io->event, NULL) != 0) {
        int saved_errno = errno;
        free(io);
        errno = saved_errno;
        return CN_SYSTEM;
    }
    (void)event_del(&io->event);
    io->events = 0;
    *out = io;
    return CN_OK;
}

void cn_io_free(struct cn_io *io)
{
    if (io == NULL)
        return;
    (void)event_del(&io->event);
    free(io);
}

void cn_io_watch(struct cn_io *io, int events)
{
    if (events == io->events)
        return;
    (void)event_del(&io->event);
    io->events = 0;
    if (events == 0)
        return;
    assign_io(io, events);
    add_event(&io->event, NULL);
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
    (void)signo;
    (void)what;
    struct cn_signal *sig = arg;
    sig->caught(sig->arg);
}

enum cn_err cn_signal_new(struct cn_reactor *reactor, int signo, void (*caught)(void *arg),
                          void *arg, struct cn_signal **out)
{
    struct cn_signal *sig = calloc(1, sizeof(*sig));
    if (sig == NULL)
        return CN_NOMEM;
    sig->caught = caught;
    sig->arg = arg;
    int rc =
        event_assign(&sig->event, reactor->base, signo, EV_SIGNAL | EV_PERSIST, on_signal, sig);
    CN_ASSERT(rc == 0);
    if (event_add(&sig->event, NULL) != 0) {
        int saved_errno = errno;
        free(sig);
        errno = saved_errno;
        return CN_SYSTEM;
    }
    *out = sig;
    return CN_OK;
}

void cn_signal_free(struct cn_signal *sig)
{
    if (sig == NULL)
        return;
    (void)event_del(&sig->event);
    free(sig);
}
