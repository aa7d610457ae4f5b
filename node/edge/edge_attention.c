// SPDX-License-Identifier: MIT
// Who comes, and what is said, must not wait behind thousands of connections that end at once.
//
// The system tells of sockets in the order in which they got something to tell (epoll). When all
// members of a large room are cut, whatever happens next is told of behind all of them: the wake-up
// that brings a new connection, then its request. At some 20 us for each end that is a tenth of a
// second twice, for 5,000. So in between, from the events of those that end, the loop takes a turn
// without being told to, and looks itself whether newcomers have sent their requests.
#include <poll.h>

#include "chatnode/clock.h"
#include "edge_private.h"

enum { LOOK_MS = 4 }; // the loop goes without a turn for so long at most, while connections end

static void serve(struct cn_edge_loop *loop, int fd)
{
    struct lws_pollfd request = {.fd = fd, .events = POLLIN, .revents = POLLIN};
    (void)lws_service_fd(loop->context, &request); // a broken one is closed, and told of
}

void cn_attention_adopted(struct cn_edge_loop *loop, int fd, bool has_tls)
{
    struct pollfd request = {.fd = fd, .events = POLLIN};
    bool is_there = poll(&request, 1, 0) > 0;
    if (is_there)
        serve(loop, fd);
    if (!is_there || has_tls)
        loop->awaited[loop->adopted++ % CN_AWAITED_MAX] = fd;
}

// The descriptors may be closed by now, or be those of other connections: serving these is right
// too, and for one that is not libwebsockets' own nothing happens.
static void serve_awaited(struct cn_edge_loop *loop)
{
    struct pollfd requests[CN_AWAITED_MAX];
    unsigned count = loop->adopted < CN_AWAITED_MAX ? loop->adopted : CN_AWAITED_MAX;
    for (unsigned i = 0; i < count; i++)
        requests[i] = (struct pollfd){.fd = loop->awaited[i], .events = POLLIN};
    if (poll(requests, count, 0) <= 0)
        return;
    loop->adopted = 0;
    for (unsigned i = 0; i < count; i++)
        if (requests[i].revents)
            serve(loop, requests[i].fd);
        else
            loop->awaited[loop->adopted++] = requests[i].fd;
}

void cn_attention_look(struct cn_edge_loop *loop)
{
    if (loop->is_busy || atomic_load(&loop->stopping) || cn_clock_ms() - loop->turned_ms < LOOK_MS)
        return;
    loop->is_busy = true;
    serve_awaited(loop);
    loop->is_busy = false;
    // Answers them too. Main may have asked the loop to end meanwhile: it does not end from within
    // the end of a connection, where libwebsockets still holds on to that and to the context.
    cn_edge_loop_serve(loop);
    // What became due now is scheduled only when the library's own loop has been round.
    cn_edge_loop_wake(loop);
}
