// SPDX-License-Identifier: MIT
// The check of what arrives: the common stream of a room, and those who leave it.
#include <stdlib.h>
#include <string.h>

#include "watch.h"

enum {
    STREAM_MIN_BYTES = 1024,
    STREAM_MAX_BYTES = 128 << 20, // of which half may be kept for the last member
    ENTRIES_MIN = 16,
    ENTRIES_KEPT = 1 << 17, // for those who have left the stream
    SEARCH_MAX = 4096,      // entries before and behind the one that such a member should get
};

// ---- Numbers of one lane ----

enum cn_sequence_verdict cn_sequence_note(struct cn_sequence *sequence, uint32_t seq)
{
    if (seq >= sequence->next) {
        uint32_t step = seq - sequence->next + 1;
        sequence->seen = (step < 64 ? sequence->seen << step : 0) | 1;
        sequence->next = seq + 1;
        return CN_SEQUENCE_NEW;
    }
    uint32_t back = sequence->next - 1 - seq;
    if (back >= 64 || sequence->seen >> back & 1)
        return CN_SEQUENCE_DOUBLE;
    sequence->seen |= UINT64_C(1) << back;
    return CN_SEQUENCE_LATE;
}

// Whether a number has come. Of those that are too old to be known it is assumed.
static bool has(const struct cn_sequence *sequence, uint32_t seq)
{
    uint32_t back = sequence->next - 1 - seq;
    return seq < sequence->next && (back >= 64 || sequence->seen >> back & 1);
}

// Takes an entry back, the latest one that was noted.
static void take_back(struct cn_sequence *sequence, const struct cn_watch_entry *entry)
{
    if (entry->verdict == CN_SEQUENCE_LATE)
        sequence->seen &= ~(UINT64_C(1) << (sequence->next - 1 - entry->seq));
    if (entry->verdict != CN_SEQUENCE_NEW)
        return;
    uint32_t step = sequence->next - entry->next_before;
    sequence->seen = step < 64 ? sequence->seen >> step : 0;
    sequence->next = entry->next_before;
}

// ---- The stream ----

bool cn_stream_init(struct cn_stream *stream, struct cn_watch *watch, unsigned room,
                    uint32_t members, unsigned lanes)
{
    *stream = (struct cn_stream){
        .watch = watch, .room = room, .members = members, .lane_count = lanes, .order = 1};
    stream->lanes = calloc(lanes ? lanes : 1, sizeof(*stream->lanes));
    return stream->lanes != NULL;
}

void cn_stream_fini(struct cn_stream *stream)
{
    free(stream->lanes);
    free(stream->bytes);
    free(stream->entries);
    *stream = (struct cn_stream){0};
}

static struct cn_watch_entry *entry_at(const struct cn_stream *stream, uint64_t number)
{
    return &stream->entries[number & (stream->entry_cap - 1)];
}

// Forgets the entries that all members have. One that somebody has lost is kept for a while, since
// it may yet come to those who have left the stream.
static void forget(struct cn_stream *stream)
{
    while (stream->held < stream->next && entry_at(stream, stream->held)->behind == 0)
        stream->held++;
    while (stream->first < stream->held &&
           (stream->next - stream->first > ENTRIES_KEPT ||
            entry_at(stream, stream->first)->got >= stream->members))
        stream->first++;
}

static bool grow_entries(struct cn_stream *stream)
{
    if (stream->next - stream->first < stream->entry_cap)
        return true;
    size_t cap = stream->entry_cap ? stream->entry_cap * 2 : ENTRIES_MIN;
    struct cn_watch_entry *entries = malloc(cap * sizeof(*entries));
    if (entries == NULL)
        return false;
    for (uint64_t i = stream->first; i < stream->next; i++)
        entries[i & (cap - 1)] = *entry_at(stream, i);
    free(stream->entries);
    stream->entries = entries;
    stream->entry_cap = cap;
    return true;
}

// Makes room for `len` more bytes: where what is kept fills less than half, it moves to the front.
static bool grow_bytes(struct cn_stream *stream, size_t len)
{
    if ((size_t)(stream->end - stream->base) + len <= stream->cap)
        return true;
    uint64_t begin = stream->end;
    if (stream->held < stream->next)
        begin = entry_at(stream, stream->held)->begin;
    size_t kept = (size_t)(stream->end - begin);
    size_t cap = stream->cap ? stream->cap : STREAM_MIN_BYTES;
    while (kept + len > cap / 2)
        cap *= 2;
    if (cap > STREAM_MAX_BYTES)
        return false;
    char *bytes = cap > stream->cap ? malloc(cap) : stream->bytes;
    if (bytes == NULL)
        return false;
    if (kept > 0)
        memmove(bytes, stream->bytes + (begin - stream->base), kept);
    if (bytes != stream->bytes)
        free(stream->bytes);
    stream->bytes = bytes;
    stream->cap = cap;
    stream->base = begin;
    return true;
}

// FNV-1a in words: who wrote it, its number, and the content.
static uint64_t mix(uint64_t order, const struct cn_watch *watch, const struct cn_stamp *stamp,
                    const char *end)
{
    static const uint64_t prime = 1099511628211u;
    size_t len = watch->payload;
    if (len > 0 && len > (size_t)(end - stamp->content))
        len = (size_t)(end - stamp->content);
    order = (order ^ ((uint64_t)stamp->lane << 32 | stamp->seq)) * prime;
    for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, stamp->content + at, len - at < sizeof(word) ? len - at : sizeof(word));
        order = (order ^ word) * prime;
    }
    return order;
}

// Those who have left the stream and were faster than the foremost of it.
static uint32_t count_early(const struct cn_stream *stream, const struct cn_stamp *stamp)
{
    uint32_t early = 0;
    for (const struct cn_watch_member *member = stream->alone; member != NULL;
         member = member->next_alone)
        early += has(&member->own[stamp->lane], stamp->seq);
    return early;
}

static void append(struct cn_stream *stream, const char *bytes, size_t len,
                   const struct cn_stamp *stamp)
{
    forget(stream);
    if (!grow_entries(stream) || !grow_bytes(stream, len)) {
        stream->watch->overflowed = true;
        return;
    }
    struct cn_watch_entry *entry = entry_at(stream, stream->next++);
    *entry = (struct cn_watch_entry){.begin = stream->end,
                                     .end = stream->end + len,
                                     .due_us = stamp->due_us,
                                     .order_before = stream->order,
                                     .got = count_early(stream, stamp),
                                     .behind = stream->members - stream->alone_count,
                                     .seq = stamp->seq,
                                     .lane = (uint16_t)stamp->lane,
                                     .slot = (uint16_t)stamp->slot,
                                     .again = stamp->again,
                                     .next_before = stream->lanes[stamp->lane].next};
    entry->verdict = cn_sequence_note(&stream->lanes[stamp->lane], stamp->seq);
    memcpy(stream->bytes + (stream->end - stream->base), bytes, len);
    stream->end += len;
    stream->order = mix(stream->order, stream->watch, stamp, bytes + len);
}

// ---- Members ----

static void note_time(struct cn_watch *watch, int64_t due_us, int64_t now_us)
{
    watch->deliveries++;
    if (due_us < watch->measured_from_us)
        return;
    watch->measured++;
    cn_histogram_add(watch->latency, now_us - due_us, 1);
}

static void note_fault(struct cn_watch *watch, enum cn_sequence_verdict verdict, bool again)
{
    watch->disordered += verdict == CN_SEQUENCE_LATE && !again;
    watch->duplicates += verdict == CN_SEQUENCE_DOUBLE;
}

static void complete_if_all(struct cn_stream *stream, const struct cn_watch_entry *entry)
{
    struct cn_watch *watch = stream->watch;
    if (entry->got == stream->members && entry->verdict != CN_SEQUENCE_DOUBLE)
        watch->on_complete(watch->context, stream->room, entry->lane, entry->slot);
}

static void count_receiver(struct cn_stream *stream, struct cn_watch_entry *entry)
{
    entry->got++;
    complete_if_all(stream, entry);
}

// The member has the entry that is its next one.
static void advance(struct cn_stream *stream, struct cn_watch_member *member, int64_t now_us)
{
    struct cn_watch_entry *entry = entry_at(stream, member->next++);
    member->at = entry->end;
    entry->behind--;
    if (entry->verdict != CN_SEQUENCE_NEW)
        note_fault(stream->watch, entry->verdict, entry->again);
    if (entry->verdict != CN_SEQUENCE_DOUBLE) {
        member->unique++;
        note_time(stream->watch, entry->due_us, now_us);
    }
    count_receiver(stream, entry);
}

size_t cn_stream_follow(struct cn_stream *stream, struct cn_watch_member *member, const char *bytes,
                        size_t len, int64_t now_us)
{
    size_t known = (size_t)(stream->end - member->at);
    size_t same = len < known ? len : known;
    if (same == 0 || member->own != NULL)
        return 0;
    const char *expected = stream->bytes + (member->at - stream->base);
    bool all = memcmp(expected, bytes, same) == 0;
    uint64_t begin = member->at;
    while (member->next < stream->next) {
        size_t from = (size_t)(member->at - begin);
        size_t to = (size_t)(entry_at(stream, member->next)->end - begin);
        if (to > same || (!all && memcmp(expected + from, bytes + from, to - from) != 0))
            break;
        advance(stream, member, now_us);
    }
    return (size_t)(member->at - begin);
}

// Gives the member a memory of its own, of what it has received so far.
static bool leave(struct cn_stream *stream, struct cn_watch_member *member)
{
    size_t bytes = stream->lane_count * sizeof(*member->own);
    member->own = malloc(bytes);
    if (member->own == NULL)
        return false;
    memcpy(member->own, stream->lanes, bytes);
    for (uint64_t i = stream->next; i > member->next; i--) {
        struct cn_watch_entry *entry = entry_at(stream, i - 1);
        take_back(&member->own[entry->lane], entry);
        entry->behind--;
    }
    member->order = entry_at(stream, member->next)->order_before;
    member->next_alone = stream->alone;
    stream->alone = member;
    stream->alone_count++;
    return true;
}

static struct cn_watch_entry *match(const struct cn_stream *stream, uint64_t number,
                                    const struct cn_stamp *stamp)
{
    if (number < stream->first || number >= stream->next)
        return NULL;
    struct cn_watch_entry *entry = entry_at(stream, number);
    bool same = entry->lane == stamp->lane && entry->seq == stamp->seq;
    return same && entry->verdict != CN_SEQUENCE_DOUBLE ? entry : NULL;
}

// The entry of a message, near the one that the member should get; NULL: there is none.
static struct cn_watch_entry *search(const struct cn_stream *stream, struct cn_watch_member *member,
                                     const struct cn_stamp *stamp)
{
    struct cn_watch_entry *found = NULL;
    uint64_t begin = member->next < stream->first ? stream->first : member->next;
    uint64_t at = begin;
    for (uint64_t i = 0; i < SEARCH_MAX && found == NULL; i++) {
        at = begin + i;
        found = match(stream, at, stamp);
        if (found == NULL && i < begin) {
            at = begin - 1 - i;
            found = match(stream, at, stamp);
        }
    }
    if (found != NULL)
        member->next = at + 1;
    return found;
}

// What a member that has left the stream received counts for the others' sake too. Where nobody is
// in the stream any more, whoever comes first extends it.
static void count_alone(struct cn_stream *stream, struct cn_watch_member *member, const char *bytes,
                        size_t len, const struct cn_stamp *stamp)
{
    if (has(&stream->lanes[stamp->lane], stamp->seq)) {
        struct cn_watch_entry *entry = search(stream, member, stamp);
        if (entry != NULL)
            count_receiver(stream, entry);
    } else if (stream->alone_count == stream->members) {
        uint64_t number = stream->next;
        append(stream, bytes, len, stamp);
        if (number < stream->next)
            complete_if_all(stream, entry_at(stream, number));
    }
}

static void take_alone(struct cn_stream *stream, struct cn_watch_member *member, const char *bytes,
                       size_t len, const struct cn_stamp *stamp, int64_t now_us)
{
    enum cn_sequence_verdict verdict = cn_sequence_note(&member->own[stamp->lane], stamp->seq);
    note_fault(stream->watch, verdict, stamp->again);
    if (verdict == CN_SEQUENCE_DOUBLE)
        return;
    member->unique++;
    member->order = mix(member->order, stream->watch, stamp, bytes + len);
    note_time(stream->watch, stamp->due_us, now_us);
    count_alone(stream, member, bytes, len, stamp);
}

void cn_stream_take(struct cn_stream *stream, struct cn_watch_member *member, const char *bytes,
                    size_t len, const struct cn_stamp *stamp, int64_t now_us)
{
    if (stamp->lane >= stream->lane_count) {
        stream->watch->disordered++; // nobody wrote that
        return;
    }
    if (member->own == NULL && member->next == stream->next) {
        append(stream, bytes, len, stamp);
        if (member->next < stream->next)
            advance(stream, member, now_us);
        return;
    }
    if (member->own == NULL && !leave(stream, member))
        stream->watch->overflowed = true;
    else
        take_alone(stream, member, bytes, len, stamp, now_us);
}

uint32_t cn_stream_reordered(const struct cn_stream *stream)
{
    uint32_t reordered = 0;
    if (stream->watch->duplicates + stream->watch->disordered > 0)
        return 0;
    for (const struct cn_watch_member *member = stream->alone; member != NULL;
         member = member->next_alone)
        reordered += member->order != stream->order;
    return reordered;
}
