// SPDX-License-Identifier: MIT
// TLS as this program speaks it: whom it believes and what it shows. OpenSSL is behind this header
// and tls_tunnel.h; its contexts pass through as they are.
#ifndef CHATNODE_TLS_H
#define CHATNODE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/check.h"
#include "chatnode/err.h"

struct ssl_ctx_st; // OpenSSL's SSL_CTX

enum { CN_TLS_WHY_BYTES = 320 };

// What went wrong, in words for an operator; without a newline.
struct cn_tls_why {
    char text[CN_TLS_WHY_BYTES];
};

// Paths of PEM files; NULL or empty for none. `cert` and `key` go together.
struct cn_tls_files {
    const char *cert; // the certificate, then those that lead to its authority
    const char *key;  // its private key, without a passphrase
    const char *ca;   // authorities whom to believe about the other side
};

// A certificate with its key, and the authorities. Never changed once loaded: any thread.
struct cn_tls_identity;

// Reads the files and checks them: the key belongs to the certificate, which is valid at `now_s`
// (seconds since 1970), and OpenSSL finds both strong enough. Blocks for the files. CN_INVALID:
// *why says what is wrong; CN_NOMEM.
CN_MUSTCHECK enum cn_err cn_tls_identity_load(const struct cn_tls_files *files, int64_t now_s,
                                              struct cn_tls_identity **out, struct cn_tls_why *why);

// One reference more, one less; the last one frees it. Release takes NULL. Any thread.
void cn_tls_identity_hold(struct cn_tls_identity *identity);
void cn_tls_identity_release(struct cn_tls_identity *identity);

// When the certificate ends, in seconds since 1970; of one without a certificate 0.
int64_t cn_tls_identity_expiry_s(const struct cn_tls_identity *identity);

// How a server speaks.
struct cn_tls_rules {
    bool only_newest; // TLS 1.3 alone, else 1.2 too
    // A handshake has begun, or is done. On the thread of the connection; NULL: nobody counts.
    void (*counted)(bool is_done);
};

// Makes the context speak by `rules` (borrowed for its life): HTTP/1.1 is the one protocol (ALPN,
// RFC 7301), no renegotiation, no compression, no resumption, one context whatever name the client
// asks for (SNI). CN_INVALID.
CN_MUSTCHECK enum cn_err cn_tls_serve(struct ssl_ctx_st *context, const struct cn_tls_rules *rules,
                                      struct cn_tls_why *why);

// A server shows the identity in handshakes from now on; those of before stay as they are. If it
// names authorities, clients must show a certificate that comes from them. The context's thread.
// CN_INVALID.
CN_MUSTCHECK enum cn_err cn_tls_identity_use(const struct cn_tls_identity *identity,
                                             struct ssl_ctx_st *context, struct cn_tls_why *why);

// A client's context: it believes the files' authorities, or the system's where there are none.
// As cn_tls_identity_load; free with cn_tls_client_free.
CN_MUSTCHECK enum cn_err cn_tls_client_new(const struct cn_tls_files *files, int64_t now_s,
                                           struct ssl_ctx_st **out, struct cn_tls_why *why);
void cn_tls_client_free(struct ssl_ctx_st *context); // takes NULL

// The oldest error that OpenSSL noted on this thread, as text; forgets them all.
void cn_tls_error(struct cn_tls_why *why);

// Sends `question` over the connected, blocking socket and reads `answer_len` bytes of the answer;
// whoever answers is believed. False when it did not come to that. For asking oneself.
bool cn_tls_ask(int fd, const char *question, char *answer, size_t answer_len);

#endif
