// SPDX-License-Identifier: MIT
// A hub under test: a reactor, the in-process bus and N loops, all turned by hand on one thread,
// with a clock that only the test moves.
#ifndef CHATNODE_TEST_HUB_RIG_H
#define CHATNODE_TEST_HUB_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/config.h"
#include "chatnode/hub.h"
#include "chatnode/metrics_table.h"
#include "chatnode/session.h"
#include "support/fake_sink.h"

enum { RIG_LOOPS = 4, RIG_CLIENTS = 4096 };

// A client: a session and its fake socket.
struct client {
    struct fake_sink sink;
    struct cn_session *session; // NULL once its socket is gone
    struct cn_loop *loop;
};

struct hub_rig {
    struct cn_config config;
    struct cn_reactor *reactor;
    struct cn_hub *hub;
    int64_t now_us;
    unsigned loops;
    int64_t next_ms[RIG_LOOPS]; // what each loop's last turn returned
    struct client *clients[RIG_CLIENTS];
    size_t client_count;
    size_t fatals;
    size_t wakes; // of main
};

// Makes a hub whose bus is down until hub_rig_start. `settings` are flags and values
// ("--ring-frames", "16", NULL) or NULL.
void hub_rig_open(struct hub_rig *rig, unsigned loops, const char *const *settings);
void hub_rig_start(struct hub_rig *rig);

// Takes all clients' sockets away and frees everything.
void hub_rig_close(struct hub_rig *rig);

// One turn of main, of one loop, of all.
void hub_rig_turn_main(struct hub_rig *rig);
void hub_rig_turn_loop(struct hub_rig *rig, unsigned index);
void hub_rig_turn(struct hub_rig *rig);

// Turns until nobody has anything to do at this time.
void hub_rig_settle(struct hub_rig *rig);

// Time passes: the clock moves, every loop ticks, all settle.
void hub_rig_pass_ms(struct hub_rig *rig, int64_t ms);

// ---- Clients ----

// A client of loop `index` with this greeting.
struct client *rig_greet(struct hub_rig *rig, unsigned index, const struct cn_hello *hello);

// The same as `user` (NULL: a guest) in `room` (NULL: the default room, "": none).
struct client *rig_client(struct hub_rig *rig, unsigned index, const char *user, const char *room);

// The same, settled, and with all frames so far passed over.
struct client *rig_member(struct hub_rig *rig, unsigned index, const char *user, const char *room);

// The client sends a text frame; formatted.
void client_send(struct client *client, const char *format, ...) CN_PRINTF(2, 3);

// Its socket takes bytes again.
void client_drain(struct client *client);

// Its socket is gone.
void client_gone(struct client *client);

// The next frame it got, which must be of this type.
const char *client_expect(struct client *client, const char *type);

// Fails unless it has got no frame that was not looked at.
void client_expect_nothing(struct client *client);

// Publishes `content` (text without quotes in it) to `room` and settles.
void rig_say(struct hub_rig *rig, struct client *client, const char *room, const char *content);

// The next `count` messages to the client must be "<prefix><from>", "<prefix><from + 1>"...
void client_expect_series(struct client *client, const char *prefix, int from, int count);

#endif
