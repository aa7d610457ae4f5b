// SPDX-License-Identifier: MIT
// Publishing: the ack comes after the store, repeats are recognised, floods are bounded, and
// directed messages reach all sessions of both.
#include "support/hub_rig.h"

#include <stdlib.h>
#include <string.h>

#include "chatnode/clock.h"
#include "hub_private.h"

static struct hub_rig rig;

static int open_rig(void **state)
{
    (void)state;
    hub_rig_open(&rig, 2, NULL);
    hub_rig_start(&rig);
    return 0;
}

static int open_down(void **state)
{
    (void)state;
    static const char *const settings[] = {"--publish-deadline", "50", NULL};
    hub_rig_open(&rig, 1, settings);
    return 0;
}

static int open_tight(void **state)
{
    (void)state;
    static const char *const settings[] = {"--bus-queue", "16", NULL};
    hub_rig_open(&rig, 1, settings);
    hub_rig_start(&rig);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

// ---- Memory may run out on the way back ----

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool no_memory;

void *__wrap_malloc(size_t size)
{
    return no_memory ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory ? NULL : __real_calloc(count, size);
}

// ---- Rooms ----

static void test_the_ack_names_what_the_room_gets(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 1, "bob", NULL);
    client_send(ann, "{\"type\":\"message\",\"content\":\"hi\",\"id\":\"a1\"}");
    client_expect_nothing(ann); // nothing is stored before main's turn
    hub_rig_turn_main(&rig);
    hub_rig_settle(&rig);
    char pos[CN_POS_TEXT_BYTES];
    const char *text = client_expect(bob, "message");
    assert_true(frame_has(text, "from", "\"ann\""));
    assert_true(frame_has(text, "room", "\"lobby\""));
    assert_true(frame_has(text, "id", "\"a1\""));
    strcpy(pos, frame_text(text, "pos"));
    bool acked = false;
    bool heard = false;
    while ((text = fake_sink_next(&ann->sink))) {
        assert_string_equal(frame_text(text, "pos"), pos);
        acked |= frame_is(text, "ack") && frame_has(text, "id", "\"a1\"") &&
                 frame_has(text, "dup", "false");
        heard |= frame_is(text, "message");
    }
    assert_true(acked && heard);
    assert_int_equal(ann->session->in_flight, 0);
    // The same id again: the same position, and nobody gets it twice.
    client_send(ann, "{\"type\":\"message\",\"content\":\"hi\",\"id\":\"a1\"}");
    hub_rig_settle(&rig);
    text = client_expect(ann, "ack");
    assert_true(frame_has(text, "dup", "true"));
    assert_string_equal(frame_text(text, "pos"), pos);
    client_expect_nothing(ann);
    client_expect_nothing(bob);
}

static void test_plain_text_goes_to_the_default_room_without_an_ack(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "say \"hi\"");
    client_send(ann, "say \"hi\""); // no id, so no repeat
    hub_rig_settle(&rig);
    for (int i = 0; i < 2; i++)
        assert_true(frame_has(client_expect(ann, "message"), "content", "\"say \\\"hi\\\"\""));
    client_expect_nothing(ann);
}

static void test_only_members_may_speak(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "{\"type\":\"message\",\"room\":\"hall\",\"content\":1,\"id\":\"a1\"}");
    const char *text = client_expect(ann, "error");
    assert_true(frame_has(text, "code", "\"not_joined\""));
    assert_true(frame_has(text, "id", "\"a1\""));
    hub_rig_settle(&rig);
    client_expect_nothing(ann);
    assert_int_equal(cn_metrics_sum(CN_M_PUBLISHES), 0);
}

static void test_a_flood_of_one_session_is_bounded(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    int64_t bound = rig.config.max_in_flight;
    for (int64_t i = 0; i < bound + 10; i++)
        client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"f%d\"}", (int)i);
    assert_int_equal(ann->session->in_flight, bound);
    for (int i = 0; i < 10; i++)
        assert_true(frame_has(client_expect(ann, "error"), "code", "\"overloaded\""));
    hub_rig_settle(&rig);
    assert_int_equal(ann->session->in_flight, 0);
    assert_int_equal(cn_metrics_sum(CN_M_PUBLISHES), bound);
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"g\"}");
    hub_rig_settle(&rig);
    assert_int_equal(cn_metrics_sum(CN_M_PUBLISHES), bound + 1);
}

static void test_main_takes_only_so_much_from_all(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    for (int i = 0; i < 30; i++)
        client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"f%d\"}", i);
    assert_int_equal(ann->session->in_flight, 16);
    for (int i = 0; i < 14; i++)
        assert_true(frame_has(client_expect(ann, "error"), "code", "\"overloaded\""));
    assert_int_equal(cn_metrics_sum(CN_M_MAILBOX_FULL_MAIN), 14);
    // A flood of joins is refused as well, and leaves nothing behind.
    int64_t feeds = cn_metrics_sum(CN_M_FEEDS);
    client_send(ann, "{\"type\":\"join\",\"room\":\"hall\",\"id\":\"j\"}");
    assert_true(frame_has(client_expect(ann, "error"), "code", "\"overloaded\""));
    assert_int_equal(cn_metrics_sum(CN_M_FEEDS), feeds);
    hub_rig_settle(&rig);
    assert_int_equal(ann->session->in_flight, 0);
}

static void test_an_answer_after_the_end_is_dropped(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    struct client *bob = rig_member(&rig, 1, "bob", NULL);
    client_send(ann, "{\"type\":\"message\",\"content\":\"last\",\"id\":\"a1\"}");
    client_gone(ann); // before main knows
    hub_rig_settle(&rig);
    assert_true(frame_has(client_expect(bob, "message"), "content", "\"last\""));
    client_send(bob, "{\"type\":\"message\",\"content\":\"mine\",\"id\":\"b1\"}");
    hub_rig_turn_main(&rig); // the answer is in the mailbox
    client_gone(bob);
    hub_rig_settle(&rig);
    assert_int_equal(cn_metrics_sum(CN_M_PUBLISHES), 2);
}

// ---- Directed messages ----

static void test_a_direct_message_reaches_all_sessions_of_both(void **state)
{
    (void)state;
    struct client *ann[2] = {rig_member(&rig, 0, "ann", ""), rig_member(&rig, 1, "ann", "")};
    struct client *bob[2] = {rig_member(&rig, 0, "bob", ""), rig_member(&rig, 1, "bob", "")};
    struct client *cid = rig_member(&rig, 0, "cid", "");
    client_send(ann[0], "{\"type\":\"direct\",\"to\":\"bob\",\"content\":\"psst\",\"id\":\"d1\"}");
    hub_rig_settle(&rig);
    char pos[CN_POS_TEXT_BYTES] = "";
    for (int i = 0; i < 2; i++) {
        const char *text = client_expect(bob[i], "direct");
        assert_true(frame_has(text, "from", "\"ann\""));
        assert_true(frame_has(text, "to", "\"bob\""));
        strcpy(pos, frame_text(text, "pos"));
        client_expect_nothing(bob[i]);
    }
    client_expect(ann[1], "direct");
    client_expect_nothing(ann[1]);
    client_expect_nothing(cid);
    size_t acks = 0;
    size_t copies = 0;
    for (const char *text; (text = fake_sink_next(&ann[0]->sink)) != NULL;) {
        copies += frame_is(text, "direct");
        if (!frame_is(text, "ack"))
            continue;
        acks++;
        assert_string_equal(frame_text(text, "pos"), pos); // the recipient's position
    }
    assert_int_equal(acks, 1);
    assert_int_equal(copies, 1);
    // Again: one ack that says so, and no copy anywhere.
    client_send(ann[0], "{\"type\":\"direct\",\"to\":\"bob\",\"content\":\"psst\",\"id\":\"d1\"}");
    hub_rig_settle(&rig);
    assert_true(frame_has(client_expect(ann[0], "ack"), "dup", "true"));
    client_expect_nothing(ann[0]);
    client_expect_nothing(bob[0]);
}

static void test_a_note_to_oneself_comes_once(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "");
    client_send(ann, "{\"type\":\"direct\",\"to\":\"ann\",\"content\":\"milk\"}");
    hub_rig_settle(&rig);
    assert_true(frame_has(client_expect(ann, "direct"), "content", "\"milk\""));
    client_expect_nothing(ann);
}

// ---- The bus is down, or memory is out: an error, never silence ----

static void test_without_the_bus_an_error_comes_in_time(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"a1\"}");
    hub_rig_settle(&rig);
    client_expect_nothing(ann);
    rig.now_us += 60000;
    // The bus's deadlines run by the reactor's own clock.
    for (int i = 0; i < 1000 && ann->session->in_flight > 0; i++) {
        cn_reactor_turn(rig.reactor, 10);
        hub_rig_settle(&rig);
    }
    const char *text = client_expect(ann, "error");
    assert_true(frame_has(text, "code", "\"unavailable\""));
    assert_true(frame_has(text, "retry", "true"));
    assert_true(frame_has(text, "id", "\"a1\""));
    assert_int_equal(ann->session->in_flight, 0);
    assert_int_equal(cn_metrics_sum(CN_M_PUBLISHES_FAILED), 1);
}

static void test_without_memory_the_answer_comes_all_the_same(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    rig_say(&rig, ann, "lobby", "so that there is something to read");
    client_expect(ann, "message");
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"a1\"}");
    client_send(ann, "{\"type\":\"direct\",\"to\":\"bob\",\"content\":1,\"id\":\"a2\"}");
    client_send(ann, "{\"type\":\"history\",\"id\":\"a3\"}");
    no_memory = true;
    hub_rig_turn_main(&rig);
    no_memory = false;
    hub_rig_settle(&rig);
    assert_int_equal(ann->session->in_flight, 0);
    size_t answers = 0;
    for (const char *text; (text = fake_sink_next(&ann->sink)) != NULL;)
        answers += frame_is(text, "error") && frame_has(text, "retry", "true");
    assert_int_equal(answers, 3);
    client_send(ann, "{\"type\":\"message\",\"content\":1,\"id\":\"a1\"}");
    hub_rig_settle(&rig);
    assert_int_equal(cn_metrics_sum(CN_M_PUBLISHES_FAILED), 2);
}

int main(void)
{
#define TEST(open, name) cmocka_unit_test_setup_teardown(name, open, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(open_rig, test_the_ack_names_what_the_room_gets),
        TEST(open_rig, test_plain_text_goes_to_the_default_room_without_an_ack),
        TEST(open_rig, test_only_members_may_speak),
        TEST(open_rig, test_a_flood_of_one_session_is_bounded),
        TEST(open_tight, test_main_takes_only_so_much_from_all),
        TEST(open_rig, test_an_answer_after_the_end_is_dropped),
        TEST(open_rig, test_a_direct_message_reaches_all_sessions_of_both),
        TEST(open_rig, test_a_note_to_oneself_comes_once),
        TEST(open_down, test_without_the_bus_an_error_comes_in_time),
        TEST(open_rig, test_without_memory_the_answer_comes_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
