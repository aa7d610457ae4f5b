// SPDX-License-Identifier: MIT
// What a bus counts. Plain data, copied into the metrics.
#ifndef CHATNODE_BUS_STATS_H
#define CHATNODE_BUS_STATS_H

#include <stdint.h>

#include "chatnode/seal.h"

struct cn_bus_stats {      // since the start
    uint64_t reconnects;   // connections made anew, after the first of each
    uint64_t catch_ups;    // channels read again after a hole or a new subscription
    uint64_t injected;     // entries told that came by a catch-up
    uint64_t resets;       // on_reset
    uint64_t bad_entries;  // entries and notices dropped because no node has written them so
    uint64_t late;         // answers that came after their deadline
    uint64_t duplicates;   // entries dropped because they had been told before
    uint64_t overflows;    // times that a channel's held messages were dropped and read again
    uint64_t checks;       // channels whose end was compared with their log
    uint64_t checks_off;   // and was not the same: they were read again
    uint64_t failovers;    // times that another server, or the same one anew, carried on
    uint64_t restored;     // acked publishes that a failover had lost, submitted again
    uint64_t unrestored;   // acked publishes that could not be submitted again
    uint64_t forgotten;    // acked publishes that found no room to be kept for a failover
    uint64_t refused;      // publishes that the store refused
    uint64_t unreplicated; // publishes that no replica confirmed in time
    uint64_t bad[CN_SEAL_FAULTS]; // bad_entries, by what was wrong
};

#endif
