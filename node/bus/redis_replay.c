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
    CALLS_MAX = 8, // under way at once
    // An id that is about to be forgotten by Redis would be stored as a new one.
    ID_MARGIN_MS = 10000
};

// One acked publish.
struct record {
    struct cn_link link;
    int64_t acked_ms;
    bool flying;
    struct cn_channel_name channel;
    size_t body_len;
    const char *user; // into `text`, like the next two
    const char *id;
    const char *body;
    char text[];
};

// Some of them on their way to Redis.
struct call {
    struct cn_redis_bus *redis;
    size_t count;
    struct record *records[CN_REDIS_POSTS];
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

static struct record *make(const struct cn_publish *publish)
{
    size_t user = strlen(publish->user) + 1, id = strlen(publish->id) + 1;
    size_t body_len = publish->body_len + publish->seal_len;
    struct record *record = malloc(sizeof(*record) + user + id + body_len);
    if (record == NULL)
        return NULL;
    *record = (struct record){.acked_ms = cn_clock_ms(),
                              .channel = publish->channel,
                              .body_len = body_len,
                              .user = record->text,
                              .id = record->text + user,
                              .body = record->text + user + id};
    memcpy(record->text, publish->user, user);
    memcpy(record->text + user, publish->id, id);
    memcpy(record->text + user + id, publish->body, body_len);
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

// One that was stored long before, and only acked again, is not at risk; and its id may end soon.
static bool is_old(struct cn_redis_bus *redis, const struct cn_published *result)
{
    struct cn_redis_replay *replay = &redis->replay;
    if (result->ts_ms > replay->ts_ms)
        replay->ts_ms = result->ts_ms;
    return replay->ts_ms - result->ts_ms > redis->base.options.replay_ms;
}

void cn_redis_replay_note(struct cn_redis_bus *redis, const struct cn_publish *publish,
                          const struct cn_published *result)
{
    struct cn_redis_replay *replay = &redis->replay;
    if (!publish->has_ack || redis->base.options.replay_ms == 0 || is_old(redis, result))
        return;
    struct record *record = make(publish);
    if (record == NULL) {
        redis->base.stats.forgotten++;
        return;
    }
    cn_list_push_back(&replay->records, &record->link);
    replay->bytes += size_of(record);
    trim(redis, record->acked_ms);
}

void cn_redis_replay_lost(struct cn_redis_bus *redis)
{
    struct cn_redis_replay *replay = &redis->replay;
    replay->running = false;
    if (replay->lost_ms == 0)
        replay->lost_ms = redis->promise.good_ms;
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
        replay->failed += !old;
        drop(replay, record);
    }
}

static struct call *make_call(struct cn_redis_bus *redis)
{
    struct cn_redis_replay *replay = &redis->replay;
    struct call *call = malloc(sizeof(*call));
    if (call == NULL)
        return NULL;
    call->redis = redis;
    for (call->count = 0; call->count < CN_REDIS_POSTS && replay->next != &replay->records;) {
        call->records[call->count++] = CN_CONTAINER(replay->next, struct record, link);
        replay->next = replay->next->next;
    }
    return call;
}

static bool submit(struct cn_redis_bus *redis)
{
    struct cn_redis_post posts[CN_REDIS_POSTS];
    struct call *call = make_call(redis);
    for (size_t i = 0; call && i < call->count; i++) {
        const struct record *it = call->records[i];
        posts[i] = (struct cn_redis_post){&it->channel, it->user, it->id, {it->body, it->body_len}};
    }
    if (!call || !cn_redis_publish_send(redis, on_replayed, call, posts, call->count)) {
        free(call);
        return false;
    }
    for (size_t i = 0; i < call->count; i++)
        call->records[i]->flying = true;
    redis->replay.in_flight++;
    return true;
}

static void finish(struct cn_redis_bus *redis)
{
    struct cn_redis_replay *replay = &redis->replay;
    replay->running = false;
    replay->lost_ms = 0;
    memcpy(replay->lineage, cn_redis_link_lineage(redis->cmd), sizeof(replay->lineage));
    if (replay->known + replay->restored > 0)
        CN_LOG(INFO, "bus.replayed", "what was acked before the failover was submitted again",
               CN_F_INT("known", replay->known), CN_F_INT("restored", replay->restored));
    if (replay->failed > 0)
        CN_LOG(ERROR, "bus.replayed", "acked messages may be lost: it is too late to submit them",
               CN_F_INT("failed", replay->failed));
    cn_redis_bus_go_on(redis);
}

static void go_on(struct cn_redis_bus *redis)
{
    struct cn_redis_replay *replay = &redis->replay;
    while (replay->next != &replay->records && replay->in_flight < CALLS_MAX) {
        if (submit(redis))
            continue;
        cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
        return;
    }
    if (replay->in_flight == 0 && !replay->refused)
        finish(redis);
}

static void count(struct cn_redis_bus *redis, const redisReply *reply)
{
    struct cn_redis_replay *replay = &redis->replay;
    struct cn_published result;
    if (cn_redis_reply_outcome(reply) != CN_REDIS_DONE ||
        cn_redis_reply_published(reply, &result) != CN_OK) {
        replay->refused = true; // a new master has no replicas yet, or no room: later, maybe
    } else if (result.dup) {
        replay->known++;
    } else {
        replay->restored++;
        redis->base.stats.restored++;
    }
}

// False when it must begin all over again: the link, or the script, is gone.
static bool take_reply(struct cn_redis_bus *redis, const struct call *call, const redisReply *reply)
{
    bool each = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == call->count;
    for (size_t i = 0; i < call->count; i++) {
        const redisReply *one = each ? reply->element[i] : reply;
        enum cn_redis_outcome outcome = cn_redis_reply_outcome(one);
        cn_redis_bus_heed(redis, outcome, one);
        if (outcome != CN_REDIS_DONE && outcome != CN_REDIS_REFUSED)
            return false;
        count(redis, one);
    }
    return true;
}

static void on_replayed(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct call *call = arg;
    struct cn_redis_bus *redis = call->redis;
    redis->replay.in_flight--;
    for (size_t i = 0; i < call->count; i++)
        call->records[i]->flying = false;
    if (redis->replay.running && !take_reply(redis, call, data))
        redis->replay.running = false;
    free(call);
    if (redis->replay.running && !redis->base.stopped)
        go_on(redis);
}

// From the oldest on; what was submitted before is known by now.
static void begin(struct cn_redis_bus *redis)
{
    struct cn_redis_replay *replay = &redis->replay;
    replay->known = replay->restored = replay->failed = 0;
    drop_stale(redis);
    replay->next = replay->records.next;
    replay->running = true;
    replay->refused = false;
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
    if (strcmp(replay->lineage_met, lineage) != 0)
        redis->base.stats.failovers++;
    memcpy(replay->lineage_met, lineage, sizeof(replay->lineage_met));
    begin(redis);
    return true;
}

void cn_redis_replay_tick(struct cn_redis_bus *redis)
{
    struct cn_redis_replay *replay = &redis->replay;
    if (!cn_redis_bus_can_send(redis))
        return;
    if (replay->lost_ms == 0)
        trim(redis, cn_clock_ms());
    else if (replay->running && replay->refused && replay->in_flight == 0)
        begin(redis);
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
