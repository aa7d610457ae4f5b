// SPDX-License-Identifier: MIT
// Numbers as people read them: units, digits, and where one unit ends and the next begins.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "quantity.h"

#include <math.h>

#include "chatnode/check.h"

static const struct {
    enum cn_quantity quantity;
    double value;
    const char *text;
} samples[] = {
    {CN_QUANTITY_COUNT, 0, "0"},
    {CN_QUANTITY_COUNT, 0.354, "0.35"},
    {CN_QUANTITY_COUNT, 12.345, "12.3"},
    {CN_QUANTITY_COUNT, 99.96, "100"},
    {CN_QUANTITY_COUNT, 999, "999"},
    {CN_QUANTITY_COUNT, 1000, "1,000"},
    {CN_QUANTITY_COUNT, -12345, "-12,345"},
    {CN_QUANTITY_COUNT, -123, "-123"},
    {CN_QUANTITY_COUNT, 1234567, "1,234,567"},
    {CN_QUANTITY_COUNT, 999999999999999, "999,999,999,999,999"},
    {CN_QUANTITY_COUNT, 1.5e300, "1.5e+300"},
    {CN_QUANTITY_COUNT, NAN, "-"},
    {CN_QUANTITY_RATE, 12345.6, "12,346/s"},
    {CN_QUANTITY_RATE, INFINITY, "-"},
    {CN_QUANTITY_BYTES, 1023, "1023 B"},
    {CN_QUANTITY_BYTES, 1024, "1 KiB"},
    {CN_QUANTITY_BYTES, 1536, "1.50 KiB"},
    {CN_QUANTITY_BYTES, 1048575, "1.00 MiB"},
    {CN_QUANTITY_BYTES, 12.34 * 1048576, "12.3 MiB"},
    {CN_QUANTITY_BYTES, 2147483648.0, "2 GiB"},
    {CN_QUANTITY_SHARE, 0, "0 %"},
    {CN_QUANTITY_SHARE, 0.9876, "98.8 %"},
    {CN_QUANTITY_SHARE, 1, "100 %"},
    {CN_QUANTITY_SHARE, 1.5, "150 %"},
    {CN_QUANTITY_US, 0.354, "0.35 us"},
    {CN_QUANTITY_US, 999, "999 us"},
    {CN_QUANTITY_US, 1000, "1 ms"},
    {CN_QUANTITY_US, 999999, "1.00 s"},
    {CN_QUANTITY_US, 12345, "12.3 ms"},
    {CN_QUANTITY_MS, 1.5, "1.50 ms"},
    {CN_QUANTITY_MS, 0.02, "20 us"},
    {CN_QUANTITY_SECONDS, 90, "90 s"},
    {CN_QUANTITY_SECONDS, 4000, "4000 s"},
};

static void test_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_COUNT(samples); i++)
        assert_string_equal(cn_quantity_format(samples[i].quantity, samples[i].value).text,
                            samples[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
