// SPDX-License-Identifier: MIT
// A publish on its way through the bus, and how it turned out.
#ifndef CHATNODE_BUS_PUBLISH_H
#define CHATNODE_BUS_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/list.h"
#include "chatnode/name.h"
#include "chatnode/pos.h"
#include "chatnode/ref.h"

struct cn_bus;

// How the answer to a publish turned out.
struct cn_published {
    enum cn_err err;   // CN_OK: stored (now or, with dup, before). CN_UNAVAILABLE: not known to be
                       // stored within the deadline. CN_REFUSED: the store said no. CN_NOSPACE: it
                       // is full. CN_NOTDURABLE: it is not as durable as the option `required`
                       // asks; it may be stored all the same. CN_FULL: the queue is full, nothing
                       // was sent. CN_NOMEM.
    struct cn_pos pos; // of the entry
    int64_t ts_ms;     // of the entry, the bus's clock
    bool dup;          // the (user, channel, id) was stored before
};

// One publish; made by cn_publish_new, owned by the bus from cn_bus_publish until `done` returns.
struct cn_publish {
    struct cn_link link; // the bus's, like the next four
    struct cn_bus *bus;
    uint64_t hash;    // of its dedupe key, once it was computed; else 0
    unsigned flights; // commands under way that refer to it; it is kept until there is none
    bool answered;
    struct cn_ref ref;   // one is the bus's; who holds another keeps the memory, to which it may
                         // then write nothing but the context
    int64_t deadline_ms; // cn_clock_ms() when it must be answered at the latest
    struct cn_channel_name channel;
    char user[CN_NAME_MAX + 1];
    char id[CN_NAME_MAX + 1]; // the dedupe key together with user and channel; never empty
    // Called exactly once with the result; `publish` is given back after it returns.
    void (*done)(void *arg, const struct cn_publish *publish, const struct cn_published *result);
    void *arg;
    // The caller's own, carried along:
    uint64_t session;
    bool has_ack;  // somebody is told when it is stored
    int leg;       // which part of a directed message this is
    void *context; // as large as cn_publish_new was told, or NULL; freed with the publish
    size_t body_len;
    size_t seal_len; // of the seal that the bus puts behind the body; 0: none, or not yet
    char body[];     // the entry's body, see chatnode/codec.h, and room for its seal
};

// A zeroed publish with a copy of `body` and a zeroed context, all one allocation; NULL without
// memory.
CN_MUSTCHECK struct cn_publish *cn_publish_new(struct cn_str body, size_t context_bytes);

// The same in memory of the caller's, cn_publish_bytes of it, which came from malloc(3).
size_t cn_publish_bytes(size_t body_len, size_t context_bytes);
struct cn_publish *cn_publish_make(void *memory, struct cn_str body, size_t context_bytes);

// Gives a reference back: that of one that was never handed to the bus, or another one. With the
// last it is freed with its context. Any thread. Takes NULL.
void cn_publish_free(struct cn_publish *publish);

#endif
