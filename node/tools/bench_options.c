// SPDX-License-Identifier: MIT
// The options of the bench: one table, from which they are read and --help is printed. An option
// that means something else to another scenario, or has another default there, has a row more.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_private.h"
#include "watch.h"

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
    RETURNING = BIT(JITTER) | BIT(AVALANCHE),
    STORM = RETURNING | BIT(CHURN),
};

#define AT(field) offsetof(struct cn_bench_options, field)

// clang-format off
static const struct option table[] = {
    {"url", KIND_URLS, AT(urls), ALL, "ws://127.0.0.1:8000/ws", 0, 0, "URL",
     "a node, ws://HOST:PORT/ws; once for each: clients are spread over them in turn"},
    {"publish-url", KIND_TEXT, AT(publish_url), BIT(FANOUT), NULL, 0, 0, "URL",
     "where publishers connect, instead of being spread like everybody"},
    {"dialect", KIND_TEXT, AT(dialect), STEADY, NULL, 0, 0, "NAME",
     "how to speak to the server; see below (default: the first one)"},
    {"clients", KIND_WHOLE, AT(clients), STEADY, "100", 1, 10000000, "N",
     "connections that receive"},
    {"clients", KIND_WHOLE, AT(clients), BIT(JITTER), "2000", 1, 10000000, "N",
     "connections that are cut"},
    {"clients", KIND_WHOLE, AT(clients), BIT(AVALANCHE), "5000", 1, 10000000, "N",
     "connections that are cut"},
    {"clients", KIND_WHOLE, AT(clients), BIT(CHURN), "10000", 1, 10000000, "N",
     "members of the room that are cut"},
    {"rooms", KIND_WHOLE, AT(rooms), BIT(ROOMS), "0", 1, 10000000, "N",
     "rooms that the clients are spread over (default: 10 clients to a room)"},
    {"rooms", KIND_WHOLE, AT(rooms), BIT(DIRECT), "0", 2, 10000000, "N",
     "users whose sessions the clients are, an even number (default: 1 client to a user)"},
    {"rooms", KIND_WHOLE, AT(rooms), RETURNING, "20", 1, 1000000, "N",
     "rooms that the clients are spread over, with a publisher each that is not cut"},
    {"publishers", KIND_WHOLE, AT(publishers), BIT(FANOUT), "1", 1, 1000000, "N",
     "connections that send, besides the clients"},
    {"publishers", KIND_WHOLE, AT(publishers), BIT(ROOMS), "0", 1, 1000000, "N",
     "how many of the clients send (default: one in each room)"},
    {"in-flight", KIND_WHOLE, AT(in_flight), SENDING, "0", 1, 65536, "N",
     "a publisher has at most N messages on their way that not all members have (default: 1 "
     "without --rate)"},
    {"rate", KIND_REAL, AT(rate), SENDING, NULL, 0.01, 10000000, "R",
     "messages a second in all, due at even times; latency counts from when a message was due"},
    {"rate", KIND_REAL, AT(rate), BIT(JITTER), "40", 0.01, 1000000, "R",
     "messages a second in all"},
    {"rate", KIND_REAL, AT(rate), BIT(AVALANCHE), "20", 0.01, 1000000, "R",
     "messages a second in all"},
    {"rate", KIND_REAL, AT(rate), BIT(CHURN), "2", 0.01, 1000000, "R",
     "messages a second to the room"},
    {"messages", KIND_WHOLE, AT(messages), SENDING, "0", 1, 1000000000, "N",
     "end after N messages in all, instead of after --seconds"},
    {"seconds", KIND_REAL, AT(seconds), STEADY, "5", 0.1, 86400, "S",
     "how long is measured"},
    {"seconds", KIND_REAL, AT(seconds), BIT(JITTER), "60", 0.1, 86400, "S",
     "how long clients are cut while messages are published"},
    {"seconds", KIND_REAL, AT(seconds), BIT(AVALANCHE), "30", 0.1, 86400, "S",
     "how long messages are published; after a third of it the clients are cut"},
    {"seconds", KIND_REAL, AT(seconds), BIT(CHURN), "10", 0.1, 86400, "S",
     "how long newcomers come and go; after a third of it the members are cut"},
    {"warmup", KIND_REAL, AT(warmup), SENDING, "1", 0, 3600, "S",
     "the same load for this long before anything is measured"},
    {"patience", KIND_REAL, AT(patience), STEADY | STORM, "30", 1, 3600, "S",
     "without any progress for this long, what is missing is lost"},
    {"payload", KIND_WHOLE, AT(payload), SENDING, "128", CN_STAMP_BYTES, 65000, "BYTES",
     "length of each message's content"},
    {"payload", KIND_WHOLE, AT(payload), STORM, "128", 8, 65000, "BYTES",
     "length of each message's content"},
    {"acks", KIND_FLAG, AT(acks), SENDING & ~BIT(FANIN), NULL, 0, 1, NULL,
     "give each message an id, so that it is acked"},
    {"connect-rate", KIND_REAL, AT(connect_rate), ALL, NULL, 0.1, 1000000, "N",
     "handshakes a second at most (default: 128 at a time, as fast as that goes)"},
    {"processes", KIND_WHOLE, AT(processes), STEADY | BIT(CHURN), "0", 1, 64, "N",
     "processes that make the load (default: as many as descriptors ask for)"},
    {"sources", KIND_WHOLE, AT(sources), ALL, "0", 1, 10000, "N",
     "source addresses 127.0.0.1 and up, to a server on loopback (default: as many as ports "
     "ask for)"},
    {"cut", KIND_WHOLE, AT(cut), BIT(JITTER), "15000", 1, 86400000, "MS",
     "milliseconds from one cut of a client's connection to the next one"},
    {"offline", KIND_WHOLE, AT(offline), BIT(JITTER), "2000", 0, 86400000, "MS",
     "milliseconds that a client is away before it comes back"},
    {"backoff", KIND_WHOLE, AT(backoff), STORM, "1000", 1, 30000, "MS",
     "a client that lost its node waits at random up to so many milliseconds, twice as long after "
     "each failed attempt; a server's retry-after is heeded instead"},
    {"kill-pid", KIND_WHOLE, AT(kill_pid), BIT(AVALANCHE), "0", 2, 1 << 30, "PID",
     "instead of cutting the clients kill this process, the node of the last URL; its clients go "
     "to the others"},
    {"newcomers", KIND_WHOLE, AT(newcomers), BIT(CHURN), "500", 1, 1000000, "N",
     "clients that come and go all the time, besides the members"},
    {"stay", KIND_WHOLE, AT(stay), BIT(CHURN), "500", 1, 3600000, "MS",
     "milliseconds that a newcomer stays, and is away, on average"},
    {"pid", KIND_PIDS, AT(pids), ALL, NULL, 1, 1 << 30, "PID",
     "a process of the server; once for each: its processor time and memory are reported"},
    {"json", KIND_FLAG, AT(json), ALL, NULL, 0, 1, NULL,
     "one JSON object instead of the table"},
    {"seed", KIND_WHOLE, AT(seed), ALL, "0", 0, 1 << 30, "N",
     "of all that is drawn by lot (default: another one each time)"},
};
// clang-format on

_Static_assert(CN_COUNT(table) <= 64, "cn_bench_options.given has a bit for each row");

static bool is_named(const struct option *option, const char *name, size_t len)
{
    return strlen(option->name) == len && memcmp(option->name, name, len) == 0;
}

static bool applies(const struct option *option, const struct cn_scenario *scenario)
{
    return option->scenarios >> scenario->id & 1;
}

// The row of this name that applies to the scenario, else one that does not, else NULL.
static const struct option *find(const struct cn_scenario *scenario, const char *name, size_t len)
{
    const struct option *found = NULL;
    for (size_t i = 0; i < CN_COUNT(table); i++)
        if (is_named(&table[i], name, len) && (found == NULL || applies(&table[i], scenario)))
            found = &table[i];
    return found;
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
    const struct option *option = strncmp(argv[0], "--", 2) == 0 ? find(scenario, name, len) : NULL;
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    int words = option && option->argument && !value ? 2 : 1;
    if (words == 2 && argc > 1)
        value = argv[1];
    if (option == NULL)
        snprintf(why, 256, "%.100s is no option", argv[0]);
    else if (!applies(option, scenario))
        snprintf(why, 256, "--%s does not apply to %s", option->name, scenario->name);
    else if (option->argument && value == NULL)
        snprintf(why, 256, "--%s needs a value", option->name);
    else if (!option->argument && value != NULL)
        snprintf(why, 256, "--%s takes no value", option->name);
    else if (set(out, option, value ? value : "", why)) {
        out->given |= UINT64_C(1) << (option - table);
        return words;
    }
    return 0;
}

static void set_fallbacks(const struct cn_scenario *scenario, struct cn_bench_options *out)
{
    for (size_t i = 0; i < CN_COUNT(table); i++) {
        struct option option = table[i];
        option.min = 0; // 0 may stand for "not given"
        char why[256];
        if (option.fallback != NULL && applies(&option, scenario) && !(out->given >> i & 1))
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
    set_fallbacks(scenario, out);
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

static void print_option(const struct option *option)
{
    char name[64];
    char help[512];
    snprintf(name, sizeof(name), "--%s %s", option->name, option->argument ? option->argument : "");
    bool tells = option->fallback != NULL && strcmp(option->fallback, "0") != 0;
    snprintf(help, sizeof(help), tells ? "%s (default: %s)" : "%s", option->help, option->fallback);
    printf("  %-21s ", name);
    print_wrapped(help);
}

void cn_bench_options_help(const struct cn_scenario *scenario)
{
    for (size_t i = 0; i < CN_COUNT(table); i++)
        if (scenario != NULL ? applies(&table[i], scenario) : table[i].scenarios == ALL)
            print_option(&table[i]);
}
