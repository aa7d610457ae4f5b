// SPDX-License-Identifier: MIT
// The connect hook: a backend that decides, instead of keys, whether a token is believed and what
// it grants. Main asks it; answers that may be kept are.
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/codec.h"
#include "chatnode/fetch.h"
#include "chatnode/log.h"
#include "auth_private.h"
#include "hub_private.h"

enum {
    AT_ONCE = 64,           // questions under way
    QUEUE = 1024,           // and so many that wait
    ANSWER_BYTES = 16384,   // of the backend
    QUESTION_BYTES = 65536, // a token may need six bytes for one of its own
    CACHE_MAX = 1024        // answers that are kept
};

// All of it is main's.
struct cn_hook {
    struct cn_auth *auth;
    struct cn_fetcher *fetcher;
    struct cn_link calls; // of struct call: asked, not answered
    struct cn_hash cache; // of struct kept, by digest
    struct cn_link kept;  // the same; those that were kept first come first
};

// One question, from the loop to main and on to the backend.
struct call {
    struct cn_ask ask;
    struct cn_link link;
    struct cn_hook *hook;
    uint64_t session;
    unsigned char digest[CN_TOKEN_DIGEST_BYTES];
    struct cn_buf body;
};

// An answer for who shows the same token soon.
struct kept {
    struct cn_hash_node node;
    struct cn_link link;
    int64_t until_ms;
    unsigned char digest[CN_TOKEN_DIGEST_BYTES];
    size_t len;
    char claims[];
};

static struct cn_str digest_of(const unsigned char digest[CN_TOKEN_DIGEST_BYTES])
{
    return (struct cn_str){(const char *)digest, CN_TOKEN_DIGEST_BYTES};
}

// ---- What is kept ----

static void forget(struct cn_hook *hook, struct kept *kept)
{
    cn_hash_remove(&hook->cache, &kept->node);
    cn_list_remove(&kept->link);
    free(kept);
}

// The answer for this token that still holds, or NULL.
static const struct kept *find(struct cn_hook *hook, const struct call *call)
{
    struct cn_hash_node *node = cn_hash_find(&hook->cache, digest_of(call->digest));
    if (!node)
        return NULL;
    struct kept *kept = CN_CONTAINER(node, struct kept, node);
    if (kept->until_ms > cn_clock_ms())
        return kept;
    forget(hook, kept);
    return NULL;
}

// Keeps the answer as long as it says itself. Without memory it is asked again.
static void keep(struct cn_hook *hook, const struct call *call, struct cn_str claims)
{
    int64_t cache_s = cn_grant_cache_s(claims);
    struct kept *kept = cache_s > 0 ? malloc(sizeof(*kept) + claims.len) : NULL;
    if (!kept)
        return;
    struct cn_hash_node *old = cn_hash_find(&hook->cache, digest_of(call->digest));
    if (old)
        forget(hook, CN_CONTAINER(old, struct kept, node));
    else if (hook->cache.count == CACHE_MAX)
        forget(hook, CN_CONTAINER(hook->kept.next, struct kept, link));
    *kept = (struct kept){.until_ms = cn_clock_ms() + cache_s * 1000, .len = claims.len};
    memcpy(kept->digest, call->digest, sizeof(kept->digest));
    memcpy(kept->claims, claims.ptr, claims.len);
    kept->node.key = digest_of(kept->digest);
    if (cn_hash_insert(&hook->cache, &kept->node))
        free(kept);
    else
        cn_list_push_back(&hook->kept, &kept->link);
}

// ---- The answer ----

static void free_call(struct call *call)
{
    cn_list_remove(&call->link);
    cn_buf_fini(&call->body);
    free(call);
}

// Tells the session, and frees the call.
static void decide(struct call *call, struct cn_verdict *verdict)
{
    cn_auth_done(call->hook->auth->hub, call->session, verdict);
    free_call(call);
}

// That nobody could say is not the client's fault.
static void give_up(struct call *call, const char *why)
{
    struct cn_verdict verdict = {.fault = CN_TOKEN_UNAVAILABLE};
    cn_metrics_add(CN_M_HOOK_FAILED, 1);
    CN_LOG(WARN, "hook.failed", "the backend at auth-url did not decide", CN_F_STR("why", why));
    decide(call, &verdict);
}

// A backend that makes no sense has not decided.
static void take_claims(struct call *call, struct cn_str claims, bool is_fresh)
{
    struct cn_hook *hook = call->hook;
    const struct cn_token_rules rules = {.leeway_s = hook->auth->config->auth_leeway_s,
                                         .now_s = cn_clock_wall_ms() / 1000};
    struct cn_verdict verdict = {.grant = NULL};
    const char *why = NULL;
    verdict.fault = cn_grant_read(claims, &rules, &verdict.grant, &why);
    if (verdict.fault == CN_TOKEN_MALFORMED) {
        give_up(call, why);
        return;
    }
    if (is_fresh && verdict.fault == CN_TOKEN_NONE)
        keep(hook, call, claims);
    cn_metrics_add(is_fresh ? CN_M_HOOK_GRANTED : CN_M_HOOK_KEPT, 1);
    decide(call, &verdict);
}

static void on_answer(void *arg, const struct cn_fetch_answer *answer)
{
    struct call *call = arg;
    struct cn_verdict denied = {.fault = CN_TOKEN_DENIED};
    if (answer->err) {
        give_up(call, answer->why);
    } else if (answer->status == 200) {
        take_claims(call, answer->body, true);
    } else if (answer->status == 401 || answer->status == 403) {
        cn_metrics_add(CN_M_HOOK_DENIED, 1);
        decide(call, &denied);
    } else {
        give_up(call, "the status is neither 200 nor 401 nor 403");
    }
}

// ---- The question ----

static void free_ask(struct cn_mail *mail)
{
    free_call(CN_CONTAINER(CN_CONTAINER(mail, struct cn_ask, mail), struct call, ask));
}

static void read_ask(struct cn_ask *ask, struct cn_hub *hub)
{
    struct call *call = CN_CONTAINER(ask, struct call, ask);
    struct cn_hook *hook = call->hook;
    const struct kept *kept = find(hook, call);
    if (kept) {
        take_claims(call, (struct cn_str){kept->claims, kept->len}, false);
        return;
    }
    const struct cn_fetch_order order = {.url = hub->config->auth_url,
                                         .body = cn_buf_str(&call->body),
                                         .timeout_ms = hub->config->auth_url_timeout_ms,
                                         .answer_bytes = ANSWER_BYTES,
                                         .done = on_answer,
                                         .arg = call};
    enum cn_err err = cn_fetch_start(hook->fetcher, &order, NULL);
    if (err)
        give_up(call, err == CN_FULL ? "too many wait for it" : cn_err_str(err));
    else
        cn_list_push_back(&hook->calls, &call->link);
}

// Appends ,"key":"text"; nothing for an absent text.
static enum cn_err put_text(struct cn_buf *out, const char *key, struct cn_str text)
{
    if (!text.ptr)
        return CN_OK;
    enum cn_err err = cn_buf_printf(out, ",\"%s\":", key);
    return err ? err : cn_codec_quote(out, text);
}

static enum cn_err write_question(const struct cn_auth_question *question, const char *node_name,
                                  struct cn_buf *out)
{
    enum cn_err err = cn_buf_printf(out, "{\"token\":");
    if (!err)
        err = cn_codec_quote(out, question->token);
    if (!err)
        err = put_text(out, "user", question->user);
    if (!err)
        err = put_text(out, "room", question->room);
    if (!err)
        err = put_text(out, "address", question->address);
    if (!err)
        err = put_text(out, "node", cn_str_of(node_name));
    return err ? err : cn_buf_append(out, "}", 1);
}

enum cn_token_fault cn_hook_ask(struct cn_hook *hook, const struct cn_auth_question *question)
{
    if (question->token.len > CN_TOKEN_BYTES_MAX)
        return CN_TOKEN_MALFORMED;
    struct call *call = calloc(1, sizeof(*call));
    if (!call)
        return CN_TOKEN_MEMORY;
    *call = (struct call){.ask = {.mail = {.free = free_ask}, .read = read_ask},
                          .hook = hook,
                          .session = question->session};
    cn_buf_init(&call->body, QUESTION_BYTES);
    if (!cn_token_digest(question->token, call->digest) ||
        write_question(question, hook->auth->hub->node_name, &call->body)) {
        free_call(call);
        return CN_TOKEN_MEMORY;
    }
    return cn_hub_put(question->loop, &call->ask) ? CN_TOKEN_UNAVAILABLE : CN_TOKEN_NONE;
}

// ---- Life ----

enum cn_err cn_hook_new(struct cn_auth *auth, struct cn_hook **out, const char **why)
{
    *why = "out of memory, or libcurl is missing";
    struct cn_hook *hook = calloc(1, sizeof(*hook));
    if (!hook)
        return CN_NOMEM;
    hook->auth = auth;
    cn_list_init(&hook->calls);
    cn_list_init(&hook->kept);
    cn_hash_init(&hook->cache);
    enum cn_err err =
        cn_fetcher_new(&(struct cn_fetcher_options){.reactor = auth->hub->reactor,
                                                    .at_once = AT_ONCE,
                                                    .queue = QUEUE,
                                                    .ca_file = auth->config->auth_ca_file},
                       &hook->fetcher);
    if (!err && !cn_fetcher_allows(hook->fetcher, auth->config->auth_url)) {
        *why = "auth-url is neither https:// nor http:// of this machine";
        err = CN_INVALID;
    }
    if (err) {
        cn_hook_free(hook);
        return err;
    }
    *out = hook;
    return CN_OK;
}

void cn_hook_free(struct cn_hook *hook)
{
    if (!hook)
        return;
    cn_fetcher_free(hook->fetcher);
    CN_LIST_EACH_SAFE (it, &hook->calls)
        free_call(CN_CONTAINER(it, struct call, link));
    CN_LIST_EACH_SAFE (it, &hook->kept)
        forget(hook, CN_CONTAINER(it, struct kept, link));
    cn_hash_fini(&hook->cache);
    free(hook);
}
