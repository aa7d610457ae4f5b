// SPDX-License-Identifier: MIT
// For tests: tokens with any header and any claims, the keys of the RFCs, and memory that fails.
#include "support/mint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "wire_private.h"

const char *const mint_rfc_keys[4] = {
    "{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-"
    "EstJQL"
    "r_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}]}",
    "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddx"
    "HmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGz"
    "jb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3"
    "qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp"
    "oQ\",\"e\":\"AQAB\"}]}",
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRV"
    "EU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
    "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaP"
    "cHURo\"}]}",
};

#define PAYLOAD_OF_RFC7515                                                                         \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ"

#define PAYLOAD_OF_RFC8037 "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"

const char *const mint_rfc_tokens[4] = {
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." PAYLOAD_OF_RFC7515
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "eyJhbGciOiJSUzI1NiJ9." PAYLOAD_OF_RFC7515
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5"
    "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L"
    "07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUi"
    "pUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    "eyJhbGciOiJFUzI1NiJ9." PAYLOAD_OF_RFC7515
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    "eyJhbGciOiJFZERTQSJ9." PAYLOAD_OF_RFC8037
    ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
};

struct cn_str mint_with(const char *header, const char *claims, struct cn_str secret)
{
    static char text[16384];
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_len;
    assert_true(strlen(header) + strlen(claims) < sizeof(text) / 2);
    size_t len = cn_base64url_encode(header, strlen(header), text);
    text[len++] = '.';
    len += cn_base64url_encode(claims, strlen(claims), text + len);
    assert_non_null(
        HMAC(EVP_sha256(), secret.ptr, (int)secret.len, (unsigned char *)text, len, mac, &mac_len));
    text[len++] = '.';
    len += cn_base64url_encode(mac, mac_len, text + len);
    return (struct cn_str){text, len};
}

struct cn_str mint(const char *header, const char *claims)
{
    return mint_with(header, claims, CN_STR_LITERAL(MINT_SECRET));
}

struct cn_keys *mint_keys(const char *text, const char *secret)
{
    struct cn_keys *keys;
    const char *why;
    assert_int_equal(cn_keys_parse(cn_str_of(text), cn_str_of(secret), &keys, &why), CN_OK);
    return keys;
}

// ---- Memory ----

static int left = -1;
static bool has_failed;

void *__real_malloc(size_t len);
void *__real_calloc(size_t count, size_t len);
void *__real_realloc(void *memory, size_t len);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t count, size_t len);
void *__wrap_realloc(void *memory, size_t len);

static bool is_to_fail(void)
{
    if (left < 0 || left-- > 0)
        return false;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t len)
{
    return is_to_fail() ? NULL : __real_malloc(len);
}

void *__wrap_calloc(size_t count, size_t len)
{
    return is_to_fail() ? NULL : __real_calloc(count, len);
}

void *__wrap_realloc(void *memory, size_t len)
{
    return is_to_fail() ? NULL : __real_realloc(memory, len);
}

static void *crypto_malloc(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return is_to_fail() ? NULL : __real_malloc(len);
}

static void *crypto_realloc(void *memory, size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return is_to_fail() ? NULL : __real_realloc(memory, len);
}

static void crypto_free(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

void mint_memory_prepare(void)
{
    assert_int_equal(CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free), 1);
}

void mint_memory_fail(int nth)
{
    left = nth;
    has_failed = false;
}

bool mint_memory_has_failed(void)
{
    return has_failed;
}
