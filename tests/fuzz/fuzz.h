// SPDX-License-Identifier: MIT
// What the fuzz targets share. Each has one entry, which libFuzzer calls with mutated inputs, or,
// in builds without it, replay.c with the kept ones.
#ifndef CHATNODE_TEST_FUZZ_H
#define CHATNODE_TEST_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"

// The target: one input. Always 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A copy with nothing behind it, so that AddressSanitizer sees what reads on. Free with free(3).
static inline char *fuzz_copy(struct cn_str text)
{
    char *copy = malloc(text.len ? text.len : 1);
    CN_ASSERT(copy);
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    return copy;
}

// The same with a NUL at its end; what follows a NUL in `text` is cut off.
static inline char *fuzz_string(struct cn_str text)
{
    const char *end = text.len ? memchr(text.ptr, '\0', text.len) : NULL;
    size_t len = end ? (size_t)(end - text.ptr) : text.len;
    char *copy = malloc(len + 1);
    CN_ASSERT(copy);
    if (len)
        memcpy(copy, text.ptr, len);
    copy[len] = '\0';
    return copy;
}

// Cuts what stands before the next `mark` off *rest. False when nothing is left.
static inline bool fuzz_cut(struct cn_str *rest, char mark, struct cn_str *out)
{
    if (rest->len == 0)
        return false;
    const char *end = memchr(rest->ptr, mark, rest->len);
    size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
    size_t gone = len + (end != NULL);
    *out = (struct cn_str){rest->ptr, len};
    *rest = (struct cn_str){rest->ptr + gone, rest->len - gone};
    return true;
}

// The first byte of *rest, which it loses; 0 when nothing is left.
static inline uint8_t fuzz_byte(struct cn_str *rest)
{
    if (rest->len == 0)
        return 0;
    uint8_t byte = (uint8_t)*rest->ptr;
    *rest = (struct cn_str){rest->ptr + 1, rest->len - 1};
    return byte;
}

#endif
