// SPDX-License-Identifier: MIT
// The subscriptions of the Redis bus: channels, their continuity, the slow check. Main thread only.
#ifndef CHATNODE_REDIS_SUBS_H
#define CHATNODE_REDIS_SUBS_H

#include <hiredis/async.h>

#include "redis_wire.h"

#include "chatnode/hash.h"

// ---- redis_sub.c, redis_catchup.c ----

struct cn_redis_bus;

// What is known to Redis about a subscription.
enum cn_redis_wire { CN_REDIS_OUT, CN_REDIS_JOINING, CN_REDIS_IN, CN_REDIS_LEAVING };

// A live message that waits for its turn.
struct cn_redis_held {
    struct cn_redis_held *next;
    struct cn_pos pos;
    size_t len;
    char text[];
};

struct cn_redis_flight;

// One subscribed channel, or one whose UNSUBSCRIBE is not confirmed yet.
struct cn_redis_channel {
    struct cn_hash_node node;       // its key is the name
    struct cn_link dirty;           // in subs.dirty while `wire` must be changed
    struct cn_link turn;            // in subs.reads or subs.later while it waits for its read
    struct cn_link check;           // in subs.checks
    struct cn_redis_flight *flight; // the read under way
    struct cn_redis_held *oldest;   // held messages in the order of their coming
    struct cn_redis_held *newest;
    struct cn_pos last; // the newest position told
    uint32_t held;
    uint32_t held_before_read; // the first of them came before the read was sent
    uint32_t epoch;            // counts subscriptions, to notice one that ended in a callback
    struct cn_pos suspect_at;  // `last` at that check
    uint8_t wire;              // enum cn_redis_wire
    bool wanted;               // there is a subscriber
    bool opened;               // on_open was told
    bool live;                 // no read is due: messages are told as they come
    bool suspect;              // its log ended elsewhere at the last check
    bool again;                // held messages were dropped since the read was sent
    char name[];               // of node.key
};

static inline struct cn_channel_name cn_redis_channel_name(const struct cn_redis_channel *channel)
{
    return cn_channel_name_of(channel->node.key);
}

enum { CN_REDIS_BATCH = 512 };

struct cn_redis_subs {
    struct cn_hash channels;
    struct cn_link dirty;
    struct cn_link reads;  // channels that wait for a read
    struct cn_link later;  // channels whose read was refused, tried again after a while
    struct cn_link checks; // all channels, by the time of their last check
    size_t in_flight;
    struct cn_timer *flush; // fires in the next turn: changes are sent in batches
    struct cn_timer *retry;
    struct cn_str args[CN_REDIS_BATCH + 1];
    struct cn_redis_key keys[CN_REDIS_BATCH];
};

// hiredis' callback of all that comes on the sub link.
void cn_redis_subs_on_push(redisAsyncContext *ac, void *reply, void *redis);

CN_MUSTCHECK enum cn_err cn_redis_subs_start(struct cn_redis_bus *redis);
void cn_redis_subs_init(struct cn_redis_subs *subs);
void cn_redis_subs_fini(struct cn_redis_subs *subs);

// The channel, or NULL.
struct cn_redis_channel *cn_redis_subs_find(const struct cn_redis_subs *subs,
                                            const struct cn_channel_name *name);

CN_MUSTCHECK enum cn_err cn_redis_subs_subscribe(struct cn_redis_bus *redis,
                                                 const struct cn_channel_name *name);
void cn_redis_subs_unsubscribe(struct cn_redis_bus *redis, const struct cn_channel_name *name);

// The sub link came up / went down; `beat` subscribes to the heartbeat channel again.
void cn_redis_subs_up(struct cn_redis_bus *redis);
void cn_redis_subs_down(struct cn_redis_bus *redis);
void cn_redis_subs_beat(struct cn_redis_bus *redis);

// The channel must be read: it was confirmed, or a hole was seen.
void cn_redis_catchup_begin(struct cn_redis_bus *redis, struct cn_redis_channel *channel);

// Sends reads as far as the bound and the cmd link allow.
void cn_redis_catchup_pump(struct cn_redis_bus *redis);

// A live message came: told, held or dropped.
void cn_redis_catchup_live(struct cn_redis_bus *redis, struct cn_redis_channel *channel,
                           struct cn_pos pos, struct cn_str text);

// Forgets what is held and under way for the channel.
void cn_redis_catchup_cancel(struct cn_redis_channel *channel);

// Timer: those refused are tried again.
void cn_redis_catchup_retry(struct cn_redis_bus *redis);

// ---- redis_check.c ----

// Compares as many channels with their logs as are due when `passed_ms` have passed.
void cn_redis_check(struct cn_redis_bus *redis, int64_t passed_ms);

#endif
