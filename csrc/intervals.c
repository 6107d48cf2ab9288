/*
 * Sorted disjoint half-open intervals of sequence space (RFC 9293 section 3.4: comparisons modulo 2^32). Intervals that touch
 * are joined. The whole set spans less than 2^31, so "before" is a total order on it. Searches are binary.
 */
#include "trl.h"
#include <string.h>

static int before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }

/* Index of the first interval whose right edge is at or after seq (n when none). */
static uint32_t lower(const struct trl_intervals *s, uint32_t seq)
{
    uint32_t lo = 0, hi = s->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (before(s->edges[2 * mid + 1], seq))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int trl_intervals_add(struct trl_intervals *s, uint32_t left, uint32_t right)
{
    if (!before(left, right))
        return -2;
    if (s->n > 0) {                                 /* edges relative to the first: the whole must stay below 2^31 */
        int64_t l = (int32_t)(left - s->edges[0]), r = l + (right - left), last = s->edges[2 * s->n - 1] - s->edges[0];
        if ((r > last ? r : last) - (l < 0 ? l : 0) > INT32_MAX)
            return -2;
    }
    uint32_t i = lower(s, left), j = i;
    uint32_t *e = s->edges;
    while (j < s->n && !before(right, e[2 * j]))    /* [i, j) overlap or touch [left, right) */
        j++;
    if (i == j) {
        if (s->n == s->cap)
            return -1;
        memmove(e + 2 * (i + 1), e + 2 * i, (size_t)(s->n - i) * 2 * sizeof *e);
        e[2 * i] = left;
        e[2 * i + 1] = right;
        s->n++;
        return (int)i;
    }
    if (before(left, e[2 * i]))
        e[2 * i] = left;
    e[2 * i + 1] = before(right, e[2 * j - 1]) ? e[2 * j - 1] : right;
    memmove(e + 2 * (i + 1), e + 2 * j, (size_t)(s->n - j) * 2 * sizeof *e);
    s->n -= j - i - 1;
    return (int)i;
}

int trl_intervals_trim(struct trl_intervals *s, uint32_t left)
{
    uint32_t gone = 0;
    while (gone < s->n && !before(left, s->edges[2 * gone + 1]))
        gone++;
    memmove(s->edges, s->edges + 2 * (size_t)gone, (size_t)(s->n - gone) * 2 * sizeof *s->edges);
    s->n -= gone;
    if (s->n > 0 && before(s->edges[0], left))
        s->edges[0] = left;
    return (int)s->n;
}

int trl_intervals_find(const struct trl_intervals *s, uint32_t seq)
{
    uint32_t i = lower(s, seq + 1);
    return i < s->n && !before(seq, s->edges[2 * i]) ? (int)i : -1;
}

uint32_t trl_intervals_covered(const struct trl_intervals *s, uint32_t left, uint32_t right)
{
    uint32_t sum = 0;
    for (uint32_t i = lower(s, left); i < s->n && before(s->edges[2 * i], right); i++) {
        uint32_t a = before(s->edges[2 * i], left) ? left : s->edges[2 * i];
        uint32_t b = before(right, s->edges[2 * i + 1]) ? right : s->edges[2 * i + 1];
        if (before(a, b))
            sum += b - a;
    }
    return sum;
}
