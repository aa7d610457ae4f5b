// SPDX-License-Identifier: MIT
// Origins of pages (RFC 6454, RFC 6455 section 10.2): scheme, host and port, all three exact.
#ifndef CHATNODE_ORIGIN_H
#define CHATNODE_ORIGIN_H

#include <stdbool.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

// Views into the text it was read from. Scheme and host are compared without regard to case.
struct cn_origin {
    struct cn_str scheme;
    struct cn_str host; // an IPv6 address with its brackets
    unsigned port;      // as given, or the scheme's; 0: the scheme has none
};

// Reads "https://chat.example.org:8443": no user, path, query or fragment. "null" is none.
// CN_INVALID.
CN_MUSTCHECK enum cn_err cn_origin_parse(struct cn_str text, struct cn_origin *out);

// The origin of a page from the server that was asked for as `host`, the value of the Host header,
// over TLS or not. CN_INVALID: that is no host.
CN_MUSTCHECK enum cn_err cn_origin_of_host(struct cn_str host, bool is_tls, struct cn_origin *out);

// True when scheme, host and port are the same.
bool cn_origin_equal(const struct cn_origin *a, const struct cn_origin *b);

// True when `list`, origins between commas, has this one, or has "*". Items that are no origins
// are none of anybody's.
bool cn_origin_is_listed(struct cn_str list, const struct cn_origin *origin);

#endif
