// SPDX-License-Identifier: MIT
// One client of a storm: it comes, checks what it receives, loses its connection, comes back.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chatnode/clock.h"
#include "storm_private.h"

enum {
    BACKOFF_MAX_MS = 30000,
    PATIENCE_MS = 10000, // for one attempt
};

int64_t cn_storm_random_us(double most_ms)
{
    return (int64_t)(drand48() * most_ms * 1e3);
}

bool cn_storm_stays(const struct cn_storm_client *client)
{
    return client->role != CN_STORM_NEWCOMER && client->where != CN_STORM_GONE;
}

static void on_open(struct cn_link *link);
static void on_text(struct cn_link *link, char *text, size_t len);
static void on_end(struct cn_link *link, int status, int retry_after_ms);

static const struct cn_link_events client_events = {
    .on_open = on_open, .on_text = on_text, .on_end = on_end};

static const struct cn_bench_options *options_of(const struct cn_storm_client *client)
{
    return &client->storm->bench->options;
}

// ---- Coming and going ----

static void begin_return(struct cn_storm_client *client)
{
    client->left_us = cn_clock_us();
    client->return_us = 0;
    client->attempts = 0;
    // A newcomer has nothing to come back to: it is somebody else the next time.
    if (client->role == CN_STORM_NEWCOMER)
        client->was_in = false;
    else
        client->storm->counts.expected++;
}

void cn_storm_leave(struct cn_storm_client *client, int64_t due_us)
{
    struct cn_storm *storm = client->storm;
    cn_link_close(&client->link);
    if (client->where == CN_STORM_IN) {
        storm->in--;
        begin_return(client);
    } else if (client->where == CN_STORM_COMING) {
        storm->coming--;
    }
    client->where = CN_STORM_AWAY;
    client->joined = false;
    client->due_us = due_us;
}

// After a failed attempt: as long as the server asked for, and up to as long again at random; else
// a random time that grows.
static void put_off(struct cn_storm_client *client, int retry_after_ms)
{
    double most_ms = (double)options_of(client)->backoff;
    for (int i = 0; i < client->attempts && most_ms < BACKOFF_MAX_MS; i++)
        most_ms *= 2;
    client->attempts++;
    int64_t wait_us = retry_after_ms * INT64_C(1000) +
                      cn_storm_random_us(retry_after_ms ? retry_after_ms : most_ms);
    cn_storm_leave(client, cn_clock_us() + wait_us);
}

static void write_path(const struct cn_storm_client *client, const char *base, char *path)
{
    const struct cn_bench *bench = client->storm->bench;
    struct cn_party party = {bench->tag, client->number, client->room->number};
    size_t len = bench->dialect->path(base, &party, path, CN_LINK_PATH_BYTES);
    CN_ASSERT(len < CN_LINK_PATH_BYTES);
    if (client->was_in)
        len += (size_t)snprintf(path + len, CN_LINK_PATH_BYTES - len,
                                "&since=%" PRIu64 "-%" PRIu64 "&inbox=%" PRIu64 "-%" PRIu64,
                                client->pos.gen, client->pos.seq, client->inbox.gen,
                                client->inbox.seq);
    CN_ASSERT(len < CN_LINK_PATH_BYTES);
}

static void come(struct cn_storm_client *client)
{
    struct cn_storm *storm = client->storm;
    const struct cn_endpoint *endpoint = &storm->bench->endpoints[client->url];
    char path[CN_LINK_PATH_BYTES];
    write_path(client, endpoint->path, path);
    client->due_us = 0;
    client->where = CN_STORM_COMING;
    storm->coming++;
    client->began_us = cn_clock_us();
    if (client->return_us == 0) {
        client->return_us = client->began_us;
        client->target = client->was_in ? client->room->newest : 0;
    }
    if (!client->was_in)
        client->last = 0;
    if (!cn_link_open(&client->link, &storm->links, &client_events, endpoint,
                      cn_bench_source(storm->bench, client->number), path)) {
        storm->counts.failures++;
        put_off(client, 0);
    }
}

// When a client that has just come in leaves again; 0: when it is cut, or never.
static int64_t leaves_us(const struct cn_storm_client *client, int64_t now_us)
{
    const struct cn_bench_options *options = options_of(client);
    if (client->storm->calm)
        return 0;
    if (client->role == CN_STORM_NEWCOMER)
        return now_us + cn_storm_random_us(2 * (double)options->stay);
    if (client->role == CN_STORM_RETURNER && options->cut > 0 && client->left_us)
        return now_us + (options->cut - options->offline) * INT64_C(1000);
    return 0;
}

static void note_return(struct cn_storm_client *client, int64_t now_us)
{
    struct cn_storm *storm = client->storm;
    storm->counts.returns++;
    cn_histogram_add(storm->back, now_us - client->left_us, 1);
    cn_histogram_add(storm->replay, now_us - client->return_us, 1);
}

static void settle_if_level(struct cn_storm_client *client)
{
    struct cn_storm *storm = client->storm;
    if (client->where != CN_STORM_COMING || !client->joined || client->last < client->target)
        return;
    client->where = CN_STORM_IN;
    storm->coming--;
    storm->in++;
    int64_t now_us = cn_clock_us();
    if (client->was_in)
        note_return(client, now_us);
    client->was_in = true;
    if (client->waiting)
        cn_storm_publish_again(client);
    client->due_us = leaves_us(client, now_us);
}

// ---- What it receives ----

static void on_open(struct cn_link *link)
{
    struct cn_storm_client *client = (struct cn_storm_client *)link;
    const struct cn_storm_hooks *hooks = client->storm->hooks;
    if (hooks != NULL && client->role == CN_STORM_NEWCOMER)
        hooks->on_open(hooks->context, client, cn_clock_us());
}

// The position in the text's first field "pos"; false when there is none.
static bool find_position(const char *text, struct cn_pos *out)
{
    static const char before[] = "\"pos\":\"";
    const char *found = strstr(text, before);
    if (found == NULL)
        return false;
    found += sizeof(before) - 1;
    return cn_pos_parse((struct cn_str){found, strcspn(found, "\"")}, out) == CN_OK;
}

// A generation may end anywhere; that nothing was lost with it is checked by the numbers.
static bool follows(struct cn_pos next, struct cn_pos last)
{
    return cn_pos_follows(next, last) || (next.gen > last.gen && next.seq == 0);
}

static void on_entry(struct cn_storm_client *client, const char *text)
{
    struct cn_storm_counts *counts = &client->storm->counts;
    struct cn_pos pos;
    long number = cn_text_number(text, "\"content\":\"");
    if (!find_position(text, &pos) || number < 1)
        return;
    bool is_first = client->role == CN_STORM_NEWCOMER && client->last == 0;
    counts->disordered += !follows(pos, client->pos);
    counts->deliveries++;
    if (number <= client->last) {
        counts->duplicates++;
    } else {
        counts->lost += is_first ? 0 : number - client->last - 1;
        client->last = number;
        client->pos = pos;
    }
    if (client->room->newest < number)
        client->room->newest = number;
    settle_if_level(client);
}

static void on_joined(struct cn_storm_client *client, const char *text)
{
    const struct cn_storm_hooks *hooks = client->storm->hooks;
    struct cn_pos pos;
    if (!find_position(text, &pos))
        return;
    if (strstr(text, "\"inbox\":true")) {
        client->inbox = pos;
        return;
    }
    client->joined = true;
    if (hooks != NULL && client->role == CN_STORM_NEWCOMER)
        hooks->on_joined(hooks->context, client, cn_clock_us());
    if (!client->was_in)
        client->pos = pos;
    else if (strstr(text, "\"recovered\":true") == NULL)
        client->storm->counts.unrecovered++;
    settle_if_level(client);
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void on_text(struct cn_link *link, char *text, size_t len)
{
    struct cn_storm_client *client = (struct cn_storm_client *)link;
    (void)len;
    client->storm->progress_us = cn_clock_us();
    if (begins(text, "{\"pos\":"))
        on_entry(client, text);
    else if (begins(text, "{\"type\":\"joined\""))
        on_joined(client, text);
    else if (begins(text, "{\"type\":\"gap\""))
        client->storm->counts.gaps++;
    else if (client->waiting)
        cn_storm_answer(client, text);
}

// With --kill-pid the node of the last URL is gone.
static int another_url(const struct cn_storm_client *client)
{
    const struct cn_bench_options *options = options_of(client);
    if (options->kill_pid == 0 || !client->storm->struck)
        return client->url;
    return (int)(drand48() * (options->url_count - 1));
}

static void on_end(struct cn_link *link, int status, int retry_after_ms)
{
    struct cn_storm_client *client = (struct cn_storm_client *)link;
    struct cn_storm *storm = client->storm;
    if (client->is_shut) {
        client->where = CN_STORM_GONE;
        storm->in--;
        return;
    }
    if (client->where == CN_STORM_COMING || client->role == CN_STORM_NEWCOMER) {
        storm->counts.refused += status == 503;
        storm->counts.failures += status != 503;
    }
    client->url = another_url(client);
    if (client->where == CN_STORM_IN)
        cn_storm_leave(client,
                       cn_clock_us() + cn_storm_random_us((double)options_of(client)->backoff));
    else
        put_off(client, retry_after_ms);
}

// ---- Time ----

// While everybody comes for the first time they come a few at a time, and at --connect-rate.
static bool may_come(struct cn_storm *storm)
{
    if (!storm->settling)
        return true;
    if (storm->coming >= CN_BENCH_CONNECTING ||
        (storm->bench->options.connect_rate > 0 && storm->arrivals < 1))
        return false;
    storm->arrivals--;
    return true;
}

static void tick_in(struct cn_storm_client *client, int64_t now_us)
{
    const struct cn_bench_options *options = options_of(client);
    bool is_new = client->role == CN_STORM_NEWCOMER;
    int64_t away_us =
        is_new ? cn_storm_random_us(2 * (double)options->stay) : options->offline * INT64_C(1000);
    cn_storm_leave(client, now_us + away_us);
}

void cn_storm_tick(struct cn_storm_client *client, int64_t now_us)
{
    struct cn_storm *storm = client->storm;
    if (client->where == CN_STORM_COMING &&
        now_us - client->began_us > PATIENCE_MS * INT64_C(1000)) {
        storm->counts.failures++;
        put_off(client, 0);
    } else if (client->due_us == 0 || client->due_us > now_us) {
        return;
    } else if (client->where == CN_STORM_IN) {
        tick_in(client, now_us);
    } else if (client->where == CN_STORM_AWAY && may_come(storm)) {
        come(client);
    }
}
