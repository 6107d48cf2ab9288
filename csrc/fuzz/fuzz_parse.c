/*
 * libFuzzer: trl_parse and trl_parse_plain on any bytes. The first byte holds the flags. What an accepted packet claims must lie
 * within it, and what the short way accepts the long way must read the same.
 */
#include "trl.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const struct trl_plain *p, const struct trl_pkt *k)
{
    if (k->verdict != TRL_OK || k->ip_version != 4 || k->proto != 6 || k->ip_options != 0)
        abort();
    if (memcmp(p->addresses, k->src, 4) != 0 || memcmp(p->addresses + 4, k->dst, 4) != 0 || memcmp(p->key, k->key, 12) != 0)
        abort();
    if (p->seq != k->seq || p->ack != k->ack || p->tsval != k->tsval || p->tsecr != k->tsecr || p->payload_len != k->payload_len)
        abort();
    if (p->what != (k->tcp_flags | (uint32_t)k->tcp_options << 16) || p->where != (k->window | (uint32_t)k->payload << 16))
        abort();
    if (p->ip != (k->ttl | (uint32_t)k->tos << 8) || p->syn != (k->mss | (uint32_t)k->wscale << 16) || k->nsack != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trl_pkt k;
    struct trl_plain p;
    if (size == 0)
        return 0;
    const uint8_t *frame = data + 1;
    uint32_t flags = data[0] & 7;
    size--;
    int verdict = trl_parse(frame, size, flags, &k);
    if (verdict < 0 || verdict >= TRL_VERDICTS || verdict != k.verdict)
        abort();
    if (verdict == TRL_OK || verdict == TRL_L4_OTHER || verdict == TRL_IP_FRAGMENT) {
        if (k.l3 > k.l4 || k.l4 > k.payload || k.payload + k.payload_len > size || k.l3 + k.l3_len > size)
            abort();
        if (verdict == TRL_OK && k.key_len != (k.ip_version == 4 ? 12 : 36))
            abort();
    }
    if (trl_parse_plain(frame, size, flags, frame, &p))
        compare(&p, &k);
    return 0;
}
