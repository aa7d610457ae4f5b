// SPDX-License-Identifier: MIT
// JSON objects of strings, read in place: what nearly every request is. Nothing is allocated or
// copied. Whatever is not such an object, or not JSON at all, is left to the parser.
#include "wire_private.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct cn_str text, size_t *at)
{
    while (*at < text.len && is_space(text.ptr[*at]))
        (*at)++;
}

// True when `c` stands next, perhaps behind white space; *at is then behind it.
static bool skip_mark(struct cn_str text, size_t *at, char c)
{
    skip_space(text, at);
    if (*at == text.len || text.ptr[*at] != c)
        return false;
    (*at)++;
    return true;
}

// The quote that ends the string whose bytes begin at `at`, or NULL. Of the escapes only those are
// taken that a writer of compact JSON uses as well: such a string is its own compact form. Each
// byte is looked at twice at most: the next quote is looked for only when the last one was escaped.
static const char *find_end(const char *at, const char *end)
{
    const char *quote = memchr(at, '"', (size_t)(end - at));
    while (quote) {
        const char *escape = memchr(at, '\\', (size_t)(quote - at));
        if (!escape)
            return quote;
        if (!memchr("\"\\bfnrt", escape[1], 7))
            return NULL;
        at = escape + 2;
        if (at > quote)
            quote = memchr(at, '"', (size_t)(end - at));
    }
    return NULL;
}

// True when such a string stands next; *at is then behind it.
static bool take_string(struct cn_str text, size_t *at, struct cn_str *out)
{
    if (!skip_mark(text, at, '"'))
        return false;
    const char *begin = text.ptr + *at;
    const char *quote = find_end(begin, text.ptr + text.len);
    if (!quote)
        return false;
    *out = (struct cn_str){begin, (size_t)(quote - begin)};
    *at += out->len + 1;
    return true;
}

// A bit for each key; of the protocol's keys each has another. What is not among the bits of an
// object is no key of it.
static uint64_t bit_of(struct cn_str key)
{
    if (key.len == 0)
        return 1;
    unsigned first = (unsigned char)key.ptr[0], last = (unsigned char)key.ptr[key.len - 1];
    return UINT64_C(1) << ((first + 2 * last) & 63);
}

// One key and its value; false also for a key with escapes, or one that is there already.
static bool take_member(struct cn_str text, size_t *at, struct cn_flat_object *object)
{
    struct cn_str key, value;
    if (object->count == CN_FLAT_MEMBERS_MAX || !take_string(text, at, &key) ||
        memchr(key.ptr, '\\', key.len) || !skip_mark(text, at, ':') ||
        !take_string(text, at, &value) || cn_flat_object_find(object, key).ptr)
        return false;
    object->bits |= bit_of(key);
    object->keys[object->count] = key;
    object->values[object->count++] = value;
    return true;
}

// True when keys and values are UTF-8 without control characters. Mostly the whole text is, white
// space and all, and that is known sooner; between strings nothing is but marks of ASCII.
static bool is_clean(struct cn_str text, const struct cn_flat_object *object)
{
    if (cn_utf8_is_clean(text))
        return true;
    for (size_t i = 0; i < object->count; i++)
        if (!cn_utf8_is_clean(object->keys[i]) || !cn_utf8_is_clean(object->values[i]))
            return false;
    return true;
}

bool cn_flat_object_read(struct cn_str text, struct cn_flat_object *out)
{
    size_t at = 0;
    out->count = 0;
    out->bits = 0;
    if (!skip_mark(text, &at, '{'))
        return false;
    do {
        if (!take_member(text, &at, out))
            return false;
    } while (skip_mark(text, &at, ','));
    if (!skip_mark(text, &at, '}'))
        return false;
    skip_space(text, &at);
    return at == text.len && is_clean(text, out);
}

struct cn_str cn_flat_object_find(const struct cn_flat_object *object, struct cn_str key)
{
    if ((object->bits & bit_of(key)) == 0)
        return (struct cn_str){NULL, 0};
    for (size_t i = 0; i < object->count; i++)
        if (cn_str_equal(object->keys[i], key))
            return object->values[i];
    return (struct cn_str){NULL, 0};
}
