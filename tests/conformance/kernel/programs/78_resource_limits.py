"""Each resource limit that can be reached: what it stops, with which errno and which signal."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    L = sys.prlimit64

    def fork(f, *a):
        p = sys.spawn(f, *a)
        return hex(sys.wait4(p)[1])

    print(
        "args",
        e(L, 0, 16),
        e(L, 0, -1),
        e(L, 0, RLIMIT_NOFILE, (10, 5)),
        e(L, 99999, RLIMIT_NOFILE),
        e(L, -1, RLIMIT_NOFILE),
        e(L, 0, RLIMIT_NOFILE, (1024, 1 << 40)),
        e(L, sys.getpid(), RLIMIT_FSIZE),
        e(L, 0, RLIMIT_CPU, (-1, -1)),
    )

    def user(sys):
        L = sys.prlimit64
        L(0, RLIMIT_NOFILE, (20, 30))
        sys.setresuid(33, 33, 33)
        print(
            "user",
            e(L, 0, RLIMIT_NOFILE, (30, 30)),
            e(L, 0, RLIMIT_NOFILE, (30, 31)),
            e(L, 0, RLIMIT_NOFILE, (5, 25)),
            e(L, 0, RLIMIT_NOFILE, (5, 30)),
            e(L, 0, RLIMIT_NOFILE),
            e(L, 1, RLIMIT_NOFILE),
        )
        print(
            e(sys.open, "/", O_RDONLY),
            e(sys.dup, 0),
            e(sys.dup, 0),
            e(sys.pipe2),
            e(sys.dup3, 0, 5),
            e(sys.dup3, 0, 4),
            e(sys.fcntl, 0, F_DUPFD, 5),
            e(sys.fcntl, 0, F_DUPFD, 4),
            e(sys.eventfd2, 0, 0),
            e(sys.socket, AF_UNIX, SOCK_STREAM),
            e(sys.epoll_create1),
            e(sys.memfd_create, "a"),
            e(sys.ppoll, [(0, 0)] * 5, 0),
            e(sys.ppoll, [(0, 0)] * 6, 0),
        )

    print(fork(user))

    def nproc(sys):
        sys.prlimit64(0, RLIMIT_NPROC, (1, 1))
        sys.setresuid(4242, 4242, 4242)
        print("nproc", e(sys.spawn, lambda sys: 0))

    print(fork(nproc))

    def fsize(sys, handler):
        L = sys.prlimit64
        if handler == 1:
            sys.rt_sigaction(SIGXFSZ, SIG_IGN)
        if handler == 2:
            sys.rt_sigaction(SIGXFSZ, lambda s, n, i: print("sig", n, i.si_code))
        L(0, RLIMIT_FSIZE, (100, 100))
        n = "/tmp/exr%d" % sys.getpid()
        fd = sys.open(n, O_CREAT | O_RDWR, 0o600)
        sys.unlink(n)
        print("fsize", e(sys.write, fd, b"x" * 90), e(sys.write, fd, b"x" * 90))
        print(
            e(sys.write, fd, b""),
            e(sys.write, fd, b"x"),
            e(sys.ftruncate, fd, 101),
            e(sys.ftruncate, fd, 100),
            e(sys.pwrite64, fd, b"abc", 99),
            e(sys.pwrite64, fd, b"abc", 200),
            e(sys.lseek, fd, 500),
            e(sys.write, fd, b"x"),
            e(sys.fallocate, fd, 0, 0, 200),
            sys.fstat(fd).st_size,
        )
        m = sys.open(n + "b", O_CREAT | O_RDWR, 0o600)
        sys.unlink(n + "b")
        r, w = sys.pipe2()
        sys.write(w, b"q" * 300)
        print(
            e(sys.splice, r, None, m, None, 250),
            e(sys.splice, r, None, m, None, 250),
            e(sys.copy_file_range, fd, 0, m, 90, 50),
            e(sys.sendfile, m, fd, 0, 50),
            sys.fstat(m).st_size,
        )
        print("pipes do not care", sys.write(w, b"z" * 500))
        mf = sys.memfd_create("x")
        print(e(sys.write, mf, b"y" * 200), e(sys.ftruncate, mf, 300))

    for h in (0, 1, 2):
        print(fork(fsize, h))

    def cpu(sys, handler):
        sys.prlimit64(0, RLIMIT_CPU, (1, 2))
        n = []
        if handler:
            sys.rt_sigaction(SIGXCPU, lambda s, k, i: n.append((k, i.si_code)))
        for i in range(600):  # the host counts at its ticks, of which a busy one has fewer
            sys.cpu(50 * MS)
            if len(n) == 1 and handler == 1:
                print("xcpu", n)
                sys.exit(3)

    print(fork(cpu, 0), fork(cpu, 1), fork(cpu, 2))

    def sigq(sys):
        sys.prlimit64(0, RLIMIT_SIGPENDING, (3, 3))
        sys.setresuid(4343, 4343, 4343)
        sys.rt_sigprocmask(SIG_BLOCK, [SIGRTMIN, SIGRTMIN + 1, SIGUSR1, SIGUSR2])
        print(
            "sigpending",
            [e(sys.rt_sigqueueinfo, sys.getpid(), SIGRTMIN, i) for i in range(5)],
            e(sys.kill, sys.getpid(), SIGUSR1),
            e(sys.kill, sys.getpid(), SIGRTMIN + 1),
            e(sys.rt_sigqueueinfo, sys.getpid(), SIGUSR2, 1),
            sorted(sys.rt_sigpending()),
            e(sys.timer_create, CLOCK_MONOTONIC, None),
        )
        out = []
        while True:
            i = e(sys.rt_sigtimedwait, [SIGRTMIN, SIGRTMIN + 1, SIGUSR1, SIGUSR2], 0)
            if isinstance(i, str):
                break
            out.append((i.si_signo, i.si_code, i.si_value))
        print(out)

    print(fork(sigq))

    def rttime(sys, h):
        sys.sched_setscheduler(0, SCHED_FIFO, 1)
        n = []
        if h:
            sys.rt_sigaction(SIGXCPU, lambda s, k, i: n.append((k, i.si_code)))
        sys.prlimit64(0, 15, (60_000, 150_000 if h else -1))
        for i in range(30 if h == 2 else 300):
            if h == 2:
                sys.nanosleep(MS)
            sys.cpu(20 * MS)
            if h == 1 and len(n) == 1:
                print("rttime", n)
                h = 3
        return 7

    print(fork(rttime, 0), fork(rttime, 1), fork(rttime, 2))

    def stack(sys):
        print(
            "memlock",
            e(sys.prlimit64, 0, RLIMIT_MEMLOCK, (4096, 4096)) != 0,
            e(sys.setresuid, 33, 33, 33),
            e(sys.mlock, sys.mmap(0, 8192, 3, MAP_PRIVATE | MAP_ANONYMOUS), 8192),
        )
        print(
            "as",
            sys.prlimit64(0, RLIMIT_AS, (1 << 20, 1 << 20)) is not None,
            e(sys.mmap, 0, 1 << 30, 3, MAP_PRIVATE | MAP_ANONYMOUS),
        )

    print(fork(stack))
