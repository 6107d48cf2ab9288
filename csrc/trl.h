/*
 * The leaves: small pure functions over buffers and plain structs. No policy, no global state, no I/O.
 *
 * Conventions. Lengths are bytes. Integers in structs are host order; buffers are network order. A function that
 * can meet a bad length returns a negative value (or a verdict) instead of touching memory outside what it was given.
 * Checksums are RFC 1071 ones' complement sums.
 */
#ifndef TRL_H
#define TRL_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- checksum.c: RFC 1071 and RFC 1624 ---- */

/* Ones' complement sum of len bytes folded to 16 bits and added to init; NOT complemented. init chains calls (even lengths). */
uint16_t trl_sum(const uint8_t *buf, size_t len, uint16_t init);
/* The checksum field of a header or message whose field is zero: ~sum. */
uint16_t trl_checksum(const uint8_t *buf, size_t len, uint16_t init);
/* RFC 1624 eqn 3: the new checksum when a 16- or 32-bit word of the data changes from old to new. */
uint16_t trl_checksum_update16(uint16_t checksum, uint16_t old_word, uint16_t new_word);
uint16_t trl_checksum_update32(uint16_t checksum, uint32_t old_word, uint32_t new_word);

/* ---- packet.c: one-pass parse and build ---- */

enum trl_verdict {
    TRL_OK = 0,
    TRL_ETH_SHORT,        /* shorter than an Ethernet header */
    TRL_L3_OTHER,         /* EtherType that is not IP (ARP among them): only the Ethernet fields are set */
    TRL_IP_SHORT,         /* truncated IP header, or total length beyond the frame */
    TRL_IP_VERSION,       /* version is not 4 or 6, or does not match the EtherType */
    TRL_IP_HEADER_LEN,    /* IHL below 5 or beyond the packet */
    TRL_IP_CHECKSUM,
    TRL_IP_OPTIONS,       /* malformed IPv4 option list or IPv6 extension header chain */
    TRL_IP_FRAGMENT,      /* a fragment: L3 fields set, L4 not parsed */
    TRL_L4_OTHER,         /* a protocol that is not TCP or UDP: L3 fields set, payload is the L4 message */
    TRL_UDP_SHORT,        /* truncated UDP header or UDP length out of range */
    TRL_UDP_CHECKSUM,
    TRL_TCP_SHORT,
    TRL_TCP_OFFSET,       /* data offset below 5 or beyond the segment */
    TRL_TCP_CHECKSUM,
    TRL_VERDICTS
};

/* Flags of trl_parse. */
#define TRL_SILENT 255u             /* icmp_code: what is wrong is not told to the sender */
#define TRL_PARSE_ETHERNET 1u       /* buf starts with an Ethernet header; otherwise with the IP header */
#define TRL_PARSE_L4_TRUSTED 2u     /* do not verify the TCP/UDP checksum (the device did, or it is still partial) */
#define TRL_PARSE_L3_TRUSTED 4u     /* do not verify the IPv4 header checksum */

/* tcp_options: which options were present and well formed. */
#define TRL_OPT_MSS 1u
#define TRL_OPT_WSCALE 2u
#define TRL_OPT_SACK_PERMITTED 4u
#define TRL_OPT_TIMESTAMP 8u
#define TRL_OPT_SACK 16u
#define TRL_OPT_UNKNOWN 32u         /* some other option was skipped over */
#define TRL_OPT_MALFORMED 64u       /* a length of 0 or 1, or beyond the header: the rest of the list was ignored (RFC 9293 3.1);
                                       or a known kind with a wrong length: that one option was ignored */
#define TRL_OPT_MD5 128u            /* one of the unknown is an MD5 signature (RFC 2385) */

struct trl_pkt {
    uint16_t verdict;               /* enum trl_verdict */
    uint16_t ethertype;
    uint8_t  ip_version;            /* 4, 6, or 0 when not IP */
    uint8_t  proto;                 /* L4 protocol (for IPv6 after the extension headers) */
    uint8_t  ttl;                   /* or hop limit */
    uint8_t  tos;                   /* or traffic class: DSCP << 2 | ECN */
    uint16_t l3, l4, payload;       /* offsets from the start of buf */
    uint32_t payload_len;           /* L4 payload bytes (trailing Ethernet padding removed) */
    uint32_t l3_len;                /* IP total length: header and payload */
    uint32_t ip_id;                 /* IPv4 identification, or that of the IPv6 fragment header */
    uint16_t frag_offset;           /* bytes */
    uint8_t  frag_more;             /* MF */
    uint8_t  dont_fragment;         /* DF */
    uint16_t sport, dport;
    uint32_t seq, ack;
    uint16_t window;                /* as on the wire, unscaled */
    uint16_t tcp_flags;             /* FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, AE 256 */
    uint16_t urgent;
    uint16_t mss;
    uint16_t tcp_options;           /* TRL_OPT_* */
    uint8_t  wscale;                /* as received, not clamped */
    uint8_t  nsack;                 /* 0 to 4 blocks in sack[] as left, right */
    uint32_t tsval, tsecr;
    uint32_t sack[8];
    uint8_t  smac[6], dmac[6];
    uint8_t  src[16], dst[16];      /* IPv4 in the first four bytes */
    uint8_t  key[36];               /* dst addr, src addr, dport, sport in network order: (local, remote) of the receiver */
    uint8_t  key_len;               /* 12 or 36; 0 when there are no ports */
    uint8_t  icmp_code;             /* with TRL_IP_OPTIONS: the code of the Parameter Problem that describes it, or TRL_SILENT */
    uint16_t error_at;              /* ... and its pointer, from the start of the IP header (the octet that is wrong) */
    uint16_t proto_at;              /* offset in buf of the octet that names proto (for a fragment: the octet that says 44) */
    uint16_t ip_options;            /* bytes of IPv4 options or IPv6 extension headers */
};

/* Parses one frame. Fields up to the layer where the verdict fell are valid. Returns out->verdict. */
int trl_parse(const uint8_t *buf, size_t len, uint32_t flags, struct trl_pkt *out);

/* What there is to know of a plain segment. Host order but for key and addresses. */
struct trl_plain {
    uint8_t  addresses[8];          /* src addr, dst addr, as in the header */
    uint8_t  key[12];               /* as in struct trl_pkt */
    uint32_t seq, ack, tsval, tsecr;
    uint32_t payload_len;
    uint32_t what;                  /* tcp_flags | tcp_options << 16 */
    uint32_t where;                 /* window | payload << 16 */
    uint32_t ip;                    /* ttl | tos << 8 */
    uint32_t syn;                   /* mss | wscale << 16, of a SYN that has the options; else 0 */
};

/*
 * The short way for the segments that matter. 1 when the frame is, to this MAC if Ethernet, an unfragmented IPv4 packet
 * without options or ECN, and all lengths and checksums are good (flags as for trl_parse), with a TCP segment of one of two
 * kinds: ACK, perhaps with PSH or FIN, with either no options or NOP NOP TS; or SYN, perhaps with ACK, whose options are any of
 * MSS, window scale, SACK permitted and timestamp, and well formed. out is then filled in. 0 for anything else: trl_parse has
 * to say what it is.
 */
int trl_parse_plain(const uint8_t *buf, size_t len, uint32_t flags, const uint8_t *mac, struct trl_plain *out);

/* What changes from segment to segment of a connection; addresses, MACs, TTL come from the template. */
struct trl_tcp_out {
    uint16_t sport, dport;
    uint32_t seq, ack;
    uint16_t window;                /* as on the wire */
    uint16_t tcp_flags;
    uint16_t urgent;
    uint16_t tcp_options;           /* TRL_OPT_*: which of the following to write, in Linux's order and padding */
    uint16_t mss;
    uint8_t  wscale;
    uint8_t  nsack;                 /* number of blocks in sack[] */
    uint32_t tsval, tsecr;
    uint32_t sack[8];
    uint32_t payload_len;
    uint32_t ip_id;
    uint8_t  tos;                   /* DSCP << 2 | ECN for this segment */
    uint8_t  dont_fragment;
};

/*
 * Writes L2 (if any), IP and TCP headers of one segment or super-segment into out: the first tmpl_len bytes of tmpl
 * (Ethernet header or nothing, then a 20-byte IPv4 or 40-byte IPv6 header at l3) completed with lengths, id, tos and the
 * IPv4 header checksum, then the TCP header with its options. The TCP checksum field holds the pseudo-header sum
 * (CHECKSUM_PARTIAL: complete it over [l4, end), field at l4 + 16). Returns the header length, or -1 when cap is too small,
 * the template is malformed, or the total does not fit IP's length field.
 * Option order as Linux writes it: MSS, SACK_PERMITTED+TS (or NOP NOP TS), NOP WSCALE, NOP NOP SACK.
 */
int trl_tcp_emit(uint8_t *out, size_t cap, const uint8_t *tmpl, size_t tmpl_len, size_t l3, const struct trl_tcp_out *seg);

/*
 * One whole small frame: as trl_tcp_emit, of a segment without SACK blocks and urgent pointer, and the payload behind it. ports is
 * sport << 16 | dport, syn mss | wscale << 16 (where tcp_options has them), ip ip_id | tos << 16 | 1 << 24 where it may be
 * fragmented. Returns the frame's length, or -1. The TCP checksum is partial, as above; where there is no payload it is complete.
 */
int trl_tcp_emit_small(uint8_t *out, size_t cap, const uint8_t *tmpl, size_t tmpl_len, size_t l3, uint32_t ports, uint32_t seq,
                       uint32_t ack, uint16_t window, uint16_t tcp_flags, uint16_t tcp_options, uint32_t tsval, uint32_t tsecr,
                       uint32_t syn, uint32_t ip, const uint8_t *payload, uint32_t payload_len);

/*
 * The headers of what follows a segment whose header trl_tcp_emit wrote: count copies of its len bytes back to back, each
 * with the sequence number step and the IPv4 identification ids further on than the one before. Payloads have the length
 * of the first, so that the partial checksum stays. Returns count, or -1 when header is no TCP header over IP at l3.
 */
int trl_tcp_repeat(const uint8_t *header, size_t len, size_t l3, uint32_t count, uint32_t step, uint32_t ids, uint8_t *out);

/*
 * Writes L2 and IP headers from a template as above: lengths, protocol, tos; for IPv4 also id, the flags-and-offset word and
 * the header checksum. Returns tmpl_len, or -1.
 */
int trl_ip_emit(uint8_t *out, size_t cap, const uint8_t *tmpl, size_t tmpl_len, size_t l3, uint8_t proto, uint8_t tos,
                uint32_t payload_len, uint16_t ip_id, uint16_t frag_word);

/* The same and a UDP header; the UDP checksum field holds the pseudo-header sum (complete over [tmpl_len, end), at + 6). */
int trl_udp_emit(uint8_t *out, size_t cap, const uint8_t *tmpl, size_t tmpl_len, size_t l3, uint16_t sport, uint16_t dport,
                 uint8_t tos, uint32_t payload_len, uint16_t ip_id, uint8_t dont_fragment);

/* The checksum of an L4 message with its IPv4 (alen 4) or IPv6 (alen 16) pseudo-header, as trl_checksum: ~sum. ICMPv6 needs it. */
uint16_t trl_l4_checksum(const uint8_t *src, const uint8_t *dst, size_t alen, uint8_t proto, const uint8_t *l4, size_t len);

/* ---- offload.c: GSO and GRO ---- */

/*
 * Splits a TCP/IPv4 or TCP/IPv6 super-segment (contiguous frame of len bytes, headers parsed here, Ethernet when flags
 * says so) into frames of at most gso_size payload bytes, written back to back into out; lens[i] is the length of frame i.
 * Sequence numbers advance, IPv4 ids count up, FIN and PSH only on the last, CWR only on the first, lengths and all
 * checksums complete. Returns the number of frames, or a negative value (bad headers, cap or max too small).
 */
int trl_gso(const uint8_t *frame, size_t len, uint32_t flags, uint32_t gso_size,
            uint8_t *out, size_t cap, uint32_t *lens, uint32_t max);

/* The same, of a super-segment in pieces: the headers (and perhaps some payload) in iov[0], payload in the rest. */
struct trl_iov { const uint8_t *base; size_t len; };
int trl_gso_iov(const struct trl_iov *iov, uint32_t niov, uint32_t flags, uint32_t gso_size,
                uint8_t *out, size_t cap, uint32_t *lens, uint32_t max);

/*
 * The same, of headers and payload that lie apart (head may hold some payload too), where the caller wants no lengths: every
 * frame but the last is as long as the first. Returns the header length H, so that frame i starts at i * (H + gso_size);
 * or a negative value, also when bytes follow the end of the IP packet.
 */
int trl_gso_split(const uint8_t *head, size_t head_len, const uint8_t *payload, size_t payload_len, uint32_t flags,
                  uint32_t gso_size, uint8_t *out, size_t cap);

/* One frame of a batch: bytes [off, off + len) of the batch's buffer. */
struct trl_slot {
    uint32_t off, len;
    uint16_t gso_size;              /* 0: a single frame */
    uint16_t gso_segs;              /* wire frames that went into it (1 for a single frame) */
    uint16_t csum_start, csum_offset; /* both 0: the checksum is complete */
    uint8_t  csum_ok;               /* the L4 checksum was verified (by the device or by GRO) */
    uint8_t  hdr_len;               /* bytes before the TCP payload, where known */
    uint16_t pad;
};

/*
 * Coalesces in-order TCP segments of one flow in a batch of n plain frames (in[i] within buf; n <= TRL_GRO_MAX) into
 * super-segments written to out (cap bytes), by the rules of Linux's GRO: same Ethernet header, addresses, ports, TTL, TOS, DF,
 * acknowledgement, window, flags (but PSH and FIN, which end a super-segment) and options (byte for byte); consecutive sequence
 * numbers; IPv4 ids counting up, or equal under DF; every payload but the last of the first one's size; at most 65535 bytes
 * of IP; no IP options or fragments, SYN, RST, URG, empty segments or bad checksums (slot.csum_ok says it need not be summed).
 * A merged slot has gso_size, gso_segs, csum_ok 1, correct headers and a partial checksum (csum_start, csum_offset). What cannot be
 * merged is copied through unchanged, csum_ok saying whether its L4 checksum is good. Slots are in the order of their
 * first frames; order within a flow is kept. With TRL_GRO_ACKS among the flags, of a flow's successive segments that are nothing
 * but an acknowledgement (no text, flags or options but a timestamp; same headers but for the acknowledgement, the window and the
 * timestamp) each of which acknowledges more than the one before, only the last is passed on, unchanged: gso_segs
 * counts them, gso_size is 0. Duplicates, and those with SACK or ECN-Echo, all stay. Returns the number of slots written to res, or a negative value when n, cap or max
 * does not fit.
 */
#define TRL_GRO_MAX 1024
#define TRL_GRO_ACKS 8u
int trl_gro(const uint8_t *buf, const struct trl_slot *in, uint32_t n, uint32_t flags,
            uint8_t *out, size_t cap, struct trl_slot *res, uint32_t max);

/* Completes a partial checksum in place: sums [start, len), stores at start + offset. 0, or -1 when out of range. */
int trl_checksum_complete(uint8_t *frame, size_t len, size_t start, size_t offset);

/* ---- cookie.c: keyed hashes; a secret is 16 bytes ---- */

uint64_t trl_siphash(const uint8_t *secret, const uint8_t *data, size_t len);
/* key is that of struct trl_pkt, at most 36 bytes; period the number of the minute. */
uint32_t trl_cookie(const uint8_t *secret, const uint8_t *key, uint32_t key_len, uint32_t irs, uint32_t index, uint32_t period);
/* The index of the MSS when value is a cookie of this period or the one before, or -1. */
int trl_cookie_check(const uint8_t *secret, const uint8_t *key, uint32_t key_len, uint32_t irs, uint32_t value, uint32_t period);
uint32_t trl_timestamp_offset(const uint8_t *secret, const uint8_t *key, uint32_t key_len);

/* ---- pcapng.c ---- */

/* Writes a frame's block. way: 1 in, 2 out. The block's length, or 0 when cap is too small. */
size_t trl_pcapng_packet(uint8_t *out, size_t cap, uint32_t interface, uint64_t stamp, uint32_t way, const uint8_t *frame, uint32_t len);

/* ---- guard.c: too many frames ---- */

/* Classes of frames that belong to no known flow. */
#define TRL_GUARD_NEIGHBOUR 0       /* ARP and neighbour discovery */
#define TRL_GUARD_TCP 1             /* what would be answered by a RST, mostly */
#define TRL_GUARD_UDP 2
#define TRL_GUARD_ICMP 3
#define TRL_GUARD_FRAGMENT 4
#define TRL_GUARD_OTHER 5
#define TRL_GUARD_CLASSES 6

struct trl_guard_address { uint8_t version, prefix; uint8_t address[16]; };     /* of ours, on this link */

/* A listening socket, for one IP version, and what its SYN-ACKs say. */
struct trl_guard_port {
    uint8_t  version, any, full;    /* any: of every address; full: its accept queue is */
    uint8_t  timestamps, scaling, sack, ecn, tos, ttl;
    uint8_t  reflect_tos;           /* not tos but the SYN's, without its ECN bits */
    uint16_t port, mss, user_mss;
    uint16_t window[3];             /* without timestamps; with; with timestamps and window scaling */
    uint8_t  wscale[3];
    uint8_t  address[16];
};

struct trl_guard {
    uint8_t  mac[6];                /* ours */
    uint8_t  secret[16];
    uint8_t  offsets;               /* timestamps start somewhere else for every connection */
    uint8_t  gateway4, gateway6;    /* every address can be answered to the station that sent the frame */
    uint32_t period, clock_ms;      /* the minute of cookies; the timestamp clock */
    uint64_t *known;                /* known flows: hashes, open addressing; known_cap is a power of two */
    uint32_t known_cap, known_n;
    struct trl_guard_address *addresses;
    uint32_t addresses_n;
    struct trl_guard_port *ports;
    uint32_t ports_n;
    uint32_t allow[6];              /* how many of each class may still pass */
    uint64_t dropped[6];            /* and how many did not */
    uint64_t seen, cookies, overflows, unroutable, resets;
    uint64_t segments;              /* TCP segments that were dealt with here */
    uint8_t  *log;                  /* NULL, or where blocks of a capture go: frames dealt with here, and the answers */
    uint32_t log_cap, log_used, log_interface, log_packets, log_lost;
    uint64_t log_stamp;
};

#define TRL_GUARD_PASS 0
#define TRL_GUARD_DROP 1
#define TRL_GUARD_ROOM 128          /* bytes of the longest answer */
/*
 * TRL_GUARD_PASS, TRL_GUARD_DROP, or (more than either) the length of the answer to send instead, which lies in reply with all
 * its checksums complete. flags as for trl_parse.
 */
int trl_guard_check(struct trl_guard *g, const uint8_t *frame, size_t len, uint32_t flags, uint8_t *reply, size_t cap);
/* Adds a flow, by its key. -1 when the table is half full. */
int trl_guard_know(struct trl_guard *g, const uint8_t *key, uint32_t len);
/* Into the log, if there is one. way: 1 in, 2 out. */
void trl_guard_log(struct trl_guard *g, uint32_t way, const uint8_t *frame, size_t len);

/* ---- ring.c: byte ring (one producer, one consumer, power-of-two or any capacity) ---- */
struct trl_ring { uint8_t *buf; uint32_t cap; uint32_t head; uint32_t used; };
void   trl_ring_init(struct trl_ring *r, uint8_t *buf, uint32_t cap);
uint32_t trl_ring_write(struct trl_ring *r, const uint8_t *src, uint32_t n);         /* returns bytes taken */
uint32_t trl_ring_read(struct trl_ring *r, uint8_t *dst, uint32_t n);                /* returns bytes given */
uint32_t trl_ring_peek(const struct trl_ring *r, uint32_t skip, uint8_t *dst, uint32_t n);
uint32_t trl_ring_drop(struct trl_ring *r, uint32_t n);

/* ---- intervals.c: sorted disjoint half-open intervals of 32-bit sequence space, all within 2^31 of each other ---- */
struct trl_intervals { uint32_t *edges; uint32_t n; uint32_t cap; };                 /* edges[2i], edges[2i+1] = left, right */
int  trl_intervals_add(struct trl_intervals *s, uint32_t left, uint32_t right);      /* index of the resulting interval, or -1 when full, -2 when empty range */
int  trl_intervals_trim(struct trl_intervals *s, uint32_t left);                     /* forgets everything before left; how many remain */
int  trl_intervals_find(const struct trl_intervals *s, uint32_t seq);                /* index of the interval that holds seq, or -1 */
uint32_t trl_intervals_covered(const struct trl_intervals *s, uint32_t left, uint32_t right); /* bytes of [left, right) that are in the set */

/* ---- atomic.c: words that other processes of the host share ---- */
uint32_t trl_cas32(uint32_t *word, uint32_t old, uint32_t value);                    /* stores value if the word is old; what it was */
uint32_t trl_fetch_add32(uint32_t *word, uint32_t n);                                /* what it was; modulo 2^32 */
#endif
