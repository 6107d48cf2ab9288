"""O_ASYNC: owners, signals and what they say, for pipes, sockets, terminals and inotify."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    got = []

    def h(s, n, i):
        got.append((n, i.si_code, hex(i.si_band), i.si_fd))

    def take():
        e(sys.nanosleep, 2 * MS)
        x = got[:]
        del got[:]
        return x

    for s in (SIGIO, SIGUSR1, SIGRTMIN):
        sys.rt_sigaction(s, h, SA_RESTART)
    me = sys.getpid()
    r, w = sys.pipe2(O_NONBLOCK)
    print(
        "owner",
        sys.fcntl(r, F_GETOWN),
        sys.fcntl(r, F_GETSIG),
        e(sys.fcntl, r, F_SETOWN, me),
        sys.fcntl(r, F_GETOWN) == me,
        e(sys.fcntl, r, F_SETOWN, 999999),
        e(sys.fcntl, r, F_SETOWN, -999999),
        sys.fcntl(r, F_GETOWN) == me,
        e(sys.fcntl, r, F_SETSIG, 65),
        e(sys.fcntl, r, F_SETSIG, -1),
    )
    sys.write(w, b"before")
    print("not yet", take(), e(sys.fcntl, r, F_SETFL, O_NONBLOCK | O_ASYNC), hex(sys.fcntl(r, F_GETFL)), take())
    sys.write(w, b"a")
    print("pipe in", take())
    sys.write(w, b"b")
    print(take())
    sys.read(r, 100)
    print(take())
    print("setsig", sys.fcntl(r, F_SETSIG, SIGRTMIN), sys.fcntl(r, F_GETSIG))
    sys.write(w, b"c")
    x = take()
    print([(n, c, b, f == r) for n, c, b, f in x])
    d = sys.dup(r)
    print("dup shares", hex(sys.fcntl(d, F_GETFL)), sys.fcntl(d, F_GETSIG), sys.fcntl(d, F_GETOWN) == me)
    sys.close(r)
    sys.write(w, b"d")
    print([(n, c, f == r) for n, c, b, f in take()])
    sys.fcntl(d, F_SETFL, O_NONBLOCK)
    print("off", hex(sys.fcntl(d, F_GETFL)))
    sys.write(w, b"e")
    print(take())
    sys.fcntl(d, F_SETFL, O_NONBLOCK | O_ASYNC)
    sys.write(w, b"f")
    print([(n, c, f == d) for n, c, b, f in take()])
    sys.close(w)
    print("hup", [(n, c) for n, c, b, f in take()])
    sys.close(d)
    # a signal with codes of its own
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK)
    sys.rt_sigaction(SIGCHLD, h, SA_RESTART)
    sys.fcntl(a, F_SETOWN, me)
    sys.fcntl(a, F_SETSIG, SIGCHLD)
    sys.fcntl(a, F_SETFL, O_NONBLOCK | O_ASYNC)
    sys.write(b, b"x")
    print("sigchld", [(n, c) for n, c, _, _ in take()])
    sys.fcntl(a, F_SETSIG, SIGUSR1)
    sys.write(b, b"y")
    print([(n, c, bd) for n, c, bd, _ in take()])
    sys.fcntl(a, F_SETSIG, 0)
    sys.write(b, b"z")
    print([(n, c) for n, c, _, _ in take()])
    print("drain", sys.read(a, 100), take())
    sys.shutdown(b, SHUT_WR)
    print("shut", [(n, c) for n, c, _, _ in take()])
    sys.close(b)
    print("closed", [(n, c) for n, c, _, _ in take()])
    # kinds of owners
    a, b = sys.socketpair(AF_UNIX, SOCK_DGRAM)
    print(
        "ex",
        e(sys.fcntl, a, F_GETOWN_EX),
        e(sys.fcntl, a, F_SETOWN_EX, (F_OWNER_TID, sys.gettid())),
        sys.fcntl(a, F_GETOWN) == me,
        sys.fcntl(a, F_GETOWN_EX)[0],
        e(sys.fcntl, a, F_SETOWN_EX, (9, me)),
        e(sys.fcntl, a, F_SETOWN_EX, (F_OWNER_PGRP, 999999)),
        e(sys.fcntl, a, F_SETOWN_EX, (F_OWNER_PGRP, sys.getpgid(0))),
        sys.fcntl(a, F_GETOWN) < 0,
        sys.fcntl(a, F_GETOWN_EX)[0],
    )
    print(
        "ioctl",
        e(sys.ioctl, a, FIOASYNC, 1),
        hex(sys.fcntl(a, F_GETFL)),
        e(sys.ioctl, a, FIOSETOWN, me),
        sys.ioctl(a, FIOGETOWN) == me,
        e(sys.ioctl, a, SIOCSPGRP, -sys.getpgid(0)),
        sys.ioctl(a, SIOCGPGRP) < 0,
        e(sys.ioctl, sys.pipe2()[0], FIOSETOWN, me),
    )
    sys.write(b, b"one")
    sys.write(b, b"two")
    x = take()
    print([(n, c) for n, c, _, _ in x][:1])
    print(
        "other files",
        [
            hex(sys.fcntl(f, F_SETFL, O_ASYNC) or sys.fcntl(f, F_GETFL) & O_ASYNC)
            for f in (
                sys.eventfd2(0, 0),
                sys.memfd_create("a"),
                sys.epoll_create1(),
                sys.timerfd_create(1),
                sys.open("/dev/null", O_RDWR),
                sys.inotify_init1(),
                sys.open("/tmp", O_RDONLY),
            )
        ],
        e(sys.ioctl, sys.eventfd2(0, 0), FIOASYNC, 1),
        e(sys.ioctl, sys.memfd_create("a"), FIOASYNC, 1),
        e(sys.ioctl, sys.memfd_create("a"), FIOASYNC, 0),
    )
    # TCP
    l = sys.socket(AF_INET, SOCK_STREAM)
    sys.bind(l, ("127.0.0.1", 0))
    sys.listen(l, 5)
    sys.fcntl(l, F_SETOWN, me)
    sys.fcntl(l, F_SETSIG, SIGRTMIN)
    sys.fcntl(l, F_SETFL, O_ASYNC)
    c = sys.socket(AF_INET, SOCK_STREAM)
    e(sys.connect, c, sys.getsockname(l))
    print("listen", [(n, k) for n, k, _, _ in take()])
    s, _ = sys.accept4(l)
    sys.fcntl(s, F_SETOWN, me)
    sys.fcntl(s, F_SETSIG, SIGRTMIN)
    sys.fcntl(s, F_SETFL, O_ASYNC)
    take()
    sys.sendto(c, b"hello")
    print("data", [(n, k) for n, k, _, _ in take()])
    sys.read(s, 9)
    take()
    sys.shutdown(c, SHUT_WR)
    print("fin", [(n, k) for n, k, _, _ in take()][:1])
    u = sys.socket(AF_INET, SOCK_DGRAM)
    sys.bind(u, ("127.0.0.1", 0))
    sys.fcntl(u, F_SETOWN, me)
    sys.fcntl(u, F_SETFL, O_ASYNC)
    sys.sendto(sys.socket(AF_INET, SOCK_DGRAM), b"x", 0, sys.getsockname(u))
    print("udp", [(n, k) for n, k, _, _ in take()])
    i = sys.inotify_init1()
    sys.fcntl(i, F_SETOWN, me)
    sys.fcntl(i, F_SETFL, O_ASYNC)
    sys.inotify_add_watch(i, "/tmp", IN_CREATE)
    n = "/tmp/exsig%d" % me
    sys.close(sys.open(n, O_CREAT))
    sys.unlink(n)
    print("inotify", [(n, k) for n, k, _, _ in take()][:1])
    # a pty
    m = sys.open("/dev/ptmx", O_RDWR | O_NOCTTY)
    sys.ioctl(m, TIOCSPTLCK, 0)
    t = sys.open("/dev/pts/%d" % sys.ioctl(m, TIOCGPTN), O_RDWR | O_NOCTTY)
    sys.fcntl(t, F_SETFL, O_ASYNC)
    print("tty owner", sys.fcntl(t, F_GETOWN) == me)
    sys.write(m, b"line")
    print(take())
    sys.write(m, b"\n")
    print("tty", [(n, k) for n, k, _, _ in take()])
    # somebody who may not
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM)
    pid = me

    def user(sys):
        sys.setresuid(33, 33, 33)
        sys.fcntl(a, F_SETOWN, pid)
        sys.fcntl(a, F_SETFL, O_ASYNC)
        sys.write(b, b"x")

    sys.wait4(sys.spawn(user))
    print("not allowed", [(n, k) for n, k, _, _ in take() if n == SIGIO])
