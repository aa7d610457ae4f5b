// SPDX-License-Identifier: MIT
// Revocations: tokens that are believed no more, on every node, and the sessions that end with
// them. They travel as notices of the bus, which keeps them for nodes that come later.
#ifndef CHATNODE_REVOCATION_H
#define CHATNODE_REVOCATION_H

#include <stdbool.h>

#include "chatnode/admin.h"
#include "chatnode/api.h"
#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/hub.h"
#include "chatnode/ruling.h"
#include "chatnode/token.h"

// CN_TOKEN_REVOKED when the token is: by its jti, or as one of its user's that was issued at or
// before the moment of the revocation (one without `iat` counts as issued before any);
// CN_TOKEN_UNAVAILABLE while the bus has not told yet what is kept; else CN_TOKEN_NONE. Any thread;
// takes a lock that is held for a look-up only.
//
// Revocations that come later end sessions that have the grant by then. So ask in the turn of the
// loop in which the session gets its grant, not earlier: what came in between would be missed.
CN_MUSTCHECK enum cn_token_fault cn_revocation_judge(struct cn_hub *hub,
                                                     const struct cn_grant *grant);

// Whether the bus has told once what is kept. Any thread.
bool cn_revocation_is_known(const struct cn_hub *hub);

// Does what the ruling says, on all nodes: keeps it, ends sessions. CN_OK: the caller will be
// answered once, when it is stored, unless the node ends before. CN_FULL, CN_NOMEM. The loop's
// thread.
CN_MUSTCHECK enum cn_err cn_revocation_order(struct cn_loop *loop, const struct cn_ruling *ruling,
                                             const struct cn_api_caller *caller);

// Appends {"revocations":[...]}: what is kept, in no order. CN_NOMEM, CN_FULL. Any thread.
CN_MUSTCHECK enum cn_err cn_revocation_list(struct cn_hub *hub, struct cn_buf *out);

#endif
