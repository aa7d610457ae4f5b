// SPDX-License-Identifier: MIT
// The tunnel: what goes in on one side comes out on the other, and who is refused.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include "support/pki.h"

#include "chatnode/clock.h"
#include "chatnode/tls_tunnel.h"

enum { WAIT_MS = 10000, MUCH_BYTES = 4 << 20 };

static struct pki pki;

// ---- The other side: a thread that gives back what it gets ----

struct echo {
    pthread_t thread;
    int fd;
    size_t limit; // it ends after so many bytes
};

static void serve(SSL *ssl, size_t limit)
{
    static char bytes[65536];
    size_t done = 0;
    size_t got;
    while (done < limit && SSL_read_ex(ssl, bytes, sizeof(bytes), &got)) {
        size_t put;
        if (!SSL_write_ex(ssl, bytes, got, &put))
            return;
        done += got;
    }
}

static void *run_echo(void *arg)
{
    struct echo *echo = arg;
    char path[PKI_PATH_BYTES];
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate_file(context, pki_path(&pki, "server.crt", path), SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(context, pki_path(&pki, "server.key", path), SSL_FILETYPE_PEM);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, echo->fd);
    if (SSL_accept(ssl) == 1)
        serve(ssl, echo->limit);
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(echo->fd);
    return NULL;
}

// ---- One side ----

struct side {
    struct cn_reactor *reactor;
    struct cn_tls_tunnel *tunnel;
    struct echo echo;
    int plain;
    int opened, ended;
    enum cn_tls_end end;
    char why[CN_TLS_WHY_BYTES];
};

static void on_wake(void *arg)
{
    (void)arg;
}

static void on_open(void *arg)
{
    struct side *side = arg;
    side->opened++;
}

// Frees it at once, as one may.
static void on_ended(void *arg, enum cn_tls_end end, const char *why)
{
    struct side *side = arg;
    side->ended++;
    side->end = end;
    snprintf(side->why, sizeof(side->why), "%s", why);
    cn_tls_tunnel_free(side->tunnel);
    side->tunnel = NULL;
}

static void side_open(struct side *side, const char *host, const char *authority, size_t limit)
{
    char path[PKI_PATH_BYTES];
    int pair[2];
    struct cn_tls_why why;
    *side = (struct side){0};
    const struct cn_tls_files files = {.ca = pki_path(&pki, authority, path)};
    const struct cn_tls_tunnel_events events = {side, on_open, on_ended};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(cn_reactor_new(&side->reactor, on_wake, NULL), CN_OK);
    side->echo = (struct echo){.fd = pair[1], .limit = limit};
    assert_int_equal(pthread_create(&side->echo.thread, NULL, run_echo, &side->echo), 0);
    assert_int_equal(cn_tls_tunnel_new(side->reactor, pair[0], host, &files, &events, &side->plain,
                                       &side->tunnel, &why),
                     CN_OK);
}

static void side_close(struct side *side)
{
    cn_tls_tunnel_free(side->tunnel);
    close(side->plain);
    pthread_join(side->echo.thread, NULL);
    cn_reactor_free(side->reactor);
}

#define TURN_UNTIL(side, condition)                                                                \
    do {                                                                                           \
        int64_t end_ = cn_clock_ms() + WAIT_MS;                                                    \
        while (!(condition) && cn_clock_ms() < end_)                                               \
            cn_reactor_turn((side)->reactor, 20);                                                  \
        assert_true(condition);                                                                    \
    } while (0)

static void test_much_passes_both_ways(void **state)
{
    (void)state;
    struct side side;
    char *bytes = malloc(MUCH_BYTES);
    char *back = malloc(MUCH_BYTES);
    size_t put = 0;
    size_t got = 0;
    for (size_t i = 0; i < MUCH_BYTES; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    side_open(&side, "server.example", "ca.crt", MUCH_BYTES);
    TURN_UNTIL(&side, side.opened);
    int64_t end = cn_clock_ms() + WAIT_MS;
    while (got < MUCH_BYTES && cn_clock_ms() < end) {
        ssize_t n = send(side.plain, bytes + put, MUCH_BYTES - put, MSG_DONTWAIT);
        put += n > 0 ? (size_t)n : 0;
        n = recv(side.plain, back + got, MUCH_BYTES - got, MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
        cn_reactor_turn(side.reactor, 1);
    }
    assert_int_equal(got, MUCH_BYTES);
    assert_memory_equal(bytes, back, MUCH_BYTES);
    assert_int_equal(side.opened, 1);
    assert_int_equal(side.ended, 0);
    side_close(&side);
    free(bytes);
    free(back);
}

// What came before the end is there to be read; then the stream is over.
static void test_the_other_sides_end_comes_last(void **state)
{
    (void)state;
    struct side side;
    char back[16] = "";
    size_t got = 0;
    ssize_t n = -1;
    side_open(&side, "127.0.0.1", "ca.crt", 5);
    TURN_UNTIL(&side, side.opened);
    assert_int_equal(send(side.plain, "hello", 5, 0), 5);
    int64_t end = cn_clock_ms() + WAIT_MS;
    while (n != 0 && cn_clock_ms() < end) {
        cn_reactor_turn(side.reactor, 20);
        n = recv(side.plain, back + got, sizeof(back) - got, MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(n, 0);
    assert_memory_equal(back, "hello", 5);
    assert_int_equal(side.ended, 0);
    side_close(&side);
}

static void check_refused(const char *host, const char *authority, const char *words)
{
    struct side side;
    side_open(&side, host, authority, 1);
    TURN_UNTIL(&side, side.ended);
    assert_int_equal(side.end, CN_TLS_END_REFUSED);
    assert_int_equal(side.opened, 0);
    if (!strstr(side.why, words))
        fail_msg("%s: %s", words, side.why);
    side_close(&side);
}

static void test_others_are_refused(void **state)
{
    (void)state;
    check_refused("elsewhere.example", "ca.crt", "hostname mismatch");
    check_refused("127.0.0.2", "ca.crt", "IP address mismatch");
    check_refused("server.example", "other.crt", "unable to get local issuer certificate");
}

static void test_an_end_of_ours_is_quiet(void **state)
{
    (void)state;
    struct side side;
    side_open(&side, "server.example", "ca.crt", SIZE_MAX);
    TURN_UNTIL(&side, side.opened);
    shutdown(side.plain, SHUT_RDWR);
    for (int i = 0; i < 5; i++)
        cn_reactor_turn(side.reactor, 1);
    assert_int_equal(side.ended, 0);
    side_close(&side);
}

static void test_bad_files_make_no_tunnel(void **state)
{
    (void)state;
    struct cn_tls_tunnel *tunnel = NULL;
    struct cn_reactor *reactor;
    struct cn_tls_why why;
    int pair[2];
    int plain = -1;
    const struct cn_tls_files files = {.ca = "/nowhere"};
    const struct cn_tls_tunnel_events events = {NULL, on_open, on_ended};
    assert_int_equal(cn_reactor_new(&reactor, on_wake, NULL), CN_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(
        cn_tls_tunnel_new(reactor, pair[0], "host", &files, &events, &plain, &tunnel, &why),
        CN_INVALID);
    assert_string_equal(why.text, "/nowhere: cannot be read: No such file or directory");
    assert_int_equal(close(pair[0]), -1); // it was taken, and is closed
    close(pair[1]);
    cn_reactor_free(reactor);
}

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    pki_open(&pki);
    pki_issue(&pki, "server", "ca", "DNS:server.example,IP:127.0.0.1", 30);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pki_close(&pki);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_much_passes_both_ways),
        cmocka_unit_test(test_the_other_sides_end_comes_last),
        cmocka_unit_test(test_others_are_refused),
        cmocka_unit_test(test_an_end_of_ours_is_quiet),
        cmocka_unit_test(test_bad_files_make_no_tunnel),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
