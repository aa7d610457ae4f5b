// SPDX-License-Identifier: MIT
// The bus over Redis over TLS: the same contract, whom it believes, and what it says about others.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "contract/bus_contract.h"
#include "support/bus_probe.h"
#include "support/pki.h"
#include "support/redis_server.h"

#include "chatnode/log.h"

static struct pki pki;
static struct redis_server shared;
static char shared_url[64];
static char ca[PKI_PATH_BYTES];

// ---- Helpers ----

// A redis-server with TLS on a port of its own, controlled over its plain unix socket.
struct tls_server {
    struct redis_server server;
    char cert[PKI_PATH_BYTES], key[PKI_PATH_BYTES], port[16];
    const char *args[16];
    char url[64];
};

static void start_server(struct tls_server *tls, const char *name, const char *auth_clients)
{
    char file[64];
    snprintf(file, sizeof(file), "%s.crt", name);
    pki_path(&pki, file, tls->cert);
    snprintf(file, sizeof(file), "%s.key", name);
    pki_path(&pki, file, tls->key);
    int port = redis_server_free_port();
    snprintf(tls->port, sizeof(tls->port), "%d", port);
    snprintf(tls->url, sizeof(tls->url), "rediss://127.0.0.1:%d", port);
    const char *args[] = {"--tls-port",
                          tls->port,
                          "--tls-cert-file",
                          tls->cert,
                          "--tls-key-file",
                          tls->key,
                          "--tls-ca-cert-file",
                          ca,
                          "--tls-auth-clients",
                          auth_clients,
                          "--repl-timeout",
                          "60",
                          NULL};
    memcpy(tls->args, args, sizeof(args));
    redis_server_start(&tls->server, false, tls->args);
}

static void open_probe(struct probe *probe, const char *url, const char *authority,
                       const char *client)
{
    static char cert[PKI_PATH_BYTES], key[PKI_PATH_BYTES];
    char file[64];
    struct cn_bus_options options = probe_options();
    options.url = url;
    options.ca = authority;
    if (client) {
        snprintf(file, sizeof(file), "%s.crt", client);
        options.cert = pki_path(&pki, file, cert);
        snprintf(file, sizeof(file), "%s.key", client);
        options.key = pki_path(&pki, file, key);
    }
    probe_open(probe, NULL, &options);
}

// It is not up, for this cause, whose explanation has these words in it.
static void check_refused(const char *url, const char *authority, const char *client,
                          enum cn_bus_cause cause, const char *words)
{
    struct probe probe;
    open_probe(&probe, url, authority, client);
    WAIT_UNTIL(&probe, probe.cause == cause && strstr(probe.why, words));
    assert_false(probe_is_up(&probe));
    probe_close(&probe);
}

static void check_works(const char *url, const char *authority, const char *client)
{
    struct probe probe;
    open_probe(&probe, url, authority, client);
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    probe_subscribe(&probe, "lobby");
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_OPEN, "lobby") == 1);
    assert_int_equal(probe_store(&probe, "lobby", "ann", "a1").err, CN_OK);
    WAIT_UNTIL(&probe, probe.entries == 1);
    probe_close(&probe);
}

// ---- Whom it believes ----

static void test_another_authority_is_refused(void **state)
{
    (void)state;
    char other[PKI_PATH_BYTES];
    check_refused(shared_url, pki_path(&pki, "other.crt", other), NULL, CN_CAUSE_TLS,
                  "self-signed certificate in certificate chain");
}

static void test_the_systems_authorities_do_not_know_it(void **state)
{
    (void)state;
    check_refused(shared_url, "", NULL, CN_CAUSE_TLS,
                  "self-signed certificate in certificate chain");
}

static void test_another_name_is_refused(void **state)
{
    (void)state;
    struct tls_server tls;
    char url[64];
    start_server(&tls, "elsewhere", "no");
    check_refused(tls.url, ca, NULL, CN_CAUSE_TLS, "IP address mismatch");
    snprintf(url, sizeof(url), "rediss://localhost:%s", tls.port);
    check_refused(url, ca, NULL, CN_CAUSE_TLS, "hostname mismatch");
    redis_server_stop(&tls.server);
}

static void test_a_name_is_as_good_as_an_address(void **state)
{
    (void)state;
    char url[64];
    snprintf(url, sizeof(url), "rediss://localhost:%s", strrchr(shared_url, ':') + 1);
    check_works(url, ca, NULL);
}

static void test_an_expired_certificate_is_refused(void **state)
{
    (void)state;
    struct tls_server tls;
    start_server(&tls, "expired", "no");
    check_refused(tls.url, ca, NULL, CN_CAUSE_TLS, "certificate has expired");
    redis_server_stop(&tls.server);
}

static void test_a_client_shows_its_certificate(void **state)
{
    (void)state;
    struct tls_server tls;
    start_server(&tls, "server", "yes");
    check_refused(tls.url, ca, NULL, CN_CAUSE_TLS, "certificate required");
    check_refused(tls.url, ca, "stranger", CN_CAUSE_TLS, "alert");
    check_works(tls.url, ca, "client");
    redis_server_stop(&tls.server);
}

// ---- Who does not speak TLS, or nothing at all ----

// Redis waits for the end of a line, which does not come in TLS.
static void test_a_plain_port_is_told_apart(void **state)
{
    (void)state;
    struct redis_server plain;
    struct probe probe;
    struct cn_bus_options options = probe_options();
    char url[64];
    redis_server_start(&plain, true, NULL);
    snprintf(url, sizeof(url), "rediss://127.0.0.1:%d", plain.port);
    options.url = url;
    options.ca = ca;
    options.watchdog_ms = 200;
    probe_open(&probe, NULL, &options);
    WAIT_UNTIL(&probe, probe.cause == CN_CAUSE_SILENT && strstr(probe.why, "speak TLS there"));
    probe_close(&probe);
    redis_server_stop(&plain);
}

static void test_nobody_there_is_no_matter_of_tls(void **state)
{
    (void)state;
    char url[64];
    snprintf(url, sizeof(url), "rediss://127.0.0.1:%d", redis_server_free_port());
    check_refused(url, ca, NULL, CN_CAUSE_CONNECT, "Connection refused");
}

static void test_silence_in_the_handshake_is_not_waited_for(void **state)
{
    (void)state;
    struct tls_server tls;
    struct probe probe;
    struct cn_bus_options options = probe_options();
    start_server(&tls, "server", "no");
    redis_server_signal(&tls.server, SIGSTOP);
    options.url = tls.url;
    options.ca = ca;
    options.watchdog_ms = 200;
    probe_open(&probe, NULL, &options);
    WAIT_UNTIL(&probe, probe.cause == CN_CAUSE_SILENT);
    redis_server_signal(&tls.server, SIGCONT);
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    probe_close(&probe);
    redis_server_stop(&tls.server);
}

// ---- Files ----

static void check_files(const char *authority, const char *cert, const char *key)
{
    const char *why = "";
    struct cn_bus_options options = probe_options();
    options.url = shared_url;
    options.ca = authority;
    options.cert = cert;
    options.key = key;
    assert_int_equal(probe_try(&options, &why), CN_INVALID);
    assert_string_equal(why, "the files for TLS to Redis cannot be used");
}

static void test_bad_files_are_refused_at_once(void **state)
{
    (void)state;
    char key[PKI_PATH_BYTES], cert[PKI_PATH_BYTES];
    pki_path(&pki, "client.key", key);
    pki_path(&pki, "client.crt", cert);
    check_files("/nowhere", "", "");
    check_files(key, "", "");
    check_files(ca, cert, "");
    check_files(ca, cert, pki_path(&pki, "server.key", key));
}

// ---- Outages, and much at once ----

static void test_an_outage_is_over_when_redis_is_back(void **state)
{
    (void)state;
    struct tls_server tls;
    struct probe probe;
    start_server(&tls, "server", "no");
    open_probe(&probe, tls.url, ca, NULL);
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    probe_subscribe(&probe, "lobby");
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_OPEN, "lobby") == 1);
    redis_server_command(&tls.server, "CLIENT KILL TYPE normal");
    WAIT_UNTIL(&probe, !probe_is_up(&probe));
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    redis_server_kill(&tls.server, SIGKILL);
    WAIT_UNTIL(&probe, !probe_is_up(&probe));
    redis_server_restart(&tls.server);
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    assert_int_equal(probe_store(&probe, "lobby", "ann", "a1").err, CN_OK);
    WAIT_UNTIL(&probe, probe.entries == 1);
    probe_close(&probe);
    redis_server_stop(&tls.server);
}

// More than the sockets' buffers hold, both ways at once: each way must wait for the other.
static void test_much_at_once_arrives_whole(void **state)
{
    (void)state;
    enum { COUNT = 300, BYTES = 60000 };
    static struct probe_answer answers[COUNT];
    static char content[BYTES + 3];
    struct probe probe;
    char id[16];
    open_probe(&probe, shared_url, ca, NULL);
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    probe_subscribe(&probe, "much");
    WAIT_UNTIL(&probe, probe_count(&probe, PROBE_OPEN, "much") == 1);
    memset(content, 'x', BYTES);
    for (int i = 0; i < COUNT; i++) {
        snprintf(id, sizeof(id), "m%d", i);
        memcpy(content, id, strlen(id));
        probe_publish_for(&probe, "much", "ann", id, content, 60000, &answers[i]);
    }
    WAIT_UNTIL(&probe, probe.entries == COUNT);
    WAIT_UNTIL(&probe, cn_bus_pending(probe.bus) == 0);
    probe_assert_ordered(&probe, "much");
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(answers[i].result.err, CN_OK);
    for (size_t i = 0; i < probe.count; i++)
        if (probe.events[i].kind == PROBE_ENTRY)
            assert_true(strlen(probe.events[i].text) > BYTES);
    probe_close(&probe);
}

// ---- All of it ----

static void prepare(struct cn_bus_options *options)
{
    static char prefixes[64][16];
    static unsigned count;
    char *prefix = prefixes[count++ % 64];
    snprintf(prefix, sizeof(prefixes[0]), "t%u:", count);
    options->url = shared_url;
    options->ca = ca;
    options->prefix = prefix;
}

static void set_up(void)
{
    static struct tls_server tls;
    pki_open(&pki);
    pki_path(&pki, "ca.crt", ca);
    pki_issue(&pki, "server", "ca", "IP:127.0.0.1,DNS:localhost", 30);
    pki_issue(&pki, "elsewhere", "ca", "DNS:redis.example.org,IP:127.0.0.9", 30);
    pki_issue(&pki, "expired", "ca", "IP:127.0.0.1", -1);
    pki_issue(&pki, "client", "ca", "DNS:node", 30);
    pki_issue(&pki, "stranger", "other", "DNS:node", 30);
    start_server(&tls, "server", "no");
    shared = tls.server;
    snprintf(shared_url, sizeof(shared_url), "%s", tls.url);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    if (cn_log_open("/dev/null", CN_LOG_JSON) != CN_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_another_authority_is_refused),
        cmocka_unit_test(test_the_systems_authorities_do_not_know_it),
        cmocka_unit_test(test_another_name_is_refused),
        cmocka_unit_test(test_a_name_is_as_good_as_an_address),
        cmocka_unit_test(test_an_expired_certificate_is_refused),
        cmocka_unit_test(test_a_client_shows_its_certificate),
        cmocka_unit_test(test_a_plain_port_is_told_apart),
        cmocka_unit_test(test_nobody_there_is_no_matter_of_tls),
        cmocka_unit_test(test_silence_in_the_handshake_is_not_waited_for),
        cmocka_unit_test(test_bad_files_are_refused_at_once),
        cmocka_unit_test(test_an_outage_is_over_when_redis_is_back),
        cmocka_unit_test(test_much_at_once_arrives_whole),
    };
    set_up();
    int failed = cmocka_run_group_tests_name("redis over TLS", tests, NULL, NULL);
    failed += bus_contract_run("redis over TLS", prepare);
    redis_server_stop(&shared);
    pki_close(&pki);
    return failed;
}
