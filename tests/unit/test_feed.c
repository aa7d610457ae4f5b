// SPDX-License-Identifier: MIT
// A feed: its states, and members that leave in the midst of a pass.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/feed.h"

#include <stdlib.h>
#include <string.h>

#include "chatnode/frame.h"

enum { MEMBERS = 64 };

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool realloc_fails;

void *__wrap_realloc(void *old, size_t size)
{
    return realloc_fails ? NULL : __real_realloc(old, size);
}

// A feed with members, of whom `met` counts how often a pass met each.
struct crowd {
    struct cn_feed *feed;
    struct cn_member members[MEMBERS];
    int met[MEMBERS];
    bool gone[MEMBERS];
};

static struct cn_feed *make_feed(void)
{
    struct cn_channel_name name;
    assert_int_equal(cn_channel_name_make(CN_CHANNEL_ROOM, cn_str_of("hall"), &name), CN_OK);
    const struct cn_feed_bounds bounds = {.ring_frames = 16, .ring_bytes = 65536};
    struct cn_feed *feed = cn_feed_new(&name, &bounds);
    assert_non_null(feed);
    return feed;
}

static void open_crowd(struct crowd *crowd, int count)
{
    memset(crowd, 0, sizeof(*crowd));
    crowd->feed = make_feed();
    for (int i = 0; i < count; i++)
        assert_int_equal(cn_feed_add(crowd->feed, &crowd->members[i]), CN_OK);
}

static void leave(struct crowd *crowd, int i)
{
    assert_false(crowd->gone[i]);
    cn_feed_remove(crowd->feed, &crowd->members[i]);
    crowd->gone[i] = true;
    assert_null(crowd->members[i].feed);
}

static void close_crowd(struct crowd *crowd)
{
    while (crowd->feed->count > 0)
        leave(crowd, (int)(crowd->feed->members[crowd->feed->count - 1] - crowd->members));
    cn_feed_free(crowd->feed);
}

// Every index stands where its member says, and nobody is there twice.
static void assert_whole(const struct crowd *crowd)
{
    for (uint32_t i = 0; i < crowd->feed->count; i++) {
        assert_int_equal(crowd->feed->members[i]->index, i);
        assert_ptr_equal(crowd->feed->members[i]->feed, crowd->feed);
    }
}

// The pass under way meets `count` members more.
static void meet(struct crowd *crowd, uint32_t count)
{
    struct cn_feed *feed = crowd->feed;
    for (; count > 0 && feed->cursor < feed->count; count--)
        crowd->met[feed->members[feed->cursor++] - crowd->members]++;
}

static void assert_all_met_once(const struct crowd *crowd, int count)
{
    for (int i = 0; i < count; i++)
        if (!crowd->gone[i])
            assert_int_equal(crowd->met[i], 1);
        else
            assert_true(crowd->met[i] <= 1);
}

static void test_states(void **state)
{
    (void)state;
    struct cn_feed *feed = make_feed();
    assert_int_equal(feed->state, CN_FEED_OPENING);
    cn_feed_open(feed, (struct cn_pos){5, 3});
    assert_int_equal(feed->state, CN_FEED_LIVE);
    assert_int_equal(feed->tail.seq, 3);
    assert_int_equal(feed->ring.floor.seq, 3);
    struct cn_frame *frame =
        cn_frame_new((struct cn_pos){5, 4}, CN_STR_LITERAL("x"), (struct cn_str){NULL, 0});
    assert_int_equal(cn_ring_append(&feed->ring, frame), CN_OK);
    cn_feed_close(feed);
    assert_int_equal(feed->state, CN_FEED_CLOSING);
    assert_int_equal(atomic_load(&frame->ref.count), 1);
    assert_int_equal(feed->ring.next, 0);
    assert_int_equal(feed->ring.max_frames, 16);
    cn_frame_release(frame);
    cn_feed_free(feed);
    cn_feed_free(NULL);
}

static void test_without_memory_no_member_is_added(void **state)
{
    (void)state;
    struct crowd crowd;
    open_crowd(&crowd, 2);
    realloc_fails = true;
    enum cn_err err = cn_feed_add(crowd.feed, &crowd.members[2]);
    realloc_fails = false;
    assert_int_equal(err, CN_NOMEM);
    assert_int_equal(crowd.feed->count, 2);
    assert_whole(&crowd);
    close_crowd(&crowd);
}

// One member leaves at each point of a pass: before and after it was met.
static void test_one_leaves_at_any_point_of_a_pass(void **state)
{
    (void)state;
    for (uint32_t done = 0; done <= 7; done++) {
        for (int who = 0; who < 7; who++) {
            struct crowd crowd;
            open_crowd(&crowd, 7);
            meet(&crowd, done);
            leave(&crowd, who);
            assert_whole(&crowd);
            meet(&crowd, MEMBERS);
            assert_all_met_once(&crowd, 7);
            close_crowd(&crowd);
        }
    }
}

// The last one whom the pass had not met leaves, then one whom it had met.
static void test_leaving_when_all_that_are_left_were_met(void **state)
{
    (void)state;
    struct crowd crowd;
    open_crowd(&crowd, 5);
    meet(&crowd, 4);
    leave(&crowd, 4);
    leave(&crowd, 1);
    assert_whole(&crowd);
    leave(&crowd, 0);
    assert_whole(&crowd);
    leave(&crowd, 3);
    assert_whole(&crowd);
    assert_int_equal(crowd.feed->count, 1);
    assert_ptr_equal(crowd.feed->members[0], &crowd.members[2]);
    meet(&crowd, MEMBERS);
    assert_all_met_once(&crowd, 5);
    close_crowd(&crowd);
}

// Leaving and meeting in an arbitrary but fixed order.
static void test_many_leave_between_slices(void **state)
{
    (void)state;
    uint32_t random = 12345;
    for (int round = 0; round < 500; round++) {
        struct crowd crowd;
        open_crowd(&crowd, MEMBERS);
        while (crowd.feed->cursor < crowd.feed->count) {
            random = random * 1664525 + 1013904223;
            int who = (int)(random >> 16) % MEMBERS;
            if (random & 0x800000)
                meet(&crowd, 1 + (random >> 8) % 5);
            else if (!crowd.gone[who])
                leave(&crowd, who);
            assert_whole(&crowd);
        }
        assert_all_met_once(&crowd, MEMBERS);
        close_crowd(&crowd);
    }
}

// Who joins in the midst of a pass comes after all others, and may leave again.
static void test_joining_in_the_midst_of_a_pass(void **state)
{
    (void)state;
    struct crowd crowd;
    open_crowd(&crowd, 10);
    meet(&crowd, 5);
    assert_int_equal(cn_feed_add(crowd.feed, &crowd.members[10]), CN_OK);
    leave(&crowd, 2);
    assert_int_equal(cn_feed_add(crowd.feed, &crowd.members[11]), CN_OK);
    leave(&crowd, 10);
    meet(&crowd, MEMBERS);
    assert_all_met_once(&crowd, 12);
    close_crowd(&crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_without_memory_no_member_is_added),
        cmocka_unit_test(test_one_leaves_at_any_point_of_a_pass),
        cmocka_unit_test(test_leaving_when_all_that_are_left_were_met),
        cmocka_unit_test(test_many_leave_between_slices),
        cmocka_unit_test(test_joining_in_the_midst_of_a_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
