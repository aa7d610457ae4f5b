// SPDX-License-Identifier: MIT
// What a session has to write and how it gets out: answers gather until the end of the turn, go
// before what its members are owed, and wait, bounded, while the socket is full.
#include "chatnode/session.h"

#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/codec.h"
#include "chatnode/frame.h"
#include "hub_private.h"

enum {
    OUTBOX_FIRST_BYTES = 1024, // the answers of a turn and the messages that go with them
    OUTBOXES_KEPT = 64,        // by a loop
};

void cn_session_pool_init(struct cn_pool *pool)
{
    cn_pool_init(pool, cn_buf_bytes(OUTBOX_FIRST_BYTES), OUTBOXES_KEPT);
}

// Whether `len` more bytes may wait. Only what a full socket does not take has to wait, and one
// answer larger than the bound may wait alone.
static bool has_room(struct cn_session *session, size_t len)
{
    const struct cn_buf *outbox = &session->outbox;
    size_t bound = (size_t)session->loop->hub->config->outbox_bytes;
    if (outbox->len + len > bound)
        (void)!cn_session_flush(session);
    return outbox->len == 0 || outbox->len + len <= bound;
}

// Makes the outbox; without memory it stays as it is.
static void open_outbox(struct cn_session *session)
{
    const size_t bytes = cn_buf_bytes(OUTBOX_FIRST_BYTES);
    char *memory = cn_pool_take(&session->loop->outboxes, bytes);
    if (memory)
        cn_buf_adopt(&session->outbox, memory, OUTBOX_FIRST_BYTES);
}

// The empty outbox gives its memory back.
static void close_outbox(struct cn_session *session)
{
    struct cn_buf *outbox = &session->outbox;
    if (outbox->cap != OUTBOX_FIRST_BYTES) {
        cn_buf_fini(outbox);
        return;
    }
    cn_pool_give(&session->loop->outboxes, outbox->data, cn_buf_bytes(OUTBOX_FIRST_BYTES));
    cn_buf_init(outbox, outbox->max_bytes);
}

// Puts `loop->text` with its header into the outbox.
static enum cn_err enqueue(struct cn_session *session)
{
    const struct cn_buf *text = &session->loop->text;
    unsigned char header[CN_FRAME_HEADER_MAX];
    size_t header_len = cn_frame_header(CN_OPCODE_TEXT, text->len, header);
    if (!has_room(session, header_len + text->len))
        return CN_FULL;
    size_t len = header_len + text->len;
    if (session->outbox.data == NULL && len <= OUTBOX_FIRST_BYTES)
        open_outbox(session);
    char *room = cn_buf_reserve(&session->outbox, len);
    if (!room)
        return CN_NOMEM;
    memcpy(room, header, header_len);
    memcpy(room + header_len, text->data, text->len);
    session->outbox.len += len;
    return CN_OK;
}

static bool is_doomed(const struct cn_session *session)
{
    return cn_list_is_linked(&session->going) && session->going_ms == 0;
}

// The session will be closed when it is settled: not now, since the caller may still be busy with
// one of its members.
static void doom(struct cn_session *session, enum cn_reason reason)
{
    cn_list_remove(&session->going);
    session->going_ms = 0;
    session->going_reason = reason;
    cn_list_push_front(&session->loop->going, &session->going);
}

void cn_session_answer(struct cn_session *session, enum cn_err made)
{
    if (cn_session_is_live(session) && !is_doomed(session)) {
        enum cn_err queued = made ? made : enqueue(session);
        if (queued)
            doom(session, !made && queued == CN_FULL ? CN_REASON_SLOW : CN_REASON_INTERNAL);
    }
    session->loop->text.len = 0;
    cn_session_mark(session);
}

void cn_session_mark(struct cn_session *session)
{
    if (cn_session_is_live(session) && !session->choked && !cn_list_is_linked(&session->dirty))
        cn_list_push_back(&session->loop->dirty, &session->dirty);
}

void cn_session_problem(struct cn_session *session, enum cn_problem problem, struct cn_str id)
{
    cn_metrics_add(CN_M_PROBLEMS, 1);
    cn_session_answer(session, cn_codec_error(&session->loop->text, problem, id));
}

// The socket is full: it has to have room again in time. One that is closing has its own time.
static void choke(struct cn_session *session)
{
    struct cn_loop *loop = session->loop;
    session->choked = true;
    cn_recovery_stall(session);
    if (!cn_session_is_live(session))
        return;
    session->stalled_ms = cn_clock_ms() + loop->hub->config->slow_timeout_ms;
    cn_list_push_back(&loop->stalled, &session->stalled);
}

void cn_session_write(struct cn_session *session, struct cn_str frames)
{
    CN_ASSERT(!session->choked);
    session->loop->writes++;
    session->loop->written_bytes += (int64_t)frames.len;
    if (!session->sink->ops->write(session->sink, (const unsigned char *)frames.ptr, frames.len))
        choke(session);
}

// The length of a frame as cn_frame_header began it.
static size_t frame_len(const unsigned char *frame)
{
    size_t more = frame[1] == 126 ? 2 : frame[1] == 127 ? 8 : 0;
    size_t payload_len = more ? 0 : frame[1];
    for (size_t i = 0; i < more; i++)
        payload_len = payload_len << 8 | frame[2 + i];
    return 2 + more + payload_len;
}

// The frames that one write may carry: the outbox from `at` on, cut at a frame's end.
static struct cn_str next_write(const struct cn_buf *outbox, size_t at)
{
    const unsigned char *frames = (const unsigned char *)outbox->data;
    size_t end = at + frame_len(frames + at);
    while (end < outbox->len && end + frame_len(frames + end) - at <= CN_SINK_BYTES)
        end += frame_len(frames + end);
    return (struct cn_str){outbox->data + at, end - at};
}

bool cn_session_flush(struct cn_session *session)
{
    struct cn_buf *outbox = &session->outbox;
    if (outbox->len == 0 || session->choked)
        return !session->choked;
    size_t at = 0;
    while (at < outbox->len && !session->choked) {
        struct cn_str frames = next_write(outbox, at);
        cn_session_write(session, frames);
        at += frames.len;
    }
    cn_buf_consume(outbox, at);
    if (outbox->len == 0)
        close_outbox(session);
    cn_list_remove(&session->dirty);
    return !session->choked;
}

bool cn_session_write_after_answers(struct cn_session *session, struct cn_str frames)
{
    struct cn_buf *outbox = &session->outbox;
    if (session->choked)
        return false;
    if (outbox->len == 0) { // nearly always
        cn_session_write(session, frames);
        return true;
    }
    bool joins =
        outbox->len + frames.len <= CN_SINK_BYTES && cn_buf_append_str(outbox, frames) == CN_OK;
    bool has_room = cn_session_flush(session);
    if (!joins && has_room)
        cn_session_write(session, frames);
    return joins || has_room;
}

void cn_session_settle(struct cn_session *session)
{
    cn_list_remove(&session->dirty);
    if (cn_session_is_live(session) && cn_session_flush(session))
        cn_fanout_serve(session);
    if (is_doomed(session))
        cn_session_close(session, session->going_reason);
}

void cn_session_writable(struct cn_session *session)
{
    session->choked = false;
    cn_list_remove(&session->stalled);
    cn_session_alive(session); // the peer has made room
    cn_session_settle(session);
}
