// SPDX-License-Identifier: MIT
// Recovery: how a member gets from its last position to the present, exactly or with a gap that is
// said aloud. Served from the feed's ring where that reaches, else from the log, page by page.
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/codec.h"
#include "hub_private.h"

// So many pages without an entry, one after the other, prove that the log does not have what the
// ring says was there.
enum { EMPTY_PAGES = 3 };

struct cn_recovery {
    // In the loop's list `joining` or `retrying`, in the feed's `ahead`, or in one of its shelf's.
    struct cn_link waiting;
    struct cn_member *member;
    struct cn_page_copy *page; // being written: a reference; NULL while the socket is full
    size_t at;                 // the next frame of the page
    int64_t deadline_ms;       // for the feed to become live
    enum cn_read_kind kind;    // of the page that is due, awaited, or being written
    unsigned empty_pages;      // the last ones, that held nothing new
    bool helps;                // the page being written holds something new
    bool alone;                // a page read for another position has not helped
    bool has_since;
    bool newest;
    bool patient;
    bool has_gap;  // it asked for a position that it may not resume from
    bool joined;   // the answer to the join is out
    bool is_apart; // a gap was told, and no entry since
    bool is_lost;  // what followed its position cannot be had
    char id[CN_NAME_MAX + 1];
    size_t id_len;
};

// ---- Answers ----

// A room's name, absent for the inbox.
static struct cn_str room_of(const struct cn_member *member)
{
    struct cn_str name = member->feed->by_name.key;
    if (cn_channel_text_kind(name) == CN_CHANNEL_INBOX)
        return (struct cn_str){NULL, 0};
    return cn_channel_text_bare(name);
}

static struct cn_str id_of(const struct cn_recovery *recovery)
{
    return (struct cn_str){recovery->id_len ? recovery->id : NULL, recovery->id_len};
}

static void tell_joined(struct cn_member *member, bool recovered)
{
    struct cn_recovery *recovery = member->recovery;
    if (recovery->joined)
        return;
    recovery->joined = true;
    if (recovery->has_since)
        cn_metrics_add(recovered ? CN_M_JOINS_EXACT : CN_M_JOINS_RESET, 1);
    cn_session_answer(member->session,
                      cn_codec_joined(&member->session->loop->text, room_of(member),
                                      member->feed->tail, recovered, id_of(recovery)));
}

static void tell_gap(struct cn_member *member)
{
    CN_ASSERT(member->recovery);
    member->recovery->is_apart = true;
    cn_session_answer(member->session,
                      cn_codec_gap_reset(&member->session->loop->text, room_of(member)));
}

// What is early was stored before any gap that was told since the last entry: that one tells of it.
// (Of what is lost it does not: that may have come after it.)
static void tell_early(struct cn_member *member)
{
    CN_ASSERT(member->recovery);
    if (!member->recovery->is_apart)
        tell_gap(member);
}

// The bus cannot say in time where the channel is: the join fails, its client may try again.
static void give_up(struct cn_member *member)
{
    cn_session_problem(member->session, CN_PROBLEM_UNAVAILABLE, id_of(member->recovery));
    cn_member_leave(member);
}

// ---- What is not for the member: entries of before a moment that its token names ----

static int64_t from_ms_of(const struct cn_member *member)
{
    const struct cn_grant *grant = member->session->grant;
    struct cn_str room = grant ? room_of(member) : (struct cn_str){NULL, 0};
    return room.ptr ? cn_auth_from_ms(grant, room) : 0;
}

static bool is_early(const struct cn_frame *frame, int64_t from_ms)
{
    return !cn_pos_is_zero(frame->pos) && cn_codec_entry_ts(cn_frame_payload(frame)) < from_ms;
}

// The index after the last early frame of the page, `at` if there is none behind it.
static size_t after_early(const struct cn_member *member, const struct cn_page_copy *page,
                          size_t at)
{
    int64_t from_ms = from_ms_of(member);
    size_t index = from_ms > 0 ? page->count : at;
    while (index > at && !is_early(page->frames[index - 1], from_ms))
        index--;
    return index;
}

// The same of the feed's ring.
static uint64_t after_early_of_ring(const struct cn_member *member, uint64_t ordinal)
{
    const struct cn_ring *ring = &member->feed->ring;
    int64_t from_ms = from_ms_of(member);
    uint64_t at = from_ms > 0 ? ring->next : ordinal;
    while (at > ordinal && !is_early(cn_ring_at(ring, at - 1), from_ms))
        at--;
    return at;
}

// ---- Life ----

static void give_back(struct cn_recovery *recovery)
{
    cn_page_release(recovery->page);
    recovery->page = NULL;
    recovery->at = 0;
}

void cn_recovery_free(struct cn_recovery *recovery)
{
    if (!recovery)
        return;
    cn_list_remove(&recovery->waiting);
    give_back(recovery);
    free(recovery);
}

void cn_recovery_supersede(struct cn_member *member)
{
    const struct cn_recovery *recovery = member->recovery;
    if (recovery && !recovery->joined && recovery->id_len > 0)
        cn_session_problem(member->session, CN_PROBLEM_SUPERSEDED, id_of(recovery));
}

static enum cn_err attach(struct cn_member *member)
{
    struct cn_recovery *recovery = calloc(1, sizeof(*recovery));
    if (!recovery)
        return CN_NOMEM;
    cn_list_init(&recovery->waiting);
    recovery->member = member;
    member->recovery = recovery;
    return CN_OK;
}

enum cn_err cn_recovery_new(struct cn_member *member, const struct cn_recovery_order *order)
{
    struct cn_loop *loop = member->session->loop;
    enum cn_err err = attach(member);
    if (err)
        return err;
    struct cn_recovery *recovery = member->recovery;
    recovery->has_since = order->has_since;
    recovery->newest = order->newest;
    recovery->patient = order->patient;
    recovery->has_gap = order->has_gap;
    recovery->deadline_ms = cn_clock_ms() + loop->hub->config->publish_deadline_ms;
    recovery->id_len = order->id.len;
    if (order->id.len > 0)
        memcpy(recovery->id, order->id.ptr, order->id.len);
    member->pos = order->since;
    if (member->feed->state == CN_FEED_LIVE)
        cn_recovery_begin(member);
    else if (!order->patient)
        cn_list_push_back(&loop->joining, &recovery->waiting);
    return CN_OK;
}

// The member is served from the ring from now on.
static void go_live(struct cn_member *member, uint64_t from)
{
    uint64_t ordinal = after_early_of_ring(member, from);
    if (ordinal > from)
        tell_early(member);
    cn_recovery_free(member->recovery);
    member->recovery = NULL;
    member->state = CN_MEMBER_LIVE;
    member->next = ordinal;
    if (ordinal < member->feed->ring.next) {
        cn_fanout_due(member);
    } else {
        cn_list_remove(&member->lagging);
        cn_member_set_behind(member, false);
    }
}

void cn_recovery_forgo(struct cn_member *member)
{
    struct cn_recovery *recovery = member->recovery;
    struct cn_feed *feed = member->feed;
    if (member->state == CN_MEMBER_WAITING) {
        recovery->has_gap = recovery->has_gap || recovery->has_since;
        recovery->has_since = false;
        return;
    }
    if (!recovery && !cn_list_is_linked(&member->lagging))
        return; // nothing is owed
    if (recovery)
        tell_joined(member, false);
    cn_session_answer(member->session,
                      cn_codec_gap_reset(&member->session->loop->text, room_of(member)));
    member->pos = feed->tail;
    go_live(member, feed->ring.next);
}

// ---- Asking the log ----

static void retry_later(struct cn_recovery *recovery)
{
    cn_list_remove(&recovery->waiting);
    cn_list_push_back(&recovery->member->session->loop->retrying, &recovery->waiting);
}

static void begin_page(struct cn_member *member, struct cn_page_copy *page, size_t at)
{
    struct cn_recovery *recovery = member->recovery;
    size_t first = after_early(member, page, at);
    tell_joined(member, recovery->kind == CN_READ_AFTER && first == at);
    if (recovery->is_lost && recovery->kind == CN_READ_NEWEST)
        tell_gap(member);
    if (first > at) {
        tell_early(member);
        member->pos = page->frames[first - 1]->pos;
    }
    recovery->page = page;
    recovery->at = first;
    recovery->helps = at < page->count;
    recovery->alone = recovery->alone && !recovery->helps;
    cn_fanout_due(member);
}

// Asks for the page that is due. While the socket is full none is needed: the member keeps nothing
// but its position, and asks when it is served.
static void ask(struct cn_member *member)
{
    struct cn_recovery *recovery = member->recovery;
    if (member->session->choked) {
        cn_fanout_due(member);
        return;
    }
    cn_list_remove(&member->lagging);
    cn_member_set_behind(member, true);
    const struct cn_want want = {recovery->kind, member->pos, recovery->alone};
    struct cn_page_copy *page;
    size_t at;
    if (cn_shelf_get(member, &want, &recovery->waiting, &page, &at))
        retry_later(recovery);
    else if (page)
        begin_page(member, page, at);
}

void cn_recovery_again(struct cn_link *waiting)
{
    ask(CN_CONTAINER(waiting, struct cn_recovery, waiting)->member);
}

static void ask_after(struct cn_member *member)
{
    member->recovery->kind = CN_READ_AFTER;
    ask(member);
}

static void ask_newest(struct cn_member *member)
{
    member->recovery->kind = CN_READ_NEWEST;
    ask(member);
}

// What follows the member's position cannot be had: it goes on with the newest, and is told of the
// gap when these are there. Not before: reading them may take long, and what is said meanwhile may
// be more than they hold.
static void restart(struct cn_member *member)
{
    member->recovery->is_lost = true;
    ask_newest(member);
}

void cn_recovery_begin(struct cn_member *member)
{
    struct cn_recovery *recovery = member->recovery;
    struct cn_feed *feed = member->feed;
    uint64_t ordinal;
    cn_list_remove(&recovery->waiting);
    member->state = CN_MEMBER_REPLAYING;
    if (recovery->has_since && !cn_ring_after(&feed->ring, member->pos, &ordinal)) {
        tell_joined(member, after_early_of_ring(member, ordinal) == ordinal);
        go_live(member, ordinal);
    } else if (recovery->has_since) {
        ask_after(member);
    } else if (recovery->newest && !cn_pos_is_zero(feed->tail)) {
        ask_newest(member);
    } else {
        tell_joined(member, false);
        if (recovery->has_gap)
            tell_gap(member);
        member->pos = feed->tail;
        go_live(member, feed->ring.next);
    }
}

void cn_recovery_fall(struct cn_member *member)
{
    cn_metrics_add(CN_M_FALLEN, 1);
    if (attach(member)) {
        cn_session_close(member->session, CN_REASON_INTERNAL);
        return;
    }
    member->recovery->joined = true;
    member->recovery->patient = true;
    member->state = CN_MEMBER_REPLAYING;
    ask_after(member);
}

// ---- Pages ----

static void on_failure(struct cn_member *member)
{
    struct cn_recovery *recovery = member->recovery;
    if (recovery->joined || recovery->patient)
        retry_later(recovery);
    else
        give_up(member);
}

// True when the page holds what the member wants, from index *at on.
static bool fits(const struct cn_recovery *recovery, const struct cn_page_copy *page, size_t *at)
{
    *at = 0;
    if (recovery->kind == CN_READ_NEWEST)
        return page->kind == CN_READ_NEWEST;
    return cn_page_after(page, recovery->member->pos, at);
}

// True when the page is the answer to what the member wants, whatever the answer is.
static bool is_own(const struct cn_recovery *recovery, const struct cn_page_copy *page)
{
    return page->kind == recovery->kind && cn_pos_compare(page->from, recovery->member->pos) == 0;
}

void cn_recovery_on_page(struct cn_link *waiting, struct cn_page_copy *page)
{
    struct cn_recovery *recovery = CN_CONTAINER(waiting, struct cn_recovery, waiting);
    struct cn_member *member = recovery->member;
    size_t at;
    if (page->err) {
        on_failure(member);
    } else if (member->session->choked) {
        cn_fanout_due(member);
    } else if (fits(recovery, page, &at)) {
        begin_page(member, cn_page_hold(page), at);
    } else if (is_own(recovery, page)) {
        tell_joined(member, false);
        restart(member);
    } else {
        recovery->alone = true;
        ask(member);
    }
}

// All that the ring has, which is not all that there was.
static void take_ring(struct cn_member *member)
{
    member->pos = member->feed->ring.floor;
    go_live(member, member->feed->ring.first);
}

// The log has been read to its end: on from the ring, which holds all that came since. Where it
// does not reach back that far any more, on with the log, unless that has nothing to say: it has
// lost what the bus told before. The log may be ahead of what the bus has
// told: the ring then brings entries that the member has got, so it waits until the ring is past
// them.
static void catch_ring(struct cn_member *member)
{
    struct cn_feed *feed = member->feed;
    uint64_t ordinal;
    if (cn_pos_compare(member->pos, feed->tail) > 0) {
        cn_list_remove(&member->lagging);
        cn_list_push_back(&feed->ahead, &member->recovery->waiting);
    } else if (!cn_ring_from(&feed->ring, member->pos, &ordinal)) {
        go_live(member, ordinal);
    } else if (member->recovery->empty_pages < EMPTY_PAGES) {
        ask_after(member);
    } else {
        tell_gap(member);
        take_ring(member);
    }
}

void cn_recovery_reset(struct cn_feed *feed)
{
    struct cn_link ahead;
    struct cn_link *link;
    cn_list_init(&ahead);
    while ((link = cn_list_pop_front(&feed->ahead)))
        cn_list_push_back(&ahead, link);
    while ((link = cn_list_pop_front(&ahead)))
        ask_after(CN_CONTAINER(link, struct cn_recovery, waiting)->member);
}

void cn_recovery_level(struct cn_feed *feed)
{
    CN_LIST_EACH_SAFE (link, &feed->ahead) {
        struct cn_member *member = CN_CONTAINER(link, struct cn_recovery, waiting)->member;
        if (cn_pos_compare(member->pos, feed->tail) > 0)
            continue;
        cn_list_remove(link);
        catch_ring(member);
    }
}

static void end_page(struct cn_member *member)
{
    struct cn_recovery *recovery = member->recovery;
    const struct cn_page_copy *page = recovery->page;
    bool more = page->kind == CN_READ_AFTER && page->more;
    bool empty = page->count == 0;
    recovery->empty_pages = recovery->helps ? 0 : recovery->empty_pages + 1;
    recovery->alone = recovery->alone || !recovery->helps;
    if (!more && cn_pos_compare(page->tail, member->pos) > 0)
        member->pos = page->tail;
    give_back(recovery);
    if (more && empty) {
        // The bus leaves out what is not well-formed: there is nothing to go on from.
        restart(member);
    } else if (more) {
        ask_after(member);
    } else if (empty && recovery->kind == CN_READ_NEWEST) {
        take_ring(member); // nothing is left in the log; where the member was says nothing now
    } else {
        catch_ring(member);
    }
}

// Joins the page's next frames in `out`; a single larger frame is given as it stands.
static struct cn_str page_span(struct cn_member *member, struct cn_buf *out)
{
    struct cn_recovery *recovery = member->recovery;
    struct cn_page_copy *page = recovery->page;
    const struct cn_frame *frame = page->frames[recovery->at];
    recovery->is_apart = false;
    out->len = 0;
    while (recovery->at < page->count && out->len + page->frames[recovery->at]->len <= out->cap) {
        frame = page->frames[recovery->at++];
        memcpy(out->data + out->len, frame->bytes, frame->len);
        out->len += frame->len;
    }
    if (out->len == 0)
        recovery->at++;
    member->pos = frame->pos;
    return out->len > 0 ? cn_buf_str(out) : (struct cn_str){(const char *)frame->bytes, frame->len};
}

void cn_recovery_serve(struct cn_member *member)
{
    struct cn_recovery *recovery = member->recovery;
    if (!recovery->page) {
        cn_list_remove(&member->lagging);
        if (!cn_list_is_linked(&recovery->waiting))
            ask(member);
        return;
    }
    // cppcheck-suppress nullPointerRedundantCheck; a page can go only further down
    if (recovery->at == recovery->page->count) {
        end_page(member);
        return;
    }
    size_t before = recovery->at;
    struct cn_str span = page_span(member, &member->session->loop->behind);
    cn_metrics_add(CN_M_DELIVERED, (int64_t)(recovery->at - before));
    cn_session_write(member->session, span);
    // The socket may have been full: then the page was given back.
    if (recovery->page && recovery->at == recovery->page->count)
        end_page(member);
}

void cn_recovery_stall(struct cn_session *session)
{
    CN_LIST_EACH (link, &session->lagging) {
        struct cn_recovery *recovery = CN_CONTAINER(link, struct cn_member, lagging)->recovery;
        if (!recovery || !recovery->page || recovery->at == recovery->page->count)
            continue;
        if (recovery->at > 0)
            recovery->kind = CN_READ_AFTER;
        give_back(recovery);
    }
}

// ---- In time ----

void cn_recovery_sweep(struct cn_loop *loop, int64_t now_ms)
{
    CN_LIST_EACH_SAFE (link, &loop->joining) {
        struct cn_recovery *recovery = CN_CONTAINER(link, struct cn_recovery, waiting);
        if (recovery->deadline_ms > now_ms)
            break;
        give_up(recovery->member);
    }
    struct cn_link again;
    cn_list_init(&again);
    struct cn_link *link;
    while ((link = cn_list_pop_front(&loop->retrying)))
        cn_list_push_back(&again, link);
    while ((link = cn_list_pop_front(&again)))
        cn_recovery_again(link);
}
