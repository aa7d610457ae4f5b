// SPDX-License-Identifier: MIT
// Connections from the client's side, without blocking: WebSocket or bare TCP, many in one epoll.
#ifndef CHATNODE_TOOLS_LINK_H
#define CHATNODE_TOOLS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "chatnode/check.h"

enum {
    CN_LINK_FRAME_MAX = 1 << 18,
    CN_LINK_HOST_BYTES = 256,
    CN_LINK_BASE_BYTES = 256, // path and query of a URL that was given
    CN_LINK_PATH_BYTES = 512, // and what a client appends to them
};

// ---- Where to ----

// A server, as an URL names it.
struct cn_endpoint {
    struct sockaddr_storage address;
    socklen_t address_len;
    bool loopback; // an IPv4 address of this machine: source addresses can be chosen
    bool websocket;
    char host[CN_LINK_HOST_BYTES]; // with the port, as a Host header says it
    char path[CN_LINK_BASE_BYTES]; // with the query
};

// Reads ws://HOST:PORT/PATH, or tcp://HOST:PORT for a server that speaks something else. False:
// `why` says what is wrong with it. Asks the resolver, which may block.
CN_MUSTCHECK bool cn_endpoint_parse(const char *url, struct cn_endpoint *out, const char **why);

// ---- All links of a process ----

// What links share. One thread.
struct cn_links {
    int epoll;
    char *input; // what one read gets, behind what was left of the one before
    bool woken;  // in the latest turn, by cn_links_watch's eventfd
};

CN_MUSTCHECK bool cn_links_init(struct cn_links *links);
void cn_links_fini(struct cn_links *links);

// Waits for events, at most `wait_ms`, and calls the links that have some. Returns how many there
// were.
int cn_links_turn(struct cn_links *links, int wait_ms);

// The same with microseconds.
int cn_links_turn_us(struct cn_links *links, int64_t wait_us);

// Ends waiting when this eventfd is written to. False when the system refuses.
CN_MUSTCHECK bool cn_links_watch(struct cn_links *links, int eventfd);

// ---- One link ----

struct cn_link;

// Called in cn_links_turn. They may send and close; a link is opened again from elsewhere only.
struct cn_link_events {
    // The handshake is done. NULL: not of interest.
    void (*on_open)(struct cn_link *link);
    // One text frame, ended by a NUL that is not counted. Pings are answered by the link itself.
    void (*on_text)(struct cn_link *link, char *text, size_t len);
    // Instead of on_text, where it is not NULL: what was received, header bytes and all. Returns
    // how many bytes are done with; the others come again, with more behind them.
    size_t (*on_bytes)(struct cn_link *link, char *bytes, size_t len);
    // The other side ended it, or refused: `status` is the HTTP status if there was one, else 0;
    // `retry_after_ms` is what it asked to wait, else 0. Not called after cn_link_close.
    void (*on_end)(struct cn_link *link, int status, int retry_after_ms);
};

enum cn_link_stage { CN_LINK_CLOSED, CN_LINK_CONNECTING, CN_LINK_UPGRADING, CN_LINK_OPEN };

struct cn_link {
    enum cn_link_stage stage;
    int fd;
    struct cn_links *links;
    const struct cn_link_events *events;
    bool websocket;
    bool polls_out;
    char *rest; // received, but not done with yet
    size_t rest_len;
    char *out; // not sent yet
    size_t out_len;
    size_t out_cap;
};

// Begins to connect. `source` chooses the address it comes from where the server is on loopback:
// 127.0.0.1 + `source`; 0 leaves it to the system. `path` is what is asked for; NULL: the
// endpoint's. False when the system has no socket for it; the link is closed then.
CN_MUSTCHECK bool cn_link_open(struct cn_link *link, struct cn_links *links,
                               const struct cn_link_events *events,
                               const struct cn_endpoint *endpoint, int source, const char *path);

// Puts one text frame (a WebSocket), or bytes as they are, into the buffer that cn_link_flush
// sends. The link is open.
void cn_link_send(struct cn_link *link, const char *text, size_t len);
void cn_link_send_raw(struct cn_link *link, const void *bytes, size_t len);
void cn_link_flush(struct cn_link *link);

// Ends sending, as a client does that ends: on_end comes once the other side has closed too. The
// link is open.
void cn_link_shut(struct cn_link *link);

// Cuts the connection with a reset, as a client does that loses its network. No-op when closed.
void cn_link_close(struct cn_link *link);

// ---- Frames (RFC 6455 section 5.2) ----

enum { CN_WS_PIECE = 0, CN_WS_TEXT = 1, CN_WS_PING = 9, CN_WS_PONG = 10, CN_WS_HEADER_MAX = 14 };

// A frame of a server, which is not masked. The bench reads whole messages only: pieces of one
// (section 5.4) have `opcode` CN_WS_PIECE.
struct cn_ws_frame {
    int opcode;
    size_t size; // header and payload
    char *payload;
    size_t payload_len;
};

// Cuts the first frame; false when it is not whole yet.
CN_MUSTCHECK bool cn_ws_cut(char *bytes, size_t len, struct cn_ws_frame *out);

// Writes a client's frame, masked with 0, which is legal and costs nothing (section 5.3); returns
// its size. `out` has room for the payload and 14 bytes more.
size_t cn_ws_write(int opcode, const char *payload, size_t len, char *out);

// ---- Texts ----

// The number after the first `before` in the text, or -1.
long cn_text_number(const char *text, const char *before);

#endif
