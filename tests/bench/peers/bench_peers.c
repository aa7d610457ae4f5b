// SPDX-License-Identifier: MIT
// The bench of chatctl with the dialects of other servers too.
#include "bench_private.h"
#include "peer_dialects.h"

int main(int argc, char **argv)
{
    static const struct cn_dialect *const dialects[] = {
        &cn_dialect_chatnode, &cn_dialect_plain, &cn_dialect_socketio, &cn_dialect_nats, NULL};
    return cn_bench_command("bench_peers", dialects, argc - 1, argv + 1);
}
