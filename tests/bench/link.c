// SPDX-License-Identifier: MIT
// One WebSocket from the client's side: handshake, cutting frames, pongs, a buffer for sending.
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link.h"
#include "measure.h"

enum {
    INPUT_BYTES = 1 << 18, // one read at most, with what was left of the one before
    PER_ADDRESS = 5000,    // connections from one source address
    TEXT = 1,
    PING = 9,
    PONG = 10,
};

static void poll_for(struct link *link, bool out)
{
    if (link->polls_out == out)
        return;
    struct epoll_event event = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = link};
    if (epoll_ctl(link->epoll, EPOLL_CTL_MOD, link->fd, &event) != 0)
        measure_fail("epoll_ctl");
    link->polls_out = out;
}

void link_close(struct link *link)
{
    if (link->stage == LINK_CLOSED)
        return;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(link->fd);
    free(link->rest);
    free(link->out);
    *link = (struct link){.fd = -1};
}

static void end(struct link *link, int status, int retry_after_ms)
{
    const struct link_events *events = link->events;
    link_close(link);
    events->on_end(link, status, retry_after_ms);
}

// ---- Sending ----

static void append(struct link *link, const void *bytes, size_t len)
{
    if (link->out_len + len > link->out_cap) {
        link->out_cap = (link->out_len + len) * 2;
        link->out = realloc(link->out, link->out_cap);
        if (link->out == NULL)
            measure_fail("realloc");
    }
    memcpy(link->out + link->out_len, bytes, len);
    link->out_len += len;
}

// A masked frame; the mask is 0, which is legal and costs nothing.
static void append_frame(struct link *link, int opcode, const char *bytes, size_t len)
{
    unsigned char head[8] = {(unsigned char)(0x80 | opcode)};
    if (len < 126) {
        head[1] = (unsigned char)(0x80 | len);
        append(link, head, 6);
    } else {
        head[1] = 0x80 | 126;
        head[2] = (unsigned char)(len >> 8);
        head[3] = (unsigned char)len;
        append(link, head, 8);
    }
    append(link, bytes, len);
}

void link_send(struct link *link, const char *text, size_t len)
{
    append_frame(link, TEXT, text, len);
}

// An error is noticed by the next read.
void link_flush(struct link *link)
{
    if (link->stage < LINK_UPGRADING || link->out_len == 0)
        return;
    ssize_t sent = send(link->fd, link->out, link->out_len, MSG_NOSIGNAL);
    if (sent > 0) {
        link->out_len -= (size_t)sent;
        memmove(link->out, link->out + sent, link->out_len);
    }
    poll_for(link, link->out_len > 0 && (sent > 0 || errno == EAGAIN));
}

// ---- Receiving ----

static void on_frame(struct link *link, int opcode, char *payload, size_t len)
{
    if (opcode == PING) {
        append_frame(link, PONG, payload, len);
        link_flush(link);
    } else if (opcode == TEXT) {
        char next = payload[len]; // of the next frame, or beyond the input: there is room
        payload[len] = '\0';
        link->events->on_text(link, payload, len);
        payload[len] = next;
    }
}

// Takes the whole frames; returns how many bytes they were.
static size_t take_frames(struct link *link, char *bytes, size_t len)
{
    size_t at = 0;
    while (link->stage == LINK_OPEN && len - at >= 2) {
        const unsigned char *head = (unsigned char *)bytes + at;
        size_t header = measure_header_size(head);
        if (len - at < header || len - at - header < measure_payload_size(head))
            break;
        size_t size = measure_payload_size(head);
        on_frame(link, head[0] & 15, bytes + at + header, size);
        at += header + size;
    }
    return at;
}

// Takes the answer to the upgrade; returns its size, 0 when it is not whole yet.
static size_t take_answer(struct link *link, char *bytes, size_t len)
{
    char *blank = memmem(bytes, len, "\r\n\r\n", 4);
    if (blank == NULL)
        return 0;
    *blank = '\0';
    if (strncmp(bytes, "HTTP/1.1 101", 12) == 0) {
        link->stage = LINK_OPEN;
        return (size_t)(blank - bytes) + 4;
    }
    const char *after = strcasestr(bytes, "\r\nretry-after:");
    end(link, (int)text_number(bytes, "HTTP/1.1 "),
        after ? (int)strtol(after + 14, NULL, 10) * 1000 : 0);
    return 0;
}

static void keep_rest(struct link *link, const char *bytes, size_t len)
{
    free(link->rest);
    link->rest = NULL;
    link->rest_len = len;
    if (len == 0)
        return;
    link->rest = malloc(len);
    if (link->rest == NULL)
        measure_fail("malloc");
    memcpy(link->rest, bytes, len);
}

static void on_readable(struct link *link)
{
    static char input[INPUT_BYTES + 1];
    size_t len = link->rest_len;
    errno = 0;
    if (len >= INPUT_BYTES)
        measure_fail("a frame is larger than 256 KiB");
    if (len > 0)
        memcpy(input, link->rest, len);
    ssize_t more = recv(link->fd, input + len, INPUT_BYTES - len, 0);
    if (more < 0 && errno == EAGAIN)
        return;
    if (more <= 0) {
        end(link, 0, 0);
        return;
    }
    len += (size_t)more;
    size_t taken = link->stage == LINK_UPGRADING ? take_answer(link, input, len) : 0;
    if (link->stage == LINK_OPEN)
        taken += take_frames(link, input + taken, len - taken);
    if (link->stage != LINK_CLOSED)
        keep_rest(link, input + taken, len - taken);
}

void link_on_event(struct link *link, uint32_t events)
{
    if (link->stage == LINK_CONNECTING && events & EPOLLOUT)
        link->stage = LINK_UPGRADING;
    if (link->stage >= LINK_UPGRADING && events & EPOLLOUT)
        link_flush(link);
    if (link->stage != LINK_CLOSED && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        on_readable(link);
}

// ---- Opening ----

static bool begin_connect(struct link *link, int port, int number)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(number / PER_ADDRESS));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = link};
    link->polls_out = true;
    (void)setsockopt(link->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (bind(link->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
        return false;
    if (connect(link->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
        return false;
    return epoll_ctl(link->epoll, EPOLL_CTL_ADD, link->fd, &event) == 0;
}

bool link_open(struct link *link, int epoll, const struct link_events *events, int port, int number,
               const char *path)
{
    *link = (struct link){.stage = LINK_CONNECTING, .epoll = epoll, .events = events};
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (link->fd < 0 || !begin_connect(link, port, number)) {
        link_close(link);
        return false;
    }
    char request[512];
    int len = snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                       "Sec-WebSocket-Version: 13\r\n\r\n",
                       path, port);
    append(link, request, (size_t)len);
    return true;
}

// ---- Texts ----

long text_number(const char *text, const char *before)
{
    const char *found = strstr(text, before);
    return found ? strtol(found + strlen(before), NULL, 10) : -1;
}

bool text_position(const char *text, struct position *out)
{
    const char *found = strstr(text, "\"pos\":\"");
    return found && sscanf(found + 7, "%" SCNu64 "-%" SCNu64, &out->gen, &out->seq) == 2;
}

int position_compare(struct position a, struct position b)
{
    if (a.gen != b.gen)
        return a.gen < b.gen ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}
