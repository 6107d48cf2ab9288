/*
 * Frames from and to a TAP, many to a call where they are read. The virtio_net_hdr (virtio 1.2 section 5.1.6, in the host's byte order as TUN has it unless told otherwise)
 * carries what an skb knows besides its bytes: where a partial checksum goes, and that this is a super-segment.
 */
#define _GNU_SOURCE
#include "tap.h"
#include "offload.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

struct vnet_hdr {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
enum { NEEDS_CSUM = 1, DATA_VALID = 2 };
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_ECN = 0x80 };
enum { PIECES = 64, VNET_MOST = 12 };

int trl_tap_open(struct trl_tap *tap, const char *name, uint32_t flags, uint32_t vnet_bytes, uint32_t offload, char *actual)
{
    struct ifreq ifr;
    memset(tap, 0, sizeof *tap);
    tap->fd = -1;
    if (strlen(name) >= sizeof ifr.ifr_name)
        return -ENAMETOOLONG;
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    memset(&ifr, 0, sizeof ifr);
    strcpy(ifr.ifr_name, name);
    int kind = (flags & TRL_TAP_TUN ? IFF_TUN : IFF_TAP) | IFF_NO_PI;
    if (flags & TRL_TAP_VNET)
        kind |= IFF_VNET_HDR;
    if (flags & TRL_TAP_NAPI)
        kind |= IFF_NAPI;
    if (flags & TRL_TAP_EXCL)
        kind |= IFF_TUN_EXCL;
    ifr.ifr_flags = (short)kind;
    int size = (int)vnet_bytes;
    if (ioctl(fd, TUNSETIFF, &ifr) < 0
        || ((flags & TRL_TAP_VNET) && ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
        || ioctl(fd, TUNSETOFFLOAD, (unsigned long)offload) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    memcpy(actual, ifr.ifr_name, sizeof ifr.ifr_name);
    actual[sizeof ifr.ifr_name - 1] = 0;
    tap->fd = fd;
    tap->vnet = flags & TRL_TAP_VNET ? vnet_bytes : 0;
    tap->flags = flags & TRL_TAP_TUN ? 0 : TRL_PARSE_ETHERNET;
    tap->napi = (flags & TRL_TAP_NAPI) && !(flags & TRL_TAP_VNET);
    return 0;
}

/* ---- receive ---- */

/* Bytes read, or 0 when nothing (more) is to be had. */
static size_t read_one(struct trl_tap *tap, uint8_t *buf, size_t cap)
{
    for (;;) {
        ssize_t n = read(tap->fd, buf, cap);
        if (n >= 0)
            return (size_t)n;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            tap->error = errno;
        return 0;
    }
}

/* What the header says, as far as it fits the frame of len bytes at f. */
static void decode(const uint8_t *header, const uint8_t *f, size_t len, struct trl_slot *s)
{
    struct vnet_hdr h;
    memcpy(&h, header, 10);
    if (h.flags & NEEDS_CSUM) {
        if ((size_t)h.csum_start + h.csum_offset + 2 > len)
            return;
        s->csum_start = h.csum_start;
        s->csum_offset = h.csum_offset;
        s->csum_ok = 1;
    } else if (h.flags & DATA_VALID) {
        s->csum_ok = 1;
    }
    uint8_t type = h.gso_type & (uint8_t)~GSO_ECN;
    if ((type == GSO_TCPV4 || type == GSO_TCPV6) && h.gso_size > 0 && s->csum_start > 0 && (size_t)h.csum_start + 20 <= len) {
        size_t header_len = h.csum_start + (size_t)(f[h.csum_start + 12] >> 4) * 4;
        if (header_len >= len)
            return;
        size_t segs = (len - header_len + h.gso_size - 1) / h.gso_size;
        s->gso_size = h.gso_size;
        s->gso_segs = (uint16_t)(segs < 0xffff ? segs : 0xffff);
        s->hdr_len = (uint8_t)(header_len < 256 ? header_len : 0);
    }
}

enum { ACK_MOST = 14 + 40 + 60, CARRIER_MOST = 2048 };
enum says { ALONE, SUPERSEDES, CARRIES };

/* What the second of two frames that were read one after the other makes of the first: TRL_GRO_ACKS. */
static enum says compared(const struct trl_tap *tap, const uint8_t *old, const struct trl_slot *os, const uint8_t *f, const struct trl_slot *s)
{
    struct trl_pkt o, k;
    uint32_t flags = tap->flags & TRL_PARSE_ETHERNET;
    if (!(tap->flags & TRL_GRO_ACKS) || os->len > ACK_MOST || s->len < os->len || s->len > CARRIER_MOST || s->gso_size)
        return ALONE;
    if (trl_parse(old + os->off, os->len, flags | (os->csum_ok ? TRL_PARSE_L4_TRUSTED : 0), &o) != TRL_OK
        || trl_parse(f + s->off, s->len, flags | (s->csum_ok ? TRL_PARSE_L4_TRUSTED : 0), &k) != TRL_OK)
        return ALONE;
    if (s->len == os->len && trl_ack_supersedes(old + os->off, &o, f + s->off, &k))
        return SUPERSEDES;
    return trl_ack_carried(old + os->off, &o, f + s->off, &k) ? CARRIES : ALONE;
}

/* Whether the guard has dealt with a frame (with what its slot says, if it has one); its answer leaves at once. */
static int guarded(struct trl_tap *tap, uint8_t *f, size_t len, const struct trl_slot *s)
{
    uint8_t reply[VNET_MOST + TRL_GUARD_ROOM] = {0};
    struct trl_guard *g = tap->guard;
    uint32_t flags = (tap->flags & TRL_PARSE_ETHERNET) | (s && s->csum_ok ? TRL_PARSE_L4_TRUSTED : 0);
    int n = trl_guard_check(g, f, len, flags, reply + tap->vnet, TRL_GUARD_ROOM);
    if (n == TRL_GUARD_PASS)
        return 0;
    tap->rx_frames++;
    tap->rx_bytes += len;
    if (g->log && s && s->csum_start)
        trl_checksum_complete(f, len, s->csum_start, s->csum_offset);
    trl_guard_log(g, 1, f, len);
    if (n > TRL_GUARD_DROP) {
        if (write(tap->fd, reply, tap->vnet + (size_t)n) < 0) {
            tap->tx_dropped++;
        } else {
            tap->tx_frames++;
            tap->tx_bytes += (uint64_t)n;
        }
        trl_guard_log(g, 2, reply + tap->vnet, (size_t)n);
    }
    return 1;
}

int trl_tap_read(struct trl_tap *tap, uint8_t *const *bufs, uint32_t cap, struct trl_slot *res, uint32_t max, uint32_t budget)
{
    struct trl_gro_group newest = {.count = 0};     /* of slot n - 1, where it can be continued */
    uint32_t n = 0, segs = 0;
    while (n < max && segs < budget) {
        size_t got = read_one(tap, bufs[n], cap);
        if (got == 0)
            break;
        if (got >= cap || got <= tap->vnet) {
            tap->rx_truncated++;
            segs++;
            continue;
        }
        struct trl_slot *s = &res[n];
        memset(s, 0, sizeof *s);
        s->off = tap->vnet;
        s->len = (uint32_t)(got - tap->vnet);
        s->gso_segs = 1;
        if (tap->vnet)
            decode(bufs[n], bufs[n] + s->off, s->len, s);
        segs += s->gso_segs;
        if (tap->guard && guarded(tap, bufs[n] + s->off, s->len, s))
            continue;
        tap->rx_frames += s->gso_segs;
        tap->rx_bytes += s->len;
        enum says says = n > 0 ? compared(tap, bufs[n - 1], s - 1, bufs[n], s) : ALONE;
        if (says != ALONE) {
            memcpy(bufs[n - 1] + s->off, bufs[n] + s->off, s->len);
            if (says == SUPERSEDES) {
                s->gso_segs = (uint16_t)(s->gso_segs + s[-1].gso_segs);
                s->csum_ok = 1;
            }
            s[-1] = *s;
            if (says == SUPERSEDES)
                continue;
            s--;                                        /* now the newest, which the next frame may follow */
            n--;
            newest.count = 0;
        }
        if ((tap->flags & TRL_GRO_ACKS) && s->gso_size == 0) {
            uint8_t *first = n > 0 ? bufs[n - 1] + tap->vnet : NULL;
            if (trl_gro_behind(&newest, first, cap - tap->vnet, n > 0 ? s - 1 : NULL, bufs[n] + s->off, s, tap->flags))
                continue;
        } else if (newest.count > 0) {
            trl_gro_settle(&newest, bufs[n - 1] + tap->vnet, s - 1);
        }
        n++;
    }
    if (newest.count > 0)
        trl_gro_settle(&newest, bufs[n - 1] + tap->vnet, &res[n - 1]);
    return (int)n;
}

int trl_tap_read_gro(struct trl_tap *tap, uint32_t n, uint32_t slot, uint8_t *out, size_t cap, struct trl_slot *res)
{
    struct trl_gro_line g;
    if (n > TRL_GRO_MAX || (size_t)n * slot > cap || tap->vnet)
        return -1;
    trl_gro_line_begin(&g, out, cap, res, n, tap->flags);
    for (uint32_t seen = 0; seen < n; seen++) {
        uint8_t *f = trl_gro_line_place(&g, slot);
        size_t got = f ? read_one(tap, f, slot) : 0;
        if (got == 0 || got >= slot || (tap->guard && guarded(tap, f, got, NULL))) {
            trl_gro_line_skip(&g);
            if (got == 0)
                break;
            if (got >= slot)
                tap->rx_truncated++;
            continue;
        }
        trl_gro_line_add(&g, got);
        tap->rx_frames++;
        tap->rx_bytes += got;
    }
    return (int)trl_gro_line_end(&g);
}

/* ---- transmit ---- */

enum outcome { SENT, WOULD_BLOCK, REFUSED };

static enum outcome send_vec(struct trl_tap *tap, const struct iovec *v, int n)
{
    for (;;) {
        ssize_t sent = n == 1 ? write(tap->fd, v[0].iov_base, v[0].iov_len) : writev(tap->fd, v, n);
        if (sent >= 0) {
            tap->tx_bytes += (uint64_t)sent - tap->vnet;
            return SENT;
        }
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN)
            return WOULD_BLOCK;
        tap->error = errno;
        return REFUSED;
    }
}

static struct iovec piece(const void *base, size_t len)
{
    struct iovec v = {(void *)(uintptr_t)base, len};
    return v;
}

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, URG = 32 };

/* Whether the kernel's GRO might hold a frame back: its first len bytes, of total, are at f (trl_tap.napi). */
static int might_wait(const struct trl_tap *tap, const uint8_t *f, size_t len, size_t total)
{
    size_t l4 = tap->flags & TRL_PARSE_ETHERNET ? 14 : 0;
    if (len < l4 + 20)
        return 0;
    if (f[l4] >> 4 == 4) {
        if (l4 && get16(f + 12) != 0x0800)
            return 0;
        if (f[l4 + 9] != 6)
            return 0;
        l4 += (size_t)(f[l4] & 15) * 4;
    } else {
        if (f[l4] >> 4 != 6 || (l4 && get16(f + 12) != 0x86dd) || len < l4 + 40)
            return 0;
        if (f[l4 + 6] != 6)
            return f[l4 + 6] == 0 || f[l4 + 6] == 43 || f[l4 + 6] == 60;        /* TCP may be behind these */
        l4 += 40;
    }
    if (len < l4 + 14)
        return 0;
    return !(f[l4 + 13] & (FIN | SYN | RST | PSH | URG)) && total > l4 + (size_t)(f[l4 + 12] >> 4) * 4;
}

/* One frame as it is, its virtio header (if any) saying what is still to be done. */
static enum outcome send_whole(struct trl_tap *tap, const struct vnet_hdr *h, const struct trl_iov *p, uint32_t np)
{
    static const uint8_t padding[1];
    struct iovec v[PIECES + 2];
    size_t total = 0;
    int n = 0;
    if (tap->vnet)
        v[n++] = piece(h, tap->vnet);
    for (uint32_t i = 0; i < np; total += p[i++].len)
        v[n++] = piece(p[i].base, p[i].len);
    if (tap->napi && might_wait(tap, p[0].base, p[0].len, total))
        v[n++] = piece(padding, 1);
    return send_vec(tap, v, n);
}

/* A super-segment, split here. When the device blocks in the middle of it, what is left of it is dropped and counted, as on a full queue. */
static enum outcome send_split(struct trl_tap *tap, const struct trl_tx *x, const struct trl_iov *p, uint32_t np,
                               uint8_t *scratch, size_t cap)
{
    struct trl_gso_state g;
    const struct vnet_hdr none = {0};
    uint32_t sent = 0;
    if (trl_gso_begin(&g, p, np, tap->flags, x->gso_size) < 0) {
        tap->tx_malformed++;
        return SENT;
    }
    while (g.first || g.left > 0) {
        int n = trl_gso_next(&g, scratch, cap);
        if (n < 0) {
            tap->tx_malformed++;
            return SENT;
        }
        struct trl_iov one = {scratch, (size_t)n};
        struct iovec middle = {scratch, (size_t)n};     /* more follows, which ends the kernel's waiting */
        enum outcome o = g.left > 0 && !tap->vnet ? send_vec(tap, &middle, 1) : send_whole(tap, &none, &one, 1);
        if (o == WOULD_BLOCK && sent == 0)
            return WOULD_BLOCK;
        if (o != SENT) {
            tap->tx_dropped += 1 + (g.left + x->gso_size - 1) / x->gso_size;
            return SENT;
        }
        tap->tx_frames++;
        sent++;
    }
    return SENT;
}

/* A frame with a partial checksum: joined in scratch, and completed there. */
static enum outcome send_completed(struct trl_tap *tap, const struct trl_tx *x, const struct trl_iov *p, uint32_t np, size_t total,
                                   uint8_t *scratch, size_t cap)
{
    const struct vnet_hdr none = {0};
    size_t at = 0;
    if (total > cap)
        goto malformed;
    for (uint32_t i = 0; i < np; at += p[i++].len)
        memcpy(scratch + at, p[i].base, p[i].len);
    if (trl_checksum_complete(scratch, total, x->csum_start, x->csum_offset) < 0)
        goto malformed;
    struct trl_iov one = {scratch, total};
    return send_whole(tap, &none, &one, 1);
malformed:
    tap->tx_malformed++;
    tap->tx_frames--;                           /* the caller counts one */
    return SENT;
}

/* Fills in the virtio header of a frame whose checksum or segmentation is left to the kernel. Returns wire frames, or 0. */
static uint32_t describe(const struct trl_tap *tap, const struct trl_tx *x, const struct trl_iov *p, uint32_t np, struct vnet_hdr *h)
{
    memset(h, 0, sizeof *h);
    if (x->csum_start) {
        h->flags = NEEDS_CSUM;
        h->csum_start = x->csum_start;
        h->csum_offset = x->csum_offset;
    }
    if (!x->gso_size)
        return 1;
    struct trl_gso_state g;
    if (trl_gso_begin(&g, p, np, tap->flags, x->gso_size) < 0 || g.l4 != x->csum_start || x->csum_offset != 16)
        return 0;
    h->gso_type = g.version == 4 ? GSO_TCPV4 : GSO_TCPV6;
    if (g.flags_word & 128)
        h->gso_type |= GSO_ECN;
    h->gso_size = x->gso_size;
    h->hdr_len = (uint16_t)g.header;
    return (g.left + x->gso_size - 1) / x->gso_size;
}

static enum outcome send_frame(struct trl_tap *tap, const struct trl_tx *x, const struct trl_iov *p, uint32_t np, size_t total,
                               uint8_t *scratch, size_t cap)
{
    struct vnet_hdr h = {0};
    uint32_t segs = 1;
    enum outcome o;
    if (tap->vnet) {
        segs = describe(tap, x, p, np, &h);
        if (segs == 0)                          /* complete checksums, or headers behind which the kernel cannot see */
            return send_split(tap, x, p, np, scratch, cap);
        o = send_whole(tap, &h, p, np);
    } else if (x->gso_size) {
        return send_split(tap, x, p, np, scratch, cap);
    } else if (x->csum_start) {
        o = send_completed(tap, x, p, np, total, scratch, cap);
    } else {
        o = send_whole(tap, &h, p, np);
    }
    if (o == SENT)
        tap->tx_frames += segs;
    else if (o == REFUSED)
        tap->tx_dropped += segs;
    return o == WOULD_BLOCK ? WOULD_BLOCK : SENT;
}

int trl_tap_write(struct trl_tap *tap, const struct trl_tx *tx, uint32_t n, const uint8_t *heads,
                  const uint8_t *const *frags, const uint32_t *frag_lens, uint8_t *scratch, size_t scratch_cap)
{
    uint32_t f = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct trl_tx *x = &tx[i];
        struct trl_iov p[PIECES];
        uint32_t np = 0;
        uint8_t *work = scratch;
        size_t cap = scratch_cap, total = x->head_len;
        if (x->head_len > 0)
            p[np++] = (struct trl_iov){heads + x->head, x->head_len};
        for (uint32_t j = 0; j < x->nfrags; j++)
            total += frag_lens[f + j];
        if (x->nfrags + np <= PIECES) {
            for (uint32_t j = 0; j < x->nfrags; j++)
                p[np++] = (struct trl_iov){frags[f + j], frag_lens[f + j]};
        } else if (total <= cap) {              /* too many pieces for one writev: joined first */
            size_t at = x->head_len;
            memcpy(work, heads + x->head, at);
            for (uint32_t j = 0; j < x->nfrags; at += frag_lens[f + j++])
                memcpy(work + at, frags[f + j], frag_lens[f + j]);
            p[0] = (struct trl_iov){work, total};
            np = 1;
            work += total;
            cap -= total;
        } else {
            np = 0;
        }
        f += x->nfrags;
        if (np == 0 || total == 0) {
            tap->tx_malformed++;
            continue;
        }
        if (send_frame(tap, x, p, np, total, work, cap) == WOULD_BLOCK)
            return (int)i;
    }
    return (int)n;
}

int trl_tap_pair(struct trl_tap *tap, const uint8_t *head, uint32_t head_len, const uint8_t *rest, uint32_t rest_len,
                 uint16_t gso_size, uint16_t csum_start, uint16_t csum_offset, uint8_t *scratch, size_t scratch_cap)
{
    const struct trl_tx x = {0, head_len, 1, gso_size, csum_start, csum_offset, 0};
    const struct trl_iov p[2] = {{head, head_len}, {rest, rest_len}};
    uint32_t first = head_len == 0, pieces = rest_len == 0 ? 1 : 2;
    if (first >= pieces) {
        tap->tx_malformed++;
        return 1;
    }
    return send_frame(tap, &x, p + first, pieces - first, (size_t)head_len + rest_len, scratch, scratch_cap) != WOULD_BLOCK;
}

int trl_tap_put(struct trl_tap *tap, const uint8_t *frame, uint32_t len, uint16_t gso_size, uint16_t csum_start,
                uint16_t csum_offset, uint8_t *scratch, size_t scratch_cap)
{
    return trl_tap_pair(tap, frame, len, NULL, 0, gso_size, csum_start, csum_offset, scratch, scratch_cap);
}
