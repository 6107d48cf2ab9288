/*
 * libFuzzer: trl_gro on a batch cut from any bytes: each frame is preceded by its length (one byte; 0 ends the batch) and a byte
 * whose lowest bit says csum_ok. Every frame that went in must be accounted for, and everything stay within the buffers.
 */
#include "trl.h"
#include <stdlib.h>
#include <string.h>

enum { MAX = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trl_slot in[MAX], res[MAX];
    uint32_t n = 0, segs = 0;
    size_t at = 1, total = 0;
    if (size == 0)
        return 0;
    memset(in, 0, sizeof in);
    while (n < MAX && size - at >= 2 && data[at] > 0 && data[at] <= size - at - 2) {
        in[n].off = (uint32_t)at + 2;
        in[n].len = data[at];
        in[n].csum_ok = data[at + 1] & 1;
        total += in[n].len;
        at += 2 + data[at];
        n++;
    }
    uint8_t *out = malloc(total + 1);
    int count = trl_gro(data, in, n, data[0] & (TRL_PARSE_ETHERNET | TRL_PARSE_L3_TRUSTED), out, total, res, MAX);
    if (count < 0 || (uint32_t)count > n)
        abort();
    for (int i = 0; i < count; i++) {
        segs += res[i].gso_segs;
        if ((size_t)res[i].off + res[i].len > total || (res[i].gso_size != 0) != (res[i].gso_segs > 1))
            abort();
    }
    if (segs != n)
        abort();
    free(out);
    return 0;
}
