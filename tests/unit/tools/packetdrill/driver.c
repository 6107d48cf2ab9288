/* What packetdrill does with a shared object, in small. Prints what happened and when, in microseconds from the start.
 *
 * As there: the same dlopen(); a machine for each script of the command line, one after the other, in one process; a
 * start that is found by watching times() and reading the clock at each tick; busy waiting for the last 20 us of a
 * wait; one lock, given up while the interface sleeps; calls that may block made by a second thread, which also waits for
 * their moment, and watched in /proc until it sleeps; a call of the main thread waits for the other thread first, a
 * second at most. What a script leaves open is closed with the C library's close(), which must succeed, and its
 * connection gets a RST; the interface is freed after that, and a last command may come later still. Memory is locked,
 * code is TCP_INFO, TCP_CC_INFO and SO_MEMINFO from the C library's getsockopt(), and files are the C library's too. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
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
    int (*ioctl)(void *userdata, int fd, unsigned long request, ...);
    int (*close)(void *userdata, int fd);
    int (*shutdown)(void *userdata, int sockfd, int how);
    int (*getsockopt)(void *userdata, int fd, int level, int name, void *value, socklen_t *length);
    int (*setsockopt)(void *userdata, int fd, int level, int name, const void *value, socklen_t length);
    int (*poll)(void *userdata, struct pollfd *fds, nfds_t nfds, int timeout);
    int (*netdev_send)(void *userdata, const void *buf, size_t count);
    int (*netdev_receive)(void *userdata, void *buf, size_t *count, long long *time_usecs);
    int (*usleep)(void *userdata, useconds_t usec);
    int (*gettimeofday)(void *userdata, struct timeval *tv, struct timezone *tz);
    int (*epoll_create)(void *userdata, int size);
    int (*epoll_ctl)(void *userdata, int epfd, int op, int fd, struct epoll_event *event);
    int (*epoll_wait)(void *userdata, int epfd, struct epoll_event *events, int maxevents, int timeout);
    int (*pipe)(void *userdata, int pipefd[2]);
    int (*splice)(void *userdata, int fd_in, loff_t *off_in, int fd_out, loff_t *off_out, size_t len, unsigned int flags);
};

static struct packetdrill_interface ifc;
static void *lib;
static void *u;
static long long start;
static int events;
static volatile int naps;
static char local[64];
static pthread_mutex_t big = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER, enqueued = PTHREAD_COND_INITIALIZER,
                      dequeued = PTHREAD_COND_INITIALIZER;
static enum { IDLE, ENQUEUED, RUNNING, EXITING } state;
static pid_t thread_id;
static pthread_t thread;
static struct {
    const char *name;
    int fd;
    long long at;
    size_t size;
    int lag, result;
} job;

static long long now(void)
{
    struct timeval tv;
    ifc.gettimeofday(u, &tv, NULL);
    return tv.tv_sec * 1000000LL + tv.tv_usec - start;
}

/* The moment of an event, by whichever thread it concerns; returns when that was. */
static void wait_until(long long at)
{
    for (;;) {
        long long wait = at - now();
        if (wait <= 0)
            break;
        if (events > 0 && wait > 20) {
            pthread_mutex_unlock(&big);
            ifc.usleep(u, wait - 20);
            naps++;
            pthread_mutex_lock(&big);
        }
    }
    if (events++ > 0 && now() != at)
        printf("an event was late\n");
}

static void *calls(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&big);
    thread_id = syscall(SYS_gettid);
    while (state != EXITING) {
        if (state == IDLE) {
            pthread_cond_wait(&enqueued, &big);
            continue;
        }
        char data[4000] = {0};
        wait_until(job.at);
        int before = naps;
        state = RUNNING;
        pthread_mutex_unlock(&big);
        pthread_cond_signal(&dequeued);
        int result = !strcmp(job.name, "accept") ? ifc.accept(u, job.fd, NULL, NULL)
                     : !strcmp(job.name, "read") ? (int)ifc.read(u, job.fd, data, job.size)
                                                 : (int)ifc.write(u, job.fd, data, job.size);
        while (naps < before + job.lag) /* a thread that gets its turn late */
            sched_yield();
        long long end = now();
        if (getenv("DIES"))
            exit(7); /* as where a result is wrong: in this thread, whatever the other does */
        pthread_mutex_lock(&big);
        job.result = result;
        printf("%lld %s came back at %lld: %s\n", job.at, job.name, end, result < 0 ? strerror(errno) : "good");
        state = IDLE;
        pthread_cond_signal(&idle);
    }
    pthread_mutex_unlock(&big);
    return NULL;
}

static int sleeps(void)
{
    char path[64], line[512] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", getpid(), thread_id);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file))
        exit(2);
    fclose(file);
    char *field = strrchr(line, ')');
    return field && field[2] == 'S';
}

static int await_idle(void)
{
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec++;
    while (state != IDLE)
        if (pthread_cond_timedwait(&idle, &big, &limit) == ETIMEDOUT)
            return -1;
    return 0;
}

/* A call that may block, at its moment: returns when it is done or the thread sleeps. */
static void enqueue(long long at, const char *name, int fd, size_t size, int lag)
{
    if (await_idle())
        printf("a call blocks while another does\n");
    job.at = at, job.name = name, job.fd = fd, job.size = size, job.lag = lag;
    state = ENQUEUED;
    pthread_cond_signal(&enqueued);
    while (state == ENQUEUED)
        pthread_cond_wait(&dequeued, &big);
    for (int done = 0; !done;) {
        pthread_mutex_unlock(&big);
        sched_yield();
        done = sleeps();
        pthread_mutex_lock(&big);
        done |= state == IDLE;
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

static void inject(long long at, unsigned flags, unsigned seq, unsigned ack, size_t size)
{
    unsigned char packet[2048] = {0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1};
    unsigned char *tcp = packet + 20;
    size_t whole = 40 + size;
    unsigned base = isn[0] << 24 | isn[1] << 16 | isn[2] << 8 | isn[3];
    inet_pton(AF_INET, local, packet + 16);
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
    if (at >= 0)
        wait_until(at);
    ifc.netdev_send(u, packet, whole);
}

static void sniff(void)
{
    static unsigned char packet[65536];
    size_t size = sizeof packet;
    long long when = 0;
    now(); /* relative times count from here */
    events++;
    while (ifc.netdev_receive(u, packet, &size, &when))
        ;
    if (size < 40) {
        printf("nothing came: %zu bytes\n", size);
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

static void code(int fd)
{
    char info[288], beside[20];
    unsigned memory[9] = {0};
    socklen_t a = sizeof info, b = sizeof beside, c = sizeof memory;
    int one = getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &a);
    int two = getsockopt(fd, IPPROTO_TCP, 26, beside, &b), three = getsockopt(fd, SOL_SOCKET, 55, memory, &c);
    printf("code: TCP_INFO %d, %d bytes", one, one ? 0 : (int)a);
    printf(" TCP_CC_INFO %d, %d bytes SO_MEMINFO %d, %d bytes\n", two, two ? 0 : (int)b, three, three ? 0 : (int)c);
}

static void begin(const char *path, const char *flags, const char *address)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE))
        printf("mlockall failed\n");
    snprintf(local, sizeof local, "%s", address);
    pthread_mutex_lock(&big);
    state = IDLE;
    start = events = 0;
    pthread_create(&thread, NULL, calls, NULL);
    lib = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE | RTLD_DEEPBIND);
    if (!lib) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    void (*init)(const char *, struct packetdrill_interface *) = dlsym(lib, "packetdrill_interface_init");
    init(flags, &ifc);
    u = ifc.userdata;
    long long first = 0;
    clock_t before = times(NULL);
    for (int ticks = 0; ticks < 10;) {
        clock_t tick = times(NULL);
        if (tick != before)
            first = now(), ticks++;
        before = tick;
    }
    start = first + 250;
}

/* What a script leaves behind: the descriptors that it did not close, and the connection. */
static void end(int *left, int silent)
{
    if (await_idle())
        printf("a call still blocks\n");
    state = EXITING;
    pthread_cond_signal(&enqueued);
    pthread_mutex_unlock(&big);
    pthread_join(thread, NULL);
    for (; *left >= 0; left++)
        if (close(*left))
            printf("the C library's close: %s\n", strerror(errno));
    inject(-1, 20, 11, 1, 0);
    if (silent)
        sniff(), sniff(); /* the FIN of close(), and nothing after the RST */
    ifc.free(u);
    dlclose(lib);
}

static int listener(void)
{
    int fd = ifc.socket(u, AF_INET, SOCK_STREAM, IPPROTO_TCP), one = 1;
    printf("socket %s, setsockopt %d\n", fd >= 1000 ? "good" : "bad",
           ifc.setsockopt(u, fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(8080)};
    inet_pton(AF_INET, local, &here.sin_addr);
    printf("bind %d", ifc.bind(u, fd, (struct sockaddr *)&here, sizeof here));
    printf(" listen %d\n", ifc.listen(u, fd, 1));
    return fd;
}

int main(int argc, char **argv)
{
    const char *flags = argc > 2 ? argv[2] : NULL;
    begin(argv[1], flags, "192.168.0.1");
    wait_until(0);
    int fd = listener();
    ifc.fcntl(u, fd, F_SETFL, O_RDWR | O_NONBLOCK);
    int result = ifc.accept(u, fd, NULL, NULL);
    printf("accept %d %s\n", result, strerror(errno));
    inject(100000, 2, 0, 0, 0);
    sniff();
    inject(200000, 16, 1, 1, 0);
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    int conn = ifc.accept(u, fd, (struct sockaddr *)&peer, &length);
    printf("%lld accepted from port %d\n", now(), ntohs(peer.sin_port));
    enqueue(300000, "read", conn, 100, 2);
    printf("%lld goes on\n", now());
    if (getenv("FREES")) { /* as where a command or code fails: freed while a call blocks, then the message */
        ifc.free(u);
        poll(NULL, 0, 50);
        printf("what is wrong\n");
        exit(5);
    }
    inject(500000, 24, 1, 1, 10);
    wait_until(600000); /* the read came back long ago */
    await_idle();
    sniff();
    char data[1000] = {0};
    printf("%lld write %zd\n", now(), ifc.write(u, conn, data, sizeof data));
    sniff();
    sniff(); /* what the loss probe, then the retransmission timer sends */
    sniff();
    struct tcp_info info;
    length = sizeof info;
    printf("getsockopt %d", ifc.getsockopt(u, conn, IPPROTO_TCP, TCP_INFO, &info, &length));
    printf(" state %d unacked %u\n", info.tcpi_state, info.tcpi_unacked);
    length = -1;
    result = ifc.getsockopt(u, conn, IPPROTO_TCP, TCP_INFO, &info, &length);
    printf("negative length %d %s\n", result, strerror(errno));
    code(conn);
    int value = 5;
    printf("ioctl %d", ifc.ioctl(u, conn, SIOCOUTQ, &value));
    printf(" %d\n", value);
    if (getenv("PRELOADED")) { /* else it would be the host's */
        printf("sysctl %d\n", system("sysctl -q net.ipv4.tcp_sack=0"));
        printf("unknown setting %d\n", system("sysctl -q net.ipv4.terrella_no_such=0") != 0);
        printf("its own port %d\n", system("grep -i ':1F90 ' /proc/net/tcp | grep ' 01 '"));
        printf("no such port %d\n", system("grep ':2A2A ' /proc/net/tcp") != 0);
    }
    printf("shell %d\n", system("exit 3") >> 8);
    struct pollfd wanted = {.fd = conn, .events = POLLIN | POLLOUT};
    result = ifc.poll(u, &wanted, 1, 0);
    printf("poll %d revents %d\n", result, wanted.revents);
    int ends[2];
    printf("pipe %d", ifc.pipe(u, ends));
    loff_t nowhere = 0, out_of = 0;
    ifc.write(u, ends[1], "ab", 2);
    printf(" splice %d\n", ifc.splice(u, ends[0], &nowhere, conn, &out_of, 2, 0));
    printf("close %d\n", ifc.close(u, conn));
    result = ifc.close(u, conn);
    printf("close %d %s\n", result, strerror(errno));
    printf("at %lld\n", now());
    end((int[]){fd, -1}, 0);
    if (getenv("PRELOADED"))
        printf("after the end %d\n", system("sysctl -q net.ipv4.tcp_sack=1; /tmp/sysctl_restore_${PPID}.sh"));

    /* The next script: an address of its own choice, a call that blocks in the same thread twice, a file. */
    begin(argv[1], flags, "192.168.77.5");
    wait_until(0);
    fd = listener();
    enqueue(100000, "accept", fd, 0, 0);
    inject(200000, 2, 0, 0, 0);
    sniff();
    inject(300000, 16, 1, 1, 0);
    await_idle();
    conn = job.result;
    enqueue(400000, "read", conn, 100, 0);
    inject(450000, 24, 1, 1, 10);
    sniff();
    enqueue(500000, "write", conn, 536, 0);
    await_idle();
    wait_until(500010); /* too short to sleep */
    printf("%lld goes on\n", now());
    sniff();
    if (argc > 3) {
        char line[400];
        snprintf(line, sizeof line, "dd bs=1 count=300 if=/dev/zero of=%s status=none", argv[3]);
        printf("dd %d\n", system(line));
        int file = open(argv[3], O_RDONLY);
        off_t at = 100;
        printf("sendfile %zd", sendfile(conn, file, &at, 1000));
        printf(" at %lld", (long long)at);
        printf(" read %zd", ifc.read(u, file, data, 1000));
        printf(" close %d\n", ifc.close(u, file));
        sniff();
    }
    end((int[]){conn, fd, -1}, argc > 3);
    return 0;
}
