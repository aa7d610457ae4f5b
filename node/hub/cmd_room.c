// SPDX-License-Identifier: MIT
// Commands about rooms: join, leave; and memberships, of which the two mirror lists (a session's
// members, a feed's members) are always changed together here.
#include <stdlib.h>

#include "chatnode/codec.h"
#include "hub_private.h"

// ---- Feeds ----

struct cn_feed *cn_feed_find(struct cn_loop *loop, const struct cn_channel_name *name)
{
    struct cn_hash_node *node = cn_hash_find(&loop->feeds, cn_channel_name_str(name));
    return node ? CN_CONTAINER(node, struct cn_feed, by_name) : NULL;
}

static void remove_feed(struct cn_loop *loop, struct cn_feed *feed)
{
    cn_hash_remove(&loop->feeds, &feed->by_name);
    cn_shelf_clear(loop, feed);
    cn_feed_free(feed);
    cn_metrics_add(CN_M_FEEDS, -1);
}

static enum cn_err add_feed(struct cn_loop *loop, const struct cn_channel_name *name,
                            enum cn_follow how, struct cn_feed **out)
{
    const struct cn_feed_bounds bounds = {
        .ring_frames = (size_t)loop->hub->config->ring_frames,
        .ring_bytes = (size_t)loop->hub->config->ring_bytes,
    };
    struct cn_feed *feed = cn_feed_new(name, &bounds);
    if (!feed || cn_hash_insert(&loop->feeds, &feed->by_name)) {
        cn_feed_free(feed);
        return CN_NOMEM;
    }
    cn_metrics_add(CN_M_FEEDS, 1);
    enum cn_err err = cn_channel_ask(loop, name, how);
    if (err)
        remove_feed(loop, feed);
    else
        *out = feed;
    return err;
}

// The last member has left: main need not follow the channel for this loop any more. Without memory
// to say so it goes on following, which only costs a little.
static void close_feed(struct cn_loop *loop, struct cn_feed *feed)
{
    cn_shelf_clear(loop, feed);
    const struct cn_channel_name name = cn_feed_name(feed);
    if (feed->state != CN_FEED_CLOSING && !cn_channel_ask(loop, &name, CN_FOLLOW_NO_LONGER))
        cn_feed_close(feed);
}

void cn_feed_on_closed(struct cn_loop *loop, struct cn_feed *feed)
{
    CN_ASSERT(feed->state == CN_FEED_CLOSING);
    const struct cn_channel_name name = cn_feed_name(feed);
    if (feed->count > 0 && !cn_channel_ask(loop, &name, CN_FOLLOW)) {
        feed->state = CN_FEED_OPENING;
        return;
    }
    while (feed->count > 0)
        cn_session_close(feed->members[0]->session, CN_REASON_INTERNAL);
    remove_feed(loop, feed);
}

// ---- Memberships ----

static struct cn_member *find_in_feed(const struct cn_feed *feed, const struct cn_session *session)
{
    for (uint32_t i = 0; i < feed->count; i++)
        if (feed->members[i]->session == session)
            return feed->members[i];
    return NULL;
}

static struct cn_member *find_in_session(const struct cn_session *session,
                                         const struct cn_feed *feed)
{
    CN_LIST_EACH (link, &session->members) {
        struct cn_member *member = CN_CONTAINER(link, struct cn_member, of_session);
        if (member->feed == feed)
            return member;
    }
    return NULL;
}

// Whichever list is the shorter: a session in very many rooms has most of them to few others.
struct cn_member *cn_member_find(struct cn_session *session, const struct cn_channel_name *name)
{
    const struct cn_feed *feed = cn_feed_find(session->loop, name);
    if (!feed)
        return NULL;
    return feed->count <= session->rooms ? find_in_feed(feed, session)
                                         : find_in_session(session, feed);
}

enum cn_err cn_member_join(struct cn_session *session, const struct cn_channel_name *name,
                           const struct cn_recovery_order *order)
{
    struct cn_loop *loop = session->loop;
    if (cn_member_find(session, name))
        return CN_EXISTS;
    struct cn_feed *feed = cn_feed_find(loop, name);
    enum cn_err err = CN_OK;
    if (!feed)
        err = add_feed(loop, name, order->patient ? CN_FOLLOW : CN_FOLLOW_IF_ROOM, &feed);
    if (err)
        return err;
    struct cn_member *member = calloc(1, sizeof(*member));
    if (!member || cn_feed_add(feed, member)) {
        free(member);
        if (feed->count == 0)
            close_feed(loop, feed);
        return CN_NOMEM;
    }
    member->session = session;
    cn_list_push_back(&session->members, &member->of_session);
    cn_metrics_add(CN_M_MEMBERS, 1);
    if (cn_channel_name_kind(name) == CN_CHANNEL_ROOM)
        session->rooms++;
    err = cn_recovery_new(member, order);
    if (err)
        cn_member_leave(member);
    return err;
}

void cn_member_leave(struct cn_member *member)
{
    struct cn_session *session = member->session;
    struct cn_feed *feed = member->feed;
    if (cn_channel_text_kind(feed->by_name.key) == CN_CHANNEL_ROOM)
        session->rooms--;
    cn_feed_remove(feed, member);
    cn_list_remove(&member->of_session);
    cn_list_remove(&member->lagging);
    cn_member_set_behind(member, false);
    cn_recovery_free(member->recovery);
    free(member);
    cn_metrics_add(CN_M_MEMBERS, -1);
    if (feed->count == 0)
        close_feed(session->loop, feed);
}

// ---- Commands ----

// A membership gives way to another request for the same room.
static void supersede(struct cn_member *member)
{
    cn_recovery_supersede(member);
    cn_member_leave(member);
}

void cmd_join(struct cn_session *session, const struct cn_request *request)
{
    const struct cn_config *config = session->loop->hub->config;
    struct cn_channel_name channel = cn_request_room(session, request);
    struct cn_member *member = cn_member_find(session, &channel);
    // Joining again with a position is a resume: the old membership gives way.
    if (member)
        supersede(member);
    if (session->rooms >= config->max_rooms) {
        cn_session_problem(session, CN_PROBLEM_TOO_MANY_ROOMS, request->id);
        return;
    }
    struct cn_recovery_order order = {
        .has_since = request->has_since, .since = request->since, .id = request->id};
    cn_pass_temper(session, cn_channel_name_bare(&channel), &order);
    enum cn_err err = cn_member_join(session, &channel, &order);
    if (err)
        cn_session_problem(session, cn_problem_of(err), request->id);
}

void cmd_leave(struct cn_session *session, const struct cn_request *request)
{
    struct cn_channel_name channel = cn_request_room(session, request);
    struct cn_member *member = cn_member_find(session, &channel);
    if (!member) {
        cn_session_problem(session, CN_PROBLEM_NOT_JOINED, request->id);
        return;
    }
    supersede(member);
    cn_session_answer(session, cn_codec_left(&session->loop->text, cn_channel_name_bare(&channel),
                                             request->id, (struct cn_str){NULL, 0}));
}
