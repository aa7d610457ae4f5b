// SPDX-License-Identifier: MIT
// The settings as text: the table as data, what a value must be, --help, docs/config.md.
#include "chatnode/config.h"

#include <inttypes.h>
#include <stdio.h>

#include "chatnode/durability.h"
#include "chatnode/name.h"
#include "chatnode/seal.h"
#include "wire_private.h"

// clang-format off
#define ROW(kind_, field_, key_, flags_, group_, value_, help_)                                    \
    .kind = (kind_), .key = (key_), .offset = offsetof(struct cn_config, field_),                  \
    .flags = (flags_), .group = (group_), .value = (value_), .help = (help_)
#define TEXT(field, key, fallback, flags, group, value, help)                                      \
    {ROW(CN_SETTING_TEXT, field, key, flags, group, value, help), .text_default = (fallback)},
#define NUMBER(field, key, fallback, least, most, flags, group, value, help)                       \
    {ROW(CN_SETTING_NUMBER, field, key, flags, group, value, help),                                \
     .number_default = (fallback), .min = (least), .max = (most)},
#define FLAG(field, key, fallback, flags, group, help)                                             \
    {ROW(CN_SETTING_SWITCH, field, key, flags, group, NULL, help), .number_default = (fallback)},
// clang-format on

static const struct cn_setting settings[] = {CN_CONFIG_TABLE(TEXT, NUMBER, FLAG)};

#undef TEXT
#undef NUMBER
#undef FLAG
#undef ROW

enum {
    HELP_COLUMN = 32, // where the explanations of --help begin
    HELP_WIDTH = 96,
    KEY_MAX = 64 // longer words are near to no key
};

const struct cn_setting *cn_settings(size_t *count)
{
    *count = CN_COUNT(settings);
    return settings;
}

const struct cn_setting *cn_setting_find(struct cn_str key)
{
    for (size_t i = 0; i < CN_COUNT(settings); i++) {
        if (cn_str_equal(cn_str_of(settings[i].key), key))
            return &settings[i];
    }
    return NULL;
}

// ---- The nearest name ----

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Levenshtein's distance, one row at a time; neither is longer than KEY_MAX.
static size_t edit_distance(struct cn_str a, struct cn_str b)
{
    size_t row[KEY_MAX + 1];
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t changed = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);
            diagonal = row[j];
            row[j] = least(changed, 1 + least(row[j], row[j - 1]));
        }
    }
    return row[b.len];
}

// Puts `candidate` into *best if it is nearer to `key` than *distance.
static void consider(struct cn_str key, const char *candidate, const char **best, size_t *distance)
{
    size_t found = edit_distance(key, cn_str_of(candidate));
    if (found < *distance) {
        *distance = found;
        *best = candidate;
    }
}

const char *cn_setting_nearest(struct cn_str key)
{
    static const char *const others[] = {"config", "check-config", "healthcheck", "help",
                                         "version"};
    if (key.len == 0 || key.len > KEY_MAX)
        return NULL;
    const char *best = NULL;
    size_t distance = 2 + key.len / 3; // further away than this is another word, not a slip
    for (size_t i = 0; i < CN_COUNT(settings); i++)
        consider(key, settings[i].key, &best, &distance);
    for (size_t i = 0; i < CN_COUNT(others); i++)
        consider(key, others[i], &best, &distance);
    return best;
}

// ---- What a text must be ----

static bool is_one_of(struct cn_str text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (cn_str_equal(text, cn_str_of(words[i])))
            return true;
    }
    return false;
}

static bool begins_with(struct cn_str text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len > len && memcmp(text.ptr, prefix, len) == 0;
}

static bool is_auth(struct cn_str text)
{
    static const char *const words[] = {"open", "token"};
    return is_one_of(text, words, CN_COUNT(words));
}

// `host` with its port and path, and nothing before those that makes it another host.
static bool is_url_of(struct cn_str text, const char *host)
{
    size_t len = strlen(host);
    return text.len >= len && memcmp(text.ptr, host, len) == 0 &&
           (text.len == len || text.ptr[len] == ':' || text.ptr[len] == '/') &&
           !memchr(text.ptr, '@', text.len);
}

static bool is_http_url(struct cn_str text)
{
    return text.len == 0 || begins_with(text, "https://") || is_url_of(text, "http://127.0.0.1") ||
           is_url_of(text, "http://[::1]") || is_url_of(text, "http://localhost");
}

static bool is_level(struct cn_str text)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    return is_one_of(text, words, CN_COUNT(words));
}

static bool is_on_or_off(struct cn_str text)
{
    static const char *const words[] = {"off", "on"};
    return is_one_of(text, words, CN_COUNT(words));
}

static bool is_format(struct cn_str text)
{
    static const char *const words[] = {"text", "json", "auto"};
    return is_one_of(text, words, CN_COUNT(words));
}

static bool is_tls_version(struct cn_str text)
{
    static const char *const words[] = {"1.2", "1.3"};
    return is_one_of(text, words, CN_COUNT(words));
}

static bool is_required_durability(struct cn_str text)
{
    enum cn_durability durability;
    return cn_durability_parse(text, &durability) == CN_OK;
}

static bool is_redis_url(struct cn_str text)
{
    return text.len == 0 || begins_with(text, "redis://") || begins_with(text, "rediss://") ||
           begins_with(text, "unix:///");
}

static bool is_redis_prefix(struct cn_str text)
{
    return text.len <= CN_NAME_MAX && !memchr(text.ptr, '{', text.len) &&
           !memchr(text.ptr, '}', text.len) && !memchr(text.ptr, ' ', text.len);
}

static bool is_node_name(struct cn_str text)
{
    return text.len == 0 || cn_name_is_valid(text);
}

static bool is_address_or_empty(struct cn_str text)
{
    return text.len == 0 || cn_text_is_address(text);
}

static bool is_network_list(struct cn_str text)
{
    return cn_text_is_list(text, cn_text_is_network);
}

static bool is_origin_list(struct cn_str text)
{
    return cn_text_is_list(text, cn_text_is_origin);
}

static bool is_bus_key(struct cn_str text)
{
    struct cn_sealer *sealer = NULL;
    const char *why;
    bool good = text.len == 0 || cn_sealer_new(text, &sealer, &why) == CN_OK;
    cn_sealer_free(sealer);
    return good;
}

struct rule {
    size_t offset; // of the field
    bool (*is_right)(struct cn_str text);
    const char *complaint; // completes: "VALUE" ...
};

#define RULE(field, is_right, complaint)                                                           \
    {                                                                                              \
        offsetof(struct cn_config, field), is_right, complaint                                     \
    }
static const struct rule rules[] = {
    RULE(listen, cn_text_is_address, "is not HOST:PORT with a port from 0 to 65535"),
    RULE(internal_listen, is_address_or_empty,
         "is not HOST:PORT with a port from 0 to 65535, nor empty"),
    RULE(allowed_origins, is_origin_list,
         "is not a list of origins such as https://chat.example.org, nor *"),
    RULE(trusted_proxies, is_network_list, "is not a list of addresses or networks (10.0.0.0/8)"),
    RULE(auth, is_auth, "is not open or token"),
    RULE(auth_jwks_url, is_http_url, "is neither https:// nor http:// of this machine"),
    RULE(auth_url, is_http_url, "is neither https:// nor http:// of this machine"),
    RULE(tls_min_version, is_tls_version, "is not 1.2 or 1.3"),
    RULE(proxy_protocol, is_on_or_off, "is not on or off"),
    RULE(node_name, is_node_name, "is not 1 to 64 of A-Z a-z 0-9 _ . : -"),
    RULE(redis_url, is_redis_url,
         "does not begin with redis://, rediss:// or unix:///, followed by more"),
    RULE(redis_prefix, is_redis_prefix, "is longer than 64 bytes or has a space, { or } in it"),
    RULE(require_durability, is_required_durability,
         "is not none, disk, disk-always or replicated"),
    RULE(bus_key, is_bus_key, "is not 1 to 8 keys of 32 bytes or more"),
    RULE(default_room, cn_name_is_valid, "is not 1 to 64 of A-Z a-z 0-9 _ . : -"),
    RULE(log_level, is_level, "is not error, warn, info or debug"),
    RULE(log_format, is_format, "is not text, json or auto"),
};
#undef RULE

const char *cn_setting_complaint(const struct cn_setting *setting, struct cn_str text)
{
    // Keys come in lines.
    bool may_have_lines = setting->offset == offsetof(struct cn_config, auth_keys);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_break = c == '\n' || c == '\r' || c == '\t';
        if (((unsigned char)c < 0x20 && !(may_have_lines && is_break)) || c == 0x7F)
            return "has a control character in it";
    }
    for (size_t i = 0; i < CN_COUNT(rules); i++) {
        if (rules[i].offset == setting->offset)
            return rules[i].is_right(text) ? NULL : rules[i].complaint;
    }
    return NULL;
}

// ---- Pieces of text ----

// Groups are listed where their first setting stands, with all their settings.
static bool is_first_of_group(size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(settings[i].group, settings[index].group) == 0)
            return false;
    }
    return true;
}

static enum cn_err put(struct cn_buf *out, const char *text)
{
    return cn_buf_append_str(out, cn_str_of(text));
}

// The default as one would write it; "" for an empty text.
static enum cn_err put_default(struct cn_buf *out, const struct cn_setting *setting)
{
    switch (setting->kind) {
    case CN_SETTING_TEXT:
        return put(out, setting->text_default);
    case CN_SETTING_NUMBER:
        return cn_buf_printf(out, "%" PRId64, setting->number_default);
    default:
        return put(out, setting->number_default ? "on" : "off");
    }
}

static bool has_default(const struct cn_setting *setting)
{
    return setting->kind != CN_SETTING_TEXT || setting->text_default[0] != '\0';
}

// CHATNODE_REDIS_URL of redis-url.
static enum cn_err put_variable(struct cn_buf *out, const struct cn_setting *setting)
{
    char name[KEY_MAX];
    size_t len = strlen(setting->key);
    CN_ASSERT(len < sizeof(name));
    for (size_t i = 0; i < len; i++) {
        char c = setting->key[i];
        name[i] = c == '-' ? '_' : (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
    return cn_buf_printf(out, "CHATNODE_%.*s", (int)len, name);
}

// ---- --help ----

// A piece of --help: writes to `out` unless something failed before.
struct page {
    struct cn_buf *out;
    enum cn_err err;
};

static void page_text(struct page *page, const char *text)
{
    if (page->err == CN_OK)
        page->err = put(page->out, text);
}

static void page_break(struct page *page, size_t indent)
{
    if (page->err == CN_OK)
        page->err = cn_buf_printf(page->out, "\n%*s", (int)indent, "");
}

// Writes `text` word by word from `column` on, in lines of HELP_WIDTH; further lines begin at
// HELP_COLUMN. Returns the column where it ended.
static size_t page_wrap(struct page *page, size_t column, struct cn_str text)
{
    size_t at = 0;
    while (at < text.len && page->err == CN_OK) {
        const char *space = memchr(text.ptr + at, ' ', text.len - at);
        size_t len = space ? (size_t)(space - text.ptr) - at : text.len - at;
        if (column > HELP_COLUMN && column + 1 + len > HELP_WIDTH) {
            page_break(page, HELP_COLUMN);
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            page_text(page, " ");
            column++;
        }
        if (page->err == CN_OK)
            page->err = cn_buf_append(page->out, text.ptr + at, len);
        column += len;
        at += len + 1;
    }
    return column;
}

// "(default 128, 1 to 10000, HUP applies it)"
static enum cn_err put_facts(struct cn_buf *out, const struct cn_setting *setting)
{
    enum cn_err err = put(out, has_default(setting) ? "(default " : "(default empty");
    if (err == CN_OK)
        err = put_default(out, setting);
    if (err == CN_OK && setting->kind == CN_SETTING_NUMBER)
        err = cn_buf_printf(out, "; %" PRId64 " to %" PRId64, setting->min, setting->max);
    if (err == CN_OK && (setting->flags & CN_SETTING_SECRET))
        err = cn_buf_printf(out, "; or --%s-file PATH", setting->key);
    if (err == CN_OK && (setting->flags & CN_SETTING_RELOAD))
        err = put(out, "; HUP applies it");
    return err == CN_OK ? put(out, ")") : err;
}

static void page_row(struct page *page, const char *left, const char *right)
{
    size_t column = 2 + strlen(left);
    page_text(page, "  ");
    page_text(page, left);
    if (column + 2 > HELP_COLUMN)
        page_break(page, HELP_COLUMN);
    else if (page->err == CN_OK)
        page->err = cn_buf_printf(page->out, "%*s", (int)(HELP_COLUMN - column), "");
    page_wrap(page, HELP_COLUMN, cn_str_of(right));
    page_text(page, "\n");
}

static void page_setting(struct page *page, const struct cn_setting *setting)
{
    char left[KEY_MAX + 32];
    char right[512];
    struct cn_buf facts;
    cn_buf_init(&facts, sizeof(right) / 2);
    if (page->err == CN_OK)
        page->err = put_facts(&facts, setting);
    const char *prefix = setting->kind == CN_SETTING_SWITCH ? "--[no-]" : "--";
    snprintf(left, sizeof(left), "%s%s%s%s", prefix, setting->key, setting->value ? " " : "",
             setting->value ? setting->value : "");
    snprintf(right, sizeof(right), "%s %.*s", setting->help, (int)facts.len,
             facts.data ? facts.data : "");
    page_row(page, left, right);
    cn_buf_fini(&facts);
}

static void page_group(struct page *page, const char *group)
{
    page_text(page, "\n");
    page_text(page, group);
    page_text(page, "\n");
    for (size_t i = 0; i < CN_COUNT(settings); i++) {
        if (strcmp(settings[i].group, group) == 0)
            page_setting(page, &settings[i]);
    }
}

// A title (right is NULL) or a row of --help that is no setting.
struct help_row {
    const char *left;
    const char *right;
};

static const struct help_row help_rows[] = {
    {"Other flags", NULL},
    {"--config PATH", "read settings from this file (or CHATNODE_CONFIG)"},
    {"--check-config", "load the settings, report what is wrong, and exit"},
    {"--healthcheck", "ask the node that runs with these settings whether it is well, and exit"},
    {"--version", "print the version and exit"},
    {"-h, --help", "print this and exit"},
    {"Where settings come from, the strongest first", NULL},
    {"flags", "--max-rooms 64 or --max-rooms=64; the last one counts"},
    {"environment", "CHATNODE_MAX_ROOMS=64: the flag's name in capitals, _ for -; an empty value "
                    "counts as unset"},
    {"REDIS_URL, PORT", "as platforms set them: --redis-url, and --listen 0.0.0.0:PORT"},
    {"file", "max-rooms = 64, one on a line; # begins a comment"},
    {"Signals", NULL},
    {"TERM, INT", "drain: take no new clients, send the others away within --drain, exit 0; a "
                  "second one stops at once"},
    {"HUP", "read the settings again and apply those marked above"},
    {"USR1", "open --log-file again, after rotation"},
    {"Exit codes", NULL},
    {"0", "stopped as asked; all is well"},
    {"1", "could not start or go on; not well"},
    {"78", "a setting is wrong"},
};

enum cn_err cn_config_help(struct cn_buf *out)
{
    size_t start = out->len;
    struct page page = {out, CN_OK};
    page_text(&page, "chatnode " CN_VERSION ": a chat server; many nodes over one Redis, or one "
                     "node by itself\n\nUsage: chatnode [--SETTING VALUE]...\n");
    for (size_t i = 0; i < CN_COUNT(settings); i++) {
        if (is_first_of_group(i))
            page_group(&page, settings[i].group);
    }
    for (size_t i = 0; i < CN_COUNT(help_rows); i++) {
        if (help_rows[i].right) {
            page_row(&page, help_rows[i].left, help_rows[i].right);
            continue;
        }
        page_text(&page, "\n");
        page_text(&page, help_rows[i].left);
        page_text(&page, "\n");
    }
    if (page.err != CN_OK)
        out->len = start;
    return page.err;
}

// ---- docs/config.md ----

static const char document_head[] =
    "# Settings\n"
    "\n"
    "This page is made from the table in `include/chatnode/config_table.h`; `chatnode --help` says "
    "the same.\n"
    "\n"
    "A setting comes from the strongest of these that has it:\n"
    "\n"
    "1. a flag: `--max-rooms 64` or `--max-rooms=64`; of several the last one counts\n"
    "2. the environment: `CHATNODE_MAX_ROOMS=64`; an empty value counts as unset\n"
    "3. the environment as platforms set it: `REDIS_URL`, and `PORT`, which means `0.0.0.0:PORT` "
    "for `listen`\n"
    "4. the file named by `--config` or `CHATNODE_CONFIG`: `max-rooms = 64`, one on a line; `#` at "
    "the beginning of a line or after white space begins a comment; there are no sections\n"
    "5. the default\n"
    "\n"
    "A secret may also be read from a file, less the newline at its end: `--redis-url-file PATH`, "
    "`CHATNODE_REDIS_URL_FILE`, `redis-url-file = PATH`.\n"
    "\n"
    "An unknown name in the file or the environment gives a warning with the nearest known one. An "
    "unknown flag or a bad value stops the node with exit code 78, and so does `--check-config`, "
    "which only looks. `HUP` reads everything again and applies the settings that are marked so.\n";

// One cell of the table: its text with the signs that Markdown would take for its own escaped.
static enum cn_err put_cell(struct cn_buf *out, const char *text)
{
    enum cn_err err = CN_OK;
    for (; *text && err == CN_OK; text++) {
        if (*text == '|' || *text == '*' || *text == '<')
            err = put(out, "\\");
        if (err == CN_OK)
            err = cn_buf_append(out, text, 1);
    }
    return err;
}

static enum cn_err put_range(struct cn_buf *out, const struct cn_setting *setting)
{
    if (setting->kind == CN_SETTING_SWITCH)
        return put(out, "on or off");
    if (setting->kind == CN_SETTING_TEXT)
        return put(out, setting->value);
    return cn_buf_printf(out, "%" PRId64 " to %" PRId64 "%s%s", setting->min, setting->max,
                         strcmp(setting->value, "N") == 0 ? "" : " ",
                         strcmp(setting->value, "N") == 0 ? "" : setting->value);
}

static enum cn_err document_row(struct cn_buf *out, const struct cn_setting *setting)
{
    enum cn_err err = cn_buf_printf(out, "| `%s` | `", setting->key);
    if (err == CN_OK)
        err = put_variable(out, setting);
    if (err == CN_OK)
        err = put(out, has_default(setting) ? "` | `" : "` | empty");
    if (err == CN_OK)
        err = put_default(out, setting);
    if (err == CN_OK)
        err = put(out, has_default(setting) ? "` | " : " | ");
    if (err == CN_OK)
        err = put_range(out, setting);
    if (err == CN_OK)
        err = put(out, setting->flags & CN_SETTING_RELOAD ? " | yes | " : " | no | ");
    if (err == CN_OK)
        err = put_cell(out, setting->help);
    if (err == CN_OK && (setting->flags & CN_SETTING_SECRET))
        err = put(out, " (a secret)");
    return err == CN_OK ? put(out, " |\n") : err;
}

static enum cn_err document_group(struct cn_buf *out, const char *group)
{
    enum cn_err err = cn_buf_printf(out,
                                    "\n## %s\n\n"
                                    "| setting | environment | default | range | HUP | meaning |\n"
                                    "|---|---|---|---|---|---|\n",
                                    group);
    for (size_t i = 0; i < CN_COUNT(settings) && err == CN_OK; i++) {
        if (strcmp(settings[i].group, group) == 0)
            err = document_row(out, &settings[i]);
    }
    return err;
}

enum cn_err cn_config_document(struct cn_buf *out)
{
    size_t start = out->len;
    enum cn_err err = put(out, document_head);
    for (size_t i = 0; i < CN_COUNT(settings) && err == CN_OK; i++) {
        if (is_first_of_group(i))
            err = document_group(out, settings[i].group);
    }
    if (err != CN_OK)
        out->len = start;
    return err;
}

// ---- What is set ----

static enum cn_err show_text(const struct cn_setting *setting, const char *value,
                             struct cn_buf *out)
{
    if (strcmp(value, setting->text_default) == 0)
        return CN_OK;
    bool secret = setting->flags & CN_SETTING_SECRET;
    return cn_buf_printf(out, "%s = %s\n", setting->key, secret ? "(secret)" : value);
}

static enum cn_err show_setting(const struct cn_setting *setting, const struct cn_config *config,
                                struct cn_buf *out)
{
    const void *field = (const char *)config + setting->offset;
    if (setting->kind == CN_SETTING_TEXT)
        return show_text(setting, *(char *const *)field, out);
    bool is_number = setting->kind == CN_SETTING_NUMBER;
    int64_t value = is_number ? *(const int64_t *)field : *(const bool *)field;
    if (value == setting->number_default)
        return CN_OK;
    if (is_number)
        return cn_buf_printf(out, "%s = %" PRId64 "\n", setting->key, value);
    return cn_buf_printf(out, "%s = %s\n", setting->key, value ? "on" : "off");
}

enum cn_err cn_config_show(const struct cn_config *config, struct cn_buf *out)
{
    size_t start = out->len;
    enum cn_err err = CN_OK;
    for (size_t i = 0; i < CN_COUNT(settings) && err == CN_OK; i++)
        err = show_setting(&settings[i], config, out);
    if (err != CN_OK)
        out->len = start;
    return err;
}
