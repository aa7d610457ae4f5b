// SPDX-License-Identifier: MIT
// The keyring: keys of the settings and fetched ones, when it fetches, what it keeps when that
// fails. The network and the timer are under the test's hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/clock.h"
#include "chatnode/fetch.h"
#include "chatnode/keyring.h"
#include "chatnode/metrics_table.h"
#include "chatnode/thread.h"
#include "support/mint.h"

#define URL    "https://id.example.org/keys"
#define CLAIMS "{\"sub\":\"ann\",\"exp\":1700000100}"

enum { REFRESH_MS = 600000 };

static const char first_set[] = "{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"kid\":\"a\",\"k\":"
                                "\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0"
                                "NTY3ODlhYmNkZWY\"}]}"; // the secret of the tests
static const char second_set[] = "{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"kid\":\"b\","
                                 "\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0"
                                 "NTY3ODlhYmNkZWY\"}]}";

// ---- Instead of the network and the timer ----

static struct cn_fetch_order asked; // the latest
static int fetches, told;
static enum cn_err start_err;
static void (*fire)(void *arg);
static void *fire_arg;
static int64_t timer_ms; // -1: not started
static int64_t now_us;

enum cn_err __wrap_cn_fetcher_new(const struct cn_fetcher_options *options,
                                  struct cn_fetcher **out);
bool __wrap_cn_fetcher_allows(struct cn_fetcher *fetcher, const char *url);
bool __wrap_cn_fetcher_allows(struct cn_fetcher *fetcher, const char *url)
{
    (void)fetcher;
    return strcmp(url, URL) == 0;
}

void __wrap_cn_fetcher_free(struct cn_fetcher *fetcher);
enum cn_err __wrap_cn_fetch_start(struct cn_fetcher *fetcher, const struct cn_fetch_order *order,
                                  struct cn_fetch **out);
enum cn_err __wrap_cn_timer_new(struct cn_reactor *reactor, void (*on_fire)(void *arg), void *arg,
                                struct cn_timer **out);
void __wrap_cn_timer_free(struct cn_timer *timer);
void __wrap_cn_timer_start(struct cn_timer *timer, int64_t ms);

enum cn_err __wrap_cn_fetcher_new(const struct cn_fetcher_options *options, struct cn_fetcher **out)
{
    assert_int_equal(options->at_once, 1);
    *out = NULL;
    return CN_OK;
}

void __wrap_cn_fetcher_free(struct cn_fetcher *fetcher)
{
    (void)fetcher;
}

enum cn_err __wrap_cn_fetch_start(struct cn_fetcher *fetcher, const struct cn_fetch_order *order,
                                  struct cn_fetch **out)
{
    (void)fetcher;
    (void)out;
    assert_string_equal(order->url, URL);
    asked = *order;
    fetches++;
    return start_err;
}

enum cn_err __wrap_cn_timer_new(struct cn_reactor *reactor, void (*on_fire)(void *arg), void *arg,
                                struct cn_timer **out)
{
    (void)reactor;
    fire = on_fire;
    fire_arg = arg;
    *out = NULL;
    return CN_OK;
}

void __wrap_cn_timer_free(struct cn_timer *timer)
{
    (void)timer;
}

void __wrap_cn_timer_start(struct cn_timer *timer, int64_t ms)
{
    (void)timer;
    timer_ms = ms;
}

// ---- Steps ----

static struct cn_keyring *ring;

static void on_fetched(void *arg)
{
    assert_ptr_equal(arg, &told);
    told++;
}

static void open_ring(const char *url, const char *secret)
{
    const char *why;
    const struct cn_keyring_options options = {.url = url,
                                               .ca_file = "",
                                               .refresh_ms = REFRESH_MS,
                                               .on_fetched = on_fetched,
                                               .arg = &told};
    assert_int_equal(
        cn_keyring_new(&options, (struct cn_str){NULL, 0}, cn_str_of(secret), &ring, &why), CN_OK);
    cn_keyring_start(ring);
}

static int set_up(void **state)
{
    (void)state;
    ring = NULL;
    fetches = told = 0;
    start_err = CN_OK;
    timer_ms = -1;
    now_us = 1000 * INT64_C(1000000);
    cn_clock_set_fake(&now_us);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cn_keyring_free(ring);
    cn_clock_set_fake(NULL);
    return 0;
}

static void answer(enum cn_err err, int status, const char *body)
{
    int before = told;
    asked.done(asked.arg, &(struct cn_fetch_answer){.err = err,
                                                    .status = status,
                                                    .body = cn_str_of(body),
                                                    .why = "the test says so"});
    assert_int_equal(told, before + 1);
}

static void pass_ms(int64_t ms)
{
    now_us += ms * 1000;
}

static enum cn_token_fault judge(const char *header)
{
    static const struct cn_token_rules rules = {.now_s = 1700000000};
    struct cn_grant *grant;
    enum cn_token_fault fault = cn_keyring_verify(ring, mint(header, CLAIMS), &rules, &grant);
    cn_grant_free(grant);
    return fault;
}

#define BY_A "{\"alg\":\"HS256\",\"kid\":\"a\"}"
#define BY_B "{\"alg\":\"HS256\",\"kid\":\"b\"}"

// ---- Tests ----

static void without_a_url_nothing_is_fetched(void **state)
{
    (void)state;
    open_ring("", MINT_SECRET);
    assert_int_equal(judge("{\"alg\":\"HS256\"}"), CN_TOKEN_NONE);
    assert_int_equal(judge("{\"alg\":\"RS256\"}"), CN_TOKEN_UNKNOWN_KEY);
    assert_false(cn_keyring_may_refresh(ring));
    assert_false(cn_keyring_refresh(ring));
    assert_int_equal(fetches, 0);
    assert_int_equal(cn_keyring_count(ring), 1);
}

static void a_bad_url_or_key_is_said(void **state)
{
    (void)state;
    const char *why = NULL;
    struct cn_keyring_options options = {.url = "http://id.example.org/", .ca_file = ""};
    struct cn_str none = {NULL, 0};
    assert_int_equal(cn_keyring_new(&options, none, none, &ring, &why), CN_INVALID);
    assert_non_null(strstr(why, "auth-jwks-url"));
    options.url = "";
    assert_int_equal(cn_keyring_new(&options, none, cn_str_of("short"), &ring, &why), CN_INVALID);
    assert_non_null(strstr(why, "short"));
    assert_null(ring);
}

static void fetched_keys_are_used_and_fetched_again(void **state)
{
    (void)state;
    open_ring(URL, NULL);
    assert_int_equal(fetches, 1);
    assert_int_equal(judge(BY_A), CN_TOKEN_UNAVAILABLE); // it is not known yet
    answer(CN_OK, 200, first_set);
    assert_int_equal(judge(BY_A), CN_TOKEN_NONE);
    assert_int_equal(judge(BY_B), CN_TOKEN_UNKNOWN_KEY);
    assert_int_equal(timer_ms, REFRESH_MS);
    fire(fire_arg);
    assert_int_equal(fetches, 2);
    answer(CN_OK, 200, second_set);
    assert_int_equal(judge(BY_A), CN_TOKEN_UNKNOWN_KEY); // taken out
    assert_int_equal(judge(BY_B), CN_TOKEN_NONE);
}

static void old_keys_stay_when_it_fails(void **state)
{
    (void)state;
    static const struct {
        enum cn_err err;
        int status;
        const char *body;
    } failures[] = {
        {CN_TIMEOUT, 0, NULL},     {CN_UNAVAILABLE, 0, NULL},     {CN_FULL, 0, NULL},
        {CN_OK, 500, first_set},   {CN_OK, 302, first_set},       {CN_OK, 200, NULL},
        {CN_OK, 200, "not found"}, {CN_OK, 200, "{\"keys\":[]}"}, {CN_OK, 200, "{"},
    };
    open_ring(URL, NULL);
    answer(CN_OK, 200, first_set);
    int64_t ceiling_ms = 1000;
    for (size_t i = 0; i < CN_COUNT(failures); i++) {
        fire(fire_arg);
        answer(failures[i].err, failures[i].status, failures[i].body);
        assert_int_equal(judge(BY_A), CN_TOKEN_NONE);
        assert_int_equal(judge(BY_B), CN_TOKEN_UNKNOWN_KEY);
        assert_in_range(timer_ms, ceiling_ms / 2, ceiling_ms);
        ceiling_ms = ceiling_ms * 2 < 60000 ? ceiling_ms * 2 : 60000;
    }
    fire(fire_arg);
    answer(CN_OK, 200, second_set);
    assert_int_equal(timer_ms, REFRESH_MS);
    fire(fire_arg);
    answer(CN_TIMEOUT, 0, NULL);
    assert_in_range(timer_ms, 500, 1000); // counted anew
}

static void what_cannot_be_asked_is_tried_again(void **state)
{
    (void)state;
    start_err = CN_NOMEM;
    open_ring(URL, NULL);
    assert_int_equal(fetches, 1);
    assert_in_range(timer_ms, 500, 1000);
    start_err = CN_OK;
    fire(fire_arg);
    answer(CN_OK, 200, first_set);
    assert_int_equal(judge(BY_A), CN_TOKEN_NONE);
}

// However many ask for it.
static void an_unknown_key_fetches_once_a_minute(void **state)
{
    (void)state;
    open_ring(URL, NULL);
    assert_true(cn_keyring_may_refresh(ring)); // one is under way
    assert_true(cn_keyring_refresh(ring));
    assert_int_equal(fetches, 1);
    answer(CN_OK, 200, first_set);
    for (int i = 0; i < 10; i++) {
        assert_false(cn_keyring_may_refresh(ring));
        assert_false(cn_keyring_refresh(ring));
    }
    pass_ms(59999);
    assert_false(cn_keyring_refresh(ring));
    assert_int_equal(fetches, 1);
    pass_ms(1);
    for (int i = 0; i < 10; i++) {
        assert_true(cn_keyring_may_refresh(ring));
        assert_true(cn_keyring_refresh(ring));
    }
    assert_int_equal(fetches, 2);
    fire(fire_arg); // the timer's turn comes while one is under way
    assert_int_equal(fetches, 2);
    answer(CN_TIMEOUT, 0, NULL);
    assert_false(cn_keyring_refresh(ring));
}

static void settings_are_replaced_and_fetched_keys_stay(void **state)
{
    (void)state;
    const char *why;
    struct cn_str none = {NULL, 0};
    open_ring(URL, MINT_SECRET);
    assert_int_equal(judge("{\"alg\":\"HS256\"}"), CN_TOKEN_NONE);
    answer(CN_OK, 200, first_set);
    assert_int_equal(cn_keyring_count(ring), 2);
    assert_int_equal(cn_keyring_replace(ring, none, cn_str_of("short"), &why), CN_INVALID);
    assert_int_equal(judge("{\"alg\":\"HS256\",\"kid\":\"x\"}"), CN_TOKEN_NONE); // as before
    assert_int_equal(
        cn_keyring_replace(ring, none, cn_str_of("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF"), &why), CN_OK);
    assert_int_equal(judge("{\"alg\":\"HS256\",\"kid\":\"x\"}"), CN_TOKEN_UNKNOWN_KEY);
    assert_int_equal(judge(BY_A), CN_TOKEN_NONE);
    assert_int_equal(cn_keyring_count(ring), 2);
}

// Threads verify while main replaces the keys, under the eyes of the sanitizers.
static atomic_bool is_over;

static void verify_again_and_again(void *arg)
{
    const struct cn_str *token = arg;
    static const struct cn_token_rules rules = {.now_s = 1700000000};
    while (!atomic_load(&is_over)) {
        struct cn_grant *grant;
        CN_ASSERT(cn_keyring_verify(ring, *token, &rules, &grant) == CN_TOKEN_NONE);
        cn_grant_free(grant);
    }
}

static void keys_change_while_threads_verify(void **state)
{
    (void)state;
    struct cn_thread threads[2] = {{.started = 0}};
    const char *why;
    open_ring("", MINT_SECRET);
    struct cn_str token = mint("{\"alg\":\"HS256\"}", CLAIMS);
    atomic_store(&is_over, false);
    for (size_t i = 0; i < CN_COUNT(threads); i++)
        assert_int_equal(cn_thread_start(&threads[i], "verify", verify_again_and_again, &token),
                         CN_OK);
    for (int i = 0; i < 2000; i++)
        assert_int_equal(
            cn_keyring_replace(ring, (struct cn_str){NULL, 0}, cn_str_of(MINT_SECRET), &why),
            CN_OK);
    atomic_store(&is_over, true);
    for (size_t i = 0; i < CN_COUNT(threads); i++)
        cn_thread_join(&threads[i]);
}

static void want_of_memory_changes_nothing(void **state)
{
    (void)state;
    const char *why;
    open_ring(URL, MINT_SECRET);
    bool was_whole = false;
    for (int nth = 0; !was_whole; nth++) {
        mint_memory_fail(nth);
        enum cn_err err =
            cn_keyring_replace(ring, (struct cn_str){NULL, 0}, cn_str_of(MINT_SECRET), &why);
        was_whole = !mint_memory_has_failed();
        mint_memory_fail(-1);
        assert_int_equal(err, was_whole ? CN_OK : CN_NOMEM);
        assert_int_equal(judge("{\"alg\":\"HS256\"}"), CN_TOKEN_NONE);
    }
}

int main(void)
{
    mint_memory_prepare();
    if (cn_metrics_start(cn_metric_table(), CN_METRIC_ROWS) != CN_OK)
        return 1;
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(without_a_url_nothing_is_fetched),
        CASE(a_bad_url_or_key_is_said),
        CASE(fetched_keys_are_used_and_fetched_again),
        CASE(old_keys_stay_when_it_fails),
        CASE(what_cannot_be_asked_is_tried_again),
        CASE(an_unknown_key_fetches_once_a_minute),
        CASE(settings_are_replaced_and_fetched_keys_stay),
        CASE(keys_change_while_threads_verify),
        CASE(want_of_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
