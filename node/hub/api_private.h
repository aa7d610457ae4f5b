// SPDX-License-Identifier: MIT
// What the hub's other files tell the HTTP API.
#ifndef CHATNODE_API_PRIVATE_H
#define CHATNODE_API_PRIVATE_H

#include "chatnode/api.h"
#include "chatnode/bus.h"

// Answers the caller: what has come of its publish, which had this id. The loop's thread.
void cn_api_on_published(const struct cn_api_caller *caller, struct cn_str id,
                         const struct cn_published *result);

#endif
