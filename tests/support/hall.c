// SPDX-License-Identifier: MIT
// A room with a known log, and reads of it under a test's hand.
#include "support/hall.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub_private.h"

struct hall hall;

// ---- Reads ----

void __real_cn_bus_read_take(struct cn_bus *bus, struct cn_read **read);
void __wrap_cn_bus_read_take(struct cn_bus *bus, struct cn_read **read);

void __wrap_cn_bus_read_take(struct cn_bus *bus, struct cn_read **read)
{
    hall.reads++;
    if (!hall.holds) {
        __real_cn_bus_read_take(bus, read);
        return;
    }
    assert_true(hall.held_count < HALL_HELD_MAX);
    hall.held[hall.held_count++] = *read;
    *read = NULL;
}

void hall_release(void)
{
    size_t count = hall.held_count;
    hall.holds = false;
    hall.held_count = 0;
    for (size_t i = 0; i < count; i++)
        __real_cn_bus_read_take(hall.rig.hub->bus, &hall.held[i]);
    hub_rig_settle(&hall.rig);
}

void hall_answer(const struct cn_page *page)
{
    assert_int_equal(hall.held_count, 1);
    struct cn_read *read = hall.held[--hall.held_count];
    read->done(read->arg, read, page);
    free(read->context);
    free(read);
    hub_rig_settle(&hall.rig);
}

// ---- The room ----

int hall_open(const char *const *settings)
{
    hall.holds = false;
    hub_rig_open(&hall.rig, 2, settings);
    hub_rig_start(&hall.rig);
    return 0;
}

int hall_close(void **state)
{
    (void)state;
    hall_release();
    hub_rig_close(&hall.rig);
    return 0;
}

struct client *hall_fill(unsigned loop, int count)
{
    struct client *ann = rig_member(&hall.rig, loop, "ann", "hall");
    for (int i = 0; i < count; i++) {
        char content[16];
        snprintf(content, sizeof(content), "m%d", i);
        rig_say(&hall.rig, ann, "hall", content);
        snprintf(hall.said[i], sizeof(hall.said[i]), "%s",
                 frame_text(client_expect(ann, "message"), "pos"));
    }
    hall.reads = 0;
    return ann;
}

void hall_say(struct client *ann, int i)
{
    char content[16];
    snprintf(content, sizeof(content), "m%d", i);
    rig_say(&hall.rig, ann, "hall", content);
    client_expect_series(ann, "m", i, 1);
}

void hall_join(struct client *client, const char *since)
{
    client_send(client, "{\"type\":\"join\",\"room\":\"hall\",\"since\":\"%s\"}", since);
}

void hall_expect_joined(struct client *client, const char *recovered)
{
    const char *text = client_expect(client, "joined");
    if (!frame_has(text, "recovered", recovered))
        fail_msg("wanted recovered:%s, got %s", recovered, text);
}

struct cn_pos hall_pos(int i)
{
    struct cn_pos pos;
    assert_int_equal(cn_pos_parse(cn_str_of(hall.said[i]), &pos), CN_OK);
    return pos;
}
