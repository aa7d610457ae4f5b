// SPDX-License-Identifier: MIT
// The notices that the bus inside one process keeps, and the file that lets them survive it.
#ifndef CHATNODE_BOARD_H
#define CHATNODE_BOARD_H

#include "chatnode/bus.h"

// At most CN_NOTICES_MAX notices, each until its time. One owner, no locking.
struct cn_board;

// A board in *out; with a `path` (may be NULL or empty) it begins with what that file keeps, which
// is written anew without what is over. CN_INVALID: the file cannot be read or written, *why says
// so (static text); CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_board_new(const char *path, int64_t now_ms, struct cn_board **out,
                                      const char **why);
void cn_board_free(struct cn_board *board); // takes NULL

// Keeps the text until then; it is on the disk when this returns (fsync(2): it blocks as long as
// that takes). One that is kept already only gets its new time. CN_NOSPACE, CN_NOMEM, CN_REFUSED:
// it could not be written.
CN_MUSTCHECK enum cn_err cn_board_add(struct cn_board *board, struct cn_str text, int64_t until_ms,
                                      int64_t now_ms);

// Calls `tell` with each that is not over, in the order of coming.
void cn_board_each(struct cn_board *board, int64_t now_ms,
                   void (*tell)(void *arg, struct cn_str text), void *arg);

#endif
