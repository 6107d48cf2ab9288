/*
 * libFuzzer: trl_parse on any bytes. The first byte holds the flags. What an accepted packet claims must lie within it.
 */
#include "trl.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trl_pkt k;
    if (size == 0)
        return 0;
    int verdict = trl_parse(data + 1, size - 1, data[0] & 7, &k);
    if (verdict < 0 || verdict >= TRL_VERDICTS || verdict != k.verdict)
        abort();
    if (verdict == TRL_OK || verdict == TRL_L4_OTHER || verdict == TRL_IP_FRAGMENT) {
        if (k.l3 > k.l4 || k.l4 > k.payload || k.payload + k.payload_len > size - 1 || k.l3 + k.l3_len > size - 1)
            abort();
        if (verdict == TRL_OK && k.key_len != (k.ip_version == 4 ? 12 : 36))
            abort();
    }
    return 0;
}
