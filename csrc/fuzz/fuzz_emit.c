/*
 * libFuzzer: trl_tcp_emit_small and trl_tcp_repeat, with every size, template and field from the input. What they write lies within
 * what they were given; a frame that was written is read back by trl_parse with what went in; and each repetition is the header
 * again but for its sequence number, its identification and a checksum that is still good.
 */
#include "trl.h"
#include "wire.h"
#include <stdlib.h>
#include <string.h>

enum { HEAD = 44, MOST_COPIES = 8, NO_SACK = (uint16_t)~TRL_OPT_SACK };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of its own exact size, so that the sanitizer sees a byte too far. */
static uint8_t *copy_of(const uint8_t *p, size_t n)
{
    uint8_t *made = malloc(n ? n : 1);
    memcpy(made, p, n);
    return made;
}

static void read_back(uint8_t *frame, size_t n, size_t l3, size_t l4, const struct trl_tcp_out *seg)
{
    struct trl_pkt k;
    uint32_t flags = l3 == 14 ? TRL_PARSE_ETHERNET : 0;
    if (l3 != 0 && l3 != 14)
        return;
    if (l3 == 14)
        put16(frame + 12, frame[14] >> 4 == 4 ? 0x0800 : 0x86dd);
    if (seg->payload_len > 0 && trl_checksum_complete(frame, n, l4, 16) != 0)
        abort();
    if (trl_parse(frame, n, flags, &k) != TRL_OK)
        abort();
    if (k.sport != seg->sport || k.dport != seg->dport || k.seq != seg->seq || k.ack != seg->ack || k.window != seg->window)
        abort();
    if (k.tcp_flags != (seg->tcp_flags & 0x1ff) || k.tos != seg->tos || k.payload_len != seg->payload_len || k.urgent != seg->urgent)
        abort();
    if ((seg->tcp_options & TRL_OPT_TIMESTAMP) && (k.tsval != seg->tsval || k.tsecr != seg->tsecr))
        abort();
    if ((seg->tcp_options & TRL_OPT_MSS) && k.mss != seg->mss)
        abort();
    if ((seg->tcp_options & TRL_OPT_WSCALE) && k.wscale != seg->wscale)
        abort();
    if ((k.tcp_options ^ seg->tcp_options) & (TRL_OPT_MSS | TRL_OPT_WSCALE | TRL_OPT_SACK_PERMITTED | TRL_OPT_TIMESTAMP | TRL_OPT_SACK))
        abort();
}

static void repeat(const uint8_t *header, size_t n, size_t l3, uint32_t count, uint32_t step, uint32_t ids)
{
    uint8_t *out = malloc(n * count > 0 ? n * count : 1);
    int done = trl_tcp_repeat(header, n, l3, count, step, ids, out);
    if (done >= 0 && (uint32_t)done != count)
        abort();
    for (int i = 0; i < done; i++) {
        const uint8_t *one = out + (size_t)i * n;
        size_t l4 = l3 + (header[l3] == 0x45 ? 20 : 40);
        uint32_t k = (uint32_t)i + 1;
        if (get32(one + l4 + 4) != get32(header + l4 + 4) + k * step)
            abort();
        if (memcmp(one + l4, header + l4, 4) != 0 || memcmp(one + l4 + 8, header + l4 + 8, n - l4 - 8) != 0)
            abort();
        if (header[l3] == 0x45) {
            if (memcmp(one, header, l3 + 4) != 0 || memcmp(one + l3 + 6, header + l3 + 6, 4) != 0)
                abort();
            if (get16(one + l3 + 4) != (uint16_t)(get16(header + l3 + 4) + k * ids))
                abort();
            if (trl_sum(header + l3, 20, 0) == 0xffff && trl_sum(one + l3, 20, 0) != 0xffff)
                abort();
        } else if (memcmp(one, header, l4) != 0) {
            abort();
        }
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD)
        return 0;
    struct trl_tcp_out seg = {.sport = get16(data), .dport = get16(data + 2), .mss = get16(data + 6), .wscale = data[8],
                              .tos = data[9]};
    uint32_t seq = get32(data + 12), ack = get32(data + 16), tsval = get32(data + 20), tsecr = get32(data + 24);
    uint16_t window = get16(data + 28), flags = get16(data + 30), options = get16(data + 32), id = get16(data + 34);
    size_t l3 = data[36] & 31, tmpl_len = data[37], cap = get16(data + 38) & 0x3ff, rest = size - HEAD;
    uint32_t count = data[40] % (MOST_COPIES + 1), step = get16(data + 41), ids = data[43];
    if (tmpl_len > rest)
        tmpl_len = rest;
    uint32_t length = (uint32_t)(rest - tmpl_len);
    uint8_t *tmpl = copy_of(data + HEAD, tmpl_len), *payload = copy_of(data + HEAD + tmpl_len, length);
    uint8_t *out = malloc(cap ? cap : 1);
    int n = trl_tcp_emit_small(out, cap, tmpl, tmpl_len, l3, get32(data), seq, ack, window, flags, options, tsval, tsecr,
                               seg.mss | (uint32_t)seg.wscale << 16, id | (uint32_t)seg.tos << 16, payload, length);
    if (n > (int)cap || n < -1)
        abort();
    if (n >= 0) {
        size_t header = (size_t)n - length;
        seg.seq = seq;
        seg.ack = ack;
        seg.window = window;
        seg.tcp_flags = flags;
        seg.tcp_options = options & NO_SACK;
        seg.tsval = tsval;
        seg.tsecr = tsecr;
        seg.payload_len = length;
        if (memcmp(out + header, payload, length) != 0)
            abort();
        repeat(out, header, l3, count, step, ids);
        read_back(out, (size_t)n, l3, tmpl_len, &seg);
    }
    uint8_t *any = copy_of(data + HEAD, rest);
    repeat(any, rest, l3, count, step, ids);
    free(any);
    free(tmpl);
    free(payload);
    free(out);
    return 0;
}
