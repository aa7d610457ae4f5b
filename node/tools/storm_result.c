// SPDX-License-Identifier: MIT
// What a storm prints: the live report, the counts that its scenarios have in common, the verdict.
#include <stdio.h>

#include "chatnode/clock.h"
#include "storm_private.h"

void cn_storm_watch(struct cn_storm *storm)
{
    const struct cn_bench_options *options = &storm->bench->options;
    for (int i = 0; i < options->pid_count; i++)
        if (cn_probe_add(&storm->probe, (pid_t)options->pids[i]) != CN_OK)
            cn_bench_fail(CN_BENCH_USAGE, "%s", storm->probe.why);
    storm->report = cn_report_new(stderr, options->json);
}

bool cn_storm_look(struct cn_storm *storm)
{
    return storm->probe.count > 0 && cn_probe_read(&storm->probe, &storm->now) == CN_OK;
}

void cn_storm_begin(struct cn_storm *storm)
{
    storm->begun_us = cn_clock_us();
    if (cn_probe_read(&storm->probe, &storm->before) != CN_OK)
        cn_bench_fail(CN_BENCH_INCOMPLETE, "%s", storm->probe.why);
}

struct cn_verdict cn_storm_verdict(const struct cn_storm *storm, bool complete)
{
    const struct cn_storm_counts *counts = &storm->counts;
    struct cn_verdict verdict = {
        .lost = (uint64_t)(counts->lost + cn_storm_missing(storm)),
        .duplicates = (uint64_t)counts->duplicates,
        .disordered = (uint64_t)counts->disordered,
        .complete = complete,
    };
    if (counts->gaps > 0)
        verdict.reason = "the server told of gaps";
    else if (counts->unrecovered > 0)
        verdict.reason = "clients that came back were not given what they had missed";
    else if (!complete)
        verdict.reason = "not everybody is back with all messages";
    return verdict;
}

// The processor time that the watched processes used. False when one of them is gone.
static bool read_usage(const struct cn_storm *storm, struct cn_probe_usage *out)
{
    struct cn_probe probe = storm->probe;
    struct cn_probe_sample after;
    if (probe.count == 0)
        return false;
    if (cn_probe_read(&probe, &after) != CN_OK) {
        fprintf(stderr, "bench: %s: its use is not reported\n", probe.why);
        return false;
    }
    *out = cn_probe_between(&storm->before, &after);
    return true;
}

static long count_messages(const struct cn_storm *storm)
{
    long messages = 0;
    for (long i = 0; i < storm->publishers; i++)
        messages += storm->rooms[i].acked;
    return messages;
}

enum { FIELDS_MAX = 48 };

struct fields {
    struct cn_field all[FIELDS_MAX];
    size_t count;
};

static void put(struct fields *fields, struct cn_field field)
{
    CN_ASSERT(fields->count < FIELDS_MAX);
    fields->all[fields->count++] = field;
}

static void put_count(struct fields *fields, const char *key, const char *label, long value)
{
    put(fields, (struct cn_field){
                    .kind = CN_FIELD_COUNT, .key = key, .label = label, .count = (uint64_t)value});
}

static void put_real(struct fields *fields, const char *key, const char *label,
                     enum cn_quantity quantity, double value)
{
    put(fields, (struct cn_field){.kind = CN_FIELD_REAL,
                                  .key = key,
                                  .label = label,
                                  .quantity = quantity,
                                  .real = value});
}

static void put_sizes(struct fields *fields, const struct cn_storm *storm)
{
    const struct cn_bench_options *options = &storm->bench->options;
    put_count(fields, "clients", "clients", options->clients);
    put_count(fields, "rooms", "rooms", storm->publishers);
    put_count(fields, "payload_bytes", NULL, options->payload);
    put_count(fields, "messages", "messages", count_messages(storm));
    put_count(fields, "deliveries", "deliveries", storm->counts.deliveries);
    put_real(fields, "seconds", "time", CN_QUANTITY_SECONDS,
             (double)(cn_clock_us() - storm->begun_us) / 1e6);
}

static void put_counts(struct fields *fields, const struct cn_storm_counts *counts,
                       const struct cn_verdict *verdict)
{
    put_count(fields, "lost_connections", "connections lost", counts->expected);
    put_count(fields, "came_back", "came back", counts->returns);
    put_count(fields, "refused_handshakes", "refused (503)", counts->refused);
    put_count(fields, "failed_attempts", "failed attempts", counts->failures);
    put_count(fields, "retries", "sent again", counts->retries);
    put_count(fields, "lost", NULL, (long)verdict->lost);
    put_count(fields, "duplicates", NULL, counts->duplicates);
    put_count(fields, "disordered", NULL, counts->disordered);
    put_count(fields, "gaps", NULL, counts->gaps);
    put_count(fields, "unrecovered", NULL, counts->unrecovered);
    put(fields, (struct cn_field){.kind = CN_FIELD_FLAG,
                                  .key = "complete",
                                  .flag = cn_verdict_is_right(verdict)});
}

static void put_server(struct fields *fields, const struct cn_storm *storm)
{
    struct cn_probe_usage usage = {0};
    bool is_known = read_usage(storm, &usage);
    put(fields,
        (struct cn_field){
            .kind = CN_FIELD_GROUP, .key = "server", .label = "server", .absent = !is_known});
    put_real(fields, "cpu_us_per_delivery", "CPU a delivery", CN_QUANTITY_US,
             (double)usage.cpu_us / (double)storm->counts.deliveries);
    put_real(fields, "cpu_share", "CPU", CN_QUANTITY_SHARE, usage.cpu_share);
    put_real(fields, "rss_bytes", "memory", CN_QUANTITY_BYTES, (double)usage.rss_bytes);
    put(fields, (struct cn_field){.kind = CN_FIELD_END});
}

enum cn_bench_exit cn_storm_print(struct cn_storm *storm, const struct cn_verdict *verdict,
                                  const struct cn_field *own, size_t own_count)
{
    const struct cn_bench_options *options = &storm->bench->options;
    struct fields fields = {.count = 0};
    put(&fields, (struct cn_field){.kind = CN_FIELD_TEXT,
                                   .key = "scenario",
                                   .label = "scenario",
                                   .text = storm->bench->scenario->name});
    put(&fields,
        (struct cn_field){
            .kind = CN_FIELD_TEXTS, .key = "urls", .label = "servers", .texts = options->urls});
    put_sizes(&fields, storm);
    put_counts(&fields, &storm->counts, verdict);
    for (size_t i = 0; i < own_count; i++)
        put(&fields, own[i]);
    put_server(&fields, storm);
    cn_report_free(storm->report);
    storm->report = NULL;
    if (options->json) {
        cn_result_print_json(stdout, fields.all, fields.count);
    } else {
        cn_result_print_table(stdout, fields.all, fields.count);
        putchar('\n');
        cn_verdict_print(stdout, verdict, NULL);
    }
    return cn_verdict_is_right(verdict) ? CN_BENCH_COMPLETE : CN_BENCH_INCOMPLETE;
}
