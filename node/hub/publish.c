// SPDX-License-Identifier: MIT
// Publishes on their way from a loop to the bus, and the answers on their way back. A late answer
// finds its session by id in the registry, or is dropped.
#include <stdio.h>
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/frame.h"
#include "hub_private.h"

// ---- The answer to a publish: a letter to the loop ----

struct reply_letter {
    struct cn_letter letter;
    // Of a session, found by its number, or of a caller of the HTTP API on this loop.
    uint64_t session;
    struct cn_loop *loop; // NULL: of a session
    struct cn_api_caller caller;
    bool has_id; // the session gave it
    struct cn_published result;
    int64_t sent_us;
    char id[CN_NAME_MAX + 1];
};

// What the hub carries along with a publish, in its context.
struct publish_context {
    struct cn_ask ask;          // the way to main
    struct cn_publish *publish; // whose context this is
    struct reply_letter *reply; // made beforehand, since the answer must not fail; NULL once sent
    struct cn_published first;  // of the recipient's leg, while the sender's is under way
};

// A publish with the hub's context, or NULL without memory.
static struct cn_publish *new_publish(struct cn_str body)
{
    struct cn_publish *publish = cn_publish_new(body, sizeof(struct publish_context));
    if (publish)
        ((struct publish_context *)publish->context)->publish = publish;
    return publish;
}

static void dispose_of(struct reply_letter *reply)
{
    if (reply && reply->loop)
        atomic_fetch_sub(&reply->loop->hub->api_waiting, 1);
    free(reply);
}

static void free_reply(struct cn_mail *mail)
{
    dispose_of(
        CN_CONTAINER(CN_CONTAINER(mail, struct cn_letter, mail), struct reply_letter, letter));
}

static void tell_result(struct cn_session *session, const struct reply_letter *reply)
{
    struct cn_str id = reply->has_id ? cn_str_of(reply->id) : (struct cn_str){NULL, 0};
    const struct cn_published *result = &reply->result;
    if (result->err)
        cn_session_problem(session, cn_problem_of(result->err), id);
    else if (reply->has_id)
        cn_session_answer(session, cn_codec_ack(&session->loop->text, id, result->pos,
                                                result->ts_ms, result->dup));
}

static void tell_session(struct cn_loop *loop, const struct reply_letter *reply)
{
    struct cn_session *session = cn_session_find(loop, reply->session);
    if (!session)
        return;
    cn_session_answered(session);
    tell_result(session, reply);
}

// Runs on the loop's thread.
static void read_reply(struct cn_letter *mail, struct cn_loop *loop)
{
    struct reply_letter *reply = CN_CONTAINER(mail, struct reply_letter, letter);
    cn_metrics_observe_us(CN_M_PUBLISH_SECONDS, cn_clock_us() - reply->sent_us);
    if (reply->result.err)
        cn_metrics_add(CN_M_PUBLISHES_FAILED, 1);
    if (reply->loop)
        cn_api_on_published(&reply->caller, cn_str_of(reply->id), &reply->result);
    else
        tell_session(loop, reply);
    dispose_of(reply);
}

static void reply(struct cn_hub *hub, const struct cn_publish *publish,
                  const struct cn_published *result)
{
    struct publish_context *context = publish->context;
    struct reply_letter *letter = context->reply;
    context->reply = NULL;
    letter->result = *result;
    if (letter->loop)
        cn_loop_post_always(letter->loop, &letter->letter);
    else
        cn_hub_post(hub, publish->session, &letter->letter);
}

// ---- On the main thread: what the bus says ----

static void on_published(void *arg, const struct cn_publish *publish,
                         const struct cn_published *result);

// The recipient has it; now the sender's own inbox, so that his other sessions see it too. The ack
// waits for both and names the recipient's position.
static enum cn_err send_copy(struct cn_hub *hub, const struct cn_publish *first,
                             const struct cn_published *result)
{
    struct cn_publish *copy = new_publish((struct cn_str){first->body, first->body_len});
    if (!copy)
        return CN_NOMEM;
    enum cn_err err =
        cn_channel_name_make(CN_CHANNEL_INBOX, cn_str_of(first->user), &copy->channel);
    if (err) {
        cn_publish_free(copy);
        return err;
    }
    struct publish_context *context = copy->context;
    struct publish_context *first_context = first->context;
    context->reply = first_context->reply;
    context->first = *result;
    first_context->reply = NULL;
    copy->deadline_ms = first->deadline_ms;
    memcpy(copy->user, first->user, sizeof(copy->user));
    memcpy(copy->id, first->id, sizeof(copy->id));
    copy->session = first->session;
    copy->has_ack = first->has_ack;
    copy->leg = CN_LEG_SENDER;
    copy->done = on_published;
    copy->arg = hub;
    cn_bus_publish_take(hub->bus, &copy);
    return CN_OK;
}

static void on_published(void *arg, const struct cn_publish *publish,
                         const struct cn_published *result)
{
    struct cn_hub *hub = arg;
    const struct publish_context *context = publish->context;
    struct cn_published outcome = *result;
    if (!outcome.err && publish->leg == CN_LEG_RECIPIENT) {
        outcome.err = send_copy(hub, publish, result);
        if (!outcome.err)
            return;
    } else if (!outcome.err && publish->leg == CN_LEG_SENDER) {
        outcome = context->first;
    }
    reply(hub, publish, &outcome);
}

// ---- From the loop to main ----

static struct publish_context *context_of(struct cn_mail *mail)
{
    return CN_CONTAINER(mail, struct publish_context, ask.mail);
}

static void free_publish_ask(struct cn_mail *mail)
{
    struct publish_context *context = context_of(mail);
    dispose_of(context->reply);
    cn_publish_free(context->publish);
}

static void read_publish_ask(struct cn_ask *ask, struct cn_hub *hub)
{
    struct cn_publish *publish = context_of(&ask->mail)->publish;
    cn_metrics_add(CN_M_PUBLISHES, 1);
    cn_bus_publish_take(hub->bus, &publish);
}

static enum cn_err prepare_reply(struct publish_context *context, const struct reply_letter *reply)
{
    struct reply_letter *copy = malloc(sizeof(*copy));
    if (!copy)
        return CN_NOMEM;
    *copy = *reply;
    copy->letter = (struct cn_letter){{NULL, free_reply}, read_reply};
    copy->sent_us = cn_clock_us();
    context->reply = copy;
    if (copy->loop)
        atomic_fetch_add(&copy->loop->hub->api_waiting, 1);
    return CN_OK;
}

static enum cn_err fill_id(struct cn_publish *publish, struct cn_loop *loop, struct cn_str id)
{
    if (id.ptr)
        return cn_str_copy(id, publish->id, sizeof(publish->id));
    // Made up, so that the bus can try again without storing it twice. No client can name it: `.`
    // is not allowed in an id.
    snprintf(publish->id, sizeof(publish->id), "%llx.%u.%llx", (unsigned long long)loop->hub->nonce,
             loop->index, (unsigned long long)++loop->last_id);
    return CN_OK;
}

static enum cn_err fill(struct cn_publish *publish, struct cn_loop *loop,
                        const struct cn_publish_order *order, const struct reply_letter *reply)
{
    struct publish_context *context = publish->context;
    enum cn_err err = prepare_reply(context, reply);
    if (err)
        return err;
    publish->deadline_ms = context->reply->sent_us / 1000 + loop->hub->config->publish_deadline_ms;
    publish->channel = *order->channel;
    publish->session = reply->session;
    publish->leg = (int)order->leg;
    publish->done = on_published;
    publish->arg = loop->hub;
    context->reply->has_id = order->id.ptr != NULL;
    publish->has_ack = context->reply->has_id || reply->loop; // the API answers always
    err = cn_str_copy(order->user, publish->user, sizeof(publish->user));
    if (!err)
        err = fill_id(publish, loop, order->id);
    memcpy(context->reply->id, publish->id, sizeof(publish->id));
    return err;
}

// The ask for main, with the answer prepared as `reply` says.
static enum cn_err make_ask(struct cn_loop *loop, const struct cn_publish_order *order,
                            const struct reply_letter *reply, struct cn_ask **out)
{
    struct cn_publish *publish = new_publish(order->body);
    if (!publish)
        return CN_NOMEM;
    struct publish_context *context = publish->context;
    context->ask = (struct cn_ask){{NULL, free_publish_ask}, read_publish_ask};
    *out = &context->ask;
    enum cn_err err = fill(publish, loop, order, reply);
    if (err)
        free_publish_ask(&context->ask.mail);
    return err;
}

enum cn_err cn_publish_send(struct cn_session *session, const struct cn_channel_name *channel,
                            const struct cn_request *request, struct cn_str body,
                            enum cn_publish_leg leg)
{
    if (session->in_flight >= session->loop->hub->config->max_in_flight)
        return CN_FULL;
    const struct cn_publish_order order = {.channel = channel,
                                           .user = cn_session_user(session),
                                           .id = request->id,
                                           .body = body,
                                           .leg = leg};
    const struct reply_letter reply = {.session = session->registration.id};
    struct cn_ask *ask;
    enum cn_err err = make_ask(session->loop, &order, &reply, &ask);
    return err ? err : cn_hub_ask(session, ask);
}

enum cn_err cn_publish_send_for(struct cn_loop *loop, const struct cn_api_caller *caller,
                                const struct cn_publish_order *order)
{
    // Loops that look in the same moment may go beyond it by one each.
    if (atomic_load(&loop->hub->api_waiting) >= CN_API_WAITING_MAX)
        return CN_FULL;
    const struct reply_letter reply = {.loop = loop, .caller = *caller};
    struct cn_ask *ask;
    enum cn_err err = make_ask(loop, order, &reply, &ask);
    return err ? err : cn_hub_put(loop, ask);
}
