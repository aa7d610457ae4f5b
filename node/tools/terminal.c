// SPDX-License-Identifier: MIT
// What may be done to the place that output goes to.
#include "terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool cn_terminal_is_live(FILE *file)
{
    const char *term = getenv("TERM");
    return isatty(fileno(file)) && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

bool cn_terminal_has_colors(FILE *file)
{
    const char *refusal = getenv("NO_COLOR");
    return cn_terminal_is_live(file) && (refusal == NULL || refusal[0] == '\0');
}

struct cn_terminal_size cn_terminal_size_of(FILE *file)
{
    struct winsize size;
    if (ioctl(fileno(file), TIOCGWINSZ, &size) != 0)
        size = (struct winsize){0};
    return (struct cn_terminal_size){size.ws_col > 0 ? size.ws_col : 80,
                                     size.ws_row > 0 ? size.ws_row : 24};
}
