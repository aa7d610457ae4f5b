// SPDX-License-Identifier: MIT
// What the files of the hub share about reading logs: reads and their pages, the shelf that shares
// them, histories.
#ifndef CHATNODE_LOG_PRIVATE_H
#define CHATNODE_LOG_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/bus.h"
#include "chatnode/feed.h"
#include "chatnode/frame.h"
#include "chatnode/list.h"
#include "chatnode/loop.h"
#include "chatnode/session.h"

struct cn_history;

// ---- page.c: reads of a log, from a loop to the bus and back ----

// A read of the log for a feed's shelf, or for a history request.
struct cn_read_order {
    struct cn_channel_name channel;
    enum cn_read_kind kind;
    struct cn_pos from;
    unsigned limit;
    int token;                  // the shelf's; 0 for a history
    struct cn_history *history; // passes with the order, whatever becomes of it; else NULL
};

// Sends it for `session`, in whose `in_flight` it counts. The answer comes to cn_shelf_on_page,
// also when the session has ended, or to cn_history_on_page. CN_FULL: too much waits already;
// CN_NOMEM. Loop's thread.
CN_MUSTCHECK enum cn_err cn_read_send(struct cn_session *session,
                                      const struct cn_read_order *order);

// The answer to a read. Made by main, which passes it on; then it belongs to the loop's thread and
// is shared there by reference.
struct cn_page_copy {
    unsigned references;
    struct cn_channel_name channel;
    enum cn_err err;
    enum cn_read_kind kind;
    struct cn_pos from;
    bool exact;
    bool more;
    int token;
    struct cn_history *history; // owned; a history's page has no frames, they are in here
    struct cn_pos tail;         // the log's newest position at the read
    size_t bytes;               // of the frames
    size_t count;
    struct cn_frame *frames[]; // a reference each
};

// One more reference / one less; the last one frees it. `release` takes NULL. Loop's thread.
struct cn_page_copy *cn_page_hold(struct cn_page_copy *page);
void cn_page_release(struct cn_page_copy *page);

// Finds in *at the index of what follows `pos`: exactly, with nothing left out. False: the page
// cannot tell.
CN_MUSTCHECK bool cn_page_after(const struct cn_page_copy *page, struct cn_pos pos, size_t *at);

// ---- shelf.c: pages that the members of a feed share; loop's thread ----

// What a member needs of the log.
struct cn_want {
    enum cn_read_kind kind; // CN_READ_AFTER or CN_READ_NEWEST
    struct cn_pos from;
    bool alone; // a read from another position has not helped
};

// Gives a page that brings what `member` wants from index *at on, with a reference; or *page is
// NULL, `waiting` is in a list of the shelf's, and cn_recovery_on_page follows unless it is taken
// out. Sends a read only when none under way will do. CN_FULL, CN_NOMEM: try again later.
CN_MUSTCHECK enum cn_err cn_shelf_get(struct cn_member *member, const struct cn_want *want,
                                      struct cn_link *waiting, struct cn_page_copy **page,
                                      size_t *at);

// A read of the shelf's has been answered.
void cn_shelf_on_page(struct cn_loop *loop, struct cn_page_copy *page);

// The channel begins anew: the pages of before serve nobody who comes now.
void cn_shelf_reset(struct cn_loop *loop, struct cn_feed *feed);

// Frees the feed's pages, also those under way; it must have no members.
void cn_shelf_clear(struct cn_loop *loop, struct cn_feed *feed);

// Frees pages that nobody has needed for a while.
void cn_shelf_sweep(struct cn_loop *loop, int64_t now_ms);

// ---- recovery.c ----

// The page that a member waited for, or one that may do instead; borrowed. `waiting` is the link
// given to cn_shelf_get and in no list any more.
void cn_recovery_on_page(struct cn_link *waiting, struct cn_page_copy *page);

// There is room for a read: the member asks again. `waiting` as above.
void cn_recovery_again(struct cn_link *waiting);

// ---- cmd_history.c ----

// Takes what it looks for from a page of the bus's: the main thread, while the read is there.
// CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_history_take(struct cn_history *history, const struct cn_page *page);

// The page has been looked through: answers, or reads on. Takes the page's history. Loop's thread.
void cn_history_on_page(struct cn_session *session, struct cn_page_copy *page);

void cn_history_free(struct cn_history *history); // takes NULL

#endif
