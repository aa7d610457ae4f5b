// SPDX-License-Identifier: MIT
// A feed: one loop's share of a channel.
#include "chatnode/feed.h"

#include <stdlib.h>
#include <string.h>

struct cn_feed *cn_feed_new(const struct cn_channel_name *name, const struct cn_feed_bounds *bounds)
{
    struct cn_feed *feed = calloc(1, sizeof(*feed) + name->len);
    if (!feed)
        return NULL;
    memcpy(feed->name, name->text, name->len);
    feed->by_name.key = (struct cn_str){feed->name, name->len};
    feed->members = feed->first;
    feed->cap = CN_COUNT(feed->first);
    cn_list_init(&feed->turn);
    cn_list_init(&feed->ahead);
    cn_list_init(&feed->shelf);
    cn_list_init(&feed->queue);
    cn_ring_init(&feed->ring, bounds->ring_frames, bounds->ring_bytes, (struct cn_pos){0, 0});
    return feed;
}

void cn_feed_free(struct cn_feed *feed)
{
    if (!feed)
        return;
    CN_ASSERT(feed->count == 0);
    CN_ASSERT(cn_list_is_empty(&feed->shelf));
    cn_list_remove(&feed->turn);
    cn_ring_fini(&feed->ring);
    if (feed->members != feed->first)
        free(feed->members);
    free(feed);
}

void cn_feed_open(struct cn_feed *feed, struct cn_pos tail)
{
    CN_ASSERT(feed->state == CN_FEED_OPENING);
    feed->state = CN_FEED_LIVE;
    feed->tail = tail;
    feed->flushed_pos = tail;
    feed->ring.floor = tail;
}

void cn_feed_close(struct cn_feed *feed)
{
    CN_ASSERT(feed->state != CN_FEED_CLOSING);
    feed->state = CN_FEED_CLOSING;
    cn_list_remove(&feed->turn);
    cn_ring_fini(&feed->ring);
    cn_ring_init(&feed->ring, feed->ring.max_frames, feed->ring.max_bytes, (struct cn_pos){0, 0});
    feed->cursor = 0;
    feed->flushed = feed->pass_end = 0;
}

// Most feeds are an inbox's and have one member: it needs no table.
static enum cn_err make_room(struct cn_feed *feed)
{
    if (feed->count < feed->cap)
        return CN_OK;
    uint32_t cap = feed->cap * 2;
    struct cn_member **old = feed->members == feed->first ? NULL : feed->members;
    struct cn_member **members = realloc(old, cap * sizeof(struct cn_member *));
    if (!members)
        return CN_NOMEM;
    if (!old)
        memcpy(members, feed->first, sizeof(feed->first));
    feed->members = members;
    feed->cap = cap;
    return CN_OK;
}

static void place(struct cn_feed *feed, struct cn_member *member, uint32_t index)
{
    feed->members[index] = member;
    member->index = index;
}

enum cn_err cn_feed_add(struct cn_feed *feed, struct cn_member *member)
{
    enum cn_err err = make_room(feed);
    if (err)
        return err;
    cn_list_init(&member->of_session);
    cn_list_init(&member->lagging);
    member->feed = feed;
    member->state = CN_MEMBER_WAITING;
    place(feed, member, feed->count++);
    return CN_OK;
}

void cn_feed_remove(struct cn_feed *feed, struct cn_member *member)
{
    CN_ASSERT(feed->members[member->index] == member);
    uint32_t hole = member->index;
    // A member that the pass under way has not met yet must not move to where it has been.
    if (hole < feed->cursor) {
        feed->cursor--;
        place(feed, feed->members[feed->cursor], hole);
        hole = feed->cursor;
    }
    feed->count--;
    if (hole < feed->count)
        place(feed, feed->members[feed->count], hole);
    member->feed = NULL;
}
