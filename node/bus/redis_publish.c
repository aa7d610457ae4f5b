// SPDX-License-Identifier: MIT
// Publishes on their way into Redis, those of one turn together, and their answers; where acks must
// wait for a replica, one WAIT for each call.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_private.h"

// The lineage outlives the log, so that a clock that is set back does not bring positions back.
#define META_EXTRA_S 86400

// Publishes that go in one call of the script.
struct cn_redis_batch {
    struct cn_redis_bus *redis;
    size_t count;
    struct cn_publish *publishes[CN_REDIS_POSTS];
};

// A publish that is stored and waits for a replica to have it too.
struct stored {
    struct cn_link link;
    struct cn_publish *publish;
    struct cn_published result;
};

// ---- Answers ----

static void answer(struct cn_redis_bus *redis, struct cn_publish *publish,
                   const struct cn_published *result)
{
    if (result->err == CN_OK && !publish->answered)
        cn_redis_replay_note(redis, publish);
    cn_bus_published(&redis->base, publish, result);
}

static void refuse(struct cn_redis_bus *redis, struct cn_publish *publish, enum cn_err err)
{
    const struct cn_published refusal = {.err = err};
    redis->base.stats.refused++;
    answer(redis, publish, &refusal);
}

// Keeps the answer until a replica has what was stored.
static void await_replica(struct cn_redis_bus *redis, struct cn_publish *publish,
                          const struct cn_published *result)
{
    struct stored *stored = malloc(sizeof(*stored));
    if (stored == NULL) {
        cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
        return;
    }
    *stored = (struct stored){.publish = publish, .result = *result};
    cn_list_push_back(&redis->stored, &stored->link);
    cn_bus_publish_depart(publish);
}

static void on_stored(struct cn_redis_bus *redis, struct cn_publish *publish,
                      const redisReply *reply)
{
    struct cn_published result;
    if (cn_redis_reply_published(reply, &result) != CN_OK) {
        cn_redis_bus_warn(redis, "bus.refused", "Redis gave a strange answer", "publish script");
        result = (struct cn_published){.err = CN_REFUSED};
    }
    if (result.err == CN_OK && cn_redis_bus_waits(redis))
        await_replica(redis, publish, &result);
    else
        answer(redis, publish, &result);
}

static void take_reply(struct cn_redis_bus *redis, struct cn_publish *publish,
                       const redisReply *reply)
{
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(reply);
    cn_redis_bus_heed(redis, outcome, reply);
    if (outcome == CN_REDIS_DONE) {
        on_stored(redis, publish, reply);
    } else if (outcome == CN_REDIS_REFUSED) {
        refuse(redis, publish, cn_redis_reply_refusal(reply));
    }
    cn_bus_publish_arrive(publish);
}

static void on_published(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct cn_redis_batch *batch = arg;
    const redisReply *reply = data;
    bool each = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == batch->count;
    for (size_t i = 0; i < batch->count; i++)
        take_reply(batch->redis, batch->publishes[i], each ? reply->element[i] : reply);
    free(batch);
}

// ---- WAIT ----

// Ends the waiting of all that is stored; with NULL they stay pending, and are sent again.
static void release_stored(struct cn_redis_bus *redis, const struct cn_published *failure,
                           bool confirmed)
{
    struct cn_link *link;
    while ((link = cn_list_pop_front(&redis->stored)) != NULL) {
        struct stored *stored = CN_CONTAINER(link, struct stored, link);
        if (confirmed)
            answer(redis, stored->publish, &stored->result);
        else if (failure)
            answer(redis, stored->publish, failure);
        cn_bus_publish_arrive(stored->publish);
        free(stored);
    }
}

// Answers come in the order of the commands: what is stored now was sent before this WAIT.
static void on_waited(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct cn_redis_bus *redis = arg;
    const redisReply *reply = data;
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(reply);
    const struct cn_published unreplicated = {.err = CN_NOTDURABLE};
    if (outcome == CN_REDIS_LOST)
        return; // the link's end forgets them
    cn_redis_bus_heed(redis, outcome, reply);
    if (reply->type == REDIS_REPLY_INTEGER && reply->integer > 0) {
        release_stored(redis, NULL, true);
    } else {
        for (struct cn_link *at = redis->stored.next; at != &redis->stored; at = at->next)
            redis->base.stats.unreplicated++;
        release_stored(redis, &unreplicated, false);
    }
}

static bool send_wait(struct cn_redis_bus *redis)
{
    const struct cn_str args[] = {CN_STR_LITERAL("WAIT"), CN_STR_LITERAL("1"),
                                  cn_str_of(redis->arguments.replica_wait_ms)};
    return cn_redis_link_send(redis->cmd, on_waited, redis, CN_COUNT(args), args);
}

// ---- Sending ----

static size_t add_keys(struct cn_redis_bus *redis, const struct cn_redis_post *post,
                       struct cn_redis_key keys[4], struct cn_str *args)
{
    cn_redis_keys_log(&redis->keys, post->channel, &keys[0]);
    cn_redis_keys_meta(&redis->keys, post->channel, &keys[1]);
    cn_redis_keys_id(&redis->keys, post->channel, post->user, post->id, &keys[2]);
    cn_redis_keys_channel(&redis->keys, post->channel, &keys[3]);
    for (size_t i = 0; i < 3; i++)
        args[i] = cn_redis_key_str(&keys[i]);
    return 3;
}

bool cn_redis_publish_send(struct cn_redis_bus *redis, redisCallbackFn *fn, void *subject,
                           const struct cn_redis_post *posts, size_t count)
{
    const struct cn_redis_arguments *arguments = &redis->arguments;
    struct cn_str args[8 + CN_REDIS_POSTS * 5];
    char keys[16];
    size_t at = 0;
    CN_ASSERT(count >= 1 && count <= CN_REDIS_POSTS);
    snprintf(keys, sizeof(keys), "%zu", count * 3);
    args[at++] = CN_STR_LITERAL("EVALSHA");
    args[at++] = cn_str_of(redis->sha[CN_REDIS_SCRIPT_PUBLISH]);
    args[at++] = cn_str_of(keys);
    for (size_t i = 0; i < count; i++)
        at += add_keys(redis, &posts[i], redis->keys_of_posts[i], &args[at]);
    args[at++] = cn_str_of(arguments->history_messages);
    args[at++] = cn_str_of(arguments->history_ttl_s);
    args[at++] = cn_str_of(arguments->meta_ttl_s);
    args[at++] = cn_str_of(arguments->dedupe_ttl_s);
    args[at++] = cn_redis_bus_waits(redis) ? CN_STR_LITERAL("1") : CN_STR_LITERAL("0");
    for (size_t i = 0; i < count; i++) {
        args[at++] = cn_redis_key_str(&redis->keys_of_posts[i][3]);
        args[at++] = posts[i].body;
    }
    return cn_redis_link_send(redis->cmd, fn, subject, at, args);
}

static bool send_batch(struct cn_redis_bus *redis, struct cn_redis_batch *batch)
{
    struct cn_redis_post posts[CN_REDIS_POSTS];
    for (size_t i = 0; i < batch->count; i++) {
        struct cn_publish *it = batch->publishes[i];
        posts[i] = (struct cn_redis_post){&it->channel, it->user, it->id, {it->body, it->body_len}};
    }
    return cn_redis_publish_send(redis, on_published, batch, posts, batch->count);
}

// They are pending again.
static void put_back(struct cn_redis_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        cn_bus_publish_arrive(batch->publishes[i]);
    free(batch);
}

void cn_redis_publish_flush(struct cn_redis_bus *redis)
{
    struct cn_redis_batch *batch = redis->batch;
    redis->batch = NULL;
    if (batch == NULL)
        return;
    if (!cn_redis_bus_can_send(redis)) {
        put_back(batch);
    } else if (!send_batch(redis, batch)) {
        put_back(batch);
        cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
    } else if (cn_redis_bus_waits(redis) && !send_wait(redis)) {
        cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
    }
}

void cn_redis_publish_forget(struct cn_redis_bus *redis)
{
    struct cn_redis_batch *batch = redis->batch;
    redis->batch = NULL;
    if (batch)
        put_back(batch);
    release_stored(redis, NULL, false);
}

// Publishes of one turn go in few calls: much of a call's price in Redis is the call's own.
static void gather(struct cn_redis_bus *redis, struct cn_publish *publish)
{
    struct cn_redis_batch *batch = redis->batch;
    cn_bus_publish_depart(publish);
    batch->publishes[batch->count++] = publish;
    if (batch->count == CN_REDIS_POSTS)
        cn_redis_publish_flush(redis);
}

static bool open_batch(struct cn_redis_bus *redis)
{
    if (redis->batch != NULL)
        return true;
    redis->batch = calloc(1, sizeof(*redis->batch));
    if (redis->batch == NULL)
        return false;
    redis->batch->redis = redis;
    cn_timer_start(redis->flush, 0);
    return true;
}

void cn_redis_publish(struct cn_bus *bus, struct cn_publish *publish)
{
    struct cn_redis_bus *redis = cn_redis_bus_of(bus);
    if (!cn_redis_bus_can_send(redis) || cn_redis_replay_is_running(redis))
        return; // it is pending, and sent when that is over
    if (!cn_redis_durability_suffices(redis))
        refuse(redis, publish, CN_NOTDURABLE);
    else if (!open_batch(redis))
        refuse(redis, publish, CN_NOMEM);
    else
        gather(redis, publish);
}

// ---- Life ----

static void print(char out[24], int64_t value)
{
    snprintf(out, 24, "%" PRId64, value);
}

void cn_redis_publish_init(struct cn_redis_bus *redis, const struct cn_bus_options *options)
{
    struct cn_redis_arguments *arguments = &redis->arguments;
    cn_list_init(&redis->stored);
    print(arguments->history_messages, (int64_t)options->history_messages);
    print(arguments->history_ttl_s, options->history_ttl_s);
    print(arguments->meta_ttl_s, options->history_ttl_s + META_EXTRA_S);
    print(arguments->dedupe_ttl_s, options->dedupe_ttl_s);
    print(arguments->replica_wait_ms, options->replica_wait_ms);
}

static void on_flush(void *arg)
{
    cn_redis_publish_flush(arg);
}

enum cn_err cn_redis_publish_start(struct cn_redis_bus *redis)
{
    return cn_timer_new(redis->base.reactor, on_flush, redis, &redis->flush);
}

void cn_redis_publish_fini(struct cn_redis_bus *redis)
{
    CN_ASSERT(cn_list_is_empty(&redis->stored));
    cn_timer_free(redis->flush);
}
