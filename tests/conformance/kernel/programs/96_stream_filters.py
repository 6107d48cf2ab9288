"""SO_ATTACH_FILTER on streams: what a filter sees of a segment, what it leaves of its text, whom a listener hears."""

import struct

from userland.abi import *
from userland.lib import outcome as e

ATTACH, DETACH, LOCK, GET = 26, 27, 44, 26
SHUT_WR = 1
NET = 0xFFF00000


def main(sys, argv):
    memory = sys.mmap(0, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)

    def attach(fd, *program):
        code = b"".join(struct.pack("=HBBI", *one) for one in program)
        sys.mem[memory : memory + len(code)] = code
        return e(sys.setsockopt, fd, SOL_SOCKET, ATTACH, struct.pack("=H6xQ", len(program), memory))

    def detach(fd):
        return e(sys.setsockopt, fd, SOL_SOCKET, DETACH, 0)

    def wait(fd, events=POLLIN, ms=3000):
        return bool(sys.poll([(fd, events)], ms))

    def pair(host="127.0.0.1", family=AF_INET, prepare=lambda server: None):
        server = sys.socket(family, SOCK_STREAM)
        prepare(server)
        sys.bind(server, (host, 0))
        sys.listen(server, 1)
        client = sys.socket(family, SOCK_STREAM)
        sys.connect(client, sys.getsockname(server))
        return server, client, sys.accept4(server)[0]

    def keep(n):
        return (0x06, 0, 0, n)

    for host, family in (("127.0.0.1", AF_INET), ("::1", AF_INET6)):
        server, client, a = pair(host, family)
        print(host, detach(a), attach(a, keep(0)), attach(a, keep(32 + 4)))
        sys.write(client, b"0123456789")
        print("by fours", wait(a), sys.read(a, 100))
        got = b""
        while len(got) < 6 and wait(a):
            got += sys.read(a, 100)
        print("the rest", got)
        for name, size in (("header only", 1), ("nothing", 0)):
            print(name, attach(a, keep(size)), sys.write(client, b"late"), wait(a, ms=50))
            print(detach(a), wait(a), sys.read(a, 9))
        for name, program in {
            "ports": [(0x20, 0, 0, 0), (0x15, 0, 1, 0), keep(32 + 3), keep(0)],
            "length": [(0x80, 0, 0, 0), (0x15, 0, 1, 32 + 6), keep(32 + 3), keep(0)],
            "flags": [(0x30, 0, 0, 13), (0x15, 0, 1, 0x18), keep(32 + 3), keep(0)],
            "text": [(0x30, 0, 0, 32), (0x15, 0, 1, 0x61), keep(32 + 3), keep(0)],
            "protocol": [(0x30, 0, 0, NET + (9 if family == AF_INET else 6)), (0x15, 0, 1, 6), keep(32 + 3), keep(0)],
            "beyond": [(0x20, 0, 0, 32 + 3), keep(99)],
            "less three": [(0x80, 0, 0, 0), (0x14, 0, 0, 3), (0x16, 0, 0, 0)],
        }.items():
            server2, client, a = pair(host, family)
            if name == "ports":
                program[1] = (0x15, 0, 1, sys.getsockname(client)[1] << 16 | sys.getsockname(server2)[1])
            print(name, attach(a, *program), sys.write(client, b"abcdef"), wait(a, ms=60) and sys.read(a, 100))
            detach(a)
            for fd in (server2, client, a):
                sys.close(fd)

        def locked(one):
            attach(one, (0x20, 0, 0, 0), keep(0x7FFFFFFF))
            sys.setsockopt(one, SOL_SOCKET, LOCK, 1)

        server, client, a = pair(host, family, locked)
        print("inherited", e(sys.getsockopt, a, SOL_SOCKET, GET, 2).hex(), sys.getsockopt(a, SOL_SOCKET, LOCK), detach(a))

        server = sys.socket(family, SOCK_STREAM)
        sys.bind(server, (host, 0))
        sys.listen(server, 1)
        print("deaf", attach(server, keep(0)))
        client = sys.socket(family, SOCK_STREAM | SOCK_NONBLOCK)
        print(e(sys.connect, client, sys.getsockname(server)), wait(client, POLLOUT, 60), detach(server))
        print("heard at last", wait(client, POLLOUT), sys.getsockopt(client, SOL_SOCKET, SO_ERROR))
        a, _ = sys.accept4(server)
        print("a FIN is cut with its text no more than it is lost", attach(a, keep(32 + 2)))
        sys.write(client, b"xyz")
        sys.shutdown(client, SHUT_WR)
        got = b""
        while wait(a):
            more = sys.read(a, 10)
            got += more
            if not more:
                break
        print(got)
    return 0
