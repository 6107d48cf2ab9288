/* What the two faces of the library, packetdrill's interface and the C library's functions, have in common. */

#ifndef TERRELLA_CHANNEL_H
#define TERRELLA_CHANNEL_H

#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define EXPORTED __attribute__((visibility("default")))
#define FIRST_FD 1000 /* descriptors of the machine begin here: none of the host's can be meant */

enum {
    OP_SOCKET = 1, OP_BIND, OP_LISTEN, OP_ACCEPT, OP_CONNECT, OP_RECV, OP_RECVMSG, OP_SEND, OP_SENDMSG, OP_FCNTL,
    OP_IOCTL, OP_CLOSE, OP_SHUTDOWN, OP_GETSOCKOPT, OP_SETSOCKOPT, OP_POLL, OP_NETDEV_SEND, OP_NETDEV_RECEIVE,
    OP_USLEEP, OP_EPOLL_CREATE, OP_EPOLL_CTL, OP_EPOLL_WAIT, OP_PIPE, OP_SPLICE, OP_SYSTEM, OP_READ, OP_WRITE,
    OP_SENDFILE
};

/* One request and its answer. `out` is filled up to `room` bytes; *got says how many came. Sets errno. */
int64_t call(int op, int fd, int64_t a0, int64_t a1, int64_t a2, const void *in, size_t size, void *out, size_t room,
             size_t *got);
int simple(int op, int fd, int64_t a0, int64_t a1, int64_t a2);
void start(const char *flags);
void stop(void);
int64_t read_clock(void);
__attribute__((noreturn)) void die(const char *what);

/* Descriptors: held here as well, let go, of the host, of the machine; and the host's own close(). */
int hold(int fd);
void release(int fd);
void release_all(void);
int is_hosts(int fd);
int is_machines(int fd);
int is_up(void);
int is_past(void);
void shut(int fd);

int t_getsockopt(void *u, int fd, int level, int name, void *value, socklen_t *length);
int t_close(void *u, int fd);

#endif
