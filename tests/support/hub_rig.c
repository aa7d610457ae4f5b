// SPDX-License-Identifier: MIT
// A hub under test, turned by hand.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/hub_rig.h"

#include "chatnode/clock.h"
#include "chatnode/log.h"
#include "hub_private.h"

enum { START_US = 1700000000, ROUNDS_MAX = 100000, ARGS_MAX = 32 };

// ---- Life ----

static void load_config(struct cn_config *config, const char *const *settings)
{
    char *argv[ARGS_MAX] = {(char *)"chatnode"};
    int argc = 1;
    for (; settings && settings[argc - 1]; argc++) {
        assert_true(argc < ARGS_MAX);
        argv[argc] = (char *)(uintptr_t)settings[argc - 1];
    }
    const struct cn_config_sources sources = {argc, argv, NULL};
    enum cn_config_action action;
    struct cn_buf report;
    cn_buf_init(&report, 65536);
    enum cn_err err = cn_config_load(config, &sources, &action, &report);
    if (err)
        fail_msg("%.*s", (int)report.len, report.data);
    cn_buf_fini(&report);
}

static void on_wake(void *arg)
{
    ((struct hub_rig *)arg)->wakes++; // the rig turns main itself
}

static void on_fatal(void *arg, const char *why)
{
    struct hub_rig *rig = arg;
    (void)why;
    rig->fatals++;
}

void hub_rig_open(struct hub_rig *rig, unsigned loops, const char *const *settings)
{
    memset(rig, 0, sizeof(*rig));
    assert_true(loops <= RIG_LOOPS);
    rig->now_us = START_US;
    rig->loops = loops;
    cn_clock_set_fake(&rig->now_us);
    cn_log_set_level(CN_LOG_ERROR);
    load_config(&rig->config, settings);
    assert_int_equal(cn_metrics_start(cn_metric_table(), CN_METRIC_ROWS), CN_OK);
    assert_int_equal(cn_metrics_join(), CN_OK);
    assert_int_equal(cn_reactor_new(&rig->reactor, on_wake, rig), CN_OK);
    const struct cn_hub_parts parts = {.config = &rig->config,
                                       .reactor = rig->reactor,
                                       .node_name = "rig",
                                       .loops = loops,
                                       .on_fatal = on_fatal,
                                       .arg = rig};
    const char *why = NULL;
    assert_int_equal(cn_hub_new(&parts, &rig->hub, &why), CN_OK);
}

void hub_rig_start(struct hub_rig *rig)
{
    assert_int_equal(cn_hub_start(rig->hub), CN_OK);
    hub_rig_settle(rig);
}

void hub_rig_close(struct hub_rig *rig)
{
    for (size_t i = 0; i < rig->client_count; i++) {
        client_gone(rig->clients[i]);
        fake_sink_fini(&rig->clients[i]->sink);
        free(rig->clients[i]);
    }
    hub_rig_settle(rig);
    assert_int_equal(cn_registry_count(cn_hub_registry(rig->hub)), 0);
    assert_int_equal(cn_metrics_sum(CN_M_SESSIONS), 0);
    assert_int_equal(cn_metrics_sum(CN_M_MEMBERS), 0);
    cn_hub_free(rig->hub);
    cn_reactor_free(rig->reactor);
    cn_config_fini(&rig->config);
    cn_metrics_stop();
    cn_clock_set_fake(NULL);
}

// ---- Turns ----

void hub_rig_turn_main(struct hub_rig *rig)
{
    cn_reactor_turn(rig->reactor, 0);
    cn_hub_turn(rig->hub);
}

void hub_rig_turn_loop(struct hub_rig *rig, unsigned index)
{
    rig->next_ms[index] = cn_loop_turn(cn_hub_loop(rig->hub, index));
}

void hub_rig_turn(struct hub_rig *rig)
{
    hub_rig_turn_main(rig);
    for (unsigned i = 0; i < rig->loops; i++)
        hub_rig_turn_loop(rig, i);
}

static bool is_busy(const struct hub_rig *rig)
{
    if (rig->hub->asks.first)
        return true;
    for (unsigned i = 0; i < rig->loops; i++)
        if (rig->hub->loops[i]->letters.first || rig->next_ms[i] == 0)
            return true;
    return false;
}

void hub_rig_settle(struct hub_rig *rig)
{
    int rounds = 0;
    do {
        hub_rig_turn(rig);
        assert_true(++rounds < ROUNDS_MAX);
    } while (is_busy(rig));
}

void hub_rig_pass_ms(struct hub_rig *rig, int64_t ms)
{
    rig->now_us += ms * 1000;
    for (unsigned i = 0; i < rig->loops; i++)
        assert_true(cn_loop_tick(cn_hub_loop(rig->hub, i)) > 0);
    hub_rig_settle(rig);
}

// ---- Clients ----

struct client *rig_greet(struct hub_rig *rig, unsigned index, const struct cn_hello *hello)
{
    assert_true(rig->client_count < RIG_CLIENTS);
    struct client *client = calloc(1, sizeof(*client));
    assert_non_null(client);
    rig->clients[rig->client_count++] = client;
    fake_sink_init(&client->sink);
    client->loop = cn_hub_loop(rig->hub, index);
    assert_int_equal(cn_session_new(client->loop, &client->sink.sink, hello, &client->session),
                     CN_OK);
    return client;
}

struct client *rig_client(struct hub_rig *rig, unsigned index, const char *user, const char *room)
{
    const struct cn_hello hello = {.user = cn_str_of(user), .room = cn_str_of(room)};
    return rig_greet(rig, index, &hello);
}

struct client *rig_member(struct hub_rig *rig, unsigned index, const char *user, const char *room)
{
    struct client *client = rig_client(rig, index, user, room);
    hub_rig_settle(rig);
    fake_sink_skip(&client->sink);
    return client;
}

void client_send(struct client *client, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    assert_true(len >= 0);
    cn_session_receive(client->session, (struct cn_str){text, (size_t)len});
    free(text);
}

void client_drain(struct client *client)
{
    fake_sink_drain(&client->sink);
    cn_session_writable(client->session);
}

void client_gone(struct client *client)
{
    if (client->session)
        cn_session_detach(client->session, CN_REASON_LOST);
    client->session = NULL;
}

const char *client_expect(struct client *client, const char *type)
{
    const char *text = fake_sink_next(&client->sink);
    if (!frame_is(text, type))
        fail_msg("wanted %s, got %.200s", type, text ? text : "nothing");
    return text;
}

void client_expect_nothing(struct client *client)
{
    const char *text = fake_sink_next(&client->sink);
    if (text)
        fail_msg("wanted nothing, got %.200s", text);
}

void rig_say(struct hub_rig *rig, struct client *client, const char *room, const char *content)
{
    client_send(client, "{\"type\":\"message\",\"room\":\"%s\",\"content\":\"%s\"}", room, content);
    hub_rig_settle(rig);
}

void client_expect_series(struct client *client, const char *prefix, int from, int count)
{
    for (int i = from; i < from + count; i++) {
        char json[256];
        const char *text = client_expect(client, "message");
        snprintf(json, sizeof(json), "\"%s%d\"", prefix, i);
        if (!frame_has(text, "content", json))
            fail_msg("wanted %s, got %.200s", json, text);
    }
}
