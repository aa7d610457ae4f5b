// SPDX-License-Identifier: MIT
// The plainest dialect: a text frame is a message, and everybody in the room gets it as it is.
#include <stdio.h>
#include <string.h>

#include "dialect.h"
#include "link.h"

static size_t path(const char *base, const struct cn_party *party, char *out, size_t size)
{
    char mark = strchr(base, '?') ? '&' : '?';
    if (party->room < 0)
        return (size_t)snprintf(out, size, "%s", base);
    return (size_t)snprintf(out, size, "%s%croom=b%04x-%ld", base, mark, party->tag, party->room);
}

static size_t publish(const struct cn_party *party, long to, long id, const char *content,
                      size_t len, char *out, size_t size)
{
    (void)party;
    (void)to;
    (void)id;
    CN_ASSERT(len <= size);
    memcpy(out, content, len);
    return len;
}

static bool cut(char *bytes, size_t len, struct cn_unit *out)
{
    struct cn_ws_frame frame;
    if (!cn_ws_cut(bytes, len, &frame))
        return false;
    *out = (struct cn_unit){.size = frame.size, .text = frame.payload, .len = frame.payload_len};
    if (frame.opcode == CN_WS_TEXT)
        out->kind = CN_UNIT_MESSAGE;
    else if (frame.opcode == CN_WS_PING)
        out->kind = CN_UNIT_PING;
    else if (frame.opcode == CN_WS_PIECE)
        out->kind = CN_UNIT_PIECE;
    return true;
}

static size_t answer(const struct cn_unit *ping, char *out, size_t size)
{
    CN_ASSERT(ping->len + CN_WS_HEADER_MAX <= size);
    return cn_ws_write(CN_WS_PONG, ping->text, ping->len, out);
}

const struct cn_dialect cn_dialect_plain = {
    .name = "plain",
    .summary = "a text frame is a message to everybody in the room",
    .websocket = true,
    .path = path,
    .publish = publish,
    .cut = cut,
    .answer = answer,
};
