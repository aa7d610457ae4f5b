// SPDX-License-Identifier: MIT
// What it costs to verify a token: microseconds of CPU for each algorithm, as in docs/auth.md.
#include <stdio.h>

#include "chatnode/clock.h"
#include "chatnode/token_sign.h"

enum { ROUNDS = 5, PER_ROUND = 2000 };

static const char claims[] =
    "{\"sub\":\"ann\",\"name\":\"Ann Lee\",\"exp\":1700003600,\"iat\":1700000000,\"aud\":\"chat\","
    "\"jti\":\"f3b1c0\",\"direct\":true,\"rooms\":{\"lobby\":\"*\",\"team.*\":[\"join\",\"send\","
    "\"history\"],\"help.ann\":[\"join\",\"send\",\"history\",\"moderate\"]}}";

// The least of the rounds, in microseconds a token; 0 when a token was not believed.
static double measure(const struct cn_keys *keys, struct cn_str token)
{
    const struct cn_token_rules rules = {.now_s = 1700000001, .audience = cn_str_of("chat")};
    double least = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t begin_us = cn_clock_thread_cpu_us();
        for (int i = 0; i < PER_ROUND; i++) {
            struct cn_grant *grant;
            if (cn_token_verify(keys, token, &rules, &grant) != CN_TOKEN_NONE)
                return 0;
            cn_grant_free(grant);
        }
        double us = (double)(cn_clock_thread_cpu_us() - begin_us) / PER_ROUND;
        least = us < least ? us : least;
    }
    return least;
}

static int run(const char *kind)
{
    struct cn_signer *signer;
    struct cn_buf jwks, token;
    struct cn_keys *keys;
    const char *why;
    cn_buf_init(&jwks, 65536);
    cn_buf_init(&token, 65536);
    if (cn_signer_make(cn_str_of(kind), &signer) != CN_OK ||
        cn_signer_write_jwks(signer, cn_str_of("k"), &jwks) != CN_OK ||
        cn_signer_sign(signer, cn_str_of("k"), cn_str_of(claims), &token) != CN_OK ||
        cn_keys_parse(cn_buf_str(&jwks), cn_str_of(NULL), &keys, &why) != CN_OK)
        return 1;
    double us = measure(keys, cn_buf_str(&token));
    printf("%-6s %6.1f us\n", cn_signer_alg(signer), us);
    cn_keys_free(keys);
    cn_signer_free(signer);
    cn_buf_fini(&jwks);
    cn_buf_fini(&token);
    return us == 0;
}

int main(void)
{
    return run("hs256") | run("rs256") | run("es256") | run("ed25519");
}
