// SPDX-License-Identifier: MIT
// The files that the node serves to browsers, compiled into the program.
#ifndef CHATNODE_WEB_H
#define CHATNODE_WEB_H

#include <stddef.h>

#include "chatnode/buf.h"

// One file; static for the life of the program.
struct cn_asset {
    const char *path; // as requested: "/", "/sdk/chatnode.mjs"
    const char *content_type;
    const char *etag; // a quoted hash of the content (RFC 9110 section 8.8.3)
    const unsigned char *bytes;
    size_t len;
};

// The asset at `path`, or NULL. Any thread.
const struct cn_asset *cn_asset_find(struct cn_str path);

#endif
