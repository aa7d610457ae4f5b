// SPDX-License-Identifier: MIT
// What kept a run from being faster: a judgement over a few facts.
#ifndef CHATNODE_TOOLS_LIMIT_H
#define CHATNODE_TOOLS_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct cn_limit_facts {
    bool interrupted;
    uint64_t dropped;  // connections that the server ended
    uint64_t refusals; // messages that it refused
    uint64_t lost;
    bool overflowed;      // a client was too far behind for the check
    bool idle;            // there was no load
    double server_thread; // share of a processor that the server's busiest thread had; 0: unknown
    double generator;     // the same of the generator's
    double machine;       // of all processors
    double rate;          // asked for, messages a second; 0: none
    double reached;       // messages a second
    uint64_t in_flight;   // messages of a publisher at most; 0: unbounded
};

// A sentence without its full stop.
const char *cn_limit_judge(const struct cn_limit_facts *facts);

#endif
