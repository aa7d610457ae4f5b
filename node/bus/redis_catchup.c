// SPDX-License-Identifier: MIT
// Continuity of a subscribed channel. After each SUBSCRIBE, and at each hole, the log is read from
// the last position told; live messages are held meanwhile and merged by position afterwards.
#include <stdlib.h>
#include <string.h>

#include "redis_private.h"

#include "chatnode/log.h"

#define IN_FLIGHT_MAX 64
#define PAGE_ENTRIES  128

// A read under way; `channel` is NULL when nobody waits for it any more.
struct cn_redis_flight {
    struct cn_redis_bus *redis;
    struct cn_redis_channel *channel;
};

// ---- Held messages ----

static struct cn_redis_held *take_oldest(struct cn_redis_channel *channel)
{
    struct cn_redis_held *held = channel->oldest;
    channel->oldest = held->next;
    if (channel->oldest == NULL)
        channel->newest = NULL;
    channel->held--;
    if (channel->held_before_read > 0)
        channel->held_before_read--;
    return held;
}

static void drop_oldest(struct cn_redis_channel *channel)
{
    free(take_oldest(channel));
}

static void drop_all(struct cn_redis_channel *channel)
{
    while (channel->oldest)
        drop_oldest(channel);
}

// Keeps the message until the channel was read. Without room for it all are dropped, and the
// channel is read once more: they are in its log.
static void hold(struct cn_redis_bus *redis, struct cn_redis_channel *channel, struct cn_pos pos,
                 struct cn_str text)
{
    struct cn_redis_held *held = NULL;
    if (channel->held < redis->base.options.held_messages)
        held = malloc(sizeof(*held) + text.len);
    if (held == NULL) {
        redis->base.stats.overflows++;
        drop_all(channel);
        channel->again = true;
        return;
    }
    *held = (struct cn_redis_held){.pos = pos, .len = text.len};
    memcpy(held->text, text.ptr, text.len);
    if (channel->newest)
        channel->newest->next = held;
    else
        channel->oldest = held;
    channel->newest = held;
    channel->held++;
}

// ---- Telling ----

// Tells one entry; false when the subscription ended in the callback.
static bool tell(struct cn_redis_bus *redis, struct cn_redis_channel *channel, struct cn_pos pos,
                 struct cn_str text)
{
    const struct cn_bus_events *events = &redis->base.events;
    const struct cn_channel_name name = cn_redis_channel_name(channel);
    uint32_t epoch = channel->epoch;
    channel->last = pos;
    events->on_entry(events->arg, &name, pos, text);
    return channel->epoch == epoch;
}

// Tells the position from which entries come, by on_open or by on_reset.
static bool tell_tail(struct cn_redis_bus *redis, struct cn_redis_channel *channel,
                      struct cn_pos tail)
{
    const struct cn_bus_events *events = &redis->base.events;
    const struct cn_channel_name name = cn_redis_channel_name(channel);
    uint32_t epoch = channel->epoch;
    channel->last = tail;
    if (channel->opened) {
        redis->base.stats.resets++;
        events->on_reset(events->arg, &name, tail);
    } else {
        channel->opened = true;
        events->on_open(events->arg, &name, tail);
    }
    return channel->epoch == epoch;
}

static bool tell_page(struct cn_redis_bus *redis, struct cn_redis_channel *channel,
                      const struct cn_redis_page *page)
{
    for (size_t i = 0; i < page->page.count; i++) {
        const struct cn_entry *entry = &page->page.entries[i];
        if (cn_pos_compare(entry->pos, channel->last) <= 0)
            continue;
        redis->base.stats.injected++;
        if (!tell(redis, channel, entry->pos, entry->text))
            return false;
    }
    if (cn_pos_compare(page->end, channel->last) > 0)
        channel->last = page->end; // what stood at the end was left out
    return true;
}

// ---- Reading ----

static void wait_for_turn(struct cn_link *list, struct cn_redis_channel *channel)
{
    cn_list_remove(&channel->turn);
    cn_list_push_back(list, &channel->turn);
}

void cn_redis_catchup_begin(struct cn_redis_bus *redis, struct cn_redis_channel *channel)
{
    channel->live = false;
    if (channel->flight) {
        channel->again = true;
        return;
    }
    redis->base.stats.catch_ups++;
    wait_for_turn(&redis->subs.reads, channel);
    cn_redis_catchup_pump(redis);
}

void cn_redis_catchup_cancel(struct cn_redis_channel *channel)
{
    if (channel->flight)
        channel->flight->channel = NULL;
    channel->flight = NULL;
    channel->live = channel->again = false;
    cn_list_remove(&channel->turn);
    drop_all(channel);
}

void cn_redis_catchup_retry(struct cn_redis_bus *redis)
{
    struct cn_link *link;
    while ((link = cn_list_pop_front(&redis->subs.later)) != NULL)
        cn_list_push_back(&redis->subs.reads, link);
    cn_redis_catchup_pump(redis);
}

// Messages held when the read was sent were in the log before it. Those that the read did not
// bring are in no log: it was lost since, or a stranger published them.
static void drop_unstored(struct cn_redis_bus *redis, struct cn_redis_channel *channel)
{
    while (channel->held_before_read > 0) {
        if (cn_pos_compare(channel->oldest->pos, channel->last) <= 0)
            redis->base.stats.duplicates++;
        else
            cn_redis_bus_drop(redis, channel->node.key, CN_SEAL_FAULT_UNSTORED, 1);
        drop_oldest(channel);
    }
}

// Tells the oldest held message; false when the subscription ended in the callback.
static bool tell_oldest(struct cn_redis_bus *redis, struct cn_redis_channel *channel)
{
    struct cn_redis_held *held = take_oldest(channel);
    bool goes_on = tell(redis, channel, held->pos, (struct cn_str){held->text, held->len});
    free(held);
    return goes_on;
}

// Tells what was held and follows; from the first hole on it is read again.
static void release_held(struct cn_redis_bus *redis, struct cn_redis_channel *channel)
{
    while (channel->oldest) {
        struct cn_pos pos = channel->oldest->pos;
        if (cn_pos_compare(pos, channel->last) <= 0) {
            redis->base.stats.duplicates++;
            drop_oldest(channel);
        } else if (!cn_pos_follows(pos, channel->last)) {
            cn_redis_catchup_begin(redis, channel);
            return;
        } else if (!tell_oldest(redis, channel)) {
            return;
        }
    }
    channel->live = true;
}

static struct cn_pos before(struct cn_pos pos)
{
    return pos.seq > 0 ? (struct cn_pos){pos.gen, pos.seq - 1} : (struct cn_pos){0, 0};
}

// The position from which a channel goes on whose continuity is lost: before what its log still has
// after the last entry told, else before the messages at hand, else at the end of the log.
static struct cn_pos restart_of(struct cn_redis_channel *channel, const struct cn_page *page)
{
    if (page->count > 0)
        return before(page->entries[0].pos);
    while (channel->oldest && cn_pos_compare(channel->oldest->pos, channel->last) <= 0)
        drop_oldest(channel);
    if (!channel->oldest)
        return page->tail;
    channel->held_before_read = 0;
    return before(channel->oldest->pos);
}

// One page came for the channel: an opening, a continuation, or the proof that there is none.
static void take_page(struct cn_redis_bus *redis, struct cn_redis_channel *channel,
                      const struct cn_redis_page *page)
{
    if (!channel->opened) {
        if (!tell_tail(redis, channel, page->page.tail))
            return;
    } else {
        if (!page->page.exact && !tell_tail(redis, channel, restart_of(channel, &page->page)))
            return;
        if (!tell_page(redis, channel, page))
            return;
        if (page->page.more) {
            cn_list_push_front(&redis->subs.reads, &channel->turn);
            return;
        }
    }
    drop_unstored(redis, channel);
    if (channel->again)
        cn_redis_catchup_begin(redis, channel);
    else
        release_held(redis, channel);
}

static void take_answer(struct cn_redis_bus *redis, struct cn_redis_channel *channel,
                        const redisReply *reply)
{
    struct cn_redis_page page;
    const struct cn_channel_name name = cn_redis_channel_name(channel);
    enum cn_err err = cn_redis_bus_read_page(redis, reply, &name, false, &page);
    if (err != CN_OK) {
        cn_redis_bus_warn(redis, "bus.catch_up", "a channel could not be read; trying again",
                          cn_err_str(err));
        wait_for_turn(&redis->subs.later, channel);
        return;
    }
    take_page(redis, channel, &page);
    cn_redis_page_fini(&page);
}

static void on_page(redisAsyncContext *ac, void *reply, void *arg)
{
    (void)ac;
    struct cn_redis_flight *flight = arg;
    struct cn_redis_bus *redis = flight->redis;
    struct cn_redis_channel *channel = flight->channel;
    free(flight);
    redis->subs.in_flight--;
    if (channel)
        channel->flight = NULL;
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(reply);
    if (channel && outcome == CN_REDIS_DONE)
        take_answer(redis, channel, reply);
    else if (channel)
        wait_for_turn(outcome == CN_REDIS_REFUSED ? &redis->subs.later : &redis->subs.reads,
                      channel);
    cn_redis_bus_heed(redis, outcome, reply);
    if (outcome != CN_REDIS_LOST)
        cn_redis_catchup_pump(redis);
}

static bool send_read(struct cn_redis_bus *redis, struct cn_redis_channel *channel)
{
    struct cn_redis_flight *flight = malloc(sizeof(*flight));
    if (flight == NULL)
        return false;
    *flight = (struct cn_redis_flight){redis, channel};
    const struct cn_channel_name name = cn_redis_channel_name(channel);
    if (!cn_redis_bus_send_read(redis, on_page, flight, &name, channel->opened ? "after" : "tail",
                                channel->last, PAGE_ENTRIES)) {
        free(flight);
        return false;
    }
    channel->flight = flight;
    channel->held_before_read = channel->held;
    channel->again = false;
    redis->subs.in_flight++;
    return true;
}

void cn_redis_catchup_pump(struct cn_redis_bus *redis)
{
    struct cn_redis_subs *subs = &redis->subs;
    while (subs->in_flight < IN_FLIGHT_MAX && cn_redis_bus_can_send(redis)) {
        struct cn_link *link = cn_list_pop_front(&subs->reads);
        if (link == NULL)
            return;
        if (send_read(redis, CN_CONTAINER(link, struct cn_redis_channel, turn)))
            continue;
        cn_list_push_front(&subs->reads, link);
        cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
        return;
    }
}

// ---- Live messages ----

void cn_redis_catchup_live(struct cn_redis_bus *redis, struct cn_redis_channel *channel,
                           struct cn_pos pos, struct cn_str text)
{
    if (!channel->live) {
        hold(redis, channel, pos, text);
    } else if (cn_pos_follows(pos, channel->last)) {
        (void)tell(redis, channel, pos, text);
    } else if (pos.gen == channel->last.gen && pos.seq <= channel->last.seq) {
        redis->base.stats.duplicates++;
    } else {
        // A hole, a new generation, or one that is older than what was told: the log decides.
        hold(redis, channel, pos, text);
        cn_redis_catchup_begin(redis, channel);
    }
}
