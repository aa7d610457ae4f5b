// SPDX-License-Identifier: MIT
// The result of a bench, printed from one list of fields as a table or as JSON.
#include "result.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "chatnode/check.h"
#include "chatnode/name.h"
#include "terminal.h"

// ---- What both have in common ----

static bool is_times(const struct cn_field *field)
{
    return field->kind == CN_FIELD_TIMES_US || field->kind == CN_FIELD_TIMES_MS;
}

static bool is_absent(const struct cn_field *field)
{
    if (field->absent)
        return true;
    switch (field->kind) {
    case CN_FIELD_TEXT:
        return field->text == NULL;
    case CN_FIELD_TEXTS:
        return field->texts == NULL;
    case CN_FIELD_REAL:
        return !isfinite(field->real);
    case CN_FIELD_TIMES_US:
    case CN_FIELD_TIMES_MS:
        return field->times == NULL || cn_histogram_count(field->times) == 0;
    default:
        return false;
    }
}

// Where the group that begins at `at` ends.
static size_t end_of(const struct cn_field *fields, size_t count, size_t at)
{
    while (at < count && fields[at].kind != CN_FIELD_END)
        at++;
    return at;
}

// One column of the percentiles.
struct percentile {
    const char *key;
    const char *label;
    double share; // below 0: the mean
};

static const struct percentile percentiles[] = {
    {"p50", "p50", 0.5},      {"p90", "p90", 0.9}, {"p99", "p99", 0.99},
    {"p999", "p99.9", 0.999}, {"max", "max", 1},   {"mean", "mean", -1},
};

// In microseconds. The maximum is exact even where it has no bucket.
static double percentile_of(const struct cn_histogram *times, const struct percentile *percentile)
{
    if (percentile->share < 0)
        return cn_histogram_mean(times);
    if (percentile->share == 1)
        return (double)times->max_us;
    return (double)cn_histogram_at(times, percentile->share);
}

// ---- JSON (RFC 8259) ----

static void put_char(FILE *file, unsigned char c, bool is_utf8)
{
    if (c == '"' || c == '\\')
        (void)fprintf(file, "\\%c", c);
    else if (c < 0x20)
        (void)fprintf(file, "\\u%04x", c);
    else if (c >= 0x80 && !is_utf8)
        (void)fputs("\\ufffd", file);
    else
        (void)fputc(c, file);
}

static void put_string(FILE *file, const char *text)
{
    bool is_utf8 = cn_name_is_utf8(cn_str_of(text));
    (void)fputc('"', file);
    for (; *text != '\0'; text++)
        put_char(file, (unsigned char)*text, is_utf8);
    (void)fputc('"', file);
}

static void put_strings(FILE *file, const char *const *texts)
{
    (void)fputc('[', file);
    for (size_t i = 0; texts[i] != NULL; i++) {
        (void)fputs(i > 0 ? ", " : "", file);
        put_string(file, texts[i]);
    }
    (void)fputc(']', file);
}

static void put_times(FILE *file, const struct cn_field *field)
{
    double unit_us = field->kind == CN_FIELD_TIMES_MS ? 1000 : 1;
    (void)fputc('{', file);
    for (size_t i = 0; i < CN_COUNT(percentiles); i++)
        (void)fprintf(file, "\"%s\": %.10g, ", percentiles[i].key,
                      percentile_of(field->times, &percentiles[i]) / unit_us);
    (void)fprintf(file, "\"count\": %" PRIu64 "}", cn_histogram_count(field->times));
}

static void put_value(FILE *file, const struct cn_field *field)
{
    switch (field->kind) {
    case CN_FIELD_TEXT:
        put_string(file, field->text);
        break;
    case CN_FIELD_TEXTS:
        put_strings(file, field->texts);
        break;
    case CN_FIELD_COUNT:
        (void)fprintf(file, "%" PRIu64, field->count);
        break;
    case CN_FIELD_REAL:
        (void)fprintf(file, "%.10g", field->real);
        break;
    case CN_FIELD_FLAG:
        (void)fputs(field->flag ? "true" : "false", file);
        break;
    case CN_FIELD_TIMES_US:
    case CN_FIELD_TIMES_MS:
        put_times(file, field);
        break;
    case CN_FIELD_GROUP:
    case CN_FIELD_END:
        break;
    }
}

static void put_member(FILE *file, const struct cn_field *field, bool *first)
{
    (void)fputs(*first ? "" : ", ", file);
    *first = false;
    put_string(file, field->key);
    (void)fputs(": ", file);
    if (is_absent(field))
        (void)fputs("null", file);
    else
        put_value(file, field);
}

// The members of one object; each group is an object again.
static void put_object(FILE *file, const struct cn_field *fields, size_t count)
{
    bool first = true;
    (void)fputc('{', file);
    for (size_t i = 0; i < count; i++) {
        bool is_group = fields[i].kind == CN_FIELD_GROUP;
        size_t end = is_group ? end_of(fields, count, i) : i;
        if (fields[i].key != NULL) {
            put_member(file, &fields[i], &first);
            if (is_group && !fields[i].absent)
                put_object(file, fields + i + 1, end - i - 1);
        }
        i = end;
    }
    (void)fputc('}', file);
}

void cn_result_print_json(FILE *file, const struct cn_field *fields, size_t count)
{
    put_object(file, fields, count);
    (void)fputc('\n', file);
}

// ---- The table ----

enum { PERCENTILE_WIDTH = 10, INDENT = 2 };

// A part of the table: which fields it shows, and how.
struct part {
    const struct cn_field *fields;
    size_t count;
    int label_width; // of all parts, so that they are aligned
};

static bool is_shown(const struct cn_field *field)
{
    return field->label != NULL && !is_absent(field);
}

static int label_width_of(const struct cn_field *fields, size_t count)
{
    size_t widest = 0;
    for (size_t i = 0; i < count; i++)
        if (fields[i].label != NULL && strlen(fields[i].label) > widest)
            widest = strlen(fields[i].label);
    return (int)widest + 2 * INDENT;
}

static void print_cell(FILE *file, const struct cn_field *field)
{
    switch (field->kind) {
    case CN_FIELD_TEXT:
        (void)fputs(field->text, file);
        break;
    case CN_FIELD_TEXTS:
        for (size_t i = 0; field->texts[i] != NULL; i++)
            (void)fprintf(file, "%s%s", i > 0 ? ", " : "", field->texts[i]);
        break;
    case CN_FIELD_COUNT:
        (void)fputs(cn_quantity_format(CN_QUANTITY_COUNT, (double)field->count).text, file);
        break;
    case CN_FIELD_REAL:
        (void)fputs(cn_quantity_format(field->quantity, field->real).text, file);
        break;
    case CN_FIELD_FLAG:
        (void)fputs(field->flag ? "yes" : "no", file);
        break;
    default:
        break;
    }
}

static void print_scalars(FILE *file, const struct part *part, int indent)
{
    for (size_t i = 0; i < part->count; i++) {
        const struct cn_field *field = &part->fields[i];
        if (field->kind == CN_FIELD_GROUP)
            i = end_of(part->fields, part->count, i);
        else if (is_shown(field) && !is_times(field)) {
            (void)fprintf(file, "%*s%-*s", indent, "", part->label_width - indent, field->label);
            print_cell(file, field);
            (void)fputc('\n', file);
        }
    }
}

static void print_percentiles(FILE *file, const struct part *part, const struct cn_field *field)
{
    (void)fprintf(file, "%-*s", part->label_width, field->label);
    for (size_t i = 0; i < CN_COUNT(percentiles); i++) {
        double us = percentile_of(field->times, &percentiles[i]);
        (void)fprintf(file, "%*s", PERCENTILE_WIDTH, cn_quantity_format(CN_QUANTITY_US, us).text);
    }
    (void)fputc('\n', file);
}

static void print_percentile_heads(FILE *file, const struct part *part)
{
    (void)fprintf(file, "\n%-*s", part->label_width, "");
    for (size_t i = 0; i < CN_COUNT(percentiles); i++)
        (void)fprintf(file, "%*s", PERCENTILE_WIDTH, percentiles[i].label);
    (void)fputc('\n', file);
}

// All histograms, also those of groups that are there.
static void print_times(FILE *file, const struct part *part)
{
    bool has_heads = false;
    for (size_t i = 0; i < part->count; i++) {
        const struct cn_field *field = &part->fields[i];
        if (field->kind == CN_FIELD_GROUP && field->absent)
            i = end_of(part->fields, part->count, i);
        if (!is_times(field) || !is_shown(field))
            continue;
        if (!has_heads)
            print_percentile_heads(file, part);
        has_heads = true;
        print_percentiles(file, part, field);
    }
}

static void print_groups(FILE *file, const struct part *part)
{
    for (size_t i = 0; i < part->count; i++) {
        const struct cn_field *field = &part->fields[i];
        if (field->kind != CN_FIELD_GROUP)
            continue;
        size_t end = end_of(part->fields, part->count, i);
        struct part inner = {field + 1, end - i - 1, part->label_width};
        if (is_shown(field)) {
            (void)fprintf(file, "\n%s\n", field->label);
            print_scalars(file, &inner, INDENT);
        }
        i = end;
    }
}

void cn_result_print_table(FILE *file, const struct cn_field *fields, size_t count)
{
    struct part whole = {fields, count, label_width_of(fields, count)};
    print_scalars(file, &whole, 0);
    print_times(file, &whole);
    print_groups(file, &whole);
}

// ---- The verdict ----

bool cn_verdict_is_right(const struct cn_verdict *verdict)
{
    return verdict->complete && verdict->lost == 0 && verdict->duplicates == 0 &&
           verdict->disordered == 0 && verdict->reason == NULL;
}

static void print_fault(FILE *file, uint64_t count, const char *what, const char **between)
{
    if (count == 0)
        return;
    (void)fprintf(file, "%s%s %s", *between,
                  cn_quantity_format(CN_QUANTITY_COUNT, (double)count).text, what);
    *between = ", ";
}

static void print_faults(FILE *file, const struct cn_verdict *verdict)
{
    const char *between = ": ";
    (void)fputs(verdict->complete ? "WRONG" : "NOT COMPLETE", file);
    print_fault(file, verdict->lost, "lost", &between);
    print_fault(file, verdict->duplicates, "doubled", &between);
    print_fault(file, verdict->disordered, "reordered", &between);
    if (verdict->reason != NULL)
        (void)fprintf(file, "%s%s", between, verdict->reason);
}

void cn_verdict_print(FILE *file, const struct cn_verdict *verdict, const char *limited_by)
{
    bool is_right = cn_verdict_is_right(verdict);
    bool has_colors = cn_terminal_has_colors(file);
    if (has_colors)
        (void)fputs(is_right ? CN_TERMINAL_GREEN : CN_TERMINAL_RED, file);
    if (is_right)
        (void)fputs("complete: nothing lost, doubled or reordered", file);
    else
        print_faults(file, verdict);
    (void)fprintf(file, "%s\n", has_colors ? CN_TERMINAL_PLAIN : "");
    if (limited_by != NULL)
        (void)fprintf(file, "limited by: %s\n", limited_by);
}
