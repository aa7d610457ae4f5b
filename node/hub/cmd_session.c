// SPDX-License-Identifier: MIT
// Commands about the session itself: ping.
#include "chatnode/codec.h"
#include "hub_private.h"

void cmd_ping(struct cn_session *session, const struct cn_request *request)
{
    cn_session_answer(session, cn_codec_pong(&session->loop->text, request->id));
}
