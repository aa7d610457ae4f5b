// SPDX-License-Identifier: MIT
// Asks other HTTP servers, without waiting for them: GET and POST over https, or over http to this
// machine, driven by the reactor (libcurl behind it). Everything here is for the reactor's thread.
#ifndef CHATNODE_FETCH_H
#define CHATNODE_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/reactor.h"

struct cn_fetcher; // all requests of one purpose
struct cn_fetch;   // one of them

struct cn_fetcher_options {
    struct cn_reactor *reactor;
    size_t at_once; // requests under way at most
    size_t queue;   // and so many more that wait for their turn
    const char
        *ca_file; // certificates in PEM to trust instead of the system's; NULL or empty: those
};

// A new fetcher in *out; the options' texts are copied. CN_NOMEM; CN_UNAVAILABLE: libcurl
// is not installed.
CN_MUSTCHECK enum cn_err cn_fetcher_new(const struct cn_fetcher_options *options,
                                        struct cn_fetcher **out);

// Ends all requests, without telling anybody, and frees it. Takes NULL. Not from within `done`.
void cn_fetcher_free(struct cn_fetcher *fetcher);

// What came of a request. Borrowed for the call of `done`.
struct cn_fetch_answer {
    enum cn_err err; // CN_OK: there is a whole answer, whatever its status; CN_TIMEOUT; CN_FULL: it
                     // was longer than allowed; CN_NOMEM; CN_UNAVAILABLE: anything else
    int status;      // of HTTP; with CN_OK only
    struct cn_str body;
    const char *why; // for people; static text
};

struct cn_fetch_order {
    const char *url;
    struct cn_str body;  // absent: GET; else it is posted, as application/json
    int64_t timeout_ms;  // for all of it; one that waited in the queue may learn it later
    size_t answer_bytes; // the body's bound
    // Told once, from the reactor, never within cn_fetch_start; may start and cancel others.
    void (*done)(void *arg, const struct cn_fetch_answer *answer);
    void *arg;
};

// Starts a request, or queues it; the order's texts are copied. *out, unless NULL, may be cancelled
// until `done` was told. Redirects are not followed, no proxy is used, certificates and their names
// are checked (RFC 9110 section 4.3.4, RFC 9525). CN_FULL: at_once and queue are full; CN_INVALID:
// the URL is not allowed; CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_fetch_start(struct cn_fetcher *fetcher,
                                        const struct cn_fetch_order *order, struct cn_fetch **out);

// Ends it without telling anybody.
void cn_fetch_cancel(struct cn_fetch *fetch);

// True for https, and for http to this machine (localhost, 127.0.0.0/8, ::1); without a user or a
// password in it.
bool cn_fetcher_allows(struct cn_fetcher *fetcher, const char *url);

#endif
