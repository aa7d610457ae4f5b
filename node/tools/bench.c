// SPDX-License-Identifier: MIT
// The command bench: which scenario, against which servers, with which dialect; then its run.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bench_private.h"

static const struct cn_scenario scenarios[] = {
#define X(symbol, name, run, summary) {CN_SCENARIO_##symbol, name, run, summary},
    CN_SCENARIO_TABLE(X)
#undef X
};

const struct cn_scenario *cn_scenario_find(const char *name)
{
    for (size_t i = 0; i < CN_COUNT(scenarios); i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    return NULL;
}

_Noreturn void cn_bench_fail(enum cn_bench_exit code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _Exit((int)code);
}

void *cn_bench_get(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (memory == NULL)
        cn_bench_fail(CN_BENCH_INCOMPLETE, "out of memory");
    return memory;
}

// ---- Where connections go, and where they come from ----

const struct cn_endpoint *cn_bench_endpoint(const struct cn_bench *bench, long number,
                                            bool publisher)
{
    if (publisher && bench->options.publish_url != NULL)
        return &bench->publish_endpoint;
    return &bench->endpoints[number % bench->options.url_count];
}

int cn_bench_source(const struct cn_bench *bench, long number)
{
    if (bench->options.sources > 0)
        return (int)(number % bench->options.sources);
    return (int)(number / CN_BENCH_PER_SOURCE);
}

static void read_url(const struct cn_bench *bench, const char *url, struct cn_endpoint *out)
{
    const char *why = NULL;
    if (!cn_endpoint_parse(url, out, &why))
        cn_bench_fail(CN_BENCH_USAGE, "the URL %s %s", url, why);
    if (out->websocket != bench->dialect->websocket)
        cn_bench_fail(CN_BENCH_USAGE, "the URL %s: the dialect %s wants %s", url,
                      bench->dialect->name, bench->dialect->websocket ? "ws://" : "tcp://");
}

static void read_urls(struct cn_bench *bench)
{
    for (int i = 0; i < bench->options.url_count; i++)
        read_url(bench, bench->options.urls[i], &bench->endpoints[i]);
    if (bench->options.publish_url != NULL)
        read_url(bench, bench->options.publish_url, &bench->publish_endpoint);
}

// ---- The command ----

static void find_dialect(struct cn_bench *bench, const struct cn_dialect *const *dialects)
{
    const char *name = bench->options.dialect;
    bench->dialect = dialects[0];
    for (int i = 0; name != NULL && dialects[i] != NULL; i++) {
        bench->dialect = dialects[i];
        if (strcmp(dialects[i]->name, name) == 0)
            return;
    }
    if (name != NULL)
        cn_bench_fail(CN_BENCH_USAGE, "%s is no dialect; --help lists them", name);
}

static void seed(struct cn_bench *bench)
{
    unsigned drawn = 0;
    if (getrandom(&drawn, sizeof(drawn), 0) != sizeof(drawn))
        cn_bench_fail(CN_BENCH_INCOMPLETE, "no random numbers");
    bench->tag = drawn & 0xffff;
    srand48(bench->options.seed ? bench->options.seed : (long)drawn);
}

static void print_scenarios(const char *program)
{
    printf("usage: %s SCENARIO [OPTIONS]\n       %s SCENARIO --help\n\nScenarios:\n", program,
           program);
    for (size_t i = 0; i < CN_COUNT(scenarios); i++)
        printf("  %-21s %s\n", scenarios[i].name, scenarios[i].summary);
    printf("\nOptions of all scenarios; each has more, which SCENARIO --help prints:\n");
}

static int help(const char *program, const struct cn_dialect *const *dialects,
                const struct cn_scenario *scenario)
{
    if (scenario == NULL)
        print_scenarios(program);
    else
        printf("usage: %s %s [OPTIONS]\n\n%s: %s\n\nOptions:\n", program, scenario->name,
               scenario->name, scenario->summary);
    cn_bench_options_help(scenario);
    bool has_dialects = scenario != NULL && scenario->run == cn_steady_run;
    printf(has_dialects ? "\nDialects:\n" : "");
    for (int i = 0; has_dialects && dialects[i] != NULL; i++)
        printf("  %-21s %s\n", dialects[i]->name, dialects[i]->summary);
    printf("\nExit code: 0 all arrived, once and in order; 1 it did not; 64 wrong arguments; 69 no "
           "server.\n");
    return CN_BENCH_COMPLETE;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int cn_bench_command(const char *program, const struct cn_dialect *const *dialects, int argc,
                     char **argv)
{
    const struct cn_scenario *scenario = argc > 0 ? cn_scenario_find(argv[0]) : NULL;
    if (asks_for_help(argc, argv))
        return help(program, dialects, scenario);
    if (scenario == NULL)
        cn_bench_fail(CN_BENCH_USAGE, "%s; %s --help lists them",
                      argc > 0 ? "no such scenario" : "which scenario", program);
    struct cn_bench bench = {.program = program, .scenario = scenario};
    char why[256];
    if (!cn_bench_options_parse(scenario, argc - 1, argv + 1, &bench.options, why))
        cn_bench_fail(CN_BENCH_USAGE, "%s", why);
    find_dialect(&bench, dialects);
    read_urls(&bench);
    seed(&bench);
    return (int)scenario->run(&bench);
}
