// SPDX-License-Identifier: MIT
// Publishes on their way from a loop to the bus, and the answers on their way back. A late answer
// finds its session by id in the registry, or is dropped.
#include <stdio.h>
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/frame.h"
#include "hub_private.h"

enum {
    // Of a publish with what the hub carries along: enough for a body of some 350 bytes.
    BLOCK_BYTES = 1024,
    BLOCKS_KEPT = 1024,
};

void cn_publish_pool_init(struct cn_pool *pool)
{
    cn_pool_init(pool, BLOCK_BYTES, BLOCKS_KEPT);
}

// ---- The answer to a publish: a letter to the loop ----

struct reply_letter {
    struct cn_letter letter;
    struct cn_publish *home; // a reference: in whose memory this is, and whose id is told
    struct cn_loop *loop;    // where it was made, and goes
    // Of a session, found by its number, or of a caller of the HTTP API.
    uint64_t session;
    struct cn_api_caller caller;
    bool is_of_api;
    bool has_id; // the session gave it
    struct cn_published result;
    int64_t sent_us;
};

// What the hub carries along with a publish, in its context.
struct publish_context {
    struct cn_ask ask;          // the way to main
    struct cn_publish *publish; // whose context this is
    struct reply_letter *reply; // made beforehand, since the answer must not fail; NULL once sent
    struct reply_letter own;    // that of the first leg; the sender's leg uses it too
    struct cn_published first;  // of the recipient's leg, while the sender's is under way
};

// The reply goes; true when the publish's memory went with it and is the caller's to give back.
static bool let_go(struct reply_letter *reply)
{
    if (reply->is_of_api)
        atomic_fetch_sub(&reply->loop->hub->api_waiting, 1);
    return cn_ref_release(&reply->home->ref);
}

// Any thread.
static void dispose_of(struct reply_letter *reply)
{
    if (reply && let_go(reply))
        free(reply->home);
}

// The thread of the loop that made it. Mostly main is done with the publish by then, and its memory
// serves for another one.
static void recycle(struct reply_letter *reply)
{
    struct cn_publish *home = reply->home;
    struct cn_pool *pool = &reply->loop->publishes;
    if (let_go(reply))
        cn_pool_give(pool, home, cn_publish_bytes(home->body_len, sizeof(struct publish_context)));
}

static void free_reply(struct cn_mail *mail)
{
    dispose_of(
        CN_CONTAINER(CN_CONTAINER(mail, struct cn_letter, mail), struct reply_letter, letter));
}

static void tell_result(struct cn_session *session, const struct reply_letter *reply)
{
    struct cn_str id = reply->has_id ? cn_str_of(reply->home->id) : (struct cn_str){NULL, 0};
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
    if (reply->is_of_api)
        cn_api_on_published(&reply->caller, cn_str_of(reply->home->id), &reply->result);
    else
        tell_session(loop, reply);
    recycle(reply);
}

static void reply(const struct cn_publish *publish, const struct cn_published *result)
{
    struct publish_context *context = publish->context;
    struct reply_letter *letter = context->reply;
    context->reply = NULL;
    letter->result = *result;
    cn_loop_post_always(letter->loop, &letter->letter);
}

// ---- On the main thread: what the bus says ----

static void on_published(void *arg, const struct cn_publish *publish,
                         const struct cn_published *result);

// The recipient has it; now the sender's own inbox, so that his other sessions see it too. The ack
// waits for both and names the recipient's position.
static enum cn_err send_copy(struct cn_hub *hub, const struct cn_publish *first,
                             const struct cn_published *result)
{
    const struct cn_str body = {first->body, first->body_len};
    struct cn_publish *copy = cn_publish_new(body, sizeof(struct publish_context));
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
    reply(publish, &outcome);
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
    cn_heap_flow_note(&hub->flow, publish->body_len);
    cn_bus_publish_take(hub->bus, &publish);
}

void cn_publish_expect(struct cn_mail *mail, struct cn_hub *hub)
{
    struct cn_ask *ask = CN_CONTAINER(mail, struct cn_ask, mail);
    if (ask->read == read_publish_ask)
        cn_bus_publish_expect(hub->bus, context_of(mail)->publish);
}

// What is the same for every reply: that of whom `reply` says, made in the publish's own memory.
static void prepare_reply(struct publish_context *context, struct cn_loop *loop,
                          const struct reply_letter *reply)
{
    struct reply_letter *own = &context->own;
    *own = *reply;
    own->letter = (struct cn_letter){{NULL, free_reply}, read_reply};
    own->home = context->publish;
    cn_ref_hold(&own->home->ref);
    own->loop = loop;
    own->sent_us = cn_clock_us();
    context->reply = own;
    if (own->is_of_api)
        atomic_fetch_add(&loop->hub->api_waiting, 1);
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
    prepare_reply(context, loop, reply);
    context->own.has_id = order->id.ptr != NULL;
    publish->deadline_ms = context->own.sent_us / 1000 + loop->hub->config->publish_deadline_ms;
    publish->channel = *order->channel;
    publish->session = reply->session;
    publish->leg = (int)order->leg;
    publish->done = on_published;
    publish->arg = loop->hub;
    publish->has_ack = context->own.has_id || reply->is_of_api; // the API answers always
    enum cn_err err = cn_str_copy(order->user, publish->user, sizeof(publish->user));
    return err ? err : fill_id(publish, loop, order->id);
}

// The ask for main, with the answer prepared as `reply` says.
static enum cn_err make_ask(struct cn_loop *loop, const struct cn_publish_order *order,
                            const struct reply_letter *reply, struct cn_ask **out)
{
    size_t bytes = cn_publish_bytes(order->body.len, sizeof(struct publish_context));
    void *memory = cn_pool_take(&loop->publishes, bytes);
    if (!memory)
        return CN_NOMEM;
    struct cn_publish *publish =
        cn_publish_make(memory, order->body, sizeof(struct publish_context));
    struct publish_context *context = publish->context;
    context->publish = publish;
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
    const struct reply_letter reply = {.is_of_api = true, .caller = *caller};
    struct cn_ask *ask;
    enum cn_err err = make_ask(loop, order, &reply, &ask);
    return err ? err : cn_hub_put(loop, ask);
}
