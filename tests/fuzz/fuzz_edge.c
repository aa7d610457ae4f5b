// SPDX-License-Identifier: MIT
// Fuzz target: what a client writes, through libwebsockets and our callbacks, on a socket pair. One
// loop with its thread, context and hub serves all inputs; each has a connection of its own. The
// first byte says what the rest is, the second how it is sent:
//
//   h i   bytes of HTTP, to the public or the internal listener
//   w e   bytes of frames, after a handshake for /ws or /echo
//   W E   the same as rows with byte 30 between them: the first byte of a frame, then its payload
//
// The second byte: 0: all at once, else in pieces of so many bytes, each read before the next one
// comes. Whatever comes, the answer is well-formed and the connection ends when the client ends it.
#include "fuzz/fuzz.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chatnode/clock.h"
#include "chatnode/hash.h"
#include "chatnode/log.h"
#include "chatnode/name.h"
#include "edge_private.h"

enum { PIECES_MAX = 64, ROWS_MAX = 64, PATIENCE_MS = 15000, ANSWER_MAX_BYTES = 1 << 24 };

#define ROW_MARK '\x1e'
#define UPGRADE(path)                                                                              \
    "GET " path " HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"

static struct cn_reactor *reactor;
static struct cn_hub *hub;
static struct cn_edge *edge;
static struct cn_config config;

// ---- The node, without its listeners ----

static void on_wake(void *arg)
{
    (void)arg;
    cn_hub_turn(hub);
}

static void on_fatal(void *arg, const char *why)
{
    (void)arg;
    (void)why;
    abort();
}

static void load_config(void)
{
    static char *argv[] = {"chatnode",
                           "--conformance-echo",
                           "--loops=1",
                           "--accept-rate=0",
                           "--max-message=4096",
                           "--history-ttl=1",
                           "--dedupe-ttl=1",
                           "--outbox=4096",
                           "--history-messages=4",
                           "--api-key=key",
                           NULL};
    const struct cn_config_sources sources = {CN_COUNT(argv) - 1, argv, NULL};
    enum cn_config_action action;
    struct cn_buf report;
    cn_buf_init(&report, 65536);
    CN_ASSERT(cn_config_load(&config, &sources, &action, &report) == CN_OK);
    cn_buf_fini(&report);
}

static void open_node(void)
{
    const char *why = NULL;
    if (edge)
        return;
    load_config();
    cn_log_set_level(CN_LOG_ERROR);
    CN_ASSERT(cn_log_open("/dev/null", CN_LOG_TEXT) == CN_OK);
    CN_ASSERT(cn_metrics_start(cn_metric_table(), CN_METRIC_ROWS) == CN_OK);
    CN_ASSERT(cn_metrics_join() == CN_OK);
    CN_ASSERT(cn_reactor_new(&reactor, on_wake, NULL) == CN_OK);
    const struct cn_hub_parts hub_parts = {
        .config = &config, .reactor = reactor, .node_name = "n", .loops = 1, .on_fatal = on_fatal};
    CN_ASSERT(cn_hub_new(&hub_parts, &hub, &why) == CN_OK);
    const struct cn_edge_parts edge_parts = {&config, reactor, hub};
    CN_ASSERT(cn_edge_new(&edge_parts, &edge) == CN_OK);
    lws_set_log_level(0, NULL);
    CN_ASSERT(cn_edge_loop_start(&edge->loops[0]) == CN_OK);
    CN_ASSERT(cn_hub_start(hub) == CN_OK);
}

// ---- A client ----

struct client {
    int fd;
    struct cn_buf answer;
    bool has_ended;
    int64_t end_ms;
};

// Main does what the loop asks of it; the client reads what there is.
static void turn(struct client *client)
{
    char bytes[16384];
    cn_reactor_turn(reactor, 0);
    ssize_t len = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (len > 0 && client->answer.len < ANSWER_MAX_BYTES / 2)
        CN_ASSERT(!cn_buf_append(&client->answer, bytes, (size_t)len));
    client->has_ended |= len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR);
    if (len <= 0)
        sched_yield();
    CN_ASSERT(cn_clock_ms() < client->end_ms); // else it hangs
}

static void send_piece(struct client *client, const char *bytes, size_t len)
{
    size_t sent = 0;
    while (sent < len && !client->has_ended) {
        ssize_t n = send(client->fd, bytes + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        else if (errno != EAGAIN)
            return;
        else
            turn(client);
    }
}

static void wait_until_read(struct client *client)
{
    int left = 1;
    while (!client->has_ended && ioctl(client->fd, SIOCOUTQ, &left) == 0 && left > 0)
        turn(client);
}

static void send_all(struct client *client, struct cn_str bytes, size_t piece)
{
    for (int i = 0; piece > 0 && i < PIECES_MAX && bytes.len > piece; i++) {
        send_piece(client, bytes.ptr, piece);
        wait_until_read(client);
        bytes = (struct cn_str){bytes.ptr + piece, bytes.len - piece};
    }
    send_piece(client, bytes.ptr, bytes.len);
}

// A socket pair has no addresses: as if a PROXY header had told one.
static struct cn_peer *make_peer(enum cn_audience audience)
{
    struct cn_peer *peer = audience == CN_AUDIENCE_PUBLIC ? calloc(1, sizeof(*peer)) : NULL;
    const unsigned char address[4] = {192, 0, 2, 7};
    if (peer)
        peer->address = cn_address_of_v4(address);
    return peer;
}

static struct client connect_client(enum cn_audience audience)
{
    int fds[2];
    struct client client = {.end_ms = cn_clock_ms() + PATIENCE_MS};
    CN_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    client.fd = fds[0];
    cn_buf_init(&client.answer, ANSWER_MAX_BYTES);
    atomic_fetch_add(cn_edge_count(edge, audience), 1);
    cn_metrics_add(CN_M_CONNECTIONS, 1);
    cn_edge_loop_adopt(&edge->loops[0], fds[1], audience, make_peer(audience));
    cn_edge_loop_wake(&edge->loops[0]);
    return client;
}

static void finish(struct client *client, enum cn_audience audience)
{
    shutdown(client->fd, SHUT_WR);
    while (!client->has_ended || atomic_load(cn_edge_count(edge, audience)) > 0)
        turn(client);
    while (cn_registry_count(cn_hub_registry(hub)) > 0)
        turn(client);
    close(client->fd);
}

// ---- What it gets ----

// True when a whole frame stands at the front; *rest is then what follows it.
static bool take_frame(struct cn_str *rest, unsigned *head, struct cn_str *payload)
{
    const unsigned char *bytes = (const unsigned char *)rest->ptr;
    if (rest->len < 2)
        return false;
    CN_ASSERT(!(bytes[1] & 0x80) && !(bytes[0] & 0x70));
    size_t more = bytes[1] == 126 ? 2 : bytes[1] == 127 ? 8 : 0;
    size_t len = more ? 0 : bytes[1];
    if (rest->len < 2 + more)
        return false;
    for (size_t i = 0; i < more; i++)
        len = len << 8 | bytes[2 + i];
    if (rest->len - 2 - more < len)
        return false;
    *head = bytes[0];
    *payload = (struct cn_str){rest->ptr + 2 + more, len};
    *rest = (struct cn_str){payload->ptr + len, rest->len - 2 - more - len};
    return true;
}

static void check_frames(struct cn_str rest, bool is_session)
{
    unsigned head;
    struct cn_str payload;
    bool is_closed = false;
    bool is_open = false; // a message of which not all came
    while (take_frame(&rest, &head, &payload)) {
        unsigned opcode = head & 0x0f;
        CN_ASSERT(!is_closed);
        is_closed = opcode == 8;
        if (opcode >= 8) {
            CN_ASSERT((head & 0x80) && opcode <= 10 && payload.len <= 125);
            CN_ASSERT(opcode != 8 || payload.len != 1);
            continue;
        }
        CN_ASSERT(opcode <= 2 && (opcode == 0) == is_open);
        is_open = !(head & 0x80);
        if (is_session)
            CN_ASSERT(head == 0x81 && payload.len > 2 && payload.ptr[0] == '{' &&
                      payload.ptr[payload.len - 1] == '}' && cn_name_is_utf8(payload));
    }
}

static void check_answer(struct cn_str answer, bool is_session)
{
    static const char status[] = "HTTP/1.1 ";
    if (answer.len == 0)
        return;
    CN_ASSERT(answer.len >= sizeof(status) + 3 && memcmp(answer.ptr, status, 7) == 0);
    CN_ASSERT(answer.ptr[9] >= '1' && answer.ptr[9] <= '5');
    const char *end = memmem(answer.ptr, answer.len, "\r\n\r\n", 4);
    if (!end || memcmp(answer.ptr + 9, "101", 3) != 0)
        return;
    size_t head = (size_t)(end - answer.ptr) + 4;
    check_frames((struct cn_str){answer.ptr + head, answer.len - head}, is_session);
}

// ---- Inputs ----

static void add(struct cn_buf *out, const void *bytes, size_t len)
{
    CN_ASSERT(!cn_buf_append(out, bytes, len));
}

// A frame with the mask 0, which changes nothing.
static void add_frame(struct cn_buf *out, struct cn_str row)
{
    unsigned char head[14] = {fuzz_byte(&row)};
    size_t at = 1;
    if (row.len < 126) {
        head[at++] = (unsigned char)(0x80 | row.len);
    } else {
        head[at++] = 0x80 | 126;
        head[at++] = (unsigned char)(row.len >> 8);
        head[at++] = (unsigned char)row.len;
    }
    add(out, head, at + 4);
    add(out, row.ptr, row.len);
}

static void make_bytes(struct cn_buf *out, uint8_t kind, struct cn_str rest)
{
    static const char to_ws[] = UPGRADE("/ws?user=ann"), to_echo[] = UPGRADE("/echo");
    struct cn_str row;
    if (kind == 'w' || kind == 'W')
        add(out, to_ws, sizeof(to_ws) - 1);
    if (kind == 'e' || kind == 'E')
        add(out, to_echo, sizeof(to_echo) - 1);
    if (kind != 'W' && kind != 'E') {
        add(out, rest.ptr, rest.len);
        return;
    }
    for (int i = 0; i < ROWS_MAX && fuzz_cut(&rest, ROW_MARK, &row); i++)
        if (row.len > 0 && row.len < 65536)
            add_frame(out, row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cn_str rest = {(const char *)data, size};
    uint8_t kind = fuzz_byte(&rest);
    size_t piece = fuzz_byte(&rest);
    if (!kind || !strchr("hiweWE", kind))
        return 0;
    enum cn_audience audience = kind == 'i' ? CN_AUDIENCE_INTERNAL : CN_AUDIENCE_PUBLIC;
    struct cn_buf bytes;
    cn_buf_init(&bytes, ANSWER_MAX_BYTES);
    make_bytes(&bytes, kind, rest);
    open_node();
    struct client client = connect_client(audience);
    send_all(&client, cn_buf_str(&bytes), piece);
    finish(&client, audience);
    check_answer(cn_buf_str(&client.answer), kind == 'w' || kind == 'W');
    cn_buf_fini(&client.answer);
    cn_buf_fini(&bytes);
    return 0;
}
