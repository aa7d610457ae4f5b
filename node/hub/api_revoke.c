// SPDX-License-Identifier: MIT
// What operators order by the HTTP API: revocations and the end of sessions. An order goes to main
// and the bus, and its answer comes back when it is stored.
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/codec.h"
#include "hub_private.h"

// How long a node believes that a user's sessions are to end; then it is too late.
enum { KICK_TTL_S = 60, ANSWER_MAX_BYTES = 4096, LIST_MAX_BYTES = 16 << 20 };

// An order on its way to main and back: one allocation, since the answer must not fail.
struct order {
    struct cn_ask ask;
    struct cn_letter letter;
    struct cn_loop *loop;
    struct cn_hub *hub;
    struct cn_api_caller caller;
    struct cn_ruling ruling;
    enum cn_err err;
};

static void dispose_of(struct order *order)
{
    atomic_fetch_sub(&order->hub->api_waiting, 1);
    free(order);
}

static void free_ask(struct cn_mail *mail)
{
    dispose_of(CN_CONTAINER(CN_CONTAINER(mail, struct cn_ask, mail), struct order, ask));
}

static void free_letter(struct cn_mail *mail)
{
    dispose_of(CN_CONTAINER(CN_CONTAINER(mail, struct cn_letter, mail), struct order, letter));
}

// ---- The answer ----

static enum cn_err write_answer(const struct cn_ruling *ruling, struct cn_buf *out)
{
    bool by_token = ruling->kind == CN_RULING_TOKEN;
    enum cn_err err = cn_buf_printf(out, "{\"%s\":", by_token ? "jti" : "user");
    if (!err)
        err = cn_codec_quote(out, cn_ruling_subject(ruling));
    if (!err && ruling->kind == CN_RULING_USER)
        err = cn_buf_printf(out, ",\"before\":%lld", (long long)ruling->before_s);
    if (!err && ruling->kind != CN_RULING_SESSIONS)
        err = cn_buf_printf(out, ",\"until\":%lld", (long long)ruling->until_s);
    return err ? err : cn_buf_append(out, "}", 1);
}

// Runs on the loop's thread. Without memory it is an answer without words.
static void read_letter(struct cn_letter *mail, struct cn_loop *loop)
{
    (void)loop;
    struct order *order = CN_CONTAINER(mail, struct order, letter);
    struct cn_answer answer = {.status = 200, .content_type = "application/json"};
    enum cn_err err;
    if (order->err) {
        err = cn_api_refuse(cn_problem_of(order->err), &answer);
    } else {
        cn_buf_init(&answer.body, ANSWER_MAX_BYTES);
        err = write_answer(&order->ruling, &answer.body);
    }
    if (err)
        answer.status = 500;
    order->caller.answered(order->caller.arg, order->caller.ticket, &answer);
    dispose_of(order);
}

// ---- On main ----

static void on_stored(void *arg, enum cn_err err)
{
    struct order *order = arg;
    order->err = err;
    // What it says itself a node knows even if the bus goes before it is told.
    if (!err && order->ruling.kind != CN_RULING_SESSIONS)
        order->err = cn_revocation_take(order->hub, &order->ruling);
    cn_loop_post_always(order->loop, &order->letter);
}

static void read_ask(struct cn_ask *ask, struct cn_hub *hub)
{
    struct order *order = CN_CONTAINER(ask, struct order, ask);
    if (order->ruling.kind != CN_RULING_SESSIONS)
        cn_revocation_merge(hub, &order->ruling);
    cn_revocation_notify(hub, &order->ruling, on_stored, order);
}

// ---- On the loop ----

enum cn_err cn_revocation_order(struct cn_loop *loop, const struct cn_ruling *ruling,
                                const struct cn_api_caller *caller)
{
    struct cn_hub *hub = loop->hub;
    // Loops that look in the same moment may go beyond it by one each.
    if (atomic_load(&hub->api_waiting) >= CN_API_WAITING_MAX)
        return CN_FULL;
    struct order *order = calloc(1, sizeof(*order));
    if (!order)
        return CN_NOMEM;
    *order = (struct order){.ask = {{NULL, free_ask}, read_ask},
                            .letter = {{NULL, free_letter}, read_letter},
                            .loop = loop,
                            .hub = hub,
                            .caller = *caller,
                            .ruling = *ruling};
    atomic_fetch_add(&hub->api_waiting, 1);
    return cn_hub_put(loop, &order->ask);
}

enum cn_err cn_api_judge(struct cn_loop *loop, bool kick, struct cn_str body,
                         const struct cn_api_caller *caller, enum cn_problem *problem)
{
    struct cn_ruling ruling;
    int64_t now_s = cn_clock_wall_ms() / 1000;
    int64_t ttl_s = kick ? KICK_TTL_S : loop->hub->config->revocation_ttl_s;
    enum cn_err err = cn_ruling_decode(body, kick, ttl_s, now_s, &ruling, problem);
    if (err == CN_INVALID)
        return err;
    if (!err)
        err = cn_revocation_order(loop, &ruling, caller);
    *problem = cn_problem_of(err);
    return err;
}

enum cn_err cn_api_list(struct cn_hub *hub, struct cn_answer *answer)
{
    *answer = (struct cn_answer){.status = 200, .content_type = "application/json"};
    cn_buf_init(&answer->body, LIST_MAX_BYTES);
    return cn_revocation_list(hub, &answer->body);
}
