// SPDX-License-Identifier: MIT
// Who is in which room, who writes to which, and which process has whom: arithmetic only.
#include <stddef.h>

#include "plan.h"

// Of `things` in order, spread evenly over `groups`: the group of one, the first one of a group.
static long group_of(long things, long groups, long thing)
{
    return thing * groups / things;
}

static long first_of(long things, long groups, long group)
{
    return (group * things + groups - 1) / groups;
}

const char *cn_plan_check(const struct cn_plan *plan)
{
    if (plan->rooms > plan->clients)
        return "there are more rooms than clients";
    if (plan->pairs && plan->rooms % 2 != 0)
        return "users write in pairs: their number must be even";
    if (plan->processes > plan->clients)
        return "there are more processes than clients";
    if (!plan->extra && plan->publishers > plan->rooms * (plan->clients / plan->rooms))
        return "there are more publishers than clients to be them";
    if (cn_plan_lanes(plan, 0) > CN_PLAN_LANES_MAX) // the first room has most
        return "there are more than 65,536 publishers to a room";
    return NULL;
}

long cn_plan_room(const struct cn_plan *plan, long client)
{
    return group_of(plan->clients, plan->rooms, client);
}

long cn_plan_first(const struct cn_plan *plan, long room)
{
    return first_of(plan->clients, plan->rooms, room);
}

long cn_plan_members(const struct cn_plan *plan, long room)
{
    return cn_plan_first(plan, room + 1) - cn_plan_first(plan, room);
}

long cn_plan_client(const struct cn_plan *plan, long publisher)
{
    return cn_plan_first(plan, publisher % plan->rooms) + publisher / plan->rooms;
}

long cn_plan_target(const struct cn_plan *plan, long publisher)
{
    long room = publisher % plan->rooms;
    return plan->pairs ? room ^ 1 : room;
}

long cn_plan_lane(const struct cn_plan *plan, long publisher)
{
    return publisher / plan->rooms;
}

long cn_plan_lanes(const struct cn_plan *plan, long room)
{
    long writer = plan->pairs ? room ^ 1 : room;
    return (plan->publishers - writer + plan->rooms - 1) / plan->rooms;
}

long cn_plan_writer(const struct cn_plan *plan, long room, long lane)
{
    return (plan->pairs ? room ^ 1 : room) + lane * plan->rooms;
}

long cn_plan_process(const struct cn_plan *plan, long client)
{
    return group_of(plan->clients, plan->processes, client);
}

long cn_plan_begin(const struct cn_plan *plan, long process)
{
    return first_of(plan->clients, plan->processes, process);
}

long cn_plan_home(const struct cn_plan *plan, long publisher)
{
    if (plan->extra)
        return publisher % plan->processes;
    return cn_plan_process(plan, cn_plan_client(plan, publisher));
}

long cn_plan_parts(const struct cn_plan *plan, long room)
{
    long first = cn_plan_process(plan, cn_plan_first(plan, room));
    return cn_plan_process(plan, cn_plan_first(plan, room + 1) - 1) - first + 1;
}
