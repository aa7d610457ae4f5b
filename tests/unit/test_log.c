// SPDX-License-Identifier: MIT
// The log: both formats, escaping of hostile text, the bound, reopening, and lost lines.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chatnode/clock.h"

// 2026-01-02T03:04:05.678Z
static int64_t now_us = 1767323045678901;
static char path[64];
static char moved[80];
static char text[3 * 8192];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof(path), "/tmp/test_log.XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0 || close(fd) != 0)
        return -1;
    (void)snprintf(moved, sizeof(moved), "%s.1", path);
    cn_clock_set_fake(&now_us);
    cn_log_set_node("");
    cn_log_set_level(CN_LOG_INFO);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cn_log_close();
    cn_clock_set_fake(NULL);
    (void)unlink(moved);
    return unlink(path);
}

static void read_file(const char *from)
{
    FILE *file = fopen(from, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    (void)fclose(file);
}

// What one line with the view `hostile` in it looks like.
static void log_value(enum cn_log_format format, const char *bytes, size_t len)
{
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(cn_log_open(path, format), CN_OK);
    CN_LOG(INFO, "a.b", "Hi", CN_F_VIEW("v", ((struct cn_str){bytes, len})));
    read_file(path);
}

static void test_json_line(void **state)
{
    (void)state;
    assert_int_equal(cn_log_open(path, CN_LOG_JSON), CN_OK);
    cn_log_set_node("n1");
    CN_LOG(WARN, "bus.connected", "Redis \"answers\"", CN_F_STR("addr", "127.0.0.1:6379"),
           CN_F_INT("tries", -3), CN_F_STR("none", NULL), CN_F_VIEW("gone", cn_str_of(NULL)));
    CN_LOG(ERROR, "a.b", "Bare");
    read_file(path);
    assert_string_equal(text, "{\"ts\":\"2026-01-02T03:04:05.678Z\",\"level\":\"warn\","
                              "\"node\":\"n1\",\"event\":\"bus.connected\","
                              "\"msg\":\"Redis \\\"answers\\\"\",\"addr\":\"127.0.0.1:6379\","
                              "\"tries\":-3,\"none\":\"\",\"gone\":\"\"}\n"
                              "{\"ts\":\"2026-01-02T03:04:05.678Z\",\"level\":\"error\","
                              "\"node\":\"n1\",\"event\":\"a.b\",\"msg\":\"Bare\"}\n");
}

static void test_text_line(void **state)
{
    (void)state;
    assert_int_equal(cn_log_open(path, CN_LOG_TEXT), CN_OK);
    CN_LOG(INFO, "a.b", "Node is ready", CN_F_STR("url", "http://h:1/"), CN_F_INT("n", 7),
           CN_F_STR("name", "two words"), CN_F_STR("empty", ""), CN_F_STR("eq", "a=b"));
    CN_LOG(ERROR, "a.b", "Bare");
    read_file(path);
    assert_string_equal(text, "03:04:05.678 INFO  Node is ready  url=http://h:1/ n=7 "
                              "name=\"two words\" empty=\"\" eq=\"a=b\"\n"
                              "03:04:05.678 ERROR Bare\n");
}

static void test_auto_is_json_unless_terminal(void **state)
{
    (void)state;
    assert_int_equal(cn_log_open(path, CN_LOG_AUTO), CN_OK);
    CN_LOG(INFO, "a.b", "Hi");
    read_file(path);
    assert_int_equal(text[0], '{');
}

static void test_levels(void **state)
{
    (void)state;
    assert_int_equal(cn_log_open(path, CN_LOG_TEXT), CN_OK);
    cn_log_set_level(CN_LOG_WARN);
    assert_true(cn_log_is_on(CN_LOG_ERROR));
    assert_true(cn_log_is_on(CN_LOG_WARN));
    assert_false(cn_log_is_on(CN_LOG_INFO));
    int evaluated = 0;
    CN_LOG(INFO, "a.b", "Not written", CN_F_INT("n", ++evaluated));
    CN_LOG(WARN, "a.b", "Written", CN_F_INT("n", ++evaluated));
    read_file(path);
    assert_string_equal(text, "03:04:05.678 WARN  Written  n=1\n");
    enum cn_log_level level = CN_LOG_INFO;
    assert_int_equal(cn_log_level_parse(cn_str_of("debug"), &level), CN_OK);
    assert_int_equal(level, CN_LOG_DEBUG);
    assert_int_equal(cn_log_level_parse(cn_str_of("error"), &level), CN_OK);
    assert_int_equal(level, CN_LOG_ERROR);
    assert_int_equal(cn_log_level_parse(cn_str_of("Error"), &level), CN_INVALID);
    assert_int_equal(cn_log_level_parse(cn_str_of(""), &level), CN_INVALID);
    assert_int_equal(level, CN_LOG_ERROR);
}

struct hostile {
    const char *bytes;
    size_t len;
    const char *quoted;
};

#define HOSTILE(bytes_, quoted_)                                                                   \
    {                                                                                              \
        (bytes_), sizeof(bytes_) - 1, (quoted_)                                                    \
    }
#define BAD "\xEF\xBF\xBD"

static const struct hostile hostiles[] = {
    HOSTILE("a\nb", "\"a\\u000ab\""),
    HOSTILE("\r\t\0\x1b[31m", "\"\\u000d\\u0009\\u0000\\u001b[31m\""),
    HOSTILE("\"} {\"", "\"\\\"} {\\\"\""),
    HOSTILE("a\\n b", "\"a\\\\n b\""),
    HOSTILE("\x7f", "\"\\u007f\""),
    HOSTILE("\xC2\x9B", "\"\\u009b\""),
    HOSTILE("\xE2\x80\xA8\xE2\x80\xAE", "\"\\u2028\\u202e\""),
    HOSTILE("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80", "\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80\""),
    HOSTILE("\xFF\x80", "\"" BAD BAD "\""),
    HOSTILE("\xC0\x8A", "\"" BAD BAD "\""),                 // an overlong line feed
    HOSTILE("\xE0\x80\x8A", "\"" BAD BAD BAD "\""),         // and another
    HOSTILE("\xED\xA0\x80", "\"" BAD BAD BAD "\""),         // a surrogate
    HOSTILE("\xF4\x90\x80\x80", "\"" BAD BAD BAD BAD "\""), // beyond Unicode
    {"x\xE2\x82\xAC", 3, "\"x" BAD BAD "\""},               // the view ends within a character
    HOSTILE("\xE2\n\n", "\"" BAD "\\u000a\\u000a\""),       // a lead byte hides no line feed
};

static void test_no_line_can_be_forged(void **state)
{
    (void)state;
    char expected[256];
    for (size_t i = 0; i < CN_COUNT(hostiles); i++) {
        log_value(CN_LOG_JSON, hostiles[i].bytes, hostiles[i].len);
        (void)snprintf(expected, sizeof(expected),
                       "{\"ts\":\"2026-01-02T03:04:05.678Z\",\"level\":\"info\","
                       "\"event\":\"a.b\",\"msg\":\"Hi\",\"v\":%s}\n",
                       hostiles[i].quoted);
        assert_string_equal(text, expected);
        log_value(CN_LOG_TEXT, hostiles[i].bytes, hostiles[i].len);
        (void)snprintf(expected, sizeof(expected), "03:04:05.678 INFO  Hi  v=%s\n",
                       hostiles[i].quoted);
        assert_string_equal(text, expected);
    }
}

static void assert_ends(const char *end)
{
    size_t len = strlen(text);
    assert_true(len > strlen(end));
    assert_string_equal(text + len - strlen(end), end);
}

// Every length around the bound, so that each way of not fitting occurs.
static void test_long_line_is_cut_with_a_mark(void **state)
{
    (void)state;
    static char value[9000];
    memset(value, 'x', sizeof(value));
    for (size_t len = 7900; len < 8300; len++) {
        assert_int_equal(truncate(path, 0), 0);
        assert_int_equal(cn_log_open(path, CN_LOG_JSON), CN_OK);
        CN_LOG(INFO, "a.b", "Hi", CN_F_VIEW("v", ((struct cn_str){value, len})),
               CN_F_INT("number", 1234567), CN_F_STR("last", "\n\n\n\n\n\n\n\n\n\n"));
        read_file(path);
        assert_true(strlen(text) <= 8192);
        assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
        bool whole = strstr(text, "\"last\":\"\\u000a\\u000a\\u000a\\u000a\\u000a\\u000a\\u000a"
                                  "\\u000a\\u000a\\u000a\"}\n") != NULL;
        if (!whole)
            assert_ends(",\"cut\":true}\n");
        const char *number = strstr(text, "\"number\":");
        assert_true(number == NULL || strncmp(number, "\"number\":1234567,", 17) == 0);
    }
    log_value(CN_LOG_JSON, value, sizeof(value));
    assert_ends("xxx\",\"cut\":true}\n");
    log_value(CN_LOG_TEXT, value, sizeof(value));
    assert_ends(" (cut)\n");
    assert_true(strlen(text) <= 8192);
}

static void test_reopen_after_rotation(void **state)
{
    (void)state;
    assert_int_equal(cn_log_open(path, CN_LOG_TEXT), CN_OK);
    CN_LOG(INFO, "a.b", "First");
    assert_int_equal(rename(path, moved), 0);
    CN_LOG(INFO, "a.b", "Second");
    assert_int_equal(cn_log_open(path, CN_LOG_TEXT), CN_OK);
    CN_LOG(INFO, "a.b", "Third");
    read_file(moved);
    assert_non_null(strstr(text, "First\n"));
    assert_non_null(strstr(text, "Second\n"));
    assert_null(strstr(text, "Third\n"));
    read_file(path);
    assert_string_equal(text, "03:04:05.678 INFO  Third\n");
}

static void test_failed_open_keeps_the_old_target(void **state)
{
    (void)state;
    assert_int_equal(cn_log_open(path, CN_LOG_TEXT), CN_OK);
    assert_int_equal(cn_log_open("/nonexistent/dir/log", CN_LOG_JSON), CN_SYSTEM);
    assert_int_equal(errno, ENOENT);
    CN_LOG(INFO, "a.b", "Still here");
    read_file(path);
    assert_string_equal(text, "03:04:05.678 INFO  Still here\n");
}

// Runs `run` with stderr replaced by `fd`, and closes `fd`.
static void with_stderr(int fd, void (*run)(void))
{
    int kept = dup(STDERR_FILENO);
    assert_true(kept >= 0);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    close(fd);
    run();
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
}

static void log_to_stderr(void)
{
    assert_int_equal(cn_log_open(NULL, CN_LOG_AUTO), CN_OK);
    errno = EBADMSG;
    CN_LOG(INFO, "a.b", "Hi", CN_F_INT("n", 1));
    assert_int_equal(errno, EBADMSG);
}

static void read_end(int fd)
{
    ssize_t len = read(fd, text, sizeof(text) - 1);
    text[len > 0 ? len : 0] = '\0';
    close(fd);
}

static void test_terminal_gets_coloured_text(void **state)
{
    (void)state;
    for (int no_color = 0; no_color < 2; no_color++) {
        int terminal = posix_openpt(O_RDWR | O_NOCTTY);
        assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
        int other = open(ptsname(terminal), O_RDWR | O_NOCTTY);
        assert_true(other >= 0);
        assert_int_equal(setenv("NO_COLOR", no_color ? "1" : "", 1), 0);
        with_stderr(other, log_to_stderr);
        read_end(terminal);
        assert_string_equal(text, no_color ? "03:04:05.678 INFO  Hi  n=1\r\n"
                                           : "03:04:05.678 \033[32mINFO \033[0m Hi  n=1\r\n");
    }
    assert_int_equal(unsetenv("NO_COLOR"), 0);
}

static void fill_pipe(void)
{
    const uint64_t lost = cn_log_lost();
    assert_int_equal(cn_log_open(NULL, CN_LOG_JSON), CN_OK);
    for (int i = 0; i < 100000 && cn_log_lost() == lost; i++)
        CN_LOG(INFO, "a.b", "Hi");
    assert_int_equal(cn_log_lost(), lost + 1);
}

// Would hang if the log waited.
static void test_reader_that_stands_still_loses_lines(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    with_stderr(ends[1], fill_pipe);
    close(ends[0]);
}

static void log_to_nobody(void)
{
    const uint64_t lost = cn_log_lost();
    log_to_stderr();
    assert_int_equal(cn_log_lost(), lost + 1);
}

// Would end the test by SIGPIPE if the log wrote.
static void test_reader_that_is_gone_loses_lines(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    with_stderr(ends[1], log_to_nobody);
}

static void log_to_full_device(void)
{
    const uint64_t lost = cn_log_lost();
    log_to_stderr();
    assert_int_equal(cn_log_lost(), lost + 1);
}

static void test_failed_write_is_counted(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    with_stderr(full, log_to_full_device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_json_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_text_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auto_is_json_unless_terminal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_levels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_line_can_be_forged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_line_is_cut_with_a_mark, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reopen_after_rotation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_open_keeps_the_old_target, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_terminal_gets_coloured_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reader_that_stands_still_loses_lines, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_failed_write_is_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reader_that_is_gone_loses_lines, set_up, tear_down),
    };
    if (setenv("TZ", "UTC", 1) != 0)
        return 1;
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
