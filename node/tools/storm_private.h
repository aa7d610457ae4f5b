// SPDX-License-Identifier: MIT
// Clients that lose their connections: what the parts of jitter, avalanche and churn share.
#ifndef CHATNODE_TOOLS_STORM_PRIVATE_H
#define CHATNODE_TOOLS_STORM_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench_private.h"
#include "chatnode/pos.h"
#include "histogram.h"
#include "link.h"
#include "probe.h"
#include "report.h"
#include "result.h"

enum { CN_STORM_TICK_US = 2000 }; // clients are looked after this often

// What a client is there for. All check each message they get.
enum cn_storm_role {
    CN_STORM_PUBLISHER, // the only one to write to its room; stays
    CN_STORM_RETURNER,  // is cut and resumes
    CN_STORM_MEMBER,    // is cut, once, and stays away
    CN_STORM_WATCHER,   // stays
    CN_STORM_NEWCOMER,  // comes, stays for a while, goes, comes anew without a position
};

// Away: it connects at due_us. Coming: from an attempt until it is level. In: at due_us it leaves.
enum cn_storm_where { CN_STORM_AWAY, CN_STORM_COMING, CN_STORM_IN, CN_STORM_GONE };

struct cn_storm_room {
    long number;
    long sent;   // messages are numbered from 1
    long acked;  // all up to this one are stored
    long newest; // the highest number that is known to be stored
    long quota;  // how many it gets in all
};

struct cn_storm_client {
    struct cn_link link; // the first field: a link's events lead here
    struct cn_storm *storm;
    struct cn_storm_room *room;
    enum cn_storm_role role;
    long number;
    int url; // index of the node that it is on, or goes to
    enum cn_storm_where where;
    bool was_in;       // it has been in before: it comes back
    bool joined;       // on this connection
    bool is_shut;      // it has sent its FIN and waits for the other side's
    int attempts;      // failed ones of this return
    int64_t due_us;    // 0: nothing is due
    int64_t left_us;   // when the connection was lost
    int64_t began_us;  // its latest attempt
    int64_t return_us; // the first attempt of this return
    long target;       // what was newest in the room then
    long last;         // the newest message that it has; 0: none on any connection
    struct cn_pos pos;
    struct cn_pos inbox;
    long waiting; // publisher: the number that waits for its ack, or 0
};

struct cn_storm_counts {
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

// What churn wants to know of newcomers. Called from the links' events.
struct cn_storm_hooks {
    void *context;
    // The handshake is done, or the client has joined, this long after it began to connect.
    void (*on_open)(void *context, const struct cn_storm_client *client, int64_t now_us);
    void (*on_joined)(void *context, const struct cn_storm_client *client, int64_t now_us);
};

// The clients of one process, and their rooms.
struct cn_storm {
    const struct cn_bench *bench;
    struct cn_links links;
    struct cn_storm_room *rooms;
    struct cn_storm_client *clients; // publishers first
    long total;
    long publishers;  // one a room, the first clients; 0 in a process that only listens
    long in;          // how many are in
    long coming;      // how many are on their way
    bool settling;    // the first arrival: a few at a time
    bool calm;        // nobody is cut any more
    bool struck;      // the blow fell
    int64_t begin_us; // of publishing
    int64_t begun_us; // of measuring
    int64_t ticked_us;
    int64_t progress_us;
    double arrivals; // with --connect-rate: how many may come now
    int64_t arrivals_us;
    atomic_long *in_shared;             // NULL, or where another process reads `in`
    const struct cn_storm_hooks *hooks; // NULL: nobody wants to know
    struct cn_storm_counts counts;
    struct cn_histogram *back;   // how long coming back took
    struct cn_histogram *replay; // from the first attempt until level
    struct cn_report *report;    // NULL: nothing is shown
    struct cn_probe probe;       // of --pid
    struct cn_probe_sample before;
    struct cn_probe_sample now; // for the live report
};

// ---- storm.c: the clients of a process ----

// Makes `total` clients in `rooms` rooms: the first `publishers` are one publisher a room, the
// others have this role. Ends the program when the system refuses. Fini once.
void cn_storm_init(struct cn_storm *storm, const struct cn_bench *bench, long rooms,
                   long publishers, long total, enum cn_storm_role role);
void cn_storm_fini(struct cn_storm *storm);

// Ends the program when options do not go together.
void cn_storm_check(const struct cn_bench *bench);

// Waits a little for events, and does what is due.
void cn_storm_turn(struct cn_storm *storm);

// Turns until all clients but newcomers are in; ends the program when they do not come.
void cn_storm_settle(struct cn_storm *storm);

// Whether nothing has arrived for as long as --patience says.
bool cn_storm_is_stalled(const struct cn_storm *storm);

// Whether everybody that stays is in and has all that was sent to its room.
bool cn_storm_is_level(const struct cn_storm *storm);

// Messages that those who stay do not have, and will not get.
long cn_storm_missing(const struct cn_storm *storm);

// Shows how things stand; the latencies are those of returns. `connected` is how many are in, of
// all processes.
void cn_storm_show(struct cn_storm *storm, const char *stage, double done, long connected,
                   long clients);

// ---- storm_client.c: one client ----

// The client is away from now on and comes at `due_us`; its connection is reset.
void cn_storm_leave(struct cn_storm_client *client, int64_t due_us);

// Does what is due: coming, leaving, giving an attempt up.
void cn_storm_tick(struct cn_storm_client *client, int64_t now_us);

// Whether the client is to be in when nothing is wrong.
bool cn_storm_stays(const struct cn_storm_client *client);

// A random wait of at most `most_ms`, in microseconds.
int64_t cn_storm_random_us(double most_ms);

// ---- storm_publish.c: the publishers ----

// Publishes what is due; false once everything is stored.
bool cn_storm_publish(struct cn_storm *storm, int64_t now_us);

// What the publisher's own connection answered: an ack or an error.
void cn_storm_answer(struct cn_storm_client *client, const char *text);

// Sends the message that waits for its ack once more, under the same id.
void cn_storm_publish_again(struct cn_storm_client *client);

// ---- storm_result.c: what is printed ----

// Begins to show how things stand, and to watch the processes of --pid.
void cn_storm_watch(struct cn_storm *storm);

// Reads what the watched processes use into `now`. False when there are none, or one is gone.
bool cn_storm_look(struct cn_storm *storm);

// What is measured begins now.
void cn_storm_begin(struct cn_storm *storm);

// The verdict over the counts. `complete` is the scenario's own view.
struct cn_verdict cn_storm_verdict(const struct cn_storm *storm, bool complete);

// Ends the live report and prints what all storms have in common and the scenario's own fields:
// a table with the verdict below it, or as --json says. Returns the exit code.
enum cn_bench_exit cn_storm_print(struct cn_storm *storm, const struct cn_verdict *verdict,
                                  const struct cn_field *own, size_t own_count);

#endif
