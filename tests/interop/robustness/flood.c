/*
 * A flood at a rate held by the clock: `flood INTERFACE KIND RATE SECONDS SOURCE DESTINATION DESTINATION_MAC PORT`. Frames are
 * sent through a packet socket, in bursts of a millisecond's worth; what was missed is made up for. Kinds:
 *
 *   syn      TCP SYNs with the options Linux sends, from one address and ever other ports
 *   spoofed  the same, each from another address of the source's /16
 *   ack rst fin xmas null flags   TCP of no connection; flags: any
 *   udp icmp fragment
 *
 * At the end one line: frames sent, nanoseconds taken, the longest time between two bursts in nanoseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BURST = 256, FRAME = 128, IP = 14, L4 = 34 };

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t state = 2463534242u;

static uint32_t number(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static uint16_t sum(const uint8_t *p, size_t n, uint32_t s)
{
    for (size_t i = 0; i < n; i += 2)
        s += (uint32_t)p[i] << 8 | (i + 1 < n ? p[i + 1] : 0);
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return (uint16_t)s;
}

static void put(uint8_t *p, uint32_t v, int bytes)
{
    while (bytes-- > 0) {
        p[bytes] = (uint8_t)v;
        v >>= 8;
    }
}

/* One frame of the kind; its length. */
static size_t make(uint8_t *f, const char *kind, const uint8_t *macs, uint32_t src, uint32_t dst, uint16_t port, uint64_t i)
{
    static const uint8_t options[20] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 1, 0, 0, 0, 0, 0, 1, 3, 3, 7};
    uint8_t *ip = f + IP, *l4 = f + L4;
    int tcp = strcmp(kind, "udp") && strcmp(kind, "icmp") && strcmp(kind, "fragment");
    size_t n = tcp ? 20 : 8 + 18;
    memset(f, 0, FRAME);
    memcpy(f, macs, 12);
    put(f + 12, ETH_P_IP, 2);
    if (!strcmp(kind, "spoofed"))
        src = (src & 0xffff0000u) | (number() & 0xffff);
    put(l4, 1024 + (uint32_t)(i % 31000), 2);       /* the ports above are for the host's own clients */
    put(l4 + 2, port, 2);
    if (tcp) {
        static const struct { const char *kind; uint8_t flags; } combinations[] = {
            {"ack", 0x10}, {"rst", 0x04}, {"fin", 0x01}, {"xmas", 0x29}, {"null", 0}};
        uint8_t flags = !strcmp(kind, "flags") ? (uint8_t)number() : 2;
        for (size_t k = 0; k < sizeof combinations / sizeof combinations[0]; k++)
            if (!strcmp(kind, combinations[k].kind))
                flags = combinations[k].flags;
        put(l4 + 4, number(), 4);
        put(l4 + 8, flags & 16 ? number() : 0, 4);
        if (flags == 2) {
            memcpy(l4 + 20, options, 20);
            put(l4 + 28, (uint32_t)i, 4);
            n = 40;
        }
        l4[12] = (uint8_t)(n / 4 << 4);
        l4[13] = flags;
        put(l4 + 14, 64240, 2);
    } else if (!strcmp(kind, "icmp")) {
        put(l4, 8u << 24, 4);
        put(l4 + 4, (uint32_t)i, 4);
        put(l4 + 2, (uint16_t)~sum(l4, n, 0), 2);
    } else {
        put(l4 + 4, (uint32_t)n, 2);
    }
    ip[0] = 0x45;
    put(ip + 2, (uint32_t)(20 + n), 2);
    put(ip + 4, (uint32_t)i, 2);
    put(ip + 6, !strcmp(kind, "fragment") ? 0x2000u | (number() & 0x1f) : 0x4000, 2);
    ip[8] = 64;
    ip[9] = tcp ? 6 : !strcmp(kind, "icmp") ? 1 : 17;
    put(ip + 12, src, 4);
    put(ip + 16, dst, 4);
    put(ip + 10, (uint16_t)~sum(ip, 20, 0), 2);
    if (tcp)
        put(l4 + 16, (uint16_t)~sum(l4, n, sum(ip + 12, 8, 6 + (uint32_t)n)), 2);
    return IP + 20 + n;
}

int main(int argc, char **argv)
{
    static uint8_t frames[BURST][FRAME];
    static struct iovec iov[BURST];
    static struct mmsghdr messages[BURST];
    uint8_t macs[12];
    struct ifreq ifr = {0};
    if (argc != 9 || sscanf(argv[7], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", macs, macs + 1, macs + 2, macs + 3, macs + 4, macs + 5) != 6)
        return 2;
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    strncpy(ifr.ifr_name, argv[1], sizeof ifr.ifr_name - 1);
    if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &ifr) < 0) {
        perror(argv[1]);
        return 1;
    }
    memcpy(macs + 6, ifr.ifr_hwaddr.sa_data, 6);
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(argv[1]), .sll_halen = 6};
    uint64_t rate = strtoull(argv[3], NULL, 10), total = rate * strtoull(argv[4], NULL, 10), sent = 0, longest = 0;
    uint32_t src = ntohl(inet_addr(argv[5])), dst = ntohl(inet_addr(argv[6]));
    uint64_t start = now(), last = start;
    while (sent < total) {
        uint64_t t = now(), due = (t - start) * rate / 1000000000u;
        if (due <= sent) {
            struct timespec pause = {0, 200000};
            nanosleep(&pause, NULL);
            continue;
        }
        if (t - last > longest)
            longest = t - last;
        last = t;
        int n = 0;
        for (; n < BURST && sent + (uint64_t)n < due && sent + (uint64_t)n < total; n++) {
            iov[n] = (struct iovec){frames[n], make(frames[n], argv[2], macs, src, dst, (uint16_t)atoi(argv[8]), sent + (uint64_t)n)};
            messages[n].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &iov[n], .msg_iovlen = 1};
        }
        int done = sendmmsg(fd, messages, (unsigned)n, 0);
        sent += done > 0 ? (uint64_t)done : 0;      /* the TAP's queue may be full: the same are tried again */
    }
    printf("%llu %llu %llu\n", (unsigned long long)sent, (unsigned long long)(now() - start), (unsigned long long)longest);
    return 0;
}
