// SPDX-License-Identifier: MIT
// The ring: bounds, eviction, floor, ordinals, and spans cut at a frame's end.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/ring.h"

#include <stdlib.h>
#include <string.h>

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool calloc_fails;

void *__wrap_calloc(size_t count, size_t size)
{
    return calloc_fails ? NULL : __real_calloc(count, size);
}

static const struct cn_pos none = {0, 0};

static struct cn_pos at(uint64_t seq)
{
    return (struct cn_pos){7, seq};
}

// A frame of `len` bytes in all, at position 7-seq.
static struct cn_frame *make(uint64_t seq, size_t len)
{
    char *payload = malloc(len);
    assert_non_null(payload);
    memset(payload, (int)('a' + seq % 26), len);
    size_t header = len > 127 ? 4 : 2;
    struct cn_frame *frame =
        cn_frame_new(at(seq), (struct cn_str){payload, len - header}, (struct cn_str){NULL, 0});
    free(payload);
    assert_non_null(frame);
    assert_int_equal(frame->len, len);
    return frame;
}

static void append(struct cn_ring *ring, uint64_t seq, size_t len)
{
    struct cn_frame *frame = make(seq, len);
    assert_int_equal(cn_ring_append(ring, frame), CN_OK);
    cn_frame_release(frame);
}

// A frame that is no entry.
static void append_gap(struct cn_ring *ring)
{
    struct cn_frame *frame = cn_frame_new(none, CN_STR_LITERAL("{}"), (struct cn_str){NULL, 0});
    assert_non_null(frame);
    assert_int_equal(cn_ring_append(ring, frame), CN_OK);
    cn_frame_release(frame);
}

static void assert_pos(struct cn_pos got, struct cn_pos wanted)
{
    assert_int_equal(got.gen, wanted.gen);
    assert_int_equal(got.seq, wanted.seq);
}

static uint64_t after(const struct cn_ring *ring, struct cn_pos pos)
{
    uint64_t ordinal = UINT64_MAX;
    return cn_ring_after(ring, pos, &ordinal) ? UINT64_MAX : ordinal;
}

static uint64_t from(const struct cn_ring *ring, struct cn_pos pos)
{
    uint64_t ordinal = UINT64_MAX;
    return cn_ring_from(ring, pos, &ordinal) ? UINT64_MAX : ordinal;
}

static void test_an_empty_ring_allocates_nothing(void **state)
{
    (void)state;
    struct cn_ring ring;
    cn_ring_init(&ring, 5, 1000, at(3));
    assert_null(ring.slots);
    assert_int_equal(ring.max_frames, 8);
    assert_int_equal(after(&ring, at(3)), 0);
    assert_int_equal(after(&ring, at(2)), UINT64_MAX);
    assert_int_equal(from(&ring, at(4)), 0);
    assert_int_equal(from(&ring, at(2)), UINT64_MAX);
    assert_int_equal(cn_ring_first_with(&ring, 5000), 0);
    cn_ring_fini(&ring);
    cn_ring_fini(&ring);
}

static void test_the_count_is_bounded_and_the_oldest_goes(void **state)
{
    (void)state;
    struct cn_ring ring;
    cn_ring_init(&ring, 8, 1 << 20, none);
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t first = cn_ring_first_with(&ring, 10);
        append(&ring, i, 10);
        assert_int_equal(ring.first, first);
        assert_int_equal(ring.first, i < 8 ? 0 : i - 7);
        assert_int_equal(ring.next, i + 1);
    }
    assert_int_equal(ring.bytes, 80);
    assert_pos(ring.floor, at(91));
    for (uint64_t i = ring.first; i < ring.next; i++)
        assert_pos(cn_ring_at(&ring, i)->pos, at(i));
    cn_ring_fini(&ring);
    assert_int_equal(ring.bytes, 0);
}

static void test_the_bytes_are_bounded_and_one_append_may_evict_many(void **state)
{
    (void)state;
    struct cn_ring ring;
    cn_ring_init(&ring, 64, 1000, none);
    for (uint64_t i = 0; i < 10; i++)
        append(&ring, i, 100);
    assert_int_equal(ring.first, 0);
    assert_int_equal(cn_ring_first_with(&ring, 450), 5);
    append(&ring, 10, 450);
    assert_int_equal(ring.first, 5);
    assert_int_equal(ring.bytes, 950);
    assert_pos(ring.floor, at(4));
    cn_ring_fini(&ring);
}

static void test_a_frame_larger_than_the_ring_is_held_alone(void **state)
{
    (void)state;
    struct cn_ring ring;
    cn_ring_init(&ring, 64, 1000, none);
    append(&ring, 0, 100);
    assert_int_equal(cn_ring_first_with(&ring, 5000), 1);
    append(&ring, 1, 5000);
    assert_int_equal(ring.first, 1);
    assert_int_equal(ring.next, 2);
    append(&ring, 2, 100);
    assert_int_equal(ring.first, 2);
    assert_int_equal(ring.bytes, 100);
    cn_ring_fini(&ring);
}

static void test_the_ring_holds_its_own_references(void **state)
{
    (void)state;
    struct cn_ring ring;
    cn_ring_init(&ring, 4, 1000, none);
    struct cn_frame *frame = make(0, 20);
    assert_int_equal(cn_ring_append(&ring, frame), CN_OK);
    assert_int_equal(atomic_load(&frame->ref.count), 2);
    for (uint64_t i = 1; i <= 4; i++)
        append(&ring, i, 20);
    assert_int_equal(atomic_load(&frame->ref.count), 1);
    cn_frame_release(frame);
    cn_ring_fini(&ring);
}

static void test_without_memory_nothing_changes(void **state)
{
    (void)state;
    struct cn_ring ring;
    cn_ring_init(&ring, 64, 1 << 20, at(1));
    for (uint64_t i = 2; i < 6; i++)
        append(&ring, i, 20);
    struct cn_frame *frame = make(6, 20);
    calloc_fails = true;
    enum cn_err err = cn_ring_append(&ring, frame);
    calloc_fails = false;
    assert_int_equal(err, CN_NOMEM);
    assert_int_equal(ring.first, 0);
    assert_int_equal(ring.next, 4);
    assert_int_equal(atomic_load(&frame->ref.count), 1);
    assert_int_equal(cn_ring_append(&ring, frame), CN_OK);
    assert_pos(cn_ring_at(&ring, 4)->pos, at(6));
    cn_frame_release(frame);
    cn_ring_fini(&ring);
}

static void test_after_needs_the_entry_itself(void **state)
{
    (void)state;
    struct cn_ring ring;
    cn_ring_init(&ring, 4, 1000, at(9));
    append(&ring, 10, 20);
    append(&ring, 11, 20);
    append_gap(&ring);
    append(&ring, 15, 20);
    assert_int_equal(after(&ring, at(9)), 0);
    assert_int_equal(after(&ring, at(10)), 1);
    assert_int_equal(after(&ring, at(11)), 2); // the gap comes next
    assert_int_equal(after(&ring, at(15)), 4);
    assert_int_equal(after(&ring, at(8)), UINT64_MAX);
    assert_int_equal(after(&ring, at(12)), UINT64_MAX);
    assert_int_equal(after(&ring, at(16)), UINT64_MAX);
    assert_int_equal(after(&ring, none), UINT64_MAX); // not the gap's own 0-0
    append(&ring, 16, 20);                            // evicts 10
    assert_int_equal(after(&ring, at(9)), UINT64_MAX);
    assert_int_equal(after(&ring, at(10)), 1);
    cn_ring_fini(&ring);
}

// The ring does not know whether a channel that goes on after nothing ever had something.
static void test_the_zero_position_is_no_entry(void **state)
{
    (void)state;
    struct cn_ring ring;
    cn_ring_init(&ring, 4, 1000, none);
    assert_int_equal(after(&ring, none), UINT64_MAX);
    append(&ring, 10, 20);
    assert_int_equal(after(&ring, none), UINT64_MAX);
    assert_int_equal(from(&ring, none), 0);
    cn_ring_skip(&ring, none);
    append_gap(&ring);
    assert_int_equal(after(&ring, none), UINT64_MAX);
    cn_ring_fini(&ring);
    assert_int_equal(after(&ring, none), UINT64_MAX);
}

static void test_from_needs_no_entry_but_nothing_missing(void **state)
{
    (void)state;
    struct cn_ring ring;
    cn_ring_init(&ring, 4, 1000, at(9));
    append(&ring, 10, 20);
    append_gap(&ring);
    append(&ring, 15, 20);
    assert_int_equal(from(&ring, at(8)), UINT64_MAX);
    assert_int_equal(from(&ring, at(9)), 0);
    assert_int_equal(from(&ring, at(12)), 1);
    assert_int_equal(from(&ring, at(15)), 3);
    assert_int_equal(from(&ring, at(99)), 3);
    assert_int_equal(from(&ring, (struct cn_pos){8, 0}), 3);
    assert_int_equal(from(&ring, (struct cn_pos){6, 99}), UINT64_MAX);
    cn_ring_fini(&ring);
}

static void test_skip_leaves_a_hole_that_readers_notice(void **state)
{
    (void)state;
    struct cn_ring ring;
    cn_ring_init(&ring, 4, 1000, none);
    append(&ring, 0, 20);
    append(&ring, 1, 20);
    uint64_t reader = ring.next;
    cn_ring_skip(&ring, at(50));
    assert_true(reader < ring.first);
    assert_int_equal(ring.first, ring.next);
    assert_int_equal(ring.bytes, 0);
    assert_pos(ring.floor, at(50));
    append(&ring, 51, 20);
    assert_int_equal(after(&ring, at(50)), ring.first);
    assert_int_equal(after(&ring, at(1)), UINT64_MAX);
    assert_int_equal(from(&ring, at(49)), UINT64_MAX);
    cn_ring_fini(&ring);
}

// ---- Spans ----

static struct cn_buf scratch_of(size_t size)
{
    struct cn_buf scratch;
    cn_buf_init(&scratch, size);
    assert_non_null(cn_buf_reserve(&scratch, size));
    assert_int_equal(scratch.cap, size);
    return scratch;
}

static void assert_span(const struct cn_ring *ring, uint64_t begin, const struct cn_span *span)
{
    size_t offset = 0;
    for (uint64_t i = begin; i < span->end; i++) {
        const struct cn_frame *frame = cn_ring_at(ring, i);
        assert_true(offset + frame->len <= span->bytes.len);
        assert_memory_equal(span->bytes.ptr + offset, frame->bytes, frame->len);
        offset += frame->len;
    }
    assert_int_equal(offset, span->bytes.len);
}

static void test_a_span_joins_frames_up_to_the_limit(void **state)
{
    (void)state;
    struct cn_ring ring;
    struct cn_buf scratch = scratch_of(1024);
    cn_ring_init(&ring, 64, 1 << 20, none);
    for (uint64_t i = 0; i < 20; i++)
        append(&ring, i, 100);
    struct cn_span span = {.pos = none};
    cn_ring_span(&ring, 0, 20, &scratch, &span);
    assert_int_equal(span.end, 10);
    assert_pos(span.pos, at(9));
    assert_span(&ring, 0, &span);
    cn_ring_span(&ring, span.end, 20, &scratch, &span);
    assert_int_equal(span.end, 20);
    assert_pos(span.pos, at(19));
    assert_span(&ring, 10, &span);
    cn_ring_span(&ring, 3, 5, &scratch, &span);
    assert_int_equal(span.end, 5);
    assert_span(&ring, 3, &span);
    cn_ring_fini(&ring);
    cn_buf_fini(&scratch);
}

static void test_one_frame_is_given_as_it_stands(void **state)
{
    (void)state;
    struct cn_ring ring;
    struct cn_buf scratch = scratch_of(256);
    cn_ring_init(&ring, 64, 1 << 20, none);
    append(&ring, 0, 100);
    append(&ring, 1, 700);
    append(&ring, 2, 100);
    struct cn_span span = {.pos = none};
    cn_ring_span(&ring, 0, 1, &scratch, &span);
    assert_ptr_equal(span.bytes.ptr, cn_ring_at(&ring, 0)->bytes);
    // Cut before the large one, which then comes whole and alone.
    cn_ring_span(&ring, 0, 3, &scratch, &span);
    assert_int_equal(span.end, 1);
    assert_span(&ring, 0, &span);
    cn_ring_span(&ring, 1, 3, &scratch, &span);
    assert_int_equal(span.end, 2);
    assert_ptr_equal(span.bytes.ptr, cn_ring_at(&ring, 1)->bytes);
    assert_pos(span.pos, at(1));
    cn_ring_fini(&ring);
    cn_buf_fini(&scratch);
}

static void test_a_span_without_entries_keeps_the_position(void **state)
{
    (void)state;
    struct cn_ring ring;
    struct cn_buf scratch = scratch_of(256);
    cn_ring_init(&ring, 64, 1 << 20, at(4));
    append_gap(&ring);
    append_gap(&ring);
    struct cn_span span = {.pos = at(4)};
    cn_ring_span(&ring, 0, 2, &scratch, &span);
    assert_int_equal(span.end, 2);
    assert_pos(span.pos, at(4));
    append(&ring, 5, 20);
    cn_ring_span(&ring, 1, 3, &scratch, &span);
    assert_pos(span.pos, at(5));
    cn_ring_fini(&ring);
    cn_buf_fini(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_ring_allocates_nothing),
        cmocka_unit_test(test_the_count_is_bounded_and_the_oldest_goes),
        cmocka_unit_test(test_the_bytes_are_bounded_and_one_append_may_evict_many),
        cmocka_unit_test(test_a_frame_larger_than_the_ring_is_held_alone),
        cmocka_unit_test(test_the_ring_holds_its_own_references),
        cmocka_unit_test(test_without_memory_nothing_changes),
        cmocka_unit_test(test_after_needs_the_entry_itself),
        cmocka_unit_test(test_the_zero_position_is_no_entry),
        cmocka_unit_test(test_from_needs_no_entry_but_nothing_missing),
        cmocka_unit_test(test_skip_leaves_a_hole_that_readers_notice),
        cmocka_unit_test(test_a_span_joins_frames_up_to_the_limit),
        cmocka_unit_test(test_one_frame_is_given_as_it_stands),
        cmocka_unit_test(test_a_span_without_entries_keeps_the_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
