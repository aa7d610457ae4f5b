// SPDX-License-Identifier: MIT
// Subscriptions as Redis sees them: SUBSCRIBE and UNSUBSCRIBE in batches, one change of a channel
// under way at a time, and the messages that come in.
#include <stdlib.h>
#include <string.h>

#include "redis_private.h"

#include "chatnode/log.h"

#define RETRY_MS 1000

// ---- Channels ----

struct cn_redis_channel *cn_redis_subs_find(const struct cn_redis_subs *subs,
                                            const struct cn_channel_name *name)
{
    struct cn_hash_node *node = cn_hash_find(&subs->channels, cn_channel_name_str(name));
    return node ? CN_CONTAINER(node, struct cn_redis_channel, node) : NULL;
}

static struct cn_redis_channel *make_channel(struct cn_redis_subs *subs,
                                             const struct cn_channel_name *name)
{
    struct cn_redis_channel *channel = calloc(1, sizeof(*channel) + name->len);
    if (channel == NULL)
        return NULL;
    memcpy(channel->name, name->text, name->len);
    channel->node.key = (struct cn_str){channel->name, name->len};
    cn_list_init(&channel->dirty);
    cn_list_init(&channel->turn);
    if (cn_hash_insert(&subs->channels, &channel->node) != CN_OK) {
        free(channel);
        return NULL;
    }
    cn_list_push_back(&subs->checks, &channel->check);
    return channel;
}

static void free_channel(struct cn_redis_subs *subs, struct cn_redis_channel *channel)
{
    cn_redis_catchup_cancel(channel);
    cn_list_remove(&channel->dirty);
    cn_list_remove(&channel->check);
    cn_hash_remove(&subs->channels, &channel->node);
    free(channel);
}

// The channel's subscription must be changed in the next turn.
static void mark_dirty(struct cn_redis_bus *redis, struct cn_redis_channel *channel)
{
    struct cn_redis_subs *subs = &redis->subs;
    if (cn_list_is_linked(&channel->dirty))
        return;
    if (cn_list_is_empty(&subs->dirty) && subs->flush && cn_redis_link_is_up(redis->sub))
        cn_timer_start(subs->flush, 0);
    cn_list_push_back(&subs->dirty, &channel->dirty);
}

// ---- What the bus's user wants ----

enum cn_err cn_redis_subs_subscribe(struct cn_redis_bus *redis, const struct cn_channel_name *name)
{
    struct cn_redis_channel *channel = cn_redis_subs_find(&redis->subs, name);
    if (channel == NULL)
        channel = make_channel(&redis->subs, name);
    if (channel == NULL)
        return CN_NOMEM;
    CN_ASSERT(!channel->wanted);
    channel->wanted = true;
    channel->opened = false;
    channel->epoch++;
    if (channel->wire == CN_REDIS_OUT) {
        mark_dirty(redis, channel);
    } else if (channel->wire == CN_REDIS_IN) {
        cn_list_remove(&channel->dirty); // it was to be unsubscribed
        cn_redis_catchup_begin(redis, channel);
    }
    return CN_OK;
}

void cn_redis_subs_unsubscribe(struct cn_redis_bus *redis, const struct cn_channel_name *name)
{
    struct cn_redis_channel *channel = cn_redis_subs_find(&redis->subs, name);
    if (channel == NULL)
        return;
    channel->wanted = false;
    channel->epoch++;
    cn_redis_catchup_cancel(channel);
    if (channel->wire == CN_REDIS_OUT)
        free_channel(&redis->subs, channel);
    else if (channel->wire == CN_REDIS_IN)
        mark_dirty(redis, channel);
}

// ---- What Redis says ----

static struct cn_str text_of(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING)
        return (struct cn_str){NULL, 0};
    return (struct cn_str){reply->str, reply->len};
}

static void on_confirmed(struct cn_redis_bus *redis, struct cn_redis_channel *channel)
{
    if (channel->wire != CN_REDIS_JOINING)
        return;
    channel->wire = CN_REDIS_IN;
    if (channel->wanted)
        cn_redis_catchup_begin(redis, channel);
    else
        mark_dirty(redis, channel);
}

static void on_left(struct cn_redis_bus *redis, struct cn_redis_channel *channel)
{
    if (channel->wire != CN_REDIS_LEAVING)
        return;
    channel->wire = CN_REDIS_OUT;
    if (channel->wanted)
        mark_dirty(redis, channel);
    else
        free_channel(&redis->subs, channel);
}

static void on_message(struct cn_redis_bus *redis, struct cn_redis_channel *channel,
                       struct cn_str text)
{
    struct cn_pos pos;
    if (!channel->wanted || channel->wire != CN_REDIS_IN)
        return;
    const struct cn_redis_judge judge = cn_redis_bus_judge(redis);
    const struct cn_channel_name name = cn_redis_channel_name(channel);
    enum cn_seal_fault fault = cn_redis_judge_entry(&judge, &name, &text, &pos);
    if (fault == CN_SEAL_FAULT_NONE)
        cn_redis_catchup_live(redis, channel, pos, text);
    else
        cn_redis_bus_drop(redis, cn_channel_name_str(&name), fault, 1);
}

// What stands for none of our channels: the heartbeat's, the notices', or nothing to us.
static void on_other(struct cn_redis_bus *redis, struct cn_str kind, struct cn_str channel,
                     struct cn_str text)
{
    struct cn_redis_key heartbeat, notices;
    cn_redis_keys_heartbeat(&redis->keys, &heartbeat);
    cn_redis_keys_notices(&redis->keys, true, &notices);
    if (cn_str_equal(channel, cn_redis_key_str(&heartbeat)))
        cn_redis_bus_heard(redis);
    else if (!cn_str_equal(channel, cn_redis_key_str(&notices)))
        return;
    else if (cn_str_equal(kind, CN_STR_LITERAL("subscribe")))
        cn_redis_board_subscribed(redis);
    else if (cn_str_equal(kind, CN_STR_LITERAL("message")))
        cn_redis_board_hear(redis, text, false);
}

void cn_redis_subs_on_push(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct cn_redis_bus *redis = arg;
    const redisReply *reply = data;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        redis->base.stopped || !cn_redis_link_is_up(redis->sub))
        return;
    struct cn_str kind = text_of(reply->element[0]);
    struct cn_channel_name name;
    if (cn_redis_keys_parse_channel(&redis->keys, text_of(reply->element[1]), &name) != CN_OK) {
        on_other(redis, kind, text_of(reply->element[1]), text_of(reply->element[2]));
        return;
    }
    struct cn_redis_channel *channel = cn_redis_subs_find(&redis->subs, &name);
    if (channel == NULL)
        return;
    if (cn_str_equal(kind, CN_STR_LITERAL("message")))
        on_message(redis, channel, text_of(reply->element[2]));
    else if (cn_str_equal(kind, CN_STR_LITERAL("subscribe")))
        on_confirmed(redis, channel);
    else if (cn_str_equal(kind, CN_STR_LITERAL("unsubscribe")))
        on_left(redis, channel);
}

// ---- Batches ----

static bool send_batch(struct cn_redis_bus *redis, bool join, size_t count)
{
    struct cn_redis_subs *subs = &redis->subs;
    if (count == 0)
        return true;
    subs->args[0] = join ? CN_STR_LITERAL("SUBSCRIBE") : CN_STR_LITERAL("UNSUBSCRIBE");
    if (cn_redis_link_send(redis->sub, cn_redis_subs_on_push, redis, count + 1, subs->args))
        return true;
    cn_redis_link_fail(redis->sub, CN_CAUSE_MEMORY, "out of memory");
    return false;
}

// Sends the changes of one kind; false when the link failed over it.
static bool flush_kind(struct cn_redis_bus *redis, bool join)
{
    struct cn_redis_subs *subs = &redis->subs;
    size_t count = 0;
    CN_LIST_EACH_SAFE (link, &subs->dirty) {
        struct cn_redis_channel *channel = CN_CONTAINER(link, struct cn_redis_channel, dirty);
        if (channel->wanted != join)
            continue;
        cn_list_remove(&channel->dirty);
        channel->wire = join ? CN_REDIS_JOINING : CN_REDIS_LEAVING;
        const struct cn_channel_name name = cn_redis_channel_name(channel);
        cn_redis_keys_channel(&redis->keys, &name, &subs->keys[count]);
        subs->args[count + 1] = cn_redis_key_str(&subs->keys[count]);
        if (++count < CN_REDIS_BATCH)
            continue;
        if (!send_batch(redis, join, count))
            return false;
        count = 0;
    }
    return send_batch(redis, join, count);
}

static void on_flush(void *arg)
{
    struct cn_redis_bus *redis = arg;
    if (cn_redis_link_is_up(redis->sub) && flush_kind(redis, false))
        (void)flush_kind(redis, true);
}

void cn_redis_subs_beat(struct cn_redis_bus *redis)
{
    struct cn_redis_key key;
    cn_redis_keys_heartbeat(&redis->keys, &key);
    const struct cn_str args[] = {CN_STR_LITERAL("SUBSCRIBE"), cn_redis_key_str(&key)};
    if (!cn_redis_link_send(redis->sub, cn_redis_subs_on_push, redis, CN_COUNT(args), args))
        cn_redis_link_fail(redis->sub, CN_CAUSE_MEMORY, "out of memory");
}

// The heartbeat's confirmation comes last, and says that the bus is up.
void cn_redis_subs_up(struct cn_redis_bus *redis)
{
    cn_redis_board_subscribe(redis);
    if (cn_redis_link_is_up(redis->sub))
        cn_redis_subs_beat(redis);
    cn_timer_start(redis->subs.flush, 0);
}

// Nothing is subscribed any more: all that is wanted is subscribed, and read, once it is up again.
void cn_redis_subs_down(struct cn_redis_bus *redis)
{
    struct cn_redis_subs *subs = &redis->subs;
    CN_HASH_EACH (node, &subs->channels) {
        struct cn_redis_channel *channel = CN_CONTAINER(node, struct cn_redis_channel, node);
        if (!channel->wanted) {
            free_channel(subs, channel);
            continue;
        }
        cn_redis_catchup_cancel(channel);
        channel->wire = CN_REDIS_OUT;
        mark_dirty(redis, channel);
    }
}

// ---- Life ----

static void on_retry(void *arg)
{
    struct cn_redis_bus *redis = arg;
    cn_redis_catchup_retry(redis);
    cn_redis_check(redis, RETRY_MS);
    cn_redis_replay_tick(redis);
    cn_redis_board_pump(redis);
    cn_timer_start(redis->subs.retry, RETRY_MS);
}

void cn_redis_subs_init(struct cn_redis_subs *subs)
{
    cn_hash_init(&subs->channels);
    cn_list_init(&subs->dirty);
    cn_list_init(&subs->reads);
    cn_list_init(&subs->later);
    cn_list_init(&subs->checks);
}

enum cn_err cn_redis_subs_start(struct cn_redis_bus *redis)
{
    struct cn_redis_subs *subs = &redis->subs;
    enum cn_err err = cn_timer_new(redis->base.reactor, on_flush, redis, &subs->flush);
    if (err == CN_OK)
        err = cn_timer_new(redis->base.reactor, on_retry, redis, &subs->retry);
    if (err == CN_OK)
        cn_timer_start(subs->retry, RETRY_MS);
    return err;
}

void cn_redis_subs_fini(struct cn_redis_subs *subs)
{
    CN_HASH_EACH (node, &subs->channels)
        free_channel(subs, CN_CONTAINER(node, struct cn_redis_channel, node));
    cn_hash_fini(&subs->channels);
    cn_timer_free(subs->flush);
    cn_timer_free(subs->retry);
}
