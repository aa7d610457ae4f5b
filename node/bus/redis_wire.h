// SPDX-License-Identifier: MIT
// What is said to Redis and what it answers: keys, scripts, replies. Pure.
#ifndef CHATNODE_REDIS_WIRE_H
#define CHATNODE_REDIS_WIRE_H

#include <hiredis/hiredis.h>

#include "chatnode/bus.h"

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

// The sorted set of notices, or their pub/sub channel.
void cn_redis_keys_notices(const struct cn_redis_keys *keys, bool channel,
                           struct cn_redis_key *out);

// The channel that the pub/sub channel `text` stands for; CN_INVALID if it is none of ours.
CN_MUSTCHECK enum cn_err cn_redis_keys_parse_channel(const struct cn_redis_keys *keys,
                                                     struct cn_str text,
                                                     struct cn_channel_name *out);

// ---- redis_script.c ----

enum cn_redis_script {
    CN_REDIS_SCRIPT_PUBLISH,
    CN_REDIS_SCRIPT_READ,
    CN_REDIS_SCRIPT_TAILS,
    CN_REDIS_SCRIPT_NOTIFY,
    CN_REDIS_SCRIPT_NOTICES,
    CN_REDIS_SCRIPT_COUNT
};

struct cn_str cn_redis_script_text(enum cn_redis_script script);

// ---- redis_judge.c ----

// What is asked of a text before it is believed.
struct cn_redis_judge {
    struct cn_sealer *sealer; // NULL: seals are cut off and not looked at
    bool takes_unsealed;
    size_t entry_bytes; // without the seal
};

// Judges an entry of the channel, as it came. NONE: *text is without its seal, *pos is set.
CN_MUSTCHECK enum cn_seal_fault cn_redis_judge_entry(const struct cn_redis_judge *judge,
                                                     const struct cn_channel_name *channel,
                                                     struct cn_str *text, struct cn_pos *pos);

// Judges a notice. NONE: *text is without its seal.
CN_MUSTCHECK enum cn_seal_fault cn_redis_judge_notice(const struct cn_redis_judge *judge,
                                                      struct cn_str *text);

// ---- redis_reply.c ----

// What an answer to a script means.
enum cn_redis_outcome {
    CN_REDIS_DONE,
    CN_REDIS_LOST,     // no answer: the connection broke
    CN_REDIS_REFUSED,  // the store says no to this command
    CN_REDIS_NOSCRIPT, // the scripts must be loaded again
    CN_REDIS_RETRY     // not now, or not here: the connection is made anew
};

enum cn_redis_outcome cn_redis_reply_outcome(const redisReply *reply);

// Of an error: why the link is given up for it; what a publish is told that it refuses.
enum cn_bus_cause cn_redis_reply_cause(const redisReply *reply);
enum cn_err cn_redis_reply_refusal(const redisReply *reply);

// Reads the publish script's answer for one entry; CN_INVALID if it is not well-formed.
CN_MUSTCHECK enum cn_err cn_redis_reply_published(const redisReply *reply,
                                                  struct cn_published *out);

// A page with its entries' memory.
struct cn_redis_page {
    struct cn_page page;
    struct cn_pos end; // of the last entry that Redis gave in the order of the page, also a bad one
    size_t bad[CN_SEAL_FAULTS]; // entries left out, by what was wrong
    struct cn_entry *owned;
};

// What a read script's answer is judged by.
struct cn_redis_reading {
    struct cn_redis_judge judge;
    const struct cn_channel_name *channel;
    bool backwards; // the read goes towards older entries
};

// Reads the read script's answer; the texts are borrowed from it. CN_INVALID, CN_NOMEM: nothing is
// owned then; otherwise cn_redis_page_fini is due.
CN_MUSTCHECK enum cn_err cn_redis_reply_page(const redisReply *reply,
                                             const struct cn_redis_reading *reading,
                                             struct cn_redis_page *out);
void cn_redis_page_fini(struct cn_redis_page *page);

// Copies the value of `field` of an INFO text; false if it is missing or too long.
bool cn_redis_reply_info(const redisReply *reply, const char *field, char *out, size_t size);

#endif
