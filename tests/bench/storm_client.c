// SPDX-License-Identifier: MIT
// One client of bench_storm: it comes, checks what it receives, loses its connection, comes back.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storm.h"

enum {
    BACKOFF_MAX_MS = 30000,
    COMING_MAX = 128,    // at once, while everybody comes for the first time
    PATIENCE_MS = 10000, // for one attempt
};

int64_t storm_random_us(int64_t most_ms)
{
    return most_ms > 0 ? (int64_t)(drand48() * (double)most_ms * 1e3) : 0;
}

static void on_text(struct link *link, char *text, size_t len);
static void on_end(struct link *link, int status, int retry_after_ms);

static const struct link_events client_events = {.on_text = on_text, .on_end = on_end};

// ---- Coming and going ----

void storm_client_leave(struct client *client, int64_t due_us)
{
    struct storm *storm = client->storm;
    link_close(&client->link);
    if (client->where == WHERE_IN) {
        storm->in--;
        storm->counts.expected++;
        client->left_us = measure_now_us();
        client->return_us = 0;
        client->attempts = 0;
    } else if (client->where == WHERE_COMING) {
        storm->coming--;
    }
    client->where = WHERE_AWAY;
    client->joined = false;
    client->due_us = due_us;
}

// After a failed attempt: as long as the server asked for, or a random time that grows.
static void put_off(struct client *client, int retry_after_ms)
{
    int64_t most_ms = client->storm->options.jitter_ms;
    for (int i = 0; i < client->attempts && most_ms < BACKOFF_MAX_MS; i++)
        most_ms *= 2;
    client->attempts++;
    int64_t wait_us =
        retry_after_ms * (int64_t)1000 + storm_random_us(retry_after_ms ? retry_after_ms : most_ms);
    storm_client_leave(client, measure_now_us() + wait_us);
}

static void write_path(const struct client *client, char *path, size_t size)
{
    int len = snprintf(path, size, "/ws?user=c%d&room=%s", client->number, client->room->name);
    if (client->was_in)
        snprintf(path + len, size - (size_t)len,
                 "&since=%" PRIu64 "-%" PRIu64 "&inbox=%" PRIu64 "-%" PRIu64, client->pos.gen,
                 client->pos.seq, client->inbox.gen, client->inbox.seq);
}

static void come(struct client *client)
{
    struct storm *storm = client->storm;
    char path[256];
    write_path(client, path, sizeof(path));
    client->due_us = 0;
    client->where = WHERE_COMING;
    storm->coming++;
    client->began_us = measure_now_us();
    if (client->return_us == 0) {
        client->return_us = client->began_us;
        client->target = client->room->newest;
    }
    if (!link_open(&client->link, storm->epoll, &client_events, storm->options.ports[client->port],
                   client->number, path))
        put_off(client, 0);
}

static void settle_if_level(struct client *client)
{
    struct storm *storm = client->storm;
    if (client->where != WHERE_COMING || !client->joined || client->last < client->target)
        return;
    client->where = WHERE_IN;
    storm->coming--;
    storm->in++;
    int64_t now_us = measure_now_us();
    if (client->was_in) {
        storm->counts.returns++;
        histogram_add(&storm->back, now_us - client->left_us, 1);
        histogram_add(&storm->replay, now_us - client->return_us, 1);
    }
    client->was_in = true;
    if (client->waiting)
        storm_publish_again(client);
    if (client->left_us && storm->options.scenario == SCENARIO_JITTER)
        client->due_us =
            now_us + (storm->options.cut_ms - storm->options.offline_ms) * INT64_C(1000);
}

// ---- What it receives ----

static void on_entry(struct client *client, const char *text)
{
    struct counts *counts = &client->storm->counts;
    struct position pos;
    long number = text_number(text, "\"content\":\"");
    if (!text_position(text, &pos) || number < 1)
        return;
    bool follows = pos.gen == client->pos.gen ? pos.seq == client->pos.seq + 1
                                              : pos.gen > client->pos.gen && pos.seq == 0;
    counts->disordered += !follows;
    counts->deliveries++;
    if (number <= client->last) {
        counts->duplicates++;
    } else {
        counts->lost += number - client->last - 1;
        client->last = number;
        client->pos = pos;
    }
    if (client->room->newest < number)
        client->room->newest = number;
    settle_if_level(client);
}

static void on_joined(struct client *client, const char *text)
{
    struct position pos;
    if (!text_position(text, &pos))
        return;
    if (strstr(text, "\"inbox\":true")) {
        client->inbox = pos;
        return;
    }
    client->joined = true;
    if (!client->was_in)
        client->pos = pos;
    else if (strstr(text, "\"recovered\":true") == NULL)
        client->storm->counts.unrecovered++;
    settle_if_level(client);
}

static void on_text(struct link *link, char *text, size_t len)
{
    struct client *client = (struct client *)link;
    (void)len;
    client->storm->progress_us = measure_now_us();
    if (strncmp(text, "{\"pos\":", 7) == 0)
        on_entry(client, text);
    else if (strncmp(text, "{\"type\":\"joined\"", 16) == 0)
        on_joined(client, text);
    else if (strncmp(text, "{\"type\":\"gap\"", 13) == 0)
        client->storm->counts.gaps++;
    else if (client->waiting)
        storm_publish_answer(client, text);
}

// The nodes that are left: the last one is the one that is killed.
static int another_port(const struct client *client)
{
    const struct options *options = &client->storm->options;
    if (options->scenario != SCENARIO_NODEKILL || client->storm->struck_us == 0)
        return client->port;
    return (int)(drand48() * (options->port_count - 1));
}

static void on_end(struct link *link, int status, int retry_after_ms)
{
    struct client *client = (struct client *)link;
    struct storm *storm = client->storm;
    if (client->where == WHERE_COMING) {
        storm->counts.refused += status == 503;
        storm->counts.failures += status != 503;
    }
    client->port = another_port(client);
    if (client->where == WHERE_IN)
        storm_client_leave(client, measure_now_us() + storm_random_us(storm->options.jitter_ms));
    else
        put_off(client, retry_after_ms);
}

// ---- Time ----

void storm_client_tick(struct client *client, int64_t now_us)
{
    struct storm *storm = client->storm;
    if (client->where == WHERE_COMING && now_us - client->began_us > PATIENCE_MS * INT64_C(1000)) {
        storm->counts.failures++;
        put_off(client, 0);
    } else if (client->due_us == 0 || client->due_us > now_us) {
        return;
    } else if (client->where == WHERE_IN) {
        storm_client_leave(client, now_us + storm->options.offline_ms * INT64_C(1000));
    } else if (client->where == WHERE_AWAY && (!storm->settling || storm->coming < COMING_MAX)) {
        come(client);
    }
}
