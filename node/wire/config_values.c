// SPDX-License-Identifier: MIT
// The settings as values: their defaults, their end, and what they must be together.
#include "chatnode/config.h"

#include <stdlib.h>

#include "chatnode/token.h"
#include "wire_private.h"

static enum cn_err set_text(void *field, const char *value)
{
    char *copy = strdup(value);
    *(char **)field = copy;
    return copy ? CN_OK : CN_NOMEM;
}

// Sets the field to the row's default. CN_NOMEM.
static enum cn_err set_default(void *field, const struct cn_setting *setting)
{
    if (setting->kind == CN_SETTING_TEXT)
        return set_text(field, setting->text_default);
    if (setting->kind == CN_SETTING_NUMBER)
        *(int64_t *)field = setting->number_default;
    else
        *(bool *)field = setting->number_default != 0;
    return CN_OK;
}

enum cn_err cn_config_set_defaults(struct cn_config *config)
{
    size_t count;
    const struct cn_setting *settings = cn_settings(&count);
    enum cn_err err = CN_OK;
    for (size_t i = 0; i < count; i++)
        if (set_default((char *)config + settings[i].offset, &settings[i]))
            err = CN_NOMEM;
    return err;
}

void cn_config_fini(struct cn_config *config)
{
    size_t count;
    const struct cn_setting *settings = cn_settings(&count);
    for (size_t i = 0; i < count; i++) {
        if (settings[i].kind == CN_SETTING_TEXT)
            free(*(char **)((char *)config + settings[i].offset));
    }
    memset(config, 0, sizeof(*config));
}

// ---- Together ----

// The keys, if there are any, can be read.
static const char *conflict_of_keys(const struct cn_config *config)
{
    struct cn_keys *keys = NULL;
    const char *why = NULL;
    if (!config->auth_keys[0] && !config->auth_secret[0])
        return NULL;
    enum cn_err err =
        cn_keys_parse(cn_str_of(config->auth_keys), cn_str_of(config->auth_secret), &keys, &why);
    cn_keys_free(keys);
    return err ? why : NULL;
}

const char *cn_config_conflict(const struct cn_config *config, const char **key)
{
    *key = "auth";
    if (strcmp(config->auth, "token") != 0)
        return NULL;
    if (!config->auth_secret[0] && !config->auth_keys[0] && !config->auth_jwks_url[0] &&
        !config->auth_url[0])
        return "token needs a key: auth-secret, auth-keys, auth-jwks-url or auth-url";
    *key = config->auth_keys[0] ? "auth-keys" : "auth-secret";
    return conflict_of_keys(config);
}
