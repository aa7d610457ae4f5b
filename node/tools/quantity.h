// SPDX-License-Identifier: MIT
// Numbers as people read them: with a unit, three or four digits, and thousands set apart.
#ifndef CHATNODE_TOOLS_QUANTITY_H
#define CHATNODE_TOOLS_QUANTITY_H

// What a number measures.
enum cn_quantity {
    CN_QUANTITY_COUNT,   // 1,234,567; below 100 with two decimals unless it is whole
    CN_QUANTITY_RATE,    // the same a second: 1,234/s
    CN_QUANTITY_BYTES,   // 12.3 MiB
    CN_QUANTITY_SHARE,   // 0 to 1, shown in percent
    CN_QUANTITY_US,      // 850 us, 1.23 ms, 12.3 s
    CN_QUANTITY_MS,      // given in milliseconds, shown as above
    CN_QUANTITY_SECONDS, // given in seconds, shown as above
};

// ASCII, ended by a NUL.
struct cn_quantity_text {
    char text[32];
};

// The number as text; "-" when it is not finite.
struct cn_quantity_text cn_quantity_format(enum cn_quantity quantity, double value);

#endif
