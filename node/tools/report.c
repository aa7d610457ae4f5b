// SPDX-License-Identifier: MIT
// The live report: takes the differences of a second, and draws or prints them.
//
//     cn_report_show -> note_row: what the last second brought, a row of the table
//                    -> draw: the page (table and bar) over the one before, on a terminal
//                    -> print_line, print_stage: elsewhere
#include "report.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "chatnode/check.h"
#include "quantity.h"
#include "terminal.h"

enum {
    ROWS_MAX = 10,
    LINES_MAX = ROWS_MAX + 2, // with the titles above and the bar below
    COLUMNS_MAX = 200,
    BAR_MIN = 6,
    BAR_MAX = 50,
    STAGE_BYTES = 24,
    STYLE_BYTES = 16, // control sequences of a line
    PAGE_BYTES = LINES_MAX * (COLUMNS_MAX + STYLE_BYTES) + STYLE_BYTES,
    SECOND_US = 1000000,
    LINE_INTERVAL_US = 5 * SECOND_US,
    DRAW_INTERVAL_US = SECOND_US / 10,
};

enum mode { MODE_SILENT, MODE_LINES, MODE_TERMINAL };

// What one second brought, or with plain lines the time between two of them. NAN: not known.
struct row {
    double at_s; // since the first state
    double connected;
    double messages; // a second
    double deliveries;
    double p50_us;
    double p99_us;
    double cpu_share;
    double rss_bytes;
};

struct cn_report {
    FILE *file;
    enum mode mode;
    bool has_colors;
    bool has_begun;
    int64_t begin_us;
    int64_t drawn_us;
    char stage[STAGE_BYTES];
    struct row rows[ROWS_MAX]; // the latest, the oldest of them first
    int row_count;
    int line_widths[LINES_MAX]; // of the page that is on the screen
    int line_count;
    // The totals when the last row was made.
    int64_t row_us;
    uint64_t messages;
    uint64_t deliveries;
    struct cn_probe_sample server;
    bool has_server;
    struct cn_histogram latency;
    struct cn_histogram second; // room for the difference
};

// ---- What a second brought ----

// Totals that were set back, as after a warm-up, count from 0 again.
static uint64_t difference(uint64_t now, uint64_t before)
{
    return now >= before ? now - before : now;
}

static void note_latency(struct cn_report *report, const struct cn_histogram *now, struct row *row)
{
    row->p50_us = NAN;
    row->p99_us = NAN;
    if (now == NULL)
        return;
    if (cn_histogram_count(now) < cn_histogram_count(&report->latency))
        memset(&report->latency, 0, sizeof(report->latency));
    cn_histogram_since(now, &report->latency, &report->second);
    report->latency = *now;
    if (cn_histogram_count(&report->second) == 0)
        return;
    row->p50_us = (double)cn_histogram_at(&report->second, 0.5);
    row->p99_us = (double)cn_histogram_at(&report->second, 0.99);
}

static void note_server(struct cn_report *report, const struct cn_probe_sample *now,
                        struct row *row)
{
    row->cpu_share = NAN;
    row->rss_bytes = NAN;
    if (now == NULL)
        return;
    if (report->has_server)
        row->cpu_share = cn_probe_between(&report->server, now).cpu_share;
    row->rss_bytes = (double)now->rss_bytes;
    report->server = *now;
    report->has_server = true;
}

static struct row *new_row(struct cn_report *report)
{
    if (report->row_count == ROWS_MAX) {
        report->row_count--;
        memmove(report->rows, report->rows + 1, (ROWS_MAX - 1) * sizeof(struct row));
    }
    return &report->rows[report->row_count++];
}

static const struct row *note_row(struct cn_report *report, const struct cn_report_state *state)
{
    struct row *row = new_row(report);
    double seconds = (double)(state->at_us - report->row_us) / SECOND_US;
    row->at_s = round((double)(state->at_us - report->begin_us) / SECOND_US);
    row->connected = (double)state->connected;
    row->messages = round((double)difference(state->messages, report->messages) / seconds);
    row->deliveries = round((double)difference(state->deliveries, report->deliveries) / seconds);
    report->row_us = state->at_us;
    report->messages = state->messages;
    report->deliveries = state->deliveries;
    note_latency(report, state->latency, row);
    note_server(report, state->server, row);
    return row;
}

// ---- The columns ----

struct column {
    const char *title;
    int width;
    int rank; // where there is no room for all, the lower ones are shown
    enum cn_quantity quantity;
    size_t offset; // of a double in a row
};

// With two spaces between them they are 79 wide.
static const struct column columns[] = {
    {"time", 6, 0, CN_QUANTITY_SECONDS, offsetof(struct row, at_s)},
    {"connected", 9, 2, CN_QUANTITY_COUNT, offsetof(struct row, connected)},
    {"messages/s", 10, 4, CN_QUANTITY_COUNT, offsetof(struct row, messages)},
    {"deliveries/s", 12, 1, CN_QUANTITY_COUNT, offsetof(struct row, deliveries)},
    {"p50", 7, 5, CN_QUANTITY_US, offsetof(struct row, p50_us)},
    {"p99", 7, 3, CN_QUANTITY_US, offsetof(struct row, p99_us)},
    {"CPU", 6, 6, CN_QUANTITY_SHARE, offsetof(struct row, cpu_share)},
    {"memory", 8, 7, CN_QUANTITY_BYTES, offsetof(struct row, rss_bytes)},
};

enum { GAP = 2 };

static struct cn_quantity_text cell(const struct column *column, const struct row *row)
{
    double value;
    memcpy(&value, (const char *)row + column->offset, sizeof(value));
    return cn_quantity_format(column->quantity, value);
}

// The rank from which on columns are left out, so that the others fit.
static int ranks_that_fit(int width)
{
    int ranks = (int)CN_COUNT(columns);
    for (; ranks > 1; ranks--) {
        int total = -GAP;
        for (size_t i = 0; i < CN_COUNT(columns); i++)
            total += columns[i].rank < ranks ? columns[i].width + GAP : 0;
        if (total <= width)
            break;
    }
    return ranks;
}

// ---- Lines and pages ----

struct line {
    char text[COLUMNS_MAX + 1];
    size_t len;
};

// Adds to the line; what does not fit is cut off.
static void put(struct line *line, const char *format, ...) CN_PRINTF(2, 3);
static void put(struct line *line, const char *format, ...)
{
    va_list arguments;
    size_t room = sizeof(line->text) - line->len;
    va_start(arguments, format);
    int len = vsnprintf(line->text + line->len, room, format, arguments);
    va_end(arguments);
    if (len > 0)
        line->len += (size_t)len < room ? (size_t)len : room - 1;
}

struct page {
    char bytes[PAGE_BYTES];
    size_t len;
    int width; // of the longest line that is allowed
    int line_widths[LINES_MAX];
    int line_count;
};

static void put_bytes(struct page *page, const char *text, size_t len)
{
    CN_ASSERT(len <= sizeof(page->bytes) - page->len);
    memcpy(page->bytes + page->len, text, len);
    page->len += len;
}

// Cuts the line to the width, so that the terminal never breaks it in two.
static void put_line(struct page *page, const struct line *line, const char *style)
{
    size_t len = line->len < (size_t)page->width ? line->len : (size_t)page->width;
    put_bytes(page, style, strlen(style));
    put_bytes(page, line->text, len);
    if (style[0] != '\0')
        put_bytes(page, CN_TERMINAL_PLAIN, strlen(CN_TERMINAL_PLAIN));
    put_bytes(page, CN_TERMINAL_CLEAR_LINE "\n", strlen(CN_TERMINAL_CLEAR_LINE "\n"));
    page->line_widths[page->line_count++] = (int)len;
}

// One write. Nobody can be told when it fails: then nothing more is written.
static void write_out(struct cn_report *report, const char *bytes, size_t len)
{
    if (fwrite(bytes, 1, len, report->file) != len || fflush(report->file) != 0)
        report->mode = MODE_SILENT;
}

// ---- The terminal ----

// How many rows of the screen the page takes that is there. Terminals break lines anew when they
// become narrower.
static int rows_on_screen(const struct cn_report *report, int screen_columns)
{
    int rows = 0;
    for (int i = 0; i < report->line_count; i++)
        rows += report->line_widths[i] > screen_columns
                    ? (report->line_widths[i] + screen_columns - 1) / screen_columns
                    : 1;
    return rows;
}

static void put_return(struct page *page, int rows)
{
    char up[STYLE_BYTES];
    if (rows == 0)
        return;
    int len = snprintf(up, sizeof(up), "\r\033[%dA", rows);
    put_bytes(page, up, (size_t)len);
}

static void put_titles(struct page *page, int ranks, const char *style)
{
    struct line line = {.len = 0};
    for (size_t i = 0; i < CN_COUNT(columns); i++)
        if (columns[i].rank < ranks)
            put(&line, "%*s%*s", i > 0 ? GAP : 0, "", columns[i].width, columns[i].title);
    put_line(page, &line, style);
}

static void put_row(struct page *page, int ranks, const struct row *row)
{
    struct line line = {.len = 0};
    for (size_t i = 0; i < CN_COUNT(columns); i++)
        if (columns[i].rank < ranks)
            put(&line, "%*s%*s", i > 0 ? GAP : 0, "", columns[i].width,
                cell(&columns[i], row).text);
    put_line(page, &line, "");
}

static double clamped(double share)
{
    return share > 1 ? 1 : share;
}

static void put_connected(struct line *line, const struct cn_report_state *state)
{
    if (state->connected < state->clients)
        put(line, "  %s of %s connected",
            cn_quantity_format(CN_QUANTITY_COUNT, (double)state->connected).text,
            cn_quantity_format(CN_QUANTITY_COUNT, (double)state->clients).text);
}

static void put_bar(struct page *page, const struct cn_report *report,
                    const struct cn_report_state *state)
{
    struct line line = {.len = 0};
    struct line rest = {.len = 0};
    put(&line, "%-11s ", report->stage);
    if (state->done >= 0)
        put(&rest, " %3.0f %%", floor(100 * clamped(state->done)));
    put_connected(&rest, state);
    put(&rest, "  %d s", (int)((state->at_us - report->begin_us) / SECOND_US));
    int room = page->width - (int)line.len - (int)rest.len - 2;
    if (state->done >= 0 && room >= BAR_MIN) {
        int width = room < BAR_MAX ? room : BAR_MAX;
        int full = (int)(width * clamped(state->done));
        put(&line, "[");
        for (int i = 0; i < width; i++)
            put(&line, "%c", i < full ? '#' : '-');
        put(&line, "]");
    }
    put(&line, "%s", rest.text);
    put_line(page, &line, report->has_colors ? CN_TERMINAL_GREEN : "");
}

static void put_table(struct page *page, const struct cn_report *report, int height)
{
    int ranks = ranks_that_fit(page->width);
    int count = report->row_count < height - 1 ? report->row_count : height - 1;
    if (count <= 0)
        return;
    put_titles(page, ranks, report->has_colors ? CN_TERMINAL_DIM : "");
    for (int i = report->row_count - count; i < report->row_count; i++)
        put_row(page, ranks, &report->rows[i]);
}

// The last column and the last row stay free: the cursor waits in that row.
static void draw(struct cn_report *report, const struct cn_report_state *state)
{
    struct cn_terminal_size size = cn_terminal_size_of(report->file);
    struct page page = {.width = size.columns <= COLUMNS_MAX ? size.columns - 1 : COLUMNS_MAX};
    put_return(&page, rows_on_screen(report, size.columns));
    put_table(&page, report, size.rows - 2);
    put_bar(&page, report, state);
    put_bytes(&page, CN_TERMINAL_CLEAR_BELOW, strlen(CN_TERMINAL_CLEAR_BELOW));
    memcpy(report->line_widths, page.line_widths, sizeof(page.line_widths));
    report->line_count = page.line_count;
    report->drawn_us = state->at_us;
    write_out(report, page.bytes, page.len);
}

static void erase(struct cn_report *report)
{
    struct page page = {.len = 0};
    put_return(&page, rows_on_screen(report, cn_terminal_size_of(report->file).columns));
    put_bytes(&page, CN_TERMINAL_CLEAR_BELOW, strlen(CN_TERMINAL_CLEAR_BELOW));
    write_out(report, page.bytes, page.len);
}

// ---- Plain lines ----

static void print_stage(struct cn_report *report, const struct cn_report_state *state)
{
    struct line line = {.len = 0};
    put(&line, "%s: %s of %s connected\n", report->stage,
        cn_quantity_format(CN_QUANTITY_COUNT, (double)state->connected).text,
        cn_quantity_format(CN_QUANTITY_COUNT, (double)state->clients).text);
    write_out(report, line.text, line.len);
}

static void print_line(struct cn_report *report, const struct cn_report_state *state,
                       const struct row *row)
{
    struct line line = {.len = 0};
    put(&line, "%s", report->stage);
    if (state->done >= 0)
        put(&line, " %.0f %%", floor(100 * clamped(state->done)));
    for (size_t i = 0; i < CN_COUNT(columns); i++)
        put(&line, "%s%s %s", i > 0 ? ", " : ": ", columns[i].title, cell(&columns[i], row).text);
    put(&line, "\n");
    write_out(report, line.text, line.len);
}

// ---- The report ----

static enum mode mode_of(FILE *file, bool quiet)
{
    if (cn_terminal_is_live(file))
        return MODE_TERMINAL;
    return quiet ? MODE_SILENT : MODE_LINES;
}

struct cn_report *cn_report_new(FILE *file, bool quiet)
{
    struct cn_report *report = calloc(1, sizeof(*report));
    if (report == NULL)
        return NULL;
    report->file = file;
    report->mode = mode_of(file, quiet);
    report->has_colors = cn_terminal_has_colors(file);
    return report;
}

void cn_report_free(struct cn_report *report)
{
    if (report != NULL && report->mode == MODE_TERMINAL && report->line_count > 0)
        erase(report);
    free(report);
}

bool cn_report_is_due(const struct cn_report *report, int64_t at_us)
{
    int64_t interval_us = report->mode == MODE_TERMINAL ? SECOND_US : LINE_INTERVAL_US;
    return report->mode != MODE_SILENT && report->has_begun &&
           at_us - report->row_us >= interval_us;
}

static void begin(struct cn_report *report, const struct cn_report_state *state)
{
    report->has_begun = true;
    report->begin_us = state->at_us;
    report->row_us = state->at_us;
    report->messages = state->messages;
    report->deliveries = state->deliveries;
    note_server(report, state->server, &(struct row){0});
}

// True when the state is in another stage than the one before.
static bool note_stage(struct cn_report *report, const char *stage)
{
    if (strncmp(report->stage, stage, sizeof(report->stage) - 1) == 0)
        return false;
    (void)snprintf(report->stage, sizeof(report->stage), "%s", stage);
    return true;
}

void cn_report_show(struct cn_report *report, const struct cn_report_state *state)
{
    if (report->mode == MODE_SILENT)
        return;
    if (!report->has_begun)
        begin(report, state);
    bool is_new = note_stage(report, state->stage);
    const struct row *row = cn_report_is_due(report, state->at_us) ? note_row(report, state) : NULL;
    if (report->mode == MODE_LINES) {
        if (is_new)
            print_stage(report, state);
        if (row != NULL)
            print_line(report, state, row);
    } else if (is_new || row != NULL || state->at_us - report->drawn_us >= DRAW_INTERVAL_US) {
        draw(report, state);
    }
}
