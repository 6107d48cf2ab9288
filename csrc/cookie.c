/*
 * The keyed hash, SipHash-2-4 (Aumasson and Bernstein, 2012), and what TCP derives from it: SYN cookies (RFC 4987 section 3.6)
 * and where the timestamp clock of a connection starts (RFC 7323 section 5.4).
 *
 * A cookie is a sequence number that says which of four MSS was meant and in which minute it was given, as Linux lays
 * it out: a hash of the flow, plus the peer's sequence number, plus the minute in the top 8 bits, plus in the low 24 a
 * hash of flow and minute to which the index of the MSS is added.
 */
#include "trl.h"
#include "wire.h"

static uint64_t load64(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static inline uint64_t rotl(uint64_t v, int by) { return v << by | v >> (64 - by); }

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

uint64_t trl_siphash(const uint8_t *secret, const uint8_t *data, size_t len)
{
    uint64_t k0 = load64(secret, 8), k1 = load64(secret + 8, 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u};
    size_t whole = len & ~(size_t)7;
    for (size_t i = 0; i <= whole; i += 8) {
        uint64_t m = i < whole ? load64(data + i, 8) : load64(data + i, len - whole) | (uint64_t)len << 56;
        v[3] ^= m;
        sip_round(v);
        sip_round(v);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The low half of the hash of a word, a key and perhaps a number. */
static uint32_t keyed(const uint8_t *secret, const char *word, const uint8_t *key, size_t key_len, const uint32_t *number)
{
    uint8_t text[64];
    size_t n = strlen(word);
    memcpy(text, word, n);
    memcpy(text + n, key, key_len);
    n += key_len;
    if (number) {
        put32(text + n, *number);
        n += 4;
    }
    return (uint32_t)trl_siphash(secret, text, n);
}

uint32_t trl_cookie(const uint8_t *secret, const uint8_t *key, uint32_t key_len, uint32_t irs, uint32_t index, uint32_t period)
{
    uint32_t first = keyed(secret, "cookie0", key, key_len, NULL), second = keyed(secret, "cookie1", key, key_len, &period);
    return first + irs + (period << 24) + ((second + index) & 0xffffffu);
}

int trl_cookie_check(const uint8_t *secret, const uint8_t *key, uint32_t key_len, uint32_t irs, uint32_t value, uint32_t period)
{
    value -= keyed(secret, "cookie0", key, key_len, NULL) + irs;
    uint32_t age = (period - (value >> 24)) & 0xff, then = period - age;
    if (age >= 2)
        return -1;
    uint32_t index = (value - keyed(secret, "cookie1", key, key_len, &then)) & 0xffffffu;
    return index < 4 ? (int)index : -1;
}

uint32_t trl_timestamp_offset(const uint8_t *secret, const uint8_t *key, uint32_t key_len)
{
    return keyed(secret, "ts", key, key_len, NULL);
}
