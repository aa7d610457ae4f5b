// SPDX-License-Identifier: MIT
// JSON that strangers wrote: bounds before a tree is made of it, and a parser that tells want of
// memory from bad text.
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "wire_private.h"

// ---- Before parsing: bounds that hostile text must keep before jansson sees it ----

// Where a linear pass over JSON text stands.
struct scan {
    size_t depth;
    size_t tokens; // strings, containers and words seen: values and the keys of objects
    size_t colons; // as many keys have their value
    bool in_word;  // inside a number or a literal
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// The index just after the string that begins at text[at]; the text's length when it does not end.
static size_t skip_string(struct cn_str text, size_t at)
{
    for (at++; at < text.len; at++) {
        if (text.ptr[at] == '\\')
            at++;
        else if (text.ptr[at] == '"')
            return at + 1;
    }
    return text.len;
}

// Accounts for one character outside strings.
static void scan_char(struct scan *scan, char c)
{
    bool was_in_word = scan->in_word;
    scan->in_word = false;
    switch (c) {
    case '{':
    case '[':
        scan->tokens++;
        scan->depth++;
        break;
    case '}':
    case ']':
        scan->depth -= scan->depth > 0;
        break;
    case ':':
        scan->colons++;
        break;
    case '"':
        scan->tokens++;
        break;
    case ',':
        break;
    default:
        scan->in_word = !is_space(c);
        scan->tokens += scan->in_word && !was_in_word;
    }
}

// True when no prefix of the text nests too deep or holds too many values. A prefix holds at most
// one key whose colon has not come yet. What is not JSON may pass: jansson stops there.
static bool is_within(struct cn_str text, const struct cn_json_bounds *bounds)
{
    struct scan scan = {0};
    size_t at = 0;
    while (at < text.len) {
        scan_char(&scan, text.ptr[at]);
        if (scan.depth > bounds->depth_max || scan.tokens > scan.colons + bounds->nodes_max + 1)
            return false;
        at = text.ptr[at] == '"' ? skip_string(text, at) : at + 1;
    }
    return scan.tokens <= scan.colons + bounds->nodes_max;
}

// ---- The parser ----

// jansson takes want of memory for bad text in places, and asserts in others. So while it parses,
// its allocator has a reserve, which is enough until the text can be made to end there: PIECE bytes
// further, and behind the token under way, whose buffer may double and be copied once.
enum { PIECE_BYTES = 256, RESERVE_BYTES = 16384, RESERVE_FACTOR = 6, ALIGNMENT = 16 };

struct parse {
    struct cn_str rest; // of the text
    char *reserve;
    size_t reserve_len;
    size_t used; // more than 0: memory ran out
};

static _Thread_local struct parse *parsing; // NULL: none on this thread
static pthread_once_t jansson_once = PTHREAD_ONCE_INIT;

static void *take_reserve(struct parse *parse, size_t len)
{
    size_t rounded = (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (parse->reserve_len - parse->used < rounded)
        return NULL;
    void *memory = parse->reserve + parse->used;
    parse->used += rounded;
    return memory;
}

static void *allocate(size_t len)
{
    void *memory = malloc(len);
    if (memory == NULL && parsing != NULL)
        memory = take_reserve(parsing, len);
    return memory;
}

static void release(void *memory)
{
    uintptr_t at = (uintptr_t)memory;
    uintptr_t reserve = parsing ? (uintptr_t)parsing->reserve : 0;
    if (!parsing || at < reserve || at >= reserve + parsing->reserve_len)
        free(memory);
}

// The seed keeps clients from choosing keys that collide in jansson's hash tables.
static void prepare_jansson(void)
{
    json_set_alloc_funcs(allocate, release);
    json_object_seed(0); // from the system's randomness
}

// jansson's json_load_callback_t: the text piece by piece, or its end once memory has run out.
static size_t read_piece(void *buffer, size_t room, void *arg)
{
    struct parse *parse = arg;
    if (parse->used > 0)
        return 0;
    size_t len = room < PIECE_BYTES ? room : PIECE_BYTES;
    if (len > parse->rest.len)
        len = parse->rest.len;
    if (len > 0)
        memcpy(buffer, parse->rest.ptr, len);
    parse->rest.ptr += len;
    parse->rest.len -= len;
    return len;
}

static enum cn_err load(struct parse *parse, size_t flags, json_t **out)
{
    parsing = parse;
    *out = json_load_callback(read_piece, parse, flags, NULL);
    if (parse->used > 0 && *out) {
        json_decref(*out);
        *out = NULL;
    }
    parsing = NULL;
    if (*out)
        return CN_OK;
    return parse->used > 0 ? CN_NOMEM : CN_INVALID;
}

enum cn_err cn_json_load(struct cn_str text, const struct cn_json_bounds *bounds, json_t **out)
{
    *out = NULL;
    if (!is_within(text, bounds))
        return CN_INVALID;
    pthread_once(&jansson_once, prepare_jansson);
    struct parse parse = {.rest = text, .reserve_len = RESERVE_FACTOR * text.len + RESERVE_BYTES};
    parse.reserve = malloc(parse.reserve_len);
    if (!parse.reserve)
        return CN_NOMEM;
    size_t flags = JSON_REJECT_DUPLICATES | (bounds->allow_nul ? JSON_ALLOW_NUL : 0);
    enum cn_err err = load(&parse, flags, out);
    free(parse.reserve);
    return err;
}

bool cn_json_begins_object(struct cn_str text)
{
    size_t at = 0;
    while (at < text.len && is_space(text.ptr[at]))
        at++;
    return at < text.len && text.ptr[at] == '{';
}

struct cn_str cn_json_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return (struct cn_str){NULL, 0};
    return (struct cn_str){json_string_value(value), json_string_length(value)};
}
