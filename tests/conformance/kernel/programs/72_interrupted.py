"""A signal during each call that sleeps: without SA_RESTART, with it, and a stop that is continued."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    log = []
    calls = {}
    r, w = sys.pipe2()
    calls["read pipe"] = lambda sys: sys.read(r, 1)
    r2, w2 = sys.pipe2()
    sys.fcntl(w2, F_SETPIPE_SZ, 4096)
    sys.write(w2, b"x" * 4096)
    calls["write pipe"] = lambda sys: sys.write(w2, b"y")
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM)
    calls["recv"] = lambda sys: sys.recvfrom(a, 1)
    calls["recv waitall"] = lambda sys: sys.recvfrom(a, 10, MSG_WAITALL)
    c, d = sys.socketpair(AF_UNIX, SOCK_STREAM)
    sys.setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, struct.pack("qq", 30, 0))
    f_, g_ = sys.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK)
    while isinstance(e(sys.write, f_, b"z" * 65536), int):
        pass
    sys.fcntl(f_, F_SETFL, 0)
    calls["send"] = lambda sys: sys.sendto(f_, b"q" * 10)
    l = sys.socket(AF_UNIX, SOCK_STREAM)
    sys.bind(l, b"\0exam%d" % sys.getpid())
    sys.listen(l, 0)
    calls["accept unix"] = lambda sys: sys.accept4(l)
    k1 = sys.socket(AF_UNIX, SOCK_STREAM)
    t = sys.socket(AF_INET, SOCK_STREAM)
    sys.bind(t, ("127.0.0.1", 0))
    sys.listen(t, 5)
    calls["accept inet"] = lambda sys: sys.accept4(t)
    u = sys.socket(AF_INET, SOCK_DGRAM)
    sys.bind(u, ("127.0.0.1", 0))
    ev = sys.eventfd2(0, 0)
    calls["eventfd read"] = lambda sys: sys.read(ev, 8)
    ev2 = sys.eventfd2(0, 0)
    sys.write(ev2, b"\xfe" + b"\xff" * 7)
    calls["eventfd write"] = lambda sys: sys.write(ev2, b"\1" + bytes(7))
    tf = sys.timerfd_create(CLOCK_MONOTONIC)
    calls["timerfd"] = lambda sys: sys.read(tf, 8)
    sf = sys.signalfd4(-1, [SIGUSR2])
    calls["signalfd"] = lambda sys: sys.read(sf, 128)
    ino = sys.inotify_init1()
    calls["inotify"] = lambda sys: sys.read(ino, 1000)
    ep = sys.epoll_create1()
    calls["epoll"] = lambda sys: sys.epoll_pwait(ep, 1, -1)
    calls["ppoll"] = lambda sys: sys.ppoll([(r, POLLIN)], None)
    calls["select"] = lambda sys: sys.pselect6(r + 1, [r], [], [], None)
    calls["pause"] = lambda sys: sys.pause()
    calls["sigsuspend"] = lambda sys: sys.rt_sigsuspend([])
    calls["sigtimedwait"] = lambda sys: sys.rt_sigtimedwait([SIGUSR2], 10**11)
    calls["nanosleep"] = lambda sys: sys.nanosleep(10**11)
    calls["clock_nanosleep abs"] = lambda sys: sys.clock_nanosleep(
        CLOCK_MONOTONIC, 1, sys.clock_gettime(CLOCK_MONOTONIC) + 10**11
    )
    name = "/tmp/exi%d" % sys.getpid()
    sys.mkfifo(name + "f")
    calls["open fifo r"] = lambda sys: sys.open(name + "f", O_RDONLY)
    calls["open fifo w"] = lambda sys: sys.open(name + "f", O_WRONLY)
    lf = sys.open(name, O_RDWR | O_CREAT)

    def holder(sys):
        h = sys.open(name, O_RDWR)
        sys.flock(h, LOCK_EX)
        sys.fcntl(h, F_SETLK, (F_WRLCK, 0, 0, 0))
        sys.nanosleep(10**12)

    hp = sys.spawn(holder)
    sys.nanosleep(30 * MS)
    calls["flock"] = lambda sys: sys.flock(lf, LOCK_EX)
    calls["setlkw"] = lambda sys: sys.fcntl(lf, F_SETLKW, (F_WRLCK, 0, 0, 0))
    calls["wait4"] = lambda sys: sys.wait4(-1, 0)[1]
    calls["waitid"] = lambda sys: sys.waitid(P_ALL, 0, WEXITED)
    calls["futex"] = lambda sys: sys.futex(mem, FUTEX_WAIT, 0, None)
    calls["futex bitset abs"] = lambda sys: sys.futex(
        mem, FUTEX_WAIT_BITSET, 0, sys.clock_gettime(CLOCK_MONOTONIC) + 10**11, 0, 1
    )
    calls["splice"] = lambda sys: sys.splice(r, None, w2, None, 10)
    calls["tee"] = lambda sys: sys.tee(r, w2, 10)
    mem = sys.mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)
    pr, pw = sys.pipe2()
    gr, gw = sys.pipe2()

    def child(sys, call, flags, kind):
        got = []
        if kind == "handler":
            sys.rt_sigaction(SIGUSR1, lambda s, n, i: got.append(n), flags)
        if call in ("wait4", "waitid"):
            kid = sys.spawn(lambda sys: sys.nanosleep(10**12))
        sys.rt_sigprocmask(SIG_BLOCK, [SIGUSR2])
        sys.write(gw, b".")
        res = e(calls[call], sys)
        if call in ("wait4", "waitid"):
            sys.kill(kid, SIGKILL)
        sys.write(pw, ("%s" % (res,)).encode())

    for call in calls:
        line = []
        for flags, kind in ((0, "handler"), (SA_RESTART, "handler"), (0, "stop")):
            p = sys.spawn(child, call, flags, kind)
            sys.read(gr, 1)
            sys.nanosleep(20 * MS)
            if kind == "stop":
                sys.kill(p, SIGSTOP)
                sys.nanosleep(5 * MS)
                sys.kill(p, SIGCONT)
            else:
                sys.kill(p, SIGUSR1)
            if sys.ppoll([(pr, POLLIN)], 50 * MS):
                line.append(sys.read(pr, 100).decode())
            else:
                line.append("goes on")
            sys.kill(p, SIGKILL)
            sys.wait4(p)
        print(call, line)
    sys.kill(hp, SIGKILL)
    sys.unlink(name)
    sys.unlink(name + "f")
