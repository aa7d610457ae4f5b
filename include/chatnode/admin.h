// SPDX-License-Identifier: MIT
// What operators may ask over HTTP, as question and answer; knows nothing of HTTP's transport.
#ifndef CHATNODE_ADMIN_H
#define CHATNODE_ADMIN_H

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/hub.h"

// An answer: status, type, body.
struct cn_answer {
    int status; // of HTTP
    const char *content_type;
    struct cn_buf body;
};

enum cn_audience { CN_AUDIENCE_PUBLIC, CN_AUDIENCE_INTERNAL };

// Answers GET `path` as seen on the public or the internal listener. CN_NOTFOUND: there is no such
// path for this audience; CN_NOMEM. The caller frees answer->body in every case. Any thread.
CN_MUSTCHECK enum cn_err cn_admin_answer(struct cn_hub *hub, enum cn_audience audience,
                                         struct cn_str path, struct cn_answer *answer);

#endif
