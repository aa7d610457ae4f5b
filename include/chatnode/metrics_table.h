// SPDX-License-Identifier: MIT
// Every metric, once. docs/metrics.md is made from this table.
#ifndef CHATNODE_METRICS_TABLE_H
#define CHATNODE_METRICS_TABLE_H

#include "chatnode/metrics.h"
#include "chatnode/protocol.h"

// X(symbol, type, name, labels, help); rows of one family stand together.
#define CN_METRIC_TABLE(X)                                                                         \
    X(CONNECTIONS, GAUGE, "chatnode_connections", "", "Open sockets, plain HTTP included.")        \
    X(REFUSED_LIMIT, COUNTER, "chatnode_refused_total", "reason=\"limit\"",                        \
      "Connections and handshakes refused.")                                                       \
    X(REFUSED_DESCRIPTORS, COUNTER, "chatnode_refused_total", "reason=\"descriptors\"", "")        \
    X(REFUSED_HANDSHAKE, COUNTER, "chatnode_refused_total", "reason=\"handshake\"", "")            \
    X(REFUSED_ORIGIN, COUNTER, "chatnode_refused_total", "reason=\"origin\"", "")                  \
    X(REFUSED_DRAINING, COUNTER, "chatnode_refused_total", "reason=\"draining\"", "")              \
    X(SESSIONS, GAUGE, "chatnode_sessions", "", "Sessions on this node.")                          \
    X(SESSIONS_OPENED, COUNTER, "chatnode_sessions_opened_total", "", "Sessions begun.")           \
    X(MEMBERS, GAUGE, "chatnode_members", "", "Sessions in channels, each counted per channel.")   \
    X(FEEDS, GAUGE, "chatnode_feeds", "", "Channels with members, counted per loop.")              \
    X(CHANNELS, GAUGE, "chatnode_channels", "", "Channels that this node subscribes to.")          \
    X(REQUESTS, COUNTER, "chatnode_requests_total", "", "Frames received from clients.")           \
    X(PROBLEMS, COUNTER, "chatnode_errors_sent_total", "", "Error frames sent to clients.")        \
    X(PUBLISHES, COUNTER, "chatnode_publishes_total", "", "Publishes handed to the bus.")          \
    X(PUBLISHES_FAILED, COUNTER, "chatnode_publishes_failed_total", "",                            \
      "Publishes answered with an error.")                                                         \
    X(PUBLISH_SECONDS, HISTOGRAM, "chatnode_publish_seconds", "",                                  \
      "From the client's frame to the bus's answer.")                                              \
    X(ENTRIES, COUNTER, "chatnode_entries_total", "", "Entries that the bus told this node.")      \
    X(DELIVERED, COUNTER, "chatnode_delivered_total", "", "Entries written to members.")           \
    X(WRITES, COUNTER, "chatnode_writes_total", "", "Writes to sockets.")                          \
    X(WRITTEN_BYTES, COUNTER, "chatnode_written_bytes_total", "", "Bytes written to sockets.")     \
    X(FLUSHES, COUNTER, "chatnode_flushes_total", "", "Passes over the members of a channel.")     \
    X(LAGGED, COUNTER, "chatnode_lagged_total", "", "Times that a member's socket was full.")      \
    X(FALLEN, COUNTER, "chatnode_fallen_total", "",                                                \
      "Times that a lagging member had to go on from history.")                                    \
    X(LAGGING, GAUGE, "chatnode_lagging_members", "",                                              \
      "Members that are behind now: served from the ring or the log when their socket allows.")    \
    X(READS_SENT, COUNTER, "chatnode_log_reads_total", "kind=\"sent\"",                            \
      "Pages of logs that members and histories needed: read, or shared with a read of another.")  \
    X(READS_SHARED, COUNTER, "chatnode_log_reads_total", "kind=\"shared\"", "")                    \
    X(SHELF_BYTES, GAUGE, "chatnode_shelf_bytes", "",                                              \
      "Pages of logs that are kept for the next member that needs them.")                          \
    X(MAILBOX_FULL_LOOP, COUNTER, "chatnode_mailbox_full_total", "box=\"loop\"",                   \
      "Letters refused by a full mailbox.")                                                        \
    X(MAILBOX_FULL_MAIN, COUNTER, "chatnode_mailbox_full_total", "box=\"main\"", "")               \
    X(JOINS_EXACT, COUNTER, "chatnode_resumes_total", "result=\"exact\"",                          \
      "Joins that named a position.")                                                              \
    X(JOINS_RESET, COUNTER, "chatnode_resumes_total", "result=\"reset\"", "")                      \
    X(BUS_UP, GAUGE, "chatnode_bus_up", "", "1 while the bus can publish and hear.")               \
    X(BUS_RESETS, COUNTER, "chatnode_bus_resets_total", "", "Channels whose continuity was lost.")

enum cn_metric_row {
#define X(symbol, ...) CN_M_##symbol,
    CN_METRIC_TABLE(X)
#undef X
#define X(symbol, ...) CN_M_CLOSED_##symbol,
        CN_REASON_TABLE(X)
#undef X
            CN_METRIC_ROWS
};

// The row that counts sessions ended for `reason`.
static inline unsigned cn_metric_closed(enum cn_reason reason)
{
    return (unsigned)CN_M_CLOSED_PEER + (unsigned)reason;
}

// The table for cn_metrics_start; CN_METRIC_ROWS rows.
const struct cn_metric *cn_metric_table(void);

#endif
