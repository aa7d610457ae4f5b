// SPDX-License-Identifier: MIT
// A feed: one loop's share of a channel, that is its members there and the ring of recent frames.
// Everything belongs to the loop's thread.
#ifndef CHATNODE_FEED_H
#define CHATNODE_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/hash.h"
#include "chatnode/list.h"
#include "chatnode/name.h"
#include "chatnode/pos.h"
#include "chatnode/ring.h"

struct cn_recovery;
struct cn_session;

enum cn_feed_state {
    CN_FEED_OPENING, // main was asked to subscribe; members wait
    CN_FEED_LIVE,    // the ring follows the channel
    CN_FEED_CLOSING  // the last member left, main was asked to unsubscribe; new members wait
};

struct cn_feed {
    struct cn_hash_node by_name; // in the loop's table; its key is the channel's name
    struct cn_link turn;         // in the loop's pending list while frames wait to be flushed, then
                                 // in its warm list while the ring keeps them
    struct cn_link ahead;        // of struct cn_recovery: members that know more than the feed
    struct cn_link shelf;        // pages of the log, here or under way, that members share
    struct cn_link queue;        // of struct cn_recovery: members that wait to read the log
    unsigned reads;              // of the shelf's, under way
    enum cn_feed_state state;
    struct cn_member **members; // dense, in no order; `first` while there is only one
    struct cn_member *first[1];
    uint32_t count;
    uint32_t cap;
    uint32_t cursor;   // the member at which the pass under way goes on
    uint32_t warm_s;   // in the warm list: since when
    uint64_t flushed;  // every live member that keeps up has all frames before this ordinal
    uint64_t pass_end; // the pass under way brings them to here; `flushed` when there is none
    struct cn_ring ring;
    struct cn_pos flushed_pos; // the position that goes with `flushed`
    struct cn_pos tail;        // the newest position known
    char name[];               // of by_name.key
};

enum cn_member_state {
    CN_MEMBER_WAITING,   // the feed is not live yet
    CN_MEMBER_REPLAYING, // is being served from the log; `recovery` says how
    CN_MEMBER_LIVE       // is served from the ring
};

// One session in one feed. Its memory is the same whether it keeps up or lags.
struct cn_member {
    // What the fan-out looks at, in one cache line.
    struct cn_session *session;
    uint64_t next;     // live: the ordinal that it gets next
    struct cn_pos pos; // of the last entry that it got; kept only while it is behind
    uint32_t index;    // in feed->members
    uint8_t state;     // enum cn_member_state
    bool behind;       // counted as such
    struct cn_feed *feed;
    // The rest.
    struct cn_recovery *recovery; // until it is live and its join is answered; else NULL
    struct cn_link of_session;    // in the session's list of members
    struct cn_link lagging;       // in the session's list while it is behind the ring
};

struct cn_feed_bounds {
    size_t ring_frames;
    size_t ring_bytes;
};

// A feed in state OPENING without members, or NULL without memory.
CN_MUSTCHECK struct cn_feed *cn_feed_new(const struct cn_channel_name *name,
                                         const struct cn_feed_bounds *bounds);

// The name of the feed's channel.
static inline struct cn_channel_name cn_feed_name(const struct cn_feed *feed)
{
    return cn_channel_name_of(feed->by_name.key);
}

// Frees it; it must have no members and be in no table. Takes NULL.
void cn_feed_free(struct cn_feed *feed);

// The feed follows the channel from `tail` on: OPENING becomes LIVE.
void cn_feed_open(struct cn_feed *feed, struct cn_pos tail);

// The feed follows the channel no more: OPENING or LIVE becomes CLOSING, its frames are released.
void cn_feed_close(struct cn_feed *feed);

// Adds a member; `member` must be zeroed but for `session`. CN_NOMEM. O(1).
CN_MUSTCHECK enum cn_err cn_feed_add(struct cn_feed *feed, struct cn_member *member);

// Takes a member out, also in the middle of a pass. O(1).
void cn_feed_remove(struct cn_feed *feed, struct cn_member *member);

#endif
