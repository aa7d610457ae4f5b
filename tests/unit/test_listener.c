// SPDX-License-Identifier: MIT
// Listeners: addresses, batches, pausing, and the rest they take without descriptors.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "chatnode/clock.h"
#include "unit/dies.h"

enum { DEADLINE_MS = 10000 };

// Linked with --wrap=calloc: what a listener allocates can be made to fail.
static int allocations_left = -1;
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return __real_calloc(count, size);
}

static struct cn_reactor *reactor;

static void on_wake(void *arg)
{
    (void)arg;
}

static int set_up(void **state)
{
    (void)state;
    return cn_reactor_new(&reactor, on_wake, NULL) == CN_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    cn_reactor_free(reactor);
    return 0;
}

// Turns until *counter is at least `least`; fails at the deadline.
static void turn_until(const int *counter, int least)
{
    int64_t deadline_ms = cn_clock_ms() + DEADLINE_MS;
    while (*counter < least) {
        assert_true(cn_clock_ms() < deadline_ms);
        cn_reactor_turn(reactor, 100);
    }
}

struct door {
    struct cn_listener *listener;
    int accepted;
    int flags;    // of the last one: fcntl F_GETFL
    int fd_flags; // and F_GETFD
    int family;
    int failed;
    int error;
    bool pause_at_once;
};

static void on_accepted(void *arg, int fd, const struct sockaddr *peer)
{
    struct door *door = arg;
    door->accepted++;
    door->flags = fcntl(fd, F_GETFL);
    door->fd_flags = fcntl(fd, F_GETFD);
    door->family = peer->sa_family;
    close(fd);
    if (door->pause_at_once)
        cn_listener_pause(door->listener);
}

static void on_failed(void *arg, int error)
{
    struct door *door = arg;
    door->failed++;
    door->error = error;
}

static enum cn_err open_door(struct door *door, const char *addr)
{
    *door = (struct door){.accepted = 0};
    return cn_listener_open(reactor, cn_str_of(addr), on_accepted, on_failed, door,
                            &door->listener);
}

// A connection to the door's port on the loopback address; the kernel completes it by itself.
static int knock(const struct door *door)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)cn_listener_port(door->listener)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void test_accepts(void **state)
{
    (void)state;
    struct door door;
    assert_int_equal(open_door(&door, "127.0.0.1:0"), CN_OK);
    assert_true(cn_listener_port(door.listener) > 0);
    int clients[100];
    for (size_t i = 0; i < CN_COUNT(clients); i++)
        clients[i] = knock(&door);
    turn_until(&door.accepted, CN_COUNT(clients));
    assert_true(door.flags & O_NONBLOCK);
    assert_true(door.fd_flags & FD_CLOEXEC);
    assert_int_equal(door.family, AF_INET);
    assert_int_equal(door.failed, 0);
    for (size_t i = 0; i < CN_COUNT(clients); i++)
        close(clients[i]);
    cn_listener_close(door.listener);
    cn_listener_close(NULL);
}

static void test_on_ipv6_takes_both(void **state)
{
    (void)state;
    struct door door;
    enum cn_err err = open_door(&door, "[::1]:0");
    if (err == CN_SYSTEM && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        skip();
    assert_int_equal(err, CN_OK);
    assert_true(cn_listener_port(door.listener) > 0);
    cn_listener_close(door.listener);
    assert_int_equal(open_door(&door, "[::]:0"), CN_OK);
    int client = knock(&door);
    turn_until(&door.accepted, 1);
    assert_int_equal(door.family, AF_INET6);
    close(client);
    cn_listener_close(door.listener);
}

static void test_refuses_what_is_no_address(void **state)
{
    (void)state;
    const char *const wrong[] = {"",
                                 "8000",
                                 ":8000",
                                 "127.0.0.1",
                                 "127.0.0.1:",
                                 "127.0.0.1:65536",
                                 "127.0.0.1:-1",
                                 "127.0.0.1: 80",
                                 "127.0.0.1:80x",
                                 "127.0.0.1:4294967296",
                                 "::1:8000",
                                 "[]:8000",
                                 "[127.0.0.1]:8000",
                                 "[::1]8000",
                                 "[::1]:",
                                 "localhost:8000",
                                 "256.0.0.1:8000"};
    struct door door;
    for (size_t i = 0; i < CN_COUNT(wrong); i++) {
        if (open_door(&door, wrong[i]) != CN_INVALID)
            fail_msg("taken for an address: %s", wrong[i]);
    }
}

static void test_says_that_the_port_is_taken(void **state)
{
    (void)state;
    struct door first;
    struct door second;
    char addr[32];
    assert_int_equal(open_door(&first, "127.0.0.1:0"), CN_OK);
    (void)snprintf(addr, sizeof(addr), "127.0.0.1:%d", cn_listener_port(first.listener));
    assert_int_equal(open_door(&second, addr), CN_SYSTEM);
    assert_int_equal(errno, EADDRINUSE);
    cn_listener_close(first.listener);
    assert_int_equal(open_door(&second, addr), CN_OK);
    cn_listener_close(second.listener);
}

static void test_paused_listener_leaves_the_backlog(void **state)
{
    (void)state;
    struct door door;
    assert_int_equal(open_door(&door, "127.0.0.1:0"), CN_OK);
    door.pause_at_once = true;
    int clients[2] = {knock(&door), knock(&door)};
    turn_until(&door.accepted, 1);
    cn_reactor_turn(reactor, 0);
    cn_reactor_turn(reactor, 0);
    assert_int_equal(door.accepted, 1);
    cn_listener_resume(door.listener);
    turn_until(&door.accepted, 2);
    close(clients[0]);
    close(clients[1]);
    cn_listener_close(door.listener);
}

// Lets no further descriptor be opened; gives the old limit back through `before`.
static void forbid_descriptors(struct rlimit *before)
{
    int next = dup(STDERR_FILENO);
    assert_true(next >= 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before->rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void test_rests_without_descriptors(void **state)
{
    (void)state;
    struct door door;
    assert_int_equal(open_door(&door, "127.0.0.1:0"), CN_OK);
    int client = knock(&door);
    struct rlimit before;
    forbid_descriptors(&before);
    int64_t start_ms = cn_clock_ms();
    turn_until(&door.failed, 1);
    assert_int_equal(door.error, EMFILE);
    cn_reactor_turn(reactor, 0);
    assert_int_equal(door.failed, 1);
    cn_listener_pause(door.listener);
    cn_listener_resume(door.listener);
    turn_until(&door.failed, 2);
    assert_true(cn_clock_ms() - start_ms >= 249);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    turn_until(&door.accepted, 1);
    assert_int_equal(door.failed, 2);
    close(client);
    cn_listener_close(door.listener);
}

static void close_the_door(void *arg, int fd, const struct sockaddr *peer)
{
    (void)peer;
    struct door *door = arg;
    close(fd);
    cn_listener_close(door->listener);
}

static void accept_and_close(void *arg)
{
    int accepted = 0;
    (void)arg;
    turn_until(&accepted, 1);
}

static void test_closing_within_the_callback_aborts(void **state)
{
    (void)state;
    struct door door = {.accepted = 0};
    assert_int_equal(cn_listener_open(reactor, cn_str_of("127.0.0.1:0"), close_the_door, on_failed,
                                      &door, &door.listener),
                     CN_OK);
    int client = knock(&door);
    char said[512];
    assert_true(dies(accept_and_close, NULL, said, sizeof(said)));
    assert_non_null(strstr(said, "in_callback"));
    close(client);
    cn_listener_close(door.listener);
}

static void test_without_memory_nothing_opens(void **state)
{
    (void)state;
    struct door door;
    for (int i = 0; i < 3; i++) {
        allocations_left = i;
        enum cn_err err = open_door(&door, "127.0.0.1:0");
        allocations_left = -1;
        assert_int_equal(err, CN_NOMEM);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_accepts),
        TEST(test_on_ipv6_takes_both),
        TEST(test_refuses_what_is_no_address),
        TEST(test_says_that_the_port_is_taken),
        TEST(test_paused_listener_leaves_the_backlog),
        TEST(test_rests_without_descriptors),
        TEST(test_closing_within_the_callback_aborts),
        TEST(test_without_memory_nothing_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
