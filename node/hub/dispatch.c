// SPDX-License-Identifier: MIT
// The way in: from a client's frame to its command, and on to the bus.
//
//   the edge      cn_ws_receive            reassembles, bounds
//   cn_session_receive                     counts, notes the sign of life
//   cn_dispatch                            one parse; the table below
//     cmd_message, cmd_direct              the entry's body is made once
//       cn_publish_send                    a letter to main
//   main's turn   cn_hub_turn
//       cn_bus_publish_take                deduplicated, appended, published in one step
//       on_published (publish.c)           the answer goes back by letter
//   loop's turn   read_reply (publish.c)   ack or error to the sender
//   What the bus publishes comes back by cn_channel_on_entry: see fanout.c.
#include "chatnode/codec.h"
#include "hub_private.h"

enum { HISTORY_STEP = 50 }; // a history costs once more for each so many entries

// What a request does, and what it costs of the rates (docs/operations.md has the list).
struct command {
    void (*run)(struct cn_session *session, const struct cn_request *request);
    unsigned char points;
};

static const struct command commands[CN_REQUEST_COUNT] = {
    [CN_REQUEST_MESSAGE] = {cmd_message, CN_POINTS}, [CN_REQUEST_DIRECT] = {cmd_direct, CN_POINTS},
    [CN_REQUEST_JOIN] = {cmd_join, CN_POINTS},       [CN_REQUEST_LEAVE] = {cmd_leave, CN_POINTS},
    [CN_REQUEST_HISTORY] = {cmd_history, CN_POINTS}, [CN_REQUEST_PING] = {cmd_ping, 1},
};

// What is not understood costs as much as a message.
static struct cn_cost cost_of(const struct cn_request *request, enum cn_err decoded, size_t len)
{
    struct cn_cost cost = {.points = CN_POINTS, .bytes = (int64_t)len};
    if (decoded)
        return cost;
    cost.points = commands[request->type].points;
    if (request->type == CN_REQUEST_HISTORY)
        cost.points += CN_POINTS * ((request->limit - 1) / HISTORY_STEP);
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
    enum cn_problem problem = CN_PROBLEM_INTERNAL;
    enum cn_err err = cn_request_decode(text, &request, &problem);
    if (!is_admitted(session, &request, err, text.len)) {
        cn_request_fini(&request);
        return;
    }
    if (err == CN_OK)
        commands[request.type].run(session, &request);
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
