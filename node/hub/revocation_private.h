// SPDX-License-Identifier: MIT
// What the hub shares about revocations: the table, and the way of a ruling to the bus and back.
#ifndef CHATNODE_REVOCATION_PRIVATE_H
#define CHATNODE_REVOCATION_PRIVATE_H

#include "chatnode/bus.h"
#include "chatnode/revocation.h"

struct cn_revocations;

CN_MUSTCHECK struct cn_revocations *cn_revocations_new(void); // NULL without memory
void cn_revocations_free(struct cn_revocations *revocations); // takes NULL

// What the bus tells; the functions of struct cn_bus_events.
void cn_revocation_on_notice(void *arg, struct cn_str text, bool again);
void cn_revocation_on_noticed(void *arg);

// Puts a revocation into the table and ends the sessions that it concerns. CN_FULL, CN_NOMEM: it
// only ended sessions. Main thread.
CN_MUSTCHECK enum cn_err cn_revocation_take(struct cn_hub *hub, const struct cn_ruling *ruling);

// Makes the ruling as severe as what is known of its subject already. Main thread.
void cn_revocation_merge(struct cn_hub *hub, struct cn_ruling *ruling);

// Tells all nodes, by cn_bus_notify. Main thread.
void cn_revocation_notify(struct cn_hub *hub, const struct cn_ruling *ruling,
                          void (*done)(void *arg, enum cn_err err), void *arg);

// Forgets what is over, once a minute; tells loops what they could not be told. Main thread.
void cn_revocation_sweep(struct cn_hub *hub, int64_t now_ms);

#endif
