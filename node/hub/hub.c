// SPDX-License-Identifier: MIT
// The hub: builds the parts and carries letters between the loops and the bus.
#include "chatnode/hub.h"

#include <stdlib.h>
#include <sys/random.h>

#include "chatnode/clock.h"
#include "chatnode/log.h"
#include "hub_private.h"

enum { ENTRY_OVERHEAD_BYTES = 1024 };

// ---- Parts ----

static enum cn_err make_bus(struct cn_hub *hub, const char **why)
{
    const struct cn_config *config = hub->config;
    const struct cn_bus_options options = {
        .url = config->redis_url,
        .prefix = config->redis_prefix,
        .ca = config->redis_ca,
        .cert = config->redis_cert,
        .key = config->redis_key,
        .node = hub->node_name,
        .history_messages = (size_t)config->history_messages,
        .history_ttl_s = config->history_ttl_s,
        .dedupe_ttl_s = config->dedupe_ttl_s,
        .queue = (size_t)config->bus_queue,
        // JSON may need six bytes for one of a message's.
        .entry_bytes = (size_t)config->max_message_bytes * 6 + ENTRY_OVERHEAD_BYTES,
        .keys = config->bus_key,
        .takes_unsealed = config->bus_unsealed,
        .notices_path = config->revocations_file,
        .required = hub->required,
        .watchdog_ms = config->watchdog_ms,
        .held_messages = (size_t)config->held_messages,
        .check_ms = config->position_check_s * 1000,
        .replay_ms = config->replay_ms,
        .replay_bytes = (size_t)config->replay_bytes,
        .replica_wait_ms = config->replica_wait_ms,
    };
    const struct cn_bus_events events = {
        .arg = hub,
        .on_open = cn_channel_on_open,
        .on_entry = cn_channel_on_entry,
        .on_reset = cn_channel_on_reset,
        .on_state = cn_supervisor_on_state,
        .on_durability = cn_supervisor_on_durability,
        .on_fatal = cn_supervisor_on_fatal,
        .on_notice = cn_revocation_on_notice,
        .on_noticed = cn_revocation_on_noticed,
    };
    return cn_bus_new(hub->reactor, &options, &events, &hub->bus, why);
}

// ---- Life ----

// Main is woken at the end of the loop's turn: cn_loop_has_asked.
static void no_wake(void *arg)
{
    (void)arg;
}

// What a turn of main brought for a loop is one wake.
static void wake_loops(void *arg)
{
    struct cn_hub *hub = arg;
    for (unsigned i = 0; i < hub->loop_count; i++)
        cn_loop_wake(hub->loops[i]);
}

static enum cn_err make_loops(struct cn_hub *hub)
{
    hub->loops = calloc(hub->loop_count, sizeof(struct cn_loop *));
    if (!hub->loops)
        return CN_NOMEM;
    for (unsigned i = 0; i < hub->loop_count; i++) {
        hub->loops[i] = cn_loop_new(hub, i);
        if (!hub->loops[i])
            return CN_NOMEM;
    }
    return CN_OK;
}

enum cn_err cn_hub_new(const struct cn_hub_parts *parts, struct cn_hub **out, const char **why)
{
    CN_ASSERT(parts->loops >= 1 && parts->loops <= 64);
    *why = "out of memory";
    struct cn_hub *hub = calloc(1, sizeof(*hub));
    if (!hub)
        return CN_NOMEM;
    hub->config = parts->config;
    hub->reactor = parts->reactor;
    hub->node_name = parts->node_name;
    hub->loop_count = parts->loops;
    hub->on_fatal = parts->on_fatal;
    hub->arg = parts->arg;
    if (cn_durability_parse(cn_str_of(hub->config->require_durability), &hub->required)) {
        *why = "require-durability: not one of its words";
        free(hub);
        return CN_INVALID;
    }
    hub->started_ms = cn_clock_ms();
    if (getrandom(&hub->nonce, sizeof(hub->nonce), 0) != sizeof(hub->nonce)) {
        *why = "no randomness";
        free(hub);
        return CN_SYSTEM;
    }
    cn_hash_init(&hub->channels);
    cn_list_init(&hub->missed);
    cn_list_init(&hub->postponed);
    cn_channel_pool_init(&hub->letters);
    cn_frame_pools_init(&hub->frames);
    cn_mailbox_init(&hub->asks, (size_t)hub->config->bus_queue, no_wake, NULL);

    hub->registry = cn_registry_new((size_t)hub->config->max_connections_per_user);
    hub->revocations = cn_revocations_new();
    enum cn_err err = hub->registry && hub->revocations ? make_loops(hub) : CN_NOMEM;
    if (!err)
        err = cn_auth_new(hub->config, hub, &hub->auth, why);
    if (!err)
        err = cn_throttles_new(hub->config, &hub->throttles);
    if (!err)
        err = cn_timer_new(hub->reactor, cn_channel_retry_missed, hub, &hub->missed_timer);
    if (!err)
        err = make_bus(hub, why);
    if (err) {
        cn_hub_free(hub);
        return err;
    }
    cn_reactor_set_after(hub->reactor, wake_loops, hub);
    *out = hub;
    return CN_OK;
}

enum cn_err cn_hub_start(struct cn_hub *hub)
{
    enum cn_err err = cn_supervisor_start(hub);
    if (!err)
        cn_auth_start(hub->auth);
    return err ? err : cn_bus_start(hub->bus);
}

enum cn_err cn_hub_reload(struct cn_hub *hub, const struct cn_config *fresh, const char **why)
{
    enum cn_err err = cn_bus_rekey(hub->bus, fresh->bus_key, fresh->bus_unsealed, why);
    return err ? err : cn_auth_reload(hub->auth, fresh, why);
}

void cn_hub_free(struct cn_hub *hub)
{
    if (!hub)
        return;
    cn_reactor_set_after(hub->reactor, NULL, NULL);
    cn_mailbox_close(&hub->asks);
    // The loops' threads have ended: nobody reads what the bus still answers, nobody is to be
    // woken.
    for (unsigned i = 0; hub->loops && i < hub->loop_count; i++)
        if (hub->loops[i])
            cn_mailbox_close(&hub->loops[i]->letters);
    cn_bus_free(hub->bus);
    cn_mailbox_fini(&hub->asks);
    cn_channels_free(hub);
    cn_timer_free(hub->missed_timer);
    cn_timer_free(hub->report_timer);
    for (unsigned i = 0; hub->loops && i < hub->loop_count; i++)
        cn_loop_free(hub->loops[i]);
    free(hub->loops);
    cn_revocations_free(hub->revocations);
    cn_auth_free(hub->auth);
    cn_registry_free(hub->registry);
    cn_throttles_free(hub->throttles);
    cn_pool_fini(&hub->letters);
    cn_frame_pools_fini(&hub->frames);
    free(hub);
}

// ---- Letters ----

enum cn_err cn_hub_put(struct cn_loop *loop, struct cn_ask *ask)
{
    enum cn_err err = cn_mailbox_put(&loop->hub->asks, &ask->mail);
    if (err) {
        cn_metrics_add(CN_M_MAILBOX_FULL_MAIN, 1);
        ask->mail.free(&ask->mail);
    } else {
        cn_loop_has_asked(loop);
    }
    return err;
}

enum cn_err cn_hub_ask(struct cn_session *session, struct cn_ask *ask)
{
    enum cn_err err = cn_hub_put(session->loop, ask);
    if (!err)
        cn_session_asked(session);
    return err;
}

void cn_hub_turn(struct cn_hub *hub)
{
    struct cn_mail *mail = cn_mailbox_take_all(&hub->asks);
    while (mail) {
        struct cn_mail *next = mail->next;
        if (next)
            cn_publish_expect(next, hub);
        struct cn_ask *ask = CN_CONTAINER(mail, struct cn_ask, mail);
        cn_lock_assert_none();
        ask->read(ask, hub);
        mail = next;
    }
}

struct cn_loop *cn_hub_loop(struct cn_hub *hub, unsigned index)
{
    CN_ASSERT(index < hub->loop_count);
    return hub->loops[index];
}

unsigned cn_hub_loops(const struct cn_hub *hub)
{
    return hub->loop_count;
}

struct cn_registry *cn_hub_registry(struct cn_hub *hub)
{
    return hub->registry;
}

void cn_hub_set_draining(struct cn_hub *hub)
{
    atomic_store(&hub->draining, true);
}

bool cn_hub_is_draining(const struct cn_hub *hub)
{
    return atomic_load(&hub->draining);
}

size_t cn_hub_pending(const struct cn_hub *hub)
{
    return cn_bus_pending(hub->bus);
}
