// SPDX-License-Identifier: MIT
// A whole node: its parts made in order, run, drained, ended in reverse.
#ifndef CHATNODE_NODE_H
#define CHATNODE_NODE_H

#include "chatnode/check.h"
#include "chatnode/config.h"
#include "chatnode/err.h"

struct cn_node;

// Exit codes (sysexits.h where it has one).
enum cn_exit { CN_EXIT_OK = 0, CN_EXIT_FAILED = 1, CN_EXIT_CONFIG = 78 };

// Runs a node with this configuration until it has drained after SIGTERM or SIGINT, or cannot go
// on. Logs all that matters. `config` is adjusted to the limits of the system; `sources` is where
// it came from, read again on SIGHUP. Both borrowed. Main thread, once.
CN_MUSTCHECK enum cn_exit cn_node_run(struct cn_config *config,
                                      const struct cn_config_sources *sources);

// ---- node/drain.c ----

struct cn_drain;

// Begins a drain: no new sessions, all are sent away within the setting `drain`, `done` is called
// on the main thread when none is left, or when the time is over.
CN_MUSTCHECK enum cn_err cn_drain_start(struct cn_node *node, void (*done)(struct cn_node *node),
                                        struct cn_drain **out);
void cn_drain_free(struct cn_drain *drain); // takes NULL

#endif
