// SPDX-License-Identifier: MIT
// An agenda: things that are due at a time, the earliest at hand. A binary heap: putting in and
// taking out cost the logarithm of its length. One owner, no locking.
#ifndef CHATNODE_AGENDA_H
#define CHATNODE_AGENDA_H

#include <stddef.h>
#include <stdint.h>

#include "chatnode/check.h"
#include "chatnode/err.h"

// Inside the thing that is due. Zeroed memory is an item in no agenda.
struct cn_agenda_item {
    int64_t due_ms;
    size_t place; // in the heap, from 1; 0: in none
};

struct cn_agenda {
    struct cn_agenda_item **items;
    size_t count;
    size_t cap;
};

// Makes an empty agenda; allocates nothing.
void cn_agenda_init(struct cn_agenda *agenda);

// Frees the heap, not the things; legal twice.
void cn_agenda_fini(struct cn_agenda *agenda);

// Puts the item in, or moves it if it is in. CN_NOMEM (never for one that is in): nothing changed.
CN_MUSTCHECK enum cn_err cn_agenda_put(struct cn_agenda *agenda, struct cn_agenda_item *item,
                                       int64_t due_ms);

// Takes it out; legal for one that is not in.
void cn_agenda_remove(struct cn_agenda *agenda, struct cn_agenda_item *item);

// The earliest item, borrowed; NULL when it is empty.
struct cn_agenda_item *cn_agenda_first(const struct cn_agenda *agenda);

#endif
