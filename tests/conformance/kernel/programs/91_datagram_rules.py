"""UDP beside the plain: UDP_SEGMENT, UDP_CORK and MSG_MORE, what control messages are taken, the error queue and the order
in which a send is refused, who may share a port."""

import struct

from userland.abi import *
from userland.lib import outcome as e

LO, LO6, MAPPED = "127.0.0.1", "::1", "::ffff:127.0.0.1"
SOL_UDP, UDP_SEGMENT, DATAGRAM = 17, 103, SOCK_DGRAM


def int4(n):
    return struct.pack("=i", n)


def main(sys, argv):
    def pair(family, host):
        ends = []
        for _ in range(2):
            ends.append(sys.socket(family, DATAGRAM))
            sys.bind(ends[-1], (host, 0))
        return (*ends, sys.getsockname(ends[1]))

    def drain(fd):
        sizes = []
        while True:
            try:
                sizes.append(len(sys.recvfrom(fd, 70000, MSG_DONTWAIT)[0]))
            except OSError as failure:
                return [*sizes, failure.errno]

    def queued(fd):
        try:
            data, beside, flags, name = sys.recvmsg(fd, 200, 500, MSG_ERRQUEUE | MSG_DONTWAIT)
        except OSError as failure:
            return failure.errno
        return data, [(level, kind, bytes(body).hex()) for level, kind, body in beside], flags, name and name[0]

    def nobody():
        fd = sys.socket(AF_INET, DATAGRAM)
        sys.bind(fd, (LO, 0))
        port = sys.getsockname(fd)[1]
        sys.close(fd)
        return port

    def poll(fd):
        return [hex(events) for _, events in sys.ppoll([(fd, 0x201F)], 0)]

    for family, host in ((AF_INET, LO), (AF_INET6, LO6)):
        level = IPPROTO_IP if family == AF_INET else IPPROTO_IPV6
        a, b, name = pair(family, host)
        sys.setsockopt(a, SOL_UDP, UDP_SEGMENT, 100)
        for size in (250, 100, 0, 12800, 12801):
            print("segments", size, e(sys.sendto, a, b"a" * size, 0, name), drain(b)[-4:])
        sys.setsockopt(a, SOL_UDP, UDP_SEGMENT, 0)
        for kind, body in ((103, b"\x3c\0"), (103, int4(60)), (101, b"\x3c\0"), (103, b"\0\0"), (103, b"\xff\xff")):
            print("of one call", kind, e(sys.sendmsg, a, [b"b" * 250], [(SOL_UDP, kind, body)], 0, name), drain(b))
        out_of_band = e(sys.sendto, a, b"x", MSG_OOB, name), e(sys.recvfrom, a, 1, MSG_OOB | MSG_DONTWAIT)
        sys.sendto(a, b"xyz", 0, name)
        asked = MSG_CMSG_CLOEXEC | MSG_DONTWAIT | MSG_OOB
        print("out of band", *out_of_band, [hex(n) for n in (sys.recvmsg(b, 2, 0, asked)[2],)], drain(b))
        sys.setsockopt(a, SOL_UDP, 1, 1)
        print("cork", e(sys.sendto, a, b"abc", 0, name), drain(b), e(sys.sendto, a, b"def", 0, (host, 9)))
        print("uncork", e(sys.sendto, a, b"ghi"), drain(b), e(sys.setsockopt, a, SOL_UDP, 1, 0), drain(b))
        print("more", e(sys.sendto, a, b"abc", MSG_MORE, name), e(sys.connect, a, name))
        print("and", e(sys.sendto, a, b"k", 0, (host, 0)), drain(b), e(sys.sendto, a, b"k", MSG_MORE))
        print("both", e(sys.setsockopt, a, SOL_UDP, 1, 1), e(sys.sendto, a, b"k"), drain(b))
        print("off", e(sys.setsockopt, a, SOL_UDP, 1, 0), drain(b))
        print("too much", e(sys.sendto, a, b"k" * 60000, MSG_MORE), e(sys.sendto, a, b"k" * 6000, MSG_MORE))
        print("is lost", e(sys.sendto, a, b"q", 0), drain(b))
        print("nothing", e(sys.sendto, a, b"", MSG_MORE), drain(b), e(sys.sendto, a, b"", 0), drain(b))
        print("close", e(sys.setsockopt, a, SOL_UDP, 1, 1), e(sys.sendto, a, b"zz"), sys.close(a), drain(b))
        a = sys.socket(family, DATAGRAM)
        for name4, name6 in ((IP_PKTINFO, 49), (12, 51), (13, 66), (20, 2), (20, 8), (20, 74)):
            sys.setsockopt(b, level, name4 if family == AF_INET else name6, 1)
        sys.connect(a, name)
        sys.sendto(a, b"m")
        port = struct.pack(">H", name[1])
        data, beside, flags, _ = sys.recvmsg(b, 10, 400)
        print("told", data, [(at, kind, bytes(body).replace(port, b"PP").hex()) for at, kind, body in beside], flags)
        print("shutdown", e(sys.shutdown, b, 0), e(sys.shutdown, a, 1), e(sys.sendto, a, b"x"))
        print("again", e(sys.sendto, a, b"x", 0, name), e(sys.shutdown, a, 5), e(sys.shutdown, a, 0))
        fd = sys.socket(family, DATAGRAM)
        print(
            "device",
            e(sys.setsockopt, fd, 1, 25, b"lo"),
            sys.getsockopt(fd, 1, 25, 16),
            e(sys.getsockopt, fd, 1, 25, 5),
        )
        print("number", sys.getsockopt(fd, 1, 62, 4), e(sys.setsockopt, fd, 1, 62, 0), sys.getsockopt(fd, 1, 25, 16))
        print("back", e(sys.setsockopt, fd, 1, 62, 1), sys.getsockopt(fd, 1, 25, 16))
        print("leave by", e(sys.setsockopt, fd, 0, 50, 1 << 24), e(sys.setsockopt, fd, 1, 62, 0))
        print(
            "it",
            e(sys.setsockopt, fd, 0, 50, 1 << 24),
            sys.getsockopt(fd, 0, 50, 4),
            e(sys.sendto, fd, b"u", 0, (host, 9)),
        )
        some = (40000 | 40003 << 16) - (1 << 32)
        ports, ends = [], []
        for _ in range(6):
            ends.append(sys.socket(family, DATAGRAM))
            sys.setsockopt(ends[-1], 0, 51, some)
            ports.append(e(sys.bind, ends[-1], (host, 0)))
        taken = sorted(sys.getsockname(end)[1] for end in ends[:4])
        print("range", ports, taken, len([sys.close(end) for end in ends]))
        print("peer", e(sys.getsockopt, fd, 1, 28, 16), e(sys.connect, fd, (host, 9)), sys.getsockopt(fd, 1, 28, 16))
        print("longer", e(sys.getsockopt, fd, 1, 28, 29), sys.getsockopt(fd, level, 14 if family == AF_INET else 24, 4))
        if family == AF_INET6:
            print("path", sys.getsockopt(fd, 41, 61, 32), e(sys.getsockopt, fd, 41, 61, 31))
    stream, fd = sys.socket(AF_INET, SOCK_STREAM), sys.socket(AF_INET, DATAGRAM)
    cookies = [sys.getsockopt(end, 1, 57, 8) for end in (stream, fd, stream)]
    print("cookies", cookies[0] == cookies[2], cookies[0] != cookies[1])
    print("an int is unsigned", e(sys.setsockopt, stream, 6, 25, -1), sys.getsockopt(stream, 6, 25, 4))

    for family, host in ((AF_INET, LO), (AF_INET6, LO6), (AF_INET6, MAPPED)):
        v4, port = family == AF_INET, nobody()
        fd = sys.socket(family, DATAGRAM)
        print("alone", host, [e(sys.sendto, fd, b"x", 0, (host, port)) for _ in range(2)], sys.getsockopt(fd, 1, 4, 4))
        fd = sys.socket(family, DATAGRAM)
        print("connected", sys.connect(fd, (host, port)), e(sys.sendto, fd, b"x"), poll(fd))
        print(
            "then",
            [e(sys.sendto, fd, b"x") for _ in range(2)],
            e(sys.recvfrom, fd, 9),
            e(sys.recvfrom, fd, 9, MSG_DONTWAIT),
        )
        print("and", e(sys.sendto, fd, b"x"), sys.getsockopt(fd, 1, 4, 4), sys.getsockopt(fd, 1, 4, 4))
        for level, name in ((0, 11),) if v4 else ((41, 25),) if host == LO6 else ((0, 11), (41, 25)):
            fd = sys.socket(family, DATAGRAM)
            sys.setsockopt(fd, level, name, 1)
            print("queue", level, e(sys.sendto, fd, b"hello", 0, (host, port)), poll(fd), queued(fd), queued(fd))
            print(
                "next",
                e(sys.recvfrom, fd, 5, MSG_DONTWAIT),
                [e(sys.sendto, fd, b"hello", 0, (host, port)) for _ in "ab"],
            )
            print("error", e(sys.recvfrom, fd, 5, MSG_DONTWAIT), queued(fd), sys.getsockopt(fd, 1, 4, 4))
            print("off", e(sys.setsockopt, fd, level, name, 0), queued(fd), e(sys.recvfrom, fd, 5, MSG_DONTWAIT))
        fd = sys.socket(family, DATAGRAM)
        sys.setsockopt(fd, 0 if v4 else 41, 10 if v4 else 23, 2)
        sys.setsockopt(fd, 0 if v4 else 41, 11 if v4 else 25, 1)
        print(
            "too big", [e(sys.sendto, fd, b"z" * size, 0, (host, port)) for size in (65507, 65508, 65527, 65528, 65536)]
        )
        print("queued", [queued(fd) for _ in range(4)])
        fd = sys.socket(family, DATAGRAM)
        sys.bind(fd, (host, 0))
        name, other = sys.getsockname(fd), sys.socket(family, DATAGRAM)
        print("whole", [e(sys.sendto, other, b"z" * size, 0, name) for size in (65507, 65508, 65527, 65528)], drain(fd))
        print(
            "port 0",
            e(sys.sendto, other, b"x"),
            e(sys.sendto, other, b"x", 0, (host, 0)),
            e(sys.connect, other, (host, 0)),
        )
        print(
            "no peer", e(sys.getpeername, other), e(sys.sendto, other, b"x"), e(sys.sendto, other, b"x", MSG_OOB, name)
        )
        print("none", e(sys.connect, other, None), e(sys.getpeername, other))
        for bits in range(16):
            ends = [sys.socket(family, DATAGRAM) for _ in range(2)]
            for i, end in enumerate(ends):
                sys.setsockopt(end, 1, SO_REUSEADDR, bits >> i & 1)
                sys.setsockopt(end, 1, SO_REUSEPORT, bits >> i + 2 & 1)
            sys.bind(ends[0], (host, 0))
            print("share", bits, e(sys.bind, ends[1], sys.getsockname(ends[0])), len([sys.close(end) for end in ends]))
    print("broadcast", e(sys.sendto, sys.socket(AF_INET, DATAGRAM), b"x", 0, ("127.255.255.255", 9)))
    for v6only in (0, 1):
        for hosts in (
            ("::", "0.0.0.0"),
            ("0.0.0.0", "::"),
            ("::", LO),
            (LO6, LO),
            ("::ffff:0.0.0.0", "0.0.0.0"),
            (MAPPED, "::"),
        ):
            first, results = 0, []
            for host in hosts:
                fd = sys.socket(AF_INET6 if ":" in host else AF_INET, DATAGRAM)
                if ":" in host:
                    sys.setsockopt(fd, 41, 26, v6only)
                results.append(e(sys.bind, fd, (host, first)))
                first = sys.getsockname(fd)[1]
            print("two", v6only, hosts, results)
    wide, fd = sys.socket(AF_INET6, DATAGRAM), sys.socket(AF_INET, DATAGRAM)
    sys.bind(wide, ("::", 0))
    for level, name in ((41, 49), (0, 8), (41, 51), (0, 12), (41, 66)):
        sys.setsockopt(wide, level, name, 1)
    sys.sendto(fd, b"4", 0, (LO, sys.getsockname(wide)[1]))
    data, beside, _, name = sys.recvmsg(wide, 9, 400)
    print("IPv4", data, [(level, kind, bytes(body).hex()) for level, kind, body in beside], name[0])

    def told(family, host, names, message):
        fd, other = sys.socket(family, DATAGRAM), sys.socket(family, DATAGRAM)
        sys.bind(other, (host, 0))
        for name in names:
            sys.setsockopt(other, IPPROTO_IP if family == AF_INET else IPPROTO_IPV6, name, 1)
        sent = e(sys.sendmsg, fd, [b"q"], [message], 0, sys.getsockname(other))
        came = None
        if sent == 1:
            _, beside, _, name = sys.recvmsg(other, 9, 300, MSG_DONTWAIT)
            came = [(kind, bytes(body).hex()) for _, kind, body in beside], name[0]
        sys.close(fd), sys.close(other)
        print("message", message, sent, came)

    four = [(0, 2, int4(5)), (0, 2, int4(0)), (0, 2, int4(256)), (0, 2, b"\5"), (0, 1, int4(0x17)), (0, 1, b"\x17")]
    four += [(0, 1, int4(256)), (0, 1, b"\1\2"), (0, 8, bytes(12)), (0, 8, int4(1) + bytes([127, 0, 0, 5]) + bytes(4))]
    four += [(0, 8, int4(0) + bytes([1, 2, 3, 4]) + bytes(4)), (0, 8, bytes(11)), (0, 8, bytes(13)), (0, 7, b"")]
    four += [(0, 52, int4(17)), (0, 52, int4(0)), (1, 36, int4(7)), (1, 36, b"1"), (1, 12, int4(3)), (1, 1, b"")]
    four += [(1, 99, b""), (41, 50, bytes(20)), (41, 52, int4(9)), (6, 1, b""), (99, 1, b"")]
    for message in four:
        told(AF_INET, LO, (12, 13, 8), message)
    one = bytes(15) + b"\1"
    six = [(41, 52, int4(n)) for n in (5, 0, -1, 256)] + [(41, 67, int4(n)) for n in (5, -1, 256)]
    six += [(41, 52, b"\5"), (41, 67, b"1"), (41, 50, bytes(20)), (41, 50, bytes(19)), (41, 50, one + int4(1))]
    six += [
        (41, 50, bytes(15) + b"\2" + int4(1)),
        (41, 2, bytes(20)),
        (41, 8, int4(5)),
        (41, 62, int4(1)),
        (41, 62, int4(2)),
    ]
    six += [
        (41, 54, bytes(7)),
        (41, 57, bytes(8)),
        (41, 99, b""),
        (0, 2, int4(5)),
        (0, 8, bytes(12)),
        (41, 11, bytes(4)),
    ]
    for message in six:
        told(AF_INET6, LO6, (49, 51, 66), message)
