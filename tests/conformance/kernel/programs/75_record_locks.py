"""Record locks that split and join, deadlock, locks of the open description, flock, who waits for what."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    n = "/tmp/exl%d" % sys.getpid()
    fd = sys.open(n, O_CREAT | O_RDWR, 0o644)
    sys.write(fd, b"0123456789" * 10)
    me = sys.getpid()

    def L(fd, cmd, kind, start=0, length=0, whence=0):
        x = e(sys.fcntl, fd, cmd, (kind, whence, start, length))
        if isinstance(x, tuple):
            return tuple(x[:4]) + ("me" if x[4] == me else "kid" if x[4] > 0 else x[4],)
        return x

    R, W, U = F_RDLCK, F_WRLCK, F_UNLCK

    # a kid that does what it is told
    def kid_main(sys, cr, cw):
        k = sys.open(n, O_RDWR)
        while True:
            cmd = sys.read(cr, 200)
            if not cmd:
                return
            c = eval(cmd.decode())
            sys.write(cw, repr(L2(sys, k, *c)).encode())

    def L2(sys, k, cmd, kind, start=0, length=0, whence=0):
        x = e(sys.fcntl, k, cmd, (kind, whence, start, length))
        if isinstance(x, tuple):
            return tuple(x[:4]) + ("parent" if x[4] == me else x[4] if x[4] < 1 else "self",)
        return x

    r1, w1 = sys.pipe2()
    r2, w2 = sys.pipe2()
    kid = sys.spawn(kid_main, r1, w2)

    def K(*c):
        sys.write(w1, repr(c).encode())
        return sys.read(r2, 200).decode()

    G, S = F_GETLK, F_SETLK
    print(
        "basic",
        L(fd, S, W, 10, 10),
        K(G, W),
        K(G, R, 0, 10),
        K(G, R, 0, 11),
        K(G, R, 20, 5),
        K(S, R, 15, 1),
        K(S, R, 0, 10),
        L(fd, G, W, 0, 0),
        L(fd, G, R, 0, 0),
    )
    print(
        "split",
        L(fd, S, U, 12, 3),
        K(G, W, 0, 100),
        K(G, W, 11, 100),
        K(G, W, 12, 3),
        K(G, W, 13, 100),
        L(fd, S, R, 11, 6),
        K(G, R, 10, 100),
        K(G, R, 11, 5),
        K(G, W, 11, 5),
        K(G, R, 17, 1),
    )
    print(
        "bad",
        L(fd, S, 7),
        L(fd, S, R, -5, 3),
        L(fd, S, R, 5, -6),
        L(fd, S, R, 5, -5),
        L(fd, S, R, 0, 0, 7),
        L(fd, S, R, (1 << 63) - 1, 2),
        L(fd, S, R, (1 << 63) - 1, 1),
        L(fd, S, R, -10, 5, 2),
        K(G, W, 90, 5),
        L(fd, S, U),
        L(99, S, R),
        L(fd, G, U),
        L(fd, F_OFD_SETLK, 7),
    )
    sys.lseek(fd, 50)
    print("cur", L(fd, S, W, 5, 5, 1), K(G, R), L(fd, S, W, -5, 5, 1), K(G, R), L(fd, S, U, 0, 0, 0), K(G, R))
    ro, wo = sys.open(n, O_RDONLY), sys.open(n, O_WRONLY)
    print(
        "modes",
        L(ro, S, W),
        L(ro, S, R),
        L(wo, S, R),
        L(wo, S, W),
        L(wo, G, R),
        L(sys.open(n, O_PATH), S, R),
        L(sys.pipe2()[0], S, R),
        L(sys.open("/dev/null", O_RDWR), S, W),
        L(sys.open("/tmp", O_RDONLY), S, R),
        L(sys.socket(AF_UNIX, SOCK_STREAM), S, W),
    )
    # any close drops them
    print(
        "close",
        L(fd, S, W),
        K(G, R),
        sys.close(sys.dup(fd)),
        K(G, R),
        L(fd, S, W),
        sys.close(sys.open(n, O_RDONLY)),
        K(G, R),
    )
    # OFD
    O, OG = F_OFD_SETLK, F_OFD_GETLK
    f2 = sys.open(n, O_RDWR)
    print(
        "ofd",
        L(fd, O, W, 0, 10),
        L(f2, O, W, 5, 10),
        L(f2, OG, W, 5, 10),
        L(f2, G, W, 0, 10),
        L(f2, S, W, 0, 10),
        K(G, W),
        K(OG, W),
        sys.close(sys.dup(fd)),
        L(f2, O, R, 0, 1),
        L(sys.dup(fd), O, R, 0, 5),
        L(f2, O, R, 0, 3),
        L(f2, O, R, 7, 1),
        L(fd, OG, W),
        L(fd, O, U, 0, 0),
        L(f2, O, U),
    )
    x = e(sys.fcntl, fd, O, (W, 0, 0, 0, 5))
    print("ofd pid", x if not isinstance(x, tuple) else x[:4], e(sys.fcntl, fd, O, (U, 0, 0, 0, 0)))
    # flock
    F = sys.flock
    print(
        "flock",
        F(fd, LOCK_EX),
        e(F, f2, LOCK_SH | LOCK_NB),
        e(F, f2, LOCK_UN),
        e(F, sys.dup(fd), LOCK_SH | LOCK_NB),
        e(F, f2, LOCK_SH | LOCK_NB),
        e(F, fd, LOCK_EX | LOCK_NB),
        e(F, f2, LOCK_EX | LOCK_NB),
        e(F, fd, 0),
        e(F, fd, LOCK_NB),
        e(F, fd, 3),
        e(F, fd, 7),
        e(F, 99, LOCK_SH),
        e(F, sys.open(n, O_PATH), LOCK_SH),
        e(F, sys.pipe2()[0], LOCK_SH),
        e(F, sys.open("/tmp", O_RDONLY), LOCK_SH),
        L(f2, S, W),
    )
    F(fd, LOCK_UN)
    F(f2, LOCK_UN)
    L(f2, S, U)
    # converting a lock drops the old one first; a waiter gets in between
    order = []
    log_r, log_w = sys.pipe2()
    # deadlock
    L(fd, S, U)
    K(S, U)
    print("mine", L(fd, S, W, 0, 1), K(S, W, 1, 1))

    def first(sys):
        pass

    sys.write(w1, repr((F_SETLKW, W, 0, 1)).encode())
    sys.nanosleep(50 * MS)
    print(
        "EDEADLK", L(fd, F_SETLKW, W, 1, 1), L(fd, S, U, 0, 1), sys.read(r2, 100).decode(), K(G, W), L(fd, G, W, 0, 1)
    )
    print("ofd no deadlock check", K(S, U), L(fd, O, W, 0, 1), K(S, W, 1, 1))

    # fork does not inherit; exec keeps
    def heir(sys):
        print(
            "heir", L2(sys, fd, S, W, 30, 1), L2(sys, fd, G, W, 40, 1), L2(sys, fd, O, U, 0, 1), L2(sys, fd, O, W, 0, 1)
        )

    L(fd, S, W, 40, 1)
    p = sys.spawn(heir)
    sys.wait4(p)
    print(K(G, W, 30, 20), K(OG, W, 30, 20))
    # a waiter on a range is woken when a part that matters is free; wakes in order
    L(fd, O, U)
    L(fd, S, W, 0, 100)

    def waiter(sys, i, kind, s, l):
        k = sys.open(n, O_RDWR)
        sys.nanosleep(i * 20 * MS)
        r = e(sys.fcntl, k, F_SETLKW, (kind, 0, s, l))
        sys.nanosleep(i * 10 * MS)  # who wakes together on different processors says so in turn
        sys.write(log_w, b"%d got %s;" % (i, str(r).encode()))
        sys.nanosleep(100 * MS if kind == W else 30 * MS)

    K(S, U)
    ps = [sys.spawn(waiter, i, *a) for i, a in enumerate(((W, 60, 5), (R, 61, 3), (R, 60, 1), (W, 70, 5), (W, 0, 0)))]
    sys.nanosleep(200 * MS)
    L(fd, S, U, 70, 30)
    sys.nanosleep(30 * MS)
    sys.write(log_w, b"|")
    L(fd, S, U, 0, 70)
    for p in ps:
        sys.wait4(p)
    print(sys.read(log_r, 1000))
    sys.kill(kid, SIGKILL)
    sys.wait4(kid)
    sys.unlink(n)
