// SPDX-License-Identifier: MIT
// Every metric, once. docs/metrics.md is made from this table.
#ifndef CHATNODE_METRICS_TABLE_H
#define CHATNODE_METRICS_TABLE_H

#include "chatnode/metrics.h"
#include "chatnode/protocol.h"
#include "chatnode/token.h"

// X(symbol, type, name, labels, help); rows of one family stand together.
#define CN_METRIC_TABLE(X)                                                                         \
    X(CONNECTIONS, GAUGE, "chatnode_connections", "", "Open sockets, plain HTTP included.")        \
    X(REFUSED_LIMIT, COUNTER, "chatnode_refused_total", "reason=\"limit\"",                        \
      "Connections and handshakes refused.")                                                       \
    X(REFUSED_DESCRIPTORS, COUNTER, "chatnode_refused_total", "reason=\"descriptors\"", "")        \
    X(REFUSED_HANDSHAKE, COUNTER, "chatnode_refused_total", "reason=\"handshake\"", "")            \
    X(REFUSED_ORIGIN, COUNTER, "chatnode_refused_total", "reason=\"origin\"", "")                  \
    X(REFUSED_DRAINING, COUNTER, "chatnode_refused_total", "reason=\"draining\"", "")              \
    X(REFUSED_RATE, COUNTER, "chatnode_refused_total", "reason=\"rate\"", "")                      \
    X(REFUSED_ADDRESS, COUNTER, "chatnode_refused_total", "reason=\"address\"", "")                \
    X(REFUSED_ADDRESS_RATE, COUNTER, "chatnode_refused_total", "reason=\"address_rate\"", "")      \
    X(REFUSED_PROXY, COUNTER, "chatnode_refused_total", "reason=\"proxy\"", "")                    \
    X(TLS_BEGUN, COUNTER, "chatnode_tls_handshakes_total", "result=\"begun\"",                     \
      "TLS handshakes on the listeners; those begun and not done failed, or are under way.")       \
    X(TLS_DONE, COUNTER, "chatnode_tls_handshakes_total", "result=\"done\"", "")                   \
    X(TLS_PUBLIC_EXPIRY, GAUGE, "chatnode_tls_certificate_expiry_timestamp_seconds",               \
      "listener=\"public\"",                                                                       \
      "When the certificate ends, in seconds since 1970; 0: the listener speaks no TLS.")          \
    X(TLS_INTERNAL_EXPIRY, GAUGE, "chatnode_tls_certificate_expiry_timestamp_seconds",             \
      "listener=\"internal\"", "")                                                                 \
    X(SESSIONS, GAUGE, "chatnode_sessions", "",                                                    \
      "Sessions on this node, those that wait for a token included.")                              \
    X(SESSIONS_OPENED, COUNTER, "chatnode_sessions_opened_total", "", "Sessions begun.")           \
    X(MEMBERS, GAUGE, "chatnode_members", "", "Sessions in channels, each counted per channel.")   \
    X(FEEDS, GAUGE, "chatnode_feeds", "", "Channels with members, counted per loop.")              \
    X(CHANNELS, GAUGE, "chatnode_channels", "", "Channels that this node subscribes to.")          \
    X(REQUESTS, COUNTER, "chatnode_requests_total", "", "Frames received from clients.")           \
    X(PROBLEMS, COUNTER, "chatnode_errors_sent_total", "", "Error frames sent to clients.")        \
    X(LIMITED_MESSAGES, COUNTER, "chatnode_limited_total", "limit=\"messages\"",                   \
      "Requests refused because too many came, by the limit that they met.")                       \
    X(LIMITED_BYTES, COUNTER, "chatnode_limited_total", "limit=\"bytes\"", "")                     \
    X(LIMITED_JOINS, COUNTER, "chatnode_limited_total", "limit=\"joins\"", "")                     \
    X(LIMITED_USER, COUNTER, "chatnode_limited_total", "limit=\"user\"", "")                       \
    X(LIMITED_NODE, COUNTER, "chatnode_limited_total", "limit=\"node\"", "")                       \
    X(PUBLISHES, COUNTER, "chatnode_publishes_total", "", "Publishes handed to the bus.")          \
    X(PUBLISHES_FAILED, COUNTER, "chatnode_publishes_failed_total", "",                            \
      "Publishes answered with an error.")                                                         \
    X(API_STORED, COUNTER, "chatnode_api_requests_total", "result=\"stored\"",                     \
      "Requests to the HTTP API, by how they were answered.")                                      \
    X(API_REFUSED, COUNTER, "chatnode_api_requests_total", "result=\"refused\"", "")               \
    X(API_FAILED, COUNTER, "chatnode_api_requests_total", "result=\"failed\"", "")                 \
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
    X(AUTH_KEYS, GAUGE, "chatnode_auth_keys", "", "Keys that tokens are verified with.")           \
    X(JWKS_OK, COUNTER, "chatnode_jwks_fetches_total", "result=\"ok\"",                            \
      "Fetches of the JWK set at auth-jwks-url.")                                                  \
    X(JWKS_FAILED, COUNTER, "chatnode_jwks_fetches_total", "result=\"failed\"", "")                \
    X(HOOK_GRANTED, COUNTER, "chatnode_hook_total", "result=\"granted\"",                          \
      "Tokens that auth-url decided on; kept: by an answer of before.")                            \
    X(HOOK_KEPT, COUNTER, "chatnode_hook_total", "result=\"kept\"", "")                            \
    X(HOOK_DENIED, COUNTER, "chatnode_hook_total", "result=\"denied\"", "")                        \
    X(HOOK_FAILED, COUNTER, "chatnode_hook_total", "result=\"failed\"", "")                        \
    X(BUS_UP, GAUGE, "chatnode_bus_up", "", "1 while the bus can publish and hear.")               \
    X(BUS_DOWN_STARTING, COUNTER, "chatnode_bus_downs_total", "cause=\"starting\"",                \
      "Times that the bus went down.")                                                             \
    X(BUS_DOWN_CONNECT, COUNTER, "chatnode_bus_downs_total", "cause=\"connect\"", "")              \
    X(BUS_DOWN_TLS, COUNTER, "chatnode_bus_downs_total", "cause=\"tls\"", "")                      \
    X(BUS_DOWN_CLOSED, COUNTER, "chatnode_bus_downs_total", "cause=\"closed\"", "")                \
    X(BUS_DOWN_SILENT, COUNTER, "chatnode_bus_downs_total", "cause=\"silent\"", "")                \
    X(BUS_DOWN_AUTH, COUNTER, "chatnode_bus_downs_total", "cause=\"auth\"", "")                    \
    X(BUS_DOWN_REPLICA, COUNTER, "chatnode_bus_downs_total", "cause=\"replica\"", "")              \
    X(BUS_DOWN_BUSY, COUNTER, "chatnode_bus_downs_total", "cause=\"busy\"", "")                    \
    X(BUS_DOWN_STRANGE, COUNTER, "chatnode_bus_downs_total", "cause=\"strange\"", "")              \
    X(BUS_DOWN_MEMORY, COUNTER, "chatnode_bus_downs_total", "cause=\"memory\"", "")                \
    X(BUS_PENDING, GAUGE, "chatnode_bus_pending", "", "Publishes and reads waiting for the bus.")  \
    X(BUS_RECONNECTS, COUNTER, "chatnode_bus_reconnects_total", "",                                \
      "Connections to Redis made anew.")                                                           \
    X(BUS_CATCH_UPS, COUNTER, "chatnode_bus_catch_ups_total", "",                                  \
      "Channels read after a hole or a new subscription.")                                         \
    X(BUS_INJECTED, COUNTER, "chatnode_bus_injected_total", "",                                    \
      "Entries that came by a catch-up instead of live.")                                          \
    X(BUS_DUPLICATES, COUNTER, "chatnode_bus_duplicates_total", "",                                \
      "Entries dropped because they were told before.")                                            \
    X(BUS_BAD_SIZE, COUNTER, "chatnode_bus_bad_entries_total", "reason=\"size\"",                  \
      "Entries and notices dropped because no node has written them so, by what was wrong.")       \
    X(BUS_BAD_FORM, COUNTER, "chatnode_bus_bad_entries_total", "reason=\"form\"", "")              \
    X(BUS_BAD_VERSION, COUNTER, "chatnode_bus_bad_entries_total", "reason=\"version\"", "")        \
    X(BUS_BAD_UNSEALED, COUNTER, "chatnode_bus_bad_entries_total", "reason=\"unsealed\"", "")      \
    X(BUS_BAD_UNKNOWN_KEY, COUNTER, "chatnode_bus_bad_entries_total", "reason=\"unknown_key\"",    \
      "")                                                                                          \
    X(BUS_BAD_SEAL, COUNTER, "chatnode_bus_bad_entries_total", "reason=\"seal\"", "")              \
    X(BUS_BAD_UNSTORED, COUNTER, "chatnode_bus_bad_entries_total", "reason=\"unstored\"", "")      \
    X(NOTICES, COUNTER, "chatnode_notices_total", "result=\"taken\"",                              \
      "Notices that the bus told this node; bad ones say nothing that it understands.")            \
    X(NOTICES_BAD, COUNTER, "chatnode_notices_total", "result=\"bad\"", "")                        \
    X(REVOCATIONS, GAUGE, "chatnode_revocations", "", "Revocations that this node knows.")         \
    X(BUS_HELD_OVERFLOWS, COUNTER, "chatnode_bus_held_overflows_total", "",                        \
      "Times that a channel's held messages were dropped and read again.")                         \
    X(BUS_LATE, COUNTER, "chatnode_bus_late_answers_total", "",                                    \
      "Answers that came after their deadline.")                                                   \
    X(BUS_REFUSED, COUNTER, "chatnode_bus_refused_total", "", "Publishes that Redis refused.")     \
    X(BUS_UNREPLICATED, COUNTER, "chatnode_bus_unreplicated_total", "",                            \
      "Publishes that no replica confirmed in time.")                                              \
    X(BUS_CHECKS, COUNTER, "chatnode_bus_checks_total", "result=\"all\"",                          \
      "Channels whose end was compared with their log; those that differed.")                      \
    X(BUS_CHECKS_OFF, COUNTER, "chatnode_bus_checks_total", "result=\"off\"", "")                  \
    X(BUS_FAILOVERS, COUNTER, "chatnode_bus_failovers_total", "",                                  \
      "Times that another Redis, or the same one anew, carried on.")                               \
    X(BUS_RESTORED, COUNTER, "chatnode_bus_replayed_total", "result=\"restored\"",                 \
      "Acked messages that a failover had lost, submitted again.")                                 \
    X(BUS_UNRESTORED, COUNTER, "chatnode_bus_replayed_total", "result=\"failed\"", "")             \
    X(BUS_FORGOTTEN, COUNTER, "chatnode_bus_replayed_total", "result=\"no_room\"", "")             \
    X(BUS_DURABILITY, GAUGE, "chatnode_bus_durability", "",                                        \
      "What an ack promises: 0 unknown, 1 memory, 2 disk, 3 disk-always, 4 replicated.")           \
    X(BUS_RESETS, COUNTER, "chatnode_bus_resets_total", "", "Channels whose continuity was lost.") \
    X(LOG_LOST, COUNTER, "chatnode_log_lost_lines_total", "",                                      \
      "Lines of the log that could not be written at once: a full disk, a reader that stands "     \
      "still.")

enum cn_metric_row {
#define X(symbol, ...) CN_M_##symbol,
    CN_METRIC_TABLE(X)
#undef X
#define X(symbol, ...) CN_M_CLOSED_##symbol,
        CN_REASON_TABLE(X)
#undef X
#define X(symbol, ...) CN_M_AUTH_##symbol,
            CN_TOKEN_FAULT_TABLE(X)
#undef X
                CN_METRIC_ROWS
};

// The row that counts sessions ended for `reason`.
static inline unsigned cn_metric_closed(enum cn_reason reason)
{
    return (unsigned)CN_M_CLOSED_PEER + (unsigned)reason;
}

// The row that counts tokens with this fault.
static inline unsigned cn_metric_auth(enum cn_token_fault fault)
{
    return (unsigned)CN_M_AUTH_NONE + (unsigned)fault;
}

// The table for cn_metrics_start; CN_METRIC_ROWS rows.
const struct cn_metric *cn_metric_table(void);

#endif
