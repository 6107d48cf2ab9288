/*
 * The other end of every network figure: one small client, and the same services on the host's kernel to compare with.
 *
 *   peer serve ADDR                     7 echo, 9 discard, 19 chargen; one thread, epoll; until SIGTERM
 *   peer send ADDR PORT SECONDS CPU     writes for so long, then waits until the other end has read everything
 *   peer recv ADDR PORT SECONDS CPU     reads for so long
 *   peer echo ADDR PORT SECONDS CPU     one byte there and back, again and again
 *   peer connect ADDR PORT SECONDS CPU  connect, one byte there and back, close, again and again
 *   peer hold ADDR PORT COUNT CPU       opens so many connections, says "ready" and keeps them until its input ends
 *
 * CPU is the core to stay on, or -1. The result is one line of JSON. Whatever hangs is ended by SIGALRM. Every socket asks
 * for cubic: a namespace's default may be bbr, whose pacing measures itself on a link as fast as a TAP.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1 << 18, EVENTS = 64, GRACE_S = 20, MOST_SAMPLES = 1 << 20 };
static char chunk[CHUNK];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void prefer_cubic(int fd)
{
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);    /* a kernel without it keeps its default */
}

static void no_delay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static int dial(const char *address, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
        die("socket");
    prefer_cubic(fd);
    no_delay(fd);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        die("connect");
    return fd;
}

/* ---- the services ---- */

struct client { int fd, service; size_t from, to; char held[4096]; };

static int listen_on(const char *address, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    prefer_cubic(fd);
    if (inet_pton(AF_INET, address, &at.sin_addr) != 1 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 1024) < 0)
        die("listen");
    return fd;
}

/* Moves what can be moved without waiting. Returns -1 at the end of the connection. */
static int echo(struct client *c)
{
    for (;;) {
        while (c->from < c->to) {
            ssize_t n = write(c->fd, c->held + c->from, c->to - c->from);
            if (n < 0)
                return errno == EAGAIN ? 0 : -1;
            c->from += (size_t)n;
        }
        ssize_t n = read(c->fd, c->held, sizeof c->held);
        if (n <= 0)
            return n < 0 && errno == EAGAIN ? 0 : -1;
        c->from = 0;
        c->to = (size_t)n;
    }
}

static int discard(struct client *c)
{
    ssize_t n = read(c->fd, chunk, CHUNK);
    return n > 0 || (n < 0 && errno == EAGAIN) ? 0 : -1;
}

static int chargen(struct client *c)
{
    ssize_t n = write(c->fd, chunk, CHUNK);
    return n >= 0 || errno == EAGAIN ? 0 : -1;
}

static void serve(const char *address)
{
    static const int ports[] = {7, 9, 19};
    struct client listeners[3];
    struct epoll_event events[EVENTS];
    int poll = epoll_create1(0);
    for (int i = 0; i < 3; i++) {
        listeners[i] = (struct client){.fd = listen_on(address, ports[i]), .service = -ports[i]};
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listeners[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, listeners[i].fd, &e);
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (c->service < 0) {
                int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK);
                struct client *made = fd < 0 ? NULL : malloc(sizeof *made);
                if (!made)
                    continue;
                made->fd = fd;
                made->service = -c->service;
                made->from = made->to = 0;
                no_delay(fd);
                struct epoll_event e = {.events = made->service == 19 ? EPOLLOUT : EPOLLIN, .data.ptr = made};
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
                continue;
            }
            int over = c->service == 7 ? echo(c) : c->service == 9 ? discard(c) : chargen(c);
            if (over < 0) {
                close(c->fd);
                free(c);
            }
        }
    }
}

/* ---- the loads ---- */

static void measure_send(const char *address, int port, double seconds)
{
    int fd = dial(address, port);
    double start = seconds_now(), end = start + seconds;
    uint64_t bytes = 0;
    do {
        ssize_t n = write(fd, chunk, CHUNK);
        if (n < 0)
            die("write");
        bytes += (uint64_t)n;
    } while (seconds_now() < end);
    shutdown(fd, SHUT_WR);
    while (read(fd, chunk, CHUNK) > 0)
        ;
    printf("{\"bytes\": %llu, \"seconds\": %.9f}\n", (unsigned long long)bytes, seconds_now() - start);
}

static void measure_recv(const char *address, int port, double seconds)
{
    int fd = dial(address, port);
    double start = seconds_now(), now = start, end = start + seconds;
    uint64_t bytes = 0;
    while (now < end) {
        ssize_t n = read(fd, chunk, CHUNK);
        if (n <= 0)
            die("read");
        bytes += (uint64_t)n;
        now = seconds_now();
    }
    printf("{\"bytes\": %llu, \"seconds\": %.9f}\n", (unsigned long long)bytes, now - start);
}

static void one_byte(int fd)
{
    char byte = 'x';
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1 || byte != 'x')
        die("echo");
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure_echo(const char *address, int port, double seconds)
{
    double *samples = malloc(MOST_SAMPLES * sizeof *samples);
    int fd = dial(address, port);
    size_t n = 0;
    for (int i = 0; i < 200; i++)
        one_byte(fd);
    double before = seconds_now(), end = before + seconds;
    while (before < end && n < MOST_SAMPLES) {
        one_byte(fd);
        double after = seconds_now();
        samples[n++] = after - before;
        before = after;
    }
    qsort(samples, n, sizeof *samples, ascending);
    printf("{\"count\": %zu, \"median\": %.9f, \"p99\": %.9f}\n", n, samples[n / 2], samples[n * 99 / 100]);
}

static void measure_connect(const char *address, int port, double seconds)
{
    double start = seconds_now(), now = start, end = start + seconds;
    uint64_t n = 0;
    while (now < end) {
        int fd = dial(address, port);
        one_byte(fd);
        close(fd);
        n++;
        now = seconds_now();
    }
    printf("{\"count\": %llu, \"seconds\": %.9f}\n", (unsigned long long)n, now - start);
}

static void hold(const char *address, int port, int count)
{
    struct rlimit limit = {(rlim_t)count + 64, (rlim_t)count + 64};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("setrlimit");
    for (int i = 0; i < count; i++)
        dial(address, port);
    puts("ready");
    fflush(stdout);
    while (read(0, chunk, CHUNK) > 0)
        ;
}

int main(int argc, char **argv)
{
    for (int i = 0; i < CHUNK; i++)
        chunk[i] = (char)i;
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        serve(argv[2]);
    if (argc != 6) {
        fputs("usage: peer serve ADDR | peer send|recv|echo|connect|hold ADDR PORT SECONDS CPU\n", stderr);
        return 2;
    }
    const char *load = argv[1], *address = argv[2];
    int port = atoi(argv[3]), cpu = atoi(argv[5]);
    double seconds = atof(argv[4]);
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set) < 0)
            die("sched_setaffinity");
    }
    if (strcmp(load, "hold") == 0) {
        hold(address, port, atoi(argv[4]));
        return 0;
    }
    alarm((unsigned)seconds + GRACE_S);
    if (strcmp(load, "send") == 0)
        measure_send(address, port, seconds);
    else if (strcmp(load, "recv") == 0)
        measure_recv(address, port, seconds);
    else if (strcmp(load, "echo") == 0)
        measure_echo(address, port, seconds);
    else if (strcmp(load, "connect") == 0)
        measure_connect(address, port, seconds);
    else
        return 2;
    return 0;
}
