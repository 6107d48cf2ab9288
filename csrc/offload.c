/*
 * Segmentation and its inverse. GSO splits a TCP super-segment into wire frames, copying and summing the payload in one pass;
 * GRO coalesces a batch of wire frames into super-segments, by the rules of Linux's tcp_gro_receive.
 *
 * Invariant: GRO undoes GSO. A super-segment split and coalesced again is the same bytes (for PSH and FIN, which end a
 * super-segment, and payloads of at least one byte).
 */
#include "offload.h"
#include "wire.h"

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32, CWR = 128 };

/* ---- GSO ---- */

/* Where the headers are: IPv4 or IPv6 (extension headers skipped), then TCP; all of them in the first piece. 0 or -1. */
static int find_headers(struct trl_gso_state *g, const uint8_t *p, size_t len, uint32_t flags)
{
    size_t l3 = flags & TRL_PARSE_ETHERNET ? 14 : 0, l4;
    if (len < l3 + 20)
        return -1;
    g->version = p[l3] >> 4;
    if (g->version == 4) {
        l4 = l3 + (size_t)(p[l3] & 15) * 4;
        if (l4 < l3 + 20 || p[l3 + 9] != 6 || (get16(p + l3 + 6) & 0x3fff) != 0)
            return -1;
    } else {
        l4 = l3 + 40;
        if (g->version != 6 || len < l4)
            return -1;
        for (uint8_t next = p[l3 + 6]; next != 6;) {
            if ((next != 0 && next != 43 && next != 60) || len - l4 < 8)
                return -1;
            next = p[l4];
            l4 += ((size_t)p[l4 + 1] + 1) * 8;
            if (l4 > len)
                return -1;
        }
    }
    if (len < l4 || len - l4 < 20)
        return -1;
    g->l3 = l3;
    g->l4 = l4;
    g->header = l4 + (size_t)(p[l4 + 12] >> 4) * 4;
    return g->header < l4 + 20 || g->header > len ? -1 : 0;
}

int trl_gso_begin(struct trl_gso_state *g, const struct trl_iov *iov, uint32_t niov, uint32_t flags, uint32_t gso_size)
{
    if (niov == 0 || gso_size == 0 || find_headers(g, iov[0].base, iov[0].len, flags) < 0)
        return -1;
    const uint8_t *ip = iov[0].base + g->l3, *tcp = iov[0].base + g->l4;
    size_t total = 0, l3_len;
    for (uint32_t i = 0; i < niov; i++)
        total += iov[i].len;
    l3_len = g->version == 4 ? get16(ip + 2) : 40u + get16(ip + 4);
    if (l3_len > total - g->l3 || l3_len < g->header - g->l3)
        return -1;
    g->iov = iov;
    g->niov = niov;
    g->at = 0;
    g->used = g->header;
    g->left = (uint32_t)(l3_len - (g->header - g->l3));
    g->size = gso_size;
    g->seq = get32(tcp + 4);
    g->flags_word = get16(tcp + 12);
    g->first = 1;
    g->ip_id = 0;
    g->ip_base = 0;
    if (g->version == 4) {              /* all but total length, id and checksum */
        g->ip_id = get16(ip + 4);
        g->ip_base = (uint64_t)get16(ip) + trl_sum(ip + 6, 4, 0) + trl_sum(ip + 12, g->l4 - g->l3 - 12, 0);
        g->tcp_base = trl_sum(ip + 12, 8, 0);
    } else {
        g->tcp_base = trl_sum(ip + 8, 32, 0);
    }
    /* the pseudo-header but for the length, and all of the TCP header but sequence number, flags and checksum */
    g->tcp_base += 6u + (uint64_t)trl_sum(tcp, 4, 0) + trl_sum(tcp + 8, 4, 0) + get16(tcp + 14)
                   + trl_sum(tcp + 18, g->header - g->l4 - 18, 0);
    return 0;
}

/* Copies n payload bytes from the pieces and returns their sum (a host number, not folded). */
static uint64_t take(struct trl_gso_state *g, uint8_t *out, size_t n)
{
    uint64_t sum = 0;
    size_t done = 0;
    while (done < n) {
        const struct trl_iov *v = &g->iov[g->at];
        size_t step = v->len - g->used;
        if (step == 0) {
            g->at++;
            g->used = 0;
            continue;
        }
        if (step > n - done)
            step = n - done;
        uint16_t s = to_host_sum(fold(trl_raw_copy_sum(out + done, v->base + g->used, step)));
        sum += done & 1 ? swap16(s) : s;            /* a piece that starts at an odd place has its bytes the other way round */
        g->used += step;
        done += step;
    }
    return sum;
}

int trl_gso_next(struct trl_gso_state *g, uint8_t *out, size_t cap)
{
    if (g->left == 0 && !g->first)
        return 0;
    uint32_t n = g->left < g->size ? g->left : g->size;
    size_t l4_len = g->header - g->l4 + n, l3_len = g->header - g->l3 + n;
    if (g->header + n > cap)
        return -1;
    memcpy(out, g->iov[0].base, g->header);
    uint8_t *ip = out + g->l3, *tcp = out + g->l4;
    uint16_t word = g->flags_word;
    if (n < g->left)
        word &= (uint16_t)~(FIN | PSH);
    if (!g->first)
        word &= (uint16_t)~CWR;
    if (g->version == 4) {
        put16(ip + 2, (uint16_t)l3_len);
        put16(ip + 4, g->ip_id);
        put16(ip + 10, (uint16_t)~fold(g->ip_base + l3_len + g->ip_id));
        g->ip_id++;
    } else {
        put16(ip + 4, (uint16_t)(l3_len - 40));
    }
    put32(tcp + 4, g->seq);
    put16(tcp + 12, word);
    uint64_t sum = g->tcp_base + l4_len + word + (g->seq >> 16) + (g->seq & 0xffffu) + take(g, out + g->header, n);
    put16(tcp + 16, (uint16_t)~fold(sum));
    g->seq += n;
    g->left -= n;
    g->first = 0;
    return (int)(g->header + n);
}

int trl_gso_iov(const struct trl_iov *iov, uint32_t niov, uint32_t flags, uint32_t gso_size,
                uint8_t *out, size_t cap, uint32_t *lens, uint32_t max)
{
    struct trl_gso_state g;
    if (trl_gso_begin(&g, iov, niov, flags, gso_size) < 0)
        return -1;
    uint32_t count = 0;
    size_t at = 0;
    while (g.first || g.left > 0) {
        int n = count < max ? trl_gso_next(&g, out + at, cap - at) : -1;
        if (n < 0)
            return -1;
        lens[count++] = (uint32_t)n;
        at += (size_t)n;
    }
    return (int)count;
}

int trl_gso(const uint8_t *frame, size_t len, uint32_t flags, uint32_t gso_size,
            uint8_t *out, size_t cap, uint32_t *lens, uint32_t max)
{
    struct trl_iov whole = {frame, len};
    return trl_gso_iov(&whole, 1, flags, gso_size, out, cap, lens, max);
}

int trl_gso_split(const uint8_t *head, size_t head_len, const uint8_t *payload, size_t payload_len, uint32_t flags,
                  uint32_t gso_size, uint8_t *out, size_t cap)
{
    struct trl_gso_state g;
    struct trl_iov iov[2] = {{head, head_len}, {payload, payload_len}};
    if (trl_gso_begin(&g, iov, 2, flags, gso_size) < 0 || g.left != head_len + payload_len - g.header)
        return -1;
    for (size_t at = 0; g.first || g.left > 0;) {
        int n = trl_gso_next(&g, out + at, cap - at);
        if (n < 0)
            return -1;
        at += (size_t)n;
    }
    return (int)g.header;
}

/* ---- GRO ---- */

enum { NONE = 0xffff, BUCKETS = 256 };

struct gro {
    const uint8_t *buf;
    const struct trl_slot *in;
    uint16_t next[TRL_GRO_MAX];         /* next frame of the same group */
    uint16_t bucket[BUCKETS];           /* newest group of a flow is found first */
    struct trl_gro_group group[TRL_GRO_MAX];
};

static const uint8_t *frame_at(const struct gro *g, uint16_t i) { return g->buf + g->in[i].off; }

/* The 12 or 36 bytes that identify a flow lie apart in the frame: addresses in the IP header, ports in TCP's. */
static int same_flow(const struct gro *g, const struct trl_gro_group *a, const uint8_t *f, const struct trl_pkt *k)
{
    const uint8_t *b = frame_at(g, a->first);
    size_t at = k->ip_version == 4 ? 12 : 8, n = k->ip_version == 4 ? 8 : 32;
    return a->version == k->ip_version && memcmp(b + a->l3 + at, f + k->l3 + at, n) == 0
           && memcmp(b + a->l4, f + k->l4, 4) == 0;
}

static uint32_t bucket_of(const struct trl_pkt *k)
{
    uint32_t h = ((uint32_t)k->sport << 16 | k->dport) ^ get32(k->src) ^ get32(k->src + 12) * 31u;
    return h * 0x9e3779b1u >> 24;
}

/* Whether the frame's IP header lets it follow the group's (inet_gro_receive, ipv6_gro_receive). Settles fixed_id. */
static int ip_follows(struct trl_gro_group *a, const uint8_t *first, const uint8_t *f, const struct trl_pkt *k)
{
    const uint8_t *p = first + a->l3, *q = f + k->l3;
    if (k->l3 != a->l3 || memcmp(first, f, a->l3) != 0)
        return 0;
    if (a->version == 6)                            /* version, class and flow label; next header; hop limit */
        return memcmp(p, q, 4) == 0 && p[6] == q[6] && p[7] == q[7];
    if (p[1] != q[1] || p[8] != q[8] || ((p[6] ^ q[6]) & 0x40))
        return 0;
    uint16_t ahead = (uint16_t)(get16(q + 4) - get16(p + 4));
    if (a->count == 1)
        a->fixed_id = (p[6] & 0x40) && ahead == 0;
    return ahead == (a->fixed_id ? 0 : a->count);
}

/* Whether frame f continues group a, whose first frame is at first. */
static int follows(struct trl_gro_group *a, const uint8_t *first, const uint8_t *f, const struct trl_pkt *k)
{
    const uint8_t *p = first + a->l4, *q = f + k->l4;
    uint32_t n = k->payload_len;
    if (!a->open || n == 0 || n > a->mss || k->seq != a->next_seq || (k->tcp_flags & CWR))
        return 0;
    if (k->payload - k->l4 != a->header - a->l4
        || ((get16(p + 12) ^ get16(q + 12)) & ~(CWR | FIN | PSH)) != 0
        || memcmp(p + 8, q + 8, 4) != 0 || memcmp(p + 14, q + 14, 2) != 0
        || memcmp(p + 20, q + 20, (size_t)(a->header - a->l4 - 20)) != 0)
        return 0;
    if ((uint32_t)(a->header - a->l3) + a->payload + n > 65535)
        return 0;
    return ip_follows(a, first, f, k);
}

static uint32_t stamp(const struct trl_pkt *k) { return k->tcp_options & TRL_OPT_TIMESTAMP ? k->tsval : 0; }

/* Nothing but an acknowledgement: no text, no other flag, no option but a timestamp. */
static int pure_ack(const struct trl_pkt *k)
{
    return k->proto == 6 && k->payload_len == 0 && k->tcp_flags == ACK && k->ip_options == 0
           && (k->tcp_options & ~TRL_OPT_TIMESTAMP) == 0;
}

int trl_ack_supersedes(const uint8_t *old, const struct trl_pkt *o, const uint8_t *f, const struct trl_pkt *k)
{
    if (!pure_ack(o) || !pure_ack(k) || o->key_len != k->key_len || memcmp(o->key, k->key, k->key_len) != 0)
        return 0;
    if (o->payload != k->payload || o->l3 != k->l3 || memcmp(old, f, k->l3) != 0 || o->tcp_options != k->tcp_options)
        return 0;
    if (o->tos != k->tos || o->ttl != k->ttl || (k->ip_version == 6 && memcmp(old + k->l3, f + k->l3, 4) != 0))
        return 0;
    return k->seq == o->seq && k->ack != o->ack && k->ack - o->ack < 1u << 31 && stamp(k) - stamp(o) < 1u << 31;
}

int trl_ack_carried(const uint8_t *old, const struct trl_pkt *o, const uint8_t *f, const struct trl_pkt *k)
{
    if (!pure_ack(o) || o->tcp_options != TRL_OPT_TIMESTAMP || k->proto != 6 || k->ip_options != 0
        || k->tcp_options != TRL_OPT_TIMESTAMP || (k->tcp_flags & ~(PSH | FIN)) != ACK
        || (k->payload_len == 0 && !(k->tcp_flags & FIN)) || o->key_len != k->key_len
        || memcmp(o->key, k->key, k->key_len) != 0)
        return 0;
    if (o->payload != k->payload || o->l3 != k->l3 || memcmp(old, f, k->l3) != 0 || o->tos != k->tos || o->ttl != k->ttl
        || (k->ip_version == 6 && memcmp(old + k->l3, f + k->l3, 4) != 0))
        return 0;
    return k->seq == o->seq && k->ack - o->ack < 1u << 31 && k->tsval - o->tsval < 1u << 31;
}

static void grow(struct trl_gro_group *a, const struct trl_pkt *k)
{
    a->count++;
    a->payload += k->payload_len;
    a->next_seq += k->payload_len;
    a->add_flags |= k->tcp_flags & (FIN | PSH);
    a->open = k->payload_len == a->mss && !(k->tcp_flags & (FIN | PSH));
}

/* A group of one TCP segment. */
static void found(struct trl_gro_group *a, const struct trl_pkt *k)
{
    a->l3 = k->l3;
    a->l4 = k->l4;
    a->header = k->payload;
    a->version = k->ip_version;
    a->payload = a->mss = k->payload_len;
    a->next_seq = k->seq + k->payload_len;
    a->open = k->ip_options == 0 && k->payload_len > 0 && k->payload_len <= 0xffff
              && !(k->tcp_flags & (FIN | SYN | RST | PSH | URG));
    a->pure = (uint8_t)pure_ack(k);
}

/* Sorts frame i into the groups. Returns the number of groups. */
static uint32_t sort_in(struct gro *g, uint32_t groups, uint16_t i, uint32_t flags, struct trl_pkt *k)
{
    const uint8_t *f = frame_at(g, i);
    uint32_t parse = flags & ~TRL_GRO_ACKS;
    int verdict = trl_parse(f, g->in[i].len, parse | (g->in[i].csum_ok ? TRL_PARSE_L4_TRUSTED : 0), k);
    int tcp = verdict == TRL_OK && k->proto == 6;
    uint16_t *head = NULL;
    if (tcp) {
        head = &g->bucket[bucket_of(k)];
        uint16_t at = *head;
        while (at != NONE && !same_flow(g, &g->group[at], f, k))
            at = g->group[at].chain;
        if (at != NONE) {
            struct trl_gro_group *a = &g->group[at];
            if (k->ip_options == 0 && follows(a, frame_at(g, a->first), f, k)) {
                g->next[a->last] = i;
                a->last = i;
                grow(a, k);
                return groups;
            }
            struct trl_pkt last;
            if ((flags & TRL_GRO_ACKS) && a->pure
                && trl_parse(frame_at(g, a->last), g->in[a->last].len, parse | TRL_PARSE_L4_TRUSTED, &last) == TRL_OK
                && trl_ack_supersedes(frame_at(g, a->last), &last, f, k)) {
                a->last = i;
                a->count++;
                return groups;
            }
            a->open = 0;                            /* what comes later of this flow must not overtake this frame */
        }
    }
    struct trl_gro_group *a = &g->group[groups];
    memset(a, 0, sizeof *a);
    a->first = a->last = i;
    a->count = 1;
    a->csum_ok = g->in[i].csum_ok || verdict == TRL_OK;
    a->chain = NONE;
    if (tcp) {
        found(a, k);
        a->chain = *head;
        *head = (uint16_t)groups;
    }
    return groups + 1;
}

/* The headers, at out, of a group of several frames that has become one; the checksum stays open. */
static void complete(const struct trl_gro_group *a, uint8_t *out)
{
    uint8_t *ip = out + a->l3, *tcp = out + a->l4;
    uint32_t end = (uint32_t)a->header + a->payload, l3_len = end - a->l3, l4_len = end - a->l4;
    tcp[13] |= (uint8_t)a->add_flags;
    if (a->version == 4) {
        put16(ip + 2, (uint16_t)l3_len);
        put16(ip + 10, 0);
        put16(ip + 10, trl_checksum(ip, 20, 0));
        put16(tcp + 16, pseudo_sum(ip + 12, ip + 16, 4, 6, l4_len));
    } else {
        put16(ip + 4, (uint16_t)(l3_len - 40));
        put16(tcp + 16, pseudo_sum(ip + 8, ip + 24, 16, 6, l4_len));
    }
}

static void describe(const struct trl_gro_group *a, size_t off, size_t len, struct trl_slot *s)
{
    memset(s, 0, sizeof *s);
    s->off = (uint32_t)off;
    s->len = (uint32_t)len;
    s->gso_segs = a->count;
    s->csum_ok = a->csum_ok;
    s->hdr_len = (uint8_t)(a->header < 256 ? a->header : 0);
    if (a->count > 1 && !a->pure) {
        s->gso_size = (uint16_t)a->mss;
        s->csum_start = a->l4;
        s->csum_offset = 16;
    }
}

/* Writes a group of several frames as one. */
static void join(const struct gro *g, const struct trl_gro_group *a, uint8_t *out)
{
    const uint8_t *f = frame_at(g, a->first);
    memcpy(out, f, a->header + a->mss);
    size_t at = a->header + a->mss, end = a->header + a->payload;
    for (uint16_t i = a->first; i != a->last;) {
        i = g->next[i];
        size_t n = end - at < a->mss ? end - at : a->mss;
        memcpy(out + at, frame_at(g, i) + a->header, n);
        at += n;
    }
    complete(a, out);
}

int trl_gro(const uint8_t *buf, const struct trl_slot *in, uint32_t n, uint32_t flags,
            uint8_t *out, size_t cap, struct trl_slot *res, uint32_t max)
{
    struct gro g;
    struct trl_pkt k;
    if (n > TRL_GRO_MAX)
        return -1;
    g.buf = buf;
    g.in = in;
    memset(g.bucket, 0xff, sizeof g.bucket);
    uint32_t groups = 0;
    for (uint32_t i = 0; i < n; i++)
        groups = sort_in(&g, groups, (uint16_t)i, flags, &k);
    if (groups > max)
        return -1;
    size_t at = 0;
    for (uint32_t j = 0; j < groups; j++) {
        const struct trl_gro_group *a = &g.group[j];
        size_t len = a->count > 1 && !a->pure ? (size_t)a->header + a->payload : in[a->last].len;
        if (len > cap - at)
            return -1;
        describe(a, at, len, &res[j]);
        if (a->count > 1 && !a->pure)
            join(&g, a, out + at);
        else
            memcpy(out + at, frame_at(&g, a->last), len);
        at += len;
    }
    return (int)groups;
}

/* ---- GRO in a line ---- */

void trl_gro_line_begin(struct trl_gro_line *g, uint8_t *out, size_t cap, struct trl_slot *res, uint32_t max, uint32_t flags)
{
    g->out = out;
    g->cap = cap;
    g->res = res;
    g->max = max;
    g->flags = flags;
    g->count = 0;
    g->start = g->end = g->kept = 0;
    memset(&g->newest, 0, sizeof g->newest);
}

uint8_t *trl_gro_line_place(struct trl_gro_line *g, size_t room)
{
    const struct trl_gro_group *a = &g->newest;
    if (g->count >= g->max || g->end > g->cap || room > g->cap - g->end)
        return NULL;
    g->kept = a->open && a->header <= sizeof g->head ? a->header : 0;
    memcpy(g->head, g->out + g->end - g->kept, g->kept);
    return g->out + g->end - g->kept;
}

void trl_gro_line_skip(struct trl_gro_line *g)
{
    memcpy(g->out + g->end - g->kept, g->head, g->kept);
    g->kept = 0;
}

/* The newest group takes no more frames. */
static void settle(struct trl_gro_line *g)
{
    const struct trl_gro_group *a = &g->newest;
    if (a->count == 0)
        return;
    if (a->count > 1 && !a->pure)
        complete(a, g->out + g->start);
    describe(a, g->start, g->end - g->start, &g->res[g->count - 1]);
}

void trl_gro_line_add(struct trl_gro_line *g, size_t len)
{
    struct trl_gro_group *a = &g->newest;
    struct trl_pkt k, old;
    uint8_t *f = g->out + g->end - g->kept;
    uint32_t parse = g->flags & ~TRL_GRO_ACKS;
    int verdict = trl_parse(f, len, parse, &k), tcp = verdict == TRL_OK && k.proto == 6;
    int whole = tcp && len == (size_t)k.payload + k.payload_len;        /* nothing behind the packet */
    if (g->kept && whole && k.ip_options == 0 && k.payload == a->header) {
        const uint8_t *first = g->out + g->start;
        size_t at = k.ip_version == 4 ? 12 : 8, n = k.ip_version == 4 ? 8 : 32;
        /* The frame lies over the end of the one before: of a group of one small frame, over its header too, which is in g->head. */
        uint8_t head[2 * sizeof g->head];
        if (g->end - g->start < 2 * (size_t)a->header) {
            size_t left = g->end - g->start - a->header;
            memcpy(head, first, left < a->header ? left : a->header);
            if (left < a->header)
                memcpy(head + left, g->head, a->header - left);
            first = head;
        }
        if (k.ip_version == a->version && memcmp(first + a->l3 + at, f + k.l3 + at, n) == 0
            && memcmp(first + a->l4, f + k.l4, 4) == 0 && follows(a, first, f, &k)) {
            trl_gro_line_skip(g);
            g->end += k.payload_len;
            grow(a, &k);
            return;
        }
    }
    if (tcp && a->count && a->pure && (g->flags & TRL_GRO_ACKS)
        && trl_parse(g->out + g->start, g->end - g->start, parse | TRL_PARSE_L4_TRUSTED, &old) == TRL_OK
        && trl_ack_supersedes(g->out + g->start, &old, f, &k)) {
        memmove(g->out + g->start, f, len);
        g->end = g->start + len;
        a->count++;
        return;
    }
    if (g->kept) {
        memmove(f + g->kept, f, len);
        trl_gro_line_skip(g);
    }
    settle(g);
    memset(a, 0, sizeof *a);
    a->count = 1;
    a->csum_ok = verdict == TRL_OK;
    if (tcp)
        found(a, &k);
    a->open = a->open && whole;
    g->start = g->end;
    g->end += len;
    g->count++;
}

uint32_t trl_gro_line_end(struct trl_gro_line *g)
{
    settle(g);
    return g->count;
}

/* ---- GRO of neighbours ---- */

void trl_gro_settle(struct trl_gro_group *a, uint8_t *first, struct trl_slot *of_first)
{
    if (a->count > 1) {
        complete(a, first);
        describe(a, of_first->off, (size_t)a->header + a->payload, of_first);
    }
    a->count = 0;
}

int trl_gro_behind(struct trl_gro_group *a, uint8_t *first, size_t cap, struct trl_slot *of_first, const uint8_t *f, struct trl_slot *s,
                   uint32_t flags)
{
    struct trl_pkt k;
    uint32_t parse = (flags & ~TRL_GRO_ACKS) | (s->csum_ok ? TRL_PARSE_L4_TRUSTED : 0);
    int verdict = trl_parse(f, s->len, parse, &k), tcp = verdict == TRL_OK && k.proto == 6;
    int whole = tcp && s->len == (size_t)k.payload + k.payload_len;    /* nothing behind the packet */
    if (a->count > 0 && whole && k.ip_options == 0 && k.ip_version == a->version
        && (size_t)a->header + a->payload + k.payload_len <= cap) {
        size_t at = k.ip_version == 4 ? 12 : 8, n = k.ip_version == 4 ? 8 : 32;
        if (memcmp(first + a->l3 + at, f + k.l3 + at, n) == 0 && memcmp(first + a->l4, f + k.l4, 4) == 0
            && follows(a, first, f, &k)) {
            memcpy(first + a->header + a->payload, f + k.payload, k.payload_len);
            grow(a, &k);
            return 1;
        }
    }
    if (a->count > 0)
        trl_gro_settle(a, first, of_first);
    if (verdict == TRL_OK)
        s->csum_ok = 1;
    memset(a, 0, sizeof *a);
    if (whole) {
        found(a, &k);
        a->count = 1;
        a->csum_ok = 1;
    }
    return 0;
}
