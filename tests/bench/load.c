// SPDX-License-Identifier: MIT
// The load driver: many members of one room, one publisher, in one epoll loop of plain sockets.
// Every member's bytes are compared with what the first one to get there received, so "all
// messages, in the same order, at every member" is checked and not sampled. Prints one JSON line.
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "measure.h"

enum {
    INPUT_BYTES = 1 << 18, // one read at most
    HELLO_BYTES = 4096,    // what comes before the room's messages
    PER_ADDRESS = 5000,    // connections from one source address
    CONNECTING_MAX = 128,  // handshakes at once
    STALL_MS = 30000,      // without any progress the run has failed
    TEXT = 1,
};

enum stage { STAGE_UPGRADING, STAGE_JOINING, STAGE_MEMBER };

struct options {
    int port;
    int pid; // of the server
    int connections;
    int window;      // messages in flight at most
    double rate;     // messages a second, 0: as the window allows
    long messages;   // to publish in all
    int content_len; // bytes of each message's content
};

// One connection. As a member: `offset` is how far it is in the common stream.
struct peer {
    int fd;
    enum stage stage;
    bool publisher;
    size_t frame_left;      // bytes of the current frame that are still to come
    unsigned char head[10]; // a header that is not complete yet
    size_t head_len;
    long messages; // entries received
    size_t offset;
    char *hello; // until it is a member
    size_t hello_len;
};

struct load {
    struct options options;
    int epoll;
    struct peer *peers; // the members, then the publisher
    int opened;
    int members; // that have joined
    long sent;
    long deliveries;
    int64_t *sent_us; // when each message was sent
    char *stream;     // what members receive, as far as the foremost one has read
    size_t stream_len;
    size_t stream_cap;
    struct histogram latency;
    int64_t progress_us; // the last time that something arrived
};

static const char key[] = "dGhlIHNhbXBsZSBub25jZQ=="; // RFC 6455 section 1.3

// ---- Receiving ----

// Compares what a member received with the common stream, or extends it if this one is foremost.
static void compare(struct load *load, struct peer *peer, const char *bytes, size_t len)
{
    size_t known = load->stream_len - peer->offset;
    size_t same = len < known ? len : known;
    errno = 0;
    if (memcmp(load->stream + peer->offset, bytes, same) != 0)
        measure_fail("two members received different bytes");
    if (len > same) {
        size_t more = len - same;
        while (load->stream_len + more > load->stream_cap) {
            load->stream_cap = load->stream_cap ? load->stream_cap * 2 : 1 << 20;
            load->stream = realloc(load->stream, load->stream_cap);
            if (load->stream == NULL)
                measure_fail("realloc");
        }
        memcpy(load->stream + load->stream_len, bytes + same, more);
        load->stream_len += more;
    }
    peer->offset += len;
}

// Walks the frames in the bytes; returns how many text frames ended in them.
static long count_frames(struct peer *peer, const char *bytes, size_t len)
{
    long texts = 0;
    size_t at = 0;
    while (at < len) {
        if (peer->frame_left == 0) {
            peer->head[peer->head_len++] = (unsigned char)bytes[at++];
            if (peer->head_len < 2 || peer->head_len < measure_header_size(peer->head))
                continue;
            peer->frame_left = measure_payload_size(peer->head);
            peer->head_len = 0;
        }
        size_t step = len - at < peer->frame_left ? len - at : peer->frame_left;
        peer->frame_left -= step;
        at += step;
        if (peer->frame_left == 0)
            texts += (peer->head[0] & 15) == TEXT;
    }
    return texts;
}

static void on_messages(struct load *load, struct peer *peer, const char *bytes, size_t len)
{
    int64_t now = measure_now_us();
    load->progress_us = now;
    if (peer->publisher)
        return;
    compare(load, peer, bytes, len);
    long count = count_frames(peer, bytes, len);
    for (long i = 0; i < count; i++)
        histogram_add(&load->latency, now - load->sent_us[peer->messages + i], 1);
    peer->messages += count;
    load->deliveries += count;
}

// Finds the end of the upgrade's answer, then the `joined` of inbox and room.
static void on_hello(struct load *load, struct peer *peer, const char *bytes, size_t len)
{
    errno = 0;
    if (peer->hello_len + len >= HELLO_BYTES)
        measure_fail("more than 4 KiB came before the room was joined");
    memcpy(peer->hello + peer->hello_len, bytes, len);
    peer->hello_len += len;
    if (peer->stage == STAGE_UPGRADING) {
        char *end = memmem(peer->hello, peer->hello_len, "\r\n\r\n", 4);
        if (end == NULL)
            return;
        if (memcmp(peer->hello, "HTTP/1.1 101", 12) != 0)
            measure_fail("the upgrade was refused");
        peer->stage = STAGE_JOINING;
    }
    static const char inbox[] = "\"inbox\":true";
    static const char room[] = "\"room\":\"bench\"";
    if (memmem(peer->hello, peer->hello_len, inbox, sizeof(inbox) - 1) == NULL ||
        memmem(peer->hello, peer->hello_len, room, sizeof(room) - 1) == NULL ||
        peer->hello[peer->hello_len - 1] != '}')
        return;
    peer->stage = STAGE_MEMBER;
    free(peer->hello);
    peer->hello = NULL;
    load->members++;
}

static void on_readable(struct load *load, struct peer *peer)
{
    static char input[INPUT_BYTES];
    ssize_t len = recv(peer->fd, input, sizeof(input), 0);
    if (len < 0 && errno == EAGAIN)
        return;
    if (len <= 0)
        measure_fail("the server closed a connection");
    if (peer->stage == STAGE_MEMBER)
        on_messages(load, peer, input, (size_t)len);
    else
        on_hello(load, peer, input, (size_t)len);
}

static void turn(struct load *load, int wait_ms)
{
    struct epoll_event events[512];
    int count = epoll_wait(load->epoll, events, 512, wait_ms);
    for (int i = 0; i < count; i++)
        on_readable(load, events[i].data.ptr);
    if (measure_now_us() - load->progress_us > (int64_t)STALL_MS * 1000) {
        errno = 0;
        measure_fail("nothing has arrived for 30 seconds");
    }
}

// ---- Connecting ----

static void upgrade(struct load *load, struct peer *peer)
{
    char request[512];
    int len = snprintf(request, sizeof(request),
                       "GET /ws?room=bench HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                       "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
                       load->options.port, key);
    if (send(peer->fd, request, (size_t)len, MSG_NOSIGNAL) != len)
        measure_fail("send");
}

static void open_peer(struct load *load, int index)
{
    struct peer *peer = &load->peers[index];
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)load->options.port)};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(index / PER_ADDRESS));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->fd = socket(AF_INET, SOCK_STREAM, 0);
    peer->publisher = index == load->options.connections;
    peer->hello = malloc(HELLO_BYTES);
    if (peer->fd < 0 || peer->hello == NULL)
        measure_fail("socket");
    (void)setsockopt(peer->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
    (void)setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (bind(peer->fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
        connect(peer->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        measure_fail("connect");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, peer->fd, &event) != 0)
        measure_fail("epoll_ctl");
    upgrade(load, peer);
}

static void open_all(struct load *load)
{
    int total = load->options.connections + 1;
    load->peers = calloc((size_t)total, sizeof(*load->peers));
    if (load->peers == NULL)
        measure_fail("calloc");
    while (load->members < total) {
        while (load->opened < total && load->opened - load->members < CONNECTING_MAX)
            open_peer(load, load->opened++);
        load->progress_us = measure_now_us();
        turn(load, 1000);
    }
}

// ---- Publishing ----

// A masked text frame; the mask is 0, which is legal and costs nothing.
static void publish(struct load *load)
{
    unsigned char frame[8192] = {0x81};
    char *text = (char *)frame + 8;
    int len = snprintf(text, sizeof(frame) - 8,
                       "{\"type\":\"message\",\"room\":\"bench\",\"content\":\"%0*ld\"}",
                       load->options.content_len, load->sent);
    frame[1] = 0x80 | 126;
    frame[2] = (unsigned char)(len >> 8);
    frame[3] = (unsigned char)len;
    load->sent_us[load->sent++] = measure_now_us();
    int fd = load->peers[load->options.connections].fd;
    if (send(fd, frame, (size_t)len + 8, MSG_NOSIGNAL) != len + 8)
        measure_fail("send");
}

// Publishes what window and pace allow now; the milliseconds until the pace allows the next one.
static int publish_due(struct load *load, int64_t begin_us)
{
    const struct options *options = &load->options;
    while (load->sent < options->messages) {
        long complete = load->deliveries / options->connections;
        if (load->sent - complete >= options->window)
            return 1000;
        if (options->rate > 0) {
            int64_t due_us = begin_us + (int64_t)((double)load->sent * 1e6 / options->rate);
            int64_t wait_us = due_us - measure_now_us();
            if (wait_us > 0)
                return (int)(wait_us / 1000);
        }
        publish(load);
    }
    return 1000;
}

static void publish_all(struct load *load)
{
    int64_t begin_us = measure_now_us();
    long expected = load->options.messages * load->options.connections;
    load->progress_us = begin_us;
    while (load->deliveries < expected)
        turn(load, publish_due(load, begin_us));
}

static void check_members(const struct load *load)
{
    errno = 0;
    for (int i = 0; i < load->options.connections; i++)
        if (load->peers[i].offset != load->stream_len ||
            load->peers[i].messages != load->options.messages)
            measure_fail("a member received too little or too much");
}

// ---- The program ----

static void parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},        {"pid", required_argument, NULL, 's'},
        {"connections", required_argument, NULL, 'c'}, {"window", required_argument, NULL, 'w'},
        {"rate", required_argument, NULL, 'r'},        {"messages", required_argument, NULL, 'm'},
        {"content", required_argument, NULL, 'b'},     {0}};
    double values[128] = {['c'] = 100, ['w'] = 1, ['m'] = 1000, ['b'] = 32};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
        values[option & 127] = optarg ? strtod(optarg, NULL) : 1;
    *options = (struct options){.port = (int)values['p'],
                                .pid = (int)values['s'],
                                .connections = (int)values['c'],
                                .window = (int)values['w'],
                                .rate = values['r'],
                                .messages = (long)values['m'],
                                .content_len = (int)values['b']};
    if (values['?'] != 0 || optind < argc || options->port < 1 || options->pid < 1 ||
        options->connections < 1 || options->window < 1 || options->content_len < 1 ||
        options->content_len > 8000) {
        fprintf(stderr, "usage: bench_load --port N --pid N [--connections N] [--window N] "
                        "[--rate PER-SECOND] [--messages N] [--content BYTES]\n");
        exit(64);
    }
}

static void print_result(const struct load *load, int64_t rss_bytes, int64_t cpu_us, int64_t us)
{
    const struct options *options = &load->options;
    double deliveries = (double)load->deliveries;
    printf("{\"connections\":%d,\"window\":%d,\"rate\":%g,\"messages\":%ld,\"deliveries\":%ld,"
           "\"seconds\":%.3f,\"deliveries_per_second\":%.0f,\"server_cpu_us_per_delivery\":%.4f,"
           "\"server_cpu_share\":%.3f,\"rss_bytes_per_connection\":%.0f,\"frame_bytes\":%.1f,"
           "\"latency_us_p50\":%.0f,\"latency_us_p99\":%.0f,\"same_order_everywhere\":true}\n",
           options->connections, options->window, options->rate, options->messages,
           load->deliveries, (double)us / 1e6, us ? deliveries * 1e6 / (double)us : 0,
           deliveries > 0 ? (double)cpu_us / deliveries : 0, us ? (double)cpu_us / (double)us : 0,
           (double)rss_bytes / (options->connections + 1),
           options->messages ? (double)load->stream_len / (double)options->messages : 0,
           histogram_at(&load->latency, 0.5), histogram_at(&load->latency, 0.99));
}

int main(int argc, char **argv)
{
    static struct load load;
    parse(argc, argv, &load.options);
    measure_raise_limits();
    load.epoll = epoll_create1(0);
    load.sent_us = calloc((size_t)load.options.messages + 1, sizeof(*load.sent_us));
    if (load.epoll < 0 || load.sent_us == NULL)
        measure_fail("epoll_create1");
    int64_t rss_bytes = measure_rss_bytes(load.options.pid);
    open_all(&load);
    rss_bytes = measure_rss_bytes(load.options.pid) - rss_bytes;
    int64_t begin_us = measure_now_us();
    int64_t cpu_us = measure_cpu_us(load.options.pid);
    publish_all(&load);
    cpu_us = measure_cpu_us(load.options.pid) - cpu_us;
    int64_t us = measure_now_us() - begin_us;
    check_members(&load);
    print_result(&load, rss_bytes, cpu_us, us);
    return 0;
}
