"""The urgent mark behind the end of a stream, queues and segment sizes of streams that are new, open and over, and a
congestion control that there is not.
"""

import struct

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000
MAXSEG, INFO = 2, 11
ATMARK, OUTQ, OUTQ_NOT_SENT = 0x8905, 0x5411, 0x894B


def main(sys, argv):
    def pair():
        listener = sys.socket(AF_INET, SOCK_STREAM)
        sys.bind(listener, ("127.0.0.1", 0))
        sys.listen(listener, 4)
        a = sys.socket(AF_INET, SOCK_STREAM)
        sys.connect(a, sys.getsockname(listener))
        return a, sys.accept4(listener)[0], listener

    def mark(fd):
        return e(sys.ioctl, fd, ATMARK)

    def queues(fd):
        return [e(sys.ioctl, fd, request) for request in (OUTQ, OUTQ_NOT_SENT, FIONREAD, ATMARK)]

    def segment(fd):
        return e(sys.getsockopt, fd, IPPROTO_TCP, MAXSEG)

    def sizes(fd):
        """State; snd_mss, rcv_mss; pmtu, ssthresh, cwnd, advmss, reordering."""
        raw = sys.getsockopt(fd, IPPROTO_TCP, INFO, 248)
        found = struct.unpack_from("=21I", raw, 8)
        return raw[0], found[2:4], found[13], found[17:21]

    for inline in (0, 1):
        for text in (b"", b"abc"):
            for flags in (0, MSG_PEEK):
                a, b, _ = pair()
                sys.setsockopt(b, SOL_SOCKET, SO_OOBINLINE, inline)
                if text:
                    sys.write(a, text)
                sys.sendto(a, b"u", MSG_OOB)
                sys.nanosleep(5 * MS)
                sys.close(a)
                sys.nanosleep(5 * MS)
                seen = [mark(b), e(sys.recvfrom, b, 9, flags)[0], mark(b)]
                for _ in range(4):
                    seen += [e(sys.read, b, 2), mark(b)]
                print("mark", inline, text, flags, seen, e(sys.recvfrom, b, 1, MSG_OOB), mark(b))

    a, b, _ = pair()
    sys.write(a, b"x")
    sys.nanosleep(5 * MS)
    sys.close(a)
    sys.nanosleep(5 * MS)
    print("end", mark(b), e(sys.read, b, 5), mark(b), e(sys.read, b, 5), mark(b), queues(b))

    fresh = sys.socket(AF_INET, SOCK_STREAM)
    print("fresh", queues(fresh), segment(fresh), sizes(fresh))
    print("asked", e(sys.setsockopt, fresh, IPPROTO_TCP, MAXSEG, 1000), segment(fresh), sizes(fresh))
    a, b, listener = pair()
    print("listener", queues(listener), segment(listener))
    print("open", segment(a), queues(a), queues(b))
    sys.write(b, b"12")
    sys.nanosleep(60 * MS)
    print("to read", queues(a))
    print("no more", e(sys.connect, a, None), queues(a)[2:], mark(a), e(sys.read, a, 1), e(sys.sendto, a, b"?", MSG_NOSIGNAL))
    a, b, _ = pair()
    sys.shutdown(a, SHUT_RDWR)
    sys.shutdown(b, SHUT_RDWR)
    sys.nanosleep(5 * MS)
    print("over", queues(a), queues(b), segment(a), segment(b))

    control = sys.open("/proc/sys/net/ipv4/tcp_congestion_control", O_WRONLY)
    print("nobody's", e(sys.write, control, b"nobodys\n"), e(sys.write, control, b"x" * 40))
    print("of one", e(sys.setsockopt, fresh, IPPROTO_TCP, 13, b"nobodys"))
