// SPDX-License-Identifier: MIT
// The bus over Redis: publishes and reads on one connection, subscriptions on another.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_private.h"

#include "chatnode/clock.h"
#include "chatnode/log.h"

#define QUIET_MS   30000   // the same warning is not written again within this time
#define PAGE_BYTES 1048576 // of text in one page

// ---- Warnings ----

// The slot of `why`, or the one to give up for it.
static struct cn_redis_cause *find_cause(struct cn_redis_bus *redis, const char *why)
{
    struct cn_redis_cause *oldest = &redis->causes[0];
    for (size_t i = 0; i < CN_REDIS_CAUSES; i++) {
        struct cn_redis_cause *cause = &redis->causes[i];
        if (strncmp(cause->text, why, sizeof(cause->text) - 1) == 0)
            return cause;
        if (cause->logged_ms < oldest->logged_ms)
            oldest = cause;
    }
    snprintf(oldest->text, sizeof(oldest->text), "%s", why);
    oldest->logged_ms = 0;
    return oldest;
}

void cn_redis_bus_warn(struct cn_redis_bus *redis, const char *event, const char *message,
                       const char *why)
{
    struct cn_redis_cause *cause = find_cause(redis, why);
    int64_t now = cn_clock_ms();
    if (cause->logged_ms != 0 && now - cause->logged_ms < QUIET_MS)
        return;
    cause->logged_ms = now;
    CN_LOG(WARN, event, message, CN_F_STR("why", why), CN_F_STR("host", redis->url.host),
           CN_F_STR("socket", redis->url.path), CN_F_INT("port", redis->url.port));
}

// ---- State ----

static void update_state(struct cn_redis_bus *redis, enum cn_bus_cause cause, const char *why)
{
    bool up = redis->cmd_ready && redis->sub_ready;
    if (up && redis->base.state != CN_BUS_UP) {
        memset(redis->causes, 0, sizeof(redis->causes));
        CN_LOG(INFO, "bus.connected", "Redis answers", CN_F_STR("host", redis->url.host),
               CN_F_STR("socket", redis->url.path), CN_F_INT("port", redis->url.port),
               CN_F_STR("version", cn_redis_link_version(redis->cmd)));
    }
    cn_bus_set_state(&redis->base, up ? CN_BUS_UP : CN_BUS_CONNECTING, cause, why);
}

static void note_down(struct cn_redis_bus *redis, enum cn_bus_cause cause, const char *why)
{
    if (redis->base.stopped)
        return;
    cn_redis_bus_warn(redis, "bus.down", "Redis cannot be used; trying again", why);
    update_state(redis, cause, why);
}

// Both connections must reach the same server: subscribed to another, nothing would be heard.
static void check_same_server(struct cn_redis_bus *redis)
{
    if (!cn_redis_link_is_up(redis->cmd) || !cn_redis_link_is_up(redis->sub))
        return;
    if (strcmp(cn_redis_link_run_id(redis->cmd), cn_redis_link_run_id(redis->sub)) != 0)
        cn_redis_link_fail(redis->sub, CN_CAUSE_STRANGE,
                           "the two connections reached different servers");
}

// ---- Scripts ----

bool cn_redis_bus_can_send(const struct cn_redis_bus *redis)
{
    return redis->cmd_ready && !redis->loading;
}

bool cn_redis_bus_waits(const struct cn_redis_bus *redis)
{
    return redis->base.options.required == CN_DURABILITY_REPLICATED;
}

void cn_redis_bus_go_on(struct cn_redis_bus *redis)
{
    cn_bus_each_pending(&redis->base);
    cn_redis_catchup_pump(redis);
    cn_redis_board_pump(redis);
}

// Answers come in order, so when the scripts are there every earlier command was answered: what
// is still pending can be sent, in order, after what another Redis may have lost.
static void on_scripts_loaded(struct cn_redis_bus *redis)
{
    redis->loading = false;
    redis->cmd_ready = true;
    if (!cn_redis_link_is_started(redis->sub))
        cn_redis_link_start(redis->sub);
    check_same_server(redis);
    update_state(redis, CN_CAUSE_STARTING, "connected");
    if (!cn_redis_replay_begin(redis))
        cn_redis_bus_go_on(redis);
}

static void on_script(redisAsyncContext *ac, void *data, void *arg)
{
    (void)ac;
    struct cn_redis_bus *redis = arg;
    const redisReply *reply = data;
    if (reply == NULL)
        return;
    if (reply->type != REDIS_REPLY_STRING || reply->len != sizeof(redis->sha[0]) - 1) {
        char why[200];
        snprintf(why, sizeof(why), "Redis takes no scripts: %s",
                 reply->type == REDIS_REPLY_ERROR ? reply->str : "strange answer");
        cn_redis_link_fail(
            redis->cmd,
            reply->type == REDIS_REPLY_ERROR ? cn_redis_reply_cause(reply) : CN_CAUSE_STRANGE, why);
        return;
    }
    memcpy(redis->sha[redis->scripts_loaded++], reply->str, reply->len);
    if (redis->scripts_loaded == CN_REDIS_SCRIPT_COUNT)
        on_scripts_loaded(redis);
}

static void load_scripts(struct cn_redis_bus *redis)
{
    if (redis->loading)
        return;
    redis->loading = true;
    redis->scripts_loaded = 0;
    for (int i = 0; i < CN_REDIS_SCRIPT_COUNT; i++) {
        const struct cn_str args[] = {CN_STR_LITERAL("SCRIPT"), CN_STR_LITERAL("LOAD"),
                                      cn_redis_script_text((enum cn_redis_script)i)};
        if (!cn_redis_link_send(redis->cmd, on_script, redis, CN_COUNT(args), args)) {
            cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
            return;
        }
    }
}

void cn_redis_bus_heed(struct cn_redis_bus *redis, enum cn_redis_outcome outcome,
                       const redisReply *reply)
{
    if (outcome == CN_REDIS_NOSCRIPT)
        load_scripts(redis);
    else if (outcome == CN_REDIS_RETRY)
        cn_redis_link_fail(redis->cmd, cn_redis_reply_cause(reply), reply->str);
    else if (outcome == CN_REDIS_REFUSED)
        cn_redis_bus_warn(redis, "bus.refused", "Redis refuses a command", reply->str);
}

// ---- Reading ----

enum cn_err cn_redis_bus_read_page(struct cn_redis_bus *redis, const redisReply *reply,
                                   const struct cn_channel_name *channel, bool backwards,
                                   struct cn_redis_page *out)
{
    const struct cn_redis_reading reading = {cn_redis_bus_judge(redis), channel, backwards};
    enum cn_err err = cn_redis_reply_page(reply, &reading, out);
    for (int i = 0; err == CN_OK && i < CN_SEAL_FAULTS; i++)
        cn_redis_bus_drop(redis, cn_channel_name_str(channel), (enum cn_seal_fault)i, out->bad[i]);
    return err;
}

static void answer_page(struct cn_redis_bus *redis, struct cn_read *read, const redisReply *reply)
{
    struct cn_redis_page page;
    enum cn_err err =
        cn_redis_bus_read_page(redis, reply, &read->channel, read->kind != CN_READ_AFTER, &page);
    if (err != CN_OK) {
        const struct cn_page failure = {.err = err == CN_INVALID ? CN_REFUSED : err};
        cn_bus_answered(&redis->base, read, &failure);
        return;
    }
    cn_bus_answered(&redis->base, read, &page.page);
    cn_redis_page_fini(&page);
}

static void on_page(redisAsyncContext *ac, void *reply, void *arg)
{
    (void)ac;
    struct cn_read *read = arg;
    struct cn_redis_bus *redis = cn_redis_bus_of(read->bus);
    enum cn_redis_outcome outcome = cn_redis_reply_outcome(reply);
    cn_redis_bus_heed(redis, outcome, reply);
    if (outcome == CN_REDIS_DONE) {
        answer_page(redis, read, reply);
    } else if (outcome == CN_REDIS_REFUSED) {
        const struct cn_page failure = {.err = CN_REFUSED};
        cn_bus_answered(&redis->base, read, &failure);
    }
    cn_bus_read_arrive(read);
}

bool cn_redis_bus_send_read(struct cn_redis_bus *redis, redisCallbackFn *fn, void *subject,
                            const struct cn_channel_name *channel, const char *kind,
                            struct cn_pos from, unsigned limit)
{
    struct cn_redis_key log, meta;
    char where[CN_POS_TEXT_BYTES], count[16];
    cn_redis_keys_log(&redis->keys, channel, &log);
    cn_redis_keys_meta(&redis->keys, channel, &meta);
    size_t where_len = cn_pos_format(from, where);
    snprintf(count, sizeof(count), "%u", limit);
    const struct cn_str args[] = {
        CN_STR_LITERAL("EVALSHA"),    cn_str_of(redis->sha[CN_REDIS_SCRIPT_READ]),
        CN_STR_LITERAL("2"),          cn_redis_key_str(&log),
        cn_redis_key_str(&meta),      cn_str_of(kind),
        {where, where_len},           cn_str_of(count),
        cn_str_of(redis->page_bytes), cn_str_of(redis->entry_bytes),
    };
    return cn_redis_link_send(redis->cmd, fn, subject, CN_COUNT(args), args);
}

static void read_log(struct cn_bus *bus, struct cn_read *read)
{
    static const char *const kinds[] = {
        [CN_READ_AFTER] = "after", [CN_READ_BEFORE] = "before", [CN_READ_NEWEST] = "newest"};
    struct cn_redis_bus *redis = cn_redis_bus_of(bus);
    if (!cn_redis_bus_can_send(redis))
        return;
    cn_bus_read_depart(read);
    if (cn_redis_bus_send_read(redis, on_page, read, &read->channel, kinds[read->kind], read->from,
                               read->limit))
        return;
    cn_bus_read_arrive(read);
    cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
}

// ---- The links ----

static void on_fatal(void *arg, const char *why)
{
    struct cn_redis_bus *redis = arg;
    redis->cmd_ready = redis->loading = false;
    update_state(redis, CN_CAUSE_STRANGE, why);
    if (!redis->base.stopped)
        redis->base.events.on_fatal(redis->base.events.arg, why);
}

static void ask_durability(struct cn_redis_bus *redis)
{
    if (!cn_redis_durability_ask(redis))
        cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
}

static void on_cmd_up(void *arg)
{
    struct cn_redis_bus *redis = arg;
    redis->base.stats.reconnects += redis->cmd_was_up;
    redis->cmd_was_up = true;
    ask_durability(redis);
    load_scripts(redis);
}

static void on_cmd_down(void *arg, enum cn_bus_cause cause, const char *why)
{
    struct cn_redis_bus *redis = arg;
    if (redis->cmd_ready)
        cn_redis_replay_lost(redis);
    redis->cmd_ready = redis->loading = false;
    cn_redis_publish_forget(redis);
    note_down(redis, cause, why);
}

static void on_cmd_beat(void *arg)
{
    struct cn_redis_bus *redis = arg;
    const struct cn_str ping = CN_STR_LITERAL("PING");
    if (!cn_redis_link_send(redis->cmd, NULL, NULL, 1, &ping))
        cn_redis_link_fail(redis->cmd, CN_CAUSE_MEMORY, "out of memory");
    else
        ask_durability(redis);
}

static void on_sub_up(void *arg)
{
    struct cn_redis_bus *redis = arg;
    redis->base.stats.reconnects += redis->sub_was_up;
    redis->sub_was_up = true;
    check_same_server(redis);
    if (!cn_redis_link_is_up(redis->sub))
        return;
    cn_redis_subs_up(redis);
}

void cn_redis_bus_heard(struct cn_redis_bus *redis)
{
    if (redis->sub_ready)
        return;
    redis->sub_ready = true;
    update_state(redis, CN_CAUSE_STARTING, "connected");
}

static void on_sub_down(void *arg, enum cn_bus_cause cause, const char *why)
{
    struct cn_redis_bus *redis = arg;
    redis->sub_ready = redis->board_again = false;
    if (redis->board_read != CN_REDIS_BOARD_UNDER_WAY)
        redis->board_read = CN_REDIS_BOARD_OFF;
    cn_redis_subs_down(redis);
    note_down(redis, cause, why);
}

static void on_sub_beat(void *arg)
{
    cn_redis_subs_beat(arg);
}

static enum cn_err make_links(struct cn_redis_bus *redis)
{
    const struct cn_redis_link_events cmd = {redis, on_cmd_up, on_cmd_down, on_fatal, on_cmd_beat};
    const struct cn_redis_link_events sub = {redis, on_sub_up, on_sub_down, on_fatal, on_sub_beat};
    const struct cn_bus *bus = &redis->base;
    char name[128];
    redis->files = (struct cn_tls_files){bus->options.cert, bus->options.key, bus->options.ca};
    snprintf(name, sizeof(name), "chatnode:%.96s:cmd", bus->options.node);
    enum cn_err err = cn_redis_link_new(bus->reactor, &redis->url, &redis->files, name,
                                        bus->options.watchdog_ms, &cmd, &redis->cmd);
    if (err != CN_OK)
        return err;
    snprintf(name, sizeof(name), "chatnode:%.96s:sub", bus->options.node);
    return cn_redis_link_new(bus->reactor, &redis->url, &redis->files, name,
                             bus->options.watchdog_ms, &sub, &redis->sub);
}

// ---- The seam ----

static enum cn_err start(struct cn_bus *bus)
{
    struct cn_redis_bus *redis = cn_redis_bus_of(bus);
    enum cn_err err = make_links(redis);
    if (err == CN_OK)
        err = cn_redis_publish_start(redis);
    if (err == CN_OK)
        err = cn_redis_subs_start(redis);
    if (err == CN_OK)
        cn_redis_link_start(redis->cmd);
    return err;
}

static enum cn_err subscribe(struct cn_bus *bus, const struct cn_channel_name *channel)
{
    return cn_redis_subs_subscribe(cn_redis_bus_of(bus), channel);
}

static void unsubscribe(struct cn_bus *bus, const struct cn_channel_name *channel)
{
    cn_redis_subs_unsubscribe(cn_redis_bus_of(bus), channel);
}

static void stop(struct cn_bus *bus)
{
    struct cn_redis_bus *redis = cn_redis_bus_of(bus);
    redis->cmd_ready = redis->sub_ready = redis->loading = false;
    cn_redis_link_free(redis->sub);
    cn_redis_link_free(redis->cmd);
    redis->sub = redis->cmd = NULL;
    cn_redis_publish_forget(redis);
}

static void free_redis(struct cn_bus *bus)
{
    struct cn_redis_bus *redis = cn_redis_bus_of(bus);
    cn_redis_subs_fini(&redis->subs);
    cn_redis_replay_fini(&redis->replay);
    cn_redis_publish_fini(redis);
    explicit_bzero(&redis->url, sizeof(redis->url));
    free(redis);
}

static const struct cn_bus_ops redis_ops = {
    .name = "redis",
    .start = start,
    .publish = cn_redis_publish,
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .read = read_log,
    .notify = cn_redis_board_notify,
    .stop = stop,
    .free = free_redis,
};

// They are read at each connection, but a node that can never connect shall not start.
static enum cn_err check_files(const struct cn_bus_options *options, const char **why)
{
    const struct cn_tls_files files = {options->cert, options->key, options->ca};
    struct cn_tls_identity *identity = NULL;
    struct cn_tls_why reason = {0};
    enum cn_err err = cn_tls_identity_load(&files, cn_clock_wall_ms() / 1000, &identity, &reason);
    cn_tls_identity_release(identity);
    if (err == CN_INVALID) {
        CN_LOG(ERROR, "config.invalid", "redis-ca, redis-cert, redis-key: not fit for TLS",
               CN_F_STR("why", reason.text));
        *why = "the files for TLS to Redis cannot be used";
    }
    return err;
}

enum cn_err cn_bus_new_redis(const struct cn_bus_options *options, struct cn_bus **out,
                             const char **why)
{
    struct cn_redis_bus *redis = calloc(1, sizeof(*redis));
    if (redis == NULL)
        return CN_NOMEM;
    redis->base.ops = &redis_ops;
    cn_redis_subs_init(&redis->subs);
    cn_redis_replay_init(&redis->replay);
    cn_redis_publish_init(redis, options);
    snprintf(redis->page_bytes, sizeof(redis->page_bytes), "%d", PAGE_BYTES);
    snprintf(redis->entry_bytes, sizeof(redis->entry_bytes), "%zu",
             options->entry_bytes + CN_SEAL_BYTES);
    enum cn_err err = cn_redis_url_parse(cn_str_of(options->url), &redis->url, why);
    if (err == CN_OK && redis->url.tls)
        err = check_files(options, why);
    if (err == CN_OK && options->required == CN_DURABILITY_REPLICATED &&
        2 * options->replica_wait_ms >= options->watchdog_ms) {
        *why = "replica-wait must be less than half of watchdog";
        err = CN_INVALID;
    }
    if (err == CN_OK &&
        cn_redis_keys_init(&redis->keys, cn_str_of(options->prefix), redis->url.db) != CN_OK) {
        *why = "redis-prefix: longer than 128 bytes";
        err = CN_INVALID;
    }
    if (err != CN_OK) {
        free_redis(&redis->base);
        return err;
    }
    *out = &redis->base;
    return CN_OK;
}
