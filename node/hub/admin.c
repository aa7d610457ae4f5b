// SPDX-License-Identifier: MIT
// What operators may ask: liveness, readiness, metrics, what this node is.
#include "chatnode/admin.h"

#include "chatnode/clock.h"
#include "chatnode/codec.h"
#include "hub_private.h"

enum { BODY_MAX_BYTES = 1 << 20, LOOP_DEAD_MS = 5000 };

typedef enum cn_err answer_fn(struct cn_hub *hub, struct cn_answer *answer);

struct route {
    const char *path;
    bool is_public;
    bool is_internal;
    answer_fn *make;
};

// ---- Liveness: the loops turn; never the bus ----

static enum cn_err answer_healthz(struct cn_hub *hub, struct cn_answer *answer)
{
    int64_t now_ms = cn_clock_ms();
    for (unsigned i = 0; i < hub->loop_count; i++) {
        int64_t silent_ms = now_ms - cn_loop_alive_ms(hub->loops[i]);
        if (silent_ms < LOOP_DEAD_MS)
            continue;
        answer->status = 503;
        return cn_buf_printf(&answer->body,
                             "{\"status\":\"stuck\",\"loop\":%u,\"silent_ms\":%lld}\n", i,
                             (long long)silent_ms);
    }
    return cn_buf_printf(&answer->body, "{\"status\":\"ok\"}\n");
}

// ---- Readiness: new clients may come ----

struct readiness {
    bool draining;
    bool bus_up;
    bool durable;
    bool full;
    bool knows_revocations; // or asks for no tokens
};

static struct readiness readiness_of(const struct cn_hub *hub)
{
    return (struct readiness){
        .draining = cn_hub_is_draining(hub),
        .bus_up = atomic_load(&hub->bus_up),
        .durable = cn_supervisor_is_durable(hub),
        .full = (int64_t)cn_registry_count(hub->registry) >= hub->config->max_connections,
        .knows_revocations = !hub->auth || cn_revocation_is_known(hub),
    };
}

static const char *word(bool value)
{
    return value ? "true" : "false";
}

static enum cn_err answer_readyz(struct cn_hub *hub, struct cn_answer *answer)
{
    struct readiness state = readiness_of(hub);
    bool ready =
        !state.draining && state.bus_up && state.durable && !state.full && state.knows_revocations;
    const char *cause = cn_bus_cause_word((enum cn_bus_cause)atomic_load(&hub->bus_cause));
    answer->status = ready ? 200 : 503;
    return cn_buf_printf(&answer->body,
                         "{\"ready\":%s,\"checks\":{\"draining\":%s,\"bus\":\"%s\","
                         "\"bus_cause\":\"%s\",\"durable\":%s,\"full\":%s,"
                         "\"revocations\":\"%s\"}}\n",
                         word(ready), word(state.draining), state.bus_up ? "up" : "down",
                         state.bus_up ? "" : cause, word(state.durable), word(state.full),
                         state.knows_revocations ? "known" : "unknown");
}

static enum cn_err answer_metrics(struct cn_hub *hub, struct cn_answer *answer)
{
    (void)hub;
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return cn_metrics_expose(&answer->body);
}

// ---- What this node is: no secrets, as clients may ask too ----

static enum cn_err answer_info(struct cn_hub *hub, struct cn_answer *answer)
{
    struct cn_buf *out = &answer->body;
    enum cn_durability durability = cn_supervisor_durability(hub);
    enum cn_err err =
        cn_buf_printf(out, "{\"name\":\"chatnode\",\"version\":\"%s\",\"node\":", CN_VERSION);
    if (!err)
        err = cn_codec_quote(out, cn_str_of(hub->node_name));
    if (err)
        return err;
    return cn_buf_printf(
        out,
        ",\"protocol\":%d,\"subprotocol\":\"%s\",\"tls\":%s,\"auth\":\"%s\",\"bus\":\"%s\","
        "\"durability\":\"%s\","
        "\"promise\":\"%s\",\"replicas\":%u,\"evicts\":%s,\"loops\":%u,"
        "\"sessions\":%zu,\"uptime_ms\":%lld,\"limits\":{\"message_bytes\":%lld,\"rooms\":%lld,"
        "\"in_flight\":%lld,\"connections\":%lld}}\n",
        CN_PROTOCOL_VERSION, CN_PROTOCOL_SUBPROTOCOL, word(hub->config->tls_cert[0] != '\0'),
        hub->config->auth, cn_bus_name(hub->bus), cn_durability_word(durability),
        cn_durability_promise(durability), atomic_load(&hub->store_replicas),
        word(atomic_load(&hub->store_evicts)), hub->loop_count, cn_registry_count(hub->registry),
        (long long)(cn_clock_ms() - hub->started_ms), (long long)hub->config->max_message_bytes,
        (long long)hub->config->max_rooms, (long long)hub->config->max_in_flight,
        (long long)hub->config->max_connections);
}

static const struct route routes[] = {
    {"/healthz", true, true, answer_healthz},
    {"/info", true, true, answer_info},
    {"/readyz", false, true, answer_readyz},
    {"/metrics", false, true, answer_metrics},
};

enum cn_err cn_admin_answer(struct cn_hub *hub, enum cn_audience audience, struct cn_str path,
                            struct cn_answer *answer)
{
    *answer = (struct cn_answer){.status = 200, .content_type = "application/json"};
    cn_buf_init(&answer->body, BODY_MAX_BYTES);
    for (size_t i = 0; i < CN_COUNT(routes); i++) {
        bool seen = audience == CN_AUDIENCE_PUBLIC ? routes[i].is_public : routes[i].is_internal;
        if (seen && cn_str_equal(path, cn_str_of(routes[i].path)))
            return routes[i].make(hub, answer);
    }
    return CN_NOTFOUND;
}
