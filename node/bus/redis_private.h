// SPDX-License-Identifier: MIT
// What the files of the Redis bus share. Main thread only, like the bus itself.
#ifndef CHATNODE_REDIS_PRIVATE_H
#define CHATNODE_REDIS_PRIVATE_H

#include "bus_private.h"
#include "redis_link.h"

#include "chatnode/hash.h"

// ---- redis_keys.c ----

enum { CN_REDIS_PREFIX_MAX = 128, CN_REDIS_KEY_BYTES = CN_REDIS_PREFIX_MAX + 3 * 66 + 16 };

struct cn_redis_keys {
    char prefix[CN_REDIS_PREFIX_MAX + 1];
    size_t prefix_len;
    int db;
};

struct cn_redis_key {
    size_t len;
    char text[CN_REDIS_KEY_BYTES];
};

static inline struct cn_str cn_redis_key_str(const struct cn_redis_key *key)
{
    return (struct cn_str){key->text, key->len};
}

// CN_FULL when the prefix is too long.
CN_MUSTCHECK enum cn_err cn_redis_keys_init(struct cn_redis_keys *keys, struct cn_str prefix,
                                            int db);

// The stream, the hash with its lineage, the string that remembers an id, the pub/sub channel.
void cn_redis_keys_log(const struct cn_redis_keys *keys, const struct cn_channel_name *channel,
                       struct cn_redis_key *out);
void cn_redis_keys_meta(const struct cn_redis_keys *keys, const struct cn_channel_name *channel,
                        struct cn_redis_key *out);
void cn_redis_keys_id(const struct cn_redis_keys *keys, const struct cn_channel_name *channel,
                      const char *user, const char *id, struct cn_redis_key *out);
void cn_redis_keys_channel(const struct cn_redis_keys *keys, const struct cn_channel_name *channel,
                           struct cn_redis_key *out);

// A pub/sub channel that nobody publishes to.
void cn_redis_keys_heartbeat(const struct cn_redis_keys *keys, struct cn_redis_key *out);

// The channel that the pub/sub channel `text` stands for; CN_INVALID if it is none of ours.
CN_MUSTCHECK enum cn_err cn_redis_keys_parse_channel(const struct cn_redis_keys *keys,
                                                     struct cn_str text,
                                                     struct cn_channel_name *out);

// ---- redis_script.c ----

enum cn_redis_script { CN_REDIS_SCRIPT_PUBLISH, CN_REDIS_SCRIPT_READ, CN_REDIS_SCRIPT_COUNT };

struct cn_str cn_redis_script_text(enum cn_redis_script script);

// ---- redis_reply.c ----

// What an answer to a script means.
enum cn_redis_outcome {
    CN_REDIS_DONE,
    CN_REDIS_LOST,     // no answer: the connection broke
    CN_REDIS_REFUSED,  // the store says no to this command
    CN_REDIS_READONLY, // it says no because it is not the master any more
    CN_REDIS_NOSCRIPT, // the scripts must be loaded again
    CN_REDIS_RETRY     // not now: the connection is made anew
};

enum cn_redis_outcome cn_redis_reply_outcome(const redisReply *reply);

// Reads the publish script's answer; CN_INVALID if it is not well-formed.
CN_MUSTCHECK enum cn_err cn_redis_reply_published(const redisReply *reply,
                                                  struct cn_published *out);

// A page with its entries' memory.
struct cn_redis_page {
    struct cn_page page;
    struct cn_pos end; // of the last entry that Redis gave in the order of the page, also a bad one
    size_t bad;        // entries left out
    struct cn_entry *owned;
};

// Reads the read script's answer; the texts are borrowed from it. CN_INVALID, CN_NOMEM: nothing is
// owned then; otherwise cn_redis_page_fini is due.
CN_MUSTCHECK enum cn_err cn_redis_reply_page(const redisReply *reply, size_t entry_bytes,
                                             struct cn_redis_page *out);
void cn_redis_page_fini(struct cn_redis_page *page);

// Copies the value of `field` of an INFO text; false if it is missing or too long.
bool cn_redis_reply_info(const redisReply *reply, const char *field, char *out, size_t size);

// ---- redis_sub.c, redis_catchup.c: the subscriptions ----

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
    struct cn_hash_node node;
    struct cn_link dirty;           // in subs.dirty while `wire` must be changed
    struct cn_link turn;            // in subs.reads or subs.later while it waits for its read
    struct cn_redis_flight *flight; // the read under way
    struct cn_redis_held *oldest;   // held messages in the order of their coming
    struct cn_redis_held *newest;
    struct cn_pos last; // the newest position told
    uint32_t held;
    uint32_t held_before_read; // the first of them came before the read was sent
    uint32_t epoch;            // counts subscriptions, to notice one that ended in a callback
    uint8_t wire;              // enum cn_redis_wire
    bool wanted;               // there is a subscriber
    bool opened;               // on_open was told
    bool live;                 // no read is due: messages are told as they come
    bool again;                // held messages were dropped since the read was sent
    struct cn_channel_name name;
};

enum { CN_REDIS_BATCH = 512 };

struct cn_redis_subs {
    struct cn_hash channels;
    struct cn_link dirty;
    struct cn_link reads; // channels that wait for a read
    struct cn_link later; // channels whose read was refused, tried again after a while
    size_t in_flight;
    struct cn_timer *flush; // fires in the next turn: changes are sent in batches
    struct cn_timer *retry;
    struct cn_str args[CN_REDIS_BATCH + 1];
    struct cn_redis_key keys[CN_REDIS_BATCH];
};

CN_MUSTCHECK enum cn_err cn_redis_subs_start(struct cn_redis_bus *redis);
void cn_redis_subs_init(struct cn_redis_subs *subs);
void cn_redis_subs_fini(struct cn_redis_subs *subs);

void cn_redis_subs_subscribe(struct cn_redis_bus *redis, const struct cn_channel_name *name);
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

// ---- bus_redis.c ----

enum { CN_REDIS_CAUSES = 4 };

struct cn_redis_cause {
    char text[160];
    int64_t logged_ms;
};

struct cn_redis_bus {
    struct cn_bus base;
    struct cn_redis_url url;
    struct cn_redis_keys keys;
    struct cn_redis_link *cmd;
    struct cn_redis_link *sub;
    bool sub_ready; // up, and the heartbeat's subscription was confirmed
    bool cmd_ready; // up, and the scripts were loaded once
    bool loading;   // SCRIPT LOAD is under way: nothing else is sent
    bool cmd_was_up;
    bool sub_was_up;
    unsigned scripts_loaded;
    char sha[CN_REDIS_SCRIPT_COUNT][41];
    char history_messages[24]; // arguments of the publish script, as text
    char history_ttl_s[24];
    char meta_ttl_s[24];
    char dedupe_ttl_s[24];
    char page_bytes[24];
    struct cn_redis_subs subs;
    struct cn_redis_cause causes[CN_REDIS_CAUSES]; // logged lately, so that none floods the log
};

static inline struct cn_redis_bus *cn_redis_bus_of(struct cn_bus *bus)
{
    return CN_CONTAINER(bus, struct cn_redis_bus, base);
}

// The heartbeat channel's subscription was confirmed.
void cn_redis_bus_heard(struct cn_redis_bus *redis);

// Commands may be sent now.
bool cn_redis_bus_can_send(const struct cn_redis_bus *redis);

// Sends the read script; as cn_redis_link_send.
bool cn_redis_bus_send_read(struct cn_redis_bus *redis, redisCallbackFn *fn, void *subject,
                            const struct cn_channel_name *channel, const char *kind,
                            struct cn_pos from, unsigned limit);

// Does what an outcome asks for besides the answer: loads the scripts, makes the link anew, logs.
void cn_redis_bus_heed(struct cn_redis_bus *redis, enum cn_redis_outcome outcome,
                       const redisReply *reply);

// Logs a warning, once in 30 s for the same `why`.
void cn_redis_bus_warn(struct cn_redis_bus *redis, const char *event, const char *message,
                       const char *why);

#endif
