// SPDX-License-Identifier: MIT
// The hub's part of a loop: its mailbox, its turns, its ticks.
#include "support/hub_rig.h"

#include "chatnode/clock.h"
#include "hub_private.h"

static struct hub_rig rig;

static int open_rig(void **state)
{
    (void)state;
    static const char *const settings[] = {"--mailbox", "1024", NULL};
    hub_rig_open(&rig, 3, settings);
    hub_rig_start(&rig);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    hub_rig_close(&rig);
    return 0;
}

// A letter that notes what became of it.
struct note {
    struct cn_letter letter;
    int number;
};

static int read_count;
static int freed_count;
static bool in_order;
static struct cn_loop *read_by;

static void read_note(struct cn_letter *letter, struct cn_loop *loop)
{
    struct note *note = CN_CONTAINER(letter, struct note, letter);
    in_order &= note->number == read_count;
    read_count++;
    read_by = loop;
}

static void free_note(struct cn_mail *mail)
{
    (void)mail;
    freed_count++;
}

static struct note note_of(int number)
{
    return (struct note){.letter = {{NULL, free_note}, read_note}, .number = number};
}

static void count_wake(void *arg)
{
    (*(int *)arg)++;
}

static void test_letters_are_read_in_order_and_one_wake_is_enough(void **state)
{
    (void)state;
    static struct note notes[2048];
    static int wakes; // counted until the rig is closed
    wakes = 0;
    struct cn_loop *loop = cn_hub_loop(rig.hub, 1);
    cn_loop_set_wake(loop, count_wake, &wakes);
    read_count = freed_count = 0;
    in_order = true;
    int put = 0;
    for (; put < 2048; put++) {
        notes[put] = note_of(put);
        if (cn_loop_post(loop, &notes[put].letter))
            break;
    }
    assert_int_equal(put, 1024); // the bound; the rest stays the caller's
    cn_loop_post_always(loop, &notes[put].letter);
    assert_int_equal(wakes, 0); // not before main's turn ends
    cn_reactor_turn(rig.reactor, 0);
    assert_int_equal(wakes, 1);
    cn_reactor_turn(rig.reactor, 0);
    assert_int_equal(wakes, 1);
    assert_int_equal(cn_loop_turn(loop), -1);
    assert_int_equal(read_count, 1025);
    assert_true(in_order);
    assert_ptr_equal(read_by, loop);
    notes[0] = note_of(1025);
    assert_int_equal(cn_loop_post(loop, &notes[0].letter), CN_OK);
    cn_reactor_turn(rig.reactor, 0);
    assert_int_equal(wakes, 2);
    assert_int_equal(cn_loop_turn(loop), -1);
    assert_int_equal(freed_count, 0);
}

// However much it asks in a turn, main is woken once, when that ends.
static void test_main_is_woken_at_the_end_of_the_loops_turn(void **state)
{
    (void)state;
    static int defers; // as above
    defers = 0;
    struct cn_loop *loop = cn_hub_loop(rig.hub, 0);
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    cn_loop_set_defer(loop, count_wake, &defers);
    for (int i = 0; i < 10; i++)
        client_send(ann, "hello");
    assert_int_equal(defers, 1);
    rig.wakes = 0;
    cn_reactor_turn(rig.reactor, 0);
    assert_int_equal(rig.wakes, 0);
    (void)cn_loop_pass_on(loop);
    (void)cn_loop_pass_on(loop);
    cn_reactor_turn(rig.reactor, 0);
    assert_int_equal(rig.wakes, 1);
    client_send(ann, "hello"); // a turn of the loop passes it on as well
    assert_int_equal(cn_loop_turn(loop), -1);
    cn_reactor_turn(rig.reactor, 0);
    assert_int_equal(rig.wakes, 2);
    hub_rig_settle(&rig);
}

static void test_letters_nobody_read_are_disposed_of_at_the_end(void **state)
{
    (void)state;
    static struct note note;
    freed_count = 0;
    note = note_of(0);
    struct cn_loop *loop = cn_loop_new(rig.hub, 2);
    assert_non_null(loop);
    assert_int_equal(cn_loop_post(loop, &note.letter), CN_OK);
    cn_loop_free(loop);
    assert_int_equal(freed_count, 1);
    cn_loop_free(NULL);
}

static void test_who_it_is_and_when_it_was_alive(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(cn_loop_index(cn_hub_loop(rig.hub, i)), i);
    struct cn_loop *loop = cn_hub_loop(rig.hub, 0);
    int64_t before_ms = cn_loop_alive_ms(loop);
    rig.now_us += 700000;
    assert_int_equal(cn_loop_turn(loop), -1);
    assert_int_equal(cn_loop_alive_ms(loop), before_ms);
    assert_true(cn_loop_tick(loop) > 0);
    assert_int_equal(cn_loop_alive_ms(loop), before_ms + 700);
}

// A tick comes often enough for what is due: pings, ends, joins.
static void test_ticks_are_close_enough(void **state)
{
    (void)state;
    struct cn_loop *loop = cn_hub_loop(rig.hub, 0);
    int64_t idle_ms = cn_loop_tick(loop);
    assert_true(idle_ms <= 1000 && idle_ms <= rig.config.pong_timeout_ms / 8);
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    assert_int_equal(cn_loop_sessions(loop), 1);
    assert_int_equal(cn_loop_tick(loop), idle_ms);
    client_send(ann, "{\"type\":\"join\",\"room\":\"hall\"}"); // waits for main
    assert_true(cn_loop_tick(loop) <= 50);
    hub_rig_settle(&rig);
    assert_int_equal(cn_loop_tick(loop), idle_ms);
    struct client *bob = rig_member(&rig, 0, "bob", NULL);
    cn_loop_send_away(loop, 1000, CN_REASON_RESTART);
    assert_true(cn_loop_tick(loop) <= 50);
    assert_int_equal(ann->sink.closed + bob->sink.closed, 1); // the first one's time is at once
    hub_rig_pass_ms(&rig, 500);
    assert_int_equal(ann->sink.closed + bob->sink.closed, 2);
    assert_int_equal(cn_loop_tick(loop), idle_ms);
    client_gone(ann);
    client_gone(bob);
    assert_int_equal(cn_loop_sessions(loop), 0);
}

static void test_answers_of_one_turn_are_one_write(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", NULL);
    for (int i = 0; i < 10; i++)
        client_send(ann, "{\"type\":\"history\",\"id\":\"h%d\"}", i);
    size_t writes = ann->sink.writes;
    hub_rig_settle(&rig);
    for (int i = 0; i < 10; i++)
        client_expect(ann, "history");
    assert_int_equal(ann->sink.writes, writes + 1);
}

static void test_an_ack_and_its_message_are_one_write(void **state)
{
    (void)state;
    struct client *ann = rig_member(&rig, 0, "ann", "hall");
    struct client *bob = rig_member(&rig, 0, "bob", "hall");
    size_t writes = ann->sink.writes;
    for (int i = 0; i < 3; i++)
        client_send(ann,
                    "{\"type\":\"message\",\"room\":\"hall\",\"content\":\"m%d\",\"id\":\"i%d\"}",
                    i, i);
    hub_rig_settle(&rig);
    assert_int_equal(ann->sink.writes, writes + 1);
    for (int i = 0; i < 3; i++)
        client_expect(ann, "ack");
    client_expect_series(ann, "m", 0, 3);
    client_expect_series(bob, "m", 0, 3);
    client_expect_nothing(ann);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(test_letters_are_read_in_order_and_one_wake_is_enough),
        TEST(test_main_is_woken_at_the_end_of_the_loops_turn),
        TEST(test_letters_nobody_read_are_disposed_of_at_the_end),
        TEST(test_who_it_is_and_when_it_was_alive),
        TEST(test_ticks_are_close_enough),
        TEST(test_answers_of_one_turn_are_one_write),
        TEST(test_an_ack_and_its_message_are_one_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
