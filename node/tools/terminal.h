// SPDX-License-Identifier: MIT
// What may be done to the place that output goes to.
#ifndef CHATNODE_TOOLS_TERMINAL_H
#define CHATNODE_TOOLS_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

// Control sequences of ECMA-48 that every terminal of today has.
#define CN_TERMINAL_CLEAR_LINE  "\033[K" // from the cursor to the line's end
#define CN_TERMINAL_CLEAR_BELOW "\033[J" // from the cursor to the screen's end
#define CN_TERMINAL_DIM         "\033[2m"
#define CN_TERMINAL_RED         "\033[31m"
#define CN_TERMINAL_GREEN       "\033[32m"
#define CN_TERMINAL_PLAIN       "\033[m"

struct cn_terminal_size {
    int columns;
    int rows;
};

// Whether the file is a terminal whose cursor can be moved: TERM is set and not "dumb".
bool cn_terminal_is_live(FILE *file);

// Whether colours may be used too: NO_COLOR is not set, or empty (https://no-color.org).
bool cn_terminal_has_colors(FILE *file);

// How much fits (TIOCGWINSZ); 80 by 24 where nobody says.
struct cn_terminal_size cn_terminal_size_of(FILE *file);

#endif
