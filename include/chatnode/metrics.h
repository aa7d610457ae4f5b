// SPDX-License-Identifier: MIT
// Counters, gauges and histograms: one slot of plain numbers per thread, summed on scrape. The
// table of metrics is the program's (chatnode/metrics_table.h); this module knows only rows.
#ifndef CHATNODE_METRICS_H
#define CHATNODE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

enum cn_metric_type { CN_METRIC_COUNTER, CN_METRIC_GAUGE, CN_METRIC_HISTOGRAM };

// One row. Rows of one family (same name, other labels) stand together. A histogram's bounds are
// fixed: 100 us, 250 us, 500 us, 1 ms, 2.5 ms ... 10 s; it is observed in microseconds and exposed
// in seconds.
struct cn_metric {
    enum cn_metric_type type;
    const char *name;   // chatnode_..., Prometheus conventions
    const char *labels; // inside the braces, "" for none: `reason="slow"`
    const char *help;
};

// Takes the table (borrowed for ever). Before any other call. CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_metrics_start(const struct cn_metric *table, size_t rows);

// Frees all slots; no thread may use them any more.
void cn_metrics_stop(void);

// Gives the calling thread its own slot, once per thread; what a thread counts before that goes
// into a shared slot (slower, still right). A thread that ended keeps its slot: sums never fall.
CN_MUSTCHECK enum cn_err cn_metrics_join(void);

// Adds to a counter, or (also negative) to a gauge. `row` is the index in the table. No lock.
void cn_metrics_add(unsigned row, int64_t delta);

// Adds one observation to a histogram.
void cn_metrics_observe_us(unsigned row, int64_t us);

// The sum over all threads (a histogram: the number of observations).
int64_t cn_metrics_sum(unsigned row);

// Appends the whole table in Prometheus' text format 0.0.4. Any thread.
CN_MUSTCHECK enum cn_err cn_metrics_expose(struct cn_buf *out);

// Appends the table as Markdown (name, labels, type, help), the source of docs/metrics.md.
CN_MUSTCHECK enum cn_err cn_metrics_document(struct cn_buf *out);

#endif
