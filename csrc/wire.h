/*
 * Big-endian loads and stores, and ones' complement arithmetic, for the leaves alone (not part of the contract).
 *
 * A raw sum is the ones' complement sum of the native 16-bit words of a buffer, unfolded, in 64 bits. Since the sum
 * commutes with the byte swap (RFC 1071 section 2B), it is swapped once at the end instead of once per word.
 */
#ifndef TRL_WIRE_H
#define TRL_WIRE_H
#include <stdint.h>
#include <string.h>

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
static inline void put16(uint8_t *p, uint16_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static inline void put32(uint8_t *p, uint32_t v) { put16(p, (uint16_t)(v >> 16)); put16(p + 2, (uint16_t)v); }

/* Sums of 64-bit values folded to 16 bits, carries wrapped around. */
static inline uint16_t fold(uint64_t sum)
{
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffffffu) + (sum >> 32);
    uint32_t s = (uint32_t)sum;
    s = (s & 0xffffu) + (s >> 16);
    s = (s & 0xffffu) + (s >> 16);
    return (uint16_t)s;
}

static inline uint16_t swap16(uint16_t v) { return (uint16_t)(v << 8 | v >> 8); }

/* A folded raw sum as the number that RFC 1071 means (words read big-endian). */
static inline uint16_t to_host_sum(uint16_t raw)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return swap16(raw);
#else
    return raw;
#endif
}

/* The raw sum of a buffer: any alignment, any length; the odd last byte is padded with zero. */
uint64_t trl_raw_sum(const uint8_t *buf, size_t len);
/* memcpy that sums on the way. */
uint64_t trl_raw_copy_sum(uint8_t *dst, const uint8_t *src, size_t len);

/* The sum of the TCP or UDP pseudo-header (RFC 793, RFC 8200 section 8.1), as a host number, folded. */
static inline uint16_t pseudo_sum(const uint8_t *src, const uint8_t *dst, size_t alen, uint8_t proto, uint32_t l4_len)
{
    uint64_t raw = trl_raw_sum(src, alen) + trl_raw_sum(dst, alen);
    return fold((uint64_t)to_host_sum(fold(raw)) + proto + (l4_len >> 16) + (l4_len & 0xffffu));
}
#endif
