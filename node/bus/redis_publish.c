// SPDX-License-Identifier: MIT
// Publishes on their way into Redis, one script call each, and their answers; where acks must wait
// for a replica, one WAIT for all of a turn.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_private.h"

// The lineage outlives the log, so that a clock that is set back does not bring positions back.
#define META_EXTRA_S 86400

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

static void on_published(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct cn_publish *publish = arg;
    struct cn_redis_bus *redis = cn_redis_bus_of(publish->bus);
    const redisReply *reply = data;
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(reply);
    cn_redis_bus_heed(redis, outcome, reply);
    if (outcome == CN_REDIS_DONE) {
        on_stored(redis, publish, reply);
    } else if (outcome == CN_REDIS_REFUSED) {
        const struct cn_published refusal = {.err = cn_redis_reply_refusal(reply)};
        redis->base.stats.refused++;
        answer(redis, publish, &refusal);
    }
    cn_bus_publish_arrive(publish);
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

void cn_redis_publish_forget(struct cn_redis_bus *redis)
{
    release_stored(redis, NULL, false);
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

static void on_wait_due(void *arg)
{
    struct cn_redis_bus *redis = arg;
    redis->wait_is_due = false;
    const struct cn_str args[] = {CN_STR_LITERAL("WAIT"), CN_STR_LITERAL("1"),
                                  cn_str_of(redis->arguments.replica_wait_ms)};
    if (cn_redis_link_is_up(redis->cmd) &&
        !cn_redis_link_send(redis->cmd, on_waited, redis, CN_COUNT(args), args))
        cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
}

// ---- Sending ----

bool cn_redis_publish_send(struct cn_redis_bus *redis, redisCallbackFn *fn, void *subject,
                           const struct cn_redis_post *post)
{
    const struct cn_redis_arguments *arguments = &redis->arguments;
    struct cn_redis_key log, meta, id, channel;
    cn_redis_keys_log(&redis->keys, post->channel, &log);
    cn_redis_keys_meta(&redis->keys, post->channel, &meta);
    cn_redis_keys_id(&redis->keys, post->channel, post->user, post->id, &id);
    cn_redis_keys_channel(&redis->keys, post->channel, &channel);
    const struct cn_str args[] = {
        CN_STR_LITERAL("EVALSHA"),
        cn_str_of(redis->sha[CN_REDIS_SCRIPT_PUBLISH]),
        CN_STR_LITERAL("3"),
        cn_redis_key_str(&log),
        cn_redis_key_str(&meta),
        cn_redis_key_str(&id),
        cn_redis_key_str(&channel),
        post->body,
        cn_str_of(arguments->history_messages),
        cn_str_of(arguments->history_ttl_s),
        cn_str_of(arguments->meta_ttl_s),
        cn_str_of(arguments->dedupe_ttl_s),
        cn_redis_bus_waits(redis) ? CN_STR_LITERAL("1") : CN_STR_LITERAL("0"),
    };
    return cn_redis_link_send(redis->cmd, fn, subject, CN_COUNT(args), args);
}

static bool submit(struct cn_redis_bus *redis, struct cn_publish *publish)
{
    const struct cn_redis_post post = {
        &publish->channel, publish->user, publish->id, {publish->body, publish->body_len}};
    if (!cn_redis_publish_send(redis, on_published, publish, &post))
        return false;
    if (cn_redis_bus_waits(redis) && !redis->wait_is_due) {
        redis->wait_is_due = true;
        cn_timer_start(redis->wait_timer, 0); // after all that this turn sends
    }
    return true;
}

void cn_redis_publish(struct cn_bus *bus, struct cn_publish *publish)
{
    struct cn_redis_bus *redis = cn_redis_bus_of(bus);
    const struct cn_published refusal = {.err = CN_NOTDURABLE};
    if (!cn_redis_bus_can_send(redis) || cn_redis_replay_is_running(redis))
        return; // it is pending, and sent when that is over
    if (!cn_redis_durability_suffices(redis)) {
        redis->base.stats.refused++;
        answer(redis, publish, &refusal);
        return;
    }
    cn_bus_publish_depart(publish);
    if (submit(redis, publish))
        return;
    cn_bus_publish_arrive(publish);
    cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
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

enum cn_err cn_redis_publish_start(struct cn_redis_bus *redis)
{
    return cn_timer_new(redis->base.reactor, on_wait_due, redis, &redis->wait_timer);
}

void cn_redis_publish_fini(struct cn_redis_bus *redis)
{
    CN_ASSERT(cn_list_is_empty(&redis->stored));
    cn_timer_free(redis->wait_timer);
}
