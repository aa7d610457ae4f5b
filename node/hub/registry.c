// SPDX-License-Identifier: MIT
// The registry: sessions by id and by user in sharded hash tables under rwlocks.
#include "chatnode/registry.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "chatnode/thread.h"

enum { SHARDS = 32 };

// One part of a table; `lock` guards `table` and everything linked into it.
struct shard {
    struct cn_rwlock lock;
    struct cn_hash table;
};

struct cn_registry {
    struct shard by_id[SHARDS];   // of struct cn_registration
    struct shard by_user[SHARDS]; // of struct user
    atomic_uint_fast64_t next_id;
    atomic_size_t count;
    size_t per_user_max; // constant; 0: any number
};

// A user with at least one session here; guarded by its shard.
struct user {
    struct cn_hash_node node;
    struct cn_link sessions; // of struct cn_registration, by of_user
    size_t count;
    char name[]; // with a NUL; constant
};

static struct cn_str id_key(const uint64_t *id)
{
    return (struct cn_str){(const char *)id, sizeof(*id)};
}

static struct shard *shard_of(struct shard *shards, struct cn_str key)
{
    // The table inside uses the high bits of the same hash.
    return &shards[cn_hash_of(key) % SHARDS];
}

struct cn_registry *cn_registry_new(size_t per_user_max)
{
    struct cn_registry *registry = calloc(1, sizeof(*registry));
    if (!registry)
        return NULL;
    for (size_t i = 0; i < SHARDS; i++) {
        cn_rwlock_init(&registry->by_id[i].lock, CN_RANK_REGISTRY_SESSION);
        cn_rwlock_init(&registry->by_user[i].lock, CN_RANK_REGISTRY_USER);
        cn_hash_init(&registry->by_id[i].table);
        cn_hash_init(&registry->by_user[i].table);
    }
    atomic_init(&registry->next_id, 1);
    registry->per_user_max = per_user_max;
    return registry;
}

static void shard_fini(struct shard *shard)
{
    CN_ASSERT(shard->table.count == 0);
    cn_hash_fini(&shard->table);
    cn_rwlock_fini(&shard->lock);
}

void cn_registry_free(struct cn_registry *registry)
{
    if (!registry)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        shard_fini(&registry->by_id[i]);
        shard_fini(&registry->by_user[i]);
    }
    free(registry);
}

static struct user *find_user_locked(struct shard *shard, struct cn_str name)
{
    cn_rwlock_assert_held(&shard->lock);
    struct cn_hash_node *node = cn_hash_find(&shard->table, name);
    return node ? CN_CONTAINER(node, struct user, node) : NULL;
}

static struct user *add_user_locked(struct shard *shard, struct cn_str name)
{
    cn_rwlock_assert_held(&shard->lock);
    struct user *user = calloc(1, sizeof(*user) + name.len + 1);
    if (!user)
        return NULL;
    cn_list_init(&user->sessions);
    memcpy(user->name, name.ptr, name.len);
    user->node.key = (struct cn_str){user->name, name.len};
    if (!cn_hash_insert(&shard->table, &user->node))
        return user;
    free(user);
    return NULL;
}

static bool has_room_locked(const struct cn_registry *registry, const struct user *user)
{
    return registry->per_user_max == 0 || user->count < registry->per_user_max;
}

static enum cn_err add_to_user(struct cn_registry *registry, struct cn_str name,
                               struct cn_registration *entry)
{
    struct shard *shard = shard_of(registry->by_user, name);
    cn_rwlock_write(&shard->lock);
    struct user *user = find_user_locked(shard, name);
    if (!user)
        user = add_user_locked(shard, name);
    enum cn_err err = !user ? CN_NOMEM : has_room_locked(registry, user) ? CN_OK : CN_FULL;
    if (!err) {
        cn_list_push_back(&user->sessions, &entry->of_user);
        user->count++;
        entry->user = user->name;
    }
    cn_rwlock_unlock(&shard->lock);
    return err;
}

static void remove_from_user(struct cn_registry *registry, struct cn_registration *entry)
{
    struct cn_str name = cn_str_of(entry->user);
    struct shard *shard = shard_of(registry->by_user, name);
    cn_rwlock_write(&shard->lock);
    struct user *user = find_user_locked(shard, name);
    CN_ASSERT(user);
    cn_list_remove(&entry->of_user);
    entry->user = NULL;
    user->count--;
    bool last = cn_list_is_empty(&user->sessions);
    if (last)
        cn_hash_remove(&shard->table, &user->node);
    cn_rwlock_unlock(&shard->lock);
    if (last)
        free(user);
}

static enum cn_err add_by_id(struct cn_registry *registry, struct cn_registration *entry)
{
    entry->by_id.key = id_key(&entry->id);
    struct shard *shard = shard_of(registry->by_id, entry->by_id.key);
    cn_rwlock_write(&shard->lock);
    enum cn_err err = cn_hash_insert(&shard->table, &entry->by_id);
    cn_rwlock_unlock(&shard->lock);
    return err;
}

static void remove_by_id(struct cn_registry *registry, struct cn_registration *entry)
{
    struct shard *shard = shard_of(registry->by_id, entry->by_id.key);
    cn_rwlock_write(&shard->lock);
    cn_hash_remove(&shard->table, &entry->by_id);
    cn_rwlock_unlock(&shard->lock);
}

enum cn_err cn_registry_add(struct cn_registry *registry, struct cn_str user,
                            struct cn_registration *entry)
{
    entry->id = atomic_fetch_add_explicit(&registry->next_id, 1, memory_order_relaxed);
    enum cn_err err = add_by_id(registry, entry);
    if (err)
        return err;
    if (user.ptr)
        err = add_to_user(registry, user, entry);
    if (err) {
        remove_by_id(registry, entry);
        return err;
    }
    atomic_fetch_add_explicit(&registry->count, 1, memory_order_relaxed);
    return CN_OK;
}

enum cn_err cn_registry_name(struct cn_registry *registry, struct cn_str user,
                             struct cn_registration *entry)
{
    CN_ASSERT(!entry->user);
    return add_to_user(registry, user, entry);
}

void cn_registry_remove(struct cn_registry *registry, struct cn_registration *entry)
{
    remove_by_id(registry, entry);
    if (entry->user)
        remove_from_user(registry, entry);
    atomic_fetch_sub_explicit(&registry->count, 1, memory_order_relaxed);
}

struct cn_registration *cn_registry_find(struct cn_registry *registry, uint64_t id)
{
    struct shard *shard = shard_of(registry->by_id, id_key(&id));
    cn_rwlock_read(&shard->lock);
    struct cn_hash_node *node = cn_hash_find(&shard->table, id_key(&id));
    cn_rwlock_unlock(&shard->lock);
    return node ? CN_CONTAINER(node, struct cn_registration, by_id) : NULL;
}

enum cn_err cn_registry_find_loop(struct cn_registry *registry, uint64_t id, unsigned *loop)
{
    struct shard *shard = shard_of(registry->by_id, id_key(&id));
    cn_rwlock_read(&shard->lock);
    struct cn_hash_node *node = cn_hash_find(&shard->table, id_key(&id));
    if (node)
        *loop = CN_CONTAINER(node, struct cn_registration, by_id)->loop;
    cn_rwlock_unlock(&shard->lock);
    return node ? CN_OK : CN_NOTFOUND;
}

size_t cn_registry_user_sessions(struct cn_registry *registry, struct cn_str user, uint64_t *ids,
                                 size_t max)
{
    size_t count = 0;
    struct shard *shard = shard_of(registry->by_user, user);
    cn_rwlock_read(&shard->lock);
    struct user *found = find_user_locked(shard, user);
    if (found) {
        CN_LIST_EACH (link, &found->sessions) {
            if (count < max)
                ids[count] = CN_CONTAINER(link, struct cn_registration, of_user)->id;
            count++;
        }
    }
    cn_rwlock_unlock(&shard->lock);
    return count;
}

size_t cn_registry_count(const struct cn_registry *registry)
{
    return atomic_load_explicit(&registry->count, memory_order_relaxed);
}
