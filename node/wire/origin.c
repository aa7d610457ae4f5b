// SPDX-License-Identifier: MIT
// Origins: read with care, since what a browser says here is all that keeps other people's pages
// out.
#include "chatnode/origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "wire_private.h"

enum { HOST_MAX_BYTES = 253 };

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// RFC 3986 section 3.1.
static bool is_scheme(struct cn_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_letter(text.ptr[i]) && (i == 0 || (!is_digit(text.ptr[i]) && text.ptr[i] != '+' &&
                                                   text.ptr[i] != '-' && text.ptr[i] != '.')))
            return false;
    return text.len > 0;
}

static bool is_v6_in_brackets(struct cn_str text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    return text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']' &&
           cn_str_copy((struct cn_str){text.ptr + 1, text.len - 2}, copy, sizeof(copy)) == CN_OK &&
           inet_pton(AF_INET6, copy, &address) == 1;
}

static bool is_host(struct cn_str text)
{
    if (is_v6_in_brackets(text))
        return true;
    for (size_t i = 0; i < text.len; i++)
        if (!is_letter(text.ptr[i]) && !is_digit(text.ptr[i]) && text.ptr[i] != '.' &&
            text.ptr[i] != '-' && text.ptr[i] != '_')
            return false;
    return text.len > 0 && text.len <= HOST_MAX_BYTES;
}

static unsigned default_port(struct cn_str scheme)
{
    if (scheme.len == 4 && strncasecmp(scheme.ptr, "http", 4) == 0)
        return 80;
    return scheme.len == 5 && strncasecmp(scheme.ptr, "https", 5) == 0 ? 443 : 0;
}

// "HOST" or "HOST:PORT" into out->host and out->port, which is the default already.
static bool read_host(struct cn_str text, struct cn_origin *out)
{
    out->host = text;
    const char *colon = text.len > 0 ? memrchr(text.ptr, ':', text.len) : NULL;
    if (colon && text.ptr[text.len - 1] != ']') {
        int64_t port;
        out->host.len = (size_t)(colon - text.ptr);
        struct cn_str digits = {colon + 1, text.len - out->host.len - 1};
        if (digits.len > 5 || !cn_text_is_number(digits, 1, 65535, &port))
            return false;
        out->port = (unsigned)port;
    }
    return is_host(out->host);
}

enum cn_err cn_origin_parse(struct cn_str text, struct cn_origin *out)
{
    const char *mark = text.len > 0 ? memmem(text.ptr, text.len, "://", 3) : NULL;
    if (!mark)
        return CN_INVALID;
    struct cn_str scheme = {text.ptr, (size_t)(mark - text.ptr)};
    struct cn_str host = {mark + 3, text.len - scheme.len - 3};
    *out = (struct cn_origin){.scheme = scheme, .port = default_port(scheme)};
    return is_scheme(scheme) && read_host(host, out) ? CN_OK : CN_INVALID;
}

enum cn_err cn_origin_of_host(struct cn_str host, bool is_tls, struct cn_origin *out)
{
    *out = (struct cn_origin){.scheme = is_tls ? CN_STR_LITERAL("https") : CN_STR_LITERAL("http"),
                              .port = is_tls ? 443 : 80};
    return read_host(host, out) ? CN_OK : CN_INVALID;
}

static bool is_same_word(struct cn_str a, struct cn_str b)
{
    return a.len == b.len && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

bool cn_origin_equal(const struct cn_origin *a, const struct cn_origin *b)
{
    return is_same_word(a->scheme, b->scheme) && is_same_word(a->host, b->host) &&
           a->port == b->port;
}

bool cn_origin_is_listed(struct cn_str list, const struct cn_origin *origin)
{
    struct cn_origin listed;
    while (list.len > 0) {
        const char *comma = memchr(list.ptr, ',', list.len);
        struct cn_str item = {list.ptr, comma ? (size_t)(comma - list.ptr) : list.len};
        if (cn_str_equal(item, CN_STR_LITERAL("*")) ||
            (cn_origin_parse(item, &listed) == CN_OK && cn_origin_equal(&listed, origin)))
            return true;
        size_t step = item.len + (comma != NULL);
        list = (struct cn_str){list.ptr + step, list.len - step};
    }
    return false;
}
