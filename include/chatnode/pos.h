// SPDX-License-Identifier: MIT
// A position: the id of one entry of a channel's log, `gen-seq` (a Redis stream id, XADD).
#ifndef CHATNODE_POS_H
#define CHATNODE_POS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

// `gen` grows when the log's lineage changes; `seq` is contiguous from 0 within a generation.
// {0, 0} is the position of a channel without entries.
struct cn_pos {
    uint64_t gen;
    uint64_t seq;
};

enum { CN_POS_TEXT_BYTES = 42 }; // two 64-bit numbers, a dash, a NUL

// Reads "123-4": decimal digits only, no signs, spaces or leading zeros, both within 64 bits.
// CN_INVALID otherwise; *out is then unchanged.
CN_MUSTCHECK enum cn_err cn_pos_parse(struct cn_str text, struct cn_pos *out);

// Writes the text with a NUL into `out`; returns its length.
size_t cn_pos_format(struct cn_pos pos, char out[CN_POS_TEXT_BYTES]);

// Negative, 0 or positive, as `a` is before, at or after `b`.
static inline int cn_pos_compare(struct cn_pos a, struct cn_pos b)
{
    if (a.gen != b.gen)
        return a.gen < b.gen ? -1 : 1;
    return (a.seq > b.seq) - (a.seq < b.seq);
}

static inline bool cn_pos_is_zero(struct cn_pos pos)
{
    return pos.gen == 0 && pos.seq == 0;
}

// True when `next` is what must come directly after `last`: the following seq of the generation,
// or the first entry of all when `last` is 0-0.
static inline bool cn_pos_follows(struct cn_pos next, struct cn_pos last)
{
    return (next.gen == last.gen && next.seq == last.seq + 1) ||
           (cn_pos_is_zero(last) && next.gen > 0 && next.seq == 0);
}

#endif
