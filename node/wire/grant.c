// SPDX-License-Identifier: MIT
// What a token grants: from its claims to checked values, and who may do what where.
#include <jansson.h>
#include <stdlib.h>

#include "chatnode/name.h"
#include "chatnode/token.h"
#include "wire_private.h"

static const char *const right_words[] = {
#define X(symbol, word) [CN_RIGHT_##symbol] = word,
    CN_RIGHT_TABLE(X)
#undef X
};

#define EVERY_RIGHT_BUT_MODERATE (((1u << CN_RIGHT_COUNT) - 1u) & ~(1u << CN_RIGHT_MODERATE))

// The last second of the year 9999 (RFC 3339): times beyond it are a mistake.
#define LATEST_S INT64_C(253402300799)

const char *cn_right_word(enum cn_right right)
{
    return right_words[right];
}

// ---- Reading ----

static const struct cn_json_bounds claim_bounds = {.depth_max = 8, .nodes_max = 4096};

// The claims, and what is wrong with them.
struct reading {
    const json_t *root;
    const struct cn_token_rules *rules;
    enum cn_token_fault fault;
    const char *why;
};

// What the grant will hold, as views into the claims.
struct plan {
    struct cn_str user, name, jti;
    int64_t issued_s, expires_s;
    bool direct, admin;
    json_t *rooms;
    size_t rule_count;
    size_t text_bytes;
};

// Always false, so that a step ends with it.
static bool refuse(struct reading *reading, enum cn_token_fault fault, const char *why)
{
    reading->fault = fault;
    reading->why = why;
    return false;
}

// A number of seconds, whole or not, from 1970 to 9999; rounded down.
static bool read_seconds(const json_t *value, int64_t *out)
{
    double seconds = json_number_value(value);
    if (!json_is_number(value) || !(seconds >= 0 && seconds <= (double)LATEST_S))
        return false;
    *out = json_is_integer(value) ? json_integer_value(value) : (int64_t)seconds;
    return true;
}

// Absent is right; *has says so.
static bool read_date(struct reading *reading, const char *claim, int64_t *out, bool *has)
{
    const json_t *value = json_object_get(reading->root, claim);
    *has = value != NULL;
    *out = 0;
    return !value || read_seconds(value, out) ||
           refuse(reading, CN_TOKEN_MALFORMED, "exp, nbf or iat is no time in seconds since 1970");
}

static bool read_dates(struct reading *reading, struct plan *plan)
{
    const struct cn_token_rules *rules = reading->rules;
    int64_t from_s;
    bool has_end, has_from, has_issued;
    if (!read_date(reading, "exp", &plan->expires_s, &has_end) ||
        !read_date(reading, "nbf", &from_s, &has_from) ||
        !read_date(reading, "iat", &plan->issued_s, &has_issued))
        return false;
    if (!has_end)
        return refuse(reading, CN_TOKEN_EXPIRED, "there is no exp");
    if (rules->now_s >= plan->expires_s + rules->leeway_s)
        return refuse(reading, CN_TOKEN_EXPIRED, "exp has passed");
    if (from_s > rules->now_s + rules->leeway_s)
        return refuse(reading, CN_TOKEN_EARLY, "nbf lies ahead");
    if (plan->issued_s > rules->now_s + rules->leeway_s)
        return refuse(reading, CN_TOKEN_EARLY, "iat lies ahead");
    return true;
}

static bool check_issuer(struct reading *reading)
{
    struct cn_str wanted = reading->rules->issuer;
    if (wanted.len == 0)
        return true;
    const json_t *value = json_object_get(reading->root, "iss");
    if (value && !json_is_string(value))
        return refuse(reading, CN_TOKEN_MALFORMED, "iss is no string");
    return cn_str_equal(cn_json_text(reading->root, "iss"), wanted) ||
           refuse(reading, CN_TOKEN_ISSUER, "iss is not the expected one");
}

static bool is_text(const json_t *value, struct cn_str text)
{
    struct cn_str own = {json_string_value(value), json_string_length(value)};
    return json_is_string(value) && cn_str_equal(own, text);
}

// A string, or an array of strings (RFC 7519 section 4.1.3).
static bool check_audience(struct reading *reading)
{
    struct cn_str wanted = reading->rules->audience;
    const json_t *value = json_object_get(reading->root, "aud");
    if (wanted.len == 0)
        return true;
    if (value && !json_is_string(value) && !json_is_array(value))
        return refuse(reading, CN_TOKEN_MALFORMED, "aud is neither a string nor an array");
    bool is_in = is_text(value, wanted);
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!json_is_string(json_array_get(value, i)))
            return refuse(reading, CN_TOKEN_MALFORMED, "aud has an item that is no string");
        is_in |= is_text(json_array_get(value, i), wanted);
    }
    return is_in || refuse(reading, CN_TOKEN_AUDIENCE, "aud does not name us");
}

// UTF-8 without control characters: neither those of ASCII nor U+0080 to U+009F.
static bool is_clean(struct cn_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == 0x7F || (c == 0xC2 && i + 1 < text.len && (unsigned char)text.ptr[i + 1] < 0xA0))
            return false;
    }
    return cn_utf8_is_clean(text);
}

// A short text; absent is right.
static bool read_text(struct reading *reading, const char *claim, struct cn_str *out)
{
    *out = cn_json_text(reading->root, claim);
    if (!json_object_get(reading->root, claim))
        return true;
    return (out->len > 0 && out->len <= CN_GRANT_TEXT_MAX && is_clean(*out)) ||
           refuse(reading, CN_TOKEN_MALFORMED,
                  "name or jti is not 1 to 128 bytes without control characters");
}

static bool read_flag(struct reading *reading, const char *claim, bool *out)
{
    const json_t *value = json_object_get(reading->root, claim);
    *out = json_is_true(value);
    return !value || json_is_boolean(value) ||
           refuse(reading, CN_TOKEN_MALFORMED, "direct or admin is neither true nor false");
}

static bool read_who(struct reading *reading, struct plan *plan)
{
    plan->user = cn_json_text(reading->root, "sub");
    if (!cn_name_is_valid(plan->user))
        return refuse(reading, CN_TOKEN_MALFORMED, "sub is not 1 to 64 of A-Z a-z 0-9 _ . : -");
    return read_text(reading, "name", &plan->name) && read_text(reading, "jti", &plan->jti) &&
           read_flag(reading, "direct", &plan->direct) && read_flag(reading, "admin", &plan->admin);
}

// ---- Rooms ----

// What a name may have, and *.
static bool is_pattern(struct cn_str text)
{
    if (text.len == 0 || text.len > CN_GRANT_TEXT_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '*' && !cn_name_is_valid((struct cn_str){text.ptr + i, 1}))
            return false;
    }
    return true;
}

static bool add_right(struct cn_str word, unsigned *rights)
{
    for (unsigned i = 0; i < CN_RIGHT_COUNT; i++) {
        if (cn_str_equal(word, cn_str_of(right_words[i]))) {
            *rights |= 1u << i;
            return true;
        }
    }
    return false;
}

// "*", or an array of words.
static bool read_rights(const json_t *value, unsigned *rights)
{
    *rights = 0;
    if (is_text(value, CN_STR_LITERAL("*"))) {
        *rights = EVERY_RIGHT_BUT_MODERATE;
        return true;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *word = json_array_get(value, i);
        struct cn_str text = {json_string_value(word), json_string_length(word)};
        if (!json_is_string(word) || !add_right(text, rights))
            return false;
    }
    return json_is_array(value);
}

// The rights alone, or {"rights": ..., "from": seconds} with nothing else in it: a misspelt `from`
// would grant more than was meant.
static bool read_rule(struct reading *reading, const json_t *value, struct cn_grant_rule *out)
{
    const json_t *rights = value;
    int64_t from_s = 0;
    if (json_is_object(value)) {
        const json_t *from = json_object_get(value, "from");
        rights = json_object_get(value, "rights");
        if (json_object_size(value) != 1u + (from != NULL) ||
            (from && !read_seconds(from, &from_s)))
            return refuse(reading, CN_TOKEN_MALFORMED, "a room has more than rights and from");
    }
    out->from_ms = from_s * 1000;
    return read_rights(rights, &out->rights) ||
           refuse(reading, CN_TOKEN_MALFORMED, "a room's rights are not known words, nor *");
}

static bool count_rooms(struct reading *reading, struct plan *plan)
{
    plan->rooms = json_object_get(reading->root, "rooms");
    plan->rule_count = json_object_size(plan->rooms);
    if (plan->rooms && !json_is_object(plan->rooms))
        return refuse(reading, CN_TOKEN_MALFORMED, "rooms is no object");
    if (plan->rule_count > CN_GRANT_RULES_MAX)
        return refuse(reading, CN_TOKEN_MALFORMED, "rooms has more than 256 patterns");
    const char *pattern;
    json_t *value;
    plan->text_bytes = plan->user.len + plan->name.len + plan->jti.len;
    json_object_foreach(plan->rooms, pattern, value)
    {
        if (!is_pattern(cn_str_of(pattern)))
            return refuse(reading, CN_TOKEN_MALFORMED,
                          "a pattern is not 1 to 128 of A-Z a-z 0-9 _ . : - *");
        plan->text_bytes += strlen(pattern);
    }
    return true;
}

// ---- The grant ----

// Copies the text to *at and goes on behind it; absent stays absent.
static struct cn_str put(char **at, struct cn_str text)
{
    if (!text.ptr)
        return text;
    memcpy(*at, text.ptr, text.len);
    struct cn_str copy = {*at, text.len};
    *at += text.len;
    return copy;
}

static bool fill_rules(struct reading *reading, const struct plan *plan, char **at,
                       struct cn_grant *grant)
{
    const char *pattern;
    json_t *value;
    json_object_foreach(plan->rooms, pattern, value)
    {
        struct cn_grant_rule *rule = &grant->rules[grant->rule_count];
        if (!read_rule(reading, value, rule))
            return false;
        rule->pattern = put(at, cn_str_of(pattern));
        grant->rule_count++;
    }
    return true;
}

static struct cn_grant *make(struct reading *reading, const struct plan *plan)
{
    size_t bytes = plan->rule_count * sizeof(struct cn_grant_rule) + plan->text_bytes;
    struct cn_grant *grant = malloc(sizeof(*grant) + bytes);
    if (!grant) {
        refuse(reading, CN_TOKEN_MEMORY, "out of memory");
        return NULL;
    }
    char *at = (char *)&grant->rules[plan->rule_count];
    *grant = (struct cn_grant){.user = put(&at, plan->user),
                               .name = put(&at, plan->name),
                               .jti = put(&at, plan->jti),
                               .issued_s = plan->issued_s,
                               .expires_s = plan->expires_s,
                               .direct = plan->direct,
                               .admin = plan->admin};
    if (fill_rules(reading, plan, &at, grant))
        return grant;
    free(grant);
    return NULL;
}

static struct cn_grant *read_grant(struct reading *reading)
{
    struct plan plan = {.rooms = NULL};
    if (!json_is_object(reading->root)) {
        refuse(reading, CN_TOKEN_MALFORMED, "the claims are no object");
        return NULL;
    }
    if (!read_who(reading, &plan) || !count_rooms(reading, &plan) || !check_issuer(reading) ||
        !check_audience(reading) || !read_dates(reading, &plan))
        return NULL;
    return make(reading, &plan);
}

enum cn_token_fault cn_grant_read(struct cn_str claims, const struct cn_token_rules *rules,
                                  struct cn_grant **out, const char **why)
{
    json_t *root;
    *out = NULL;
    enum cn_err err = cn_json_load(claims, &claim_bounds, &root);
    if (err != CN_OK) {
        *why = err == CN_NOMEM ? "out of memory" : "the claims are not JSON, or one stands twice";
        return err == CN_NOMEM ? CN_TOKEN_MEMORY : CN_TOKEN_MALFORMED;
    }
    struct reading reading = {.root = root, .rules = rules, .fault = CN_TOKEN_NONE};
    *out = read_grant(&reading);
    *why = reading.why;
    json_decref(root);
    return reading.fault;
}

int64_t cn_grant_cache_s(struct cn_str claims)
{
    json_t *root;
    int64_t cache_s = 0;
    if (cn_json_load(claims, &claim_bounds, &root) != CN_OK)
        return 0;
    const json_t *value = json_object_get(root, "cache_s");
    if (json_is_integer(value) && json_integer_value(value) > 0)
        cache_s = json_integer_value(value);
    json_decref(root);
    return cache_s < CN_GRANT_CACHE_S_MAX ? cache_s : CN_GRANT_CACHE_S_MAX;
}

void cn_grant_free(struct cn_grant *grant)
{
    free(grant);
}

// ---- Asking ----

// Goes back to the last * only, so it takes the product of both lengths at worst.
static bool matches(struct cn_str pattern, struct cn_str name)
{
    size_t p = 0, n = 0, star = SIZE_MAX, mark = 0;
    while (n < name.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            mark = n;
        } else if (p < pattern.len && pattern.ptr[p] == name.ptr[n]) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}

bool cn_grant_allows(const struct cn_grant *grant, struct cn_str room, enum cn_right right,
                     int64_t *from_ms)
{
    bool is_allowed = false;
    int64_t earliest = INT64_MAX;
    for (size_t i = 0; i < grant->rule_count; i++) {
        const struct cn_grant_rule *rule = &grant->rules[i];
        if ((rule->rights & 1u << right) == 0 || !matches(rule->pattern, room))
            continue;
        is_allowed = true;
        if (rule->from_ms < earliest)
            earliest = rule->from_ms;
    }
    if (from_ms)
        *from_ms = is_allowed ? earliest : 0;
    return is_allowed;
}
