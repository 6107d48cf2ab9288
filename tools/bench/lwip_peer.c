/*
 * The same services on lwIP, over a TAP with plain frames: the yardstick of the bulk figures.
 *
 *   lwip_peer TAP ADDR MASK             7 echo, 9 discard, 19 chargen; prints "ready"; until SIGTERM
 *
 * Debian's liblwip as it comes (its options are fixed at its build: 64 KiB of window and send buffer, no SACK), driven through the raw
 * API by one thread: frames are read into a pbuf and written from one, nothing is copied that need not be. The thread that
 * lwIP would start for itself is left out, so what its core lock guards is ours alone.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <lwip/etharp.h>
#include <lwip/init.h>
#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>

enum { MTU = 1500, FRAME = MTU + 14, BATCH = 64, CHUNK = 1 << 16 };
static int tap;
static char chunk[CHUNK];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- the device ---- */

static err_t transmit(struct netif *netif, struct pbuf *p)
{
    (void)netif;
    char joined[FRAME];
    const void *data = p->payload;
    if (p->next) {
        pbuf_copy_partial(p, joined, sizeof joined, 0);
        data = joined;
    }
    return write(tap, data, p->tot_len) == p->tot_len ? ERR_OK : ERR_IF;
}

static err_t set_up(struct netif *netif)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0x91, 3};
    netif->name[0] = 't';
    netif->name[1] = 'p';
    netif->mtu = MTU;
    netif->hwaddr_len = 6;
    memcpy(netif->hwaddr, mac, 6);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
    netif->output = etharp_output;
    netif->linkoutput = transmit;
    return ERR_OK;
}

static void receive(struct netif *netif)
{
    for (int i = 0; i < BATCH; i++) {
        struct pbuf *p = pbuf_alloc(PBUF_RAW, FRAME, PBUF_RAM);
        if (!p)
            return;
        ssize_t n = read(tap, p->payload, FRAME);
        if (n <= 0) {
            pbuf_free(p);
            return;
        }
        pbuf_realloc(p, (u16_t)n);
        if (netif->input(p, netif) != ERR_OK)
            pbuf_free(p);
    }
}

/* ---- the services ---- */

static err_t over(struct tcp_pcb *pcb)
{
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    if (tcp_close(pcb) == ERR_OK)
        return ERR_OK;
    tcp_abort(pcb);
    return ERR_ABRT;
}

static err_t echo(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    (void)arg, (void)err;
    if (!p)
        return over(pcb);
    if (tcp_sndbuf(pcb) < p->tot_len)
        return ERR_MEM;                         /* lwIP offers it again */
    for (struct pbuf *q = p; q; q = q->next)
        tcp_write(pcb, q->payload, q->len, TCP_WRITE_FLAG_COPY);
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return tcp_output(pcb);
}

static err_t discard(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    (void)arg, (void)err;
    if (!p)
        return over(pcb);
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
}

static err_t generate(void *arg, struct tcp_pcb *pcb, u16_t acked)
{
    (void)arg, (void)acked;
    for (;;) {
        u32_t room = tcp_sndbuf(pcb);
        u16_t n = (u16_t)(room < 32768 ? room : 32768);
        if (n == 0 || tcp_write(pcb, chunk, n, 0) != ERR_OK)
            break;
    }
    return tcp_output(pcb);
}

static err_t accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
    if (err != ERR_OK || !pcb)
        return ERR_VAL;
    intptr_t port = (intptr_t)arg;
    tcp_nagle_disable(pcb);
    tcp_recv(pcb, port == 7 ? echo : discard);
    if (port == 19) {
        tcp_sent(pcb, generate);
        return generate(NULL, pcb, 0);
    }
    return ERR_OK;
}

static void serve(u16_t port)
{
    struct tcp_pcb *pcb = tcp_new();
    if (!pcb || tcp_bind(pcb, IP_ADDR_ANY, port) != ERR_OK || !(pcb = tcp_listen(pcb)))
        die("listen");
    tcp_arg(pcb, (void *)(intptr_t)port);
    tcp_accept(pcb, accepted);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: lwip_peer TAP ADDR MASK\n", stderr);
        return 2;
    }
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    strncpy(ifr.ifr_name, argv[1], IFNAMSIZ - 1);
    tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &ifr) < 0 || ioctl(tap, TUNSETOFFLOAD, 0L) < 0)
        die("/dev/net/tun");
    for (int i = 0; i < CHUNK; i++)
        chunk[i] = (char)i;
    lwip_init();
    struct netif netif;
    ip4_addr_t addr = {inet_addr(argv[2])}, mask = {inet_addr(argv[3])}, none = {0};
    if (!netif_add(&netif, &addr, &mask, &none, NULL, set_up, ethernet_input))
        die("netif_add");
    netif_set_default(&netif);
    netif_set_up(&netif);
    serve(7);
    serve(9);
    serve(19);
    puts("ready");
    fflush(stdout);
    struct pollfd wait = {.fd = tap, .events = POLLIN};
    for (;;) {
        u32_t ms = sys_timeouts_sleeptime();
        if (poll(&wait, 1, ms > 1000 ? 1000 : (int)ms) > 0)
            receive(&netif);
        sys_check_timeouts();
    }
}
