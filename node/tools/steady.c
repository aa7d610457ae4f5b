// SPDX-License-Identifier: MIT
// The scenarios with a steady load (fanout, rooms, direct, fanin, idle): what the first process
// does, which starts the others, moves them from phase to phase and measures.
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chatnode/clock.h"
#include "report.h"
#include "steady_private.h"

enum {
    LOOK_MS = 20,         // how often it looks, while nothing is about to end
    LOOK_CLOSELY_MS = 1,  // and otherwise
    SLOTS_WITH_ACKS = 64, // paced messages with ids: those that can be on their way
    SPARE_DESCRIPTORS = 64,
};

struct coordinator {
    struct cn_steady *steady;
    struct cn_report *report;
    struct cn_probe server;
    struct cn_probe generator;
    struct cn_probe_sample server_now;
    struct cn_tally sum; // as of the latest look
    uint64_t progress;   // a number that changes with any
    int64_t progress_us;
    int64_t now_us;
    bool interrupted;
    bool stalled;
    bool broken; // connections or messages failed: going on makes no sense
};

// ---- What is to be done ----

static long total_of(const struct cn_steady *steady)
{
    return steady->plan.clients + steady->extras;
}

// What a scenario means, as a plan.
static void make_plan(struct cn_steady *steady)
{
    const struct cn_bench_options *options = &steady->bench->options;
    struct cn_plan *plan = &steady->plan;
    *plan = (struct cn_plan){.clients = options->clients, .rooms = 1, .publishers = 1};
    steady->sends = true;
    steady->acks = options->acks;
    switch (steady->bench->scenario->id) {
    case CN_SCENARIO_FANOUT:
        plan->extra = true;
        plan->publishers = options->publishers ? options->publishers : 1;
        steady->extras = plan->publishers;
        break;
    case CN_SCENARIO_ROOMS:
        plan->rooms = options->rooms ? options->rooms : (options->clients + 9) / 10;
        plan->publishers = options->publishers ? options->publishers : plan->rooms;
        break;
    case CN_SCENARIO_DIRECT:
        plan->pairs = true;
        plan->rooms = options->rooms ? options->rooms : options->clients;
        plan->publishers = plan->rooms;
        break;
    case CN_SCENARIO_FANIN:
        plan->rooms = plan->publishers = options->clients;
        steady->acks = steady->bench->dialect->acks;
        break;
    default:
        steady->sends = false;
    }
}

static void settle_processes(struct cn_steady *steady)
{
    const struct cn_bench_options *options = &steady->bench->options;
    long room = cn_workers_raise_descriptors() - SPARE_DESCRIPTORS;
    long needed = room > 0 ? (total_of(steady) + room - 1) / room : CN_WORKERS_MAX + 1;
    steady->plan.processes = options->processes ? options->processes : needed;
    if (needed > CN_WORKERS_MAX)
        cn_bench_fail(CN_BENCH_USAGE, "too many clients for %d processes of %ld descriptors",
                      CN_WORKERS_MAX, room);
    if (steady->plan.processes < needed)
        cn_bench_fail(CN_BENCH_USAGE, "%ld connections need %ld processes: descriptors",
                      total_of(steady), needed);
}

static void check(const struct cn_steady *steady)
{
    const struct cn_dialect *dialect = steady->bench->dialect;
    const char *wrong = cn_plan_check(&steady->plan);
    if (steady->plan.pairs && !dialect->direct)
        wrong = "this dialect has no messages to users";
    if (steady->bench->options.acks && !dialect->acks)
        wrong = "this dialect has no acks";
    if (wrong != NULL)
        cn_bench_fail(CN_BENCH_USAGE, "%s", wrong);
}

static void *share(size_t count, size_t size)
{
    void *memory = cn_workers_share(count * size);
    if (memory == NULL)
        cn_bench_fail(CN_BENCH_INCOMPLETE, "out of memory");
    return memory;
}

static void prepare(struct cn_steady *steady)
{
    const struct cn_bench_options *options = &steady->bench->options;
    make_plan(steady);
    settle_processes(steady);
    check(steady);
    steady->slots = options->in_flight;
    if (steady->slots == 0 && options->rate <= 0)
        steady->slots = 1;
    if (steady->slots == 0 && steady->acks)
        steady->slots = SLOTS_WITH_ACKS;
    const struct cn_plan *plan = &steady->plan;
    steady->phase = share(1, sizeof(*steady->phase));
    steady->phase_us = share(1, sizeof(*steady->phase_us));
    steady->tallies = share((size_t)plan->processes, sizeof(*steady->tallies));
    steady->rooms = share((size_t)plan->rooms, sizeof(*steady->rooms));
    steady->parts = share((size_t)plan->publishers, (size_t)(steady->slots + 1) * sizeof(uint16_t));
    steady->measured_from_us = share(1, sizeof(*steady->measured_from_us));
    atomic_store(steady->phase_us, cn_clock_us());
    atomic_store(steady->measured_from_us, INT64_MAX);
}

// ---- Looking ----

// Waits; an interrupt ends the run early, twice at once.
static void wait_ms(struct coordinator *all, int ms)
{
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTERM);
    const struct timespec time = {.tv_nsec = ms * 1000000L};
    if (sigtimedwait(&interrupts, NULL, &time) < 0)
        return;
    if (all->interrupted)
        cn_bench_fail(CN_BENCH_INCOMPLETE, "interrupted");
    all->interrupted = true;
}

static void add_up(struct coordinator *all, bool histograms)
{
    // Histograms are large: they are touched only when they are wanted.
    memset(&all->sum, 0, histograms ? sizeof(all->sum) : offsetof(struct cn_tally, latency));
    for (long i = 0; i < all->steady->plan.processes; i++)
        cn_tally_add(&all->sum, &all->steady->tallies[i], histograms);
}

static void note_progress(struct coordinator *all)
{
    const struct cn_tally *sum = &all->sum;
    uint64_t progress = sum->connected + sum->refused + sum->deliveries + sum->acks;
    if (progress != all->progress)
        all->progress_us = all->now_us;
    all->progress = progress;
    double still_s = (double)(all->now_us - all->progress_us) / 1e6;
    all->stalled = still_s > all->steady->bench->options.patience;
    all->broken = sum->dropped > 0 || sum->refusals > 0 || sum->overflows > 0;
}

static void show(struct coordinator *all, const char *stage, double done)
{
    const struct cn_steady *steady = all->steady;
    bool due = cn_report_is_due(all->report, all->now_us);
    if (due)
        add_up(all, true);
    if (due && all->server.count > 0 && cn_probe_read(&all->server, &all->server_now) != CN_OK)
        cn_bench_fail(CN_BENCH_INCOMPLETE, "%s", all->server.why);
    const struct cn_report_state state = {
        .stage = stage,
        .done = done,
        .at_us = all->now_us,
        .connected = all->sum.connected,
        .clients = (uint64_t)total_of(steady),
        .messages = all->sum.sent,
        .deliveries = all->sum.deliveries,
        .latency = steady->sends && due ? &all->sum.latency : NULL,
        .server = all->server.count > 0 && due ? &all->server_now : NULL};
    cn_report_show(all->report, &state);
}

// A process of the load has ended that should not have: says why, and ends this one too.
static _Noreturn void give_up(struct coordinator *all)
{
    struct cn_workers *workers = &all->steady->workers;
    cn_report_free(all->report);
    cn_workers_stop(workers);
    if (!cn_workers_tell(workers))
        cn_bench_fail(CN_BENCH_INCOMPLETE, "a process of the load was killed");
    _Exit(workers->code ? workers->code : CN_BENCH_INCOMPLETE);
}

static void follow_failure(struct coordinator *all)
{
    if (cn_workers_running(&all->steady->workers) < all->steady->plan.processes)
        give_up(all);
}

// One look at everything. True while the phase may go on.
static bool look(struct coordinator *all, const char *stage, double done, int ms)
{
    wait_ms(all, ms);
    all->now_us = cn_clock_us();
    add_up(all, false);
    note_progress(all);
    follow_failure(all);
    show(all, stage, done);
    return !all->interrupted && !all->stalled && !all->broken;
}

// ---- Phases ----

static void begin(struct coordinator *all, enum cn_phase phase)
{
    all->now_us = all->progress_us = cn_clock_us();
    atomic_store(all->steady->phase_us, all->now_us);
    if (phase == CN_PHASE_RUNNING)
        atomic_store(all->steady->measured_from_us, all->now_us);
    atomic_store(all->steady->phase, (int)phase);
    cn_workers_wake_all(&all->steady->workers);
}

static bool all_follow(const struct coordinator *all, enum cn_phase phase)
{
    for (long i = 0; i < all->steady->plan.processes; i++)
        if (atomic_load(&all->steady->tallies[i].phase) != (int)phase)
            return false;
    return true;
}

static void connect_all(struct coordinator *all)
{
    double total = (double)total_of(all->steady);
    do {
        if (!look(all, "connecting", (double)all->sum.connected / total, LOOK_CLOSELY_MS * 10))
            return;
    } while (all->sum.connected < (uint64_t)total);
}

// The load, for some time; without an end of its own when messages are counted.
static void run(struct coordinator *all, enum cn_phase phase, const char *stage, double seconds)
{
    const struct cn_steady *steady = all->steady;
    begin(all, phase);
    int64_t begun_us = all->now_us;
    bool counted = phase == CN_PHASE_RUNNING && steady->bench->options.messages > 0;
    double done = 0;
    if (!steady->sends)
        all->progress_us += (int64_t)(seconds * 1e6);
    while (done < 1 && look(all, stage, done, counted ? LOOK_CLOSELY_MS : LOOK_MS)) {
        done = (double)(all->now_us - begun_us) / 1e6 / seconds;
        if (counted)
            done = (double)all->sum.measured_messages / (double)steady->bench->options.messages;
    }
}

// Until all that was sent has arrived.
static void settle(struct coordinator *all, enum cn_phase phase, const char *stage)
{
    begin(all, phase);
    while (look(all, stage, -1, LOOK_CLOSELY_MS))
        if (all_follow(all, phase) && all->sum.deliveries >= all->sum.expected &&
            all->sum.acks >= all->sum.due_acks)
            return;
}

static bool goes_on(const struct coordinator *all)
{
    return !all->interrupted && !all->stalled && !all->broken;
}

// ---- Measuring ----

static void watch_processes(struct coordinator *all)
{
    const struct cn_bench_options *options = &all->steady->bench->options;
    for (int i = 0; i < options->pid_count; i++)
        if (cn_probe_add(&all->server, (pid_t)options->pids[i]) != CN_OK)
            cn_bench_fail(CN_BENCH_USAGE, "%s", all->server.why);
}

static struct cn_probe_sample sample(struct cn_probe *probe)
{
    struct cn_probe_sample out = {.at_us = 0};
    if (probe->count > 0 && cn_probe_read(probe, &out) != CN_OK)
        cn_bench_fail(CN_BENCH_INCOMPLETE, "%s", probe->why);
    return out;
}

static void start(struct coordinator *all)
{
    struct cn_steady *steady = all->steady;
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &interrupts, NULL);
    if (!cn_workers_start(&steady->workers, (int)steady->plan.processes, cn_crew_work, steady))
        cn_bench_fail(CN_BENCH_INCOMPLETE, "no processes for the load");
    bool watched = cn_probe_add(&all->generator, getpid()) == CN_OK;
    for (int i = 0; watched && i < steady->workers.count; i++)
        watched = cn_probe_add(&all->generator, steady->workers.pids[i]) == CN_OK;
    follow_failure(all);
    if (!watched)
        cn_bench_fail(CN_BENCH_INCOMPLETE, "%s", all->generator.why);
    all->report = cn_report_new(stderr, steady->bench->options.json && !isatty(STDERR_FILENO));
    if (all->report == NULL)
        cn_bench_fail(CN_BENCH_INCOMPLETE, "out of memory");
    all->progress_us = cn_clock_us();
}

static void measure(struct coordinator *all, struct cn_outcome *outcome)
{
    const struct cn_bench_options *options = &all->steady->bench->options;
    if (goes_on(all) && all->steady->sends && options->warmup > 0) {
        run(all, CN_PHASE_WARMING, "warming up", options->warmup);
        settle(all, CN_PHASE_SETTLING, "warming up");
    }
    struct cn_probe_sample server = sample(&all->server);
    struct cn_probe_sample generator = sample(&all->generator);
    int64_t begun_us = cn_clock_us();
    if (goes_on(all)) {
        run(all, CN_PHASE_RUNNING, "running", options->seconds);
        begun_us = atomic_load(all->steady->phase_us);
        outcome->load_seconds = (double)(all->now_us - begun_us) / 1e6;
        settle(all, CN_PHASE_FINISHING, "finishing");
        outcome->complete = goes_on(all);
    }
    struct cn_probe_sample server_end = sample(&all->server);
    struct cn_probe_sample generator_end = sample(&all->generator);
    outcome->server = cn_probe_between(&server, &server_end);
    outcome->generator = cn_probe_between(&generator, &generator_end);
    int64_t end_us = all->sum.last_us > begun_us ? all->sum.last_us : cn_clock_us();
    outcome->seconds = (double)(end_us - begun_us) / 1e6;
}

static void finish(struct coordinator *all, struct cn_outcome *outcome)
{
    struct cn_workers *workers = &all->steady->workers;
    begin(all, CN_PHASE_ENDED);
    while (cn_workers_running(workers) > 0)
        wait_ms(all, LOOK_CLOSELY_MS);
    if (workers->code != 0)
        give_up(all);
    add_up(all, true);
    outcome->sum = all->sum;
    outcome->interrupted = all->interrupted;
    outcome->stalled = all->stalled;
    cn_report_free(all->report);
    (void)cn_workers_tell(workers);
}

enum cn_bench_exit cn_steady_run(struct cn_bench *bench)
{
    struct cn_steady steady = {.bench = bench};
    struct coordinator *all = cn_bench_get(1, sizeof(*all));
    struct cn_outcome *outcome = cn_bench_get(1, sizeof(*outcome));
    all->steady = &steady;
    outcome->steady = &steady;
    prepare(&steady);
    watch_processes(all);
    outcome->has_server = all->server.count > 0;
    outcome->rss_before_bytes = sample(&all->server).rss_bytes;
    start(all);
    connect_all(all);
    outcome->rss_joined_bytes = sample(&all->server).rss_bytes;
    measure(all, outcome);
    finish(all, outcome);
    enum cn_bench_exit code = cn_outcome_print(outcome);
    free(outcome);
    free(all);
    return code;
}
