// SPDX-License-Identifier: MIT
// Clients that lose their connection and come back: what the parts of bench_storm share.
#ifndef CHATNODE_BENCH_STORM_H
#define CHATNODE_BENCH_STORM_H

#include <stdbool.h>
#include <stdint.h>

#include "link.h"
#include "measure.h"

enum { PORTS_MAX = 8, NAME_BYTES = 32 };

enum scenario { SCENARIO_JITTER, SCENARIO_NODEKILL, SCENARIO_AVALANCHE };

struct options {
    enum scenario scenario;
    int ports[PORTS_MAX];
    int port_count;
    int clients;
    int rooms;
    long messages;   // to each room
    int seconds;     // in which they are published
    int cut_ms;      // jitter: every so often a client's connection is cut
    int offline_ms;  // jitter: it comes back after this
    int jitter_ms;   // nodekill: a random wait before the first attempt, doubled by failures
    int kill_pid;    // nodekill: the node at the last port
    int content_len; // bytes of each message's content
    unsigned seed;
};

struct room {
    char name[NAME_BYTES];
    long sent;   // messages are numbered from 1
    long acked;  // all up to this one are stored
    long newest; // the highest number that is known to be stored
};

// Away: it connects at due_us. Coming: from its first attempt until it is level. In: for jitter,
// it is cut at due_us.
enum whereabouts { WHERE_AWAY, WHERE_COMING, WHERE_IN };

// One client, or (the first `rooms` of them) a publisher, which is a client that is never cut.
struct client {
    struct link link; // the first field: a link's events lead here
    struct storm *storm;
    struct room *room;
    int number;
    int port; // index of the node that it is on, or goes to
    enum whereabouts where;
    bool was_in;       // it has been in before: it comes back
    bool joined;       // on this connection
    int attempts;      // failed ones of this return
    int64_t due_us;    // 0: nothing is due
    int64_t left_us;   // when the connection was lost
    int64_t began_us;  // its latest attempt
    int64_t return_us; // the first attempt of this return
    long target;       // what was newest in the room then
    long last;         // the newest message that it has
    struct position pos;
    struct position inbox;
    long waiting; // publisher: the number that waits for its ack, or 0
};

struct counts {
    long deliveries;
    long returns;    // that ended well
    long expected;   // connections that were lost
    long refused;    // with 503
    long failures;   // attempts that failed otherwise
    long lost;       // messages that a client never got
    long duplicates; // that it got again
    long disordered; // entries whose position was not the next one
    long gaps;
    long unrecovered; // joined without recovery although the position was given
    long retries;     // publishes that were sent again
};

struct storm {
    struct options options;
    int epoll;
    struct room *rooms;
    struct client *clients; // publishers first
    int total;
    int in;        // how many are in
    int coming;    // how many are on their way
    bool settling; // the first arrival: a few at a time
    int64_t begin_us;
    int64_t struck_us; // when the blow fell
    int64_t progress_us;
    struct counts counts;
    struct histogram back;   // how long coming back took
    struct histogram replay; // from the first attempt until level
};

// ---- storm_client.c: one client ----

// The client is away from now on and comes at `due_us`.
void storm_client_leave(struct client *client, int64_t due_us);

// Does what is due: coming, leaving, giving an attempt up.
void storm_client_tick(struct client *client, int64_t now_us);

// A random wait of at most `most_ms`, in microseconds.
int64_t storm_random_us(int64_t most_ms);

// ---- storm_publish.c: the publishers ----

// Publishes what is due; false once everything is stored.
bool storm_publish(struct storm *storm, int64_t now_us);

// What the publisher's own connection answered: an ack or an error.
void storm_publish_answer(struct client *client, const char *text);

// Sends the message that waits for its ack once more, under the same id.
void storm_publish_again(struct client *client);

#endif
