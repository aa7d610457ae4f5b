// SPDX-License-Identifier: MIT
// The bus: the seam through which nodes publish, subscribe and read logs. Two implementations,
// memory and redis, under one contract suite. Everything here runs on the main thread; callbacks
// may come before the call that caused them returns.
#ifndef CHATNODE_BUS_H
#define CHATNODE_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/bus_publish.h"
#include "chatnode/bus_stats.h"
#include "chatnode/check.h"
#include "chatnode/durability.h"
#include "chatnode/err.h"
#include "chatnode/list.h"
#include "chatnode/name.h"
#include "chatnode/pos.h"
#include "chatnode/reactor.h"

struct cn_bus;

// Not yet, or no longer, able to publish and hear; or able.
enum cn_bus_state { CN_BUS_CONNECTING, CN_BUS_UP };

// X(symbol, word): why a bus is not up.
#define CN_BUS_CAUSE_TABLE(X)                                                                      \
    X(STARTING, "starting")                                                                        \
    X(CONNECT, "connect") /* no connection can be made */                                          \
    X(TLS, "tls")         /* no trust in who answers there, or the other way round */              \
    X(CLOSED, "closed")   /* a connection broke */                                                 \
    X(SILENT, "silent")   /* a connection gave no answer in time */                                \
    X(AUTH, "auth")       /* user or password are wrong */                                         \
    X(REPLICA, "replica") /* it is not the master */                                               \
    X(BUSY, "busy")       /* it loads, or runs a slow script, or is too crowded */                 \
    X(STRANGE, "strange") /* it is no Redis, or none that will do */                               \
    X(MEMORY, "memory")   /* this node is short of memory */

enum cn_bus_cause {
#define X(symbol, word) CN_CAUSE_##symbol,
    CN_BUS_CAUSE_TABLE(X)
#undef X
        CN_BUS_CAUSES
};

// The word of the table. Any thread.
const char *cn_bus_cause_word(enum cn_bus_cause cause);

// An entry of a log as read back: finished text and its position.
struct cn_entry {
    struct cn_pos pos;
    struct cn_str text;
};

// A page of a log. Entries are in rising order. It may hold fewer than asked for although there are
// more: redis cuts a page at about 1 MiB of text, and entries that no node has written are left
// out.
struct cn_page {
    enum cn_err err; // CN_OK, CN_UNAVAILABLE, CN_REFUSED, CN_FULL, CN_NOMEM
    const struct cn_entry *entries;
    size_t count;
    bool exact;         // reads after a position: that entry is still in the log (or it was 0-0 and
                        // nothing was ever trimmed), so nothing is missing between it and the page
    bool more;          // the log goes on in the direction of the read
    struct cn_pos edge; // of the entry looked at last, in the direction of the read, also one that
                        // was left out: where to go on; 0-0 if none
    struct cn_pos tail; // the newest entry's position at the moment of the read, 0-0 if none
};

enum cn_read_kind {
    CN_READ_AFTER,  // the oldest `limit` entries after `from`
    CN_READ_BEFORE, // the newest `limit` entries before `from`
    CN_READ_NEWEST  // the newest `limit` entries
};

// One read; made by the caller with malloc(3), owned by the bus from cn_bus_read until `done`
// returns, then freed with free(3) together with `context`.
struct cn_read {
    struct cn_link link; // the bus's, like the next three; need not be initialised
    struct cn_bus *bus;
    unsigned flights;
    bool answered;
    int64_t deadline_ms; // as in cn_publish
    struct cn_channel_name channel;
    enum cn_read_kind kind;
    struct cn_pos from;
    unsigned limit; // 1 to 512
    // Called exactly once; the page and its texts are borrowed for the call.
    void (*done)(void *arg, const struct cn_read *read, const struct cn_page *page);
    void *arg;
    uint64_t session; // the caller's own, carried along
    int purpose;      // the caller's own
    void *context;    // the caller's own; freed with free(3)
};

// What the bus tells its user. All on the main thread.
struct cn_bus_events {
    void *arg;
    // The subscription of `channel` stands: each entry after `tail` will come by on_entry. Once per
    // subscription, not again after a reconnect.
    void (*on_open)(void *arg, const struct cn_channel_name *channel, struct cn_pos tail);
    // The next entry: positions rise without a hole from on_open's tail, also over reconnects.
    void (*on_entry)(void *arg, const struct cn_channel_name *channel, struct cn_pos pos,
                     struct cn_str text);
    // Continuity is broken: entries between the last one told and `tail` may be missing and will
    // not be told. Entries after `tail` come by on_entry.
    void (*on_reset)(void *arg, const struct cn_channel_name *channel, struct cn_pos tail);
    // The state changed, or its cause while not up; `why` is a short static or borrowed text.
    void (*on_state)(void *arg, enum cn_bus_state state, enum cn_bus_cause cause, const char *why);
    // What an ack promises is known, or changed. `store` is NULL for the bus in memory.
    void (*on_durability)(void *arg, enum cn_durability durability, const struct cn_store *store);
    // The bus can never work as configured (a Redis that is too old): the node exits with 78.
    void (*on_fatal)(void *arg, const char *why);
    // A notice of any node, this one's as well; at least once while the bus is up. Those that are
    // kept come `again` after each (re)connect, and then on_noticed: all that is kept was told.
    void (*on_notice)(void *arg, struct cn_str text, bool again);
    void (*on_noticed)(void *arg);
};

// Settings of a bus; copied.
struct cn_bus_options {
    const char *url;             // redis only
    const char *prefix;          // redis only
    const char *ca, *cert, *key; // rediss:// only: paths, see cn_tls_files; read at each connection
    const char *node;            // the node's name, for the connections' names
    size_t history_messages;
    int64_t history_ttl_s;
    int64_t dedupe_ttl_s;
    size_t queue;             // publishes and reads that may wait at once
    size_t entry_bytes;       // an entry's text at most
    const char *keys;         // of the seals, see cn_sealer_new; empty: none. Not used by memory
    bool takes_unsealed;      // entries without a seal are believed in spite of keys
    const char *notices_path; // memory only: the file that keeps notices; empty: none
    // What an ack must promise at least; UNKNOWN: nothing. Publishes are refused while it cannot.
    enum cn_durability required;
    // Redis only:
    int64_t watchdog_ms;     // a connection silent for so long is made anew
    size_t held_messages;    // live messages of one channel held during its catch-up
    int64_t check_ms;        // each channel's end is compared with its log this often; 0: never
    int64_t replay_ms;       // acked publishes of so long are submitted again after a failover
    size_t replay_bytes;     // of them at most; 0: none
    int64_t replica_wait_ms; // how long an ack may wait for a replica; under half of watchdog
};

// Makes the bus for `options->url` (NULL or empty: memory) in *out; copies all it needs. CN_NOMEM;
// CN_INVALID: *why says what is wrong (static text).
CN_MUSTCHECK enum cn_err cn_bus_new(struct cn_reactor *reactor,
                                    const struct cn_bus_options *options,
                                    const struct cn_bus_events *events, struct cn_bus **out,
                                    const char **why);

// Begins; the first on_state follows. Does not block.
CN_MUSTCHECK enum cn_err cn_bus_start(struct cn_bus *bus);

// Answers what is pending with CN_UNAVAILABLE and frees the bus. Takes NULL.
void cn_bus_free(struct cn_bus *bus);

const char *cn_bus_name(const struct cn_bus *bus); // "memory" or "redis"
enum cn_bus_state cn_bus_state(const struct cn_bus *bus);

// Publishes and reads waiting for an answer.
size_t cn_bus_pending(const struct cn_bus *bus);

// The counters, borrowed.
const struct cn_bus_stats *cn_bus_stats(const struct cn_bus *bus);

// Takes the publish (sets *publish to NULL); `done` is called exactly once, at the deadline at the
// latest. While the bus is down it waits until the deadline for the bus to return.
void cn_bus_publish_take(struct cn_bus *bus, struct cn_publish **publish);

// The publish, which is complete, will be taken soon: what the bus will need for it
// may come from far memory meanwhile. A hint; it stays the caller's.
void cn_bus_publish_expect(struct cn_bus *bus, struct cn_publish *publish);

// Takes the read (sets *read to NULL); as cn_bus_publish_take.
void cn_bus_read_take(struct cn_bus *bus, struct cn_read **read);

// on_open answers as soon as the bus is up. CN_NOMEM: it is not subscribed.
CN_MUSTCHECK enum cn_err cn_bus_subscribe(struct cn_bus *bus, const struct cn_channel_name *name);
void cn_bus_unsubscribe(struct cn_bus *bus, const struct cn_channel_name *channel);

// Keys of the seals from now on; entries under way keep the seal that they have. CN_INVALID: *why
// says what is wrong (static text), CN_NOMEM, CN_SYSTEM: nothing was changed.
CN_MUSTCHECK enum cn_err cn_bus_rekey(struct cn_bus *bus, const char *keys, bool takes_unsealed,
                                      const char **why);

// Notices: what every node must hear. A text is an object of JSON; so many may be kept.
enum { CN_NOTICE_BYTES_MAX = 1024, CN_NOTICES_MAX = 16384 };

// Tells every node `text`, and keeps it for those that come later until `until_ms`
// (cn_clock_wall_ms; 0: it is not kept). `done` is called exactly once: CN_OK: it is stored;
// CN_UNAVAILABLE: not known to be; CN_REFUSED; CN_NOSPACE: too many are kept; CN_FULL: too many are
// under way; CN_NOMEM.
void cn_bus_notify(struct cn_bus *bus, struct cn_str text, int64_t until_ms,
                   void (*done)(void *arg, enum cn_err err), void *arg);

#endif
