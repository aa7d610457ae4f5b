// SPDX-License-Identifier: MIT
// Fuzz target: configuration. Lines that begin with "--" are flags, those with "$" variables of the
// environment, the rest is the file. What was accepted is shown as a file and must be accepted
// again, with the same values; a secret is never shown.
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chatnode/config.h"
#include "wire_private.h"

enum { WORDS_MAX = 32, REPORT_MAX_BYTES = 1 << 20 };

struct sources {
    char *argv[WORDS_MAX + 2];
    int argc;
    char *environ_[WORDS_MAX + 1];
    size_t variables;
    struct cn_buf file;
};

// A secret's file may be any that the system has: devices that never end are not for this.
static bool names_a_device(struct cn_str line)
{
    return memmem(line.ptr, line.len, "/dev", 4) || memmem(line.ptr, line.len, "/proc", 5) ||
           memmem(line.ptr, line.len, "/sys", 4);
}

static void take_line(struct sources *sources, struct cn_str line)
{
    if (names_a_device(line))
        return;
    if (line.len >= 2 && memcmp(line.ptr, "--", 2) == 0) {
        if (sources->argc < WORDS_MAX)
            sources->argv[sources->argc++] = fuzz_string(line);
    } else if (line.len >= 1 && line.ptr[0] == '$') {
        if (sources->variables < WORDS_MAX)
            sources->environ_[sources->variables++] =
                fuzz_string((struct cn_str){line.ptr + 1, line.len - 1});
    } else if (cn_buf_append_str(&sources->file, line) || cn_buf_append(&sources->file, "\n", 1)) {
        abort();
    }
}

// The file stands in memory; its path is the last flag, where no other can take its place.
static int put_file(struct sources *sources)
{
    static char path[64];
    int fd = memfd_create("config", 0);
    CN_ASSERT(fd >= 0);
    CN_ASSERT(write(fd, sources->file.data, sources->file.len) == (ssize_t)sources->file.len);
    snprintf(path, sizeof(path), "--config=/proc/self/fd/%d", fd);
    sources->argv[sources->argc] = path;
    return fd;
}

static enum cn_err load(struct cn_config *config, struct sources *sources,
                        enum cn_config_action *action)
{
    struct cn_buf report;
    cn_buf_init(&report, REPORT_MAX_BYTES);
    int fd = put_file(sources);
    const struct cn_config_sources parts = {sources->argc + 1, sources->argv, sources->environ_};
    enum cn_err err = cn_config_load(config, &parts, action, &report);
    close(fd);
    CN_ASSERT(err == CN_OK || err == CN_INVALID);
    CN_ASSERT(err == CN_OK || report.len > 0);
    cn_buf_fini(&report);
    return err;
}

static void check_field(const struct cn_setting *setting, const void *a, const void *b)
{
    if (setting->kind == CN_SETTING_NUMBER) {
        int64_t value = *(const int64_t *)a;
        CN_ASSERT(value == *(const int64_t *)b);
        CN_ASSERT(value >= setting->min && value <= setting->max);
    } else if (setting->kind == CN_SETTING_SWITCH) {
        CN_ASSERT(*(const bool *)a == *(const bool *)b);
    } else if (!(setting->flags & CN_SETTING_SECRET)) {
        CN_ASSERT(strcmp(*(char *const *)a, *(char *const *)b) == 0);
    }
}

// Texts may hold what a file cannot carry: a mark of comments, blanks at an end. And one may look
// like a secret that is not shown.
static bool fits_a_file(const struct cn_config *config)
{
    size_t count;
    const struct cn_setting *settings = cn_settings(&count);
    for (size_t i = 0; i < count; i++) {
        if (settings[i].kind != CN_SETTING_TEXT)
            continue;
        const char *text = *(char *const *)((const char *)config + settings[i].offset);
        size_t len = strlen(text);
        if (strchr(text, '#') || strstr(text, "(secret)") || len > 1000 ||
            (len && (text[0] == ' ' || text[len - 1] == ' ' || text[0] == '"')))
            return false;
    }
    return true;
}

static void check_again(const struct cn_config *config, const struct cn_buf *shown)
{
    struct sources sources = {.argv = {(char *)(uintptr_t) "chatnode"}, .argc = 1};
    cn_buf_init(&sources.file, REPORT_MAX_BYTES);
    struct cn_str rest = cn_buf_str(shown), line;
    while (fuzz_cut(&rest, '\n', &line)) // a secret is not there
        if (!memmem(line.ptr, line.len, "(secret)", 8))
            CN_ASSERT(!cn_buf_append_str(&sources.file, line) &&
                      !cn_buf_append(&sources.file, "\n", 1));
    struct cn_config again;
    enum cn_config_action action;
    CN_ASSERT(load(&again, &sources, &action) == CN_OK);
    size_t count;
    const struct cn_setting *settings = cn_settings(&count);
    for (size_t i = 0; i < count; i++)
        check_field(&settings[i], (const char *)config + settings[i].offset,
                    (const char *)&again + settings[i].offset);
    cn_config_fini(&again);
    cn_buf_fini(&sources.file);
}

static void show(const struct cn_config *config)
{
    struct cn_buf shown;
    cn_buf_init(&shown, REPORT_MAX_BYTES);
    CN_ASSERT(cn_config_show(config, &shown) == CN_OK);
    if (strlen(config->api_key) >= 12)
        CN_ASSERT(!memmem(shown.data, shown.len, config->api_key, strlen(config->api_key)) ||
                  strlen(config->redis_prefix) >= 12 || strlen(config->log_file) >= 12 ||
                  strlen(config->node_name) >= 12 || strlen(config->allowed_origins) >= 12);
    if (fits_a_file(config))
        check_again(config, &shown);
    cn_buf_fini(&shown);
}

static void help(void)
{
    struct cn_buf text;
    cn_buf_init(&text, REPORT_MAX_BYTES);
    CN_ASSERT(cn_config_help(&text) == CN_OK && text.len > 0);
    cn_buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sources sources = {.argv = {(char *)(uintptr_t) "chatnode"}, .argc = 1};
    cn_buf_init(&sources.file, 1 << 20);
    struct cn_str rest = {(const char *)data, size}, line;
    while (fuzz_cut(&rest, '\n', &line))
        take_line(&sources, line);
    struct cn_config config;
    enum cn_config_action action;
    enum cn_err err = load(&config, &sources, &action);
    if (action == CN_ACTION_HELP)
        help();
    else if (!err && action != CN_ACTION_VERSION)
        show(&config);
    cn_config_fini(&config);
    for (int i = 1; i < sources.argc; i++)
        free(sources.argv[i]);
    for (size_t i = 0; i < sources.variables; i++)
        free(sources.environ_[i]);
    cn_buf_fini(&sources.file);
    return 0;
}
