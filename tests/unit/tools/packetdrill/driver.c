/* What packetdrill does with a shared object, in small: the same dlopen(), the same busy waiting, system calls from the
 * main thread and one that blocks from another. Prints what happened and when, in microseconds from the start. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

struct packetdrill_interface {
    void *userdata;
    void (*free)(void *userdata);
    int (*socket)(void *userdata, int domain, int type, int protocol);
    int (*bind)(void *userdata, int sockfd, const struct sockaddr *addr, socklen_t addrlen);
    int (*listen)(void *userdata, int sockfd, int backlog);
    int (*accept)(void *userdata, int sockfd, struct sockaddr *addr, socklen_t *addrlen);
    int (*connect)(void *userdata, int sockfd, const struct sockaddr *addr, socklen_t addrlen);
    ssize_t (*read)(void *userdata, int fd, void *buf, size_t count);
    void *skipped_1[4]; /* readv recv recvfrom recvmsg */
    ssize_t (*write)(void *userdata, int fd, const void *buf, size_t count);
    void *skipped_2[4]; /* writev send sendto sendmsg */
    int (*fcntl)(void *userdata, int fd, int cmd, ...);
    void *ioctl;
    int (*close)(void *userdata, int fd);
    void *shutdown;
    int (*getsockopt)(void *userdata, int fd, int level, int name, void *value, socklen_t *length);
    int (*setsockopt)(void *userdata, int fd, int level, int name, const void *value, socklen_t length);
    int (*poll)(void *userdata, struct pollfd *fds, nfds_t nfds, int timeout);
    int (*netdev_send)(void *userdata, const void *buf, size_t count);
    int (*netdev_receive)(void *userdata, void *buf, size_t *count, long long *time_usecs);
    int (*usleep)(void *userdata, useconds_t usec);
    int (*gettimeofday)(void *userdata, struct timeval *tv, struct timezone *tz);
    void *skipped_3[5]; /* epoll_create epoll_ctl epoll_wait pipe splice */
};

static struct packetdrill_interface ifc;
static long long start;

static long long now(void)
{
    struct timeval tv;
    ifc.gettimeofday(ifc.userdata, &tv, NULL);
    return tv.tv_sec * 1000000LL + tv.tv_usec;
}

/* As packetdrill's wait_for_event(). */
static void wait_until(long long at)
{
    for (;;) {
        long long wait = start + at - now();
        if (wait <= 0)
            return;
        if (wait > 20)
            ifc.usleep(ifc.userdata, wait - 20);
    }
}

static unsigned short sum16(const unsigned char *data, size_t size, unsigned long total)
{
    for (size_t i = 0; i + 1 < size; i += 2)
        total += data[i] << 8 | data[i + 1];
    if (size & 1)
        total += data[size - 1] << 8;
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return ~total;
}

static unsigned char isn[4];

static void inject(unsigned flags, unsigned seq, unsigned ack, size_t size)
{
    unsigned char packet[2048] = {0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 168, 0, 1};
    unsigned char *tcp = packet + 20;
    size_t whole = 40 + size;
    unsigned base = isn[0] << 24 | isn[1] << 16 | isn[2] << 8 | isn[3];
    packet[2] = whole >> 8, packet[3] = whole;
    unsigned short sum = sum16(packet, 20, 0);
    packet[10] = sum >> 8, packet[11] = sum;
    tcp[0] = 0x9c, tcp[1] = 0x40, tcp[2] = 0x1f, tcp[3] = 0x90;
    *(unsigned *)(tcp + 4) = htonl(seq);
    *(unsigned *)(tcp + 8) = htonl(flags & 16 ? ack + base : 0);
    tcp[12] = 0x50, tcp[13] = flags, tcp[14] = 0xfa, tcp[15] = 0xf0;
    unsigned long pseudo = 6 + 20 + size;
    for (int i = 12; i < 20; i += 2)
        pseudo += packet[i] << 8 | packet[i + 1];
    sum = sum16(tcp, 20 + size, pseudo);
    tcp[16] = sum >> 8, tcp[17] = sum;
    ifc.netdev_send(ifc.userdata, packet, whole);
}

static void sniff(void)
{
    unsigned char packet[4096];
    size_t size = sizeof packet;
    long long when = 0;
    int result = ifc.netdev_receive(ifc.userdata, packet, &size, &when);
    if (result || size < 40) {
        printf("nothing came\n");
        return;
    }
    unsigned char *tcp = packet + (packet[0] & 15) * 4;
    if (tcp[13] & 2)
        memcpy(isn, tcp + 4, 4);
    unsigned base = isn[0] << 24 | isn[1] << 16 | isn[2] << 8 | isn[3];
    unsigned seq = ntohl(*(unsigned *)(tcp + 4)) - base, ack = ntohl(*(unsigned *)(tcp + 8));
    printf("%lld out flags %#x seq %u ack %u length %zu\n", when - start, tcp[13], seq, ack,
           size - (tcp - packet) - (tcp[12] >> 4) * 4);
}

static void *reader(void *arg)
{
    char data[100];
    ssize_t got = ifc.read(ifc.userdata, *(int *)arg, data, sizeof data);
    printf("%lld read %zd\n", now() - start, got);
    return NULL;
}

int main(int argc, char **argv)
{
    void *lib = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE | RTLD_DEEPBIND);
    if (!lib) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    void (*init)(const char *, struct packetdrill_interface *) = dlsym(lib, "packetdrill_interface_init");
    init(argc > 2 ? argv[2] : NULL, &ifc);
    void *u = ifc.userdata;
    start = now() + 250;
    wait_until(0);
    int fd = ifc.socket(u, AF_INET, SOCK_STREAM, IPPROTO_TCP), one = 1;
    printf("socket %s, setsockopt %d\n", fd >= 1000 ? "good" : "bad",
           ifc.setsockopt(u, fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(8080)};
    inet_pton(AF_INET, "192.168.0.1", &here.sin_addr);
    printf("bind %d", ifc.bind(u, fd, (struct sockaddr *)&here, sizeof here));
    printf(" listen %d\n", ifc.listen(u, fd, 1));
    ifc.fcntl(u, fd, F_SETFL, O_RDWR | O_NONBLOCK);
    int result = ifc.accept(u, fd, NULL, NULL);
    printf("accept %d %s\n", result, strerror(errno));
    wait_until(100000);
    inject(2, 0, 0, 0);
    sniff();
    wait_until(200000);
    inject(16, 1, 1, 0);
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    int conn = ifc.accept(u, fd, (struct sockaddr *)&peer, &length);
    printf("%lld accepted from port %d\n", now() - start, ntohs(peer.sin_port));
    pthread_t thread;
    pthread_create(&thread, NULL, reader, &conn);
    usleep(300000); /* packetdrill waits until the thread sleeps */
    wait_until(500000);
    inject(24, 1, 1, 10);
    wait_until(600000); /* the read came back long ago */
    pthread_join(thread, NULL);
    sniff();
    char data[1000] = {0};
    printf("%lld write %zd\n", now() - start, ifc.write(u, conn, data, sizeof data));
    sniff();
    sniff(); /* what the loss probe, then the retransmission timer sends */
    sniff();
    struct tcp_info info;
    length = sizeof info;
    printf("getsockopt %d", ifc.getsockopt(u, conn, IPPROTO_TCP, TCP_INFO, &info, &length));
    printf(" state %d unacked %u\n", info.tcpi_state, info.tcpi_unacked);
    memset(&info, 0, sizeof info);
    length = sizeof info;
    result = getsockopt(conn, IPPROTO_TCP, TCP_INFO, &info, &length);
    printf("the C library's: %d %d\n", result, info.tcpi_state);
    if (!result) { /* preloaded: else it would be the host's */
        printf("sysctl %d\n", system("sysctl -q net.ipv4.tcp_sack=0"));
        printf("unknown setting %d\n", system("sysctl -q net.ipv4.terrella_no_such=0 2>/dev/null") != 0);
    }
    printf("shell %d\n", system("exit 3") >> 8);
    struct pollfd wanted = {.fd = conn, .events = POLLIN | POLLOUT};
    result = ifc.poll(u, &wanted, 1, 0);
    printf("poll %d revents %d\n", result, wanted.revents);
    printf("close %d\n", ifc.close(u, conn));
    result = ifc.close(u, conn);
    printf("close %d %s\n", result, strerror(errno));
    printf("at %lld\n", now() - start);
    ifc.free(u);
    return 0;
}
