"""Time stamps, further: of what comes in a stream, asked for in one sendmsg, with counters (OPT_STATS), by the newer
names, and how many an error queue holds."""

import struct

from userland.abi import *
from userland.lib import outcome as e

TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_ID, TX_SCHED, TX_ACK = 1 << 1, 1 << 3, 1 << 4, 1 << 7, 1 << 8, 1 << 9
OPT_TSONLY, OPT_STATS, OPT_ID_TCP, OPT_RX_FILTER = 1 << 11, 1 << 12, 1 << 16, 1 << 17
OLD, NEW = (29, 35, 37), (63, 64, 65)
STATS, TS_OPT_ID = 54, 81
VARYING = (1, 2, 3, 6, 7, 9, 10, 22, 25)  # times, rates, and what a host remembers of another


def attributes(data):
    out = []
    while data:
        size, kind = struct.unpack_from("=HH", data)
        value = int.from_bytes(data[4:size], "little")
        out.append((kind, size, None if kind in VARYING else value))
        data = data[(size + 3) & ~3 :]
    return out


def main(sys, argv):
    lo = "127.0.0.1"

    def near(data):
        ns = sum(n * m for n, m in zip(struct.unpack("=qq", data), (10**9, 1)))
        return abs(sys.clock_gettime(CLOCK_REALTIME) - ns) < 60_000_000_000

    def shown(control):
        out = []
        for level, kind, data in control:
            data = bytes(data)
            if level == SOL_SOCKET and kind in OLD + NEW:
                out.append((kind, len(data), near(data[:16])))
            elif level == SOL_SOCKET and kind == STATS:
                out.append(("stats", len(data), attributes(data)))
            elif level == 6:
                out.append(("tcp", kind, struct.unpack("=i", data)))
            else:
                out.append((level, kind, struct.unpack("=IBBBBII", data[:16])))
        return out

    def entry(s, n=0):
        try:
            data, control, flags, _ = sys.recvmsg(s, n, 1024, MSG_ERRQUEUE | MSG_DONTWAIT)
        except OSError as error:
            return error.errno
        return len(data), shown(control), hex(flags)

    def drained(s):
        n = 0
        while not isinstance(entry(s), int):
            n += 1
        return n

    def stamping(s, value, name=SO_TIMESTAMPING):
        return e(sys.setsockopt, s, SOL_SOCKET, name, value)

    def got(s):
        return [sys.getsockopt(s, SOL_SOCKET, name) for name in OLD + NEW]

    def pair():
        c = sys.socket(AF_INET, SOCK_STREAM)
        sys.connect(c, sys.getsockname(listener))
        return c, sys.accept4(listener)[0]

    def acked(s):
        """Waits for it."""
        for _ in range(100):
            found = entry(s)
            if found != 11:
                return found
            sys.ppoll([(s, 0)], 20_000_000)

    a, b = sys.socket(AF_INET, SOCK_DGRAM), sys.socket(AF_INET, SOCK_DGRAM)
    sys.bind(b, (lo, 0))
    to = sys.getsockname(b)

    # The newer names.
    for name in (63, 64, 29, 64):
        print(name, e(sys.setsockopt, b, SOL_SOCKET, name, 1), got(b))
        sys.sendto(a, b"x", 0, to)
        print(shown(sys.recvmsg(b, 9, 512)[1]))
    print("off", e(sys.setsockopt, b, SOL_SOCKET, 29, 0), got(b))
    print("new", stamping(b, RX_SOFTWARE | SOFTWARE, 65), got(b))
    for _ in range(500):  # a kernel begins a little later
        sys.sendto(a, b"x", 0, to)
        told = shown(sys.recvmsg(b, 9, 512)[1])
        if told:
            break
        sys.ppoll([], 2_000_000)
    print(told)
    print("old", stamping(b, RX_SOFTWARE | SOFTWARE | OPT_RX_FILTER), got(b))
    sys.sendto(a, b"x", 0, to)
    print(shown(sys.recvmsg(b, 9, 512)[1]), stamping(b, 0))
    # Asked for when it is there already.
    sys.sendto(a, b"x", 0, to)
    print("late", e(sys.setsockopt, b, SOL_SOCKET, SO_TIMESTAMPNS, 1), shown(sys.recvmsg(b, 9, 512)[1]))
    sys.setsockopt(b, SOL_SOCKET, SO_TIMESTAMPNS, 0)
    print("both", e(sys.setsockopt, b, SOL_SOCKET, SO_TIMESTAMP, 1), stamping(b, SOFTWARE), sys.sendto(a, b"x", 0, to))
    print(shown(sys.recvmsg(b, 9, 512)[1]), stamping(b, SOFTWARE | OPT_RX_FILTER), sys.sendto(a, b"x", 0, to))
    print(shown(sys.recvmsg(b, 9, 512)[1]))

    # One sendmsg asks.
    def ask(s, value, where=to, name=SO_TIMESTAMPING, extra=()):
        data = value if isinstance(value, bytes) else struct.pack("=I", value)
        return e(sys.sendmsg, s, [b"x" * 10], [(SOL_SOCKET, name, data), *extra], 0, where)

    print("unreported", ask(a, TX_SOFTWARE), entry(a))
    print("wrong", [ask(a, v) for v in (SOFTWARE, 1 << 19, OPT_ID, b"", b"xx", b"\2\0\0\0\0\0\0\0")])
    print("reported", stamping(a, SOFTWARE | OPT_ID | OPT_TSONLY), ask(a, TX_SOFTWARE | TX_SCHED), entry(a), entry(a), entry(a))
    print("new name", ask(a, TX_SOFTWARE, name=65), entry(a))
    print("instead", stamping(a, SOFTWARE | OPT_ID | OPT_TSONLY | TX_SOFTWARE), ask(a, TX_SCHED), entry(a), entry(a))
    print("nothing", ask(a, 0), entry(a), sys.sendto(a, b"x", 0, to), entry(a))
    number = [(SOL_SOCKET, TS_OPT_ID, struct.pack("=I", 77))]
    print("numbered", ask(a, TX_SOFTWARE, extra=number), entry(a), ask(a, TX_SOFTWARE), entry(a))
    print("no numbers", stamping(a, SOFTWARE), ask(a, TX_SOFTWARE, extra=number))
    print("others", e(sys.sendmsg, a, [b"x"], [(SOL_SOCKET, 99, b"1234")], 0, to))
    for _ in range(3):
        drained(a)

    # How many there is room for.
    for flags in (OPT_TSONLY, 0):
        for size in (10, 1000, 3000):
            for room in (2304, 5000, 20000):
                s = sys.socket(AF_INET, SOCK_DGRAM)
                sys.setsockopt(s, SOL_SOCKET, SO_RCVBUF, room)
                stamping(s, TX_SOFTWARE | SOFTWARE | flags)
                for _ in range(60):
                    sys.sendto(s, b"x" * size, 0, to)
                    sys.recvfrom(b, 4000)
                print("room", flags, size, sys.getsockopt(s, SOL_SOCKET, SO_RCVBUF), drained(s))
                sys.close(s)

    # Streams.
    listener = sys.socket(AF_INET, SOCK_STREAM)
    sys.bind(listener, (lo, 0))
    sys.setsockopt(listener, SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sys.listen(listener, 5)
    c, d = pair()
    print("inherited", got(d))
    sys.write(c, b"x" * 10)
    print("came", sys.recvmsg(d, 4, 512, MSG_PEEK)[0], shown(sys.recvmsg(d, 4, 512)[1]), shown(sys.recvmsg(d, 9, 512)[1]))
    print("also", stamping(d, RX_SOFTWARE | SOFTWARE), e(sys.setsockopt, d, 6, 36, 1), sys.write(c, b"y" * 10))
    print(shown(sys.recvmsg(d, 4, 512)[1]), shown(sys.recvmsg(d, 9, 512)[1]))
    print("newer", e(sys.setsockopt, d, SOL_SOCKET, 63, 1), sys.write(c, b"y" * 10), shown(sys.recvmsg(d, 10, 512)[1]))
    print("off", [e(sys.setsockopt, d, SOL_SOCKET, n, 0) for n in (63, 37)], sys.write(c, b"y" * 10), shown(sys.recvmsg(d, 10, 512)[1]))
    sys.setsockopt(d, SOL_SOCKET, SO_TIMESTAMP, 1)
    sys.write(c, b"z" * 5)
    sys.shutdown(c, SHUT_WR)
    print("end", shown(sys.recvmsg(d, 10, 512)[1]), shown(sys.recvmsg(d, 10, 512)[1]))
    sys.close(c), sys.close(d)

    c, d = pair()
    print("one call", ask(c, TX_ACK | TX_SOFTWARE | TX_SCHED, None), entry(c), stamping(c, SOFTWARE | OPT_ID | OPT_TSONLY))
    drained(c)
    print("wrong", [ask(c, v, None) for v in (SOFTWARE, 1 << 19, OPT_ID, b"", b"xx")], ask(c, 0, None, 99), ask(c, 7, None, TS_OPT_ID))
    sys.sendmsg(c, [b"x" * 10], [(SOL_SOCKET, SO_TIMESTAMPING, struct.pack("=I", TX_SOFTWARE))], 0)
    print(entry(c), entry(c))
    sys.sendmsg(c, [b"x" * 10], [(SOL_SOCKET, SO_TIMESTAMPING, struct.pack("=I", TX_ACK)), (41, 50, b"12345678")], 0)
    print(acked(c), entry(c), sys.write(c, b"x"), entry(c))
    sys.close(c), sys.close(d)

    # Counters.
    c, d = pair()
    sys.setsockopt(c, 6, 13, b"reno")
    print("stats", stamping(c, SOFTWARE | OPT_ID | OPT_ID_TCP | OPT_TSONLY | OPT_STATS | TX_ACK))
    for n, size in enumerate((100, 3000)):
        sys.write(c, b"x" * size)
        found = acked(c)
        print(found[0], found[2], *found[1], sep="\n")
    sys.write(c, b"x")
    sys.ppoll([(c, 0)], 1_000_000_000)
    data, control, flags, _ = sys.recvmsg(c, 1000, 1024, MSG_ERRQUEUE)
    print("data", attributes(bytes(data)) == attributes(bytes(control[1][2])), len(data), hex(flags))
    print("no times", stamping(c, OPT_TSONLY | OPT_STATS | TX_ACK), sys.write(c, b"x"), acked(c))
    return 0
