// SPDX-License-Identifier: MIT
// The live report, on a pseudo-terminal whose screen is kept here, and as plain lines.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "report.h"

#include <ctype.h>
#include <poll.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "chatnode/check.h"

enum { SCREEN_MAX = 128, RAW_BYTES = 1 << 16, DEADLINE_MS = 10000, SECOND_US = 1000000 };

// A terminal as far as the report uses it. Anything else that is sent to it fails the test, so
// nothing can be left switched on when the program ends.
struct screen {
    int master;
    FILE *file; // what the program writes to
    int columns;
    int rows;
    char cells[SCREEN_MAX][SCREEN_MAX + 1];
    int x;
    int y;
    int wraps;   // lines that did not fit
    int colours; // how often one was switched on
    char raw[RAW_BYTES];
    size_t raw_len;
};

static void clear_cells(struct screen *screen, int y, int x)
{
    memset(screen->cells[y] + x, ' ', (size_t)(screen->columns - x));
    screen->cells[y][screen->columns] = '\0';
}

static void resize(struct screen *screen, int columns, int rows)
{
    struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
    assert_int_equal(ioctl(screen->master, TIOCSWINSZ, &size), 0);
    screen->columns = columns;
    screen->rows = rows;
}

static struct screen *open_screen(int columns, int rows)
{
    struct screen *screen = calloc(1, sizeof(*screen));
    int slave;
    assert_non_null(screen);
    assert_int_equal(openpty(&screen->master, &slave, NULL, NULL, NULL), 0);
    resize(screen, columns, rows);
    for (int y = 0; y < rows; y++)
        clear_cells(screen, y, 0);
    screen->file = fdopen(slave, "w");
    assert_non_null(screen->file);
    return screen;
}

static void close_screen(struct screen *screen)
{
    assert_int_equal(fclose(screen->file), 0);
    (void)close(screen->master);
    free(screen);
}

static void go_down(struct screen *screen)
{
    if (screen->y < screen->rows - 1) {
        screen->y++;
        return;
    }
    memmove(screen->cells[0], screen->cells[1], sizeof(screen->cells[0]) * (size_t)screen->y);
    clear_cells(screen, screen->y, 0);
}

static void print_char(struct screen *screen, char c)
{
    if (screen->x == screen->columns) {
        screen->wraps++;
        screen->x = 0;
        go_down(screen);
    }
    screen->cells[screen->y][screen->x++] = c;
}

static void control(struct screen *screen, char kind, int number)
{
    if (kind == 'A') {
        assert_in_range(number, 1, screen->y); // else it would be beyond the top
        screen->y -= number;
    } else if (kind == 'K') {
        clear_cells(screen, screen->y, screen->x);
    } else if (kind == 'J') {
        clear_cells(screen, screen->y, screen->x);
        for (int y = screen->y + 1; y < screen->rows; y++)
            clear_cells(screen, y, 0);
    } else {
        assert_int_equal(kind, 'm');
        screen->colours += number > 0;
    }
}

// Takes one character or control sequence; returns its end.
static const char *take(struct screen *screen, const char *at)
{
    if (at[0] == '\r') {
        screen->x = 0;
    } else if (at[0] == '\n') {
        go_down(screen);
    } else if (at[0] == '\033') {
        char *end;
        assert_int_equal(at[1], '[');
        long number = isdigit((unsigned char)at[2]) ? strtol(at + 2, &end, 10) : 0;
        end = isdigit((unsigned char)at[2]) ? end : (char *)at + 2;
        control(screen, *end, (int)number);
        return end + 1;
    } else {
        assert_true(isprint((unsigned char)at[0]));
        print_char(screen, at[0]);
    }
    return at + 1;
}

// Receives all that was written so far: up to a mark that is written behind it.
static void refresh(struct screen *screen)
{
    struct pollfd ready = {.fd = screen->master, .events = POLLIN};
    char *mark;
    assert_int_not_equal(fputc('\a', screen->file), EOF);
    assert_int_equal(fflush(screen->file), 0);
    screen->raw_len = 0;
    while ((mark = memchr(screen->raw, '\a', screen->raw_len)) == NULL) {
        assert_int_equal(poll(&ready, 1, DEADLINE_MS), 1);
        ssize_t len =
            read(screen->master, screen->raw + screen->raw_len, RAW_BYTES - screen->raw_len);
        assert_true(len > 0);
        screen->raw_len += (size_t)len;
    }
    *mark = '\0';
    for (const char *at = screen->raw; at < mark;)
        at = take(screen, at);
}

// The line without the spaces at its end; valid until the next call.
static const char *line_at(const struct screen *screen, int y)
{
    static char line[SCREEN_MAX + 1];
    size_t len = (size_t)screen->columns;
    memcpy(line, screen->cells[y], len + 1);
    while (len > 0 && line[len - 1] == ' ')
        line[--len] = '\0';
    return line;
}

static void show(struct screen *screen, struct cn_report *report,
                 const struct cn_report_state *state)
{
    cn_report_show(report, state);
    refresh(screen);
    assert_int_equal(screen->x, 0);
    assert_int_equal(screen->wraps, 0);
}

// Two seconds of 10 messages to 100 clients each, after they have connected in one.
static void run_seconds(struct screen *screen, struct cn_report *report)
{
    struct cn_histogram *latency = calloc(1, sizeof(*latency));
    struct cn_report_state state = {.stage = "connecting", .at_us = 500, .clients = 100};
    assert_non_null(latency);
    show(screen, report, &state);
    state.at_us += SECOND_US / 2;
    state.connected = 50;
    state.done = 0.5;
    assert_false(cn_report_is_due(report, state.at_us));
    show(screen, report, &state);
    state = (struct cn_report_state){"running", 0, SECOND_US + 500, 100, 100, 0, 0, latency, NULL};
    for (int i = 0; i < 3; i++) {
        assert_true(cn_report_is_due(report, state.at_us));
        show(screen, report, &state);
        cn_histogram_add(latency, 1500 * (i + 1), 1000);
        state.at_us += SECOND_US;
        state.messages += 10;
        state.deliveries += 1000;
        state.done = 0.25 * (i + 1);
    }
    free(latency);
}

static struct cn_report *new_report(struct screen *screen)
{
    struct cn_report *report = cn_report_new(screen->file, true);
    assert_non_null(report);
    (void)fputs("$ chatctl bench fanout\n", screen->file);
    return report;
}

static void test_table_and_bar(void **state)
{
    (void)state;
    struct screen *screen = open_screen(80, 24);
    struct cn_report *report = new_report(screen);
    run_seconds(screen, report);
    assert_string_equal(line_at(screen, 0), "$ chatctl bench fanout");
    assert_string_equal(line_at(screen, 1), "  time  connected  messages/s  deliveries/s      p50"
                                            "      p99     CPU    memory");
    assert_string_equal(line_at(screen, 2), "   1 s        100           0             0        -"
                                            "        -       -         -");
    assert_string_equal(line_at(screen, 3), "   2 s        100          10         1,000  1.50 ms"
                                            "  1.50 ms       -         -");
    assert_string_equal(line_at(screen, 4), "   3 s        100          10         1,000     3 ms"
                                            "     3 ms       -         -");
    assert_string_equal(line_at(screen, 5), "running     [#########################"
                                            "-------------------------]  50 %  3 s");
    assert_int_equal(screen->y, 6);
    assert_true(screen->colours > 0);
    cn_report_free(report);
    refresh(screen);
    assert_string_equal(line_at(screen, 0), "$ chatctl bench fanout");
    for (int y = 1; y < 24; y++)
        assert_string_equal(line_at(screen, y), "");
    assert_int_equal(screen->y, 1);
    close_screen(screen);
}

static void test_bar_while_connecting(void **state)
{
    (void)state;
    struct screen *screen = open_screen(72, 24);
    struct cn_report *report = new_report(screen);
    struct cn_report_state now = {"connecting", 0.25, 1, 2500, 10000, 0, 0, NULL, NULL};
    show(screen, report, &now);
    assert_string_equal(line_at(screen, 1),
                        "connecting  [####---------------]  25 %  2,500 of 10,000 connected  0 s");
    now = (struct cn_report_state){"waiting", -1, SECOND_US / 2, 10000, 10000, 0, 0, NULL, NULL};
    show(screen, report, &now);
    assert_string_equal(line_at(screen, 1), "waiting       0 s");
    cn_report_free(report);
    close_screen(screen);
}

static void check_narrow(int columns, int rows)
{
    struct screen *screen = open_screen(columns, rows);
    struct cn_report *report = cn_report_new(screen->file, true);
    assert_non_null(report);
    run_seconds(screen, report);
    assert_in_range(screen->y, 1, rows - 1);
    assert_memory_equal(line_at(screen, screen->y - 1), "running",
                        columns > 7 ? 7 : (size_t)columns - 1);
    cn_report_free(report);
    refresh(screen);
    for (int y = 0; y < rows; y++)
        assert_string_equal(line_at(screen, y), "");
    assert_int_equal(screen->y, 0);
    close_screen(screen);
}

static void test_narrow_terminals(void **state)
{
    (void)state;
    for (int columns = 1; columns < 100; columns++)
        check_narrow(columns, 24);
    for (int rows = 2; rows < 12; rows++)
        check_narrow(80, rows);
}

static void check_columns(int columns, const char *titles, const char *row)
{
    struct screen *screen = open_screen(columns, 24);
    struct cn_report *report = new_report(screen);
    run_seconds(screen, report);
    assert_string_equal(line_at(screen, 1), titles);
    assert_string_equal(line_at(screen, 3), row);
    cn_report_free(report);
    close_screen(screen);
}

static void test_the_most_important_columns_stay(void **state)
{
    (void)state;
    check_columns(79, "  time  connected  messages/s  deliveries/s      p50      p99     CPU",
                  "   2 s        100          10         1,000  1.50 ms  1.50 ms       -");
    check_columns(41, "  time  connected  deliveries/s      p99",
                  "   2 s        100         1,000  1.50 ms");
    check_columns(40, "  time  connected  deliveries/s", "   2 s        100         1,000");
}

// The terminal breaks the 79 columns of a line into two: there is more to go up over.
static void test_a_terminal_that_becomes_narrower(void **state)
{
    (void)state;
    struct screen *screen = open_screen(80, 24);
    struct cn_report *report = new_report(screen);
    struct cn_report_state now = {"running", 0.5, 0, 100, 100, 0, 0, NULL, NULL};
    show(screen, report, &now);
    now.at_us += SECOND_US;
    show(screen, report, &now);
    resize(screen, 40, 24);
    screen->y = 1 + 3 * 2; // title, row and bar
    now.at_us += SECOND_US;
    show(screen, report, &now);
    assert_memory_equal(screen->raw, "\r\033[6A", 5);
    assert_int_equal(screen->y, 1 + 4);
    cn_report_free(report);
    close_screen(screen);
}

static void test_ten_rows_at_most(void **state)
{
    (void)state;
    struct screen *screen = open_screen(80, 24);
    struct cn_report *report = new_report(screen);
    struct cn_report_state now = {"running", 0.5, 0, 100, 100, 0, 0, NULL, NULL};
    for (int i = 0; i <= 30; i++) {
        show(screen, report, &now);
        now.at_us += SECOND_US;
    }
    assert_memory_equal(line_at(screen, 2), "  21 s ", 7);
    assert_memory_equal(line_at(screen, 11), "  30 s ", 7);
    assert_memory_equal(line_at(screen, 12), "running ", 8);
    cn_report_free(report);
    close_screen(screen);
}

static void test_nothing_is_drawn_more_often_than_needed(void **state)
{
    (void)state;
    struct screen *screen = open_screen(80, 24);
    struct cn_report *report = new_report(screen);
    struct cn_report_state now = {"running", 0.5, 0, 100, 100, 0, 0, NULL, NULL};
    show(screen, report, &now);
    now.at_us += SECOND_US / 20;
    show(screen, report, &now);
    assert_string_equal(screen->raw, "");
    now.at_us += SECOND_US / 20;
    show(screen, report, &now);
    assert_true(strlen(screen->raw) > 0);
    cn_report_free(report);
    close_screen(screen);
}

static void test_no_color(void **state)
{
    (void)state;
    struct screen *screen = open_screen(80, 24);
    assert_int_equal(setenv("NO_COLOR", "1", 1), 0);
    struct cn_report *report = new_report(screen);
    run_seconds(screen, report);
    cn_report_free(report);
    refresh(screen);
    assert_int_equal(unsetenv("NO_COLOR"), 0);
    assert_int_equal(screen->colours, 0);
    close_screen(screen);
}

// A verdict and an empty report on a terminal that can do nothing: no control sequence at all.
static void test_dumb_terminal(void **state)
{
    (void)state;
    struct screen *screen = open_screen(80, 24);
    assert_int_equal(setenv("TERM", "dumb", 1), 0);
    struct cn_report *report = cn_report_new(screen->file, false);
    struct cn_report_state now = {"running", 0.5, 0, 100, 100, 0, 0, NULL, NULL};
    assert_non_null(report);
    show(screen, report, &now);
    cn_report_free(report);
    refresh(screen);
    assert_int_equal(setenv("TERM", "xterm", 1), 0);
    assert_string_equal(line_at(screen, 0), "running: 100 of 100 connected");
    assert_int_equal(screen->y, 1);
    close_screen(screen);
}

// What a run without a terminal prints; the caller frees it.
static char *lines_of_a_run(bool quiet)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    struct cn_report *report = cn_report_new(file, quiet);
    struct cn_probe_sample server = {.at_us = 0, .cpu_us = 0, .rss_bytes = 3 << 20};
    struct cn_report_state now = {"connecting", 0, 0, 0, 2000, 0, 0, NULL, &server};
    assert_non_null(report);
    for (int second = 0; second <= 12; second++) {
        now.at_us = second * SECOND_US;
        now.stage = second < 6 ? "connecting" : "running";
        now.done = second / 20.0;
        now.connected = second < 6 ? (uint64_t)second * 100 : 2000;
        now.deliveries += second < 6 ? 0 : 2000;
        server.at_us = now.at_us;
        server.cpu_us = now.at_us / 2;
        cn_report_show(report, &now);
    }
    cn_report_free(report);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void test_plain_lines(void **state)
{
    (void)state;
    char *text = lines_of_a_run(false);
    assert_string_equal(
        text, "connecting: 0 of 2,000 connected\n"
              "connecting 25 %: time 5 s, connected 500, messages/s 0, deliveries/s 0, p50 -, "
              "p99 -, CPU 50 %, memory 3 MiB\n"
              "running: 2,000 of 2,000 connected\n"
              "running 50 %: time 10 s, connected 2,000, messages/s 0, deliveries/s 2,000, p50 -, "
              "p99 -, CPU 50 %, memory 3 MiB\n");
    free(text);
    text = lines_of_a_run(true);
    assert_string_equal(text, "");
    free(text);
}

// A file that cannot be written to silences the report instead of ending the run.
static void test_full_disk(void **state)
{
    (void)state;
    FILE *file = fopen("/dev/full", "w");
    struct cn_report_state now = {"running", 0.5, 0, 100, 100, 0, 0, NULL, NULL};
    assert_non_null(file);
    struct cn_report *report = cn_report_new(file, false);
    assert_non_null(report);
    cn_report_show(report, &now);
    assert_false(cn_report_is_due(report, 60 * SECOND_US));
    cn_report_free(report);
    (void)fclose(file);
}

// After a warm-up the totals begin again.
static void test_totals_that_are_set_back(void **state)
{
    (void)state;
    struct screen *screen = open_screen(80, 24);
    struct cn_report *report = new_report(screen);
    struct cn_histogram *latency = calloc(1, sizeof(*latency));
    struct cn_report_state now = {"warming up", -1, 0, 9, 9, 0, 0, latency, NULL};
    assert_non_null(latency);
    show(screen, report, &now);
    cn_histogram_add(latency, 50000, 500);
    now.deliveries = 500;
    now.at_us += SECOND_US;
    show(screen, report, &now);
    memset(latency, 0, sizeof(*latency));
    cn_histogram_add(latency, 1500, 30);
    now.deliveries = 30;
    now.at_us += SECOND_US;
    show(screen, report, &now);
    assert_string_equal(line_at(screen, 3), "   2 s          9           0            30  1.50 ms"
                                            "  1.50 ms       -         -");
    free(latency);
    cn_report_free(report);
    close_screen(screen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_and_bar),
        cmocka_unit_test(test_bar_while_connecting),
        cmocka_unit_test(test_narrow_terminals),
        cmocka_unit_test(test_the_most_important_columns_stay),
        cmocka_unit_test(test_a_terminal_that_becomes_narrower),
        cmocka_unit_test(test_ten_rows_at_most),
        cmocka_unit_test(test_nothing_is_drawn_more_often_than_needed),
        cmocka_unit_test(test_no_color),
        cmocka_unit_test(test_dumb_terminal),
        cmocka_unit_test(test_plain_lines),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_totals_that_are_set_back),
    };
    if (setenv("TERM", "xterm", 1) != 0 || unsetenv("NO_COLOR") != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
