// SPDX-License-Identifier: MIT
// The rules for names of users, rooms and requests, and the names of channels.
#ifndef CHATNODE_NAME_H
#define CHATNODE_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

enum {
    CN_NAME_MAX = 64,                     // bytes of a user's, room's or request's name
    CN_CHANNEL_NAME_MAX = CN_NAME_MAX + 2 // "r:" or "u:" before it
};

// True for 1 to 64 of [A-Za-z0-9_.:-]: what a user or a room may be called.
bool cn_name_is_valid(struct cn_str name);

// True for 1 to 64 of [A-Za-z0-9_-]: what a client may call a request.
bool cn_name_is_valid_id(struct cn_str id);

// True for valid UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
bool cn_name_is_utf8(struct cn_str text);

// A channel's name with a NUL: "r:<room>" for a room, "u:<user>" for a user's inbox.
struct cn_channel_name {
    char text[CN_CHANNEL_NAME_MAX + 1];
    unsigned char len;
};

enum cn_channel_kind { CN_CHANNEL_ROOM, CN_CHANNEL_INBOX };

// Makes the name of the room's channel, or of the user's inbox. CN_INVALID for a bad name.
CN_MUSTCHECK enum cn_err cn_channel_name_make(enum cn_channel_kind kind, struct cn_str name,
                                              struct cn_channel_name *out);

// Reads a channel's name back, as it came from elsewhere. CN_INVALID if it is none.
CN_MUSTCHECK enum cn_err cn_channel_name_parse(struct cn_str text, struct cn_channel_name *out);

// The name whose text is kept elsewhere, in as many bytes as it has; `text` came from such a
// struct.
struct cn_channel_name cn_channel_name_of(struct cn_str text);

// Of a channel's name as text: whose channel it is, and the room's or user's own name.
static inline enum cn_channel_kind cn_channel_text_kind(struct cn_str text)
{
    return text.ptr[0] == 'u' ? CN_CHANNEL_INBOX : CN_CHANNEL_ROOM;
}

static inline struct cn_str cn_channel_text_bare(struct cn_str text)
{
    return (struct cn_str){text.ptr + 2, text.len - 2};
}

static inline struct cn_str cn_channel_name_str(const struct cn_channel_name *name)
{
    return (struct cn_str){name->text, name->len};
}

static inline enum cn_channel_kind cn_channel_name_kind(const struct cn_channel_name *name)
{
    return cn_channel_text_kind(cn_channel_name_str(name));
}

static inline struct cn_str cn_channel_name_bare(const struct cn_channel_name *name)
{
    return cn_channel_text_bare(cn_channel_name_str(name));
}

#endif
