/* libterrella-packetdrill.so: lets packetdrill itself (`packetdrill --so_filename=...`) drive a terrella machine in
 * virtual time.
 *
 * packetdrill loads a shared object, calls packetdrill_interface_init() and from then on makes every system call, and
 * sends and sniffs every packet, through the functions it finds in `struct packetdrill_interface` (its packetdrill.h).
 * Here each of them is a request to a Python process (`tools.packetdrill.so.server`) that owns the machine, over a
 * socket pair: one pair per calling thread, as packetdrill makes the calls that block from a thread of its own. There is
 * no policy in this file.
 *
 * Time. The server says what time it is with each answer; gettimeofday() needs no request. Nothing else makes time
 * pass, so packetdrill's busy waiting would last for ever: from the fourth reading in a row each one takes 1 us. A
 * usleep() lasts 20 us longer than asked, the time for which packetdrill would spin after it: so its events happen
 * exactly at their instant.
 *
 * Preloaded as well (LD_PRELOAD), the library answers the two calls that packetdrill makes past the interface:
 * getsockopt() on a machine's descriptor (for %{ }% code), and system(), as far as the command is one that a terrella
 * script may use (sysctl, ip route): it then acts on the machine, not on the host.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef TERRELLA_PYTHON
#define TERRELLA_PYTHON "python3"
#endif

/* The layout that packetdrill's packetdrill.h gives it. */
struct packetdrill_interface {
    void *userdata;
    void (*free)(void *);
    int (*socket)(void *, int, int, int);
    int (*bind)(void *, int, const struct sockaddr *, socklen_t);
    int (*listen)(void *, int, int);
    int (*accept)(void *, int, struct sockaddr *, socklen_t *);
    int (*connect)(void *, int, const struct sockaddr *, socklen_t);
    ssize_t (*read)(void *, int, void *, size_t);
    ssize_t (*readv)(void *, int, const struct iovec *, int);
    ssize_t (*recv)(void *, int, void *, size_t, int);
    ssize_t (*recvfrom)(void *, int, void *, size_t, int, struct sockaddr *, socklen_t *);
    ssize_t (*recvmsg)(void *, int, struct msghdr *, int);
    ssize_t (*write)(void *, int, const void *, size_t);
    ssize_t (*writev)(void *, int, const struct iovec *, int);
    ssize_t (*send)(void *, int, const void *, size_t, int);
    ssize_t (*sendto)(void *, int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    ssize_t (*sendmsg)(void *, int, const struct msghdr *, int);
    int (*fcntl)(void *, int, int, ...);
    int (*ioctl)(void *, int, unsigned long, ...);
    int (*close)(void *, int);
    int (*shutdown)(void *, int, int);
    int (*getsockopt)(void *, int, int, int, void *, socklen_t *);
    int (*setsockopt)(void *, int, int, int, const void *, socklen_t);
    int (*poll)(void *, struct pollfd *, nfds_t, int);
    int (*netdev_send)(void *, const void *, size_t);
    int (*netdev_receive)(void *, void *, size_t *, long long *);
    int (*usleep)(void *, useconds_t);
    int (*gettimeofday)(void *, struct timeval *, struct timezone *);
    int (*epoll_create)(void *, int);
    int (*epoll_ctl)(void *, int, int, int, struct epoll_event *);
    int (*epoll_wait)(void *, int, struct epoll_event *, int, int);
    int (*pipe)(void *, int[2]);
    int (*splice)(void *, int, loff_t *, int, loff_t *, size_t, unsigned int);
};

enum {
    OP_SOCKET = 1, OP_BIND, OP_LISTEN, OP_ACCEPT, OP_CONNECT, OP_RECV, OP_RECVMSG, OP_SEND, OP_SENDMSG, OP_FCNTL,
    OP_IOCTL, OP_CLOSE, OP_SHUTDOWN, OP_GETSOCKOPT, OP_SETSOCKOPT, OP_POLL, OP_NETDEV_SEND, OP_NETDEV_RECEIVE,
    OP_USLEEP, OP_EPOLL_CREATE, OP_EPOLL_CTL, OP_EPOLL_WAIT, OP_PIPE, OP_SPLICE, OP_SYSTEM, OP_READ, OP_WRITE
};

struct request {
    uint32_t op;
    int32_t fd;
    int64_t now_us;
    int64_t a[3];
    uint32_t size; /* of what follows */
    uint32_t room; /* for what comes back */
};

struct answer {
    int64_t result;
    int64_t now_us;
    int32_t error;
    uint32_t size; /* of what follows */
};

#define CHANNELS 8
#define SPIN_US 20
#define FREE_READINGS 3
#define FIRST_FD 1000 /* descriptors of the machine begin here: none of the host's can be meant */
#define MESSAGE_MAX (1 << 22)

static int channels[CHANNELS];
static int taken;
static pid_t server;
static int64_t clock_us;
static int readings;
static pthread_t main_thread;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static __thread int own_channel = -1;
static __thread int64_t own_us;

static void die(const char *what)
{
    fprintf(stderr, "terrella: packetdrill interface: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void put(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            die("the machine is gone");
        at += n;
        size -= n;
    }
}

static void get(int fd, void *data, size_t size)
{
    char *at = data;
    while (size) {
        ssize_t n = recv(fd, at, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            die("the machine is gone");
        at += n;
        size -= n;
    }
}

/* One request and its answer. `out` is filled up to `room` bytes; *got says how many came. Sets errno. */
static int64_t call(int op, int fd, int64_t a0, int64_t a1, int64_t a2, const void *in, size_t size, void *out,
                    size_t room, size_t *got)
{
    if (own_channel < 0) {
        pthread_mutex_lock(&guard);
        own_channel = taken < CHANNELS ? channels[taken++] : -1;
        pthread_mutex_unlock(&guard);
        if (own_channel < 0)
            die("too many threads");
    }
    struct request request = {.op = op, .fd = fd, .a = {a0, a1, a2}, .size = size, .room = room};
    pthread_mutex_lock(&guard);
    request.now_us = clock_us;
    readings = 0;
    pthread_mutex_unlock(&guard);
    put(own_channel, &request, sizeof request);
    if (size)
        put(own_channel, in, size);
    struct answer answer;
    get(own_channel, &answer, sizeof answer);
    if (answer.size > room)
        die("an answer is too long");
    if (answer.size)
        get(own_channel, out, answer.size);
    if (got)
        *got = answer.size;
    pthread_mutex_lock(&guard);
    if (pthread_equal(pthread_self(), main_thread)) {
        if (answer.now_us > clock_us)
            clock_us = answer.now_us;
        readings = 0;
    } else {
        own_us = answer.now_us;
    }
    pthread_mutex_unlock(&guard);
    if (answer.error) {
        errno = answer.error;
        return -1;
    }
    return answer.result;
}

static int simple(int op, int fd, int64_t a0, int64_t a1, int64_t a2)
{
    return call(op, fd, a0, a1, a2, NULL, 0, NULL, 0, NULL);
}

static int missing(void)
{
    errno = EFAULT;
    return -1;
}

/* An address that came back: as much as there is room for, and its true length. */
static void give_address(const char *from, size_t size, struct sockaddr *addr, socklen_t *length)
{
    if (addr && length) {
        memcpy(addr, from, size < *length ? size : *length);
        *length = size;
    }
}

static void t_free(void *u)
{
    (void)u;
    for (int i = 0; i < CHANNELS; i++)
        if (channels[i] >= 0)
            close(channels[i]);
    if (server > 0)
        waitpid(server, NULL, 0);
    server = 0;
}

static int t_socket(void *u, int domain, int type, int protocol)
{
    (void)u;
    return simple(OP_SOCKET, -1, domain, type, protocol);
}

static int t_bind(void *u, int fd, const struct sockaddr *addr, socklen_t size)
{
    (void)u;
    return addr ? call(OP_BIND, fd, 0, 0, 0, addr, size, NULL, 0, NULL) : missing();
}

static int t_listen(void *u, int fd, int backlog)
{
    (void)u;
    return simple(OP_LISTEN, fd, backlog, 0, 0);
}

static int t_accept(void *u, int fd, struct sockaddr *addr, socklen_t *length)
{
    (void)u;
    char raw[128];
    size_t got = 0;
    int result = call(OP_ACCEPT, fd, 0, 0, 0, NULL, 0, raw, sizeof raw, &got);
    if (result >= 0)
        give_address(raw, got, addr, length);
    return result;
}

static int t_connect(void *u, int fd, const struct sockaddr *addr, socklen_t size)
{
    (void)u;
    return addr ? call(OP_CONNECT, fd, 0, 0, 0, addr, size, NULL, 0, NULL) : missing();
}

static ssize_t t_read(void *u, int fd, void *buf, size_t count)
{
    (void)u;
    return call(OP_READ, fd, count, buf == NULL, 0, NULL, 0, buf, buf ? count : 0, NULL);
}

/* What came back for several buffers. */
static void scatter(const char *data, size_t size, const struct iovec *iov, int count)
{
    for (int i = 0; i < count && size; i++) {
        size_t n = size < iov[i].iov_len ? size : iov[i].iov_len;
        memcpy(iov[i].iov_base, data, n);
        data += n;
        size -= n;
    }
}

static size_t total(const struct iovec *iov, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += iov[i].iov_len;
    return size;
}

static char *gather(const struct iovec *iov, int count, size_t before, size_t *size)
{
    size_t payload = total(iov, count);
    char *data = malloc(before + payload + 1), *at = data + before;
    if (!data)
        die("malloc");
    for (int i = 0; i < count; i++) {
        if (iov[i].iov_len)
            memcpy(at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    *size = before + payload;
    return data;
}

static ssize_t t_readv(void *u, int fd, const struct iovec *iov, int count)
{
    (void)u;
    size_t room = total(iov, count), got = 0;
    char *data = malloc(room + 1);
    if (!data)
        die("malloc");
    ssize_t result = call(OP_READ, fd, room, 0, 0, NULL, 0, data, room, &got);
    if (result >= 0)
        scatter(data, got, iov, count);
    free(data);
    return result;
}

/* The answer to OP_RECV: length of the address, the address, the data. */
static ssize_t t_recvfrom(void *u, int fd, void *buf, size_t size, int flags, struct sockaddr *addr, socklen_t *length)
{
    (void)u;
    size_t room = size + 132, got = 0;
    char *raw = malloc(room);
    if (!raw)
        die("malloc");
    ssize_t result = call(OP_RECV, fd, size, flags, buf == NULL, NULL, 0, raw, room, &got);
    if (result >= 0 && got >= 4) {
        uint32_t named;
        memcpy(&named, raw, 4);
        give_address(raw + 4, named, addr, length);
        memcpy(buf, raw + 4 + named, got - 4 - named);
    }
    free(raw);
    return result;
}

static ssize_t t_recv(void *u, int fd, void *buf, size_t size, int flags)
{
    return t_recvfrom(u, fd, buf, size, flags, NULL, NULL);
}

/* The answer to OP_RECVMSG: lengths of address and control data, flags, these two, the data. */
static ssize_t t_recvmsg(void *u, int fd, struct msghdr *msg, int flags)
{
    (void)u;
    size_t size = total(msg->msg_iov, msg->msg_iovlen), room = size + msg->msg_controllen + 256, got = 0;
    char *raw = malloc(room);
    if (!raw)
        die("malloc");
    ssize_t result = call(OP_RECVMSG, fd, size, flags, msg->msg_control ? msg->msg_controllen : 0, NULL, 0, raw, room,
                          &got);
    if (result >= 0 && got >= 12) {
        uint32_t head[3];
        memcpy(head, raw, 12);
        const char *at = raw + 12;
        if (msg->msg_name) {
            size_t n = head[0] < msg->msg_namelen ? head[0] : msg->msg_namelen;
            memcpy(msg->msg_name, at, n);
        }
        msg->msg_namelen = head[0];
        at += head[0];
        if (head[1])
            memcpy(msg->msg_control, at, head[1]);
        msg->msg_controllen = head[1];
        msg->msg_flags = head[2];
        at += head[1];
        scatter(at, raw + got - at, msg->msg_iov, msg->msg_iovlen);
    }
    free(raw);
    return result;
}

static ssize_t t_write(void *u, int fd, const void *buf, size_t count)
{
    (void)u;
    return call(OP_WRITE, fd, count, buf == NULL, 0, buf, buf ? count : 0, NULL, 0, NULL);
}

static ssize_t t_writev(void *u, int fd, const struct iovec *iov, int count)
{
    (void)u;
    size_t size;
    char *data = gather(iov, count, 0, &size);
    ssize_t result = call(OP_WRITE, fd, size, 0, 0, data, size, NULL, 0, NULL);
    free(data);
    return result;
}

/* OP_SEND: length of the address, the address, the data. */
static ssize_t t_sendto(void *u, int fd, const void *buf, size_t count, int flags, const struct sockaddr *addr,
                        socklen_t length)
{
    (void)u;
    uint32_t named = addr ? length : 0;
    struct iovec data = {.iov_base = (void *)buf, .iov_len = buf ? count : 0};
    size_t size;
    char *raw = gather(&data, 1, 4 + named, &size);
    memcpy(raw, &named, 4);
    if (named)
        memcpy(raw + 4, addr, named);
    ssize_t result = call(OP_SEND, fd, count, flags, buf == NULL, raw, size, NULL, 0, NULL);
    free(raw);
    return result;
}

static ssize_t t_send(void *u, int fd, const void *buf, size_t count, int flags)
{
    return t_sendto(u, fd, buf, count, flags, NULL, 0);
}

/* OP_SENDMSG: lengths of address and control data, these two, the data. */
static ssize_t t_sendmsg(void *u, int fd, const struct msghdr *msg, int flags)
{
    (void)u;
    uint32_t head[2] = {msg->msg_name ? msg->msg_namelen : 0, msg->msg_control ? msg->msg_controllen : 0};
    size_t size;
    char *raw = gather(msg->msg_iov, msg->msg_iovlen, 8 + head[0] + head[1], &size);
    memcpy(raw, head, 8);
    if (head[0])
        memcpy(raw + 8, msg->msg_name, head[0]);
    if (head[1])
        memcpy(raw + 8 + head[0], msg->msg_control, head[1]);
    ssize_t result = call(OP_SENDMSG, fd, flags, 0, 0, raw, size, NULL, 0, NULL);
    free(raw);
    return result;
}

static int t_fcntl(void *u, int fd, int command, ...)
{
    (void)u;
    va_list rest;
    va_start(rest, command);
    long argument = va_arg(rest, long);
    va_end(rest);
    return simple(OP_FCNTL, fd, command, (int)argument, 0);
}

static int t_ioctl(void *u, int fd, unsigned long request, ...)
{
    (void)u;
    va_list rest;
    va_start(rest, request);
    int *argument = va_arg(rest, int *);
    va_end(rest);
    return call(OP_IOCTL, fd, request, 0, 0, NULL, 0, argument, argument ? sizeof *argument : 0, NULL);
}

static int t_close(void *u, int fd)
{
    (void)u;
    return simple(OP_CLOSE, fd, 0, 0, 0);
}

static int t_shutdown(void *u, int fd, int how)
{
    (void)u;
    return simple(OP_SHUTDOWN, fd, how, 0, 0);
}

static int t_getsockopt(void *u, int fd, int level, int name, void *value, socklen_t *length)
{
    (void)u;
    if (!value || !length)
        return missing();
    size_t got = 0;
    int result = call(OP_GETSOCKOPT, fd, level, name, *length, NULL, 0, value, *length, &got);
    if (result >= 0)
        *length = got;
    return result;
}

static int t_setsockopt(void *u, int fd, int level, int name, const void *value, socklen_t length)
{
    (void)u;
    return value || !length ? call(OP_SETSOCKOPT, fd, level, name, 0, value, length, NULL, 0, NULL) : missing();
}

static int t_poll(void *u, struct pollfd *fds, nfds_t count, int timeout)
{
    (void)u;
    size_t size = count * sizeof *fds;
    return call(OP_POLL, -1, timeout, 0, 0, fds, size, fds, size, NULL);
}

static int t_netdev_send(void *u, const void *packet, size_t size)
{
    (void)u;
    return call(OP_NETDEV_SEND, -1, 0, 0, 0, packet, size, NULL, 0, NULL);
}

static int t_netdev_receive(void *u, void *packet, size_t *size, long long *time_usecs)
{
    (void)u;
    size_t got = 0;
    int64_t when = call(OP_NETDEV_RECEIVE, -1, 0, 0, 0, NULL, 0, packet, *size, &got);
    *size = got;
    if (when < 0)
        return -1;
    *time_usecs = when;
    return 0;
}

static int t_usleep(void *u, useconds_t usec)
{
    (void)u;
    return simple(OP_USLEEP, -1, (int64_t)usec + SPIN_US, 0, 0);
}

static int t_gettimeofday(void *u, struct timeval *tv, struct timezone *tz)
{
    (void)u;
    (void)tz;
    pthread_mutex_lock(&guard);
    int64_t now;
    if (pthread_equal(pthread_self(), main_thread) || !own_us) {
        if (++readings > FREE_READINGS)
            clock_us++;
        now = clock_us;
    } else {
        now = own_us; /* when the call that this thread made came back */
    }
    pthread_mutex_unlock(&guard);
    tv->tv_sec = now / 1000000;
    tv->tv_usec = now % 1000000;
    return 0;
}

static int t_epoll_create(void *u, int size)
{
    (void)u;
    return simple(OP_EPOLL_CREATE, -1, size, 0, 0);
}

static int t_epoll_ctl(void *u, int ep, int op, int fd, struct epoll_event *event)
{
    (void)u;
    return call(OP_EPOLL_CTL, ep, op, fd, 0, event, event ? sizeof *event : 0, NULL, 0, NULL);
}

static int t_epoll_wait(void *u, int ep, struct epoll_event *events, int most, int timeout)
{
    (void)u;
    if (most <= 0 || !events) {
        errno = EINVAL;
        return -1;
    }
    return call(OP_EPOLL_WAIT, ep, most, timeout, 0, NULL, 0, events, most * sizeof *events, NULL);
}

static int t_pipe(void *u, int ends[2])
{
    (void)u;
    return call(OP_PIPE, -1, 0, 0, 0, NULL, 0, ends, 2 * sizeof(int), NULL);
}

static int t_splice(void *u, int in, loff_t *in_at, int out, loff_t *out_at, size_t size, unsigned int flags)
{
    (void)u;
    (void)in_at;
    (void)out_at;
    return simple(OP_SPLICE, in, out, size, flags);
}

static void start(const char *flags)
{
    int theirs[CHANNELS];
    for (int i = 0; i < CHANNELS; i++) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
            die("socketpair");
        channels[i] = ends[0];
        theirs[i] = ends[1];
    }
    const char *python = getenv("TERRELLA_PYTHON");
    if (!python || !*python)
        python = TERRELLA_PYTHON;
    server = fork();
    if (server < 0)
        die("fork");
    if (!server) {
        char list[CHANNELS * 12] = "";
        for (int i = 0; i < CHANNELS; i++) {
            fcntl(theirs[i], F_SETFD, 0);
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%d", i ? "," : "", theirs[i]);
        }
        unsetenv("LD_PRELOAD");
        execlp(python, python, "-m", "tools.packetdrill.so.server", list, flags ? flags : "", (char *)NULL);
        fprintf(stderr, "terrella: cannot start %s: %s (set TERRELLA_PYTHON)\n", python, strerror(errno));
        _exit(127);
    }
    for (int i = 0; i < CHANNELS; i++)
        close(theirs[i]);
}

__attribute__((visibility("default")))
void packetdrill_interface_init(const char *flags, struct packetdrill_interface *ifc)
{
    main_thread = pthread_self();
    start(flags);
    simple(OP_USLEEP, -1, 0, 0, 0); /* it is up, and we have its time */
    *ifc = (struct packetdrill_interface){
        .userdata = &server, .free = t_free, .socket = t_socket, .bind = t_bind, .listen = t_listen,
        .accept = t_accept, .connect = t_connect, .read = t_read, .readv = t_readv, .recv = t_recv,
        .recvfrom = t_recvfrom, .recvmsg = t_recvmsg, .write = t_write, .writev = t_writev, .send = t_send,
        .sendto = t_sendto, .sendmsg = t_sendmsg, .fcntl = t_fcntl, .ioctl = t_ioctl, .close = t_close,
        .shutdown = t_shutdown, .getsockopt = t_getsockopt, .setsockopt = t_setsockopt, .poll = t_poll,
        .netdev_send = t_netdev_send, .netdev_receive = t_netdev_receive, .usleep = t_usleep,
        .gettimeofday = t_gettimeofday, .epoll_create = t_epoll_create, .epoll_ctl = t_epoll_ctl,
        .epoll_wait = t_epoll_wait, .pipe = t_pipe, .splice = t_splice,
    };
}

/* What packetdrill asks of the C library, when this is preloaded. */

__attribute__((visibility("default")))
int getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    if (server > 0 && fd >= FIRST_FD)
        return t_getsockopt(NULL, fd, level, name, value, length);
    int (*real)(int, int, int, void *, socklen_t *) = dlsym(RTLD_NEXT, "getsockopt");
    return real(fd, level, name, value, length);
}

__attribute__((visibility("default")))
int system(const char *line)
{
    if (server > 0 && line && !call(OP_SYSTEM, -1, 0, 0, 0, line, strlen(line), NULL, 0, NULL))
        return 0;
    int (*real)(const char *) = dlsym(RTLD_NEXT, "system");
    return real(line);
}
