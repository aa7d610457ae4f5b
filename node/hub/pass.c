// SPDX-License-Identifier: MIT
// A session's pass, where tokens are asked for: it waits for a token, has one, shows a fresh one,
// and is closed when the last one has expired.
//
//   cn_pass_show     a token of the hello, or of a request `auth`
//     cn_auth_begin  what is it worth? Now, or later by cn_auth_done
//   cn_pass_decide   admit: the first one; renew: a fresh one; refuse
//   cn_pass_sweep    no token in time; the warning; the end
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/codec.h"
#include "chatnode/log.h"
#include "hub_private.h"

enum { WARNING_MIN_MS = 1000 }; // with less time left there is nothing to warn of

// What the hello said, until it is known who says it.
struct cn_wish {
    struct cn_hello hello; // points into this struct
    char user[CN_NAME_MAX + 1];
    char room[CN_NAME_MAX + 1];
    char address[CN_NAME_MAX + 1];
};

// ---- Life ----

// A copy of what `text` says, if it is there. Names have been checked; an address fits.
static void keep(struct cn_str *text, char copy[CN_NAME_MAX + 1])
{
    if (!text->ptr)
        return;
    size_t len = text->len < CN_NAME_MAX ? text->len : CN_NAME_MAX;
    memcpy(copy, text->ptr, len);
    *text = (struct cn_str){copy, len};
}

static struct cn_wish *new_wish(const struct cn_hello *hello)
{
    struct cn_wish *wish = calloc(1, sizeof(*wish));
    if (!wish)
        return NULL;
    wish->hello = *hello;
    wish->hello.token = (struct cn_str){NULL, 0};
    keep(&wish->hello.user, wish->user);
    keep(&wish->hello.room, wish->room);
    keep(&wish->hello.address, wish->address);
    return wish;
}

enum cn_err cn_pass_new(struct cn_session *session, const struct cn_hello *hello)
{
    struct cn_loop *loop = session->loop;
    struct cn_pass *pass = calloc(1, sizeof(*pass));
    if (!pass || !(pass->wish = new_wish(hello))) {
        free(pass);
        return CN_NOMEM;
    }
    pass->session = session;
    session->pass = pass;
    session->due_ms = cn_clock_ms() + loop->hub->config->auth_timeout_ms;
    cn_list_push_back(&loop->newcomers, &session->queued);
    return CN_OK;
}

void cn_pass_free(struct cn_pass *pass)
{
    if (!pass)
        return;
    cn_agenda_remove(&pass->session->loop->expiring, &pass->next);
    free(pass->wish);
    free(pass);
}

// ---- Times, by the wall's clock ----

static int64_t end_of(const struct cn_session *session)
{
    return session->grant->expires_s * 1000 + cn_auth_leeway_ms(session->loop->hub->auth);
}

int64_t cn_pass_left_ms(const struct cn_session *session, int64_t now_ms)
{
    int64_t left_ms = session->grant->expires_s * 1000 - now_ms;
    return left_ms > 0 ? left_ms : 0;
}

// The warning comes when half of the time is left if that is later, so that a client which is given
// tokens for a short time does not ask for the next one at once.
static enum cn_err plan(struct cn_session *session)
{
    struct cn_loop *loop = session->loop;
    int64_t left_ms = cn_pass_left_ms(session, cn_clock_wall_ms());
    int64_t warning_ms = loop->hub->config->auth_warning_ms;
    bool warns = warning_ms > 0 && left_ms >= WARNING_MIN_MS;
    if (warning_ms > left_ms / 2)
        warning_ms = left_ms / 2;
    int64_t due_ms = warns ? session->grant->expires_s * 1000 - warning_ms : end_of(session);
    return cn_agenda_put(&loop->expiring, &session->pass->next, due_ms);
}

static void warn_or_end(struct cn_session *session, int64_t now_ms)
{
    struct cn_loop *loop = session->loop;
    int64_t end_ms = end_of(session);
    enum cn_err err = CN_OK;
    if (now_ms < end_ms) {
        err = cn_agenda_put(&loop->expiring, &session->pass->next, end_ms);
        CN_ASSERT(!err); // it is in
        cn_session_answer(session,
                          cn_codec_expiring(&loop->text, cn_pass_left_ms(session, now_ms)));
    } else {
        cn_session_close(session, CN_REASON_EXPIRED);
    }
}

static void sweep_newcomers(struct cn_loop *loop, int64_t now_ms)
{
    CN_LIST_EACH_SAFE (link, &loop->newcomers) {
        struct cn_session *session = CN_CONTAINER(link, struct cn_session, queued);
        if (session->due_ms > now_ms)
            break;
        // That nobody could say what its token is worth is not the client's fault.
        cn_session_close(session,
                         session->pass->asks ? CN_REASON_INTERNAL : CN_REASON_UNAUTHENTICATED);
    }
}

void cn_pass_sweep(struct cn_loop *loop, int64_t now_ms)
{
    struct cn_agenda_item *item;
    if (!loop->hub->auth)
        return;
    int64_t wall_ms = cn_clock_wall_ms();
    sweep_newcomers(loop, now_ms);
    while ((item = cn_agenda_first(&loop->expiring)) && item->due_ms <= wall_ms)
        warn_or_end(CN_CONTAINER(item, struct cn_pass, next)->session, wall_ms);
}

int64_t cn_pass_next_ms(const struct cn_loop *loop, int64_t most)
{
    const struct cn_agenda_item *item = cn_agenda_first(&loop->expiring);
    int64_t next_ms = most;
    if (!cn_list_is_empty(&loop->newcomers))
        next_ms =
            CN_CONTAINER(loop->newcomers.next, struct cn_session, queued)->due_ms - cn_clock_ms();
    if (item && item->due_ms - cn_clock_wall_ms() < next_ms)
        next_ms = item->due_ms - cn_clock_wall_ms();
    return next_ms < most ? next_ms : most;
}

// ---- What a token is worth ----

static struct cn_str id_of(const struct cn_pass *pass)
{
    return pass->id[0] ? cn_str_of(pass->id) : (struct cn_str){NULL, 0};
}

static const struct {
    enum cn_token_fault fault;
    enum cn_problem problem;
    enum cn_reason reason; // for one that has no other token
} consequences[] = {
    {CN_TOKEN_REVOKED, CN_PROBLEM_UNAUTHENTICATED, CN_REASON_REVOKED},
    {CN_TOKEN_DENIED, CN_PROBLEM_DENIED, CN_REASON_DENIED},
    {CN_TOKEN_UNAVAILABLE, CN_PROBLEM_UNAVAILABLE, CN_REASON_INTERNAL},
    {CN_TOKEN_MEMORY, CN_PROBLEM_INTERNAL, CN_REASON_INTERNAL},
};

// Tells what is wrong. Who has a token already keeps it; else the session ends.
static void refuse(struct cn_session *session, enum cn_token_fault fault)
{
    enum cn_problem problem = CN_PROBLEM_UNAUTHENTICATED;
    enum cn_reason reason = CN_REASON_UNAUTHENTICATED;
    for (size_t i = 0; i < CN_COUNT(consequences); i++) {
        if (consequences[i].fault != fault)
            continue;
        problem = consequences[i].problem;
        reason = consequences[i].reason;
    }
    CN_LOG(DEBUG, "auth.refused", "a token was refused",
           CN_F_INT("session", session->registration.id),
           CN_F_STR("reason", cn_token_fault_word(fault)));
    cn_metrics_add(CN_M_PROBLEMS, 1);
    cn_session_answer(session, cn_codec_refusal(&session->loop->text, problem, id_of(session->pass),
                                                cn_str_of(cn_token_fault_word(fault))));
    if (!session->grant)
        cn_session_close(session, reason);
}

// From now on the session counts as one of the user's.
static enum cn_err name(struct cn_session *session, struct cn_str user)
{
    enum cn_err err = cn_registry_name(session->loop->hub->registry, user, &session->registration);
    // What was counted until now was nobody's.
    cn_throttle_free(session->throttle, cn_clock_ms());
    session->throttle = NULL;
    return err ? err : plan(session);
}

// The first token: now it is known who it is, and what its hello said is done.
static void admit(struct cn_session *session, struct cn_grant *grant)
{
    struct cn_wish *wish = session->pass->wish;
    CN_ASSERT(wish); // until there is a grant
    session->pass->wish = NULL;
    session->grant = grant;
    bool is_other = wish->hello.user.ptr && !cn_str_equal(wish->hello.user, grant->user);
    enum cn_err err = is_other ? CN_OK : name(session, grant->user);
    if (is_other) {
        cn_session_problem(session, CN_PROBLEM_OTHER_USER, id_of(session->pass));
        cn_session_close(session, CN_REASON_UNAUTHENTICATED);
    } else if (err) {
        cn_session_close(session, err == CN_FULL ? CN_REASON_TOO_MANY : CN_REASON_INTERNAL);
    } else {
        cn_session_begin(session, &wish->hello);
    }
    free(wish);
}

// Whether entries that `old` allowed are not for the bearer of `fresh`.
static bool narrows(const struct cn_grant *old, const struct cn_grant *fresh, struct cn_str room)
{
    int64_t old_from_ms, from_ms;
    if (!cn_grant_allows(old, room, CN_RIGHT_HISTORY, &old_from_ms))
        return false;
    return !cn_grant_allows(fresh, room, CN_RIGHT_HISTORY, &from_ms) || from_ms > old_from_ms;
}

static void leave(struct cn_member *member, struct cn_str room, enum cn_problem problem)
{
    struct cn_session *session = member->session;
    cn_recovery_supersede(member);
    cn_member_leave(member);
    cn_session_answer(session, cn_codec_left(&session->loop->text, room, (struct cn_str){NULL, 0},
                                             cn_str_of(cn_problem_code(problem))));
}

// A fresh token may allow less than `old`: rooms are left, and of others the past is owed no more.
static void give_up_rooms(struct cn_session *session, const struct cn_grant *old)
{
    static const struct cn_access join = {CN_ACCESS_ROOM, CN_RIGHT_JOIN};
    CN_LIST_EACH_SAFE (link, &session->members) {
        struct cn_member *member = CN_CONTAINER(link, struct cn_member, of_session);
        if (cn_channel_text_kind(member->feed->by_name.key) != CN_CHANNEL_ROOM)
            continue;
        const struct cn_channel_name name = cn_feed_name(member->feed); // which may end
        struct cn_str room = cn_channel_name_bare(&name);
        enum cn_problem problem;
        if (!cn_auth_allows(session->loop->hub->auth, session->grant, &join, room, &problem))
            leave(member, room, problem);
        else if (narrows(old, session->grant, room))
            cn_recovery_forgo(member);
    }
}

static void renew(struct cn_session *session, struct cn_grant *grant)
{
    struct cn_grant *old = session->grant;
    session->grant = grant;
    enum cn_err err = plan(session);
    CN_ASSERT(!err); // it is in the agenda
    cn_session_answer(session, cn_codec_authenticated(&session->loop->text, grant->expires_s,
                                                      cn_pass_left_ms(session, cn_clock_wall_ms()),
                                                      id_of(session->pass)));
    give_up_rooms(session, old);
    cn_grant_free(old);
}

void cn_pass_decide(struct cn_session *session, struct cn_verdict *verdict)
{
    struct cn_pass *pass = session->pass;
    if (!pass || !pass->asks)
        return; // it has ended
    pass->asks = false;
    // Asked in the turn in which the session gets the grant: a revocation that comes later finds
    // it.
    if (!verdict->fault)
        verdict->fault = cn_revocation_judge(session->loop->hub, verdict->grant);
    cn_metrics_add(cn_metric_auth(verdict->fault), 1);
    struct cn_grant *grant = verdict->grant;
    if (verdict->fault) {
        refuse(session, verdict->fault);
    } else if (!session->grant) {
        verdict->grant = NULL;
        admit(session, grant);
    } else if (!cn_str_equal(grant->user, cn_session_user(session))) {
        cn_session_problem(session, CN_PROBLEM_OTHER_USER, id_of(pass));
    } else {
        verdict->grant = NULL;
        renew(session, grant);
    }
}

void cn_pass_show(struct cn_session *session, struct cn_str token, struct cn_str id)
{
    struct cn_pass *pass = session->pass;
    if (pass->asks) {
        cn_session_problem(session, CN_PROBLEM_OVERLOADED, id);
        return;
    }
    enum cn_err err = id.ptr ? cn_str_copy(id, pass->id, sizeof(pass->id)) : CN_OK;
    CN_ASSERT(!err); // the codec has checked it
    if (!id.ptr)
        pass->id[0] = '\0';
    pass->asks = true;
    struct cn_auth_question question = {
        .loop = session->loop,
        .session = session->registration.id,
        .token = token,
    };
    if (pass->wish) {
        question.user = pass->wish->hello.user;
        question.room = pass->wish->hello.room;
        question.address = pass->wish->hello.address;
    }
    struct cn_verdict verdict;
    if (!cn_auth_begin(session->loop->hub->auth, &question, &verdict))
        return;
    cn_pass_decide(session, &verdict);
    cn_grant_free(verdict.grant);
}

// ---- Resuming ----

void cn_pass_temper(const struct cn_session *session, struct cn_str room,
                    struct cn_recovery_order *order)
{
    static const struct cn_access history = {CN_ACCESS_ROOM, CN_RIGHT_HISTORY};
    enum cn_problem problem;
    if (!order->has_since ||
        cn_auth_allows(session->loop->hub->auth, session->grant, &history, room, &problem))
        return;
    order->has_since = false;
    order->has_gap = true;
}
