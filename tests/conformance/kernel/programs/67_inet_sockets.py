"""TCP and UDP over the loopback: connecting, peeking, half closed, refused, options; IPv6 with IPv4."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    def tcp(fl=0):
        return sys.socket(AF_INET, SOCK_STREAM | fl)

    def pair():
        l = tcp()
        sys.bind(l, ("127.0.0.1", 0))
        sys.listen(l, 5)
        c = tcp()
        sys.connect(c, sys.getsockname(l))
        s, peer = sys.accept4(l)
        sys.close(l)
        return c, s

    def po(fd, m=0x201F):
        return [hex(x) for _, x in sys.ppoll([(fd, m)], 0)]

    t = tcp()
    print(
        "fresh",
        sys.getsockname(t),
        e(sys.getpeername, t),
        e(sys.recvfrom, t, 1),
        e(sys.sendto, t, b"x", MSG_NOSIGNAL),
        e(sys.shutdown, t, SHUT_WR),
        e(sys.accept4, t),
        po(t),
        e(sys.listen, t, 1),
        sys.getsockname(t)[1] > 0,
        e(sys.connect, t, ("127.0.0.1", 1)),
        e(sys.bind, t, ("127.0.0.1", 0)),
        e(sys.recvfrom, t, 1),
        po(t),
    )
    print(
        "refused",
        e(sys.connect, tcp(), ("127.0.0.1", 1)),
        e(sys.bind, tcp(), ("192.0.2.77", 0)),
        e(sys.bind, tcp(), ("127.0.0.1", 70000)) in ("EINVAL", "error") if False else 0,
        e(sys.connect, tcp(), ("127.0.0.1", 0)) in ("ECONNREFUSED", "EADDRNOTAVAIL"),
    )
    l = tcp()
    sys.bind(l, ("127.0.0.1", 0))
    port = sys.getsockname(l)[1]
    sys.listen(l, 1)
    l2 = tcp()
    print(
        "in use",
        e(sys.bind, l2, ("127.0.0.1", port)),
        e(sys.bind, l2, ("0.0.0.0", port)),
        e(sys.bind, l2, ("127.0.0.2", port)),
        e(sys.setsockopt, l2, SOL_SOCKET, SO_REUSEADDR, 1),
    )
    nb = tcp(SOCK_NONBLOCK)
    r = e(sys.connect, nb, ("127.0.0.1", port))
    sys.nanosleep(20 * MS)
    print(
        "nonblocking",
        r,
        po(nb),
        sys.getsockopt(nb, SOL_SOCKET, SO_ERROR),
        e(sys.connect, nb, ("127.0.0.1", port)),
        e(sys.connect, nb, ("127.0.0.1", port)),
        e(sys.recvfrom, nb, 5),
    )
    nb2 = tcp(SOCK_NONBLOCK)
    print(
        e(sys.connect, nb2, ("127.0.0.1", 1)),
        e(sys.nanosleep, 20 * MS),
        po(nb2),
        sys.getsockopt(nb2, SOL_SOCKET, SO_ERROR),
        sys.getsockopt(nb2, SOL_SOCKET, SO_ERROR),
        e(sys.connect, nb2, ("127.0.0.1", 1)),
    )
    s, peer = sys.accept4(l, SOCK_NONBLOCK | SOCK_CLOEXEC)
    print(
        peer == sys.getsockname(nb),
        sys.getpeername(s) == peer,
        sys.getsockname(s) == ("127.0.0.1", port),
        oct(sys.fcntl(s, F_GETFL)),
        sys.fcntl(s, F_GETFD),
    )
    c, s = pair()
    sys.write(c, b"hello world")
    sys.nanosleep(5 * MS)
    print(
        "peek",
        sys.recvfrom(s, 5, MSG_PEEK),
        sys.recvfrom(s, 5, MSG_PEEK)[0],
        sys.ioctl(s, FIONREAD),
        sys.recvfrom(s, 3)[0],
        sys.recvmsg(s, 100, 0, MSG_PEEK)[:3],
        sys.recvfrom(s, 4, MSG_TRUNC)[0] != b"",
        sys.recvfrom(s, 100)[0],
        e(sys.recvfrom, s, 1, MSG_DONTWAIT),
        e(sys.recvfrom, s, 0, MSG_DONTWAIT),
    )
    p = sys.spawn(
        lambda sys: (
            sys.write(c, b"ab"),
            sys.nanosleep(30 * MS),
            sys.write(c, b"cd"),
            sys.nanosleep(30 * MS),
            sys.write(c, b"ef"),
        )
    )
    print("waitall", sys.recvfrom(s, 6, MSG_WAITALL)[0])
    sys.wait4(p)
    sys.setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, struct.pack("qq", 0, 50000))
    t0 = sys.clock_gettime(1)
    print(
        "rcvtimeo",
        e(sys.recvfrom, s, 5),
        45 * MS <= sys.clock_gettime(1) - t0 < 200 * MS,
        e(sys.read, s, 5),
        e(sys.setsockopt, s, SOL_SOCKET, SO_RCVTIMEO, struct.pack("qq", 0, 1000000)),
        e(sys.setsockopt, s, SOL_SOCKET, SO_RCVTIMEO, b"x"),
    )
    sys.shutdown(c, SHUT_WR)
    sys.nanosleep(5 * MS)
    print(
        "half",
        e(sys.write, c, b"x") if sys.rt_sigaction(SIGPIPE, SIG_IGN) is not None else 0,
        sys.recvfrom(s, 5),
        po(s),
        sys.write(s, b"still"),
        e(sys.nanosleep, 5 * MS),
        sys.recvfrom(c, 10)[0],
        po(c),
    )
    sys.shutdown(s, SHUT_RDWR)
    sys.nanosleep(5 * MS)
    print(sys.recvfrom(c, 5), po(c), po(s), e(sys.shutdown, c, SHUT_RDWR), e(sys.getpeername, c))
    c, s = pair()
    sys.shutdown(s, SHUT_RD)
    print(
        "shut rd",
        sys.read(s, 5),
        po(s),
        sys.write(c, b"ignored?"),
        e(sys.nanosleep, 5 * MS),
        sys.recvfrom(s, 20, MSG_DONTWAIT)[0],
        sys.recvfrom(s, 20, MSG_DONTWAIT)[0],
    )
    c, s = pair()
    sys.write(c, b"unread")
    sys.nanosleep(5 * MS)
    sys.close(s)
    sys.nanosleep(5 * MS)
    print("rst", po(c), e(sys.recvfrom, c, 5), e(sys.recvfrom, c, 5), e(sys.sendto, c, b"x", MSG_NOSIGNAL), po(c))
    c, s = pair()
    sys.setsockopt(s, SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    sys.close(s)
    sys.nanosleep(5 * MS)
    print("linger 0", po(c), sys.getsockopt(c, SOL_SOCKET, SO_ERROR), e(sys.recvfrom, c, 5), e(sys.write, c, b"x"))
    c, s = pair()
    sys.close(s)
    sys.nanosleep(5 * MS)
    print(
        "closed peer",
        po(c),
        sys.write(c, b"1"),
        e(sys.nanosleep, 10 * MS),
        po(c),
        e(sys.write, c, b"2"),
        e(sys.recvfrom, c, 5),
        e(sys.recvfrom, c, 5),
    )
    l = tcp(SOCK_NONBLOCK)
    sys.bind(l, ("127.0.0.1", 0))
    sys.listen(l, 0)
    cs = [tcp(SOCK_NONBLOCK) for _ in range(4)]
    x = [e(sys.connect, q, sys.getsockname(l)) for q in cs]
    sys.nanosleep(30 * MS)
    print("backlog", x, [bool(po(q)) for q in cs].count(True), isinstance(e(sys.accept4, l), tuple))
    sys.close(cs[0])
    l = tcp(SOCK_NONBLOCK)
    sys.bind(l, ("127.0.0.1", 0))
    sys.listen(l, 5)
    q = tcp()
    sys.connect(q, sys.getsockname(l))
    sys.close(l)
    sys.nanosleep(5 * MS)
    print("listener closed", po(q), e(sys.recvfrom, q, 1))
    # options
    c, s = pair()
    for lv, nm in (
        (SOL_SOCKET, SO_TYPE),
        (SOL_SOCKET, SO_DOMAIN),
        (SOL_SOCKET, SO_PROTOCOL),
        (SOL_SOCKET, SO_ACCEPTCONN),
        (SOL_SOCKET, SO_KEEPALIVE),
        (SOL_SOCKET, SO_REUSEADDR),
        (SOL_SOCKET, SO_BROADCAST),
        (SOL_SOCKET, SO_OOBINLINE),
        (SOL_SOCKET, SO_RCVLOWAT),
        (SOL_SOCKET, SO_PRIORITY),
        (SOL_TCP, TCP_NODELAY),
        (SOL_TCP, TCP_CORK),
        (SOL_TCP, TCP_KEEPIDLE),
        (SOL_TCP, TCP_KEEPINTVL),
        (SOL_TCP, TCP_KEEPCNT),
        (SOL_TCP, TCP_SYNCNT),
        (SOL_TCP, TCP_LINGER2),
        (SOL_TCP, TCP_DEFER_ACCEPT),
        (SOL_TCP, TCP_QUICKACK),
        (SOL_TCP, TCP_USER_TIMEOUT),
        (SOL_IP, IP_TTL),
        (SOL_IP, IP_TOS),
        (SOL_IP, IP_MTU_DISCOVER),
        (SOL_IP, IP_MTU),
        (SOL_IP, 9999),
        (9999, 1),
        (SOL_TCP, 9999),
        (SOL_SOCKET, 9999),
        (SOL_UDP, UDP_CORK),
    ):
        print((lv, nm), e(sys.getsockopt, c, lv, nm), end=" ")
    print()
    print(
        [
            e(sys.setsockopt, c, *a)
            for a in (
                (SOL_SOCKET, SO_KEEPALIVE, 7),
                (SOL_TCP, TCP_NODELAY, 5),
                (SOL_TCP, TCP_KEEPIDLE, 0),
                (SOL_TCP, TCP_KEEPIDLE, 40000),
                (SOL_TCP, TCP_KEEPCNT, 128),
                (SOL_TCP, TCP_MAXSEG, 10),
                (SOL_IP, IP_TTL, 0),
                (SOL_IP, IP_TTL, 256),
                (SOL_IP, IP_TTL, -1),
                (SOL_IP, IP_TOS, 0x1F),
                (SOL_TCP, TCP_CONGESTION, b"nope"),
                (SOL_SOCKET, SO_RCVBUF, 1),
                (SOL_SOCKET, SO_SNDBUF, 1),
                (SOL_SOCKET, SO_RCVLOWAT, 0),
                (SOL_SOCKET, SO_PRIORITY, 7),
                (SOL_SOCKET, SO_BINDTODEVICE, b"nodev"),
                (SOL_TCP, TCP_USER_TIMEOUT, -1),
                (SOL_SOCKET, SO_LINGER, b"x"),
            )
        ],
        [
            sys.getsockopt(c, *a)
            for a in (
                (SOL_SOCKET, SO_KEEPALIVE),
                (SOL_TCP, TCP_NODELAY),
                (SOL_IP, IP_TTL),
                (SOL_IP, IP_TOS),
                (SOL_SOCKET, SO_RCVBUF),
                (SOL_SOCKET, SO_SNDBUF),
                (SOL_SOCKET, SO_RCVLOWAT),
            )
        ],
    )
    # UDP
    u, v = sys.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK), sys.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK)
    sys.bind(u, ("127.0.0.1", 0))
    ua = sys.getsockname(u)
    print(
        "udp",
        po(u),
        e(sys.recvfrom, u, 5),
        e(sys.sendto, v, b"x"),
        sys.sendto(v, b"one", 0, ua),
        sys.sendto(v, b"", 0, ua),
        sys.sendto(v, b"three", 0, ua),
        e(sys.nanosleep, 2 * MS),
        sys.ioctl(u, FIONREAD),
        sys.recvfrom(u, 2, MSG_PEEK)[0],
        sys.recvmsg(u, 2)[::2],
        sys.recvfrom(u, 10)[0],
        sys.recvfrom(u, 2, MSG_TRUNC)[0][:2],
        e(sys.recvfrom, u, 1),
        sys.getsockname(v)[1] > 0,
    )
    sys.connect(v, ua)
    print(
        sys.getsockname(v)[0],
        sys.getpeername(v) == ua,
        e(sys.sendto, v, b"y", 0, ("127.0.0.1", 9)),
        sys.write(v, b"conn"),
        e(sys.nanosleep, 2 * MS),
        sys.read(u, 9),
        e(sys.listen, v, 1),
        e(sys.accept4, v),
        e(sys.sendto, v, b"z" * 65508, 0, ua),
        sys.sendto(v, b"z" * 65507, 0, ua),
        e(sys.nanosleep, 2 * MS),
        len(sys.read(u, 70000)),
    )
    sys.connect(u, ("127.0.0.1", 9))
    print("not from peer", sys.write(v, b"q"), e(sys.nanosleep, 2 * MS), e(sys.recvfrom, u, 5), e(sys.recvfrom, v, 5))
    w = sys.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK)
    sys.connect(w, ("127.0.0.1", 1))
    print(
        "icmp",
        sys.write(w, b"x"),
        e(sys.nanosleep, 5 * MS),
        po(w),
        e(sys.write, w, b"y"),
        e(sys.write, w, b"z"),
        e(sys.nanosleep, 5 * MS),
        sys.getsockopt(w, SOL_SOCKET, SO_ERROR),
        e(sys.recvfrom, w, 1),
        e(sys.shutdown, w, SHUT_RD),
        e(sys.recvfrom, w, 1),
        e(sys.shutdown, v, SHUT_WR),
        e(sys.write, v, b"x"),
    )
    sys.sendto(v, b"", 0) if False else 0
    print(
        e(sys.bind, u, ua),
        e(sys.connect, w, ("127.255.255.255", 5)),
        e(sys.sendto, sys.socket(AF_INET, SOCK_DGRAM), b"x", 0, ("127.255.255.255", 5)),
        e(sys.sendto, u, b"x", MSG_OOB),
        e(sys.socket, AF_INET, SOCK_DGRAM, IPPROTO_TCP),
        e(sys.socket, AF_INET, SOCK_SEQPACKET),
        e(sys.socket, AF_INET, SOCK_STREAM, 255),
    )
    # IPv6
    six = sys.socket(AF_INET6, SOCK_STREAM)
    sys.bind(six, ("::", 0))
    sys.listen(six, 3)
    p6 = sys.getsockname(six)[1]
    c4 = tcp()
    sys.connect(c4, ("127.0.0.1", p6))
    a, who = sys.accept4(six)
    print(
        "v6",
        sys.getsockname(six)[::2],
        who[0],
        sys.getsockname(a)[0],
        sys.getsockopt(six, SOL_IPV6, IPV6_V6ONLY),
        e(sys.setsockopt, six, SOL_IPV6, IPV6_V6ONLY, 1),
        e(sys.bind, tcp(), ("127.0.0.1", p6)),
        e(sys.connect, tcp(), ("::1", 5)) if False else 0,
    )
    only = sys.socket(AF_INET6, SOCK_STREAM)
    sys.setsockopt(only, SOL_IPV6, IPV6_V6ONLY, 1)
    sys.bind(only, ("::", 0))
    q = sys.getsockname(only)[1]
    sys.listen(only, 1)
    print(
        e(sys.connect, tcp(), ("127.0.0.1", q)),
        e(sys.bind, tcp(), ("0.0.0.0", q)),
        e(sys.connect, sys.socket(AF_INET6, SOCK_STREAM), ("::1", q)),
        e(sys.connect, sys.socket(AF_INET6, SOCK_STREAM), ("::ffff:127.0.0.1", p6)),
        e(sys.bind, only, ("::1", 0)),
    )
    d6 = sys.socket(AF_INET6, SOCK_DGRAM)
    sys.bind(d6, ("::", 0))
    d4 = sys.socket(AF_INET, SOCK_DGRAM)
    sys.sendto(d4, b"four", 0, ("127.0.0.1", sys.getsockname(d6)[1]))
    print(
        sys.recvfrom(d6, 10)[1][0],
        sys.sendto(d6, b"back", 0, ("::ffff:127.0.0.1", sys.getsockname(d4)[1])),
        sys.recvfrom(d4, 9)[0],
    )
