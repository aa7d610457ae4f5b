// SPDX-License-Identifier: MIT
// A frame: an immutable, reference-counted message as bytes ready for the socket. One serves all
// receivers, since a server's frames are not masked (RFC 6455 section 5.1).
#ifndef CHATNODE_FRAME_H
#define CHATNODE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/pool.h"
#include "chatnode/pos.h"
#include "chatnode/ref.h"

enum { CN_FRAME_HEADER_MAX = 10 };

// Opcodes that the server sends (RFC 6455 section 5.2).
enum cn_opcode { CN_OPCODE_TEXT = 1, CN_OPCODE_CLOSE = 8, CN_OPCODE_PING = 9, CN_OPCODE_PONG = 10 };

// Everything but `ref` is constant after cn_frame_new. Any thread may read it.
struct cn_frame {
    struct cn_ref ref;
    struct cn_pos pos;    // of the entry; {0, 0} for a frame that is no entry
    size_t len;           // of bytes[], header included
    struct cn_pool *pool; // where its memory goes in the end; NULL: free(3)
    unsigned char bytes[];
};

// Where one thread's frames come from: pools of blocks of rising size, since a ring keeps frames
// for long and they should take no more than they need.
enum { CN_FRAME_POOLS = 8, CN_FRAME_POOL_STEP = 64 };

struct cn_frame_pools {
    struct cn_pool of_size[CN_FRAME_POOLS];
};

// Makes pools that keep nothing yet; frees what they keep, when all their frames are gone.
void cn_frame_pools_init(struct cn_frame_pools *pools);
void cn_frame_pools_fini(struct cn_frame_pools *pools);

// Writes the header of a final, unmasked frame with `payload_len` bytes; returns its length, 2 to
// 10 (RFC 6455 section 5.2: 7, 16 or 64 bits of length).
size_t cn_frame_header(enum cn_opcode opcode, size_t payload_len,
                       unsigned char out[CN_FRAME_HEADER_MAX]);

// A text frame whose payload is `a` followed by `b` (either may be empty), at position `pos`, with
// one reference, the caller's. NULL without memory. The bytes must be UTF-8 (not checked here).
CN_MUSTCHECK struct cn_frame *cn_frame_new(struct cn_pos pos, struct cn_str a, struct cn_str b);

// The same with a payload of `text`, in memory of the pools, which the thread owns. Any thread may
// release it.
CN_MUSTCHECK struct cn_frame *cn_frame_new_in(struct cn_frame_pools *pools, struct cn_pos pos,
                                              struct cn_str text);

// One more reference; returns `frame`.
struct cn_frame *cn_frame_hold(struct cn_frame *frame);

// Gives one back, and frees with the last. Takes NULL.
void cn_frame_release(struct cn_frame *frame);

// The payload, borrowed.
struct cn_str cn_frame_payload(const struct cn_frame *frame);

#endif
