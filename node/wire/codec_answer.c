// SPDX-License-Identifier: MIT
// Answers and entries as JSON text: what the server writes.
#include "chatnode/codec.h"

#include "wire_private.h"

// Appends piece by piece and remembers the first failure, after which it appends no more.
struct writer {
    struct cn_buf *out;
    size_t start; // out->len before the first piece
    enum cn_err err;
};

static struct writer begin(struct cn_buf *out)
{
    return (struct writer){out, out->len, CN_OK};
}

// All or nothing: takes back what was appended before a failure.
static enum cn_err finish(struct writer *w)
{
    if (w->err != CN_OK)
        w->out->len = w->start;
    return w->err;
}

// Inline: the length of most pieces is known, and then copying is a few instructions.
static inline __attribute__((always_inline)) void put(struct writer *w, struct cn_str text)
{
    if (w->err == CN_OK)
        w->err = cn_buf_append_str(w->out, text);
}

#define PUT(w, literal) put((w), CN_STR_LITERAL(literal))

// ---- Strings ----

// Eight bytes that go into a JSON string as they are.
static bool is_plain_word(const char *at)
{
    return cn_is_plain_word(at) && !cn_word_has(at, '"') && !cn_word_has(at, '\\');
}

// True when the whole text does, as most that is short: a word at a time, the last one overlapping.
static bool is_plain(struct cn_str text)
{
    if (text.len < 8)
        return false;
    for (size_t at = 0; at + 8 < text.len; at += 8)
        if (!is_plain_word(text.ptr + at))
            return false;
    return is_plain_word(text.ptr + text.len - 8);
}

// How many bytes from text[at] on go into a JSON string as they are; stops before invalid UTF-8.
static size_t run_of_plain(struct cn_str text, size_t at)
{
    size_t start = at;
    while (at < text.len) {
        if (text.len - at >= 8 && is_plain_word(text.ptr + at)) {
            at += 8;
            continue;
        }
        unsigned char c = (unsigned char)text.ptr[at];
        if (c < 0x20 || c == '"' || c == '\\')
            break;
        size_t len = c < 0x80 ? 1 : cn_utf8_sequence(text.ptr + at, text.len - at);
        if (len == 0)
            break;
        at += len;
    }
    return at - start;
}

// One byte that may not stand in a JSON string as it is (RFC 8259 section 7).
static void put_escaped(struct writer *w, unsigned char c)
{
    static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt"; // the byte, then its letter
    for (size_t i = 0; i + 1 < sizeof(short_forms); i += 2) {
        if (c == (unsigned char)short_forms[i]) {
            put(w, (struct cn_str){(char[]){'\\', short_forms[i + 1]}, 2});
            return;
        }
    }
    if (c >= 0x80) {
        PUT(w, "\xEF\xBF\xBD"); // U+FFFD
        return;
    }
    static const char digits[] = "0123456789abcdef";
    const char escape[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
    put(w, (struct cn_str){escape, sizeof(escape)});
}

static void put_escaping(struct writer *w, struct cn_str text)
{
    size_t at = 0;
    while (at < text.len && w->err == CN_OK) {
        size_t len = run_of_plain(text, at);
        put(w, (struct cn_str){text.ptr + at, len});
        at += len;
        if (at < text.len)
            put_escaped(w, (unsigned char)text.ptr[at++]);
    }
}

static void put_quoted(struct writer *w, struct cn_str text)
{
    PUT(w, "\"");
    if (is_plain(text))
        put(w, text);
    else
        put_escaping(w, text);
    PUT(w, "\"");
}

enum cn_err cn_codec_quote(struct cn_buf *out, struct cn_str text)
{
    struct writer w = begin(out);
    put_quoted(&w, text);
    return finish(&w);
}

// ---- Fields: each begins with its comma, since none comes first in its object ----

// `key` is a literal, `,"name":`, whose length is known when this is compiled.
#define PUT_TEXT(w, key, value)   (PUT((w), key), put_quoted((w), (value)))
#define PUT_NUMBER(w, key, value) (PUT((w), key), put_digits((w), (value)))
#define PUT_BOOL(w, key, value)   (PUT((w), key), put_bool((w), (value)))
#define PUT_POS(w, key, value)    (PUT((w), key), put_pos((w), (value)))

static void put_digits(struct writer *w, int64_t value)
{
    char digits[CN_DIGITS_MAX];
    if (value < 0)
        PUT(w, "-");
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    put(w, (struct cn_str){digits, cn_digits_format(size, digits)});
}

static void put_bool(struct writer *w, bool value)
{
    if (value)
        PUT(w, "true");
    else
        PUT(w, "false");
}

static void put_pos(struct writer *w, struct cn_pos pos)
{
    char text[CN_POS_TEXT_BYTES + 1];
    size_t len = 0;
    text[len++] = '"';
    len += cn_pos_format(pos, text + len);
    text[len++] = '"';
    put(w, (struct cn_str){text, len});
}

static void put_id(struct writer *w, struct cn_str id)
{
    if (id.ptr)
        PUT_TEXT(w, ",\"id\":", id);
}

// The room, or that it is the inbox.
static void put_place(struct writer *w, struct cn_str room)
{
    if (room.ptr)
        PUT_TEXT(w, ",\"room\":", room);
    else
        PUT(w, ",\"inbox\":true");
}

static void put_expiry(struct writer *w, int64_t expires_s, int64_t expires_in_ms)
{
    PUT_NUMBER(w, ",\"exp\":", expires_s);
    PUT_NUMBER(w, ",\"expires_in_ms\":", expires_in_ms);
}

// ---- Entries ----

enum cn_err cn_codec_message_body(struct cn_buf *out, struct cn_str room, struct cn_str from,
                                  struct cn_str content, struct cn_str id)
{
    struct writer w = begin(out);
    PUT(&w, "\"type\":\"message\"");
    PUT_TEXT(&w, ",\"room\":", room);
    PUT_TEXT(&w, ",\"from\":", from);
    PUT(&w, ",\"content\":");
    put(&w, content);
    put_id(&w, id);
    PUT(&w, "}");
    return finish(&w);
}

enum cn_err cn_codec_direct_body(struct cn_buf *out, struct cn_str from, struct cn_str to,
                                 struct cn_str content, struct cn_str id)
{
    struct writer w = begin(out);
    PUT(&w, "\"type\":\"direct\"");
    PUT_TEXT(&w, ",\"from\":", from);
    PUT_TEXT(&w, ",\"to\":", to);
    PUT(&w, ",\"content\":");
    put(&w, content);
    put_id(&w, id);
    PUT(&w, "}");
    return finish(&w);
}

// ---- Answers ----

enum cn_err cn_codec_welcome(struct cn_buf *out, const struct cn_welcome *welcome)
{
    struct writer w = begin(out);
    PUT(&w, "{\"type\":\"welcome\"");
    PUT_TEXT(&w, ",\"user\":", welcome->user);
    PUT_TEXT(&w, ",\"session\":", welcome->session);
    PUT_TEXT(&w, ",\"node\":", welcome->node);
    PUT_TEXT(&w, ",\"version\":", welcome->version);
    PUT_NUMBER(&w, ",\"ping_ms\":", welcome->ping_ms);
    PUT_NUMBER(&w, ",\"limits\":{\"max_message_bytes\":", (int64_t)welcome->max_message_bytes);
    PUT_NUMBER(&w, ",\"max_rooms\":", welcome->max_rooms);
    PUT_NUMBER(&w, ",\"max_in_flight\":", welcome->max_in_flight);
    PUT_NUMBER(&w, ",\"dedupe_ms\":", welcome->dedupe_ms);
    PUT_TEXT(&w, "},\"durability\":", welcome->durability);
    if (welcome->name.ptr)
        PUT_TEXT(&w, ",\"name\":", welcome->name);
    if (welcome->has_token)
        put_expiry(&w, welcome->expires_s, welcome->expires_in_ms);
    PUT(&w, "}");
    return finish(&w);
}

enum cn_err cn_codec_joined(struct cn_buf *out, struct cn_str room, struct cn_pos pos,
                            bool recovered, struct cn_str id)
{
    struct writer w = begin(out);
    PUT(&w, "{\"type\":\"joined\"");
    put_place(&w, room);
    PUT_POS(&w, ",\"pos\":", pos);
    PUT_BOOL(&w, ",\"recovered\":", recovered);
    put_id(&w, id);
    PUT(&w, "}");
    return finish(&w);
}

enum cn_err cn_codec_left(struct cn_buf *out, struct cn_str room, struct cn_str id,
                          struct cn_str reason)
{
    struct writer w = begin(out);
    PUT(&w, "{\"type\":\"left\"");
    PUT_TEXT(&w, ",\"room\":", room);
    if (reason.ptr)
        PUT_TEXT(&w, ",\"reason\":", reason);
    put_id(&w, id);
    PUT(&w, "}");
    return finish(&w);
}

enum cn_err cn_codec_ack(struct cn_buf *out, struct cn_str id, struct cn_pos pos, int64_t ts_ms,
                         bool dup)
{
    struct writer w = begin(out);
    PUT(&w, "{\"type\":\"ack\"");
    put_id(&w, id);
    PUT_POS(&w, ",\"pos\":", pos);
    PUT_NUMBER(&w, ",\"ts\":", ts_ms);
    PUT_BOOL(&w, ",\"dup\":", dup);
    PUT(&w, "}");
    return finish(&w);
}

static void put_error(struct writer *w, enum cn_problem problem, struct cn_str id)
{
    PUT(w, "{\"type\":\"error\"");
    put_id(w, id);
    PUT_TEXT(w, ",\"code\":", cn_str_of(cn_problem_code(problem)));
    PUT_TEXT(w, ",\"message\":", cn_str_of(cn_problem_message(problem)));
}

enum cn_err cn_codec_refusal(struct cn_buf *out, enum cn_problem problem, struct cn_str id,
                             struct cn_str reason)
{
    struct writer w = begin(out);
    put_error(&w, problem, id);
    if (reason.ptr)
        PUT_TEXT(&w, ",\"reason\":", reason);
    PUT_BOOL(&w, ",\"retry\":", cn_problem_retry(problem));
    PUT(&w, "}");
    return finish(&w);
}

enum cn_err cn_codec_error(struct cn_buf *out, enum cn_problem problem, struct cn_str id)
{
    return cn_codec_refusal(out, problem, id, (struct cn_str){NULL, 0});
}

enum cn_err cn_codec_rate_limited(struct cn_buf *out, int64_t in_ms, struct cn_str id)
{
    struct writer w = begin(out);
    put_error(&w, CN_PROBLEM_RATE_LIMITED, id);
    PUT_BOOL(&w, ",\"retry\":", cn_problem_retry(CN_PROBLEM_RATE_LIMITED));
    PUT_NUMBER(&w, ",\"in_ms\":", in_ms);
    PUT(&w, "}");
    return finish(&w);
}

enum cn_err cn_codec_authenticated(struct cn_buf *out, int64_t expires_s, int64_t expires_in_ms,
                                   struct cn_str id)
{
    struct writer w = begin(out);
    PUT(&w, "{\"type\":\"authenticated\"");
    put_expiry(&w, expires_s, expires_in_ms);
    put_id(&w, id);
    PUT(&w, "}");
    return finish(&w);
}

enum cn_err cn_codec_expiring(struct cn_buf *out, int64_t in_ms)
{
    struct writer w = begin(out);
    PUT(&w, "{\"type\":\"expiring\"");
    PUT_NUMBER(&w, ",\"in_ms\":", in_ms);
    PUT(&w, "}");
    return finish(&w);
}

enum cn_err cn_codec_gap_reset(struct cn_buf *out, struct cn_str room)
{
    struct writer w = begin(out);
    PUT(&w, "{\"type\":\"gap\"");
    put_place(&w, room);
    PUT(&w, ",\"reset\":true}");
    return finish(&w);
}

enum cn_err cn_codec_history(struct cn_buf *out, const struct cn_history_words *words)
{
    struct writer w = begin(out);
    PUT(&w, "{\"type\":\"history\"");
    if (words->with.ptr)
        PUT_TEXT(&w, ",\"with\":", words->with);
    else
        PUT_TEXT(&w, ",\"room\":", words->room);
    put_id(&w, words->id);
    PUT(&w, ",\"messages\":[");
    put(&w, words->entries);
    PUT_BOOL(&w, "],\"more\":", words->more);
    if (words->more)
        PUT_POS(&w, ",\"next\":", words->next);
    PUT(&w, "}");
    return finish(&w);
}

enum cn_err cn_codec_reconnect(struct cn_buf *out, int64_t in_ms, enum cn_reason reason)
{
    struct writer w = begin(out);
    PUT(&w, "{\"type\":\"reconnect\"");
    PUT_NUMBER(&w, ",\"in_ms\":", in_ms);
    PUT_TEXT(&w, ",\"reason\":", cn_str_of(cn_reason_name(reason)));
    PUT(&w, "}");
    return finish(&w);
}

enum cn_err cn_codec_api_stored(struct cn_buf *out, struct cn_pos pos, int64_t ts_ms, bool dup,
                                struct cn_str id)
{
    struct writer w = begin(out);
    PUT_POS(&w, "{\"pos\":", pos);
    PUT_NUMBER(&w, ",\"ts\":", ts_ms);
    PUT_BOOL(&w, ",\"dup\":", dup);
    PUT_TEXT(&w, ",\"id\":", id);
    PUT(&w, "}");
    return finish(&w);
}

enum cn_err cn_codec_api_error(struct cn_buf *out, enum cn_problem problem)
{
    struct writer w = begin(out);
    PUT_TEXT(&w, "{\"error\":{\"code\":", cn_str_of(cn_problem_code(problem)));
    PUT_TEXT(&w, ",\"message\":", cn_str_of(cn_problem_message(problem)));
    PUT_BOOL(&w, ",\"retry\":", cn_problem_retry(problem));
    PUT(&w, "}}");
    return finish(&w);
}

enum cn_err cn_codec_pong(struct cn_buf *out, struct cn_str id)
{
    struct writer w = begin(out);
    PUT(&w, "{\"type\":\"pong\"");
    put_id(&w, id);
    PUT(&w, "}");
    return finish(&w);
}
