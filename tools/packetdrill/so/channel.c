/* The way to the machine: its process, a socket pair for each thread that makes requests, and the clock.
 *
 * Time. There is one clock for all threads: what the server said last. Nothing else makes time pass, so packetdrill's
 * busy waiting would last for ever: after FREE_READINGS readings in a row every eighth takes 1 us (the one that ends a
 * wait is followed by others, to check the time and to count from, and they are to say the same). Only the reading that
 * follows a call of packetdrill's other thread is of the past: when that call came back. packetdrill begins a script
 * 250 us after it first read the clock; the machine is 63.75 ms old then. So the script begins at a full ms, and where
 * the last six bits of a timestamp begin anew: SYN cookies keep options in them.
 *
 * Descriptors of the machine are numbers from 1000 on, each held open in this process too (on /dev/null): packetdrill
 * closes what a script left open with the C library's close(), preloaded or not.
 */

#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef TERRELLA_PYTHON
#define TERRELLA_PYTHON "python3"
#endif

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
#define FREE_READINGS 16 /* packetdrill makes ten to find its start, up to seven from one call to the next */
#define SLOW 8
#define START_US 63750
#define MANY 16384 /* descriptors of the machine are held */

static int channels[CHANNELS];
static int taken;
static unsigned generation; /* of machines: one per script */
static pid_t server, owner;
static volatile int over; /* the machine is at its end, or this process */
static int64_t clock_us;
static int readings;
static pthread_t main_thread;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static char held[MANY];
static __thread int own_channel = -1;
static __thread unsigned own_generation;
static __thread int64_t end_us; /* when the call that this thread made came back; 0: that is told */

void shut(int fd)
{
    syscall(SYS_close, fd);
}

void die(const char *what)
{
    if (over)
        for (;;)
            pause(); /* another thread has ended it, and has more to say than this one */
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
        if (n == 0)
            errno = EPIPE;
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
        if (n == 0)
            errno = EPIPE;
        if (n <= 0)
            die("the machine is gone");
        at += n;
        size -= n;
    }
}

int64_t call(int op, int fd, int64_t a0, int64_t a1, int64_t a2, const void *in, size_t size, void *out, size_t room,
             size_t *got)
{
    if (!server) {
        errno = EBADF;
        return -1;
    }
    if (own_channel < 0 || own_generation != generation) {
        pthread_mutex_lock(&guard);
        own_channel = taken < CHANNELS ? channels[taken++] : -1;
        own_generation = generation;
        pthread_mutex_unlock(&guard);
        end_us = 0;
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
    if (answer.now_us > clock_us)
        clock_us = answer.now_us;
    readings = 0;
    end_us = pthread_equal(pthread_self(), main_thread) || op == OP_USLEEP ? 0 : answer.now_us;
    pthread_mutex_unlock(&guard);
    if (answer.error) {
        errno = answer.error;
        return -1;
    }
    return answer.result;
}

int simple(int op, int fd, int64_t a0, int64_t a1, int64_t a2)
{
    return call(op, fd, a0, a1, a2, NULL, 0, NULL, 0, NULL);
}

/* The time of this thread, in microseconds. */
int64_t read_clock(void)
{
    pthread_mutex_lock(&guard);
    int64_t now = end_us;
    if (!now) {
        if (++readings > FREE_READINGS)
            clock_us += (readings - FREE_READINGS) % SLOW == 1;
        now = clock_us;
    }
    end_us = 0;
    pthread_mutex_unlock(&guard);
    return now;
}

/* A new descriptor of the machine: held open here under the same number, if there is room. */
int hold(int fd)
{
    int place = fd - FIRST_FD;
    if (place >= 0 && place < MANY && !held[place] && fcntl(fd, F_GETFD) < 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        held[place] = null >= 0 && dup3(null, fd, O_CLOEXEC) == fd;
        if (null >= 0)
            shut(null);
    }
    return fd;
}

void release(int fd)
{
    int place = fd - FIRST_FD;
    if (place >= 0 && place < MANY && held[place]) {
        held[place] = 0;
        shut(fd);
    }
}

int is_hosts(int fd)
{
    return fd >= 0 && fd < FIRST_FD && fcntl(fd, F_GETFD) >= 0;
}

int is_machines(int fd)
{
    return fd >= FIRST_FD && is_up();
}

int is_up(void)
{
    return server && owner == getpid();
}

/* There was a machine, and packetdrill has freed it. */
int is_past(void)
{
    return !server && owner == getpid();
}

void release_all(void)
{
    for (int i = 0; i < MANY; i++)
        release(FIRST_FD + i);
}

void stop(void)
{
    if (!server)
        return;
    over = 1;
    for (int i = 0; i < CHANNELS; i++) {
        shutdown(channels[i], SHUT_RDWR); /* also when another thread is in the middle of a request */
        shut(channels[i]);
    }
    waitpid(server, NULL, 0);
    server = 0;
}

__attribute__((destructor)) static void at_exit(void)
{
    if (is_up())
        stop(); /* the capture is complete when packetdrill is at its end, however it ends */
}

/* A machine of its own for each script. */
void start(const char *flags)
{
    struct rlimit files;
    stop();
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < FIRST_FD + MANY) {
        files.rlim_cur = files.rlim_max < FIRST_FD + MANY ? files.rlim_max : FIRST_FD + MANY;
        setrlimit(RLIMIT_NOFILE, &files); /* for what is held open */
    }
    over = taken = 0;
    generation++;
    clock_us = readings = 0;
    main_thread = pthread_self();
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
        struct sched_param usual = {0};
        syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &usual); /* packetdrill has given itself a real-time priority */
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
    owner = getpid();
    for (int i = 0; i < CHANNELS; i++)
        shut(theirs[i]);
    simple(OP_USLEEP, -1, START_US, 0, 0); /* it is up, and we have its time */
}
