// SPDX-License-Identifier: MIT
// An intrusive hash table keyed by bytes. No locking: one owner, or the caller's lock.
#ifndef CHATNODE_HASH_H
#define CHATNODE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

// A node inside the element. `key` points into the element and must stay unchanged while it is in.
struct cn_hash_node {
    struct cn_hash_node *next;
    uint64_t hash;
    struct cn_str key;
};

// Separate chaining; grows at load 1, never shrinks below its first size, shrinks at load 1/8.
struct cn_hash {
    struct cn_hash_node **buckets; // NULL until the first insertion
    size_t mask;                   // buckets - 1
    size_t count;
};

// Walks every node in no particular order; the body may remove and free `node` and nothing else.
#define CN_HASH_EACH(node, table)                                                                  \
    for (struct cn_hash_node * node##_next, *node = cn_hash_first((table), &node##_next); node;    \
         node = cn_hash_following((table), node##_next, &node##_next))

// Sets the process-wide seed of all tables from getrandom(2), so that clients cannot choose
// colliding names. Once, before the first thread starts; CN_SYSTEM when there is no randomness.
CN_MUSTCHECK enum cn_err cn_hash_seed(void);

// The keyed hash (SipHash-1-3) of `key` under the seed. Any thread.
uint64_t cn_hash_of(struct cn_str key);

// Makes an empty table; allocates nothing.
void cn_hash_init(struct cn_hash *table);

// Frees the buckets, not the elements; legal on an empty table, and twice.
void cn_hash_fini(struct cn_hash *table);

// The node with this key, borrowed, or NULL.
struct cn_hash_node *cn_hash_find(const struct cn_hash *table, struct cn_str key);

// Puts `node` in; node->key must be set. CN_EXISTS when the key is there, CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_hash_insert(struct cn_hash *table, struct cn_hash_node *node);

// For who knows the hash of a key already, as from cn_hash_of. cn_hash_insert_new puts in a node
// whose `key` and `hash` are set and whose key is known not to be there; CN_NOMEM.
struct cn_hash_node *cn_hash_find_hashed(const struct cn_hash *table, struct cn_str key,
                                         uint64_t hash);
CN_MUSTCHECK enum cn_err cn_hash_insert_new(struct cn_hash *table, struct cn_hash_node *node);

// Has the memory on its way that a search for this hash will look at: first its bucket; and when
// that has come, the first node in it. Of a table with many nodes none is in a near cache.
void cn_hash_expect(const struct cn_hash *table, uint64_t hash);
void cn_hash_expect_node(const struct cn_hash *table, uint64_t hash);

// Takes out a node that is in.
void cn_hash_remove(struct cn_hash *table, struct cn_hash_node *node);

// For CN_HASH_EACH: the first node, and in *following the one to go on with.
struct cn_hash_node *cn_hash_first(const struct cn_hash *table, struct cn_hash_node **following);

// For CN_HASH_EACH: `node` itself (may be NULL), and in *following the one after it.
struct cn_hash_node *cn_hash_following(const struct cn_hash *table, struct cn_hash_node *node,
                                       struct cn_hash_node **following);

#endif
