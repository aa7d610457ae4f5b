// SPDX-License-Identifier: MIT
// Durability: what may be promised from what a store says of itself.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/durability.h"

static void test_what_a_store_can_promise(void **state)
{
    (void)state;
    static const struct {
        struct cn_store store;
        bool waits;
        enum cn_durability promised;
    } rows[] = {
        {{.aof = false}, false, CN_DURABILITY_MEMORY},
        {{.aof = true}, false, CN_DURABILITY_DISK},
        {{.aof = true, .config_hidden = true}, false, CN_DURABILITY_DISK},
        {{.aof = true, .fsync_always = true}, false, CN_DURABILITY_DISK_ALWAYS},
        {{.aof = false, .fsync_always = true}, false, CN_DURABILITY_MEMORY},
        {{.replicas = 2}, false, CN_DURABILITY_MEMORY},
        {{.replicas = 2}, true, CN_DURABILITY_REPLICATED},
        {{.aof = true, .replicas = 0}, true, CN_DURABILITY_DISK},
        {{.aof = true, .replicas = 2}, false, CN_DURABILITY_DISK},
        {{.aof = true, .fsync_always = true, .evicts = true}, false, CN_DURABILITY_MEMORY},
        {{.aof = true, .replicas = 2, .evicts = true}, true, CN_DURABILITY_MEMORY},
    };
    for (size_t i = 0; i < CN_COUNT(rows); i++)
        assert_int_equal(cn_durability_of(&rows[i].store, rows[i].waits), rows[i].promised);
}

static void test_words(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "memory", "unknown", "Disk", "disk ", "replica"};
    enum cn_durability found;
    assert_int_equal(cn_durability_parse(cn_str_of("none"), &found), CN_OK);
    assert_int_equal(found, CN_DURABILITY_UNKNOWN);
    for (int i = CN_DURABILITY_DISK; i < CN_DURABILITY_COUNT; i++) {
        const char *word = cn_durability_word((enum cn_durability)i);
        assert_int_equal(cn_durability_parse(cn_str_of(word), &found), CN_OK);
        assert_int_equal(found, i);
        assert_true(cn_durability_promise(found)[0] != '\0');
    }
    for (size_t i = 0; i < CN_COUNT(bad); i++)
        assert_int_equal(cn_durability_parse(cn_str_of(bad[i]), &found), CN_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_store_can_promise),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
