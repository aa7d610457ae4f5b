// SPDX-License-Identifier: MIT
// Main's table of channels: which loops have members in each, and the way of entries to them.
// Nothing here is shared: loops ask by letter and are told by letter.
#include <stdlib.h>
#include <string.h>

#include "chatnode/frame.h"
#include "chatnode/log.h"
#include "hub_private.h"

enum {
    MISSED_RETRY_MS = 50,
    LETTERS_KEPT = 1024, // by main
};

// A channel that at least one loop follows. Main thread.
struct cn_channel {
    struct cn_hash_node by_name; // its key is the name
    struct cn_link missed;       // in the hub's list while missed_loops is not 0
    uint64_t loops;              // bit i: loop i follows it
    uint64_t missed_loops;       // bit i: loop i's mailbox was full, it must be told what it missed
    struct cn_pos tail;          // the newest position told
    bool open;                   // the bus has said where it begins
    char name[];                 // of by_name.key
};

// ---- Letters to a loop about one of its feeds ----

enum feed_news { NEWS_OPEN, NEWS_ENTRY, NEWS_RESET, NEWS_SKIP, NEWS_CLOSED };

struct feed_letter {
    struct cn_letter letter;
    enum feed_news news;
    struct cn_pos tail;
    struct cn_frame *frame; // ENTRY and RESET; a reference
    struct cn_pool *pool;   // main's, where its memory goes in the end; NULL: made by a loop
    struct cn_channel_name name;
};

void cn_channel_pool_init(struct cn_pool *pool)
{
    cn_pool_init(pool, sizeof(struct feed_letter), LETTERS_KEPT);
}

static struct feed_letter *feed_letter_of(struct cn_mail *mail)
{
    return CN_CONTAINER(CN_CONTAINER(mail, struct cn_letter, mail), struct feed_letter, letter);
}

static void free_feed_letter(struct cn_mail *mail)
{
    struct feed_letter *letter = feed_letter_of(mail);
    cn_frame_release(letter->frame);
    if (letter->pool)
        cn_pool_return(letter->pool, letter, sizeof(*letter));
    else
        free(letter);
}

static void begin_members(struct cn_feed *feed)
{
    for (uint32_t i = feed->count; i > 0; i--)
        if (feed->members[i - 1]->state == CN_MEMBER_WAITING)
            cn_recovery_begin(feed->members[i - 1]);
}

// SKIP stands for an OPEN that found no memory.
static bool begins(enum feed_news news)
{
    return news == NEWS_OPEN || news == NEWS_SKIP;
}

static void tell_live(struct cn_loop *loop, struct cn_feed *feed, const struct feed_letter *letter)
{
    if (letter->news == NEWS_ENTRY)
        cn_fanout_append(loop, feed, letter->frame);
    else if (letter->news == NEWS_RESET)
        cn_fanout_reset(loop, feed, letter->tail, letter->frame);
    else if (letter->news == NEWS_SKIP)
        cn_fanout_skip(loop, feed, letter->tail);
}

// Runs on the loop's thread.
static void read_feed_letter(struct cn_letter *mail, struct cn_loop *loop)
{
    struct feed_letter *letter = CN_CONTAINER(mail, struct feed_letter, letter);
    struct cn_feed *feed = cn_feed_find(loop, &letter->name);
    if (feed && letter->news == NEWS_CLOSED) {
        cn_feed_on_closed(loop, feed);
    } else if (feed && feed->state == CN_FEED_OPENING && begins(letter->news)) {
        cn_feed_open(feed, letter->tail);
        begin_members(feed);
    } else if (feed && feed->state == CN_FEED_LIVE) {
        tell_live(loop, feed, letter);
    }
    free_feed_letter(&mail->mail);
}

// In memory of main's pool, or of its own without one; NULL without memory.
static struct feed_letter *feed_letter_new(struct cn_pool *pool, struct cn_str name,
                                           enum feed_news news, struct cn_pos tail)
{
    size_t bytes = sizeof(struct feed_letter);
    struct feed_letter *letter = pool ? cn_pool_take(pool, bytes) : malloc(bytes);
    if (!letter)
        return NULL;
    *letter = (struct feed_letter){.letter = {{NULL, free_feed_letter}, read_feed_letter},
                                   .news = news,
                                   .tail = tail,
                                   .pool = pool,
                                   .name = cn_channel_name_of(name)};
    return letter;
}

// Something is about to be postponed. What waits already has its time, which more of it must not
// put off.
static void retry_later(struct cn_hub *hub)
{
    if (cn_list_is_empty(&hub->missed) && cn_list_is_empty(&hub->postponed))
        cn_timer_start(hub->missed_timer, MISSED_RETRY_MS);
}

// The loop must be told by SKIP where to go on.
static void mark_missed(struct cn_hub *hub, struct cn_channel *channel, unsigned index)
{
    channel->missed_loops |= UINT64_C(1) << index;
    retry_later(hub);
    if (!cn_list_is_linked(&channel->missed))
        cn_list_push_back(&hub->missed, &channel->missed);
    cn_metrics_add(CN_M_MAILBOX_FULL_LOOP, 1);
}

// Tells something that must arrive; without memory the loop is told later by SKIP.
static void tell_always(struct cn_hub *hub, struct cn_channel *channel, unsigned index,
                        enum feed_news news, struct cn_frame *frame)
{
    struct feed_letter *letter =
        feed_letter_new(&hub->letters, channel->by_name.key, news, channel->tail);
    if (!letter) {
        mark_missed(hub, channel, index);
        return;
    }
    letter->frame = frame ? cn_frame_hold(frame) : NULL;
    cn_loop_post_always(hub->loops[index], &letter->letter);
}

static bool tell_entry(struct cn_hub *hub, struct cn_channel *channel, unsigned index,
                       enum feed_news news, struct cn_frame *frame)
{
    struct feed_letter *letter =
        feed_letter_new(&hub->letters, channel->by_name.key, news, channel->tail);
    if (!letter)
        return false;
    letter->frame = frame ? cn_frame_hold(frame) : NULL;
    if (!cn_loop_post(hub->loops[index], &letter->letter))
        return true;
    free_feed_letter(&letter->letter.mail);
    return false;
}

// ---- The table ----

static struct cn_channel *find_channel(struct cn_hub *hub, const struct cn_channel_name *name)
{
    struct cn_hash_node *node = cn_hash_find(&hub->channels, cn_channel_name_str(name));
    return node ? CN_CONTAINER(node, struct cn_channel, by_name) : NULL;
}

static struct cn_channel *add_channel(struct cn_hub *hub, const struct cn_channel_name *name)
{
    struct cn_channel *channel = calloc(1, sizeof(*channel) + name->len);
    if (!channel)
        return NULL;
    memcpy(channel->name, name->text, name->len);
    channel->by_name.key = (struct cn_str){channel->name, name->len};
    cn_list_init(&channel->missed);
    if (cn_hash_insert(&hub->channels, &channel->by_name)) {
        free(channel);
        return NULL;
    }
    cn_supervisor_note_growth(hub); // a session comes with its inbox
    cn_metrics_add(CN_M_CHANNELS, 1);
    return channel;
}

static void free_channel(struct cn_hub *hub, struct cn_channel *channel)
{
    cn_hash_remove(&hub->channels, &channel->by_name);
    cn_list_remove(&channel->missed);
    free(channel);
    cn_metrics_add(CN_M_CHANNELS, -1);
}

// ---- Asks of the loops ----

struct follow_ask {
    struct cn_ask ask;
    struct cn_channel_name name;
    unsigned index;
    struct feed_letter *closed; // the answer to CN_FOLLOW_NO_LONGER, which must not fail; else NULL
    struct cn_link postponed;   // in the hub's list while there is no memory to follow the channel
};

// As soon as there is one, the bus may tell of the channel.
static struct cn_channel *begin_channel(struct cn_hub *hub, const struct follow_ask *ask)
{
    struct cn_channel *channel = add_channel(hub, &ask->name);
    if (!channel)
        return NULL;
    channel->loops = UINT64_C(1) << ask->index;
    if (!cn_bus_subscribe(hub->bus, &ask->name))
        return channel;
    free_channel(hub, channel);
    return NULL;
}

static enum cn_err follow(struct cn_hub *hub, const struct follow_ask *ask)
{
    struct cn_channel *channel = find_channel(hub, &ask->name);
    if (!channel)
        return begin_channel(hub, ask) ? CN_OK : CN_NOMEM;
    channel->loops |= UINT64_C(1) << ask->index;
    if (channel->open)
        tell_always(hub, channel, ask->index, NEWS_OPEN, NULL);
    return CN_OK;
}

// Without memory: the feed stays closed until the next try.
static void postpone(struct cn_hub *hub, struct follow_ask *ask)
{
    CN_LOG(ERROR, "channel.nomem", "out of memory for a channel; it is tried again");
    retry_later(hub);
    cn_list_push_back(&hub->postponed, &ask->postponed);
}

static void forget_postponed(struct cn_hub *hub, const struct follow_ask *ask)
{
    CN_LIST_EACH_SAFE (link, &hub->postponed) {
        struct follow_ask *other = CN_CONTAINER(link, struct follow_ask, postponed);
        if (other->index != ask->index ||
            !cn_str_equal(cn_channel_name_str(&other->name), cn_channel_name_str(&ask->name)))
            continue;
        cn_list_remove(link);
        free(other);
    }
}

void cn_channels_free(struct cn_hub *hub)
{
    struct cn_link *link;
    while ((link = cn_list_pop_front(&hub->postponed)))
        free(CN_CONTAINER(link, struct follow_ask, postponed));
    CN_HASH_EACH (node, &hub->channels)
        free_channel(hub, CN_CONTAINER(node, struct cn_channel, by_name));
    cn_hash_fini(&hub->channels);
}

// True when nothing is postponed any more.
static bool retry_postponed(struct cn_hub *hub)
{
    CN_LIST_EACH_SAFE (link, &hub->postponed) {
        struct follow_ask *ask = CN_CONTAINER(link, struct follow_ask, postponed);
        if (follow(hub, ask))
            return false;
        cn_list_remove(link);
        free(ask);
    }
    return true;
}

static void unfollow(struct cn_hub *hub, struct follow_ask *ask)
{
    cn_loop_post_always(hub->loops[ask->index], &ask->closed->letter);
    ask->closed = NULL;
    forget_postponed(hub, ask);
    struct cn_channel *channel = find_channel(hub, &ask->name);
    if (!channel)
        return;
    channel->loops &= ~(UINT64_C(1) << ask->index);
    channel->missed_loops &= channel->loops;
    if (channel->missed_loops == 0)
        cn_list_remove(&channel->missed);
    if (channel->loops)
        return;
    cn_bus_unsubscribe(hub->bus, &ask->name);
    free_channel(hub, channel);
}

static void free_follow_ask(struct cn_mail *mail)
{
    struct follow_ask *ask = CN_CONTAINER(mail, struct follow_ask, ask.mail);
    if (ask->closed)
        free_feed_letter(&ask->closed->letter.mail);
    free(ask);
}

static void read_follow_ask(struct cn_ask *mail, struct cn_hub *hub)
{
    struct follow_ask *ask = CN_CONTAINER(mail, struct follow_ask, ask);
    if (ask->closed) {
        unfollow(hub, ask);
    } else if (follow(hub, ask)) {
        postpone(hub, ask);
        return;
    }
    free(ask);
}

enum cn_err cn_channel_ask(struct cn_loop *loop, const struct cn_channel_name *name,
                           enum cn_follow how)
{
    struct follow_ask *ask = malloc(sizeof(*ask));
    if (!ask)
        return CN_NOMEM;
    *ask = (struct follow_ask){
        .ask = {{NULL, free_follow_ask}, read_follow_ask}, .name = *name, .index = loop->index};
    cn_list_init(&ask->postponed);
    enum cn_err err = CN_OK;
    if (how == CN_FOLLOW_NO_LONGER) {
        ask->closed =
            feed_letter_new(NULL, cn_channel_name_str(name), NEWS_CLOSED, (struct cn_pos){0, 0});
        err = ask->closed ? CN_OK : CN_NOMEM;
    }
    if (!err && how == CN_FOLLOW_IF_ROOM)
        err = cn_mailbox_put(&loop->hub->asks, &ask->ask.mail);
    else if (!err)
        cn_mailbox_put_always(&loop->hub->asks, &ask->ask.mail);
    if (err)
        free_follow_ask(&ask->ask.mail);
    else
        cn_loop_has_asked(loop);
    return err;
}

// ---- What the bus tells ----

void cn_channel_on_open(void *arg, const struct cn_channel_name *name, struct cn_pos tail)
{
    struct cn_hub *hub = arg;
    struct cn_channel *channel = find_channel(hub, name);
    if (!channel || channel->open)
        return;
    channel->open = true;
    channel->tail = tail;
    for (unsigned i = 0; i < hub->loop_count; i++)
        if (channel->loops & (UINT64_C(1) << i))
            tell_always(hub, channel, i, NEWS_OPEN, NULL);
}

// Tells a loop that had no room where to go on. True when it knows now.
static bool tell_missed(struct cn_hub *hub, struct cn_channel *channel, unsigned index)
{
    if (!tell_entry(hub, channel, index, NEWS_SKIP, NULL))
        return false;
    channel->missed_loops &= ~(UINT64_C(1) << index);
    if (channel->missed_loops == 0)
        cn_list_remove(&channel->missed);
    return true;
}

void cn_channel_on_entry(void *arg, const struct cn_channel_name *name, struct cn_pos pos,
                         struct cn_str text)
{
    struct cn_hub *hub = arg;
    struct cn_channel *channel = find_channel(hub, name);
    if (!channel || !channel->open)
        return;
    cn_metrics_add(CN_M_ENTRIES, 1);
    cn_heap_flow_note(&hub->flow, text.len);
    channel->tail = pos;
    struct cn_frame *frame = cn_frame_new_in(&hub->frames, pos, text);
    for (unsigned i = 0; i < hub->loop_count; i++) {
        uint64_t bit = UINT64_C(1) << i;
        if (!(channel->loops & bit) || (channel->missed_loops & bit))
            continue;
        if (!frame || !tell_entry(hub, channel, i, NEWS_ENTRY, frame))
            mark_missed(hub, channel, i);
    }
    cn_frame_release(frame);
}

void cn_channel_retry_missed(void *arg)
{
    struct cn_hub *hub = arg;
    CN_LIST_EACH_SAFE (link, &hub->missed) {
        struct cn_channel *channel = CN_CONTAINER(link, struct cn_channel, missed);
        for (unsigned i = 0; i < hub->loop_count; i++)
            if ((channel->missed_loops & (UINT64_C(1) << i)) && !tell_missed(hub, channel, i))
                break;
    }
    bool done = retry_postponed(hub);
    if (!done || !cn_list_is_empty(&hub->missed))
        cn_timer_start(hub->missed_timer, MISSED_RETRY_MS);
}

static struct cn_frame *make_gap(const struct cn_channel_name *name)
{
    struct cn_buf text;
    cn_buf_init(&text, 1024);
    struct cn_str room = cn_channel_name_bare(name);
    if (cn_channel_name_kind(name) == CN_CHANNEL_INBOX)
        room = (struct cn_str){NULL, 0};
    struct cn_frame *frame = NULL;
    if (!cn_codec_gap_reset(&text, room))
        frame = cn_frame_new((struct cn_pos){0, 0}, cn_buf_str(&text), (struct cn_str){NULL, 0});
    cn_buf_fini(&text);
    return frame;
}

void cn_channel_on_reset(void *arg, const struct cn_channel_name *name, struct cn_pos tail)
{
    struct cn_hub *hub = arg;
    struct cn_channel *channel = find_channel(hub, name);
    if (!channel || !channel->open)
        return;
    cn_metrics_add(CN_M_BUS_RESETS, 1);
    CN_LOG(WARN, "channel.reset", "continuity of a channel is lost; its members are told",
           CN_F_VIEW("channel", cn_channel_name_str(name)));
    channel->tail = tail;
    struct cn_frame *frame = make_gap(name);
    for (unsigned i = 0; i < hub->loop_count; i++) {
        if (!(channel->loops & (UINT64_C(1) << i)))
            continue;
        if (frame)
            tell_always(hub, channel, i, NEWS_RESET, frame);
        else
            mark_missed(hub, channel, i);
    }
    cn_frame_release(frame);
}
