// SPDX-License-Identifier: MIT
// The listeners' TLS: certificates from files, handed to each loop, and again on SIGHUP.
//
// libwebsockets makes an OpenSSL context for each vhost, one for each loop and listener. It is told
// nothing of certificates and makes that context bare; all that is in it comes from base/tls.c. So
// nothing depends on which of its globals several contexts share: in 4.1.6 the ones by which its
// own check of clients' certificates finds a connection are those of the latest context.
#include <stdlib.h>

#include "chatnode/clock.h"
#include "chatnode/log.h"
#include "edge_private.h"

enum { LOOK_EVERY_MS = 12 * 3600 * 1000, WARN_BEFORE_S = 14 * 86400, DAY_S = 86400 };

// What is the same for both listeners.
struct listener {
    const char *name;
    const char *keys; // of its settings
    enum cn_metric_row expiry;
};

static const struct listener listeners[CN_AUDIENCES] = {
    [CN_AUDIENCE_PUBLIC] = {"public", "tls-cert, tls-key", CN_M_TLS_PUBLIC_EXPIRY},
    [CN_AUDIENCE_INTERNAL] = {"internal",
                              "internal-tls-cert, internal-tls-key, internal-tls-client-ca",
                              CN_M_TLS_INTERNAL_EXPIRY},
};

static struct cn_tls_files files_of(const struct cn_config *config, enum cn_audience audience)
{
    if (audience == CN_AUDIENCE_PUBLIC)
        return (struct cn_tls_files){.cert = config->tls_cert, .key = config->tls_key};
    return (struct cn_tls_files){.cert = config->internal_tls_cert,
                                 .key = config->internal_tls_key,
                                 .ca = config->internal_tls_client_ca};
}

// ---- Reading ----

// *out is NULL where the listener is to be plain.
static enum cn_err load(const struct cn_config *config, enum cn_audience audience,
                        struct cn_tls_identity **out)
{
    struct cn_tls_files files = files_of(config, audience);
    struct cn_tls_why why = {"authorities for clients' certificates need internal-tls-cert too"};
    enum cn_err err = CN_INVALID;
    *out = NULL;
    if (!files.cert[0] && !files.key[0] && !(files.ca && files.ca[0]))
        return CN_OK;
    if (files.cert[0] || files.key[0])
        err = cn_tls_identity_load(&files, cn_clock_wall_ms() / 1000, out, &why);
    if (err == CN_INVALID)
        CN_LOG(ERROR, "tls.invalid", "a file for TLS cannot be used",
               CN_F_STR("settings", listeners[audience].keys), CN_F_STR("why", why.text));
    return err;
}

static void release_both(struct cn_tls_identity *const identities[CN_AUDIENCES])
{
    for (int i = 0; i < CN_AUDIENCES; i++)
        cn_tls_identity_release(identities[i]);
}

static enum cn_err load_both(const struct cn_config *config,
                             struct cn_tls_identity *out[CN_AUDIENCES])
{
    enum cn_err err = load(config, CN_AUDIENCE_PUBLIC, &out[CN_AUDIENCE_PUBLIC]);
    out[CN_AUDIENCE_INTERNAL] = NULL;
    if (!err)
        err = load(config, CN_AUDIENCE_INTERNAL, &out[CN_AUDIENCE_INTERNAL]);
    if (err)
        release_both(out);
    return err;
}

enum cn_err cn_edge_check(const struct cn_config *config)
{
    struct cn_tls_identity *identities[CN_AUDIENCES];
    enum cn_err err = load_both(config, identities);
    if (!err)
        release_both(identities);
    return err;
}

enum cn_err cn_edge_tls_load(struct cn_edge *edge)
{
    const struct cn_tls_files none = {0};
    struct cn_tls_identity *identities[CN_AUDIENCES];
    struct cn_tls_why why;
    enum cn_err err = load_both(edge->config, identities);
    if (err)
        return err;
    for (int i = 0; i < CN_AUDIENCES; i++) {
        edge->tls[i].identity = identities[i];
        edge->has_tls |= identities[i] != NULL;
    }
    return edge->has_tls ? cn_tls_client_new(&none, 0, &edge->tls_client, &why) : CN_OK;
}

// ---- A loop's contexts ----

static void on_counted(bool is_done)
{
    cn_metrics_add(is_done ? CN_M_TLS_DONE : CN_M_TLS_BEGUN, 1);
}

static const struct cn_tls_rules from_1_2 = {.counted = on_counted};
static const struct cn_tls_rules only_1_3 = {.only_newest = true, .counted = on_counted};

bool cn_edge_tls_dress(struct cn_edge_loop *loop, enum cn_audience audience)
{
    bool is_new = strcmp(loop->edge->config->tls_min_version, "1.3") == 0;
    struct cn_tls_why why = {"libwebsockets made no context for it"};
    loop->tls[audience] = loop->made;
    if (loop->made && !cn_tls_serve(loop->made, is_new ? &only_1_3 : &from_1_2, &why) &&
        !cn_tls_identity_use(loop->edge->tls[audience].identity, loop->made, &why))
        return true;
    CN_LOG(ERROR, "tls.invalid", "a listener cannot speak TLS",
           CN_F_STR("settings", listeners[audience].keys), CN_F_STR("why", why.text));
    return false;
}

// ---- New certificates ----

struct renew_letter {
    struct cn_letter letter;
    struct cn_edge_loop *loop;
    enum cn_audience audience;
    struct cn_tls_identity *identity; // a reference
};

static void free_renew_letter(struct cn_mail *mail)
{
    struct renew_letter *renew =
        CN_CONTAINER(CN_CONTAINER(mail, struct cn_letter, mail), struct renew_letter, letter);
    cn_tls_identity_release(renew->identity);
    free(renew);
}

static void read_renew_letter(struct cn_letter *letter, struct cn_loop *hub_loop)
{
    struct renew_letter *renew = CN_CONTAINER(letter, struct renew_letter, letter);
    struct cn_edge_loop *loop = renew->loop;
    struct cn_tls_why why;
    (void)hub_loop;
    if (cn_tls_identity_use(renew->identity, loop->tls[renew->audience], &why))
        CN_LOG(ERROR, "tls.invalid", "a loop goes on with the certificate of before",
               CN_F_STR("listener", listeners[renew->audience].name),
               CN_F_INT("loop", cn_loop_index(loop->hub_loop)), CN_F_STR("why", why.text));
    free_renew_letter(&letter->mail);
}

static enum cn_err send_renewal(struct cn_edge_loop *loop, enum cn_audience audience,
                                struct cn_tls_identity *identity)
{
    struct renew_letter *renew = malloc(sizeof(*renew));
    if (!renew)
        return CN_NOMEM;
    cn_tls_identity_hold(identity);
    *renew = (struct renew_letter){.letter = {{NULL, free_renew_letter}, read_renew_letter},
                                   .loop = loop,
                                   .audience = audience,
                                   .identity = identity};
    cn_loop_post_always(loop->hub_loop, &renew->letter); // a few for each SIGHUP
    return CN_OK;
}

// ---- Their ends ----

// Says it in the log and in the metrics, which only add.
static void look_at(struct cn_edge *edge, enum cn_audience audience)
{
    struct cn_edge_tls *tls = &edge->tls[audience];
    if (!tls->identity)
        return;
    int64_t expiry_s = cn_tls_identity_expiry_s(tls->identity);
    int64_t left_s = expiry_s - cn_clock_wall_ms() / 1000;
    cn_metrics_add(listeners[audience].expiry, expiry_s - tls->expiry_s);
    tls->expiry_s = expiry_s;
    if (left_s < WARN_BEFORE_S)
        CN_LOG(WARN, "tls.expiry", "a certificate ends soon; put a new one in place, then SIGHUP",
               CN_F_STR("listener", listeners[audience].name),
               CN_F_INT("days", left_s > 0 ? left_s / DAY_S : 0), CN_F_INT("seconds", left_s));
}

static void on_tls_timer(void *arg)
{
    struct cn_edge *edge = arg;
    for (int i = 0; i < CN_AUDIENCES; i++)
        look_at(edge, (enum cn_audience)i);
    cn_timer_start(edge->tls_timer, LOOK_EVERY_MS);
}

enum cn_err cn_edge_tls_start(struct cn_edge *edge)
{
    if (!edge->has_tls)
        return CN_OK;
    enum cn_err err = cn_timer_new(edge->reactor, on_tls_timer, edge, &edge->tls_timer);
    if (!err)
        on_tls_timer(edge);
    return err;
}

void cn_edge_tls_fini(struct cn_edge *edge)
{
    cn_timer_free(edge->tls_timer);
    cn_tls_client_free(edge->tls_client);
    for (int i = 0; i < CN_AUDIENCES; i++)
        cn_tls_identity_release(edge->tls[i].identity);
}

// ---- SIGHUP ----

static enum cn_err renew(struct cn_edge *edge, enum cn_audience audience,
                         struct cn_tls_identity *identity)
{
    struct cn_edge_tls *tls = &edge->tls[audience];
    if (!identity != !tls->identity)
        CN_LOG(WARN, "tls.restart", "TLS is turned on or off by a restart only",
               CN_F_STR("listener", listeners[audience].name));
    if (!identity || !tls->identity)
        return CN_OK;
    enum cn_err err = CN_OK;
    for (unsigned i = 0; !err && i < edge->loop_count; i++)
        err = send_renewal(&edge->loops[i], audience, identity);
    if (err)
        return err;
    cn_tls_identity_hold(identity);
    cn_tls_identity_release(tls->identity);
    tls->identity = identity;
    CN_LOG(INFO, "tls.renewed", "connections that begin from now on are shown this certificate",
           CN_F_STR("listener", listeners[audience].name),
           CN_F_INT("expiry", cn_tls_identity_expiry_s(identity)));
    look_at(edge, audience);
    return CN_OK;
}

enum cn_err cn_edge_reload(struct cn_edge *edge, const struct cn_config *fresh)
{
    struct cn_tls_identity *identities[CN_AUDIENCES];
    enum cn_err err = load_both(fresh, identities);
    if (err)
        return err;
    for (int i = 0; !err && i < CN_AUDIENCES; i++)
        err = renew(edge, (enum cn_audience)i, identities[i]);
    release_both(identities);
    return err;
}
