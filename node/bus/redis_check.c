// SPDX-License-Identifier: MIT
// The slow check: each subscribed channel's last position is compared with the end of its log now
// and then. It finds what no later message would show: a lost last message, an emptied log.
#include <stdio.h>
#include <stdlib.h>

#include "redis_private.h"

enum { LOGS_MAX = 64 };

// A check under way: names, since a channel may go meanwhile.
struct check {
    struct cn_redis_bus *redis;
    size_t count;
    struct {
        struct cn_channel_name name;
        struct cn_pos last;
    } at[LOGS_MAX];
};

// True when nothing came since the question was sent, and yet the log ends elsewhere.
static bool is_off(const struct cn_redis_channel *channel, struct cn_pos asked, struct cn_pos tail)
{
    return channel->wanted && channel->live && cn_pos_compare(channel->last, asked) == 0 &&
           cn_pos_compare(tail, asked) != 0;
}

// The answer may have overtaken a message that is on its way on the other connection, so the
// channel is asked once more, soon.
static bool is_off_again(struct cn_redis_bus *redis, struct cn_redis_channel *channel)
{
    if (channel->suspect && cn_pos_compare(channel->suspect_at, channel->last) == 0)
        return true;
    channel->suspect = true;
    channel->suspect_at = channel->last;
    cn_list_remove(&channel->check);
    cn_list_push_front(&redis->subs.checks, &channel->check);
    return false;
}

static void compare(struct cn_redis_bus *redis, const struct check *check, const redisReply *reply)
{
    for (size_t i = 0; i < check->count && i < reply->elements; i++) {
        struct cn_pos tail;
        redis->base.stats.checks++;
        const redisReply *text = reply->element[i];
        if (text->type != REDIS_REPLY_STRING ||
            cn_pos_parse((struct cn_str){text->str, text->len}, &tail) != CN_OK)
            continue;
        struct cn_redis_channel *channel = cn_redis_subs_find(&redis->subs, &check->at[i].name);
        if (channel == NULL)
            continue;
        if (!is_off(channel, check->at[i].last, tail)) {
            channel->suspect = false;
        } else if (is_off_again(redis, channel)) {
            channel->suspect = false;
            redis->base.stats.checks_off++;
            cn_redis_bus_warn(redis, "bus.check", "a channel was not at the end of its log",
                              "a message was lost on the way, or its log was");
            cn_redis_catchup_begin(redis, channel);
        }
    }
}

static void on_tails(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct check *check = arg;
    struct cn_redis_bus *redis = check->redis;
    const redisReply *reply = data;
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(reply);
    cn_redis_bus_heed(redis, outcome, reply);
    if (outcome == CN_REDIS_DONE && reply->type == REDIS_REPLY_ARRAY && !redis->base.stopped)
        compare(redis, check, reply);
    free(check);
}

static bool submit(struct cn_redis_bus *redis, struct check *check)
{
    struct cn_redis_key keys[LOGS_MAX][2];
    struct cn_str args[2 * LOGS_MAX + 3];
    char count[16];
    snprintf(count, sizeof(count), "%zu", 2 * check->count);
    args[0] = CN_STR_LITERAL("EVALSHA");
    args[1] = cn_str_of(redis->sha[CN_REDIS_SCRIPT_TAILS]);
    args[2] = cn_str_of(count);
    for (size_t i = 0; i < check->count; i++) {
        cn_redis_keys_log(&redis->keys, &check->at[i].name, &keys[i][0]);
        cn_redis_keys_meta(&redis->keys, &check->at[i].name, &keys[i][1]);
        args[2 * i + 3] = cn_redis_key_str(&keys[i][0]);
        args[2 * i + 4] = cn_redis_key_str(&keys[i][1]);
    }
    return cn_redis_link_send(redis->cmd, on_tails, check, 2 * check->count + 3, args);
}

// Takes the next channels in turn, at most `max`; false when there was nothing to ask.
static bool ask(struct cn_redis_bus *redis, size_t max)
{
    struct cn_redis_subs *subs = &redis->subs;
    struct check *check = malloc(sizeof(*check));
    if (check == NULL)
        return false; // the next turn comes
    check->redis = redis;
    check->count = 0;
    for (size_t met = 0; met < max && check->count < LOGS_MAX; met++) {
        struct cn_link *link = cn_list_pop_front(&subs->checks);
        if (link == NULL)
            break;
        struct cn_redis_channel *channel = CN_CONTAINER(link, struct cn_redis_channel, check);
        cn_list_push_back(&subs->checks, link);
        if (!channel->live)
            continue;
        check->at[check->count].name = cn_redis_channel_name(channel);
        check->at[check->count++].last = channel->last;
    }
    if (check->count > 0 && submit(redis, check))
        return true;
    free(check);
    return false;
}

void cn_redis_check(struct cn_redis_bus *redis, int64_t passed_ms)
{
    struct cn_redis_subs *subs = &redis->subs;
    int64_t period = redis->base.options.check_ms;
    if (period == 0 || !cn_redis_bus_can_send(redis))
        return;
    size_t all = subs->channels.count;
    size_t due = (all * (size_t)passed_ms + (size_t)period - 1) / (size_t)period;
    for (due = due < all ? due : all; due > 0; due -= due < LOGS_MAX ? due : LOGS_MAX)
        if (!ask(redis, due < LOGS_MAX ? due : LOGS_MAX))
            return;
}
