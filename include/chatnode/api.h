// SPDX-License-Identifier: MIT
// The HTTP API, as question and answer; knows nothing of HTTP's transport. A publish goes to main
// and the bus like a client's, and its answer comes back to the loop that asked.
#ifndef CHATNODE_API_H
#define CHATNODE_API_H

#include <stdbool.h>
#include <stdint.h>

#include "chatnode/admin.h"
#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/config.h"
#include "chatnode/err.h"
#include "chatnode/loop.h"
#include "chatnode/protocol.h"

// How many publishes of the API may wait for the bus at once, on the whole node.
enum { CN_API_WAITING_MAX = 32 };

// X(symbol, path, is_post): what there is.
#define CN_API_ROUTE_TABLE(X)                                                                      \
    X(PUBLISH, "/api/v1/publish", true)                                                            \
    X(REVOKE, "/api/v1/revoke", true)                                                              \
    X(DISCONNECT, "/api/v1/disconnect", true)                                                      \
    X(REVOCATIONS, "/api/v1/revocations", false)

enum cn_api_route {
#define X(symbol, path, is_post) CN_API_##symbol,
    CN_API_ROUTE_TABLE(X)
#undef X
        CN_API_ROUTES
};

// The route of this path, CN_API_ROUTES if there is none; whether it takes POST, else it takes GET.
// Any thread.
enum cn_api_route cn_api_route_of(struct cn_str path);
bool cn_api_route_is_post(enum cn_api_route route);

// What a request says of itself before its body. Borrowed for the call; absent where not given.
struct cn_api_head {
    struct cn_str path;
    bool is_post;
    bool is_get;
    bool is_local;     // it can only have come from this machine
    bool is_from_page; // a browser's page sent it (it has an Origin)
    struct cn_str content_type;
    struct cn_str authorization;
};

// True when the request may be made and is one that exists; else *problem says what is wrong. Any
// thread.
CN_MUSTCHECK bool cn_api_check(const struct cn_config *config, const struct cn_api_head *head,
                               enum cn_problem *problem);

// Who waits for an answer: by a number, since the connection may be gone until then. `answered` is
// called on the loop's thread; it takes answer->body.
struct cn_api_caller {
    void (*answered)(void *arg, uint64_t ticket, struct cn_answer *answer);
    void *arg; // lives as long as the loop
    uint64_t ticket;
};

// Does what the body says by this route, which takes POST: cn_api_publish, cn_api_judge.
CN_MUSTCHECK enum cn_err cn_api_take(struct cn_loop *loop, enum cn_api_route route,
                                     struct cn_str body, struct cn_str key,
                                     const struct cn_api_caller *caller, enum cn_problem *problem);

// Answers GET by this route. CN_NOMEM, CN_FULL; the caller frees answer->body in every case. Any
// thread.
CN_MUSTCHECK enum cn_err cn_api_list(struct cn_hub *hub, struct cn_answer *answer);

// Revokes what the body says, or only ends the user's sessions; as cn_api_publish.
CN_MUSTCHECK enum cn_err cn_api_judge(struct cn_loop *loop, bool kick, struct cn_str body,
                                      const struct cn_api_caller *caller, enum cn_problem *problem);

// Publishes what the body says. `key` (may be absent) is the id if the body has none; without both
// one is made. CN_OK: the caller will be answered once, unless the node ends before. Else *problem
// says why nothing was begun. The loop's thread.
CN_MUSTCHECK enum cn_err cn_api_publish(struct cn_loop *loop, struct cn_str body, struct cn_str key,
                                        const struct cn_api_caller *caller,
                                        enum cn_problem *problem);

// The answer that tells of a problem. CN_NOMEM; the caller frees answer->body in every case.
CN_MUSTCHECK enum cn_err cn_api_refuse(enum cn_problem problem, struct cn_answer *answer);

#endif
