// SPDX-License-Identifier: MIT
// Numbers as people read them.
#include "quantity.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES = sizeof(struct cn_quantity_text) };

struct scale {
    double above; // the first row whose bound the value reaches is taken
    double divisor;
    const char *unit;
};

static const struct scale times[] = {{999.5e3, 1e6, " s"}, {999.5, 1e3, " ms"}, {0, 1, " us"}};
static const struct scale bytes[] = {{1023.95 * (1 << 20), 1 << 30, " GiB"},
                                     {1023.95 * (1 << 10), 1 << 20, " MiB"},
                                     {1023.95, 1 << 10, " KiB"},
                                     {0, 1, " B"}};

// As many decimals as make three digits, and none for a whole number.
static int decimals_of(double value)
{
    double size = fabs(value);
    if (size >= 99.95 || value == floor(value))
        return 0;
    return size >= 9.995 ? 1 : 2;
}

static void put_scaled(char *out, const struct scale *scales, double value)
{
    const struct scale *scale = scales;
    while (scale->above > fabs(value))
        scale++;
    double scaled = value / scale->divisor;
    (void)snprintf(out, TEXT_BYTES, "%.*f%s", decimals_of(scaled), scaled, scale->unit);
}

static void put_share(char *out, double value)
{
    double percent = round(value * 1000) / 10;
    (void)snprintf(out, TEXT_BYTES, "%.*f %%", percent == floor(percent) ? 0 : 1, percent);
}

// Sets the thousands of the digits apart, from the last one back.
static void put_count(char *out, double value, const char *unit)
{
    char plain[TEXT_BYTES];
    if (fabs(value) >= 1e15) {
        (void)snprintf(out, TEXT_BYTES, "%.3g%s", value, unit);
        return;
    }
    (void)snprintf(plain, sizeof(plain), "%.*f", decimals_of(value), value);
    size_t whole = strcspn(plain, ".");
    size_t first = plain[0] == '-';
    size_t len = 0;
    for (size_t i = 0; plain[i] != '\0'; i++) {
        if (i > first && i < whole && (whole - i) % 3 == 0)
            out[len++] = ',';
        out[len++] = plain[i];
    }
    (void)snprintf(out + len, TEXT_BYTES - len, "%s", unit);
}

struct cn_quantity_text cn_quantity_format(enum cn_quantity quantity, double value)
{
    struct cn_quantity_text text = {"-"};
    if (!isfinite(value))
        return text;
    switch (quantity) {
    case CN_QUANTITY_COUNT:
        put_count(text.text, value, "");
        break;
    case CN_QUANTITY_RATE:
        put_count(text.text, value, "/s");
        break;
    case CN_QUANTITY_BYTES:
        put_scaled(text.text, bytes, value);
        break;
    case CN_QUANTITY_SHARE:
        put_share(text.text, value);
        break;
    case CN_QUANTITY_US:
        put_scaled(text.text, times, value);
        break;
    case CN_QUANTITY_MS:
        put_scaled(text.text, times, value * 1e3);
        break;
    case CN_QUANTITY_SECONDS:
        put_scaled(text.text, times, value * 1e6);
        break;
    }
    return text;
}
