"""POSIX, OFD and BSD locks: ranges, deadlock, who keeps them; the other things of fcntl."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    n = "/tmp/exl%d" % sys.getpid()
    fd = sys.open(n, O_CREAT | O_RDWR, 0o644)
    sys.write(fd, b"x" * 100)

    class L:  # struct flock, as the ABI takes it
        pass

    def lk(f, cmd, typ, start=0, ln=0, whence=0, s=None):
        x = e((s or sys).fcntl, f, cmd, (typ, whence, start, ln))
        return x

    def probe(f, typ=F_WRLCK, start=0, ln=0, cmd=F_GETLK):
        x = e(sys.fcntl, f, cmd, (typ, 0, start, ln))
        return x if isinstance(x, str) else tuple(x)[:4]

    print(
        lk(fd, F_SETLK, F_WRLCK, 10, 20),
        lk(fd, F_SETLK, F_RDLCK, 15, 5),
        lk(fd, F_SETLK, F_UNLCK, 25, 100),
        lk(fd, F_SETLK, F_RDLCK, -5, 3, 2),
        lk(fd, F_SETLK, F_WRLCK, 60, -10),
        lk(fd, F_SETLK, F_WRLCK, -1, 1),
        lk(fd, F_SETLK, 9, 0, 1),
        lk(fd, F_SETLK, F_WRLCK, 5, -6),
        lk(sys.open(n, O_RDONLY), F_SETLK, F_WRLCK, 0, 1),
        lk(sys.open(n, O_WRONLY), F_SETLK, F_RDLCK, 80, 1),
    )

    def other(sys):
        f = sys.open(n, O_RDWR)
        me = sys.getppid()
        for a, b in ((0, 5), (0, 0), (12, 1), (16, 1), (16, 0), (22, 1), (26, 10), (50, 5), (95, 3), (97, 3)):
            g = [e(sys.fcntl, f, F_GETLK, (t, 0, a, b)) for t in (F_RDLCK, F_WRLCK)]
            print(
                a,
                b,
                [x if isinstance(x, str) else (x[0], x[1], x[2], x[3], x[4] == me if len(x) > 4 else None) for x in g],
            )
        print(
            e(sys.fcntl, f, F_SETLK, (F_RDLCK, 0, 15, 5)),
            e(sys.fcntl, f, F_SETLK, (F_WRLCK, 0, 15, 5)),
            e(sys.fcntl, f, F_SETLK, (F_WRLCK, 0, 30, 5)),
            e(sys.fcntl, f, F_OFD_SETLK, (F_WRLCK, 0, 30, 5)),
        )

    # (all closes of other descriptors above dropped nothing yet: they are still open)
    sys.wait4(sys.spawn(other))
    sys.close(sys.open(n, O_RDONLY))
    print("after a close")
    sys.wait4(sys.spawn(lambda sys: print(e(sys.fcntl, sys.open(n, O_RDWR), F_SETLK, (F_WRLCK, 0, 0, 0)))))
    # deadlock
    lk(fd, F_SETLK, F_WRLCK, 0, 1)
    r, w = sys.pipe2()

    def dl(sys):
        f = sys.open(n, O_RDWR)
        print("child has 2", e(sys.fcntl, f, F_SETLK, (F_WRLCK, 0, 1, 1)))
        sys.write(w, b"x")
        print("child waits", e(sys.fcntl, f, F_SETLKW, (F_WRLCK, 0, 0, 1)))
        return 0

    p = sys.spawn(dl)
    sys.read(r, 1)
    sys.nanosleep(50 * MS)
    print("deadlock", lk(fd, F_SETLKW, F_WRLCK, 1, 1))
    lk(fd, F_SETLK, F_UNLCK)
    sys.wait4(p)
    # OFD
    f1, f2 = sys.open(n, O_RDWR), sys.open(n, O_RDWR)
    d = sys.dup(f1)
    print(
        "ofd",
        lk(f1, F_OFD_SETLK, F_WRLCK, 0, 10),
        lk(d, F_OFD_SETLK, F_WRLCK, 5, 10),
        lk(f2, F_OFD_SETLK, F_RDLCK, 3, 1),
        lk(f2, F_SETLK, F_RDLCK, 3, 1),
        probe(f2, F_RDLCK, 0, 0, F_OFD_GETLK),
        probe(f2, F_RDLCK, 0, 0, F_GETLK),
    )
    sys.close(f1)
    print(lk(f2, F_OFD_SETLK, F_RDLCK, 3, 1))
    sys.close(d)
    print(lk(f2, F_OFD_SETLK, F_RDLCK, 3, 1), e(sys.fcntl, f2, F_OFD_SETLK, (F_RDLCK, 0, 3, 1, 77)))
    c = sys.spawn(
        lambda sys: print(
            "child shares",
            e(sys.fcntl, f2, F_OFD_SETLK, (F_WRLCK, 0, 3, 1)),
            e(sys.fcntl, sys.open(n, O_RDWR), F_OFD_SETLK, (F_WRLCK, 0, 3, 1)),
        )
    )
    sys.wait4(c)
    # flock
    a, b = sys.open(n, O_RDONLY), sys.open(n, O_RDONLY)
    print(
        "flock",
        e(sys.flock, a, LOCK_EX),
        e(sys.flock, b, LOCK_SH | LOCK_NB),
        e(sys.flock, a, LOCK_SH),
        e(sys.flock, b, LOCK_SH | LOCK_NB),
        e(sys.flock, a, LOCK_EX | LOCK_NB),
        e(sys.flock, b, LOCK_UN),
        e(sys.flock, a, LOCK_EX | LOCK_NB),
        e(sys.flock, a, 0),
        e(sys.flock, a, 77),
        e(sys.flock, a, LOCK_SH | LOCK_EX),
        e(sys.flock, sys.dup(a), LOCK_EX | LOCK_NB),
        e(sys.flock, 999, LOCK_SH),
        lk(fd, F_SETLK, F_WRLCK),
    )
    p = sys.spawn(lambda sys: e(sys.flock, b, LOCK_EX) or 3)
    sys.nanosleep(40 * MS)
    print(sys.wait4(p, WNOHANG)[0])
    sys.flock(a, LOCK_UN)
    print(sys.wait4(p)[1] >> 8, e(sys.flock, a, LOCK_EX | LOCK_NB))
    sys.flock(b, LOCK_UN)
    # waiting lock is taken in turn, and EINTR
    lk(fd, F_SETLK, F_WRLCK, 0, 1)

    def intr(sys):
        sys.rt_sigaction(SIGALRM, lambda *x: None)
        sys.setitimer(ITIMER_REAL, 30 * MS)
        f = sys.open(n, O_RDWR)
        return {"EINTR": 1}.get(e(sys.fcntl, f, F_SETLKW, (F_WRLCK, 0, 0, 1)), 2)

    print(sys.wait4(sys.spawn(intr))[1] >> 8)

    def lw(sys):
        f = sys.open(n, O_RDWR)
        e(sys.fcntl, f, F_SETLKW, (F_RDLCK, 0, 0, 1))
        return 7

    ps = [sys.spawn(lw) for _ in range(3)]
    sys.nanosleep(30 * MS)
    lk(fd, F_SETLK, F_RDLCK, 0, 1)
    print([sys.wait4(p)[1] >> 8 for p in ps])
    p = sys.spawn(
        lambda sys: (e(sys.fcntl, sys.open(n, O_RDWR), F_SETLK, (F_WRLCK, 0, 50, 1)), sys.nanosleep(3000 * MS))
    )
    sys.nanosleep(40 * MS)
    print(lk(fd, F_SETLK, F_WRLCK, 50, 1))
    sys.kill(p, SIGKILL)
    sys.wait4(p)
    print(lk(fd, F_SETLK, F_WRLCK, 50, 1))
    # other fcntls
    print(
        e(sys.fcntl, fd, F_GETOWN),
        e(sys.fcntl, fd, F_SETOWN, sys.getpid()),
        e(sys.fcntl, fd, F_GETOWN) == sys.getpid(),
        e(sys.fcntl, fd, F_SETOWN, -sys.getpgrp()),
        e(sys.fcntl, fd, F_GETOWN) == -sys.getpgrp(),
        e(sys.fcntl, fd, F_SETOWN, 999999),
        e(sys.fcntl, fd, F_GETSIG),
        e(sys.fcntl, fd, F_SETSIG, 70),
        e(sys.fcntl, fd, F_SETSIG, 40),
        e(sys.fcntl, fd, F_GETSIG),
        e(sys.fcntl, fd, F_SETFL, O_DIRECT),
        oct(sys.fcntl(fd, F_GETFL)),
        e(sys.fcntl, fd, F_SETFL, O_APPEND | O_CREAT | O_TRUNC | O_RDONLY),
        oct(sys.fcntl(fd, F_GETFL)),
        e(sys.fcntl, fd, 12345),
        e(sys.fcntl, fd, F_SETFD, 3),
        e(sys.fcntl, fd, F_GETFD),
        e(sys.fcntl, fd, F_DUPFD_QUERY, fd),
        e(sys.fcntl, fd, F_DUPFD_QUERY, f2),
        e(sys.fcntl, fd, F_DUPFD_QUERY, 999),
    )
    sys.unlink(n)
