/*
 * libFuzzer: trl_gso, trl_gso_iov and trl_gso_split on any bytes. The first byte holds the flags, the next two gso_size, the
 * fourth where the frame is cut in pieces. Every frame that comes out must be a good TCP segment, the payloads together those
 * of the input; pieces must make no difference; and GRO must put them together again where it may.
 */
#include "trl.h"
#include <stdlib.h>
#include <string.h>

enum { MAX = 512, CAP = 1 << 18 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t out[CAP], again[CAP];
static uint32_t lens[MAX], other_lens[MAX];

/* The same frame in three pieces, and split without lengths: the same bytes. */
static void in_pieces(const uint8_t *frame, size_t size, uint32_t flags, uint32_t gso_size, int count, const struct trl_pkt *whole,
                      uint8_t cut)
{
    size_t head = whole->payload + (whole->payload_len ? cut % (whole->payload_len + 1) : 0);
    size_t middle = head + (size - head) / 2, at = 0;
    struct trl_iov iov[3] = {{frame, head}, {frame + head, middle - head}, {frame + middle, size - middle}};
    if (trl_gso_iov(iov, 3, flags, gso_size, again, CAP, other_lens, MAX) != count)
        abort();
    if (memcmp(lens, other_lens, (size_t)count * sizeof *lens) != 0)
        abort();
    for (int i = 0; i < count; i++)
        at += lens[i];
    if (memcmp(out, again, at) != 0)
        abort();
    int header = trl_gso_split(frame, head, frame + head, size - head, flags, gso_size, again, CAP);
    if (whole->l3 + whole->l3_len == size ? header != whole->payload || memcmp(out, again, at) != 0 : header >= 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trl_pkt whole, k;
    if (size < 4)
        return 0;
    uint32_t flags = data[0] & TRL_PARSE_ETHERNET, gso_size = data[1] | (uint32_t)data[2] << 8;
    const uint8_t *frame = data + 4;
    size_t frame_len = size - 4;
    int count = trl_gso(frame, frame_len, flags, gso_size, out, CAP, lens, MAX);
    int verdict = trl_parse(frame, frame_len, flags | TRL_PARSE_L3_TRUSTED | TRL_PARSE_L4_TRUSTED, &whole);
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
    in_pieces(frame, frame_len, flags, gso_size, count, &whole, data[3]);
    if (count > 1 && whole.ip_options == 0 && !(whole.tcp_flags & (2 | 4 | 32)) && whole.l3_len <= 65535) {
        static struct trl_slot in[MAX], res[MAX];
        for (int i = 0, off = 0; i < count; off += (int)lens[i++])
            in[i] = (struct trl_slot){.off = (uint32_t)off, .len = lens[i]};
        if (trl_gro(out, in, (uint32_t)count, flags, again, CAP, res, MAX) != 1 || res[0].gso_segs != count
            || res[0].gso_size != gso_size || memcmp(again + whole.payload, frame + whole.payload, whole.payload_len) != 0)
            abort();
    }
    return 0;
}
