// SPDX-License-Identifier: MIT
// Which settings differ between two configurations.
#include "chatnode/config.h"

#include "wire_private.h"

static bool differ(const struct cn_setting *setting, const struct cn_config *a,
                   const struct cn_config *b)
{
    const void *left = (const char *)a + setting->offset;
    const void *right = (const char *)b + setting->offset;
    if (setting->kind == CN_SETTING_TEXT)
        return strcmp(*(char *const *)left, *(char *const *)right) != 0;
    if (setting->kind == CN_SETTING_NUMBER)
        return *(const int64_t *)left != *(const int64_t *)right;
    return *(const bool *)left != *(const bool *)right;
}

enum cn_err cn_config_changes(const struct cn_config *before, const struct cn_config *after,
                              bool by_reload, struct cn_buf *out)
{
    size_t count;
    const struct cn_setting *settings = cn_settings(&count);
    enum cn_err err = CN_OK;
    bool first = true;
    for (size_t i = 0; !err && i < count; i++) {
        bool is_reloadable = settings[i].flags & CN_SETTING_RELOAD;
        if (is_reloadable != by_reload || !differ(&settings[i], before, after))
            continue;
        err = cn_buf_printf(out, "%s%s", first ? "" : ", ", settings[i].key);
        first = false;
    }
    return err;
}
