// SPDX-License-Identifier: MIT
// Making tokens and keys: for operators' tools and tests. A node signs nothing.
#ifndef CHATNODE_TOKEN_SIGN_H
#define CHATNODE_TOKEN_SIGN_H

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"
#include "chatnode/token.h"

// A private key, or a secret, with its one algorithm.
struct cn_signer;

// Reads a private key in PEM (RSA: RS256, P-256: ES256, Ed25519: EdDSA), or, if `pem` is empty,
// takes the secret for HS256. CN_INVALID: *why says what is wrong (static text); CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_signer_read(struct cn_str pem, struct cn_str secret,
                                        struct cn_signer **out, const char **why);

// Makes a new key of this kind: ed25519, es256, rs256 (3072 bits) or hs256. CN_INVALID for another
// word, CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_signer_make(struct cn_str kind, struct cn_signer **out);

void cn_signer_free(struct cn_signer *signer); // takes NULL

// The word of its algorithm, such as EdDSA; static text.
const char *cn_signer_alg(const struct cn_signer *signer);

// Appends the private key in PEM (PKCS 8), or the secret as it is. CN_FULL, CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_signer_write_private(const struct cn_signer *signer,
                                                 struct cn_buf *out);

// Appends a JWK set with what verifies: the public key; of a secret the secret itself. An empty
// `kid`: without one. CN_FULL, CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_signer_write_jwks(const struct cn_signer *signer, struct cn_str kid,
                                              struct cn_buf *out);

// Appends the compact JWS of these claims; an empty `kid`: without one. CN_FULL, CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_signer_sign(const struct cn_signer *signer, struct cn_str kid,
                                        struct cn_str claims, struct cn_buf *out);

// Appends the claims that cn_grant_read reads as this grant, with iss and aud unless they are
// empty. CN_INVALID: some text is not UTF-8; CN_FULL, CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_grant_write(const struct cn_grant *grant, struct cn_str issuer,
                                        struct cn_str audience, struct cn_buf *out);

// Appends header and claims of a token as readable JSON in ASCII, each with a line's end, without a
// look at its signature: for people. CN_INVALID when it is none.
CN_MUSTCHECK enum cn_err cn_token_print(struct cn_str token, struct cn_buf *out);

// Why these claims do not satisfy the rules, for people; NULL when they do, or the token is none.
const char *cn_token_complaint(struct cn_str token, const struct cn_token_rules *rules);

#endif
