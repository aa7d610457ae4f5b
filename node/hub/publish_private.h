// SPDX-License-Identifier: MIT
// publish.c: publishes of sessions and of the HTTP API, from a loop to the bus and back (reads:
// log_private.h).
#ifndef CHATNODE_PUBLISH_PRIVATE_H
#define CHATNODE_PUBLISH_PRIVATE_H

#include "chatnode/api.h"
#include "chatnode/bus.h"
#include "chatnode/codec.h"
#include "chatnode/hub.h"
#include "chatnode/loop.h"
#include "chatnode/mailbox.h"
#include "chatnode/pool.h"
#include "chatnode/session.h"

// Sends a publish of `session` to the bus: `leg` says what it is part of. The answer comes as ack
// or error. CN_FULL: too much waits already; CN_NOMEM. Loop's thread.
enum cn_publish_leg { CN_LEG_ROOM, CN_LEG_RECIPIENT, CN_LEG_SENDER };
CN_MUSTCHECK enum cn_err cn_publish_send(struct cn_session *session,
                                         const struct cn_channel_name *channel,
                                         const struct cn_request *request, struct cn_str body,
                                         enum cn_publish_leg leg);

// The loop's pool of publishes and their answers.
void cn_publish_pool_init(struct cn_pool *pool);

// An ask that will be read soon; when it is a publish, the bus prepares. Main thread.
void cn_publish_expect(struct cn_mail *mail, struct cn_hub *hub);

// What is published, and as whom. Borrowed for the call.
struct cn_publish_order {
    const struct cn_channel_name *channel;
    struct cn_str user; // who publishes
    struct cn_str id;   // absent: one is made, which no client can name
    struct cn_str body;
    enum cn_publish_leg leg;
};

// As cn_publish_send for a caller of the HTTP API; the answer comes to cn_api_on_published.
CN_MUSTCHECK enum cn_err cn_publish_send_for(struct cn_loop *loop,
                                             const struct cn_api_caller *caller,
                                             const struct cn_publish_order *order);

#endif
