// SPDX-License-Identifier: MIT
// What the parts of the bench share: scenarios, options, a run, and how it fails.
#ifndef CHATNODE_TOOLS_BENCH_PRIVATE_H
#define CHATNODE_TOOLS_BENCH_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "chatnode/check.h"
#include "dialect.h"
#include "link.h"

enum {
    CN_BENCH_URLS_MAX = 64,
    CN_BENCH_PIDS_MAX = 16,
    CN_BENCH_DIALECTS_MAX = 8,
    CN_BENCH_PER_SOURCE = 5000, // connections from one source address
    CN_BENCH_CONNECTING = 128,  // handshakes at once
};

// Exit codes (sysexits.h where it has one).
enum cn_bench_exit {
    CN_BENCH_COMPLETE = 0,
    CN_BENCH_INCOMPLETE = 1, // lost, doubled, out of order, or not finished
    CN_BENCH_USAGE = 64,
    CN_BENCH_UNREACHABLE = 69,
};

// ---- Scenarios ----

struct cn_bench;

// X(symbol, "name", run, "what it does"): bit 1 << CN_SCENARIO_symbol says in the table of options
// which of them take an option.
#define CN_SCENARIO_TABLE(X)                                                                       \
    X(FANOUT, "fanout", cn_steady_run, "one room: every message goes to all clients")              \
    X(ROOMS, "rooms", cn_steady_run, "many small rooms, each with its own messages")               \
    X(DIRECT, "direct", cn_steady_run, "pairs of users write to each other")                       \
    X(FANIN, "fanin", cn_steady_run, "every client stores messages in a room of its own")          \
    X(IDLE, "idle", cn_steady_run, "connections that do nothing: what they cost")                  \
    X(JITTER, "jitter", cn_storm_run, "clients are cut again and again, and resume")               \
    X(AVALANCHE, "avalanche", cn_storm_run, "all are cut at once and come back to the last URL")   \
    X(CHURN, "churn", cn_churn_run, "all members are cut at once while newcomers come and go")

enum cn_scenario_id {
#define X(symbol, name, run, summary) CN_SCENARIO_##symbol,
    CN_SCENARIO_TABLE(X)
#undef X
        CN_SCENARIO_COUNT
};

struct cn_scenario {
    enum cn_scenario_id id;
    const char *name;
    // Runs it, prints the report and returns the exit code. Main thread of the first process.
    enum cn_bench_exit (*run)(struct cn_bench *bench);
    const char *summary;
};

// NULL when there is none of that name.
const struct cn_scenario *cn_scenario_find(const char *name);

// ---- Options ----

// The values; the table in bench_options.c says what each one is.
struct cn_bench_options {
    const char *urls[CN_BENCH_URLS_MAX + 1]; // ended by NULL
    int url_count;
    const char *publish_url; // NULL: where everybody is
    const char *dialect;     // NULL: the first
    long pids[CN_BENCH_PIDS_MAX];
    int pid_count;
    long clients;
    long rooms;
    long publishers;
    long in_flight; // 0: unbounded
    double rate;    // 0: as fast as it goes
    long messages;  // 0: `seconds` says how long
    double seconds;
    double warmup;
    double patience;
    long payload;
    double connect_rate; // 0: as fast as it goes
    long processes;      // 0: as many as needed
    long sources;        // 0: as many as needed
    long cut;            // milliseconds between two cuts of a client; 0: it is not cut by itself
    long offline;        // milliseconds
    long backoff;        // milliseconds
    long newcomers;
    long stay;     // milliseconds
    long kill_pid; // 0: nothing is killed
    long seed;
    bool acks;
    bool json;
    uint64_t given; // a bit for each row of the table that the command line had
};

// Reads the arguments that follow the scenario's name, and fills what was not given with the
// table's defaults. False: `why`, at least 256 bytes, says what is wrong.
CN_MUSTCHECK bool cn_bench_options_parse(const struct cn_scenario *scenario, int argc, char **argv,
                                         struct cn_bench_options *out, char why[256]);

// Prints the options of one scenario with its defaults, or those that are the same for all (NULL).
void cn_bench_options_help(const struct cn_scenario *scenario);

// ---- One run ----

struct cn_bench {
    const char *program; // for messages
    const struct cn_scenario *scenario;
    const struct cn_dialect *dialect;
    struct cn_bench_options options;
    struct cn_endpoint endpoints[CN_BENCH_URLS_MAX];
    struct cn_endpoint publish_endpoint;
    unsigned tag; // 16 bits that tell this run's rooms and messages from those of another
};

// The endpoint of client `number`, or of a publisher.
const struct cn_endpoint *cn_bench_endpoint(const struct cn_bench *bench, long number,
                                            bool publisher);

// The `source` of cn_link_open for the `number`-th connection to any endpoint.
int cn_bench_source(const struct cn_bench *bench, long number);

// Says on stderr what cannot be, and ends this process with the code.
_Noreturn void cn_bench_fail(enum cn_bench_exit code, const char *format, ...) CN_PRINTF(2, 3);

// Zeroed memory, as calloc(3), freed with free(3); without memory the process ends.
void *cn_bench_get(size_t count, size_t size);

// The command: `argv` begins behind the word "bench". `dialects` ends with NULL; the first one is
// taken unless --dialect says otherwise. Returns the exit code.
int cn_bench_command(const char *program, const struct cn_dialect *const *dialects, int argc,
                     char **argv);

// ---- steady.c: fanout, rooms, direct, fanin, idle ----

enum cn_bench_exit cn_steady_run(struct cn_bench *bench);

// ---- storm.c: jitter, avalanche; churn.c ----

enum cn_bench_exit cn_storm_run(struct cn_bench *bench);
enum cn_bench_exit cn_churn_run(struct cn_bench *bench);

#endif
