// SPDX-License-Identifier: MIT
// The HTTP API without HTTP: who may call it, and that a publish reaches members and comes back.
#include "support/hub_rig.h"

#include <stdlib.h>
#include <string.h>

#include "chatnode/api.h"
#include "hub_private.h"

static struct hub_rig rig;

// What the last answer said.
static struct {
    size_t count;
    uint64_t ticket;
    int status;
    char text[512];
} last;

static int open_rig(void **state)
{
    (void)state;
    memset(&last, 0, sizeof(last));
    hub_rig_open(&rig, 2, NULL);
    hub_rig_start(&rig);
    return 0;
}

static int open_down(void **state)
{
    (void)state;
    static const char *const settings[] = {"--publish-deadline", "50", NULL};
    memset(&last, 0, sizeof(last));
    hub_rig_open(&rig, 1, settings);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

static void on_answered(void *arg, uint64_t ticket, struct cn_answer *answer)
{
    (void)arg;
    last.count++;
    last.ticket = ticket;
    last.status = answer->status;
    assert_int_equal(cn_str_copy(cn_buf_str(&answer->body), last.text, sizeof(last.text)), CN_OK);
    cn_buf_fini(&answer->body);
}

static enum cn_err publish(const char *body, const char *key, uint64_t ticket,
                           enum cn_problem *problem)
{
    const struct cn_api_caller caller = {on_answered, NULL, ticket};
    return cn_api_publish(cn_hub_loop(rig.hub, 0), cn_str_of(body), cn_str_of(key), &caller,
                          problem);
}

static void assert_published(const char *body, const char *key, const char *dup)
{
    enum cn_problem problem;
    size_t before = last.count;
    assert_int_equal(publish(body, key, before + 70, &problem), CN_OK);
    hub_rig_settle(&rig);
    assert_int_equal(last.count, before + 1);
    assert_int_equal(last.ticket, before + 70);
    assert_int_equal(last.status, 200);
    assert_non_null(strstr(last.text, dup));
}

#define TO_LOBBY "{\"room\":\"lobby\",\"from\":\"bot\",\"content\":\"hi\""

static void test_a_publish_reaches_the_room_and_is_answered(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 1, "bob", NULL);
    assert_published(TO_LOBBY ",\"id\":\"a1\"}", NULL, "\"dup\":false,\"id\":\"a1\"}");
    const char *text = client_expect(ann, "message");
    assert_true(frame_has(text, "from", "\"bot\""));
    assert_true(frame_has(text, "id", "\"a1\""));
    client_expect(bob, "message");
    assert_published(TO_LOBBY ",\"id\":\"a1\"}", NULL, "\"dup\":true,\"id\":\"a1\"}");
    client_expect_nothing(bob);
    assert_int_equal(atomic_load(&rig.hub->api_waiting), 0);
}

static void test_the_key_is_the_id_if_the_body_has_none(void **state)
{
    (void)state;
    assert_published(TO_LOBBY "}", "k1", "\"dup\":false,\"id\":\"k1\"}");
    assert_published(TO_LOBBY "}", "\"k1\"", "\"dup\":true,\"id\":\"k1\"}");
    assert_published(TO_LOBBY ",\"id\":\"b1\"}", "k1", "\"dup\":false,\"id\":\"b1\"}");
    enum cn_problem problem;
    assert_int_equal(publish(TO_LOBBY "}", "not.an.id", 1, &problem), CN_INVALID);
    assert_int_equal(problem, CN_PROBLEM_BAD_ID);
}

static void test_without_an_id_two_are_two(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    for (int i = 0; i < 2; i++) {
        assert_published(TO_LOBBY "}", NULL, "\"dup\":false");
        assert_null(strstr(client_expect(ann, "message"), "\"id\""));
    }
}

static void test_a_direct_one_reaches_both_inboxes(void **state)
{
    (void)state;
    struct client *bob = rig_member(&rig, 0, "bob", "");
    struct client *bot = rig_member(&rig, 1, "bot", "");
    assert_published("{\"to\":\"bob\",\"from\":\"bot\",\"content\":1,\"id\":\"d\"}", NULL,
                     "\"dup\":false");
    char pos[CN_POS_TEXT_BYTES];
    strcpy(pos, frame_text(client_expect(bob, "direct"), "pos"));
    assert_non_null(strstr(last.text, pos));
    client_expect(bot, "direct");
    // To oneself it is one entry.
    assert_published("{\"to\":\"bob\",\"from\":\"bob\",\"content\":1}", NULL, "\"dup\":false");
    client_expect(bob, "direct");
    client_expect_nothing(bob);
    client_expect_nothing(bot);
}

static void test_while_the_bus_is_down_it_says_so(void **state)
{
    (void)state;
    enum cn_problem problem;
    assert_int_equal(publish(TO_LOBBY "}", NULL, 3, &problem), CN_OK);
    hub_rig_settle(&rig);
    assert_int_equal(last.count, 0);
    for (int i = 0; i < 10 && last.count == 0; i++) {
        cn_reactor_turn(rig.reactor, 20);
        hub_rig_pass_ms(&rig, 60);
    }
    assert_int_equal(last.status, 503);
    assert_non_null(strstr(last.text, "{\"error\":{\"code\":\"unavailable\""));
    assert_non_null(strstr(last.text, "\"retry\":true"));
}

static void test_only_so_many_wait(void **state)
{
    (void)state;
    enum cn_problem problem;
    for (int i = 0; i < CN_API_WAITING_MAX; i++)
        assert_int_equal(publish(TO_LOBBY "}", NULL, 1, &problem), CN_OK);
    assert_int_equal(publish(TO_LOBBY "}", NULL, 1, &problem), CN_FULL);
    assert_int_equal(problem, CN_PROBLEM_OVERLOADED);
    hub_rig_settle(&rig);
    assert_int_equal(last.count, CN_API_WAITING_MAX);
    assert_published(TO_LOBBY "}", NULL, "\"dup\":false");
    // One that is still under way at the end of the node is let go of.
    assert_int_equal(publish(TO_LOBBY "}", NULL, 1, &problem), CN_OK);
}

// ---- Who may call ----

struct head_case {
    const char *key; // the setting
    struct cn_api_head head;
    enum cn_problem problem;
};

#define PATH        .path = {"/api/v1/publish", 15}, .is_post = true
#define JSON        .content_type = {"application/json", 16}
#define SHOWS(text) .authorization = {text, sizeof(text) - 1}

static const struct head_case good_heads[] = {
    {"", {PATH, JSON, .is_local = true}, 0},
    {"", {PATH, .content_type = {"Application/JSON; charset=utf-8", 31}, .is_local = true}, 0},
    {"secret", {PATH, JSON, SHOWS("Bearer secret")}, 0},
    {"secret", {PATH, JSON, SHOWS("bearer secret"), .is_from_page = true}, 0},
};

static const struct head_case bad_heads[] = {
    {"", {PATH, JSON}, CN_PROBLEM_FORBIDDEN},
    {"", {PATH, JSON, SHOWS("Bearer ")}, CN_PROBLEM_FORBIDDEN},
    {"", {PATH, JSON, .is_local = true, .is_from_page = true}, CN_PROBLEM_FORBIDDEN},
    {"secret", {PATH, JSON, .is_local = true}, CN_PROBLEM_UNAUTHORIZED},
    {"secret", {PATH, JSON, SHOWS("Bearer ")}, CN_PROBLEM_UNAUTHORIZED},
    {"secret", {PATH, JSON, SHOWS("Bearer secre")}, CN_PROBLEM_UNAUTHORIZED},
    {"secret", {PATH, JSON, SHOWS("Bearer secret1")}, CN_PROBLEM_UNAUTHORIZED},
    {"secret", {PATH, JSON, SHOWS("Bearer secretsecret")}, CN_PROBLEM_UNAUTHORIZED},
    {"secret", {PATH, JSON, SHOWS("Bearer Secret")}, CN_PROBLEM_UNAUTHORIZED},
    {"secret", {PATH, JSON, SHOWS("Basic secret")}, CN_PROBLEM_UNAUTHORIZED},
    {"secret", {PATH, JSON, SHOWS("secret")}, CN_PROBLEM_UNAUTHORIZED},
    {"", {.path = {"/api/v1/publis", 14}, .is_local = true}, CN_PROBLEM_NOT_FOUND},
    {"", {.path = {"/api/v1/publish", 15}, JSON, .is_local = true}, CN_PROBLEM_BAD_METHOD},
    {"", {PATH, .is_local = true}, CN_PROBLEM_BAD_TYPE},
    {"", {PATH, .content_type = {"text/plain", 10}, .is_local = true}, CN_PROBLEM_BAD_TYPE},
    {"", {PATH, .content_type = {"application/json5", 17}, .is_local = true}, CN_PROBLEM_BAD_TYPE},
};

static bool check(const struct head_case *one, enum cn_problem *problem)
{
    char *kept = rig.config.api_key;
    rig.config.api_key = (char *)(uintptr_t)one->key;
    bool good = cn_api_check(&rig.config, &one->head, problem);
    rig.config.api_key = kept;
    return good;
}

static void test_only_those_who_may_are_let_in(void **state)
{
    (void)state;
    enum cn_problem problem;
    for (size_t i = 0; i < CN_COUNT(good_heads); i++)
        assert_true(check(&good_heads[i], &problem));
    for (size_t i = 0; i < CN_COUNT(bad_heads); i++) {
        assert_false(check(&bad_heads[i], &problem));
        if (problem != bad_heads[i].problem)
            print_error("case %zu: %s\n", i, cn_problem_code(problem));
        assert_int_equal(problem, bad_heads[i].problem);
    }
}

static void test_every_problem_has_a_status(void **state)
{
    (void)state;
    static const struct {
        enum cn_problem problem;
        int status;
    } all[] = {
        {CN_PROBLEM_BAD_JSON, 400},  {CN_PROBLEM_BAD_NAME, 400},   {CN_PROBLEM_UNAUTHORIZED, 401},
        {CN_PROBLEM_FORBIDDEN, 403}, {CN_PROBLEM_NOT_FOUND, 404},  {CN_PROBLEM_BAD_METHOD, 405},
        {CN_PROBLEM_NO_LENGTH, 411}, {CN_PROBLEM_TOO_LARGE, 413},  {CN_PROBLEM_BAD_TYPE, 415},
        {CN_PROBLEM_INTERNAL, 500},  {CN_PROBLEM_OVERLOADED, 503}, {CN_PROBLEM_UNAVAILABLE, 503},
        {CN_PROBLEM_REFUSED, 503}};
    for (size_t i = 0; i < CN_COUNT(all); i++) {
        struct cn_answer answer;
        assert_int_equal(cn_api_refuse(all[i].problem, &answer), CN_OK);
        assert_int_equal(answer.status, all[i].status);
        cn_buf_fini(&answer.body);
    }
}

int main(void)
{
#define TEST(name)      cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
#define TEST_DOWN(name) cmocka_unit_test_setup_teardown(name, open_down, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(test_a_publish_reaches_the_room_and_is_answered),
        TEST(test_the_key_is_the_id_if_the_body_has_none),
        TEST(test_without_an_id_two_are_two),
        TEST(test_a_direct_one_reaches_both_inboxes),
        TEST_DOWN(test_while_the_bus_is_down_it_says_so),
        TEST(test_only_so_many_wait),
        TEST(test_only_those_who_may_are_let_in),
        TEST(test_every_problem_has_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
