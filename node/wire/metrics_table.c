// SPDX-License-Identifier: MIT
// The table of metrics as data.
#include "chatnode/metrics_table.h"

static const struct cn_metric table[CN_METRIC_ROWS] = {
#define X(symbol, type_, name_, labels_, help_)                                                    \
    [CN_M_##symbol] = {CN_METRIC_##type_, name_, labels_, help_},
    CN_METRIC_TABLE(X)
#undef X
#define X(symbol, name_, close_code, text)                                                         \
    [CN_M_CLOSED_##symbol] = {CN_METRIC_COUNTER, "chatnode_disconnects_total",                     \
                              "reason=\"" name_ "\"", "Sessions ended, by reason."},
        CN_REASON_TABLE(X)
#undef X
#define X(symbol, word)                                                                            \
    [CN_M_AUTH_##symbol] = {CN_METRIC_COUNTER, "chatnode_auth_total", "result=\"" word "\"",       \
                            "Tokens that clients showed, by what was wrong with them."},
            CN_TOKEN_FAULT_TABLE(X)
#undef X
};

const struct cn_metric *cn_metric_table(void)
{
    return table;
}
