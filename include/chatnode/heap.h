// SPDX-License-Identifier: MIT
// The heap after a storm. The C library keeps what was freed between blocks that are still in use;
// this decides when it is worth while to hand it back to the system. One owner, no locking.
#ifndef CHATNODE_HEAP_H
#define CHATNODE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/check.h"

enum {
    CN_HEAP_WORTH = 1000, // so many objects fewer, at the least
    CN_HEAP_CALM = 100    // no more than so many come or go between two looks
};

// Zeroed memory is a valid one.
struct cn_heap {
    size_t peak; // objects since memory was last given back
    size_t last; // objects at the last look
};

// Notes that there are so many objects that cost memory now: whenever their number has grown.
static inline void cn_heap_note(struct cn_heap *heap, size_t objects)
{
    if (objects > heap->peak)
        heap->peak = objects;
}

// Looks at how many of them there are now; once a second or so. True when memory
// should be given back: there were a quarter more, CN_HEAP_WORTH at the least, and the storm is
// over. It is then taken as done.
CN_MUSTCHECK bool cn_heap_look(struct cn_heap *heap, size_t objects);

// The same for messages, each of which takes memory for a moment.
struct cn_heap_flow {
    struct cn_heap heap; // its objects are blocks of CN_HEAP_FLOW_BYTES a minute
    uint64_t bytes;      // that passed since the minute began
    unsigned looks;      // since then
};

enum { CN_HEAP_FLOW_BYTES = 65536, CN_HEAP_FLOW_LOOKS = 60 };

// Notes that a message of so many bytes passes.
static inline void cn_heap_flow_note(struct cn_heap_flow *flow, size_t bytes)
{
    flow->bytes += bytes;
}

// To be called once a second. True when memory should be given back: more than CN_HEAP_WORTH blocks
// passed in a minute, and the last two minutes were alike and calmer by a fifth.
CN_MUSTCHECK bool cn_heap_flow_look(struct cn_heap_flow *flow);

// Gives free pages back to the system (malloc_trim(3)). Other threads' allocations wait meanwhile:
// less than a millisecond for each 10 MiB that are given back. Any thread.
void cn_heap_trim(void);

#endif
