// SPDX-License-Identifier: MIT
// Churn: all members of a room are cut at once, half of them with a reset and half with a FIN,
// while newcomers come and go. Measured is how long a newcomer waits for the server's attention.
//
// The members live in processes of their own, so that cutting them does not delay the newcomers.
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "chatnode/clock.h"
#include "storm_private.h"
#include "workers.h"

enum {
    WATCHERS = 16,
    SPARE_DESCRIPTORS = 100,
    NEWCOMERS_FROM = 1 << 24, // numbers of users: beyond those of all members
};

enum phase { PHASE_BEFORE, PHASE_DURING, PHASE_AFTER, PHASES };

// What the processes share.
struct shared {
    atomic_bool cut;           // set by the first process: now
    _Atomic int64_t began;     // of cutting, 0 before
    _Atomic int64_t ended;     // of cutting: the latest process
    atomic_int closing;        // processes whose members are not all gone yet
    _Atomic int64_t closed_us; // when the server had closed the last one
    atomic_long in[CN_WORKERS_MAX];
    long unclosed[CN_WORKERS_MAX]; // these two: written at a process's end
    struct cn_storm_counts counts[CN_WORKERS_MAX];
};

struct churn {
    struct cn_bench *bench;
    struct shared *shared;
    struct cn_workers workers;
    int processes;
    struct cn_storm storm; // of the first process: publisher, watchers, newcomers
    struct cn_histogram open[PHASES];
    struct cn_histogram joined[PHASES];
};

// ---- The members' processes ----

// What a client leaves behind that loses its network, and one that ends.
static void cut(struct cn_storm_client *client, bool with_reset)
{
    if (client->where == CN_STORM_IN && !with_reset) {
        client->is_shut = true;
        cn_link_shut(&client->link);
        return;
    }
    client->storm->in -= client->where == CN_STORM_IN;
    client->where = CN_STORM_GONE;
    client->due_us = 0;
    cn_link_close(&client->link);
}

static void cut_all(struct cn_storm *storm, struct shared *shared)
{
    int64_t none = 0;
    (void)atomic_compare_exchange_strong(&shared->began, &none, cn_clock_us());
    for (long i = 0; i < storm->total; i++)
        cut(&storm->clients[i], i % 2 == 0);
    atomic_store(&shared->ended, cn_clock_us());
}

static long first_of(const struct churn *churn, int index)
{
    return churn->bench->options.clients * index / churn->processes;
}

static int work(int index, void *context)
{
    struct churn *churn = context;
    struct shared *shared = churn->shared;
    struct cn_storm storm;
    long first = first_of(churn, index);
    cn_storm_init(&storm, churn->bench, 1, 0, first_of(churn, index + 1) - first, CN_STORM_MEMBER);
    for (long i = 0; i < storm.total; i++)
        storm.clients[i].number += first;
    storm.in_shared = &shared->in[index];
    cn_storm_settle(&storm);
    while (!atomic_load(&shared->cut))
        cn_storm_turn(&storm);
    cut_all(&storm, shared);
    storm.progress_us = cn_clock_us();
    while (storm.in > 0 && !cn_storm_is_stalled(&storm))
        cn_storm_turn(&storm);
    if (atomic_fetch_sub(&shared->closing, 1) == 1)
        atomic_store(&shared->closed_us, cn_clock_us());
    shared->unclosed[index] = storm.in;
    shared->counts[index] = storm.counts;
    cn_storm_fini(&storm);
    return 0;
}

static long count_in(const struct churn *churn)
{
    long in = 0;
    for (int i = 0; i < churn->processes; i++)
        in += atomic_load(&churn->shared->in[i]);
    return in;
}

static void start_members(struct churn *churn)
{
    long limit = cn_workers_raise_descriptors() - SPARE_DESCRIPTORS;
    long clients = churn->bench->options.clients;
    long processes = churn->bench->options.processes;
    if (limit < 1)
        cn_bench_fail(CN_BENCH_INCOMPLETE, "a process may have too few descriptors (ulimit -Hn)");
    if (processes == 0)
        processes = (clients + limit - 1) / limit;
    churn->processes = processes > CN_WORKERS_MAX ? CN_WORKERS_MAX : (int)processes;
    churn->shared = cn_workers_share(sizeof(*churn->shared));
    if (churn->shared == NULL)
        cn_bench_fail(CN_BENCH_INCOMPLETE, "no memory");
    atomic_store(&churn->shared->closing, churn->processes);
    if (!cn_workers_start(&churn->workers, churn->processes, work, churn))
        cn_bench_fail(CN_BENCH_INCOMPLETE, "no process could be started");
}

static void check_members(struct churn *churn)
{
    (void)cn_workers_running(&churn->workers);
    if (churn->workers.code == 0)
        return;
    cn_report_free(churn->storm.report);
    cn_workers_stop(&churn->workers);
    (void)cn_workers_tell(&churn->workers);
    cn_bench_fail((enum cn_bench_exit)churn->workers.code, "a process of the members ended");
}

// ---- Newcomers ----

static enum phase phase_of(const struct shared *shared, int64_t from_us, int64_t to_us)
{
    int64_t cut_us = atomic_load(&shared->began);
    int64_t closed_us = atomic_load(&shared->closed_us);
    if (cut_us == 0 || to_us < cut_us)
        return PHASE_BEFORE;
    return closed_us == 0 || from_us < closed_us ? PHASE_DURING : PHASE_AFTER;
}

static void note(const struct churn *churn, struct cn_histogram *histograms,
                 const struct cn_storm_client *client, int64_t now_us)
{
    enum phase phase = phase_of(churn->shared, client->began_us, now_us);
    cn_histogram_add(&histograms[phase], now_us - client->began_us, 1);
}

static void on_open(void *context, const struct cn_storm_client *client, int64_t now_us)
{
    struct churn *churn = context;
    note(churn, churn->open, client, now_us);
}

static void on_joined(void *context, const struct cn_storm_client *client, int64_t now_us)
{
    struct churn *churn = context;
    note(churn, churn->joined, client, now_us);
}

static void make_newcomers(struct churn *churn, const struct cn_storm_hooks *hooks)
{
    struct cn_storm *storm = &churn->storm;
    cn_storm_init(storm, churn->bench, 1, 1, 1 + WATCHERS + churn->bench->options.newcomers,
                  CN_STORM_NEWCOMER);
    storm->hooks = hooks;
    for (long i = 0; i < storm->total; i++) {
        storm->clients[i].number += NEWCOMERS_FROM;
        if (i > WATCHERS)
            storm->clients[i].due_us = 0;
        else if (i > 0)
            storm->clients[i].role = CN_STORM_WATCHER;
    }
}

// Their first arrivals, spread over the time between two of them.
static void let_newcomers_come(struct cn_storm *storm)
{
    double between_ms = 2 * (double)storm->bench->options.stay;
    for (long i = 0; i < storm->total; i++)
        if (storm->clients[i].role == CN_STORM_NEWCOMER)
            storm->clients[i].due_us = storm->begin_us + 1 + cn_storm_random_us(between_ms);
}

// Who is in stays, who is away does not come any more.
static void calm(struct cn_storm *storm)
{
    storm->calm = true;
    for (long i = 0; i < storm->total; i++)
        if (storm->clients[i].role == CN_STORM_NEWCOMER)
            storm->clients[i].due_us = 0;
}

// ---- The run ----

static void wait_for_members(struct churn *churn)
{
    long clients = churn->bench->options.clients;
    for (long in = 0; in < clients; in = count_in(churn)) {
        cn_storm_turn(&churn->storm);
        cn_storm_show(&churn->storm, "connecting", (double)in / (double)clients, in, clients);
        check_members(churn);
    }
}

static void run(struct churn *churn)
{
    struct cn_storm *storm = &churn->storm;
    int64_t length_us = (int64_t)(churn->bench->options.seconds * 1e6);
    int64_t passed_us = 0;
    storm->begin_us = cn_clock_us();
    let_newcomers_come(storm);
    while ((cn_storm_publish(storm, cn_clock_us()) || passed_us < length_us) &&
           !cn_storm_is_stalled(storm)) {
        cn_storm_turn(storm);
        passed_us = cn_clock_us() - storm->begin_us;
        if (!storm->struck && passed_us >= length_us / 3) {
            storm->struck = true;
            atomic_store(&churn->shared->cut, true);
            cn_workers_wake_all(&churn->workers);
        }
        cn_storm_show(storm, storm->struck ? "after the cut" : "running",
                      (double)passed_us / (double)length_us, storm->in + count_in(churn),
                      storm->total + churn->bench->options.clients);
        check_members(churn);
    }
    calm(storm);
    while (!cn_storm_is_stalled(storm) && (storm->coming > 0 || !cn_storm_is_level(storm) ||
                                           cn_workers_running(&churn->workers) > 0))
        cn_storm_turn(storm);
    check_members(churn);
}

// ---- The result ----

static void add_counts(struct cn_storm_counts *counts, const struct cn_storm_counts *more)
{
    counts->deliveries += more->deliveries;
    counts->returns += more->returns;
    counts->expected += more->expected;
    counts->refused += more->refused;
    counts->failures += more->failures;
    counts->lost += more->lost;
    counts->duplicates += more->duplicates;
    counts->disordered += more->disordered;
    counts->gaps += more->gaps;
    counts->unrecovered += more->unrecovered;
}

static struct cn_verdict judge(struct churn *churn)
{
    struct cn_storm *storm = &churn->storm;
    struct cn_storm_counts *counts = &storm->counts;
    long unclosed = 0;
    for (int i = 0; i < churn->processes; i++) {
        add_counts(counts, &churn->shared->counts[i]);
        unclosed += churn->shared->unclosed[i];
    }
    bool complete = cn_workers_running(&churn->workers) == 0 && cn_storm_is_level(storm) &&
                    storm->coming == 0 && counts->returns == counts->expected;
    struct cn_verdict verdict = cn_storm_verdict(storm, complete && unclosed == 0);
    if (complete && unclosed > 0)
        verdict.reason = "the server left connections open that their clients had ended";
    if (counts->failures == 0)
        return verdict;
    verdict.complete = false;
    verdict.reason = "newcomers were dropped, or given no answer";
    return verdict;
}

static double longest_ms(const struct cn_histogram histograms[PHASES])
{
    int64_t during_us = histograms[PHASE_DURING].max_us;
    int64_t after_us = histograms[PHASE_AFTER].max_us;
    return (double)(during_us > after_us ? during_us : after_us) / 1e3;
}

static double since_cut_ms(const struct churn *churn, int64_t at_us)
{
    return at_us ? (double)(at_us - atomic_load(&churn->shared->began)) / 1e3 : 0;
}

#define TIMES(name, title, histogram)                                                              \
    {                                                                                              \
        .kind = CN_FIELD_TIMES_MS, .key = (name), .label = (title), .times = &(histogram)          \
    }
#define REAL_MS(name, title, value)                                                                \
    {                                                                                              \
        .kind = CN_FIELD_REAL, .key = (name), .label = (title), .quantity = CN_QUANTITY_MS,        \
        .real = (value)                                                                            \
    }

static enum cn_bench_exit print(struct churn *churn)
{
    struct cn_verdict verdict = judge(churn);
    uint64_t arrivals = 0;
    for (int i = 0; i < PHASES; i++)
        arrivals += cn_histogram_count(&churn->joined[i]);
    const struct cn_field fields[] = {
        {.kind = CN_FIELD_COUNT, .key = "arrivals", .label = "arrivals", .count = arrivals},
        REAL_MS("cut_ms", "cutting took", since_cut_ms(churn, atomic_load(&churn->shared->ended))),
        REAL_MS("closed_ms", "all closed after",
                since_cut_ms(churn, atomic_load(&churn->shared->closed_us))),
        REAL_MS("longest_ms", "longest wait for 101", longest_ms(churn->open)),
        REAL_MS("longest_joined_ms", "longest wait to join", longest_ms(churn->joined)),
        TIMES("open_before_ms", "101, before", churn->open[PHASE_BEFORE]),
        TIMES("open_during_ms", "101, during", churn->open[PHASE_DURING]),
        TIMES("open_after_ms", "101, after", churn->open[PHASE_AFTER]),
        TIMES("joined_before_ms", "joined, before", churn->joined[PHASE_BEFORE]),
        TIMES("joined_during_ms", "joined, during", churn->joined[PHASE_DURING]),
        TIMES("joined_after_ms", "joined, after", churn->joined[PHASE_AFTER]),
    };
    return cn_storm_print(&churn->storm, &verdict, fields, CN_COUNT(fields));
}

static enum cn_bench_exit run_all(struct churn *churn)
{
    const struct cn_storm_hooks hooks = {churn, on_open, on_joined};
    start_members(churn);
    make_newcomers(churn, &hooks);
    cn_storm_watch(&churn->storm);
    wait_for_members(churn);
    cn_storm_settle(&churn->storm);
    cn_storm_begin(&churn->storm);
    run(churn);
    enum cn_bench_exit code = print(churn);
    cn_workers_stop(&churn->workers);
    (void)cn_workers_tell(&churn->workers);
    cn_storm_fini(&churn->storm);
    return code;
}

enum cn_bench_exit cn_churn_run(struct cn_bench *bench)
{
    cn_storm_check(bench);
    struct churn *churn = cn_bench_get(1, sizeof(*churn)); // its histograms are large
    churn->bench = bench;
    enum cn_bench_exit code = run_all(churn);
    free(churn);
    return code;
}
