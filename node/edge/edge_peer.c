// SPDX-License-Identifier: MIT
// Who the other end of a connection is, as the handshake sees it.
#include "edge_private.h"

bool cn_peer_is_loopback(const char *listen)
{
    struct cn_address address;
    const char *colon = strrchr(listen, ':');
    struct cn_str text = {listen, colon ? (size_t)(colon - listen) : 0};
    if (text.len >= 2 && text.ptr[0] == '[')
        text = (struct cn_str){text.ptr + 1, text.len - 2};
    return cn_address_parse(text, &address) == CN_OK && cn_address_is_loopback(&address);
}

struct cn_peer *cn_peer_of(struct lws *wsi)
{
    void *opaque = lws_get_opaque_user_data(wsi);
    return opaque == lws_context_user(lws_get_context(wsi)) ? NULL : opaque;
}

bool cn_peer_address(struct lws *wsi, struct cn_address *out)
{
    const struct cn_peer *peer = cn_peer_of(wsi);
    char text[CN_ADDRESS_BYTES] = "";
    if (peer) {
        *out = peer->address;
        return true;
    }
    lws_get_peer_simple(wsi, text, sizeof(text));
    return cn_address_parse(cn_str_of(text), out) == CN_OK;
}

bool cn_peer_client_address(const struct cn_edge *edge, struct lws *wsi, struct cn_address *out)
{
    char forwarded_for[CN_HEADER_BYTES]; // room for any that the library has taken
    struct cn_address peer;
    if (!cn_peer_address(wsi, &peer))
        return false;
    int len = lws_hdr_copy(wsi, forwarded_for, sizeof(forwarded_for), WSI_TOKEN_X_FORWARDED_FOR);
    const struct cn_str list = {forwarded_for, len > 0 ? (size_t)len : 0};
    *out = cn_address_forwarded(&edge->trusted, &peer, list);
    return true;
}

bool cn_peer_is_tls(const struct cn_edge *edge, struct lws *wsi)
{
    static const char name[] = "x-forwarded-proto:"; // as libwebsockets wants it
    char text[16];
    struct cn_address peer;
    int len = lws_hdr_custom_copy(wsi, text, sizeof(text), name, sizeof(name) - 1);
    if (len <= 0 || !cn_peer_address(wsi, &peer) || !cn_networks_have(&edge->trusted, &peer))
        return lws_is_ssl(wsi);
    return strcasecmp(text, "https") == 0 || strcasecmp(text, "wss") == 0;
}
