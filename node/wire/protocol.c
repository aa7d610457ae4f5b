// SPDX-License-Identifier: MIT
// The tables of error codes and close reasons, as functions.
#include "chatnode/protocol.h"

#include <stddef.h>

#include "chatnode/check.h"

struct problem {
    const char *code;
    const char *message;
    bool retry;
};

static const struct problem problems[] = {
#define X(symbol, code, retry, message) [CN_PROBLEM_##symbol] = {code, message, retry},
    CN_PROBLEM_TABLE(X)
#undef X
};

struct reason {
    const char *name;
    const char *text;
    unsigned short close_code;
};

static const struct reason reasons[] = {
#define X(symbol, name, close_code, text) [CN_REASON_##symbol] = {name, text, close_code},
    CN_REASON_TABLE(X)
#undef X
};

// A close frame's payload is at most 125 bytes, two of which are the code.
#define X(symbol, name, close_code, text)                                                          \
    _Static_assert(sizeof(text) - 1 <= 123, "the reason " name " is too long for a close frame");
CN_REASON_TABLE(X)
#undef X

static const struct problem *problem_at(enum cn_problem problem)
{
    CN_ASSERT((size_t)problem < CN_COUNT(problems));
    return &problems[problem];
}

static const struct reason *reason_at(enum cn_reason reason)
{
    CN_ASSERT((size_t)reason < CN_COUNT(reasons));
    return &reasons[reason];
}

const char *cn_problem_code(enum cn_problem problem)
{
    return problem_at(problem)->code;
}

const char *cn_problem_message(enum cn_problem problem)
{
    return problem_at(problem)->message;
}

bool cn_problem_retry(enum cn_problem problem)
{
    return problem_at(problem)->retry;
}

const char *cn_reason_name(enum cn_reason reason)
{
    return reason_at(reason)->name;
}

const char *cn_reason_text(enum cn_reason reason)
{
    return reason_at(reason)->text;
}

unsigned short cn_reason_close_code(enum cn_reason reason)
{
    return reason_at(reason)->close_code;
}
