// SPDX-License-Identifier: MIT
// What the files of the edge share of the accept governor.
#ifndef CHATNODE_GOVERNOR_PRIVATE_H
#define CHATNODE_GOVERNOR_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "chatnode/check.h"
#include "chatnode/ratelimit.h"
#include "chatnode/thread.h"

// ---- edge_governor.c: how many sessions may begin in a second ----

struct cn_governor {
    struct cn_mutex lock;            // guards the rest
    struct cn_ratelimit admitted;    // sessions that may begin
    struct cn_ratelimit turned_away; // lacks those that were told to come back and are not due yet
    uint32_t noise;
};

// At most `per_s` sessions a second, two seconds' worth at once; 0: no limit. Fini once.
void cn_governor_init(struct cn_governor *governor, int64_t per_s);
void cn_governor_fini(struct cn_governor *governor);

// 0: a session may begin. Else in how many seconds the client shall try again. Clients that resume
// may use up the burst, others only its first half. Any thread.
CN_MUSTCHECK int64_t cn_governor_admit(struct cn_governor *governor, bool resumes);

#endif
