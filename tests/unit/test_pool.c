// SPDX-License-Identifier: MIT
// The pool: used blocks come again, not more are kept than it should, and others may return them.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/pool.h"
#include "chatnode/thread.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 96, KEPT = 4, RETURNERS = 3, ROUNDS = 20000, AT_ONCE = 8 };

#ifdef CN_ADDRESS_SANITIZER
enum { KEEPS = false };
#else
enum { KEEPS = true };
#endif

static void test_a_given_block_comes_again(void **state)
{
    (void)state;
    struct cn_pool pool;
    cn_pool_init(&pool, BLOCK_BYTES, KEPT);
    char *block = cn_pool_take(&pool, 10);
    assert_non_null(block);
    memset(block, 1, BLOCK_BYTES); // whatever was asked for, it is a whole block
    cn_pool_give(&pool, block, 10);
    char *again = cn_pool_take(&pool, BLOCK_BYTES);
    assert_true(!KEEPS || again == block);
    cn_pool_return(&pool, again, BLOCK_BYTES);
    block = cn_pool_take(&pool, 1);
    assert_true(!KEEPS || again == block);
    cn_pool_give(&pool, block, 1);
    cn_pool_fini(&pool);
    cn_pool_fini(&pool);
}

static void test_what_is_larger_than_a_block_is_not_kept(void **state)
{
    (void)state;
    struct cn_pool pool;
    cn_pool_init(&pool, BLOCK_BYTES, KEPT);
    for (int i = 0; i < 2; i++) {
        char *large = cn_pool_take(&pool, BLOCK_BYTES + 1);
        assert_non_null(large);
        memset(large, 1, BLOCK_BYTES + 1);
        if (i == 0)
            cn_pool_give(&pool, large, BLOCK_BYTES + 1);
        else
            cn_pool_return(&pool, large, BLOCK_BYTES + 1);
        assert_null(pool.first);
        assert_null(atomic_load(&pool.returned));
    }
    cn_pool_fini(&pool);
}

static unsigned length_of(const void *first)
{
    unsigned length = 0;
    for (; first; memcpy(&first, first, sizeof(first)))
        length++;
    return length;
}

static void test_no_more_are_kept_than_it_should(void **state)
{
    (void)state;
    struct cn_pool pool;
    cn_pool_init(&pool, BLOCK_BYTES, KEPT);
    void *blocks[4 * KEPT];
    for (size_t i = 0; i < 4 * KEPT; i++)
        blocks[i] = cn_pool_take(&pool, BLOCK_BYTES);
    for (size_t i = 0; i < 2 * KEPT; i++)
        cn_pool_give(&pool, blocks[i], BLOCK_BYTES);
    for (size_t i = 2 * KEPT; i < 4 * KEPT; i++)
        cn_pool_return(&pool, blocks[i], BLOCK_BYTES);
    unsigned kept = KEEPS ? KEPT : 0;
    assert_int_equal(length_of(pool.first), kept);
    assert_int_equal(length_of(atomic_load(&pool.returned)), kept);
    for (unsigned i = 0; i <= kept; i++) // the last of them finds its own empty, and collects
        free(cn_pool_take(&pool, BLOCK_BYTES));
    assert_int_equal(length_of(pool.first), kept ? kept - 1 : 0);
    assert_null(atomic_load(&pool.returned));
    cn_pool_fini(&pool);
}

// One thread takes blocks, others return them.
struct exchange {
    struct cn_pool pool;
    _Atomic(void *) on_their_way[RETURNERS * AT_ONCE];
    atomic_bool over;
};

struct returner {
    struct exchange *exchange;
    unsigned first;
    struct cn_thread thread;
};

static void check_and_return(struct exchange *exchange, unsigned char *block)
{
    for (size_t i = 1; i < BLOCK_BYTES; i++)
        assert_int_equal(block[i], block[0]);
    cn_pool_return(&exchange->pool, block, BLOCK_BYTES);
}

static void return_blocks(void *arg)
{
    struct returner *returner = arg;
    struct exchange *exchange = returner->exchange;
    bool over = false;
    while (!over) {
        over = atomic_load(&exchange->over);
        for (unsigned i = returner->first; i < returner->first + AT_ONCE; i++) {
            void *block = atomic_exchange(&exchange->on_their_way[i], NULL);
            if (block)
                check_and_return(exchange, block);
        }
    }
}

static void test_many_may_return_while_one_takes(void **state)
{
    (void)state;
    static struct exchange exchange;
    struct returner returners[RETURNERS];
    cn_pool_init(&exchange.pool, BLOCK_BYTES, KEPT);
    for (unsigned i = 0; i < RETURNERS; i++) {
        returners[i] = (struct returner){.exchange = &exchange, .first = i * AT_ONCE};
        assert_int_equal(
            cn_thread_start(&returners[i].thread, "returner", return_blocks, &returners[i]), CN_OK);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned char *block = cn_pool_take(&exchange.pool, BLOCK_BYTES);
        assert_non_null(block);
        memset(block, (int)(round & 0xFF), BLOCK_BYTES);
        void *left = atomic_exchange(&exchange.on_their_way[round % (RETURNERS * AT_ONCE)], block);
        if (left)
            cn_pool_give(&exchange.pool, left, BLOCK_BYTES);
    }
    atomic_store(&exchange.over, true);
    for (unsigned i = 0; i < RETURNERS; i++)
        cn_thread_join(&returners[i].thread);
    assert_in_range(length_of(atomic_load(&exchange.pool.returned)), 0, KEPT + RETURNERS);
    cn_pool_fini(&exchange.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_given_block_comes_again),
        cmocka_unit_test(test_what_is_larger_than_a_block_is_not_kept),
        cmocka_unit_test(test_no_more_are_kept_than_it_should),
        cmocka_unit_test(test_many_may_return_while_one_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
