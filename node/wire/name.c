// SPDX-License-Identifier: MIT
// Names of users, rooms, requests and channels: what is allowed in them. And the other shapes of
// short text: UTF-8, numbers, addresses, origins, lists.
#include "chatnode/name.h"

#include <arpa/inet.h>

#include "chatnode/origin.h"
#include "wire_private.h"

enum { ID_CHAR = 1, NAME_CHAR = 2 };

// What each byte may stand in.
static const unsigned char uses[256] = {
    ['0' ... '9'] = ID_CHAR | NAME_CHAR,
    ['A' ... 'Z'] = ID_CHAR | NAME_CHAR,
    ['a' ... 'z'] = ID_CHAR | NAME_CHAR,
    ['_'] = ID_CHAR | NAME_CHAR,
    ['-'] = ID_CHAR | NAME_CHAR,
    ['.'] = NAME_CHAR,
    [':'] = NAME_CHAR,
};

static bool is_made_of(struct cn_str text, unsigned char use)
{
    if (text.len == 0 || text.len > CN_NAME_MAX)
        return false;
    unsigned char common = use;
    for (size_t i = 0; i < text.len; i++)
        common &= uses[(unsigned char)text.ptr[i]];
    return common != 0;
}

bool cn_name_is_valid(struct cn_str name)
{
    return is_made_of(name, NAME_CHAR);
}

bool cn_name_is_valid_id(struct cn_str id)
{
    return is_made_of(id, ID_CHAR);
}

static bool is_tail(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

// The second byte's range narrows after these leads: no overlong forms, no surrogates, no more than
// U+10FFFF.
static bool is_second(unsigned char lead, unsigned char c)
{
    switch (lead) {
    case 0xE0:
        return c >= 0xA0 && c <= 0xBF;
    case 0xED:
        return c >= 0x80 && c <= 0x9F;
    case 0xF0:
        return c >= 0x90 && c <= 0xBF;
    case 0xF4:
        return c >= 0x80 && c <= 0x8F;
    default:
        return is_tail(c);
    }
}

size_t cn_utf8_sequence(const char *at, size_t left)
{
    const unsigned char *c = (const unsigned char *)at;
    if (c[0] < 0x80)
        return 1;
    if (c[0] < 0xC2 || c[0] > 0xF4)
        return 0;
    size_t len = c[0] < 0xE0 ? 2 : c[0] < 0xF0 ? 3 : 4;
    if (left < len || !is_second(c[0], c[1]))
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (!is_tail(c[i]))
            return 0;
    }
    return len;
}

// True for UTF-8 whose characters are `lowest` at least.
static bool is_utf8_from(struct cn_str text, unsigned char lowest)
{
    size_t at = 0;
    while (at < text.len) {
        if (text.len - at >= 8 && cn_is_plain_word(text.ptr + at)) {
            at += 8;
            continue;
        }
        unsigned char c = (unsigned char)text.ptr[at];
        size_t len = c < 0x80 ? c >= lowest : cn_utf8_sequence(text.ptr + at, text.len - at);
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}

bool cn_utf8_is_clean(struct cn_str text)
{
    return is_utf8_from(text, 0x20);
}

bool cn_name_is_utf8(struct cn_str text)
{
    return is_utf8_from(text, 0);
}

enum cn_err cn_channel_name_make(enum cn_channel_kind kind, struct cn_str name,
                                 struct cn_channel_name *out)
{
    if (!cn_name_is_valid(name))
        return CN_INVALID;
    out->text[0] = kind == CN_CHANNEL_INBOX ? 'u' : 'r';
    out->text[1] = ':';
    memcpy(out->text + 2, name.ptr, name.len);
    out->text[2 + name.len] = '\0';
    out->len = (unsigned char)(2 + name.len);
    return CN_OK;
}

enum cn_err cn_channel_name_parse(struct cn_str text, struct cn_channel_name *out)
{
    if (text.len < 2 || (text.ptr[0] != 'r' && text.ptr[0] != 'u') || text.ptr[1] != ':')
        return CN_INVALID;
    enum cn_channel_kind kind = text.ptr[0] == 'u' ? CN_CHANNEL_INBOX : CN_CHANNEL_ROOM;
    return cn_channel_name_make(kind, (struct cn_str){text.ptr + 2, text.len - 2}, out);
}

struct cn_channel_name cn_channel_name_of(struct cn_str text)
{
    struct cn_channel_name name;
    CN_ASSERT(text.len <= CN_CHANNEL_NAME_MAX);
    memcpy(name.text, text.ptr, text.len);
    name.text[text.len] = '\0';
    name.len = (unsigned char)text.len;
    return name;
}

// ---- Shapes that settings have ----

bool cn_text_is_number(struct cn_str text, int64_t min, int64_t max, int64_t *out)
{
    int64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || value > (INT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (text.ptr[i] - '0');
    }
    *out = value;
    return text.len > 0 && value >= min && value <= max;
}

// A name, an IPv4 address, or an IPv6 address in brackets.
static bool is_host(struct cn_str text)
{
    bool is_v6 = text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']';
    if (is_v6)
        text = (struct cn_str){text.ptr + 1, text.len - 2};
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (is_v6)
        return cn_str_copy(text, copy, sizeof(copy)) == CN_OK &&
               inet_pton(AF_INET6, copy, &address) == 1;
    return text.len > 0 && text.len <= 253 &&
           strspn(text.ptr, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") >=
               text.len;
}

bool cn_text_is_address(struct cn_str text)
{
    const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
    if (!colon)
        return false;
    size_t len = (size_t)(colon - text.ptr);
    int64_t port;
    return is_host((struct cn_str){text.ptr, len}) &&
           cn_text_is_number((struct cn_str){colon + 1, text.len - len - 1}, 0, 65535, &port);
}

bool cn_text_is_network(struct cn_str text)
{
    char copy[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];
    const char *slash = memchr(text.ptr, '/', text.len);
    size_t len = slash ? (size_t)(slash - text.ptr) : text.len;
    if (cn_str_copy((struct cn_str){text.ptr, len}, copy, sizeof(copy)) != CN_OK)
        return false;
    bool is_v4 = inet_pton(AF_INET, copy, address) == 1;
    int64_t bits;
    if (!is_v4 && inet_pton(AF_INET6, copy, address) != 1)
        return false;
    return !slash || cn_text_is_number((struct cn_str){slash + 1, text.len - len - 1}, 0,
                                       is_v4 ? 32 : 128, &bits);
}

bool cn_text_is_origin(struct cn_str text)
{
    struct cn_origin origin;
    return cn_str_equal(text, CN_STR_LITERAL("*")) || cn_origin_parse(text, &origin) == CN_OK;
}

bool cn_text_is_list(struct cn_str text, bool (*is_item)(struct cn_str item))
{
    while (text.len > 0) {
        const char *comma = memchr(text.ptr, ',', text.len);
        size_t len = comma ? (size_t)(comma - text.ptr) : text.len;
        if (len == 0 || !is_item((struct cn_str){text.ptr, len}))
            return false;
        size_t step = len + (comma != NULL);
        text = (struct cn_str){text.ptr + step, text.len - step};
    }
    return true;
}
