// SPDX-License-Identifier: MIT
// What the files of bus/ share: the generic part of a bus, and what it offers its implementations.
#ifndef CHATNODE_BUS_PRIVATE_H
#define CHATNODE_BUS_PRIVATE_H

#include "chatnode/bus.h"

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
    struct cn_bus_stats stats;
};

enum {
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
