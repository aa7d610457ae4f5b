// SPDX-License-Identifier: MIT
// One loop: a thread with a libwebsockets context on its own libuv loop. From other threads only
// lws_cancel_service is called, in cn_edge_loop_wake.
#include <string.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "chatnode/clock.h"
#include "chatnode/log.h"
#include "edge_private.h"

enum {
    RX_BUFFER_BYTES = 1024,       // allocated for each connection
    TX_PACKET_BYTES = 1 << 20,    // larger than any write: libwebsockets must not cut
    SERVICE_BUFFER_BYTES = 32768, // at least one TLS record
    HANDSHAKE_TIMEOUT_S = 5,      // for a request's headers
    HTTP_TIMEOUT_S = 10,
    KEEPALIVE_TIMEOUT_S = 30,
    HEADER_TABLES_MAX = 65000,
    FAREWELL_MS = 100, // for the last close frames
    PUT_OFF_MAX = 8,   // parts of a burst that main is told of together
};

static struct cn_edge_loop *loop_of(struct lws *wsi)
{
    return lws_context_user(lws_get_context(wsi));
}

// ---- The callback: a switch of one-line calls ----

static void on_destroyed(struct cn_edge_loop *loop, enum cn_audience audience, struct cn_peer *peer)
{
    cn_peer_free(loop->edge, peer);
    atomic_fetch_sub(cn_edge_count(loop->edge, audience), 1);
    cn_metrics_add(CN_M_CONNECTIONS, -1);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons event, void *user, void *in,
                    size_t len)
{
    struct cn_edge_loop *loop = loop_of(wsi);
    struct cn_conn *conn = user;
    switch (event) {
    case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
        return cn_edge_loop_turn(loop), 0;
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        return loop->made = user, 0; // `user` is the SSL_CTX of the vhost that is being made
    case LWS_CALLBACK_WSI_DESTROY:
        return on_destroyed(loop, cn_edge_audience(wsi), cn_peer_of(wsi)), cn_attention_look(loop),
               0;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return cn_handshake_check(loop, wsi); // never reads `in`: CVE-2025-11677
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return cn_handshake_greet(loop, wsi, conn);
    case LWS_CALLBACK_ESTABLISHED:
        return cn_ws_open(conn, wsi), 0;
    case LWS_CALLBACK_RECEIVE:
        return cn_ws_receive(conn, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return cn_ws_writable(conn), 0;
    case LWS_CALLBACK_RECEIVE_PONG:
        return cn_ws_pong(conn), 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return cn_ws_peer_closes(conn, in, len);
    case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
        return cn_ws_gone(conn), 0;
    case LWS_CALLBACK_CLOSED:
        return cn_ws_gone(conn), cn_attention_look(loop), 0;
    case LWS_CALLBACK_HTTP:
        return cn_http_request(loop, wsi, conn, (struct cn_str){in, len});
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return cn_http_writable(wsi, conn);
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
        return cn_http_drop(conn), 0;
    case LWS_CALLBACK_HTTP_BODY:
        return cn_http_body(conn, (struct cn_str){in, len});
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return cn_http_body_end(conn);
    case LWS_CALLBACK_RAW_ADOPT: // CONNECT would become a raw socket
    case LWS_CALLBACK_RAW_RX:
        return -1;
    default:
        return 0;
    }
}

const struct lws_protocols *cn_edge_protocols(void)
{
    static const struct lws_protocols protocols[] = {
        {.name = CN_PROTOCOL_SUBPROTOCOL,
         .callback = on_event,
         .per_session_data_size = sizeof(struct cn_conn),
         .rx_buffer_size = RX_BUFFER_BYTES,
         .tx_packet_size = TX_PACKET_BYTES},
        {0},
    };
    return protocols;
}

// ---- Turns ----

void cn_edge_loop_wake(struct cn_edge_loop *loop)
{
    lws_cancel_service(loop->context);
}

static void wake(void *arg)
{
    cn_edge_loop_wake(arg);
}

static void on_turn_timer(lws_sorted_usec_list_t *timer)
{
    cn_edge_loop_turn(lws_container_of(timer, struct cn_edge_loop, turn_timer));
}

// Whether a socket that just gave about as much as is read at once has more: the rest of a burst of
// messages, which are to be stored, and to go out, together.
static bool has_more_input(struct cn_edge_loop *loop)
{
    bool looks = loop->read_bytes >= RX_BUFFER_BYTES / 2 && loop->put_off < PUT_OFF_MAX;
    int waiting = 0;
    loop->read_bytes = 0;
    if (!looks || ioctl(loop->read_fd, FIONREAD, &waiting) != 0 || waiting <= 0) {
        loop->put_off = 0;
        return false;
    }
    loop->put_off++;
    return true;
}

static void on_pass_on_timer(lws_sorted_usec_list_t *timer)
{
    struct cn_edge_loop *loop = lws_container_of(timer, struct cn_edge_loop, pass_on_timer);
    // At 0 again it comes after the sockets that are ready then.
    if (has_more_input(loop))
        lws_sul_schedule(loop->context, 0, timer, on_pass_on_timer, 0);
    else if (cn_loop_pass_on(loop->hub_loop))
        cn_edge_loop_turn(loop);
}

// libwebsockets looks at its timers when it has served every socket that was ready.
static void defer(void *arg)
{
    struct cn_edge_loop *loop = arg;
    if (!atomic_load(&loop->stopping))
        lws_sul_schedule(loop->context, 0, &loop->pass_on_timer, on_pass_on_timer, 0);
}

static void on_tick_timer(lws_sorted_usec_list_t *timer)
{
    struct cn_edge_loop *loop = lws_container_of(timer, struct cn_edge_loop, tick_timer);
    loop->is_busy = true;
    int64_t next_ms = cn_loop_tick(loop->hub_loop);
    cn_ws_close_wanted(loop);
    loop->is_busy = false;
    lws_sul_schedule(loop->context, 0, timer, on_tick_timer, next_ms * 1000);
}

// Closes the sockets, but not before main is done with waking this loop.
static void leave(struct cn_edge_loop *loop)
{
    if (loop->left)
        return;
    loop->left = true;
    while (sem_wait(&loop->leave) != 0)
        ;
    lws_context_destroy(loop->context);
}

// Ends the loop: sessions that are left get a close frame and a moment to be written it, then every
// socket is closed.
static void finish(struct cn_edge_loop *loop)
{
    int64_t now_ms = cn_clock_ms();
    if (!loop->finish_ms) {
        loop->finish_ms = now_ms + (cn_loop_sessions(loop->hub_loop) ? FAREWELL_MS : 0);
        cn_loop_send_away(loop->hub_loop, 0, CN_REASON_RESTART);
        cn_loop_close_all(loop->hub_loop, CN_REASON_RESTART);
        cn_ws_close_wanted(loop);
    }
    if (now_ms >= loop->finish_ms)
        leave(loop);
    else
        lws_sul_schedule(loop->context, 0, &loop->turn_timer, on_turn_timer,
                         (loop->finish_ms - now_ms) * 1000);
}

void cn_edge_loop_serve(struct cn_edge_loop *loop)
{
    loop->is_busy = true;
    int64_t next_ms = cn_loop_turn(loop->hub_loop);
    cn_ws_close_wanted(loop);
    loop->is_busy = false;
    loop->turned_ms = cn_clock_ms();
    if (next_ms == 0)
        cn_edge_loop_wake(loop);
    else if (next_ms > 0)
        lws_sul_schedule(loop->context, 0, &loop->turn_timer, on_turn_timer, next_ms * 1000);
}

void cn_edge_loop_turn(struct cn_edge_loop *loop)
{
    if (atomic_load(&loop->stopping))
        finish(loop);
    else
        cn_edge_loop_serve(loop);
}

// ---- Life ----

// A vhost for the listener. By the name in a request's Host header libwebsockets may take a
// connection to the other listener's vhost: they differ in TLS alone, which is settled by then.
static bool make_vhost(struct cn_edge_loop *loop, const struct lws_context_creation_info *common,
                       enum cn_audience audience)
{
    struct lws_context_creation_info info = *common;
    bool has_tls = loop->edge->tls[audience].identity != NULL;
    info.vhost_name = audience == CN_AUDIENCE_PUBLIC ? "public" : "internal";
    if (has_tls)
        info.options |= LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
    loop->made = NULL;
    loop->vhosts[audience] = lws_create_vhost(loop->context, &info);
    return loop->vhosts[audience] && (!has_tls || cn_edge_tls_dress(loop, audience));
}

static bool make_vhosts(struct cn_edge_loop *loop, const struct lws_context_creation_info *info)
{
    if (!make_vhost(loop, info, CN_AUDIENCE_PUBLIC))
        return false;
    if (loop->edge->has_tls)
        return make_vhost(loop, info, CN_AUDIENCE_INTERNAL);
    loop->vhosts[CN_AUDIENCE_INTERNAL] = loop->vhosts[CN_AUDIENCE_PUBLIC];
    return true;
}

static bool make_context(struct cn_edge_loop *loop)
{
    // Nothing to retry and no pings of the library's own: its timer per connection is O(n).
    static const lws_retry_bo_t no_pings = {0};
    int64_t connections = loop->edge->config->max_connections + CN_OPERATORS_MAX;
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_LIBUV |
                   LWS_SERVER_OPTION_UV_NO_SIGSEGV_SIGFPE_SPIN | LWS_SERVER_OPTION_VALIDATE_UTF8,
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = cn_edge_protocols(),
        .server_string = "chatnode",
        .user = loop,
        .pt_serv_buf_size = SERVICE_BUFFER_BYTES,
        .max_http_header_data = CN_HEADER_BYTES,
        .max_http_header_pool =
            (unsigned short)(connections < HEADER_TABLES_MAX ? connections : HEADER_TABLES_MAX),
        .timeout_secs = HTTP_TIMEOUT_S,
        .keepalive_timeout = KEEPALIVE_TIMEOUT_S,
        .timeout_secs_ah_idle = HANDSHAKE_TIMEOUT_S,
        .retry_and_idle_policy = &no_pings,
        .alpn = "http/1.1",
    };
    // The library makes a context for clients ready too, unless it gets one; of several contexts'
    // own 4.1.6 frees but the latest's.
    if (loop->edge->has_tls) {
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.provided_client_ssl_ctx = loop->edge->tls_client;
    }
    loop->context = lws_create_context(&info);
    if (!loop->context) {
        CN_LOG(ERROR, "loop.context",
               "libwebsockets could not start its libuv loop; is the package "
               "libwebsockets-evlib-uv installed?");
        return false;
    }
    return make_vhosts(loop, &info);
}

static void run(void *arg)
{
    struct cn_edge_loop *loop = arg;
    bool made = cn_metrics_join() == CN_OK && make_context(loop);
    if (made) {
        cn_loop_set_wake(loop->hub_loop, wake, loop);
        cn_loop_set_defer(loop->hub_loop, defer, loop);
        lws_sul_schedule(loop->context, 0, &loop->tick_timer, on_tick_timer, 1000);
    } else if (loop->context) {
        lws_context_destroy(loop->context);
        loop->context = NULL;
    }
    sem_post(&loop->ready);
    if (!made)
        return;
    // libuv runs inside the call; it returns when finish() has closed the sockets. Then the rest is
    // freed.
    while (lws_service(loop->context, 0) >= 0 && !atomic_load(&loop->stopping))
        ;
    lws_context_destroy(loop->context);
}

enum cn_err cn_edge_loop_start(struct cn_edge_loop *loop)
{
    char name[16];
    snprintf(name, sizeof(name), "loop-%u", cn_loop_index(loop->hub_loop));
    sem_init(&loop->ready, 0, 0);
    sem_init(&loop->leave, 0, 0);
    cn_list_init(&loop->closing);
    cn_list_init(&loop->stalled);
    cn_list_init(&loop->calls);
    cn_list_init(&loop->answered);
    enum cn_err err = cn_thread_start(&loop->thread, name, run, loop);
    if (err)
        return err;
    while (sem_wait(&loop->ready) != 0)
        ;
    return loop->context ? CN_OK : CN_SYSTEM;
}

void cn_edge_loop_stop(struct cn_edge_loop *loop)
{
    if (loop->thread.started && loop->context && !atomic_exchange(&loop->stopping, true)) {
        cn_edge_loop_wake(loop);
        sem_post(&loop->leave);
    }
    cn_thread_join(&loop->thread);
}

// ---- Adoption ----

// By a mark at its adoption, not by vhost: libwebsockets chooses that by the Host header.
enum cn_audience cn_edge_audience(struct lws *wsi)
{
    return lws_get_opaque_user_data(wsi) == loop_of(wsi) ? CN_AUDIENCE_INTERNAL
                                                         : CN_AUDIENCE_PUBLIC;
}

struct adopt_letter {
    struct cn_letter letter;
    struct cn_edge_loop *loop;
    int fd;
    enum cn_audience audience;
    struct cn_peer *peer;
};

static void free_adopt_letter(struct cn_mail *mail)
{
    struct adopt_letter *adopt =
        CN_CONTAINER(CN_CONTAINER(mail, struct cn_letter, mail), struct adopt_letter, letter);
    close(adopt->fd);
    cn_peer_free(adopt->loop->edge, adopt->peer);
    free(adopt);
}

static void read_adopt_letter(struct cn_letter *letter, struct cn_loop *hub_loop)
{
    struct adopt_letter *adopt = CN_CONTAINER(letter, struct adopt_letter, letter);
    struct cn_edge_loop *loop = adopt->loop;
    bool has_tls = loop->tls[adopt->audience] != NULL;
    (void)hub_loop;
    // On failure libwebsockets has closed the socket, and told of it by WSI_DESTROY.
    const lws_adopt_desc_t socket = {
        .vh = loop->vhosts[adopt->audience],
        .type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | LWS_ADOPT_ALLOW_SSL,
        .fd.sockfd = adopt->fd,
        .opaque = adopt->audience == CN_AUDIENCE_INTERNAL ? (void *)loop : (void *)adopt->peer,
    };
    if (lws_adopt_descriptor_vhost_via_info(&socket))
        cn_attention_adopted(loop, adopt->fd, has_tls);
    else if (!has_tls) // with TLS, a client that speaks something else is no news
        CN_LOG(WARN, "loop.adopt", "a connection could not be adopted");
    free(adopt);
}

void cn_edge_loop_adopt(struct cn_edge_loop *loop, int fd, enum cn_audience audience,
                        struct cn_peer *peer)
{
    struct adopt_letter *adopt = malloc(sizeof(*adopt));
    if (adopt) {
        *adopt = (struct adopt_letter){.letter = {{NULL, free_adopt_letter}, read_adopt_letter},
                                       .loop = loop,
                                       .fd = fd,
                                       .audience = audience,
                                       .peer = peer};
        if (!cn_loop_post(loop->hub_loop, &adopt->letter))
            return;
        cn_metrics_add(CN_M_MAILBOX_FULL_LOOP, 1);
        free(adopt);
    }
    close(fd);
    on_destroyed(loop, audience, peer);
}
