// SPDX-License-Identifier: MIT
// The fan-out: from the bus's entry to every member's socket, with nothing allocated, parsed,
// copied or locked per receiver.
//
//   the bus       cn_channel_on_entry   one frame for all receivers, a letter to each loop with
//                                       members (a loop is woken only when its mailbox was empty)
//   loop's turn   cn_loop_turn          reads all letters
//                 cn_fanout_append      the frame goes into the feed's ring
//                 cn_fanout_flush       paced: a busy loop lets frames gather (pace.h)
//                 pass                  joins the new frames once: the span
//                 give                  one write of the span to each member that keeps up
//                 cn_session_write      -> the sink -> the socket
//   full socket   cn_fanout_lag         the member is only marked, with its position
//   writable      cn_session_writable   -> cn_fanout_serve: on from the ring, or, fallen off it,
//                                       from the log (cn_recovery_fall)
#include <stdlib.h>

#include "chatnode/clock.h"
#include "hub_private.h"

enum {
    SLICE_MEMBERS = 2000, // are served before the loop looks after its other sockets again
    WARM_S = 60,          // how long a silent feed's ring keeps its frames
    HOLD_WORTH_US = 500,  // a flush that takes less is not worth holding back
    HOLD_US = 1000,       // at most
};

// ---- Members that keep up ----

// Gives the span of the pass under way to one member; true when it was written.
static bool give(struct cn_feed *feed, struct cn_member *member, struct cn_str span)
{
    if (member->state != CN_MEMBER_LIVE || member->next >= feed->pass_end)
        return false;
    // One that joined in the midst of the span, or is behind already, is served on its own.
    bool keeps_up = member->next == feed->flushed;
    if (keeps_up && cn_session_write_after_answers(member->session, span)) {
        member->next = feed->pass_end;
        return true;
    }
    if (keeps_up)
        member->pos = feed->flushed_pos;
    cn_fanout_lag(member);
    return false;
}

// Has the memory of the next members on its way while the kernel is busy with this one: with
// thousands of members it is in no near cache, and each step of the way to the socket would wait.
// Inline in any case: GCC takes a function that only prefetches for one without effect.
static inline __attribute__((always_inline)) void look_ahead(struct cn_member *const *at,
                                                             uint32_t left)
{
    if (left <= 4)
        return;
    // The first and the last field that the fan-out looks at: they may be in two cache lines.
    __builtin_prefetch(&at[4]->session);
    __builtin_prefetch(&at[4]->state);
    __builtin_prefetch(&at[3]->session->loop);
    __builtin_prefetch(&at[3]->session->choked);
    __builtin_prefetch(at[2]->session->sink);
}

// Goes on with the pass under way, or begins one, for at most `limit` members; true when every
// member has been met.
static bool pass(struct cn_loop *loop, struct cn_feed *feed, uint32_t limit)
{
    bool begins = feed->pass_end == feed->flushed;
    struct cn_span span = {.pos = feed->flushed_pos};
    cn_ring_span(&feed->ring, feed->flushed, begins ? feed->ring.next : feed->pass_end, &loop->span,
                 &span);
    if (begins)
        feed->has_more = span.end < feed->ring.next;
    feed->pass_end = span.end;
    uint32_t stop = feed->count - feed->cursor > limit ? feed->cursor + limit : feed->count;
    int64_t written = 0;
    for (; feed->cursor < stop; feed->cursor++) {
        look_ahead(feed->members + feed->cursor, stop - feed->cursor);
        written += give(feed, feed->members[feed->cursor], span.bytes);
    }
    int64_t frames = written * (int64_t)(span.end - feed->flushed);
    cn_pace_carried(&loop->pace, frames, written);
    cn_metrics_add(CN_M_DELIVERED, frames);
    if (feed->cursor < feed->count)
        return false;
    cn_metrics_add(CN_M_FLUSHES, 1);
    feed->cursor = 0;
    feed->flushed = feed->pass_end;
    feed->flushed_pos = span.pos;
    return true;
}

static bool is_flushed(const struct cn_feed *feed)
{
    return feed->flushed == feed->ring.next;
}

// Everything is flushed.
static void rest(struct cn_loop *loop, struct cn_feed *feed)
{
    cn_list_remove(&feed->turn);
    cn_list_push_back(&loop->warm, &feed->turn);
    feed->warm_s = (uint32_t)(cn_loop_alive_ms(loop) / 1000);
}

static void flush_all(struct cn_loop *loop, struct cn_feed *feed)
{
    while (!is_flushed(feed))
        (void)pass(loop, feed, UINT32_MAX);
    rest(loop, feed);
}

// Timers are in ms: what is below half of one is no wait.
static int64_t wait_ms(struct cn_loop *loop, int64_t now_us)
{
    return (cn_pace_wait_us(&loop->pace, now_us) + 500) / 1000;
}

// Behind the others, since a busy feed must not keep them waiting: in this flush, or, when it has
// had its pass and something came meanwhile, in the next one.
static void requeue(struct cn_loop *loop, struct cn_feed *feed, bool has_had_its_pass)
{
    bool waits = has_had_its_pass && !is_flushed(feed);
    cn_list_remove(&feed->turn);
    cn_list_push_back(waits ? &loop->next : &loop->pending, &feed->turn);
}

// Serves at most SLICE_MEMBERS members; true when nothing is pending.
static bool flush_slice(struct cn_loop *loop)
{
    uint32_t served = 0;
    while (!cn_list_is_empty(&loop->pending)) {
        struct cn_feed *feed = CN_CONTAINER(loop->pending.next, struct cn_feed, turn);
        if (is_flushed(feed)) {
            rest(loop, feed);
            continue;
        }
        if (served >= SLICE_MEMBERS)
            return false;
        served += feed->count + 1;
        bool done = pass(loop, feed, SLICE_MEMBERS);
        requeue(loop, feed, done && !feed->has_more);
    }
    return true;
}

// A flush is over: in how many ms the next one is due, -1 when nothing is pending.
static int64_t plan_next(struct cn_loop *loop)
{
    struct cn_link *link;
    while ((link = cn_list_pop_front(&loop->next)))
        cn_list_push_back(&loop->pending, link);
    return cn_list_is_empty(&loop->pending) ? -1 : wait_ms(loop, cn_clock_us());
}

static bool is_worth_holding(const struct cn_loop *loop, int64_t now_us)
{
    return loop->pace.max_us > 0 && !loop->pace.begun && loop->pace.took_us >= HOLD_WORTH_US &&
           (!loop->held_us || now_us - loop->held_us < HOLD_US);
}

// A long flush takes along what is about to come anyway, rather than leave it to the next one: what
// the sockets have received, and what main is to answer this loop's sessions in a moment. Whoever
// sends many messages at once is read in parts.
static bool hold_back(struct cn_loop *loop, int64_t now_us)
{
    bool holds = !loop->swept && is_worth_holding(loop, now_us);
    if (holds && !loop->held_us)
        loop->held_us = now_us;
    if (holds)
        loop->defer(loop->defer_arg);
    holds = holds && !loop->swept; // swept at once, where nothing is deferred
    loop->swept = false;
    if (!holds)
        loop->held_us = 0;
    return holds;
}

int64_t cn_fanout_flush(struct cn_loop *loop)
{
    if (cn_list_is_empty(&loop->pending)) {
        loop->held_us = 0; // what was held back went already, or has nobody left who would get it
        return -1;
    }
    int64_t begin_us = cn_clock_us();
    int64_t left_ms = wait_ms(loop, begin_us);
    if (left_ms > 0)
        return left_ms;
    if (hold_back(loop, begin_us))
        return HOLD_US / 1000;
    bool done = flush_slice(loop);
    cn_pace_spent(&loop->pace, begin_us, cn_clock_us(), done);
    return done ? plan_next(loop) : 0;
}

// ---- What comes into a feed ----

void cn_fanout_append(struct cn_loop *loop, struct cn_feed *feed, struct cn_frame *frame)
{
    // Nothing may be evicted that members who keep up have not got.
    if (cn_ring_first_with(&feed->ring, frame->len) > feed->flushed)
        flush_all(loop, feed);
    bool was_at_rest = is_flushed(feed);
    if (cn_ring_append(&feed->ring, frame)) {
        cn_fanout_skip(loop, feed, cn_pos_is_zero(frame->pos) ? feed->tail : frame->pos);
        return;
    }
    if (!cn_pos_is_zero(frame->pos))
        feed->tail = frame->pos;
    if (was_at_rest) {
        cn_list_remove(&feed->turn);
        cn_list_push_back(&loop->pending, &feed->turn);
    }
    cn_recovery_level(feed);
}

// Who comes back later reads the log.
void cn_fanout_sweep(struct cn_loop *loop, int64_t now_ms)
{
    CN_LIST_EACH_SAFE (link, &loop->warm) {
        struct cn_feed *feed = CN_CONTAINER(link, struct cn_feed, turn);
        if (now_ms / 1000 - feed->warm_s < WARM_S)
            break;
        cn_list_remove(link);
        cn_ring_fini(&feed->ring);
    }
}

// Empties the ring; the channel goes on after `tail`.
static void restart(struct cn_loop *loop, struct cn_feed *feed, struct cn_pos tail)
{
    flush_all(loop, feed);
    cn_ring_skip(&feed->ring, tail);
    feed->flushed = feed->pass_end = feed->ring.next;
    feed->cursor = 0;
}

void cn_fanout_skip(struct cn_loop *loop, struct cn_feed *feed, struct cn_pos tail)
{
    restart(loop, feed, tail);
    for (uint32_t i = 0; i < feed->count; i++) {
        struct cn_member *member = feed->members[i];
        if (member->state != CN_MEMBER_LIVE)
            continue;
        if (!cn_list_is_linked(&member->lagging))
            member->pos = feed->flushed_pos;
        cn_fanout_lag(member);
    }
    feed->tail = feed->flushed_pos = tail;
    cn_recovery_level(feed);
}

void cn_fanout_reset(struct cn_loop *loop, struct cn_feed *feed, struct cn_pos tail,
                     struct cn_frame *gap)
{
    restart(loop, feed, tail);
    for (uint32_t i = 0; i < feed->count; i++)
        if (!cn_list_is_linked(&feed->members[i]->lagging))
            feed->members[i]->next = feed->ring.next;
    // Who falls behind before the gap was written must not resume past it: flushed_pos stays.
    feed->tail = tail;
    cn_shelf_reset(loop, feed);
    cn_fanout_append(loop, feed, gap);
    cn_recovery_reset(feed);
}

// ---- Members that are behind ----

void cn_member_set_behind(struct cn_member *member, bool behind)
{
    if (member->behind != behind)
        cn_metrics_add(CN_M_LAGGING, behind ? 1 : -1);
    member->behind = behind;
}

void cn_fanout_due(struct cn_member *member)
{
    if (!cn_list_is_linked(&member->lagging))
        cn_list_push_back(&member->session->lagging, &member->lagging);
    cn_member_set_behind(member, true);
    cn_session_mark(member->session);
}

void cn_fanout_lag(struct cn_member *member)
{
    if (!cn_list_is_linked(&member->lagging))
        cn_metrics_add(CN_M_LAGGED, 1);
    cn_fanout_due(member);
}

// Takes one step: writes something, or finds that there is nothing to write now.
static void step(struct cn_member *member)
{
    struct cn_ring *ring = &member->feed->ring;
    if (member->state == CN_MEMBER_REPLAYING) {
        cn_recovery_serve(member);
    } else if (member->next < ring->first) {
        cn_list_remove(&member->lagging);
        cn_recovery_fall(member);
    } else if (member->next == ring->next) {
        cn_list_remove(&member->lagging);
        cn_member_set_behind(member, false);
    } else {
        struct cn_span span = {.pos = member->pos};
        cn_ring_span(ring, member->next, ring->next, &member->session->loop->behind, &span);
        cn_metrics_add(CN_M_DELIVERED, (int64_t)(span.end - member->next));
        member->next = span.end;
        member->pos = span.pos;
        cn_session_write(member->session, span.bytes);
    }
}

void cn_fanout_serve(struct cn_session *session)
{
    // A step may leave an answer, which comes before what follows it.
    while (session->state == CN_SESSION_OPEN && cn_session_flush(session) &&
           !cn_list_is_empty(&session->lagging))
        step(CN_CONTAINER(session->lagging.next, struct cn_member, lagging));
}
