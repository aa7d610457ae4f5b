// SPDX-License-Identifier: MIT
// Connections whose sockets are full, and whose clients have ended their side.
//
// What a full socket did not take libwebsockets keeps, and when the client ends its side
// (shutdown(2)) it wants to write that before it closes. Until then the end of the stream stays
// readable, so the system tells of it without a pause and the loop does nothing else, for the five
// seconds that the library waits, or for ever if the session is closed meanwhile, which takes the
// library's timeout away. Such a client has said that nothing more comes and takes nothing: it is
// cut off.
#include <poll.h>

#include "edge_private.h"

enum { LOOK_EVERY_MS = 100, BATCH = 128 };

static void cut_off(struct cn_conn *const *conns, const struct pollfd *sockets, nfds_t count)
{
    for (nfds_t i = 0; i < count; i++)
        if (sockets[i].revents & (POLLRDHUP | POLLHUP | POLLERR))
            lws_set_timeout(conns[i]->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

static void look(struct cn_edge_loop *loop)
{
    struct cn_conn *conns[BATCH];
    struct pollfd sockets[BATCH];
    nfds_t count = 0;
    CN_LIST_EACH (link, &loop->stalled) {
        conns[count] = CN_CONTAINER(link, struct cn_conn, stalled);
        sockets[count] = (struct pollfd){.fd = conns[count]->fd, .events = POLLRDHUP};
        bool is_last = link->next == &loop->stalled;
        if (++count < BATCH && !is_last)
            continue;
        if (poll(sockets, count, 0) > 0)
            cut_off(conns, sockets, count);
        count = 0;
    }
}

static void on_timer(lws_sorted_usec_list_t *timer)
{
    struct cn_edge_loop *loop = lws_container_of(timer, struct cn_edge_loop, stalled_timer);
    if (cn_list_is_empty(&loop->stalled) || atomic_load(&loop->stopping))
        return;
    look(loop);
    lws_sul_schedule(loop->context, 0, timer, on_timer, (lws_usec_t)LOOK_EVERY_MS * 1000);
}

void cn_stalled_add(struct cn_conn *conn)
{
    struct cn_edge_loop *loop = conn->loop;
    if (cn_list_is_linked(&conn->stalled))
        return;
    if (cn_list_is_empty(&loop->stalled))
        lws_sul_schedule(loop->context, 0, &loop->stalled_timer, on_timer,
                         (lws_usec_t)LOOK_EVERY_MS * 1000);
    cn_list_push_back(&loop->stalled, &conn->stalled);
}
