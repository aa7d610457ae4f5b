// SPDX-License-Identifier: MIT
// What a failed assertion does: one readable line on stderr, then abort.
#include "chatnode/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void cn_check_failed(const char *expr, const char *file, int line)
{
    char text[512];
    int len = snprintf(text, sizeof(text), "%s:%d: assertion failed: %s\n", file, line, expr);
    size_t size = len < 0 ? 0 : (size_t)len;
    if (size >= sizeof(text)) {
        size = sizeof(text) - 1;
        text[size - 1] = '\n';
    }
    // Nothing is left to do when even this fails: abort says the rest.
    ssize_t written = write(STDERR_FILENO, text, size);
    (void)written;
    abort();
}
