// SPDX-License-Identifier: MIT
// What the files of bus/ share: the generic part of a bus, and what it offers its implementations.
#ifndef CHATNODE_BUS_PRIVATE_H
#define CHATNODE_BUS_PRIVATE_H

#include "chatnode/bus.h"

// A notice on its way; the bus's until cn_bus_noticed.
struct cn_notice {
    struct cn_bus *bus;
    void (*done)(void *arg, enum cn_err err);
    void *arg;
    int64_t until_ms;
    size_t len; // of the text, which has room for a seal
    char text[CN_NOTICE_BYTES_MAX + CN_SEAL_BYTES];
};

// What an implementation provides. The generic part (bus.c) has checked the arguments, keeps the
// pending publishes and their deadlines, and calls these on the main thread.
struct cn_bus_ops {
    const char *name; // "memory", "redis"
    // Starts working towards CN_BUS_UP; does not block. Once.
    enum cn_err (*start)(struct cn_bus *bus);
    // Sends one publish that stands in the bus's pending list; answers with cn_bus_published. The
    // implementation must find it by its link's owner again if its link breaks: it is asked to send
    // all that is pending by its own reconnect, through cn_bus_each_pending.
    void (*publish)(struct cn_bus *bus, struct cn_publish *publish);
    // The publish will be taken soon: has memory on its way that it will need. May be NULL.
    void (*expect)(struct cn_bus *bus, struct cn_publish *publish);
    // The channel gets its first local subscriber (CN_NOMEM: it does not) / has lost its last one.
    // Never twice in a row.
    enum cn_err (*subscribe)(struct cn_bus *bus, const struct cn_channel_name *channel);
    void (*unsubscribe)(struct cn_bus *bus, const struct cn_channel_name *channel);
    // Sends one read that stands in the pending list; answers with cn_bus_answered.
    void (*read)(struct cn_bus *bus, struct cn_read *read);
    // Sends one notice; answers with cn_bus_noticed.
    void (*notify)(struct cn_bus *bus, struct cn_notice *notice);
    // Stops at once; no event comes after it. Pending requests are answered by bus.c.
    void (*stop)(struct cn_bus *bus);
    void (*free)(struct cn_bus *bus);
};

// The generic part; each implementation's struct begins with it. Main thread only.
struct cn_bus {
    const struct cn_bus_ops *ops;
    struct cn_reactor *reactor;
    struct cn_bus_options options; // the texts are the bus's own copies
    struct cn_bus_events events;
    enum cn_bus_state state;
    enum cn_bus_cause cause;  // while it is not up, as last told
    bool stopped;             // nothing is sent any more; requests are answered at once
    struct cn_link publishes; // waiting for an answer, in the order of their coming
    struct cn_link reads;     // likewise
    size_t pending;           // in both lists
    size_t lingering;         // answered, but a command under way still refers to them
    struct cn_timer *sweep;   // answers what has passed its deadline
    int64_t sweep_at_ms;      // when it fires; 0: not started
    size_t notices;           // on their way, at most CN_BUS_NOTICES_MAX
    struct cn_sealer *sealer; // NULL: nothing is sealed, and no seal is looked at
    struct cn_bus_stats stats;
};

enum {
    CN_BUS_NOTICES_MAX = 64,
    // What the finished text of an entry has around its body: {"pos":"...","ts":...,
    CN_BUS_ENTRY_OVERHEAD = 9 + CN_POS_TEXT_BYTES + 2 + 5 + 20 + 1
};

// Make the implementations; the options and events are copied by cn_bus_new afterwards, so that
// only what is needed to build them is looked at here. As cn_bus_new.
CN_MUSTCHECK enum cn_err cn_bus_new_memory(const struct cn_bus_options *options,
                                           struct cn_bus **out, const char **why);
CN_MUSTCHECK enum cn_err cn_bus_new_redis(const struct cn_bus_options *options, struct cn_bus **out,
                                          const char **why);

// Answers a publish or a read: calls `done` unless its deadline was before (counted as late). The
// request may be gone afterwards, unless a flight of it is still open.
void cn_bus_published(struct cn_bus *bus, struct cn_publish *publish,
                      const struct cn_published *result);
void cn_bus_answered(struct cn_bus *bus, struct cn_read *read, const struct cn_page *page);

// Answers a notice and frees it.
void cn_bus_noticed(struct cn_notice *notice, enum cn_err err);

// The implementation begins / ends to refer to a request that may be answered meanwhile. At the
// last end an answered one is freed.
void cn_bus_publish_depart(struct cn_publish *publish);
void cn_bus_publish_arrive(struct cn_publish *publish);
void cn_bus_read_depart(struct cn_read *read);
void cn_bus_read_arrive(struct cn_read *read);

// Hands every pending request that has no open flight to ops->publish or ops->read again, each
// kind in the order of coming.
void cn_bus_each_pending(struct cn_bus *bus);

// Tells on_state when `state` is another one than before, or still not up, for another `cause`.
void cn_bus_set_state(struct cn_bus *bus, enum cn_bus_state state, enum cn_bus_cause cause,
                      const char *why);

#endif
