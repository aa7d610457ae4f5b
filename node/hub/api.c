// SPDX-License-Identifier: MIT
// The HTTP API: who may call it, what it publishes, and what it answers.
#include "chatnode/api.h"

#include <strings.h>

#include "chatnode/codec.h"
#include "hub_private.h"

enum { ANSWER_MAX_BYTES = 4096 };

// ---- Who may call, and for what ----

// Takes as long for a key that is wrong at its end as for one that is wrong at its beginning.
static bool is_same_secret(struct cn_str given, struct cn_str secret)
{
    unsigned char differ = given.len != secret.len;
    for (size_t i = 0; i < given.len; i++)
        differ |= (unsigned char)(given.ptr[i] ^ secret.ptr[i % secret.len]);
    return differ == 0;
}

// RFC 6750 section 2.1: "Bearer KEY".
static bool shows_key(struct cn_str authorization, struct cn_str secret)
{
    static const char scheme[] = "Bearer ";
    size_t len = sizeof(scheme) - 1;
    if (authorization.len < len || strncasecmp(authorization.ptr, scheme, len) != 0)
        return false;
    struct cn_str given = {authorization.ptr + len, authorization.len - len};
    return is_same_secret(given, secret);
}

// "application/json", with or without parameters.
static bool is_json(struct cn_str content_type)
{
    static const char json[] = "application/json";
    size_t len = sizeof(json) - 1;
    if (content_type.len < len || strncasecmp(content_type.ptr, json, len) != 0)
        return false;
    return content_type.len == len || content_type.ptr[len] == ';' || content_type.ptr[len] == ' ';
}

// Without a key, pages are kept out as well: a browser on this machine would carry what they say.
static bool may_call(const struct cn_config *config, const struct cn_api_head *head,
                     enum cn_problem *problem)
{
    struct cn_str secret = cn_str_of(config->api_key);
    if (secret.len > 0) {
        *problem = CN_PROBLEM_UNAUTHORIZED;
        return shows_key(head->authorization, secret);
    }
    *problem = CN_PROBLEM_FORBIDDEN;
    return head->is_local && !head->is_from_page;
}

static const struct {
    struct cn_str path;
    bool is_post;
} routes[] = {
#define X(symbol, path, is_post) {{(path), sizeof(path) - 1}, (is_post)},
    CN_API_ROUTE_TABLE(X)
#undef X
};

enum cn_api_route cn_api_route_of(struct cn_str path)
{
    int route = 0;
    while (route < CN_API_ROUTES && !cn_str_equal(path, routes[route].path))
        route++;
    return (enum cn_api_route)route;
}

bool cn_api_route_is_post(enum cn_api_route route)
{
    return route == CN_API_ROUTES || routes[route].is_post;
}

bool cn_api_check(const struct cn_config *config, const struct cn_api_head *head,
                  enum cn_problem *problem)
{
    if (!may_call(config, head, problem))
        return false;
    *problem = CN_PROBLEM_NOT_FOUND;
    enum cn_api_route route = cn_api_route_of(head->path);
    if (route == CN_API_ROUTES)
        return false;
    *problem = CN_PROBLEM_BAD_METHOD;
    if (routes[route].is_post ? !head->is_post : !head->is_get)
        return false;
    *problem = CN_PROBLEM_BAD_TYPE;
    return !routes[route].is_post || is_json(head->content_type);
}

// ---- Answers ----

static int status_of(enum cn_problem problem)
{
    switch (problem) {
    case CN_PROBLEM_UNAUTHORIZED:
        return 401;
    case CN_PROBLEM_FORBIDDEN:
        return 403;
    case CN_PROBLEM_NOT_FOUND:
        return 404;
    case CN_PROBLEM_BAD_METHOD:
        return 405;
    case CN_PROBLEM_NO_LENGTH:
        return 411;
    case CN_PROBLEM_TOO_LARGE:
        return 413;
    case CN_PROBLEM_BAD_TYPE:
        return 415;
    case CN_PROBLEM_INTERNAL:
        return 500;
    default:
        return cn_problem_retry(problem) ? 503 : 400;
    }
}

static void begin_answer(struct cn_answer *answer, int status)
{
    *answer = (struct cn_answer){.status = status, .content_type = "application/json"};
    cn_buf_init(&answer->body, ANSWER_MAX_BYTES);
}

enum cn_err cn_api_refuse(enum cn_problem problem, struct cn_answer *answer)
{
    begin_answer(answer, status_of(problem));
    return cn_codec_api_error(&answer->body, problem);
}

void cn_api_on_published(const struct cn_api_caller *caller, struct cn_str id,
                         const struct cn_published *result)
{
    struct cn_answer answer;
    enum cn_err err;
    if (result->err) {
        err = cn_api_refuse(cn_problem_of(result->err), &answer);
    } else {
        begin_answer(&answer, 200);
        err = cn_codec_api_stored(&answer.body, result->pos, result->ts_ms, result->dup, id);
    }
    // Without memory it is an answer without words.
    if (err)
        answer.status = 500;
    caller->answered(caller->arg, caller->ticket, &answer);
}

// ---- Publishing ----

// The entry's body, in the loop's text buffer.
static enum cn_err make_body(struct cn_loop *loop, const struct cn_request *request)
{
    if (request->type == CN_REQUEST_DIRECT)
        return cn_codec_direct_body(&loop->text, request->from, request->to, request->content,
                                    request->id);
    return cn_codec_message_body(&loop->text, request->room, request->from, request->content,
                                 request->id);
}

static enum cn_err publish(struct cn_loop *loop, const struct cn_request *request,
                           const struct cn_api_caller *caller)
{
    bool direct = request->type == CN_REQUEST_DIRECT;
    struct cn_channel_name channel;
    enum cn_err err = cn_channel_name_make(direct ? CN_CHANNEL_INBOX : CN_CHANNEL_ROOM,
                                           direct ? request->to : request->room, &channel);
    CN_ASSERT(err == CN_OK); // the codec has checked the names
    err = make_body(loop, request);
    bool has_two_legs = direct && !cn_str_equal(request->to, request->from);
    if (!err)
        err = cn_publish_send_for(loop, caller,
                                  &(struct cn_publish_order){
                                      .channel = &channel,
                                      .user = request->from,
                                      .id = request->id,
                                      .body = cn_buf_str(&loop->text),
                                      .leg = has_two_legs ? CN_LEG_RECIPIENT : CN_LEG_ROOM,
                                  });
    loop->text.len = 0;
    return err;
}

// The header's value may stand in quotes, as a string of RFC 8941 does.
static struct cn_str unquote(struct cn_str key)
{
    bool quoted = key.len >= 2 && key.ptr[0] == '"' && key.ptr[key.len - 1] == '"';
    return quoted ? (struct cn_str){key.ptr + 1, key.len - 2} : key;
}

static enum cn_err decode(struct cn_str body, struct cn_str key, struct cn_request *request,
                          enum cn_problem *problem)
{
    enum cn_err err = cn_request_decode_publish(body, request, problem);
    if (err || request->id.ptr || !key.ptr)
        return err;
    *problem = CN_PROBLEM_BAD_ID;
    request->id = unquote(key);
    return cn_name_is_valid_id(request->id) ? CN_OK : CN_INVALID;
}

enum cn_err cn_api_publish(struct cn_loop *loop, struct cn_str body, struct cn_str key,
                           const struct cn_api_caller *caller, enum cn_problem *problem)
{
    struct cn_request request = {0};
    enum cn_err err = decode(body, key, &request, problem);
    if (err == CN_OK) {
        err = publish(loop, &request, caller);
        *problem = cn_problem_of(err);
    } else if (err != CN_INVALID) {
        *problem = CN_PROBLEM_INTERNAL;
    }
    cn_request_fini(&request);
    return err;
}

enum cn_err cn_api_take(struct cn_loop *loop, enum cn_api_route route, struct cn_str body,
                        struct cn_str key, const struct cn_api_caller *caller,
                        enum cn_problem *problem)
{
    if (route == CN_API_PUBLISH)
        return cn_api_publish(loop, body, key, caller, problem);
    return cn_api_judge(loop, route == CN_API_DISCONNECT, body, caller, problem);
}
