"""Time stamps of what is sent and of what comes: SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING on UDP and TCP."""

import struct

from userland.abi import *
from userland.lib import outcome as e

SND, SCHED, ACK = 0, 1, 2
TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_ID, TX_SCHED, TX_ACK = 1 << 1, 1 << 3, 1 << 4, 1 << 7, 1 << 8, 1 << 9
OPT_TSONLY, OPT_STATS, OPT_ID_TCP = 1 << 11, 1 << 12, 1 << 16


def main(sys, argv):
    lo = "127.0.0.1"

    def S(k=SOCK_DGRAM, fam=AF_INET):
        return sys.socket(fam, k)

    def stamping(s, value):
        return e(sys.setsockopt, s, SOL_SOCKET, SO_TIMESTAMPING, value)

    def near(ns):
        return abs(sys.clock_gettime(CLOCK_REALTIME) - ns) < 60_000_000_000

    def shown(control):
        """Control messages without what differs between two runs: of times whether they can be."""
        out = []
        for level, kind, data in control:
            data = bytes(data)
            if (level, kind) == (SOL_SOCKET, SO_TIMESTAMP):
                out.append(("usec", len(data), near(sum(n * m for n, m in zip(struct.unpack("=qq", data), (10**9, 1000))))))
            elif (level, kind) == (SOL_SOCKET, SO_TIMESTAMPNS):
                out.append(("nsec", len(data), near(sum(n * m for n, m in zip(struct.unpack("=qq", data), (10**9, 1))))))
            elif (level, kind) == (SOL_SOCKET, SO_TIMESTAMPING):
                times = struct.unpack("=6q", data)
                out.append(("times", near(times[0] * 10**9 + times[1]), times[2:]))
            else:
                out.append((level, kind, struct.unpack("=IBBBBII", data[:16]), data[16:].hex()))
        return out

    def entry(s, n=0):
        try:
            data, control, flags, _ = sys.recvmsg(s, n, 512, MSG_ERRQUEUE | MSG_DONTWAIT)
        except OSError as error:
            return error.errno
        return len(data), shown(control), hex(flags)

    a, b = S(), S()
    sys.bind(b, (lo, 0))
    to = sys.getsockname(b)
    for option, value in ((SO_TIMESTAMP, 1), (SO_TIMESTAMPNS, 7), (SO_TIMESTAMP, 1), (SO_TIMESTAMPING, RX_SOFTWARE | SOFTWARE)):
        print("set", option, e(sys.setsockopt, b, SOL_SOCKET, option, value))
        print([sys.getsockopt(b, SOL_SOCKET, o) for o in (SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING)])
        sys.sendto(a, b"x", 0, to)
        data, control, flags, _ = sys.recvmsg(b, 9, 512)
        print("came", data, shown(control), flags)
    for option in (SO_TIMESTAMP, SO_TIMESTAMPNS):
        sys.setsockopt(b, SOL_SOCKET, option, 0)
    stamping(b, RX_SOFTWARE)
    sys.sendto(a, b"x", 0, to)
    print("unreported", shown(sys.recvmsg(b, 9, 512)[1]))

    print("flags", [stamping(a, v) for v in (-1, 1 << 19, OPT_STATS, OPT_ID_TCP, OPT_ID | OPT_ID_TCP, OPT_STATS | OPT_TSONLY)])
    print("size", e(sys.getsockopt, a, SOL_SOCKET, SO_TIMESTAMPING, 8), e(sys.getsockopt, a, SOL_SOCKET, SO_TIMESTAMPING, 4))
    print("again", stamping(a, 0), stamping(a, TX_SOFTWARE | TX_SCHED | TX_ACK | SOFTWARE | OPT_ID | OPT_TSONLY))
    print("none", entry(a))
    for n in range(2):
        sys.sendto(a, b"x" * 10, 0, to)
        print("datagram", n, sys.ppoll([(a, POLLIN)], 0), sys.getsockopt(a, SOL_SOCKET, SO_ERROR))
        print(entry(a), entry(a), entry(a), sep="\n")
    print("without numbers", stamping(a, TX_SOFTWARE | SOFTWARE | OPT_TSONLY), sys.sendto(a, b"x", 0, to), entry(a))
    print("without times", stamping(a, TX_SOFTWARE | OPT_TSONLY), sys.sendto(a, b"x", 0, to), entry(a), entry(a))
    print("the packet", stamping(a, TX_SOFTWARE | SOFTWARE), sys.sendto(a, b"x" * 10, 0, to), entry(a), entry(a))
    print("nothing asked", stamping(a, SOFTWARE | OPT_ID), sys.sendto(a, b"x", 0, to), entry(a))
    print("from 0", stamping(a, SOFTWARE | TX_SOFTWARE | OPT_ID | OPT_TSONLY), sys.sendto(a, b"x", 0, to), entry(a))

    listener = S(SOCK_STREAM)
    print("early", stamping(listener, OPT_ID), stamping(listener, SOFTWARE | TX_SOFTWARE))
    sys.bind(listener, (lo, 0))
    sys.listen(listener, 5)
    c = S(SOCK_STREAM)
    sys.connect(c, sys.getsockname(listener))
    d, _ = sys.accept4(listener)
    print("inherited", sys.getsockopt(d, SOL_SOCKET, SO_TIMESTAMPING))
    sys.write(d, b"x" * 10)
    print(entry(d))
    sys.write(c, b"before")
    print("stream", stamping(c, TX_SOFTWARE | TX_SCHED | TX_ACK | SOFTWARE | OPT_ID | OPT_ID_TCP | OPT_TSONLY))
    for size in (1, 100, 5000):
        sys.write(c, b"x" * size)
        sys.ppoll([(c, 0)], 1_000_000_000)
        found = [entry(c), entry(c), entry(c)]
        print(size, *sorted(str(one) for one in found), sep="\n")
    print("end", entry(c), sys.close(c), entry(d))
    return 0
