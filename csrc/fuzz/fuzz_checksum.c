/*
 * libFuzzer: the Internet checksum against RFC 1071's own words: 16 bits at a time, end-around carry. Alignment comes from
 * where the input is put, the place of the cut and of the change from its first bytes.
 */
#include "trl.h"
#include "wire.h"
#include <stdlib.h>

enum { SIZE = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint16_t reference(const uint8_t *p, size_t n, uint16_t init)
{
    uint32_t sum = init;
    for (size_t i = 0; i < n; i += 2) {
        sum += (uint32_t)p[i] << 8 | (i + 1 < n ? p[i + 1] : 0);
        if (sum > 0xffff)
            sum -= 0xffff;
    }
    return (uint16_t)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8)
        return 0;
    size_t shift = data[0] & 31, n = size - 8;
    uint16_t init = get16(data + 1), cut_at = get16(data + 3);
    uint32_t word = get32(data + 4);
    uint8_t *whole = malloc(n + shift + 1), *copy = malloc(n + 1), *p = whole + shift;
    memcpy(p, data + 8, n);
    uint16_t want = reference(p, n, init), inverse = want ^ 0xffff;
    if (trl_sum(p, n, init) != want || trl_checksum(p, n, init) != inverse)
        abort();
    size_t cut = n ? cut_at % n & ~(size_t)1 : 0;
    if (trl_sum(p + cut, n - cut, trl_sum(p, cut, init)) != want)
        abort();
    if (to_host_sum(fold(trl_raw_copy_sum(copy, p, n))) != trl_sum(p, n, 0) || memcmp(copy, p, n) != 0)
        abort();
    if (n - cut >= 4) {                             /* RFC 1624: 0 and 0xffff may stand for each other only in an all-zero sum */
        uint16_t before = trl_checksum(p, n, 0), after = trl_checksum_update32(before, get32(p + cut), word);
        put32(p + cut, word);
        uint16_t fresh = trl_checksum(p, n, 0);
        if (after != fresh && (uint16_t)(after ^ fresh) != 0xffff)
            abort();
    }
    size_t start = cut_at % (n + 9), offset = word & 0xff;
    int fits = start + offset + 2 <= n;
    if (fits)
        put16(p + start + offset, 0);
    if ((trl_checksum_complete(p, n, start, offset) == 0) != fits)
        abort();
    if (fits && offset % 2 == 0 && trl_sum(p + start, n - start, 0) != 0xffff)
        abort();
    free(whole);
    free(copy);
    return 0;
}
