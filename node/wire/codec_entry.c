// SPDX-License-Identifier: MIT
// Entries as the bus brings them: checked and looked into without parsing their JSON.
#include "chatnode/codec.h"

#include "chatnode/name.h"
#include "wire_private.h"

// ---- Pieces ----

// True when text[*at...] begins with `literal`; *at is then behind it.
static bool skip_literal(struct cn_str text, size_t *at, struct cn_str literal)
{
    if (text.len - *at < literal.len || memcmp(text.ptr + *at, literal.ptr, literal.len) != 0)
        return false;
    *at += literal.len;
    return true;
}

// True when a position and its closing quote stand at text[*at]; *at is then behind the quote.
static bool skip_position(struct cn_str text, size_t *at, struct cn_pos *pos)
{
    size_t most = text.len - *at < CN_POS_TEXT_BYTES ? text.len - *at : CN_POS_TEXT_BYTES;
    const char *quote = memchr(text.ptr + *at, '"', most);
    if (!quote)
        return false;
    struct cn_str view = {text.ptr + *at, (size_t)(quote - text.ptr) - *at};
    *at += view.len + 1;
    return cn_pos_parse(view, pos) == CN_OK;
}

// True when a JSON number without sign, fraction and exponent stands at text[*at], 18 digits at
// most; *at is then behind it.
static bool skip_digits(struct cn_str text, size_t *at)
{
    size_t start = *at;
    while (*at < text.len && text.ptr[*at] >= '0' && text.ptr[*at] <= '9')
        (*at)++;
    size_t len = *at - start;
    return len > 0 && len <= 18 && (len == 1 || text.ptr[start] != '0');
}

// True when a name and its closing quote stand at text[*at]; *at is then behind the quote.
static bool skip_name(struct cn_str text, size_t *at, struct cn_str *name)
{
    size_t most = text.len - *at < CN_NAME_MAX + 1 ? text.len - *at : CN_NAME_MAX + 1;
    const char *quote = memchr(text.ptr + *at, '"', most);
    if (!quote)
        return false;
    *name = (struct cn_str){text.ptr + *at, (size_t)(quote - text.ptr) - *at};
    *at += name->len + 1;
    return cn_name_is_valid(*name);
}

// ---- Whole entries ----

// True when an entry's position and time stand at text[*at]; *at is then behind them.
static bool skip_head(struct cn_str text, size_t *at, struct cn_pos *pos)
{
    return skip_literal(text, at, CN_STR_LITERAL("{\"pos\":\"")) && skip_position(text, at, pos) &&
           skip_literal(text, at, CN_STR_LITERAL(",\"ts\":")) && skip_digits(text, at);
}

enum cn_err cn_codec_entry_open(struct cn_str text, size_t max_bytes, struct cn_pos *pos,
                                struct cn_str *body)
{
    struct cn_pos found;
    size_t at = 0;
    if (text.len > max_bytes || !skip_head(text, &at, &found))
        return CN_INVALID;
    size_t head = at + 1; // and the comma
    if (!skip_literal(text, &at, CN_STR_LITERAL(",\"type\":\"")))
        return CN_INVALID;
    if (text.ptr[text.len - 1] != '}' ||
        !cn_utf8_is_clean((struct cn_str){text.ptr + at, text.len - at}))
        return CN_INVALID;
    *pos = found;
    *body = (struct cn_str){text.ptr + head, text.len - head};
    return CN_OK;
}

enum cn_err cn_codec_entry_check(struct cn_str text, size_t max_bytes, struct cn_pos *pos)
{
    struct cn_str body;
    return cn_codec_entry_open(text, max_bytes, pos, &body);
}

int64_t cn_codec_entry_ts(struct cn_str text)
{
    struct cn_pos pos;
    size_t at = 0;
    int64_t ts_ms = 0;
    if (!skip_head(text, &at, &pos))
        return -1;
    size_t start = at;
    while (text.ptr[start - 1] != ':')
        start--;
    for (; start < at; start++)
        ts_ms = ts_ms * 10 + (text.ptr[start] - '0');
    return ts_ms;
}

// Names have nothing that JSON escapes, so each field has one spelling only. The content comes
// after them: whatever it holds is not looked at.
bool cn_codec_entry_is_between(struct cn_str text, struct cn_str one, struct cn_str other)
{
    struct cn_pos pos;
    struct cn_str from;
    struct cn_str to;
    size_t at = 0;
    if (!skip_head(text, &at, &pos) ||
        !skip_literal(text, &at, CN_STR_LITERAL(",\"type\":\"direct\",\"from\":\"")) ||
        !skip_name(text, &at, &from) || !skip_literal(text, &at, CN_STR_LITERAL(",\"to\":\"")) ||
        !skip_name(text, &at, &to) || !skip_literal(text, &at, CN_STR_LITERAL(",\"content\":")))
        return false;
    return (cn_str_equal(from, one) && cn_str_equal(to, other)) ||
           (cn_str_equal(from, other) && cn_str_equal(to, one));
}
