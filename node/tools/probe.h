// SPDX-License-Identifier: MIT
// What processes use: CPU of all their threads and of the busiest one, and resident memory; and how
// busy the machine is beside them. From the processes' CPU clocks and /proc (proc(5)).
//
// Give the servers one probe and the generator's own processes another one.
#ifndef CHATNODE_TOOLS_PROBE_H
#define CHATNODE_TOOLS_PROBE_H

#include <stdint.h>
#include <sys/types.h>

#include "chatnode/check.h"
#include "chatnode/err.h"

enum {
    CN_PROBE_PROCESSES = 80,
    CN_PROBE_THREADS = 256, // of all processes; further ones count, but are never the busiest
    CN_PROBE_WHY_BYTES = 96
};

// The processes that are watched.
struct cn_probe {
    int count;
    struct {
        pid_t pid;
        uint64_t
            began_ticks; // since boot: another process of the same number began at another time
    } processes[CN_PROBE_PROCESSES];
    char why[CN_PROBE_WHY_BYTES]; // what went wrong, for people: "process 4711 went away"
};

// What had been used up to one moment.
struct cn_probe_sample {
    int64_t at_us; // CLOCK_MONOTONIC
    int64_t cpu_us;
    int64_t rss_bytes;
    int64_t machine_us; // of all processors
    int64_t machine_busy_us;
    int thread_count;
    struct {
        pid_t tid;
        int64_t cpu_us;
    } threads[CN_PROBE_THREADS];
};

// What was used between two samples.
struct cn_probe_usage {
    int64_t elapsed_us;
    int64_t cpu_us;       // of all threads, those included that ended in between
    double cpu_share;     // of one processor's time: 1.5 is one and a half
    double busiest_share; // the busiest thread's, 0 to 1
    double machine_share; // of all processors' time, whoever used it, 0 to 1
    int64_t rss_bytes;    // at the end
};

// Begins to watch a process. CN_NOTFOUND when there is none, CN_FULL beyond the bound, CN_SYSTEM;
// `why` says it then. Zeroed memory is a probe without processes, which uses nothing.
CN_MUSTCHECK enum cn_err cn_probe_add(struct cn_probe *probe, pid_t pid);

// Reads what has been used so far; at most some 10 us a thread. CN_CLOSED when a process went away
// (a dead one that nobody waited for counts as gone), CN_SYSTEM; `why` says it, `out` is useless.
CN_MUSTCHECK enum cn_err cn_probe_read(struct cn_probe *probe, struct cn_probe_sample *out);

// The difference. Shares are 0 when no time passed.
struct cn_probe_usage cn_probe_between(const struct cn_probe_sample *before,
                                       const struct cn_probe_sample *after);

#endif
