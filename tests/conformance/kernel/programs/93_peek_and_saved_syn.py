"""SO_PEEK_OFF of streams, and the SYN that TCP_SAVE_SYN keeps."""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000
SAVE, SAVED = 27, 28


def main(sys, argv):
    def pair(family=AF_INET, host="127.0.0.1", before=(), client=()):
        listener = sys.socket(family, SOCK_STREAM)
        for option in before:
            sys.setsockopt(listener, *option)
        sys.bind(listener, (host, 0))
        sys.listen(listener, 4)
        a = sys.socket(family, SOCK_STREAM)
        for option in client:
            sys.setsockopt(a, *option)
        sys.connect(a, sys.getsockname(listener))
        return a, sys.accept4(listener)[0], listener

    def off(fd):
        return sys.getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF)

    def look(fd, n, more=0):
        found = e(sys.recvfrom, fd, n, MSG_PEEK | MSG_DONTWAIT | more)
        return (found if isinstance(found, str) else found[0]), off(fd)

    def take(fd, n, more=0):
        found = e(sys.recvfrom, fd, n, MSG_DONTWAIT | more)
        return (found if isinstance(found, str) else found[0]), off(fd)

    a, b, _ = pair()
    print("at first", off(a), off(b), [e(sys.setsockopt, b, SOL_SOCKET, SO_PEEK_OFF, n) for n in (-1, -5, 7, 0)], off(b))
    for text in (b"abcdef", b"ghi", b"jklmnop"):
        sys.write(a, text)
        sys.nanosleep(5 * MS)
    print([look(b, 2), look(b, 2), look(b, 10), look(b, 10), look(b, 1)])
    print([take(b, 3), look(b, 1), take(b, 5), look(b, 2), take(b, 50), look(b, 1), take(b, 1)])
    sys.write(a, b"0123456789")
    sys.nanosleep(5 * MS)
    print([look(b, 3), take(b, 5), look(b, 3), look(b, 3, MSG_TRUNC), look(b, 3), take(b, 2, MSG_TRUNC)])
    for offset in (1, 2, 3, 4, -1, -3, 0, 100):
        sys.setsockopt(b, SOL_SOCKET, SO_PEEK_OFF, offset)
        print(offset, look(b, 2), look(b, 2))
    print([hex(events) for _, events in sys.ppoll([(b, POLLIN)], 0)], sys.ioctl(b, FIONREAD))
    sys.setsockopt(b, SOL_SOCKET, SO_PEEK_OFF, 1)
    print("message", e(sys.recvmsg, b, 5, 0, MSG_PEEK)[0], off(b), e(sys.read, b, 1), off(b))
    sys.close(a)
    sys.nanosleep(5 * MS)
    print("end", look(b, 50), look(b, 50), take(b, 50), look(b, 50), take(b, 50))

    a, b, _ = pair()
    sys.setsockopt(b, SOL_SOCKET, SO_PEEK_OFF, 0)
    sys.write(a, b"abc")
    sys.nanosleep(5 * MS)

    def later(sys):
        sys.nanosleep(20 * MS)
        sys.write(a, b"defgh")
        return 0

    print("some", look(b, 3))
    pid = sys.spawn(later)
    print("waits", sys.recvfrom(b, 2, MSG_PEEK)[0], off(b))
    sys.wait4(pid)
    pid = sys.spawn(later)
    print("waits for all", sys.recvfrom(b, 7, MSG_PEEK | MSG_WAITALL)[0], off(b))
    sys.wait4(pid)
    print(take(b, 100))
    a, b, _ = pair(before=((SOL_SOCKET, SO_PEEK_OFF, 2),), client=((SOL_SOCKET, SO_PEEK_OFF, 1),))
    sys.write(a, b"abcd")
    sys.write(b, b"efgh")
    sys.nanosleep(5 * MS)
    print("before", off(a), off(b), look(a, 9), look(b, 9), take(a, 2), take(b, 3))

    fd = sys.socket(AF_INET, SOCK_STREAM)
    print("save", [(e(sys.setsockopt, fd, 6, SAVE, n), sys.getsockopt(fd, 6, SAVE)) for n in (1, 2, 3, -1, 0)])
    print(e(sys.getsockopt, fd, 6, SAVED, 0), e(sys.getsockopt, fd, 6, SAVED, 100), e(sys.setsockopt, fd, 6, SAVED, 1))
    for family, host in ((AF_INET, "127.0.0.1"), (AF_INET6, "::1"), (AF_INET6, "::ffff:127.0.0.1")):
        for mode in (0, 1, 2):
            a, b, listener = pair(family, host, ((6, SAVE, mode),))
            print("mode", mode, [sys.getsockopt(fd, 6, SAVE) for fd in (a, b, listener)])
            print([e(sys.getsockopt, fd, 6, SAVED, 200) for fd in (a, listener)], e(sys.getsockopt, b, 6, SAVED, 50))
            saved = bytes(e(sys.getsockopt, b, 6, SAVED, 200))
            print(len(saved), bytes(e(sys.getsockopt, b, 6, SAVED, 200)))
            link, packet = (saved[:14], saved[14:]) if mode == 2 else (b"", saved)
            if not packet:
                continue
            head = 20 if packet[0] >> 4 == 4 else 40
            ip, tcp = bytearray(packet[:head]), bytearray(packet[head:])
            ip[4:6] = ip[10:12] = b"\0\0"
            if head == 40:
                ip = bytearray(packet[4:head])
            ports = struct.unpack(">HH", tcp[:4])
            print(link.hex(), ip.hex(), ports == (sys.getsockname(a)[1], sys.getsockname(b)[1]))
            kinds, at = [], 20
            while at < len(tcp):
                kinds.append(tcp[at])
                at += 1 if tcp[at] < 2 else tcp[at + 1]
            print(tcp[8:14].hex(), kinds)
    for end in ("reset", "closed", "disconnected", "reset before accept"):
        listener, a = sys.socket(AF_INET, SOCK_STREAM), sys.socket(AF_INET, SOCK_STREAM)
        sys.setsockopt(listener, 6, SAVE, 1)
        sys.bind(listener, ("127.0.0.1", 0))
        sys.listen(listener, 1)
        sys.connect(a, sys.getsockname(listener))
        b = sys.accept4(listener)[0] if "before" not in end else -1
        if "reset" in end:
            sys.setsockopt(a, SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            sys.close(a)
        elif end == "closed":
            sys.close(a)
            sys.shutdown(b, 1)
        else:
            sys.connect(b, None)
        sys.nanosleep(20 * MS)
        b = b if b >= 0 else sys.accept4(listener)[0]
        print(end, [len(e(sys.getsockopt, b, 6, SAVED, 200)) for _ in (1, 2)])
    return 0
