// SPDX-License-Identifier: MIT
// Frames: the header's three sizes, the payload, and references from several threads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#include "chatnode/frame.h"

struct header_case {
    size_t payload_len;
    size_t header_len;
    unsigned char bytes[CN_FRAME_HEADER_MAX];
};

// RFC 6455 section 5.2.
static const struct header_case header_cases[] = {
    {0, 2, {0x81, 0}},
    {125, 2, {0x81, 125}},
    {126, 4, {0x81, 126, 0x00, 0x7E}},
    {256, 4, {0x81, 126, 0x01, 0x00}},
    {65535, 4, {0x81, 126, 0xFF, 0xFF}},
    {65536, 10, {0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
    {0x0102030405, 10, {0x81, 127, 0, 0, 0, 1, 2, 3, 4, 5}},
};

static void header_has_the_shortest_length(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(header_cases); i++) {
        const struct header_case *want = &header_cases[i];
        unsigned char out[CN_FRAME_HEADER_MAX];
        assert_int_equal(cn_frame_header(CN_OPCODE_TEXT, want->payload_len, out), want->header_len);
        assert_memory_equal(out, want->bytes, want->header_len);
    }
    unsigned char out[CN_FRAME_HEADER_MAX];
    assert_int_equal(cn_frame_header(CN_OPCODE_PING, 4, out), 2);
    assert_int_equal(out[0], 0x89);
    assert_int_equal(cn_frame_header(CN_OPCODE_CLOSE, 2, out), 2);
    assert_int_equal(out[0], 0x88);
}

static void payload_is_both_parts(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 62, 63, 200, 43690, 43691, 60000};
    char *text = malloc(60000);
    assert_non_null(text);
    for (size_t i = 0; i < 60000; i++)
        text[i] = (char)('a' + i % 26);
    for (size_t i = 0; i < CN_COUNT(sizes); i++) {
        struct cn_str a = {text, sizes[i]}, b = {text + 3, sizes[i] / 2};
        struct cn_frame *frame = cn_frame_new((struct cn_pos){3, 4}, a, b);
        assert_non_null(frame);
        struct cn_str payload = cn_frame_payload(frame);
        assert_int_equal(payload.len, a.len + b.len);
        assert_memory_equal(payload.ptr, a.ptr, a.len);
        assert_memory_equal(payload.ptr + a.len, b.ptr, b.len);
        assert_ptr_equal(payload.ptr + payload.len, (char *)frame->bytes + frame->len);
        assert_true(frame->pos.gen == 3 && frame->pos.seq == 4);
        cn_frame_release(frame);
    }
    free(text);
}

static void an_empty_or_absurd_frame_is_no_trap(void **state)
{
    (void)state;
    struct cn_frame *frame =
        cn_frame_new((struct cn_pos){0, 0}, (struct cn_str){NULL, 0}, (struct cn_str){NULL, 0});
    assert_non_null(frame);
    assert_int_equal(frame->len, 2);
    assert_int_equal(cn_frame_payload(frame).len, 0);
    cn_frame_release(frame);
    cn_frame_release(NULL);
    struct cn_str huge = {"x", SIZE_MAX - 8};
    assert_null(cn_frame_new((struct cn_pos){0, 0}, huge, huge));
    assert_null(cn_frame_new((struct cn_pos){0, 0}, cn_str_of("x"), huge));
}

static void *release_it(void *arg)
{
    cn_frame_release(arg);
    return NULL;
}

static void frames_of_pools_are_as_others(void **state)
{
    (void)state;
    struct cn_frame_pools pools;
    cn_frame_pools_init(&pools);
    static char text[2 * CN_FRAME_POOLS * CN_FRAME_POOL_STEP];
    memset(text, 'x', sizeof(text));
    for (size_t len = 0; len <= sizeof(text); len++) {
        const struct cn_str payload = {text, len};
        struct cn_frame *frame = cn_frame_new_in(&pools, (struct cn_pos){3, len}, payload);
        struct cn_frame *other = cn_frame_new((struct cn_pos){3, len}, payload, (struct cn_str){0});
        assert_non_null(frame);
        assert_non_null(other);
        assert_int_equal(frame->len, other->len);
        assert_memory_equal(frame->bytes, other->bytes, other->len);
        assert_int_equal(cn_pos_compare(frame->pos, other->pos), 0);
        cn_frame_release(other);
        cn_frame_release(frame);
    }
    struct cn_frame *frame = cn_frame_new_in(&pools, (struct cn_pos){1, 1}, cn_str_of("{}"));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, release_it, frame), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    cn_frame_pools_fini(&pools);
}

static void *hold_and_release(void *arg)
{
    for (int i = 0; i < 10000; i++)
        cn_frame_release(cn_frame_hold(arg));
    cn_frame_release(arg);
    return NULL;
}

static void references_are_counted_across_threads(void **state)
{
    (void)state;
    struct cn_frame *frame = cn_frame_new((struct cn_pos){1, 1}, cn_str_of("{}"), cn_str_of(""));
    assert_non_null(frame);
    pthread_t threads[4];
    for (size_t i = 0; i < CN_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_release, cn_frame_hold(frame)),
                         0);
    for (size_t i = 0; i < CN_COUNT(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&frame->ref.count), 1);
    cn_frame_release(frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_has_the_shortest_length),
        cmocka_unit_test(payload_is_both_parts),
        cmocka_unit_test(an_empty_or_absurd_frame_is_no_trap),
        cmocka_unit_test(frames_of_pools_are_as_others),
        cmocka_unit_test(references_are_counted_across_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
