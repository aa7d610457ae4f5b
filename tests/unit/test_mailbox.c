// SPDX-License-Identifier: MIT
// The mailbox: order, bound, one wake per filling, and many writers at once.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/mailbox.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { WRITERS = 4, LETTERS = 10000 };

struct letter {
    struct cn_mail mail;
    int writer;
    int number;
    int *freed;
};

struct reader {
    struct cn_mailbox box;
    int wakes;
    int freed;
};

static struct letter *letter_of(struct cn_mail *mail)
{
    return (struct letter *)mail;
}

static void note_freed(struct cn_mail *mail)
{
    (*letter_of(mail)->freed)++;
}

static void count_wake(void *arg)
{
    struct reader *reader = arg;
    cn_lock_assert_none();
    reader->wakes++;
}

static struct letter make_letter(struct reader *reader, int number)
{
    return (struct letter){.mail = {.free = note_freed}, .number = number, .freed = &reader->freed};
}

static void test_first_in_first_out(void **state)
{
    (void)state;
    struct reader reader = {.wakes = 0};
    cn_mailbox_init(&reader.box, 8, count_wake, &reader);
    assert_null(cn_mailbox_take_all(&reader.box));
    struct letter letters[3];
    for (int i = 0; i < 3; i++) {
        letters[i] = make_letter(&reader, i);
        assert_int_equal(cn_mailbox_put(&reader.box, &letters[i].mail), CN_OK);
    }
    int expected = 0;
    for (struct cn_mail *it = cn_mailbox_take_all(&reader.box); it != NULL; it = it->next)
        assert_int_equal(letter_of(it)->number, expected++);
    assert_int_equal(expected, 3);
    assert_null(cn_mailbox_take_all(&reader.box));
    cn_mailbox_fini(&reader.box);
    assert_int_equal(reader.freed, 0);
}

static void test_wakes_only_when_it_was_empty(void **state)
{
    (void)state;
    struct reader reader = {.wakes = 0};
    cn_mailbox_init(&reader.box, 8, count_wake, &reader);
    struct letter letters[3];
    for (int i = 0; i < 3; i++) {
        letters[i] = make_letter(&reader, i);
        assert_int_equal(cn_mailbox_put(&reader.box, &letters[i].mail), CN_OK);
        assert_int_equal(reader.wakes, 1);
    }
    assert_non_null(cn_mailbox_take_all(&reader.box));
    cn_mailbox_put_always(&reader.box, &letters[0].mail);
    assert_int_equal(reader.wakes, 2);
    cn_mailbox_fini(&reader.box);
    assert_int_equal(reader.freed, 1);
}

static void test_bound_and_the_way_past_it(void **state)
{
    (void)state;
    struct reader reader = {.wakes = 0};
    cn_mailbox_init(&reader.box, 2, count_wake, &reader);
    struct letter letters[4];
    for (int i = 0; i < 4; i++)
        letters[i] = make_letter(&reader, i);
    assert_int_equal(cn_mailbox_put(&reader.box, &letters[0].mail), CN_OK);
    assert_int_equal(cn_mailbox_put(&reader.box, &letters[1].mail), CN_OK);
    assert_int_equal(cn_mailbox_put(&reader.box, &letters[2].mail), CN_FULL);
    cn_mailbox_put_always(&reader.box, &letters[3].mail);
    assert_int_equal(reader.box.count, 3);
    struct cn_mail *first = cn_mailbox_take_all(&reader.box);
    assert_int_equal(letter_of(first->next->next)->number, 3);
    assert_null(first->next->next->next);
    assert_int_equal(cn_mailbox_put(&reader.box, &letters[2].mail), CN_OK);
    cn_mailbox_fini(&reader.box);
    assert_int_equal(reader.freed, 1);
}

static void test_closed_box(void **state)
{
    (void)state;
    struct reader reader = {.wakes = 0};
    cn_mailbox_init(&reader.box, 2, count_wake, &reader);
    struct letter letters[3];
    for (int i = 0; i < 3; i++)
        letters[i] = make_letter(&reader, i);
    assert_int_equal(cn_mailbox_put(&reader.box, &letters[0].mail), CN_OK);
    cn_mailbox_close(&reader.box);
    assert_int_equal(cn_mailbox_put(&reader.box, &letters[1].mail), CN_CLOSED);
    assert_int_equal(reader.freed, 0);
    cn_mailbox_put_always(&reader.box, &letters[2].mail);
    assert_int_equal(reader.freed, 1);
    assert_int_equal(reader.wakes, 1);
    assert_ptr_equal(cn_mailbox_take_all(&reader.box), &letters[0].mail);
    cn_mailbox_fini(&reader.box);
}

struct post {
    struct cn_mailbox box;
    sem_t wakes;
    atomic_int started;
    struct letter *letters; // WRITERS * LETTERS
};

static void post_wake(void *arg)
{
    struct post *post = arg;
    sem_post(&post->wakes);
}

static void write_letters(void *arg)
{
    struct post *post = arg;
    int writer = atomic_fetch_add(&post->started, 1);
    for (int i = 0; i < LETTERS; i++) {
        struct letter *letter = &post->letters[writer * LETTERS + i];
        letter->writer = writer;
        letter->number = i;
        cn_mailbox_put_always(&post->box, &letter->mail);
    }
}

// Reads until every letter came; fails when none comes for ten seconds.
static void read_letters(struct post *post, int next[WRITERS])
{
    for (int seen = 0; seen < WRITERS * LETTERS;) {
        struct timespec deadline;
        clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec += 10;
        assert_int_equal(sem_timedwait(&post->wakes, &deadline), 0);
        for (struct cn_mail *it = cn_mailbox_take_all(&post->box); it != NULL; it = it->next) {
            assert_int_equal(letter_of(it)->number, next[letter_of(it)->writer]++);
            seen++;
        }
    }
}

static void test_many_writers_lose_nothing_and_keep_their_order(void **state)
{
    (void)state;
    struct post post = {.letters = calloc(WRITERS * LETTERS, sizeof(struct letter))};
    assert_non_null(post.letters);
    assert_int_equal(sem_init(&post.wakes, 0, 0), 0);
    cn_mailbox_init(&post.box, 1, post_wake, &post);
    struct cn_thread threads[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(cn_thread_start(&threads[i], "writer", write_letters, &post), CN_OK);
    int next[WRITERS] = {0};
    read_letters(&post, next);
    for (int i = 0; i < WRITERS; i++) {
        cn_thread_join(&threads[i]);
        assert_int_equal(next[i], LETTERS);
    }
    cn_mailbox_fini(&post.box);
    sem_destroy(&post.wakes);
    free(post.letters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_in_first_out),
        cmocka_unit_test(test_wakes_only_when_it_was_empty),
        cmocka_unit_test(test_bound_and_the_way_past_it),
        cmocka_unit_test(test_closed_box),
        cmocka_unit_test(test_many_writers_lose_nothing_and_keep_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
