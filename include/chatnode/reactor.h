// SPDX-License-Identifier: MIT
// The main thread's event loop (libevent behind it): timers, sockets, listeners, signals, wake-ups.
// Everything here is for the thread that runs the reactor, but for cn_reactor_wake.
#ifndef CHATNODE_REACTOR_H
#define CHATNODE_REACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

struct cn_reactor;
struct cn_timer;
struct cn_io;
struct cn_signal;
struct cn_listener;

enum { CN_IO_READ = 1, CN_IO_WRITE = 2 };

// A new reactor in *out. `on_wake(arg)` runs on the reactor's thread after cn_reactor_wake.
CN_MUSTCHECK enum cn_err cn_reactor_new(struct cn_reactor **out, void (*on_wake)(void *arg),
                                        void *arg);

// Frees it; every timer, io, signal and listener of it must be freed before. Takes NULL.
void cn_reactor_free(struct cn_reactor *reactor);

// `after(arg)` runs at the end of each turn, when all that was ready has been served, and once
// before the first turn: the place for what is done once for all of them.
void cn_reactor_set_after(struct cn_reactor *reactor, void (*after)(void *arg), void *arg);

// Runs until cn_reactor_stop.
void cn_reactor_run(struct cn_reactor *reactor);

// Runs what is ready, waiting at most `max_wait_ms` for it (for tests).
void cn_reactor_turn(struct cn_reactor *reactor, int max_wait_ms);

// Makes cn_reactor_run return after the current turn.
void cn_reactor_stop(struct cn_reactor *reactor);

// Any thread, does not block: on_wake will run. Several wakes before it runs are one.
void cn_reactor_wake(struct cn_reactor *reactor);

// A timer, not started, in *out. `fire(arg)` may start, stop or free it.
CN_MUSTCHECK enum cn_err cn_timer_new(struct cn_reactor *reactor, void (*fire)(void *arg),
                                      void *arg, struct cn_timer **out);
void cn_timer_free(struct cn_timer *timer); // takes NULL

// Fires once in `ms`; a started timer is set anew.
void cn_timer_start(struct cn_timer *timer, int64_t ms);
void cn_timer_stop(struct cn_timer *timer);

// Watches a descriptor that stays the caller's; nothing is watched until cn_io_watch.
CN_MUSTCHECK enum cn_err cn_io_new(struct cn_reactor *reactor, int fd,
                                   void (*ready)(void *arg, int events), void *arg,
                                   struct cn_io **out);
void cn_io_free(struct cn_io *io); // takes NULL

// Watches for exactly `events` (CN_IO_READ | CN_IO_WRITE, 0 for none) until told otherwise.
void cn_io_watch(struct cn_io *io, int events);

// Calls `caught(arg)` on the reactor's thread for each delivery of `signo`.
CN_MUSTCHECK enum cn_err cn_signal_new(struct cn_reactor *reactor, int signo,
                                       void (*caught)(void *arg), void *arg,
                                       struct cn_signal **out);
void cn_signal_free(struct cn_signal *signal); // takes NULL

// Listens on `addr`, "HOST:PORT" ("[::1]:8000", "127.0.0.1:0", "0.0.0.0:8000"). `accepted` gets a
// non-blocking close-on-exec descriptor that it owns and the peer's address. When descriptors run
// out (EMFILE, ENFILE, ENOBUFS, ENOMEM) accepting pauses for 250 ms and `failed(arg, errno)` is
// told. CN_INVALID: not an address; CN_SYSTEM: errno says why (EADDRINUSE...).
CN_MUSTCHECK enum cn_err
cn_listener_open(struct cn_reactor *reactor, struct cn_str addr,
                 void (*accepted)(void *arg, int fd, const struct sockaddr *peer),
                 void (*failed)(void *arg, int error), void *arg, struct cn_listener **out);

// Closes the socket: connections in its backlog are reset. Takes NULL.
void cn_listener_close(struct cn_listener *listener);

// The bound port, for "127.0.0.1:0".
int cn_listener_port(const struct cn_listener *listener);

// Stops and starts accepting; the backlog waits in the kernel.
void cn_listener_pause(struct cn_listener *listener);
void cn_listener_resume(struct cn_listener *listener);

#endif
