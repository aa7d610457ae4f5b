// SPDX-License-Identifier: MIT
// Measures coming back: many clients in rooms lose their connections and resume, while messages are
// published. Each client checks that it gets every message once and in order. One JSON line; exits
// with 1 when something was lost, came twice or out of order, or a client did not come back.
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "storm.h"

enum {
    TICK_US = 2000,   // clients are looked after this often
    STALL_MS = 45000, // without anything arriving the run is over
    EVENTS_MAX = 512,
};

static const char *const scenario_names[] = {"jitter", "nodekill", "avalanche"};

static void turn(struct storm *storm)
{
    static int64_t ticked_us;
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(storm->epoll, events, EVENTS_MAX, TICK_US / 1000);
    for (int i = 0; i < count; i++)
        link_on_event(events[i].data.ptr, events[i].events);
    int64_t now_us = measure_now_us();
    if (now_us - ticked_us < TICK_US)
        return;
    ticked_us = now_us;
    for (int i = 0; i < storm->total; i++)
        storm_client_tick(&storm->clients[i], now_us);
}

static bool is_stalled(const struct storm *storm)
{
    return measure_now_us() - storm->progress_us > (int64_t)STALL_MS * 1000;
}

// ---- The scenarios ----

static void settle(struct storm *storm)
{
    storm->settling = true;
    storm->progress_us = measure_now_us();
    while (storm->in < storm->total) {
        turn(storm);
        if (is_stalled(storm)) {
            errno = 0;
            measure_fail("not everybody came in at the beginning");
        }
    }
    storm->settling = false;
    storm->counts.failures = storm->counts.refused = 0;
}

static bool is_publisher(const struct storm *storm, int index)
{
    return index < storm->options.rooms;
}

// Each client's first cut, spread evenly over the time between two of them.
static void stagger(struct storm *storm)
{
    const struct options *options = &storm->options;
    for (int i = options->rooms; i < storm->total; i++)
        storm->clients[i].due_us = storm->begin_us + options->cut_ms * INT64_C(1000) *
                                                         (i - options->rooms + 1) /
                                                         options->clients;
}

static void strike(struct storm *storm)
{
    const struct options *options = &storm->options;
    storm->struck_us = measure_now_us();
    if (options->scenario == SCENARIO_NODEKILL && kill(options->kill_pid, SIGKILL) != 0)
        measure_fail("kill");
    if (options->scenario != SCENARIO_AVALANCHE)
        return;
    for (int i = options->rooms; i < storm->total; i++) {
        storm->clients[i].port = options->port_count - 1;
        storm_client_leave(&storm->clients[i], storm->struck_us);
    }
}

// Nobody is cut any more; who is away comes.
static void calm(struct storm *storm)
{
    for (int i = 0; i < storm->total; i++)
        if (storm->clients[i].where == WHERE_IN)
            storm->clients[i].due_us = 0;
    storm->options.cut_ms = 1 << 30;
}

static bool everybody_has_all(const struct storm *storm)
{
    if (storm->in < storm->total)
        return false;
    for (int i = 0; i < storm->total; i++)
        if (storm->clients[i].last < storm->clients[i].room->sent)
            return false;
    return true;
}

static void run(struct storm *storm)
{
    const struct options *options = &storm->options;
    storm->begin_us = measure_now_us();
    int64_t strike_us = storm->begin_us + options->seconds * INT64_C(1000000) / 3;
    bool strikes = options->scenario != SCENARIO_JITTER;
    if (!strikes)
        stagger(storm);
    while (storm_publish(storm, measure_now_us()) && !is_stalled(storm)) {
        turn(storm);
        if (strikes && measure_now_us() >= strike_us) {
            strike(storm);
            strikes = false;
        }
    }
    calm(storm);
    while (!everybody_has_all(storm) && !is_stalled(storm))
        turn(storm);
}

// ---- The program ----

static void make_clients(struct storm *storm)
{
    const struct options *options = &storm->options;
    storm->total = options->rooms + options->clients;
    storm->rooms = calloc((size_t)options->rooms, sizeof(*storm->rooms));
    storm->clients = calloc((size_t)storm->total, sizeof(*storm->clients));
    storm->epoll = epoll_create1(0);
    if (storm->rooms == NULL || storm->clients == NULL || storm->epoll < 0)
        measure_fail("calloc");
    for (int i = 0; i < options->rooms; i++)
        snprintf(storm->rooms[i].name, NAME_BYTES, "storm%d", i);
    for (int i = 0; i < storm->total; i++) {
        struct client *client = &storm->clients[i];
        client->storm = storm;
        client->number = i;
        client->room = &storm->rooms[i % options->rooms];
        client->port = is_publisher(storm, i) ? 0 : i % options->port_count;
        client->due_us = 1;
    }
}

// What is still missing at the end counts as lost.
static long count_missing(const struct storm *storm)
{
    long missing = 0;
    for (int i = 0; i < storm->total; i++)
        missing += storm->clients[i].room->sent - storm->clients[i].last;
    return missing;
}

static bool print_result(const struct storm *storm)
{
    const struct counts *counts = &storm->counts;
    const struct options *options = &storm->options;
    long lost = counts->lost + count_missing(storm);
    bool good = lost == 0 && counts->duplicates == 0 && counts->disordered == 0 &&
                counts->gaps == 0 && counts->unrecovered == 0 &&
                counts->returns == counts->expected && counts->returns > 0 &&
                storm->in == storm->total;
    printf("{\"scenario\":\"%s\",\"clients\":%d,\"rooms\":%d,\"nodes\":%d,\"deliveries\":%ld,"
           "\"lost_connections\":%ld,\"came_back\":%ld,\"refused_503\":%ld,\"failed_attempts\":%ld,"
           "\"lost\":%ld,\"duplicates\":%ld,\"disordered\":%ld,\"gaps\":%ld,\"unrecovered\":%ld,"
           "\"publish_retries\":%ld,",
           scenario_names[options->scenario], options->clients, options->rooms, options->port_count,
           counts->deliveries, counts->expected, counts->returns, counts->refused, counts->failures,
           lost, counts->duplicates, counts->disordered, counts->gaps, counts->unrecovered,
           counts->retries);
    const struct histogram *all[] = {&storm->replay, &storm->back};
    static const char *const names[] = {"replay", "back"};
    for (int i = 0; i < 2; i++)
        printf("\"%s_ms\":{\"p50\":%.1f,\"p95\":%.1f,\"p99\":%.1f,\"max\":%.1f},", names[i],
               histogram_at(all[i], 0.5) / 1e3, histogram_at(all[i], 0.95) / 1e3,
               histogram_at(all[i], 0.99) / 1e3, (double)all[i]->max_us / 1e3);
    printf("\"complete\":%s}\n", good ? "true" : "false");
    return good;
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: bench_storm --scenario jitter|nodekill|avalanche --ports N[,N...]\n"
                    "  [--clients N] [--rooms N] [--messages N] [--seconds N] [--cut MS]\n"
                    "  [--offline MS] [--jitter MS] [--kill PID] [--content BYTES] [--seed N]\n");
    exit(64);
}

static void parse_ports(const char *text, struct options *options)
{
    char *end = NULL;
    for (; options->port_count < PORTS_MAX; text = end + 1) {
        options->ports[options->port_count++] = (int)strtol(text, &end, 10);
        if (*end != ',')
            return;
    }
}

static void parse_scenario(const char *text, struct options *options)
{
    int found = 0;
    while (found < 3 && strcmp(text, scenario_names[found]) != 0)
        found++;
    if (found == 3)
        usage();
    options->scenario = (enum scenario)found;
}

static void parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"scenario", required_argument, NULL, 's'},
                                          {"ports", required_argument, NULL, 'p'},
                                          {"clients", required_argument, NULL, 'c'},
                                          {"rooms", required_argument, NULL, 'r'},
                                          {"messages", required_argument, NULL, 'm'},
                                          {"seconds", required_argument, NULL, 't'},
                                          {"cut", required_argument, NULL, 'u'},
                                          {"offline", required_argument, NULL, 'o'},
                                          {"jitter", required_argument, NULL, 'j'},
                                          {"kill", required_argument, NULL, 'k'},
                                          {"content", required_argument, NULL, 'b'},
                                          {"seed", required_argument, NULL, 'e'},
                                          {0}};
    long values[128] = {['c'] = 2000, ['r'] = 20,   ['m'] = 120, ['t'] = 60, ['u'] = 15000,
                        ['o'] = 2000, ['j'] = 1000, ['b'] = 32,  ['e'] = 1};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == '?')
            usage();
        if (option == 'p')
            parse_ports(optarg, options);
        else if (option == 's')
            parse_scenario(optarg, options);
        else
            values[option] = strtol(optarg, NULL, 10);
    }
    options->clients = (int)values['c'];
    options->rooms = (int)values['r'];
    options->messages = values['m'];
    options->seconds = (int)values['t'];
    options->cut_ms = (int)values['u'];
    options->offline_ms = (int)values['o'];
    options->jitter_ms = (int)values['j'];
    options->kill_pid = (int)values['k'];
    options->content_len = (int)values['b'];
    options->seed = (unsigned)values['e'];
    if (optind < argc || options->port_count == 0 || options->clients < 1 || options->rooms < 1 ||
        options->messages < 1 || options->seconds < 1 || options->content_len > 8000 ||
        options->cut_ms < options->offline_ms ||
        (options->scenario == SCENARIO_NODEKILL && options->kill_pid < 2))
        usage();
}

int main(int argc, char **argv)
{
    static struct storm storm;
    parse(argc, argv, &storm.options);
    srand48((long)storm.options.seed);
    measure_raise_limits();
    make_clients(&storm);
    settle(&storm);
    run(&storm);
    return print_result(&storm) ? 0 : 1;
}
