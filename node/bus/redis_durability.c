// SPDX-License-Identifier: MIT
// What this Redis can promise: it is asked for its settings, its file and its replicas when a
// connection is made and now and then after that.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_private.h"

#include "chatnode/clock.h"
#include "chatnode/log.h"

#define REPLICAS_MAX 64

// ---- Reading ----

static bool info_is(const redisReply *info, const char *field, const char *value)
{
    char text[64];
    return cn_redis_reply_info(info, field, text, sizeof(text)) && strcmp(text, value) == 0;
}

static unsigned info_number(const redisReply *info, const char *field)
{
    char text[32];
    return cn_redis_reply_info(info, field, text, sizeof(text)) ? (unsigned)strtoul(text, NULL, 10)
                                                                : 0;
}

static unsigned count_replicas(const redisReply *info)
{
    unsigned online = 0, connected = info_number(info, "connected_slaves");
    for (unsigned i = 0; i < connected && i < REPLICAS_MAX; i++) {
        char field[16], text[256];
        snprintf(field, sizeof(field), "slave%u", i);
        online += cn_redis_reply_info(info, field, text, sizeof(text)) &&
                  strstr(text, "state=online") != NULL;
    }
    return online;
}

// The value that follows the name in CONFIG GET's flat list, or NULL.
static const char *setting(const redisReply *config, const char *name)
{
    for (size_t i = 0; i + 1 < config->elements; i += 2) {
        const redisReply *key = config->element[i], *value = config->element[i + 1];
        if (key->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING &&
            strcmp(key->str, name) == 0)
            return value->str;
    }
    return NULL;
}

static bool setting_is(const redisReply *config, const char *name, const char *value)
{
    const char *found = setting(config, name);
    return found && strcmp(found, value) == 0;
}

// ---- Telling ----

static const char *explain(const struct cn_store *store)
{
    if (store->evicts)
        return "maxmemory-policy lets Redis drop what was acked; set noeviction";
    if (store->config_hidden)
        return "CONFIG GET is not allowed: appendfsync is taken for everysec";
    if (!store->aof)
        return "appendonly is off: what was acked is lost when Redis ends";
    if (store->fsync_never)
        return "appendfsync is no: a power failure may cost the last half a minute";
    return "";
}

// By members: what lies between them is nobody's.
static bool is_same(const struct cn_store *one, const struct cn_store *other)
{
    return one->aof == other->aof && one->fsync_always == other->fsync_always &&
           one->fsync_never == other->fsync_never && one->evicts == other->evicts &&
           one->config_hidden == other->config_hidden && one->replicas == other->replicas &&
           one->min_replicas == other->min_replicas;
}

static void tell(struct cn_redis_bus *redis)
{
    struct cn_redis_promise *promise = &redis->promise;
    const struct cn_store *store = &promise->asked;
    const struct cn_bus_events *events = &redis->base.events;
    enum cn_durability found = cn_durability_of(store, cn_redis_bus_waits(redis));
    bool same = promise->known && found == promise->durability && is_same(store, &promise->store);
    promise->known = true;
    promise->durability = found;
    promise->store = *store;
    if (same || redis->base.stopped)
        return;
    CN_LOG(INFO, "bus.durability", "what an ack promises",
           CN_F_STR("durability", cn_durability_word(found)),
           CN_F_STR("means", cn_durability_promise(found)), CN_F_INT("replicas", store->replicas),
           CN_F_INT("min_replicas", store->min_replicas));
    if (explain(store)[0])
        CN_LOG(WARN, "bus.durability", explain(store));
    if (found < redis->base.options.required)
        CN_LOG(ERROR, "bus.durability", "publishes are refused: require-durability is not met",
               CN_F_STR("required", cn_durability_word(redis->base.options.required)),
               CN_F_STR("durability", cn_durability_word(found)));
    events->on_durability(events->arg, found, store);
}

static void on_config(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct cn_redis_bus *redis = arg;
    const redisReply *config = data;
    struct cn_store *store = &redis->promise.asked;
    if (config == NULL)
        return;
    memset(store, 0, sizeof(*store)); // with its padding: it is compared
    store->config_hidden = config->type != REDIS_REPLY_ARRAY;
    if (store->config_hidden)
        return;
    const char *least = setting(config, "min-replicas-to-write");
    store->fsync_always = setting_is(config, "appendfsync", "always") &&
                          setting_is(config, "no-appendfsync-on-rewrite", "no");
    store->fsync_never = setting_is(config, "appendfsync", "no");
    store->min_replicas = least ? (unsigned)strtoul(least, NULL, 10) : 0;
}

// A master may be demoted, or take up another's data, without closing a connection.
static bool is_same_master(struct cn_redis_bus *redis, const redisReply *info)
{
    if (!info_is(info, "role", "master")) {
        cn_redis_link_fail(redis->cmd, CN_CAUSE_REPLICA, "this Redis has become a replica");
        return false;
    }
    if (!info_is(info, "master_replid", cn_redis_link_lineage(redis->cmd))) {
        cn_redis_link_fail(redis->cmd, CN_CAUSE_REPLICA, "this Redis has begun a new lineage");
        return false;
    }
    redis->promise.good_ms = redis->promise.asked_ms;
    return true;
}

static void on_info(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct cn_redis_bus *redis = arg;
    const redisReply *info = data;
    struct cn_store *store = &redis->promise.asked;
    if (info == NULL || info->type == REDIS_REPLY_ERROR || !is_same_master(redis, info))
        return;
    store->aof =
        info_is(info, "aof_enabled", "1") && !info_is(info, "aof_last_write_status", "err");
    store->evicts =
        !info_is(info, "maxmemory", "0") && !info_is(info, "maxmemory_policy", "noeviction");
    store->replicas = count_replicas(info);
    tell(redis);
}

// ---- Asking ----

bool cn_redis_durability_ask(struct cn_redis_bus *redis)
{
    static const struct cn_str config[] = {
        CN_STR_LITERAL("CONFIG"), CN_STR_LITERAL("GET"), CN_STR_LITERAL("appendfsync"),
        CN_STR_LITERAL("no-appendfsync-on-rewrite"), CN_STR_LITERAL("min-replicas-to-write")};
    static const struct cn_str info[] = {CN_STR_LITERAL("INFO"), CN_STR_LITERAL("persistence"),
                                         CN_STR_LITERAL("memory"), CN_STR_LITERAL("replication")};
    redis->promise.asked_ms = cn_clock_ms();
    return cn_redis_link_send(redis->cmd, on_config, redis, CN_COUNT(config), config) &&
           cn_redis_link_send(redis->cmd, on_info, redis, CN_COUNT(info), info);
}

bool cn_redis_durability_suffices(const struct cn_redis_bus *redis)
{
    return redis->promise.durability >= redis->base.options.required;
}
