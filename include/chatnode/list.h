// SPDX-License-Identifier: MIT
// An intrusive doubly linked list; header only, no allocation, every operation O(1).
#ifndef CHATNODE_LIST_H
#define CHATNODE_LIST_H

#include <stdbool.h>
#include <stddef.h>

// A link inside an element, and also a list's head. A head must be initialised; an element's link
// is zero or initialised while it is in no list.
struct cn_link {
    struct cn_link *prev;
    struct cn_link *next;
};

// The element that holds the link.
#define CN_CONTAINER(link, type, member) ((type *)((char *)(link)-offsetof(type, member)))

// Walks links from the first; the body must not remove `it`.
#define CN_LIST_EACH(it, head) for (struct cn_link *it = (head)->next; it != (head); it = it->next)

// Walks links from the first; the body may remove `it`.
#define CN_LIST_EACH_SAFE(it, head)                                                                \
    for (struct cn_link *it = (head)->next, *it##_next = it->next; it != (head);                   \
         it = it##_next, it##_next = it->next)

// Makes an empty head, or a link that is in no list.
static inline void cn_list_init(struct cn_link *head)
{
    head->prev = head;
    head->next = head;
}

static inline bool cn_list_is_empty(const struct cn_link *head)
{
    return head->next == head;
}

// True while the element is in some list.
static inline bool cn_list_is_linked(const struct cn_link *link)
{
    return link->next != NULL && link->next != link;
}

static inline void cn_list_insert_between(struct cn_link *link, struct cn_link *prev,
                                          struct cn_link *next)
{
    link->prev = prev;
    link->next = next;
    prev->next = link;
    next->prev = link;
}

static inline void cn_list_push_back(struct cn_link *head, struct cn_link *link)
{
    cn_list_insert_between(link, head->prev, head);
}

static inline void cn_list_push_front(struct cn_link *head, struct cn_link *link)
{
    cn_list_insert_between(link, head, head->next);
}

// Takes the element out; legal on one that is in no list.
static inline void cn_list_remove(struct cn_link *link)
{
    if (link->next == NULL)
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    cn_list_init(link);
}

// The first link, taken out, or NULL.
static inline struct cn_link *cn_list_pop_front(struct cn_link *head)
{
    struct cn_link *first = head->next;
    if (first == head)
        return NULL;
    cn_list_remove(first);
    return first;
}

#endif
