// SPDX-License-Identifier: MIT
// The pace of a loop's flushes: whether a busy loop lets frames gather before it writes again.
//
// After a flush that took t the next one may wait for some more frames, or about as long as the
// flush took, so that each write carries more. That is worth it where frames come in meanwhile
// (many a second into a large room), and only a delay where they do not (whoever publishes waits
// for what he is sent). So all ways are tried in turn, and the one kept that waits least and yet
// makes the writes of a busy loop carry nearly as much as any.
//
// Pure: time is passed in. One for a loop, its thread only.
#ifndef CHATNODE_PACE_H
#define CHATNODE_PACE_H

#include <stdbool.h>
#include <stdint.h>

// How long a flush waits after the last one.
enum cn_pace_way {
    CN_PACE_AT_ONCE,
    CN_PACE_SHORTLY, // 1 ms: for what is on its way already
    CN_PACE_GATHERS, // one and a half times as long as the last one took
    CN_PACE_WAYS
};

struct cn_pace {
    int64_t max_us; // a wait is never longer; 0: never wait
    int64_t ended_us;
    int64_t took_us;       // the last flush
    int64_t spent_us;      // on the flush under way
    bool begun;            // a flush is under way
    bool busy;             // it had frames soon after the last one
    uint32_t row;          // so had as many in a row before it, as far as that matters
    enum cn_pace_way way;  // of this stretch: the best one, or another one on trial
    enum cn_pace_way best; // of the last trials
    // What the writes of busy flushes carried: in this stretch, and each way when last tried.
    int64_t frames;
    int64_t writes;
    int64_t carried[CN_PACE_WAYS]; // frames a write, in 1/256
    uint32_t flushes;              // of this stretch
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
