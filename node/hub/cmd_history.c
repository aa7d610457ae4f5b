// SPDX-License-Identifier: MIT
// The command `history`: a room's log, or the conversation with one user, which is looked for in
// the own inbox, page after page.
#include <stdlib.h>

#include "chatnode/codec.h"
#include "chatnode/frame.h"
#include "hub_private.h"

// A conversation may cost as much as its whole inbox, so one session looks for few at once.
enum { PAGES_AT_MOST = 64, PAGE_ENTRIES = 512, SEARCHES_AT_ONCE = 8 };

// A request under way. It travels with its reads: at each time one thread has it.
struct cn_history {
    char id[CN_NAME_MAX + 1];
    char user[CN_NAME_MAX + 1]; // who asks
    char with[CN_NAME_MAX + 1]; // the conversation with this user; empty: a room
    struct cn_channel_name channel;
    enum cn_read_kind kind; // CN_READ_NEWEST becomes CN_READ_BEFORE after the first page
    struct cn_pos at;       // what was looked at last
    bool more;              // the log goes on from there
    int64_t from_ms;        // entries of before are not for who asks
    unsigned pages;         // that may still be read
    size_t room;            // bytes that the entries may have
    size_t limit;
    size_t count;
    struct cn_frame *found[]; // in the order of reading; a reference each
};

void cn_history_free(struct cn_history *history)
{
    for (size_t i = 0; history && i < history->count; i++)
        cn_frame_release(history->found[i]);
    free(history);
}

// ---- On main: what a page has ----

static bool is_looked_for(const struct cn_history *history, const struct cn_entry *entry)
{
    return !history->with[0] || cn_codec_entry_is_between(entry->text, cn_str_of(history->user),
                                                          cn_str_of(history->with));
}

// Takes the entry. CN_FULL: there is no room for it; the first one finds room always.
static enum cn_err take(struct cn_history *history, const struct cn_entry *entry)
{
    struct cn_frame *frame = cn_frame_new(entry->pos, entry->text, (struct cn_str){NULL, 0});
    if (!frame)
        return CN_NOMEM;
    if (history->count > 0 && frame->len > history->room) {
        cn_frame_release(frame);
        history->room = 0;
        return CN_FULL;
    }
    history->room -= frame->len < history->room ? frame->len : history->room;
    history->found[history->count++] = frame;
    return CN_OK;
}

static bool is_done(const struct cn_history *history)
{
    return history->count == history->limit || (history->count > 0 && history->room == 0);
}

static bool is_early(const struct cn_history *history, const struct cn_entry *entry)
{
    return history->from_ms > 0 && cn_codec_entry_ts(entry->text) < history->from_ms;
}

enum cn_err cn_history_take(struct cn_history *history, const struct cn_page *page)
{
    bool forward = history->kind == CN_READ_AFTER;
    bool is_over = false;
    size_t i = 0;
    for (; i < page->count && !is_done(history) && !is_over; i++) {
        const struct cn_entry *entry = &page->entries[forward ? i : page->count - 1 - i];
        bool early = is_early(history, entry);
        is_over = early && !forward; // for who asks the log begins behind it
        enum cn_err err = !early && is_looked_for(history, entry) ? take(history, entry) : CN_OK;
        if (err == CN_FULL)
            break;
        if (err)
            return err;
        history->at = entry->pos;
    }
    // What the bus left out at the end of the page was looked at as well.
    if (i == page->count && !is_done(history) && !cn_pos_is_zero(page->edge))
        history->at = page->edge;
    history->more = !is_over && (i < page->count || (page->more && !cn_pos_is_zero(page->edge)));
    if (!forward)
        history->kind = CN_READ_BEFORE;
    return CN_OK;
}

// ---- On the loop ----

static enum cn_err read_on(struct cn_session *session, struct cn_history *history)
{
    history->pages--;
    const struct cn_read_order order = {
        .channel = history->channel,
        .kind = history->kind,
        .from = history->at,
        .limit = history->with[0] ? PAGE_ENTRIES : (unsigned)history->limit,
        .history = history,
    };
    return cn_read_send(session, &order);
}

static void copy_name(struct cn_str name, char out[CN_NAME_MAX + 1])
{
    enum cn_err err = name.ptr ? cn_str_copy(name, out, CN_NAME_MAX + 1) : CN_OK;
    CN_ASSERT(err == CN_OK); // the codec has checked it
}

static struct cn_history *new_history(const struct cn_session *session,
                                      const struct cn_request *request,
                                      const struct cn_channel_name *channel)
{
    struct cn_history *history =
        calloc(1, sizeof(*history) + request->limit * sizeof(struct cn_frame *));
    if (!history)
        return NULL;
    copy_name(request->id, history->id);
    copy_name(request->with, history->with);
    copy_name(cn_session_user(session), history->user);
    history->channel = *channel;
    history->kind = request->has_after    ? CN_READ_AFTER
                    : request->has_before ? CN_READ_BEFORE
                                          : CN_READ_NEWEST;
    history->at = request->has_after ? request->after : request->before;
    if (!request->with.ptr)
        history->from_ms = cn_auth_from_ms(session->grant, cn_channel_name_bare(channel));
    history->pages = request->with.ptr ? PAGES_AT_MOST : 1;
    history->room = (size_t)session->loop->hub->config->outbox_bytes / 2;
    history->limit = request->limit;
    return history;
}

void cmd_history(struct cn_session *session, const struct cn_request *request)
{
    struct cn_channel_name channel = cn_request_room(session, request);
    enum cn_err err = CN_OK;
    if (request->with.ptr) {
        err = cn_channel_name_make(CN_CHANNEL_INBOX, cn_session_user(session), &channel);
    } else if (!cn_member_find(session, &channel)) {
        cn_session_problem(session, CN_PROBLEM_NOT_JOINED, request->id);
        return;
    }
    if (!err && (session->in_flight >= session->loop->hub->config->max_in_flight ||
                 (request->with.ptr && session->searches >= SEARCHES_AT_ONCE)))
        err = CN_FULL;
    struct cn_history *history = err ? NULL : new_history(session, request, &channel);
    if (!err)
        err = history ? read_on(session, history) : CN_NOMEM;
    if (err)
        cn_session_problem(session, cn_problem_of(err), request->id);
    else if (request->with.ptr)
        session->searches++;
}

static enum cn_err join_entries(const struct cn_history *history, struct cn_buf *out)
{
    enum cn_err err = CN_OK;
    bool forward = history->kind == CN_READ_AFTER;
    for (size_t i = 0; !err && i < history->count; i++) {
        if (i > 0)
            err = cn_buf_append(out, ",", 1);
        size_t index = forward ? i : history->count - 1 - i;
        if (!err)
            err = cn_buf_append_str(out, cn_frame_payload(history->found[index]));
    }
    return err;
}

static struct cn_str text_or_absent(const char *text)
{
    return text[0] ? cn_str_of(text) : (struct cn_str){NULL, 0};
}

static void answer(struct cn_session *session, const struct cn_history *history)
{
    struct cn_loop *loop = session->loop;
    struct cn_buf entries;
    cn_buf_init(&entries, loop->text.max_bytes);
    enum cn_err err = join_entries(history, &entries);
    const struct cn_history_words words = {
        .room = cn_channel_name_bare(&history->channel),
        .with = text_or_absent(history->with),
        .id = text_or_absent(history->id),
        .entries = cn_buf_str(&entries),
        .more = history->more,
        .next = history->at,
    };
    if (!err)
        err = cn_codec_history(&loop->text, &words);
    cn_buf_fini(&entries);
    cn_session_answer(session, err);
}

void cn_history_on_page(struct cn_session *session, struct cn_page_copy *page)
{
    struct cn_history *history = page->history;
    page->history = NULL;
    bool is_search = history->with[0] != '\0';
    char id[CN_NAME_MAX + 1];
    memcpy(id, history->id, sizeof(id));
    enum cn_err err = page->err;
    if (!err && history->more && history->pages > 0 && !is_done(history)) {
        err = read_on(session, history); // passes it on
        if (!err)
            return;
    } else {
        if (!err)
            answer(session, history);
        cn_history_free(history);
    }
    session->searches -= is_search;
    if (err)
        cn_session_problem(session, cn_problem_of(err), text_or_absent(id));
}
