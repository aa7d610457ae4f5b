// SPDX-License-Identifier: MIT
// Answers of Redis as values: each is checked as if a stranger had sent it.
#include <stdlib.h>
#include <string.h>

#include "redis_private.h"

enum { MS_DIGITS_MAX = 18 };

// What each of Redis' errors asks for; what is not here is a refusal of this one command.
static const struct error {
    const char *prefix;
    enum cn_redis_outcome outcome;
    enum cn_bus_cause cause; // of the link's end
    enum cn_err err;         // for the publish that is refused
} errors[] = {
    {"NOSCRIPT", CN_REDIS_NOSCRIPT, CN_CAUSE_STARTING, CN_UNAVAILABLE},
    {"READONLY", CN_REDIS_RETRY, CN_CAUSE_REPLICA, CN_UNAVAILABLE},
    {"MASTERDOWN", CN_REDIS_RETRY, CN_CAUSE_REPLICA, CN_UNAVAILABLE},
    {"UNBLOCKED", CN_REDIS_RETRY, CN_CAUSE_REPLICA, CN_UNAVAILABLE},
    {"LOADING", CN_REDIS_RETRY, CN_CAUSE_BUSY, CN_UNAVAILABLE},
    {"BUSY", CN_REDIS_RETRY, CN_CAUSE_BUSY, CN_UNAVAILABLE},
    {"TRYAGAIN", CN_REDIS_RETRY, CN_CAUSE_BUSY, CN_UNAVAILABLE},
    {"CLUSTERDOWN", CN_REDIS_RETRY, CN_CAUSE_BUSY, CN_UNAVAILABLE},
    {"ERR max number of clients", CN_REDIS_RETRY, CN_CAUSE_BUSY, CN_UNAVAILABLE},
    {"NOAUTH", CN_REDIS_RETRY, CN_CAUSE_AUTH, CN_UNAVAILABLE},
    {"WRONGPASS", CN_REDIS_RETRY, CN_CAUSE_AUTH, CN_UNAVAILABLE},
    {"NOPERM", CN_REDIS_REFUSED, CN_CAUSE_AUTH, CN_REFUSED},
    {"ERR AUTH", CN_REDIS_REFUSED, CN_CAUSE_AUTH, CN_REFUSED},
    {"OOM", CN_REDIS_REFUSED, CN_CAUSE_STRANGE, CN_NOSPACE},
    {"NOREPLICAS", CN_REDIS_REFUSED, CN_CAUSE_STRANGE, CN_NOTDURABLE},
};

static const struct error other = {"", CN_REDIS_REFUSED, CN_CAUSE_STRANGE, CN_REFUSED};

static const struct error *find_error(const redisReply *reply)
{
    for (size_t i = 0; i < CN_COUNT(errors); i++) {
        size_t len = strlen(errors[i].prefix);
        if (reply->len >= len && memcmp(reply->str, errors[i].prefix, len) == 0)
            return &errors[i];
    }
    return &other;
}

enum cn_redis_outcome cn_redis_reply_outcome(const redisReply *reply)
{
    if (reply == NULL)
        return CN_REDIS_LOST;
    if (reply->type != REDIS_REPLY_ERROR)
        return CN_REDIS_DONE;
    return find_error(reply)->outcome;
}

enum cn_bus_cause cn_redis_reply_cause(const redisReply *reply)
{
    return find_error(reply)->cause;
}

enum cn_err cn_redis_reply_refusal(const redisReply *reply)
{
    return find_error(reply)->err;
}

static struct cn_str text_of(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS)
        return (struct cn_str){NULL, 0};
    return (struct cn_str){reply->str, reply->len};
}

// Cuts the text before the next space off `rest`.
static struct cn_str cut_word(struct cn_str *rest)
{
    const char *space = rest->len ? memchr(rest->ptr, ' ', rest->len) : NULL;
    struct cn_str word = {rest->ptr, space ? (size_t)(space - rest->ptr) : rest->len};
    size_t gone = word.len + (space != NULL);
    *rest = (struct cn_str){rest->len ? rest->ptr + gone : NULL, rest->len - gone};
    return word;
}

enum cn_err cn_redis_reply_published(const redisReply *reply, struct cn_published *out)
{
    struct cn_str rest = text_of(reply);
    struct cn_str pos = cut_word(&rest), ts = cut_word(&rest);
    struct cn_published result = {.err = CN_OK};
    result.dup = cn_str_equal(rest, CN_STR_LITERAL("1"));
    if (cn_pos_parse(pos, &result.pos) != CN_OK ||
        !cn_str_read_digits(ts, MS_DIGITS_MAX, &result.ts_ms) ||
        (!result.dup && !cn_str_equal(rest, CN_STR_LITERAL("0"))))
        return CN_INVALID;
    *out = result;
    return CN_OK;
}

// Adds the entry of the pair, or counts it as bad; CN_INVALID only for a position that is none.
static enum cn_err add_entry(const redisReply *pos, const redisReply *text,
                             const struct cn_redis_reading *reading, struct cn_redis_page *out)
{
    if (cn_pos_parse(text_of(pos), &out->end) != CN_OK)
        return CN_INVALID;
    struct cn_entry entry = {.text = text_of(text)};
    enum cn_seal_fault fault =
        cn_redis_judge_entry(&reading->judge, reading->channel, &entry.text, &entry.pos);
    if (fault == CN_SEAL_FAULT_NONE && cn_pos_compare(entry.pos, out->end) != 0)
        fault = CN_SEAL_FAULT_FORM;
    if (fault == CN_SEAL_FAULT_NONE)
        out->owned[out->page.count++] = entry;
    else
        out->bad[fault]++;
    return CN_OK;
}

static enum cn_err add_entries(const redisReply *reply, const struct cn_redis_reading *reading,
                               struct cn_redis_page *out)
{
    for (size_t i = 3; i < reply->elements; i += 2) {
        if (add_entry(reply->element[i], reply->element[i + 1], reading, out) != CN_OK)
            return CN_INVALID;
        if (i == 3 || !reading->backwards)
            out->page.edge = out->end;
    }
    return CN_OK;
}

enum cn_err cn_redis_reply_page(const redisReply *reply, const struct cn_redis_reading *reading,
                                struct cn_redis_page *out)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 3 || reply->elements % 2 == 0 ||
        reply->element[0]->type != REDIS_REPLY_INTEGER ||
        reply->element[1]->type != REDIS_REPLY_INTEGER)
        return CN_INVALID;
    *out = (struct cn_redis_page){.page = {.err = CN_OK}};
    out->page.exact = reply->element[0]->integer != 0;
    out->page.more = reply->element[1]->integer != 0;
    if (cn_pos_parse(text_of(reply->element[2]), &out->page.tail) != CN_OK)
        return CN_INVALID;
    size_t count = (reply->elements - 3) / 2;
    out->owned = count ? malloc(count * sizeof(struct cn_entry)) : NULL;
    if (count > 0 && out->owned == NULL)
        return CN_NOMEM;
    out->page.entries = out->owned;
    enum cn_err err = add_entries(reply, reading, out);
    if (err != CN_OK)
        cn_redis_page_fini(out);
    return err;
}

void cn_redis_page_fini(struct cn_redis_page *page)
{
    free(page->owned);
    page->owned = NULL;
}

bool cn_redis_reply_info(const redisReply *reply, const char *field, char *out, size_t size)
{
    struct cn_str text = text_of(reply);
    size_t len = strlen(field);
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t line = end ? (size_t)(end - text.ptr) : text.len;
        if (line > len && memcmp(text.ptr, field, len) == 0 && text.ptr[len] == ':') {
            struct cn_str value = {text.ptr + len + 1, line - len - 1};
            if (value.len > 0 && value.ptr[value.len - 1] == '\r')
                value.len--;
            return cn_str_copy(value, out, size) == CN_OK;
        }
        text.ptr += end ? line + 1 : line;
        text.len -= end ? line + 1 : line;
    }
    return false;
}
