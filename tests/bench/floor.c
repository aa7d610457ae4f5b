// SPDX-License-Identifier: MIT
// The floor: the least that a WebSocket server on epoll can do to hand every text to every member
// of a room. It is what servers are measured against, and no chat server: it keeps nothing, and
// waits for a member whose socket is full. `send` is one send(2) for each member and message,
// `batch` one for each member and turn of the loop, with all of the turn's messages.
#include <errno.h>
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

enum {
    TEXT_MAX = 16384,      // of a client's message
    BATCH_BYTES = 1 << 16, // of a room's frames that wait for the end of the turn
    EVENTS = 256,
    BUCKETS = 4096,
    ROOM_NAME_MAX = 64,
};

struct room;

// One connection. `room` is NULL before the handshake; `rest` is what came of a message that is not
// complete yet.
struct peer {
    int fd;
    int slot; // its place among the room's members
    struct room *room;
    unsigned char *rest;
    size_t rest_len;
};

struct room {
    char name[ROOM_NAME_MAX + 1];
    struct room *next;         // in its bucket
    struct room *next_waiting; // in the list of rooms with a batch
    struct peer **members;
    int count;
    int capacity;
    unsigned char *batch;
    size_t batch_len;
};

struct floor {
    int epoll;
    int listener;
    bool batching;
    struct room *rooms[BUCKETS];
    struct room *waiting; // rooms with a batch
    unsigned char input[2 * TEXT_MAX];
};

// The answer to one key only, the one of RFC 6455 section 1.3, which the load generator sends.
static const char upgrade_answer[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

// The memory, or the end of the program: the floor has no way to go on without.
static void *must(void *memory)
{
    if (memory == NULL)
        fail("memory");
    return memory;
}

// ---- Rooms ----

static struct room **find_bucket(struct floor *floor, const char *name, size_t len)
{
    uint32_t hash = 2166136261u; // FNV-1a
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    return &floor->rooms[hash % BUCKETS];
}

static struct room *open_room(struct floor *floor, const char *name, size_t len)
{
    struct room **bucket = find_bucket(floor, name, len);
    for (struct room *room = *bucket; room != NULL; room = room->next)
        if (strlen(room->name) == len && memcmp(room->name, name, len) == 0)
            return room;
    struct room *room = must(calloc(1, sizeof(*room)));
    memcpy(room->name, name, len);
    room->next = *bucket;
    return *bucket = room;
}

static void join(struct room *room, struct peer *peer)
{
    if (room->count == room->capacity) {
        room->capacity = room->capacity ? room->capacity * 2 : 4;
        room->members =
            must(realloc(room->members, (size_t)room->capacity * sizeof(*room->members)));
    }
    peer->room = room;
    peer->slot = room->count;
    room->members[room->count++] = peer;
}

static void leave(struct peer *peer)
{
    struct room *room = peer->room;
    if (room == NULL)
        return;
    struct peer *last = room->members[--room->count];
    room->members[peer->slot] = last;
    last->slot = peer->slot;
}

// ---- Sending ----

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

// To every member. One that is gone is noticed when its socket is read.
static void send_to_room(const struct room *room, const void *bytes, size_t len)
{
    for (int i = 0; i < room->count; i++)
        (void)send_all(room->members[i]->fd, bytes, len);
}

static void send_batch(struct room *room)
{
    send_to_room(room, room->batch, room->batch_len);
    room->batch_len = 0;
}

static void send_batches(struct floor *floor)
{
    for (struct room *room; (room = floor->waiting) != NULL;) {
        floor->waiting = room->next_waiting;
        send_batch(room);
    }
}

static void add_to_batch(struct floor *floor, struct room *room, const void *frame, size_t len)
{
    if (room->batch == NULL)
        room->batch = must(malloc(BATCH_BYTES));
    if (room->batch_len + len > BATCH_BYTES) {
        send_to_room(room, room->batch, room->batch_len);
        room->batch_len = 0;
    } else if (room->batch_len == 0) {
        room->next_waiting = floor->waiting;
        floor->waiting = room;
    }
    memcpy(room->batch + room->batch_len, frame, len);
    room->batch_len += len;
}

// Writes the header of a server's text frame right before the text; the header's bytes.
static size_t put_header(unsigned char *text, size_t len)
{
    if (len < 126) {
        text[-2] = 0x81;
        text[-1] = (unsigned char)len;
        return 2;
    }
    text[-4] = 0x81;
    text[-3] = 126;
    text[-2] = (unsigned char)(len >> 8);
    text[-1] = (unsigned char)len;
    return 4;
}

// The client's header, which has 6 bytes or more, is overwritten by the server's.
static void broadcast(struct floor *floor, struct room *room, unsigned char *text, size_t len)
{
    size_t head = put_header(text, len);
    if (floor->batching)
        add_to_batch(floor, room, text - head, head + len);
    else
        send_to_room(room, text - head, head + len);
}

// ---- Receiving ----

// Takes one masked frame from the input; the bytes it took, 0 for not yet, more than `in_len` for
// one that is too long.
static size_t take_frame(struct floor *floor, struct room *room, unsigned char *in, size_t in_len)
{
    if (in_len < 6)
        return 0;
    size_t len = in[1] & 127;
    size_t head = 2;
    if (len == 126) {
        len = (size_t)in[2] << 8 | in[3];
        head = 4;
    }
    if (len == 127 || len > TEXT_MAX - 8)
        return in_len + 1;
    if (in_len < head + 4 + len)
        return 0;
    unsigned opcode = in[0] & 15;
    unsigned char *text = in + head + 4;
    for (size_t i = 0; i < len; i++)
        text[i] ^= in[head + (i & 3)];
    if (opcode == 1)
        broadcast(floor, room, text, len);
    return head + 4 + len;
}

// The room's name in the request's target: the value of `room=`.
static struct room *find_requested(struct floor *floor, char *request)
{
    char *name = strstr(request, "room=");
    if (name == NULL)
        return NULL;
    name += sizeof("room=") - 1;
    size_t len = strcspn(name, "& \r\n");
    return len <= ROOM_NAME_MAX ? open_room(floor, name, len) : NULL;
}

// The bytes of the handshake, 0 for not yet, more than `len` for a wrong one.
static size_t take_handshake(struct floor *floor, struct peer *peer, unsigned char *in, size_t len)
{
    if (len < 4 || memcmp(in + len - 4, "\r\n\r\n", 4) != 0)
        return 0;
    in[len - 1] = '\0';
    struct room *room = find_requested(floor, (char *)in);
    if (room == NULL || !send_all(peer->fd, upgrade_answer, sizeof(upgrade_answer) - 1))
        return len + 1;
    join(room, peer);
    return len;
}

static size_t take_one(struct floor *floor, struct peer *peer, unsigned char *in, size_t len)
{
    return peer->room == NULL ? take_handshake(floor, peer, in, len)
                              : take_frame(floor, peer->room, in, len);
}

static bool keep_rest(struct peer *peer, const unsigned char *in, size_t len)
{
    free(peer->rest);
    peer->rest = NULL;
    peer->rest_len = len;
    if (len == 0)
        return true;
    if (len > TEXT_MAX)
        return false;
    peer->rest = must(malloc(len));
    memcpy(peer->rest, in, len);
    return true;
}

static bool take_input(struct floor *floor, struct peer *peer, size_t len)
{
    size_t at = 0;
    for (size_t taken; (taken = take_one(floor, peer, floor->input + at, len - at)) > 0;
         at += taken)
        if (taken > len - at)
            return false;
    return keep_rest(peer, floor->input + at, len - at);
}

static void drop(struct peer *peer)
{
    leave(peer);
    close(peer->fd);
    free(peer->rest);
    free(peer);
}

static void on_readable(struct floor *floor, struct peer *peer)
{
    if (peer->rest_len > 0)
        memcpy(floor->input, peer->rest, peer->rest_len);
    ssize_t got = recv(peer->fd, floor->input + peer->rest_len, TEXT_MAX, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0 || !take_input(floor, peer, peer->rest_len + (size_t)got))
        drop(peer);
}

static void on_connection(struct floor *floor)
{
    int fd;
    while ((fd = accept4(floor->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct peer *peer = must(calloc(1, sizeof(*peer)));
        peer->fd = fd;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
        if (epoll_ctl(floor->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            fail("epoll_ctl");
    }
}

// ---- The program ----

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

static void turn(struct floor *floor)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(floor->epoll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL)
            on_connection(floor);
        else
            on_readable(floor, events[i].data.ptr);
    }
    send_batches(floor);
}

int main(int argc, char **argv)
{
    static struct floor floor;
    if (argc != 3 || (strcmp(argv[2], "send") != 0 && strcmp(argv[2], "batch") != 0)) {
        fprintf(stderr, "usage: bench_floor PORT send|batch\n");
        return 64;
    }
    floor.batching = strcmp(argv[2], "batch") == 0;
    signal(SIGPIPE, SIG_IGN);
    raise_limit();
    open_listener(&floor, (unsigned)strtoul(argv[1], NULL, 10));
    for (;;)
        turn(&floor);
}
