// SPDX-License-Identifier: MIT
// Who is in which room, who writes to which, and which process has whom: arithmetic only.
#ifndef CHATNODE_TOOLS_PLAN_H
#define CHATNODE_TOOLS_PLAN_H

#include <stdbool.h>

#include "chatnode/check.h"

enum { CN_PLAN_LANES_MAX = 65536 }; // publishers of a room: a stamp has 16 bits for them

// Clients and rooms are spread evenly and in order, so that most rooms are within one process.
// In pairs of users (`pairs`) a room is a user's inbox, and its clients are the user's sessions.
// Publishers are clients, the first ones of their rooms, unless they are `extra` connections.
struct cn_plan {
    long clients;
    long rooms;
    long publishers;
    long processes;
    bool extra;
    bool pairs;
};

// NULL, or what is wrong with it.
const char *cn_plan_check(const struct cn_plan *plan);

long cn_plan_room(const struct cn_plan *plan, long client);
long cn_plan_first(const struct cn_plan *plan, long room); // its first client
long cn_plan_members(const struct cn_plan *plan, long room);

// The client that a publisher is, unless publishers are extra connections.
long cn_plan_client(const struct cn_plan *plan, long publisher);

// Where a publisher's messages go, and its number among those who write there.
long cn_plan_target(const struct cn_plan *plan, long publisher);
long cn_plan_lane(const struct cn_plan *plan, long publisher);
long cn_plan_lanes(const struct cn_plan *plan, long room); // how many write there
long cn_plan_writer(const struct cn_plan *plan, long room, long lane);

// The process of a client; the first client of a process (processes: one past the last).
long cn_plan_process(const struct cn_plan *plan, long client);
long cn_plan_begin(const struct cn_plan *plan, long process);

// The process of a publisher.
long cn_plan_home(const struct cn_plan *plan, long publisher);

// How many processes have clients in the room.
long cn_plan_parts(const struct cn_plan *plan, long room);

#endif
