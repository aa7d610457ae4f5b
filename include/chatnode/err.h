// SPDX-License-Identifier: MIT
// The one set of results that functions of this program return.
#ifndef CHATNODE_ERR_H
#define CHATNODE_ERR_H

// X(symbol, text): the text completes the sentence "could not ...: <text>".
#define CN_ERR_TABLE(X)                                                                            \
    X(OK, "success")                                                                               \
    X(NOMEM, "out of memory")                                                                      \
    X(INVALID, "invalid value")                                                                    \
    X(NOTFOUND, "not found")                                                                       \
    X(EXISTS, "already exists")                                                                    \
    X(FULL, "a bound is reached")                                                                  \
    X(CLOSED, "closed")                                                                            \
    X(TIMEOUT, "deadline passed")                                                                  \
    X(UNAVAILABLE, "the bus is not available")                                                     \
    X(REFUSED, "the bus refused the command")                                                      \
    X(NOSPACE, "the bus has no room left to store")                                                \
    X(NOTDURABLE, "the bus cannot keep it as durably as asked for")                                \
    X(SYSTEM, "system call failed, see errno")

enum cn_err {
#define X(symbol, text) CN_##symbol,
    CN_ERR_TABLE(X)
#undef X
};

// Static text of the table; never NULL. Any thread.
const char *cn_err_str(enum cn_err err);

#endif
