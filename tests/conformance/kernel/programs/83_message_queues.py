"""POSIX message queues: priorities, limits, timeouts, notification."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    n = "exmq%d" % sys.getpid()
    OP = sys.mq_open
    print(
        "open",
        e(OP, n, O_RDWR),
        e(OP, "", O_RDWR),
        e(OP, "/x", O_RDWR | O_CREAT),
        e(OP, "a/b", O_RDWR | O_CREAT),
        e(OP, ".", O_RDWR | O_CREAT),
        e(OP, "x" * 256, O_RDWR | O_CREAT),
        [e(OP, n, O_RDWR | O_CREAT, 0o600, a) for a in ((0, 5), (5, 0), (-1, 5), (70000, 10), (10, 1 << 25))],
    )
    q = OP(n, O_RDWR | O_CREAT | O_NONBLOCK, 0o640, (3, 16))
    print(
        sys.fcntl(q, F_GETFD),
        oct(sys.fcntl(q, F_GETFL) & 0o7777),
        e(OP, n, O_RDWR | O_CREAT | O_EXCL),
        e(OP, n, 3),
        sys.mq_getsetattr(q),
        oct(sys.fstat(q).st_mode),
        sys.fstat(q).st_size,
        e(OP, n, O_RDWR | O_CREAT, 0, (9, 9)) > 0,
    )
    S, R = sys.mq_timedsend, sys.mq_timedreceive
    print(
        "send",
        [
            e(S, q, d, p)
            for d, p in (
                (b"low", 1),
                (b"high", 9),
                (b"low2", 1),
                (b"full", 5),
                (b"x" * 17, 0),
                (b"x", 32768),
                (b"x", -1),
            )
        ],
        sys.mq_getsetattr(q)[3],
        [hex(r) for _, r in sys.ppoll([(q, 5)], 0)],
        sys.read(q, 200),
    )
    print(
        "receive",
        e(R, q, 15),
        [e(R, q, 16) for _ in range(4)],
        [hex(r) for _, r in sys.ppoll([(q, 5)], 0)],
        e(S, q, b"", 3),
        e(R, q, 100),
    )
    ro, wo = OP(n, O_RDONLY), OP(n, O_WRONLY)
    print(
        "modes",
        e(S, ro, b"x"),
        e(R, wo, 16),
        e(S, 0, b"x"),
        e(R, sys.pipe2()[0], 16),
        e(sys.mq_getsetattr, 0),
        e(sys.mq_getsetattr, q, O_NONBLOCK | 1),
        sys.mq_getsetattr(q, 0)[0] == O_NONBLOCK,
        sys.mq_getsetattr(q)[0],
        e(S, 99, b""),
    )

    def now():
        return sys.clock_gettime(CLOCK_REALTIME)

    print(
        "timeout",
        e(R, q, 16, now() + 20 * MS),
        e(R, q, 16, 0),
        e(R, q, 16, -5),
        S(q, b"a"),
        S(q, b"b"),
        S(q, b"c"),
        e(S, q, b"d", 0, now() + 10 * MS),
        e(R, q, 16, -1),
        [R(q, 16)[0] for _ in range(3)],
    )
    log_r, log_w = sys.pipe2(O_NONBLOCK)

    def heard():
        e(sys.nanosleep, 30 * MS)
        x = e(sys.read, log_r, 999)
        return x if isinstance(x, str) else x.decode()

    def getter(sys, k):
        sys.write(log_w, ("%s %s;" % (k, e(sys.mq_timedreceive, q, 16))).encode())

    def putter(sys, k):
        sys.write(log_w, ("put %s %s;" % (k, e(sys.mq_timedsend, q, k.encode(), 1))).encode())

    ps = [sys.spawn(getter, "g1")]
    print("waits", heard(), S(q, b"one", 2), heard())
    for d in "abc":
        S(q, d.encode())
    ps.append(sys.spawn(putter, "P"))
    print("full", heard(), R(q, 16), heard(), [R(q, 16) for _ in range(3)])
    for p in ps:
        sys.wait4(p)
    # notification
    got = []
    sys.rt_sigaction(
        SIGUSR1, lambda s, k, i: got.append((k, i.si_code, i.si_value, i.si_pid > 0, i.si_uid)), SA_RESTART
    )
    N = sys.mq_notify
    print(
        "notify",
        e(N, q, (5, SIGUSR1, 1)),
        e(N, q, (0, 65, 1)),
        e(N, q, (0, SIGUSR1, 42)),
        e(N, q, (0, SIGUSR1, 1)),
        sys.pread64(q, 100, 0).replace(b"%d" % sys.getpid(), b"ME").split(),
        e(N, 0, None),
    )

    def other(sys):
        print("kid", e(sys.mq_notify, q, (0, SIGUSR1, 1)), e(sys.mq_notify, q, None), sys.mq_timedsend(q, b"hi"))

    sys.wait4(sys.spawn(other))
    e(sys.nanosleep, 2 * MS)
    print(
        got,
        S(q, b"second"),
        got,
        e(N, q, (0, SIGUSR1, 7)),
        S(q, b"third"),
        e(sys.nanosleep, 2 * MS),
        len(got),
        [R(q, 16)[0] for _ in range(3)],
        S(q, b"x"),
        e(sys.nanosleep, 2 * MS),
        got[1:],
    )
    R(q, 16)
    N(q, (0, SIGUSR1, 9))
    p = sys.spawn(getter, "first")
    e(sys.nanosleep, 20 * MS)
    S(q, b"direct")
    print("a receiver goes before", heard(), len(got), e(N, q, None), S(q, b"z"), len(got), R(q, 16)[0])
    sys.wait4(p)

    def eintr(sys, fl):
        sys.rt_sigaction(SIGUSR2, lambda *a: None, fl)
        sys.write(log_w, str(e(sys.mq_timedreceive, q, 16)).encode())

    for fl in (0, SA_RESTART):
        p = sys.spawn(eintr, fl)
        sys.nanosleep(20 * MS)
        sys.kill(p, SIGUSR2)
        print("eintr", heard(), S(q, b"w"), heard())
        e(sys.mq_getsetattr, q, O_NONBLOCK)
        e(R, q, 16)
        sys.mq_getsetattr(q, 0)
        sys.wait4(p)

    def user(sys):
        sys.setresuid(33, 33, 33)
        print(
            "user",
            e(sys.mq_open, n, O_RDONLY) > 0,
            e(sys.mq_unlink, n),
            e(sys.mq_open, n + "u", O_RDWR | O_CREAT, 0o600, (11, 10)),
            e(sys.mq_open, n + "u", O_RDWR | O_CREAT, 0o600, (10, 8193)),
            e(sys.mq_open, n + "u", O_RDWR | O_CREAT, 0o600, (10, 8192)) > 0,
            e(sys.mq_unlink, n + "u"),
        )

    sys.wait4(sys.spawn(user))
    S(q, b"kept")
    print(
        "unlink",
        sys.mq_unlink(n),
        e(sys.mq_unlink, n),
        e(OP, n, O_RDWR),
        R(ro, 16),
        e(sys.lseek, q, 0, 2),
        e(sys.write, q, b"x"),
        e(sys.ftruncate, q, 0),
    )
