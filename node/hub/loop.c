// SPDX-License-Identifier: MIT
// The hub's part of one loop: one turn reads the letters, flushes the feeds, writes the answers.
#include "chatnode/loop.h"

#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/codec.h"
#include "hub_private.h"

enum { TICK_MIN_MS = 10, TICK_MAX_MS = 1000, TEXT_SPARE_BYTES = 4096, TEXT_KEPT_BYTES = 65536 };

static void no_wake(void *arg)
{
    (void)arg;
}

// Main has put the first letter into the empty box.
static void on_letter(void *arg)
{
    struct cn_loop *loop = arg;
    loop->has_news = true;
}

static void pass_on_now(void *arg)
{
    (void)cn_loop_pass_on(arg);
}

struct cn_loop *cn_loop_new(struct cn_hub *hub, unsigned index)
{
    struct cn_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    loop->hub = hub;
    loop->index = index;
    cn_mailbox_init(&loop->letters, (size_t)hub->config->mailbox_letters, on_letter, loop);
    cn_loop_set_wake(loop, no_wake, NULL);
    cn_loop_set_defer(loop, pass_on_now, loop);
    cn_pace_init(&loop->pace, hub->config->flush_max_ms * 1000);
    cn_hash_init(&loop->feeds);
    cn_list_init(&loop->pending);
    cn_list_init(&loop->next);
    cn_list_init(&loop->warm);
    cn_list_init(&loop->dirty);
    cn_list_init(&loop->newcomers);
    cn_agenda_init(&loop->expiring);
    cn_list_init(&loop->idle);
    cn_list_init(&loop->awaiting);
    cn_list_init(&loop->joining);
    cn_list_init(&loop->retrying);
    cn_list_init(&loop->dead);
    cn_list_init(&loop->going);
    cn_list_init(&loop->stalled);
    cn_list_init(&loop->kept);
    cn_publish_pool_init(&loop->publishes);
    cn_session_pool_init(&loop->outboxes);
    cn_buf_init(&loop->span, CN_SINK_BYTES);
    // An answer may carry what a client sent, each byte escaped.
    cn_buf_init(&loop->text, (size_t)hub->config->max_message_bytes * 6 +
                                 (size_t)hub->config->outbox_bytes + TEXT_SPARE_BYTES);
    loop->swept_ms = cn_clock_ms();
    atomic_init(&loop->alive_ms, loop->swept_ms);
    cn_buf_init(&loop->behind, CN_SINK_BYTES);
    if (!cn_buf_reserve(&loop->span, CN_SINK_BYTES) ||
        !cn_buf_reserve(&loop->behind, CN_SINK_BYTES)) {
        cn_loop_free(loop);
        return NULL;
    }
    return loop;
}

void cn_loop_free(struct cn_loop *loop)
{
    if (!loop)
        return;
    cn_mailbox_close(&loop->letters);
    cn_mailbox_fini(&loop->letters);
    CN_ASSERT(loop->session_count == 0 && loop->in_flight == 0);
    cn_session_sweep_dead(loop);
    CN_HASH_EACH (node, &loop->feeds) {
        struct cn_feed *feed = CN_CONTAINER(node, struct cn_feed, by_name);
        cn_hash_remove(&loop->feeds, node);
        cn_shelf_clear(loop, feed);
        cn_feed_free(feed);
    }
    cn_hash_fini(&loop->feeds);
    cn_agenda_fini(&loop->expiring);
    cn_buf_fini(&loop->span);
    cn_buf_fini(&loop->behind);
    cn_buf_fini(&loop->text);
    cn_pool_fini(&loop->publishes);
    cn_pool_fini(&loop->outboxes);
    free(loop);
}

void cn_loop_set_wake(struct cn_loop *loop, void (*wake)(void *arg), void *arg)
{
    loop->wake = wake;
    loop->wake_arg = arg;
}

void cn_loop_set_defer(struct cn_loop *loop, void (*defer)(void *arg), void *arg)
{
    loop->defer = defer;
    loop->defer_arg = arg;
}

void cn_loop_has_asked(struct cn_loop *loop)
{
    if (loop->has_asked)
        return;
    loop->has_asked = true;
    loop->defer(loop->defer_arg);
}

static void tell_main(struct cn_loop *loop)
{
    if (!loop->has_asked)
        return;
    loop->has_asked = false;
    cn_reactor_wake(loop->hub->reactor);
}

bool cn_loop_pass_on(struct cn_loop *loop)
{
    tell_main(loop);
    loop->swept = loop->held_us && loop->in_flight == 0;
    return loop->swept;
}

void cn_loop_wake(struct cn_loop *loop)
{
    if (!loop->has_news)
        return;
    loop->has_news = false;
    loop->wake(loop->wake_arg);
}

enum cn_err cn_loop_post(struct cn_loop *loop, struct cn_letter *letter)
{
    return cn_mailbox_put(&loop->letters, &letter->mail);
}

void cn_loop_post_always(struct cn_loop *loop, struct cn_letter *letter)
{
    cn_mailbox_put_always(&loop->letters, &letter->mail);
}

static void read_letters(struct cn_loop *loop)
{
    struct cn_mail *mail = cn_mailbox_take_all(&loop->letters);
    while (mail) {
        struct cn_mail *next = mail->next;
        struct cn_letter *letter = CN_CONTAINER(mail, struct cn_letter, mail);
        cn_lock_assert_none();
        letter->read(letter, loop);
        mail = next;
    }
}

// Answers of this turn go out, one write a session.
static void write_answers(struct cn_loop *loop)
{
    struct cn_link *link;
    while ((link = cn_list_pop_front(&loop->dirty)))
        cn_session_settle(CN_CONTAINER(link, struct cn_session, dirty));
    cn_session_close_due(loop, 0);
}

// Once a turn, as counting each write would cost a few per cent of it.
static void count_writes(struct cn_loop *loop)
{
    cn_metrics_add(CN_M_WRITES, loop->writes);
    cn_metrics_add(CN_M_WRITTEN_BYTES, loop->written_bytes);
    loop->writes = loop->written_bytes = 0;
}

int64_t cn_loop_turn(struct cn_loop *loop)
{
    read_letters(loop);
    // Who lost an answer gets nothing that came after it.
    cn_session_close_due(loop, 0);
    // Feeds come first: they take along what their members are told besides.
    int64_t next_ms = cn_fanout_flush(loop);
    write_answers(loop);
    count_writes(loop);
    cn_session_sweep_dead(loop);
    tell_main(loop);
    return next_ms;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t cn_loop_tick(struct cn_loop *loop)
{
    const struct cn_config *config = loop->hub->config;
    int64_t now_ms = cn_clock_ms();
    atomic_store_explicit(&loop->alive_ms, now_ms, memory_order_relaxed);
    cn_session_sweep(loop, now_ms);
    cn_pass_sweep(loop, now_ms);
    cn_recovery_sweep(loop, now_ms);
    cn_shelf_sweep(loop, now_ms);
    cn_fanout_sweep(loop, now_ms);
    write_answers(loop);
    count_writes(loop);
    cn_session_sweep_dead(loop);
    cn_buf_reset(&loop->text, TEXT_KEPT_BYTES);
    int64_t shortest_ms = least(config->ping_interval_ms, config->pong_timeout_ms);
    int64_t tick_ms = least(shortest_ms, config->slow_timeout_ms) / 8;
    if (!cn_list_is_empty(&loop->going) || !cn_list_is_empty(&loop->joining) ||
        !cn_list_is_empty(&loop->retrying))
        tick_ms = least(tick_ms, 50);
    if (loop->hub->auth)
        tick_ms = cn_pass_next_ms(loop, tick_ms);
    return tick_ms < TICK_MIN_MS ? TICK_MIN_MS : least(tick_ms, TICK_MAX_MS);
}

size_t cn_loop_sessions(const struct cn_loop *loop)
{
    return loop->session_count;
}

int64_t cn_loop_alive_ms(const struct cn_loop *loop)
{
    return atomic_load_explicit(&loop->alive_ms, memory_order_relaxed);
}

unsigned cn_loop_index(const struct cn_loop *loop)
{
    return loop->index;
}
