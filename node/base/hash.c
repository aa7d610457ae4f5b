// SPDX-License-Identifier: MIT
// The hash table: SipHash-1-3, chains ordered by hash, so that a walk survives a change of size.
//
// A bucket is chosen by the highest bits of the hash and each chain is sorted by hash: the whole
// table is one sequence in hash order, whatever the number of buckets. Removing the node at hand
// during a walk may therefore shrink the table without a node being missed or met twice.
#include "chatnode/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum { FIRST_BUCKETS = 8, HUGE_PAGE_BYTES = 2 << 20 };

// Written before threads start, read by all.
static uint64_t seed[2];

enum cn_err cn_hash_seed(void)
{
    uint64_t fresh[2];
    ssize_t got;
    do {
        got = getrandom(fresh, sizeof(fresh), 0);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof(fresh))
        return CN_SYSTEM;
    memcpy(seed, fresh, sizeof(seed));
    return CN_OK;
}

static uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

// SipRound of "SipHash: a fast short-input PRF" (Aumasson, Bernstein 2012), section 2.
static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

// The next eight bytes, least significant first.
static inline uint64_t load_word(const unsigned char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? word : __builtin_bswap64(word);
}

static inline uint32_t load_half(const unsigned char *bytes)
{
    uint32_t half;
    memcpy(&half, bytes, sizeof(half));
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? half : __builtin_bswap32(half);
}

// The last `len` bytes of a key, one to seven, without a loop or a call: pieces of a known
// length that may overlap. There are several hashes in each message.
static inline uint64_t load_rest(const unsigned char *bytes, size_t len, size_t key_len)
{
    if (key_len >= 8)
        return load_word(bytes + len - 8) >> (64 - 8 * len);
    if (len >= 4)
        return load_half(bytes) | (uint64_t)load_half(bytes + len - 4) << (8 * (len - 4));
    return bytes[0] | (uint64_t)bytes[len / 2] << (8 * (len / 2)) |
           (uint64_t)bytes[len - 1] << (8 * (len - 1));
}

uint64_t cn_hash_of(struct cn_str key)
{
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d,
                     seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573};
    const unsigned char *bytes = (const unsigned char *)key.ptr;
    size_t whole = key.len & ~(size_t)7;
    for (size_t at = 0; at < whole; at += 8)
        sip_word(v, load_word(bytes + at));
    uint64_t rest = whole < key.len ? load_rest(bytes + whole, key.len - whole, key.len) : 0;
    sip_word(v, rest | (uint64_t)key.len << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void cn_hash_init(struct cn_hash *table)
{
    *table = (struct cn_hash){0};
}

void cn_hash_fini(struct cn_hash *table)
{
    free(table->buckets);
    cn_hash_init(table);
}

// The index of the bucket: the hash's highest bits, as many as the mask has.
static size_t bucket_of(size_t mask, uint64_t hash)
{
    return (size_t)(hash >> __builtin_clzll(mask));
}

// Where in its chain a node with `hash` stands or would stand: before the first not below it.
static struct cn_hash_node **place_of(const struct cn_hash *table, uint64_t hash)
{
    struct cn_hash_node **place = &table->buckets[bucket_of(table->mask, hash)];
    while (*place != NULL && (*place)->hash < hash)
        place = &(*place)->next;
    return place;
}

// Hangs the nodes of `from` into `to`, keeping their order.
static void move_all(const struct cn_hash *from, struct cn_hash_node **to, size_t to_mask)
{
    struct cn_hash_node **tail = to;
    size_t tail_bucket = 0;
    for (size_t i = 0; from->buckets != NULL && i <= from->mask; i++) {
        for (struct cn_hash_node *node = from->buckets[i], *next; node != NULL; node = next) {
            next = node->next;
            size_t bucket = bucket_of(to_mask, node->hash);
            if (bucket != tail_bucket)
                tail = &to[bucket];
            tail_bucket = bucket;
            node->next = NULL;
            *tail = node;
            tail = &node->next;
        }
    }
}

// Zeroed. A large table is looked at in no order, and in huge pages that misses fewer translations
// of addresses; where the system has none it is as if it had not been asked.
static struct cn_hash_node **new_buckets(size_t count)
{
    size_t bytes = count * sizeof(struct cn_hash_node *);
    if (bytes < HUGE_PAGE_BYTES)
        return calloc(count, sizeof(struct cn_hash_node *));
    struct cn_hash_node **buckets = aligned_alloc(HUGE_PAGE_BYTES, bytes);
    if (buckets == NULL)
        return NULL;
    (void)!madvise(buckets, bytes, MADV_HUGEPAGE);
    return memset(buckets, 0, bytes);
}

static enum cn_err resize(struct cn_hash *table, size_t count)
{
    struct cn_hash_node **buckets = new_buckets(count);
    if (buckets == NULL)
        return CN_NOMEM;
    move_all(table, buckets, count - 1);
    free(table->buckets);
    table->buckets = buckets;
    table->mask = count - 1;
    return CN_OK;
}

static enum cn_err make_room(struct cn_hash *table)
{
    if (table->buckets == NULL)
        return resize(table, FIRST_BUCKETS);
    if (table->count <= table->mask)
        return CN_OK;
    return resize(table, 2 * (table->mask + 1));
}

struct cn_hash_node *cn_hash_find_hashed(const struct cn_hash *table, struct cn_str key,
                                         uint64_t hash)
{
    if (table->buckets == NULL)
        return NULL;
    struct cn_hash_node *node = *place_of(table, hash);
    while (node != NULL && node->hash == hash && !cn_str_equal(node->key, key))
        node = node->next;
    return node != NULL && node->hash == hash ? node : NULL;
}

struct cn_hash_node *cn_hash_find(const struct cn_hash *table, struct cn_str key)
{
    return table->count == 0 ? NULL : cn_hash_find_hashed(table, key, cn_hash_of(key));
}

enum cn_err cn_hash_insert(struct cn_hash *table, struct cn_hash_node *node)
{
    node->hash = cn_hash_of(node->key);
    if (cn_hash_find_hashed(table, node->key, node->hash) != NULL)
        return CN_EXISTS;
    return cn_hash_insert_new(table, node);
}

enum cn_err cn_hash_insert_new(struct cn_hash *table, struct cn_hash_node *node)
{
    enum cn_err err = make_room(table);
    if (err != CN_OK)
        return err;
    struct cn_hash_node **place = place_of(table, node->hash);
    node->next = *place;
    *place = node;
    table->count++;
    return CN_OK;
}

void cn_hash_expect(const struct cn_hash *table, uint64_t hash)
{
    if (table->buckets != NULL)
        __builtin_prefetch(&table->buckets[bucket_of(table->mask, hash)]);
}

void cn_hash_expect_node(const struct cn_hash *table, uint64_t hash)
{
    if (table->buckets != NULL)
        __builtin_prefetch(table->buckets[bucket_of(table->mask, hash)]);
}

// Gives memory back at load 1/8. Without memory for it the table just stays as large as it is.
static void shrink(struct cn_hash *table)
{
    size_t buckets = table->mask + 1;
    if (buckets > FIRST_BUCKETS && table->count <= buckets / 8)
        (void)!resize(table, buckets / 2);
}

void cn_hash_remove(struct cn_hash *table, struct cn_hash_node *node)
{
    CN_ASSERT(table->buckets != NULL);
    struct cn_hash_node **place = place_of(table, node->hash);
    while (*place != NULL && *place != node)
        place = &(*place)->next;
    CN_ASSERT(*place == node);
    *place = node->next;
    node->next = NULL;
    table->count--;
    shrink(table);
}

// The first node of the buckets from `bucket` on, or NULL.
static struct cn_hash_node *first_from(const struct cn_hash *table, size_t bucket)
{
    if (table->buckets == NULL)
        return NULL;
    while (bucket <= table->mask && table->buckets[bucket] == NULL)
        bucket++;
    return bucket <= table->mask ? table->buckets[bucket] : NULL;
}

struct cn_hash_node *cn_hash_first(const struct cn_hash *table, struct cn_hash_node **following)
{
    return cn_hash_following(table, first_from(table, 0), following);
}

struct cn_hash_node *cn_hash_following(const struct cn_hash *table, struct cn_hash_node *node,
                                       struct cn_hash_node **following)
{
    *following = NULL;
    if (node == NULL)
        return NULL;
    *following = node->next;
    if (node->next == NULL)
        *following = first_from(table, bucket_of(table->mask, node->hash) + 1);
    return node;
}
