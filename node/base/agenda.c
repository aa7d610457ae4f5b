// SPDX-License-Identifier: MIT
// An agenda: a binary heap of items that know their place in it.
#include "chatnode/agenda.h"

#include <stdlib.h>

enum { FIRST_CAP = 16 };

void cn_agenda_init(struct cn_agenda *agenda)
{
    *agenda = (struct cn_agenda){0};
}

void cn_agenda_fini(struct cn_agenda *agenda)
{
    free(agenda->items);
    *agenda = (struct cn_agenda){0};
}

// Places count from 1, so that those of the children are twice the parent's, and one more.
static struct cn_agenda_item **at(const struct cn_agenda *agenda, size_t place)
{
    return &agenda->items[place - 1];
}

static void set(struct cn_agenda *agenda, size_t place, struct cn_agenda_item *item)
{
    *at(agenda, place) = item;
    item->place = place;
}

static void rise(struct cn_agenda *agenda, struct cn_agenda_item *item)
{
    size_t place = item->place;
    for (; place > 1 && (*at(agenda, place / 2))->due_ms > item->due_ms; place /= 2)
        set(agenda, place, *at(agenda, place / 2));
    set(agenda, place, item);
}

static void sink(struct cn_agenda *agenda, struct cn_agenda_item *item)
{
    size_t place = item->place;
    for (;;) {
        size_t child = place * 2;
        if (child > agenda->count)
            break;
        if (child < agenda->count &&
            (*at(agenda, child + 1))->due_ms < (*at(agenda, child))->due_ms)
            child++;
        if ((*at(agenda, child))->due_ms >= item->due_ms)
            break;
        set(agenda, place, *at(agenda, child));
        place = child;
    }
    set(agenda, place, item);
}

static enum cn_err make_room(struct cn_agenda *agenda)
{
    if (agenda->count < agenda->cap)
        return CN_OK;
    size_t cap = agenda->cap ? agenda->cap * 2 : FIRST_CAP;
    struct cn_agenda_item **items = realloc(agenda->items, cap * sizeof(struct cn_agenda_item *));
    if (!items)
        return CN_NOMEM;
    agenda->items = items;
    agenda->cap = cap;
    return CN_OK;
}

enum cn_err cn_agenda_put(struct cn_agenda *agenda, struct cn_agenda_item *item, int64_t due_ms)
{
    if (item->place == 0) {
        enum cn_err err = make_room(agenda);
        if (err)
            return err;
        set(agenda, ++agenda->count, item);
    }
    item->due_ms = due_ms;
    rise(agenda, item);
    sink(agenda, item);
    return CN_OK;
}

// A crowd that has gone shall not keep its memory; that it cannot be given back does no harm.
static void shrink(struct cn_agenda *agenda)
{
    if (agenda->cap <= FIRST_CAP || agenda->count > agenda->cap / 4)
        return;
    struct cn_agenda_item **items =
        realloc(agenda->items, agenda->cap / 2 * sizeof(struct cn_agenda_item *));
    if (!items)
        return;
    agenda->items = items;
    agenda->cap /= 2;
}

void cn_agenda_remove(struct cn_agenda *agenda, struct cn_agenda_item *item)
{
    size_t place = item->place;
    if (place == 0)
        return;
    CN_ASSERT(place <= agenda->count && *at(agenda, place) == item);
    struct cn_agenda_item *last = *at(agenda, agenda->count--);
    item->place = 0;
    if (last != item) {
        set(agenda, place, last);
        rise(agenda, last);
        sink(agenda, last);
    }
    shrink(agenda);
}

struct cn_agenda_item *cn_agenda_first(const struct cn_agenda *agenda)
{
    return agenda->count > 0 ? *at(agenda, 1) : NULL;
}
