/*
 * One block of a capture: the pcapng Enhanced Packet Block (draft-ietf-opsawg-pcapng section 4.3), little-endian, with the
 * frame's direction (epb_flags) and nothing else in its options.
 */
#include "trl.h"
#include <string.h>

static void native32(uint8_t *p, uint32_t v)        /* little-endian, as the section says it is */
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

size_t trl_pcapng_packet(uint8_t *out, size_t cap, uint32_t interface, uint64_t stamp, uint32_t way, const uint8_t *frame, uint32_t len)
{
    size_t padded = ((size_t)len + 3) & ~(size_t)3, total = 28 + padded + 12 + 4;
    if (total > cap)
        return 0;
    const uint32_t head[7] = {6, (uint32_t)total, interface, (uint32_t)(stamp >> 32), (uint32_t)stamp, len, len};
    const uint32_t tail[4] = {4u << 16 | 2, way, 0, (uint32_t)total};   /* epb_flags, end of options, length again */
    for (int i = 0; i < 7; i++)
        native32(out + 4 * i, head[i]);
    memcpy(out + 28, frame, len);
    memset(out + 28 + len, 0, padded - len);
    for (int i = 0; i < 4; i++)
        native32(out + 28 + padded + 4 * i, tail[i]);
    return total;
}
