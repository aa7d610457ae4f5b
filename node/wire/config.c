// SPDX-License-Identifier: MIT
// Loads the settings: flags, then the environment, then the file, and defaults for what is left.
// The strongest source is read first, so that weaker ones know what is settled already.
#include "chatnode/config.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "chatnode/codec.h"
#include "wire_private.h"

enum {
    SETTING_COUNT = 0
#define COUNT(...) +1
    CN_CONFIG_TABLE(COUNT, COUNT, COUNT)
#undef COUNT
        ,
    NAME_MAX_BYTES = 128,     // of a variable's or key's name; longer ones are unknown
    LINE_MAX_BYTES = 4096,    // of the file
    SECRET_MAX_BYTES = 65536, // of a secret's file: keys may be many
    FILE_MAX_BYTES = 1024 * 1024,
    SHOWN_MAX_BYTES = 60 // of a bad value in a report
};

// Where a value stands; a higher one wins.
enum rank { RANK_NONE, RANK_FILE, RANK_PLATFORM, RANK_ENVIRONMENT, RANK_FLAG };

struct loader {
    struct cn_config *config;
    struct cn_buf *report;
    enum cn_config_action *action;
    const char *path;                   // of the file, borrowed; NULL: none
    enum rank rank;                     // of the source being read
    unsigned char ranks[SETTING_COUNT]; // of the source that set each
    bool wrong;                         // an error is in the report
    bool nomem;
};

// ---- The report ----

// A place where a value stands, and the key it is for.
struct place {
    const char *where; // --max-rooms, CHATNODE_MAX_ROOMS, PATH:LINE
    const char *key;
};

// Keeps in mind that memory ran out; a full report merely stays as it is.
static void note(struct loader *loader, enum cn_err err)
{
    if (err == CN_NOMEM)
        loader->nomem = true;
}

// Begins a line: "WHERE: " and, where that does not say it already, "KEY: ".
static void report_place(struct loader *loader, const struct place *place)
{
    bool with_key = place->key && loader->rank != RANK_FLAG;
    note(loader, cn_buf_printf(loader->report, "%s: %s%s", place->where, with_key ? place->key : "",
                               with_key ? ": " : ""));
}

// Reports an error: `what` completes the line.
static void report_error(struct loader *loader, const struct place *place, const char *what)
{
    loader->wrong = true;
    report_place(loader, place);
    note(loader, cn_buf_printf(loader->report, "%s\n", what));
}

// Reports that `value` is not what it must be; never shows a secret.
static void report_value(struct loader *loader, const struct place *place,
                         const struct cn_setting *setting, struct cn_str value, const char *what)
{
    loader->wrong = true;
    report_place(loader, place);
    bool is_long = value.len > SHOWN_MAX_BYTES;
    if (setting->flags & CN_SETTING_SECRET)
        note(loader, cn_buf_append_str(loader->report, CN_STR_LITERAL("the value")));
    else
        note(loader,
             cn_codec_quote(loader->report,
                            (struct cn_str){value.ptr, is_long ? SHOWN_MAX_BYTES : value.len}));
    note(loader, cn_buf_printf(loader->report, "%s %s\n", is_long ? "..." : "", what));
}

// Reports a name that nobody knows, with the nearest one as it would be written in this source.
static void report_unknown(struct loader *loader, const char *where, const char *what,
                           struct cn_str key)
{
    const char *nearest = cn_setting_nearest(key);
    char name[NAME_MAX_BYTES] = "";
    const char *prefix = loader->rank == RANK_FLAG          ? "--"
                         : loader->rank == RANK_ENVIRONMENT ? "CHATNODE_"
                                                            : "";
    if (nearest)
        snprintf(name, sizeof(name), "%s", nearest);
    for (char *c = name; *c && loader->rank == RANK_ENVIRONMENT; c++)
        *c = *c == '-' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    loader->wrong |= loader->rank == RANK_FLAG;
    note(loader, cn_buf_printf(loader->report, "%s: %s%s%s%s%s\n", where, what,
                               nearest ? "; did you mean " : "", nearest ? prefix : "", name,
                               nearest ? "?" : ""));
}

// ---- Setting a value ----

static void *field_of(const struct loader *loader, const struct cn_setting *setting)
{
    return (char *)loader->config + setting->offset;
}

static unsigned char *rank_of(struct loader *loader, const struct cn_setting *setting)
{
    size_t count;
    return &loader->ranks[setting - cn_settings(&count)];
}

// A terminated copy; of a LIST without its blanks. NULL without memory.
static char *copy_text(const struct cn_setting *setting, struct cn_str value, size_t *len)
{
    bool is_list = setting->value && strcmp(setting->value, "LIST") == 0;
    char *copy = malloc(value.len + 1);
    if (!copy)
        return NULL;
    *len = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_list || (value.ptr[i] != ' ' && value.ptr[i] != '\t'))
            copy[(*len)++] = value.ptr[i];
    }
    copy[*len] = '\0';
    return copy;
}

// Each of these checks `value`, and stores it if `store` says so.

static void set_text(struct loader *loader, const struct place *place,
                     const struct cn_setting *setting, struct cn_str value, bool store)
{
    size_t len;
    char *copy = copy_text(setting, value, &len);
    if (!copy) {
        loader->nomem = true;
        return;
    }
    const char *complaint = cn_setting_complaint(setting, (struct cn_str){copy, len});
    if (complaint)
        report_value(loader, place, setting, value, complaint);
    char **field = field_of(loader, setting);
    if (!complaint && store) {
        free(*field);
        *field = copy;
        copy = NULL;
    }
    free(copy);
}

static void set_number(struct loader *loader, const struct place *place,
                       const struct cn_setting *setting, struct cn_str value, bool store)
{
    int64_t number;
    if (!cn_text_is_number(value, setting->min, setting->max, &number)) {
        char what[96];
        snprintf(what, sizeof(what), "is not a number from %" PRId64 " to %" PRId64, setting->min,
                 setting->max);
        report_value(loader, place, setting, value, what);
    } else if (store) {
        *(int64_t *)field_of(loader, setting) = number;
    }
}

static void set_switch(struct loader *loader, const struct place *place,
                       const struct cn_setting *setting, struct cn_str value, bool store)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "0", "1"};
    for (size_t i = 0; i < CN_COUNT(words); i++) {
        if (!cn_str_equal(value, cn_str_of(words[i])))
            continue;
        if (store)
            *(bool *)field_of(loader, setting) = i % 2 == 1;
        return;
    }
    report_value(loader, place, setting, value, "is not on or off");
}

// Takes a value from the source being read. It is checked even where a stronger source has spoken.
static void set(struct loader *loader, const char *where, const struct cn_setting *setting,
                struct cn_str value)
{
    struct place place = {where, setting->key};
    unsigned char *rank = rank_of(loader, setting);
    if (*rank == loader->rank && loader->rank != RANK_FLAG) {
        report_error(loader, &place, "is set twice");
        return;
    }
    bool store = *rank <= loader->rank;
    if (setting->kind == CN_SETTING_TEXT)
        set_text(loader, &place, setting, value, store);
    else if (setting->kind == CN_SETTING_NUMBER)
        set_number(loader, &place, setting, value, store);
    else
        set_switch(loader, &place, setting, value, store);
    if (store)
        *rank = (unsigned char)loader->rank;
}

// ---- Files ----

// Reads all of `path` into `out`, up to its bound. NULL, or what is wrong (valid until the next).
static const char *read_file(struct loader *loader, const char *path, struct cn_buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return strerror(errno);
    char part[4096];
    ssize_t len;
    enum cn_err err = CN_OK;
    while (err == CN_OK && (len = read(fd, part, sizeof(part))) > 0)
        err = cn_buf_append(out, part, (size_t)len);
    note(loader, err);
    const char *problem = err == CN_FULL ? "the file is too large"
                          : err != CN_OK ? cn_err_str(err)
                          : len < 0      ? strerror(errno)
                                         : NULL;
    close(fd);
    return problem;
}

// Takes a secret from the file at `path`, less the newline at its end.
static void set_from_file(struct loader *loader, const char *where,
                          const struct cn_setting *setting, const char *path)
{
    struct place place = {where, setting->key};
    struct cn_buf content;
    cn_buf_init(&content, SECRET_MAX_BYTES);
    const char *problem = read_file(loader, path, &content);
    struct cn_str value = cn_buf_str(&content);
    if (value.len > 0 && value.ptr[value.len - 1] == '\n')
        value.len--;
    if (value.len > 0 && value.ptr[value.len - 1] == '\r')
        value.len--;
    if (problem) {
        char what[512];
        snprintf(what, sizeof(what), "could not read \"%.300s\": %s", path, problem);
        report_error(loader, &place, what);
    } else {
        set(loader, where, setting, value);
    }
    cn_buf_fini(&content);
}

// The secret whose twin `key` is (redis-url-file), or NULL.
static const struct cn_setting *find_twin(struct cn_str key)
{
    const struct cn_str suffix = CN_STR_LITERAL("-file");
    if (key.len <= suffix.len ||
        memcmp(key.ptr + key.len - suffix.len, suffix.ptr, suffix.len) != 0)
        return NULL;
    const struct cn_setting *setting =
        cn_setting_find((struct cn_str){key.ptr, key.len - suffix.len});
    return setting && (setting->flags & CN_SETTING_SECRET) ? setting : NULL;
}

// Sets the setting called `key`, or reads it from its twin's file; false when there is none.
static bool set_by_key(struct loader *loader, const char *where, struct cn_str key,
                       const char *value)
{
    const struct cn_setting *setting = cn_setting_find(key);
    const struct cn_setting *twin = setting ? NULL : find_twin(key);
    if (setting)
        set(loader, where, setting, cn_str_of(value));
    else if (twin)
        set_from_file(loader, where, twin, value);
    return setting || twin;
}

struct file_line {
    struct loader *loader;
    const char *where; // PATH:LINE
    bool is_pair;      // a key was found in it
};

static int on_pair(void *arg, const char *section, const char *key, const char *value)
{
    (void)section;
    struct file_line *line = arg;
    struct cn_str name = cn_str_of(key);
    line->is_pair = name.len > 0;
    if (line->is_pair && !set_by_key(line->loader, line->where, name, value)) {
        char what[NAME_MAX_BYTES];
        snprintf(what, sizeof(what), "warning: unknown key \"%.*s\"",
                 (int)(name.len < SHOWN_MAX_BYTES ? name.len : SHOWN_MAX_BYTES), name.ptr);
        report_unknown(line->loader, line->where, what, name);
    }
    return 1;
}

// One line at a time, so that each problem has its line's number.
static void read_line(struct loader *loader, const char *where, struct cn_str text)
{
    char line[LINE_MAX_BYTES];
    struct place place = {where, NULL};
    while (text.len > 0 && (*text.ptr == ' ' || *text.ptr == '\t')) {
        text.ptr++;
        text.len--;
    }
    if (memchr(text.ptr, '\0', text.len) || cn_str_copy(text, line, sizeof(line)) != CN_OK) {
        report_error(loader, &place, "the line is too long, or has a NUL in it");
        return;
    }
    if (line[0] == '[') {
        report_error(loader, &place, "there are no sections in this file");
        return;
    }
    struct file_line state = {loader, where,
                              line[strspn(line, "\r")] == '\0' || line[0] == '#' || line[0] == ';'};
    if (ini_parse_string(line, on_pair, &state) != 0 || !state.is_pair)
        report_error(loader, &place, "is not KEY = VALUE");
}

// The library keeps these in globals; it is used from one thread, when settings are loaded.
static void prepare_ini(void)
{
    static char comment[] = "#";
    ini_max_line = LINE_MAX_BYTES + 3;
    ini_inline_comment_prefixes = comment;
}

static void read_lines(struct loader *loader, struct cn_str text)
{
    const struct cn_str mark = CN_STR_LITERAL("\xEF\xBB\xBF"); // that some editors put first
    prepare_ini();
    char where[512];
    if (text.len >= mark.len && memcmp(text.ptr, mark.ptr, mark.len) == 0)
        text = (struct cn_str){text.ptr + mark.len, text.len - mark.len};
    for (unsigned number = 1; text.len > 0; number++) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end ? (size_t)(end - text.ptr) : text.len;
        size_t step = len + (end != NULL);
        snprintf(where, sizeof(where), "%.480s:%u", loader->path, number);
        read_line(loader, where, (struct cn_str){text.ptr, len});
        text = (struct cn_str){text.ptr + step, text.len - step};
    }
}

static void load_file(struct loader *loader)
{
    loader->rank = RANK_FILE;
    struct cn_buf content;
    cn_buf_init(&content, FILE_MAX_BYTES);
    const char *problem = loader->path ? read_file(loader, loader->path, &content) : NULL;
    if (problem) {
        char what[256];
        snprintf(what, sizeof(what), "could not read the file: %s", problem);
        report_error(loader, &(struct place){loader->path, NULL}, what);
    } else {
        read_lines(loader, cn_buf_str(&content));
    }
    cn_buf_fini(&content);
}

// ---- The environment ----

// The key that a variable's name stands for: REDIS_URL gives redis-url.
static struct cn_str key_of_variable(struct cn_str name, char out[NAME_MAX_BYTES])
{
    if (name.len >= NAME_MAX_BYTES)
        return (struct cn_str){NULL, 0};
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        out[i] = c == '_' ? '-' : (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    return (struct cn_str){out, name.len};
}

// Kubernetes sets CHATNODE_SERVICE_HOST, CHATNODE_PORT=tcp://... and the like in each container
// when there is a service named chatnode; they are not meant for us.
static bool is_of_kubernetes(struct cn_str name, const char *value)
{
    return (name.len >= 8 && memcmp(name.ptr, "SERVICE_", 8) == 0) ||
           (name.len >= 5 && memcmp(name.ptr, "PORT_", 5) == 0) ||
           (cn_str_equal(name, CN_STR_LITERAL("PORT")) && strstr(value, "://"));
}

// `name` is without the CHATNODE_ before it.
static void read_variable(struct loader *loader, struct cn_str name, const char *value)
{
    char key_text[NAME_MAX_BYTES];
    char where[NAME_MAX_BYTES + 16];
    struct cn_str key = key_of_variable(name, key_text);
    snprintf(where, sizeof(where), "CHATNODE_%.*s", (int)(name.len < 100 ? name.len : 100),
             name.ptr);
    if (cn_str_equal(key, CN_STR_LITERAL("config"))) {
        if (!loader->path)
            loader->path = value;
    } else if (!set_by_key(loader, where, key, value) && !is_of_kubernetes(name, value)) {
        report_unknown(loader, where, "warning: unknown variable", key);
    }
}

static void load_environment(struct loader *loader, char *const *environ_)
{
    static const char prefix[] = "CHATNODE_";
    const size_t len = sizeof(prefix) - 1;
    loader->rank = RANK_ENVIRONMENT;
    for (; environ_ && *environ_; environ_++) {
        const char *equals = strchr(*environ_, '=');
        if (equals && equals[1] && strncmp(*environ_, prefix, len) == 0 &&
            equals >= *environ_ + len)
            read_variable(loader,
                          (struct cn_str){*environ_ + len, (size_t)(equals - *environ_) - len},
                          equals + 1);
    }
}

// The value of a variable that platforms set; NULL when it is unset or empty, or when a stronger
// source has settled the setting, in which case it may well be meant for another program.
static const char *platform_value(struct loader *loader, char *const *environ_, const char *name,
                                  const struct cn_setting *setting)
{
    size_t len = strlen(name);
    for (; environ_ && *environ_; environ_++) {
        if (strncmp(*environ_, name, len) == 0 && (*environ_)[len] == '=')
            return (*environ_)[len + 1] && *rank_of(loader, setting) == RANK_NONE
                       ? *environ_ + len + 1
                       : NULL;
    }
    return NULL;
}

static void load_platform(struct loader *loader, char *const *environ_)
{
    loader->rank = RANK_PLATFORM;
    const struct cn_setting *listen = cn_setting_find(CN_STR_LITERAL("listen"));
    const struct cn_setting *redis_url = cn_setting_find(CN_STR_LITERAL("redis-url"));
    const char *port = platform_value(loader, environ_, "PORT", listen);
    const char *url = platform_value(loader, environ_, "REDIS_URL", redis_url);
    int64_t number;
    char address[32];
    if (url)
        set(loader, "REDIS_URL", redis_url, cn_str_of(url));
    if (port && cn_text_is_number(cn_str_of(port), 1, 65535, &number)) {
        snprintf(address, sizeof(address), "0.0.0.0:%" PRId64, number);
        set(loader, "PORT", listen, cn_str_of(address));
    } else if (port) {
        report_value(loader, &(struct place){"PORT", "listen"}, listen, cn_str_of(port),
                     "is not a number from 1 to 65535");
    }
}

// ---- Flags ----

struct command {
    const char *flag;
    enum cn_config_action action;
};

static const struct command commands[] = {
    {"--help", CN_ACTION_HELP},
    {"-h", CN_ACTION_HELP},
    {"--version", CN_ACTION_VERSION},
    {"--check-config", CN_ACTION_CHECK},
    {"--healthcheck", CN_ACTION_HEALTHCHECK},
};

// True when `arg` is a flag that asks for something: *action (may be NULL) is then that, but for
// --help, which stays once it was given.
static bool take_command(enum cn_config_action *action, const char *arg)
{
    for (size_t i = 0; i < CN_COUNT(commands); i++) {
        if (strcmp(arg, commands[i].flag) != 0)
            continue;
        if (action && *action != CN_ACTION_HELP)
            *action = commands[i].action;
        return true;
    }
    return false;
}

// True when `key` is a SWITCH, or "no-" and one; it is then set.
static bool take_switch(struct loader *loader, const char *where, struct cn_str key)
{
    bool no = key.len > 3 && memcmp(key.ptr, "no-", 3) == 0;
    const struct cn_setting *setting = cn_setting_find(key);
    if (!setting && no)
        setting = cn_setting_find((struct cn_str){key.ptr + 3, key.len - 3});
    else
        no = false;
    if (!setting || setting->kind != CN_SETTING_SWITCH)
        return false;
    set(loader, where, setting, no ? CN_STR_LITERAL("off") : CN_STR_LITERAL("on"));
    return true;
}

// True when `key` is a setting that takes a value, or --config.
static bool takes_value(struct cn_str key)
{
    return cn_setting_find(key) || find_twin(key) || cn_str_equal(key, CN_STR_LITERAL("config"));
}

static void take_value(struct loader *loader, const char *where, struct cn_str key,
                       const char *value)
{
    struct place place = {where, NULL};
    if (!takes_value(key) && take_command(NULL, where))
        report_error(loader, &place, "takes no value");
    else if (!takes_value(key))
        report_unknown(loader, where, "unknown flag", key);
    else if (!value)
        report_error(loader, &place, "needs a value");
    else if (cn_str_equal(key, CN_STR_LITERAL("config")))
        loader->path = value;
    else
        set_by_key(loader, where, key, value);
}

// Reads the flag argv[0], with its value where that is argv[1]; returns how many it took.
static int read_flag(struct loader *loader, char *const *argv, int left)
{
    const char *arg = argv[0];
    char where[NAME_MAX_BYTES];
    snprintf(where, sizeof(where), "%.*s", (int)strcspn(arg, "="), arg);
    if (take_command(loader->action, arg))
        return 1;
    if (strncmp(arg, "--", 2) != 0 || arg[2] == '\0') {
        report_error(loader, &(struct place){where, NULL}, "is not a flag; see --help");
        return 1;
    }
    struct cn_str key = {arg + 2, strcspn(arg + 2, "=")};
    const char *value = arg[2 + key.len] == '=' ? arg + 2 + key.len + 1 : NULL;
    if (!value && take_switch(loader, where, key))
        return 1;
    bool is_next = !value && left > 1 && argv[1][0] != '-';
    take_value(loader, where, key, is_next ? argv[1] : value);
    return is_next ? 2 : 1;
}

static void load_flags(struct loader *loader, int argc, char *const *argv)
{
    loader->rank = RANK_FLAG;
    for (int i = 1; i < argc;)
        i += read_flag(loader, argv + i, argc - i);
}

// ---- All of it ----

// What each setting may be for itself, all may not be together.
static void check_together(struct loader *loader)
{
    const char *key;
    const char *conflict = cn_config_conflict(loader->config, &key);
    if (conflict)
        report_error(loader, &(struct place){key, NULL}, conflict);
}

enum cn_err cn_config_load(struct cn_config *config, const struct cn_config_sources *sources,
                           enum cn_config_action *action, struct cn_buf *report)
{
    *action = CN_ACTION_RUN;
    memset(config, 0, sizeof(*config));
    struct loader loader = {.config = config, .report = report, .action = action};
    size_t start = report->len;
    if (cn_config_set_defaults(config) != CN_OK)
        return CN_NOMEM;
    load_flags(&loader, sources->argc, sources->argv);
    if (*action == CN_ACTION_HELP || *action == CN_ACTION_VERSION) {
        report->len = start; // what else was said does not matter
        return loader.nomem ? CN_NOMEM : CN_OK;
    }
    load_environment(&loader, sources->environ);
    load_platform(&loader, sources->environ);
    load_file(&loader);
    if (loader.nomem)
        return CN_NOMEM;
    if (!loader.wrong)
        check_together(&loader);
    return loader.wrong ? CN_INVALID : CN_OK;
}
