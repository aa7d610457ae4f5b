// SPDX-License-Identifier: MIT
// The registry: every session of this node, by session id and by user id. A sharded hash table,
// each shard under a rwlock; any thread may ask, the owning loop alone adds and removes.
#ifndef CHATNODE_REGISTRY_H
#define CHATNODE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/hash.h"
#include "chatnode/list.h"
#include "chatnode/name.h"

struct cn_registry;

// One session's entry, embedded in the session. Constant while it is in, but for the links, which
// the shards' locks guard.
struct cn_registration {
    uint64_t id;               // of the session, unique on this node for its whole life
    const char *user;          // the name; the registry's, one for all sessions of the user; NULL
                               // while nobody knows who it is
    unsigned loop;             // the owner
    struct cn_hash_node by_id; // guarded by the id's shard
    struct cn_link of_user;    // guarded by the user's shard
};

// An empty registry, in which a user may have `per_user_max` sessions (0: any number), or NULL
// without memory.
CN_MUSTCHECK struct cn_registry *cn_registry_new(size_t per_user_max);

// Frees it; it must be empty. Takes NULL.
void cn_registry_free(struct cn_registry *registry);

// Puts an entry in: `loop` is set, id and user are given out here. `user` is a valid name, or
// absent: then it is found by its id only. The entry must stay in place until removed. CN_FULL: the
// user has as many as may be; CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_registry_add(struct cn_registry *registry, struct cn_str user,
                                         struct cn_registration *entry);

// Gives a user to an entry that is in and has none. CN_NOMEM. The owning loop.
CN_MUSTCHECK enum cn_err cn_registry_name(struct cn_registry *registry, struct cn_str user,
                                          struct cn_registration *entry);

// Takes an entry out that is in; it has no user then. O(1).
void cn_registry_remove(struct cn_registry *registry, struct cn_registration *entry);

// The loop that owns the session. CN_NOTFOUND when it has ended. Any thread.
CN_MUSTCHECK enum cn_err cn_registry_find_loop(struct cn_registry *registry, uint64_t id,
                                               unsigned *loop);

// The entry, borrowed, or NULL. Only the owning loop may use what it gets: the entry stays valid
// until that same thread removes it.
struct cn_registration *cn_registry_find(struct cn_registry *registry, uint64_t id);

// Copies up to `max` ids of the user's sessions on this node to `ids`; returns how many there are
// in all. Any thread.
size_t cn_registry_user_sessions(struct cn_registry *registry, struct cn_str user, uint64_t *ids,
                                 size_t max);

// Sessions on this node. Any thread.
size_t cn_registry_count(const struct cn_registry *registry);

#endif
