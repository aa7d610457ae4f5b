// SPDX-License-Identifier: MIT
// A session: one client connection, from its welcome to its one end.
#include "chatnode/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "chatnode/clock.h"
#include "chatnode/codec.h"
#include "chatnode/frame.h"
#include "chatnode/log.h"
#include "hub_private.h"

enum { ANSWERS_MS = 500 }; // for the bus's answers to come back to the loop

// A ping with a payload, so that libwebsockets reports the pong (RFC 6455 section 5.5.2).
static const unsigned char ping_frame[] = {0x89, 4, 'c', 'h', 'a', 't'};

struct cn_session *cn_session_find(struct cn_loop *loop, uint64_t id)
{
    struct cn_registration *entry = cn_registry_find(loop->hub->registry, id);
    return entry ? CN_CONTAINER(entry, struct cn_session, registration) : NULL;
}

// ---- The one place where the state changes ----

static void change_state(struct cn_session *session, enum cn_session_state state)
{
    CN_ASSERT(state > session->state);
    session->state = state;
}

static void leave_all(struct cn_session *session)
{
    CN_LIST_EACH_SAFE (link, &session->members)
        cn_member_leave(CN_CONTAINER(link, struct cn_member, of_session));
}

// Ends a live session: out of the registry, out of every channel, out of every queue.
static void end(struct cn_session *session, enum cn_reason reason)
{
    change_state(session, CN_SESSION_CLOSING);
    session->loop->in_flight -= session->in_flight;
    CN_LOG(DEBUG, "session.closed", "a session ended",
           CN_F_INT("session", session->registration.id),
           CN_F_VIEW("user", cn_session_user(session)), CN_F_STR("reason", cn_reason_name(reason)));
    cn_registry_remove(session->loop->hub->registry, &session->registration);
    leave_all(session);
    cn_pass_free(session->pass);
    session->pass = NULL;
    cn_list_remove(&session->queued);
    cn_list_remove(&session->going);
    cn_list_remove(&session->stalled);
    cn_metrics_add(CN_M_SESSIONS, -1);
    cn_metrics_add(cn_metric_closed(reason), 1);
}

void cn_session_close(struct cn_session *session, enum cn_reason reason)
{
    if (!cn_session_is_live(session))
        return;
    end(session, reason);
    (void)!cn_session_flush(session);
    cn_list_remove(&session->dirty);
    cn_buf_fini(&session->outbox);
    session->sink->ops->close(session->sink, reason);
}

void cn_session_detach(struct cn_session *session, enum cn_reason reason)
{
    if (cn_session_is_live(session))
        end(session, reason);
    change_state(session, CN_SESSION_DEAD);
    session->sink = NULL;
    cn_list_remove(&session->dirty);
    cn_list_push_back(&session->loop->dead, &session->queued);
    session->loop->session_count--;
}

void cn_session_sweep_dead(struct cn_loop *loop)
{
    struct cn_link *link;
    while ((link = cn_list_pop_front(&loop->dead))) {
        struct cn_session *session = CN_CONTAINER(link, struct cn_session, queued);
        cn_buf_fini(&session->outbox);
        if (session->throttle)
            cn_throttle_free(session->throttle, cn_clock_ms());
        cn_grant_free(session->grant);
        free(session);
    }
}

// ---- Birth ----

// "guest-" and 40 random bits in letters that are hard to confuse.
static struct cn_str make_guest_name(const struct cn_loop *loop, char name[CN_NAME_MAX])
{
    static const char letters[] = "abcdefghjkmnpqrstuvwxyz23456789x";
    unsigned char random[8] = {0};
    if (getrandom(random, sizeof(random), GRND_NONBLOCK) < 0)
        memcpy(random, &loop->last_id, sizeof(random));
    memcpy(name, "guest-", 6);
    for (size_t i = 0; i < sizeof(random); i++)
        name[6 + i] = letters[random[i] % 32];
    return (struct cn_str){name, 6 + sizeof(random)};
}

static void welcome(struct cn_session *session)
{
    const struct cn_hub *hub = session->loop->hub;
    const struct cn_grant *grant = session->grant;
    char id[20];
    int id_len = snprintf(id, sizeof(id), "%llx", (unsigned long long)session->registration.id);
    const struct cn_welcome words = {
        .user = cn_session_user(session),
        .session = {id, (size_t)id_len},
        .node = cn_str_of(hub->node_name),
        .version = cn_str_of(CN_VERSION),
        .ping_ms = hub->config->ping_interval_ms,
        .max_message_bytes = (size_t)hub->config->max_message_bytes,
        .max_rooms = (unsigned)hub->config->max_rooms,
        .max_in_flight = (unsigned)hub->config->max_in_flight,
        .dedupe_ms = hub->config->dedupe_ttl_s * 1000,
        .durability = cn_str_of(cn_durability_word(cn_supervisor_durability(hub))),
        .has_token = grant != NULL,
        .name = grant ? grant->name : (struct cn_str){NULL, 0},
        .expires_s = grant ? grant->expires_s : 0,
        .expires_in_ms = grant ? cn_pass_left_ms(session, cn_clock_wall_ms()) : 0,
    };
    cn_session_answer(session, cn_codec_welcome(&session->loop->text, &words));
}

static enum cn_err join_first(struct cn_session *session, enum cn_channel_kind kind,
                              struct cn_str name, const struct cn_recovery_order *order)
{
    struct cn_channel_name channel;
    enum cn_err err = cn_channel_name_make(kind, name, &channel);
    return err ? err : cn_member_join(session, &channel, order);
}

// Its room, if it may join it.
static enum cn_err join_room(struct cn_session *session, struct cn_str room,
                             const struct cn_hello *hello)
{
    static const struct cn_access join = {CN_ACCESS_ROOM, CN_RIGHT_JOIN};
    struct cn_recovery_order order = {
        .has_since = hello->has_since, .since = hello->since, .patient = true};
    enum cn_problem problem;
    if (cn_auth_allows(session->loop->hub->auth, session->grant, &join, room, &problem)) {
        cn_pass_temper(session, room, &order);
        return join_first(session, CN_CHANNEL_ROOM, room, &order);
    }
    cn_session_problem(session, problem, (struct cn_str){NULL, 0});
    return CN_OK;
}

static enum cn_err join_channels(struct cn_session *session, const struct cn_hello *hello)
{
    const struct cn_recovery_order inbox = {.has_since = hello->has_inbox_since,
                                            .since = hello->inbox_since,
                                            .newest = !hello->has_inbox_since,
                                            .patient = true};
    enum cn_err err = join_first(session, CN_CHANNEL_INBOX, cn_session_user(session), &inbox);
    struct cn_str room = hello->room;
    if (!room.ptr)
        room = cn_str_of(session->loop->hub->config->default_room);
    return err || room.len == 0 ? err : join_room(session, room, hello);
}

void cn_session_begin(struct cn_session *session, const struct cn_hello *hello)
{
    change_state(session, CN_SESSION_OPEN);
    cn_session_alive(session);
    CN_LOG(DEBUG, "session.opened", "a session began",
           CN_F_INT("session", session->registration.id),
           CN_F_STR("user", session->registration.user), CN_F_VIEW("address", hello->address));
    welcome(session);
    if (session->state == CN_SESSION_OPEN && join_channels(session, hello))
        cn_session_close(session, CN_REASON_INTERNAL);
}

static void init(struct cn_session *session, struct cn_loop *loop, struct cn_sink *sink)
{
    session->loop = loop;
    session->sink = sink;
    session->registration.loop = loop->index;
    cn_list_init(&session->members);
    cn_list_init(&session->lagging);
    cn_list_init(&session->queued);
    cn_list_init(&session->dirty);
    cn_list_init(&session->going);
    cn_list_init(&session->stalled);
    cn_buf_init(&session->outbox, loop->text.max_bytes + CN_FRAME_HEADER_MAX);
}

// Into the registry: under its name, or, where tokens are asked for, without one.
static enum cn_err enter(struct cn_session *session, const struct cn_hello *hello)
{
    struct cn_hub *hub = session->loop->hub;
    char guest[CN_NAME_MAX];
    struct cn_str user = {NULL, 0};
    if (!hub->auth)
        user = hello->user.ptr ? hello->user : make_guest_name(session->loop, guest);
    enum cn_err err = cn_registry_add(hub->registry, user, &session->registration);
    if (err || !hub->auth)
        return err;
    err = cn_pass_new(session, hello);
    if (err)
        cn_registry_remove(hub->registry, &session->registration);
    return err;
}

enum cn_err cn_session_new(struct cn_loop *loop, struct cn_sink *sink, const struct cn_hello *hello,
                           struct cn_session **out)
{
    struct cn_session *session = calloc(1, sizeof(*session));
    if (!session)
        return CN_NOMEM;
    init(session, loop, sink);
    enum cn_err err = enter(session, hello);
    if (err) {
        if (err == CN_FULL)
            cn_metrics_add(cn_metric_closed(CN_REASON_TOO_MANY), 1);
        free(session);
        return err;
    }
    loop->session_count++;
    cn_metrics_add(CN_M_SESSIONS, 1);
    cn_metrics_add(CN_M_SESSIONS_OPENED, 1);
    *out = session;
    if (!session->pass)
        cn_session_begin(session, hello);
    else if (hello->token.ptr)
        cn_pass_show(session, hello->token, (struct cn_str){NULL, 0});
    cn_session_settle(session);
    return CN_OK;
}

// ---- What the client sends ----

void cn_session_asked(struct cn_session *session)
{
    session->in_flight++;
    session->loop->in_flight++;
}

void cn_session_answered(struct cn_session *session)
{
    session->in_flight--;
    session->loop->in_flight--;
}

void cn_session_receive(struct cn_session *session, struct cn_str text)
{
    if (!cn_session_is_live(session))
        return;
    cn_metrics_add(CN_M_REQUESTS, 1);
    cn_session_alive(session);
    cn_dispatch(session, text);
    cn_session_settle(session);
}

void cn_session_receive_binary(struct cn_session *session)
{
    if (!cn_session_is_live(session))
        return;
    cn_metrics_add(CN_M_REQUESTS, 1);
    cn_session_alive(session);
    const struct cn_str no_id = {NULL, 0};
    if (cn_session_may(session, &(struct cn_cost){.points = CN_POINTS}, no_id))
        cn_session_problem(session, CN_PROBLEM_BINARY, no_id);
    cn_session_settle(session);
}

// ---- Pings and ends in time ----

void cn_session_alive(struct cn_session *session)
{
    if (session->state != CN_SESSION_OPEN)
        return;
    struct cn_loop *loop = session->loop;
    cn_list_remove(&session->queued);
    session->due_ms = cn_clock_ms() + loop->hub->config->ping_interval_ms;
    cn_list_push_back(&loop->idle, &session->queued);
}

static void ping(struct cn_session *session, int64_t now_ms)
{
    struct cn_loop *loop = session->loop;
    cn_list_remove(&session->queued);
    session->due_ms = now_ms + loop->hub->config->pong_timeout_ms;
    cn_list_push_back(&loop->awaiting, &session->queued);
    // A full socket gets no ping; that it takes bytes again will do for an answer.
    if (cn_session_flush(session))
        cn_session_write(session, (struct cn_str){(const char *)ping_frame, sizeof(ping_frame)});
}

// How many pings one sweep sends: twice what an even spread over the interval needs. So sessions
// that came together are not pinged together for ever.
static size_t pings_at_most(const struct cn_loop *loop, int64_t since_last_ms)
{
    int64_t interval_ms = loop->hub->config->ping_interval_ms;
    return 16 + loop->session_count * 2 * (size_t)since_last_ms / (size_t)interval_ms;
}

static void sweep_idle(struct cn_loop *loop, int64_t now_ms)
{
    size_t left = pings_at_most(loop, now_ms - loop->swept_ms);
    loop->swept_ms = now_ms;
    CN_LIST_EACH_SAFE (link, &loop->idle) {
        struct cn_session *session = CN_CONTAINER(link, struct cn_session, queued);
        if (session->due_ms > now_ms || left-- == 0)
            break;
        ping(session, now_ms);
    }
}

// One that was sent away waits for the answers to what it asked for, which the bus gives by its
// deadline.
static bool may_go(const struct cn_session *session, int64_t now_ms)
{
    int64_t patience_ms = session->loop->hub->config->publish_deadline_ms + ANSWERS_MS;
    return session->in_flight == 0 || session->going_ms == 0 ||
           now_ms - session->going_ms >= patience_ms;
}

void cn_session_close_due(struct cn_loop *loop, int64_t now_ms)
{
    CN_LIST_EACH_SAFE (link, &loop->going) {
        struct cn_session *session = CN_CONTAINER(link, struct cn_session, going);
        if (session->going_ms > now_ms)
            break;
        if (may_go(session, now_ms))
            cn_session_close(session, session->going_reason);
    }
}

// The lists are in the order of their times.
void cn_session_sweep(struct cn_loop *loop, int64_t now_ms)
{
    CN_LIST_EACH_SAFE (link, &loop->stalled) {
        struct cn_session *session = CN_CONTAINER(link, struct cn_session, stalled);
        if (session->stalled_ms > now_ms)
            break;
        cn_session_close(session, CN_REASON_SLOW);
    }
    CN_LIST_EACH_SAFE (link, &loop->awaiting) {
        struct cn_session *session = CN_CONTAINER(link, struct cn_session, queued);
        if (session->due_ms > now_ms)
            break;
        cn_session_close(session, CN_REASON_NO_PONG);
    }
    sweep_idle(loop, now_ms);
    cn_session_close_due(loop, now_ms);
}

static void send_away(struct cn_session *session, int64_t in_ms, enum cn_reason reason)
{
    if (cn_list_is_linked(&session->going))
        return;
    session->going_ms = cn_clock_ms() + in_ms;
    session->going_reason = reason;
    cn_list_push_back(&session->loop->going, &session->going);
    cn_session_answer(session, cn_codec_reconnect(&session->loop->text, in_ms, reason));
}

// The times at which sessions go: `next` of `count`, taken in steps of `step`.
struct turns {
    int64_t next;
    int64_t step;
    int64_t count;
};

static void send_list_away(struct cn_link *list, struct turns *turns, int64_t spread_ms,
                           enum cn_reason reason)
{
    CN_LIST_EACH_SAFE (link, list) {
        struct cn_session *session = CN_CONTAINER(link, struct cn_session, queued);
        send_away(session, spread_ms * turns->next / turns->count, reason);
        turns->next += turns->step;
    }
}

void cn_loop_send_away(struct cn_loop *loop, int64_t spread_ms, enum cn_reason reason)
{
    // Each loop has turns of its own, so that no two sessions of the node go at the same time.
    int64_t loops = loop->hub->loop_count;
    int64_t sessions = loop->session_count ? (int64_t)loop->session_count : 1;
    struct turns turns = {.next = loop->index, .step = loops, .count = sessions * loops};
    send_list_away(&loop->newcomers, &turns, spread_ms, reason);
    send_list_away(&loop->idle, &turns, spread_ms, reason);
    send_list_away(&loop->awaiting, &turns, spread_ms, reason);
}

static void close_list(struct cn_link *list, enum cn_reason reason)
{
    CN_LIST_EACH_SAFE (link, list)
        cn_session_close(CN_CONTAINER(link, struct cn_session, queued), reason);
}

void cn_loop_close_all(struct cn_loop *loop, enum cn_reason reason)
{
    close_list(&loop->newcomers, reason);
    close_list(&loop->idle, reason);
    close_list(&loop->awaiting, reason);
}
