// SPDX-License-Identifier: MIT
// The result of a bench: a list of fields that is printed as a table for people, or as one JSON
// object for programs.
//
//     const struct cn_field fields[] = {
//         {.kind = CN_FIELD_TEXT, .key = "scenario", .label = "scenario", .text = "fanout"},
//         {.kind = CN_FIELD_COUNT, .key = "messages", .label = "messages", .count = sent},
//         {.kind = CN_FIELD_TIMES_US, .key = "latency_us", .label = "latency", .times = &latency},
//         {.kind = CN_FIELD_GROUP, .key = "server", .label = "server", .absent = pids == 0},
//         {.kind = CN_FIELD_REAL, .key = "cpu_us_per_delivery", .label = "CPU a delivery",
//          .quantity = CN_QUANTITY_US, .real = cpu_us / deliveries},
//         {.kind = CN_FIELD_END},
//     };
//     cn_result_print_table(stdout, fields, CN_COUNT(fields));
#ifndef CHATNODE_TOOLS_RESULT_H
#define CHATNODE_TOOLS_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "histogram.h"
#include "quantity.h"

enum cn_field_kind {
    CN_FIELD_TEXT,
    CN_FIELD_TEXTS, // an array of texts
    CN_FIELD_COUNT,
    CN_FIELD_REAL,
    CN_FIELD_FLAG,
    CN_FIELD_TIMES_US, // p50, p90, p99, p999, max, mean and count of a histogram
    CN_FIELD_TIMES_MS, // the same in milliseconds
    CN_FIELD_GROUP,    // an object of what follows up to its END; groups have no groups
    CN_FIELD_END,      // has neither key nor label
};

// Everything is borrowed until it has been printed.
struct cn_field {
    enum cn_field_kind kind;
    enum cn_quantity quantity; // of a real: how people read it; JSON has the number alone
    bool absent;       // null in JSON, left out of the table; so is everything in an absent group
    const char *key;   // in JSON; NULL: only in the table
    const char *label; // in the table; NULL: only in JSON
    union {
        const char *text;         // NULL is absent
        const char *const *texts; // ended by NULL
        uint64_t count;
        double real; // not finite: absent
        bool flag;
        const struct cn_histogram *times; // NULL is absent; an empty one too
    };
};

// Whether the run was right.
struct cn_verdict {
    uint64_t lost;
    uint64_t duplicates;
    uint64_t disordered;
    bool complete;      // all that had to come has come, everybody was connected
    const char *reason; // NULL, or what else went wrong, without a full stop
};

// One JSON object and a newline. Texts that are not UTF-8 get U+FFFD for what is wrong.
void cn_result_print_json(FILE *file, const struct cn_field *fields, size_t count);

// A table for people: numbers first, then the percentiles side by side, then the groups.
void cn_result_print_table(FILE *file, const struct cn_field *fields, size_t count);

// True when the run was complete, nothing was lost, doubled or reordered, and there is no reason.
bool cn_verdict_is_right(const struct cn_verdict *verdict);

// A sentence: "complete: nothing lost, doubled or reordered" or "NOT COMPLETE: 3 lost, 1 doubled",
// ended by a newline; green or red on a terminal unless NO_COLOR is set. `limited_by` follows in a
// line of its own unless it is NULL.
void cn_verdict_print(FILE *file, const struct cn_verdict *verdict, const char *limited_by);

#endif
