// SPDX-License-Identifier: MIT
// Limits by address: how many connections one may have, and how many may begin in a second. The
// table is looked at when a connection comes and goes, never for a message.
#include <stdlib.h>

#include "chatnode/clock.h"
#include "edge_private.h"

enum { BURST_S = 2, IDLE_MAX = 65536, FULL_RETRY_S = 10 };

enum cn_err cn_edge_quota_init(struct cn_edge *edge)
{
    const struct cn_config *config = edge->config;
    if (!config->max_connections_per_address && !config->accept_rate_per_address)
        return CN_OK;
    int64_t burst = config->accept_rate_per_address * BURST_S;
    const struct cn_quota_terms terms = {.holders_max = config->max_connections_per_address,
                                         .per_s = config->accept_rate_per_address,
                                         .burst = burst ? burst : 1,
                                         .idle_max = IDLE_MAX};
    edge->addresses = cn_quotas_new(&terms);
    return edge->addresses ? CN_OK : CN_NOMEM;
}

// Balancers, and programs on this machine, stand for many or for the operator.
static bool is_exempt(const struct cn_edge *edge, const struct cn_address *address)
{
    return !edge->addresses || cn_address_is_loopback(address) ||
           cn_networks_have(&edge->trusted, address);
}

static int64_t refuse(enum cn_err err, int64_t in_ms)
{
    bool rate = err == CN_REFUSED;
    cn_metrics_add(rate ? CN_M_REFUSED_ADDRESS_RATE : CN_M_REFUSED_ADDRESS, 1);
    return rate ? 1 + in_ms / 1000 : FULL_RETRY_S;
}

int64_t cn_peer_admit(struct cn_edge *edge, const struct cn_address *address, bool is_told,
                      struct cn_peer **out)
{
    *out = NULL;
    bool exempt = is_exempt(edge, address);
    if (exempt && !is_told)
        return 0;
    struct cn_peer *peer = malloc(sizeof(*peer));
    if (!peer)
        return refuse(CN_NOMEM, 0);
    *peer = (struct cn_peer){.address = *address};
    const struct cn_address group = cn_address_group(address);
    const struct cn_str key = {(const char *)group.bytes, sizeof(group.bytes)};
    int64_t in_ms = 0;
    enum cn_err err =
        exempt ? CN_OK
               : cn_quota_hold(edge->addresses, key, 1, cn_clock_ms(), &peer->quota, &in_ms);
    if (err) {
        free(peer);
        return refuse(err, in_ms);
    }
    *out = peer;
    return 0;
}

void cn_peer_free(struct cn_edge *edge, struct cn_peer *peer)
{
    if (peer && peer->quota)
        cn_quota_release(edge->addresses, peer->quota, cn_clock_ms());
    free(peer);
}
