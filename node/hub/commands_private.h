// SPDX-License-Identifier: MIT
// What the files of the hub share of the way in: the dispatcher and the commands. The session's
// loop.
#ifndef CHATNODE_COMMANDS_PRIVATE_H
#define CHATNODE_COMMANDS_PRIVATE_H

#include "chatnode/codec.h"
#include "chatnode/err.h"
#include "chatnode/name.h"
#include "chatnode/protocol.h"
#include "chatnode/session.h"

void cn_dispatch(struct cn_session *session, struct cn_str text);
void cmd_message(struct cn_session *session, const struct cn_request *request);
void cmd_direct(struct cn_session *session, const struct cn_request *request);
void cmd_join(struct cn_session *session, const struct cn_request *request);
void cmd_leave(struct cn_session *session, const struct cn_request *request);
void cmd_history(struct cn_session *session, const struct cn_request *request);
void cmd_auth(struct cn_session *session, const struct cn_request *request);
void cmd_ping(struct cn_session *session, const struct cn_request *request);

// The room that a request names, or the default room. CN_INVALID never happens for a decoded one.
struct cn_channel_name cn_request_room(const struct cn_session *session,
                                       const struct cn_request *request);

// What a client is told when a request could not be done.
enum cn_problem cn_problem_of(enum cn_err err);

#endif
