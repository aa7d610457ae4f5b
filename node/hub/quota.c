// SPDX-License-Identifier: MIT
// Quotas by key, in hash tables under a mutex each.
#include "chatnode/quota.h"

#include <stdlib.h>
#include <string.h>

#include "chatnode/hash.h"
#include "chatnode/list.h"
#include "chatnode/ratelimit.h"
#include "chatnode/thread.h"

enum { SHARDS = 16 };

// One part of the table; `lock` guards the rest, and all in it.
struct shard {
    struct cn_mutex lock;
    struct cn_hash table;
    struct cn_link idle; // of struct cn_quota that nobody holds, the longest unused first
    size_t idle_count;
};

struct cn_quotas {
    struct cn_quota_terms terms; // constant
    struct shard shards[SHARDS];
};

struct cn_quota {
    struct cn_hash_node node;
    struct shard *shard; // constant
    struct cn_link idle; // in the shard's list
    int64_t holders;
    struct cn_ratelimit tokens;
    char key[]; // constant
};

struct cn_quotas *cn_quotas_new(const struct cn_quota_terms *terms)
{
    struct cn_quotas *quotas = calloc(1, sizeof(*quotas));
    if (!quotas)
        return NULL;
    quotas->terms = *terms;
    for (size_t i = 0; i < SHARDS; i++) {
        cn_mutex_init(&quotas->shards[i].lock, CN_RANK_QUOTA);
        cn_hash_init(&quotas->shards[i].table);
        cn_list_init(&quotas->shards[i].idle);
    }
    return quotas;
}

static void forget_locked(struct cn_quota *quota)
{
    struct shard *shard = quota->shard;
    cn_mutex_assert_held(&shard->lock);
    CN_ASSERT(quota->holders == 0);
    cn_hash_remove(&shard->table, &quota->node);
    cn_list_remove(&quota->idle);
    shard->idle_count--;
    free(quota);
}

static struct cn_quota *oldest_idle_locked(struct shard *shard)
{
    cn_mutex_assert_held(&shard->lock);
    return cn_list_is_empty(&shard->idle) ? NULL
                                          : CN_CONTAINER(shard->idle.next, struct cn_quota, idle);
}

void cn_quotas_free(struct cn_quotas *quotas)
{
    if (!quotas)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &quotas->shards[i];
        struct cn_quota *quota;
        cn_mutex_lock(&shard->lock);
        while ((quota = oldest_idle_locked(shard)))
            forget_locked(quota);
        CN_ASSERT(shard->table.count == 0);
        cn_hash_fini(&shard->table);
        cn_mutex_unlock(&shard->lock);
        cn_mutex_fini(&shard->lock);
    }
    free(quotas);
}

// Nobody needs an idle one whose tokens are all there: it is as good as new.
static void tidy_locked(struct cn_quotas *quotas, struct shard *shard, int64_t now_ms)
{
    struct cn_quota *quota;
    while ((quota = oldest_idle_locked(shard)) &&
           (shard->idle_count > quotas->terms.idle_max / SHARDS ||
            cn_ratelimit_full_in_ms(&quota->tokens, now_ms) == 0))
        forget_locked(quota);
}

// The key's quota, made if it is not there; idle until somebody holds it. NULL without memory.
static struct cn_quota *find_or_add_locked(struct cn_quotas *quotas, struct shard *shard,
                                           struct cn_str key, int64_t now_ms)
{
    cn_mutex_assert_held(&shard->lock);
    struct cn_hash_node *node = cn_hash_find(&shard->table, key);
    if (node)
        return CN_CONTAINER(node, struct cn_quota, node);
    struct cn_quota *quota = calloc(1, sizeof(*quota) + key.len);
    if (!quota)
        return NULL;
    memcpy(quota->key, key.ptr, key.len);
    quota->node.key = (struct cn_str){quota->key, key.len};
    quota->shard = shard;
    cn_ratelimit_init(&quota->tokens, quotas->terms.burst, quotas->terms.per_s, now_ms);
    if (cn_hash_insert(&shard->table, &quota->node)) {
        free(quota);
        return NULL;
    }
    cn_list_push_back(&shard->idle, &quota->idle);
    shard->idle_count++;
    return quota;
}

static int64_t take_locked(struct cn_quota *quota, int64_t cost, int64_t now_ms)
{
    int64_t capacity = quota->tokens.capacity;
    return cn_ratelimit_take(&quota->tokens, cost < capacity ? cost : capacity, 0, now_ms);
}

static enum cn_err hold_locked(const struct cn_quotas *quotas, struct cn_quota *quota, int64_t cost,
                               int64_t now_ms, int64_t *in_ms)
{
    if (quotas->terms.holders_max > 0 && quota->holders >= quotas->terms.holders_max)
        return CN_FULL;
    *in_ms = take_locked(quota, cost, now_ms);
    if (*in_ms > 0)
        return CN_REFUSED;
    if (quota->holders++ == 0) {
        cn_list_remove(&quota->idle);
        quota->shard->idle_count--;
    }
    return CN_OK;
}

enum cn_err cn_quota_hold(struct cn_quotas *quotas, struct cn_str key, int64_t cost, int64_t now_ms,
                          struct cn_quota **out, int64_t *in_ms)
{
    CN_ASSERT(key.len <= CN_QUOTA_KEY_MAX);
    // The table inside uses the high bits of the same hash.
    struct shard *shard = &quotas->shards[cn_hash_of(key) % SHARDS];
    *in_ms = 0;
    cn_mutex_lock(&shard->lock);
    struct cn_quota *quota = find_or_add_locked(quotas, shard, key, now_ms);
    enum cn_err err = quota ? hold_locked(quotas, quota, cost, now_ms, in_ms) : CN_NOMEM;
    if (!err)
        *out = quota;
    tidy_locked(quotas, shard, now_ms);
    cn_mutex_unlock(&shard->lock);
    return err;
}

int64_t cn_quota_take(struct cn_quotas *quotas, struct cn_quota *quota, int64_t cost,
                      int64_t now_ms)
{
    (void)quotas;
    struct cn_mutex *lock = &quota->shard->lock;
    cn_mutex_lock(lock);
    int64_t in_ms = take_locked(quota, cost, now_ms);
    cn_mutex_unlock(lock);
    return in_ms;
}

void cn_quota_release(struct cn_quotas *quotas, struct cn_quota *quota, int64_t now_ms)
{
    struct shard *shard = quota->shard;
    cn_mutex_lock(&shard->lock);
    CN_ASSERT(quota->holders > 0);
    if (--quota->holders == 0) {
        cn_list_push_back(&shard->idle, &quota->idle);
        shard->idle_count++;
    }
    tidy_locked(quotas, shard, now_ms);
    cn_mutex_unlock(&shard->lock);
}

size_t cn_quotas_count(struct cn_quotas *quotas)
{
    size_t count = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        cn_mutex_lock(&quotas->shards[i].lock);
        count += quotas->shards[i].table.count;
        cn_mutex_unlock(&quotas->shards[i].lock);
    }
    return count;
}
