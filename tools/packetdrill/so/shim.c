/* libterrella-packetdrill.so: lets packetdrill itself (`packetdrill --so_filename=...`) drive a terrella machine in
 * virtual time.
 *
 * packetdrill loads a shared object, calls packetdrill_interface_init() and from then on makes every system call, and
 * sends and sniffs every packet, through the functions it finds in `struct packetdrill_interface` (its packetdrill.h).
 * Here each of them is a request to a Python process (`tools.packetdrill.so.server`) that owns the machine, over a
 * socket pair: one pair per calling thread, as packetdrill makes the calls that block from a thread of its own (which
 * also waits there for the moment of the call). There is no policy in this file. packetdrill runs the scripts of one
 * command line one after the other, with an init and a free each: each has a machine of its own. `channel.c` carries
 * the requests, and says what time it is; `preload.c` is for what packetdrill asks of the C library itself.
 */

#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#define SPIN_US 20
#define OPTION_MAX 65536

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
    stop();
    release_all();
}

static int t_socket(void *u, int domain, int type, int protocol)
{
    (void)u;
    return hold(simple(OP_SOCKET, -1, domain, type, protocol));
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
    return hold(result);
}

static int t_connect(void *u, int fd, const struct sockaddr *addr, socklen_t size)
{
    (void)u;
    return addr ? call(OP_CONNECT, fd, 0, 0, 0, addr, size, NULL, 0, NULL) : missing();
}

static ssize_t t_read(void *u, int fd, void *buf, size_t count)
{
    (void)u;
    if (is_hosts(fd))
        return read(fd, buf, count);
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
    if (is_hosts(fd))
        return readv(fd, iov, count);
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
    if (is_hosts(fd))
        return write(fd, buf, count);
    return call(OP_WRITE, fd, count, buf == NULL, 0, buf, buf ? count : 0, NULL, 0, NULL);
}

static ssize_t t_writev(void *u, int fd, const struct iovec *iov, int count)
{
    (void)u;
    if (is_hosts(fd))
        return writev(fd, iov, count);
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

/* OP_SENDMSG: lengths of address and control data, how many pieces, these two, the pieces' lengths, the data. Only for
 * MSG_ZEROCOPY does it matter in how many pieces the data lies. */
static ssize_t t_sendmsg(void *u, int fd, const struct msghdr *msg, int flags)
{
    (void)u;
    uint32_t head[3] = {msg->msg_name ? msg->msg_namelen : 0, msg->msg_control ? msg->msg_controllen : 0,
                        flags & MSG_ZEROCOPY ? msg->msg_iovlen : 0};
    size_t size;
    char *raw = gather(msg->msg_iov, msg->msg_iovlen, 12 + head[0] + head[1] + 4 * head[2], &size);
    memcpy(raw, head, 12);
    if (head[0])
        memcpy(raw + 12, msg->msg_name, head[0]);
    if (head[1])
        memcpy(raw + 12 + head[0], msg->msg_control, head[1]);
    for (uint32_t i = 0; i < head[2]; i++) {
        uint32_t length = msg->msg_iov[i].iov_len;
        memcpy(raw + 12 + head[0] + head[1] + 4 * i, &length, 4);
    }
    ssize_t result = call(OP_SENDMSG, fd, flags, 0, 0, raw, size, NULL, 0, NULL);
    free(raw);
    return result;
}

/* packetdrill passes an int or nothing. */
static int t_fcntl(void *u, int fd, int command, ...)
{
    (void)u;
    va_list rest;
    va_start(rest, command);
    int argument = va_arg(rest, int);
    va_end(rest);
    if (is_hosts(fd))
        return fcntl(fd, command, argument);
    int result = simple(OP_FCNTL, fd, command, argument, 0);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? hold(result) : result;
}

/* packetdrill passes a pointer to an int, or nothing: only what these requests want is looked at. */
static int t_ioctl(void *u, int fd, unsigned long request, ...)
{
    (void)u;
    va_list rest;
    va_start(rest, request);
    int *argument = va_arg(rest, int *), value = 0;
    va_end(rest);
    request = (uint32_t)request;
    if (is_hosts(fd))
        return ioctl(fd, request, argument);
    size_t out = 0;
    switch (request) {
    case SIOCINQ: /* and FIONREAD */
    case SIOCOUTQ:
    case SIOCOUTQNSD:
    case SIOCATMARK:
        out = sizeof value;
        break;
    case FIONBIO:
    case FIOASYNC:
        value = *argument;
    }
    int result = call(OP_IOCTL, fd, request, value, 0, NULL, 0, &value, out, NULL);
    if (!result && out)
        *argument = value;
    return result;
}

int t_close(void *u, int fd)
{
    (void)u;
    if (is_hosts(fd)) {
        shut(fd);
        return 0;
    }
    int result = simple(OP_CLOSE, fd, 0, 0, 0);
    if (!result)
        release(fd);
    return result;
}

static int t_shutdown(void *u, int fd, int how)
{
    (void)u;
    return simple(OP_SHUTDOWN, fd, how, 0, 0);
}

int t_getsockopt(void *u, int fd, int level, int name, void *value, socklen_t *length)
{
    (void)u;
    if (!value || !length)
        return missing();
    if (*length > INT_MAX) {
        errno = EINVAL;
        return -1;
    }
    size_t got = 0;
    int result = call(OP_GETSOCKOPT, fd, level, name, *length, NULL, 0, value, *length, &got);
    if (result >= 0)
        *length = got;
    return result;
}

static int t_setsockopt(void *u, int fd, int level, int name, const void *value, socklen_t length)
{
    (void)u;
    if (length > OPTION_MAX) {
        errno = EINVAL;
        return -1;
    }
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
    if (!got)
        fprintf(stderr, "terrella: a packet is expected, and none will ever be sent\n");
    *size = got; /* 0: packetdrill takes it for a bad packet; an error would make it ask again, for ever */
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
    int64_t now = read_clock();
    tv->tv_sec = now / 1000000;
    tv->tv_usec = now % 1000000;
    return 0;
}

static int t_epoll_create(void *u, int size)
{
    (void)u;
    return hold(simple(OP_EPOLL_CREATE, -1, size, 0, 0));
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
    int result = call(OP_PIPE, -1, 0, 0, 0, NULL, 0, ends, 2 * sizeof(int), NULL);
    for (int i = 0; i < 2 && !result; i++)
        hold(ends[i]);
    return result;
}

static int t_splice(void *u, int in, loff_t *in_at, int out, loff_t *out_at, size_t size, unsigned int flags)
{
    (void)u;
    if ((in_at && *in_at) || (out_at && *out_at)) { /* packetdrill points at what the script has: 0 stands for NULL */
        errno = ESPIPE;
        return -1;
    }
    return simple(OP_SPLICE, in, out, size, flags);
}

EXPORTED void packetdrill_interface_init(const char *flags, struct packetdrill_interface *ifc)
{
    start(flags);
    *ifc = (struct packetdrill_interface){
        .userdata = NULL, .free = t_free, .socket = t_socket, .bind = t_bind, .listen = t_listen,
        .accept = t_accept, .connect = t_connect, .read = t_read, .readv = t_readv, .recv = t_recv,
        .recvfrom = t_recvfrom, .recvmsg = t_recvmsg, .write = t_write, .writev = t_writev, .send = t_send,
        .sendto = t_sendto, .sendmsg = t_sendmsg, .fcntl = t_fcntl, .ioctl = t_ioctl, .close = t_close,
        .shutdown = t_shutdown, .getsockopt = t_getsockopt, .setsockopt = t_setsockopt, .poll = t_poll,
        .netdev_send = t_netdev_send, .netdev_receive = t_netdev_receive, .usleep = t_usleep,
        .gettimeofday = t_gettimeofday, .epoll_create = t_epoll_create, .epoll_ctl = t_epoll_ctl,
        .epoll_wait = t_epoll_wait, .pipe = t_pipe, .splice = t_splice,
    };
}
