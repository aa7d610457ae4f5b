// SPDX-License-Identifier: MIT
// A room with a known log, and reads of it that a test counts, holds back and answers. For tests
// that wrap cn_bus_read_take.
#ifndef CHATNODE_TEST_HALL_H
#define CHATNODE_TEST_HALL_H

#include "support/hub_rig.h"

#include "chatnode/bus.h"

enum { HALL_SAID_MAX = 1024, HALL_HELD_MAX = 64 };

struct hall {
    struct hub_rig rig;
    char said[HALL_SAID_MAX][CN_POS_TEXT_BYTES]; // the position of "m<i>"
    size_t reads;                                // that main handed to the bus
    bool holds;                                  // from now on they are held back instead
    struct cn_read *held[HALL_HELD_MAX];
    size_t held_count;
};

extern struct hall hall;

// A hub with two loops and these settings, started; and its end.
int hall_open(const char *const *settings);
int hall_close(void **state);

// Says "m0" to "m<count - 1>" in the room "hall"; returns who said it. Reads count from here.
struct client *hall_fill(unsigned loop, int count);

// Says "m<i>".
void hall_say(struct client *ann, int i);

// Joins the room with this position; without an id.
void hall_join(struct client *client, const char *since);

// The next frame must be `joined` with this `recovered`.
void hall_expect_joined(struct client *client, const char *recovered);

// The position of "m<i>".
struct cn_pos hall_pos(int i);

// Holds reads back no longer; the bus answers those that were.
void hall_release(void);

// Answers the one read that is held back with this page instead.
void hall_answer(const struct cn_page *page);

#endif
