// SPDX-License-Identifier: MIT
// What the files of the hub share of the supervisor: what the bus says of itself, and the heap.
#ifndef CHATNODE_SUPERVISOR_PRIVATE_H
#define CHATNODE_SUPERVISOR_PRIVATE_H

#include <stdbool.h>

#include "chatnode/bus.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

struct cn_hub;

// Functions of struct cn_bus_events.
void cn_supervisor_on_state(void *arg, enum cn_bus_state state, enum cn_bus_cause cause,
                            const char *why);
void cn_supervisor_on_durability(void *arg, enum cn_durability durability,
                                 const struct cn_store *store);
void cn_supervisor_on_fatal(void *arg, const char *why);

// Begins to report the bus's counters as metrics, and to give memory back. Main thread.
CN_MUSTCHECK enum cn_err cn_supervisor_start(struct cn_hub *hub);

// What an ack promises now; whether that is at least what is required. Any thread.
enum cn_durability cn_supervisor_durability(const struct cn_hub *hub);
bool cn_supervisor_is_durable(const struct cn_hub *hub);

// There are more sessions or channels than before. Main thread.
void cn_supervisor_note_growth(struct cn_hub *hub);

#endif
