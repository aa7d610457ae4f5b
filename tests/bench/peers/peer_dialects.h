// SPDX-License-Identifier: MIT
// The dialects of the servers that the benchmark compares with and that are no plain WebSocket.
#ifndef CHATNODE_BENCH_PEER_DIALECTS_H
#define CHATNODE_BENCH_PEER_DIALECTS_H

#include "dialect.h"

// Socket.IO's protocol 5 on Engine.IO's protocol 4, over WebSocket: the event "m" is a message.
extern const struct cn_dialect cn_dialect_socketio;

// The client's protocol of NATS over bare TCP: a room is a subject.
extern const struct cn_dialect cn_dialect_nats;

#endif
