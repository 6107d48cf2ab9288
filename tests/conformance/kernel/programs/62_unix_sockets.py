"""Unix sockets of the three types: names, queues, descriptors and credentials that are passed."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    # unix sockets
    def rights(*fds):
        return [(SOL_SOCKET, SCM_RIGHTS, struct.pack("%di" % len(fds), *fds))]

    base = "/tmp/exu%d" % sys.getpid()
    ab = b"\0exam%d" % sys.getpid()
    for kind, name in ((SOCK_STREAM, "stream"), (SOCK_SEQPACKET, "seqpacket"), (SOCK_DGRAM, "dgram")):
        s = sys.socket(AF_UNIX, kind)
        print(
            name,
            e(sys.listen, s, 1),
            e(sys.getsockname, s),
            e(sys.getpeername, s),
            e(sys.connect, s, base + "none"),
            e(sys.accept4, s),
            e(sys.bind, s, base + name),
            e(sys.bind, s, base + "other"),
            e(sys.getsockname, s) == base + name,
            e(sys.listen, s, 1),
            e(sys.recvfrom, s, 5, MSG_DONTWAIT),
            e(sys.sendto, s, b"x", MSG_DONTWAIT | MSG_NOSIGNAL),
            e(sys.shutdown, s, SHUT_WR),
            e(sys.shutdown, s, 7),
        )
        c = sys.socket(AF_UNIX, kind)
        print(
            e(sys.connect, c, base + name),
            e(sys.getpeername, c) == base + name,
            e(sys.connect, c, base + name),
            e(sys.bind, c, base + name),
            oct(sys.stat(base + name).st_mode),
            e(sys.sendto, c, b"hello", 0, base + name),
            e(sys.sendto, c, b"", 0),
            e(sys.sendto, c, b"world"),
        )
        if kind != SOCK_DGRAM:
            c2 = sys.socket(AF_UNIX, kind | SOCK_NONBLOCK)
            c3 = sys.socket(AF_UNIX, kind | SOCK_NONBLOCK)
            c4 = sys.socket(AF_UNIX, kind | SOCK_NONBLOCK)
            print(
                "backlog",
                e(sys.connect, c2, base + name),
                e(sys.connect, c3, base + name),
                e(sys.connect, c4, base + name),
                sys.ppoll([(s, POLLIN)], 0) == [(s, POLLIN)],
            )
            a, peer = sys.accept4(s, SOCK_CLOEXEC)
            print(
                peer,
                sys.fcntl(a, F_GETFD),
                e(sys.getsockname, a) == base + name,
                e(sys.getpeername, a),
                sys.recvfrom(a, 3)[0],
                sys.recvfrom(a, 100, MSG_DONTWAIT),
                e(sys.recvfrom, a, 100, MSG_DONTWAIT),
            )
            sys.close(c)
            print(
                e(sys.recvfrom, a, 10, MSG_DONTWAIT),
                e(sys.sendto, a, b"x", MSG_NOSIGNAL),
                [hex(m) for _, m in sys.ppoll([(a, POLLIN | POLLOUT | POLLRDHUP)], 0)],
                e(sys.getsockopt, a, SOL_SOCKET, SO_ERROR),
            )
            sys.close(s)
            print(
                "listener gone",
                e(sys.recvfrom, c2, 5),
                e(sys.sendto, c2, b"x", MSG_NOSIGNAL),
                [hex(m) for _, m in sys.ppoll([(c2, POLLIN | POLLOUT)], 0)],
                e(sys.connect, c3, base + name),
            )
        sys.unlink(base + name)
    # dgram
    d1 = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK)
    d2 = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK)
    sys.bind(d1, ab + b"1")
    print(
        "abstract",
        sys.getsockname(d1) == ab + b"1",
        e(sys.sendto, d2, b"anon", 0, ab + b"1"),
        sys.recvfrom(d1, 10),
        e(sys.sendto, d2, b"x", 0, ab + b"2"),
        e(sys.bind, d2, ab + b"1"),
        e(sys.bind, d2, b""),
        len(sys.getsockname(d2)),
        e(sys.sendto, d2, b"toolong", 0, ab + b"1"),
        e(sys.recvfrom, d1, 3, MSG_TRUNC)[0],
        e(sys.recvmsg, d1, 3) if False else 0,
        e(sys.recvfrom, d1, 3),
    )
    d3 = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK)
    sys.connect(d3, ab + b"1")
    n = 0
    while isinstance(k := e(sys.sendto, d3, b"m"), int):
        n += 1
    print(
        "queue",
        n,
        k,
        sys.ppoll([(d3, POLLOUT)], 0),
        sys.recvfrom(d1, 5),
        [hex(m) for _, m in sys.ppoll([(d3, POLLOUT)], 0)],
        e(sys.sendto, d2, b"y", 0, ab + b"1"),
        e(sys.sendto, d2, b"y", 0, ab + b"1"),
    )
    sys.connect(d1, ab + b"1")
    print(e(sys.sendto, d2, b"not peer", 0, ab + b"1"))
    sys.close(d1)
    print(
        "peer gone",
        e(sys.sendto, d3, b"m"),
        e(sys.sendto, d3, b"m"),
        e(sys.recvfrom, d3, 5),
        e(sys.getpeername, d3),
        e(sys.connect, d3, ab + b"9"),
    )
    # peek, waitall, seqpacket boundaries, trunc flags
    a, b = sys.socketpair(AF_UNIX, SOCK_SEQPACKET)
    sys.write(a, b"packet one")
    sys.write(a, b"two")
    print(
        sys.recvmsg(b, 4, 0, MSG_PEEK)[:3],
        sys.recvmsg(b, 4)[:3],
        sys.recvmsg(b, 100)[:3],
        e(sys.recvmsg, b, 1, 0, MSG_DONTWAIT),
        e(sys.write, a, b""),
        e(sys.recvmsg, b, 5, 0, MSG_DONTWAIT),
    )
    sys.shutdown(a, SHUT_WR)
    print(sys.read(b, 5), sys.sendto(b, b"back"), sys.recvfrom(a, 9))
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM)
    sys.write(a, b"abc")
    print(
        sys.recvfrom(b, 2, MSG_PEEK)[0],
        sys.recvfrom(b, 9, MSG_WAITALL | MSG_DONTWAIT)[0],
        sys.ioctl(b, FIONREAD),
        e(sys.sendto, a, b"x", MSG_OOB) in (1, "EOPNOTSUPP"),
    )
    # SCM_RIGHTS
    a, b = sys.socketpair(AF_UNIX, SOCK_STREAM)
    r, w = sys.pipe2()
    sys.sendmsg(a, [b"xy"], rights(w, r))
    sys.close(w)
    data, anc, fl, _ = sys.recvmsg(b, 1, 100, MSG_CMSG_CLOEXEC)
    fds = struct.unpack("2i", anc[0][2])
    print(
        data,
        len(anc),
        fl == MSG_CMSG_CLOEXEC,
        [sys.fcntl(x, F_GETFD) for x in fds],
        sys.write(fds[0], b"through"),
        sys.read(r, 20),
        sys.recvmsg(b, 5, 100, MSG_DONTWAIT)[:2],
    )
    sys.sendmsg(a, [b"A"], rights(r))
    sys.sendmsg(a, [b"B"])
    sys.sendmsg(a, [b"C"], rights(r))
    sys.sendmsg(a, [b"D"], rights(r, r, r))
    print(
        [(x[0], len(x[1]), x[2]) for x in (sys.recvmsg(b, 10, 100), sys.recvmsg(b, 10, 100), sys.recvmsg(b, 10, 24))],
        e(sys.recvmsg, b, 10, 100, MSG_DONTWAIT),
    )
    sys.sendmsg(a, [b"E"], rights(r))
    print(
        sys.recvmsg(b, 10, 0)[:3],
        e(sys.sendmsg, a, [b"F"], rights(999)),
        e(sys.sendmsg, a, [], rights(r)),
        e(sys.sendmsg, a, [b"G"], rights(*[r] * 254)),
        e(sys.sendmsg, a, [b"G"], rights(*[r] * 253)),
        len(sys.recvmsg(b, 10, 4096)[1][0][2]) // 4,
        e(sys.sendmsg, a, [b"H"], [(SOL_SOCKET, 99, b"")]),
        e(sys.sendmsg, a, [b"I"], [(SOL_SOCKET, SCM_RIGHTS, b"")]),
    )
    sys.sendmsg(a, [b"P"], rights(r))
    print([len(sys.recvmsg(b, 1, 100, MSG_PEEK)[1]) for _ in range(2)], sys.read(b, 5))
    # cycles in flight
    before = len(sys.getdents64(sys.open("/proc/self/fd", O_RDONLY)))
    for _ in range(30):
        x, y = sys.socketpair(AF_UNIX, SOCK_STREAM)
        sys.sendmsg(x, [b"c"], rights(x, y))
        sys.sendmsg(y, [b"c"], rights(x))
        sys.close(x)
        sys.close(y)
    # credentials
    s, t = sys.socketpair(AF_UNIX, SOCK_DGRAM)
    me = sys.getpid()
    print(
        "cred",
        [v == w for v, w in zip(struct.unpack("3i", sys.getsockopt(s, SOL_SOCKET, SO_PEERCRED, 12)), (me, 0, 0))],
        sys.getsockopt(s, SOL_SOCKET, SO_PASSCRED),
    )
    sys.setsockopt(t, SOL_SOCKET, SO_PASSCRED, 1)
    sys.write(s, b"1")
    c = sys.recvmsg(t, 5, 100)[1]
    print([(l, k, struct.unpack("3i", v)[1:], struct.unpack("3i", v)[0] == me) for l, k, v in c])

    def user(sys):
        sys.setresgid(44, 44, 44)
        sys.setresuid(33, 33, 33)
        sys.write(s, b"2")
        print(
            e(sys.sendmsg, s, [b"f"], [(SOL_SOCKET, SCM_CREDENTIALS, struct.pack("3i", 1, 0, 0))]),
            e(sys.sendmsg, s, [b"g"], [(SOL_SOCKET, SCM_CREDENTIALS, struct.pack("3i", sys.getpid(), 33, 44))]),
            struct.unpack("3i", sys.getsockopt(s, SOL_SOCKET, SO_PEERCRED, 12))[1:],
        )

    p = sys.spawn(user)
    sys.wait4(p)
    print(
        [struct.unpack("3i", sys.recvmsg(t, 5, 100)[1][0][2])[1:] for _ in range(2)],
        e(sys.sendmsg, s, [b"h"], [(SOL_SOCKET, SCM_CREDENTIALS, struct.pack("3i", 1, 7, 8))]),
        struct.unpack("3i", sys.recvmsg(t, 5, 100)[1][0][2]),
        e(sys.sendmsg, s, [b"h"], [(SOL_SOCKET, SCM_CREDENTIALS, b"xx")]),
        e(sys.sendmsg, s, [b"h"], [(SOL_SOCKET, SCM_CREDENTIALS, struct.pack("3i", 999999, 7, 8))]),
    )
    for o, n in (
        (SO_TYPE, "type"),
        (SO_DOMAIN, "domain"),
        (SO_PROTOCOL, "proto"),
        (SO_ACCEPTCONN, "acc"),
        (SO_ERROR, "err"),
        (SO_REUSEADDR, "ra"),
        (SO_KEEPALIVE, "ka"),
        (SO_PEEK_OFF, "po"),
        (SO_SNDBUF, "sb"),
        (SO_RCVBUF, "rb"),
        (SO_RCVLOWAT, "rl"),
        (SO_PRIORITY, "pr"),
        (9999, "?"),
    ):
        print(n, e(sys.getsockopt, s, SOL_SOCKET, o), end=" ")
    print(
        e(sys.getsockopt, s, SOL_TCP, TCP_NODELAY),
        e(sys.setsockopt, s, SOL_SOCKET, SO_TYPE, 1),
        e(sys.getsockopt, 0 if False else sys.pipe2()[0], SOL_SOCKET, SO_TYPE),
        e(sys.socket, AF_UNIX, 77),
        e(sys.socket, AF_UNIX, SOCK_STREAM, 5),
        e(sys.socket, 999, SOCK_STREAM),
        e(sys.socketpair, AF_INET, SOCK_STREAM),
        e(sys.socket, AF_UNIX, SOCK_RAW) > 0,
        e(sys.socket, AF_UNIX, SOCK_STREAM | 0x100000),
    )
    print(
        "big",
        e(sys.sendto, s, b"z" * 300000, MSG_DONTWAIT),
        e(sys.bind, sys.socket(AF_UNIX, SOCK_STREAM), "/tmp/" + "n" * 104),
        e(sys.bind, sys.socket(AF_UNIX, SOCK_STREAM), "/nonexistent/x"),
        e(sys.connect, sys.socket(AF_UNIX, SOCK_STREAM), "/tmp"),
        e(sys.connect, sys.socket(AF_UNIX, SOCK_DGRAM), "/etc/passwd") in ("ECONNREFUSED", "ENOENT"),
    )
