// SPDX-License-Identifier: MIT
// Fuzz target: Redis' answers as bytes, through hiredis' reader into everything that reads them.
#include "fuzz/fuzz.h"

#include "redis_private.h"

enum { ENTRY_MAX_BYTES = 4096, ELEMENTS_DIGITS_MAX = 5 };

// The reader makes room for as many elements as an array announces, before they come: gigabytes
// that are only reserved. That is known, and would end the run.
static bool announces_too_much(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        size_t digits = 0;
        if (data[i] != '*')
            continue;
        while (i + 1 + digits < size && strchr("+0123456789", data[i + 1 + digits]) &&
               data[i + 1 + digits])
            digits++;
        if (digits > ELEMENTS_DIGITS_MAX)
            return true;
    }
    return false;
}

static void try_page(const redisReply *reply, bool backwards)
{
    const struct cn_channel_name lobby = cn_channel_name_of(CN_STR_LITERAL("r:lobby"));
    const struct cn_redis_reading reading = {
        {.takes_unsealed = true, .entry_bytes = ENTRY_MAX_BYTES}, &lobby, backwards};
    struct cn_redis_page page;
    if (cn_redis_reply_page(reply, &reading, &page))
        return;
    for (size_t i = 0; i < page.page.count; i++) {
        const struct cn_entry *entry = &page.page.entries[i];
        CN_ASSERT(entry->text.len <= ENTRY_MAX_BYTES && entry->text.ptr[0] == '{');
    }
    cn_redis_page_fini(&page);
}

static void try_published(const redisReply *reply)
{
    struct cn_published result = {.ts_ms = -1};
    if (cn_redis_reply_published(reply, &result) == CN_OK)
        CN_ASSERT(result.ts_ms >= 0 && result.err == CN_OK);
}

static void try_info(const redisReply *reply)
{
    char value[16];
    static const char *const fields[] = {"redis_version", "role", "master_replid", "x"};
    for (size_t i = 0; i < CN_COUNT(fields); i++)
        if (cn_redis_reply_info(reply, fields[i], value, sizeof(value)))
            CN_ASSERT(memchr(value, '\0', sizeof(value)));
}

static void try_reply(const redisReply *reply)
{
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(reply);
    CN_ASSERT((outcome == CN_REDIS_DONE) == (reply->type != REDIS_REPLY_ERROR));
    if (reply->type == REDIS_REPLY_ERROR) {
        CN_ASSERT(cn_redis_reply_cause(reply) < CN_BUS_CAUSES);
        CN_ASSERT(cn_redis_reply_refusal(reply) != CN_OK);
        return;
    }
    try_published(reply);
    try_page(reply, false);
    try_page(reply, true);
    try_info(reply);
    for (size_t i = 0; i < reply->elements; i++)
        if (reply->element[i]->type != REDIS_REPLY_ERROR)
            try_published(reply->element[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (announces_too_much(data, size))
        return 0;
    redisReader *reader = redisReaderCreate();
    CN_ASSERT(reader);
    void *reply = NULL;
    if (redisReaderFeed(reader, (const char *)data, size) == REDIS_OK) {
        while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
            try_reply(reply);
            freeReplyObject(reply);
        }
    }
    redisReaderFree(reader);
    return 0;
}
