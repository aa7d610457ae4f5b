// SPDX-License-Identifier: MIT
// The edge as a whole: its loops and listeners, made in order and ended in reverse.
#include "chatnode/edge.h"

#include <stdlib.h>

#include "chatnode/log.h"
#include "edge_private.h"

// libwebsockets' own words, one line each, in our log.
static void on_library_line(int level, const char *line)
{
    struct cn_str text = cn_str_of(line);
    while (text.len > 0 && text.ptr[text.len - 1] == '\n')
        text.len--;
    if (level & LLL_ERR)
        CN_LOG(WARN, "libwebsockets", "the library reports an error", CN_F_VIEW("text", text));
    else
        CN_LOG(DEBUG, "libwebsockets", "the library warns", CN_F_VIEW("text", text));
}

enum cn_err cn_edge_new(const struct cn_edge_parts *parts, struct cn_edge **out)
{
    unsigned count = cn_hub_loops(parts->hub);
    struct cn_edge *edge = calloc(1, sizeof(*edge));
    struct cn_edge_loop *loops = calloc(count, sizeof(*loops));
    enum cn_err err = edge && loops ? CN_OK : CN_NOMEM;
    if (!err)
        err = cn_networks_parse(cn_str_of(parts->config->trusted_proxies), &edge->trusted);
    if (err == CN_INVALID)
        CN_LOG(ERROR, "config.invalid", "trusted-proxies: not a list of addresses and networks",
               CN_F_STR("value", parts->config->trusted_proxies));
    if (!err && edge->trusted.count == 0 && strcmp(parts->config->proxy_protocol, "on") == 0) {
        CN_LOG(ERROR, "config.invalid",
               "proxy-protocol: nobody could connect; name the balancers in trusted-proxies");
        err = CN_INVALID;
    }
    if (err) {
        if (edge)
            cn_networks_fini(&edge->trusted);
        free(edge);
        free(loops);
        return err;
    }
    edge->config = parts->config;
    edge->reactor = parts->reactor;
    edge->hub = parts->hub;
    edge->loops = loops;
    edge->loop_count = count;
    edge->awaits_proxy = strcmp(edge->config->proxy_protocol, "on") == 0;
    cn_list_init(&edge->waiting);
    edge->is_local = cn_peer_is_loopback(edge->config->internal_listen);
    err = cn_edge_tls_load(edge);
    if (err) {
        cn_edge_tls_fini(edge);
        cn_networks_fini(&edge->trusted);
        free(edge);
        free(loops);
        return err;
    }
    cn_governor_init(&edge->governor, edge->config->accept_rate_per_s);
    for (unsigned i = 0; i < count; i++) {
        loops[i].edge = edge;
        loops[i].hub_loop = cn_hub_loop(parts->hub, i);
    }
    err = cn_edge_quota_init(edge);
    if (err)
        cn_edge_free(edge);
    else
        *out = edge;
    return err;
}

enum cn_err cn_edge_start(struct cn_edge *edge)
{
    lws_set_log_level(LLL_ERR | LLL_WARN, on_library_line);
    // One after the other: making a context is not safe beside another's making.
    for (unsigned i = 0; i < edge->loop_count; i++) {
        enum cn_err err = cn_edge_loop_start(&edge->loops[i]);
        if (err)
            return err;
    }
    enum cn_err err = cn_edge_tls_start(edge);
    return err ? err : cn_edge_listen(edge);
}

void cn_edge_stop_accepting(struct cn_edge *edge)
{
    atomic_store(&edge->is_closed, true);
    cn_listener_close(edge->public_listener);
    edge->public_listener = NULL;
    cn_proxy_close_all(edge);
}

size_t cn_edge_publishes(const struct cn_edge *edge)
{
    return atomic_load(&edge->publishes);
}

void cn_edge_stop(struct cn_edge *edge)
{
    cn_edge_stop_accepting(edge);
    cn_listener_close(edge->internal_listener);
    edge->internal_listener = NULL;
    for (unsigned i = 0; i < edge->loop_count; i++)
        cn_edge_loop_stop(&edge->loops[i]);
}

void cn_edge_free(struct cn_edge *edge)
{
    if (!edge)
        return;
    cn_governor_fini(&edge->governor);
    cn_edge_tls_fini(edge);
    cn_networks_fini(&edge->trusted);
    cn_quotas_free(edge->addresses);
    free(edge->loops);
    free(edge);
}

int cn_edge_port(const struct cn_edge *edge)
{
    return edge->public_listener ? cn_listener_port(edge->public_listener) : 0;
}

int cn_edge_internal_port(const struct cn_edge *edge)
{
    return edge->internal_listener ? cn_listener_port(edge->internal_listener) : 0;
}
