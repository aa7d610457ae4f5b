// SPDX-License-Identifier: MIT
// The seam to a server's protocol: what a client sends to join and to publish, and what it gets.
#ifndef CHATNODE_TOOLS_DIALECT_H
#define CHATNODE_TOOLS_DIALECT_H

#include <stdbool.h>
#include <stddef.h>

#include "chatnode/check.h"
#include "chatnode/pos.h"

// A client, as far as a server's protocol needs to know it.
struct cn_party {
    unsigned tag; // of the run: part of every name
    long number;  // of its user
    long room;    // its room, from 0; -1: none
};

enum cn_unit_kind {
    CN_UNIT_OTHER,   // of no interest
    CN_UNIT_READY,   // one of those that `greetings` counts
    CN_UNIT_MESSAGE, // a message: `text`, and `pos` where the protocol has positions
    CN_UNIT_ACK,     // `id` is stored, at `pos`
    CN_UNIT_REFUSAL, // the request `id` (-1: unknown) was not done; `retry`: it may be sent again
    CN_UNIT_GAP,     // the server says that messages are missing
    CN_UNIT_PIECE,   // of a message that the server cut up, which the bench does not read
    CN_UNIT_PING,    // wants `answer` for `text`
};

// One piece of what a server sent: a frame, or a line.
struct cn_unit {
    enum cn_unit_kind kind;
    size_t size;      // bytes of the whole piece
    const char *text; // of a message: where the content begins, or somewhere before it
    size_t len;
    long id;
    struct cn_pos pos;
    bool retry;
};

enum { CN_DIALECT_TEXT_MAX = 70000 };

// All functions are pure: bytes in, bytes out. Each write returns how many bytes it wrote; the
// buffers have CN_DIALECT_TEXT_MAX bytes (CN_LINK_PATH_BYTES for a path, half of which are enough
// for what is appended to `base`).
struct cn_dialect {
    const char *name;
    const char *summary; // for --help
    bool websocket;      // else bare TCP
    bool acks;           // publishes can have an id that is acked
    bool direct;         // there are messages to users
    // How many CN_UNIT_READYs until the client has joined; NULL: it has when it is connected.
    int (*greetings)(const struct cn_party *party);
    // The path and query to ask for, with a NUL; NULL: the URL's own.
    size_t (*path)(const char *base, const struct cn_party *party, char *out, size_t size);
    // What a client sends once it is connected; NULL: nothing.
    size_t (*hello)(const struct cn_party *party, char *out, size_t size);
    // The text that publishes `content` to the party's room, or direct to user `to`; with `id`
    // unless that is -1. For a WebSocket it is one text frame's payload.
    size_t (*publish)(const struct cn_party *party, long to, long id, const char *content,
                      size_t len, char *out, size_t size);
    // Cuts the first piece of what was received; false when it is not whole yet.
    bool (*cut)(char *bytes, size_t len, struct cn_unit *out);
    // What a CN_UNIT_PING wants to hear: bytes as they go to the socket. NULL: no pings.
    size_t (*answer)(const struct cn_unit *ping, char *out, size_t size);
};

extern const struct cn_dialect cn_dialect_chatnode;

// Any text frame is a message to everybody in the room; the room is the query's `room`.
extern const struct cn_dialect cn_dialect_plain;

#endif
