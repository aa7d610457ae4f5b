// SPDX-License-Identifier: MIT
// The way in: from a client's frame to its command, and on to the bus.
//
//   the edge      cn_ws_receive            reassembles, bounds
//   cn_session_receive                     counts, notes the sign of life
//   cn_dispatch                            one parse; the table below
//   cn_auth_allows                         may it? By the table's row
//     cmd_message, cmd_direct              the entry's body is made once
//       cn_publish_send                    a letter to main
//   main's turn   cn_hub_turn
//       cn_bus_publish_take                deduplicated, appended, published in one step
//       on_published (publish.c)           the answer goes back by letter
//   loop's turn   read_reply (publish.c)   ack or error to the sender
//   What the bus publishes comes back by cn_channel_on_entry: see fanout.c.
#include "chatnode/codec.h"
#include "hub_private.h"

enum {
    TOKEN_REQUEST_MAX_BYTES = CN_TOKEN_BYTES_MAX + 1024,
    HISTORY_STEP = 50 // a history costs once more for each so many entries
};

// What does a request, what it needs, and what it costs of the rates (docs/operations.md).
static const struct row {
    void (*run)(struct cn_session *session, const struct cn_request *request);
    struct cn_access access;
    unsigned char points;
} rows[CN_REQUEST_COUNT] = {
    [CN_REQUEST_MESSAGE] = {cmd_message, {CN_ACCESS_ROOM, CN_RIGHT_SEND}, CN_POINTS},
    [CN_REQUEST_DIRECT] = {cmd_direct, {.kind = CN_ACCESS_DIRECT}, CN_POINTS},
    [CN_REQUEST_JOIN] = {cmd_join, {CN_ACCESS_ROOM, CN_RIGHT_JOIN}, CN_POINTS},
    [CN_REQUEST_LEAVE] = {cmd_leave, {.kind = CN_ACCESS_OWN}, CN_POINTS},
    [CN_REQUEST_HISTORY] = {cmd_history, {CN_ACCESS_ROOM, CN_RIGHT_HISTORY}, CN_POINTS},
    [CN_REQUEST_AUTH] = {cmd_auth, {.kind = CN_ACCESS_FREE}, CN_POINTS},
    [CN_REQUEST_PING] = {cmd_ping, {.kind = CN_ACCESS_OWN}, 1},
};

// A conversation is read from the own inbox.
static const struct cn_access own = {.kind = CN_ACCESS_OWN};

static void run(struct cn_session *session, const struct cn_request *request)
{
    const struct row *row = &rows[request->type];
    const struct cn_auth *auth = session->loop->hub->auth;
    enum cn_problem problem;
    if (auth) {
        struct cn_channel_name channel = cn_request_room(session, request);
        if (!cn_auth_allows(auth, session->grant, request->with.ptr ? &own : &row->access,
                            cn_channel_name_bare(&channel), &problem)) {
            cn_session_problem(session, problem, request->id);
            return;
        }
    }
    row->run(session, request);
}

// Nobody has to read much of who has not said who he is.
static bool is_too_long(const struct cn_session *session, struct cn_str text)
{
    return session->state == CN_SESSION_WAITING && text.len > TOKEN_REQUEST_MAX_BYTES;
}

// What is not understood costs as much as a message.
static struct cn_cost cost_of(const struct cn_request *request, enum cn_err decoded, size_t len)
{
    struct cn_cost cost = {.points = CN_POINTS, .bytes = (int64_t)len};
    if (decoded)
        return cost;
    cost.points = rows[request->type].points;
    if (request->type == CN_REQUEST_HISTORY)
        cost.points += (int64_t)((request->limit - 1) / HISTORY_STEP) * CN_POINTS;
    cost.joins = request->type == CN_REQUEST_JOIN;
    return cost;
}

static bool is_admitted(struct cn_session *session, const struct cn_request *request,
                        enum cn_err decoded, size_t len)
{
    if (!session->loop->hub->throttles)
        return true;
    const struct cn_cost cost = cost_of(request, decoded, len);
    return cn_session_may(session, &cost, request->id);
}

void cn_dispatch(struct cn_session *session, struct cn_str text)
{
    struct cn_request request = {0};
    enum cn_problem problem = CN_PROBLEM_UNAUTHENTICATED;
    enum cn_err err = CN_INVALID;
    if (!is_too_long(session, text))
        err = cn_request_decode(text, &request, &problem);
    if (!is_admitted(session, &request, err, text.len)) {
        cn_request_fini(&request);
        return;
    }
    if (err == CN_OK)
        run(session, &request);
    else
        cn_session_problem(session, err == CN_INVALID ? problem : CN_PROBLEM_INTERNAL, request.id);
    cn_request_fini(&request);
}

struct cn_channel_name cn_request_room(const struct cn_session *session,
                                       const struct cn_request *request)
{
    struct cn_str room = request->room;
    if (!room.ptr)
        room = cn_str_of(session->loop->hub->config->default_room);
    struct cn_channel_name name;
    enum cn_err err = cn_channel_name_make(CN_CHANNEL_ROOM, room, &name);
    CN_ASSERT(err == CN_OK);
    return name;
}

enum cn_problem cn_problem_of(enum cn_err err)
{
    static const struct {
        enum cn_err err;
        enum cn_problem problem;
    } table[] = {
        {CN_FULL, CN_PROBLEM_OVERLOADED},         {CN_REFUSED, CN_PROBLEM_REFUSED},
        {CN_NOSPACE, CN_PROBLEM_STORE_FULL},      {CN_NOTDURABLE, CN_PROBLEM_NOT_DURABLE},
        {CN_UNAVAILABLE, CN_PROBLEM_UNAVAILABLE},
    };
    for (size_t i = 0; i < CN_COUNT(table); i++)
        if (table[i].err == err)
            return table[i].problem;
    return CN_PROBLEM_INTERNAL;
}
