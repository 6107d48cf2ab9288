"""The lowest free descriptor, and EMFILE at RLIMIT_NOFILE."""

from userland.abi import *


def err(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno_name(error.errno)


def main(sys, argv):
    for fd in range(3, 20):
        err(sys.close, fd)
    fds = [sys.open("/dev/null", O_RDONLY) for _ in range(5)]
    print(fds)
    sys.close(fds[1])
    sys.close(fds[3])
    print(sys.dup(0), sys.pipe2(), sys.fcntl(0, F_DUPFD, 10), sys.fcntl(0, F_DUPFD, 10), sys.fcntl(0, F_DUPFD, 3))
    sys.close(0)
    print("zero is taken:", sys.open("/dev/null", O_RDONLY))
    old = sys.prlimit64(0, RLIMIT_NOFILE, (16, 64))
    print("limit:", sys.prlimit64(0, RLIMIT_NOFILE))
    opened = []
    while True:
        fd = err(sys.open, "/dev/null", O_RDONLY)
        if isinstance(fd, str):
            break
        opened.append(fd)
    print("then", fd, opened)
    for what, call in (
        ("dup", lambda: sys.dup(0)),
        ("pipe2", sys.pipe2),
        ("socket", lambda: sys.socket(AF_UNIX, SOCK_STREAM)),
        ("socketpair", lambda: sys.socketpair(AF_UNIX, SOCK_STREAM)),
        ("F_DUPFD", lambda: sys.fcntl(0, F_DUPFD, 3)),
        ("F_DUPFD above", lambda: sys.fcntl(0, F_DUPFD, 16)),
        ("dup3 above", lambda: sys.dup3(0, 16, 0)),
        ("epoll", sys.epoll_create1),
        ("eventfd", sys.eventfd2),
        ("dup3 below", lambda: sys.dup3(0, 15, 0)),
    ):
        print(what, err(call))
    sys.close(9)
    print("one left:", err(sys.pipe2), sys.open("/dev/null", O_RDONLY))
    print("raise:", sys.prlimit64(0, RLIMIT_NOFILE, (64, 64)), sys.dup3(0, 63, 0), err(sys.dup3, 0, 64, 0))
    print("open above a lowered limit stays:", sys.prlimit64(0, RLIMIT_NOFILE, (16, 64)), sys.fcntl(63, F_GETFD))
    print(
        "soft above hard:",
        err(sys.prlimit64, 0, RLIMIT_NOFILE, (65, 64)),
        err(sys.prlimit64, 0, 16),
        err(sys.prlimit64, 1 << 22, 0),
    )

    def user(sys):
        sys.setresuid(1000, 1000, 1000)
        print(
            "user:",
            err(sys.prlimit64, 0, RLIMIT_NOFILE, (64, 65)),
            sys.prlimit64(0, RLIMIT_NOFILE, (10, 20)),
            err(sys.prlimit64, 0, RLIMIT_NOFILE, (20, 64)),
            err(sys.prlimit64, sys.getppid(), RLIMIT_NOFILE),
        )
        return 0

    sys.wait4(sys.spawn(user))
    print("EBADF:", err(sys.close, 1000), err(sys.read, -1, 1), err(sys.fcntl, 99, F_GETFD), err(sys.fstat, 99))
