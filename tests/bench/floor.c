// SPDX-License-Identifier: MIT
// The floor: the least that a WebSocket server on epoll can do to hand every text frame to every
// member, one send(2) each. It is what the node is measured against, and no chat server.
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INPUT_BYTES = 4096, FRAME_MAX = 65536, EVENTS = 256 };

// One connection. `slot` is its place in the array of members, -1 before the handshake.
struct peer {
    int fd;
    int slot;
    size_t len;
    unsigned char input[INPUT_BYTES];
};

struct floor {
    int epoll;
    int listener;
    struct peer **members;
    int count;
    int capacity;
    size_t entry_bytes; // each broadcast frame's payload has this length
    unsigned long long sequence;
    unsigned char frame[FRAME_MAX + 4];
};

// The answer to one key only, the one of RFC 6455 section 1.3, which the load driver sends.
static const char upgrade_answer[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char hello[] = "\x81\x1e{\"type\":\"joined\",\"inbox\":true}"
                            "\x81\x20{\"type\":\"joined\",\"room\":\"bench\"}";

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

// Sends everything, waiting where the socket is full: the floor drops nothing and keeps no queue.
static bool send_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t done = send(fd, at, len, MSG_NOSIGNAL);
        if (done < 0 && errno != EAGAIN)
            return false;
        if (done < 0)
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        if (done > 0) {
            at += done;
            len -= (size_t)done;
        }
    }
    return true;
}

static void drop(struct floor *floor, struct peer *peer)
{
    if (peer->slot >= 0) {
        struct peer *last = floor->members[--floor->count];
        floor->members[peer->slot] = last;
        last->slot = peer->slot;
    }
    close(peer->fd);
    free(peer);
}

static bool admit(struct floor *floor, struct peer *peer)
{
    if (floor->count == floor->capacity) {
        int capacity = floor->capacity ? floor->capacity * 2 : 1024;
        struct peer **members = realloc(floor->members, (size_t)capacity * sizeof(*members));
        if (members == NULL)
            return false;
        floor->members = members;
        floor->capacity = capacity;
    }
    if (!send_all(peer->fd, upgrade_answer, sizeof(upgrade_answer) - 1) ||
        !send_all(peer->fd, hello, sizeof(hello) - 1))
        return false;
    peer->slot = floor->count;
    floor->members[floor->count++] = peer;
    peer->len = 0;
    return true;
}

// Wraps a client's text into an object of the node's length and sends it to every member.
static void broadcast(struct floor *floor, const unsigned char *text, size_t len)
{
    unsigned char *payload = floor->frame + 4;
    size_t size = floor->entry_bytes;
    memset(payload, ' ', size);
    int head = snprintf((char *)payload, size, "{\"pos\":\"1-%llu\",\"text\":", floor->sequence++);
    size_t room = size - (size_t)head - 1;
    memcpy(payload + head, text, len < room ? len : room);
    payload[size - 1] = '}';
    unsigned char *frame = payload - 2;
    if (size > 125) {
        frame = payload - 4;
        frame[2] = (unsigned char)(size >> 8);
        frame[3] = (unsigned char)size;
    }
    frame[0] = 0x81;
    frame[1] = size > 125 ? 126 : (unsigned char)size;
    size_t frame_len = size + (size_t)(payload - frame);
    for (int i = 0; i < floor->count; i++)
        (void)send_all(floor->members[i]->fd, frame, frame_len);
}

// Takes one masked frame of up to 64 KiB from the input; the bytes it took, 0 for not yet.
static size_t take_frame(struct floor *floor, struct peer *peer)
{
    unsigned char *in = peer->input;
    if (peer->len < 6)
        return 0;
    size_t len = in[1] & 127;
    size_t head = 2;
    if (len == 126) {
        len = (size_t)in[2] << 8 | in[3];
        head = 4;
    }
    if (peer->len < head + 4 + len)
        return 0;
    unsigned char *text = in + head + 4;
    for (size_t i = 0; i < len; i++)
        text[i] ^= in[head + (i & 3)];
    if ((in[0] & 15) == 1)
        broadcast(floor, text, len);
    return head + 4 + len;
}

static bool take_input(struct floor *floor, struct peer *peer)
{
    if (peer->slot < 0) {
        bool whole = peer->len >= 4 && memcmp(peer->input + peer->len - 4, "\r\n\r\n", 4) == 0;
        return !whole || admit(floor, peer);
    }
    size_t taken;
    while ((taken = take_frame(floor, peer)) > 0) {
        peer->len -= taken;
        memmove(peer->input, peer->input + taken, peer->len);
    }
    return peer->len < INPUT_BYTES;
}

static void on_readable(struct floor *floor, struct peer *peer)
{
    ssize_t got = recv(peer->fd, peer->input + peer->len, INPUT_BYTES - peer->len, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got > 0)
        peer->len += (size_t)got;
    if (got <= 0 || !take_input(floor, peer))
        drop(floor, peer);
}

static void on_connection(struct floor *floor)
{
    int fd;
    while ((fd = accept4(floor->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct peer *peer = calloc(1, sizeof(*peer));
        if (peer == NULL)
            fail("calloc");
        peer->fd = fd;
        peer->slot = -1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
        if (epoll_ctl(floor->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            fail("epoll_ctl");
    }
}

static void open_listener(struct floor *floor, unsigned port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    floor->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)setsockopt(floor->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(floor->listener, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        listen(floor->listener, 4096) != 0)
        fail("listen");
    floor->epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(floor->epoll, EPOLL_CTL_ADD, floor->listener, &event) != 0)
        fail("epoll_ctl");
}

static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    static struct floor floor;
    if (argc != 3) {
        fprintf(stderr, "usage: bench_floor PORT ENTRY-BYTES\n");
        return 64;
    }
    floor.entry_bytes = strtoul(argv[2], NULL, 10);
    if (floor.entry_bytes < 64 || floor.entry_bytes > FRAME_MAX - 1)
        return 64;
    signal(SIGPIPE, SIG_IGN);
    raise_limit();
    open_listener(&floor, (unsigned)strtoul(argv[1], NULL, 10));
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(floor.epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                on_connection(&floor);
            else
                on_readable(&floor, events[i].data.ptr);
        }
    }
}
