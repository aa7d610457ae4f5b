// SPDX-License-Identifier: MIT
// Rulings as text: from the HTTP API's JSON, and to and from notices, which are flat objects of
// strings.
#include "chatnode/ruling.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "chatnode/name.h"
#include "wire_private.h"

// Of the notices' form; it is raised when an older node would misunderstand a newer one.
#define VERSION "1"

enum { BODY_BYTES_MAX = 4096, TIME_DIGITS_MAX = 11 };

static const char *const words[] = {
#define X(symbol, word) word,
    CN_RULING_TABLE(X)
#undef X
};

const char *cn_ruling_word(enum cn_ruling_kind kind)
{
    return words[kind];
}

// ---- Subjects ----

static bool is_jti(struct cn_str text)
{
    return text.len >= 1 && text.len <= CN_RULING_SUBJECT_MAX && cn_utf8_is_clean(text) &&
           !memchr(text.ptr, '"', text.len) && !memchr(text.ptr, '\\', text.len) &&
           !memchr(text.ptr, 0x7f, text.len);
}

static bool set_subject(struct cn_ruling *ruling, struct cn_str text)
{
    bool good = ruling->kind == CN_RULING_TOKEN ? is_jti(text) : cn_name_is_valid(text);
    if (!good || cn_str_copy(text, ruling->subject, sizeof(ruling->subject)) != CN_OK)
        return false;
    ruling->subject_len = text.len;
    return true;
}

// ---- What the HTTP API is asked ----

static bool decode_ttl(const json_t *object, int64_t *ttl_s)
{
    const json_t *value = json_object_get(object, "ttl_s");
    if (value)
        *ttl_s = json_is_integer(value) ? json_integer_value(value) : 0;
    return *ttl_s >= 1 && *ttl_s <= CN_RULING_TTL_MAX_S;
}

static enum cn_err decode_object(const json_t *object, int64_t ttl_s, int64_t now_s,
                                 struct cn_ruling *out, enum cn_problem *problem)
{
    bool kick = out->kind == CN_RULING_SESSIONS;
    bool by_user = json_object_get(object, "user") != NULL;
    bool by_jti = json_object_get(object, "jti") != NULL;
    *problem = CN_PROBLEM_BAD_REQUEST;
    if (by_user == by_jti || (kick && by_jti) || !decode_ttl(object, &ttl_s))
        return CN_INVALID;
    if (!kick)
        out->kind = by_user ? CN_RULING_USER : CN_RULING_TOKEN;
    out->before_s = by_user ? now_s : 0;
    out->until_s = now_s + ttl_s;
    if (set_subject(out, cn_json_text(object, by_user ? "user" : "jti")))
        return CN_OK;
    *problem = by_user ? CN_PROBLEM_BAD_NAME : CN_PROBLEM_BAD_REQUEST;
    return CN_INVALID;
}

enum cn_err cn_ruling_decode(struct cn_str body, bool kick, int64_t ttl_s, int64_t now_s,
                             struct cn_ruling *out, enum cn_problem *problem)
{
    static const struct cn_json_bounds bounds = {.depth_max = 4, .nodes_max = 16};
    json_t *object;
    *problem = CN_PROBLEM_BAD_JSON;
    enum cn_err err = body.len > BODY_BYTES_MAX || !cn_json_begins_object(body)
                          ? CN_INVALID
                          : cn_json_load(body, &bounds, &object);
    if (err)
        return err;
    *out = (struct cn_ruling){.kind = kick ? CN_RULING_SESSIONS : CN_RULING_USER};
    err = decode_object(object, ttl_s, now_s, out, problem);
    json_decref(object);
    return err;
}

// ---- What nodes tell each other ----

size_t cn_ruling_format(const struct cn_ruling *ruling, char out[CN_RULING_TEXT_BYTES])
{
    int len =
        snprintf(out, CN_RULING_TEXT_BYTES,
                 "{\"v\":\"" VERSION "\",\"end\":\"%s\",\"subject\":\"%s\",\"before\":\"%" PRId64
                 "\",\"until\":\"%" PRId64 "\"}",
                 words[ruling->kind], ruling->subject, ruling->before_s, ruling->until_s);
    CN_ASSERT(len > 0 && len < CN_RULING_TEXT_BYTES);
    return (size_t)len;
}

static bool parse_kind(struct cn_str text, enum cn_ruling_kind *out)
{
    for (int i = 0; i < CN_RULING_KINDS; i++) {
        if (!cn_str_equal(text, cn_str_of(words[i])))
            continue;
        *out = (enum cn_ruling_kind)i;
        return true;
    }
    return false;
}

enum cn_err cn_ruling_parse(struct cn_str text, struct cn_ruling *out)
{
    struct cn_flat_object object;
    struct cn_ruling found = {0};
    if (!cn_flat_object_read(text, &object) ||
        !cn_str_equal(cn_flat_object_find(&object, CN_STR_LITERAL("v")), CN_STR_LITERAL(VERSION)))
        return CN_INVALID;
    if (!parse_kind(cn_flat_object_find(&object, CN_STR_LITERAL("end")), &found.kind) ||
        !cn_str_read_digits(cn_flat_object_find(&object, CN_STR_LITERAL("before")), TIME_DIGITS_MAX,
                            &found.before_s) ||
        !cn_str_read_digits(cn_flat_object_find(&object, CN_STR_LITERAL("until")), TIME_DIGITS_MAX,
                            &found.until_s) ||
        !set_subject(&found, cn_flat_object_find(&object, CN_STR_LITERAL("subject"))))
        return CN_INVALID;
    *out = found;
    return CN_OK;
}
