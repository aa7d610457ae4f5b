// SPDX-License-Identifier: MIT
// Jitter and avalanche: many clients in rooms lose their connections and resume, while messages are
// published. Each checks that it gets every message once and in order.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "chatnode/clock.h"
#include "storm_private.h"
#include "workers.h"

enum { SPARE_DESCRIPTORS = 64 };

// ---- The clients of a process ----

static long count_wanted(const struct cn_bench_options *options)
{
    return (long)(options->rate * options->seconds + 0.5);
}

static void make_rooms(struct cn_storm *storm, long rooms)
{
    long messages = count_wanted(&storm->bench->options);
    storm->rooms = cn_bench_get((size_t)rooms, sizeof(*storm->rooms));
    for (long i = 0; i < rooms; i++) {
        storm->rooms[i].number = i;
        storm->rooms[i].quota = messages / rooms + (i < messages % rooms);
    }
}

static void make_clients(struct cn_storm *storm, long rooms, enum cn_storm_role role)
{
    storm->clients = cn_bench_get((size_t)storm->total, sizeof(*storm->clients));
    for (long i = 0; i < storm->total; i++) {
        struct cn_storm_client *client = &storm->clients[i];
        bool publishes = i < storm->publishers;
        client->storm = storm;
        client->number = i;
        client->room = &storm->rooms[i % rooms];
        client->role = publishes ? CN_STORM_PUBLISHER : role;
        client->url = publishes ? 0 : (int)(i % storm->bench->options.url_count);
        client->link.fd = -1;
        client->due_us = 1;
    }
}

void cn_storm_init(struct cn_storm *storm, const struct cn_bench *bench, long rooms,
                   long publishers, long total, enum cn_storm_role role)
{
    *storm = (struct cn_storm){.bench = bench, .publishers = publishers, .total = total};
    if (cn_workers_raise_descriptors() < total + SPARE_DESCRIPTORS)
        cn_bench_fail(CN_BENCH_INCOMPLETE,
                      "%ld connections need more descriptors than a process may have (ulimit -Hn)",
                      total);
    if (!cn_links_init(&storm->links))
        cn_bench_fail(CN_BENCH_INCOMPLETE, "no epoll");
    make_rooms(storm, rooms);
    make_clients(storm, rooms, role);
    storm->back = cn_bench_get(1, sizeof(*storm->back));
    storm->replay = cn_bench_get(1, sizeof(*storm->replay));
    storm->progress_us = storm->arrivals_us = cn_clock_us();
}

void cn_storm_fini(struct cn_storm *storm)
{
    for (long i = 0; i < storm->total; i++)
        cn_link_close(&storm->clients[i].link);
    cn_links_fini(&storm->links);
    free(storm->rooms);
    free(storm->clients);
    free(storm->back);
    free(storm->replay);
}

// ---- Turns ----

// With --connect-rate: as many may come as the time since the last look allows, a burst of 100 ms.
static void allow_arrivals(struct cn_storm *storm, int64_t now_us)
{
    double rate = storm->bench->options.connect_rate;
    double most = rate / 10 < 1 ? 1 : rate / 10;
    storm->arrivals += rate * (double)(now_us - storm->arrivals_us) / 1e6;
    if (storm->arrivals > most)
        storm->arrivals = most;
    storm->arrivals_us = now_us;
}

void cn_storm_turn(struct cn_storm *storm)
{
    (void)cn_links_turn(&storm->links, CN_STORM_TICK_US / 1000);
    if (storm->in_shared != NULL)
        atomic_store(storm->in_shared, storm->in);
    int64_t now_us = cn_clock_us();
    if (now_us - storm->ticked_us < CN_STORM_TICK_US)
        return;
    storm->ticked_us = now_us;
    allow_arrivals(storm, now_us);
    for (long i = 0; i < storm->total; i++)
        cn_storm_tick(&storm->clients[i], now_us);
}

bool cn_storm_is_stalled(const struct cn_storm *storm)
{
    double patience_us = storm->bench->options.patience * 1e6;
    return (double)(cn_clock_us() - storm->progress_us) > patience_us;
}

static long count_staying(const struct cn_storm *storm)
{
    long staying = 0;
    for (long i = 0; i < storm->total; i++)
        staying += cn_storm_stays(&storm->clients[i]);
    return staying;
}

void cn_storm_settle(struct cn_storm *storm)
{
    long wanted = count_staying(storm);
    storm->settling = true;
    storm->progress_us = cn_clock_us();
    while (storm->in < wanted) {
        cn_storm_turn(storm);
        cn_storm_show(storm, "connecting", (double)storm->in / (double)wanted, storm->in, wanted);
        if (cn_storm_is_stalled(storm))
            cn_bench_fail(CN_BENCH_UNREACHABLE, "%ld of %ld came in at the beginning", storm->in,
                          wanted);
    }
    storm->settling = false;
    storm->counts.failures = storm->counts.refused = 0;
}

bool cn_storm_is_level(const struct cn_storm *storm)
{
    for (long i = 0; i < storm->total; i++) {
        const struct cn_storm_client *client = &storm->clients[i];
        if (cn_storm_stays(client) &&
            (client->where != CN_STORM_IN || client->last < client->room->sent))
            return false;
    }
    return true;
}

long cn_storm_missing(const struct cn_storm *storm)
{
    long missing = 0;
    for (long i = 0; i < storm->total; i++)
        if (cn_storm_stays(&storm->clients[i]))
            missing += storm->clients[i].room->sent - storm->clients[i].last;
    return missing;
}

void cn_storm_show(struct cn_storm *storm, const char *stage, double done, long connected,
                   long clients)
{
    if (storm->report == NULL)
        return;
    int64_t now_us = cn_clock_us();
    bool is_due = cn_report_is_due(storm->report, now_us);
    struct cn_report_state state = {
        .stage = stage,
        .done = done,
        .at_us = now_us,
        .connected = (uint64_t)connected,
        .clients = (uint64_t)clients,
        .deliveries = (uint64_t)storm->counts.deliveries,
        .latency = is_due ? storm->replay : NULL,
        .server = is_due && cn_storm_look(storm) ? &storm->now : NULL,
    };
    for (long i = 0; i < storm->publishers; i++)
        state.messages += (uint64_t)storm->rooms[i].acked;
    cn_report_show(storm->report, &state);
}

// ---- The scenarios ----

// Each client's first cut, spread evenly over the time between two of them.
static void stagger(struct cn_storm *storm)
{
    const struct cn_bench_options *options = &storm->bench->options;
    for (long i = storm->publishers; i < storm->total; i++)
        storm->clients[i].due_us = storm->begin_us + options->cut * INT64_C(1000) *
                                                         (i - storm->publishers + 1) /
                                                         options->clients;
}

static void strike(struct cn_storm *storm)
{
    const struct cn_bench_options *options = &storm->bench->options;
    storm->struck = true;
    if (options->kill_pid != 0) {
        if (kill((pid_t)options->kill_pid, SIGKILL) != 0)
            cn_bench_fail(CN_BENCH_INCOMPLETE, "process %ld could not be killed: %s",
                          options->kill_pid, strerror(errno));
        return;
    }
    int64_t now_us = cn_clock_us();
    for (long i = storm->publishers; i < storm->total; i++) {
        storm->clients[i].url = options->url_count - 1;
        cn_storm_leave(&storm->clients[i], now_us);
    }
}

// Nobody is cut any more; who is away comes.
static void calm(struct cn_storm *storm)
{
    storm->calm = true;
    for (long i = 0; i < storm->total; i++)
        if (storm->clients[i].where == CN_STORM_IN)
            storm->clients[i].due_us = 0;
}

static void run(struct cn_storm *storm, bool strikes)
{
    int64_t length_us = (int64_t)(storm->bench->options.seconds * 1e6);
    storm->begin_us = cn_clock_us();
    if (!strikes)
        stagger(storm);
    while (cn_storm_publish(storm, cn_clock_us()) && !cn_storm_is_stalled(storm)) {
        cn_storm_turn(storm);
        int64_t passed_us = cn_clock_us() - storm->begin_us;
        if (strikes && !storm->struck && passed_us >= length_us / 3)
            strike(storm);
        cn_storm_show(storm, "running", (double)passed_us / (double)length_us, storm->in,
                      storm->total);
    }
    calm(storm);
    while (!cn_storm_is_level(storm) && !cn_storm_is_stalled(storm)) {
        cn_storm_turn(storm);
        cn_storm_show(storm, "finishing", -1, storm->in, storm->total);
    }
}

static enum cn_bench_exit print(struct cn_storm *storm)
{
    const struct cn_storm_counts *counts = &storm->counts;
    bool all_back = counts->returns == counts->expected && counts->returns > 0;
    struct cn_verdict verdict = cn_storm_verdict(storm, all_back && cn_storm_is_level(storm));
    const struct cn_field fields[] = {
        {.kind = CN_FIELD_TIMES_MS, .key = "replay_ms", .label = "replay", .times = storm->replay},
        {.kind = CN_FIELD_TIMES_MS, .key = "back_ms", .label = "back", .times = storm->back},
    };
    return cn_storm_print(storm, &verdict, fields, CN_COUNT(fields));
}

void cn_storm_check(const struct cn_bench *bench)
{
    const struct cn_bench_options *options = &bench->options;
    CN_ASSERT(bench->dialect == &cn_dialect_chatnode); // it has no option --dialect
    if (options->cut > 0 && options->cut <= options->offline)
        cn_bench_fail(CN_BENCH_USAGE, "--cut must be longer than --offline");
    if (options->kill_pid != 0 && options->url_count < 2)
        cn_bench_fail(CN_BENCH_USAGE, "--kill-pid needs a second --url that the clients can go to");
    if (count_wanted(options) < (options->rooms > 0 ? options->rooms : 1))
        cn_bench_fail(CN_BENCH_USAGE, "that is less than one message a room: raise --rate");
}

enum cn_bench_exit cn_storm_run(struct cn_bench *bench)
{
    struct cn_storm storm;
    long rooms = bench->options.rooms;
    cn_storm_check(bench);
    cn_storm_init(&storm, bench, rooms, rooms, rooms + bench->options.clients, CN_STORM_RETURNER);
    cn_storm_watch(&storm);
    cn_storm_settle(&storm);
    cn_storm_begin(&storm);
    run(&storm, bench->scenario->id == CN_SCENARIO_AVALANCHE);
    enum cn_bench_exit code = print(&storm);
    cn_storm_fini(&storm);
    return code;
}
