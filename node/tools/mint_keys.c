// SPDX-License-Identifier: MIT
// chatctl token: files with keys, and new keys.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chatnode/token_sign.h"
#include "mint.h"

enum { FILE_BYTES_MAX = 262144 };

int cn_mint_fail(const char *what, const char *why)
{
    fprintf(stderr, "chatctl token: %s: %s\n", what, why);
    return CN_MINT_REFUSED;
}

static bool read_all(int fd, struct cn_buf *out)
{
    for (;;) {
        char bytes[4096];
        ssize_t got = read(fd, bytes, sizeof(bytes));
        if (got == 0)
            return true;
        if (got < 0)
            return false;
        if (cn_buf_append(out, bytes, (size_t)got) != CN_OK) {
            errno = EFBIG;
            return false;
        }
    }
}

bool cn_mint_read_file(const char *path, struct cn_buf *out)
{
    cn_buf_init(out, FILE_BYTES_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0 && read_all(fd, out);
    if (!is_read)
        cn_mint_fail(path, strerror(errno));
    if (fd >= 0)
        close(fd);
    while (out->len > 0 && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
        out->len--;
    return is_read;
}

// A new file that only its owner may read.
static bool write_file(const char *path, struct cn_str text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool is_written = fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len;
    if (fd >= 0)
        is_written &= close(fd) == 0;
    if (!is_written)
        cn_mint_fail(path, strerror(errno));
    return is_written;
}

// The file gets what signs; stdout what verifies, unless that is the same.
static int write_both(const struct cn_mint *mint, const struct cn_signer *signer,
                      struct cn_buf *private, struct cn_buf *jwks)
{
    struct cn_str kid = cn_str_of(mint->kid);
    if (cn_signer_write_private(signer, private) != CN_OK ||
        cn_signer_write_jwks(signer, kid, jwks) != CN_OK)
        return cn_mint_fail("the key", "cannot be written as text");
    if (!write_file(mint->out, cn_buf_str(private)))
        return CN_MINT_REFUSED;
    if (strcmp(cn_signer_alg(signer), "HS256") == 0)
        fprintf(stderr, "chatctl token: %s is the secret: for --auth-secret-file of each node\n",
                mint->out);
    else
        printf("%.*s\n", (int)jwks->len, jwks->data);
    return 0;
}

int cn_mint_new_key(const struct cn_mint *mint)
{
    struct cn_signer *signer;
    enum cn_err err = cn_signer_make(cn_str_of(mint->new_key), &signer);
    if (err == CN_INVALID)
        cn_mint_fail(mint->new_key, "is no kind of key: ed25519, es256, rs256 or hs256");
    else if (err != CN_OK)
        cn_mint_fail("the key", cn_err_str(err));
    if (err != CN_OK)
        return err == CN_INVALID ? CN_MINT_USAGE : CN_MINT_REFUSED;
    struct cn_buf private, jwks;
    cn_buf_init(&private, FILE_BYTES_MAX);
    cn_buf_init(&jwks, FILE_BYTES_MAX);
    int code = write_both(mint, signer, &private, &jwks);
    cn_buf_fini(&private);
    cn_buf_fini(&jwks);
    cn_signer_free(signer);
    return code;
}
