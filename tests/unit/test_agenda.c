// SPDX-License-Identifier: MIT
// The agenda: the earliest first, whatever was put in, moved and taken out, and without memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>

#include "chatnode/agenda.h"

enum { ITEMS = 500 };

static bool is_out_of_memory;
void *__real_realloc(void *memory, size_t len);
void *__wrap_realloc(void *memory, size_t len);

void *__wrap_realloc(void *memory, size_t len)
{
    return is_out_of_memory ? NULL : __real_realloc(memory, len);
}

static int make(void **state)
{
    struct cn_agenda *agenda = calloc(1, sizeof(*agenda));
    assert_non_null(agenda);
    cn_agenda_init(agenda);
    *state = agenda;
    return 0;
}

static int unmake(void **state)
{
    cn_agenda_fini(*state);
    free(*state);
    return 0;
}

static void put(struct cn_agenda *agenda, struct cn_agenda_item *item, int64_t due_ms)
{
    assert_int_equal(cn_agenda_put(agenda, item, due_ms), CN_OK);
}

static void test_an_empty_agenda_has_no_first(void **state)
{
    struct cn_agenda_item item = {0};
    assert_null(cn_agenda_first(*state));
    cn_agenda_remove(*state, &item); // it is not in
    assert_null(cn_agenda_first(*state));
}

static void test_the_earliest_is_first(void **state)
{
    struct cn_agenda_item late = {0};
    struct cn_agenda_item soon = {0};
    put(*state, &late, 20);
    assert_ptr_equal(cn_agenda_first(*state), &late);
    put(*state, &soon, 10);
    assert_ptr_equal(cn_agenda_first(*state), &soon);
    put(*state, &soon, 30); // moved
    assert_ptr_equal(cn_agenda_first(*state), &late);
    cn_agenda_remove(*state, &late);
    assert_ptr_equal(cn_agenda_first(*state), &soon);
    cn_agenda_remove(*state, &soon);
    cn_agenda_remove(*state, &soon);
    assert_null(cn_agenda_first(*state));
}

// Against a search through all items: put, moved, taken out in an order without order.
static void test_it_is_right_whatever_is_done(void **state)
{
    struct cn_agenda *agenda = *state;
    struct cn_agenda_item items[ITEMS] = {{0}};
    uint32_t random = 1;
    for (int step = 0; step < 20 * ITEMS; step++) {
        random = random * 1664525 + 1013904223;
        struct cn_agenda_item *item = &items[(random >> 8) % ITEMS];
        if (random >> 29 < 3)
            cn_agenda_remove(agenda, item);
        else
            put(agenda, item, (random >> 12) % 1000);
        const struct cn_agenda_item *first = cn_agenda_first(agenda);
        size_t count = 0;
        for (size_t i = 0; i < ITEMS; i++) {
            count += items[i].place > 0;
            assert_true(items[i].place == 0 || first->due_ms <= items[i].due_ms);
        }
        assert_int_equal(agenda->count, count);
    }
    for (size_t i = 0; i < ITEMS; i++)
        cn_agenda_remove(agenda, &items[i]);
    assert_in_range(agenda->cap, 1, 16); // it has given its memory back
}

static void test_without_memory_nothing_changes(void **state)
{
    struct cn_agenda_item in = {0};
    struct cn_agenda_item items[17] = {{0}};
    is_out_of_memory = true;
    assert_int_equal(cn_agenda_put(*state, &in, 1), CN_NOMEM);
    is_out_of_memory = false;
    assert_null(cn_agenda_first(*state));
    for (size_t i = 0; i < 16; i++)
        put(*state, &items[i], 100 + (int64_t)i);
    is_out_of_memory = true;
    assert_int_equal(cn_agenda_put(*state, &items[16], 1), CN_NOMEM);
    put(*state, &items[3], 50); // it is in: moving needs none
    is_out_of_memory = false;
    assert_ptr_equal(cn_agenda_first(*state), &items[3]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_empty_agenda_has_no_first, make, unmake),
        cmocka_unit_test_setup_teardown(test_the_earliest_is_first, make, unmake),
        cmocka_unit_test_setup_teardown(test_it_is_right_whatever_is_done, make, unmake),
        cmocka_unit_test_setup_teardown(test_without_memory_nothing_changes, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
