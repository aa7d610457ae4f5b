// SPDX-License-Identifier: MIT
// The bus inside one process: the reference for what a bus does, and the bus of a single node.
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "bus_private.h"
#include "memory_log.h"

#include "chatnode/clock.h"
#include "chatnode/hash.h"
#include "chatnode/log.h"

// Ids remembered at most, whatever the rate; the oldest go first.
#define SEEN_MAX 1000000
#define TIDY_MS  1000

struct channel {
    struct cn_hash_node node; // its key is the name
    struct cn_link link; // in memory_bus.idle by the time of its last entry, while it has entries
    int64_t last_ms;
    struct cn_pos last; // of the newest entry, also after the log expired
    struct cn_memory_log log;
    bool subscribed;
    bool opened; // on_open was told
    char name[]; // of node.key
};

// An id that was stored.
struct seen {
    struct cn_hash_node node;
    struct cn_link link; // in memory_bus.ids, oldest first
    int64_t expires_ms;
    struct cn_pos pos;
    int64_t ts_ms;
    char key[];
};

struct memory_bus {
    struct cn_bus base;
    struct cn_hash channels;
    struct cn_link idle; // channels with entries, the longest silent first
    struct cn_hash seen;
    struct cn_link ids;
    struct cn_timer *tidy;
    struct cn_board *board; // notices that are kept
    uint64_t last_gen;
    bool busy; // a callback of a request is running: what it asks for waits for its return
    struct cn_entry page[512];
};

static struct memory_bus *of(struct cn_bus *bus)
{
    return CN_CONTAINER(bus, struct memory_bus, base);
}

// ---- Channels ----

static struct channel *find(const struct memory_bus *memory, const struct cn_channel_name *name)
{
    struct cn_hash_node *node = cn_hash_find(&memory->channels, cn_channel_name_str(name));
    return node ? CN_CONTAINER(node, struct channel, node) : NULL;
}

static struct channel *find_or_make(struct memory_bus *memory, const struct cn_channel_name *name)
{
    struct channel *channel = find(memory, name);
    if (channel)
        return channel;
    channel = calloc(1, sizeof(*channel) + name->len);
    if (channel == NULL)
        return NULL;
    memcpy(channel->name, name->text, name->len);
    channel->node.key = (struct cn_str){channel->name, name->len};
    cn_list_init(&channel->link);
    if (cn_hash_insert(&memory->channels, &channel->node) != CN_OK) {
        free(channel);
        return NULL;
    }
    return channel;
}

static void free_channel(struct memory_bus *memory, struct channel *channel)
{
    cn_list_remove(&channel->link);
    cn_hash_remove(&memory->channels, &channel->node);
    cn_memory_log_clear(&channel->log);
    free(channel);
}

static void drop_if_unused(struct memory_bus *memory, struct channel *channel)
{
    if (!channel->subscribed && channel->log.count == 0)
        free_channel(memory, channel);
}

// Forgets the logs whose last entry is older than the time to live.
static void expire_logs(struct memory_bus *memory, int64_t now)
{
    int64_t ttl_ms = memory->base.options.history_ttl_s * 1000;
    while (!cn_list_is_empty(&memory->idle)) {
        struct channel *channel = CN_CONTAINER(memory->idle.next, struct channel, link);
        if (now - channel->last_ms < ttl_ms)
            return;
        cn_list_remove(&channel->link);
        cn_memory_log_clear(&channel->log);
        drop_if_unused(memory, channel);
    }
}

// ---- Ids ----

static void free_seen(struct memory_bus *memory, struct seen *seen)
{
    cn_list_remove(&seen->link);
    cn_hash_remove(&memory->seen, &seen->node);
    free(seen);
}

// The oldest comes next: it was written long ago. Inline in any case: GCC takes a function that
// only prefetches for one without effect.
static inline __attribute__((always_inline)) void expect_oldest(const struct memory_bus *memory)
{
    if (!cn_list_is_empty(&memory->ids))
        __builtin_prefetch(CN_CONTAINER(memory->ids.next, struct seen, link));
}

static void expire_ids(struct memory_bus *memory, int64_t now)
{
    while (!cn_list_is_empty(&memory->ids)) {
        struct seen *seen = CN_CONTAINER(memory->ids.next, struct seen, link);
        if (seen->expires_ms > now && memory->seen.count <= SEEN_MAX)
            return;
        free_seen(memory, seen);
        expect_oldest(memory);
    }
}

enum { KEY_MAX = CN_CHANNEL_NAME_MAX + 2 * CN_NAME_MAX + 2 };

// Writes the key of an id, without a NUL: no name contains a space. Returns its length.
static size_t format_key(const struct cn_publish *publish, char *out)
{
    size_t user = strlen(publish->user), id = strlen(publish->id), at = publish->channel.len;
    memcpy(out, publish->channel.text, at);
    out[at++] = ' ';
    memcpy(out + at, publish->user, user);
    at += user;
    out[at++] = ' ';
    memcpy(out + at, publish->id, id);
    return at + id;
}

// With many ids the table is in no near cache, and finding out that one is new would wait for its
// bucket and for the first node there. So the bucket is fetched while the publish before is served,
// the node while the rest of this one is made ready.
static void expect(struct cn_bus *bus, struct cn_publish *publish)
{
    char key[KEY_MAX];
    publish->hash = cn_hash_of((struct cn_str){key, format_key(publish, key)});
    cn_hash_expect(&of(bus)->seen, publish->hash);
}

// An id that is not in the table yet; NULL without memory.
static struct seen *make_seen(const struct cn_publish *publish)
{
    char key[KEY_MAX];
    size_t len = format_key(publish, key);
    struct seen *seen = malloc(sizeof(*seen) + len);
    if (seen == NULL)
        return NULL;
    seen->node = (struct cn_hash_node){.hash = publish->hash, .key = {seen->key, len}};
    seen->link = (struct cn_link){NULL, NULL};
    memcpy(seen->key, key, len);
    return seen;
}

// Puts the id in. CN_EXISTS: it was known, and *seen is what is known; CN_NOMEM.
static enum cn_err remember(struct memory_bus *memory, struct seen **seen)
{
    struct cn_hash_node *node = &(*seen)->node;
    struct cn_hash_node *known = cn_hash_find_hashed(&memory->seen, node->key, node->hash);
    enum cn_err err = known ? CN_EXISTS : cn_hash_insert_new(&memory->seen, node);
    if (err == CN_OK) {
        cn_list_push_back(&memory->ids, &(*seen)->link);
        return CN_OK;
    }
    free(*seen);
    *seen = known ? CN_CONTAINER(known, struct seen, node) : NULL;
    return err;
}

// ---- Publishing ----

// When a publish is served: the clocks are read once for it.
struct moment {
    int64_t ms;
    int64_t wall_ms;
};

// The next position of the channel: within its generation, or the first of a new one.
static struct cn_pos next_pos(const struct memory_bus *memory, const struct channel *channel,
                              const struct moment *now)
{
    if (channel->log.count > 0)
        return (struct cn_pos){channel->last.gen, channel->last.seq + 1};
    uint64_t gen = (uint64_t)now->wall_ms * 1000;
    return (struct cn_pos){gen > memory->last_gen ? gen : memory->last_gen + 1, 0};
}

static void note_append(struct memory_bus *memory, struct channel *channel, struct cn_pos pos,
                        const struct moment *now)
{
    channel->last = pos;
    if (pos.gen > memory->last_gen)
        memory->last_gen = pos.gen;
    channel->last_ms = now->ms;
    cn_list_remove(&channel->link);
    cn_list_push_back(&memory->idle, &channel->link);
}

static enum cn_err append(struct memory_bus *memory, struct channel *channel,
                          const struct cn_publish *publish, const struct moment *now,
                          struct cn_entry *entry)
{
    struct cn_pos pos = next_pos(memory, channel, now);
    struct cn_str body = {publish->body, publish->body_len};
    enum cn_err err = cn_memory_log_append(&channel->log, pos, now->wall_ms, body,
                                           memory->base.options.history_messages, entry);
    if (err == CN_OK)
        note_append(memory, channel, pos, now);
    return err;
}

// Stores the publish as a new entry, notes that under its id, and tells the subscriber.
static enum cn_err store(struct memory_bus *memory, struct channel *channel,
                         const struct cn_publish *publish, const struct moment *now,
                         struct seen *seen)
{
    struct cn_entry entry;
    if (append(memory, channel, publish, now, &entry) != CN_OK)
        return CN_NOMEM;
    seen->pos = entry.pos;
    seen->ts_ms = now->wall_ms;
    seen->expires_ms = now->ms + memory->base.options.dedupe_ttl_s * 1000;
    struct cn_bus *bus = &memory->base;
    if (channel->subscribed)
        bus->events.on_entry(bus->events.arg, &publish->channel, entry.pos, entry.text);
    return CN_OK;
}

static struct cn_published store_once(struct memory_bus *memory, struct channel *channel,
                                      const struct cn_publish *publish, const struct moment *now)
{
    struct seen *seen = make_seen(publish);
    enum cn_err err = seen ? remember(memory, &seen) : CN_NOMEM;
    bool known = err == CN_EXISTS && seen != NULL;
    if (err == CN_OK) {
        err = store(memory, channel, publish, now, seen);
        if (err != CN_OK)
            free_seen(memory, seen);
    }
    if (err != CN_OK)
        drop_if_unused(memory, channel); // it may have been made for this
    if (err != CN_OK && !known)
        return (struct cn_published){.err = CN_NOMEM};
    return (struct cn_published){.pos = seen->pos, .ts_ms = seen->ts_ms, .dup = known};
}

static void serve_publish(struct memory_bus *memory, struct cn_publish *publish)
{
    if (publish->hash == 0)
        expect(&memory->base, publish);
    const struct moment now = {.ms = cn_clock_ms(), .wall_ms = cn_clock_wall_ms()};
    expire_ids(memory, now.ms);
    expire_logs(memory, now.ms);
    cn_hash_expect_node(&memory->seen, publish->hash);
    struct cn_published result = {.err = CN_NOMEM};
    struct channel *channel = find_or_make(memory, &publish->channel);
    if (channel) {
        cn_memory_log_expect(&channel->log);
        result = store_once(memory, channel, publish, &now);
    }
    cn_bus_published(&memory->base, publish, &result);
}

static void serve_read(struct memory_bus *memory, struct cn_read *read)
{
    expire_logs(memory, cn_clock_ms());
    const struct cn_memory_log nothing = {0};
    const struct channel *channel = find(memory, &read->channel);
    struct cn_page page;
    cn_memory_log_read(channel ? &channel->log : &nothing, read->kind, read->from, read->limit,
                       memory->page, &page);
    cn_bus_answered(&memory->base, read, &page);
}

// Answers all that is pending, publishes first.
static void serve(struct cn_bus *bus)
{
    struct memory_bus *memory = of(bus);
    if (memory->busy || bus->state != CN_BUS_UP)
        return;
    memory->busy = true;
    while (bus->pending > 0) {
        if (!cn_list_is_empty(&bus->publishes))
            serve_publish(memory, CN_CONTAINER(bus->publishes.next, struct cn_publish, link));
        else
            serve_read(memory, CN_CONTAINER(bus->reads.next, struct cn_read, link));
    }
    memory->busy = false;
}

static void publish(struct cn_bus *bus, struct cn_publish *publish)
{
    (void)publish;
    serve(bus);
}

static void read_log(struct cn_bus *bus, struct cn_read *read)
{
    (void)read;
    serve(bus);
}

// ---- The rest of the seam ----

static void open_channel(struct cn_bus *bus, struct channel *channel)
{
    channel->opened = true;
    const struct cn_channel_name name = cn_channel_name_of(channel->node.key);
    bus->events.on_open(bus->events.arg, &name, cn_memory_log_tail(&channel->log));
}

static enum cn_err subscribe(struct cn_bus *bus, const struct cn_channel_name *name)
{
    struct channel *channel = find_or_make(of(bus), name);
    if (channel == NULL)
        return CN_NOMEM;
    channel->subscribed = true;
    expire_logs(of(bus), cn_clock_ms());
    if (bus->state == CN_BUS_UP)
        open_channel(bus, channel);
    return CN_OK;
}

static void unsubscribe(struct cn_bus *bus, const struct cn_channel_name *name)
{
    struct channel *channel = find(of(bus), name);
    if (channel == NULL)
        return;
    channel->subscribed = channel->opened = false;
    drop_if_unused(of(bus), channel);
}

static void on_tidy(void *arg)
{
    struct memory_bus *memory = arg;
    expire_ids(memory, cn_clock_ms());
    expire_logs(memory, cn_clock_ms());
    cn_timer_start(memory->tidy, TIDY_MS);
}

static void notify(struct cn_bus *bus, struct cn_notice *notice)
{
    const struct cn_str text = {notice->text, notice->len};
    enum cn_err err = CN_UNAVAILABLE; // it was not started yet
    if (bus->state == CN_BUS_UP)
        err = notice->until_ms == 0
                  ? CN_OK
                  : cn_board_add(of(bus)->board, text, notice->until_ms, cn_clock_wall_ms());
    if (err == CN_OK)
        bus->events.on_notice(bus->events.arg, text, false);
    cn_bus_noticed(notice, err);
}

static void tell_notice(void *arg, struct cn_str text)
{
    struct cn_bus *bus = arg;
    bus->events.on_notice(bus->events.arg, text, true);
}

static void tell_notices(struct cn_bus *bus)
{
    cn_board_each(of(bus)->board, cn_clock_wall_ms(), tell_notice, bus);
    bus->events.on_noticed(bus->events.arg);
}

// on_open may change the table, so it is walked from the start until nothing is left to open.
static struct channel *find_unopened(struct memory_bus *memory)
{
    CN_HASH_EACH (node, &memory->channels) {
        struct channel *channel = CN_CONTAINER(node, struct channel, node);
        if (channel->subscribed && !channel->opened)
            return channel;
    }
    return NULL;
}

static enum cn_err start(struct cn_bus *bus)
{
    struct memory_bus *memory = of(bus);
    enum cn_err err = cn_timer_new(bus->reactor, on_tidy, memory, &memory->tidy);
    if (err != CN_OK)
        return err;
    cn_timer_start(memory->tidy, TIDY_MS);
    cn_bus_set_state(bus, CN_BUS_UP, CN_CAUSE_STARTING, "in this process");
    bus->events.on_durability(bus->events.arg, CN_DURABILITY_MEMORY, NULL);
    tell_notices(bus);
    struct channel *channel;
    while ((channel = find_unopened(memory)) != NULL)
        open_channel(bus, channel);
    serve(bus);
    return CN_OK;
}

static void stop(struct cn_bus *bus)
{
    cn_timer_free(of(bus)->tidy);
    of(bus)->tidy = NULL;
}

static void free_memory(struct cn_bus *bus)
{
    struct memory_bus *memory = of(bus);
    CN_HASH_EACH (node, &memory->channels)
        free_channel(memory, CN_CONTAINER(node, struct channel, node));
    while (!cn_list_is_empty(&memory->ids))
        free_seen(memory, CN_CONTAINER(memory->ids.next, struct seen, link));
    cn_hash_fini(&memory->channels);
    cn_hash_fini(&memory->seen);
    cn_timer_free(memory->tidy);
    cn_board_free(memory->board);
    free(memory);
}

static const struct cn_bus_ops memory_ops = {
    .name = "memory",
    .start = start,
    .publish = publish,
    .expect = expect,
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .read = read_log,
    .notify = notify,
    .stop = stop,
    .free = free_memory,
};

enum cn_err cn_bus_new_memory(const struct cn_bus_options *options, struct cn_bus **out,
                              const char **why)
{
    *why = "the in-process bus keeps nothing on disk: require-durability needs redis-url";
    if (options->history_messages == 0 || options->required > CN_DURABILITY_MEMORY)
        return CN_INVALID;
    struct memory_bus *memory = calloc(1, sizeof(*memory));
    if (memory == NULL)
        return CN_NOMEM;
    enum cn_err err = cn_board_new(options->notices_path, cn_clock_wall_ms(), &memory->board, why);
    if (err) {
        free(memory);
        return err;
    }
    memory->base.ops = &memory_ops;
    cn_hash_init(&memory->channels);
    cn_hash_init(&memory->seen);
    cn_list_init(&memory->idle);
    cn_list_init(&memory->ids);
    *out = &memory->base;
    return CN_OK;
}
