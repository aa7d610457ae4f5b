// SPDX-License-Identifier: MIT
// Tokens whose key is not known, but may be in a moment: they wait on main until a JWK set was
// fetched.
#include <stdlib.h>

#include "auth_private.h"
#include "hub_private.h"

enum { LATE_MAX = 256 }; // tokens that wait; of 8 KiB each at most

// From the loop to main, and there in the list of those that wait.
struct late {
    struct cn_ask ask;
    struct cn_link link;
    uint64_t session;
    size_t len;
    char token[];
};

static void free_ask(struct cn_mail *mail)
{
    free(CN_CONTAINER(CN_CONTAINER(mail, struct cn_ask, mail), struct late, ask));
}

// With the keys of now; frees it.
static void decide(struct cn_auth *auth, struct late *late)
{
    const struct cn_token_rules rules = cn_auth_rules(auth);
    struct cn_verdict verdict = {.grant = NULL};
    verdict.fault = cn_keyring_verify(auth->keyring, (struct cn_str){late->token, late->len},
                                      &rules, &verdict.grant);
    cn_auth_done(auth->hub, late->session, &verdict);
    free(late);
}

static void read_ask(struct cn_ask *ask, struct cn_hub *hub)
{
    struct late *late = CN_CONTAINER(ask, struct late, ask);
    struct cn_auth *auth = hub->auth;
    if (auth->late_count == LATE_MAX || !cn_keyring_refresh(auth->keyring)) {
        decide(auth, late);
        return;
    }
    cn_list_push_back(&auth->late, &late->link);
    auth->late_count++;
}

bool cn_late_ask(const struct cn_auth_question *question)
{
    struct late *late = malloc(sizeof(*late) + question->token.len);
    if (!late)
        return false;
    *late = (struct late){.ask = {.mail = {.free = free_ask}, .read = read_ask},
                          .session = question->session,
                          .len = question->token.len};
    memcpy(late->token, question->token.ptr, question->token.len);
    return cn_hub_put(question->loop, &late->ask) == CN_OK;
}

void cn_late_decide(void *arg)
{
    struct cn_auth *auth = arg;
    struct cn_link *link;
    while ((link = cn_list_pop_front(&auth->late)) != NULL)
        decide(auth, CN_CONTAINER(link, struct late, link));
    auth->late_count = 0;
}

void cn_late_fini(struct cn_auth *auth)
{
    struct cn_link *link;
    while ((link = cn_list_pop_front(&auth->late)) != NULL)
        free(CN_CONTAINER(link, struct late, link));
}
