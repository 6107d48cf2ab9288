/*
 * libFuzzer: trl_gso on any bytes. The first byte holds the flags, the next two gso_size. Every frame that comes out must be
 * a good TCP segment, the payloads together those of the input, and GRO must put them together again where it may.
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
    if (count > 1 && whole.ip_options == 0 && !(whole.tcp_flags & (2 | 4 | 32)) && whole.l3_len <= 65535) {
        static uint8_t again[CAP];
        static struct trl_slot in[MAX], res[MAX];
        for (int i = 0, off = 0; i < count; off += (int)lens[i++])
            in[i] = (struct trl_slot){.off = (uint32_t)off, .len = lens[i]};
        if (trl_gro(out, in, (uint32_t)count, flags, again, CAP, res, MAX) != 1 || res[0].gso_segs != count
            || res[0].gso_size != gso_size || memcmp(again + whole.payload, frame + whole.payload, whole.payload_len) != 0)
            abort();
    }
    return 0;
}
