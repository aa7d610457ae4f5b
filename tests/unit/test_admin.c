// SPDX-License-Identifier: MIT
// What operators may ask: who may ask what, and the reasons that are given.
#include "support/hub_rig.h"

#include <string.h>

#include <jansson.h>

#include "chatnode/admin.h"
#include "hub_private.h"

static struct hub_rig rig;

static int open_rig(void **state)
{
    (void)state;
    static const char *const settings[] = {"--max-connections", "2", NULL};
    hub_rig_open(&rig, 2, settings);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

static enum cn_err ask(enum cn_audience audience, const char *path, struct cn_answer *answer)
{
    return cn_admin_answer(rig.hub, audience, cn_str_of(path), answer);
}

// The answer as JSON; the caller gives it back.
static json_t *ask_json(const char *path, int status)
{
    struct cn_answer answer;
    assert_int_equal(ask(CN_AUDIENCE_INTERNAL, path, &answer), CN_OK);
    assert_int_equal(answer.status, status);
    assert_string_equal(answer.content_type, "application/json");
    json_t *json = json_loadb(answer.body.data, answer.body.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    cn_buf_fini(&answer.body);
    return json;
}

static void test_each_audience_has_its_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool seen[2];
    } cases[] = {
        {"/healthz", {true, true}},    {"/info", {true, true}},     {"/readyz", {false, true}},
        {"/metrics", {false, true}},   {"/", {false, false}},       {"", {false, false}},
        {"/healthz/", {false, false}}, {"/health", {false, false}},
    };
    hub_rig_start(&rig);
    for (size_t i = 0; i < CN_COUNT(cases); i++) {
        for (int audience = CN_AUDIENCE_PUBLIC; audience <= CN_AUDIENCE_INTERNAL; audience++) {
            struct cn_answer answer;
            enum cn_err err = ask((enum cn_audience)audience, cases[i].path, &answer);
            assert_int_equal(err, cases[i].seen[audience] ? CN_OK : CN_NOTFOUND);
            cn_buf_fini(&answer.body);
        }
    }
}

static void test_healthz_sees_a_stuck_loop_and_not_the_bus(void **state)
{
    (void)state;
    json_t *json = ask_json("/healthz", 200); // although the bus is down
    assert_string_equal(json_string_value(json_object_get(json, "status")), "ok");
    json_decref(json);
    rig.now_us += 6000 * 1000;
    assert_true(cn_loop_tick(cn_hub_loop(rig.hub, 0)) > 0); // loop 1 does not turn
    json = ask_json("/healthz", 503);
    assert_string_equal(json_string_value(json_object_get(json, "status")), "stuck");
    assert_int_equal(json_integer_value(json_object_get(json, "loop")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "silent_ms")), 6000);
    json_decref(json);
    hub_rig_pass_ms(&rig, 1);
    json_decref(ask_json("/healthz", 200));
}

static void assert_ready(bool ready, bool draining, const char *bus, bool full)
{
    json_t *json = ask_json("/readyz", ready ? 200 : 503);
    json_t *checks = json_object_get(json, "checks");
    assert_int_equal(json_is_true(json_object_get(json, "ready")), ready);
    assert_int_equal(json_is_true(json_object_get(checks, "draining")), draining);
    assert_string_equal(json_string_value(json_object_get(checks, "bus")), bus);
    assert_int_equal(json_is_true(json_object_get(checks, "full")), full);
    json_decref(json);
}

static void test_readyz_gives_its_reasons(void **state)
{
    (void)state;
    assert_ready(false, false, "down", false);
    hub_rig_start(&rig);
    assert_ready(true, false, "up", false);
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    assert_ready(true, false, "up", false);
    rig_member(&rig, 1, "bob", NULL);
    assert_ready(false, false, "up", true);
    client_gone(ann);
    assert_ready(true, false, "up", false);
    assert_false(cn_hub_is_draining(rig.hub));
    cn_hub_set_draining(rig.hub);
    assert_true(cn_hub_is_draining(rig.hub));
    assert_ready(false, true, "up", false);
}

static void test_info_is_json_without_secrets(void **state)
{
    (void)state;
    hub_rig_start(&rig);
    rig_member(&rig, 0, "ann", NULL);
    rig.now_us += 1234 * 1000;
    json_t *json = ask_json("/info", 200);
    assert_string_equal(json_string_value(json_object_get(json, "name")), "chatnode");
    assert_string_equal(json_string_value(json_object_get(json, "version")), CN_VERSION);
    assert_string_equal(json_string_value(json_object_get(json, "node")), "rig");
    assert_string_equal(json_string_value(json_object_get(json, "durability")), "memory");
    assert_int_equal(json_integer_value(json_object_get(json, "loops")), 2);
    assert_int_equal(json_integer_value(json_object_get(json, "sessions")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "uptime_ms")), 1234);
    json_t *limits = json_object_get(json, "limits");
    assert_int_equal(json_integer_value(json_object_get(limits, "connections")), 2);
    assert_int_equal(json_integer_value(json_object_get(limits, "rooms")), rig.config.max_rooms);
    json_decref(json);
}

static void test_metrics_are_text(void **state)
{
    (void)state;
    hub_rig_start(&rig);
    rig_member(&rig, 0, "ann", NULL);
    struct cn_answer answer;
    assert_int_equal(ask(CN_AUDIENCE_INTERNAL, "/metrics", &answer), CN_OK);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.content_type, "version=0.0.4"));
    assert_int_equal(cn_buf_append(&answer.body, "", 1), CN_OK);
    assert_non_null(strstr(answer.body.data, "\nchatnode_sessions 1\n"));
    assert_non_null(strstr(answer.body.data, "\nchatnode_bus_up 1\n"));
    cn_buf_fini(&answer.body);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(test_each_audience_has_its_paths),
        TEST(test_healthz_sees_a_stuck_loop_and_not_the_bus),
        TEST(test_readyz_gives_its_reasons),
        TEST(test_info_is_json_without_secrets),
        TEST(test_metrics_are_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
