// SPDX-License-Identifier: MIT
// The words that clients meet: error codes and close reasons, one table each. From them come the
// wire, the metrics' labels, the SDK's constants and docs/protocol.md.
#ifndef CHATNODE_PROTOCOL_H
#define CHATNODE_PROTOCOL_H

#include <stdbool.h>

#define CN_PROTOCOL_VERSION     1
#define CN_PROTOCOL_SUBPROTOCOL "chatnode.v1"

// X(symbol, code, retry, message): what an `error` frame says, or an answer of the HTTP API, from
// `unauthorized` on only the latter. `retry` true: the same request, with the same id, may succeed
// later.
#define CN_PROBLEM_TABLE(X)                                                                        \
    X(BAD_JSON, "bad_json", false, "the frame begins like a JSON object but is not valid JSON")    \
    X(BAD_REQUEST, "bad_request", false, "a field is missing, or has a wrong type or value")       \
    X(UNKNOWN_TYPE, "unknown_type", false, "there is no request of this type")                     \
    X(BINARY, "binary", false, "binary frames are not understood; send text")                      \
    X(BAD_ID, "bad_id", false, "an id is 1 to 64 of A-Z a-z 0-9 _ -")                              \
    X(BAD_NAME, "bad_name", false, "a name is 1 to 64 of A-Z a-z 0-9 _ . : -")                     \
    X(BAD_POSITION, "bad_position", false, "a position is a string such as 1700000000000-42")      \
    X(NOT_JOINED, "not_joined", false, "join the room first")                                      \
    X(TOO_MANY_ROOMS, "too_many_rooms", false, "the session is in as many rooms as it may be")     \
    X(SUPERSEDED, "superseded", false, "a later request for the same room took this one's place")  \
    X(OVERLOADED, "overloaded", true, "too many requests are waiting; try again")                  \
    X(UNAVAILABLE, "unavailable", true, "the bus did not answer in time; try again")               \
    X(REFUSED, "refused", true, "the bus refused to store the message; try again later")           \
    X(STORE_FULL, "store_full", true, "the bus has no room left to store; try again later")        \
    X(NOT_DURABLE, "not_durable", true,                                                            \
      "the message could not be kept as durably as this server promises; try again")               \
    X(INTERNAL, "internal", true, "the server failed; try again")                                  \
    X(RATE_LIMITED, "rate_limited", true, "too much at once; try again after in_ms milliseconds")  \
    X(UNAUTHENTICATED, "unauthenticated", false, "show a valid token first")                       \
    X(DENIED, "denied", false, "the token does not allow this")                                    \
    X(OTHER_USER, "other_user", false, "the token is another user's")                              \
    X(NO_TOKENS, "no_tokens", false, "this server asks for no tokens")                             \
    X(UNAUTHORIZED, "unauthorized", false, "the key is missing or wrong")                          \
    X(FORBIDDEN, "forbidden", false,                                                               \
      "without api-key set the API serves only programs on the same machine")                      \
    X(NOT_FOUND, "not_found", false, "there is nothing at this path")                              \
    X(BAD_METHOD, "bad_method", false, "this path takes another method")                           \
    X(BAD_TYPE, "bad_type", false, "the body must be application/json")                            \
    X(NO_LENGTH, "no_length", false, "the request must have a content-length")                     \
    X(TOO_LARGE, "too_large", false, "the body is larger than a message may be")                   \
    X(DRAINING, "draining", true, "the node is going away; try again, at another one")

// X(symbol, name, close_code, text): why a session ended. `name` labels metrics and log lines,
// `text` goes into the close frame (at most 123 bytes, RFC 6455 section 5.5). Code 0: no close
// frame is sent. 4000-4499: reconnect and resume; 4500-4999: do not come back unchanged.
#define CN_REASON_TABLE(X)                                                                         \
    X(PEER, "peer", 0, "the client closed the connection")                                         \
    X(LOST, "lost", 0, "the connection broke without a close frame")                               \
    X(PROTOCOL, "protocol", 1002, "the client broke the WebSocket protocol")                       \
    X(TEXT, "text", 1007, "a text frame was not UTF-8")                                            \
    X(TOO_BIG, "too_big", 1009, "a message was larger than allowed")                               \
    X(INTERNAL, "internal", 1011, "the server failed")                                             \
    X(RESTART, "restart", 1012, "the node is going away, reconnect")                               \
    X(NO_PONG, "no_pong", 4000, "no answer to a ping, reconnect and resume")                       \
    X(SLOW, "slow", 4001, "the client reads too slowly, reconnect and resume")                     \
    X(UNAUTHENTICATED, "unauthenticated", 4500, "no valid token was shown in time")                \
    X(EXPIRED, "expired", 4501, "the token has expired, come back with a fresh one")               \
    X(REVOKED, "revoked", 4502, "the token was revoked")                                           \
    X(DENIED, "denied", 4503, "the server does not let this user in")                              \
    X(KICKED, "kicked", 4504, "an operator ended the session")                                     \
    X(FLOODING, "flooding", 4510, "the client went on sending after it was told to wait")          \
    X(TOO_MANY, "too_many", 4511, "the user has as many sessions on this node as may be")

enum cn_problem {
#define X(symbol, code, retry, message) CN_PROBLEM_##symbol,
    CN_PROBLEM_TABLE(X)
#undef X
};

enum cn_reason {
#define X(symbol, name, close_code, text) CN_REASON_##symbol,
    CN_REASON_TABLE(X)
#undef X
        CN_REASON_COUNT
};

// Static text and values of the tables. Any thread.
const char *cn_problem_code(enum cn_problem problem);
const char *cn_problem_message(enum cn_problem problem);
bool cn_problem_retry(enum cn_problem problem);
const char *cn_reason_name(enum cn_reason reason);
const char *cn_reason_text(enum cn_reason reason);
unsigned short cn_reason_close_code(enum cn_reason reason);

#endif
