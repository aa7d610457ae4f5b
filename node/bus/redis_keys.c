// SPDX-License-Identifier: MIT
// The names of all keys and channels in Redis: made here and nowhere else.
#include <stdio.h>
#include <string.h>

#include "redis_private.h"

enum cn_err cn_redis_keys_init(struct cn_redis_keys *keys, struct cn_str prefix, int db)
{
    keys->db = db;
    keys->prefix_len = prefix.len;
    return cn_str_copy(prefix, keys->prefix, sizeof(keys->prefix));
}

static void append(struct cn_redis_key *key, const char *bytes, size_t len)
{
    CN_ASSERT(key->len + len <= sizeof(key->text));
    memcpy(key->text + key->len, bytes, len);
    key->len += len;
}

static void append_text(struct cn_redis_key *key, const char *text)
{
    append(key, text, strlen(text));
}

// P{c}
static void begin(const struct cn_redis_keys *keys, const struct cn_channel_name *channel,
                  struct cn_redis_key *out)
{
    out->len = 0;
    append(out, keys->prefix, keys->prefix_len);
    append_text(out, "{");
    append(out, channel->text, channel->len);
    append_text(out, "}");
}

void cn_redis_keys_log(const struct cn_redis_keys *keys, const struct cn_channel_name *channel,
                       struct cn_redis_key *out)
{
    begin(keys, channel, out);
    append_text(out, "log");
}

void cn_redis_keys_meta(const struct cn_redis_keys *keys, const struct cn_channel_name *channel,
                        struct cn_redis_key *out)
{
    begin(keys, channel, out);
    append_text(out, "meta");
}

void cn_redis_keys_id(const struct cn_redis_keys *keys, const struct cn_channel_name *channel,
                      const char *user, const char *id, struct cn_redis_key *out)
{
    begin(keys, channel, out);
    append_text(out, "id:");
    append_text(out, user);
    append_text(out, ":");
    append_text(out, id);
}

// Redis's pub/sub knows no databases, so a database other than 0 is part of the name.
static void append_db(const struct cn_redis_keys *keys, struct cn_redis_key *out)
{
    char text[16];
    if (keys->db == 0)
        return;
    snprintf(text, sizeof(text), "db:%d", keys->db);
    append_text(out, text);
}

void cn_redis_keys_channel(const struct cn_redis_keys *keys, const struct cn_channel_name *channel,
                           struct cn_redis_key *out)
{
    begin(keys, channel, out);
    append_db(keys, out);
}

void cn_redis_keys_heartbeat(const struct cn_redis_keys *keys, struct cn_redis_key *out)
{
    out->len = 0;
    append(out, keys->prefix, keys->prefix_len);
    append_text(out, "heartbeat");
}

void cn_redis_keys_notices(const struct cn_redis_keys *keys, bool channel, struct cn_redis_key *out)
{
    out->len = 0;
    append(out, keys->prefix, keys->prefix_len);
    append_text(out, "notices");
    if (channel)
        append_db(keys, out);
}

enum cn_err cn_redis_keys_parse_channel(const struct cn_redis_keys *keys, struct cn_str text,
                                        struct cn_channel_name *out)
{
    size_t head = keys->prefix_len + 1;
    if (text.len < head + 2 || memcmp(text.ptr, keys->prefix, keys->prefix_len) != 0)
        return CN_INVALID;
    const char *brace = memchr(text.ptr + head, '}', text.len - head);
    if (brace == NULL)
        return CN_INVALID;
    struct cn_str name = {text.ptr + head, (size_t)(brace - text.ptr) - head};
    if (cn_channel_name_parse(name, out) != CN_OK)
        return CN_INVALID;
    struct cn_redis_key whole;
    cn_redis_keys_channel(keys, out, &whole);
    return cn_str_equal(text, cn_redis_key_str(&whole)) ? CN_OK : CN_INVALID;
}
