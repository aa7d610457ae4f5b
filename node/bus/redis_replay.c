// SPDX-License-Identifier: MIT
// What this node acked lately, kept to be submitted again when another Redis carries on: a replica
// that is promoted may not have got the newest. Under the same ids, so that what it has got is not
// stored twice. (A node that ends takes its own with it.)
#include <stdlib.h>
#include <string.h>

#include "redis_private.h"

#include "chatnode/clock.h"
#include "chatnode/log.h"

enum {
    IN_FLIGHT_MAX = 256,
    // An id that is about to be forgotten by Redis would be stored as a new one.
    ID_MARGIN_MS = 10000
};

// One acked publish.
struct record {
    struct cn_link link;
    struct cn_redis_bus *redis;
    int64_t acked_ms;
    bool flying;
    struct cn_channel_name channel;
    size_t body_len;
    const char *user; // into `text`, like the next two
    const char *id;
    const char *body;
    char text[];
};

static size_t size_of(const struct record *record)
{
    return sizeof(*record) + (size_t)(record->body - record->text) + record->body_len;
}

static void drop(struct cn_redis_replay *replay, struct record *record)
{
    cn_list_remove(&record->link);
    replay->bytes -= size_of(record);
    free(record);
}

static struct record *oldest(const struct cn_redis_replay *replay)
{
    return cn_list_is_empty(&replay->records)
               ? NULL
               : CN_CONTAINER(replay->records.next, struct record, link);
}

// ---- Noting ----

static struct record *make(struct cn_redis_bus *redis, const struct cn_publish *publish)
{
    size_t user = strlen(publish->user) + 1, id = strlen(publish->id) + 1;
    struct record *record = malloc(sizeof(*record) + user + id + publish->body_len);
    if (record == NULL)
        return NULL;
    *record = (struct record){.redis = redis,
                              .acked_ms = cn_clock_ms(),
                              .channel = publish->channel,
                              .body_len = publish->body_len,
                              .user = record->text,
                              .id = record->text + user,
                              .body = record->text + user + id};
    memcpy(record->text, publish->user, user);
    memcpy(record->text + user, publish->id, id);
    memcpy(record->text + user + id, publish->body, publish->body_len);
    return record;
}

// Drops what is older than the window, and the oldest beyond the bound.
static void trim(struct cn_redis_bus *redis, int64_t now_ms)
{
    struct cn_redis_replay *replay = &redis->replay;
    const struct cn_bus_options *options = &redis->base.options;
    struct record *record;
    while ((record = oldest(replay)) != NULL && !record->flying) {
        bool old = now_ms - record->acked_ms > options->replay_ms;
        if (!old && replay->bytes <= options->replay_bytes)
            return;
        redis->base.stats.forgotten += !old;
        drop(replay, record);
    }
}

void cn_redis_replay_note(struct cn_redis_bus *redis, const struct cn_publish *publish)
{
    struct cn_redis_replay *replay = &redis->replay;
    if (!publish->has_id || redis->base.options.replay_ms == 0)
        return; // nobody was told that it is stored
    struct record *record = make(redis, publish);
    if (record == NULL) {
        redis->base.stats.forgotten++;
        return;
    }
    cn_list_push_back(&replay->records, &record->link);
    replay->bytes += size_of(record);
    trim(redis, record->acked_ms);
}

void cn_redis_replay_tidy(struct cn_redis_bus *redis)
{
    trim(redis, cn_clock_ms());
}

void cn_redis_replay_lost(struct cn_redis_bus *redis)
{
    struct cn_redis_replay *replay = &redis->replay;
    replay->running = false;
    if (replay->lost_ms == 0)
        replay->lost_ms = cn_clock_ms();
}

// ---- Submitting again ----

static void on_replayed(redisAsyncContext *ac, void *data, void *arg);

// Not what was acked too long before the loss, nor what Redis may have forgotten the id of.
static void drop_stale(struct cn_redis_bus *redis)
{
    struct cn_redis_replay *replay = &redis->replay;
    const struct cn_bus_options *options = &redis->base.options;
    int64_t id_ms = options->dedupe_ttl_s * 1000 - ID_MARGIN_MS, now = cn_clock_ms();
    struct record *record;
    while ((record = oldest(replay)) != NULL) {
        bool old = replay->lost_ms - record->acked_ms > options->replay_ms;
        if (!old && now - record->acked_ms < id_ms)
            return;
        redis->base.stats.unrestored += !old;
        drop(replay, record);
    }
}

static bool submit(struct cn_redis_bus *redis, struct record *record)
{
    const struct cn_redis_post post = {
        &record->channel, record->user, record->id, {record->body, record->body_len}};
    if (!cn_redis_publish_send(redis, on_replayed, record, &post))
        return false;
    record->flying = true;
    redis->replay.in_flight++;
    return true;
}

static void finish(struct cn_redis_bus *redis)
{
    struct cn_redis_replay *replay = &redis->replay;
    replay->running = false;
    replay->lost_ms = 0;
    memcpy(replay->lineage, cn_redis_link_lineage(redis->cmd), sizeof(replay->lineage));
    if (!cn_list_is_empty(&replay->records))
        CN_LOG(INFO, "bus.replayed", "what was acked before the failover was submitted again",
               CN_F_INT("known", replay->known), CN_F_INT("restored", replay->restored),
               CN_F_INT("failed", replay->failed));
    cn_redis_bus_go_on(redis);
}

static void go_on(struct cn_redis_bus *redis)
{
    struct cn_redis_replay *replay = &redis->replay;
    while (replay->next != &replay->records && replay->in_flight < IN_FLIGHT_MAX) {
        struct record *record = CN_CONTAINER(replay->next, struct record, link);
        replay->next = replay->next->next;
        if (submit(redis, record))
            continue;
        cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
        return;
    }
    if (replay->in_flight == 0)
        finish(redis);
}

static void count(struct cn_redis_bus *redis, enum cn_redis_outcome outcome,
                  const redisReply *reply)
{
    struct cn_redis_replay *replay = &redis->replay;
    struct cn_published result;
    if (outcome != CN_REDIS_DONE || cn_redis_reply_published(reply, &result) != CN_OK) {
        replay->failed++;
        redis->base.stats.unrestored++;
    } else if (result.dup) {
        replay->known++;
    } else {
        replay->restored++;
        redis->base.stats.restored++;
    }
}

static void on_replayed(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct record *record = arg;
    struct cn_redis_bus *redis = record->redis;
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(data);
    record->flying = false;
    redis->replay.in_flight--;
    if (outcome != CN_REDIS_DONE && outcome != CN_REDIS_REFUSED)
        redis->replay.running = false; // all over again when the link, or the script, is back
    cn_redis_bus_heed(redis, outcome, data);
    if (!redis->replay.running || redis->base.stopped)
        return;
    count(redis, outcome, data);
    go_on(redis);
}

bool cn_redis_replay_begin(struct cn_redis_bus *redis)
{
    struct cn_redis_replay *replay = &redis->replay;
    const char *lineage = cn_redis_link_lineage(redis->cmd);
    bool first = replay->lineage[0] == '\0';
    if (first || strcmp(replay->lineage, lineage) == 0) {
        memcpy(replay->lineage, lineage, sizeof(replay->lineage));
        replay->lost_ms = 0;
        return false;
    }
    redis->base.stats.failovers++;
    drop_stale(redis);
    replay->known = replay->restored = replay->failed = 0;
    replay->next = replay->records.next;
    replay->running = true;
    go_on(redis);
    return true;
}

bool cn_redis_replay_is_running(const struct cn_redis_bus *redis)
{
    return redis->replay.running;
}

// ---- Life ----

void cn_redis_replay_init(struct cn_redis_replay *replay)
{
    cn_list_init(&replay->records);
}

void cn_redis_replay_fini(struct cn_redis_replay *replay)
{
    while (!cn_list_is_empty(&replay->records))
        drop(replay, oldest(replay));
}
