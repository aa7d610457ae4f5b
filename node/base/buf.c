// SPDX-License-Identifier: MIT
// The growable buffer: doubles up to its bound, and never half-does an append.
#include "chatnode/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_BYTES = 64 };

enum cn_err cn_str_copy(struct cn_str text, char *out, size_t size)
{
    CN_ASSERT(size > 0);
    out[0] = '\0';
    if (text.len >= size)
        return CN_FULL;
    if (text.len > 0)
        memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return CN_OK;
}

bool cn_str_read_digits(struct cn_str text, size_t digits_max, int64_t *out)
{
    int64_t value = 0;
    if (text.len == 0 || text.len > digits_max)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (text.ptr[i] - '0');
    }
    *out = value;
    return true;
}

static size_t count_digits(uint64_t value)
{
    size_t count = 1;
    for (; value >= 10000; value /= 10000)
        count += 4;
    return count + (value >= 10) + (value >= 100) + (value >= 1000);
}

// Four digits a step: a number in a message has thirteen or more.
size_t cn_digits_format(uint64_t value, char out[CN_DIGITS_MAX])
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    size_t count = count_digits(value), at = count;
    for (; value >= 10000; value /= 10000) {
        uint32_t four = (uint32_t)(value % 10000);
        at -= 4;
        memcpy(out + at, pairs + 2 * (size_t)(four / 100), 2);
        memcpy(out + at + 2, pairs + 2 * (size_t)(four % 100), 2);
    }
    uint32_t rest = (uint32_t)value;
    for (; at >= 2; rest /= 100) {
        at -= 2;
        memcpy(out + at, pairs + 2 * (size_t)(rest % 100), 2);
    }
    if (at > 0)
        out[0] = (char)('0' + rest);
    return count;
}

void cn_buf_init(struct cn_buf *buf, size_t max_bytes)
{
    *buf = (struct cn_buf){.max_bytes = max_bytes};
}

void cn_buf_fini(struct cn_buf *buf)
{
    free(buf->data);
    cn_buf_init(buf, buf->max_bytes);
}

// The capacity to allocate for `need` bytes, need <= max_bytes.
static size_t round_up(const struct cn_buf *buf, size_t need)
{
    size_t cap = buf->cap > FIRST_BYTES ? buf->cap : FIRST_BYTES;
    while (cap < need && cap <= buf->max_bytes / 2)
        cap *= 2;
    return cap < need || cap > buf->max_bytes ? buf->max_bytes : cap;
}

size_t cn_buf_bytes(size_t cap)
{
    // Room for the NUL that vsnprintf writes at a full buffer's end.
    return cap + 1;
}

void cn_buf_adopt(struct cn_buf *buf, char *memory, size_t cap)
{
    CN_ASSERT(buf->data == NULL && cap <= buf->max_bytes);
    buf->data = memory;
    buf->cap = cap;
}

static enum cn_err make_room(struct cn_buf *buf, size_t len)
{
    if (buf->len > buf->max_bytes || len > buf->max_bytes - buf->len)
        return CN_FULL;
    if (buf->data != NULL && len <= buf->cap - buf->len)
        return CN_OK;
    size_t cap = round_up(buf, buf->len + len);
    char *data = cap < SIZE_MAX ? realloc(buf->data, cn_buf_bytes(cap)) : NULL;
    if (data == NULL)
        return CN_NOMEM;
    buf->data = data;
    buf->cap = cap;
    return CN_OK;
}

enum cn_err cn_buf_append_growing(struct cn_buf *buf, const void *bytes, size_t len)
{
    if (len == 0)
        return CN_OK;
    enum cn_err err = make_room(buf, len);
    if (err != CN_OK)
        return err;
    memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    return CN_OK;
}

// vsnprintf into the room there is; the length it would take, or -1.
static int print_into_room(struct cn_buf *buf, const char *format, va_list args)
{
    if (buf->data == NULL)
        return vsnprintf(NULL, 0, format, args);
    return vsnprintf(buf->data + buf->len, buf->cap - buf->len + 1, format, args);
}

enum cn_err cn_buf_printf(struct cn_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = print_into_room(buf, format, args);
    enum cn_err err = len < 0 ? CN_INVALID : CN_OK;
    bool fits = buf->data != NULL && len >= 0 && (size_t)len <= buf->cap - buf->len;
    if (err == CN_OK && !fits) {
        err = make_room(buf, (size_t)len);
        if (err == CN_OK)
            len = print_into_room(buf, format, again);
    }
    if (err == CN_OK)
        buf->len += (size_t)len;
    va_end(again);
    va_end(args);
    return err;
}

char *cn_buf_reserve(struct cn_buf *buf, size_t len)
{
    return make_room(buf, len) == CN_OK ? buf->data + buf->len : NULL;
}

void cn_buf_consume(struct cn_buf *buf, size_t len)
{
    CN_ASSERT(len <= buf->len);
    if (len == 0)
        return;
    buf->len -= len;
    memmove(buf->data, buf->data + len, buf->len);
}

void cn_buf_reset(struct cn_buf *buf, size_t keep_bytes)
{
    buf->len = 0;
    if (buf->cap > keep_bytes)
        cn_buf_fini(buf);
}
