// SPDX-License-Identifier: MIT
// The command `auth`: the client shows a token, its first one or a fresh one.
#include "chatnode/codec.h"
#include "hub_private.h"

void cmd_auth(struct cn_session *session, const struct cn_request *request)
{
    if (session->loop->hub->auth)
        cn_pass_show(session, request->token, request->id);
    else
        cn_session_problem(session, CN_PROBLEM_NO_TOKENS, request->id);
}
