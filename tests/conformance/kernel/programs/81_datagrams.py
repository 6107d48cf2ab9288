"""UDP: connected and not, ICMP errors and the error queue, control messages, IPv6 and its IPv4, SO_PEEK_OFF."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    D = SOCK_DGRAM
    lo = "127.0.0.1"

    def S(f=AF_INET, fl=0):
        return sys.socket(f, D | fl)

    def bound(f=AF_INET, a=lo, fl=0):
        s = S(f, fl)
        sys.bind(s, (a, 0))
        return s, sys.getsockname(s)

    a, an = bound()
    b, bn = bound()
    print(
        "basic",
        e(sys.sendto, S(), b"x"),
        e(sys.sendto, a, b"one", 0, bn),
        sys.recvfrom(b, 2, MSG_PEEK)[0],
        sys.recvfrom(b, 2, MSG_TRUNC)[0],
        e(sys.recvfrom, b, 5, MSG_DONTWAIT),
        e(sys.sendto, a, b"", 0, bn),
        sys.recvfrom(b, 5)[0],
        e(sys.sendto, a, b"x" * 65508, 0, bn),
        e(sys.sendto, a, b"x" * 65507, 0, bn),
        len(sys.recvfrom(b, 70000)[0]),
        e(sys.sendto, a, b"x", 0, (lo, 0)),
        e(sys.listen, a, 1),
        e(sys.accept4, a),
        e(sys.getpeername, a),
    )
    sys.sendto(a, b"abc", 0, bn)
    sys.sendto(a, b"defgh", 0, bn)
    print(
        "inq",
        sys.ioctl(b, FIONREAD),
        sys.ioctl(b, SIOCOUTQ if "SIOCOUTQ" in globals() else 0x5411),
        sys.recvmsg(b, 2)[:3],
        sys.recvmsg(b, 99)[:3],
        [hex(r) for _, r in sys.ppoll([(b, 0x201F)], 0)],
    )
    c, cn = bound()
    print(
        "connect",
        sys.connect(c, bn),
        sys.getpeername(c) == bn,
        sys.sendto(c, b"hi"),
        sys.recvfrom(b, 9)[1] == cn,
        sys.sendto(a, b"not yours", 0, cn),
        e(sys.recvfrom, c, 9, MSG_DONTWAIT),
        sys.sendto(b, b"yours", 0, cn),
        sys.recvfrom(c, 9)[0],
        e(sys.sendto, c, b"other", 0, an),
        sys.recvfrom(a, 9)[0],
        e(sys.connect, c, an),
        sys.getpeername(c) == an,
    )
    dead, dn = bound()
    sys.close(dead)
    sys.connect(c, dn)
    print(
        "icmp",
        sys.sendto(c, b"1"),
        sys.nanosleep(2 * MS),
        [hex(r) for _, r in sys.ppoll([(c, 0x201F)], 0)],
        e(sys.sendto, c, b"2"),
        e(sys.sendto, c, b"3"),
        sys.nanosleep(2 * MS),
        e(sys.recvfrom, c, 5),
        e(sys.recvfrom, c, 5, MSG_DONTWAIT),
        e(sys.getsockopt, c, SOL_SOCKET, SO_ERROR),
    )
    print(
        "unconnected",
        sys.sendto(a, b"1", 0, dn),
        sys.nanosleep(2 * MS),
        e(sys.sendto, a, b"2", 0, dn),
        e(sys.getsockopt, a, SOL_SOCKET, SO_ERROR),
    )
    sys.setsockopt(a, 0, IP_RECVERR, 1)
    print(
        "recverr",
        sys.sendto(a, b"pay", 0, dn),
        sys.nanosleep(2 * MS),
        [hex(r) for _, r in sys.ppoll([(a, 0x201F)], 0)],
        e(sys.getsockopt, a, SOL_SOCKET, SO_ERROR),
    )
    m = e(sys.recvmsg, a, 50, 200, MSG_ERRQUEUE)
    if isinstance(m, str):
        print(m)
    else:
        print(
            m[0], hex(m[2]), m[3] == dn, [(l, k, struct.unpack("IBBBBII", v[:16])) for l, k, v in m[1]], len(m[1][0][2])
        )
    print(e(sys.recvmsg, a, 50, 200, MSG_ERRQUEUE), e(sys.sendto, a, b"again", 0, bn), sys.recvfrom(b, 9)[0])
    sys.setsockopt(b, 0, IP_PKTINFO, 1)
    sys.setsockopt(b, 0, IP_RECVTTL, 1)
    sys.setsockopt(b, 0, IP_RECVTOS, 1)
    sys.setsockopt(a, 0, IP_TTL, 33)
    sys.setsockopt(a, 0, IP_TOS, 0x28)
    sys.sendto(a, b"info", 0, bn)
    m = sys.recvmsg(b, 50, 200)
    print("ancillary", m[0], sorted((l, k, v.hex()) for l, k, v in m[1]), m[2])
    sys.sendto(a, b"info", 0, bn)
    m = sys.recvmsg(b, 50, 40)
    print("ctrunc", len(m[1]), m[2])
    print(
        "send ancillary",
        e(sys.sendmsg, a, [b"t"], [(0, IP_TTL, struct.pack("i", 7))], 0, bn),
        [v.hex() for l, k, v in sys.recvmsg(b, 9, 200)[1] if k == IP_TTL],
        e(sys.sendmsg, a, [b"t"], [(0, IP_TTL, struct.pack("i", 0))], 0, bn),
        e(sys.sendmsg, a, [b"t"], [(0, 99, b"")], 0, bn),
        e(sys.sendmsg, a, [b"t"], [(0, IP_TOS, b"\x10")], 0, bn),
        [v.hex() for l, k, v in sys.recvmsg(b, 9, 200)[1] if k == IP_TOS],
    )
    # disconnect, AF_UNSPEC
    print("wildcard", sys.getsockname(S()), end=" ")
    w = S()
    sys.connect(w, bn)
    print(sys.getsockname(w)[0], e(sys.sendto, w, b"z"), sys.recvfrom(b, 5)[0])
    # shutdown on udp
    x, xn = bound()
    print(
        "shutdown",
        e(sys.shutdown, x, 0),
        sys.connect(x, bn),
        e(sys.shutdown, x, SHUT_RD),
        e(sys.recvfrom, x, 5),
        e(sys.sendto, x, b"s"),
        e(sys.shutdown, x, SHUT_WR),
        e(sys.sendto, x, b"s", MSG_NOSIGNAL),
        [hex(r) for _, r in sys.ppoll([(x, 0x201F)], 0)],
    )
    # broadcast
    print("bcast", e(sys.sendto, S(), b"x", 0, ("127.255.255.255", 9)))
    # v6
    s6, n6 = bound(AF_INET6, "::")
    print(
        "v6",
        sys.getsockopt(s6, 41, IPV6_V6ONLY),
        n6[0],
        e(sys.bind, S(), ("0.0.0.0", n6[1])),
        e(sys.bind, S(), (lo, n6[1])),
        sys.sendto(a, b"from4", 0, (lo, n6[1])),
        sys.recvfrom(s6, 9)[1][0],
        e(sys.setsockopt, s6, 41, IPV6_V6ONLY, 1),
    )
    o6 = S(AF_INET6)
    sys.setsockopt(o6, 41, IPV6_V6ONLY, 1)
    sys.bind(o6, ("::", 0))
    p6 = sys.getsockname(o6)[1]
    f4 = S()
    print(
        "v6only",
        e(sys.bind, f4, ("0.0.0.0", p6)),
        e(sys.connect, S(AF_INET6), ("::ffff:127.0.0.1", bn[1])),
        e(sys.connect, o6, ("::ffff:127.0.0.1", bn[1])),
        e(sys.bind, S(AF_INET6), ("::ffff:127.0.0.1", bn[1])),
        e(sys.bind, S(AF_INET6), ("::1", p6)),
        e(sys.bind, S(AF_INET6), ("2001:db8::1", 0)),
        e(sys.bind, S(AF_INET6), ("fe80::1", 0)),
    )
    m6 = S(AF_INET6)
    sys.connect(m6, ("::ffff:127.0.0.1", bn[1]))
    print(sys.getsockname(m6)[0], sys.getpeername(m6)[0], sys.sendto(m6, b"mapped"), sys.recvfrom(b, 9)[1][0])
    g6, gn = bound(AF_INET6, "::1")
    h6, hn = bound(AF_INET6, "::1")
    sys.setsockopt(h6, 41, IPV6_RECVPKTINFO, 1)
    sys.setsockopt(h6, 41, IPV6_RECVHOPLIMIT, 1)
    sys.setsockopt(h6, 41, IPV6_RECVTCLASS, 1)
    sys.setsockopt(g6, 41, IPV6_UNICAST_HOPS, 9)
    sys.setsockopt(g6, 41, IPV6_TCLASS, 0x20)
    sys.sendto(g6, b"v6", 0, hn)
    m = sys.recvmsg(h6, 9, 300)
    print("v6 anc", m[0], sorted((l, k, v.hex()) for l, k, v in m[1]), m[3][0], m[3][1:] == gn[1:])
    d6, dn6 = bound(AF_INET6, "::1")
    sys.close(d6)
    sys.setsockopt(g6, 41, IPV6_RECVERR, 1)
    sys.sendto(g6, b"dead", 0, dn6)
    sys.nanosleep(2 * MS)
    m = e(sys.recvmsg, g6, 50, 200, MSG_ERRQUEUE)
    print(
        "v6 err",
        m if isinstance(m, str) else (m[0], hex(m[2]), [(l, k, struct.unpack("IBBBBII", v[:16])) for l, k, v in m[1]]),
    )
    # SO_PEEK_OFF
    p, pn = bound()
    print(
        "peek off",
        e(sys.getsockopt, p, SOL_SOCKET, SO_PEEK_OFF),
        e(sys.setsockopt, p, SOL_SOCKET, SO_PEEK_OFF, 2),
        sys.sendto(a, b"abcdef", 0, pn),
        sys.sendto(a, b"ghi", 0, pn),
        sys.recvfrom(p, 2, MSG_PEEK)[0],
        sys.recvfrom(p, 9, MSG_PEEK)[0],
        sys.recvfrom(p, 2, MSG_PEEK)[0],
        e(sys.getsockopt, p, SOL_SOCKET, SO_PEEK_OFF),
        sys.recvfrom(p, 9)[0],
        e(sys.getsockopt, p, SOL_SOCKET, SO_PEEK_OFF),
        sys.recvfrom(p, 9, MSG_PEEK)[0],
    )
    # rcvtimeo, rcvlowat, rcvbuf full
    q, qn = bound()
    sys.setsockopt(q, SOL_SOCKET, SO_RCVTIMEO, struct.pack("qq", 0, 20000))
    t0 = sys.clock_gettime(1)
    print("timeo", e(sys.recvfrom, q, 5), 19 <= (sys.clock_gettime(1) - t0) // MS < 60)
    sys.setsockopt(q, SOL_SOCKET, SO_RCVBUF, 2304)
    print(sys.getsockopt(q, SOL_SOCKET, SO_RCVBUF))
    n = 0
    for i in range(20):
        sys.sendto(a, bytes([i]) * 500, 0, qn)
    sys.nanosleep(MS)
    while not isinstance(e(sys.recvfrom, q, 600, MSG_DONTWAIT), str):
        n += 1
    print("dropped", 0 < n < 20)
    # reuse: udp
    r1, r2 = S(), S()
    sys.setsockopt(r1, SOL_SOCKET, SO_REUSEADDR, 1)
    sys.setsockopt(r2, SOL_SOCKET, SO_REUSEADDR, 1)
    sys.bind(r1, (lo, 0))
    print("reuse", e(sys.bind, r2, sys.getsockname(r1)), e(sys.bind, S(), sys.getsockname(r1)))
    sys.sendto(a, b"who", 0, sys.getsockname(r1))
    sys.nanosleep(MS)
    print([e(sys.recvfrom, x, 5, MSG_DONTWAIT) == "EAGAIN" for x in (r1, r2)])
    print(
        "sendmmsg",
        e(sys.sendmmsg, a, [([b"1"], [], bn), ([b"2"], [], bn)]),
        [e(sys.recvfrom, b, 5, MSG_DONTWAIT)[0] for _ in range(2)],
    )
