// SPDX-License-Identifier: MIT
// For tests: tokens with any header and any claims, the keys of the RFCs, and memory that fails.
#ifndef TESTS_SUPPORT_MINT_H
#define TESTS_SUPPORT_MINT_H

#include "chatnode/token.h"

// The secret of the tests: 32 bytes.
#define MINT_SECRET "0123456789abcdef0123456789abcdef"

// The examples of RFC 7515, appendices A.1 to A.3, and RFC 8037, appendix A.4: a JWK set with the
// key, and the token.
extern const char *const mint_rfc_keys[4];
extern const char *const mint_rfc_tokens[4];

// A token with this header and these claims, signed with HS256 and this secret, whatever the header
// says. Valid until the next call.
struct cn_str mint_with(const char *header, const char *claims, struct cn_str secret);

// The same with the secret of the tests.
struct cn_str mint(const char *header, const char *claims);

// Keys that must be right.
struct cn_keys *mint_keys(const char *text, const char *secret);

// From now on the `nth` allocation fails, counted from 0, ours and OpenSSL's; below 0: none does.
// mint_memory_prepare comes before anything of OpenSSL.
void mint_memory_prepare(void);
void mint_memory_fail(int nth);
// Whether one has failed since.
bool mint_memory_has_failed(void);

#endif
