// SPDX-License-Identifier: MIT
// The supervisor: what the bus says of itself goes to the log, to readiness, to `welcome` and to
// the metrics.
#include <string.h>

#include "chatnode/clock.h"
#include "chatnode/log.h"
#include "hub_private.h"

enum { REPORT_EVERY_MS = 1000 };

// ---- State ----

void cn_supervisor_on_state(void *arg, enum cn_bus_state state, enum cn_bus_cause cause,
                            const char *why)
{
    struct cn_hub *hub = arg;
    bool up = state == CN_BUS_UP;
    atomic_store(&hub->bus_cause, cause);
    if (atomic_exchange(&hub->bus_up, up) == up)
        return;
    cn_metrics_add(CN_M_BUS_UP, up ? 1 : -1);
    if (up) {
        CN_LOG(INFO, "bus.up", "the bus is up", CN_F_STR("bus", cn_bus_name(hub->bus)));
        return;
    }
    cn_metrics_add((unsigned)CN_M_BUS_DOWN_STARTING + (unsigned)cause, 1);
    CN_LOG(WARN, "bus.down", "the bus is down; publishes get a retryable error",
           CN_F_STR("cause", cn_bus_cause_word(cause)), CN_F_STR("why", why));
}

_Static_assert((int)CN_M_BUS_DOWN_MEMORY - (int)CN_M_BUS_DOWN_STARTING == CN_BUS_CAUSES - 1,
               "a metric for each cause");

void cn_supervisor_on_fatal(void *arg, const char *why)
{
    struct cn_hub *hub = arg;
    hub->on_fatal(hub->arg, why);
}

void cn_supervisor_on_durability(void *arg, enum cn_durability durability,
                                 const struct cn_store *store)
{
    struct cn_hub *hub = arg;
    int before = atomic_exchange(&hub->durability, (int)durability);
    cn_metrics_add(CN_M_BUS_DURABILITY, (int)durability - before);
    if (store) {
        atomic_store(&hub->store_evicts, store->evicts);
        atomic_store(&hub->store_replicas, store->replicas);
    }
}

enum cn_durability cn_supervisor_durability(const struct cn_hub *hub)
{
    return (enum cn_durability)atomic_load(&hub->durability);
}

bool cn_supervisor_is_durable(const struct cn_hub *hub)
{
    return atomic_load(&hub->durability) >= (int)hub->required;
}

// ---- The bus's counters, into the metrics ----

static const struct {
    unsigned row;
    size_t offset;
} reported[] = {
#define ROW(metric, field)                                                                         \
    {                                                                                              \
        CN_M_BUS_##metric, offsetof(struct cn_bus_stats, field)                                    \
    }
    ROW(RECONNECTS, reconnects),
    ROW(CATCH_UPS, catch_ups),
    ROW(INJECTED, injected),
    ROW(DUPLICATES, duplicates),
    ROW(BAD_SIZE, bad[CN_SEAL_FAULT_SIZE]),
    ROW(BAD_FORM, bad[CN_SEAL_FAULT_FORM]),
    ROW(BAD_VERSION, bad[CN_SEAL_FAULT_VERSION]),
    ROW(BAD_UNSEALED, bad[CN_SEAL_FAULT_UNSEALED]),
    ROW(BAD_UNKNOWN_KEY, bad[CN_SEAL_FAULT_UNKNOWN_KEY]),
    ROW(BAD_SEAL, bad[CN_SEAL_FAULT_SEAL]),
    ROW(BAD_UNSTORED, bad[CN_SEAL_FAULT_UNSTORED]),
    ROW(HELD_OVERFLOWS, overflows),
    ROW(LATE, late),
    ROW(REFUSED, refused),
    ROW(UNREPLICATED, unreplicated),
    ROW(CHECKS, checks),
    ROW(CHECKS_OFF, checks_off),
    ROW(FAILOVERS, failovers),
    ROW(RESTORED, restored),
    ROW(UNRESTORED, unrestored),
    ROW(FORGOTTEN, forgotten),
#undef ROW
};

static uint64_t counter(const struct cn_bus_stats *stats, size_t offset)
{
    uint64_t value;
    memcpy(&value, (const char *)stats + offset, sizeof(value));
    return value;
}

static void report_bus(struct cn_hub *hub)
{
    const struct cn_bus_stats *now = cn_bus_stats(hub->bus);
    for (size_t i = 0; i < CN_COUNT(reported); i++) {
        uint64_t more =
            counter(now, reported[i].offset) - counter(&hub->reported, reported[i].offset);
        cn_metrics_add(reported[i].row, (int64_t)more);
    }
    hub->reported = *now;
    int64_t pending = (int64_t)cn_bus_pending(hub->bus);
    cn_metrics_add(CN_M_BUS_PENDING, pending - hub->reported_pending);
    hub->reported_pending = pending;
}

static void report_log(struct cn_hub *hub)
{
    uint64_t lost = cn_log_lost();
    cn_metrics_add(CN_M_LOG_LOST, (int64_t)(lost - hub->reported_lost));
    hub->reported_lost = lost;
}

// What costs memory on this node.
static size_t count_objects(const struct cn_hub *hub)
{
    return cn_registry_count(hub->registry) + hub->channels.count;
}

void cn_supervisor_note_growth(struct cn_hub *hub)
{
    cn_heap_note(&hub->heap, count_objects(hub));
}

// After many have gone, or many messages have passed, their memory goes too.
static void give_back(struct cn_hub *hub)
{
    bool have_gone = cn_heap_look(&hub->heap, count_objects(hub));
    bool has_passed = cn_heap_flow_look(&hub->flow);
    if (!have_gone && !has_passed)
        return;
    int64_t began_us = cn_clock_us();
    cn_heap_trim();
    CN_LOG(DEBUG, "heap.trimmed", "free memory was given back to the system",
           CN_F_INT("took_us", cn_clock_us() - began_us));
}

static void look_around(void *arg)
{
    struct cn_hub *hub = arg;
    report_bus(hub);
    cn_revocation_sweep(hub, cn_clock_ms());
    report_log(hub);
    give_back(hub);
    cn_timer_start(hub->report_timer, REPORT_EVERY_MS);
}

enum cn_err cn_supervisor_start(struct cn_hub *hub)
{
    enum cn_err err = cn_timer_new(hub->reactor, look_around, hub, &hub->report_timer);
    if (err == CN_OK)
        cn_timer_start(hub->report_timer, REPORT_EVERY_MS);
    return err;
}
