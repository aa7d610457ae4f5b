// SPDX-License-Identifier: MIT
// A frame: one allocation that holds the WebSocket header and the payload side by side.
#include "chatnode/frame.h"

#include <stdlib.h>
#include <string.h>

enum {
    FIN = 0x80,          // RFC 6455 section 5.2: the final fragment, here the only one
    LEN_16 = 126,        // the length follows in 16 bits
    LEN_64 = 127,        // the length follows in 64 bits
    HEADER_SMALL = 2,    // up to 125 bytes
    HEADER_MEDIUM = 4,   // up to 65535 bytes
    HEADER_LARGE = 10,   // more
    PAYLOAD_SMALL = 125, // the largest of each
    PAYLOAD_MEDIUM = 0xFFFF,
    POOLED_MAX = 1024 // blocks of each size that are kept
};

// Writes `value` big-endian into `bytes` bytes.
static void put_length(unsigned char *out, uint64_t value, size_t bytes)
{
    for (size_t i = bytes; i > 0; i--) {
        out[i - 1] = (unsigned char)(value & 0xFF);
        value >>= 8;
    }
}

size_t cn_frame_header(enum cn_opcode opcode, size_t payload_len,
                       unsigned char out[CN_FRAME_HEADER_MAX])
{
    out[0] = (unsigned char)(FIN | (unsigned)opcode);
    if (payload_len <= PAYLOAD_SMALL) {
        out[1] = (unsigned char)payload_len;
        return HEADER_SMALL;
    }
    if (payload_len <= PAYLOAD_MEDIUM) {
        out[1] = LEN_16;
        put_length(out + 2, payload_len, 2);
        return HEADER_MEDIUM;
    }
    out[1] = LEN_64;
    put_length(out + 2, payload_len, 8);
    return HEADER_LARGE;
}

static void copy_view(unsigned char *to, struct cn_str text)
{
    if (text.len > 0)
        memcpy(to, text.ptr, text.len);
}

void cn_frame_pools_init(struct cn_frame_pools *pools)
{
    for (size_t i = 0; i < CN_FRAME_POOLS; i++)
        cn_pool_init(&pools->of_size[i], (i + 1) * CN_FRAME_POOL_STEP, POOLED_MAX);
}

void cn_frame_pools_fini(struct cn_frame_pools *pools)
{
    for (size_t i = 0; i < CN_FRAME_POOLS; i++)
        cn_pool_fini(&pools->of_size[i]);
}

// Memory for a frame of `len` bytes; *pool says where it goes in the end.
static struct cn_frame *take(struct cn_frame_pools *pools, size_t len, struct cn_pool **pool)
{
    size_t bytes = sizeof(struct cn_frame) + len;
    size_t step = (bytes - 1) / CN_FRAME_POOL_STEP;
    *pool = pools && step < CN_FRAME_POOLS ? &pools->of_size[step] : NULL;
    return *pool ? cn_pool_take(*pool, bytes) : malloc(bytes);
}

// Of two texts whose lengths can be added.
static struct cn_frame *make(struct cn_frame_pools *pools, struct cn_pos pos, struct cn_str a,
                             struct cn_str b)
{
    unsigned char header[CN_FRAME_HEADER_MAX];
    size_t header_len = cn_frame_header(CN_OPCODE_TEXT, a.len + b.len, header);
    size_t len = header_len + a.len + b.len;
    struct cn_pool *pool;
    struct cn_frame *frame = take(pools, len, &pool);
    if (!frame)
        return NULL;
    cn_ref_init(&frame->ref);
    frame->pos = pos;
    frame->len = len;
    frame->pool = pool;
    memcpy(frame->bytes, header, header_len);
    copy_view(frame->bytes + header_len, a);
    copy_view(frame->bytes + header_len + a.len, b);
    return frame;
}

static const size_t most_bytes = SIZE_MAX - sizeof(struct cn_frame) - CN_FRAME_HEADER_MAX;

struct cn_frame *cn_frame_new(struct cn_pos pos, struct cn_str a, struct cn_str b)
{
    if (a.len > most_bytes || b.len > most_bytes - a.len)
        return NULL;
    return make(NULL, pos, a, b);
}

struct cn_frame *cn_frame_new_in(struct cn_frame_pools *pools, struct cn_pos pos,
                                 struct cn_str text)
{
    return text.len <= most_bytes ? make(pools, pos, text, (struct cn_str){NULL, 0}) : NULL;
}

struct cn_frame *cn_frame_hold(struct cn_frame *frame)
{
    cn_ref_hold(&frame->ref);
    return frame;
}

void cn_frame_release(struct cn_frame *frame)
{
    if (!frame || !cn_ref_release(&frame->ref))
        return;
    if (frame->pool)
        cn_pool_return(frame->pool, frame, sizeof(*frame) + frame->len);
    else
        free(frame);
}

struct cn_str cn_frame_payload(const struct cn_frame *frame)
{
    size_t header = frame->bytes[1] == LEN_64   ? HEADER_LARGE
                    : frame->bytes[1] == LEN_16 ? HEADER_MEDIUM
                                                : HEADER_SMALL;
    return (struct cn_str){(const char *)frame->bytes + header, frame->len - header};
}
