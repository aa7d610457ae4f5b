// SPDX-License-Identifier: MIT
// Which servers the Redis bus accepts, and what it says about those it does not.
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/bus_probe.h"
#include "support/redis_server.h"

#include "chatnode/log.h"

// ---- The log, which an operator reads ----

static char log_path[] = "/tmp/chatnode-link-XXXXXX";

static void log_begin(void)
{
    assert_int_equal(truncate(log_path, 0), 0);
}

// Lines that hold both texts.
static int log_lines(const char *one, const char *other)
{
    char line[9000];
    int count = 0;
    FILE *file = fopen(log_path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        count += strstr(line, one) && strstr(line, other);
    fclose(file);
    return count;
}

// ---- Helpers ----

static struct cn_bus_options options_for(const char *url)
{
    struct cn_bus_options options = probe_options();
    options.url = url;
    return options;
}

static const char *make_url(char out[256], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static const char *make_url(char out[256], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(out, 256, format, args);
    va_end(args);
    return out;
}

static void open_probe(struct probe *probe, const char *url)
{
    struct cn_bus_options options = options_for(url);
    log_begin();
    probe_open(probe, NULL, &options);
}

// Lets some attempts to connect pass.
static void spend(struct probe *probe, int64_t ms)
{
    int64_t end = cn_clock_ms() + ms;
    WAIT_UNTIL(probe, cn_clock_ms() >= end);
}

// ---- Right servers ----

static void test_a_user_with_a_password_on_tcp(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    char url[256];
    redis_server_start(&server, true, NULL);
    redis_server_command(&server,
                         "ACL SETUSER chat on >s3:cret ~chatnode:test:* &chatnode:test:* +@all");
    open_probe(&probe, make_url(url, "redis://chat:s3%%3Acret@127.0.0.1:%d", server.port));
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    probe_subscribe(&probe, "lobby");
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_OPEN, "lobby") == 1);
    assert_int_equal(probe_store(&probe, "lobby", "ann", "a1").err, CN_OK);
    WAIT_UNTIL(&probe, probe.entries == 1);
    assert_int_equal(log_lines("cret", ""), 0);
    probe_close(&probe);
    redis_server_stop(&server);
}

static void test_a_password_alone_on_a_socket(void **state)
{
    (void)state;
    static const char *const args[] = {"--requirepass", "hush", NULL};
    struct redis_server server;
    struct probe probe;
    char url[256];
    redis_server_start(&server, false, args);
    open_probe(&probe, make_url(url, "unix://:hush@%s", server.socket));
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    probe_close(&probe);
    open_probe(&probe, make_url(url, "unix://%s", server.socket));
    WAIT_UNTIL(&probe, log_lines("bus.down", "wants a password") == 1);
    assert_false(probe_is_up(&probe));
    probe_close(&probe);
    redis_server_stop(&server);
}

static void test_databases_are_worlds_of_their_own(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe three, none;
    char url[256];
    redis_server_start(&server, false, NULL);
    open_probe(&three, make_url(url, "%s?db=3", server.url));
    open_probe(&none, server.url);
    WAIT_UNTIL(&three, probe_is_up(&three));
    WAIT_UNTIL(&none, probe_is_up(&none));
    probe_subscribe(&three, "lobby");
    probe_subscribe(&none, "lobby");
    WAIT_UNTIL(&three, three.count == 1);
    WAIT_UNTIL(&none, none.count == 1);
    probe_store(&three, "lobby", "ann", "a1");
    WAIT_UNTIL(&three, three.entries == 1);
    assert_int_equal(redis_server_command(&server, "DBSIZE"), 0);
    probe_store(&none, "lobby", "bob", "b1");
    WAIT_UNTIL(&none, none.entries == 1);
    assert_non_null(strstr(probe_event(&none, PROBE_ENTRY, "lobby", 0)->text, "bob"));
    assert_int_equal(probe_count(&none, PROBE_RESET, "lobby"), 0);
    probe_close(&three);
    probe_close(&none);
    redis_server_stop(&server);
}

static void test_a_server_that_comes_later_is_found(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    redis_server_start(&server, true, NULL);
    redis_server_kill(&server, SIGKILL);
    open_probe(&probe, server.url);
    probe_subscribe(&probe, "lobby");
    spend(&probe, 500);
    assert_int_equal(log_lines("bus.down", "Connection refused"), 1);
    assert_int_equal(log_lines("bus.down", ""), 1);
    assert_int_equal(probe.states, 0);
    redis_server_restart(&server);
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    WAIT_UNTIL(&probe, probe.count == 1);
    assert_int_equal(probe.states, 1);
    probe_close(&probe);
    redis_server_stop(&server);
}

// ---- Wrong ones ----

static void test_a_wrong_password_is_named_once_and_tried_again(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    char url[256];
    redis_server_start(&server, false, NULL);
    redis_server_command(&server, "ACL SETUSER chat on >right ~* &* +@all");
    open_probe(&probe, make_url(url, "unix://chat:wrong@%s", server.socket));
    WAIT_UNTIL(&probe, log_lines("bus.down", "WRONGPASS") == 1);
    spend(&probe, 400);
    assert_int_equal(log_lines("bus.down", ""), 1);
    assert_int_equal(log_lines("wrong", ""), 0);
    redis_server_command(&server, "ACL SETUSER chat >wrong");
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    probe_close(&probe);
    redis_server_stop(&server);
}

static void test_a_user_without_the_channels_is_told(void **state)
{
    (void)state;
    struct redis_server server;
    struct probe probe;
    char url[256];
    redis_server_start(&server, false, NULL);
    redis_server_command(&server, "ACL SETUSER chat on >right ~* &other:* +@all");
    open_probe(&probe, make_url(url, "unix://chat:right@%s", server.socket));
    WAIT_UNTIL(&probe, log_lines("bus.down", "NOPERM") == 1);
    spend(&probe, 300);
    assert_int_equal(log_lines("bus.down", ""), 1);
    assert_int_equal(probe.states, 0);
    redis_server_command(&server, "ACL SETUSER chat &chatnode:test:*");
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    probe_close(&probe);
    redis_server_stop(&server);
}

static void test_a_replica_is_refused_until_it_is_promoted(void **state)
{
    (void)state;
    struct redis_server master, replica;
    struct probe probe;
    char command[64];
    redis_server_start(&master, true, NULL);
    redis_server_start(&replica, true, NULL);
    snprintf(command, sizeof(command), "REPLICAOF 127.0.0.1 %d", master.port);
    redis_server_command(&replica, command);
    open_probe(&probe, replica.url);
    WAIT_UNTIL(&probe, log_lines("bus.down", "this Redis is a replica") == 1);
    assert_false(probe_is_up(&probe));
    redis_server_command(&replica, "REPLICAOF NO ONE");
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    probe_close(&probe);
    redis_server_stop(&replica);
    redis_server_stop(&master);
}

static void test_a_master_that_is_demoted_is_left(void **state)
{
    (void)state;
    struct redis_server old, young;
    struct probe probe;
    struct probe_answer answer = {0};
    char command[64];
    redis_server_start(&old, true, NULL);
    redis_server_start(&young, true, NULL);
    open_probe(&probe, old.url);
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    struct cn_pos before = probe_store(&probe, "lobby", "ann", "a1").pos;
    snprintf(command, sizeof(command), "REPLICAOF 127.0.0.1 %d", young.port);
    redis_server_command(&old, command);
    probe_publish_for(&probe, "lobby", "ann", "a2", "a2", 100, &answer);
    WAIT_UNTIL(&probe, answer.calls == 1);
    assert_int_equal(answer.result.err, CN_UNAVAILABLE);
    assert_false(probe_is_up(&probe));
    WAIT_UNTIL(&probe, log_lines("bus.down", "this Redis is a replica") == 1);
    redis_server_command(&old, "REPLICAOF NO ONE");
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    struct cn_published after = probe_store(&probe, "lobby", "ann", "a2");
    assert_int_equal(after.err, CN_OK);
    assert_true(after.pos.gen > before.gen);
    probe_close(&probe);
    redis_server_stop(&old);
    redis_server_stop(&young);
}

// ---- Servers that are no Redis ----

// Answers each connection with `text`: at once, or when something was read.
struct impostor {
    struct probe *probe;
    struct cn_reactor *reactor;
    struct cn_listener *listener;
    const char *text;
    bool at_once;
    int fds[64];
    struct cn_io *ios[64];
    int count;
};

struct impostor_call {
    struct impostor *impostor;
    int index;
};

static struct impostor_call calls[64];

static void say(struct impostor *impostor, int index)
{
    size_t len = strlen(impostor->text);
    if (len > 0)
        (void)!write(impostor->fds[index], impostor->text, len);
}

static void on_readable(void *arg, int events)
{
    struct impostor_call *call = arg;
    char bytes[4096];
    (void)events;
    if (read(call->impostor->fds[call->index], bytes, sizeof(bytes)) > 0)
        say(call->impostor, call->index);
    else
        cn_io_watch(call->impostor->ios[call->index], 0);
}

static void on_accepted(void *arg, int fd, const struct sockaddr *peer)
{
    struct impostor *impostor = arg;
    int index = impostor->count++;
    (void)peer;
    assert_true(index < 64);
    impostor->fds[index] = fd;
    calls[index] = (struct impostor_call){impostor, index};
    assert_int_equal(
        cn_io_new(impostor->reactor, fd, on_readable, &calls[index], &impostor->ios[index]), CN_OK);
    if (impostor->at_once)
        say(impostor, index);
    else
        cn_io_watch(impostor->ios[index], CN_IO_READ);
}

static void on_failed(void *arg, int error)
{
    (void)arg;
    fail_msg("accept: %s", strerror(error));
}

static void on_wake(void *arg)
{
    (void)arg;
}

static void impostor_open(struct impostor *impostor, const char *text, bool at_once,
                          struct probe *probe, int64_t watchdog_ms)
{
    char url[256];
    *impostor = (struct impostor){.text = text, .at_once = at_once, .probe = probe};
    assert_int_equal(cn_reactor_new(&impostor->reactor, on_wake, NULL), CN_OK);
    assert_int_equal(cn_listener_open(impostor->reactor, cn_str_of("127.0.0.1:0"), on_accepted,
                                      on_failed, impostor, &impostor->listener),
                     CN_OK);
    struct cn_bus_options options =
        options_for(make_url(url, "redis://127.0.0.1:%d", cn_listener_port(impostor->listener)));
    options.watchdog_ms = watchdog_ms;
    log_begin();
    probe_open(probe, impostor->reactor, &options);
}

static void impostor_close(struct impostor *impostor)
{
    probe_close(impostor->probe);
    for (int i = 0; i < impostor->count; i++) {
        cn_io_free(impostor->ios[i]);
        close(impostor->fds[i]);
    }
    cn_listener_close(impostor->listener);
    cn_reactor_free(impostor->reactor);
}

static void check_impostor(const char *text, bool at_once, const char *said)
{
    struct impostor impostor;
    struct probe probe;
    impostor_open(&impostor, text, at_once, &probe, 200);
    WAIT_UNTIL(&probe, impostor.count >= 3);
    assert_int_equal(log_lines("bus.down", said), 1);
    assert_int_equal(log_lines("bus.down", ""), 1);
    assert_int_equal(probe.states + probe.fatals, 0);
    impostor_close(&impostor);
}

static void test_a_silent_server_is_not_waited_for(void **state)
{
    (void)state;
    check_impostor("", false, "no answer within 200 ms; is it Redis?");
}

static void test_a_web_server_is_recognised(void **state)
{
    (void)state;
    check_impostor("HTTP/1.1 400 Bad Request\r\n\r\n", false, "what answers is not Redis");
}

static void test_a_mail_server_is_recognised(void **state)
{
    (void)state;
    check_impostor("220 mail.example.org ESMTP\r\n", true, "not Redis");
}

static void test_another_server_with_the_same_protocol_is_recognised(void **state)
{
    (void)state;
    check_impostor("+OK\r\n+OK\r\n+OK\r\n", false, "INFO shows no version");
    check_impostor("-ERR max number of clients reached\r\n", true, "max number of clients");
}

// More answers than questions: the library must not be brought to its assertions.
static void test_answers_that_nobody_asked_for_end_the_connection(void **state)
{
    (void)state;
    static const char info[] = "+OK\r\n"
                               "$39\r\nredis_version:7.0.0\r\nrun_id:0123456789\r\n\r\n"
                               "$11\r\nrole:master\r\n";
    struct impostor impostor;
    struct probe probe;
    impostor_open(&impostor, info, false, &probe, 200);
    WAIT_UNTIL(&probe, impostor.count >= 1);
    impostor.text = "+OK\r\n";
    WAIT_UNTIL(&probe, impostor.count >= 3);
    assert_false(probe_is_up(&probe));
    impostor_close(&impostor);
}

static void test_an_old_redis_is_fatal(void **state)
{
    (void)state;
    static const char info[] = "+OK\r\n"
                               "$38\r\nredis_version:6.2.7\r\nrun_id:012345678\r\n\r\n"
                               "$11\r\nrole:master\r\n";
    struct impostor impostor;
    struct probe probe;
    impostor_open(&impostor, info, false, &probe, 3000);
    WAIT_UNTIL(&probe, probe.fatals == 1);
    assert_string_equal(probe.fatal_why, "Redis is too old: it is 6.2.7, 7.0 is needed");
    spend(&probe, 300);
    assert_int_equal(probe.fatals, 1);
    assert_int_equal(impostor.count, 1);
    assert_false(probe_is_up(&probe));
    impostor_close(&impostor);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    int fd = mkstemp(log_path);
    if (fd < 0 || cn_log_open(log_path, CN_LOG_JSON) != CN_OK)
        return 1;
    close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_user_with_a_password_on_tcp),
        cmocka_unit_test(test_a_password_alone_on_a_socket),
        cmocka_unit_test(test_databases_are_worlds_of_their_own),
        cmocka_unit_test(test_a_server_that_comes_later_is_found),
        cmocka_unit_test(test_a_wrong_password_is_named_once_and_tried_again),
        cmocka_unit_test(test_a_user_without_the_channels_is_told),
        cmocka_unit_test(test_a_replica_is_refused_until_it_is_promoted),
        cmocka_unit_test(test_a_master_that_is_demoted_is_left),
        cmocka_unit_test(test_a_silent_server_is_not_waited_for),
        cmocka_unit_test(test_a_web_server_is_recognised),
        cmocka_unit_test(test_a_mail_server_is_recognised),
        cmocka_unit_test(test_another_server_with_the_same_protocol_is_recognised),
        cmocka_unit_test(test_answers_that_nobody_asked_for_end_the_connection),
        cmocka_unit_test(test_an_old_redis_is_fatal),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cn_log_close();
    unlink(log_path);
    return failed;
}
