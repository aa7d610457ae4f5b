// SPDX-License-Identifier: MIT
// The HTTP client against a server in the same reactor, which says what a test wants.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "chatnode/fetch.h"

#include <unistd.h>

#include "chatnode/clock.h"

enum { DEADLINE_MS = 10000, PEERS_MAX = 16 };

// Linked with --wrap=calloc: what fetch.c allocates can be made to fail.
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
static struct cn_fetcher *fetcher;
static struct cn_listener *listener;

// ---- The server ----

struct peer {
    int fd;
    struct cn_io *io;
};

static struct peer peers[PEERS_MAX];
static int peer_count;
static const char *says; // what each connection is answered, then closed; NULL: nothing
static char heard[8192]; // the latest request
static size_t heard_len;

static void on_peer(void *arg, int events)
{
    (void)events;
    struct peer *peer = arg;
    ssize_t got = read(peer->fd, heard + heard_len, sizeof(heard) - 1 - heard_len);
    if (got > 0)
        heard_len += (size_t)got;
    heard[heard_len] = '\0';
    if (got > 0 && (!says || !strstr(heard, "\r\n\r\n")))
        return;
    if (got > 0)
        assert_int_equal(write(peer->fd, says, strlen(says)), strlen(says));
    cn_io_free(peer->io);
    close(peer->fd);
    *peer = (struct peer){.fd = -1};
}

static void on_accepted(void *arg, int fd, const struct sockaddr *address)
{
    (void)arg;
    (void)address;
    assert_true(peer_count < PEERS_MAX);
    struct peer *peer = &peers[peer_count++];
    peer->fd = fd;
    heard_len = 0;
    assert_int_equal(cn_io_new(reactor, fd, on_peer, peer, &peer->io), CN_OK);
    cn_io_watch(peer->io, CN_IO_READ);
}

static void on_failed(void *arg, int error)
{
    (void)arg;
    fail_msg("accept: %d", error);
}

static void on_wake(void *arg)
{
    (void)arg;
}

static void open_fetcher(size_t at_once, size_t queue)
{
    cn_fetcher_free(fetcher);
    assert_int_equal(
        cn_fetcher_new(
            &(struct cn_fetcher_options){.reactor = reactor, .at_once = at_once, .queue = queue},
            &fetcher),
        CN_OK);
}

static int set_up(void **state)
{
    (void)state;
    peer_count = 0;
    says = NULL;
    fetcher = NULL;
    if (cn_reactor_new(&reactor, on_wake, NULL) != CN_OK ||
        cn_listener_open(reactor, cn_str_of("127.0.0.1:0"), on_accepted, on_failed, NULL,
                         &listener) != CN_OK)
        return -1;
    open_fetcher(4, 4);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cn_fetcher_free(fetcher);
    for (int i = 0; i < peer_count; i++) {
        cn_io_free(peers[i].io);
        if (peers[i].fd >= 0 && peers[i].fd != 0)
            close(peers[i].fd);
    }
    cn_listener_close(listener);
    cn_reactor_free(reactor);
    return 0;
}

// ---- The client ----

struct outcome {
    int told;
    enum cn_err err;
    int status;
    char body[256];
    char why[128];
};

static void on_done(void *arg, const struct cn_fetch_answer *answer)
{
    struct outcome *outcome = arg;
    outcome->told++;
    outcome->err = answer->err;
    outcome->status = answer->status;
    snprintf(outcome->body, sizeof(outcome->body), "%.*s", (int)answer->body.len, answer->body.ptr);
    snprintf(outcome->why, sizeof(outcome->why), "%s", answer->why);
}

static const char *url_of_server(void)
{
    static char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/keys?a=b", cn_listener_port(listener));
    return url;
}

static enum cn_err start(const char *url, const char *body, struct outcome *outcome,
                         struct cn_fetch **out)
{
    *outcome = (struct outcome){.told = 0};
    return cn_fetch_start(fetcher,
                          &(struct cn_fetch_order){.url = url,
                                                   .body = cn_str_of(body),
                                                   .timeout_ms = says ? DEADLINE_MS : 50,
                                                   .answer_bytes = 100,
                                                   .done = on_done,
                                                   .arg = outcome},
                          out);
}

static void turn_until_told(const struct outcome *outcome)
{
    int64_t deadline_ms = cn_clock_ms() + DEADLINE_MS;
    while (!outcome->told) {
        assert_true(cn_clock_ms() < deadline_ms);
        cn_reactor_turn(reactor, 100);
    }
    assert_int_equal(outcome->told, 1);
}

// Asks the server, which then says this.
static struct outcome ask(const char *answer, const char *body)
{
    struct outcome outcome;
    says = answer;
    assert_int_equal(start(url_of_server(), body, &outcome, NULL), CN_OK);
    assert_int_equal(outcome.told, 0);
    turn_until_told(&outcome);
    return outcome;
}

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"

static void an_answer_comes(void **state)
{
    (void)state;
    struct outcome outcome = ask(OK, NULL);
    assert_int_equal(outcome.err, CN_OK);
    assert_int_equal(outcome.status, 200);
    assert_string_equal(outcome.body, "hello");
    assert_ptr_equal(strstr(heard, "GET /keys?a=b HTTP/1.1\r\n"), heard);
    assert_non_null(strstr(heard, "Accept: application/json\r\n"));
    outcome = ask("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", NULL);
    assert_int_equal(outcome.err, CN_OK);
    assert_int_equal(outcome.status, 403);
    assert_string_equal(outcome.body, "");
}

static void a_body_is_posted(void **state)
{
    (void)state;
    struct outcome outcome = ask(OK, "{\"a\":1}");
    assert_int_equal(outcome.err, CN_OK);
    assert_ptr_equal(strstr(heard, "POST /keys?a=b HTTP/1.1\r\n"), heard);
    assert_non_null(strstr(heard, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(heard, "Content-Length: 7\r\n"));
    assert_null(strstr(heard, "Expect"));
}

static void redirects_are_not_followed(void **state)
{
    (void)state;
    struct outcome outcome = ask("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n"
                                 "Content-Length: 0\r\nConnection: close\r\n\r\n",
                                 NULL);
    assert_int_equal(outcome.err, CN_OK);
    assert_int_equal(outcome.status, 302);
    assert_int_equal(peer_count, 1);
}

static void what_is_too_long_is_cut_off(void **state)
{
    (void)state;
    char text[400];
    for (int len = 100; len <= 101; len++) {
        snprintf(text, sizeof(text),
                 "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%0*d", len, len,
                 0);
        struct outcome outcome = ask(text, NULL);
        assert_int_equal(outcome.err, len > 100 ? CN_FULL : CN_OK);
        // The same without a length.
        snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%0*d", len, 0);
        outcome = ask(text, NULL);
        assert_int_equal(outcome.err, len > 100 ? CN_FULL : CN_OK);
    }
}

static void what_is_no_answer_is_said(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "\r\n",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
    };
    for (size_t i = 0; i < CN_COUNT(texts); i++) {
        struct outcome outcome = ask(texts[i], NULL);
        assert_int_equal(outcome.err, CN_UNAVAILABLE);
        assert_true(outcome.why[0] != '\0');
    }
}

static void nobody_listens(void **state)
{
    (void)state;
    struct outcome outcome;
    says = "";
    char url[64];
    snprintf(url, sizeof(url), "%s", url_of_server());
    cn_listener_close(listener);
    listener = NULL;
    assert_int_equal(start(url, NULL, &outcome, NULL), CN_OK);
    turn_until_told(&outcome);
    assert_int_equal(outcome.err, CN_UNAVAILABLE);
}

static void silence_has_an_end(void **state)
{
    (void)state;
    struct outcome outcome;
    assert_int_equal(start(url_of_server(), NULL, &outcome, NULL), CN_OK); // says nothing
    turn_until_told(&outcome);
    assert_int_equal(outcome.err, CN_TIMEOUT);
}

// Two at once, two that wait, the fifth is refused. The waiting ones' time is over as well when it
// is their turn.
static void places_are_bounded(void **state)
{
    (void)state;
    struct outcome outcomes[5];
    open_fetcher(2, 2);
    for (int i = 0; i < 4; i++)
        assert_int_equal(start(url_of_server(), NULL, &outcomes[i], NULL), CN_OK);
    assert_int_equal(start(url_of_server(), NULL, &outcomes[4], NULL), CN_FULL);
    for (int i = 0; i < 4; i++) {
        turn_until_told(&outcomes[i]);
        assert_int_equal(outcomes[i].err, CN_TIMEOUT);
    }
    assert_true(peer_count <= 2);
    assert_int_equal(outcomes[4].told, 0);
    assert_int_equal(ask(OK, NULL).err, CN_OK);
}

static void who_waits_comes_next(void **state)
{
    (void)state;
    struct outcome outcomes[4];
    open_fetcher(1, 3);
    says = OK;
    for (int i = 0; i < 4; i++)
        assert_int_equal(start(url_of_server(), NULL, &outcomes[i], NULL), CN_OK);
    for (int i = 0; i < 4; i++) {
        turn_until_told(&outcomes[i]);
        assert_int_equal(outcomes[i].err, CN_OK);
        assert_true(i == 3 || !outcomes[i + 1].told);
    }
}

static void what_is_cancelled_is_not_told(void **state)
{
    (void)state;
    struct outcome outcomes[3];
    struct cn_fetch *fetches[2];
    open_fetcher(1, 2);
    says = OK;
    assert_int_equal(start(url_of_server(), NULL, &outcomes[0], &fetches[0]), CN_OK);
    assert_int_equal(start(url_of_server(), NULL, &outcomes[1], &fetches[1]), CN_OK);
    assert_int_equal(start(url_of_server(), NULL, &outcomes[2], NULL), CN_OK);
    cn_fetch_cancel(fetches[0]); // under way
    cn_fetch_cancel(fetches[1]); // waits
    turn_until_told(&outcomes[2]);
    assert_int_equal(outcomes[2].err, CN_OK);
    assert_int_equal(outcomes[0].told + outcomes[1].told, 0);
}

static void the_end_tells_nobody(void **state)
{
    (void)state;
    struct outcome outcomes[6];
    for (int i = 0; i < 6; i++)
        assert_int_equal(start(url_of_server(), NULL, &outcomes[i], NULL), CN_OK);
    cn_reactor_turn(reactor, 10);
    cn_fetcher_free(fetcher);
    fetcher = NULL;
    cn_reactor_turn(reactor, 10);
    for (int i = 0; i < 6; i++)
        assert_int_equal(outcomes[i].told, 0);
}

// Starts the next one from within the first one's end.
static struct outcome second;

static void on_done_again(void *arg, const struct cn_fetch_answer *answer)
{
    on_done(arg, answer);
    assert_int_equal(start(url_of_server(), NULL, &second, NULL), CN_OK);
}

static void one_may_follow_the_other(void **state)
{
    (void)state;
    struct outcome first = {.told = 0};
    says = OK;
    open_fetcher(1, 0);
    const struct cn_fetch_order order = {.url = url_of_server(),
                                         .timeout_ms = DEADLINE_MS,
                                         .answer_bytes = 100,
                                         .done = on_done_again,
                                         .arg = &first};
    assert_int_equal(cn_fetch_start(fetcher, &order, NULL), CN_OK);
    turn_until_told(&first);
    turn_until_told(&second);
    assert_int_equal(second.err, CN_OK);
}

static void only_some_urls_are_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool is_allowed;
    } cases[] = {
        {"https://id.example.org/keys", true},
        {"HTTPS://id.example.org:8443/keys?a=b", true},
        {"http://localhost/keys", true},
        {"http://127.0.0.1:8080/", true},
        {"http://127.9.9.9/", true},
        {"http://[::1]:80/", true},
        {"http://id.example.org/keys", false},
        {"http://10.0.0.1/", false},
        {"http://127.0.0.1.example.org/", false},
        {"http://localhost.example.org/", false},
        {"http://[::2]/", false},
        {"http://127.0.0.1@example.org/", false},
        {"http://example.org@127.0.0.1/", false},
        {"https://user:password@id.example.org/", false},
        {"ftp://127.0.0.1/", false},
        {"file:///etc/passwd", false},
        {"gopher://127.0.0.1/", false},
        {"//127.0.0.1/", false},
        {"127.0.0.1", false},
        {"http://", false},
        {"https:// id.example.org/", false},
        {"", false},
    };
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        if (cn_fetcher_allows(fetcher, cases[i].url) != cases[i].is_allowed)
            fail_msg("%s", cases[i].url);
        struct outcome outcome;
        if (!cases[i].is_allowed)
            assert_int_equal(start(cases[i].url, NULL, &outcome, NULL), CN_INVALID);
    }
}

static void want_of_memory_is_said(void **state)
{
    (void)state;
    struct outcome outcome;
    struct cn_fetcher *other = NULL;
    const struct cn_fetcher_options options = {.reactor = reactor, .at_once = 1};
    says = OK;
    for (int left = 0; left < 3; left++) {
        allocations_left = left;
        assert_int_equal(cn_fetcher_new(&options, &other), CN_NOMEM);
        allocations_left = -1;
        assert_null(other);
    }
    allocations_left = 0;
    assert_int_equal(start(url_of_server(), NULL, &outcome, NULL), CN_NOMEM);
    allocations_left = -1;
    assert_int_equal(ask(OK, NULL).err, CN_OK);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(an_answer_comes),
        CASE(a_body_is_posted),
        CASE(redirects_are_not_followed),
        CASE(what_is_too_long_is_cut_off),
        CASE(what_is_no_answer_is_said),
        CASE(nobody_listens),
        CASE(silence_has_an_end),
        CASE(places_are_bounded),
        CASE(who_waits_comes_next),
        CASE(what_is_cancelled_is_not_told),
        CASE(the_end_tells_nobody),
        CASE(one_may_follow_the_other),
        CASE(only_some_urls_are_allowed),
        CASE(want_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
