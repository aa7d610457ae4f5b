// SPDX-License-Identifier: MIT
// Connections from the client's side: handshake, cutting frames, pongs, a buffer for sending.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "chatnode/buf.h"
#include "link.h"

enum {
    INPUT_BYTES = CN_LINK_FRAME_MAX, // one read at most, with what was left of the one before
    EVENTS_MAX = 512,
};

static void poll_for(struct cn_link *link, bool out)
{
    if (link->polls_out == out)
        return;
    struct epoll_event event = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = link};
    link->polls_out = out;
    (void)epoll_ctl(link->links->epoll, EPOLL_CTL_MOD, link->fd, &event); // a known descriptor
}

void cn_link_close(struct cn_link *link)
{
    if (link->stage == CN_LINK_CLOSED)
        return;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(link->fd);
    free(link->rest);
    free(link->out);
    *link = (struct cn_link){.fd = -1};
}

void cn_link_shut(struct cn_link *link)
{
    (void)shutdown(link->fd, SHUT_WR); // fails when the other side was faster: on_end comes
}

static void end(struct cn_link *link, int status, int retry_after_ms)
{
    const struct cn_link_events *events = link->events;
    cn_link_close(link);
    events->on_end(link, status, retry_after_ms);
}

// A load generator without memory has nothing left to measure.
static void *grow(void *bytes, size_t size)
{
    void *grown = realloc(bytes, size);
    CN_ASSERT(grown != NULL);
    return grown;
}

// ---- Sending ----

static void reserve(struct cn_link *link, size_t len)
{
    if (link->out_len + len <= link->out_cap)
        return;
    link->out_cap = (link->out_len + len) * 2;
    link->out = grow(link->out, link->out_cap);
}

void cn_link_send_raw(struct cn_link *link, const void *bytes, size_t len)
{
    reserve(link, len);
    memcpy(link->out + link->out_len, bytes, len);
    link->out_len += len;
}

size_t cn_ws_write(int opcode, const char *payload, size_t len, char *out)
{
    size_t digits = len < 126 ? 0 : len < 65536 ? 2 : 8;
    size_t header = 2 + digits + 4;
    memset(out, 0, header);
    out[0] = (char)(0x80 | opcode);
    out[1] = (char)(0x80 | (digits == 0 ? len : digits == 2 ? 126 : 127));
    for (size_t i = 0; i < digits; i++)
        out[2 + i] = (char)((uint64_t)len >> (8 * (digits - 1 - i)));
    if (len > 0)
        memcpy(out + header, payload, len);
    return header + len;
}

static void send_frame(struct cn_link *link, int opcode, const char *payload, size_t len)
{
    reserve(link, len + CN_WS_HEADER_MAX);
    link->out_len += cn_ws_write(opcode, payload, len, link->out + link->out_len);
}

void cn_link_send(struct cn_link *link, const char *text, size_t len)
{
    if (link->websocket)
        send_frame(link, CN_WS_TEXT, text, len);
    else
        cn_link_send_raw(link, text, len);
}

// An error is noticed by the next read.
void cn_link_flush(struct cn_link *link)
{
    if (link->stage < CN_LINK_UPGRADING || link->out_len == 0)
        return;
    ssize_t sent = send(link->fd, link->out, link->out_len, MSG_NOSIGNAL);
    if (sent > 0) {
        link->out_len -= (size_t)sent;
        memmove(link->out, link->out + sent, link->out_len);
    }
    poll_for(link, link->out_len > 0 && (sent > 0 || errno == EAGAIN));
}

// ---- Receiving ----

bool cn_ws_cut(char *bytes, size_t len, struct cn_ws_frame *out)
{
    if (len < 2)
        return false;
    const unsigned char *head = (unsigned char *)bytes;
    size_t payload = head[1] & 127;
    size_t digits = payload < 126 ? 0 : payload == 126 ? 2 : 8;
    size_t header = 2 + digits;
    if (len < header)
        return false;
    for (size_t i = 0, all = digits; i < all; i++)
        payload = (i ? payload << 8 : 0) | head[2 + i];
    if (len - header < payload)
        return false;
    bool is_last = head[0] >> 7;
    *out = (struct cn_ws_frame){is_last ? head[0] & 15 : CN_WS_PIECE, header + payload,
                                bytes + header, payload};
    return true;
}

static void on_frame(struct cn_link *link, const struct cn_ws_frame *frame)
{
    char *payload = frame->payload;
    if (frame->opcode == CN_WS_PING) {
        send_frame(link, CN_WS_PONG, payload, frame->payload_len);
        cn_link_flush(link);
    } else if (frame->opcode == CN_WS_TEXT) {
        char next = payload[frame->payload_len]; // of the next frame, or beyond: there is room
        payload[frame->payload_len] = '\0';
        link->events->on_text(link, payload, frame->payload_len);
        payload[frame->payload_len] = next;
    }
}

// Takes the whole frames; returns how many bytes they were.
static size_t take_frames(struct cn_link *link, char *bytes, size_t len)
{
    size_t at = 0;
    struct cn_ws_frame frame;
    while (link->stage == CN_LINK_OPEN && cn_ws_cut(bytes + at, len - at, &frame)) {
        on_frame(link, &frame);
        at += frame.size;
    }
    return at;
}

static void open_up(struct cn_link *link)
{
    link->stage = CN_LINK_OPEN;
    if (link->events->on_open != NULL)
        link->events->on_open(link);
}

// The wait that a refusal asks for, an hour at most. 0: none, or a date (RFC 9110 section 10.2.3).
static int read_retry_after_ms(const char *answer)
{
    static const char name[] = "\r\nretry-after:";
    const char *found = strcasestr(answer, name);
    long seconds = found ? strtol(found + sizeof(name) - 1, NULL, 10) : 0;
    return seconds < 0 ? 0 : seconds > 3600 ? 3600 * 1000 : (int)seconds * 1000;
}

// Takes the answer to the upgrade; returns its size, 0 when it is not whole yet.
static size_t take_answer(struct cn_link *link, char *bytes, size_t len)
{
    char *blank = memmem(bytes, len, "\r\n\r\n", 4);
    if (blank == NULL)
        return 0;
    *blank = '\0';
    size_t size = (size_t)(blank - bytes) + 4;
    if (strncmp(bytes, "HTTP/1.1 101", 12) == 0) {
        open_up(link);
        return size;
    }
    bool is_http = strncmp(bytes, "HTTP/1.", 7) == 0 && strlen(bytes) > 9;
    end(link, is_http ? (int)strtol(bytes + 9, NULL, 10) : 0, read_retry_after_ms(bytes));
    return 0;
}

static void keep_rest(struct cn_link *link, const char *bytes, size_t len)
{
    if (len == 0) {
        free(link->rest);
        link->rest = NULL;
    } else {
        link->rest = grow(link->rest, len);
        memcpy(link->rest, bytes, len);
    }
    link->rest_len = len;
}

static size_t take(struct cn_link *link, char *input, size_t len)
{
    size_t taken = link->stage == CN_LINK_UPGRADING ? take_answer(link, input, len) : 0;
    if (link->stage != CN_LINK_OPEN)
        return taken;
    if (link->events->on_bytes != NULL)
        return taken + link->events->on_bytes(link, input + taken, len - taken);
    return taken + take_frames(link, input + taken, len - taken);
}

static void on_readable(struct cn_link *link)
{
    char *input = link->links->input;
    size_t len = link->rest_len;
    if (len > 0)
        memcpy(input, link->rest, len);
    // Something larger than any frame that is allowed: no different from a broken server.
    ssize_t more = len < INPUT_BYTES ? recv(link->fd, input + len, INPUT_BYTES - len, 0) : 0;
    if (more < 0 && errno == EAGAIN)
        return;
    if (more <= 0) {
        end(link, 0, 0);
        return;
    }
    len += (size_t)more;
    size_t taken = take(link, input, len);
    if (link->stage != CN_LINK_CLOSED && (taken < len || link->rest_len > 0))
        keep_rest(link, input + taken, len - taken);
}

static void on_connected(struct cn_link *link)
{
    link->stage = CN_LINK_UPGRADING;
    if (!link->websocket)
        open_up(link);
}

static void on_event(struct cn_link *link, uint32_t events)
{
    if (link->stage == CN_LINK_CONNECTING && events & EPOLLOUT && !(events & EPOLLERR))
        on_connected(link);
    if (link->stage >= CN_LINK_UPGRADING && events & EPOLLOUT) {
        cn_link_flush(link);
        poll_for(link, link->out_len > 0);
    }
    if (link->stage != CN_LINK_CLOSED && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        on_readable(link);
}

// ---- All links ----

bool cn_links_init(struct cn_links *links)
{
    *links = (struct cn_links){.epoll = epoll_create1(EPOLL_CLOEXEC)};
    links->input = malloc(INPUT_BYTES + 1);
    if (links->epoll >= 0 && links->input != NULL)
        return true;
    cn_links_fini(links);
    return false;
}

void cn_links_fini(struct cn_links *links)
{
    if (links->epoll >= 0)
        close(links->epoll);
    free(links->input);
    *links = (struct cn_links){.epoll = -1};
}

bool cn_links_watch(struct cn_links *links, int eventfd)
{
    // Edge-triggered: it need not be emptied.
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    return epoll_ctl(links->epoll, EPOLL_CTL_ADD, eventfd, &event) == 0;
}

int cn_links_turn_us(struct cn_links *links, int64_t wait_us)
{
    struct epoll_event events[EVENTS_MAX];
    const struct timespec wait = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
    int count = epoll_pwait2(links->epoll, events, EVENTS_MAX, &wait, NULL);
    if (count < 0 && errno == ENOSYS) // Linux before 5.11
        count = epoll_wait(links->epoll, events, EVENTS_MAX, (int)((wait_us + 999) / 1000));
    links->woken = false;
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr != NULL)
            on_event(events[i].data.ptr, events[i].events);
        else
            links->woken = true;
    return count < 0 ? 0 : count;
}

int cn_links_turn(struct cn_links *links, int wait_ms)
{
    return cn_links_turn_us(links, (int64_t)wait_ms * 1000);
}

// ---- Opening ----

static bool bind_source(const struct cn_link *link, int source)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)source);
    (void)setsockopt(link->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
    return bind(link->fd, (struct sockaddr *)&from, sizeof(from)) == 0;
}

static bool begin_connect(struct cn_link *link, const struct cn_endpoint *endpoint, int source)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = link};
    const struct sockaddr *to = (const struct sockaddr *)&endpoint->address;
    link->polls_out = true;
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (source > 0 && endpoint->loopback && !bind_source(link, source))
        return false;
    if (connect(link->fd, to, endpoint->address_len) != 0 && errno != EINPROGRESS)
        return false;
    return epoll_ctl(link->links->epoll, EPOLL_CTL_ADD, link->fd, &event) == 0;
}

static void ask(struct cn_link *link, const struct cn_endpoint *endpoint, const char *path)
{
    // The key is that of RFC 6455 section 1.3: what it protects from does not exist here.
    char request[CN_LINK_PATH_BYTES + CN_LINK_HOST_BYTES + 256];
    int len = snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                       "Sec-WebSocket-Version: 13\r\n\r\n",
                       path ? path : endpoint->path, endpoint->host);
    CN_ASSERT(len > 0 && (size_t)len < sizeof(request));
    cn_link_send_raw(link, request, (size_t)len);
}

bool cn_link_open(struct cn_link *link, struct cn_links *links, const struct cn_link_events *events,
                  const struct cn_endpoint *endpoint, int source, const char *path)
{
    *link = (struct cn_link){.stage = CN_LINK_CONNECTING,
                             .links = links,
                             .events = events,
                             .websocket = endpoint->websocket};
    link->fd = socket(endpoint->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) {
        *link = (struct cn_link){.fd = -1};
        return false;
    }
    if (!begin_connect(link, endpoint, source)) {
        cn_link_close(link);
        return false;
    }
    if (link->websocket)
        ask(link, endpoint, path);
    return true;
}

// ---- Texts ----

long cn_text_number(const char *text, const char *before)
{
    const char *found = strstr(text, before);
    return found ? strtol(found + strlen(before), NULL, 10) : -1;
}
