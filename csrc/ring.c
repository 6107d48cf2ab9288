/*
 * A byte ring over a buffer that somebody else owns: `used` bytes start at `head` and wrap at `cap`. Any capacity.
 */
#include "trl.h"
#include <string.h>

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* (head + by) mod cap without overflow; cap is not 0. */
static uint32_t advance(const struct trl_ring *r, uint32_t by)
{
    return by < r->cap - r->head ? r->head + by : by - (r->cap - r->head);
}

void trl_ring_init(struct trl_ring *r, uint8_t *buf, uint32_t cap)
{
    r->buf = buf;
    r->cap = cap;
    r->head = 0;
    r->used = 0;
}

uint32_t trl_ring_write(struct trl_ring *r, const uint8_t *src, uint32_t n)
{
    n = least(n, r->cap - r->used);
    if (n == 0)
        return 0;
    uint32_t at = advance(r, r->used), first = least(n, r->cap - at);
    memcpy(r->buf + at, src, first);
    memcpy(r->buf, src + first, n - first);
    r->used += n;
    return n;
}

uint32_t trl_ring_peek(const struct trl_ring *r, uint32_t skip, uint8_t *dst, uint32_t n)
{
    if (skip >= r->used)
        return 0;
    n = least(n, r->used - skip);
    if (n == 0)
        return 0;
    uint32_t at = advance(r, skip), first = least(n, r->cap - at);
    memcpy(dst, r->buf + at, first);
    memcpy(dst + first, r->buf, n - first);
    return n;
}

uint32_t trl_ring_drop(struct trl_ring *r, uint32_t n)
{
    n = least(n, r->used);
    if (n == 0)
        return 0;
    r->head = advance(r, n);
    r->used -= n;
    return n;
}

uint32_t trl_ring_read(struct trl_ring *r, uint8_t *dst, uint32_t n)
{
    return trl_ring_drop(r, trl_ring_peek(r, 0, dst, n));
}
