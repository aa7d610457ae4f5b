// SPDX-License-Identifier: MIT
// What the files of the Redis bus share. Main thread only, like the bus itself.
#ifndef CHATNODE_REDIS_PRIVATE_H
#define CHATNODE_REDIS_PRIVATE_H

#include "bus_private.h"
#include "redis_link.h"
#include "redis_subs.h"
#include "redis_wire.h"

// ---- redis_publish.c ----

enum { CN_REDIS_POSTS = 64 }; // of one call of the publish script

// One entry to be stored; the body with its seal.
struct cn_redis_post {
    const struct cn_channel_name *channel;
    const char *user;
    const char *id;
    struct cn_str body;
};

// What is the same in each call of the publish script, as text.
struct cn_redis_arguments {
    char history_messages[24];
    char history_ttl_s[24];
    char meta_ttl_s[24];
    char dedupe_ttl_s[24];
    char replica_wait_ms[24];
};

void cn_redis_publish_init(struct cn_redis_bus *redis, const struct cn_bus_options *options);
CN_MUSTCHECK enum cn_err cn_redis_publish_start(struct cn_redis_bus *redis);
void cn_redis_publish_fini(struct cn_redis_bus *redis);

// The op of struct cn_bus_ops.
void cn_redis_publish(struct cn_bus *bus, struct cn_publish *publish);

// Calls the publish script for 1 to CN_REDIS_POSTS entries; as cn_redis_link_send.
bool cn_redis_publish_send(struct cn_redis_bus *redis, redisCallbackFn *fn, void *subject,
                           const struct cn_redis_post *posts, size_t count);

// The cmd link is gone: what was gathered is pending again.
void cn_redis_publish_forget(struct cn_redis_bus *redis);

// ---- redis_replay.c ----

struct cn_redis_replay {
    struct cn_link records; // acked publishes, oldest first; bounds: replay_ms, replay_bytes
    size_t bytes;
    struct cn_link *next; // to be submitted again
    size_t in_flight;     // calls of the script
    bool running;
    bool refused;         // the server cannot store now: all is tried again
    int64_t ts_ms;        // of the newest entry known, Redis' clock
    int64_t lost_ms;      // when the server that acked them was last there; 0: it is
    char lineage[64];     // of the Redis that has them
    char lineage_met[64]; // of the one that they were submitted to
    int64_t known;        // of the replay under way: what was there, what was not, what failed
    int64_t restored;
    int64_t failed;
};

void cn_redis_replay_init(struct cn_redis_replay *replay);
void cn_redis_replay_fini(struct cn_redis_replay *replay);

// The publish was acked with the result: a copy is kept for a while.
void cn_redis_replay_note(struct cn_redis_bus *redis, const struct cn_publish *publish,
                          const struct cn_published *result);

// Each second: drops what is old enough, or tries again what the new server refused.
void cn_redis_replay_tick(struct cn_redis_bus *redis);

// The cmd link is gone.
void cn_redis_replay_lost(struct cn_redis_bus *redis);

// The cmd link is back, the scripts are loaded. True: another server carries on, and what was acked
// is submitted again; cn_redis_bus_go_on is called when that is done, maybe before this returns.
// Publishes must wait so long, or a publisher's order would be lost.
CN_MUSTCHECK bool cn_redis_replay_begin(struct cn_redis_bus *redis);
bool cn_redis_replay_is_running(const struct cn_redis_bus *redis);

// ---- redis_durability.c ----

struct cn_redis_promise {
    struct cn_store asked; // being filled
    struct cn_store store; // as it was last told
    enum cn_durability durability;
    bool known;
    int64_t asked_ms;
    int64_t good_ms; // when it last said that it is the same master
};

// Asks Redis on the cmd link; false without memory. The answer is told by on_durability.
CN_MUSTCHECK bool cn_redis_durability_ask(struct cn_redis_bus *redis);

// What Redis can promise is at least what is required.
bool cn_redis_durability_suffices(const struct cn_redis_bus *redis);

// ---- redis_judge.c ----

// The judge as the bus is set now.
struct cn_redis_judge cn_redis_bus_judge(const struct cn_redis_bus *redis);

// Puts the seal behind the body, or the notice, unless there are no keys; false when it cannot.
CN_MUSTCHECK bool cn_redis_bus_seal(struct cn_redis_bus *redis, struct cn_publish *publish);
CN_MUSTCHECK bool cn_redis_bus_seal_notice(struct cn_redis_bus *redis, struct cn_notice *notice);

// Counts what was dropped and logs it, once in 30 s for the same fault.
void cn_redis_bus_drop(struct cn_redis_bus *redis, struct cn_str where, enum cn_seal_fault fault,
                       size_t count);

// ---- redis_board.c ----

enum cn_redis_board {
    CN_REDIS_BOARD_OFF,
    CN_REDIS_BOARD_DUE,
    CN_REDIS_BOARD_UNDER_WAY,
    CN_REDIS_BOARD_DONE
};

// The op of struct cn_bus_ops.
void cn_redis_board_notify(struct cn_bus *bus, struct cn_notice *notice);

// Subscribes to the notices; that was confirmed: what is kept is read.
void cn_redis_board_subscribe(struct cn_redis_bus *redis);
void cn_redis_board_subscribed(struct cn_redis_bus *redis);

// A notice came: by pub/sub, or `again` from what is kept.
void cn_redis_board_hear(struct cn_redis_bus *redis, struct cn_str text, bool again);

// Reads what is kept if that is due and the cmd link allows.
void cn_redis_board_pump(struct cn_redis_bus *redis);

// ---- bus_redis.c ----

enum { CN_REDIS_CAUSES = 4 };

struct cn_redis_cause {
    char text[160];
    int64_t logged_ms;
};

struct cn_redis_bus {
    struct cn_bus base;
    struct cn_redis_url url;
    struct cn_tls_files files; // for TLS; of the options
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
    char page_bytes[24];
    char entry_bytes[24]; // as it is stored, at most: a longer one is not sent to us
    struct cn_redis_arguments arguments;
    struct cn_link gathered;       // of struct cn_redis_batch: publishes to be sent; in order
    struct cn_redis_batch *flying; // under way, or NULL
    struct cn_timer *flush;        // sends what a turn has gathered
    struct cn_redis_key keys_of_posts[CN_REDIS_POSTS][4];
    struct cn_redis_promise promise;
    struct cn_redis_replay replay;
    struct cn_redis_subs subs;
    enum cn_redis_board board_read;
    bool board_again; // the subscription stood only after the read under way was sent
    int64_t dropped_ms[CN_SEAL_FAULTS];            // when that was logged
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

// Acks wait for a replica.
bool cn_redis_bus_waits(const struct cn_redis_bus *redis);

// What is pending can be sent.
void cn_redis_bus_go_on(struct cn_redis_bus *redis);

// Sends the read script; as cn_redis_link_send.
bool cn_redis_bus_send_read(struct cn_redis_bus *redis, redisCallbackFn *fn, void *subject,
                            const struct cn_channel_name *channel, const char *kind,
                            struct cn_pos from, unsigned limit);

// Reads the read script's answer for the channel; as cn_redis_reply_page. What is left out is
// counted and logged.
CN_MUSTCHECK enum cn_err cn_redis_bus_read_page(struct cn_redis_bus *redis, const redisReply *reply,
                                                const struct cn_channel_name *channel,
                                                bool backwards, struct cn_redis_page *out);

// Does what an outcome asks for besides the answer: loads the scripts, makes the link anew, logs.
void cn_redis_bus_heed(struct cn_redis_bus *redis, enum cn_redis_outcome outcome,
                       const redisReply *reply);

// Logs a warning, once in 30 s for the same `why`.
void cn_redis_bus_warn(struct cn_redis_bus *redis, const char *event, const char *message,
                       const char *why);

#endif
