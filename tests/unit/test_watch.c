// SPDX-License-Identifier: MIT
// The check of the bench: stamps, numbers, the common stream, and those who leave it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "watch.h"

enum { MEMBERS = 3, LANES = 2, MESSAGE_BYTES = 60 };

struct rig {
    struct cn_watch watch;
    struct cn_stream stream;
    struct cn_watch_member members[MEMBERS];
    int complete;
    unsigned complete_slot;
};

static void on_complete(void *context, unsigned room, unsigned lane, unsigned slot)
{
    struct rig *rig = context;
    assert_int_equal(room, 7);
    assert_true(lane < LANES);
    rig->complete++;
    rig->complete_slot = slot;
}

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    rig->watch.latency = calloc(1, sizeof(*rig->watch.latency));
    rig->watch.on_complete = on_complete;
    rig->watch.context = rig;
    *state = rig;
    return cn_stream_init(&rig->stream, &rig->watch, 7, MEMBERS, LANES) ? 0 : 1;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < MEMBERS; i++)
        free(rig->members[i].own);
    cn_stream_fini(&rig->stream);
    free(rig->watch.latency);
    free(rig);
    return 0;
}

// A message as a server might send it: something of its own, then the stamp, then filling.
static void write_message(char out[MEMBERS + MESSAGE_BYTES], unsigned lane, uint32_t seq)
{
    const struct cn_stamp stamp = {
        .tag = 0xbeef, .room = 7, .lane = lane, .seq = seq, .slot = seq % 16, .due_us = 1000};
    memset(out, 'x', MESSAGE_BYTES);
    memcpy(out, "m: ", 3);
    cn_stamp_write(&stamp, out + 3);
}

// What a connection does with what it received.
static void receive(struct rig *rig, int member, unsigned lane, uint32_t seq)
{
    char message[MEMBERS + MESSAGE_BYTES];
    write_message(message, lane, seq);
    struct cn_watch_member *who = &rig->members[member];
    size_t taken = cn_stream_follow(&rig->stream, who, message, MESSAGE_BYTES, 1500);
    if (taken == MESSAGE_BYTES)
        return;
    assert_int_equal(taken, 0);
    struct cn_stamp stamp;
    assert_true(cn_stamp_find(message, MESSAGE_BYTES, 0xbeef, &stamp));
    cn_stream_take(&rig->stream, who, message, MESSAGE_BYTES, &stamp, 1500);
}

static void receive_all(struct rig *rig, unsigned lane, uint32_t seq)
{
    for (int i = 0; i < MEMBERS; i++)
        receive(rig, i, lane, seq);
}

static void assert_faults(const struct rig *rig, uint64_t duplicates, uint64_t disordered)
{
    assert_int_equal(rig->watch.duplicates, duplicates);
    assert_int_equal(rig->watch.disordered, disordered);
}

static void a_stamp_is_read_as_it_was_written(void **state)
{
    (void)state;
    const struct cn_stamp stamp = {.tag = 0xffff,
                                   .room = 0xabcdef,
                                   .lane = 0x1234,
                                   .seq = 0xdeadbeef,
                                   .slot = 0xffff,
                                   .again = true,
                                   .due_us = 0x123456789abc};
    char text[100];
    memset(text, '~', sizeof(text));
    cn_stamp_write(&stamp, text + 20);
    struct cn_stamp read;
    assert_true(cn_stamp_find(text, 20 + CN_STAMP_BYTES, 0xffff, &read));
    assert_int_equal(read.room, stamp.room);
    assert_int_equal(read.lane, stamp.lane);
    assert_int_equal(read.seq, stamp.seq);
    assert_int_equal(read.slot, stamp.slot);
    assert_true(read.again);
    assert_int_equal(read.due_us, stamp.due_us);
    assert_false(cn_stamp_find(text, 20 + CN_STAMP_BYTES - 1, 0xffff, &read)); // cut off
    assert_false(cn_stamp_find(text, sizeof(text), 0x1111, &read));            // of another run
    text[30] = 'g';
    assert_false(cn_stamp_find(text, sizeof(text), 0xffff, &read)); // no digit
}

static void numbers_are_new_late_or_double(void **state)
{
    (void)state;
    static const struct {
        uint32_t seq;
        enum cn_sequence_verdict verdict;
    } steps[] = {
        {0, CN_SEQUENCE_NEW},    {1, CN_SEQUENCE_NEW},   {1, CN_SEQUENCE_DOUBLE},
        {4, CN_SEQUENCE_NEW},    {2, CN_SEQUENCE_LATE},  {2, CN_SEQUENCE_DOUBLE},
        {3, CN_SEQUENCE_LATE},   {200, CN_SEQUENCE_NEW}, {137, CN_SEQUENCE_LATE},
        {4, CN_SEQUENCE_DOUBLE}, {201, CN_SEQUENCE_NEW}, {137, CN_SEQUENCE_DOUBLE},
    };
    struct cn_sequence sequence = {0};
    for (size_t i = 0; i < CN_COUNT(steps); i++)
        assert_int_equal(cn_sequence_note(&sequence, steps[i].seq), steps[i].verdict);
}

static void what_all_receive_is_complete(void **state)
{
    struct rig *rig = *state;
    for (uint32_t seq = 0; seq < 1000; seq++) {
        receive(rig, 0, seq % 2, seq / 2);
        receive(rig, 2, seq % 2, seq / 2);
        assert_int_equal(rig->complete, seq);
        receive(rig, 1, seq % 2, seq / 2);
        assert_int_equal(rig->complete_slot, seq / 2 % 16);
    }
    assert_faults(rig, 0, 0);
    assert_int_equal(rig->watch.deliveries, 3000);
    assert_int_equal(cn_histogram_count(rig->watch.latency), 3000);
    assert_int_equal(rig->watch.latency->max_us, 500);
    assert_int_equal(cn_stream_reordered(&rig->stream), 0);
    assert_true(rig->stream.cap <= 4096); // what all have is forgotten
}

static void many_messages_are_followed_at_once(void **state)
{
    struct rig *rig = *state;
    char batch[5 * MESSAGE_BYTES + MEMBERS];
    for (uint32_t seq = 0; seq < 5; seq++) {
        receive(rig, 0, 0, seq);
        write_message(batch + seq * MESSAGE_BYTES, 0, seq);
    }
    size_t len = 5 * MESSAGE_BYTES - 1; // the last one is not whole yet
    size_t taken = cn_stream_follow(&rig->stream, &rig->members[1], batch, len, 1500);
    assert_int_equal(taken, 4 * MESSAGE_BYTES);
    taken = cn_stream_follow(&rig->stream, &rig->members[1], batch + taken, MESSAGE_BYTES, 1500);
    assert_int_equal(taken, MESSAGE_BYTES);
    batch[3 * MESSAGE_BYTES] = '?'; // something else between the messages
    taken = cn_stream_follow(&rig->stream, &rig->members[2], batch, len, 1500);
    assert_int_equal(taken, 3 * MESSAGE_BYTES);
}

static void what_one_member_misses_is_missing_there_only(void **state)
{
    struct rig *rig = *state;
    receive_all(rig, 0, 0);
    receive(rig, 0, 0, 1);
    receive(rig, 2, 0, 1);
    receive_all(rig, 0, 2);
    receive_all(rig, 1, 0);
    assert_faults(rig, 0, 0);
    assert_int_equal(rig->members[0].unique, 4);
    assert_int_equal(rig->members[1].unique, 3);
    assert_int_equal(rig->complete, 3);
}

static void what_the_foremost_misses_the_others_have(void **state)
{
    struct rig *rig = *state;
    receive_all(rig, 0, 0);
    receive(rig, 0, 0, 2);
    for (int i = 1; i < MEMBERS; i++) {
        receive(rig, i, 0, 1);
        receive(rig, i, 0, 2);
    }
    assert_faults(rig, 0, 0);
    assert_int_equal(rig->members[0].unique, 2);
    assert_int_equal(rig->members[1].unique, 3);
    assert_int_equal(rig->members[2].unique, 3);
}

static void what_comes_twice_is_counted_where_it_does(void **state)
{
    struct rig *rig = *state;
    receive_all(rig, 0, 0);
    receive(rig, 1, 0, 0);
    assert_faults(rig, 1, 0);
    receive_all(rig, 0, 1);
    receive_all(rig, 0, 1);
    assert_faults(rig, 4, 0);
    for (int i = 0; i < MEMBERS; i++)
        assert_int_equal(rig->members[i].unique, 2);
}

static void what_comes_late_is_counted_where_it_does(void **state)
{
    struct rig *rig = *state;
    receive(rig, 0, 0, 0);
    receive(rig, 0, 0, 1);
    receive(rig, 0, 0, 2);
    receive(rig, 1, 0, 0);
    receive(rig, 1, 0, 2);
    receive(rig, 1, 0, 1);
    assert_faults(rig, 0, 1);
    assert_int_equal(rig->members[1].unique, 3);
}

static void another_order_of_two_senders_is_noticed(void **state)
{
    struct rig *rig = *state;
    receive(rig, 0, 0, 0);
    receive(rig, 0, 1, 0);
    receive(rig, 1, 1, 0);
    receive(rig, 1, 0, 0);
    assert_faults(rig, 0, 0);
    assert_int_equal(cn_stream_reordered(&rig->stream), 1);
}

static void what_was_refused_may_be_overtaken(void **state)
{
    struct rig *rig = *state;
    receive(rig, 0, 0, 1);
    struct cn_stamp stamp = {.tag = 0xbeef, .room = 7, .lane = 0, .seq = 0, .again = true};
    char text[MESSAGE_BYTES] = "";
    cn_stamp_write(&stamp, text);
    cn_stream_take(&rig->stream, &rig->members[0], text, sizeof(text), &stamp, 1500);
    assert_faults(rig, 0, 0);
    assert_int_equal(rig->members[0].unique, 2);
}

static void a_sender_that_does_not_exist_is_a_fault(void **state)
{
    struct rig *rig = *state;
    struct cn_stamp stamp = {.tag = 0xbeef, .room = 7, .lane = LANES};
    char text[MESSAGE_BYTES] = "";
    cn_stream_take(&rig->stream, &rig->members[0], text, sizeof(text), &stamp, 1500);
    assert_faults(rig, 0, 1);
    assert_int_equal(rig->watch.deliveries, 0);
}

static void only_what_was_due_in_time_is_measured(void **state)
{
    struct rig *rig = *state;
    rig->watch.measured_from_us = 1001;
    receive_all(rig, 0, 0);
    assert_int_equal(rig->watch.measured, 0);
    rig->watch.measured_from_us = 1000;
    receive_all(rig, 0, 1);
    assert_int_equal(rig->watch.measured, 3);
    assert_int_equal(rig->watch.deliveries, 6);
}

// A message as a server might send it that writes something else to each receiver.
static void receive_own(struct rig *rig, int member, uint32_t seq, char filling)
{
    char message[MEMBERS + MESSAGE_BYTES];
    write_message(message, 0, seq);
    message[0] = (char)('0' + member);
    message[3 + CN_STAMP_BYTES] = filling;
    struct cn_watch_member *who = &rig->members[member];
    struct cn_stamp stamp;
    if (cn_stream_follow(&rig->stream, who, message, MESSAGE_BYTES, 1500) == MESSAGE_BYTES)
        return;
    assert_true(cn_stamp_find(message, MESSAGE_BYTES, 0xbeef, &stamp));
    cn_stream_take(&rig->stream, who, message, MESSAGE_BYTES, &stamp, 1500);
}

// Whoever is the first one, and who left the stream: a message is complete when all have it.
static void members_may_get_other_bytes(void **state)
{
    struct rig *rig = *state;
    rig->watch.payload = CN_STAMP_BYTES + 1;
    for (uint32_t seq = 0; seq < 300; seq++) {
        for (int i = 0; i < MEMBERS; i++) {
            assert_int_equal(rig->complete, seq);
            receive_own(rig, (i + (int)seq) % MEMBERS, seq, 'x');
        }
        assert_int_equal(rig->complete_slot, seq % 16);
    }
    assert_int_equal(rig->complete, 300);
    assert_faults(rig, 0, 0);
    assert_int_equal(rig->watch.deliveries, 3 * 300);
    assert_int_equal(cn_stream_reordered(&rig->stream), 0);
    receive_own(rig, 0, 300, 'x');
    receive_own(rig, 1, 300, 'y');
    receive_own(rig, 2, 300, 'x');
    assert_int_equal(cn_stream_reordered(&rig->stream), 1); // not the same text
}

// One loss must not make all that follows dear, neither in time nor in memory.
static void a_loss_long_ago_costs_nothing(void **state)
{
    struct rig *rig = *state;
    receive_all(rig, 0, 0);
    receive(rig, 0, 0, 1);
    receive(rig, 2, 0, 1);
    for (uint32_t seq = 2; seq < 1000000; seq++)
        receive_all(rig, 0, seq);
    assert_faults(rig, 0, 0);
    assert_false(rig->watch.overflowed);
    assert_int_equal(rig->complete, 1000000 - 1);
    assert_int_equal(rig->members[1].unique, 1000000 - 1);
    assert_true(rig->stream.cap <= 4096);
    assert_true(rig->stream.entry_cap <= 1 << 18);
}

static void a_member_may_be_64_mib_behind(void **state)
{
    struct rig *rig = *state;
    uint32_t seq = 0;
    for (; (seq + 1) * MESSAGE_BYTES < 64 << 20; seq++)
        receive(rig, 0, 0, seq);
    assert_false(rig->watch.overflowed);
    for (uint32_t end = seq + 1000; seq < end; seq++)
        receive(rig, 0, 0, seq);
    assert_true(rig->watch.overflowed);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stamp_is_read_as_it_was_written),
        cmocka_unit_test(numbers_are_new_late_or_double),
        RIGGED(what_all_receive_is_complete),
        RIGGED(many_messages_are_followed_at_once),
        RIGGED(what_one_member_misses_is_missing_there_only),
        RIGGED(what_the_foremost_misses_the_others_have),
        RIGGED(what_comes_twice_is_counted_where_it_does),
        RIGGED(what_comes_late_is_counted_where_it_does),
        RIGGED(another_order_of_two_senders_is_noticed),
        RIGGED(what_was_refused_may_be_overtaken),
        RIGGED(a_sender_that_does_not_exist_is_a_fault),
        RIGGED(only_what_was_due_in_time_is_measured),
        RIGGED(members_may_get_other_bytes),
        RIGGED(a_loss_long_ago_costs_nothing),
        RIGGED(a_member_may_be_64_mib_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
