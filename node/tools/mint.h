// SPDX-License-Identifier: MIT
// chatctl token: what its files share.
#ifndef CHATNODE_TOOLS_MINT_H
#define CHATNODE_TOOLS_MINT_H

#include <stdbool.h>
#include <stdint.h>

#include "chatnode/buf.h"

enum {
    CN_MINT_REFUSED = 1, // the token is not believed, or something could not be made
    CN_MINT_USAGE = 64,
    CN_MINT_ROOMS_MAX = 64
};

// What was asked for. Texts are those of the arguments; NULL: not given.
struct cn_mint {
    const char *user, *name, *ttl, *issuer, *audience, *jti, *kid;
    const char *secret_file, *key, *keys_file;
    const char *verify, *decode, *new_key, *out;
    const char *rooms[CN_MINT_ROOMS_MAX];
    size_t room_count;
    bool direct, admin;
};

// The command, with the arguments behind its name; returns the exit code.
int cn_mint_command(int argc, char **argv);

// Says what is wrong on stderr, as "chatctl token: ..."; returns CN_MINT_REFUSED.
int cn_mint_fail(const char *what, const char *why);

// Reads a file whole into *out, which is empty; without the line's end at its end. False when it
// cannot be read, which was then said.
bool cn_mint_read_file(const char *path, struct cn_buf *out);

// --new-key: makes one, writes it to a new file for its owner only, and prints the JWK set that
// verifies. Returns the exit code.
int cn_mint_new_key(const struct cn_mint *mint);

#endif
