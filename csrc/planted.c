/*
 * Two bugs on purpose. Compiled only into the sanitizers' own build, never into the product: the test run under AddressSanitizer
 * and UBSan is worth something only when it is seen to catch them.
 */
#include "planted.h"

uint8_t trl_planted_overflow(const uint8_t *buf, size_t len)
{
    return buf[len];
}

int trl_planted_shift(int by)
{
    return 1 << by;
}
