"""An IPv6 socket has IPv4's options and IPv6's apart: what it sends to a mapped address goes by the first, the rest by the
second. Of TCP, UDP and raw sockets, as a raw socket sees them arrive."""

import struct

from userland.abi import *
from userland.lib import outcome as e

IP_MINTTL, IPV6_MINHOPCOUNT, IPV6_MTU_DISCOVER = 21, 73, 23
FOUR, SIX = "::ffff:127.0.0.1", "::1"
PAIRS = ((IP_TOS, IPV6_TCLASS), (IP_TTL, IPV6_UNICAST_HOPS), (10, IPV6_MTU_DISCOVER), (IP_MINTTL, IPV6_MINHOPCOUNT))


def main(sys, argv):
    def both(fd):
        return [(sys.getsockopt(fd, 0, a), sys.getsockopt(fd, 41, b)) for a, b in PAIRS]

    def eyes(proto):
        a, b = sys.socket(AF_INET, SOCK_RAW, proto), sys.socket(AF_INET6, SOCK_RAW, proto)
        for name in (IPV6_RECVTCLASS, IPV6_RECVHOPLIMIT):
            sys.setsockopt(b, 41, name, 1)
        return a, b

    def seen(pair):
        found = set()
        while True:
            try:
                packet = sys.recvfrom(pair[0], 70000, MSG_DONTWAIT)[0]
            except OSError:
                break
            df = packet[6] >> 6 & 1
            found.add(("4", packet[33] & 0x12 if packet[9] == 6 else 0, packet[1], packet[8], df))
        while True:
            try:
                data, beside, _, _ = sys.recvmsg(pair[1], 70000, 200, MSG_DONTWAIT)
            except OSError:
                break
            told = {kind: struct.unpack("=i", bytes(body))[0] for _, kind, body in beside}
            found.add(("6", data[13] & 0x12 if len(data) >= 20 else 0, told[IPV6_TCLASS], told[IPV6_HOPLIMIT]))
        return sorted(found)

    def marked(kind, order):
        fd = sys.socket(AF_INET6, kind)
        for level, name, value in order:
            if kind == SOCK_STREAM and (name, value) == (10, 0):
                continue  # a stream's packets have DF here all the same
            print("set", level, name, value, e(sys.setsockopt, fd, level, name, value), both(fd))
        return fd

    orders = (
        ((0, IP_TOS, 0x20), (41, IPV6_TCLASS, 0x48), (0, IP_TTL, 33), (41, IPV6_UNICAST_HOPS, 44)),
        ((41, IPV6_TCLASS, 0x4B), (0, IP_TOS, 0x23), (0, 10, 2), (41, IPV6_MTU_DISCOVER, 0), (0, IP_MINTTL, 5)),
        ((41, IPV6_MINHOPCOUNT, 6), (41, IPV6_UNICAST_HOPS, 200), (41, IPV6_UNICAST_HOPS, -1), (41, IPV6_TCLASS, -1)),
        ((0, IP_TTL, 77), (0, IP_TTL, -1), (41, IPV6_TCLASS, 256), (41, IPV6_UNICAST_HOPS, 256), (0, 10, 0)),
        ((41, IPV6_MTU_DISCOVER, 6), (41, IPV6_MINHOPCOUNT, 256), (41, IPV6_UNICAST_HOPS, 0), (0, IP_TTL, 9)),
    )
    for order in orders:
        for host in (FOUR, SIX):
            fd = marked(SOCK_DGRAM, order)
            sink = sys.socket(AF_INET6, SOCK_DGRAM)
            sys.bind(sink, ("::", 0))
            pair = eyes(IPPROTO_UDP)
            print("UDP", host, e(sys.sendto, fd, b"text", 0, (host, sys.getsockname(sink)[1])), seen(pair))
            for one in (fd, sink, *pair):
                sys.close(one)
            for side in ("client", "server"):
                client = marked(SOCK_STREAM, order if side == "client" else ())
                listener = marked(SOCK_STREAM, order if side == "server" else ())
                sys.bind(listener, ("::", 0))
                sys.listen(listener, 1)
                pair = eyes(IPPROTO_TCP)
                sys.connect(client, (host, sys.getsockname(listener)[1]))
                fd, _ = sys.accept4(listener)
                sys.write(client, b"hello")
                sys.write(fd, b"there")
                print("TCP", host, side, sys.read(fd, 9), sys.read(client, 9), both(fd), both(client))
                print(seen(pair))
                for one in (client, fd, listener, *pair):
                    sys.close(one)
        fd = sys.socket(AF_INET6, SOCK_RAW, 254)
        print("raw", [e(sys.setsockopt, fd, *one) for one in order], [sys.getsockopt(fd, 41, b) for _, b in PAIRS])
        pair = eyes(254)
        print(e(sys.sendto, fd, b"raw", 0, (SIX, 0)), seen(pair))
        for one in (fd, *pair):
            sys.close(one)
    return 0
