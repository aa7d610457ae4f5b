// SPDX-License-Identifier: MIT
// The address of a Redis as the operator writes it.
#include <string.h>

#include "redis_private.h"

// One step through the URL's text.
struct cursor {
    struct cn_str rest;
};

static bool skip(struct cursor *at, const char *prefix)
{
    size_t len = strlen(prefix);
    if (at->rest.len < len || memcmp(at->rest.ptr, prefix, len) != 0)
        return false;
    at->rest.ptr += len;
    at->rest.len -= len;
    return true;
}

// Takes what stands before the first (or, with `last`, the last) `mark` and the mark itself.
static bool take_until(struct cn_str *rest, char mark, bool last, struct cn_str *out)
{
    if (rest->len == 0)
        return false;
    const char *found =
        last ? memrchr(rest->ptr, mark, rest->len) : memchr(rest->ptr, mark, rest->len);
    if (found == NULL)
        return false;
    *out = (struct cn_str){rest->ptr, (size_t)(found - rest->ptr)};
    rest->len -= out->len + 1;
    rest->ptr = found + 1;
    return true;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit = (char)(digit | 0x20);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

// Undoes percent-encoding (RFC 3986 section 2.1) into `out` with a NUL.
static bool decode(struct cn_str text, char *out, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = (unsigned char)text.ptr[i];
        if (text.ptr[i] == '%') {
            int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_value(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            value = high * 16 + low;
            i += 2;
        }
        if (value == 0 || len + 1 >= size)
            return false;
        out[len++] = (char)value;
    }
    out[len] = '\0';
    return true;
}

static bool parse_number(struct cn_str text, int max, int *out)
{
    int value = 0;
    if (text.len == 0 || text.len > 6)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (text.ptr[i] - '0');
    }
    *out = value;
    return value <= max;
}

static const char *parse_login(struct cn_str login, struct cn_redis_url *out)
{
    struct cn_str user;
    if (!take_until(&login, ':', false, &user))
        return "redis-url: a user needs a password: redis://user:password@host, or "
               "redis://:password@host";
    if (!decode(user, out->user, sizeof(out->user)) ||
        !decode(login, out->password, sizeof(out->password)))
        return "redis-url: the user or the password is too long or badly percent-encoded";
    if (out->password[0] == '\0')
        return "redis-url: the password is empty";
    return NULL;
}

static const char *parse_query(struct cn_str query, struct cn_redis_url *out)
{
    struct cursor at = {query};
    if (!skip(&at, "db=") || !parse_number(at.rest, 65535, &out->db))
        return "redis-url: after ? only db=NUMBER is known";
    return NULL;
}

static const char *parse_host(struct cn_str text, struct cn_redis_url *out)
{
    struct cursor at = {text};
    struct cn_str host = text, port = {NULL, 0};
    if (skip(&at, "[")) {
        if (!take_until(&at.rest, ']', false, &host))
            return "redis-url: a ] is missing after the address";
        if (at.rest.len > 0 && !skip(&at, ":"))
            return "redis-url: after [address] only :port may stand";
        port = at.rest;
    } else if (take_until(&at.rest, ':', false, &host)) {
        port = at.rest;
        if (port.len == 0)
            return "redis-url: the port is missing after the colon";
    }
    if (host.len == 0 || !decode(host, out->host, sizeof(out->host)))
        return "redis-url: the host is missing or too long";
    out->port = 6379;
    if (port.len > 0 && (!parse_number(port, 65535, &out->port) || out->port == 0))
        return "redis-url: the port is not a number from 1 to 65535";
    return NULL;
}

static const char *parse_tcp(struct cn_str text, struct cn_redis_url *out)
{
    struct cn_str host = text, rest = text;
    if (take_until(&rest, '/', false, &host)) {
        if (rest.len > 0 && !parse_number(rest, 65535, &out->db))
            return "redis-url: the database after the / is not a number";
    }
    return parse_host(host, out);
}

static const char *parse_path(struct cn_str text, struct cn_redis_url *out)
{
    if (text.len == 0 || text.ptr[0] != '/')
        return "redis-url: the socket's path must be absolute: unix:///run/redis/redis.sock";
    if (!decode(text, out->path, sizeof(out->path)))
        return "redis-url: the socket's path is too long or badly percent-encoded";
    return NULL;
}

static const char *parse(struct cn_str text, struct cn_redis_url *out)
{
    struct cursor at = {text};
    out->tls = skip(&at, "rediss://");
    bool tcp = out->tls || skip(&at, "redis://");
    if (!tcp && !skip(&at, "unix://"))
        return "redis-url: it must begin with redis://, rediss:// or unix://";
    struct cn_str rest = at.rest, login, place;
    const char *why = NULL;
    if (take_until(&rest, '@', true, &login))
        why = parse_login(login, out);
    struct cn_str query = rest;
    if (!why && take_until(&query, '?', false, &place)) {
        rest = place;
        why = parse_query(query, out);
    }
    if (why)
        return why;
    return tcp ? parse_tcp(rest, out) : parse_path(rest, out);
}

enum cn_err cn_redis_url_parse(struct cn_str text, struct cn_redis_url *out, const char **why)
{
    *out = (struct cn_redis_url){0};
    *why = parse(text, out);
    return *why ? CN_INVALID : CN_OK;
}
