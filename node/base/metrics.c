// SPDX-License-Identifier: MIT
// The metrics' numbers: one slot of cells per thread, added up when somebody asks.
//
// A slot has one cell for each counter or gauge and BOUNDS + 2 for each histogram: the observations
// of each bucket (the last is that of +Inf), then their sum in microseconds. Their number is the
// sum of the buckets, so that `_count` and the +Inf bucket can never differ within a scrape.
#include "chatnode/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BOUNDS = 16, BUCKETS = BOUNDS + 1, HISTOGRAM_CELLS = BUCKETS + 1, CACHE_LINE_BYTES = 64 };

static const struct {
    int64_t us;
    const char *seconds;
} bounds[BUCKETS] = {
    {100, "0.0001"},  {250, "0.00025"},    {500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"},
    {5000, "0.005"},  {10000, "0.01"},     {25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},
    {250000, "0.25"}, {500000, "0.5"},     {1000000, "1"},   {2500000, "2.5"}, {5000000, "5"},
    {10000000, "10"}, {INT64_MAX, "+Inf"},
};

static const char *const type_names[] = {
    [CN_METRIC_COUNTER] = "counter",
    [CN_METRIC_GAUGE] = "gauge",
    [CN_METRIC_HISTOGRAM] = "histogram",
};

struct slot {
    struct slot *next;       // constant once in the list
    _Atomic int64_t cells[]; // written by the owner only; the shared slot by anyone
};

// Written by cn_metrics_start and _stop, but for `slots`, to which each joining thread adds.
static struct {
    const struct cn_metric *table;
    size_t rows;
    size_t *first_cells; // by row
    size_t cells;
    struct slot *shared; // of the threads without an own one; in the list too
    _Atomic(struct slot *) slots;
} registry;

static _Thread_local struct slot *own_slot;

// On cache lines of its own, so that threads do not slow each other down.
static struct slot *add_slot(void)
{
    size_t size = sizeof(struct slot) + registry.cells * sizeof(_Atomic int64_t);
    size = (size + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    struct slot *slot = aligned_alloc(CACHE_LINE_BYTES, size);
    if (slot == NULL)
        return NULL;
    for (size_t i = 0; i < registry.cells; i++)
        atomic_init(&slot->cells[i], 0);
    slot->next = atomic_load(&registry.slots);
    while (!atomic_compare_exchange_weak(&registry.slots, &slot->next, slot))
        ;
    return slot;
}

enum cn_err cn_metrics_start(const struct cn_metric *table, size_t rows)
{
    CN_ASSERT(registry.table == NULL);
    size_t *first_cells = calloc(rows > 0 ? rows : 1, sizeof(size_t));
    if (first_cells == NULL)
        return CN_NOMEM;
    registry.cells = 0;
    for (size_t i = 0; i < rows; i++) {
        first_cells[i] = registry.cells;
        registry.cells += table[i].type == CN_METRIC_HISTOGRAM ? HISTOGRAM_CELLS : 1;
    }
    registry.shared = add_slot();
    if (registry.shared == NULL) {
        free(first_cells);
        return CN_NOMEM;
    }
    registry.table = table;
    registry.rows = rows;
    registry.first_cells = first_cells;
    return CN_OK;
}

void cn_metrics_stop(void)
{
    struct slot *slot = atomic_exchange(&registry.slots, NULL);
    while (slot != NULL) {
        struct slot *next = slot->next;
        free(slot);
        slot = next;
    }
    free(registry.first_cells);
    registry.first_cells = NULL;
    registry.shared = NULL;
    registry.table = NULL;
    registry.rows = 0;
    own_slot = NULL;
}

enum cn_err cn_metrics_join(void)
{
    CN_ASSERT(registry.table != NULL);
    if (own_slot == NULL)
        own_slot = add_slot();
    return own_slot != NULL ? CN_OK : CN_NOMEM;
}

// An own cell has one writer, so it needs no locked instruction.
static void add_to_cell(size_t cell, int64_t delta)
{
    if (own_slot == NULL) {
        atomic_fetch_add_explicit(&registry.shared->cells[cell], delta, memory_order_relaxed);
        return;
    }
    _Atomic int64_t *at = &own_slot->cells[cell];
    int64_t before = atomic_load_explicit(at, memory_order_relaxed);
    atomic_store_explicit(at, before + delta, memory_order_relaxed);
}

static int64_t sum_of_cell(size_t cell)
{
    int64_t sum = 0;
    for (struct slot *slot = atomic_load(&registry.slots); slot != NULL; slot = slot->next)
        sum += atomic_load_explicit(&slot->cells[cell], memory_order_relaxed);
    return sum;
}

void cn_metrics_add(unsigned row, int64_t delta)
{
    CN_ASSERT(row < registry.rows && registry.table[row].type != CN_METRIC_HISTOGRAM);
    CN_ASSERT(delta >= 0 || registry.table[row].type == CN_METRIC_GAUGE);
    add_to_cell(registry.first_cells[row], delta);
}

void cn_metrics_observe_us(unsigned row, int64_t us)
{
    CN_ASSERT(row < registry.rows && registry.table[row].type == CN_METRIC_HISTOGRAM);
    size_t bucket = 0;
    while (us > bounds[bucket].us)
        bucket++;
    add_to_cell(registry.first_cells[row] + bucket, 1);
    add_to_cell(registry.first_cells[row] + BUCKETS, us > 0 ? us : 0);
}

int64_t cn_metrics_sum(unsigned row)
{
    CN_ASSERT(row < registry.rows);
    size_t cells = registry.table[row].type == CN_METRIC_HISTOGRAM ? BUCKETS : 1;
    int64_t sum = 0;
    for (size_t i = 0; i < cells; i++)
        sum += sum_of_cell(registry.first_cells[row] + i);
    return sum;
}

// "Comments, help text, and type information" of the text format 0.0.4.
static const char *escape_help(char c)
{
    if (c == '\n')
        return "\\n";
    return c == '\\' ? "\\\\" : NULL;
}

// A cell of a Markdown table is one line, and ends at a bar.
static const char *escape_markdown(char c)
{
    if (c == '\n')
        return " ";
    return c == '|' ? "\\|" : NULL;
}

// Appends `text` with each character that `escape` has something for replaced by that.
static enum cn_err append_escaped(struct cn_buf *out, const char *text,
                                  const char *(*escape)(char c))
{
    enum cn_err err = CN_OK;
    for (; *text != '\0' && err == CN_OK; text++) {
        const char *escaped = escape(*text);
        err = cn_buf_append(out, escaped ? escaped : text, escaped ? strlen(escaped) : 1);
    }
    return err;
}

static enum cn_err expose_family(struct cn_buf *out, const struct cn_metric *metric)
{
    enum cn_err err = cn_buf_printf(out, "# HELP %s ", metric->name);
    if (err == CN_OK)
        err = append_escaped(out, metric->help, escape_help);
    if (err == CN_OK)
        err = cn_buf_printf(out, "\n# TYPE %s %s\n", metric->name, type_names[metric->type]);
    return err;
}

// `name{labels} ` or `name `, with `suffix` behind the name.
static enum cn_err expose_name(struct cn_buf *out, const struct cn_metric *metric,
                               const char *suffix)
{
    if (metric->labels[0] == '\0')
        return cn_buf_printf(out, "%s%s ", metric->name, suffix);
    return cn_buf_printf(out, "%s%s{%s} ", metric->name, suffix, metric->labels);
}

static enum cn_err expose_buckets(struct cn_buf *out, const struct cn_metric *metric,
                                  size_t first_cell, int64_t *total)
{
    const char *comma = metric->labels[0] != '\0' ? "," : "";
    enum cn_err err = CN_OK;
    *total = 0;
    for (size_t i = 0; i < BUCKETS && err == CN_OK; i++) {
        *total += sum_of_cell(first_cell + i);
        err = cn_buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %" PRId64 "\n", metric->name,
                            metric->labels, comma, bounds[i].seconds, *total);
    }
    return err;
}

static enum cn_err expose_histogram(struct cn_buf *out, const struct cn_metric *metric,
                                    size_t first_cell)
{
    int64_t total = 0;
    enum cn_err err = expose_buckets(out, metric, first_cell, &total);
    int64_t us = sum_of_cell(first_cell + BUCKETS);
    if (err == CN_OK)
        err = expose_name(out, metric, "_sum");
    if (err == CN_OK)
        err = cn_buf_printf(out, "%" PRId64 ".%06" PRId64 "\n", us / 1000000, us % 1000000);
    if (err == CN_OK)
        err = expose_name(out, metric, "_count");
    if (err == CN_OK)
        err = cn_buf_printf(out, "%" PRId64 "\n", total);
    return err;
}

static enum cn_err expose_row(struct cn_buf *out, size_t row)
{
    const struct cn_metric *metric = &registry.table[row];
    bool opens_family = row == 0 || strcmp(metric->name, registry.table[row - 1].name) != 0;
    enum cn_err err = opens_family ? expose_family(out, metric) : CN_OK;
    if (err != CN_OK)
        return err;
    if (metric->type == CN_METRIC_HISTOGRAM)
        return expose_histogram(out, metric, registry.first_cells[row]);
    err = expose_name(out, metric, "");
    if (err == CN_OK)
        err = cn_buf_printf(out, "%" PRId64 "\n", sum_of_cell(registry.first_cells[row]));
    return err;
}

static enum cn_err document_row(struct cn_buf *out, size_t row)
{
    const struct cn_metric *metric = &registry.table[row];
    const char *tick = metric->labels[0] != '\0' ? "`" : "";
    enum cn_err err = cn_buf_printf(out, "| `%s` | %s%s%s | %s | ", metric->name, tick,
                                    metric->labels, tick, type_names[metric->type]);
    if (err == CN_OK)
        err = append_escaped(out, metric->help, escape_markdown);
    if (err == CN_OK)
        err = cn_buf_append_str(out, CN_STR_LITERAL(" |\n"));
    return err;
}

// Appends every row, or nothing.
static enum cn_err append_rows(struct cn_buf *out, struct cn_str head,
                               enum cn_err (*append_row)(struct cn_buf *out, size_t row))
{
    size_t before = out->len;
    enum cn_err err = cn_buf_append_str(out, head);
    for (size_t row = 0; row < registry.rows && err == CN_OK; row++)
        err = append_row(out, row);
    if (err != CN_OK)
        out->len = before;
    return err;
}

enum cn_err cn_metrics_expose(struct cn_buf *out)
{
    return append_rows(out, (struct cn_str){NULL, 0}, expose_row);
}

enum cn_err cn_metrics_document(struct cn_buf *out)
{
    static const char head[] = "| name | labels | type | help |\n|---|---|---|---|\n";
    return append_rows(out, CN_STR_LITERAL(head), document_row);
}
