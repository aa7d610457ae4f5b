// SPDX-License-Identifier: MIT
// The plan of the bench: every client in one room and one process, every publisher somewhere.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "plan.h"

static const struct cn_plan plans[] = {
    {.clients = 1, .rooms = 1, .publishers = 1, .processes = 1},
    {.clients = 10, .rooms = 1, .publishers = 3, .processes = 4, .extra = true},
    {.clients = 10, .rooms = 3, .publishers = 7, .processes = 3},
    {.clients = 1000, .rooms = 7, .publishers = 5, .processes = 9},
    {.clients = 12, .rooms = 12, .publishers = 12, .processes = 5},
    {.clients = 25, .rooms = 12, .publishers = 12, .processes = 2, .pairs = true},
};

static void every_client_is_in_one_room_and_one_process(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(plans); i++) {
        const struct cn_plan *plan = &plans[i];
        assert_null(cn_plan_check(plan));
        assert_int_equal(cn_plan_begin(plan, plan->processes), plan->clients);
        assert_int_equal(cn_plan_first(plan, plan->rooms), plan->clients);
        for (long client = 0; client < plan->clients; client++) {
            long room = cn_plan_room(plan, client);
            long process = cn_plan_process(plan, client);
            assert_in_range(client, cn_plan_first(plan, room), cn_plan_first(plan, room + 1) - 1);
            assert_in_range(client, cn_plan_begin(plan, process),
                            cn_plan_begin(plan, process + 1) - 1);
        }
    }
}

static void rooms_are_of_even_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(plans); i++) {
        long least = plans[i].clients / plans[i].rooms;
        for (long room = 0; room < plans[i].rooms; room++)
            assert_in_range(cn_plan_members(&plans[i], room), least, least + 1);
    }
}

static void every_publisher_is_one_lane_of_a_room(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(plans); i++) {
        const struct cn_plan *plan = &plans[i];
        for (long publisher = 0; publisher < plan->publishers; publisher++) {
            long room = cn_plan_target(plan, publisher);
            long lane = cn_plan_lane(plan, publisher);
            assert_true(lane < cn_plan_lanes(plan, room));
            assert_int_equal(cn_plan_writer(plan, room, lane), publisher);
            assert_in_range(cn_plan_home(plan, publisher), 0, plan->processes - 1);
        }
    }
}

static void a_publisher_is_a_client_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(plans); i++) {
        bool taken[1000] = {false};
        for (long p = 0; !plans[i].extra && p < plans[i].publishers; p++) {
            long client = cn_plan_client(&plans[i], p);
            assert_in_range(client, 0, plans[i].clients - 1);
            assert_false(taken[client]);
            taken[client] = true;
            assert_int_equal(cn_plan_room(&plans[i], client), p % plans[i].rooms);
            assert_int_equal(cn_plan_home(&plans[i], p), cn_plan_process(&plans[i], client));
        }
    }
}

static void parts_are_the_processes_with_members(void **state)
{
    (void)state;
    const struct cn_plan *plan = &plans[2]; // rooms 4, 3, 3; processes 4, 3, 3
    assert_int_equal(cn_plan_parts(plan, 0), 1);
    assert_int_equal(cn_plan_parts(&plans[1], 0), 4);
    assert_int_equal(cn_plan_parts(&plans[3], 0), 2);
}

static void users_write_to_each_other(void **state)
{
    (void)state;
    const struct cn_plan *plan = &plans[5];
    assert_int_equal(cn_plan_target(plan, 4), 5);
    assert_int_equal(cn_plan_target(plan, 5), 4);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    static const struct cn_plan wrong[] = {
        {.clients = 3, .rooms = 4, .publishers = 1, .processes = 1},
        {.clients = 3, .rooms = 1, .publishers = 4, .processes = 1},
        {.clients = 3, .rooms = 3, .publishers = 3, .processes = 1, .pairs = true},
        {.clients = 3, .rooms = 1, .publishers = 1, .processes = 4},
        {.clients = 3, .rooms = 1, .publishers = 65537, .processes = 1, .extra = true},
    };
    for (size_t i = 0; i < CN_COUNT(wrong); i++)
        assert_non_null(cn_plan_check(&wrong[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_client_is_in_one_room_and_one_process),
        cmocka_unit_test(rooms_are_of_even_size),
        cmocka_unit_test(every_publisher_is_one_lane_of_a_room),
        cmocka_unit_test(a_publisher_is_a_client_of_its_own),
        cmocka_unit_test(parts_are_the_processes_with_members),
        cmocka_unit_test(users_write_to_each_other),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
