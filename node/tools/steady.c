// SPDX-License-Identifier: MIT
// The scenarios with a steady load: fanout, rooms, direct, fanin, idle.
#include "bench_private.h"

enum cn_bench_exit cn_steady_run(struct cn_bench *bench)
{
    cn_bench_fail(CN_BENCH_INCOMPLETE, "%s is not there yet", bench->scenario->name);
}
