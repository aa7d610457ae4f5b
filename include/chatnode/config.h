// SPDX-License-Identifier: MIT
// The settings: flags before environment before file before defaults, all from one table.
#ifndef CHATNODE_CONFIG_H
#define CHATNODE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/config_table.h"
#include "chatnode/err.h"

enum cn_setting_flags { CN_SETTING_SECRET = 1, CN_SETTING_RELOAD = 2 };

// Plain values, constant once loaded; texts are owned by the struct and never NULL.
struct cn_config {
#define TEXT(field, ...)   char *field;
#define NUMBER(field, ...) int64_t field;
#define FLAG(field, ...)   bool field;
    CN_CONFIG_TABLE(TEXT, NUMBER, FLAG)
#undef TEXT
#undef NUMBER
#undef FLAG
};

// What the command line asks for besides settings.
enum cn_config_action {
    CN_ACTION_RUN,
    CN_ACTION_HELP,
    CN_ACTION_VERSION,
    CN_ACTION_CHECK,      // --check-config: load, report, exit 0 or 78
    CN_ACTION_HEALTHCHECK // --healthcheck: ask the running node's /healthz, exit 0 or 1
};

// Where the settings come from. Borrowed for the call.
struct cn_config_sources {
    int argc;
    char *const *argv;    // argv[0] is skipped
    char *const *environ; // NAME=value, ends with NULL; may be NULL
};

// Loads everything: defaults, then the file (--config PATH or CHATNODE_CONFIG; `key = value` lines,
// # comments), then the environment (CHATNODE_REDIS_URL; bare REDIS_URL and PORT at a lower rank),
// then flags (--key value, --key=value; a FLAG: --key, --no-key). A secret's *-file twin
// (--redis-url-file PATH, CHATNODE_REDIS_URL_FILE) reads the value from a file, less the newline.
// Appends to `report`, one line each, warnings (unknown key or flag in file or environment, with
// the nearest known name) and errors (where it stands: flag, variable or file:line; the key; the
// allowed range). An unknown flag is an error. CN_INVALID when there was an error, CN_NOMEM.
// cn_config_fini is due in every case.
CN_MUSTCHECK enum cn_err cn_config_load(struct cn_config *config,
                                        const struct cn_config_sources *sources,
                                        enum cn_config_action *action, struct cn_buf *report);

// Frees the texts; legal on a zeroed struct, and twice.
void cn_config_fini(struct cn_config *config);

// Appends --help: the usage line, every setting by group with its default, the other flags.
CN_MUSTCHECK enum cn_err cn_config_help(struct cn_buf *out);

// Appends docs/config.md.
CN_MUSTCHECK enum cn_err cn_config_document(struct cn_buf *out);

// Appends `key = value` of each setting that is not at its default; secrets as "(secret)".
CN_MUSTCHECK enum cn_err cn_config_show(const struct cn_config *config, struct cn_buf *out);

// Appends the keys, "a, b", of the settings that differ: of those that a reload applies, or of the
// others, which take a restart. Never values.
CN_MUSTCHECK enum cn_err cn_config_changes(const struct cn_config *before,
                                           const struct cn_config *after, bool by_reload,
                                           struct cn_buf *out);

#endif
