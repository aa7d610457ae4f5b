// SPDX-License-Identifier: MIT
// Fuzz target: several clients' frames, one after the other, into the hub on a bus in memory, with
// sockets that become full or vanish, and time that passes. Lines of one input:
//
//   0+ann kitchen 5-1   client 0 (to 7) connects as ann to the room, resuming after the position
//   0{"type":"join"...  client 0 sends this text; any line that is none of the others
//   0! 0~ 0- 0^ 0*      its socket becomes full, takes bytes again, is gone; it sends binary, a
//   pong .9                  9 tenths of a second pass; . alone: all that is under way is done
//
// Whatever comes, each session sees a channel's entries in order and without a silent hole, gets no
// more answers than it asked for, and nothing of it is left when all are gone.
#include "fuzz/fuzz.h"

#include <jansson.h>
#include <stdio.h>

#include "chatnode/name.h"
#include "chatnode/pos.h"
#include "support/hub_rig.h"

enum { CLIENTS = 8, ROOMS = 8, LINES_MAX = 400, LOOPS = 2, TENTH_MS = 100 };

// What a client has seen of one channel.
struct view {
    char name[CN_NAME_MAX + 2]; // "" is not used; the inbox is "@"
    bool has_last;
    struct cn_pos last;
};

struct watched {
    struct client *client;
    size_t seen; // frames of the sink that were looked at
    size_t asked;
    size_t answered;
    char room[CN_NAME_MAX + 1]; // that the connection began with, resumed after `since`; or ""
    struct cn_pos since;
    struct view views[ROOMS];
};

static struct hub_rig rig;
static struct watched watched[CLIENTS];

// ---- What a client sees ----

static struct view *view_of(struct watched *watch, const char *name)
{
    for (size_t i = 0; i < ROOMS; i++) {
        struct view *view = &watch->views[i];
        if (view->name[0] == '\0')
            snprintf(view->name, sizeof(view->name), "%s", name);
        if (strcmp(view->name, name) == 0)
            return view;
    }
    return NULL; // of more rooms than are watched
}

static struct view *view_of_frame(struct watched *watch, const json_t *frame)
{
    const char *room = json_string_value(json_object_get(frame, "room"));
    return view_of(watch, room ? room : "@");
}

static struct cn_pos position_of(const json_t *frame)
{
    struct cn_pos pos;
    const char *text = json_string_value(json_object_get(frame, "pos"));
    CN_ASSERT(text && cn_pos_parse(cn_str_of(text), &pos) == CN_OK);
    return pos;
}

// An entry follows the one before; after `joined` with `recovered` the first may be any later one.
static void see_entry(struct watched *watch, const json_t *frame)
{
    struct view *view = view_of_frame(watch, frame);
    struct cn_pos pos = position_of(frame);
    CN_ASSERT(json_is_integer(json_object_get(frame, "ts")));
    CN_ASSERT(json_object_get(frame, "content"));
    if (!view)
        return;
    CN_ASSERT(!view->has_last || cn_pos_follows(pos, view->last));
    view->last = pos;
    view->has_last = true;
}

// From here on the channel begins anew: after the position that was asked for, if it was recovered,
// else after the one that is told. An inbox may begin with its newest entries.
static void see_joined(struct watched *watch, const json_t *frame)
{
    struct view *view = view_of_frame(watch, frame);
    bool is_first = view && strcmp(view->name, watch->room) == 0;
    bool is_recovered = json_is_true(json_object_get(frame, "recovered"));
    struct cn_pos pos = position_of(frame);
    if (!view)
        return;
    view->has_last = strcmp(view->name, "@") != 0 && (is_first || !is_recovered);
    view->last = is_recovered ? watch->since : pos;
    if (is_first)
        watch->room[0] = '\0';
}

static void see_gap(struct watched *watch, const json_t *frame)
{
    struct view *view = view_of_frame(watch, frame);
    if (view)
        view->has_last = false;
}

static bool is_any_of(const char *type, const char *const *types, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

static void see(struct watched *watch, const struct fake_frame *raw)
{
    static const char *const answers[] = {"ack", "error", "left", "history", "pong"};
    static const char *const others[] = {"welcome", "reconnect"};
    json_t *frame = json_loadb(raw->text, raw->len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    CN_ASSERT(json_is_object(frame));
    const char *type = json_string_value(json_object_get(frame, "type"));
    CN_ASSERT(type);
    if (strcmp(type, "message") == 0 || strcmp(type, "direct") == 0)
        see_entry(watch, frame);
    else if (strcmp(type, "joined") == 0)
        see_joined(watch, frame);
    else if (strcmp(type, "gap") == 0)
        see_gap(watch, frame);
    else if (is_any_of(type, answers, CN_COUNT(answers)))
        watch->answered++;
    else
        CN_ASSERT(is_any_of(type, others, CN_COUNT(others)));
    json_decref(frame);
}

static void look(void)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        struct watched *watch = &watched[i];
        if (!watch->client)
            continue;
        const struct fake_sink *sink = &watch->client->sink;
        for (; watch->seen < sink->count; watch->seen++)
            if (sink->frames[watch->seen].opcode == 1)
                see(watch, &sink->frames[watch->seen]);
        CN_ASSERT(watch->answered <= watch->asked);
    }
}

// ---- What a client does ----

static struct cn_str next_word(struct cn_str *line)
{
    struct cn_str word = {NULL, 0};
    (void)fuzz_cut(line, ' ', &word);
    return word;
}

// As the handshake lets it through.
static void connect_client(struct watched *watch, struct cn_str line, unsigned loop)
{
    struct cn_hello hello = {.user = next_word(&line), .room = next_word(&line)};
    if (!cn_name_is_valid(hello.user))
        hello.user = (struct cn_str){NULL, 0};
    if (hello.room.len > 0 && !cn_name_is_valid(hello.room))
        hello.room = (struct cn_str){NULL, 0};
    hello.has_since = cn_pos_parse(next_word(&line), &hello.since) == CN_OK;
    hello.has_inbox_since = cn_pos_parse(next_word(&line), &hello.inbox_since) == CN_OK;
    if (rig.client_count == RIG_CLIENTS)
        return;
    *watch = (struct watched){.client = rig_greet(&rig, loop, &hello), .since = hello.since};
    if (hello.has_since && hello.room.len > 0)
        CN_ASSERT(!cn_str_copy(hello.room, watch->room, sizeof(watch->room)));
}

// The edge takes the socket away when the session closed it, or when it is gone.
static void disconnect(struct watched *watch)
{
    client_gone(watch->client);
    look();
    watch->client = NULL;
}

// Only once the text was all sent does the library say so: not within a write.
static void drain(struct watched *watch)
{
    if (watch->client->sink.full && !watch->client->sink.closed)
        client_drain(watch->client);
}

static void say(struct watched *watch, struct cn_str text)
{
    if (!cn_name_is_utf8(text))
        return;
    char *copy = fuzz_copy(text);
    watch->asked++;
    cn_session_receive(watch->client->session, (struct cn_str){copy, text.len});
    free(copy);
}

static void act(struct watched *watch, struct cn_str line)
{
    char what = line.len == 1 ? line.ptr[0] : '\0';
    if (what == '-') {
        disconnect(watch);
    } else if (what == '!') {
        fake_sink_limit(&watch->client->sink, 1);
    } else if (what == '~') {
        drain(watch);
    } else if (what == '^') {
        watch->asked++;
        cn_session_receive_binary(watch->client->session);
    } else if (what == '*') {
        cn_session_alive(watch->client->session);
    } else {
        say(watch, line);
    }
}

static void take_client_line(struct cn_str line)
{
    unsigned index = fuzz_byte(&line) % CLIENTS;
    struct watched *watch = &watched[index];
    if (watch->client && watch->client->sink.closed)
        disconnect(watch);
    if (line.len > 0 && line.ptr[0] == '+') {
        if (!watch->client)
            connect_client(watch, (struct cn_str){line.ptr + 1, line.len - 1}, index % LOOPS);
    } else if (watch->client) {
        act(watch, line);
    }
}

static void take_line(struct cn_str line)
{
    if (line.len == 0 || line.ptr[0] != '.')
        take_client_line(line);
    else if (line.len >= 2 && line.ptr[1] >= '0' && line.ptr[1] <= '9')
        hub_rig_pass_ms(&rig, (line.ptr[1] - '0') * TENTH_MS);
    else
        hub_rig_settle(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // Small bounds, so that they are met.
    static const char *const settings[] = {"--max-rooms",
                                           "4",
                                           "--max-in-flight",
                                           "8",
                                           "--ring-frames",
                                           "16",
                                           "--outbox",
                                           "4096",
                                           "--history-messages",
                                           "24",
                                           "--slow-timeout",
                                           "2000",
                                           "--ping-interval",
                                           "1500",
                                           "--pong-timeout",
                                           "1000",
                                           "--max-message",
                                           "4096",
                                           NULL};
    struct cn_str rest = {(const char *)data, size}, line;
    memset(watched, 0, sizeof(watched));
    hub_rig_open(&rig, LOOPS, settings);
    hub_rig_start(&rig);
    for (int i = 0; i < LINES_MAX && fuzz_cut(&rest, '\n', &line); i++) {
        take_line(line);
        look();
    }
    hub_rig_settle(&rig);
    look();
    CN_ASSERT(rig.fatals == 0);
    hub_rig_close(&rig);
    return 0;
}
