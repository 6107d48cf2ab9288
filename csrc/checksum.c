/*
 * The Internet checksum: RFC 1071, and its incremental update, RFC 1624.
 *
 * 32-bit words are added into 64-bit accumulators, which cannot overflow below 16 GiB; the loops have no carries, so the
 * compiler turns them into vector code. Where the platform can choose at load time, an AVX2 copy of each loop is built too.
 */
#include "trl.h"
#include "wire.h"

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

/* The last 0 to 3 bytes as one native word, zero-padded. */
static uint32_t tail(const uint8_t *p, size_t n)
{
    uint8_t last[4] = {0, 0, 0, 0};
    uint32_t w;
    for (size_t i = 0; i < n; i++)
        last[i] = p[i];
    memcpy(&w, last, 4);
    return w;
}

WIDE uint64_t trl_raw_sum(const uint8_t *buf, size_t len)
{
    uint64_t a = 0;
    size_t words = len / 4;
    for (size_t i = 0; i < words; i++) {
        uint32_t w;
        memcpy(&w, buf + 4 * i, 4);
        a += w;
    }
    if (len & 3)
        a += tail(buf + 4 * words, len & 3);
    return a;
}

WIDE uint64_t trl_raw_copy_sum(uint8_t *restrict dst, const uint8_t *restrict src, size_t len)
{
    uint64_t a = 0;
    size_t words = len / 4;
    for (size_t i = 0; i < words; i++) {
        uint32_t w;
        memcpy(&w, src + 4 * i, 4);
        memcpy(dst + 4 * i, &w, 4);
        a += w;
    }
    for (size_t i = 4 * words; i < len; i++)
        dst[i] = src[i];
    if (len & 3)
        a += tail(src + 4 * words, len & 3);
    return a;
}

uint16_t trl_sum(const uint8_t *buf, size_t len, uint16_t init)
{
    return fold((uint64_t)to_host_sum(fold(trl_raw_sum(buf, len))) + init);
}

uint16_t trl_checksum(const uint8_t *buf, size_t len, uint16_t init)
{
    return (uint16_t)~trl_sum(buf, len, init);
}

/* HC' = ~(~HC + ~m + m'), RFC 1624 equation 3: right in the corner where equation 2 of RFC 1141 gives 0xffff for 0. */
uint16_t trl_checksum_update16(uint16_t checksum, uint16_t old_word, uint16_t new_word)
{
    return (uint16_t)~fold((uint64_t)(uint16_t)~checksum + (uint16_t)~old_word + new_word);
}

uint16_t trl_checksum_update32(uint16_t checksum, uint32_t old_word, uint32_t new_word)
{
    uint32_t was = ~old_word;
    return (uint16_t)~fold((uint64_t)(uint16_t)~checksum + (was >> 16) + (was & 0xffffu) + (new_word >> 16)
                           + (new_word & 0xffffu));
}

/* A UDP checksum that comes out as 0 is sent as 0xffff, since 0 means "none" there (RFC 768); TCP's stays 0. */
int trl_checksum_complete(uint8_t *frame, size_t len, size_t start, size_t offset)
{
    if (start > len || len - start < 2 || offset > len - start - 2)
        return -1;
    uint16_t sum = trl_checksum(frame + start, len - start, 0);
    put16(frame + start + offset, sum == 0 && offset == 6 ? 0xffff : sum);
    return 0;
}
