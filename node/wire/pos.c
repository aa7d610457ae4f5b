// SPDX-License-Identifier: MIT
// A position as text: reads and writes `gen-seq`.
#include "chatnode/pos.h"

// Reads decimal digits from text[*at] on; false when there are none, or too many for 64 bits, or
// they begin with a needless zero.
static bool read_number(struct cn_str text, size_t *at, uint64_t *out)
{
    size_t start = *at;
    uint64_t value = 0;
    while (*at < text.len && text.ptr[*at] >= '0' && text.ptr[*at] <= '9') {
        uint64_t digit = (uint64_t)(text.ptr[*at] - '0');
        if (value > UINT64_MAX / 10 || (value == UINT64_MAX / 10 && digit > UINT64_MAX % 10))
            return false;
        value = value * 10 + digit;
        (*at)++;
    }
    if (*at == start || (text.ptr[start] == '0' && *at - start > 1))
        return false;
    *out = value;
    return true;
}

enum cn_err cn_pos_parse(struct cn_str text, struct cn_pos *out)
{
    struct cn_pos pos;
    size_t at = 0;
    if (!read_number(text, &at, &pos.gen))
        return CN_INVALID;
    if (at >= text.len || text.ptr[at] != '-')
        return CN_INVALID;
    at++;
    if (!read_number(text, &at, &pos.seq) || at != text.len)
        return CN_INVALID;
    *out = pos;
    return CN_OK;
}

size_t cn_pos_format(struct cn_pos pos, char out[CN_POS_TEXT_BYTES])
{
    size_t len = cn_digits_format(pos.gen, out);
    out[len++] = '-';
    len += cn_digits_format(pos.seq, out + len);
    out[len] = '\0';
    return len;
}
