// SPDX-License-Identifier: MIT
// Notices in Redis: told by pub/sub, kept in one sorted set by the time when they are over. The set
// is read after each subscription, so a node that was away misses none.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "redis_private.h"

// ---- Sending ----

static void on_posted(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct cn_notice *notice = arg;
    struct cn_redis_bus *redis = cn_redis_bus_of(notice->bus);
    const redisReply *reply = data;
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(reply);
    enum cn_err err = CN_UNAVAILABLE;
    cn_redis_bus_heed(redis, outcome, reply);
    if (outcome == CN_REDIS_REFUSED)
        err = cn_redis_reply_refusal(reply);
    else if (outcome == CN_REDIS_DONE)
        err = reply->type != REDIS_REPLY_INTEGER ? CN_REFUSED
              : reply->integer == 1              ? CN_OK
                                                 : CN_NOSPACE;
    cn_bus_noticed(notice, err);
}

static bool post(struct cn_redis_bus *redis, struct cn_notice *notice)
{
    struct cn_redis_key board, channel;
    char until[24], most[16];
    cn_redis_keys_notices(&redis->keys, false, &board);
    cn_redis_keys_notices(&redis->keys, true, &channel);
    snprintf(until, sizeof(until), "%" PRId64, notice->until_ms);
    snprintf(most, sizeof(most), "%d", CN_NOTICES_MAX);
    const struct cn_str args[] = {
        CN_STR_LITERAL("EVALSHA"),
        cn_str_of(redis->sha[CN_REDIS_SCRIPT_NOTIFY]),
        CN_STR_LITERAL("1"),
        cn_redis_key_str(&board),
        {notice->text, notice->len},
        cn_str_of(until),
        cn_str_of(most),
        cn_redis_key_str(&channel),
    };
    return cn_redis_link_send(redis->cmd, on_posted, notice, CN_COUNT(args), args);
}

void cn_redis_board_notify(struct cn_bus *bus, struct cn_notice *notice)
{
    struct cn_redis_bus *redis = cn_redis_bus_of(bus);
    if (!cn_redis_bus_can_send(redis))
        cn_bus_noticed(notice, CN_UNAVAILABLE);
    else if (!cn_redis_bus_seal_notice(redis, notice) || !post(redis, notice))
        cn_bus_noticed(notice, CN_NOMEM);
}

// ---- Hearing ----

void cn_redis_board_hear(struct cn_redis_bus *redis, struct cn_str text, bool again)
{
    const struct cn_redis_judge judge = cn_redis_bus_judge(redis);
    enum cn_seal_fault fault = cn_redis_judge_notice(&judge, &text);
    if (fault == CN_SEAL_FAULT_NONE)
        redis->base.events.on_notice(redis->base.events.arg, text, again);
    else
        cn_redis_bus_drop(redis, CN_STR_LITERAL("notices"), fault, 1);
}

// ---- Reading what is kept ----

static void take_board(struct cn_redis_bus *redis, const redisReply *reply)
{
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *text = reply->element[i];
        if (text->type == REDIS_REPLY_STRING)
            cn_redis_board_hear(redis, (struct cn_str){text->str, text->len}, true);
    }
    redis->base.events.on_noticed(redis->base.events.arg);
}

// When it was refused it is tried again by the tick.
static void on_board(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct cn_redis_bus *redis = arg;
    const redisReply *reply = data;
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(reply);
    bool is_board = outcome == CN_REDIS_DONE && reply->type == REDIS_REPLY_ARRAY;
    redis->board_read = CN_REDIS_BOARD_DUE;
    cn_redis_bus_heed(redis, outcome, reply);
    if (!is_board || redis->base.stopped)
        return;
    redis->board_read = redis->board_again ? CN_REDIS_BOARD_DUE : CN_REDIS_BOARD_DONE;
    redis->board_again = false;
    take_board(redis, reply);
    cn_redis_board_pump(redis);
}

void cn_redis_board_pump(struct cn_redis_bus *redis)
{
    struct cn_redis_key board;
    char most[16], bytes[16];
    if (redis->board_read != CN_REDIS_BOARD_DUE || !cn_redis_bus_can_send(redis))
        return;
    cn_redis_keys_notices(&redis->keys, false, &board);
    snprintf(most, sizeof(most), "%d", CN_NOTICES_MAX);
    snprintf(bytes, sizeof(bytes), "%d", CN_NOTICE_BYTES_MAX + CN_SEAL_BYTES);
    const struct cn_str args[] = {
        CN_STR_LITERAL("EVALSHA"), cn_str_of(redis->sha[CN_REDIS_SCRIPT_NOTICES]),
        CN_STR_LITERAL("1"),       cn_redis_key_str(&board),
        cn_str_of(most),           cn_str_of(bytes),
    };
    redis->board_read = CN_REDIS_BOARD_UNDER_WAY;
    if (cn_redis_link_send(redis->cmd, on_board, redis, CN_COUNT(args), args))
        return;
    redis->board_read = CN_REDIS_BOARD_DUE;
    cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
}

void cn_redis_board_subscribe(struct cn_redis_bus *redis)
{
    struct cn_redis_key channel;
    cn_redis_keys_notices(&redis->keys, true, &channel);
    const struct cn_str args[] = {CN_STR_LITERAL("SUBSCRIBE"), cn_redis_key_str(&channel)};
    if (!cn_redis_link_send(redis->sub, cn_redis_subs_on_push, redis, CN_COUNT(args), args))
        cn_redis_link_fail(redis->sub, CN_CAUSE_MEMORY, "out of memory");
}

// One that is under way would do, were it not for what came before the subscription stood.
void cn_redis_board_subscribed(struct cn_redis_bus *redis)
{
    if (redis->board_read == CN_REDIS_BOARD_UNDER_WAY) {
        redis->board_again = true;
        return;
    }
    redis->board_read = CN_REDIS_BOARD_DUE;
    cn_redis_board_pump(redis);
}
