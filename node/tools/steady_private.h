// SPDX-License-Identifier: MIT
// What the parts of a steady load share: the run that all processes see, and one process's part.
#ifndef CHATNODE_TOOLS_STEADY_PRIVATE_H
#define CHATNODE_TOOLS_STEADY_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench_private.h"
#include "histogram.h"
#include "plan.h"
#include "probe.h"
#include "watch.h"
#include "workers.h"

// ---- What all processes see ----

// The coordinator alone moves it on; it never goes back.
enum cn_phase {
    CN_PHASE_CONNECTING,
    CN_PHASE_WARMING,  // the load, not measured
    CN_PHASE_SETTLING, // nothing new is sent until all has arrived
    CN_PHASE_RUNNING,  // the load, measured
    CN_PHASE_FINISHING,
    CN_PHASE_ENDED, // count what is lost, and end
};

// Counters of one process. It alone writes, the coordinator reads.
struct cn_tally {
    _Atomic int phase;           // the latest one that it has acted on
    _Atomic bool sent_all;       // what --messages asks for
    _Atomic uint64_t connected;  // and joined
    _Atomic uint64_t refused;    // handshakes, with 503
    _Atomic uint64_t dropped;    // connections that the server ended
    _Atomic uint64_t sent;       // messages
    _Atomic uint64_t expected;   // deliveries of them
    _Atomic uint64_t deliveries; // each message at each client, once
    _Atomic uint64_t due_acks;   // of what was sent with an id
    _Atomic uint64_t acks;
    _Atomic uint64_t measured_messages; // sent while running
    _Atomic uint64_t measured;          // deliveries of what was due while running
    _Atomic uint64_t lost;
    _Atomic uint64_t duplicates;
    _Atomic uint64_t disordered;
    _Atomic uint64_t gaps;      // that the server told of
    _Atomic uint64_t retries;   // publishes that were sent again
    _Atomic uint64_t refusals;  // publishes that were not, and could not be sent again
    _Atomic uint64_t overflows; // a client was too far behind for the check
    _Atomic uint64_t texts;     // parsed, and their bytes
    _Atomic uint64_t text_bytes;
    _Atomic int64_t last_us; // the latest delivery or ack
    struct cn_histogram latency;
    struct cn_histogram ack;
    struct cn_histogram connect;
};

// Of one room.
struct cn_room_share {
    _Atomic uint64_t sent;
    _Atomic uint64_t order; // the first process's order of messages, which the others must have too
};

struct cn_steady {
    // Constant once the processes run.
    struct cn_bench *bench;
    struct cn_plan plan;
    struct cn_workers workers;
    long slots;  // messages of a publisher that are followed until all have them; 0: none are
    bool acks;   // messages have ids
    bool sends;  // there is a load at all
    long extras; // connections that publish only
    // Shared.
    _Atomic int *phase;
    _Atomic int64_t *phase_us; // when it began
    _Atomic int64_t *measured_from_us;
    struct cn_tally *tallies; // one for each process
    struct cn_room_share *rooms;
    _Atomic uint16_t *parts; // slots of each publisher: what is missing until all have it
};

// Adds without a lock prefix: there is one writer.
#define CN_TALLY(counter, n)                                                                       \
    atomic_store_explicit(&(counter),                                                              \
                          atomic_load_explicit(&(counter), memory_order_relaxed) + (n),            \
                          memory_order_relaxed)

// ---- One process ----

// A message that is on its way.
struct cn_slot {
    uint64_t number; // its id; 0: free
    int64_t due_us;
    int64_t again_us; // to be sent again then; 0: it is on its way
    bool is_acked;
    struct cn_pos acked;
    struct cn_pos delivered;
};

struct cn_publisher {
    struct cn_publisher *next; // in the list of those who may be able to send
    bool queued;
    long number;
    long target; // the room that it writes to
    long lane;   // its number among those who do
    unsigned members;
    unsigned parts;           // that a message waits for: processes with members, and the ack
    struct cn_client *client; // its connection
    struct cn_slot *slots;    // NULL: messages are not followed
    uint64_t sent;            // in all; ids are counted from 1
    uint64_t phase_sent;
    uint64_t quota; // of this phase
};

struct cn_client {
    struct cn_link link; // the first field: a link's events lead here
    struct cn_crew *crew;
    long number;              // clients, then the extra publishers
    struct cn_stream *stream; // NULL: what comes is not counted
    struct cn_watch_member member;
    struct cn_publisher *publisher; // NULL: it only receives
    struct cn_client *next_dirty;
    int greetings; // that have come
    bool joined;
    bool dirty;       // something waits in its buffer
    int64_t began_us; // its latest attempt to connect
    int64_t due_us;   // its next one; 0: none
};

// What one process has. One thread.
struct cn_crew {
    struct cn_steady *steady;
    struct cn_tally *tally;
    int index;
    enum cn_phase phase; // that it has acted on
    int64_t phase_us;
    struct cn_links links;
    struct cn_watch watch;
    long client_count;
    struct cn_client *clients;
    long first_room;
    long stream_count;
    struct cn_stream *streams;
    long publisher_count;
    struct cn_publisher *publishers;
    struct cn_publisher *ready; // closed loop: who may be able to send
    struct cn_client *dirty;
    uint64_t phase_sent;  // messages of this phase
    uint64_t phase_quota; // of all its publishers
    long opened;          // connections that have been begun
    long connecting;
    long waiting;      // were refused, and come again
    int64_t looked_us; // when they were looked for
    long again;        // messages that were refused, and are to be sent again
    bool wake_others;  // somebody in another process may be able to send
    char *content;     // of a message: the stamp's room, then filling
    char *text;        // the message as the dialect has it
};

// The process of number `index`: connects, sends, receives, until the end.
int cn_crew_work(int index, void *steady);

// Puts the client on the list of those whose buffers are sent at the end of the turn.
void cn_crew_touch(struct cn_client *client);

// ---- steady_client.c: one connection ----

// Begins to connect.
void cn_client_open(struct cn_client *client);

// What the server is to know this client, or this publisher's target, as.
struct cn_party cn_client_party(const struct cn_client *client);

// ---- steady_publish.c: sending ----

// Prepares for a phase that has just begun.
void cn_crew_begin_phase(struct cn_crew *crew);

// Sends what may be sent now; microseconds until more is due.
int64_t cn_crew_publish(struct cn_crew *crew);

// Each of its publishers may be able to send.
void cn_crew_wake_publishers(struct cn_crew *crew);

// All members in this process have the message.
void cn_crew_complete(void *crew, unsigned room, unsigned lane, unsigned slot);

// What the server answered to a publisher, or delivered of its own messages.
void cn_publisher_ack(struct cn_publisher *publisher, const struct cn_unit *unit, int64_t now_us);
void cn_publisher_refusal(struct cn_publisher *publisher, const struct cn_unit *unit,
                          int64_t now_us);
void cn_publisher_delivered(struct cn_publisher *publisher, const struct cn_stamp *stamp,
                            const struct cn_unit *unit);

// ---- steady_result.c: what came out ----

// Sums of all processes, and what was used between the beginning and the end of what is measured.
struct cn_outcome {
    const struct cn_steady *steady;
    struct cn_tally sum;
    double seconds;      // until the last delivery
    double load_seconds; // until the last message was sent
    bool complete;
    bool interrupted;
    bool stalled;
    bool has_server;
    int64_t rss_before_bytes;
    int64_t rss_joined_bytes;
    struct cn_probe_usage server;
    struct cn_probe_usage generator;
};

// Adds one process's counters, and its histograms if those are wanted.
void cn_tally_add(struct cn_tally *sum, const struct cn_tally *tally, bool histograms);

// Prints it to stdout; returns the exit code.
enum cn_bench_exit cn_outcome_print(const struct cn_outcome *outcome);

#endif
