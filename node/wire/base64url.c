// SPDX-License-Identifier: MIT
// base64url without padding (RFC 4648 section 5, RFC 7515 section 2): one spelling for each value.
#include "wire_private.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// The value of a digit; -1 when it is none.
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool cn_base64url_decode(struct cn_str text, unsigned char *out, size_t *len)
{
    unsigned bits = 0; // those that are not written yet
    unsigned count = 0;
    *len = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = value_of(text.ptr[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (unsigned)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[(*len)++] = (unsigned char)(bits >> count);
            bits &= (1u << count) - 1;
        }
    }
    return text.len % 4 != 1 && bits == 0;
}

size_t cn_base64url_encode(const void *bytes, size_t len, char *out)
{
    const unsigned char *from = bytes;
    unsigned bits = 0, count = 0;
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | from[i];
        count += 8;
        while (count >= 6) {
            count -= 6;
            out[at++] = digits[bits >> count & 63];
        }
        bits &= (1u << count) - 1;
    }
    if (count > 0)
        out[at++] = digits[bits << (6 - count) & 63];
    return at;
}
