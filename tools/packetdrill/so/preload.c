/* What packetdrill asks of the C library itself, answered for the machine when the library is preloaded (LD_PRELOAD).
 *
 * getsockopt() on a machine's descriptor (for %{ }% code), close() and sendfile() on one, and system(), as far as the
 * command is one that a terrella script may use (sysctl, ip route): it then acts on the machine, not on the host.
 * mlockall() and sched_setscheduler() do nothing: where time is virtual neither is of use, and the first wants root.
 */

#include "channel.h"

#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

/* For code packetdrill wants all of the struct tcp_info that it knows; what a kernel has not is zero. */
EXPORTED int getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    if (!is_machines(fd)) {
        int (*real)(int, int, int, void *, socklen_t *) = dlsym(RTLD_NEXT, "getsockopt");
        return real(fd, level, name, value, length);
    }
    socklen_t asked = length ? *length : 0;
    int result = t_getsockopt(NULL, fd, level, name, value, length);
    if (!result && level == IPPROTO_TCP && name == TCP_INFO && *length < asked) {
        memset((char *)value + *length, 0, asked - *length);
        *length = asked;
    }
    return result;
}

EXPORTED int close(int fd)
{
    return is_machines(fd) ? t_close(NULL, fd) : (int)syscall(SYS_close, fd);
}

/* From a file of the host: what is to be sent is read here. */
EXPORTED ssize_t sendfile(int out, int in, off_t *offset, size_t count)
{
    if (!is_machines(out))
        return syscall(SYS_sendfile, out, in, offset, count);
    off_t place = lseek(in, 0, SEEK_CUR), at = offset ? *offset : place, end = lseek(in, 0, SEEK_END);
    if (place < 0 || at < 0 || end < 0)
        return -1;
    lseek(in, place, SEEK_SET);
    size_t size = end > at ? end - at : 0, there = 0;
    if (size > count)
        size = count;
    char *data = malloc(size + 1);
    if (!data)
        die("malloc");
    while (there < size) {
        ssize_t n = pread(in, data + there, size - there, at + there);
        if (n <= 0)
            break;
        there += n;
    }
    ssize_t sent = call(OP_SENDFILE, out, 0, 0, 0, data, there, NULL, 0, NULL);
    free(data);
    if (sent > 0 && offset)
        *offset += sent;
    else if (sent > 0)
        lseek(in, at + sent, SEEK_SET);
    return sent;
}

EXPORTED ssize_t sendfile64(int out, int in, off64_t *offset, size_t count)
{
    return sendfile(out, in, offset, count);
}

EXPORTED int system(const char *line)
{
    if (line && is_up()) {
        int code = call(OP_SYSTEM, -1, 0, 0, 0, line, strlen(line), NULL, 0, NULL);
        if (code >= 0)
            return code << 8;
    }
    if (line && is_past() && strstr(line, "sysctl"))
        return 0; /* packetdrill cleans up after a script that failed: what it would put back is gone */
    int (*real)(const char *) = dlsym(RTLD_NEXT, "system");
    return real(line);
}

EXPORTED int mlockall(int flags)
{
    (void)flags;
    return 0;
}

EXPORTED int sched_setscheduler(pid_t pid, int policy, const struct sched_param *param)
{
    (void)pid;
    (void)policy;
    (void)param;
    return 0;
}
