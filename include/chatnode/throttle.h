// SPDX-License-Identifier: MIT
// How much a session, its user and the node may be asked for: requests, bytes and joins in a
// second. Nothing is kept, and nothing looked at, while no such limit is set.
#ifndef CHATNODE_THROTTLE_H
#define CHATNODE_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/config.h"
#include "chatnode/err.h"

enum {
    CN_POINTS = 10,            // what a request costs of a rate of 1; a few cost less or more
    CN_FLOOD_WINDOW_MS = 10000 // in which refusals are counted against `flood-limit`
};

struct cn_throttles; // of a node
struct cn_throttle;  // of a session; its loop's

// What a request costs.
struct cn_cost {
    int64_t points; // of the message rates, CN_POINTS for an ordinary one
    int64_t bytes;
    int64_t joins;
};

// The limit that a request met.
enum cn_limit {
    CN_LIMIT_NONE,
    CN_LIMIT_BYTES,
    CN_LIMIT_JOINS,
    CN_LIMIT_MESSAGES,
    CN_LIMIT_USER,
    CN_LIMIT_NODE
};

// In *out what the settings say; NULL when they limit nothing. CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_throttles_new(const struct cn_config *config,
                                          struct cn_throttles **out);
void cn_throttles_free(struct cn_throttles *throttles); // takes NULL; no session has one any more

// The throttle of a new session of `user`; absent while nobody knows who it is. CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_throttle_new(struct cn_throttles *throttles, struct cn_str user,
                                         int64_t now_ms, struct cn_throttle **out);
void cn_throttle_free(struct cn_throttle *throttle, int64_t now_ms); // takes NULL

// Takes the cost from all that limits the session, or from none: then it says which did not have
// enough, and in *in_ms when it will.
CN_MUSTCHECK enum cn_limit cn_throttle_take(struct cn_throttle *throttle,
                                            const struct cn_cost *cost, int64_t now_ms,
                                            int64_t *in_ms);

// A request was refused for a limit of the session's or its user's. True when there were so many in
// a short time that the session is to be closed.
CN_MUSTCHECK bool cn_throttle_refused(struct cn_throttle *throttle, int64_t now_ms);

#endif
