// SPDX-License-Identifier: MIT
// What kept a run from being faster: a judgement over a few facts.
#include "limit.h"

// A thread that has this share of a processor's time has all that it can get.
static const double busy = 0.95;

const char *cn_limit_judge(const struct cn_limit_facts *facts)
{
    if (facts->interrupted)
        return "it was interrupted";
    if (facts->dropped > 0)
        return "the server ended connections";
    if (facts->refusals > 0)
        return "the server refused messages";
    if (facts->overflowed)
        return "a client fell too far behind the others to be checked";
    if (facts->lost > 0)
        return "messages that did not come";
    if (facts->idle)
        return "nothing: there was no load";
    if (facts->rate > 0 && facts->reached >= 0.98 * facts->rate)
        return "the pace that was asked for";
    if (facts->server_thread >= busy)
        return "the server: a thread of it was busy all the time";
    if (facts->generator >= busy)
        return "the load generator: a process of it was busy all the time (more --processes?)";
    if (facts->machine >= busy)
        return "the machine: all processors were busy";
    if (facts->in_flight > 0)
        return "the messages in flight: each waits until all members have the ones before it";
    return "nothing that was measured";
}
