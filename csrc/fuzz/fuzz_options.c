/*
 * libFuzzer: TCP options. The input is an option list of 0 to 40 bytes, put behind a header and read by trl_parse; a second
 * reader, written for this file alone from RFC 9293 section 3.1, must agree. What was read is then written by trl_tcp_emit
 * and read once more: nothing may be lost.
 */
#include "trl.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IP = 20, TCP = 20, MOST = 40, SACK_MOST = 4 };

static uint32_t number(const uint8_t *p, int bytes)
{
    uint32_t n = 0;
    while (bytes-- > 0)
        n = n << 8 | *p++;
    return n;
}

/* The same as the parser's, kind by kind, with a table of lengths. */
static void reference(const uint8_t *o, size_t n, struct trl_pkt *k)
{
    static const struct { uint8_t kind, length; uint16_t bit; } known[] = {
        {2, 4, TRL_OPT_MSS}, {3, 3, TRL_OPT_WSCALE}, {4, 2, TRL_OPT_SACK_PERMITTED}, {8, 10, TRL_OPT_TIMESTAMP}};
    for (size_t i = 0; i < n; i += o[i] == 1 ? 1 : o[i + 1]) {
        if (o[i] == 0)
            return;
        if (o[i] == 1)
            continue;
        if (i + 1 == n || o[i + 1] < 2 || i + o[i + 1] > n) {
            k->tcp_options |= TRL_OPT_MALFORMED;
            return;
        }
        uint16_t bit = TRL_OPT_UNKNOWN;
        for (size_t j = 0; j < sizeof known / sizeof *known; j++)
            if (o[i] == known[j].kind)
                bit = o[i + 1] == known[j].length ? known[j].bit : TRL_OPT_MALFORMED;
        if (o[i] == 5)
            bit = o[i + 1] > 2 && o[i + 1] % 8 == 2 ? TRL_OPT_SACK : TRL_OPT_MALFORMED;
        if (o[i] == 19 && o[i + 1] == 18)
            bit |= TRL_OPT_MD5;
        k->tcp_options |= bit;
        if (bit == TRL_OPT_MSS)
            k->mss = (uint16_t)number(o + i + 2, 2);
        if (bit == TRL_OPT_WSCALE)
            k->wscale = o[i + 2];
        if (bit == TRL_OPT_TIMESTAMP) {
            k->tsval = number(o + i + 2, 4);
            k->tsecr = number(o + i + 6, 4);
        }
        if (bit == TRL_OPT_SACK) {
            k->nsack = o[i + 1] / 8;
            for (int b = 0; b < 2 * k->nsack; b++)
                k->sack[b] = number(o + i + 2 + 4 * b, 4);
        }
    }
}

static void same(const struct trl_pkt *a, const struct trl_pkt *b, uint16_t options)
{
    if (options != b->tcp_options)
        abort();
    if ((options & TRL_OPT_MSS && a->mss != b->mss) || (options & TRL_OPT_WSCALE && a->wscale != b->wscale))
        abort();
    if (options & TRL_OPT_TIMESTAMP && (a->tsval != b->tsval || a->tsecr != b->tsecr))
        abort();
    if (options & TRL_OPT_SACK && (a->nsack != b->nsack || memcmp(a->sack, b->sack, 8u * a->nsack) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t packet[IP + TCP + MOST] = {0x45};
    struct trl_pkt k, want, again;
    size_t n = size < MOST ? size : MOST, padded = (n + 3) & ~(size_t)3, total = IP + TCP + padded;
    packet[3] = (uint8_t)total;
    packet[8] = 64;
    packet[9] = 6;
    packet[IP + 12] = (uint8_t)((TCP + padded) / 4 << 4);
    packet[IP + 13] = 16;
    if (n > 0)
        memcpy(packet + IP + TCP, data, n);
    uint8_t *exact = malloc(total);                 /* so that a byte too far is seen */
    memcpy(exact, packet, total);
    if (trl_parse(exact, total, TRL_PARSE_L3_TRUSTED | TRL_PARSE_L4_TRUSTED, &k) != TRL_OK || k.payload_len != 0)
        abort();
    memset(&want, 0, sizeof want);
    reference(exact + IP + TCP, padded, &want);
    same(&want, &k, want.tcp_options);
    free(exact);

    uint16_t options = k.tcp_options & ~(TRL_OPT_UNKNOWN | TRL_OPT_MALFORMED | TRL_OPT_MD5);
    struct trl_tcp_out seg = {.tcp_flags = 16, .tcp_options = options, .mss = k.mss, .wscale = k.wscale, .nsack = k.nsack,
                              .tsval = k.tsval, .tsecr = k.tsecr, .dont_fragment = 1};
    memcpy(seg.sack, k.sack, sizeof seg.sack);
    uint8_t *out = malloc(IP + TCP + MOST);
    int length = trl_tcp_emit(out, IP + TCP + MOST, packet, IP, 0, &seg);
    if (length > 0) {
        if (trl_parse(out, (size_t)length, TRL_PARSE_L4_TRUSTED, &again) != TRL_OK)
            abort();
        same(&k, &again, options);
    } else if (!(options & TRL_OPT_SACK)) {
        abort();                                    /* all but SACK always fit */
    }
    free(out);
    return 0;
}
