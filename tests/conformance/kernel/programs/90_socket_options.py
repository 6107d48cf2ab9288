"""getsockopt and setsockopt by number: each option of each level with every length and with values at its edges, of
every kind of socket. What a machine does not do is left out by its number, below."""

import struct

from userland.abi import *

KINDS = {
    "tcp4": (AF_INET, SOCK_STREAM, 0),
    "tcp6": (AF_INET6, SOCK_STREAM, 0),
    "udp4": (AF_INET, SOCK_DGRAM, 0),
    "udp6": (AF_INET6, SOCK_DGRAM, 0),
    "raw4": (AF_INET, SOCK_RAW, 253),
    "icmp4": (AF_INET, SOCK_RAW, 1),
    "icmp6": (AF_INET6, SOCK_RAW, 58),
    "packet": (AF_PACKET, SOCK_RAW, 0),
}
INTS = (-2, -1, 0, 1, 2, 3, 5, 64, 256, 1 << 16, (1 << 31) - 1)
BYTES = (b"", b"\1", b"\1\0\0", b"\1\0\0\0\0", bytes(12), struct.pack("=qq", 0, 1000000), b"lo\0", bytes(40))
FILTERS, DEVMEM, COOKIES = {26, 50, 51, 52, 68}, {78, 79, 80}, {57, 71}
JIFFIES = {20, 21, 66, 67}
EXTENSIONS = {3, 4, 5, 6, 11, 30, 33, 53, 54, 55, 56, 57, 58, 59, 60, 77}
GROUPS6, LABELS = {17, 20, 21, 27, 28, 42, 43, 44, 45, 46, 47, 48}, {32, 64, 65, 68, 69, 72}
LEVELS = {
    SOL_SOCKET: (range(1, 86), FILTERS | DEVMEM | COOKIES | JIFFIES | {62}),
    IPPROTO_IP: (range(54), {4, 5, 7, 16, 17, 32, *range(35, 49)}),
    IPPROTO_IPV6: (range(80), EXTENSIONS | GROUPS6 | LABELS | {1, 22, 24, 34, 35, 50}),
    17: (range(4), set()),
    255: (range(10), {7}),
    263: ((0, 2, 7, 8, 9, 10, 12, 14, 17, 19, 20, 23, 25), set()),
    58: (range(3), set()),
    99: ((1,), set()),
}


def main(sys, argv):
    def outcome(call, *args):
        try:
            result = call(*args)
        except OSError as failure:
            return f"E{failure.errno}"
        return result.hex() if isinstance(result, bytes) else "ok"

    def tried(fd, level, name, value):
        found = outcome(sys.setsockopt, fd, level, name, value)
        if found == "ok":
            found = "=" + outcome(sys.getsockopt, fd, level, name, 64)
        return found

    for kind in KINDS:
        for level, (names, without) in LEVELS.items():
            for name in names:
                if name in without or (kind[:3] == "tcp" and (level, name) in ((SOL_SOCKET, 42), (SOL_SOCKET, 18))):
                    continue
                if level in (IPPROTO_IP, IPPROTO_IPV6) and kind == "packet":
                    continue
                fd = sys.socket(*KINDS[kind])
                print(kind, level, name, *(outcome(sys.getsockopt, fd, level, name, n) for n in (1, 3, 4, 5, 12, 64)))
                print("  ", *(tried(fd, level, name, value) for value in INTS))
                print("  ", *(tried(fd, level, name, value) for value in BYTES))
                sys.close(fd)
    sys.setresuid(1000, 1000, 1000)
    for kind in ("tcp4", "udp6"):
        for level, (names, without) in LEVELS.items():
            for name in names:
                if name in without or (kind == "tcp4" and (level, name) in ((SOL_SOCKET, 42), (SOL_SOCKET, 18))):
                    continue
                fd = sys.socket(*KINDS[kind])
                print("anybody", kind, level, name, *(tried(fd, level, name, value) for value in (0, 1, 7, -1)))
                sys.close(fd)
