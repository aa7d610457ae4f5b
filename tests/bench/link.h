// SPDX-License-Identifier: MIT
// One WebSocket from the client's side, without blocking, and the few fields of a text that matter.
#ifndef CHATNODE_BENCH_LINK_H
#define CHATNODE_BENCH_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;

// Called in link_on_event. They may send and close; a link is opened again from elsewhere only.
struct link_events {
    // One text frame, ended by a NUL that is not counted.
    void (*on_text)(struct link *link, char *text, size_t len);
    // The other side ended it, or refused: `status` is the HTTP status if there was one, else 0;
    // `retry_after_ms` is what it asked to wait, else 0. Not called after link_close.
    void (*on_end)(struct link *link, int status, int retry_after_ms);
};

enum link_stage { LINK_CLOSED, LINK_CONNECTING, LINK_UPGRADING, LINK_OPEN };

struct link {
    enum link_stage stage;
    int fd;
    int epoll;
    const struct link_events *events;
    char *rest; // received, but not a whole frame yet
    size_t rest_len;
    char *out; // not sent yet
    size_t out_len;
    size_t out_cap;
    bool polls_out;
};

// Begins to connect to 127.0.0.1:`port`; `number` chooses the source address, 5,000 numbers each.
// Asks for `path` and is open once the server agreed. False when the system has no socket for it.
bool link_open(struct link *link, int epoll, const struct link_events *events, int port, int number,
               const char *path);

// What epoll said of this link. A link is the data.ptr of its events.
void link_on_event(struct link *link, uint32_t events);

// Puts a text frame into the buffer that link_flush sends. The link is open.
void link_send(struct link *link, const char *text, size_t len);
void link_flush(struct link *link);

// Cuts the connection with a reset, as a client does that loses its network. No-op when closed.
void link_close(struct link *link);

// ---- Texts ----

struct position {
    uint64_t gen;
    uint64_t seq;
};

// The number after the first `before` in the text, or -1.
long text_number(const char *text, const char *before);

// The position in the text's first field "pos"; false when there is none.
bool text_position(const char *text, struct position *out);

// Below 0, 0 or above 0, as `a` is before, at or after `b`.
int position_compare(struct position a, struct position b);

#endif
