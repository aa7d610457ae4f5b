// SPDX-License-Identifier: MIT
// Fuzz target: short texts from outside. Positions, names of users, rooms and channels, addresses
// of Redis, words, and JSON's quoting: what is read must be what was meant.
#include "fuzz/fuzz.h"

#include <jansson.h>

#include "chatnode/codec.h"
#include "chatnode/durability.h"
#include "chatnode/log.h"
#include "chatnode/name.h"
#include "chatnode/pos.h"
#include "redis_private.h"

// A position has one spelling only.
static void try_position(struct cn_str text)
{
    struct cn_pos pos;
    char again[CN_POS_TEXT_BYTES];
    if (cn_pos_parse(text, &pos))
        return;
    size_t len = cn_pos_format(pos, again);
    CN_ASSERT(cn_str_equal(text, (struct cn_str){again, len}));
}

static bool is_name_char(char c, const char *others)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr(others, c));
}

static bool is_of(struct cn_str text, const char *others)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_name_char(text.ptr[i], others))
            return false;
    return text.len >= 1 && text.len <= CN_NAME_MAX;
}

static void try_names(struct cn_str text)
{
    CN_ASSERT(cn_name_is_valid(text) == is_of(text, "_.:-"));
    CN_ASSERT(cn_name_is_valid_id(text) == is_of(text, "_-"));
    struct cn_channel_name made, read;
    enum cn_err err = cn_channel_name_make(CN_CHANNEL_INBOX, text, &made);
    CN_ASSERT((err == CN_OK) == cn_name_is_valid(text));
    if (!err) {
        CN_ASSERT(cn_channel_name_parse(cn_channel_name_str(&made), &read) == CN_OK);
        CN_ASSERT(cn_str_equal(cn_channel_name_bare(&read), text));
    }
    if (cn_channel_name_parse(text, &read) == CN_OK)
        CN_ASSERT(cn_str_equal(cn_channel_name_str(&read), text));
}

static void try_redis_channel(struct cn_str text)
{
    struct cn_redis_keys keys;
    struct cn_redis_key key;
    struct cn_channel_name name;
    CN_ASSERT(cn_redis_keys_init(&keys, CN_STR_LITERAL("p:"), 3) == CN_OK);
    if (cn_redis_keys_parse_channel(&keys, text, &name))
        return;
    cn_redis_keys_channel(&keys, &name, &key);
    CN_ASSERT(cn_str_equal(cn_redis_key_str(&key), text));
}

static void try_redis_url(struct cn_str text)
{
    struct cn_redis_url url;
    const char *why = NULL;
    if (cn_redis_url_parse(text, &url, &why)) {
        CN_ASSERT(why && why[0]);
        return;
    }
    CN_ASSERT((url.host[0] != '\0') != (url.path[0] != '\0'));
    CN_ASSERT(url.path[0] || (url.port > 0 && url.port < 65536));
    CN_ASSERT(url.db >= 0);
}

static void try_words(struct cn_str text)
{
    enum cn_durability durability;
    enum cn_log_level level;
    if (cn_durability_parse(text, &durability) == CN_OK && durability != CN_DURABILITY_UNKNOWN)
        CN_ASSERT(cn_str_equal(text, cn_str_of(cn_durability_word(durability))));
    (void)!cn_log_level_parse(text, &level);
}

// What we quote another parser reads back; bad UTF-8 has become something else.
static void try_quote(struct cn_str text)
{
    struct cn_buf out;
    cn_buf_init(&out, text.len * 6 + 2);
    CN_ASSERT(cn_codec_quote(&out, text) == CN_OK);
    json_t *json = json_loadb(out.data, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    CN_ASSERT(json_is_string(json));
    struct cn_str read = {json_string_value(json), json_string_length(json)};
    CN_ASSERT(!cn_name_is_utf8(text) || cn_str_equal(read, text));
    json_decref(json);
    cn_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cn_str text = {(const char *)data, size};
    try_position(text);
    try_names(text);
    try_redis_channel(text);
    try_redis_url(text);
    try_words(text);
    try_quote(text);
    return 0;
}
