// SPDX-License-Identifier: MIT
// A publish: one allocation with its body and what the caller carries along.
#include "chatnode/bus_publish.h"

#include <stdlib.h>
#include <string.h>

#include "chatnode/seal.h"

// Where the context begins: behind the body and its seal, aligned for everything.
static size_t context_offset(size_t body_len)
{
    const size_t align = _Alignof(max_align_t);
    return (sizeof(struct cn_publish) + body_len + CN_SEAL_BYTES + align - 1) / align * align;
}

size_t cn_publish_bytes(size_t body_len, size_t context_bytes)
{
    return context_offset(body_len) + context_bytes;
}

struct cn_publish *cn_publish_make(void *memory, struct cn_str body, size_t context_bytes)
{
    struct cn_publish *publish = memory;
    size_t offset = context_offset(body.len);
    *publish = (struct cn_publish){.body_len = body.len};
    cn_ref_init(&publish->ref);
    cn_list_init(&publish->link);
    if (body.len > 0)
        memcpy(publish->body, body.ptr, body.len);
    if (context_bytes > 0) {
        publish->context = (char *)memory + offset;
        memset(publish->context, 0, context_bytes);
    }
    return publish;
}

struct cn_publish *cn_publish_new(struct cn_str body, size_t context_bytes)
{
    void *memory = malloc(cn_publish_bytes(body.len, context_bytes));
    return memory ? cn_publish_make(memory, body, context_bytes) : NULL;
}

void cn_publish_free(struct cn_publish *publish)
{
    if (publish && cn_ref_release(&publish->ref))
        free(publish);
}
