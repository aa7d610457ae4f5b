// SPDX-License-Identifier: MIT
// Publishes on their way into Redis, and their answers. One call of the script is under way at a
// time, for all that gathered meanwhile; where acks must wait for a replica, a WAIT follows it.
//
// One call at a time keeps a session's order: when a call finds no script (SCRIPT FLUSH), none that
// was sent behind it can succeed because another node has loaded the script again.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_private.h"

// The lineage outlives the log, so that a clock that is set back does not bring positions back.
#define META_EXTRA_S 86400

// Publishes that go in one call of the script.
struct cn_redis_batch {
    struct cn_link link; // in redis->gathered
    struct cn_redis_bus *redis;
    size_t count;
    struct cn_publish *publishes[CN_REDIS_POSTS];
    struct cn_published results[CN_REDIS_POSTS]; // while they wait for a replica
};

static void send_next(struct cn_redis_bus *redis);

// ---- Answers ----

static void answer(struct cn_redis_bus *redis, struct cn_publish *publish,
                   const struct cn_published *result)
{
    if (result->err == CN_OK && !publish->answered)
        cn_redis_replay_note(redis, publish, result);
    cn_bus_published(&redis->base, publish, result);
}

static void refuse(struct cn_redis_bus *redis, struct cn_publish *publish, enum cn_err err)
{
    const struct cn_published refusal = {.err = err};
    redis->base.stats.refused++;
    answer(redis, publish, &refusal);
}

// They are pending again.
static void put_back(struct cn_redis_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        cn_bus_publish_arrive(batch->publishes[i]);
    free(batch);
}

static struct cn_published read_result(struct cn_redis_bus *redis, const redisReply *reply)
{
    struct cn_published result;
    if (cn_redis_reply_published(reply, &result) == CN_OK)
        return result;
    cn_redis_bus_warn(redis, "bus.refused", "Redis gave a strange answer", "publish script");
    return (struct cn_published){.err = CN_REFUSED};
}

// Takes one answer; false when there is none yet: it must be sent again.
static bool take_reply(struct cn_redis_bus *redis, const redisReply *reply,
                       struct cn_published *result)
{
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(reply);
    cn_redis_bus_heed(redis, outcome, reply);
    if (outcome == CN_REDIS_DONE)
        *result = read_result(redis, reply);
    else
        *result = (struct cn_published){.err = cn_redis_reply_refusal(reply)};
    return outcome == CN_REDIS_DONE || outcome == CN_REDIS_REFUSED;
}

// Answers what is refused, lets go of what must be sent again, keeps what is stored in the batch.
static void sort_replies(struct cn_redis_batch *batch, const redisReply *reply)
{
    struct cn_redis_bus *redis = batch->redis;
    bool each = reply->type == REDIS_REPLY_ARRAY && reply->elements == batch->count;
    size_t stored = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct cn_publish *publish = batch->publishes[i];
        struct cn_published result;
        bool is_answer = take_reply(redis, each ? reply->element[i] : reply, &result);
        if (is_answer && result.err == CN_OK) {
            batch->publishes[stored] = publish;
            batch->results[stored++] = result;
            continue;
        }
        if (is_answer)
            refuse(redis, publish, result.err);
        cn_bus_publish_arrive(publish);
    }
    batch->count = stored;
}

// Answers what is stored: with the failure, if there is one.
static void finish(struct cn_redis_batch *batch, const struct cn_published *failure)
{
    for (size_t i = 0; i < batch->count; i++) {
        answer(batch->redis, batch->publishes[i], failure ? failure : &batch->results[i]);
        cn_bus_publish_arrive(batch->publishes[i]);
    }
    free(batch);
}

// ---- WAIT ----

static void on_waited(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct cn_redis_batch *batch = arg;
    struct cn_redis_bus *redis = batch->redis;
    const redisReply *reply = data;
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(reply);
    const struct cn_published unreplicated = {.err = CN_NOTDURABLE};
    redis->flying = NULL;
    if (outcome == CN_REDIS_LOST) {
        put_back(batch);
        return;
    }
    cn_redis_bus_heed(redis, outcome, reply);
    bool confirmed = reply->type == REDIS_REPLY_INTEGER && reply->integer > 0;
    if (!confirmed)
        redis->base.stats.unreplicated += batch->count;
    send_next(redis);
    finish(batch, confirmed ? NULL : &unreplicated);
}

// No batch is sent before this is answered, so what is stored was written before it.
static void send_wait(struct cn_redis_bus *redis, struct cn_redis_batch *batch)
{
    const struct cn_str args[] = {CN_STR_LITERAL("WAIT"), CN_STR_LITERAL("1"),
                                  cn_str_of(redis->arguments.replica_wait_ms)};
    if (cn_redis_link_send(redis->cmd, on_waited, batch, CN_COUNT(args), args))
        return;
    redis->flying = NULL;
    put_back(batch);
    cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
}

static void on_published(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct cn_redis_batch *batch = arg;
    struct cn_redis_bus *redis = batch->redis;
    const redisReply *reply = data;
    if (reply == NULL) {
        redis->flying = NULL;
        put_back(batch);
        return;
    }
    sort_replies(batch, reply);
    if (batch->count > 0 && cn_redis_bus_waits(redis) && cn_redis_bus_can_send(redis)) {
        send_wait(redis, batch);
        return;
    }
    redis->flying = NULL;
    send_next(redis);
    if (cn_redis_bus_waits(redis))
        put_back(batch); // the link is gone: they are sent again, and waited for
    else
        finish(batch, NULL);
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
        posts[i] = (struct cn_redis_post){
            &it->channel, it->user, it->id, {it->body, it->body_len + it->seal_len}};
    }
    return cn_redis_publish_send(redis, on_published, batch, posts, batch->count);
}

// Lets go of those whose deadline has passed while they waited for their turn.
static void drop_answered(struct cn_redis_batch *batch)
{
    size_t kept = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct cn_publish *publish = batch->publishes[i];
        if (publish->answered)
            cn_bus_publish_arrive(publish);
        else
            batch->publishes[kept++] = publish;
    }
    batch->count = kept;
}

// The oldest batch that has something to send, taken out, or NULL.
static struct cn_redis_batch *take_next(struct cn_redis_bus *redis)
{
    struct cn_link *link;
    while ((link = cn_list_pop_front(&redis->gathered)) != NULL) {
        struct cn_redis_batch *batch = CN_CONTAINER(link, struct cn_redis_batch, link);
        drop_answered(batch);
        if (batch->count > 0)
            return batch;
        free(batch);
    }
    return NULL;
}

static void send_next(struct cn_redis_bus *redis)
{
    if (!cn_redis_bus_can_send(redis)) {
        cn_redis_publish_forget(redis);
        return;
    }
    struct cn_redis_batch *batch = take_next(redis);
    if (batch == NULL)
        return;
    redis->flying = batch;
    if (send_batch(redis, batch))
        return;
    redis->flying = NULL;
    put_back(batch);
    cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
}

void cn_redis_publish_forget(struct cn_redis_bus *redis)
{
    struct cn_link *link;
    while ((link = cn_list_pop_front(&redis->gathered)) != NULL)
        put_back(CN_CONTAINER(link, struct cn_redis_batch, link));
}

static void on_flush(void *arg)
{
    struct cn_redis_bus *redis = arg;
    if (redis->flying == NULL)
        send_next(redis);
}

// The batch that takes the next publish, or NULL without memory.
static struct cn_redis_batch *open_batch(struct cn_redis_bus *redis)
{
    if (!cn_list_is_empty(&redis->gathered)) {
        struct cn_redis_batch *last =
            CN_CONTAINER(redis->gathered.prev, struct cn_redis_batch, link);
        if (last->count < CN_REDIS_POSTS)
            return last;
    }
    struct cn_redis_batch *batch = malloc(sizeof(*batch));
    if (batch == NULL)
        return NULL;
    batch->redis = redis;
    batch->count = 0;
    cn_list_push_back(&redis->gathered, &batch->link);
    if (redis->flying == NULL)
        cn_timer_start(redis->flush, 0); // after all that this turn brings
    return batch;
}

static void gather(struct cn_redis_bus *redis, struct cn_publish *publish)
{
    struct cn_redis_batch *batch = cn_redis_bus_seal(redis, publish) ? open_batch(redis) : NULL;
    if (batch == NULL) {
        refuse(redis, publish, CN_NOMEM);
        return;
    }
    cn_bus_publish_depart(publish);
    batch->publishes[batch->count++] = publish;
}

void cn_redis_publish(struct cn_bus *bus, struct cn_publish *publish)
{
    struct cn_redis_bus *redis = cn_redis_bus_of(bus);
    if (!cn_redis_bus_can_send(redis) || cn_redis_replay_is_running(redis))
        return; // it is pending, and sent when that is over
    if (!cn_redis_durability_suffices(redis))
        refuse(redis, publish, CN_NOTDURABLE);
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
    cn_list_init(&redis->gathered);
    print(arguments->history_messages, (int64_t)options->history_messages);
    print(arguments->history_ttl_s, options->history_ttl_s);
    print(arguments->meta_ttl_s, options->history_ttl_s + META_EXTRA_S);
    print(arguments->dedupe_ttl_s, options->dedupe_ttl_s);
    print(arguments->replica_wait_ms, options->replica_wait_ms);
}

enum cn_err cn_redis_publish_start(struct cn_redis_bus *redis)
{
    return cn_timer_new(redis->base.reactor, on_flush, redis, &redis->flush);
}

void cn_redis_publish_fini(struct cn_redis_bus *redis)
{
    CN_ASSERT(cn_list_is_empty(&redis->gathered) && redis->flying == NULL);
    cn_timer_free(redis->flush);
}
