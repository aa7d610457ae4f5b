// SPDX-License-Identifier: MIT
// The command that reads a room's history without joining anew.
#include "chatnode/codec.h"
#include "chatnode/frame.h"
#include "hub_private.h"

static struct cn_str id_of(const struct cn_page_copy *page)
{
    return page->id[0] ? cn_str_of(page->id) : (struct cn_str){NULL, 0};
}

void cmd_history(struct cn_session *session, const struct cn_request *request)
{
    struct cn_read_order order = {
        .channel = cn_request_room(session, request),
        .kind = CN_READ_NEWEST,
        .limit = request->limit,
        .id = request->id,
    };
    if (!cn_member_find(session, &order.channel)) {
        cn_session_problem(session, CN_PROBLEM_NOT_JOINED, request->id);
        return;
    }
    if (request->has_after) {
        order.kind = CN_READ_AFTER;
        order.from = request->after;
    } else if (request->has_before) {
        order.kind = CN_READ_BEFORE;
        order.from = request->before;
    }
    enum cn_err err = session->in_flight < session->loop->hub->config->max_in_flight
                          ? cn_read_send(session, &order)
                          : CN_FULL;
    if (err)
        cn_session_problem(session, cn_problem_of(err), request->id);
}

// Which of the page's entries fit into `room` bytes: [*first, *end). Reads that go back from the
// end give up the oldest, others the newest; at least one entry stays.
static bool fit(const struct cn_page_copy *page, size_t room, size_t *first, size_t *end)
{
    *first = 0;
    *end = page->count;
    size_t bytes = 0;
    for (size_t i = 0; i < page->count; i++)
        bytes += page->frames[i]->len;
    while (bytes > room && *end - *first > 1) {
        size_t given_up = page->kind == CN_READ_AFTER ? --*end : (*first)++;
        bytes -= page->frames[given_up]->len;
    }
    return *end - *first == page->count;
}

static enum cn_err join_entries(const struct cn_page_copy *page, size_t first, size_t end,
                                struct cn_buf *out)
{
    enum cn_err err = CN_OK;
    for (size_t i = first; !err && i < end; i++) {
        if (i > first)
            err = cn_buf_append(out, ",", 1);
        if (!err)
            err = cn_buf_append_str(out, cn_frame_payload(page->frames[i]));
    }
    return err;
}

void cn_history_on_page(struct cn_session *session, struct cn_page_copy *page)
{
    if (page->err) {
        cn_session_problem(session, cn_problem_of(page->err), id_of(page));
        return;
    }
    struct cn_loop *loop = session->loop;
    struct cn_buf entries;
    cn_buf_init(&entries, loop->text.max_bytes);
    size_t first;
    size_t end;
    bool whole = fit(page, (size_t)loop->hub->config->outbox_bytes / 2, &first, &end);
    enum cn_err err = join_entries(page, first, end, &entries);
    if (!err)
        err = cn_codec_history(&loop->text, cn_channel_name_bare(&page->channel), id_of(page),
                               cn_buf_str(&entries), page->more || !whole);
    cn_buf_fini(&entries);
    cn_session_answer(session, err);
}
