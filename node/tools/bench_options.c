// SPDX-License-Identifier: MIT
// The options of the bench: one table, from which they are read and --help is printed.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_private.h"

enum kind { KIND_TEXT, KIND_URLS, KIND_PIDS, KIND_WHOLE, KIND_REAL, KIND_FLAG };

struct option {
    const char *name;
    enum kind kind;
    size_t offset;        // in struct cn_bench_options
    unsigned scenarios;   // a bit for each that takes it
    const char *fallback; // what holds without it, as if it had been given; NULL: 0
    double min;
    double max;
    const char *argument; // NULL: none
    const char *help;
};

#define BIT(symbol) (1u << CN_SCENARIO_##symbol)

enum {
    ALL = (1u << CN_SCENARIO_COUNT) - 1,
    STEADY = BIT(FANOUT) | BIT(ROOMS) | BIT(DIRECT) | BIT(FANIN) | BIT(IDLE),
    SENDING = STEADY & ~BIT(IDLE),
};

#define AT(field) offsetof(struct cn_bench_options, field)

// clang-format off
static const struct option table[] = {
    {"url", KIND_URLS, AT(urls), ALL, "ws://127.0.0.1:8000/ws", 0, 0, "URL",
     "a node, ws://HOST:PORT/ws; once for each: clients are spread over them in turn"},
    {"publish-url", KIND_TEXT, AT(publish_url), BIT(FANOUT) | BIT(ROOMS), NULL, 0, 0, "URL",
     "where publishers connect, instead of being spread like everybody"},
    {"dialect", KIND_TEXT, AT(dialect), ALL, NULL, 0, 0, "NAME",
     "how to speak to the server"},
    {"clients", KIND_WHOLE, AT(clients), ALL, "100", 1, 10000000, "N",
     "connections that receive"},
    {"rooms", KIND_WHOLE, AT(rooms), BIT(ROOMS) | BIT(DIRECT), "0", 1, 10000000, "N",
     "rooms that the clients are spread over; in direct: users (default: 10 clients to a room, "
     "1 to a user)"},
    {"publishers", KIND_WHOLE, AT(publishers), BIT(FANOUT) | BIT(ROOMS), "0", 1, 1000000, "N",
     "connections that send, besides the clients (default: 1, in rooms one for each)"},
    {"in-flight", KIND_WHOLE, AT(in_flight), SENDING, "0", 1, 65536, "N",
     "a publisher has at most N messages on their way that not all members have (default: 1 "
     "without --rate)"},
    {"rate", KIND_REAL, AT(rate), SENDING, NULL, 0.01, 10000000, "R",
     "messages a second in all, due at even times; latency counts from when a message was due"},
    {"messages", KIND_WHOLE, AT(messages), SENDING, "0", 1, 1000000000, "N",
     "end after N messages in all, instead of after --seconds"},
    {"seconds", KIND_REAL, AT(seconds), STEADY, "5", 0.1, 86400, "S",
     "how long is measured"},
    {"warmup", KIND_REAL, AT(warmup), SENDING, "1", 0, 3600, "S",
     "the same load for this long before anything is measured"},
    {"patience", KIND_REAL, AT(patience), STEADY, "30", 1, 3600, "S",
     "without any progress for this long, what is missing is lost"},
    {"payload", KIND_WHOLE, AT(payload), SENDING, "128", 32, 65000, "BYTES",
     "length of each message's content"},
    {"acks", KIND_FLAG, AT(acks), SENDING & ~BIT(FANIN), NULL, 0, 1, NULL,
     "give each message an id, so that it is acked (fanin always does)"},
    {"connect-rate", KIND_REAL, AT(connect_rate), ALL, NULL, 0.1, 1000000, "N",
     "handshakes a second at most (default: 128 at a time, as fast as that goes)"},
    {"processes", KIND_WHOLE, AT(processes), STEADY, "0", 1, 64, "N",
     "processes that make the load (default: as many as descriptors ask for)"},
    {"sources", KIND_WHOLE, AT(sources), ALL, "0", 1, 10000, "N",
     "source addresses 127.0.0.1 and up, to a server on loopback (default: as many as ports "
     "ask for)"},
    {"pid", KIND_PIDS, AT(pids), ALL, NULL, 1, 1 << 30, "PID",
     "a process of the server; once for each: its processor time and memory are reported"},
    {"json", KIND_FLAG, AT(json), ALL, NULL, 0, 1, NULL,
     "one JSON object instead of the table"},
    {"seed", KIND_WHOLE, AT(seed), ALL, "0", 0, 1 << 30, "N",
     "of all that is drawn by lot (default: another one each time)"},
};
// clang-format on

static const struct option *find(const char *name, size_t len)
{
    for (size_t i = 0; i < CN_COUNT(table); i++)
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
            return &table[i];
    return NULL;
}

bool cn_bench_options_has(const struct cn_bench_options *options, const char *name)
{
    const struct option *option = find(name, strlen(name));
    CN_ASSERT(option != NULL);
    return options->given >> (option - table) & 1;
}

// ---- Reading ----

static bool set_whole(const struct option *option, const char *text, long *out, char why[256])
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno || (double)value < option->min ||
        (double)value > option->max) {
        snprintf(why, 256, "--%s takes a whole number from %.0f to %.0f, not %s", option->name,
                 option->min, option->max, text);
        return false;
    }
    *out = value;
    return true;
}

static bool set_real(const struct option *option, const char *text, double *out, char why[256])
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= option->min && value <= option->max)) {
        snprintf(why, 256, "--%s takes a number from %g to %g, not %s", option->name, option->min,
                 option->max, text);
        return false;
    }
    *out = value;
    return true;
}

static bool has_room(const struct option *option, int count, int max, char why[256])
{
    if (count < max)
        return true;
    snprintf(why, 256, "--%s can be given %d times at most", option->name, max);
    return false;
}

static bool set(struct cn_bench_options *options, const struct option *option, const char *text,
                char why[256])
{
    char *field = (char *)options + option->offset;
    switch (option->kind) {
    case KIND_URLS:
        if (!has_room(option, options->url_count, CN_BENCH_URLS_MAX, why))
            return false;
        options->urls[options->url_count++] = text;
        return true;
    case KIND_PIDS:
        return has_room(option, options->pid_count, CN_BENCH_PIDS_MAX, why) &&
               set_whole(option, text, &options->pids[options->pid_count++], why);
    case KIND_TEXT:
        memcpy(field, &text, sizeof(text));
        return true;
    case KIND_WHOLE:
        return set_whole(option, text, (long *)(void *)field, why);
    case KIND_REAL:
        return set_real(option, text, (double *)(void *)field, why);
    case KIND_FLAG:
        *(bool *)field = true;
        return true;
    }
    return false;
}

// Takes one word, and the one behind it where it is the option's value. Returns how many it took,
// 0 when something is wrong.
static int take(const struct cn_scenario *scenario, int argc, char **argv,
                struct cn_bench_options *out, char why[256])
{
    const char *name = argv[0] + 2;
    size_t len = strcspn(name, "=");
    const struct option *option = strncmp(argv[0], "--", 2) == 0 ? find(name, len) : NULL;
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    int words = option && option->argument && !value ? 2 : 1;
    if (words == 2 && argc > 1)
        value = argv[1];
    if (option == NULL)
        snprintf(why, 256, "%.100s is no option", argv[0]);
    else if (!(option->scenarios >> scenario->id & 1))
        snprintf(why, 256, "--%s does not apply to %s", option->name, scenario->name);
    else if (option->argument && value == NULL)
        snprintf(why, 256, "--%s needs a value", option->name);
    else if (!option->argument && value != NULL)
        snprintf(why, 256, "--%s takes no value", option->name);
    else if (set(out, option, value, why)) {
        out->given |= UINT64_C(1) << (option - table);
        return words;
    }
    return 0;
}

static void set_fallbacks(struct cn_bench_options *out)
{
    for (size_t i = 0; i < CN_COUNT(table); i++) {
        struct option option = table[i];
        option.min = 0; // 0 may stand for "not given"
        char why[256];
        if (option.fallback != NULL && !(out->given >> i & 1))
            CN_ASSERT(set(out, &option, option.fallback, why));
    }
}

bool cn_bench_options_parse(const struct cn_scenario *scenario, int argc, char **argv,
                            struct cn_bench_options *out, char why[256])
{
    *out = (struct cn_bench_options){0};
    for (int at = 0; at < argc;) {
        int words = take(scenario, argc - at, argv + at, out, why);
        if (words == 0)
            return false;
        at += words;
    }
    set_fallbacks(out);
    return true;
}

// ---- Help ----

// Breaks the text into lines behind the names.
static void print_wrapped(const char *text)
{
    enum { WIDTH = 72, MARGIN = 24 };
    while (strlen(text) > WIDTH) {
        int len = WIDTH;
        while (len > 0 && text[len] != ' ')
            len--;
        printf("%.*s\n%*s", len, text, MARGIN, "");
        text += len + 1;
    }
    printf("%s\n", text);
}

void cn_bench_options_help(const struct cn_scenario *scenario)
{
    for (size_t i = 0; i < CN_COUNT(table); i++) {
        const struct option *option = &table[i];
        if (scenario != NULL && !(option->scenarios >> scenario->id & 1))
            continue;
        char name[64];
        char help[512];
        snprintf(name, sizeof(name), "--%s %s", option->name,
                 option->argument ? option->argument : "");
        bool tells = option->fallback != NULL && strcmp(option->fallback, "0") != 0;
        snprintf(help, sizeof(help), tells ? "%s (default: %s)" : "%s", option->help,
                 option->fallback);
        printf("  %-21s ", name);
        print_wrapped(help);
    }
}
