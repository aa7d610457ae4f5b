// SPDX-License-Identifier: MIT
// One channel's log in memory: a ring of entries with their finished texts.
#include <stdlib.h>
#include <string.h>

#include "bus_private.h"
#include "memory_log.h"

#define FIRST_SLOTS 4

struct cn_memory_entry {
    struct cn_pos pos;
    size_t len;
    char text[];
};

static struct cn_memory_entry *at(const struct cn_memory_log *log, size_t index)
{
    return log->ring[(log->first + index) & (log->cap - 1)];
}

static void drop_oldest(struct cn_memory_log *log)
{
    free(at(log, 0));
    log->first = (log->first + 1) & (log->cap - 1);
    log->count--;
}

void cn_memory_log_expect(const struct cn_memory_log *log)
{
    if (log->count > 0)
        __builtin_prefetch(at(log, 0));
}

void cn_memory_log_clear(struct cn_memory_log *log)
{
    while (log->count > 0)
        drop_oldest(log);
    free(log->ring);
    *log = (struct cn_memory_log){0};
}

static enum cn_err make_room(struct cn_memory_log *log)
{
    if (log->count < log->cap)
        return CN_OK;
    size_t cap = log->cap ? log->cap * 2 : FIRST_SLOTS;
    struct cn_memory_entry **ring = malloc(cap * sizeof(struct cn_memory_entry *));
    if (ring == NULL)
        return CN_NOMEM;
    for (size_t i = 0; i < log->count; i++)
        ring[i] = at(log, i);
    free(log->ring);
    log->ring = ring;
    log->cap = cap;
    log->first = 0;
    return CN_OK;
}

static char *put(char *at, struct cn_str text)
{
    memcpy(at, text.ptr, text.len);
    return at + text.len;
}

// {"pos":"GEN-SEQ","ts":MS, and returns its length.
static size_t format_head(struct cn_pos pos, int64_t ts_ms, char out[CN_BUS_ENTRY_OVERHEAD])
{
    char *at = put(out, CN_STR_LITERAL("{\"pos\":\""));
    at += cn_pos_format(pos, at);
    at = put(at, CN_STR_LITERAL("\",\"ts\":"));
    at += cn_digits_format((uint64_t)ts_ms, at);
    at = put(at, CN_STR_LITERAL(","));
    return (size_t)(at - out);
}

static struct cn_memory_entry *make_entry(struct cn_pos pos, int64_t ts_ms, struct cn_str body)
{
    char head[CN_BUS_ENTRY_OVERHEAD];
    size_t len = format_head(pos, ts_ms, head);
    struct cn_memory_entry *entry = malloc(sizeof(*entry) + len + body.len);
    if (entry == NULL)
        return NULL;
    entry->pos = pos;
    entry->len = len + body.len;
    memcpy(entry->text, head, len);
    if (body.len > 0)
        memcpy(entry->text + len, body.ptr, body.len);
    return entry;
}

static struct cn_entry view(const struct cn_memory_entry *entry)
{
    return (struct cn_entry){entry->pos, {entry->text, entry->len}};
}

enum cn_err cn_memory_log_append(struct cn_memory_log *log, struct cn_pos pos, int64_t ts_ms,
                                 struct cn_str body, size_t keep, struct cn_entry *out)
{
    struct cn_memory_entry *entry = make_entry(pos, ts_ms, body);
    if (entry == NULL)
        return CN_NOMEM;
    if (make_room(log) != CN_OK) {
        free(entry);
        return CN_NOMEM;
    }
    log->ring[(log->first + log->count) & (log->cap - 1)] = entry;
    log->count++;
    log->added++;
    while (log->count > keep && log->count > 1)
        drop_oldest(log);
    *out = view(entry);
    return CN_OK;
}

struct cn_pos cn_memory_log_tail(const struct cn_memory_log *log)
{
    return log->count ? at(log, log->count - 1)->pos : (struct cn_pos){0};
}

// The index of the first entry at or after `pos`; log->count if there is none.
static size_t lower_bound(const struct cn_memory_log *log, struct cn_pos pos)
{
    size_t low = 0, high = log->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cn_pos_compare(at(log, middle)->pos, pos) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void fill(const struct cn_memory_log *log, enum cn_read_kind kind, size_t from, size_t count,
                 struct cn_entry *entries, struct cn_page *page)
{
    for (size_t i = 0; i < count; i++)
        entries[i] = view(at(log, from + i));
    page->entries = entries;
    page->count = count;
    if (count > 0)
        page->edge = at(log, kind == CN_READ_AFTER ? from + count - 1 : from)->pos;
}

static void read_after(const struct cn_memory_log *log, struct cn_pos from, unsigned limit,
                       struct cn_entry *entries, struct cn_page *page)
{
    size_t begin = lower_bound(log, from);
    bool there = begin < log->count && cn_pos_compare(at(log, begin)->pos, from) == 0;
    page->exact = cn_pos_is_zero(from) ? log->added == log->count : there;
    begin += there;
    size_t rest = log->count - begin;
    page->more = rest > limit;
    fill(log, CN_READ_AFTER, begin, page->more ? limit : rest, entries, page);
}

void cn_memory_log_read(const struct cn_memory_log *log, enum cn_read_kind kind, struct cn_pos from,
                        unsigned limit, struct cn_entry *entries, struct cn_page *page)
{
    *page = (struct cn_page){.err = CN_OK, .tail = cn_memory_log_tail(log)};
    if (kind == CN_READ_AFTER) {
        read_after(log, from, limit, entries, page);
        return;
    }
    size_t end = kind == CN_READ_BEFORE ? lower_bound(log, from) : log->count;
    page->more = end > limit;
    size_t count = page->more ? limit : end;
    fill(log, kind, end - count, count, entries, page);
}
