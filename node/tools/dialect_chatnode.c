// SPDX-License-Identifier: MIT
// The dialect of chatnode's own protocol (docs/protocol.md): rooms, direct messages, acks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialect.h"
#include "link.h"

// ---- Writing ----

static size_t path(const char *base, const struct cn_party *party, char *out, size_t size)
{
    char mark = strchr(base, '?') ? '&' : '?';
    if (party->room < 0)
        return (size_t)snprintf(out, size, "%s%cuser=b%04x-%ld&room=", base, mark, party->tag,
                                party->number);
    return (size_t)snprintf(out, size, "%s%cuser=b%04x-%ld&room=b%04x-%ld", base, mark, party->tag,
                            party->number, party->tag, party->room);
}

static size_t publish(const struct cn_party *party, long to, long id, const char *content,
                      size_t len, char *out, size_t size)
{
    int at = to >= 0
                 ? snprintf(out, size, "{\"type\":\"direct\",\"to\":\"b%04x-%ld\"", party->tag, to)
                 : snprintf(out, size, "{\"type\":\"message\",\"room\":\"b%04x-%ld\"", party->tag,
                            party->room);
    if (id >= 0)
        at += snprintf(out + at, size - (size_t)at, ",\"id\":\"%ld\"", id);
    at += snprintf(out + at, size - (size_t)at, ",\"content\":\"%.*s\"}", (int)len, content);
    return (size_t)at;
}

static size_t answer(const struct cn_unit *ping, char *out, size_t size)
{
    CN_ASSERT(ping->len + CN_WS_HEADER_MAX <= size);
    return cn_ws_write(CN_WS_PONG, ping->text, ping->len, out);
}

// ---- Reading ----

// What follows the first `before` in the text, up to a quote; absent when there is none.
static struct cn_str between(const struct cn_unit *unit, const char *before)
{
    const char *begin = memmem(unit->text, unit->len, before, strlen(before));
    if (begin == NULL)
        return (struct cn_str){NULL, 0};
    begin += strlen(before);
    const char *end = memchr(begin, '"', unit->len - (size_t)(begin - unit->text));
    return (struct cn_str){begin, end ? (size_t)(end - begin) : 0};
}

static void read_position(struct cn_unit *unit)
{
    if (cn_pos_parse(between(unit, "\"pos\":\""), &unit->pos) != CN_OK)
        unit->pos = (struct cn_pos){0, 0};
}

// The number in "id":"123", or -1.
static long read_id(const struct cn_unit *unit)
{
    struct cn_str id = between(unit, "\"id\":\"");
    char text[24];
    if (id.len == 0 || cn_str_copy(id, text, sizeof(text)) != CN_OK)
        return -1;
    char *end = NULL;
    long number = strtol(text, &end, 10);
    return *end == '\0' ? number : -1;
}

static bool begins(const struct cn_unit *unit, const char *with)
{
    size_t len = strlen(with);
    return unit->len >= len && memcmp(unit->text, with, len) == 0;
}

// Stored entries begin with their position, all other texts with their type.
static void read_text(struct cn_unit *unit)
{
    if (begins(unit, "{\"pos\":")) {
        unit->kind = CN_UNIT_MESSAGE;
        read_position(unit);
    } else if (begins(unit, "{\"type\":\"ack\"")) {
        unit->kind = CN_UNIT_ACK;
        unit->id = read_id(unit);
        read_position(unit);
    } else if (begins(unit, "{\"type\":\"error\"")) {
        unit->kind = CN_UNIT_REFUSAL;
        unit->id = read_id(unit);
        unit->retry = memmem(unit->text, unit->len, "\"retry\":true", 12) != NULL;
    } else if (begins(unit, "{\"type\":\"joined\"")) {
        unit->kind = CN_UNIT_READY;
    } else if (begins(unit, "{\"type\":\"gap\"")) {
        unit->kind = CN_UNIT_GAP;
    }
}

static bool cut(char *bytes, size_t len, struct cn_unit *out)
{
    struct cn_ws_frame frame;
    if (!cn_ws_cut(bytes, len, &frame))
        return false;
    *out = (struct cn_unit){
        .size = frame.size, .text = frame.payload, .len = frame.payload_len, .id = -1};
    if (frame.opcode == CN_WS_TEXT)
        read_text(out);
    else if (frame.opcode == CN_WS_PING)
        out->kind = CN_UNIT_PING;
    else if (frame.opcode == CN_WS_PIECE)
        out->kind = CN_UNIT_PIECE;
    return true;
}

static int greetings(const struct cn_party *party)
{
    return party->room < 0 ? 1 : 2; // the inbox, and the room
}

const struct cn_dialect cn_dialect_chatnode = {
    .name = "chatnode",
    .summary = "a node of this project",
    .websocket = true,
    .acks = true,
    .direct = true,
    .greetings = greetings,
    .path = path,
    .publish = publish,
    .cut = cut,
    .answer = answer,
};
