// SPDX-License-Identifier: MIT
// Who a client is, and what it may do: the authority that tokens are shown to, and the one function
// that every request passes.
#include "chatnode/auth.h"

#include <stdlib.h>

#include "chatnode/clock.h"
#include "auth_private.h"
#include "hub_private.h"

// ---- The authority ----

static enum cn_err make_keyring(struct cn_auth *auth, const char **why)
{
    const struct cn_config *config = auth->config;
    return cn_keyring_new(
        &(struct cn_keyring_options){
            .reactor = auth->hub->reactor,
            .url = config->auth_jwks_url,
            .ca_file = config->auth_ca_file,
            .refresh_ms = config->auth_jwks_refresh_s * 1000,
            .on_fetched = cn_late_decide,
            .arg = auth,
        },
        cn_str_of(config->auth_keys), cn_str_of(config->auth_secret), &auth->keyring, why);
}

enum cn_err cn_auth_new(const struct cn_config *config, struct cn_hub *hub, struct cn_auth **out,
                        const char **why)
{
    *out = NULL;
    if (strcmp(config->auth, "token") != 0)
        return CN_OK;
    struct cn_auth *auth = calloc(1, sizeof(*auth));
    if (!auth)
        return CN_NOMEM;
    auth->config = config;
    auth->hub = hub;
    cn_list_init(&auth->late);
    enum cn_err err = make_keyring(auth, why);
    if (!err && config->auth_url[0])
        err = cn_hook_new(auth, &auth->hook, why);
    if (err) {
        cn_auth_free(auth);
        return err;
    }
    *out = auth;
    return CN_OK;
}

void cn_auth_start(struct cn_auth *auth)
{
    if (auth)
        cn_keyring_start(auth->keyring);
}

enum cn_err cn_auth_reload(struct cn_auth *auth, const struct cn_config *fresh, const char **why)
{
    if (!auth)
        return CN_OK;
    return cn_keyring_replace(auth->keyring, cn_str_of(fresh->auth_keys),
                              cn_str_of(fresh->auth_secret), why);
}

void cn_auth_free(struct cn_auth *auth)
{
    if (!auth)
        return;
    cn_hook_free(auth->hook);
    cn_late_fini(auth);
    cn_keyring_free(auth->keyring);
    free(auth);
}

int64_t cn_auth_leeway_ms(const struct cn_auth *auth)
{
    return auth->config->auth_leeway_s * 1000;
}

struct cn_token_rules cn_auth_rules(const struct cn_auth *auth)
{
    return (struct cn_token_rules){
        .audience = cn_str_of(auth->config->auth_audience),
        .issuer = cn_str_of(auth->config->auth_issuer),
        .leeway_s = auth->config->auth_leeway_s,
        .now_s = cn_clock_wall_ms() / 1000,
    };
}

bool cn_auth_begin(struct cn_auth *auth, const struct cn_auth_question *question,
                   struct cn_verdict *verdict)
{
    const struct cn_token_rules rules = cn_auth_rules(auth);
    verdict->grant = NULL;
    if (auth->hook) {
        verdict->fault = cn_hook_ask(auth->hook, question);
        return verdict->fault != CN_TOKEN_NONE;
    }
    verdict->fault = cn_keyring_verify(auth->keyring, question->token, &rules, &verdict->grant);
    bool may_come =
        verdict->fault == CN_TOKEN_UNKNOWN_KEY || verdict->fault == CN_TOKEN_UNAVAILABLE;
    return !may_come || !cn_keyring_may_refresh(auth->keyring) || !cn_late_ask(question);
}

// ---- A late answer, from main to the loop ----

struct verdict_letter {
    struct cn_letter letter;
    uint64_t session;
    struct cn_verdict verdict;
};

static void free_verdict_letter(struct cn_mail *mail)
{
    struct verdict_letter *letter =
        CN_CONTAINER(CN_CONTAINER(mail, struct cn_letter, mail), struct verdict_letter, letter);
    cn_grant_free(letter->verdict.grant);
    free(letter);
}

// Runs on the loop's thread.
static void read_verdict_letter(struct cn_letter *mail, struct cn_loop *loop)
{
    struct verdict_letter *letter = CN_CONTAINER(mail, struct verdict_letter, letter);
    struct cn_session *session = cn_session_find(loop, letter->session);
    if (session)
        cn_pass_decide(session, &letter->verdict);
    free_verdict_letter(&mail->mail);
}

// Without memory nobody is told: the session's time to show a token runs out.
void cn_auth_done(struct cn_hub *hub, uint64_t session, struct cn_verdict *verdict)
{
    unsigned index;
    struct verdict_letter *letter = NULL;
    if (!cn_registry_find_loop(hub->registry, session, &index))
        letter = malloc(sizeof(*letter));
    if (letter) {
        *letter =
            (struct verdict_letter){.letter = {{NULL, free_verdict_letter}, read_verdict_letter},
                                    .session = session,
                                    .verdict = *verdict};
        cn_loop_post_always(hub->loops[index], &letter->letter);
    } else {
        cn_grant_free(verdict->grant);
    }
    verdict->grant = NULL;
}

// ---- What may be done ----

// Who may read a room from a moment that lies ahead is not in it yet.
static bool has_room_right(const struct cn_auth *auth, const struct cn_grant *grant,
                           const struct cn_access *access, struct cn_str room, int64_t now_ms)
{
    int64_t from_ms = 0;
    return cn_grant_allows(grant, room, access->right, &from_ms) &&
           from_ms <= now_ms + cn_auth_leeway_ms(auth);
}

static bool has_access(const struct cn_auth *auth, const struct cn_grant *grant,
                       const struct cn_access *access, struct cn_str room, int64_t now_ms)
{
    switch (access->kind) {
    case CN_ACCESS_FREE:
    case CN_ACCESS_OWN:
        return true;
    case CN_ACCESS_ROOM:
        return has_room_right(auth, grant, access, room, now_ms);
    case CN_ACCESS_DIRECT:
        return grant->direct;
    }
    return false;
}

bool cn_auth_allows(const struct cn_auth *auth, const struct cn_grant *grant,
                    const struct cn_access *access, struct cn_str room, enum cn_problem *problem)
{
    if (!auth || access->kind == CN_ACCESS_FREE)
        return true;
    *problem = CN_PROBLEM_UNAUTHENTICATED;
    if (!grant)
        return false;
    // A loop that was stopped for a while may not have noticed that the time is over.
    int64_t now_ms = cn_clock_wall_ms();
    if (grant->expires_s <= (now_ms - cn_auth_leeway_ms(auth)) / 1000)
        return false;
    *problem = CN_PROBLEM_DENIED;
    return has_access(auth, grant, access, room, now_ms);
}

int64_t cn_auth_from_ms(const struct cn_grant *grant, struct cn_str room)
{
    int64_t from_ms = 0;
    if (!grant)
        return 0;
    // Without the right to read what was before, nothing from before is given anyway.
    return cn_grant_allows(grant, room, CN_RIGHT_HISTORY, &from_ms) ? from_ms : 0;
}
