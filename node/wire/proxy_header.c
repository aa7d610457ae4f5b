// SPDX-License-Identifier: MIT
// The PROXY protocol's header: a line of text in version 1, bytes in version 2.
#include "chatnode/proxy_header.h"

#include <string.h>

#include "wire_private.h"

enum { V2_FIXED_BYTES = 16, WORDS_MAX = 4 };

static const unsigned char v1_mark[6] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const unsigned char v2_mark[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                          0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

static bool begins_like(const unsigned char *bytes, size_t len, const unsigned char *mark,
                        size_t mark_len)
{
    return memcmp(bytes, mark, len < mark_len ? len : mark_len) == 0;
}

// ---- Version 1 (section 2.1) ----

// Cuts the text at its single spaces; how many words, 0 when there are too many or an empty one.
static size_t split(struct cn_str text, struct cn_str words[WORDS_MAX])
{
    size_t count = 0;
    for (;;) {
        const char *space = memchr(text.ptr, ' ', text.len);
        size_t len = space ? (size_t)(space - text.ptr) : text.len;
        if (len == 0 || count == WORDS_MAX)
            return 0;
        words[count++] = (struct cn_str){text.ptr, len};
        if (!space)
            return count;
        text = (struct cn_str){space + 1, text.len - len - 1};
    }
}

static bool is_port(struct cn_str text)
{
    int64_t port;
    bool has_zeros = text.len > 1 && *text.ptr == '0';
    return text.len <= 5 && !has_zeros && cn_text_is_number(text, 0, 65535, &port);
}

static bool is_of_family(struct cn_str text, bool six)
{
    return (memchr(text.ptr, ':', text.len) != NULL) == six;
}

// "TCP4 192.0.2.7 192.0.2.1 4711 8000", less the first word.
static bool read_v1_addresses(struct cn_str text, bool six, struct cn_address *source)
{
    struct cn_str words[WORDS_MAX];
    struct cn_address destination;
    return split(text, words) == WORDS_MAX && is_of_family(words[0], six) &&
           is_of_family(words[1], six) && cn_address_parse(words[0], source) == CN_OK &&
           cn_address_parse(words[1], &destination) == CN_OK && is_port(words[2]) &&
           is_port(words[3]);
}

static bool begins_with(struct cn_str text, struct cn_str word)
{
    return text.len >= word.len && memcmp(text.ptr, word.ptr, word.len) == 0;
}

static bool read_v1_line(struct cn_str text, struct cn_proxy_header *out)
{
    // With UNKNOWN the rest of the line is not to be looked at.
    const struct cn_str unknown = CN_STR_LITERAL("UNKNOWN");
    if (begins_with(text, unknown))
        return text.len == unknown.len || text.ptr[unknown.len] == ' ';
    bool six = begins_with(text, CN_STR_LITERAL("TCP6 "));
    if (!six && !begins_with(text, CN_STR_LITERAL("TCP4 ")))
        return false;
    out->has_address = true;
    return read_v1_addresses((struct cn_str){text.ptr + 5, text.len - 5}, six, &out->address);
}

static enum cn_err read_v1(const unsigned char *bytes, size_t len, struct cn_proxy_header *out)
{
    size_t seen = len < CN_PROXY_V1_BYTES_MAX ? len : CN_PROXY_V1_BYTES_MAX;
    const unsigned char *end = memchr(bytes, '\n', seen);
    if (!end)
        return seen < CN_PROXY_V1_BYTES_MAX ? CN_NOTFOUND : CN_INVALID;
    out->len = (size_t)(end - bytes) + 1;
    size_t text_len = out->len - sizeof(v1_mark);
    const char *text = (const char *)bytes + sizeof(v1_mark);
    if (text_len < 2 || text[text_len - 2] != '\r' || memchr(bytes, '\0', out->len))
        return CN_INVALID;
    return read_v1_line((struct cn_str){text, text_len - 2}, out) ? CN_OK : CN_INVALID;
}

// ---- Version 2 (section 2.2) ----

// The bytes that addresses take; the source comes first.
static size_t v2_address_bytes(unsigned family)
{
    static const size_t bytes[] = {[0] = 0, [1] = 12, [2] = 36, [3] = 216};
    return bytes[family];
}

static bool read_v2_addresses(const unsigned char *bytes, unsigned family_byte, size_t len,
                              struct cn_proxy_header *out)
{
    unsigned family = family_byte >> 4;
    unsigned transport = family_byte & 15;
    if (family > 3 || transport > 2 || len < v2_address_bytes(family))
        return false;
    // Anything but a stream over IP is as good as unknown.
    out->has_address = transport == 1 && (family == 1 || family == 2);
    if (family == 1)
        out->address = cn_address_of_v4(bytes);
    else if (family == 2)
        memcpy(out->address.bytes, bytes, sizeof(out->address.bytes));
    return true;
}

static enum cn_err read_v2(const unsigned char *bytes, size_t len, struct cn_proxy_header *out)
{
    if (len > 12 && ((bytes[12] & 0xf0) != 0x20 || (bytes[12] & 0x0f) > 1))
        return CN_INVALID;
    if (len < V2_FIXED_BYTES)
        return CN_NOTFOUND;
    size_t more = (size_t)bytes[14] << 8 | bytes[15];
    if (V2_FIXED_BYTES + more > CN_PROXY_BYTES_MAX)
        return CN_INVALID;
    if (len < V2_FIXED_BYTES + more)
        return CN_NOTFOUND;
    out->len = V2_FIXED_BYTES + more;
    bool is_local = (bytes[12] & 0x0f) == 0; // then addresses do not count, whatever they are
    return is_local || read_v2_addresses(bytes + V2_FIXED_BYTES, bytes[13], more, out) ? CN_OK
                                                                                       : CN_INVALID;
}

enum cn_err cn_proxy_header_read(const unsigned char *bytes, size_t len,
                                 struct cn_proxy_header *out)
{
    *out = (struct cn_proxy_header){0};
    if (len == 0)
        return CN_NOTFOUND;
    if (begins_like(bytes, len, v1_mark, sizeof(v1_mark)))
        return len < sizeof(v1_mark) ? CN_NOTFOUND : read_v1(bytes, len, out);
    if (begins_like(bytes, len, v2_mark, sizeof(v2_mark)))
        return len < sizeof(v2_mark) ? CN_NOTFOUND : read_v2(bytes, len, out);
    return CN_INVALID;
}
