// SPDX-License-Identifier: MIT
// The transport of the HTTP API: takes a request's body in, waits for the answer without blocking,
// and writes it to the connection, if that is still there.
#include <stdlib.h>
#include <string.h>

#include "chatnode/clock.h"
#include "edge_private.h"

enum {
    BODY_TIMEOUT_MS = 10000,       // for the whole of a body
    DISCARDED_MAX_BYTES = 1 << 20, // of a body that is not wanted; a longer one is not waited for
    HEADER_BYTES = 2048,
    KEY_BYTES = 128
};

// One request. The loop's thread.
struct cn_call {
    struct cn_link link; // in the loop's list of those that wait for the bus, or of the answered
    struct cn_edge_loop *loop;
    struct cn_conn *conn;
    struct lws *wsi;
    uint64_t ticket;
    enum cn_api_route route;
    struct cn_buf body;
    char key[KEY_BYTES]; // Idempotency-Key, "" for none
    bool is_bad;
    enum cn_problem problem; // if it is bad; its body is then not kept
    int64_t deadline_ms;     // of the body
    bool is_read;            // its body is all here
    bool is_followed;        // and the client has sent more already
    bool is_last;            // the connection ends with the answer
    bool is_under_way;       // counted in the edge's `publishes`
    struct cn_answer answer;
};

void cn_api_drop(struct cn_call *call)
{
    if (!call)
        return;
    if (call->is_under_way)
        atomic_fetch_sub(&call->loop->edge->publishes, 1);
    cn_list_remove(&call->link);
    cn_buf_fini(&call->body);
    cn_buf_fini(&call->answer.body);
    free(call);
}

// ---- The answer ----

// The header that belongs to a status.
static void add_header_of(struct cn_reply *reply, bool takes_post)
{
    const struct {
        unsigned status;
        const char *name;
        const char *value;
    } headers[] = {{401, "www-authenticate:", "Bearer"},
                   {405, "allow:", takes_post ? "POST" : "GET"},
                   {503, "retry-after:", "1"}};
    for (size_t i = 0; i < CN_COUNT(headers); i++) {
        if (headers[i].status == reply->status) {
            reply->name = headers[i].name;
            reply->value = headers[i].value;
        }
    }
}

static void count(int status)
{
    if (status < 400)
        cn_metrics_add(CN_M_API_STORED, 1);
    else
        cn_metrics_add(status < 500 ? CN_M_API_REFUSED : CN_M_API_FAILED, 1);
}

// Takes answer->body.
static int send_answer(struct lws *wsi, enum cn_api_route route, struct cn_answer *answer,
                       bool closes)
{
    struct cn_reply reply = {.status = (unsigned)answer->status,
                             .content_type = answer->content_type,
                             .closes = closes,
                             .bytes = cn_buf_str(&answer->body),
                             .owned = answer->body};
    answer->body = (struct cn_buf){0};
    count(answer->status);
    add_header_of(&reply, cn_api_route_is_post(route));
    return cn_http_reply_now(wsi, &reply);
}

// Ends the connection as well: what follows on it would not be read well, see cn_api_body_end.
static int refuse(struct lws *wsi, enum cn_api_route route, enum cn_problem problem)
{
    struct cn_answer answer;
    if (cn_api_refuse(problem, &answer)) {
        cn_buf_fini(&answer.body);
        return -1;
    }
    return send_answer(wsi, route, &answer, true);
}

static void finish(struct cn_call *call)
{
    struct lws *wsi = call->wsi;
    bool closes = call->is_last || atomic_load(&call->loop->edge->is_closed);
    call->conn->call = NULL;
    bool is_over = send_answer(wsi, call->route, &call->answer, closes) != 0;
    cn_api_drop(call); // only now: a drain waits for what is under way
    // At once: what comes in meanwhile would make libwebsockets forget a timeout.
    if (is_over)
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

static void on_answer_timer(lws_sorted_usec_list_t *timer)
{
    struct cn_edge_loop *loop = lws_container_of(timer, struct cn_edge_loop, answer_timer);
    struct cn_link *link;
    while ((link = cn_list_pop_front(&loop->answered)))
        finish(CN_CONTAINER(link, struct cn_call, link));
}

// The answer is in call->answer. It is sent by a timer, which comes after libwebsockets has offered
// whatever the client sent ahead: see cn_api_body_end.
static void send_soon(struct cn_call *call)
{
    struct cn_edge_loop *loop = call->loop;
    cn_list_remove(&call->link);
    cn_list_push_back(&loop->answered, &call->link);
    lws_sul_schedule(loop->context, 0, &loop->answer_timer, on_answer_timer, 1);
}

// The hub has an answer. Its connection may be gone: then nobody has the ticket any more.
static void on_answered(void *arg, uint64_t ticket, struct cn_answer *answer)
{
    struct cn_edge_loop *loop = arg;
    CN_LIST_EACH_SAFE (link, &loop->calls) {
        struct cn_call *call = CN_CONTAINER(link, struct cn_call, link);
        if (call->ticket != ticket)
            continue;
        call->answer = *answer;
        send_soon(call);
        return;
    }
    cn_buf_fini(&answer->body);
}

// ---- The request ----

// Counts the publish, and looks after that whether the node still takes any: so the drain, which
// first says no and then reads the count, misses none.
static bool may_publish(struct cn_call *call)
{
    struct cn_edge *edge = call->loop->edge;
    call->is_under_way = true;
    atomic_fetch_add(&edge->publishes, 1);
    return !atomic_load(&edge->is_closed);
}

static void publish(struct cn_call *call)
{
    struct cn_edge_loop *loop = call->loop;
    if (!may_publish(call)) {
        call->is_bad = true;
        call->problem = CN_PROBLEM_DRAINING;
        return;
    }
    call->ticket = ++loop->last_ticket;
    const struct cn_api_caller caller = {on_answered, loop, call->ticket};
    struct cn_str key = {call->key[0] ? call->key : NULL, strlen(call->key)};
    if (cn_api_take(loop->hub_loop, call->route, cn_buf_str(&call->body), key, &caller,
                    &call->problem))
        call->is_bad = true;
    else
        cn_list_push_back(&loop->calls, &call->link);
    cn_buf_fini(&call->body);
}

int cn_api_body(struct cn_call *call, struct cn_str piece)
{
    if (cn_clock_ms() > call->deadline_ms)
        return -1;
    if (call->is_bad)
        return 0;
    return cn_buf_append_str(&call->body, piece) ? -1 : 0;
}

// libwebsockets tells the end of a body again when more follows before the answer is out; and what
// follows it takes apart wrongly later. So that is not read any more, and the connection ends with
// this answer. Clients must expect that (RFC 9112 section 9.3.2).
//
// That it is not read any more keeps libwebsockets quiet only if the body came from the socket. One
// that libwebsockets had kept, since it came behind a request that was not answered yet, ends again
// and again with nothing else in between, no timer and no letter: only hanging up ends that. None
// should come this way, as every other request on this listener ends its connection.
int cn_api_body_end(struct cn_call *call)
{
    if (call->is_read) {
        if (call->is_followed)
            return -1;
        call->is_followed = call->is_last = true;
        lws_rx_flow_control(call->wsi, 0);
        return 0;
    }
    call->is_read = true;
    if (!call->is_bad)
        publish(call);
    if (!call->is_bad)
        return 0;
    if (cn_api_refuse(call->problem, &call->answer))
        return -1;
    send_soon(call);
    return 0;
}

static struct cn_str read_header(struct lws *wsi, enum lws_token_indexes token, char *out, int size)
{
    int len = lws_hdr_copy(wsi, out, size, token);
    return len > 0 ? (struct cn_str){out, (size_t)len} : (struct cn_str){NULL, 0};
}

// What is wrong with the request by its head alone; false: nothing.
static bool is_refused(struct cn_edge_loop *loop, struct lws *wsi, struct cn_str path,
                       enum cn_problem *problem)
{
    char authorization[HEADER_BYTES];
    char content_type[KEY_BYTES];
    const struct cn_api_head head = {
        .path = path,
        .is_post = lws_hdr_total_length(wsi, WSI_TOKEN_POST_URI) > 0,
        .is_get = lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0,
        .is_local = loop->edge->is_local,
        .is_from_page = lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN) > 0,
        .content_type =
            read_header(wsi, WSI_TOKEN_HTTP_CONTENT_TYPE, content_type, sizeof(content_type)),
        .authorization =
            read_header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, authorization, sizeof(authorization)),
    };
    return !cn_api_check(loop->edge->config, &head, problem);
}

static bool take_key(struct lws *wsi, struct cn_call *call)
{
    static const char name[] = "idempotency-key:";
    int len = lws_hdr_custom_length(wsi, name, sizeof(name) - 1);
    if (len <= 0)
        return true;
    return lws_hdr_custom_copy(wsi, call->key, sizeof(call->key), name, sizeof(name) - 1) > 0;
}

static struct cn_call *new_call(struct cn_edge_loop *loop, struct lws *wsi, struct cn_conn *conn,
                                enum cn_api_route route)
{
    struct cn_call *call = calloc(1, sizeof(*call));
    if (!call)
        return NULL;
    call->loop = loop;
    call->conn = conn;
    call->wsi = wsi;
    call->route = route;
    call->deadline_ms = cn_clock_ms() + BODY_TIMEOUT_MS;
    cn_list_init(&call->link);
    cn_buf_init(&call->body, (size_t)loop->edge->config->max_message_bytes);
    return call;
}

// Reads the body, and answers after it. The connection goes on after a good request only.
static int begin(struct cn_edge_loop *loop, struct lws *wsi, struct cn_conn *conn,
                 enum cn_api_route route, const enum cn_problem *problem)
{
    struct cn_call *call = new_call(loop, wsi, conn, route);
    if (!call)
        return -1;
    conn->call = call;
    call->is_bad = problem != NULL;
    if (problem)
        call->problem = *problem;
    if (!call->is_bad && !take_key(wsi, call)) {
        call->is_bad = true;
        call->problem = CN_PROBLEM_BAD_ID;
    }
    call->is_last = call->is_bad;
    return 0;
}

// What takes no body. The connection ends with it: no POST may wait behind it.
static int answer_get(struct cn_edge_loop *loop, struct lws *wsi, struct cn_conn *conn)
{
    struct cn_answer answer;
    if (cn_api_list(loop->edge->hub, &answer)) {
        cn_buf_fini(&answer.body);
        return refuse(wsi, CN_API_REVOCATIONS, CN_PROBLEM_INTERNAL);
    }
    struct cn_reply reply = {.status = (unsigned)answer.status,
                             .content_type = answer.content_type,
                             .closes = true,
                             .bytes = cn_buf_str(&answer.body),
                             .owned = answer.body};
    return cn_http_reply(wsi, conn, &reply, false);
}

int cn_api_request(struct cn_edge_loop *loop, struct lws *wsi, struct cn_conn *conn,
                   struct cn_str path)
{
    enum cn_problem problem;
    enum cn_api_route route = cn_api_route_of(path);
    bool is_post = lws_hdr_total_length(wsi, WSI_TOKEN_POST_URI) > 0;
    bool is_chunked = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
    int64_t len = is_chunked ? CN_HTTP_LENGTH_BAD : cn_http_body_length(wsi);
    bool refused = is_refused(loop, wsi, path, &problem);
    if (!refused && !cn_api_route_is_post(route))
        return len == CN_HTTP_LENGTH_NONE || len == 0 ? answer_get(loop, wsi, conn)
                                                      : refuse(wsi, route, CN_PROBLEM_BAD_REQUEST);
    if (!refused && len < 0) {
        problem = CN_PROBLEM_NO_LENGTH;
        refused = true;
    }
    if (!refused && len > loop->edge->config->max_message_bytes) {
        problem = CN_PROBLEM_TOO_LARGE;
        refused = true;
    }
    if (!refused && atomic_load(&loop->edge->is_closed)) {
        problem = CN_PROBLEM_DRAINING;
        refused = true;
    }
    if (!refused && len == 0) {
        problem = CN_PROBLEM_BAD_JSON;
        refused = true;
    }
    // There is no body, or it is not waited for.
    if (refused && (!is_post || len <= 0 || len > DISCARDED_MAX_BYTES))
        return refuse(wsi, route, problem);
    return begin(loop, wsi, conn, route, refused ? &problem : NULL);
}
