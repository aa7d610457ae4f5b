// SPDX-License-Identifier: MIT
// The header of the PROXY protocol, versions 1 and 2, by which a balancer says before anything else
// who its client is (haproxy.org/download/3.0/doc/proxy-protocol.txt).
#ifndef CHATNODE_PROXY_HEADER_H
#define CHATNODE_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "chatnode/address.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

enum {
    CN_PROXY_V1_BYTES_MAX = 107, // with CR and LF
    CN_PROXY_BYTES_MAX = 536     // of version 2 too: what one segment always carries
};

struct cn_proxy_header {
    size_t len; // of the header; what follows is the client's
    bool
        has_address; // false: the connection is the balancer's own, or its client has no IP address
    struct cn_address address;
};

// Reads the header at the beginning of the bytes. CN_OK: it is whole. CN_NOTFOUND: so far it is a
// header, and all bytes are part of it, but more must come. CN_INVALID: it is none, or longer than
// CN_PROXY_BYTES_MAX. What version 2 says beyond addresses (its TLVs) is skipped. Pure.
CN_MUSTCHECK enum cn_err cn_proxy_header_read(const unsigned char *bytes, size_t len,
                                              struct cn_proxy_header *out);

#endif
