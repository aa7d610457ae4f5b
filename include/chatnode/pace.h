// SPDX-License-Identifier: MIT
// The pace of a loop's flushes: whether a busy loop lets frames gather before it writes again.
//
// After a flush that took t the next one may wait about t, so that each write carries more. That is
// worth it where frames come in meanwhile (many a second into a large room), and only a delay where
// they do not (whoever publishes waits for what he is sent). So both ways are tried in turn, and
// waiting goes on while it makes the writes of a busy loop carry clearly more than not waiting.
//
// Pure: time is passed in. One for a loop, its thread only.
#ifndef CHATNODE_PACE_H
#define CHATNODE_PACE_H

#include <stdbool.h>
#include <stdint.h>

// How a flush came to its frames.
enum cn_pace_way { CN_PACE_AT_ONCE, CN_PACE_GATHERS };

struct cn_pace {
    int64_t max_us; // a wait is never longer; 0: never wait
    int64_t ended_us;
    int64_t took_us;  // the last flush
    int64_t spent_us; // on the flush under way
    bool begun;       // a flush is under way
    bool busy;        // it had frames soon after the last one
    enum cn_pace_way way;
    // What the writes of busy flushes carried, now and when the other way was last tried.
    int64_t frames;
    int64_t writes;
    int64_t carried[2]; // frames a write, in 1/256
    uint32_t flushes;   // of this stretch
    bool is_trial;      // the stretch is a trial of the other way
};

// Nothing has been flushed yet. max_us: the setting `flush-max`.
void cn_pace_init(struct cn_pace *pace, int64_t max_us);

// Frames are pending: in how many microseconds a flush may begin or go on; 0: now.
int64_t cn_pace_wait_us(struct cn_pace *pace, int64_t now_us);

// The flush under way has written `frames` frames in all in `writes` writes.
void cn_pace_carried(struct cn_pace *pace, int64_t frames, int64_t writes);

// Part of a flush has been done from begin_us to end_us. `done`: nothing is pending any more.
void cn_pace_spent(struct cn_pace *pace, int64_t begin_us, int64_t end_us, bool done);

#endif
