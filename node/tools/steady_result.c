// SPDX-License-Identifier: MIT
// What came out of a steady load: sums, what limited it, and the fields that are printed.
#include <math.h>
#include <stdio.h>

#include "limit.h"
#include "result.h"
#include "steady_private.h"

void cn_tally_add(struct cn_tally *sum, const struct cn_tally *tally, bool histograms)
{
    static const size_t counters[] = {
        offsetof(struct cn_tally, connected),
        offsetof(struct cn_tally, refused),
        offsetof(struct cn_tally, dropped),
        offsetof(struct cn_tally, sent),
        offsetof(struct cn_tally, expected),
        offsetof(struct cn_tally, deliveries),
        offsetof(struct cn_tally, due_acks),
        offsetof(struct cn_tally, acks),
        offsetof(struct cn_tally, measured_messages),
        offsetof(struct cn_tally, measured),
        offsetof(struct cn_tally, lost),
        offsetof(struct cn_tally, duplicates),
        offsetof(struct cn_tally, disordered),
        offsetof(struct cn_tally, gaps),
        offsetof(struct cn_tally, retries),
        offsetof(struct cn_tally, refusals),
        offsetof(struct cn_tally, overflows),
        offsetof(struct cn_tally, texts),
        offsetof(struct cn_tally, text_bytes),
    };
    for (size_t i = 0; i < CN_COUNT(counters); i++) {
        _Atomic uint64_t *to = (_Atomic uint64_t *)(void *)((char *)sum + counters[i]);
        const _Atomic uint64_t *from =
            (const _Atomic uint64_t *)(const void *)((const char *)tally + counters[i]);
        *to += atomic_load_explicit(from, memory_order_relaxed);
    }
    if (tally->last_us > sum->last_us)
        sum->last_us = tally->last_us;
    if (!histograms)
        return;
    cn_histogram_merge(&sum->latency, &tally->latency);
    cn_histogram_merge(&sum->ack, &tally->ack);
    cn_histogram_merge(&sum->connect, &tally->connect);
}

static const struct cn_bench_options *options_of(const struct cn_outcome *outcome)
{
    return &outcome->steady->bench->options;
}

// NaN, which is printed as absent, where there is nothing to divide by.
static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : NAN;
}

static const char *limit_of(const struct cn_outcome *outcome)
{
    const struct cn_tally *sum = &outcome->sum;
    const struct cn_limit_facts facts = {
        .interrupted = outcome->interrupted,
        .dropped = sum->dropped,
        .refusals = sum->refusals,
        .lost = sum->lost,
        .overflowed = sum->overflows > 0,
        .idle = !outcome->steady->sends,
        .server_thread = outcome->has_server ? outcome->server.busiest_share : 0,
        .generator = outcome->generator.busiest_share,
        .machine = outcome->generator.machine_share,
        .rate = options_of(outcome)->rate,
        .reached = (double)sum->measured_messages / outcome->load_seconds,
        .in_flight = (uint64_t)outcome->steady->slots,
    };
    return cn_limit_judge(&facts);
}

static const char *reason_of(const struct cn_outcome *outcome)
{
    const struct cn_tally *sum = &outcome->sum;
    if (outcome->interrupted)
        return "it was interrupted";
    if (sum->dropped > 0)
        return "the server ended connections";
    if (sum->refusals > 0)
        return "the server refused messages";
    if (sum->overflows > 0)
        return "a client fell more than 64 MiB behind";
    if (sum->connected < (uint64_t)(outcome->steady->plan.clients + outcome->steady->extras))
        return "not all clients could connect";
    if (sum->acks < sum->due_acks)
        return "acks are missing";
    if (outcome->stalled)
        return "nothing came for longer than --patience";
    return NULL;
}

static struct cn_verdict judge(const struct cn_outcome *outcome)
{
    const struct cn_tally *sum = &outcome->sum;
    return (struct cn_verdict){.lost = sum->lost,
                               .duplicates = sum->duplicates,
                               .disordered = sum->disordered,
                               .complete = outcome->complete,
                               .reason = reason_of(outcome)};
}

#define TEXT(k, l, v)                                                                              \
    {                                                                                              \
        .kind = CN_FIELD_TEXT, .key = (k), .label = (l), .text = (v)                               \
    }
#define COUNT(k, l, v)                                                                             \
    {                                                                                              \
        .kind = CN_FIELD_COUNT, .key = (k), .label = (l), .count = (uint64_t)(v)                   \
    }
#define REAL(q, k, l, v)                                                                           \
    {                                                                                              \
        .kind = CN_FIELD_REAL, .quantity = CN_QUANTITY_##q, .key = (k), .label = (l), .real = (v)  \
    }
#define TIMES(unit, k, l, v)                                                                       \
    {                                                                                              \
        .kind = CN_FIELD_TIMES_##unit, .key = (k), .label = (l), .times = (v)                      \
    }

static void print(const struct cn_outcome *outcome, const struct cn_verdict *verdict)
{
    const struct cn_bench_options *options = options_of(outcome);
    const struct cn_steady *steady = outcome->steady;
    const struct cn_tally *sum = &outcome->sum;
    const struct cn_probe_usage *server = &outcome->server;
    bool sends = steady->sends;
    double seconds = outcome->seconds;
    double cpu_us = (double)server->cpu_us;
    double joined = (double)(outcome->rss_joined_bytes - outcome->rss_before_bytes);
    const struct cn_field fields[] = {
        TEXT("scenario", "scenario", steady->bench->scenario->name),
        TEXT("dialect", NULL, steady->bench->dialect->name),
        {.kind = CN_FIELD_TEXTS, .key = "urls", .label = "servers", .texts = options->urls},
        COUNT("clients", "clients", steady->plan.clients),
        COUNT("rooms", steady->plan.pairs ? "users" : "rooms", steady->plan.rooms),
        COUNT("publishers", sends ? "publishers" : NULL, sends ? steady->plan.publishers : 0),
        COUNT("in_flight", NULL, steady->slots),
        REAL(RATE, "rate", options->rate > 0 ? "pace" : NULL, options->rate),
        COUNT("payload_bytes", NULL, options->payload),
        REAL(BYTES, "text_bytes", "text", ratio((double)sum->text_bytes, (double)sum->texts)),
        COUNT("messages", sends ? "messages" : NULL, sum->measured_messages),
        COUNT("deliveries", sends ? "deliveries" : NULL, sum->measured),
        REAL(SECONDS, "seconds", "time", seconds),
        REAL(RATE, "messages_per_second", sends ? "messages" : NULL,
             ratio((double)sum->measured_messages, seconds)),
        REAL(RATE, "deliveries_per_second", sends ? "deliveries" : NULL,
             ratio((double)sum->measured, seconds)),
        TIMES(US, "latency_us", "latency", &sum->latency),
        TIMES(US, "ack_us", "ack", &sum->ack),
        TIMES(MS, "connect_ms", "connect", &sum->connect),
        {.kind = CN_FIELD_GROUP,
         .key = "server",
         .label = "server",
         .absent = !outcome->has_server},
        REAL(US, "cpu_us_per_delivery", "CPU a delivery", ratio(cpu_us, (double)sum->measured)),
        REAL(US, "cpu_us_per_message", "CPU a message",
             ratio(cpu_us, (double)sum->measured_messages)),
        REAL(SHARE, "cpu_share", "CPU", server->cpu_share),
        REAL(SHARE, "busiest_thread_share", "busiest thread", server->busiest_share),
        REAL(BYTES, "rss_bytes", "memory", (double)server->rss_bytes),
        REAL(BYTES, "rss_bytes_per_connection", "memory a connection",
             ratio(joined, (double)sum->connected)),
        {.kind = CN_FIELD_END},
        {.kind = CN_FIELD_GROUP, .key = "generator", .label = "generator"},
        REAL(SHARE, "cpu_share", "CPU", outcome->generator.cpu_share),
        REAL(SHARE, "busiest_share", NULL, outcome->generator.busiest_share),
        COUNT("processes", "processes", steady->plan.processes),
        {.kind = CN_FIELD_END},
        REAL(SHARE, "machine_share", "machine", outcome->generator.machine_share),
        COUNT("refused_handshakes", sum->refused ? "refused handshakes" : NULL, sum->refused),
        COUNT("retries", sum->retries ? "sent again" : NULL, sum->retries),
        COUNT("gaps", sum->gaps ? "gaps" : NULL, sum->gaps),
        COUNT("lost", NULL, sum->lost),
        COUNT("duplicates", NULL, sum->duplicates),
        COUNT("disordered", NULL, sum->disordered),
        TEXT("limited_by", NULL, limit_of(outcome)),
        {.kind = CN_FIELD_FLAG, .key = "complete", .flag = cn_verdict_is_right(verdict)},
    };
    if (options->json)
        cn_result_print_json(stdout, fields, CN_COUNT(fields));
    else
        cn_result_print_table(stdout, fields, CN_COUNT(fields));
}

enum cn_bench_exit cn_outcome_print(const struct cn_outcome *outcome)
{
    struct cn_verdict verdict = judge(outcome);
    print(outcome, &verdict);
    if (!options_of(outcome)->json) {
        putchar('\n');
        cn_verdict_print(stdout, &verdict, limit_of(outcome));
    }
    return cn_verdict_is_right(&verdict) ? CN_BENCH_COMPLETE : CN_BENCH_INCOMPLETE;
}
