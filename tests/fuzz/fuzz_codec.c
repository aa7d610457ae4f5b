// SPDX-License-Identifier: MIT
// Fuzz target: one text frame through the only reader of clients' JSON. Objects of strings are read
// in place, others by a parser: both ways must understand the same. What becomes of a frame in the
// log must pass the check that every entry of the log has to pass.
#include "fuzz/fuzz.h"

#include <jansson.h>

#include "chatnode/codec.h"
#include "chatnode/name.h"

#define EXTRA "\"fuzz-extra\":[]"

enum { COMPARED_MAX_BYTES = 2000 }; // so that one value more is below the codec's bound

// The same object with a member that is no string, which sends it past the way in place.
static char *with_extra(struct cn_str text, size_t *len)
{
    const char *brace = memchr(text.ptr, '{', text.len);
    size_t at = (size_t)(brace - text.ptr) + 1;
    size_t next = at;
    while (next < text.len && strchr(" \t\r\n", text.ptr[next]) && text.ptr[next])
        next++;
    bool is_empty = next < text.len && text.ptr[next] == '}';
    const char *extra = is_empty ? EXTRA : EXTRA ",";
    char *made = malloc(text.len + strlen(extra));
    CN_ASSERT(made);
    memcpy(made, text.ptr, at);
    memcpy(made + at, extra, strlen(extra));
    memcpy(made + at + strlen(extra), text.ptr + at, text.len - at);
    *len = text.len + strlen(extra);
    return made;
}

static void compare(const struct cn_request *a, const struct cn_request *b)
{
    CN_ASSERT(a->type == b->type);
    CN_ASSERT(cn_str_equal(a->id, b->id));
    CN_ASSERT(cn_str_equal(a->room, b->room));
    CN_ASSERT(cn_str_equal(a->to, b->to));
    CN_ASSERT(cn_str_equal(a->from, b->from));
    CN_ASSERT(cn_str_equal(a->with, b->with));
    CN_ASSERT(cn_str_equal(a->content, b->content));
    CN_ASSERT(a->has_since == b->has_since && a->has_before == b->has_before);
    CN_ASSERT(a->has_after == b->has_after && a->limit == b->limit);
    CN_ASSERT(!a->has_since || cn_pos_compare(a->since, b->since) == 0);
    CN_ASSERT(!a->has_before || cn_pos_compare(a->before, b->before) == 0);
    CN_ASSERT(!a->has_after || cn_pos_compare(a->after, b->after) == 0);
}

static bool is_object(struct cn_str text)
{
    size_t at = 0;
    while (at < text.len && text.ptr[at] && strchr(" \t\r\n", text.ptr[at]))
        at++;
    return at < text.len && text.ptr[at] == '{';
}

static void try_both_ways(struct cn_str text, enum cn_err err, enum cn_problem problem,
                          const struct cn_request *request)
{
    if (text.len > COMPARED_MAX_BYTES || !is_object(text) ||
        memmem(text.ptr, text.len, "fuzz-extra", 10))
        return;
    struct cn_request other;
    enum cn_problem other_problem = CN_PROBLEM_INTERNAL;
    size_t len;
    char *longer = with_extra(text, &len);
    enum cn_err other_err = cn_request_decode((struct cn_str){longer, len}, &other, &other_problem);
    CN_ASSERT(err == other_err);
    if (err == CN_OK)
        compare(request, &other);
    else
        CN_ASSERT(problem == other_problem && cn_str_equal(request->id, other.id));
    cn_request_fini(&other);
    free(longer);
}

static void check_request(const struct cn_request *request)
{
    CN_ASSERT(!request->id.ptr || cn_name_is_valid_id(request->id));
    CN_ASSERT(!request->room.ptr || cn_name_is_valid(request->room));
    CN_ASSERT(!request->to.ptr || cn_name_is_valid(request->to));
    CN_ASSERT(!request->from.ptr || cn_name_is_valid(request->from));
    CN_ASSERT(!request->with.ptr || cn_name_is_valid(request->with));
    if (!request->content.ptr)
        return;
    json_t *json = json_loadb(request->content.ptr, request->content.len,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    CN_ASSERT(json);
    json_decref(json);
}

// As the bus does: position and time, then the body.
static void try_entry(const struct cn_request *request)
{
    const struct cn_str ann = CN_STR_LITERAL("ann"), bob = CN_STR_LITERAL("bob");
    struct cn_pos pos;
    struct cn_buf entry;
    cn_buf_init(&entry, 1 << 24);
    CN_ASSERT(cn_buf_printf(&entry, "{\"pos\":\"7-1\",\"ts\":5,") == CN_OK);
    enum cn_err err = request->type == CN_REQUEST_DIRECT
                          ? cn_codec_direct_body(&entry, ann, bob, request->content, request->id)
                          : cn_codec_message_body(&entry, bob, ann, request->content, request->id);
    CN_ASSERT(err == CN_OK);
    CN_ASSERT(cn_codec_entry_check(cn_buf_str(&entry), entry.len, &pos) == CN_OK);
    CN_ASSERT(pos.gen == 7 && pos.seq == 1);
    CN_ASSERT(cn_codec_entry_is_between(cn_buf_str(&entry), bob, ann) ==
              (request->type == CN_REQUEST_DIRECT));
    cn_buf_fini(&entry);
}

static void try_publish(struct cn_str text)
{
    struct cn_request request;
    enum cn_problem problem;
    if (cn_request_decode_publish(text, &request, &problem) == CN_OK) {
        check_request(&request);
        CN_ASSERT(request.from.ptr && request.content.ptr);
        CN_ASSERT(!request.room.ptr != !request.to.ptr);
    }
    cn_request_fini(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cn_str text = {(const char *)data, size};
    if (!cn_name_is_utf8(text)) // the edge lets no other text through
        return 0;
    struct cn_request request;
    enum cn_problem problem = CN_PROBLEM_INTERNAL;
    enum cn_err err = cn_request_decode(text, &request, &problem);
    CN_ASSERT(err == CN_OK || err == CN_INVALID);
    CN_ASSERT(request.limit >= 1 && request.limit <= CN_CODEC_LIMIT_MAX);
    if (err == CN_OK) {
        check_request(&request);
        if (request.content.ptr)
            try_entry(&request);
    } else {
        CN_ASSERT(cn_problem_code(problem)[0]);
    }
    try_both_ways(text, err, problem, &request);
    cn_request_fini(&request);
    try_publish(text);
    return 0;
}
