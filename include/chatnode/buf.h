// SPDX-License-Identifier: MIT
// A borrowed view of bytes, and a growable buffer with a bound.
#ifndef CHATNODE_BUF_H
#define CHATNODE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "chatnode/check.h"
#include "chatnode/err.h"

// Bytes that somebody else owns; not terminated by NUL. {NULL, 0} means absent.
struct cn_str {
    const char *ptr;
    size_t len;
};

#define CN_STR_LITERAL(text) ((struct cn_str){(text), sizeof(text) - 1})

// The view of a C string; NULL gives the absent view.
static inline struct cn_str cn_str_of(const char *text)
{
    return (struct cn_str){text, text ? strlen(text) : 0};
}

static inline bool cn_str_equal(struct cn_str a, struct cn_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

// Copies `text` with a terminating NUL into `out` of `size` bytes; CN_FULL when it does not fit
// (out then holds the empty string).
CN_MUSTCHECK enum cn_err cn_str_copy(struct cn_str text, char *out, size_t size);

// Reads a number of 1 to `digits_max` decimal digits, at most 18, and nothing else.
CN_MUSTCHECK bool cn_str_read_digits(struct cn_str text, size_t digits_max, int64_t *out);

enum { CN_DIGITS_MAX = 20 };

// Writes `value` in decimal digits, without a NUL; returns how many. As snprintf with PRIu64, at a
// tenth of its cost: there are several in each message.
size_t cn_digits_format(uint64_t value, char out[CN_DIGITS_MAX]);

// A growable buffer. One owner, no locking. Zeroed memory plus `max_bytes` is a valid empty one.
struct cn_buf {
    char *data;       // not terminated by NUL
    size_t len;       // bytes in use
    size_t cap;       // bytes allocated
    size_t max_bytes; // the bound
};

// Makes an empty buffer that never holds more than `max_bytes`; allocates nothing.
void cn_buf_init(struct cn_buf *buf, size_t max_bytes);

// Frees the bytes; legal on an empty buffer, and twice.
void cn_buf_fini(struct cn_buf *buf);

// Appends `len` bytes. CN_FULL beyond the bound, CN_NOMEM: nothing is appended then. Where there is
// room it is inline: an answer is made of some thirty pieces.
CN_MUSTCHECK enum cn_err cn_buf_append_growing(struct cn_buf *buf, const void *bytes, size_t len);
CN_MUSTCHECK static inline enum cn_err cn_buf_append(struct cn_buf *buf, const void *bytes,
                                                     size_t len)
{
    if (len == 0 || len > buf->cap - buf->len)
        return cn_buf_append_growing(buf, bytes, len);
    memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    return CN_OK;
}

// Appends a view, as cn_buf_append.
CN_MUSTCHECK static inline enum cn_err cn_buf_append_str(struct cn_buf *buf, struct cn_str text)
{
    return cn_buf_append(buf, text.ptr, text.len);
}

// Appends formatted text without the NUL, as cn_buf_append.
CN_MUSTCHECK enum cn_err cn_buf_printf(struct cn_buf *buf, const char *format, ...) CN_PRINTF(2, 3);

// Makes room for `len` more bytes and returns where they go (the caller then adds to buf->len);
// NULL beyond the bound or without memory.
CN_MUSTCHECK char *cn_buf_reserve(struct cn_buf *buf, size_t len);

// Gives an empty buffer without memory `memory` of the caller's from malloc(3), of
// cn_buf_bytes(cap). From now on it is the buffer's.
size_t cn_buf_bytes(size_t cap);
void cn_buf_adopt(struct cn_buf *buf, char *memory, size_t cap);

// Forgets the first `len` bytes (at most buf->len).
void cn_buf_consume(struct cn_buf *buf, size_t len);

// Forgets the content. Keeps the allocation if it is at most `keep_bytes`, else frees it.
void cn_buf_reset(struct cn_buf *buf, size_t keep_bytes);

// The content as a view, valid until the next change.
static inline struct cn_str cn_buf_str(const struct cn_buf *buf)
{
    return (struct cn_str){buf->data, buf->len};
}

#endif
