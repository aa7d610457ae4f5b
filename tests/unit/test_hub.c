// SPDX-License-Identifier: MIT
// The hub: its making and its end, letters that find nobody, and all of it with real threads.
#include "support/hub_rig.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chatnode/clock.h"
#include "chatnode/metrics.h"
#include "chatnode/thread.h"
#include "hub_private.h"

static struct hub_rig rig;

// ---- One thread ----

static void test_a_bad_url_is_refused_with_a_reason(void **state)
{
    (void)state;
    hub_rig_open(&rig, 1, NULL);
    struct cn_config config = rig.config;
    config.redis_url = (char *)(uintptr_t) "gopher://somewhere";
    const struct cn_hub_parts parts = {
        .config = &config, .reactor = rig.reactor, .node_name = "rig", .loops = 2};
    const char *why = NULL;
    struct cn_hub *hub = NULL;
    assert_int_equal(cn_hub_new(&parts, &hub, &why), CN_INVALID);
    assert_non_null(why);
    assert_true(strlen(why) > 0);
    assert_null(hub);
    hub_rig_close(&rig);
    cn_hub_free(NULL);
}

static void test_letters_find_the_session_on_its_loop_or_are_freed(void **state)
{
    (void)state;
    hub_rig_open(&rig, 4, NULL);
    hub_rig_start(&rig);
    assert_int_equal(cn_hub_loops(rig.hub), 4);
    struct client *crowd[8];
    for (unsigned i = 0; i < 8; i++)
        crowd[i] = rig_member(&rig, i % 4, "ann", NULL);
    uint64_t ids[8];
    assert_int_equal(cn_registry_user_sessions(cn_hub_registry(rig.hub), cn_str_of("ann"), ids, 8),
                     8);
    for (unsigned i = 0; i < 8; i++) {
        unsigned loop;
        assert_int_equal(cn_registry_find_loop(cn_hub_registry(rig.hub), ids[i], &loop), CN_OK);
        assert_ptr_equal(cn_session_find(cn_hub_loop(rig.hub, loop), ids[i])->loop,
                         cn_hub_loop(rig.hub, loop));
    }
    rig_say(&rig, crowd[0], "lobby", "m0");
    for (unsigned i = 0; i < 8; i++)
        client_expect_series(crowd[i], "m", 0, 1);
    hub_rig_close(&rig);
}

// Whatever stands in a mailbox at the end is disposed of: the leak check of the sanitizer looks.
static void test_the_end_in_the_midst_of_everything(void **state)
{
    (void)state;
    hub_rig_open(&rig, 2, NULL);
    hub_rig_start(&rig);
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    rig_say(&rig, ann, "lobby", "m0");
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"a1\"}");
    client_send(ann, "{\"type\":\"history\",\"id\":\"h1\"}");
    hub_rig_turn_main(&rig); // answers and an entry for the loop
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"a2\"}");
    client_send(ann, "{\"type\":\"history\",\"id\":\"h2\"}");
    client_send(ann, "{\"type\":\"join\",\"room\":\"hall\"}");
    client_send(ann, "{\"type\":\"leave\",\"room\":\"lobby\"}"); // asks for main
    client_gone(ann);
    cn_hub_free(rig.hub);
    cn_reactor_free(rig.reactor);
    cn_config_fini(&rig.config);
    cn_metrics_stop();
    fake_sink_fini(&ann->sink);
    free(ann);
    cn_clock_set_fake(NULL);
}

// ---- Threads: main in one, each loop in its own ----

enum { THREADS = 2, CLIENTS = 6, MESSAGES = 300, PATIENCE_S = 50 };

static atomic_int joined; // clients in the room, of all threads

struct runner {
    struct cn_thread thread;
    struct cn_loop *loop;
    sem_t woken;
    atomic_bool stop;
    struct fake_sink sinks[CLIENTS];
    struct cn_session *sessions[CLIENTS];
    int sent[CLIENTS];
    uint64_t next_seq[CLIENTS];
    atomic_int heard; // messages of the room by all clients here
    atomic_int wrong; // messages out of order, missing or twice
};

static void wake_runner(void *arg)
{
    sem_post(&((struct runner *)arg)->woken);
}

static void wake_main(void *arg)
{
    (void)arg;
    cn_hub_turn(rig.hub);
}

// Sends on once all are there, while few enough are in flight that none is refused.
static void speak(struct runner *runner)
{
    if (atomic_load(&joined) < THREADS * CLIENTS)
        return;
    for (int i = 0; i < CLIENTS; i++) {
        struct cn_session *session = runner->sessions[i];
        while (runner->sent[i] < MESSAGES && session->in_flight < 32) {
            runner->sent[i]++;
            cn_session_receive(session, CN_STR_LITERAL("hello"));
        }
    }
}

static void hear(struct runner *runner, int i, const char *text)
{
    struct cn_pos pos;
    if (frame_is(text, "joined") && frame_has(text, "room", "\"lobby\""))
        atomic_fetch_add(&joined, 1);
    if (!frame_is(text, "message"))
        return;
    const char *at = strstr(text, "\"pos\":\"") + 7;
    bool fine = !cn_pos_parse((struct cn_str){at, strcspn(at, "\"")}, &pos) &&
                pos.seq == runner->next_seq[i]++;
    atomic_fetch_add(&runner->wrong, !fine);
    atomic_fetch_add(&runner->heard, 1);
}

static void listen_to_all(struct runner *runner)
{
    const char *text;
    for (int i = 0; i < CLIENTS; i++)
        while ((text = fake_sink_next(&runner->sinks[i])) != NULL)
            hear(runner, i, text);
}

static void wait_a_while(struct runner *runner, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (ms > 0 && ms < 5 ? ms : 5) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)!sem_timedwait(&runner->woken, &until);
}

static void run(void *arg)
{
    struct runner *runner = arg;
    if (cn_metrics_join())
        abort();
    const struct cn_hello hello = {.user = {NULL, 0}};
    for (int i = 0; i < CLIENTS; i++) {
        fake_sink_init(&runner->sinks[i]);
        if (cn_session_new(runner->loop, &runner->sinks[i].sink, &hello, &runner->sessions[i]))
            abort();
    }
    while (!atomic_load(&runner->stop)) {
        speak(runner);
        int64_t next_ms = cn_loop_turn(runner->loop);
        (void)!cn_loop_tick(runner->loop);
        listen_to_all(runner);
        if (next_ms != 0)
            wait_a_while(runner, next_ms);
    }
    for (int i = 0; i < CLIENTS; i++)
        cn_session_detach(runner->sessions[i], CN_REASON_LOST);
    (void)!cn_loop_turn(runner->loop);
}

static bool all_have_heard(struct runner *runners)
{
    int heard = 0;
    for (int i = 0; i < THREADS; i++)
        heard += atomic_load(&runners[i].heard);
    return heard >= THREADS * CLIENTS * THREADS * CLIENTS * MESSAGES;
}

// Every client hears every message once, and all in the same order.
static void test_with_threads(void **state)
{
    (void)state;
    static struct runner runners[THREADS];
    hub_rig_open(&rig, THREADS, NULL);
    cn_clock_set_fake(NULL);
    cn_hub_free(rig.hub);
    cn_reactor_free(rig.reactor);
    assert_int_equal(cn_reactor_new(&rig.reactor, wake_main, NULL), CN_OK);
    const struct cn_hub_parts parts = {
        .config = &rig.config, .reactor = rig.reactor, .node_name = "rig", .loops = THREADS};
    const char *why;
    assert_int_equal(cn_hub_new(&parts, &rig.hub, &why), CN_OK);
    assert_int_equal(cn_hub_start(rig.hub), CN_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        runners[i].loop = cn_hub_loop(rig.hub, i);
        assert_int_equal(sem_init(&runners[i].woken, 0, 0), 0);
        cn_loop_set_wake(runners[i].loop, wake_runner, &runners[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(cn_thread_start(&runners[i].thread, "loop", run, &runners[i]), CN_OK);
    int64_t end_ms = cn_clock_ms() + PATIENCE_S * 1000;
    while (!all_have_heard(runners) && cn_clock_ms() < end_ms)
        cn_reactor_turn(rig.reactor, 20);
    bool heard = all_have_heard(runners);
    for (unsigned i = 0; i < THREADS; i++) {
        atomic_store(&runners[i].stop, true);
        cn_thread_join(&runners[i].thread);
        sem_destroy(&runners[i].woken);
        assert_int_equal(atomic_load(&runners[i].wrong), 0);
        for (int k = 0; k < CLIENTS; k++) {
            assert_false(runners[i].sinks[k].closed);
            assert_int_equal(runners[i].next_seq[k], THREADS * CLIENTS * MESSAGES);
            fake_sink_fini(&runners[i].sinks[k]);
        }
    }
    assert_true(heard);
    assert_int_equal(cn_registry_count(cn_hub_registry(rig.hub)), 0);
    cn_hub_free(rig.hub);
    cn_reactor_free(rig.reactor);
    cn_config_fini(&rig.config);
    cn_metrics_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bad_url_is_refused_with_a_reason),
        cmocka_unit_test(test_letters_find_the_session_on_its_loop_or_are_freed),
        cmocka_unit_test(test_the_end_in_the_midst_of_everything),
        cmocka_unit_test(test_with_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
