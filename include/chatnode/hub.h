// SPDX-License-Identifier: MIT
// The hub: what the node knows of sessions, channels and messages, with no I/O of its own. One part
// lives on the main thread (channels, the bus), one on each loop (sessions, feeds).
#ifndef CHATNODE_HUB_H
#define CHATNODE_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "chatnode/bus.h"
#include "chatnode/check.h"
#include "chatnode/config.h"
#include "chatnode/err.h"
#include "chatnode/loop.h"
#include "chatnode/reactor.h"
#include "chatnode/registry.h"

struct cn_hub;

// What a hub is made of; all borrowed for the hub's life.
struct cn_hub_parts {
    const struct cn_config *config;
    struct cn_reactor *reactor;
    const char *node_name;
    unsigned loops; // 1 to 64
    // Main thread: the bus can never work as configured.
    void (*on_fatal)(void *arg, const char *why);
    void *arg;
};

// Makes the hub with its loops and its bus. CN_INVALID: the bus's URL is wrong, *why says how.
CN_MUSTCHECK enum cn_err cn_hub_new(const struct cn_hub_parts *parts, struct cn_hub **out,
                                    const char **why);

// Starts the bus. Main thread, once.
CN_MUSTCHECK enum cn_err cn_hub_start(struct cn_hub *hub);

// Applies what can be changed while it runs: bus-key, bus-unsealed, auth-keys, auth-secret.
// CN_INVALID: *why says what is wrong (static text); on an error nothing is changed. Main thread.
CN_MUSTCHECK enum cn_err cn_hub_reload(struct cn_hub *hub, const struct cn_config *fresh,
                                       const char **why);

// Frees all; the loops' threads have ended, no session is left. Takes NULL. Main thread.
void cn_hub_free(struct cn_hub *hub);

// Reads what the loops asked for; the reactor's on_wake. Main thread.
void cn_hub_turn(struct cn_hub *hub);

// The part of loop `index`. Any thread.
struct cn_loop *cn_hub_loop(struct cn_hub *hub, unsigned index);

// How many loops there are, and the registry. Any thread.
unsigned cn_hub_loops(const struct cn_hub *hub);
struct cn_registry *cn_hub_registry(struct cn_hub *hub);

// From now on /readyz says no. Any thread.
void cn_hub_set_draining(struct cn_hub *hub);
bool cn_hub_is_draining(const struct cn_hub *hub);

// Publishes and reads of all sessions that wait for the bus. Main thread.
size_t cn_hub_pending(const struct cn_hub *hub);

#endif
