/*
 * libFuzzer: the guard on any frames, each preceded by its length (one byte), after a byte that says how it is set up. What it
 * answers must be a good SYN-ACK to the sender, and the ACK that returns the cookie must pass.
 */
#include "trl.h"
#include "wire.h"
#include <stdlib.h>

enum { LOG = 1 << 16, FLOWS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The sender's last segment of the handshake, as far as the guard looks at it. */
static void complete(struct trl_guard *g, const uint8_t *syn, size_t len, const struct trl_pkt *asked, const struct trl_pkt *answered)
{
    uint8_t *ack = malloc(len);
    uint8_t *tcp = ack + asked->l4;
    memcpy(ack, syn, len);
    put32(tcp + 4, asked->seq + 1);
    put32(tcp + 8, answered->seq + 1);
    tcp[13] = 16;
    put16(tcp + 16, 0);
    put16(tcp + 16, trl_l4_checksum(asked->src, asked->dst, asked->ip_version == 4 ? 4 : 16, 6, tcp,
                                    asked->payload - asked->l4 + asked->payload_len));
    uint8_t *reply = malloc(TRL_GUARD_ROOM);
    if (trl_guard_check(g, ack, len, TRL_PARSE_ETHERNET, reply, TRL_GUARD_ROOM) != TRL_GUARD_PASS)
        abort();
    free(reply);
    free(ack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t known[FLOWS];
    static uint8_t log[LOG];
    struct trl_guard_address here[2] = {{4, 8, {10, 0, 0, 1}}, {6, 0, {0xfd}}};
    struct trl_guard_port ports[2] = {
        {.version = 4, .any = 1, .timestamps = 1, .scaling = 1, .sack = 1, .ecn = 1, .ttl = 64, .port = 80, .mss = 1460,
         .window = {1, 2, 3}, .wscale = {0, 0, 7}},
        {.version = 6, .address = {0xfd}, .timestamps = 1, .ttl = 64, .port = 80, .mss = 1440, .user_mss = 1000, .window = {1, 2, 3}},
    };
    if (size < 1)
        return 0;
    struct trl_guard g = {.mac = {2, 0, 0, 0, 0, 1}, .secret = "sixteen bytes...", .offsets = data[0] & 1,
                          .gateway4 = data[0] >> 1 & 1, .gateway6 = data[0] >> 2 & 1, .period = data[0], .clock_ms = data[0] * 977u,
                          .known = known, .known_cap = FLOWS, .addresses = here, .addresses_n = 2, .ports = ports, .ports_n = 2,
                          .log = data[0] & 8 ? log : NULL, .log_cap = LOG};
    ports[0].full = data[0] >> 4 & 1;
    memset(known, 0, sizeof known);
    for (int i = 0; i < TRL_GUARD_CLASSES; i++)
        g.allow[i] = data[0] >> 5;
    uint64_t seen = 0;
    for (size_t at = 1, len; at < size; at += len) {
        len = data[at++];
        len = len < size - at ? len : size - at;
        uint8_t *frame = malloc(len ? len : 1), *reply = malloc(TRL_GUARD_ROOM);
        memcpy(frame, data + at, len);
        struct trl_pkt k, a;
        int n = trl_guard_check(&g, frame, len, TRL_PARSE_ETHERNET, reply, TRL_GUARD_ROOM);
        seen++;
        if (n < 0 || n > TRL_GUARD_ROOM)
            abort();
        trl_guard_log(&g, 1, frame, len);
        int verdict = trl_parse(frame, len, TRL_PARSE_ETHERNET, &k);
        if (n > TRL_GUARD_DROP) {
            if (verdict != TRL_OK || trl_parse(reply, (size_t)n, TRL_PARSE_ETHERNET, &a) != TRL_OK || a.proto != 6)
                abort();
            if (a.tcp_flags != 18 && a.tcp_flags != 82)
                abort();
            if (a.ack != k.seq + 1 || a.dport != k.sport || a.sport != k.dport || memcmp(a.dst, k.src, 16) != 0
                || memcmp(a.src, k.dst, 16) != 0 || memcmp(a.dmac, k.smac, 6) != 0)
                abort();
            complete(&g, frame, len, &k, &a);
            seen++;
        } else if (verdict == TRL_OK && k.proto == 6) {
            int added = trl_guard_know(&g, k.key, k.key_len);
            if (added == 0 && memcmp(k.dmac, g.mac, 6) == 0
                && trl_guard_check(&g, frame, len, TRL_PARSE_ETHERNET, reply, TRL_GUARD_ROOM) != TRL_GUARD_PASS)
                abort();
            seen += added == 0 && memcmp(k.dmac, g.mac, 6) == 0;
        }
        free(frame);
        free(reply);
    }
    if (g.seen != seen || g.log_used > LOG)
        abort();
    return 0;
}
