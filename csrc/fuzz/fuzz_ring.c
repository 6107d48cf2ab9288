/*
 * libFuzzer: the byte ring against a plain queue: operations of three bytes (what, how many) after one for the capacity. The
 * queue is an array that is never used twice.
 */
#include "trl.h"
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t queue[MOST], got[512], give[512];
    if (size < 1)
        return 0;
    uint32_t cap = data[0], in = 0, out = 0, next = 0;
    struct trl_ring r;
    uint8_t *buf = malloc(cap ? cap : 1);
    trl_ring_init(&r, buf, cap);
    for (size_t at = 1; size - at >= 3 && in < MOST - 512; at += 3) {
        uint32_t n = (data[at + 1] | (uint32_t)data[at + 2] << 8) % 512, held = in - out, skip = data[at + 2], want;
        switch (data[at] % 4) {
        case 0:
            for (uint32_t i = 0; i < n; i++)
                give[i] = (uint8_t)(next++ * 31u >> 3);
            want = n < cap - held ? n : cap - held;
            if (trl_ring_write(&r, give, n) != want)
                abort();
            memcpy(queue + in, give, want);
            in += want;
            break;
        case 1:
            want = n < held ? n : held;
            if (trl_ring_read(&r, got, n) != want || memcmp(got, queue + out, want) != 0)
                abort();
            out += want;
            break;
        case 2:
            want = skip >= held ? 0 : n < held - skip ? n : held - skip;
            if (trl_ring_peek(&r, skip, got, n) != want || (want && memcmp(got, queue + out + skip, want) != 0))
                abort();
            break;
        default:
            want = n < held ? n : held;
            if (trl_ring_drop(&r, n) != want)
                abort();
            out += want;
        }
        if (r.used != in - out || (cap && r.head >= cap))
            abort();
    }
    free(buf);
    return 0;
}
