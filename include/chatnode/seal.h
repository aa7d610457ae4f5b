// SPDX-License-Identifier: MIT
// Seals: what a node puts behind a text that it stores where others may write too, so that every
// node can tell that one of them has written it, for this place. HMAC-SHA256 (RFC 2104, RFC 4868).
#ifndef CHATNODE_SEAL_H
#define CHATNODE_SEAL_H

#include <stddef.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

// `~`, the version of the form, and 24 characters of base64url (RFC 4648 section 5): 2 bytes that
// tell which key it was, 16 bytes of the HMAC.
enum {
    CN_SEAL_BYTES = 26,
    CN_SEAL_VERSION = '2',
    CN_SEAL_KEY_BYTES_MIN = 32,
    CN_SEAL_KEYS_MAX = 8
};

// X(symbol, word): why what the store gave is not believed; `word` labels the metric and the log.
#define CN_SEAL_FAULT_TABLE(X)                                                                     \
    X(NONE, "none")                                                                                \
    X(SIZE, "size")               /* larger than an entry may be */                                \
    X(FORM, "form")               /* not as a node writes it */                                    \
    X(VERSION, "version")         /* of a form that this node does not know */                     \
    X(UNSEALED, "unsealed")       /* without a seal, which is asked for */                         \
    X(UNKNOWN_KEY, "unknown_key") /* sealed with a key that this node does not have */             \
    X(SEAL, "seal")               /* the seal is of another text, or of another place */           \
    X(UNSTORED, "unstored")       /* told, but in no log */

enum cn_seal_fault {
#define X(symbol, word) CN_SEAL_FAULT_##symbol,
    CN_SEAL_FAULT_TABLE(X)
#undef X
        CN_SEAL_FAULTS
};

// Static text of the table. Any thread.
const char *cn_seal_fault_word(enum cn_seal_fault fault);

// The keys of a cluster. One thread at a time.
struct cn_sealer;

// Reads 1 to CN_SEAL_KEYS_MAX keys, separated by commas or white space: the first one seals, all
// are believed. Copies them. CN_INVALID: *why says what is wrong (static text); CN_NOMEM;
// CN_SYSTEM: the library cannot.
CN_MUSTCHECK enum cn_err cn_sealer_new(struct cn_str keys, struct cn_sealer **out,
                                       const char **why);

// Frees it and overwrites the keys. Takes NULL.
void cn_sealer_free(struct cn_sealer *sealer);

// What a seal is about: the text, and the place that it is written for. At most 255 bytes of place.
struct cn_seal_subject {
    char purpose; // keeps entries and notices apart
    struct cn_str place;
    struct cn_str text;
};

// Writes the seal of the subject. CN_SYSTEM: the library cannot.
CN_MUSTCHECK enum cn_err cn_seal_make(struct cn_sealer *sealer,
                                      const struct cn_seal_subject *subject,
                                      char out[CN_SEAL_BYTES]);

// Compares the seal with the one that the subject must have, in constant time: NONE, VERSION, FORM,
// UNKNOWN_KEY or SEAL.
CN_MUSTCHECK enum cn_seal_fault
cn_seal_check(struct cn_sealer *sealer, const struct cn_seal_subject *subject, struct cn_str seal);

// Cuts a seal, of whatever version, off the end of `text`: `{...}~2...` becomes `{...}`. Absent
// when there is none: a text that ends with `}` has none.
struct cn_str cn_seal_cut(struct cn_str *text);

#endif
