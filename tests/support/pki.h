// SPDX-License-Identifier: MIT
// Authorities and certificates for a test, made with openssl(1) in a directory of its own.
#ifndef CHATNODE_TEST_PKI_H
#define CHATNODE_TEST_PKI_H

enum { PKI_PATH_BYTES = 128 };

struct pki {
    char dir[64];
};

// Makes the directory and the two authorities "ca" and "other"; fails the test if it cannot.
void pki_open(struct pki *pki);

// Removes all.
void pki_close(struct pki *pki);

// Makes NAME.crt and NAME.key, by the authority `by`, for `alt` ("IP:127.0.0.1", "DNS:localhost").
// With `days` below 0 it has expired already.
void pki_issue(const struct pki *pki, const char *name, const char *by, const char *alt, int days);

// The path of a file of the directory, such as "ca.crt", in `out`, which it returns.
const char *pki_path(const struct pki *pki, const char *file, char out[PKI_PATH_BYTES]);

#endif
