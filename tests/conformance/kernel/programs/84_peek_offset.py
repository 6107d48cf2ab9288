"""SO_PEEK_OFF of Unix sockets of the three types."""

from userland.abi import *
from userland.lib import outcome as e

MS = 1_000_000


def main(sys, argv):
    for kind in (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET):
        a, b = sys.socketpair(AF_UNIX, kind | SOCK_NONBLOCK)

        def pk(n):
            x = e(sys.recvfrom, b, n, MSG_PEEK)
            return (x if isinstance(x, str) else x[0]), sys.getsockopt(b, SOL_SOCKET, SO_PEEK_OFF)

        def tk(n):
            x = e(sys.recvfrom, b, n)
            return (x if isinstance(x, str) else x[0]), sys.getsockopt(b, SOL_SOCKET, SO_PEEK_OFF)

        print(kind, sys.getsockopt(b, SOL_SOCKET, SO_PEEK_OFF), sys.setsockopt(b, SOL_SOCKET, SO_PEEK_OFF, 0))
        for m in (b"abcdef", b"ghi", b"jklmnop"):
            sys.write(a, m)
        print(
            pk(2),
            pk(2),
            pk(10),
            pk(3),
            tk(3),
            pk(2),
            tk(2),
            pk(50),
            pk(50),
            pk(1),
            tk(50),
            tk(50),
            sys.write(a, b"next"),
            pk(2),
            tk(50),
            tk(5),
        )
        sys.setsockopt(b, SOL_SOCKET, SO_PEEK_OFF, 5)
        sys.write(a, b"0123456789")
        print(
            pk(3),
            sys.setsockopt(b, SOL_SOCKET, SO_PEEK_OFF, -1),
            pk(3),
            pk(3),
            e(sys.setsockopt, b, SOL_SOCKET, SO_PEEK_OFF, -7),
            sys.getsockopt(b, SOL_SOCKET, SO_PEEK_OFF),
        )
        sys.setsockopt(b, SOL_SOCKET, SO_PEEK_OFF, 0)
        print(pk(100))
        sys.close(a)
        print(pk(100), tk(100), pk(5), tk(5))
