// SPDX-License-Identifier: MIT
// What the files of the hub share: the hub itself, and the ways between its parts.
#ifndef CHATNODE_HUB_PRIVATE_H
#define CHATNODE_HUB_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "chatnode/api.h"
#include "chatnode/bus.h"
#include "chatnode/codec.h"
#include "chatnode/config.h"
#include "chatnode/feed.h"
#include "chatnode/frame.h"
#include "chatnode/hash.h"
#include "chatnode/heap.h"
#include "chatnode/hub.h"
#include "chatnode/list.h"
#include "chatnode/loop.h"
#include "chatnode/metrics_table.h"
#include "chatnode/reactor.h"
#include "chatnode/session.h"

#include "api_private.h"
#include "commands_private.h"
#include "log_private.h"
#include "pass_private.h"
#include "publish_private.h"
#include "revocation_private.h"
#include "session_private.h"
#include "supervisor_private.h"

// ---- hub.c ----

struct cn_hub {
    // Constant after cn_hub_new; any thread.
    const struct cn_config *config;
    struct cn_reactor *reactor;
    const char *node_name;
    struct cn_registry *registry;
    struct cn_loop **loops;
    unsigned loop_count;
    void (*on_fatal)(void *arg, const char *why);
    void *arg;
    int64_t started_ms;
    uint64_t nonce; // of this run, in the ids that the node makes up
    enum cn_durability required;
    struct cn_auth *auth;           // NULL: open mode
    struct cn_throttles *throttles; // NULL: nothing is limited; has locks of its own
    // Any thread.
    struct cn_revocations *revocations; // with a lock of its own
    struct cn_mailbox asks;             // of struct cn_ask; main reads
    atomic_bool draining;
    atomic_bool bus_up;
    atomic_int bus_cause;  // enum cn_bus_cause, while it is not up
    atomic_int durability; // enum cn_durability
    atomic_bool store_evicts;
    atomic_uint store_replicas;
    atomic_uint api_waiting; // publishes of the HTTP API under way, at most CN_API_WAITING_MAX
    // Main thread.
    struct cn_bus *bus;
    struct cn_hash channels;       // of struct cn_channel
    struct cn_link missed;         // channels whose entries found a full mailbox
    struct cn_link postponed;      // asks to follow a channel that found no memory
    struct cn_timer *missed_timer; // for both
    struct cn_timer *report_timer;
    struct cn_bus_stats reported; // in the metrics already
    int64_t reported_pending;
    uint64_t reported_lost;   // lines of the log
    struct cn_heap heap;      // of sessions and channels
    struct cn_heap_flow flow; // of messages
    struct cn_pool letters;   // of feed letters
    struct cn_frame_pools frames;
};

// What a loop asks of main. `read` runs on the main thread and disposes of it.
struct cn_ask {
    struct cn_mail mail;
    void (*read)(struct cn_ask *ask, struct cn_hub *hub);
};

// Puts an ask into main's mailbox, or disposes of it; the loop's thread. CN_FULL, CN_CLOSED.
CN_MUSTCHECK enum cn_err cn_hub_put(struct cn_loop *loop, struct cn_ask *ask);

// The same for a session, which then has one more in flight; the session's loop.
CN_MUSTCHECK enum cn_err cn_hub_ask(struct cn_session *session, struct cn_ask *ask);

// ---- channel.c: main's table of the channels that its loops have members in; main thread ----

// Asks main to let the loop follow the channel, or not to; the loop's thread. CN_NOMEM.
enum cn_follow {
    CN_FOLLOW,          // bounded by the number of sessions
    CN_FOLLOW_IF_ROOM,  // at a client's will: CN_FULL when main has too much to do
    CN_FOLLOW_NO_LONGER // bounded by the number of follows
};
CN_MUSTCHECK enum cn_err cn_channel_ask(struct cn_loop *loop, const struct cn_channel_name *name,
                                        enum cn_follow how);

// Main's pool of letters about feeds.
void cn_channel_pool_init(struct cn_pool *pool);

// What the bus tells, passed on to the loops; the functions of struct cn_bus_events.
void cn_channel_on_open(void *arg, const struct cn_channel_name *name, struct cn_pos tail);
void cn_channel_on_entry(void *arg, const struct cn_channel_name *name, struct cn_pos pos,
                         struct cn_str text);
void cn_channel_on_reset(void *arg, const struct cn_channel_name *name, struct cn_pos tail);

// Tells loops that had no room what they missed, follows channels that found no memory; the hub's
// timer.
void cn_channel_retry_missed(void *arg);

// Frees the table.
void cn_channels_free(struct cn_hub *hub);

// ---- fanout.c: frames to members ----

// Appends an entry's frame to the feed's ring and marks it for flushing.
void cn_fanout_append(struct cn_loop *loop, struct cn_feed *feed, struct cn_frame *frame);

// Entries up to `tail` are missing: members go on from history.
void cn_fanout_skip(struct cn_loop *loop, struct cn_feed *feed, struct cn_pos tail);

// Continuity is lost: `gap` goes to all members, and the channel goes on after `tail`.
void cn_fanout_reset(struct cn_loop *loop, struct cn_feed *feed, struct cn_pos tail,
                     struct cn_frame *gap);

// Flushes pending feeds if the pacing allows; returns in how many ms it wants to go on, -1: done.
CN_MUSTCHECK int64_t cn_fanout_flush(struct cn_loop *loop);

// Empties the rings of feeds that have been silent for a while. For cn_loop_tick.
void cn_fanout_sweep(struct cn_loop *loop, int64_t now_ms);

// Serves the members of `session` that are behind, until all are level or the socket is full.
void cn_fanout_serve(struct cn_session *session);

// The member is behind: it is served when the socket allows. `lag` is for one that kept up until
// now, and counts that.
void cn_fanout_lag(struct cn_member *member);
void cn_fanout_due(struct cn_member *member);

// ---- recovery.c: how a member gets from its last position to the present ----

struct cn_recovery_order {
    bool has_since; // resume from here
    struct cn_pos since;
    bool newest;      // without `since`: the newest entries first
    bool patient;     // waits for the bus as long as it takes; else an error after the deadline
    bool has_gap;     // without `since`: it asked for one that it may not have, and is told
    struct cn_str id; // of the join; absent: none
};

// Prepares the recovery of a new member and begins it as soon as the feed is live. CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_recovery_new(struct cn_member *member,
                                         const struct cn_recovery_order *order);
void cn_recovery_free(struct cn_recovery *recovery); // takes NULL

// The member's feed has become live.
void cn_recovery_begin(struct cn_member *member);

// A lagging member has fallen off the ring: it goes on from the log.
void cn_recovery_fall(struct cn_member *member);

// Writes the next frames of the page at hand, or asks for a page; the socket is free.
void cn_recovery_serve(struct cn_member *member);

// The session's socket is full: its members give their pages back and keep only their positions.
void cn_recovery_stall(struct cn_session *session);

// The feed's channel begins anew: what members waited for may never come.
void cn_recovery_reset(struct cn_feed *feed);

// What the member is owed is not for it any more: it is told of a gap and goes on with what comes.
void cn_recovery_forgo(struct cn_member *member);

// The member's join gives way to another request: if it has an id and no answer yet, it gets one.
void cn_recovery_supersede(struct cn_member *member);

// The feed has come further: members that were ahead of it, because the log told them more than the
// bus had told the feed, go on with it once it has reached them.
void cn_recovery_level(struct cn_feed *feed);

// Gives up joins whose feed did not become live in time, asks again for pages that failed.
void cn_recovery_sweep(struct cn_loop *loop, int64_t now_ms);

// ---- membership (cmd_room.c) ----

// The loop's feed of the channel, borrowed, or NULL.
struct cn_feed *cn_feed_find(struct cn_loop *loop, const struct cn_channel_name *name);

// Makes the session a member of the channel. CN_EXISTS: it is one; CN_FULL: main has too much to
// do; CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_member_join(struct cn_session *session,
                                        const struct cn_channel_name *name,
                                        const struct cn_recovery_order *order);

// The session's member in the channel, or NULL.
struct cn_member *cn_member_find(struct cn_session *session, const struct cn_channel_name *name);

// Ends a membership and, with the last one, the feed.
void cn_member_leave(struct cn_member *member);

// Notes whether the member is behind, for the gauge.
void cn_member_set_behind(struct cn_member *member, bool behind);

// The feed's channel is not followed by main any more: reopens or frees it.
void cn_feed_on_closed(struct cn_loop *loop, struct cn_feed *feed);

#endif
