// SPDX-License-Identifier: MIT
// Blocks of one size that are used again and again: for what one thread makes and another one is
// done with, many times a message. The C library gives such memory back through a lock.
#ifndef CHATNODE_POOL_H
#define CHATNODE_POOL_H

#include <stdatomic.h>
#include <stddef.h>

#include "chatnode/check.h"

// One thread owns it: only that one takes blocks. A block is memory from malloc(3), so that free(3)
// is right for it at any time.
struct cn_pool {
    size_t block_bytes; // constant
    unsigned most;      // constant: blocks kept on each of the two stacks
    // The owner's:
    void *first; // blocks to be taken, each begins with a pointer to the next one
    unsigned count;
    // Any thread:
    _Atomic(void *) returned; // the same, since `first` was last found empty
    atomic_uint returned_count;
};

// An empty pool of blocks of `block_bytes`, which keeps `most` of them for its owner, and about as
// many more that others have returned since; allocates nothing. `block_bytes` is a pointer's size
// at least.
void cn_pool_init(struct cn_pool *pool, size_t block_bytes, unsigned most);

// Frees what it keeps; nobody gives it any more. Legal on a zeroed pool, and twice.
void cn_pool_fini(struct cn_pool *pool);

// Memory for `bytes`, not zeroed: a block where one is large enough; NULL without memory. The
// owner's thread.
CN_MUSTCHECK void *cn_pool_take(struct cn_pool *pool, size_t bytes);

// Gives back what was taken for `bytes`: kept for the next time, or freed when enough is kept. The
// owner's thread.
void cn_pool_give(struct cn_pool *pool, void *memory, size_t bytes);

// As cn_pool_give; any thread.
void cn_pool_return(struct cn_pool *pool, void *memory, size_t bytes);

#endif
