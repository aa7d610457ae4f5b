// SPDX-License-Identifier: MIT
// Used blocks in two stacks: the owner's own, and one that others push to and the owner takes
// whole.
#include "chatnode/pool.h"

#include <stdbool.h>
#include <stdlib.h>

// A used block begins with the link to the next one.
struct block {
    struct block *next;
};

// The address sanitizer must see every end of a block's use, so nothing is kept for it.
#ifdef CN_ADDRESS_SANITIZER
enum { KEEPS = false };
#else
enum { KEEPS = true };
#endif

static bool is_kept(const struct cn_pool *pool, size_t bytes)
{
    return KEEPS && bytes <= pool->block_bytes;
}

void cn_pool_init(struct cn_pool *pool, size_t block_bytes, unsigned most)
{
    CN_ASSERT(block_bytes >= sizeof(struct block));
    pool->block_bytes = block_bytes;
    pool->most = most;
    pool->first = NULL;
    pool->count = 0;
    atomic_init(&pool->returned, NULL);
    atomic_init(&pool->returned_count, 0);
}

static void free_all(struct block *block)
{
    while (block != NULL) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
}

void cn_pool_fini(struct cn_pool *pool)
{
    free_all(pool->first);
    free_all(atomic_exchange(&pool->returned, NULL));
    pool->first = NULL;
    pool->count = 0;
}

// What others returned becomes the owner's. The count may miss who has just begun to return one.
static void collect(struct cn_pool *pool)
{
    if (atomic_load_explicit(&pool->returned, memory_order_relaxed) == NULL)
        return;
    pool->count = atomic_exchange_explicit(&pool->returned_count, 0, memory_order_relaxed);
    pool->first = atomic_exchange_explicit(&pool->returned, NULL, memory_order_acquire);
}

void *cn_pool_take(struct cn_pool *pool, size_t bytes)
{
    if (bytes > pool->block_bytes)
        return malloc(bytes);
    if (pool->first == NULL)
        collect(pool);
    struct block *block = pool->first;
    if (block == NULL)
        return malloc(pool->block_bytes);
    pool->first = block->next;
    pool->count -= pool->count > 0;
    return block;
}

void cn_pool_give(struct cn_pool *pool, void *memory, size_t bytes)
{
    if (!is_kept(pool, bytes) || pool->count >= pool->most) {
        free(memory);
        return;
    }
    struct block *block = memory;
    block->next = pool->first;
    pool->first = block;
    pool->count++;
}

void cn_pool_return(struct cn_pool *pool, void *memory, size_t bytes)
{
    unsigned count = atomic_load_explicit(&pool->returned_count, memory_order_relaxed);
    if (!is_kept(pool, bytes) || count >= pool->most) {
        free(memory);
        return;
    }
    atomic_fetch_add_explicit(&pool->returned_count, 1, memory_order_relaxed);
    struct block *block = memory;
    void *top = atomic_load_explicit(&pool->returned, memory_order_relaxed);
    do {
        block->next = top;
    } while (!atomic_compare_exchange_weak_explicit(&pool->returned, &top, memory,
                                                    memory_order_release, memory_order_relaxed));
}
