// SPDX-License-Identifier: MIT
// The settings: ranks of their sources, what is refused and in which words, and the texts about
// them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "chatnode/config.h"

// One load and what came of it.
struct load {
    struct cn_config config;
    struct cn_buf report;
    enum cn_config_action action;
    enum cn_err err;
    char text[8192]; // the report with a NUL
};

static const char *const nothing[] = {NULL};

// Both lists end with NULL; the first begins with the first flag.
static void load(struct load *out, const char *const *flags, const char *const *environ_)
{
    char *argv[32] = {(char[]){"chatnode"}};
    int argc = 1;
    for (; *flags && argc < 32; flags++)
        argv[argc++] = (char *)(uintptr_t)*flags;
    struct cn_config_sources sources = {argc, argv, (char *const *)(uintptr_t)environ_};
    cn_buf_init(&out->report, sizeof(out->text) - 1);
    out->err = cn_config_load(&out->config, &sources, &out->action, &out->report);
    assert_int_equal(cn_str_copy(cn_buf_str(&out->report), out->text, sizeof(out->text)), CN_OK);
}

static void unload(struct load *load)
{
    cn_config_fini(&load->config);
    cn_buf_fini(&load->report);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

// A file with `text` in it; the path is one of two, so that two may exist at once.
static const char *write_file(const char *text, size_t len)
{
    static char paths[2][32];
    static int turn;
    char *path = paths[turn++ % 2];
    strcpy(path, "/tmp/chatnode-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(close(fd), 0);
    return path;
}

// ---- Together ----

static void expect_conflict(const char *const *flags, const char *words)
{
    struct load got;
    load(&got, flags, nothing);
    assert_int_equal(got.err, CN_INVALID);
    if (!strstr(got.text, words))
        fail_msg("wanted %s, got %s", words, got.text);
    unload(&got);
}

static void tokens_need_keys_that_can_be_read(void **state)
{
    (void)state;
    expect_conflict(LIST("--auth", "token"), "auth: token needs a key: ");
    expect_conflict(LIST("--auth", "token", "--auth-secret", "short"), "auth-secret: ");
    expect_conflict(LIST("--auth", "token", "--auth-keys", "{\"keys\":7}"), "auth-keys: ");
    expect_conflict(LIST("--auth", "none"), "is not open or token");
    static const char keys[] = // they come in lines
        "{\"keys\": [\n\t{\"kty\": \"oct\", \"alg\": \"HS256\",\r\n\"k\": "
        "\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\""
        "}\n]}\r\n";
    const char *path = write_file(keys, strlen(keys));
    struct load got;
    load(&got, LIST("--auth", "token", "--auth-keys-file", path, "--auth-url", "https://a.b/"),
         nothing);
    assert_string_equal(got.text, "");
    assert_int_equal(got.err, CN_OK);
    unload(&got);
    assert_int_equal(unlink(path), 0);
    load(&got, LIST("--auth-secret", "not looked at in open mode"), nothing);
    assert_int_equal(got.err, CN_OK);
    unload(&got);
}

static void addresses_to_ask_are_safe_ones(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        enum cn_err err;
    } cases[] = {
        {"https://id.example.org/keys", CN_OK}, {"http://127.0.0.1:8080/keys", CN_OK},
        {"http://localhost/keys", CN_OK},       {"http://[::1]:80", CN_OK},
        {"http://id.example.org", CN_INVALID},  {"http://localhost.example.org", CN_INVALID},
        {"http://127.0.0.1.de/", CN_INVALID},   {"http://127.0.0.1:80@example.org", CN_INVALID},
        {"ftp://127.0.0.1/", CN_INVALID},       {"127.0.0.1", CN_INVALID},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        struct load got;
        load(&got, LIST("--auth-jwks-url", cases[i].url), nothing);
        assert_int_equal(got.err, cases[i].err);
        unload(&got);
    }
}

// ---- Values and ranks ----

static void defaults_are_those_of_the_table(void **state)
{
    (void)state;
    struct load got;
    load(&got, nothing, nothing);
    assert_int_equal(got.err, CN_OK);
    assert_int_equal(got.action, CN_ACTION_RUN);
    assert_string_equal(got.text, "");
#define TEXT(field, key, fallback, ...)   assert_string_equal(got.config.field, fallback);
#define NUMBER(field, key, fallback, ...) assert_int_equal(got.config.field, fallback);
#define FLAG(field, key, fallback, ...)   assert_int_equal(got.config.field, fallback);
    CN_CONFIG_TABLE(TEXT, NUMBER, FLAG)
#undef TEXT
#undef NUMBER
#undef FLAG
    unload(&got);
    load(&got, nothing, NULL);
    assert_int_equal(got.err, CN_OK);
    unload(&got);
    cn_config_fini(&got.config);
}

// Each default is itself a value that the loader takes; a default that is not would only be found
// out by who writes it down.
static void defaults_are_right_values(void **state)
{
    (void)state;
    struct load got;
#define TEXT(field, key, fallback, ...)                                                            \
    load(&got, LIST("--" key "=" fallback), nothing);                                              \
    assert_string_equal(got.text, "");                                                             \
    unload(&got);
#define NUMBER(field, key, fallback, min, max, ...)                                                \
    load(&got, LIST("--" key, #fallback, "--" key "=" #min, "--" key, #max), nothing);             \
    assert_string_equal(got.text, "");                                                             \
    assert_true(min <= fallback && fallback <= max);                                               \
    unload(&got);
#define FLAG(field, key, ...)                                                                      \
    load(&got, LIST("--no-" key, "--" key), nothing);                                              \
    assert_int_equal(got.config.field, true);                                                      \
    unload(&got);
    CN_CONFIG_TABLE(TEXT, NUMBER, FLAG)
#undef TEXT
#undef NUMBER
#undef FLAG
}

static void flags_beat_environment_beats_file(void **state)
{
    (void)state;
    struct load got;
    const char file[] = "max-rooms = 1\nloops = 1\ndrain = 1\nlisten = 127.0.0.1:1\n";
    const char *path = write_file(file, sizeof(file) - 1);
    load(&got, LIST("--max-rooms", "9", "--max-rooms=3", "--config", path),
         LIST("CHATNODE_LOOPS=2", "CHATNODE_MAX_ROOMS=2", "PORT=2", "CHATNODE_CONFIG=/nowhere"));
    assert_string_equal(got.text, "");
    assert_int_equal(got.err, CN_OK);
    assert_int_equal(got.config.max_rooms, 3);
    assert_int_equal(got.config.loops, 2);
    assert_int_equal(got.config.drain_ms, 1);
    assert_string_equal(got.config.listen, "0.0.0.0:2");
    unload(&got);
    char variable[64];
    snprintf(variable, sizeof(variable), "CHATNODE_CONFIG=%s", path);
    load(&got, nothing, LIST(variable));
    assert_int_equal(got.config.max_rooms, 1);
    unload(&got);
    unlink(path);
}

static void platform_variables_rank_low(void **state)
{
    (void)state;
    struct load got;
    load(&got, nothing, LIST("PORT=8080", "REDIS_URL=redis://a:1/0"));
    assert_string_equal(got.config.listen, "0.0.0.0:8080");
    assert_string_equal(got.config.redis_url, "redis://a:1/0");
    unload(&got);
    // They may be meant for another program then: not even looked at.
    load(&got, LIST("--listen=127.0.0.1:5"),
         LIST("PORT=x", "REDIS_URL=gopher://a", "CHATNODE_REDIS_URL=redis://b"));
    assert_int_equal(got.err, CN_OK);
    assert_string_equal(got.config.listen, "127.0.0.1:5");
    assert_string_equal(got.config.redis_url, "redis://b");
    unload(&got);
    load(&got, nothing, LIST("PORT=0"));
    assert_string_equal(got.text, "PORT: listen: \"0\" is not a number from 1 to 65535\n");
    unload(&got);
}

static void empty_is_unset_only_in_the_environment(void **state)
{
    (void)state;
    struct load got;
    load(&got, nothing,
         LIST("CHATNODE_INTERNAL_LISTEN=", "CHATNODE_LOOPS=", "PORT=", "REDIS_URL=",
              "CHATNODE_CONFIG="));
    assert_int_equal(got.err, CN_OK);
    assert_string_equal(got.config.internal_listen, "127.0.0.1:9000");
    unload(&got);
    load(&got, LIST("--internal-listen="), nothing);
    assert_string_equal(got.config.internal_listen, "");
    unload(&got);
    load(&got, LIST("--internal-listen", ""), nothing);
    assert_string_equal(got.config.internal_listen, "");
    unload(&got);
}

static void lists_lose_their_blanks(void **state)
{
    (void)state;
    struct load got;
    load(&got,
         LIST("--allowed-origins", "https://a.b, http://c:8 ,*", "--trusted-proxies",
              "10.0.0.0/8, ::1 ,2001:db8::/32"),
         nothing);
    assert_string_equal(got.text, "");
    assert_string_equal(got.config.allowed_origins, "https://a.b,http://c:8,*");
    assert_string_equal(got.config.trusted_proxies, "10.0.0.0/8,::1,2001:db8::/32");
    unload(&got);
}

// ---- What is refused, and how ----

struct bad_flag {
    const char *flag;
    const char *report;
};

static const struct bad_flag bad_flags[] = {
    {"--max-rooms=abc", "--max-rooms: \"abc\" is not a number from 1 to 10000\n"},
    {"--max-rooms=0", "--max-rooms: \"0\" is not a number from 1 to 10000\n"},
    {"--max-rooms=10001", "--max-rooms: \"10001\" is not a number from 1 to 10000\n"},
    {"--max-rooms=", "--max-rooms: \"\" is not a number from 1 to 10000\n"},
    {"--max-rooms=-1", "--max-rooms: \"-1\" is not a number from 1 to 10000\n"},
    {"--max-rooms=+1", "--max-rooms: \"+1\" is not a number from 1 to 10000\n"},
    {"--max-rooms= 1", "--max-rooms: \" 1\" is not a number from 1 to 10000\n"},
    {"--max-rooms=0x10", "--max-rooms: \"0x10\" is not a number from 1 to 10000\n"},
    {"--max-rooms=18446744073709551617",
     "--max-rooms: \"18446744073709551617\" is not a number from 1 to 10000\n"},
    {"--max-rooms", "--max-rooms: needs a value\n"},
    {"--config", "--config: needs a value\n"},
    {"--max-room=1", "--max-room: unknown flag; did you mean --max-rooms?\n"},
    {"--chek-config", "--chek-config: unknown flag; did you mean --check-config?\n"},
    {"--xyzzy-plugh-quux", "--xyzzy-plugh-quux: unknown flag\n"},
    {"--help=1", "--help: takes no value\n"},
    {"--listen-file=x", "--listen-file: unknown flag\n"}, // no secret
    {"-x", "-x: is not a flag; see --help\n"},
    {"lobby", "lobby: is not a flag; see --help\n"},
    {"--", "--: is not a flag; see --help\n"},
    {"--log-level=loud", "--log-level: \"loud\" is not error, warn, info or debug\n"},
    {"--log-format=xml", "--log-format: \"xml\" is not text, json or auto\n"},
    {"--default-room=a b", "--default-room: \"a b\" is not 1 to 64 of A-Z a-z 0-9 _ . : -\n"},
    {"--node-name=a\nb", "--node-name: \"a\\nb\" has a control character in it\n"},
    {"--redis-prefix={x}",
     "--redis-prefix: \"{x}\" is longer than 64 bytes or has a space, { or } in it\n"},
    {"--redis-url=http://u:secret@h", "--redis-url: the value does not begin with redis://, "
                                      "rediss:// or unix:///, followed by more\n"},
    {"--redis-url=rediss://", "--redis-url: the value does not begin with redis://, rediss:// or "
                              "unix:///, followed by more\n"},
    {"--tls-min-version=1.1", "--tls-min-version: \"1.1\" is not 1.2 or 1.3\n"},
};

static void bad_flags_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(bad_flags); i++) {
        struct load got;
        load(&got, LIST(bad_flags[i].flag), nothing);
        assert_string_equal(got.text, bad_flags[i].report);
        assert_int_equal(got.err, CN_INVALID);
        unload(&got);
    }
}

struct text_case {
    const char *flag;
    bool is_right;
};

static const struct text_case text_cases[] = {
    {"--listen=127.0.0.1:0", true},
    {"--listen=[::1]:8000", true},
    {"--listen=localhost:65535", true},
    {"--listen=", false},
    {"--listen=8000", false},
    {"--listen=:8000", false},
    {"--listen=127.0.0.1:", false},
    {"--listen=127.0.0.1:65536", false},
    {"--listen=127.0.0.1:8000x", false},
    {"--listen=::1:8000", false},
    {"--listen=[::x]:8000", false},
    {"--listen=a b:8000", false},
    {"--listen=ws://a:8000", false},
    {"--internal-listen=x", false},
    {"--trusted-proxies=10.0.0.1", true},
    {"--trusted-proxies=10.0.0.0/33", false},
    {"--trusted-proxies=::/128,::/129", false},
    {"--trusted-proxies=10.0.0.0/", false},
    {"--trusted-proxies=,10.0.0.0", false},
    {"--trusted-proxies=example.org", false},
    {"--allowed-origins=https://a.b:8443", true},
    {"--allowed-origins=https://a.b/", false},
    {"--allowed-origins=a.b", false},
    {"--allowed-origins=https://", false},
    {"--allowed-origins=null", false},
    {"--allowed-origins=https://a.b:x", false},
    {"--allowed-origins=https://u@a.b", false},
    {"--allowed-origins=https://*.b", false},
    {"--allowed-origins=https://a.b,,https://c.d", false},
    {"--allowed-origins=app://localhost,http://[::1]:8000", true},
    {"--proxy-protocol=on", true},
    {"--proxy-protocol=v2", false},
    {"--allowed-origins=* # any", false},
    {"--redis-url=unix:///run/redis.sock?db=1", true},
    {"--redis-url=redis://[::1]:6379/2", true},
    {"--redis-url=unix://", false},
    {"--redis-url=localhost:6379", false},
    {"--node-name=node-1:8000", true},
    {"--node-name=my node", false},
};

static void texts_must_have_their_shape(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(text_cases); i++) {
        struct load got;
        load(&got, LIST(text_cases[i].flag), nothing);
        if ((got.err == CN_OK) != text_cases[i].is_right)
            print_error("%s\n", text_cases[i].flag);
        assert_int_equal(got.err, text_cases[i].is_right ? CN_OK : CN_INVALID);
        unload(&got);
    }
}

static void every_line_of_a_file_is_judged_alone(void **state)
{
    (void)state;
    struct load got;
    static const char file[] = "\xEF\xBB\xBF# a comment\n"
                               "\n"
                               "listen=0.0.0.0:80 # all\r\n"
                               "   max-rooms = abc\n"
                               "max-room = 3\n"
                               "[server]\n"
                               "nonsense\n"
                               " = 1\n"
                               "log-level: debug\n"
                               "loops = 1\n"
                               "loops = 2\n"
                               "drain = 1\0\n"
                               "ring-frames = 20"; // without a newline
    const char *path = write_file(file, sizeof(file) - 1);
    load(&got, LIST("--config", path), nothing);
    char want[1024];
    snprintf(want, sizeof(want),
             "%1$s:4: max-rooms: \"abc\" is not a number from 1 to 10000\n"
             "%1$s:5: warning: unknown key \"max-room\"; did you mean max-rooms?\n"
             "%1$s:6: there are no sections in this file\n"
             "%1$s:7: is not KEY = VALUE\n"
             "%1$s:8: is not KEY = VALUE\n"
             "%1$s:11: loops: is set twice\n"
             "%1$s:12: the line is too long, or has a NUL in it\n",
             path);
    assert_string_equal(got.text, want);
    assert_int_equal(got.err, CN_INVALID);
    assert_string_equal(got.config.listen, "0.0.0.0:80");
    assert_string_equal(got.config.log_level, "debug");
    assert_int_equal(got.config.loops, 1);
    assert_int_equal(got.config.ring_frames, 20);
    unload(&got);
    unlink(path);
}

// A bad value is wrong even where a flag takes its place: the next start may be without the flag.
static void overruled_values_are_checked_too(void **state)
{
    (void)state;
    struct load got;
    load(&got, LIST("--max-rooms=5"), LIST("CHATNODE_MAX_ROOMS=many"));
    assert_int_equal(got.err, CN_INVALID);
    assert_int_equal(got.config.max_rooms, 5);
    assert_string_equal(
        got.text, "CHATNODE_MAX_ROOMS: max-rooms: \"many\" is not a number from 1 to 10000\n");
    unload(&got);
}

static void long_lines_and_values_are_no_trap(void **state)
{
    (void)state;
    struct load got;
    static char text[6000];
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text, "log-file = ", 11);
    text[3000] = '\n';
    const char *path = write_file(text, sizeof(text) - 1);
    load(&got, LIST("--config", path), nothing);
    assert_int_equal(strlen(got.config.log_file), 3000 - 11);
    assert_non_null(strstr(got.text, ":2: is not KEY = VALUE\n"));
    unload(&got);
    unlink(path);
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "--max-rooms=", 12);
    load(&got, LIST(text), nothing);
    assert_true(strlen(got.text) < 160);
    assert_non_null(strstr(got.text, "a\"... is not a number"));
    unload(&got);
    path = write_file(text, sizeof(text) - 1);
    load(&got, LIST("--config", path), nothing);
    assert_non_null(strstr(got.text, ":1: the line is too long"));
    unload(&got);
    unlink(path);
}

static void unknown_variables_are_warned_of(void **state)
{
    (void)state;
    struct load got;
    load(&got, nothing,
         LIST("CHATNODE_MAXROOMS=3", "CHATNODE_=1", "CHATNODE", "PATH=/bin",
              "CHATNODE_SERVICE_HOST=10.0.0.1", "CHATNODE_PORT=tcp://10.0.0.1:8000",
              "CHATNODE_PORT_8000_TCP_ADDR=10.0.0.1"));
    assert_int_equal(got.err, CN_OK);
    assert_string_equal(
        got.text, "CHATNODE_MAXROOMS: warning: unknown variable; did you mean CHATNODE_MAX_ROOMS?\n"
                  "CHATNODE_: warning: unknown variable\n");
    unload(&got);
}

static void missing_files_are_errors(void **state)
{
    (void)state;
    struct load got;
    load(&got, LIST("--config=/nowhere/at-all.conf"), nothing);
    assert_int_equal(got.err, CN_INVALID);
    assert_string_equal(got.text, "/nowhere/at-all.conf: could not read the file: "
                                  "No such file or directory\n");
    unload(&got);
    load(&got, LIST("--config=/"), nothing);
    assert_int_equal(got.err, CN_INVALID);
    unload(&got);
}

// ---- What a reload finds ----

static void changes_are_named_by_what_applies_them(void **state)
{
    (void)state;
    struct load before, after;
    struct cn_buf out;
    cn_buf_init(&out, 4096);
    load(&before, LIST("--log-level=info", "--loops=2"), nothing);
    load(&after, LIST("--log-level=debug", "--loops=3", "--tls-cert=/x", "--redis-url=redis://a"),
         nothing);
    assert_int_equal(cn_config_changes(&before.config, &after.config, true, &out), CN_OK);
    assert_true(cn_str_equal(cn_buf_str(&out), CN_STR_LITERAL("tls-cert, log-level")));
    out.len = 0;
    assert_int_equal(cn_config_changes(&before.config, &after.config, false, &out), CN_OK);
    assert_true(cn_str_equal(cn_buf_str(&out), CN_STR_LITERAL("loops, redis-url")));
    out.len = 0;
    assert_int_equal(cn_config_changes(&after.config, &after.config, true, &out), CN_OK);
    assert_int_equal(out.len, 0);
    cn_buf_fini(&out);
    unload(&before);
    unload(&after);
}

// ---- Secrets ----

static void secrets_come_from_files_too(void **state)
{
    (void)state;
    struct load got;
    char variable[64];
    const char *path = write_file("redis://u:p@h:1/0\r\n", 19);
    load(&got, LIST("--redis-url-file", path), nothing);
    assert_string_equal(got.text, "");
    assert_string_equal(got.config.redis_url, "redis://u:p@h:1/0");
    unload(&got);
    snprintf(variable, sizeof(variable), "CHATNODE_REDIS_URL_FILE=%s", path);
    load(&got, nothing, LIST(variable, "REDIS_URL=redis://other"));
    assert_string_equal(got.config.redis_url, "redis://u:p@h:1/0");
    unload(&got);
    load(&got, nothing, LIST(variable, "CHATNODE_REDIS_URL=redis://other"));
    assert_int_equal(got.err, CN_INVALID);
    assert_string_equal(got.text, "CHATNODE_REDIS_URL: redis-url: is set twice\n");
    unload(&got);
    unlink(path);
    load(&got, LIST("--redis-url-file=/nowhere"), nothing);
    assert_string_equal(got.text, "--redis-url-file: could not read \"/nowhere\": "
                                  "No such file or directory\n");
    unload(&got);
    path = write_file("redis://a\0b\n", 12);
    load(&got, LIST("--redis-url-file", path), nothing);
    assert_string_equal(got.text, "--redis-url-file: the value has a control character in it\n");
    unload(&got);
    unlink(path);
}

static void show_hides_secrets_and_defaults(void **state)
{
    (void)state;
    struct load got;
    struct cn_buf out;
    char text[256];
    cn_buf_init(&out, sizeof(text) - 1);
    load(&got,
         LIST("--redis-url=redis://u:hunter2@h", "--loops=3", "--internal-listen=", "--drain=5000"),
         nothing);
    assert_int_equal(cn_config_show(&got.config, &out), CN_OK);
    assert_int_equal(cn_str_copy(cn_buf_str(&out), text, sizeof(text)), CN_OK);
    assert_string_equal(text, "internal-listen = \nloops = 3\nredis-url = (secret)\n");
    cn_buf_fini(&out);
    unload(&got);
}

// ---- Actions ----

static void the_command_line_asks_for_actions(void **state)
{
    (void)state;
    struct load got;
    load(&got, LIST("--check-config", "--loops=x"), nothing);
    assert_int_equal(got.action, CN_ACTION_CHECK);
    assert_int_equal(got.err, CN_INVALID);
    unload(&got);
    load(&got, LIST("--healthcheck"), LIST("PORT=81"));
    assert_int_equal(got.action, CN_ACTION_HEALTHCHECK);
    assert_string_equal(got.config.listen, "0.0.0.0:81");
    unload(&got);
    // Help is given whatever else is wrong.
    load(&got, LIST("--what", "-h", "--version"), LIST("CHATNODE_LOOPS=x"));
    assert_int_equal(got.action, CN_ACTION_HELP);
    assert_int_equal(got.err, CN_OK);
    assert_string_equal(got.text, "");
    unload(&got);
    load(&got, LIST("--version", "--config=/nowhere"), nothing);
    assert_int_equal(got.action, CN_ACTION_VERSION);
    assert_int_equal(got.err, CN_OK);
    unload(&got);
}

// ---- The texts ----

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        print_error("missing: %s\n", part);
    assert_non_null(strstr(text, part));
}

// A text of at most 64 KiB, terminated; the caller frees it.
static char *make_text(enum cn_err (*make)(struct cn_buf *out))
{
    struct cn_buf out;
    cn_buf_init(&out, 65536);
    assert_int_equal(make(&out), CN_OK);
    assert_int_equal(cn_buf_append(&out, "", 1), CN_OK);
    return out.data;
}

static void help_fits_a_terminal_and_names_everything(void **state)
{
    (void)state;
    char *text = make_text(cn_config_help);
#define TEXT(field, key, fallback, flags, group, value, help)                                      \
    assert_contains(text, "\n  --" key " " value);                                                 \
    assert_contains(text, "\n" group "\n");
#define NUMBER(field, key, fallback, min, max, flags, group, value, help)                          \
    assert_contains(text, "\n  --" key " " value);                                                 \
    assert_contains(text, "\n" group "\n");
#define FLAG(field, key, ...) assert_contains(text, "\n  --[no-]" key);
    CN_CONFIG_TABLE(TEXT, NUMBER, FLAG)
#undef TEXT
#undef NUMBER
#undef FLAG
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        assert_in_range(len, 0, 96);
        assert_true(len == 0 || line[len - 1] != ' ');
        line += len + (line[len] == '\n');
    }
    assert_contains(text, "--redis-url-file PATH");
    assert_contains(text, "CHATNODE_MAX_ROOMS");
    assert_contains(text, "TERM, INT");
    assert_contains(text, "\n  78 ");
    free(text);
}

static void document_has_a_row_for_each_setting(void **state)
{
    (void)state;
    char *text = make_text(cn_config_document);
#define TEXT(field, key, ...)   assert_contains(text, "\n| `" key "` | `CHATNODE_");
#define NUMBER(field, key, ...) assert_contains(text, "\n| `" key "` | `CHATNODE_");
#define FLAG(field, key, ...)   assert_contains(text, "\n| `" key "` | `CHATNODE_");
    CN_CONFIG_TABLE(TEXT, NUMBER, FLAG)
#undef TEXT
#undef NUMBER
#undef FLAG
    assert_contains(text, "| `publish-deadline` | `CHATNODE_PUBLISH_DEADLINE` | `1000` | 50 to "
                          "60000 MS | no |");
    for (const char *line = text; *line;) { // every row has its six cells
        size_t len = strcspn(line, "\n"), bars = 0;
        for (size_t i = 0; i < len; i++)
            bars += line[i] == '|';
        assert_true(line[0] != '|' || bars == 7);
        line += len + (line[len] == '\n');
    }
    free(text);
}

static void texts_are_written_whole_or_not_at_all(void **state)
{
    (void)state;
    struct cn_buf out;
    for (size_t bound = 3; bound < 2000; bound += 100) {
        cn_buf_init(&out, bound);
        assert_int_equal(cn_buf_append(&out, "abc", 3), CN_OK);
        assert_int_equal(cn_config_help(&out), CN_FULL);
        assert_int_equal(out.len, 3);
        assert_int_equal(cn_config_document(&out), CN_FULL);
        assert_int_equal(out.len, 3);
        cn_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(defaults_are_right_values),
        cmocka_unit_test(flags_beat_environment_beats_file),
        cmocka_unit_test(platform_variables_rank_low),
        cmocka_unit_test(empty_is_unset_only_in_the_environment),
        cmocka_unit_test(lists_lose_their_blanks),
        cmocka_unit_test(bad_flags_are_named),
        cmocka_unit_test(texts_must_have_their_shape),
        cmocka_unit_test(every_line_of_a_file_is_judged_alone),
        cmocka_unit_test(overruled_values_are_checked_too),
        cmocka_unit_test(long_lines_and_values_are_no_trap),
        cmocka_unit_test(unknown_variables_are_warned_of),
        cmocka_unit_test(missing_files_are_errors),
        cmocka_unit_test(changes_are_named_by_what_applies_them),
        cmocka_unit_test(secrets_come_from_files_too),
        cmocka_unit_test(show_hides_secrets_and_defaults),
        cmocka_unit_test(tokens_need_keys_that_can_be_read),
        cmocka_unit_test(addresses_to_ask_are_safe_ones),
        cmocka_unit_test(the_command_line_asks_for_actions),
        cmocka_unit_test(help_fits_a_terminal_and_names_everything),
        cmocka_unit_test(document_has_a_row_for_each_setting),
        cmocka_unit_test(texts_are_written_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
