/*
 * libFuzzer: interval sets against a bitmap. The first four bytes say where in sequence space the window of 512 lies (so that
 * it may wrap), the fifth how many intervals there is room for; then operations of five bytes: what, left, right.
 */
#include "trl.h"
#include <stdlib.h>
#include <string.h>

enum { SPAN = 512, CAP = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct trl_intervals *s, const uint8_t *bit, uint32_t base)
{
    uint32_t runs = 0, at = 0;
    for (uint32_t i = 0; i < SPAN; i++)
        runs += bit[i] && (i == 0 || !bit[i - 1]);
    if (s->n != runs)
        abort();
    for (uint32_t j = 0; j < runs; j++) {
        while (!bit[at])
            at++;
        if (s->edges[2 * j] - base != at)
            abort();
        while (at < SPAN && bit[at])
            at++;
        if (s->edges[2 * j + 1] - base != at)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bit[SPAN], trial[SPAN];
    if (size < 5)
        return 0;
    uint32_t base, cap = data[4] % CAP + 1, floor = 0;
    memcpy(&base, data, 4);
    struct trl_intervals s = {.edges = malloc(cap * 2 * sizeof(uint32_t)), .cap = cap};
    memset(bit, 0, sizeof bit);
    for (size_t at = 5; size - at >= 5; at += 5) {
        uint32_t a = (data[at + 1] | (uint32_t)data[at + 2] << 8) % (SPAN + 1);
        uint32_t b = (data[at + 3] | (uint32_t)data[at + 4] << 8) % (SPAN + 1), sum = 0;
        int found;
        switch (data[at] % 4) {
        case 0:
            found = trl_intervals_add(&s, base + a, base + b);
            if (a >= b) {
                if (found != -2)
                    abort();
                break;
            }
            memcpy(trial, bit, SPAN);
            memset(trial + a, 1, b - a);
            if (found == -1) {                      /* full: it would have been one more than fits, and nothing changed */
                if (s.n != cap)
                    abort();
                for (uint32_t i = a ? a - 1 : 0; i < SPAN && i <= b; i++)
                    if (bit[i])
                        abort();
                break;
            }
            memcpy(bit, trial, SPAN);
            if (found < 0 || (uint32_t)found >= s.n || s.edges[2 * found] - base > a || s.edges[2 * found + 1] - base < b)
                abort();
            break;
        case 1:
            if (a < floor)
                break;
            floor = a;
            memset(bit, 0, a);
            if (trl_intervals_trim(&s, base + a) != (int)s.n)
                abort();
            break;
        case 2:
            found = trl_intervals_find(&s, base + a);
            if ((found >= 0) != (a < SPAN && bit[a]))
                abort();
            if (found >= 0 && (s.edges[2 * found] - base > a || s.edges[2 * found + 1] - base <= a))
                abort();
            break;
        default:
            for (uint32_t i = a; i < b; i++)
                sum += bit[i];
            if (a < b && trl_intervals_covered(&s, base + a, base + b) != sum)
                abort();
        }
        check(&s, bit, base);
    }
    free(s.edges);
    return 0;
}
