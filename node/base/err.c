// SPDX-License-Identifier: MIT
// The texts of the results.
#include "chatnode/err.h"

#include <stddef.h>

#include "chatnode/check.h"

static const char *const texts[] = {
#define X(symbol, text) [CN_##symbol] = text,
    CN_ERR_TABLE(X)
#undef X
};

const char *cn_err_str(enum cn_err err)
{
    size_t at = (size_t)err;
    return at < CN_COUNT(texts) ? texts[at] : "unknown error";
}
