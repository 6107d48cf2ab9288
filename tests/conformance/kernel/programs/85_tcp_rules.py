"""TCP over loopback: the errno rules of bind, connect, listen, accept, shutdown and close; urgent data."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    T, D = SOCK_STREAM, SOCK_DGRAM
    NB = SOCK_NONBLOCK
    lo = "127.0.0.1"

    def S(k=T, fam=AF_INET, proto=0):
        return sys.socket(fam, k, proto)

    print(
        "socket",
        [
            e(sys.socket, *a) if isinstance(e(sys.socket, *a), str) else "fd"
            for a in (
                (AF_INET, 0),
                (AF_INET, 99),
                (AF_INET, T, 17),
                (AF_INET, D, 6),
                (AF_INET, T, 6),
                (AF_INET, D, 17),
                (AF_INET, T, 300),
                (AF_INET, SOCK_RAW, 0),
                (AF_INET, SOCK_RAW, 255),
                (AF_INET, SOCK_RAW, 256),
                (AF_INET, D, 1),
                (AF_INET6, D, 58),
                (AF_INET, SOCK_SEQPACKET),
                (AF_INET, SOCK_RDM),
                (AF_UNIX, SOCK_RDM),
                (0, T),
                (-1, T),
                (77, T),
                (AF_INET, T | 0x1000),
            )
        ],
    )
    s = S()
    print(
        "fresh",
        e(sys.listen, S(), 5),
        e(sys.accept4, s),
        e(sys.getpeername, s),
        sys.getsockname(s),
        e(sys.sendto, s, b"x", MSG_NOSIGNAL),
        e(sys.recvfrom, s, 5),
        e(sys.shutdown, s, 0),
        e(sys.shutdown, s, 2),
        e(sys.getsockopt, s, SOL_SOCKET, SO_ERROR),
        [hex(r) for _, r in sys.ppoll([(s, 0x201F)], 0)],
        e(sys.sendto, s, b"x", MSG_NOSIGNAL, (lo, 1)),
        e(sys.recvfrom, s, 5, MSG_DONTWAIT),
    )
    s = S()
    print(
        "bind",
        e(sys.bind, s, ("8.8.8.8", 0)),
        e(sys.bind, s, (lo, 70000)) if False else "",
        e(sys.bind, s, (lo, 0)),
        e(sys.bind, s, (lo, 0)),
        sys.getsockname(s)[0],
        e(sys.bind, S(), sys.getsockname(s)),
        e(sys.bind, S(), ("0.0.0.0", sys.getsockname(s)[1])),
        e(sys.bind, S(), ("127.0.0.2", sys.getsockname(s)[1])),
        e(sys.bind, S(D), sys.getsockname(s)),
    )
    port = sys.getsockname(s)[1]
    a, b = S(), S()
    for x in (a, b):
        sys.setsockopt(x, SOL_SOCKET, SO_REUSEADDR, 1)
    l0 = S()
    sys.setsockopt(l0, SOL_SOCKET, SO_REUSEADDR, 1)
    sys.bind(l0, (lo, 0))
    p0 = sys.getsockname(l0)[1]
    print("reuseaddr", e(sys.bind, a, (lo, p0)), e(sys.listen, l0, 1), e(sys.listen, a, 1), e(sys.bind, b, (lo, p0)))
    c1, c2 = S(), S()
    for x in (c1, c2):
        sys.setsockopt(x, SOL_SOCKET, SO_REUSEPORT, 1)
    print(
        "reuseport",
        sys.bind(c1, (lo, 0)),
        e(sys.bind, c2, sys.getsockname(c1)),
        e(sys.listen, c1, 1),
        e(sys.listen, c2, 1),
        e(sys.bind, S(), sys.getsockname(c1)),
    )

    def user(sys):
        sys.setresuid(33, 33, 33)
        print(
            "user",
            e(sys.bind, sys.socket(AF_INET, T), (lo, 80)),
            e(sys.socket, AF_INET, SOCK_RAW, 1),
            e(sys.socket, AF_PACKET, SOCK_RAW, 0),
            e(sys.setsockopt, sys.socket(AF_INET, T), SOL_SOCKET, SO_MARK, 1),
            e(sys.setsockopt, sys.socket(AF_INET, T), SOL_SOCKET, SO_PRIORITY, 7),
            e(sys.setsockopt, sys.socket(AF_INET, T), SOL_SOCKET, SO_PRIORITY, 6),
            e(sys.setsockopt, sys.socket(AF_INET, T), SOL_SOCKET, SO_RCVBUFFORCE, 99999),
            e(sys.setsockopt, sys.socket(AF_INET, T), SOL_SOCKET, SO_DEBUG, 1),
        )

    sys.wait4(sys.spawn(user))
    # connect rules
    c = S()
    print(
        "refused",
        e(sys.connect, c, (lo, port)),
        e(sys.connect, c, (lo, port)),
        e(sys.getsockopt, c, SOL_SOCKET, SO_ERROR),
        [hex(r) for _, r in sys.ppoll([(c, 0x201F)], 0)],
        e(sys.getpeername, c),
        sys.getsockname(c)[0],
    )
    cn = S(T | NB)
    print(
        "nb refused",
        e(sys.connect, cn, (lo, port)),
        [hex(r) for _, r in sys.ppoll([(cn, 0x201F)], 10**9)],
        e(sys.connect, cn, (lo, port)),
        e(sys.sendto, cn, b"", MSG_NOSIGNAL),
        e(sys.getsockopt, cn, SOL_SOCKET, SO_ERROR),
    )
    sys.listen(s, 5)
    cn = S(T | NB)
    print(
        "nb ok",
        e(sys.connect, cn, (lo, port)),
        [hex(r) for _, r in sys.ppoll([(cn, POLLOUT)], 10**9)],
        e(sys.getsockopt, cn, SOL_SOCKET, SO_ERROR),
        e(sys.connect, cn, (lo, port)),
        e(sys.connect, cn, (lo, port)),
        e(sys.listen, cn, 1),
        e(sys.accept4, cn),
        e(sys.bind, cn, (lo, 0)),
    )
    srv, peer = sys.accept4(s)
    print(
        "accepted",
        peer == sys.getsockname(cn),
        sys.getsockname(srv) == (lo, port),
        sys.fcntl(srv, F_GETFL) & O_NONBLOCK,
        e(sys.connect, s, (lo, port)),
        e(sys.connect, srv, (lo, port)),
        [hex(r) for _, r in sys.ppoll([(s, 0x201F), (srv, 0x201F)], 0)],
    )
    print(
        "bad connect",
        e(sys.connect, S(), ("0.0.0.0", port)),
        e(sys.connect, S(), (lo, 0)),
        e(sys.connect, S(), ("255.255.255.255", 5)),
        e(sys.connect, S(T | NB), ("224.0.0.1", 5)),
        e(sys.connect, S(D), ("127.255.255.255", 5)),
        e(sys.connect, S(D), (lo, 0)),
    )
    e(sys.accept4, s)
    # half close
    print(
        "half",
        sys.shutdown(cn, SHUT_WR),
        e(sys.shutdown, cn, SHUT_WR),
        e(sys.sendto, cn, b"x", MSG_NOSIGNAL),
        sys.recvfrom(srv, 5)[0],
        sys.recvfrom(srv, 5)[0],
        [hex(r) for _, r in sys.ppoll([(srv, 0x201F), (cn, 0x201F)], 0)],
        sys.sendto(srv, b"more"),
        sys.recvfrom(cn, 10)[0],
        sys.close(srv),
        sys.recvfrom(cn, 10)[0],
        [hex(r) for _, r in sys.ppoll([(cn, 0x201F)], 0)],
        e(sys.recvfrom, cn, 5)[0],
        e(sys.getpeername, cn),
        e(sys.shutdown, cn, 2),
    )

    # RST on close with unread data
    def pair():
        c = S()
        sys.connect(c, (lo, port))
        return c, sys.accept4(s)[0]

    c, d = pair()
    sys.sendto(c, b"unread")
    sys.nanosleep(MS)
    sys.close(d)
    sys.nanosleep(MS)
    print(
        "rst",
        [hex(r) for _, r in sys.ppoll([(c, 0x201F)], 0)],
        e(sys.sendto, c, b"x", MSG_NOSIGNAL),
        e(sys.recvfrom, c, 5),
        e(sys.recvfrom, c, 5),
        e(sys.sendto, c, b"x", MSG_NOSIGNAL),
        e(sys.getpeername, c),
    )
    c, d = pair()
    sys.setsockopt(d, SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    sys.sendto(d, b"lost?")
    sys.close(d)
    sys.nanosleep(MS)
    print("linger 0", e(sys.recvfrom, c, 50), e(sys.recvfrom, c, 50), e(sys.getsockopt, c, SOL_SOCKET, SO_ERROR))
    c, d = pair()
    sys.close(d)
    sys.nanosleep(MS)
    print(
        "write after close",
        e(sys.sendto, c, b"1", MSG_NOSIGNAL),
        sys.nanosleep(MS),
        e(sys.sendto, c, b"2", MSG_NOSIGNAL),
        e(sys.recvfrom, c, 5),
        e(sys.getsockopt, c, SOL_SOCKET, SO_ERROR),
    )
    c, d = pair()
    sys.shutdown(d, SHUT_RD)
    sys.sendto(c, b"after rd")
    sys.nanosleep(MS)
    print(
        "shut rd",
        sys.recvfrom(d, 50),
        sys.recvfrom(d, 50),
        e(sys.sendto, d, b"ok"),
        [hex(r) for _, r in sys.ppoll([(d, 0x201F)], 0)],
    )
    # urgent
    c, d = pair()
    sys.sendto(c, b"ab")
    sys.sendto(c, b"!c", MSG_OOB)
    sys.sendto(c, b"de")
    sys.nanosleep(MS)
    print(
        "oob",
        [hex(r) for _, r in sys.ppoll([(d, 0x201F)], 0)],
        e(sys.ioctl, d, SIOCATMARK),
        sys.recvfrom(d, 50)[0],
        e(sys.ioctl, d, SIOCATMARK),
        sys.recvfrom(d, 5, MSG_OOB)[0],
        e(sys.recvfrom, d, 5, MSG_OOB),
        sys.recvfrom(d, 50)[0],
        e(sys.recvfrom, d, 50, MSG_DONTWAIT),
    )
    c, d = pair()
    sys.setsockopt(d, SOL_SOCKET, SO_OOBINLINE, 1)
    sys.sendto(c, b"ab!", MSG_OOB)
    sys.sendto(c, b"z")
    sys.nanosleep(MS)
    print("inline", sys.recvfrom(d, 50)[0], e(sys.ioctl, d, SIOCATMARK), sys.recvfrom(d, 50)[0])
    # peek, waitall, trunc, dontwait
    c, d = pair()
    sys.sendto(c, b"abcdef")
    sys.nanosleep(MS)
    print(
        "flags",
        sys.recvfrom(d, 3, MSG_PEEK)[0],
        sys.recvfrom(d, 2, MSG_TRUNC),
        sys.ioctl(d, FIONREAD),
        sys.recvfrom(d, 50, MSG_WAITALL | MSG_DONTWAIT)[0],
        e(sys.recvfrom, d, 1, MSG_DONTWAIT),
        e(sys.sendto, c, b"", 0),
        e(sys.sendto, c, b"x", 0, ("1.2.3.4", 5)),
        sys.recvfrom(d, 5),
    )
