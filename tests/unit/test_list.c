// SPDX-License-Identifier: MIT
// The intrusive list: order, removal anywhere, and walks that remove.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/list.h"

struct item {
    int number;
    struct cn_link link;
};

static struct item *item_of(struct cn_link *link)
{
    return CN_CONTAINER(link, struct item, link);
}

// The numbers in the list as decimal digits, first to last.
static int digits(const struct cn_link *head)
{
    int all = 0;
    CN_LIST_EACH (it, head)
        all = all * 10 + item_of(it)->number;
    return all;
}

static void fill(struct cn_link *head, struct item items[4])
{
    cn_list_init(head);
    for (int i = 0; i < 4; i++) {
        items[i] = (struct item){.number = i + 1};
        cn_list_push_back(head, &items[i].link);
    }
}

static void test_empty_list(void **state)
{
    (void)state;
    struct cn_link head;
    cn_list_init(&head);
    assert_true(cn_list_is_empty(&head));
    assert_null(cn_list_pop_front(&head));
    assert_int_equal(digits(&head), 0);
}

static void test_order_of_pushes(void **state)
{
    (void)state;
    struct cn_link head;
    struct item items[4];
    fill(&head, items);
    assert_int_equal(digits(&head), 1234);
    struct item fifth = {.number = 5};
    cn_list_push_front(&head, &fifth.link);
    assert_int_equal(digits(&head), 51234);
    assert_false(cn_list_is_empty(&head));
    assert_ptr_equal(head.prev, &items[3].link);
}

static void test_remove_anywhere_and_twice(void **state)
{
    (void)state;
    struct cn_link head;
    struct item items[4];
    fill(&head, items);
    cn_list_remove(&items[1].link);
    assert_int_equal(digits(&head), 134);
    assert_false(cn_list_is_linked(&items[1].link));
    cn_list_remove(&items[1].link);
    cn_list_remove(&items[0].link);
    cn_list_remove(&items[3].link);
    assert_int_equal(digits(&head), 3);
    assert_true(cn_list_is_linked(&items[2].link));
    struct item zero = {0};
    cn_list_remove(&zero.link);
    assert_false(cn_list_is_linked(&zero.link));
}

static void test_pop_takes_out(void **state)
{
    (void)state;
    struct cn_link head;
    struct item items[4];
    fill(&head, items);
    struct cn_link *first = cn_list_pop_front(&head);
    assert_int_equal(item_of(first)->number, 1);
    assert_false(cn_list_is_linked(first));
    cn_list_push_back(&head, first);
    assert_int_equal(digits(&head), 2341);
}

static void test_walk_may_remove(void **state)
{
    (void)state;
    struct cn_link head;
    struct item items[4];
    fill(&head, items);
    int met = 0;
    CN_LIST_EACH_SAFE (it, &head) {
        met = met * 10 + item_of(it)->number;
        if (item_of(it)->number % 2 == 0)
            cn_list_remove(it);
    }
    assert_int_equal(met, 1234);
    assert_int_equal(digits(&head), 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_list),
        cmocka_unit_test(test_order_of_pushes),
        cmocka_unit_test(test_remove_anywhere_and_twice),
        cmocka_unit_test(test_pop_takes_out),
        cmocka_unit_test(test_walk_may_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
