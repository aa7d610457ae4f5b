// SPDX-License-Identifier: MIT
// Tokens that say in plain words what they grant.
#include "support/fake_token.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 2048 };

// A grant in memory of its own, with the text that its views point into behind the rules; NULL
// without memory.
static struct cn_grant *new_grant(const char *text, char **copy)
{
    size_t rules = CN_GRANT_RULES_MAX * sizeof(struct cn_grant_rule);
    struct cn_grant *grant = calloc(1, sizeof(*grant) + rules + TEXT_BYTES);
    if (strlen(text) >= TEXT_BYTES)
        abort();
    if (!grant)
        return NULL;
    *copy = (char *)grant + sizeof(*grant) + rules;
    memcpy(*copy, text, strlen(text));
    return grant;
}

static unsigned rights_of(char *words)
{
    unsigned rights = 0;
    char *rest = NULL;
    for (char *word = strtok_r(words, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        unsigned found = 0;
#define X(symbol, name)                                                                            \
    if (strcmp(word, name) == 0)                                                                   \
        found = 1u << CN_RIGHT_##symbol;
        CN_RIGHT_TABLE(X)
#undef X
        if (!found)
            abort();
        rights |= found;
    }
    return rights;
}

// pattern:right,right@from_ms
static void add_rule(struct cn_grant *grant, char *text)
{
    struct cn_grant_rule *rule = &grant->rules[grant->rule_count++];
    char *at = strchr(text, '@');
    char *colon = strchr(text, ':');
    if (at) {
        *at = '\0';
        rule->from_ms = strtoll(at + 1, NULL, 10);
    }
    if (!colon)
        abort();
    *colon = '\0';
    rule->pattern = cn_str_of(text);
    rule->rights = rights_of(colon + 1);
}

static void add_rules(struct cn_grant *grant, char *text)
{
    char *rest = NULL;
    for (char *rule = strtok_r(text, "|", &rest); rule; rule = strtok_r(NULL, "|", &rest))
        add_rule(grant, rule);
}

static void take_word(struct cn_grant *grant, char *word, int64_t now_s)
{
    char *value = strchr(word, '=');
    value = value ? value + 1 : word + strlen(word);
    if (strncmp(word, "user=", 5) == 0)
        grant->user = cn_str_of(value);
    else if (strncmp(word, "name=", 5) == 0)
        grant->name = cn_str_of(value);
    else if (strncmp(word, "in=", 3) == 0)
        grant->expires_s = now_s + strtoll(value, NULL, 10);
    else if (strncmp(word, "rooms=", 6) == 0)
        add_rules(grant, value);
    else if (strcmp(word, "direct") == 0)
        grant->direct = true;
    else
        abort();
}

struct cn_grant *fake_grant(const char *text, int64_t now_s)
{
    char *copy;
    char *rest = NULL;
    struct cn_grant *grant = new_grant(text, &copy);
    if (!grant)
        return NULL;
    grant->expires_s = now_s + 60;
    for (char *word = strtok_r(copy, ";", &rest); word; word = strtok_r(NULL, ";", &rest))
        take_word(grant, word, now_s);
    return grant;
}

static enum cn_token_fault fault_of(const char *word)
{
    for (int i = 0; i < CN_TOKEN_FAULT_COUNT; i++)
        if (strcmp(word, cn_token_fault_word((enum cn_token_fault)i)) == 0)
            return (enum cn_token_fault)i;
    abort();
}

enum cn_token_fault __wrap_cn_token_verify(const struct cn_keys *keys, struct cn_str token,
                                           const struct cn_token_rules *rules,
                                           struct cn_grant **out);

enum cn_token_fault __wrap_cn_token_verify(const struct cn_keys *keys, struct cn_str token,
                                           const struct cn_token_rules *rules,
                                           struct cn_grant **out)
{
    char text[TEXT_BYTES];
    (void)keys;
    if (cn_str_copy(token, text, sizeof(text)))
        abort();
    if (strncmp(text, "fault=", 6) == 0)
        return fault_of(text + 6);
    if (strncmp(text, "user=", 5) != 0)
        return CN_TOKEN_MALFORMED;
    *out = fake_grant(text, rules->now_s);
    return *out ? CN_TOKEN_NONE : CN_TOKEN_MEMORY;
}
