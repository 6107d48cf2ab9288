/*
 * One-pass parse and build: Ethernet (RFC 894), IPv4 (RFC 791, 1122), IPv6 (RFC 8200, 5095, 6946), UDP (RFC 768), TCP (RFC 9293).
 *
 * The parser is total: every offset is checked against what is really there before it is read, chains of options and
 * extension headers are bounded, and the verdict names the first rule that was broken. It judges form alone: whether an
 * address is ours, or a source martian, is for the stack.
 */
#include "trl.h"
#include "wire.h"

enum { TCP = 6, UDP = 17 };
enum { FIN = 1, SYN = 2, PSH = 8, ACK = 16 };
enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60 };
enum { PADN = 1, ROUTER_ALERT = 5, JUMBO = 0xc2 };
enum { SEGMENTS = 3, SEGMENT_LIST = 4 };        /* routing types of RFC 6554 and RFC 8754, which are off */
enum { OPTIONS_MAX = 8, PADDING_MAX = 7 };      /* Linux's max_hbh_opts_number; RFC 4942 section 2.1.9.5 */
enum { EXTENSION_HEADERS_MAX = 8 };             /* RFC 8504 section 5.3 allows the limit; a chain of 8 fits 16-bit offsets */

/* ---- options ---- */

static int option_error(struct trl_pkt *k, size_t at, uint8_t code)
{
    k->icmp_code = code;
    k->error_at = (uint16_t)at;
    return TRL_IP_OPTIONS;
}

/* IPv4 (RFC 791 section 3.1): END, NOP, or kind, length >= 2, data. */
static int ipv4_options(const uint8_t *ip, size_t ihl, struct trl_pkt *k)
{
    for (size_t i = 20; i < ihl && ip[i] != 0;) {
        if (ip[i] == 1) {
            i++;
        } else {
            if (ihl - i < 2)
                return option_error(k, i, 0);
            if (ip[i + 1] < 2 || ip[i + 1] > ihl - i)
                return option_error(k, i + 1, 0);
            i += ip[i + 1];
        }
    }
    return TRL_OK;
}

/* A hop-by-hop option that is known, of `length` bytes of data: Linux's ipv6_hop_ra and ipv6_hop_jumbo. */
static int known_option(const uint8_t *ip, size_t at, size_t length, struct trl_pkt *k)
{
    if (ip[at] == ROUTER_ALERT)
        return length == 2 ? TRL_OK : option_error(k, at, TRL_SILENT);
    if (length != 4 || (at & 3) != 2)
        return option_error(k, at, TRL_SILENT);
    return option_error(k, get32(ip + at + 2) <= 65535 ? at + 2 : at, 0);   /* no payload here exceeds 65535 */
}

/* The TLVs of a hop-by-hop or destination options header (RFC 8200 section 4.2) in [at, end) of the packet. As in Linux
   (ip6_parse_tlv), what is malformed is dropped in silence, as are more than 8 options and padding past a word. */
static int ipv6_options(const uint8_t *ip, size_t at, size_t end, int hop, struct trl_pkt *k)
{
    unsigned count = 0;
    size_t padding = 0;
    while (at < end) {
        if (ip[at] == 0) {                      /* Pad1 */
            if (++padding > PADDING_MAX)
                return option_error(k, at, TRL_SILENT);
            at++;
            continue;
        }
        size_t length = end - at < 2 ? 0 : ip[at + 1];
        if (end - at < 2 || length + 2 > end - at)
            return option_error(k, at, TRL_SILENT);
        if (ip[at] == PADN) {
            padding += length + 2;
            for (size_t i = 0; i < length; i++)
                padding += ip[at + 2 + i] ? PADDING_MAX + 1 : 0;
            if (padding > PADDING_MAX)
                return option_error(k, at, TRL_SILENT);
        } else {
            if (++count > OPTIONS_MAX)
                return option_error(k, at, TRL_SILENT);
            if (hop && (ip[at] == ROUTER_ALERT || ip[at] == JUMBO)) {
                if (known_option(ip, at, length, k) != TRL_OK)
                    return TRL_IP_OPTIONS;
            } else if ((ip[at] & 0xc0) != 0) {  /* unknown, and its top bits do not say "skip" */
                return option_error(k, at, 2);
            }
            padding = 0;
        }
        at += length + 2;
    }
    return TRL_OK;
}

/* TCP (RFC 9293 section 3.1, RFC 7323, RFC 2018): [i, end) of the TCP header. */
static void tcp_options(const uint8_t *tcp, size_t end, struct trl_pkt *k)
{
    size_t i = 20;
    /* What nearly every segment of a connection carries: NOP NOP TS. */
    if (end == 32 && get32(tcp + 20) == 0x0101080au) {
        k->tcp_options = TRL_OPT_TIMESTAMP;
        k->tsval = get32(tcp + 24);
        k->tsecr = get32(tcp + 28);
        return;
    }
    while (i < end && tcp[i] != 0) {
        const uint8_t *o = tcp + i;
        if (o[0] == 1) {
            i++;
            continue;
        }
        if (end - i < 2 || o[1] < 2 || o[1] > end - i) {
            k->tcp_options |= TRL_OPT_MALFORMED;
            return;
        }
        uint8_t length = o[1];
        uint16_t bit = TRL_OPT_MALFORMED;
        switch (o[0]) {
        case 2:
            if (length == 4) {
                bit = TRL_OPT_MSS;
                k->mss = get16(o + 2);
            }
            break;
        case 3:
            if (length == 3) {
                bit = TRL_OPT_WSCALE;
                k->wscale = o[2];
            }
            break;
        case 4:
            if (length == 2)
                bit = TRL_OPT_SACK_PERMITTED;
            break;
        case 5:
            if (length >= 10 && (length - 2) % 8 == 0) {
                bit = TRL_OPT_SACK;
                k->nsack = (uint8_t)((length - 2) / 8);     /* at most 4: options are at most 40 bytes */
                for (unsigned b = 0; b < 2u * k->nsack; b++)
                    k->sack[b] = get32(o + 2 + 4 * b);
            }
            break;
        case 8:
            if (length == 10) {
                bit = TRL_OPT_TIMESTAMP;
                k->tsval = get32(o + 2);
                k->tsecr = get32(o + 6);
            }
            break;
        case 19:
            bit = length == 18 ? TRL_OPT_UNKNOWN | TRL_OPT_MD5 : TRL_OPT_UNKNOWN;
            break;
        default:
            bit = TRL_OPT_UNKNOWN;
        }
        k->tcp_options |= bit;
        i += length;
    }
}

/* ---- layer 4 ---- */

static void ports(const uint8_t *l4, struct trl_pkt *k)
{
    size_t alen = k->ip_version == 4 ? 4 : 16;
    k->sport = get16(l4);
    k->dport = get16(l4 + 2);
    memcpy(k->key, k->dst, alen);
    memcpy(k->key + alen, k->src, alen);
    memcpy(k->key + 2 * alen, l4 + 2, 2);
    memcpy(k->key + 2 * alen + 2, l4, 2);
    k->key_len = (uint8_t)(2 * alen + 4);
}

static int l4_sum_is_bad(const uint8_t *l4, uint32_t len, const struct trl_pkt *k)
{
    uint16_t sum = pseudo_sum(k->src, k->dst, k->ip_version == 4 ? 4 : 16, k->proto, len);
    return trl_sum(l4, len, sum) != 0xffff;
}

static int parse_udp(const uint8_t *l4, uint32_t len, uint32_t flags, struct trl_pkt *k)
{
    if (len < 8)
        return TRL_UDP_SHORT;
    ports(l4, k);
    uint32_t length = get16(l4 + 4);
    if (length < 8 || length > len)
        return TRL_UDP_SHORT;
    k->payload = (uint16_t)(k->l4 + 8);
    k->payload_len = length - 8;
    if (flags & TRL_PARSE_L4_TRUSTED)
        return TRL_OK;
    if (get16(l4 + 6) == 0)                     /* none: allowed on IPv4 (RFC 768), not on IPv6 (RFC 8200 section 8.1) */
        return k->ip_version == 4 ? TRL_OK : TRL_UDP_CHECKSUM;
    return l4_sum_is_bad(l4, length, k) ? TRL_UDP_CHECKSUM : TRL_OK;
}

static int parse_tcp(const uint8_t *l4, uint32_t len, uint32_t flags, struct trl_pkt *k)
{
    if (len < 20)
        return TRL_TCP_SHORT;
    ports(l4, k);
    uint32_t header = (uint32_t)(l4[12] >> 4) * 4;
    k->seq = get32(l4 + 4);
    k->ack = get32(l4 + 8);
    k->tcp_flags = get16(l4 + 12) & 0x1ff;
    k->window = get16(l4 + 14);
    k->urgent = get16(l4 + 18);
    if (header < 20 || header > len)
        return TRL_TCP_OFFSET;
    k->payload = (uint16_t)(k->l4 + header);
    k->payload_len = len - header;
    if (!(flags & TRL_PARSE_L4_TRUSTED) && l4_sum_is_bad(l4, len, k))
        return TRL_TCP_CHECKSUM;
    if (header > 20)
        tcp_options(l4, header, k);
    return TRL_OK;
}

/* The L4 message is len bytes at k->l4. */
static int parse_l4(const uint8_t *buf, uint32_t len, uint32_t flags, struct trl_pkt *k)
{
    k->payload = k->l4;
    k->payload_len = len;
    if (k->proto == TCP)
        return parse_tcp(buf + k->l4, len, flags, k);
    if (k->proto == UDP)
        return parse_udp(buf + k->l4, len, flags, k);
    return TRL_L4_OTHER;
}

/* ---- layer 3 ---- */

static int parse_ipv4(const uint8_t *buf, size_t avail, uint32_t flags, struct trl_pkt *k)
{
    const uint8_t *ip = buf + k->l3;
    if (avail < 20)
        return TRL_IP_SHORT;
    size_t ihl = (size_t)(ip[0] & 15) * 4;
    uint16_t frag = get16(ip + 6);
    k->tos = ip[1];
    k->l3_len = get16(ip + 2);
    k->ip_id = get16(ip + 4);
    k->dont_fragment = frag >> 14 & 1;
    k->frag_more = frag >> 13 & 1;
    k->frag_offset = (uint16_t)((frag & 0x1fff) * 8);
    k->ttl = ip[8];
    k->proto = ip[9];
    k->proto_at = (uint16_t)(k->l3 + 9);
    memcpy(k->src, ip + 12, 4);
    memcpy(k->dst, ip + 16, 4);
    if (ihl < 20 || ihl > avail)
        return TRL_IP_HEADER_LEN;
    if (!(flags & TRL_PARSE_L3_TRUSTED) && trl_sum(ip, ihl, 0) != 0xffff)
        return TRL_IP_CHECKSUM;
    if (k->l3_len > avail)
        return TRL_IP_SHORT;
    if (ihl > k->l3_len)
        return TRL_IP_HEADER_LEN;
    k->ip_options = (uint16_t)(ihl - 20);
    k->l4 = (uint16_t)(k->l3 + ihl);
    k->payload = k->l4;
    k->payload_len = k->l3_len - (uint32_t)ihl;
    if (ihl > 20 && ipv4_options(ip, ihl, k) != TRL_OK)
        return TRL_IP_OPTIONS;
    if (k->frag_more || k->frag_offset)
        return TRL_IP_FRAGMENT;
    return parse_l4(buf, k->payload_len, flags, k);
}

static int parse_ipv6(const uint8_t *buf, size_t avail, uint32_t flags, struct trl_pkt *k)
{
    const uint8_t *ip = buf + k->l3;
    if (avail < 40)
        return TRL_IP_SHORT;
    k->tos = (uint8_t)(get16(ip) >> 4);
    k->l3_len = 40u + get16(ip + 4);
    k->ttl = ip[7];
    memcpy(k->src, ip + 8, 16);
    memcpy(k->dst, ip + 24, 16);
    if (k->l3_len > avail)
        return TRL_IP_SHORT;
    size_t at = 40, end = k->l3_len, name_at = 6;   /* from ip: this header, the end, the octet that names this header */
    unsigned fragments = 0;
    for (unsigned headers = 0;; headers++) {
        uint8_t next = ip[name_at];
        k->proto = next;
        k->proto_at = (uint16_t)(k->l3 + name_at);
        k->ip_options = (uint16_t)(at - 40);
        k->l4 = k->payload = (uint16_t)(k->l3 + at);
        k->payload_len = (uint32_t)(end - at);
        if (next != HOP_BY_HOP && next != ROUTING && next != FRAGMENT && next != DESTINATION)
            return parse_l4(buf, k->payload_len, flags, k);
        if (next == HOP_BY_HOP && headers > 0)      /* only ever first: elsewhere an unrecognised next header */
            return option_error(k, name_at, 1);
        if (headers == EXTENSION_HEADERS_MAX)
            return option_error(k, name_at, 0);
        if (next == FRAGMENT && (end - at < 8 || fragments++))  /* truncated, or a second one */
            return option_error(k, at, 0);
        if (end - at < 8)
            return option_error(k, 4, TRL_SILENT);
        size_t length = next == FRAGMENT ? 8 : ((size_t)ip[at + 1] + 1) * 8;
        if (length > end - at)
            return option_error(k, at + 1, TRL_SILENT);
        if (next == FRAGMENT) {
            uint16_t word = get16(ip + at + 2);
            k->frag_offset = word & 0xfff8;
            k->frag_more = word & 1;
            k->ip_id = get32(ip + at + 4);
            if (k->frag_offset || k->frag_more) {   /* else atomic, and no fragment at all (RFC 6946) */
                k->proto = ip[at];
                k->l4 = k->payload = (uint16_t)(k->l3 + at + 8);
                k->payload_len = (uint32_t)(end - at - 8);
                k->ip_options = (uint16_t)(at + 8 - 40);
                return TRL_IP_FRAGMENT;
            }
        } else if (next == ROUTING) {
            if (ip[at + 2] == SEGMENTS || ip[at + 2] == SEGMENT_LIST)
                return option_error(k, at + 2, TRL_SILENT);
            if (ip[at + 3] != 0)                    /* segments left of a type we do not process (type 0: RFC 5095) */
                return option_error(k, at + 2, 0);
        } else if (ipv6_options(ip, at + 2, at + length, next == HOP_BY_HOP, k) != TRL_OK) {
            return TRL_IP_OPTIONS;
        }
        name_at = at;
        at += length;
    }
}

static int parse(const uint8_t *buf, size_t len, uint32_t flags, struct trl_pkt *k)
{
    if (flags & TRL_PARSE_ETHERNET) {
        if (len < 14)
            return TRL_ETH_SHORT;
        memcpy(k->dmac, buf, 6);
        memcpy(k->smac, buf + 6, 6);
        k->ethertype = get16(buf + 12);
        k->l3 = 14;
        if (k->ethertype != 0x0800 && k->ethertype != 0x86dd)
            return TRL_L3_OTHER;
    }
    size_t avail = len - k->l3;
    if (avail == 0)
        return TRL_IP_SHORT;
    uint8_t version = buf[k->l3] >> 4;
    if (version != 4 && version != 6)
        return TRL_IP_VERSION;
    uint16_t ethertype = version == 4 ? 0x0800 : 0x86dd;
    if ((flags & TRL_PARSE_ETHERNET) && k->ethertype != ethertype)
        return TRL_IP_VERSION;
    k->ethertype = ethertype;
    k->ip_version = version;
    return version == 4 ? parse_ipv4(buf, avail, flags, k) : parse_ipv6(buf, avail, flags, k);
}

int trl_parse(const uint8_t *buf, size_t len, uint32_t flags, struct trl_pkt *out)
{
    memset(out, 0, sizeof *out);
    int verdict = parse(buf, len, flags, out);
    out->verdict = (uint16_t)verdict;
    return verdict;
}

int trl_parse_plain(const uint8_t *buf, size_t len, uint32_t flags, const uint8_t *mac, struct trl_plain *out)
{
    size_t l3 = 0;
    if (flags & TRL_PARSE_ETHERNET) {
        if (len < 14 || memcmp(buf, mac, 6) != 0 || get16(buf + 12) != 0x0800)
            return 0;
        l3 = 14;
    }
    if (len - l3 < 40)
        return 0;
    const uint8_t *ip = buf + l3, *tcp = ip + 20;
    uint32_t total = get16(ip + 2), header = (uint32_t)(tcp[12] >> 4) * 4;
    uint16_t tcp_flags = get16(tcp + 12) & 0x1ff;
    if (ip[0] != 0x45 || (ip[1] & 3) || (get16(ip + 6) & 0x3fff) || ip[9] != TCP || total > len - l3 ||
        header < 20 || total < 20 + header)
        return 0;
    struct trl_pkt k;
    k.tcp_options = k.mss = k.wscale = 0;
    k.tsval = k.tsecr = 0;
    if ((tcp_flags & ~(uint16_t)(PSH | FIN)) == ACK) {
        if (header != 20 && (header != 32 || get32(tcp + 20) != 0x0101080au))
            return 0;
    } else if ((tcp_flags & ~(uint16_t)ACK) != SYN) {
        return 0;
    }
    if (header > 20)
        tcp_options(tcp, header, &k);
    if (k.tcp_options & (TRL_OPT_SACK | TRL_OPT_UNKNOWN | TRL_OPT_MALFORMED))
        return 0;
    uint32_t length = total - 20;
    if (!(flags & TRL_PARSE_L3_TRUSTED) && trl_sum(ip, 20, 0) != 0xffff)
        return 0;
    if (!(flags & TRL_PARSE_L4_TRUSTED) && trl_sum(tcp, length, pseudo_sum(ip + 12, ip + 16, 4, TCP, length)) != 0xffff)
        return 0;
    memcpy(out->addresses, ip + 12, 8);
    memcpy(out->key, ip + 16, 4);
    memcpy(out->key + 4, ip + 12, 4);
    memcpy(out->key + 8, tcp + 2, 2);
    memcpy(out->key + 10, tcp, 2);
    out->seq = get32(tcp + 4);
    out->ack = get32(tcp + 8);
    out->tsval = k.tsval;
    out->tsecr = k.tsecr;
    out->payload_len = length - header;
    out->what = tcp_flags | (uint32_t)k.tcp_options << 16;
    out->where = get16(tcp + 14) | (uint32_t)(l3 + 20 + header) << 16;
    out->ip = ip[8] | (uint32_t)ip[1] << 8;
    out->syn = k.mss | (uint32_t)k.wscale << 16;
    return 1;
}

/* ---- build ---- */

/* Copies the template and fills in the IP header. proto, tos as given. Returns 0 or -1. */
static int emit_ip(uint8_t *out, const uint8_t *tmpl, size_t tmpl_len, size_t l3, uint8_t proto, uint8_t tos, uint32_t payload_len,
                   uint16_t ip_id, uint16_t frag_word)
{
    if (tmpl_len < l3 || tmpl_len - l3 < 20)
        return -1;
    uint8_t version = tmpl[l3] >> 4;
    if (version == 4 ? tmpl[l3] != 0x45 || tmpl_len - l3 != 20 || payload_len > 65535 - 20
                     : version != 6 || tmpl_len - l3 != 40 || payload_len > 65535)
        return -1;
    memcpy(out, tmpl, tmpl_len);
    uint8_t *ip = out + l3;
    if (version == 4) {
        ip[1] = tos;
        put16(ip + 2, (uint16_t)(20 + payload_len));
        put16(ip + 4, ip_id);
        put16(ip + 6, frag_word);
        ip[9] = proto;
        put16(ip + 10, 0);
        put16(ip + 10, trl_checksum(ip, 20, 0));
    } else {
        ip[0] = (uint8_t)(0x60 | tos >> 4);
        ip[1] = (uint8_t)((ip[1] & 0x0f) | (tos & 15) << 4);
        put16(ip + 4, (uint16_t)payload_len);
        ip[6] = proto;
    }
    return 0;
}

/* The pseudo-header sum for a message of len bytes behind an IP header that emit_ip has written. */
static uint16_t pseudo_of(const uint8_t *ip, uint8_t proto, uint32_t len)
{
    return ip[0] >> 4 == 4 ? pseudo_sum(ip + 12, ip + 16, 4, proto, len) : pseudo_sum(ip + 8, ip + 24, 16, proto, len);
}

int trl_ip_emit(uint8_t *out, size_t cap, const uint8_t *tmpl, size_t tmpl_len, size_t l3, uint8_t proto, uint8_t tos,
                uint32_t payload_len, uint16_t ip_id, uint16_t frag_word)
{
    if (cap < tmpl_len || emit_ip(out, tmpl, tmpl_len, l3, proto, tos, payload_len, ip_id, frag_word) < 0)
        return -1;
    return (int)tmpl_len;
}

int trl_udp_emit(uint8_t *out, size_t cap, const uint8_t *tmpl, size_t tmpl_len, size_t l3, uint16_t sport, uint16_t dport,
                 uint8_t tos, uint32_t payload_len, uint16_t ip_id, uint8_t dont_fragment)
{
    if (payload_len > 65535 - 8 || cap < tmpl_len || cap - tmpl_len < 8)
        return -1;
    uint32_t length = payload_len + 8;
    if (emit_ip(out, tmpl, tmpl_len, l3, UDP, tos, length, ip_id, dont_fragment ? 0x4000 : 0) < 0)
        return -1;
    uint8_t *udp = out + tmpl_len;
    put16(udp, sport);
    put16(udp + 2, dport);
    put16(udp + 4, (uint16_t)length);
    put16(udp + 6, pseudo_of(out + l3, UDP, length));
    return (int)(tmpl_len + 8);
}

/* TCP options in Linux's order. Returns their length (a multiple of 4), or -1 when they exceed 40 bytes. */
static int emit_options(uint8_t *o, const struct trl_tcp_out *seg)
{
    uint16_t which = seg->tcp_options;
    unsigned blocks = which & TRL_OPT_SACK ? seg->nsack : 0;
    size_t n = 0;
    if (blocks > 4)
        return -1;
    if (which & TRL_OPT_MSS) {
        put16(o, 0x0204);
        put16(o + 2, seg->mss);
        n = 4;
    }
    if (which & TRL_OPT_TIMESTAMP) {
        put32(o + n, which & TRL_OPT_SACK_PERMITTED ? 0x0402080au : 0x0101080au);
        put32(o + n + 4, seg->tsval);
        put32(o + n + 8, seg->tsecr);
        n += 12;
    } else if (which & TRL_OPT_SACK_PERMITTED) {
        put32(o + n, 0x01010402u);
        n += 4;
    }
    if (which & TRL_OPT_WSCALE) {
        put32(o + n, 0x01030300u | seg->wscale);
        n += 4;
    }
    if (blocks > 0) {
        if (n + 4 + 8 * blocks > 40)
            return -1;
        put32(o + n, 0x01010500u | (2 + 8 * blocks));
        n += 4;
        for (unsigned i = 0; i < 2 * blocks; i++, n += 4)
            put32(o + n, seg->sack[i]);
    }
    return (int)n;
}

int trl_tcp_emit(uint8_t *out, size_t cap, const uint8_t *tmpl, size_t tmpl_len, size_t l3, const struct trl_tcp_out *seg)
{
    uint8_t options[40];
    int olen = emit_options(options, seg);
    if (olen < 0 || cap < tmpl_len || cap - tmpl_len < 20 + (size_t)olen || seg->payload_len > 65535)
        return -1;
    uint32_t header = 20 + (uint32_t)olen, length = header + seg->payload_len;
    if (emit_ip(out, tmpl, tmpl_len, l3, TCP, seg->tos, length, (uint16_t)seg->ip_id, seg->dont_fragment ? 0x4000 : 0) < 0)
        return -1;
    uint8_t *tcp = out + tmpl_len;
    put16(tcp, seg->sport);
    put16(tcp + 2, seg->dport);
    put32(tcp + 4, seg->seq);
    put32(tcp + 8, seg->ack);
    put16(tcp + 12, (uint16_t)(header << 10 | (seg->tcp_flags & 0x1ff)));
    put16(tcp + 14, seg->window);
    put16(tcp + 16, pseudo_of(out + l3, TCP, length));
    put16(tcp + 18, seg->urgent);
    memcpy(tcp + 20, options, (size_t)olen);
    return (int)(tmpl_len + header);
}

int trl_tcp_emit_small(uint8_t *out, size_t cap, const uint8_t *tmpl, size_t tmpl_len, size_t l3, uint32_t ports, uint32_t seq,
                       uint32_t ack, uint16_t window, uint16_t tcp_flags, uint16_t tcp_options, uint32_t tsval, uint32_t tsecr,
                       uint32_t syn, uint32_t ip, const uint8_t *payload, uint32_t payload_len)
{
    const struct trl_tcp_out seg = {
        .sport = (uint16_t)(ports >> 16), .dport = (uint16_t)ports, .seq = seq, .ack = ack, .window = window, .tcp_flags = tcp_flags,
        .tcp_options = tcp_options & (uint16_t)~TRL_OPT_SACK, .mss = (uint16_t)syn, .wscale = (uint8_t)(syn >> 16), .tsval = tsval,
        .tsecr = tsecr, .payload_len = payload_len, .ip_id = ip & 0xffff, .tos = (uint8_t)(ip >> 16), .dont_fragment = !(ip >> 24 & 1),
    };
    int header = trl_tcp_emit(out, cap, tmpl, tmpl_len, l3, &seg);
    if (header < 0 || cap - (size_t)header < payload_len)
        return -1;
    if (payload_len == 0)
        trl_checksum_complete(out, (size_t)header, tmpl_len, 16);
    else
        memcpy(out + header, payload, payload_len);
    return header + (int)payload_len;
}

uint16_t trl_l4_checksum(const uint8_t *src, const uint8_t *dst, size_t alen, uint8_t proto, const uint8_t *l4, size_t len)
{
    return trl_checksum(l4, len, pseudo_sum(src, dst, alen, proto, (uint32_t)len));
}

int trl_tcp_repeat(const uint8_t *header, size_t len, size_t l3, uint32_t count, uint32_t step, uint32_t ids, uint8_t *out)
{
    if (len < l3 || len - l3 < 40 || (header[l3] != 0x45 && (header[l3] >> 4 != 6 || len - l3 < 60)))
        return -1;
    int v4 = header[l3] == 0x45;
    size_t l4 = l3 + (v4 ? 20 : 40);
    uint32_t seq = get32(header + l4 + 4);
    uint16_t id = get16(header + l3 + 4), old = id, sum = get16(header + l3 + 10);
    for (uint32_t i = 0; i < count; i++, out += len) {
        memcpy(out, header, len);
        put32(out + l4 + 4, seq += step);
        if (v4) {
            id = (uint16_t)(id + ids);
            put16(out + l3 + 4, id);
            put16(out + l3 + 10, trl_checksum_update16(sum, old, id));
        }
    }
    return (int)count;
}
