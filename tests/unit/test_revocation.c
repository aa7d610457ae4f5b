// SPDX-License-Identifier: MIT
// Revocations on one node: the table, the sessions that end, the orders of operators.
#include "support/hub_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chatnode/clock.h"
#include "chatnode/revocation.h"
#include "hub_private.h"

static struct hub_rig rig;

// Memory under the test's hand: allocations until one fails, or all do from there on; -1: none
// does.
static int left = -1;
static bool fails_for_good;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
    bool fails = left == 0;
    if (left > 0 || (fails && !fails_for_good))
        left--;
    return fails ? NULL : __real_calloc(count, size);
}

// What the last answer said.
static struct {
    size_t count;
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

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

static void on_answered(void *arg, uint64_t ticket, struct cn_answer *answer)
{
    (void)arg;
    (void)ticket;
    last.count++;
    last.status = answer->status;
    assert_int_equal(cn_str_copy(cn_buf_str(&answer->body), last.text, sizeof(last.text)), CN_OK);
    cn_buf_fini(&answer->body);
}

static enum cn_err order(bool kick, const char *body, enum cn_problem *problem)
{
    const struct cn_api_caller caller = {on_answered, NULL, 1};
    return cn_api_judge(cn_hub_loop(rig.hub, 0), kick, cn_str_of(body), &caller, problem);
}

static void assert_ordered(bool kick, const char *body)
{
    enum cn_problem problem;
    size_t before = last.count;
    assert_int_equal(order(kick, body, &problem), CN_OK);
    hub_rig_settle(&rig);
    assert_int_equal(last.count, before + 1);
    assert_int_equal(last.status, 200);
}

static int64_t now_s(void)
{
    return cn_clock_wall_ms() / 1000;
}

static struct cn_grant *grant_of(const char *user, const char *jti, int64_t issued_s)
{
    struct cn_grant *grant = calloc(1, sizeof(*grant));
    assert_non_null(grant);
    grant->user = cn_str_of(user);
    grant->jti = cn_str_of(jti);
    grant->issued_s = issued_s;
    return grant;
}

static struct client *client_with(unsigned loop, const char *user, const char *jti,
                                  int64_t issued_s)
{
    struct client *client = rig_member(&rig, loop, user, "tea");
    client->session->grant = grant_of(user, jti, issued_s);
    return client;
}

static bool is_revoked(const char *user, const char *jti, int64_t issued_s)
{
    struct cn_grant *grant = grant_of(user, jti, issued_s);
    bool found = cn_revocation_judge(rig.hub, grant) == CN_TOKEN_REVOKED;
    free(grant);
    return found;
}

static void assert_closed(const struct client *client, enum cn_reason reason)
{
    assert_true(client->sink.closed);
    assert_int_equal(client->sink.reason, reason);
}

static void test_a_users_tokens_of_before_are_revoked(void **state)
{
    (void)state;
    hub_rig_pass_ms(&rig, 10000);
    assert_false(is_revoked("ann", NULL, now_s()));
    assert_ordered(false, "{\"user\":\"ann\",\"ttl_s\":100}");
    assert_true(is_revoked("ann", NULL, now_s() - 5));
    assert_true(is_revoked("ann", NULL, now_s()));
    assert_true(is_revoked("ann", NULL, 0)); // it does not say when it was issued
    assert_false(is_revoked("ann", NULL, now_s() + 1));
    assert_false(is_revoked("bob", NULL, now_s() - 5));
    int64_t issued_s = now_s() - 5;
    hub_rig_pass_ms(&rig, 101000);
    assert_false(is_revoked("ann", NULL, issued_s));
}

static void test_a_token_is_revoked_by_its_jti(void **state)
{
    (void)state;
    assert_ordered(false, "{\"jti\":\"t-1\"}");
    assert_true(is_revoked("ann", "t-1", now_s() + 1000));
    assert_false(is_revoked("ann", "t-2", now_s()));
    assert_false(is_revoked("t-1", NULL, now_s())); // a user of that name
}

static void test_sessions_end_on_all_loops(void **state)
{
    (void)state;
    hub_rig_pass_ms(&rig, 10000);
    struct client *old = client_with(0, "ann", "a", now_s() - 5);
    struct client *other_loop = client_with(1, "ann", "b", now_s());
    struct client *fresh = client_with(1, "ann", "c", now_s() + 1);
    struct client *bob = client_with(0, "bob", "d", now_s() - 5);
    assert_ordered(false, "{\"user\":\"ann\"}");
    assert_closed(old, CN_REASON_REVOKED);
    assert_closed(other_loop, CN_REASON_REVOKED);
    assert_false(fresh->sink.closed);
    assert_false(bob->sink.closed);
    assert_ordered(false, "{\"jti\":\"d\"}");
    assert_closed(bob, CN_REASON_REVOKED);
    assert_false(fresh->sink.closed);
}

static void test_without_tokens_the_sessions_end_once(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "tea");
    struct client *bob = rig_member(&rig, 1, "bob", "tea");
    assert_ordered(false, "{\"user\":\"ann\"}");
    assert_closed(ann, CN_REASON_REVOKED);
    assert_false(bob->sink.closed);
    struct client *again = rig_member(&rig, 1, "ann", "tea");
    cn_revocation_on_noticed(rig.hub);
    hub_rig_settle(&rig);
    assert_false(again->sink.closed);
}

static void test_sessions_are_ended_without_a_revocation(void **state)
{
    (void)state;
    struct client *ann = client_with(1, "ann", "a", now_s());
    struct client *bob = client_with(1, "bob", "b", now_s());
    assert_ordered(true, "{\"user\":\"ann\"}");
    assert_string_equal(last.text, "{\"user\":\"ann\"}");
    assert_closed(ann, CN_REASON_KICKED);
    assert_false(bob->sink.closed);
    assert_false(is_revoked("ann", "a", now_s()));
}

static void test_the_answer_and_the_list(void **state)
{
    (void)state;
    char wanted[256];
    struct cn_answer answer;
    assert_ordered(false, "{\"user\":\"ann\",\"ttl_s\":60}");
    snprintf(wanted, sizeof(wanted), "{\"user\":\"ann\",\"before\":%lld,\"until\":%lld}",
             (long long)now_s(), (long long)now_s() + 60);
    assert_string_equal(last.text, wanted);
    assert_int_equal(cn_api_list(rig.hub, &answer), CN_OK);
    char list[512];
    snprintf(list, sizeof(list), "{\"revocations\":[%s]}\n", wanted);
    assert_true(cn_str_equal(cn_buf_str(&answer.body), cn_str_of(list)));
    cn_buf_fini(&answer.body);
    // A milder order does not make it milder.
    hub_rig_pass_ms(&rig, 5000);
    assert_ordered(false, "{\"user\":\"ann\",\"ttl_s\":1}");
    assert_non_null(strstr(last.text, wanted + strlen(wanted) - 11)); // the same until
    assert_int_equal(cn_metrics_sum(CN_M_REVOCATIONS), 1);
    hub_rig_pass_ms(&rig, 61000);
    cn_revocation_sweep(rig.hub, cn_clock_ms() + 60000);
    assert_int_equal(cn_metrics_sum(CN_M_REVOCATIONS), 0);
}

static void test_bad_orders_are_refused(void **state)
{
    (void)state;
    enum cn_problem problem;
    assert_int_equal(order(false, "{}", &problem), CN_INVALID);
    assert_int_equal(problem, CN_PROBLEM_BAD_REQUEST);
    assert_int_equal(order(true, "{\"user\":\"a b\"}", &problem), CN_INVALID);
    assert_int_equal(problem, CN_PROBLEM_BAD_NAME);
    assert_int_equal(last.count, 0);
}

static void test_too_many_orders_at_once_are_refused(void **state)
{
    (void)state;
    enum cn_problem problem;
    for (int i = 0; i < CN_API_WAITING_MAX; i++)
        assert_int_equal(order(false, "{\"user\":\"ann\"}", &problem), CN_OK);
    assert_int_equal(order(false, "{\"user\":\"ann\"}", &problem), CN_FULL);
    assert_int_equal(problem, CN_PROBLEM_OVERLOADED);
    hub_rig_settle(&rig);
    assert_int_equal(last.count, CN_API_WAITING_MAX);
    assert_ordered(false, "{\"user\":\"bob\"}");
}

static void hear(const char *text, bool again)
{
    cn_revocation_on_notice(rig.hub, cn_str_of(text), again);
}

static void test_notices_that_say_nothing_are_counted(void **state)
{
    (void)state;
    hear("{}", false);
    hear("{\"v\":\"9\",\"end\":\"user\",\"subject\":\"ann\",\"before\":\"1\",\"until\":\"2\"}",
         false);
    assert_int_equal(cn_metrics_sum(CN_M_NOTICES_BAD), 2);
    assert_int_equal(cn_metrics_sum(CN_M_REVOCATIONS), 0);
}

// What is told again after a connection was away ends sessions too, and what was not told again
// goes to the bus once more.
static void test_after_a_connection_was_away(void **state)
{
    (void)state;
    char text[256];
    hub_rig_pass_ms(&rig, 10000);
    struct client *ann = client_with(0, "ann", "a", now_s() - 5);
    struct client *bob = client_with(1, "bob", "b", now_s() - 5);
    struct client *guest = rig_member(&rig, 1, "ann", "tea");
    assert_ordered(false, "{\"user\":\"carl\"}");
    snprintf(
        text, sizeof(text),
        "{\"v\":\"1\",\"end\":\"user\",\"subject\":\"ann\",\"before\":\"%lld\",\"until\":\"%lld\"}",
        (long long)now_s(), (long long)now_s() + 60);
    hear(text, true);
    hub_rig_settle(&rig);
    assert_false(ann->sink.closed);
    int64_t notices = cn_metrics_sum(CN_M_NOTICES);
    cn_revocation_on_noticed(rig.hub);
    hub_rig_settle(&rig);
    assert_closed(ann, CN_REASON_REVOKED);
    assert_closed(guest, CN_REASON_REVOKED);
    assert_false(bob->sink.closed);
    assert_int_equal(cn_metrics_sum(CN_M_NOTICES), notices + 1); // carl's, once more
    // Not new any more: who came back without a token stays.
    struct client *back = rig_member(&rig, 1, "ann", "tea");
    hear(text, true);
    cn_revocation_on_noticed(rig.hub);
    hub_rig_settle(&rig);
    assert_false(back->sink.closed);
}

// What is over, but not swept away yet, takes nobody's place.
static void test_what_is_over_gives_its_place(void **state)
{
    (void)state;
    char text[256];
    for (int i = 0; i < CN_NOTICES_MAX; i++) {
        snprintf(
            text, sizeof(text),
            "{\"v\":\"1\",\"end\":\"jti\",\"subject\":\"t%d\",\"before\":\"0\",\"until\":\"%lld\"}",
            i, (long long)now_s() + 2);
        hear(text, true);
    }
    assert_true(is_revoked("ann", "t7", 0));
    rig.now_us += 3000000;
    assert_ordered(false, "{\"user\":\"ann\"}");
    assert_true(is_revoked("ann", NULL, now_s()));
    assert_int_equal(cn_metrics_sum(CN_M_REVOCATIONS), 1);
}

// A token that was believed again in between ends once more.
static void test_what_is_over_is_new_again(void **state)
{
    (void)state;
    assert_ordered(false, "{\"jti\":\"a\",\"ttl_s\":1}");
    rig.now_us += 2000000;
    struct client *ann = client_with(0, "ann", "a", now_s());
    assert_false(is_revoked("ann", "a", now_s()));
    assert_ordered(false, "{\"jti\":\"a\"}");
    assert_closed(ann, CN_REASON_REVOKED);
}

// Whichever allocation fails, the sessions end, now or at the next look around.
static void test_without_memory_sessions_end_all_the_same(void **state)
{
    (void)state;
    static const char *const ends[] = {"user\",\"subject\":\"ann", "jti\",\"subject\":\"t-1"};
    for (int i = 0; i < 2; i++) {
        int at = 0;
        for (bool failed = true; failed; at++) {
            char text[256];
            rig.now_us += 2000000;
            struct client *ann = client_with(1, "ann", "t-1", now_s() - 1);
            snprintf(text, sizeof(text),
                     "{\"v\":\"1\",\"end\":\"%s\",\"before\":\"%lld\",\"until\":\"%lld\"}", ends[i],
                     i ? 0 : (long long)now_s(), (long long)now_s() + 1);
            left = at;
            hear(text, false);
            hub_rig_settle(&rig);
            failed = left < 0;
            left = -1;
            cn_revocation_sweep(rig.hub, cn_clock_ms());
            hub_rig_settle(&rig);
            if (!ann->sink.closed)
                fail_msg("allocation %d", at);
            client_gone(ann);
        }
        assert_in_range(at, 3, 20);
    }
}

// Who ordered it learns that this node cannot keep it.
static void test_without_memory_an_order_fails(void **state)
{
    (void)state;
    fails_for_good = true;
    bool failed = true;
    for (int at = 0; failed; at++) {
        enum cn_problem problem;
        last.count = 0;
        left = at;
        enum cn_err err = order(false, "{\"user\":\"ann\"}", &problem);
        hub_rig_settle(&rig);
        failed = left == 0;
        left = -1;
        bool is_done = !err && last.count == 1 && last.status == 200;
        if (is_done && !is_revoked("ann", NULL, now_s()))
            fail_msg("allocation %d", at);
    }
    fails_for_good = false;
}

// Until it was told what is kept, a node cannot say of any token that it is not revoked.
static void test_before_the_first_reading_nobody_knows(void **state)
{
    (void)state;
    hub_rig_open(&rig, 1, NULL);
    struct cn_grant *grant = grant_of("ann", "a", now_s());
    assert_int_equal(cn_revocation_judge(rig.hub, grant), CN_TOKEN_UNAVAILABLE);
    hub_rig_start(&rig);
    assert_int_equal(cn_revocation_judge(rig.hub, grant), CN_TOKEN_NONE);
    assert_ordered(false, "{\"jti\":\"a\"}");
    assert_int_equal(cn_revocation_judge(rig.hub, grant), CN_TOKEN_REVOKED);
    free(grant);
    hub_rig_close(&rig);
}

// ---- The file ----

static char path[] = "/tmp/chatnode-revocations-XXXXXX";

static void open_with_file(void)
{
    static const char *settings[] = {"--revocations-file", path, NULL};
    memset(&last, 0, sizeof(last));
    hub_rig_open(&rig, 1, settings);
    hub_rig_start(&rig);
}

static void test_the_file_survives_the_node(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    open_with_file();
    assert_ordered(false, "{\"user\":\"ann\",\"ttl_s\":1000}");
    assert_ordered(false, "{\"jti\":\"t-1\",\"ttl_s\":60}");
    hub_rig_close(&rig);
    FILE *file = fopen(path, "a"); // as when the node is killed while it writes
    assert_non_null(file);
    fputs("999999999999999 {\"v\":\"1\",", file);
    fclose(file);
    open_with_file();
    assert_true(is_revoked("ann", NULL, now_s()));
    assert_true(is_revoked("bob", "t-1", now_s()));
    assert_int_equal(cn_metrics_sum(CN_M_REVOCATIONS), 2);
    struct client *ann = rig_member(&rig, 0, "ann", "tea"); // open mode: he came later
    hub_rig_settle(&rig);
    assert_false(ann->sink.closed);
    hub_rig_close(&rig);
    unlink(path);
}

// Who may make links in the folder cannot have another file written over.
static void test_the_new_file_follows_no_link(void **state)
{
    (void)state;
    char beside[sizeof(path) + 8], victim[sizeof(path) + 8], text[16] = "";
    snprintf(beside, sizeof(beside), "%s.new", path);
    snprintf(victim, sizeof(victim), "%s.victim", path);
    FILE *file = fopen(victim, "w");
    assert_non_null(file);
    fputs("precious", file);
    fclose(file);
    assert_int_equal(symlink(victim, beside), 0);
    open_with_file();
    hub_rig_close(&rig);
    file = fopen(victim, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    assert_string_equal(text, "precious");
    unlink(victim);
    unlink(path);
}

static void test_a_file_that_cannot_be(void **state)
{
    (void)state;
    struct cn_config config = {.auth = "open",
                               .redis_url = "",
                               .redis_prefix = "",
                               .require_durability = "none",
                               .history_messages = 10,
                               .bus_queue = 16,
                               .mailbox_letters = 1024,
                               .max_message_bytes = 1000,
                               .outbox_bytes = 4096,
                               .bus_key = "",
                               .revocations_file = "/no/such/folder/file"};
    struct cn_reactor *reactor = NULL;
    struct cn_hub *hub = NULL;
    const char *why = NULL;
    assert_int_equal(cn_reactor_new(&reactor, NULL, NULL), CN_OK);
    const struct cn_hub_parts parts = {
        .config = &config, .reactor = reactor, .loops = 1, .node_name = "n"};
    assert_int_equal(cn_hub_new(&parts, &hub, &why), CN_INVALID);
    assert_non_null(strstr(why, "revocations-file"));
    cn_reactor_free(reactor);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_a_users_tokens_of_before_are_revoked),
        WITH_RIG(test_a_token_is_revoked_by_its_jti),
        WITH_RIG(test_sessions_end_on_all_loops),
        WITH_RIG(test_without_tokens_the_sessions_end_once),
        WITH_RIG(test_sessions_are_ended_without_a_revocation),
        WITH_RIG(test_the_answer_and_the_list),
        WITH_RIG(test_bad_orders_are_refused),
        WITH_RIG(test_too_many_orders_at_once_are_refused),
        WITH_RIG(test_notices_that_say_nothing_are_counted),
        WITH_RIG(test_after_a_connection_was_away),
        WITH_RIG(test_what_is_over_gives_its_place),
        WITH_RIG(test_what_is_over_is_new_again),
        WITH_RIG(test_without_memory_sessions_end_all_the_same),
        WITH_RIG(test_without_memory_an_order_fails),
        cmocka_unit_test(test_before_the_first_reading_nobody_knows),
        cmocka_unit_test(test_the_file_survives_the_node),
        cmocka_unit_test(test_the_new_file_follows_no_link),
        cmocka_unit_test(test_a_file_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
