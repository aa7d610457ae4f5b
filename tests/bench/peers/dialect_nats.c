// SPDX-License-Identifier: MIT
// The dialect of NATS: lines over TCP; MSG and PUB have as many bytes behind them as they say.
#include <stdio.h>
#include <string.h>

#include "peer_dialects.h"

static int greetings(const struct cn_party *party)
{
    (void)party;
    return 1; // the PONG for the hello's PING
}

static size_t hello(const struct cn_party *party, char *out, size_t size)
{
    return (size_t)snprintf(out, size,
                            "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n"
                            "SUB b%04x-%ld 1\r\nPING\r\n",
                            party->tag, party->room);
}

static size_t publish(const struct cn_party *party, long to, long id, const char *content,
                      size_t len, char *out, size_t size)
{
    (void)to;
    (void)id;
    CN_ASSERT(len + 64 <= size);
    return (size_t)snprintf(out, size, "PUB b%04x-%ld %zu\r\n%.*s\r\n", party->tag, party->room,
                            len, (int)len, content);
}

// The last number of the line "MSG subject sid bytes\r\n".
static size_t payload_len(const char *end_of_line)
{
    size_t len = 0;
    size_t unit = 1;
    for (const char *at = end_of_line - 1; *at >= '0' && *at <= '9'; at--, unit *= 10)
        len += (size_t)(*at - '0') * unit;
    return len;
}

static enum cn_unit_kind kind_of(const char *line, size_t len)
{
    static const struct {
        const char *word;
        enum cn_unit_kind kind;
    } kinds[] = {{"MSG ", CN_UNIT_MESSAGE},
                 {"PING", CN_UNIT_PING},
                 {"PONG", CN_UNIT_READY},
                 {"-ERR", CN_UNIT_REFUSAL}};
    for (size_t i = 0; i < CN_COUNT(kinds); i++)
        if (len >= 4 && memcmp(line, kinds[i].word, 4) == 0)
            return kinds[i].kind;
    return CN_UNIT_OTHER;
}

static bool cut(char *bytes, size_t len, struct cn_unit *out)
{
    const char *end = memmem(bytes, len, "\r\n", 2);
    if (end == NULL)
        return false;
    size_t line_len = (size_t)(end - bytes);
    *out = (struct cn_unit){
        .kind = kind_of(bytes, line_len), .size = line_len + 2, .text = bytes, .id = -1};
    out->len = line_len;
    if (out->kind != CN_UNIT_MESSAGE)
        return true;
    out->text = end + 2;
    out->len = payload_len(end);
    out->size += out->len + 2;
    return out->size <= len;
}

static size_t answer(const struct cn_unit *ping, char *out, size_t size)
{
    (void)ping;
    return (size_t)snprintf(out, size, "PONG\r\n");
}

const struct cn_dialect cn_dialect_nats = {
    .name = "nats",
    .summary = "a NATS server; a room is a subject",
    .greetings = greetings,
    .hello = hello,
    .publish = publish,
    .cut = cut,
    .answer = answer,
};
