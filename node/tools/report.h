// SPDX-License-Identifier: MIT
// What one sees while a bench runs: a progress bar and a table of the latest seconds that is drawn
// again in place, or plain lines where there is no terminal.
//
// Everything is written at once and leaves the terminal as it was, so there is nothing to restore
// when a signal ends the program in between.
#ifndef CHATNODE_TOOLS_REPORT_H
#define CHATNODE_TOOLS_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "histogram.h"
#include "probe.h"

struct cn_report;

// How things stand. The numbers are totals since the beginning; the report makes the differences.
struct cn_report_state {
    const char *stage; // a word or two: "connecting", "warming up", "running", "finishing"
    double done;       // share of this stage, 0 to 1; below 0: nobody knows
    int64_t at_us;     // CLOCK_MONOTONIC
    uint64_t connected;
    uint64_t clients; // that shall be connected
    uint64_t messages;
    uint64_t deliveries;
    const struct cn_histogram *latency;   // all so far, only grows; NULL: none are measured
    const struct cn_probe_sample *server; // NULL: no process is watched
};

// A report to `file`, which the caller keeps: stderr, so that stdout has results only. On a
// terminal (TERM set and not dumb) the live one, coloured unless NO_COLOR is set. Else plain lines,
// or nothing when `quiet`. NULL without memory. One thread.
CN_MUSTCHECK struct cn_report *cn_report_new(FILE *file, bool quiet);

// Erases the live part. NULL is legal.
void cn_report_free(struct cn_report *report);

// Whether the next cn_report_show at this time makes a row or a line. Only then, and
// the first time, it looks at `latency` and `server`, which the caller may leave out otherwise.
bool cn_report_is_due(const struct cn_report *report, int64_t at_us);

// Takes notice of the state and shows it when it is time: call it 10 times a second, or as often as
// it suits. A row a second; on a terminal the bar is drawn at most 10 times a second, otherwise a
// line comes with each new stage and every 5 seconds. The width is asked for each time
// (TIOCGWINSZ).
void cn_report_show(struct cn_report *report, const struct cn_report_state *state);

#endif
