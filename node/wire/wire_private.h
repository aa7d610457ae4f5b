// SPDX-License-Identifier: MIT
// What the files of this folder share: the settings as data, and steps over UTF-8.
#ifndef CHATNODE_WIRE_PRIVATE_H
#define CHATNODE_WIRE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "chatnode/buf.h"
#include "chatnode/config.h"

// ---- Settings (config_text.c) ----

enum cn_setting_kind { CN_SETTING_TEXT, CN_SETTING_NUMBER, CN_SETTING_SWITCH };

// One row of CN_CONFIG_TABLE as data.
struct cn_setting {
    enum cn_setting_kind kind;
    const char *key;
    size_t offset;            // of the field in struct cn_config
    const char *text_default; // TEXT
    int64_t number_default;   // NUMBER, and SWITCH as 0 or 1
    int64_t min, max;         // NUMBER
    unsigned flags;           // enum cn_setting_flags
    const char *group;
    const char *value; // the placeholder of --help; NULL for a SWITCH
    const char *help;
};

// The rows in the table's order, and how many there are.
const struct cn_setting *cn_settings(size_t *count);

// The row with this key, or NULL.
const struct cn_setting *cn_setting_find(struct cn_str key);

// The known key, or flag such as "help", that is nearest to `key` by edit distance; NULL when none
// is near.
const char *cn_setting_nearest(struct cn_str key);

// What is wrong with a text setting's value, as the end of a sentence that begins with the value;
// NULL when it is right. `text` is followed by a NUL.
const char *cn_setting_complaint(const struct cn_setting *setting, struct cn_str text);

// ---- Settings as values (config_values.c) ----

// Sets each to its default; the struct is zeroed. CN_NOMEM: cn_config_fini is due all the same.
CN_MUSTCHECK enum cn_err cn_config_set_defaults(struct cn_config *config);

// What is wrong with settings that are each right for themselves: static text that follows
// *key; NULL when nothing is.
const char *cn_config_conflict(const struct cn_config *config, const char **key);

// ---- Shapes of text (name.c); each `text` is followed by a NUL ----

// Decimal digits, without sign and space, from `min` to `max`: *out is then set.
bool cn_text_is_number(struct cn_str text, int64_t min, int64_t max, int64_t *out);

// HOST:PORT, where HOST is a name, an IPv4 address, or an IPv6 address in brackets.
bool cn_text_is_address(struct cn_str text);

// 10.0.0.0/8, 192.0.2.7, 2001:db8::/32
bool cn_text_is_network(struct cn_str text);

// https://chat.example.org:8443 with nothing behind it, or *
bool cn_text_is_origin(struct cn_str text);

// Items between commas, each of which `is_item`; an empty text is an empty list.
bool cn_text_is_list(struct cn_str text, bool (*is_item)(struct cn_str item));

// ---- Objects of strings (flat_object.c) ----

enum { CN_FLAT_MEMBERS_MAX = 8 };

// Keys and values as views into the text, without their quotes. A value's escapes stand as they
// came: no name, id, type or position has room for what they mean, nor for a backslash.
struct cn_flat_object {
    size_t count;
    uint64_t bits; // of all keys, so that most that are not there need not be looked for
    struct cn_str keys[CN_FLAT_MEMBERS_MAX];
    struct cn_str values[CN_FLAT_MEMBERS_MAX];
};

// True when the text is a JSON object (RFC 8259 section 4) with one to CN_FLAT_MEMBERS_MAX members,
// no key twice, whose keys are strings without escapes and whose values are strings with none but
// the short ones: \" \\ \b \f \n \r \t. Pure.
bool cn_flat_object_read(struct cn_str text, struct cn_flat_object *out);

// The value of `key`; absent when there is none.
struct cn_str cn_flat_object_find(const struct cn_flat_object *object, struct cn_str key);

// ---- JSON (json.c) ----

struct json_t; // jansson's

struct cn_json_bounds {
    size_t depth_max;
    size_t nodes_max; // values at most
    bool allow_nul;   // \u0000 in strings
};

// Parses the text within these bounds, which are looked at before a tree is made; no key may stand
// twice in an object. CN_INVALID, CN_NOMEM. The caller gives *out back with json_decref. Any
// thread.
CN_MUSTCHECK enum cn_err cn_json_load(struct cn_str text, const struct cn_json_bounds *bounds,
                                      struct json_t **out);

// True when { is the first that is not space. Pure.
bool cn_json_begins_object(struct cn_str text);

// A member that is a string; absent when there is none, or it is none.
struct cn_str cn_json_text(const struct json_t *object, const char *key);

// ---- base64url (base64url.c) ----

// Bytes that `len` characters stand for at most, and characters that `len` bytes become.
#define CN_BASE64URL_BYTES(len) ((len) / 4 * 3 + 2)
#define CN_BASE64URL_CHARS(len) (((len)*4 + 2) / 3)

// Decodes RFC 4648 section 5 without padding; `out` has room for CN_BASE64URL_BYTES. False for
// anything else, unused bits that are set included: each value has one spelling.
bool cn_base64url_decode(struct cn_str text, unsigned char *out, size_t *len);

// Encodes; `out` has room for CN_BASE64URL_CHARS. Returns how many it wrote; no NUL.
size_t cn_base64url_encode(const void *bytes, size_t len, char *out);

// ---- UTF-8 (name.c) ----

// True for UTF-8 without control characters below 0x20. Runs for each message.
bool cn_utf8_is_clean(struct cn_str text);

// The length, 1 to 4, of the valid sequence at `at` with `left` > 0 bytes before the end (RFC 3629
// section 4); 0 when there is none.
size_t cn_utf8_sequence(const char *at, size_t left);

// Eight bytes at once: true when each is ASCII and none is a control character below 0x20.
static inline bool cn_is_plain_word(const char *at)
{
    const uint64_t high = 0x8080808080808080u;
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return ((word | (word - 0x2020202020202020u)) & high) == 0;
}

// Eight bytes at once: true when one of them is `c`.
static inline bool cn_word_has(const char *at, unsigned char c)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    word ^= ones * c; // 0 where it was c
    return ((word - ones) & ~word & (ones << 7)) != 0;
}

#endif
