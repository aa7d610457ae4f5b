// SPDX-License-Identifier: MIT
// A bus under test with its reactor, and a record of all that it tells.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/bus_probe.h"

#include "chatnode/codec.h"

// ---- The record ----

static void record(struct probe *probe, enum probe_kind kind, const struct cn_channel_name *channel,
                   struct cn_pos pos, struct cn_str text)
{
    if (probe->count == probe->cap) {
        probe->cap = probe->cap ? probe->cap * 2 : 64;
        probe->events = realloc(probe->events, probe->cap * sizeof(*probe->events));
        assert_non_null(probe->events);
    }
    char *copy = text.ptr ? strndup(text.ptr, text.len) : NULL;
    probe->events[probe->count++] = (struct probe_event){kind, *channel, pos, copy};
}

static void on_open(void *arg, const struct cn_channel_name *channel, struct cn_pos tail)
{
    record(arg, PROBE_OPEN, channel, tail, (struct cn_str){NULL, 0});
}

static void on_entry(void *arg, const struct cn_channel_name *channel, struct cn_pos pos,
                     struct cn_str text)
{
    struct probe *probe = arg;
    struct cn_pos inside;
    probe->entries++;
    assert_int_equal(cn_codec_entry_check(text, 1 << 21, &inside), CN_OK);
    assert_int_equal(cn_pos_compare(inside, pos), 0);
    if (!probe->ignores_entries)
        record(probe, PROBE_ENTRY, channel, pos, text);
}

static void on_reset(void *arg, const struct cn_channel_name *channel, struct cn_pos tail)
{
    record(arg, PROBE_RESET, channel, tail, (struct cn_str){NULL, 0});
}

static void on_durability(void *arg, enum cn_durability durability, const struct cn_store *store)
{
    struct probe *probe = arg;
    probe->durability = durability;
    if (store)
        probe->store = *store;
}

static void on_state(void *arg, enum cn_bus_state state, enum cn_bus_cause cause, const char *why)
{
    struct probe *probe = arg;
    probe->cause = cause;
    probe->states += state != probe->state;
    probe->state = state;
    snprintf(probe->why, sizeof(probe->why), "%s", why);
}

static void on_fatal(void *arg, const char *why)
{
    struct probe *probe = arg;
    probe->fatals++;
    snprintf(probe->fatal_why, sizeof(probe->fatal_why), "%s", why);
}

static void on_notice(void *arg, struct cn_str text, bool again)
{
    struct probe *probe = arg;
    probe->again += again;
    assert_true(text.len > 0 && text.len <= CN_NOTICE_BYTES_MAX);
    snprintf(probe->notice, sizeof(probe->notice), "%.*s", (int)text.len, text.ptr);
    probe->notices++;
}

static void on_noticed(void *arg)
{
    struct probe *probe = arg;
    probe->boards++;
}

static void on_wake(void *arg)
{
    (void)arg;
}

// ---- Life ----

struct cn_bus_options probe_options(void)
{
    return (struct cn_bus_options){.prefix = "chatnode:test:",
                                   .node = "probe",
                                   .history_messages = 1000,
                                   .history_ttl_s = 600,
                                   .dedupe_ttl_s = 300,
                                   .watchdog_ms = 3000,
                                   .queue = 65536,
                                   .entry_bytes = 1 << 20,
                                   .held_messages = 1024,
                                   .replay_ms = 10000,
                                   .replay_bytes = 1 << 20,
                                   .replica_wait_ms = 100};
}

static struct cn_bus_events events_of(struct probe *probe)
{
    return (struct cn_bus_events){probe,         on_open,  on_entry,  on_reset,  on_state,
                                  on_durability, on_fatal, on_notice, on_noticed};
}

void probe_open(struct probe *probe, struct cn_reactor *reactor,
                const struct cn_bus_options *options)
{
    const struct cn_bus_events events = events_of(probe);
    const char *why = NULL;
    *probe = (struct probe){.reactor = reactor, .owns_reactor = reactor == NULL};
    if (reactor == NULL)
        assert_int_equal(cn_reactor_new(&probe->reactor, on_wake, NULL), CN_OK);
    assert_int_equal(cn_bus_new(probe->reactor, options, &events, &probe->bus, &why), CN_OK);
    assert_int_equal(cn_bus_start(probe->bus), CN_OK);
}

enum cn_err probe_try(const struct cn_bus_options *options, const char **why)
{
    struct probe probe = {0};
    const struct cn_bus_events events = events_of(&probe);
    assert_int_equal(cn_reactor_new(&probe.reactor, on_wake, NULL), CN_OK);
    enum cn_err err = cn_bus_new(probe.reactor, options, &events, &probe.bus, why);
    cn_bus_free(probe.bus);
    cn_reactor_free(probe.reactor);
    return err;
}

void probe_close(struct probe *probe)
{
    cn_bus_free(probe->bus);
    if (probe->owns_reactor)
        cn_reactor_free(probe->reactor);
    for (size_t i = 0; i < probe->count; i++)
        free(probe->events[i].text);
    free(probe->events);
    *probe = (struct probe){0};
}

bool probe_is_up(const struct probe *probe)
{
    return cn_bus_state(probe->bus) == CN_BUS_UP;
}

struct cn_channel_name probe_room(const char *name)
{
    struct cn_channel_name channel;
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of(name), &channel), CN_OK);
    return channel;
}

// ---- Requests ----

static void on_published(void *arg, const struct cn_publish *publish,
                         const struct cn_published *result)
{
    struct probe_answer *answer = arg;
    (void)publish;
    answer->calls++;
    answer->result = *result;
}

void probe_publish_for(struct probe *probe, const char *room, const char *user, const char *id,
                       const char *content, int64_t ms, struct probe_answer *answer)
{
    size_t size = strlen(content) + 512;
    char *body = malloc(size);
    assert_non_null(body);
    snprintf(body, size,
             "\"type\":\"message\",\"room\":\"%s\",\"from\":\"%s\",\"content\":\"%s\","
             "\"id\":\"%s\"}",
             room, user, content, id);
    struct cn_publish *publish = cn_publish_new(cn_str_of(body), sizeof(int64_t));
    free(body);
    assert_non_null(publish);
    publish->channel = probe_room(room);
    snprintf(publish->user, sizeof(publish->user), "%s", user);
    snprintf(publish->id, sizeof(publish->id), "%s", id);
    publish->has_ack = true;
    publish->deadline_ms = cn_clock_ms() + ms;
    publish->done = on_published;
    publish->arg = answer;
    *(int64_t *)publish->context = ms; // its own, and aligned, or the sanitizers tell
    if (id[strlen(id) - 1] % 2)        // a hint, which changes nothing
        cn_bus_publish_expect(probe->bus, publish);
    cn_bus_publish_take(probe->bus, &publish);
    assert_null(publish);
}

void probe_publish(struct probe *probe, const char *room, const char *user, const char *id,
                   struct probe_answer *answer)
{
    probe_publish_for(probe, room, user, id, id, 5000, answer);
}

struct cn_published probe_store(struct probe *probe, const char *room, const char *user,
                                const char *id)
{
    struct probe_answer answer = {0};
    probe_publish(probe, room, user, id, &answer);
    WAIT_UNTIL(probe, answer.calls > 0);
    assert_int_equal(answer.calls, 1);
    return answer.result;
}

static void on_posted(void *arg, enum cn_err err)
{
    struct probe_post *post = arg;
    post->calls++;
    post->err = err;
}

enum cn_err probe_notify(struct probe *probe, const char *text, int64_t until_ms)
{
    struct probe_post post = {0};
    cn_bus_notify(probe->bus, cn_str_of(text), until_ms, on_posted, &post);
    WAIT_UNTIL(probe, post.calls > 0);
    assert_int_equal(post.calls, 1);
    return post.err;
}

void probe_subscribe(struct probe *probe, const char *room)
{
    struct cn_channel_name channel = probe_room(room);
    assert_int_equal(cn_bus_subscribe(probe->bus, &channel), CN_OK);
}

void probe_unsubscribe(struct probe *probe, const char *room)
{
    struct cn_channel_name channel = probe_room(room);
    cn_bus_unsubscribe(probe->bus, &channel);
}

static void on_page(void *arg, const struct cn_read *read, const struct cn_page *page)
{
    struct probe_page *out = arg;
    (void)read;
    out->calls++;
    out->page = *page;
    out->page.entries = NULL;
    for (size_t i = 0; i < page->count; i++) {
        out->pos[i] = page->entries[i].pos;
        out->text[i] = strndup(page->entries[i].text.ptr, page->entries[i].text.len);
    }
}

void probe_read(struct probe *probe, const char *room, enum cn_read_kind kind, struct cn_pos from,
                unsigned limit, struct probe_page *page)
{
    struct cn_read *read = malloc(sizeof(*read));
    assert_non_null(read);
    memset(read, 0xa5, sizeof(*read)); // the bus must not rely on what it does not ask for
    read->deadline_ms = cn_clock_ms() + 5000;
    read->channel = probe_room(room);
    read->kind = kind;
    read->from = from;
    read->limit = limit;
    read->done = on_page;
    read->arg = page;
    read->context = NULL;
    *page = (struct probe_page){0};
    cn_bus_read_take(probe->bus, &read);
    assert_null(read);
    WAIT_UNTIL(probe, page->calls > 0);
    assert_int_equal(page->calls, 1);
}

void probe_page_fini(struct probe_page *page)
{
    for (size_t i = 0; i < page->page.count; i++)
        free(page->text[i]);
    page->page.count = 0;
}

// ---- Looking ----

static bool is_of(const struct probe_event *event, enum probe_kind kind, const char *room)
{
    return event->kind == kind && strcmp(event->channel.text + 2, room) == 0;
}

size_t probe_count(const struct probe *probe, enum probe_kind kind, const char *room)
{
    size_t count = 0;
    for (size_t i = 0; i < probe->count; i++)
        count += is_of(&probe->events[i], kind, room);
    return count;
}

const struct probe_event *probe_event(const struct probe *probe, enum probe_kind kind,
                                      const char *room, size_t n)
{
    for (size_t i = 0; i < probe->count; i++) {
        if (is_of(&probe->events[i], kind, room) && n-- == 0)
            return &probe->events[i];
    }
    return NULL;
}

void probe_assert_ordered(const struct probe *probe, const char *room)
{
    struct cn_pos last = {0};
    for (size_t i = 0; i < probe->count; i++) {
        const struct probe_event *event = &probe->events[i];
        if (is_of(event, PROBE_ENTRY, room)) {
            assert_true(cn_pos_compare(event->pos, last) > 0);
            assert_true(event->pos.gen != last.gen || event->pos.seq == last.seq + 1);
            assert_true(event->pos.gen == last.gen || event->pos.seq == 0);
            last = event->pos;
        } else if (is_of(event, PROBE_OPEN, room) || is_of(event, PROBE_RESET, room)) {
            last = event->pos;
        }
    }
}

void assert_pos(struct cn_pos got, struct cn_pos wanted)
{
    assert_int_equal(got.gen, wanted.gen);
    assert_int_equal(got.seq, wanted.seq);
}
