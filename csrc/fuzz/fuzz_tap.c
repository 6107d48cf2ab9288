/*
 * libFuzzer: TAP batches. A pair of sockets that keep message boundaries stands for the device: what is written to the other end
 * is what the kernel would hand over, virtio header and all, and what comes out there is what it would be given.
 *
 * The first byte holds the flags: with virtio headers, Ethernet, thinned ACKs, and whether the batch is read or written.
 * Messages follow, each preceded by its length (two bytes); to be written, by gso_size, csum_start, csum_offset and where
 * it is cut into pieces as well (eight bytes).
 */
#include "tap.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VNET = 12, MOST = 16, ROOM = 4096, TAKEN = 2048 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int ends[2] = {-1, -1};

static uint16_t half(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

/* What is left in one end is thrown away. */
static uint32_t drain(int fd, size_t least)
{
    static uint8_t rest[1 << 18];
    uint32_t n = 0;
    for (ssize_t got; (got = read(fd, rest, sizeof rest)) > 0; n++)
        if ((size_t)got < least)
            abort();
    return n;
}

static void read_batch(struct trl_tap *tap, const uint8_t *data, size_t size)
{
    struct trl_slot res[MOST];
    uint32_t sent = 0, segs = 0;
    for (size_t at = 0; sent < MOST && size - at >= 2; sent++) {
        size_t n = half(data + at) % ROOM;
        at += 2;
        n = n < size - at ? n : size - at;
        if (n == 0 || write(ends[1], data + at, n) != (ssize_t)n)
            break;
        at += n;
    }
    if (tap->vnet) {
        uint8_t *bufs[MOST];
        for (int i = 0; i < MOST; i++)
            bufs[i] = malloc(TAKEN);
        int count = trl_tap_read(tap, bufs, TAKEN, res, MOST, MOST);
        if (count < 0 || (uint32_t)count > sent)
            abort();
        for (int i = 0; i < count; i++) {
            const struct trl_slot *s = &res[i];
            if ((size_t)s->off + s->len > TAKEN || s->gso_segs == 0)
                abort();
            if (s->csum_start && (size_t)s->csum_start + s->csum_offset + 2 > s->len)
                abort();
            if (s->gso_size && (s->csum_start == 0 || s->gso_segs > s->len))
                abort();
            segs += s->gso_segs;
        }
        if (segs != tap->rx_frames)
            abort();
        for (int i = 0; i < MOST; i++)
            free(bufs[i]);
    } else {
        uint8_t *out = malloc((size_t)MOST * TAKEN);
        int count = trl_tap_read_gro(tap, MOST, TAKEN, out, (size_t)MOST * TAKEN, res);
        if (count < 0 || (uint32_t)count > sent)
            abort();
        for (int i = 0; i < count; i++) {
            if ((size_t)res[i].off + res[i].len > (size_t)MOST * TAKEN)
                abort();
            segs += res[i].gso_segs;
        }
        if (segs != tap->rx_frames)
            abort();
        free(out);
    }
}

static void write_batch(struct trl_tap *tap, const uint8_t *data, size_t size)
{
    struct trl_tx tx[MOST];
    const uint8_t *frags[3 * MOST];
    uint32_t lens[3 * MOST], n = 0, pieces = 0;
    uint8_t *heads = malloc(size + 1), *work = malloc(2 * ROOM);
    memcpy(heads, data, size);
    memset(tx, 0, sizeof tx);
    for (size_t at = 0; n < MOST && size - at >= 10; n++) {
        const uint8_t *how = data + at;
        size_t len = half(how) % ROOM;
        at += 10;
        len = len < size - at ? len : size - at;
        size_t head = how[8] % (len + 1), middle = head + (len - head) / 2;
        tx[n] = (struct trl_tx){.head = (uint32_t)at, .head_len = (uint32_t)head, .gso_size = half(how + 2),
                                .csum_start = half(how + 4), .csum_offset = half(how + 6)};
        if (tx[n].gso_size && tx[n].gso_size < 8)
            tx[n].gso_size = 8;                     /* or a frame becomes more of them than the socket holds */
        if (head < len) {
            tx[n].nfrags = 2;
            frags[pieces] = data + at + head;
            lens[pieces++] = (uint32_t)(middle - head);
            frags[pieces] = data + at + middle;
            lens[pieces++] = (uint32_t)(len - middle);
        }
        at += len;
    }
    uint32_t done = 0, out = 0, piece = 0;
    for (int turn = 0; done < n && turn < 1000; turn++) {
        int some = trl_tap_write(tap, tx + done, n - done, heads, frags + piece, lens + piece, work, 2 * ROOM);
        if (some < 0 || (uint32_t)some > n - done)
            abort();
        for (int i = 0; i < some; i++)
            piece += tx[done + (uint32_t)i].nfrags;
        done += (uint32_t)some;
        out += drain(ends[1], tap->vnet);
    }
    if (done < n)
        abort();
    if (!tap->vnet && out != tap->tx_frames)
        abort();
    free(heads);
    free(work);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (ends[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends) < 0)
        abort();
    if (size < 1)
        return 0;
    struct trl_tap tap = {.fd = ends[0], .vnet = data[0] & 1 ? VNET : 0,
                          .flags = (data[0] & 2 ? TRL_PARSE_ETHERNET : 0) | (data[0] & 4 ? TRL_GRO_ACKS : 0)};
    if (data[0] & 8)
        write_batch(&tap, data + 1, size - 1);
    else
        read_batch(&tap, data + 1, size - 1);
    drain(ends[0], 0);
    drain(ends[1], 0);
    return 0;
}
