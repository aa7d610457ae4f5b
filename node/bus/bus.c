// SPDX-License-Identifier: MIT
// The generic part of a bus: pending requests, their deadlines and bound, the one answer to each.
#include "chatnode/bus.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bus_private.h"

#include "chatnode/clock.h"

// Two sweeps are at least this far apart, since each walks all that is pending.
#define SWEEP_MIN_MS 10

const char *cn_bus_cause_word(enum cn_bus_cause cause)
{
    static const char *const words[] = {
#define X(symbol, word) word,
        CN_BUS_CAUSE_TABLE(X)
#undef X
    };
    return words[cause];
}

static void free_read(struct cn_read *read)
{
    free(read->context);
    free(read);
}

// ---- Deadlines ----

static void arm_sweep(struct cn_bus *bus, int64_t deadline_ms)
{
    if (bus->sweep_at_ms != 0 && bus->sweep_at_ms <= deadline_ms)
        return;
    int64_t now = cn_clock_ms();
    int64_t wait = deadline_ms > now ? deadline_ms - now : 0;
    bus->sweep_at_ms = now + wait;
    cn_timer_start(bus->sweep, wait);
}

// The request is in `list` and waits for its answer.
static void enlist(struct cn_bus *bus, struct cn_link *list, struct cn_link *link,
                   int64_t deadline_ms)
{
    cn_list_push_back(list, link);
    bus->pending++;
    arm_sweep(bus, deadline_ms);
}

static void finish_publish(struct cn_bus *bus, struct cn_publish *publish,
                           const struct cn_published *result)
{
    publish->answered = true;
    publish->done(publish->arg, publish, result);
    if (publish->flights > 0)
        bus->lingering++;
    else
        cn_publish_free(publish);
}

static void finish_read(struct cn_bus *bus, struct cn_read *read, const struct cn_page *page)
{
    read->answered = true;
    read->done(read->arg, read, page);
    if (read->flights > 0)
        bus->lingering++;
    else
        free_read(read);
}

static void fail_publishes(struct cn_bus *bus, struct cn_link *list)
{
    const struct cn_published unavailable = {.err = CN_UNAVAILABLE};
    struct cn_link *link;
    while ((link = cn_list_pop_front(list)) != NULL) {
        bus->pending--;
        finish_publish(bus, CN_CONTAINER(link, struct cn_publish, link), &unavailable);
    }
}

static void fail_reads(struct cn_bus *bus, struct cn_link *list)
{
    const struct cn_page unavailable = {.err = CN_UNAVAILABLE};
    struct cn_link *link;
    while ((link = cn_list_pop_front(list)) != NULL) {
        bus->pending--;
        finish_read(bus, CN_CONTAINER(link, struct cn_read, link), &unavailable);
    }
}

static void move(struct cn_link *link, struct cn_link *list)
{
    cn_list_remove(link);
    cn_list_push_back(list, link);
}

// Moves the publishes that are due to `due`; returns the earliest deadline of the others.
static int64_t collect_publishes(struct cn_bus *bus, int64_t now, struct cn_link *due)
{
    int64_t next = INT64_MAX;
    CN_LIST_EACH_SAFE (link, &bus->publishes) {
        int64_t deadline = CN_CONTAINER(link, struct cn_publish, link)->deadline_ms;
        if (deadline <= now)
            move(link, due);
        else if (deadline < next)
            next = deadline;
    }
    return next;
}

static int64_t collect_reads(struct cn_bus *bus, int64_t now, struct cn_link *due)
{
    int64_t next = INT64_MAX;
    CN_LIST_EACH_SAFE (link, &bus->reads) {
        int64_t deadline = CN_CONTAINER(link, struct cn_read, link)->deadline_ms;
        if (deadline <= now)
            move(link, due);
        else if (deadline < next)
            next = deadline;
    }
    return next;
}

static void on_sweep(void *arg)
{
    struct cn_bus *bus = arg;
    struct cn_link publishes, reads;
    cn_list_init(&publishes);
    cn_list_init(&reads);
    int64_t now = cn_clock_ms();
    int64_t next = collect_publishes(bus, now, &publishes);
    int64_t next_read = collect_reads(bus, now, &reads);
    if (next_read < next)
        next = next_read;
    bus->sweep_at_ms = 0;
    if (next != INT64_MAX)
        arm_sweep(bus, next > now + SWEEP_MIN_MS ? next : now + SWEEP_MIN_MS);
    fail_publishes(bus, &publishes);
    fail_reads(bus, &reads);
}

// ---- Life ----

static char *copy_text(const char *text)
{
    return strdup(text ? text : "");
}

static enum cn_err init(struct cn_bus *bus, struct cn_reactor *reactor,
                        const struct cn_bus_options *options, const struct cn_bus_events *events,
                        const char **why)
{
    bus->reactor = reactor;
    bus->events = *events;
    cn_list_init(&bus->publishes);
    cn_list_init(&bus->reads);
    bus->options = *options;
    bus->options.url = copy_text(options->url);
    bus->options.prefix = copy_text(options->prefix);
    bus->options.node = copy_text(options->node);
    bus->options.keys = bus->options.notices_path = NULL; // borrowed until now
    bus->options.ca = copy_text(options->ca);
    bus->options.cert = copy_text(options->cert);
    bus->options.key = copy_text(options->key);
    if (!bus->options.url || !bus->options.prefix || !bus->options.node || !bus->options.ca ||
        !bus->options.cert || !bus->options.key)
        return CN_NOMEM;
    enum cn_err err = cn_bus_rekey(bus, options->keys, options->takes_unsealed, why);
    return err ? err : cn_timer_new(reactor, on_sweep, bus, &bus->sweep);
}

static void release(struct cn_bus *bus)
{
    cn_timer_free(bus->sweep);
    free((char *)bus->options.url);
    free((char *)bus->options.prefix);
    free((char *)bus->options.node);
    cn_sealer_free(bus->sealer);
    free((char *)bus->options.ca);
    free((char *)bus->options.cert);
    free((char *)bus->options.key);
    bus->ops->free(bus);
}

enum cn_err cn_bus_new(struct cn_reactor *reactor, const struct cn_bus_options *options,
                       const struct cn_bus_events *events, struct cn_bus **out, const char **why)
{
    CN_ASSERT(events->on_open && events->on_entry && events->on_reset);
    CN_ASSERT(events->on_state && events->on_durability && events->on_fatal);
    CN_ASSERT(events->on_notice && events->on_noticed);
    struct cn_bus *bus = NULL;
    bool memory = options->url == NULL || options->url[0] == '\0';
    enum cn_err err =
        memory ? cn_bus_new_memory(options, &bus, why) : cn_bus_new_redis(options, &bus, why);
    if (err != CN_OK)
        return err;
    err = init(bus, reactor, options, events, why);
    if (err != CN_OK) {
        release(bus);
        return err;
    }
    *out = bus;
    return CN_OK;
}

enum cn_err cn_bus_start(struct cn_bus *bus)
{
    return bus->ops->start(bus);
}

void cn_bus_free(struct cn_bus *bus)
{
    if (bus == NULL)
        return;
    bus->stopped = true;
    bus->ops->stop(bus);
    fail_publishes(bus, &bus->publishes);
    fail_reads(bus, &bus->reads);
    CN_ASSERT(bus->lingering == 0 && bus->notices == 0);
    release(bus);
}

const char *cn_bus_name(const struct cn_bus *bus)
{
    return bus->ops->name;
}

enum cn_bus_state cn_bus_state(const struct cn_bus *bus)
{
    return bus->state;
}

size_t cn_bus_pending(const struct cn_bus *bus)
{
    return bus->pending;
}

const struct cn_bus_stats *cn_bus_stats(const struct cn_bus *bus)
{
    return &bus->stats;
}

// ---- Requests ----

static bool is_full(const struct cn_bus *bus)
{
    return bus->pending + bus->lingering >= bus->options.queue;
}

static enum cn_err check_publish(const struct cn_bus *bus, const struct cn_publish *publish)
{
    if (bus->stopped)
        return CN_UNAVAILABLE;
    if (publish->body_len + CN_BUS_ENTRY_OVERHEAD > bus->options.entry_bytes)
        return CN_REFUSED;
    return is_full(bus) ? CN_FULL : CN_OK;
}

void cn_bus_publish_expect(struct cn_bus *bus, struct cn_publish *publish)
{
    if (bus->ops->expect)
        bus->ops->expect(bus, publish);
}

void cn_bus_publish_take(struct cn_bus *bus, struct cn_publish **publish)
{
    struct cn_publish *it = *publish;
    *publish = NULL;
    CN_ASSERT(it->done && it->channel.len > 2 && it->id[0] != '\0');
    it->bus = bus;
    it->flights = 0;
    it->answered = false;
    const struct cn_published refusal = {.err = check_publish(bus, it)};
    if (refusal.err != CN_OK) {
        finish_publish(bus, it, &refusal);
        return;
    }
    enlist(bus, &bus->publishes, &it->link, it->deadline_ms);
    bus->ops->publish(bus, it);
}

void cn_bus_read_take(struct cn_bus *bus, struct cn_read **read)
{
    struct cn_read *it = *read;
    *read = NULL;
    CN_ASSERT(it->done && it->channel.len > 2 && it->limit >= 1 && it->limit <= 512);
    it->bus = bus;
    it->flights = 0;
    it->answered = false;
    if (bus->stopped || is_full(bus)) {
        const struct cn_page refusal = {.err = bus->stopped ? CN_UNAVAILABLE : CN_FULL};
        finish_read(bus, it, &refusal);
        return;
    }
    enlist(bus, &bus->reads, &it->link, it->deadline_ms);
    bus->ops->read(bus, it);
}

enum cn_err cn_bus_subscribe(struct cn_bus *bus, const struct cn_channel_name *channel)
{
    return bus->stopped ? CN_OK : bus->ops->subscribe(bus, channel);
}

void cn_bus_unsubscribe(struct cn_bus *bus, const struct cn_channel_name *channel)
{
    if (!bus->stopped)
        bus->ops->unsubscribe(bus, channel);
}

// ---- Seals and notices ----

enum cn_err cn_bus_rekey(struct cn_bus *bus, const char *keys, bool takes_unsealed,
                         const char **why)
{
    struct cn_sealer *sealer = NULL;
    enum cn_err err = keys && keys[0] ? cn_sealer_new(cn_str_of(keys), &sealer, why) : CN_OK;
    if (err)
        return err;
    cn_sealer_free(bus->sealer);
    bus->sealer = sealer;
    bus->options.takes_unsealed = takes_unsealed;
    return CN_OK;
}

void cn_bus_notify(struct cn_bus *bus, struct cn_str text, int64_t until_ms,
                   void (*done)(void *arg, enum cn_err err), void *arg)
{
    CN_ASSERT(text.len > 0 && text.len <= CN_NOTICE_BYTES_MAX && text.ptr[text.len - 1] == '}');
    bool full = bus->notices >= CN_BUS_NOTICES_MAX;
    struct cn_notice *notice = bus->stopped || full ? NULL : malloc(sizeof(*notice));
    if (!notice) {
        done(arg, bus->stopped ? CN_UNAVAILABLE : full ? CN_FULL : CN_NOMEM);
        return;
    }
    notice->bus = bus;
    notice->done = done;
    notice->arg = arg;
    notice->until_ms = until_ms;
    notice->len = text.len;
    memcpy(notice->text, text.ptr, text.len);
    bus->notices++;
    bus->ops->notify(bus, notice);
}

void cn_bus_noticed(struct cn_notice *notice, enum cn_err err)
{
    notice->bus->notices--;
    notice->done(notice->arg, err);
    free(notice);
}

// ---- For the implementations ----

void cn_bus_published(struct cn_bus *bus, struct cn_publish *publish,
                      const struct cn_published *result)
{
    if (publish->answered) {
        bus->stats.late++;
        return;
    }
    cn_list_remove(&publish->link);
    bus->pending--;
    finish_publish(bus, publish, result);
}

void cn_bus_answered(struct cn_bus *bus, struct cn_read *read, const struct cn_page *page)
{
    if (read->answered) {
        bus->stats.late++;
        return;
    }
    cn_list_remove(&read->link);
    bus->pending--;
    finish_read(bus, read, page);
}

void cn_bus_publish_depart(struct cn_publish *publish)
{
    publish->flights++;
}

void cn_bus_publish_arrive(struct cn_publish *publish)
{
    CN_ASSERT(publish->flights > 0);
    if (--publish->flights > 0 || !publish->answered)
        return;
    publish->bus->lingering--;
    cn_publish_free(publish);
}

void cn_bus_read_depart(struct cn_read *read)
{
    read->flights++;
}

void cn_bus_read_arrive(struct cn_read *read)
{
    CN_ASSERT(read->flights > 0);
    if (--read->flights > 0 || !read->answered)
        return;
    read->bus->lingering--;
    free_read(read);
}

void cn_bus_each_pending(struct cn_bus *bus)
{
    CN_LIST_EACH_SAFE (link, &bus->publishes) {
        struct cn_publish *publish = CN_CONTAINER(link, struct cn_publish, link);
        if (publish->flights == 0)
            bus->ops->publish(bus, publish);
    }
    CN_LIST_EACH_SAFE (link, &bus->reads) {
        struct cn_read *read = CN_CONTAINER(link, struct cn_read, link);
        if (read->flights == 0)
            bus->ops->read(bus, read);
    }
}

void cn_bus_set_state(struct cn_bus *bus, enum cn_bus_state state, enum cn_bus_cause cause,
                      const char *why)
{
    bool is_news = bus->state != state || (state != CN_BUS_UP && bus->cause != cause);
    if (!is_news || bus->stopped)
        return;
    bus->state = state;
    bus->cause = cause;
    bus->events.on_state(bus->events.arg, state, cause, why);
}
