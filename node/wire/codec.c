// SPDX-License-Identifier: MIT
// Requests: JSON text from clients to checked values.
#include "chatnode/codec.h"

#include <jansson.h>
#include <stdlib.h>

#include "chatnode/name.h"
#include "wire_private.h"

// ---- Fields ----

enum field_bit {
    FIELD_ROOM = 1,
    FIELD_TO = 2,
    FIELD_WITH = 4,
    FIELD_CONTENT = 8,
    FIELD_SINCE = 16,
    FIELD_BEFORE = 32,
    FIELD_AFTER = 64,
    FIELD_LIMIT = 128,
    FIELD_FROM = 256,
    FIELD_TOKEN = 512
};

// The fields that say where a request goes. One that does not belong to the request's type is
// refused, not ignored: a message that was meant for one user must not end up in a room.
enum { FIELDS_OF_ADDRESS = FIELD_ROOM | FIELD_TO | FIELD_WITH };

// A field's value. `text` is absent when it is not a string; it may contain NUL.
struct value {
    struct cn_str text;
    const json_t *json; // NULL: of a flat object
};

// A request's object: as the parser made it, or, without a tree, a flat one.
struct object {
    json_t *tree;
    struct cn_flat_object flat;
};

// False when the object has no such field.
static bool find(const struct object *object, struct cn_str name, struct value *out)
{
    *out = (struct value){.json = NULL};
    if (!object->tree) {
        out->text = cn_flat_object_find(&object->flat, name);
        return out->text.ptr != NULL;
    }
    out->json = json_object_get(object->tree, name.ptr);
    if (json_is_string(out->json))
        out->text = (struct cn_str){json_string_value(out->json), json_string_length(out->json)};
    return out->json != NULL;
}

static enum cn_err read_name(const struct value *value, struct cn_str *out)
{
    if (!value->text.ptr || !cn_name_is_valid(value->text))
        return CN_INVALID;
    *out = value->text;
    return CN_OK;
}

static enum cn_err read_position(const struct value *value, bool *has, struct cn_pos *out)
{
    *has = value->text.ptr && cn_pos_parse(value->text, out) == CN_OK;
    return *has ? CN_OK : CN_INVALID;
}

static enum cn_err read_room(const struct value *value, struct cn_request *out)
{
    return read_name(value, &out->room);
}

static enum cn_err read_with(const struct value *value, struct cn_request *out)
{
    return read_name(value, &out->with);
}

static enum cn_err read_to(const struct value *value, struct cn_request *out)
{
    return read_name(value, &out->to);
}

static enum cn_err read_from(const struct value *value, struct cn_request *out)
{
    return read_name(value, &out->from);
}

// Writes the value anew, without white space. A flat object's string is compact as it stands.
static enum cn_err read_content(const struct value *value, struct cn_request *out)
{
    if (!value->json) {
        out->content = (struct cn_str){value->text.ptr - 1, value->text.len + 2};
        return CN_OK;
    }
    char *text = json_dumps(value->json, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        return CN_NOMEM;
    out->owned_text = text;
    out->content = cn_str_of(text);
    return CN_OK;
}

static enum cn_err read_since(const struct value *value, struct cn_request *out)
{
    return read_position(value, &out->has_since, &out->since);
}

static enum cn_err read_before(const struct value *value, struct cn_request *out)
{
    return read_position(value, &out->has_before, &out->before);
}

static enum cn_err read_after(const struct value *value, struct cn_request *out)
{
    return read_position(value, &out->has_after, &out->after);
}

static enum cn_err read_limit(const struct value *value, struct cn_request *out)
{
    json_int_t limit = json_integer_value(value->json); // 0 when it is no integer
    if (limit < 1 || limit > CN_CODEC_LIMIT_MAX)
        return CN_INVALID;
    out->limit = (unsigned)limit;
    return CN_OK;
}

// Whatever it is: the authority says what it is worth.
static enum cn_err read_token(const struct value *value, struct cn_request *out)
{
    out->token = value->text;
    return value->text.len > 0 ? CN_OK : CN_INVALID;
}

struct field {
    unsigned bit;
    struct cn_str name;
    enum cn_problem problem; // when its value is wrong
    enum cn_err (*read)(const struct value *value, struct cn_request *out); // CN_INVALID, CN_NOMEM
};

#define FIELD_NAME(text)                                                                           \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

// `content` comes last: it is the one that costs something.
static const struct field fields[] = {
    {FIELD_ROOM, FIELD_NAME("room"), CN_PROBLEM_BAD_NAME, read_room},
    {FIELD_TO, FIELD_NAME("to"), CN_PROBLEM_BAD_NAME, read_to},
    {FIELD_FROM, FIELD_NAME("from"), CN_PROBLEM_BAD_NAME, read_from},
    {FIELD_WITH, FIELD_NAME("with"), CN_PROBLEM_BAD_NAME, read_with},
    {FIELD_SINCE, FIELD_NAME("since"), CN_PROBLEM_BAD_POSITION, read_since},
    {FIELD_BEFORE, FIELD_NAME("before"), CN_PROBLEM_BAD_POSITION, read_before},
    {FIELD_AFTER, FIELD_NAME("after"), CN_PROBLEM_BAD_POSITION, read_after},
    {FIELD_LIMIT, FIELD_NAME("limit"), CN_PROBLEM_BAD_REQUEST, read_limit},
    {FIELD_TOKEN, FIELD_NAME("token"), CN_PROBLEM_BAD_REQUEST, read_token},
    {FIELD_CONTENT, FIELD_NAME("content"), CN_PROBLEM_BAD_REQUEST, read_content},
};

// What each type of request takes. Other fields are ignored, but for those of an address.
struct shape {
    unsigned required;
    unsigned optional;
    unsigned one_of[2]; // of each of these sets one at most
};

static const struct shape shapes[CN_REQUEST_COUNT] = {
    [CN_REQUEST_MESSAGE] = {.required = FIELD_CONTENT, .optional = FIELD_ROOM},
    [CN_REQUEST_DIRECT] = {.required = FIELD_TO | FIELD_CONTENT},
    [CN_REQUEST_JOIN] = {.required = FIELD_ROOM, .optional = FIELD_SINCE},
    [CN_REQUEST_LEAVE] = {.required = FIELD_ROOM},
    [CN_REQUEST_HISTORY] = {.optional =
                                FIELD_ROOM | FIELD_WITH | FIELD_BEFORE | FIELD_AFTER | FIELD_LIMIT,
                            .one_of = {FIELD_ROOM | FIELD_WITH, FIELD_BEFORE | FIELD_AFTER}},
    [CN_REQUEST_AUTH] = {.required = FIELD_TOKEN},
    [CN_REQUEST_PING] = {0},
};

// What the HTTP API is asked to publish.
static const struct shape publish_to_room = {.required = FIELD_FROM | FIELD_ROOM | FIELD_CONTENT};
static const struct shape publish_to_user = {.required = FIELD_FROM | FIELD_TO | FIELD_CONTENT};

static const char *const type_names[CN_REQUEST_COUNT] = {
#define X(symbol, type) [CN_REQUEST_##symbol] = type,
    CN_REQUEST_TABLE(X)
#undef X
};

// ---- Decoding ----

// The bits of those fields that are looked for and that the object has, and their values.
static unsigned find_fields(const struct object *object, unsigned looked_for,
                            struct value values[CN_COUNT(fields)])
{
    unsigned given = 0;
    for (size_t i = 0; i < CN_COUNT(fields); i++) {
        if ((looked_for & fields[i].bit) && find(object, fields[i].name, &values[i]))
            given |= fields[i].bit;
    }
    return given;
}

static bool has_one_at_most(unsigned bits)
{
    return (bits & (bits - 1)) == 0;
}

static bool has_right_fields(const struct shape *shape, unsigned given)
{
    unsigned taken = shape->required | shape->optional;
    return (given & shape->required) == shape->required &&
           (given & FIELDS_OF_ADDRESS & ~taken) == 0 && has_one_at_most(given & shape->one_of[0]) &&
           has_one_at_most(given & shape->one_of[1]);
}

static enum cn_err decode_fields(const struct object *object, const struct shape *shape,
                                 struct cn_request *out, enum cn_problem *problem)
{
    struct value values[CN_COUNT(fields)];
    unsigned taken = shape->required | shape->optional;
    unsigned given = find_fields(object, taken | FIELDS_OF_ADDRESS, values);
    *problem = CN_PROBLEM_BAD_REQUEST;
    if (!has_right_fields(shape, given))
        return CN_INVALID;
    given &= taken;
    for (size_t i = 0; i < CN_COUNT(fields); i++) {
        if (!(given & fields[i].bit))
            continue;
        *problem = fields[i].problem;
        enum cn_err err = fields[i].read(&values[i], out);
        if (err != CN_OK)
            return err;
    }
    return CN_OK;
}

static enum cn_err decode_id(const struct object *object, struct cn_request *out,
                             enum cn_problem *problem)
{
    struct value id;
    if (!find(object, CN_STR_LITERAL("id"), &id))
        return CN_OK;
    *problem = CN_PROBLEM_BAD_ID;
    if (!id.text.ptr || !cn_name_is_valid_id(id.text))
        return CN_INVALID;
    out->id = id.text;
    return CN_OK;
}

static enum cn_err decode_type(const struct object *object, struct cn_request *out,
                               enum cn_problem *problem)
{
    struct value type;
    *problem = CN_PROBLEM_BAD_REQUEST;
    if (!find(object, CN_STR_LITERAL("type"), &type) || !type.text.ptr)
        return CN_INVALID;
    for (int i = 0; i < CN_REQUEST_COUNT; i++) {
        if (cn_str_equal(type.text, cn_str_of(type_names[i]))) {
            out->type = (enum cn_request_type)i;
            return CN_OK;
        }
    }
    *problem = CN_PROBLEM_UNKNOWN_TYPE;
    return CN_INVALID;
}

// The tree in out->owned. CN_INVALID, CN_NOMEM.
static enum cn_err parse(struct cn_str text, struct cn_request *out, enum cn_problem *problem)
{
    static const struct cn_json_bounds bounds = {
        .depth_max = CN_CODEC_DEPTH_MAX, .nodes_max = CN_CODEC_NODES_MAX, .allow_nul = true};
    *problem = CN_PROBLEM_BAD_JSON;
    json_t *tree = NULL;
    enum cn_err err = cn_json_load(text, &bounds, &tree);
    if (err != CN_OK)
        return err;
    out->owned = tree;
    return CN_OK;
}

// Reads the text as an object, and its id. As parse.
static enum cn_err open_object(struct cn_str text, struct object *object, struct cn_request *out,
                               enum cn_problem *problem)
{
    enum cn_err err = CN_OK;
    if (!cn_flat_object_read(text, &object->flat))
        err = parse(text, out, problem);
    object->tree = out->owned;
    return err ? err : decode_id(object, out, problem);
}

static enum cn_err decode_object(struct cn_str text, struct cn_request *out,
                                 enum cn_problem *problem)
{
    struct object object;
    enum cn_err err = open_object(text, &object, out, problem);
    if (err == CN_OK)
        err = decode_type(&object, out, problem);
    if (err == CN_OK)
        err = decode_fields(&object, &shapes[out->type], out, problem);
    return err;
}

// The whole text becomes the content of a message.
static enum cn_err decode_plain(struct cn_str text, struct cn_request *out)
{
    struct cn_buf quoted;
    cn_buf_init(&quoted, text.len * 6 + 2); // at worst each byte becomes \u00XX
    enum cn_err err = cn_codec_quote(&quoted, text);
    if (err != CN_OK) {
        cn_buf_fini(&quoted);
        return err;
    }
    out->type = CN_REQUEST_MESSAGE;
    out->owned_text = quoted.data;
    out->content = cn_buf_str(&quoted);
    return CN_OK;
}

enum cn_err cn_request_decode(struct cn_str text, struct cn_request *out, enum cn_problem *problem)
{
    *out = (struct cn_request){.limit = 50};
    return cn_json_begins_object(text) ? decode_object(text, out, problem)
                                       : decode_plain(text, out);
}

enum cn_err cn_request_decode_publish(struct cn_str text, struct cn_request *out,
                                      enum cn_problem *problem)
{
    *out = (struct cn_request){.type = CN_REQUEST_MESSAGE};
    *problem = CN_PROBLEM_BAD_JSON;
    if (!cn_json_begins_object(text))
        return CN_INVALID;
    struct object object;
    struct value to;
    enum cn_err err = open_object(text, &object, out, problem);
    if (err != CN_OK)
        return err;
    bool to_user = find(&object, CN_STR_LITERAL("to"), &to);
    out->type = to_user ? CN_REQUEST_DIRECT : CN_REQUEST_MESSAGE;
    return decode_fields(&object, to_user ? &publish_to_user : &publish_to_room, out, problem);
}

void cn_request_fini(struct cn_request *request)
{
    json_decref(request->owned); // takes NULL
    free(request->owned_text);
    *request = (struct cn_request){0};
}
