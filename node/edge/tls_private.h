// SPDX-License-Identifier: MIT
// What the files of the edge share of the listeners' TLS.
#ifndef CHATNODE_TLS_PRIVATE_H
#define CHATNODE_TLS_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "chatnode/admin.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/tls.h"

struct cn_edge;
struct cn_edge_loop;

enum { CN_AUDIENCES = CN_AUDIENCE_INTERNAL + 1 };

// ---- edge_tls.c: the listeners' TLS ----

// Of one listener. Main thread; the loops read `identity` while they start.
struct cn_edge_tls {
    struct cn_tls_identity *identity; // NULL: the listener is plain
    int64_t expiry_s;                 // what the metric says of it
};

// Reads the files that the configuration names. CN_INVALID: logged what is wrong. Main thread.
CN_MUSTCHECK enum cn_err cn_edge_tls_load(struct cn_edge *edge);

// Begins to look after the certificates' ends; ends that and frees. Main thread.
CN_MUSTCHECK enum cn_err cn_edge_tls_start(struct cn_edge *edge);
void cn_edge_tls_fini(struct cn_edge *edge); // legal on one that was never loaded

// Makes `loop->made` speak as this listener should, and keeps it. False: logged why not. The loop's
// thread, while it starts.
bool cn_edge_tls_dress(struct cn_edge_loop *loop, enum cn_audience audience);

#endif
