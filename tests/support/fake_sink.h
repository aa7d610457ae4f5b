// SPDX-License-Identifier: MIT
// A sink for tests: captures the frames written to it, can be full and take bytes again, and notes
// why it was closed. Fails the test when a write breaks the sink's contract.
#ifndef CHATNODE_TEST_FAKE_SINK_H
#define CHATNODE_TEST_FAKE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/session.h"

struct fake_frame {
    int opcode;
    size_t write; // the write that it came in, from 1
    char *text;   // the payload with a NUL
    size_t len;
};

struct fake_sink {
    struct cn_sink sink;
    bool full;           // takes nothing more until fake_sink_drain
    int64_t writes_left; // takes so many writes more, then it is full; -1: never full
    bool closed;
    enum cn_reason reason;
    struct fake_frame *frames;
    size_t count;
    size_t cap;
    size_t next; // the first frame that fake_sink_next has not given yet
    size_t writes;
    size_t largest_write; // bytes
    size_t bytes;
    int64_t *clock_us; // a fake clock that each write moves on by cost_us; NULL: none
    int64_t cost_us;
};

// A sink that is never full.
void fake_sink_init(struct fake_sink *sink);
void fake_sink_fini(struct fake_sink *sink);

// From now on it takes `writes` writes, the last of which fills it. 0: full at the very next one.
void fake_sink_limit(struct fake_sink *sink, int64_t writes);

// It takes bytes again, without bound; the caller then tells the session.
void fake_sink_drain(struct fake_sink *sink);

// The payload of the next text frame, or NULL; frames of other kinds are passed over.
const char *fake_sink_next(struct fake_sink *sink);

// Forgets the frames that were not looked at.
void fake_sink_skip(struct fake_sink *sink);

// How many frames with this opcode have come.
size_t fake_sink_count(const struct fake_sink *sink, int opcode);

// ---- Looking into a frame's JSON, as far as tests need it ----

// True when `text` is an object whose "type" is `type`.
bool frame_is(const char *text, const char *type);

// True when `text` contains `"key":<json>`.
bool frame_has(const char *text, const char *key, const char *json);

// The value of the text field `key` in a buffer of the callee's, valid until the next call; fails
// the test when there is none.
const char *frame_text(const char *text, const char *key);

#endif
