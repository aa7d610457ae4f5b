// SPDX-License-Identifier: MIT
// An atomic reference count; header only. Any thread.
#ifndef CHATNODE_REF_H
#define CHATNODE_REF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "chatnode/check.h"

struct cn_ref {
    atomic_uint count;
};

// One reference, the caller's.
static inline void cn_ref_init(struct cn_ref *ref)
{
    atomic_init(&ref->count, 1);
}

// One more; the caller must hold one already.
static inline void cn_ref_hold(struct cn_ref *ref)
{
    unsigned before = atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed);
    CN_ASSERT(before > 0 && before < UINT32_MAX);
}

// Gives one back; true when it was the last and the object must be freed by the caller.
CN_MUSTCHECK static inline bool cn_ref_release(struct cn_ref *ref)
{
    unsigned before = atomic_fetch_sub_explicit(&ref->count, 1, memory_order_acq_rel);
    CN_ASSERT(before > 0);
    return before == 1;
}

#endif
