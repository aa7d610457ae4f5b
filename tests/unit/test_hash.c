// SPDX-License-Identifier: MIT
// The hash table: the hash's published values, growth, shrinking, and walks that remove.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/hash.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { MANY = 5000 };

struct item {
    struct cn_hash_node node;
    char name[32];
    int met;
};

static struct item *item_of(struct cn_hash_node *node)
{
    return (struct item *)((char *)node - offsetof(struct item, node));
}

// Linked with --wrap=calloc and --wrap=aligned_alloc: what hash.c allocates can be made to fail.
static bool no_memory;
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory ? NULL : __real_calloc(count, size);
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return no_memory ? NULL : __real_aligned_alloc(alignment, size);
}

static struct item *make_items(size_t count)
{
    struct item *items = __real_calloc(count, sizeof(*items));
    assert_non_null(items);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(items[i].name, sizeof(items[i].name), "user-%zu", i);
        items[i].node.key = cn_str_of(items[i].name);
    }
    return items;
}

static void insert_all(struct cn_hash *table, struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(cn_hash_insert(table, &items[i].node), CN_OK);
}

// Runs first, with the seed of zeros. The values are those of CPython's hash(bytes), which is
// SipHash-1-3 too and has a key of zeros with PYTHONHASHSEED=0.
static void test_known_hashes(void **state)
{
    (void)state;
    char bytes[64];
    for (int i = 0; i < 64; i++)
        bytes[i] = (char)i;
    assert_true(cn_hash_of(cn_str_of("a")) == 0x407448d2b89b1813);
    assert_true(cn_hash_of(cn_str_of("ab")) == 0x555508cbc6add439);
    assert_true(cn_hash_of(cn_str_of("abc")) == 0xc03bc3a0042630f2);
    assert_true(cn_hash_of(cn_str_of("abcd")) == 0xe3d1d5fdd52aae89);
    assert_true(cn_hash_of(cn_str_of("abcdef")) == 0x62207e654289df28);
    assert_true(cn_hash_of(cn_str_of("1234567890abcde")) == 0x5600e726a8a567b2);
    assert_true(cn_hash_of(cn_str_of("lobby")) == 0xcea5b5500b00007f);
    assert_true(cn_hash_of(cn_str_of("1234567")) == 0xa33d651594fdae81);
    assert_true(cn_hash_of(cn_str_of("12345678")) == 0x3489982430560a87);
    assert_true(cn_hash_of(cn_str_of("123456789")) == 0x0fbc0f0007965fcf);
    assert_true(cn_hash_of((struct cn_str){bytes, 64}) == 0x75e05fd5bbc870c6);
}

static void test_seed_changes_hashes(void **state)
{
    (void)state;
    uint64_t unseeded = cn_hash_of(cn_str_of("lobby"));
    assert_int_equal(cn_hash_seed(), CN_OK);
    uint64_t seeded = cn_hash_of(cn_str_of("lobby"));
    assert_true(unseeded != seeded);
    assert_true(seeded == cn_hash_of(cn_str_of("lobby")));
    assert_true(seeded != cn_hash_of(cn_str_of("lobbz")));
    assert_true(cn_hash_of((struct cn_str){NULL, 0}) == cn_hash_of(cn_str_of("")));
}

static void test_empty_table(void **state)
{
    (void)state;
    struct cn_hash table;
    cn_hash_init(&table);
    assert_null(cn_hash_find(&table, cn_str_of("a")));
    CN_HASH_EACH (node, &table)
        fail_msg("an empty table has a node");
    cn_hash_fini(&table);
    cn_hash_fini(&table);
}

static void test_insert_find_remove(void **state)
{
    (void)state;
    struct cn_hash table;
    struct item *items = make_items(MANY);
    cn_hash_init(&table);
    insert_all(&table, items, MANY);
    assert_int_equal(table.count, MANY);
    assert_true(table.mask + 1 >= MANY && table.mask + 1 < 4 * MANY);
    struct item twin = items[7];
    twin.node.key = cn_str_of(twin.name);
    assert_int_equal(cn_hash_insert(&table, &twin.node), CN_EXISTS);
    for (size_t i = 0; i < MANY; i++)
        assert_ptr_equal(cn_hash_find(&table, items[i].node.key), &items[i].node);
    for (size_t i = 0; i < MANY; i += 2)
        cn_hash_remove(&table, &items[i].node);
    for (size_t i = 0; i < MANY; i++)
        assert_true((cn_hash_find(&table, items[i].node.key) != NULL) == (i % 2 == 1));
    assert_null(cn_hash_find(&table, cn_str_of("user-")));
    cn_hash_fini(&table);
    free(items);
}

// A table that is full cannot grow without memory, and stays as it is.
static void grow_in_vain(struct cn_hash *table, struct cn_hash_node *node)
{
    if (table->buckets && table->count <= table->mask)
        return;
    const struct cn_hash before = *table;
    no_memory = true;
    assert_int_equal(cn_hash_insert_new(table, node), CN_NOMEM);
    no_memory = false;
    assert_memory_equal(table, &before, sizeof(before));
}

// Large enough for huge pages.
static void test_hashes_that_are_known_already(void **state)
{
    (void)state;
    enum { LARGE = 300000 };
    struct cn_hash table;
    struct item *items = make_items(LARGE);
    cn_hash_init(&table);
    cn_hash_expect(&table, 1);
    cn_hash_expect_node(&table, 1);
    for (size_t i = 0; i < LARGE; i++) {
        struct cn_hash_node *node = &items[i].node;
        node->hash = cn_hash_of(node->key);
        cn_hash_expect(&table, node->hash);
        cn_hash_expect_node(&table, node->hash);
        assert_null(cn_hash_find_hashed(&table, node->key, node->hash));
        grow_in_vain(&table, node);
        assert_int_equal(cn_hash_insert_new(&table, node), CN_OK);
    }
    for (size_t i = 0; i < LARGE; i++) {
        struct cn_hash_node *node = &items[i].node;
        assert_ptr_equal(cn_hash_find_hashed(&table, node->key, node->hash), node);
        assert_ptr_equal(cn_hash_find(&table, node->key), node);
    }
    cn_hash_fini(&table);
    free(items);
}

static void test_shrinks_when_nearly_empty(void **state)
{
    (void)state;
    struct cn_hash table;
    struct item *items = make_items(MANY);
    cn_hash_init(&table);
    assert_int_equal(cn_hash_insert(&table, &items[0].node), CN_OK);
    size_t first_mask = table.mask;
    insert_all(&table, items + 1, MANY - 1);
    for (size_t i = MANY - 1; i > 0; i--) {
        cn_hash_remove(&table, &items[i].node);
        assert_true(table.mask == first_mask || table.count > (table.mask + 1) / 8);
        assert_non_null(cn_hash_find(&table, items[0].node.key));
    }
    assert_int_equal(table.mask, first_mask);
    cn_hash_fini(&table);
    free(items);
}

static void test_walk_meets_each_once(void **state)
{
    (void)state;
    struct cn_hash table;
    struct item *items = make_items(MANY);
    cn_hash_init(&table);
    insert_all(&table, items, MANY);
    CN_HASH_EACH (node, &table)
        item_of(node)->met++;
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(items[i].met, 1);
    cn_hash_fini(&table);
    free(items);
}

// Removing shrinks the table under the walk.
static void test_walk_that_removes_meets_each_once(void **state)
{
    (void)state;
    struct cn_hash table;
    struct item *items = make_items(MANY);
    cn_hash_init(&table);
    insert_all(&table, items, MANY);
    size_t full_mask = table.mask;
    CN_HASH_EACH (node, &table) {
        struct item *item = item_of(node);
        item->met++;
        if (item != &items[3])
            cn_hash_remove(&table, node);
        if (item != &items[3])
            memset(node, 0xEE, sizeof(*node));
    }
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(items[i].met, 1);
    assert_int_equal(table.count, 1);
    assert_true(table.mask < full_mask);
    assert_ptr_equal(cn_hash_find(&table, items[3].node.key), &items[3].node);
    cn_hash_fini(&table);
    free(items);
}

static void test_without_memory_nothing_changes(void **state)
{
    (void)state;
    struct cn_hash table;
    struct item *items = make_items(9);
    cn_hash_init(&table);
    no_memory = true;
    assert_int_equal(cn_hash_insert(&table, &items[0].node), CN_NOMEM);
    no_memory = false;
    assert_int_equal(table.count, 0);
    insert_all(&table, items, 8);
    no_memory = true;
    assert_int_equal(cn_hash_insert(&table, &items[8].node), CN_NOMEM);
    no_memory = false;
    assert_int_equal(table.count, 8);
    assert_null(cn_hash_find(&table, items[8].node.key));
    for (size_t i = 0; i < 8; i++)
        assert_non_null(cn_hash_find(&table, items[i].node.key));
    assert_int_equal(cn_hash_insert(&table, &items[8].node), CN_OK);
    cn_hash_fini(&table);
    free(items);
}

static void test_removal_without_memory_to_shrink(void **state)
{
    (void)state;
    struct cn_hash table;
    struct item *items = make_items(MANY);
    cn_hash_init(&table);
    insert_all(&table, items, MANY);
    no_memory = true;
    for (size_t i = 1; i < MANY; i++)
        cn_hash_remove(&table, &items[i].node);
    no_memory = false;
    assert_int_equal(table.count, 1);
    assert_non_null(cn_hash_find(&table, items[0].node.key));
    cn_hash_fini(&table);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_hashes),
        cmocka_unit_test(test_seed_changes_hashes),
        cmocka_unit_test(test_empty_table),
        cmocka_unit_test(test_insert_find_remove),
        cmocka_unit_test(test_hashes_that_are_known_already),
        cmocka_unit_test(test_shrinks_when_nearly_empty),
        cmocka_unit_test(test_walk_meets_each_once),
        cmocka_unit_test(test_walk_that_removes_meets_each_once),
        cmocka_unit_test(test_without_memory_nothing_changes),
        cmocka_unit_test(test_removal_without_memory_to_shrink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
