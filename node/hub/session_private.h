// SPDX-License-Identifier: MIT
// What the files of the hub share of a loop and its sessions.
#ifndef CHATNODE_SESSION_PRIVATE_H
#define CHATNODE_SESSION_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "chatnode/agenda.h"
#include "chatnode/buf.h"
#include "chatnode/codec.h"
#include "chatnode/hash.h"
#include "chatnode/list.h"
#include "chatnode/loop.h"
#include "chatnode/mailbox.h"
#include "chatnode/pace.h"
#include "chatnode/pool.h"
#include "chatnode/registry.h"
#include "chatnode/session.h"
#include "chatnode/throttle.h"

struct cn_grant;
struct cn_hub;
struct cn_pass;

// ---- loop.c ----

struct cn_loop {
    // Constant after cn_hub_new; any thread.
    struct cn_hub *hub;
    unsigned index;
    void (*wake)(void *arg); // wakes the loop; main calls it
    void *wake_arg;
    void (*defer)(void *arg); // asks for a call of cn_loop_pass_on; the loop calls it
    void *defer_arg;
    // The main thread.
    bool has_news; // a letter was put into the empty mailbox: it is woken at the end of the turn
    // Any thread.
    struct cn_mailbox letters; // of struct cn_letter; main writes, the loop reads
    atomic_int_fast64_t alive_ms;
    // The loop's thread.
    bool has_asked;            // something of main, which was not woken for it yet
    struct cn_hash feeds;      // of struct cn_feed
    struct cn_link pending;    // feeds with frames to flush
    struct cn_link next;       // feeds that got frames during the flush under way, after their pass
    struct cn_link warm;       // feeds whose ring keeps frames, the longest silent first
    struct cn_link dirty;      // sessions with answers to write
    struct cn_link newcomers;  // sessions by the time by which they must have shown a token
    struct cn_agenda expiring; // of struct cn_pass, by when the client is warned, or closed
    struct cn_link idle;       // sessions by the time of their next ping
    struct cn_link awaiting;   // sessions by the time by which their pong is due
    struct cn_link joining;    // recoveries by the time by which their feed must be live
    struct cn_link retrying;   // recoveries whose read failed
    struct cn_link stalled;    // sessions with a full socket by the time by which it must have room
    struct cn_link kept;       // pages on shelves, the longest unused first
    size_t kept_pages;
    size_t kept_bytes;
    struct cn_link dead;   // sessions to free at the end of the turn
    struct cn_link going;  // sessions to close, by time; 0: at the end of the turn
    size_t session_count;  // with a socket
    int64_t swept_ms;      // when sessions were last looked at for pings
    int64_t writes;        // to sockets, not counted in the metrics yet
    int64_t written_bytes; // the same
    struct cn_pace pace;   // of the flushes
    size_t in_flight;      // what its open sessions have in flight, together
    int64_t held_us;       // since when the next flush is held back; 0: it is not
    bool swept;            // since then every socket was served, and nothing is in flight
    int last_token;        // of the shelves' reads
    uint64_t last_id;      // of publishes without an id of the client's
    struct cn_buf span;    // for joining frames in a pass
    struct cn_buf behind;  // for joining frames of a member that is behind
    struct cn_buf text;    // for making answers
    struct cn_pool publishes;
    struct cn_pool outboxes; // of sessions; most are used for one turn
};

// Makes loop `index` of the hub; NULL without memory. Main thread.
CN_MUSTCHECK struct cn_loop *cn_loop_new(struct cn_hub *hub, unsigned index);
void cn_loop_free(struct cn_loop *loop); // takes NULL

// Main has an ask of this loop's: it is woken at the end of the loop's turn. Loop's thread.
void cn_loop_has_asked(struct cn_loop *loop);

// Wakes the loop if it has letters that it does not know of. Main thread.
void cn_loop_wake(struct cn_loop *loop);

// ---- session.c ----

enum cn_session_state {
    CN_SESSION_WAITING, // for a token
    CN_SESSION_OPEN,
    CN_SESSION_CLOSING, // ended, the socket still there
    CN_SESSION_DEAD     // the socket is gone
};

struct cn_session {
    // What the fan-out looks at, in one cache line.
    struct cn_loop *loop;
    struct cn_sink *sink; // NULL once DEAD
    struct cn_buf outbox; // answers not written yet; bound: the setting `outbox`, or one answer
    enum cn_session_state state;
    bool choked; // the socket is full: write nothing before cn_session_writable
    // The rest.
    struct cn_grant *grant; // owned; NULL in open mode, and while nobody knows who it is
    struct cn_pass *pass;   // owned; NULL in open mode, and once it has ended
    struct cn_registration registration; // name and id; in the registry until CLOSING
    struct cn_link members;              // of struct cn_member
    struct cn_link lagging;              // members that are behind
    struct cn_link queued;               // in the loop's newcomers, idle, awaiting or dead list
    struct cn_link dirty;                // in the loop's list while something is to be written
    struct cn_link going;                // in the loop's list of those to be closed soon
    struct cn_link stalled;              // in the loop's list while choked
    int64_t due_ms;                      // of the next ping, or of the pong
    int64_t going_ms;                    // when to close
    int64_t stalled_ms;                  // while choked: when to close for it
    enum cn_reason going_reason;
    uint32_t in_flight; // publishes and reads that wait for the bus
    uint32_t rooms;
    uint32_t searches;            // histories with a user, under way
    struct cn_throttle *throttle; // from the first request on, where there are limits; else NULL
};

// True until it ends.
static inline bool cn_session_is_live(const struct cn_session *session)
{
    return session->state <= CN_SESSION_OPEN;
}

// The loop's pool of outboxes.
void cn_session_pool_init(struct cn_pool *pool);

// The session with this id if it is of this loop and live, or NULL.
struct cn_session *cn_session_find(struct cn_loop *loop, uint64_t id);

static inline struct cn_str cn_session_user(const struct cn_session *session)
{
    return cn_str_of(session->registration.user);
}

// One of the session's publishes or reads has gone to main, or its answer has come.
void cn_session_asked(struct cn_session *session);
void cn_session_answered(struct cn_session *session);
// It is known who it is: from now on the session is open; sends `welcome`, joins inbox and room.
void cn_session_begin(struct cn_session *session, const struct cn_hello *hello);

// Queues `loop->text` as one text frame, to be written at the end of the turn. When the socket is
// full and the outbox reaches its bound the session will be closed as slow; it stays open, with all
// its members, until it is settled. `made` is the result of making the text.
void cn_session_answer(struct cn_session *session, enum cn_err made);

// Queues an error frame. `id` may be absent.
void cn_session_problem(struct cn_session *session, enum cn_problem problem, struct cn_str id);

// Writes what is queued, at most CN_SINK_BYTES at once; true when the socket takes more after it.
CN_MUSTCHECK bool cn_session_flush(struct cn_session *session);

// Writes what is queued and then the frames, in one write where one can carry them. False when the
// socket is full before the frames: they are not written.
CN_MUSTCHECK bool cn_session_write_after_answers(struct cn_session *session, struct cn_str frames);

// Writes what is queued, then what its members are owed; closes it if that was decided before.
void cn_session_settle(struct cn_session *session);

// The session has something to write: it is settled at the end of the turn.
void cn_session_mark(struct cn_session *session);

// Writes frames to a session that is not choked; remembers when the socket is full.
void cn_session_write(struct cn_session *session, struct cn_str frames);

// Closes the sessions whose time to go has come; 0: those that cannot stay beyond this turn.
void cn_session_close_due(struct cn_loop *loop, int64_t now_ms);

// Pings and closes what is due; for cn_loop_tick.
void cn_session_sweep(struct cn_loop *loop, int64_t now_ms);

// Frees the sessions whose sockets are gone; for the end of a turn.
void cn_session_sweep_dead(struct cn_loop *loop);

// ---- throttle.c ----

// Takes what the session's request costs; false: a limit is met, and the client was told, or the
// session closed. The session's loop.
CN_MUSTCHECK bool cn_session_may(struct cn_session *session, const struct cn_cost *cost,
                                 struct cn_str id);

#endif
