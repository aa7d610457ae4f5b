// SPDX-License-Identifier: MIT
// Addresses of clients and proxies: their text, networks of them, and whom to believe about them.
#ifndef CHATNODE_ADDRESS_H
#define CHATNODE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

enum { CN_ADDRESS_BYTES = 64 }; // of an address as text, with a NUL

// An IPv6 address; an IPv4 address is mapped (RFC 4291 section 2.5.5.2), so that "::ffff:10.0.0.1"
// and "10.0.0.1" are the same.
struct cn_address {
    unsigned char bytes[16];
};

// Reads a numeric address without port and zone. CN_INVALID.
CN_MUSTCHECK enum cn_err cn_address_parse(struct cn_str text, struct cn_address *out);

// The address of an IPv4 or IPv6 socket. CN_INVALID for another family.
CN_MUSTCHECK enum cn_err cn_address_of(const struct sockaddr *socket, struct cn_address *out);

// The address made of these four bytes.
struct cn_address cn_address_of_v4(const unsigned char bytes[4]);

// Writes the address as text: IPv4 with dots, IPv6 without brackets (RFC 5952).
void cn_address_format(const struct cn_address *address, char out[CN_ADDRESS_BYTES]);

// True for the same address, however it was written.
bool cn_address_equal(const struct cn_address *a, const struct cn_address *b);

// True for 127.0.0.0/8 and ::1: only this machine has it.
bool cn_address_is_loopback(const struct cn_address *address);

// What counts as one client for limits: an IPv4 address, or an IPv6 network of 64 bits, as a home
// or a machine gets a whole one. The rest of the bits are zero.
struct cn_address cn_address_group(const struct cn_address *address);

// ---- Networks ----

struct cn_network {
    struct cn_address address;
    unsigned prefix_bits; // of the mapped form, 0 to 128
};

struct cn_networks {
    struct cn_network *all;
    size_t count;
};

// Reads "10.0.0.0/8, ::1, 127.0.0.1". CN_INVALID, CN_NOMEM. Free with cn_networks_fini.
CN_MUSTCHECK enum cn_err cn_networks_parse(struct cn_str list, struct cn_networks *out);
void cn_networks_fini(struct cn_networks *networks); // legal on a zeroed one, and twice

// True when the address is in one of the networks.
bool cn_networks_have(const struct cn_networks *networks, const struct cn_address *address);

// ---- Whom to believe ----

// The client's address: `peer`, or, where that is trusted, the right-most address of
// `forwarded_for` (the values of all X-Forwarded-For headers, in order, joined by commas) that is
// not. Addresses may have a port ("192.0.2.7:4711", "[2001:db8::1]:4711") or brackets. What stands
// to the left of anything that is no address is not believed, nor is that itself.
struct cn_address cn_address_forwarded(const struct cn_networks *trusted,
                                       const struct cn_address *peer, struct cn_str forwarded_for);

#endif
