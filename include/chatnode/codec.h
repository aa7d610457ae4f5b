// SPDX-License-Identifier: MIT
// JSON text to requests, and answers to JSON text. The only reader of JSON from clients; jansson
// stays behind it.
#ifndef CHATNODE_CODEC_H
#define CHATNODE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/pos.h"
#include "chatnode/protocol.h"

// X(symbol, type): the requests of a client.
#define CN_REQUEST_TABLE(X)                                                                        \
    X(MESSAGE, "message")                                                                          \
    X(DIRECT, "direct")                                                                            \
    X(JOIN, "join")                                                                                \
    X(LEAVE, "leave")                                                                              \
    X(HISTORY, "history")                                                                          \
    X(AUTH, "auth")                                                                                \
    X(PING, "ping")

enum cn_request_type {
#define X(symbol, type) CN_REQUEST_##symbol,
    CN_REQUEST_TABLE(X)
#undef X
        CN_REQUEST_COUNT
};

enum {
    CN_CODEC_DEPTH_MAX = 16,   // nested arrays and objects, the frame's own object included
    CN_CODEC_NODES_MAX = 4096, // JSON values in one frame
    CN_CODEC_LIMIT_MAX = 200   // entries that one `history` may ask for
};

// A decoded request. The views point into the text it was decoded from, or into memory that
// `cn_request_fini` frees.
struct cn_request {
    enum cn_request_type type;
    struct cn_str id;      // absent when the client gave none
    struct cn_str room;    // absent when not given; a valid name
    struct cn_str to;      // direct only; a valid name
    struct cn_str from;    // of the HTTP API only; a valid name
    struct cn_str with;    // history: absent when not given; a valid name
    struct cn_str content; // message and direct: compact JSON text of the value
    bool has_since;        // join
    struct cn_pos since;
    bool has_before; // history
    struct cn_pos before;
    bool has_after; // history
    struct cn_pos after;
    unsigned limit;      // history: 1 to 200, 50 when not given
    struct cn_str token; // auth
    void *owned;         // the codec's
    void *owned_text;
};

// Decodes one text frame. A frame that is not a JSON object (after white space it does not begin
// with `{`, or it is valid JSON of another kind) is a `message` without room and id whose content
// is the text as a JSON string. Unknown fields are ignored; `room`, `to` and `with` are refused
// where they do not belong, so that a message for one user never ends up in a room. On success the
// caller owns *out until cn_request_fini. CN_INVALID: *problem says what is wrong, and out->id is
// set if a valid id could be read (cn_request_fini is still due). CN_NOMEM. Pure; any thread.
CN_MUSTCHECK enum cn_err cn_request_decode(struct cn_str text, struct cn_request *out,
                                           enum cn_problem *problem);

// Decodes what the HTTP API is asked to publish: an object with `from`, `content`, and either
// `room` or `to`, which make it a MESSAGE or a DIRECT; `id` as in a frame. No `type` is looked at.
// As cn_request_decode, but what is not an object is CN_INVALID.
CN_MUSTCHECK enum cn_err cn_request_decode_publish(struct cn_str text, struct cn_request *out,
                                                   enum cn_problem *problem);

// Frees what the views point to; legal on a zeroed request.
void cn_request_fini(struct cn_request *request);

// ---- The log's entries ----
//
// An entry's finished text is  {"pos":"GEN-SEQ",<tail>  with  <tail> = "ts":MS,<body>  and
// <body> = "type":"message","room":"lobby","from":"ann","content":"hi","id":"a1"}
// The body is made here; the bus adds ts and pos inside its atomic step.

// Appends the body of a room's message. `content` is JSON text; the names are valid already; an
// absent `id` is left out. As cn_buf_append.
CN_MUSTCHECK enum cn_err cn_codec_message_body(struct cn_buf *out, struct cn_str room,
                                               struct cn_str from, struct cn_str content,
                                               struct cn_str id);

// Appends the body of a directed message: "type":"direct","from":...,"to":...
CN_MUSTCHECK enum cn_err cn_codec_direct_body(struct cn_buf *out, struct cn_str from,
                                              struct cn_str to, struct cn_str content,
                                              struct cn_str id);

// Checks the text of an entry that came from the bus as if a stranger had written it: at most
// `max_bytes`, begins {"pos":"GEN-SEQ","ts":DIGITS,"type":" and ends with }, UTF-8 without control
// characters. CN_INVALID, else the position. Parses no JSON, allocates nothing.
CN_MUSTCHECK enum cn_err cn_codec_entry_check(struct cn_str text, size_t max_bytes,
                                              struct cn_pos *pos);

// The same, and *body is what stood behind position and time, as it was published.
CN_MUSTCHECK enum cn_err cn_codec_entry_open(struct cn_str text, size_t max_bytes,
                                             struct cn_pos *pos, struct cn_str *body);
// When the entry was stored, in Unix milliseconds; -1 if the text has not passed
// cn_codec_entry_check. Any thread.
int64_t cn_codec_entry_ts(struct cn_str text);

// True when the entry, whose text has passed cn_codec_entry_check, is a directed message from one
// of the two users to the other. Looks only at what the server wrote before the content. Any
// thread.
bool cn_codec_entry_is_between(struct cn_str text, struct cn_str one, struct cn_str other);

// ---- Answers; each appends one JSON object to `out`, as cn_buf_append ----

struct cn_welcome {
    struct cn_str user;
    struct cn_str session; // the session's id as text
    struct cn_str node;
    struct cn_str version;
    int64_t ping_ms;
    size_t max_message_bytes;
    unsigned max_rooms;
    unsigned max_in_flight;
    int64_t dedupe_ms;        // how long an id is remembered
    struct cn_str durability; // a word of CN_DURABILITY_TABLE
    bool has_token;           // the rest
    struct cn_str name;       // to show; may be absent
    int64_t expires_s;        // Unix time
    int64_t expires_in_ms;
};

// {"type":"welcome","user":U,"session":S,"node":N,"version":V,"ping_ms":MS,"limits":{...},
// "durability":D,"name":N?,"exp":S?,"expires_in_ms":MS?}
CN_MUSTCHECK enum cn_err cn_codec_welcome(struct cn_buf *out, const struct cn_welcome *welcome);

// {"type":"joined","room":R,"pos":P,"recovered":B,"id":ID?}; for the inbox `room` is absent and
// "inbox":true stands instead.
CN_MUSTCHECK enum cn_err cn_codec_joined(struct cn_buf *out, struct cn_str room, struct cn_pos pos,
                                         bool recovered, struct cn_str id);

// {"type":"left","room":R,"reason":WORD?,"id":ID?}: with a reason when the client did not ask.
CN_MUSTCHECK enum cn_err cn_codec_left(struct cn_buf *out, struct cn_str room, struct cn_str id,
                                       struct cn_str reason);

// {"type":"ack","id":ID,"pos":P,"ts":MS,"dup":B}
CN_MUSTCHECK enum cn_err cn_codec_ack(struct cn_buf *out, struct cn_str id, struct cn_pos pos,
                                      int64_t ts_ms, bool dup);

// {"type":"error","id":ID?,"code":C,"message":M,"retry":B}
CN_MUSTCHECK enum cn_err cn_codec_error(struct cn_buf *out, enum cn_problem problem,
                                        struct cn_str id);

// The same with "reason":WORD: what was wrong with a token.
CN_MUSTCHECK enum cn_err cn_codec_refusal(struct cn_buf *out, enum cn_problem problem,
                                          struct cn_str id, struct cn_str reason);

// {"type":"authenticated","exp":S,"expires_in_ms":MS,"id":ID?}
CN_MUSTCHECK enum cn_err cn_codec_authenticated(struct cn_buf *out, int64_t expires_s,
                                                int64_t expires_in_ms, struct cn_str id);

// {"type":"expiring","in_ms":MS}
CN_MUSTCHECK enum cn_err cn_codec_expiring(struct cn_buf *out, int64_t in_ms);
// The same for RATE_LIMITED, with "in_ms":N at its end: when the request may come again.
CN_MUSTCHECK enum cn_err cn_codec_rate_limited(struct cn_buf *out, int64_t in_ms, struct cn_str id);

// {"type":"gap","room":R,"reset":true}; for the inbox "inbox":true stands instead of the room.
CN_MUSTCHECK enum cn_err cn_codec_gap_reset(struct cn_buf *out, struct cn_str room);

struct cn_history_words {
    struct cn_str room; // absent: a conversation
    struct cn_str with; // the other user; absent: a room
    struct cn_str id;   // may be absent
    struct cn_str entries;
    bool more;
    struct cn_pos next; // with `more`: where to go on
};

// {"type":"history","room":R,"id":ID?,"messages":[ENTRY,...],"more":B,"next":P?}: `entries` is the
// entries' finished texts joined by commas; `next` is there when `more` is true; for a conversation
// "with":USER stands instead of the room.
CN_MUSTCHECK enum cn_err cn_codec_history(struct cn_buf *out, const struct cn_history_words *words);

// {"type":"reconnect","in_ms":N,"reason":R}
CN_MUSTCHECK enum cn_err cn_codec_reconnect(struct cn_buf *out, int64_t in_ms,
                                            enum cn_reason reason);

// {"type":"pong","id":ID?}
CN_MUSTCHECK enum cn_err cn_codec_pong(struct cn_buf *out, struct cn_str id);

// {"pos":P,"ts":MS,"dup":B,"id":ID}: the HTTP API has published.
CN_MUSTCHECK enum cn_err cn_codec_api_stored(struct cn_buf *out, struct cn_pos pos, int64_t ts_ms,
                                             bool dup, struct cn_str id);

// {"error":{"code":C,"message":M,"retry":B}}: the HTTP API has not.
CN_MUSTCHECK enum cn_err cn_codec_api_error(struct cn_buf *out, enum cn_problem problem);

// Appends `text` as a JSON string with its quotes (RFC 8259 section 7); invalid UTF-8 is replaced
// by U+FFFD. For the log, /info and other JSON of our own.
CN_MUSTCHECK enum cn_err cn_codec_quote(struct cn_buf *out, struct cn_str text);

#endif
