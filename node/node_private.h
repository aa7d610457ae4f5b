// SPDX-License-Identifier: MIT
// What the files of the wiring share.
#ifndef CHATNODE_NODE_PRIVATE_H
#define CHATNODE_NODE_PRIVATE_H

#include "chatnode/edge.h"
#include "chatnode/hub.h"
#include "chatnode/node.h"
#include "chatnode/reactor.h"

// Main thread only.
struct cn_node {
    struct cn_config *config;
    const struct cn_config_sources *sources; // where it came from, for a reload
    struct cn_config latest;                 // of the latest reload, if `reloaded`
    bool reloaded;
    char name[CN_NAME_MAX + 1];
    struct cn_reactor *reactor;
    struct cn_hub *hub;
    struct cn_edge *edge;
    struct cn_signal *signals[4];
    struct cn_drain *drain; // once SIGTERM has come
    enum cn_exit exit;
};

// ---- documents.c ----

// Prints a page of docs/ that is made from the tables: "config", "metrics" or "protocol".
CN_MUSTCHECK enum cn_exit cn_document_print(const char *which);

// ---- healthcheck.c ----

// Asks the node that listens as configured for its /healthz, on the internal listener if it has one
// that asks for no certificate; 0 when it is well. With TLS whoever answers is believed.
CN_MUSTCHECK enum cn_exit cn_healthcheck(const struct cn_config *config);

#endif
