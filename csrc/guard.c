/*
 * The guard: what a device does with frames when more of them come than a stack in Python can look at. It is on only while there
 * is too much (the owner decides), and stands where the frames are read, as an XDP program does.
 *
 * What belongs to a known flow passes. A SYN for a listener is answered here with a SYN cookie (RFC 4987 section 3.6), so that
 * the ACK that returns it, whose cookie is checked here too, is the first the stack hears of the connection. Of everything
 * else each class has an allowance; what exceeds it is dropped and counted. So a flood of one kind starves neither the
 * established connections nor other kinds, and new connections are still made.
 */
#include "trl.h"
#include "wire.h"

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16, ECE = 64, CWR = 128 };
enum { TCP = 6, UDP = 17, ICMP = 1, ICMP6 = 58 };
enum { TIMESTAMP_BITS = 6, NO_WSCALE = 15, WSCALE_MAX = 14, MSS_DEFAULT = 536, MSS_DEFAULT_6 = 1220 };

/* ---- flows ---- */

static const uint8_t fixed_secret[16] = "known flows keys";

/* Not keyed with a secret: whoever finds collisions gains no more than to pass. 0 marks an empty place. */
static uint64_t flow_of(const uint8_t *key, size_t len)
{
    uint64_t h = trl_siphash(fixed_secret, key, len);
    return h ? h : 1;
}

int trl_guard_know(struct trl_guard *g, const uint8_t *key, uint32_t len)
{
    uint64_t flow = flow_of(key, len);
    uint32_t mask = g->known_cap - 1, at = (uint32_t)flow & mask;
    if (g->known_cap == 0 || g->known_n >= g->known_cap / 2)
        return -1;
    while (g->known[at] && g->known[at] != flow)
        at = (at + 1) & mask;
    g->known_n += g->known[at] == 0;
    g->known[at] = flow;
    return 0;
}

static int knows(const struct trl_guard *g, const struct trl_pkt *k)
{
    uint64_t flow = flow_of(k->key, k->key_len);
    uint32_t mask = g->known_cap - 1, at = (uint32_t)flow & mask;
    if (g->known_cap == 0)
        return 0;
    while (g->known[at] && g->known[at] != flow)
        at = (at + 1) & mask;
    return g->known[at] != 0;
}

/* ---- addresses ---- */

static int same_network(const struct trl_guard_address *a, const uint8_t *other)
{
    uint32_t bytes = a->prefix / 8, bits = a->prefix % 8;
    return memcmp(a->address, other, bytes) == 0
           && (bits == 0 || (a->address[bytes] ^ other[bytes]) >> (8 - bits) == 0);
}

/* Whether the packet is to an address of ours; near: from where an answer to its sender's station goes right. */
static int ours(const struct trl_guard *g, const struct trl_pkt *k, int *near)
{
    int found = 0;
    *near = k->ip_version == 4 ? g->gateway4 : g->gateway6;
    for (uint32_t i = 0; i < g->addresses_n; i++) {
        const struct trl_guard_address *a = &g->addresses[i];
        if (a->version != k->ip_version)
            continue;
        found |= memcmp(a->address, k->dst, a->version == 4 ? 4 : 16) == 0;
        *near |= same_network(a, k->src);
    }
    return found;
}

static const struct trl_guard_port *listener_of(const struct trl_guard *g, const struct trl_pkt *k)
{
    for (uint32_t i = 0; i < g->ports_n; i++) {
        const struct trl_guard_port *p = &g->ports[i];
        if (p->port == k->dport && p->version == k->ip_version
            && (p->any || memcmp(p->address, k->dst, k->ip_version == 4 ? 4 : 16) == 0))
            return p;
    }
    return NULL;
}

/* A source that is one host (RFC 1122 section 4.2.3.10). */
static int unicast(const struct trl_pkt *k)
{
    static const uint8_t none[16];
    if (k->ip_version == 4)
        return k->src[0] < 224 && k->src[0] != 127 && memcmp(k->src, none, 4) != 0;
    return k->src[0] != 0xff && memcmp(k->src, none, 16) != 0;
}

/* ---- verdicts ---- */

static int allowed(struct trl_guard *g, unsigned class)
{
    if (g->allow[class] > 0) {
        g->allow[class]--;
        return TRL_GUARD_PASS;
    }
    g->dropped[class]++;
    return TRL_GUARD_DROP;
}

/* Writes the SYN-ACK that carries a cookie, to the station the SYN came from. Its length. */
static int answer(struct trl_guard *g, const struct trl_guard_port *p, const struct trl_pkt *k, uint8_t *out, size_t cap)
{
    static const uint16_t both[2][4] = {{536, 1300, 1440, 1460}, {536, 1220, 1420, 1440}};
    const uint16_t *sizes = both[k->ip_version == 6];
    uint8_t template[54] = {0};
    size_t l3 = k->l3, alen = k->ip_version == 4 ? 4 : 16, length = l3 + (k->ip_version == 4 ? 20 : 40);
    uint8_t *ip = template + l3;
    if (l3) {
        memcpy(template, k->smac, 6);
        memcpy(template + 6, g->mac, 6);
        put16(template + 12, k->ethertype);
    }
    ip[0] = k->ip_version == 4 ? 0x45 : 0x60;
    ip[k->ip_version == 4 ? 8 : 7] = p->ttl;
    memcpy(ip + (k->ip_version == 4 ? 12 : 8), k->dst, alen);
    memcpy(ip + (k->ip_version == 4 ? 16 : 24), k->src, alen);

    uint32_t none = k->ip_version == 4 ? MSS_DEFAULT : MSS_DEFAULT_6, index = 0;
    uint32_t mss = k->tcp_options & TRL_OPT_MSS && k->mss ? k->mss : none;
    if (p->user_mss && p->user_mss < mss)
        mss = p->user_mss;
    while (index < 3 && sizes[index + 1] <= mss)
        index++;
    int ts = p->timestamps && (k->tcp_options & TRL_OPT_TIMESTAMP), ws = ts && p->scaling && (k->tcp_options & TRL_OPT_WSCALE);
    int sack = ts && p->sack && (k->tcp_options & TRL_OPT_SACK_PERMITTED);
    int ecn = ts && p->ecn && (k->tcp_flags & (ECE | CWR)) == (ECE | CWR) && !(k->tos & 3);
    struct trl_tcp_out seg = {
        .sport = k->dport, .dport = k->sport, .ack = k->seq + 1, .tcp_flags = SYN | ACK | (ecn ? ECE : 0), .mss = p->mss,
        .seq = trl_cookie(g->secret, k->key, k->key_len, k->seq, index, g->period),
        .tcp_options = TRL_OPT_MSS, .window = p->window[ts + ws], .wscale = p->wscale[ts + ws], .tos = p->reflect_tos ? k->tos & ~3 : p->tos,
        .dont_fragment = 1,
    };
    if (ts) {                                       /* the low bits of our timestamp keep what the sequence number cannot */
        uint32_t scale = k->wscale < WSCALE_MAX ? k->wscale : WSCALE_MAX;
        uint32_t clock = g->clock_ms + (g->offsets ? trl_timestamp_offset(g->secret, k->key, k->key_len) : 0);
        uint32_t low = (ws ? scale : NO_WSCALE) | (sack ? 16u : 0) | (ecn ? 32u : 0);
        seg.tsval = (clock & ~((1u << TIMESTAMP_BITS) - 1)) | low;
        if (seg.tsval > clock)
            seg.tsval -= 1u << TIMESTAMP_BITS;
        seg.tsecr = k->tsval;
        seg.tcp_options |= TRL_OPT_TIMESTAMP | (ws ? TRL_OPT_WSCALE : 0) | (sack ? TRL_OPT_SACK_PERMITTED : 0);
    }
    int n = trl_tcp_emit(out, cap, template, length, l3, &seg);
    if (n < 0 || trl_checksum_complete(out, (size_t)n, length, 16) < 0)
        return TRL_GUARD_DROP;
    g->cookies++;
    return n;
}

static int tcp(struct trl_guard *g, const struct trl_pkt *k, uint8_t *reply, size_t cap)
{
    int near, v;
    if (knows(g, k))
        return TRL_GUARD_PASS;
    uint16_t flags = k->tcp_flags & (SYN | ACK | RST | FIN);
    if (!ours(g, k, &near))
        return allowed(g, TRL_GUARD_OTHER);
    const struct trl_guard_port *p = listener_of(g, k);
    if (flags & RST) {                              /* nobody would answer it, and nobody be told */
        g->resets++;
        v = TRL_GUARD_DROP;
    } else if (p && flags == SYN && unicast(k)) {
        if (p->full) {
            g->overflows++;
            v = TRL_GUARD_DROP;
        } else if (!near) {
            g->unroutable++;
            v = TRL_GUARD_DROP;
        } else {
            v = answer(g, p, k, reply, cap);
        }
    } else if (p && (flags & ~FIN) == ACK
               && trl_cookie_check(g->secret, k->key, k->key_len, k->seq - 1, k->ack - 1, g->period) >= 0) {
        return TRL_GUARD_PASS;
    } else {
        return allowed(g, TRL_GUARD_TCP);
    }
    g->segments++;
    return v;
}

int trl_guard_check(struct trl_guard *g, const uint8_t *frame, size_t len, uint32_t flags, uint8_t *reply, size_t cap)
{
    struct trl_pkt k;
    int verdict = trl_parse(frame, len, flags & ~TRL_GRO_ACKS, &k);
    g->seen++;
    if (verdict == TRL_L3_OTHER && k.ethertype == 0x0806)
        return allowed(g, TRL_GUARD_NEIGHBOUR);
    if (verdict == TRL_L4_OTHER && k.proto == ICMP6 && k.payload_len > 0 && frame[k.payload] >= 133 && frame[k.payload] <= 137)
        return allowed(g, TRL_GUARD_NEIGHBOUR);
    if ((flags & TRL_PARSE_ETHERNET) && (len < 6 || memcmp(frame, g->mac, 6) != 0))
        return allowed(g, TRL_GUARD_OTHER);
    if (verdict == TRL_OK && k.proto == TCP)
        return tcp(g, &k, reply, cap);
    if (verdict == TRL_OK && k.proto == UDP)
        return allowed(g, TRL_GUARD_UDP);
    if (verdict == TRL_IP_FRAGMENT)
        return allowed(g, TRL_GUARD_FRAGMENT);
    if (verdict == TRL_L4_OTHER && (k.proto == ICMP || k.proto == ICMP6))
        return allowed(g, TRL_GUARD_ICMP);
    return allowed(g, TRL_GUARD_OTHER);
}

/* ---- captures ---- */

void trl_guard_log(struct trl_guard *g, uint32_t way, const uint8_t *frame, size_t len)
{
    if (!g->log)
        return;
    size_t n = trl_pcapng_packet(g->log + g->log_used, g->log_cap - g->log_used, g->log_interface, g->log_stamp, way, frame, (uint32_t)len);
    g->log_used += (uint32_t)n;
    g->log_packets += n > 0;
    g->log_lost += n == 0;
}
