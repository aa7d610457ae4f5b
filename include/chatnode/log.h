// SPDX-License-Identifier: MIT
// One line per event: `key=value` text on a terminal, JSON otherwise. Any thread.
// Never a token or a message body above the debug level.
#ifndef CHATNODE_LOG_H
#define CHATNODE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chatnode/buf.h"
#include "chatnode/check.h"
#include "chatnode/err.h"

enum cn_log_level { CN_LOG_ERROR, CN_LOG_WARN, CN_LOG_INFO, CN_LOG_DEBUG };

enum cn_log_format { CN_LOG_AUTO, CN_LOG_TEXT, CN_LOG_JSON };

// One key with its value; made by the CN_F macros below, borrowed for the call.
struct cn_log_field {
    const char *key;
    struct cn_str text; // when text.ptr is set; control characters and bad UTF-8 are escaped
    int64_t number;     // otherwise
};

// What is absent is shown as the empty text, not as the number 0.
static inline struct cn_str cn_log_text_of(struct cn_str text)
{
    return text.ptr ? text : (struct cn_str){"", 0};
}

#define CN_F_STR(key_, cstr)    CN_F_VIEW(key_, cn_str_of(cstr))
#define CN_F_VIEW(key_, view)   ((struct cn_log_field){(key_), cn_log_text_of(view), 0})
#define CN_F_INT(key_, integer) ((struct cn_log_field){(key_), {NULL, 0}, (int64_t)(integer)})

// Writes one line if `level_` (ERROR, WARN, INFO, DEBUG) is on. `event_` is a constant dotted name
// such as "bus.connected", `message_` a constant sentence for people; then any number of CN_F_*:
//   CN_LOG(INFO, "bus.connected", "Redis answers", CN_F_STR("addr", addr), CN_F_INT("tries", 3));
#define CN_LOG(level_, event_, message_, ...)                                                      \
    do {                                                                                           \
        if (cn_log_is_on(CN_LOG_##level_)) {                                                       \
            const struct cn_log_field fields_[] = {{0}, ##__VA_ARGS__};                            \
            cn_log_write(CN_LOG_##level_, (event_), (message_), fields_ + 1,                       \
                         CN_COUNT(fields_) - 1);                                                   \
        }                                                                                          \
    } while (0)

// Opens `path` for appending (NULL: stderr) and sets the format. Before threads start, and again
// with the same path to reopen after rotation. CN_SYSTEM with errno; the old target stays then.
CN_MUSTCHECK enum cn_err cn_log_open(const char *path, enum cn_log_format format);

// Back to stderr; flushes nothing, as every line is one write(2).
void cn_log_close(void);

// Every line carries this name from now on; copied. Before threads start.
void cn_log_set_node(const char *name);

// Any thread, at any time.
void cn_log_set_level(enum cn_log_level level);
bool cn_log_is_on(enum cn_log_level level);

// "error", "warn", "info", "debug"; CN_INVALID for anything else.
CN_MUSTCHECK enum cn_err cn_log_level_parse(struct cn_str text, enum cn_log_level *out);

// Writes the line whatever the level; use CN_LOG. A line is one write(2), at most 8 KiB, cut with
// a mark beyond that; a failed write is counted (cn_log_lost), never waited for.
void cn_log_write(enum cn_log_level level, const char *event, const char *message,
                  const struct cn_log_field *fields, size_t count);

// Lines that could not be written since the start.
uint64_t cn_log_lost(void);

#endif
