// SPDX-License-Identifier: MIT
// Commands that publish: message to a room, direct to a user.
#include "chatnode/codec.h"
#include "hub_private.h"

// Publishes the body that stands in the loop's text buffer, or says why not.
static void publish(struct cn_session *session, const struct cn_channel_name *channel,
                    const struct cn_request *request, enum cn_err made, enum cn_publish_leg leg)
{
    struct cn_buf *body = &session->loop->text;
    enum cn_err err = made;
    if (!err)
        err = cn_publish_send(session, channel, request, cn_buf_str(body), leg);
    body->len = 0;
    if (err)
        cn_session_problem(session, cn_problem_of(err), request->id);
}

void cmd_message(struct cn_session *session, const struct cn_request *request)
{
    struct cn_channel_name channel = cn_request_room(session, request);
    const struct cn_member *member = cn_member_find(session, &channel);
    if (!member) {
        cn_session_problem(session, CN_PROBLEM_NOT_JOINED, request->id);
        return;
    }
    cn_ring_expect(&member->feed->ring);
    enum cn_err made =
        cn_codec_message_body(&session->loop->text, cn_channel_name_bare(&channel),
                              cn_session_user(session), request->content, request->id);
    publish(session, &channel, request, made, CN_LEG_ROOM);
}

void cmd_direct(struct cn_session *session, const struct cn_request *request)
{
    struct cn_channel_name channel;
    enum cn_err err = cn_channel_name_make(CN_CHANNEL_INBOX, request->to, &channel);
    if (err) {
        cn_session_problem(session, CN_PROBLEM_BAD_NAME, request->id);
        return;
    }
    bool to_self = cn_str_equal(request->to, cn_session_user(session));
    enum cn_err made = cn_codec_direct_body(&session->loop->text, cn_session_user(session),
                                            request->to, request->content, request->id);
    publish(session, &channel, request, made, to_self ? CN_LEG_ROOM : CN_LEG_RECIPIENT);
}
