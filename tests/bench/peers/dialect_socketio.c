// SPDX-License-Identifier: MIT
// The dialect of Socket.IO over WebSocket, as tests/bench/peers/socketio.js serves it. Packets are
// text frames that begin with their types' digits: 0 open, 2 ping, 40 connected, 42 an event.
#include <stdio.h>
#include <string.h>

#include "link.h"
#include "peer_dialects.h"

static const char event[] = "42[\"m\",\"";
static const char event_end[] = "\"]";

static int greetings(const struct cn_party *party)
{
    (void)party;
    return 1;
}

static size_t path(const char *base, const struct cn_party *party, char *out, size_t size)
{
    (void)party;
    return (size_t)snprintf(out, size, "%s?EIO=4&transport=websocket", base);
}

static size_t hello(const struct cn_party *party, char *out, size_t size)
{
    return (size_t)snprintf(out, size, "40{\"room\":\"b%04x-%ld\"}", party->tag, party->room);
}

static size_t publish(const struct cn_party *party, long to, long id, const char *content,
                      size_t len, char *out, size_t size)
{
    (void)party;
    (void)to;
    (void)id;
    CN_ASSERT(len + sizeof(event) + sizeof(event_end) <= size);
    return (size_t)snprintf(out, size, "%s%.*s%s", event, (int)len, content, event_end);
}

static bool begins(const struct cn_ws_frame *frame, const char *with)
{
    size_t len = strlen(with);
    return frame->payload_len >= len && memcmp(frame->payload, with, len) == 0;
}

static enum cn_unit_kind kind_of(const struct cn_ws_frame *frame)
{
    if (frame->opcode == CN_WS_PIECE)
        return CN_UNIT_PIECE;
    if (frame->opcode != CN_WS_TEXT)
        return CN_UNIT_OTHER;
    if (begins(frame, event))
        return CN_UNIT_MESSAGE;
    if (begins(frame, "40"))
        return CN_UNIT_READY;
    if (begins(frame, "44"))
        return CN_UNIT_REFUSAL;
    return begins(frame, "2") ? CN_UNIT_PING : CN_UNIT_OTHER;
}

static bool cut(char *bytes, size_t len, struct cn_unit *out)
{
    struct cn_ws_frame frame;
    if (!cn_ws_cut(bytes, len, &frame))
        return false;
    *out = (struct cn_unit){.kind = kind_of(&frame),
                            .size = frame.size,
                            .text = frame.payload,
                            .len = frame.payload_len,
                            .id = -1};
    return true;
}

static size_t answer(const struct cn_unit *ping, char *out, size_t size)
{
    (void)ping;
    CN_ASSERT(size > CN_WS_HEADER_MAX);
    return cn_ws_write(CN_WS_TEXT, "3", 1, out);
}

const struct cn_dialect cn_dialect_socketio = {
    .name = "socketio",
    .summary = "Socket.IO with the event \"m\"",
    .websocket = true,
    .greetings = greetings,
    .path = path,
    .hello = hello,
    .publish = publish,
    .cut = cut,
    .answer = answer,
};
