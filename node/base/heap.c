// SPDX-License-Identifier: MIT
// The heap after a storm: when free pages go back to the system.
#include "chatnode/heap.h"

#include <malloc.h>

static bool is_calm(size_t a, size_t b)
{
    return (a > b ? a - b : b - a) <= CN_HEAP_CALM;
}

bool cn_heap_look(struct cn_heap *heap, size_t objects)
{
    bool calm = is_calm(objects, heap->last);
    heap->last = objects;
    cn_heap_note(heap, objects);
    size_t fewer = heap->peak - objects;
    if (!calm || fewer < CN_HEAP_WORTH || fewer < objects / 4)
        return false;
    heap->peak = objects;
    return true;
}

bool cn_heap_flow_look(struct cn_heap_flow *flow)
{
    if (++flow->looks < CN_HEAP_FLOW_LOOKS)
        return false;
    size_t blocks = (size_t)(flow->bytes / CN_HEAP_FLOW_BYTES);
    flow->bytes = 0;
    flow->looks = 0;
    return cn_heap_look(&flow->heap, blocks);
}

void cn_heap_trim(void)
{
    (void)malloc_trim(0);
}
