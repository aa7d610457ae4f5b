// SPDX-License-Identifier: MIT
// A bus under test with its reactor, and a record of all that it tells.
#ifndef CHATNODE_TEST_BUS_PROBE_H
#define CHATNODE_TEST_BUS_PROBE_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/bus.h"
#include "chatnode/clock.h"

enum { PROBE_WAIT_MS = 10000 };

// Runs the probe's reactor until the condition holds; fails the test when it does not in time.
#define WAIT_UNTIL(probe, condition)                                                               \
    do {                                                                                           \
        int64_t end_ = cn_clock_ms() + PROBE_WAIT_MS;                                              \
        bool met_;                                                                                 \
        while (!(met_ = (condition)) && cn_clock_ms() < end_)                                      \
            cn_reactor_turn((probe)->reactor, 20);                                                 \
        if (!met_)                                                                                 \
            fail_msg("in vain: %s", #condition);                                                   \
    } while (0)

enum probe_kind { PROBE_OPEN, PROBE_ENTRY, PROBE_RESET };

struct probe_event {
    enum probe_kind kind;
    struct cn_channel_name channel;
    struct cn_pos pos;
    char *text;
};

struct probe {
    struct cn_reactor *reactor;
    bool owns_reactor;
    struct cn_bus *bus;
    struct probe_event *events;
    size_t count, cap;
    enum cn_bus_state state;
    size_t states; // changes of it
    char why[256]; // of the last one
    enum cn_bus_cause cause;
    enum cn_durability durability; // as last told
    struct cn_store store;
    size_t fatals;
    char fatal_why[256];
    bool ignores_entries; // counts them only
    size_t entries;
    size_t notices;                       // on_notice calls
    size_t again;                         // of them, those that were kept
    char notice[CN_NOTICE_BYTES_MAX + 1]; // the last one
    size_t boards;                        // on_noticed calls
};

// How a notice was answered.
struct probe_post {
    int calls;
    enum cn_err err;
};

// What one publish was answered.
struct probe_answer {
    int calls;
    struct cn_published result;
};

// What one read was answered, with copies of the texts.
struct probe_page {
    int calls;
    struct cn_page page;
    struct cn_pos pos[512];
    char *text[512];
};

// Sensible small options for a test.
struct cn_bus_options probe_options(void);

// Makes a bus on `reactor` (NULL: on one of its own), starts it and does not wait.
void probe_open(struct probe *probe, struct cn_reactor *reactor,
                const struct cn_bus_options *options);
void probe_close(struct probe *probe);

// Tries to make a bus with options that will not do; the error, and what is wrong in *why.
enum cn_err probe_try(const struct cn_bus_options *options, const char **why);

bool probe_is_up(const struct probe *probe);

struct cn_channel_name probe_room(const char *name);

// Publishes content `content` as `user` with `id`; the deadline is `ms` from now.
void probe_publish_for(struct probe *probe, const char *room, const char *user, const char *id,
                       const char *content, int64_t ms, struct probe_answer *answer);

// The same with a deadline of 5 s.
void probe_publish(struct probe *probe, const char *room, const char *user, const char *id,
                   struct probe_answer *answer);

// Publishes and waits for the answer.
struct cn_published probe_store(struct probe *probe, const char *room, const char *user,
                                const char *id);

// Sends a notice that is kept until then (0: not) and waits for the answer.
enum cn_err probe_notify(struct probe *probe, const char *text, int64_t until_ms);

void probe_subscribe(struct probe *probe, const char *room);
void probe_unsubscribe(struct probe *probe, const char *room);

// Reads and waits; probe_page_fini is due.
void probe_read(struct probe *probe, const char *room, enum cn_read_kind kind, struct cn_pos from,
                unsigned limit, struct probe_page *page);
void probe_page_fini(struct probe_page *page);

// How many events of the kind the room had, and the n-th of them (from 0) or NULL.
size_t probe_count(const struct probe *probe, enum probe_kind kind, const char *room);
const struct probe_event *probe_event(const struct probe *probe, enum probe_kind kind,
                                      const char *room, size_t n);

// Fails unless the room's entries rise, contiguous within each generation, none twice.
void probe_assert_ordered(const struct probe *probe, const char *room);

void assert_pos(struct cn_pos got, struct cn_pos wanted);

#endif
