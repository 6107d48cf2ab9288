/*
 * libFuzzer: trl_gro on a batch cut from any bytes: each frame is preceded by its length (one byte; 0 ends the batch) and a byte
 * whose lowest bit says csum_ok, the next that it is a copy of the frame before with its sequence number moved on, the
 * third that its acknowledgement is moved on. Every frame that went in must be accounted for, everything stay within the
 * buffers, and what was merged be a packet that parses and holds its frames' payloads.
 */
#include "trl.h"
#include "wire.h"
#include <stdlib.h>

enum { MAX = 128, ROOM = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t buf[MAX * ROOM], out[MAX * ROOM];

/* The frame before, as its sender's next: sequence number and IPv4 id moved on, checksums mended. */
static size_t successor(const uint8_t *old, size_t len, uint32_t flags, int acks, uint8_t *f)
{
    struct trl_pkt k;
    memcpy(f, old, len);
    if (trl_parse(f, len, flags | TRL_PARSE_L3_TRUSTED | TRL_PARSE_L4_TRUSTED, &k) != TRL_OK || k.proto != 6)
        return len;
    put32(f + k.l4 + 4, k.seq + k.payload_len);
    if (acks)
        put32(f + k.l4 + 8, k.ack + 1);
    if (k.ip_version == 4) {
        put16(f + k.l3 + 4, (uint16_t)(k.ip_id + 1));
        put16(f + k.l3 + 10, 0);
        put16(f + k.l3 + 10, trl_checksum(f + k.l3, (size_t)(k.l4 - k.l3), 0));
    }
    put16(f + k.l4 + 16, 0);
    put16(f + k.l4 + 16, trl_l4_checksum(k.src, k.dst, k.ip_version == 4 ? 4 : 16, 6, f + k.l4, k.payload - k.l4 + k.payload_len));
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trl_slot in[MAX], res[MAX];
    uint32_t n = 0, segs = 0;
    size_t at = 1, total = 0;
    if (size == 0)
        return 0;
    uint32_t flags = data[0] & (TRL_PARSE_ETHERNET | TRL_PARSE_L3_TRUSTED | TRL_GRO_ACKS);
    memset(in, 0, sizeof in);
    while (n < MAX && size - at >= 2 && data[at] > 0) {
        size_t len = data[at];
        uint8_t how = data[at + 1];
        in[n].off = n * ROOM;
        at += 2;
        if ((how & 2) && n > 0) {
            len = successor(buf + in[n - 1].off, in[n - 1].len, flags & ~TRL_GRO_ACKS, how & 4, buf + in[n].off);
        } else {
            if (len > size - at)
                break;
            memcpy(buf + in[n].off, data + at, len);
            at += len;
        }
        in[n].len = (uint32_t)len;
        in[n].csum_ok = how & 1;
        total += len;
        n++;
    }
    int count = trl_gro(buf, in, n, flags, out, total, res, MAX);
    if (count < 0 || (uint32_t)count > n)
        abort();
    for (int i = 0; i < count; i++) {
        const struct trl_slot *s = &res[i];
        segs += s->gso_segs;
        if ((size_t)s->off + s->len > total || (s->gso_size != 0 && s->gso_segs < 2))
            abort();
        if (s->gso_size == 0)
            continue;
        struct trl_pkt k;
        uint32_t trusted = TRL_PARSE_L4_TRUSTED | TRL_PARSE_L3_TRUSTED;
        if (trl_parse(out + s->off, s->len, (flags & TRL_PARSE_ETHERNET) | trusted, &k) != TRL_OK || k.proto != 6)
            abort();
        if (k.payload_len <= (uint32_t)s->gso_size * (s->gso_segs - 1u) || k.payload_len > (uint32_t)s->gso_size * s->gso_segs)
            abort();
        if (s->csum_start != k.l4 || s->csum_offset != 16 || trl_checksum_complete(out + s->off, s->len, k.l4, 16) != 0)
            abort();
        if (trl_parse(out + s->off, s->len, flags & TRL_PARSE_ETHERNET, &k) != TRL_OK)
            abort();
    }
    if (segs != n)
        abort();
    return 0;
}
