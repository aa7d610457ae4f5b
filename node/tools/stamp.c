// SPDX-License-Identifier: MIT
// The stamp at the beginning of each message's content: fixed fields in hexadecimal.
#include <string.h>

#include "watch.h"

// In this order, behind the mark.
enum { TAG = 4, ROOM = 6, LANE = 4, SEQ = 8, SLOT = 4, AGAIN = 1, DUE = 12 };

_Static_assert(1 + TAG + ROOM + LANE + SEQ + SLOT + AGAIN + DUE == CN_STAMP_BYTES, "the stamp");

static const char mark = '~';

static char *put(char *out, uint64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value >>= 4)
        out[i] = "0123456789abcdef"[value & 15];
    return out + digits;
}

void cn_stamp_write(const struct cn_stamp *stamp, char out[CN_STAMP_BYTES])
{
    *out = mark;
    char *at = put(out + 1, stamp->tag, TAG);
    at = put(at, stamp->room, ROOM);
    at = put(at, stamp->lane, LANE);
    at = put(at, stamp->seq, SEQ);
    at = put(at, stamp->slot, SLOT);
    at = put(at, stamp->again, AGAIN);
    put(at, (uint64_t)stamp->due_us, DUE);
}

// Sets *bad when a character is no digit.
static uint64_t get(const char **at, int digits, bool *bad)
{
    uint64_t value = 0;
    for (int i = 0; i < digits; i++) {
        char c = *(*at)++;
        bool decimal = c >= '0' && c <= '9';
        *bad |= !decimal && !(c >= 'a' && c <= 'f');
        value = value << 4 | (uint64_t)(decimal ? c - '0' : (c - 'a' + 10) & 15);
    }
    return value;
}

static bool read_stamp(const char *at, struct cn_stamp *out)
{
    bool bad = false;
    out->tag = (unsigned)get(&at, TAG, &bad);
    out->room = (unsigned)get(&at, ROOM, &bad);
    out->lane = (unsigned)get(&at, LANE, &bad);
    out->seq = (uint32_t)get(&at, SEQ, &bad);
    out->slot = (unsigned)get(&at, SLOT, &bad);
    out->again = get(&at, AGAIN, &bad) != 0;
    out->due_us = (int64_t)get(&at, DUE, &bad);
    return !bad;
}

bool cn_stamp_find(const char *text, size_t len, unsigned tag, struct cn_stamp *out)
{
    const char *end = text + len;
    while ((text = memchr(text, mark, (size_t)(end - text))) != NULL) {
        if (end - text < CN_STAMP_BYTES)
            return false;
        out->content = text;
        if (read_stamp(++text, out) && out->tag == tag)
            return true;
    }
    return false;
}
