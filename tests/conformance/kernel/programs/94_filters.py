"""SO_ATTACH_FILTER: which programs are taken, and what they leave of what comes, on UDP and raw sockets."""

import random
import struct

from userland.abi import *
from userland.lib import outcome as e

ATTACH, DETACH, LOCK = 26, 27, 44
NET, LL, AD = 0xFFF00000, 0xFFE00000, 0xFFFFF000
RET = (0x06, 0, 0, 0xFFFFFFFF)


def main(sys, argv):
    memory = sys.mmap(0, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)

    def attach(fd, program, count=None):
        code = b"".join(struct.pack("=HBBI", *one) for one in program)
        if code:
            sys.mem[memory : memory + len(code)] = code
        count = len(program) if count is None else count
        return e(sys.setsockopt, fd, SOL_SOCKET, ATTACH, struct.pack("=H6xQ", count, memory))

    udp = sys.socket(AF_INET, SOCK_DGRAM)
    print(
        "struct",
        [e(sys.setsockopt, udp, SOL_SOCKET, ATTACH, v) for v in (b"", b"\1", bytes(15), bytes(16), bytes(17), 1)],
    )
    print(
        e(sys.setsockopt, udp, SOL_SOCKET, ATTACH, struct.pack("=H6xQ", 1, 8)),
        attach(udp, [RET] * 4096),
        attach(udp, [RET], 4097),
    )
    print(
        "none",
        e(sys.setsockopt, udp, SOL_SOCKET, DETACH, 0),
        attach(udp, [RET]),
        e(sys.setsockopt, udp, SOL_SOCKET, DETACH, 0),
    )
    for code in range(0x100):
        print(
            hex(code),
            [
                attach(udp, [(0x02, 0, 0, 3), (code, 0, 0, k), RET])
                for k in (0, 1, 3, 15, 16, 31, 32, AD, AD + 2, AD + 60)
            ],
        )
    for code in (0x05, 0x15, 0x1D, 0x25, 0x35, 0x45):
        for jump in ((0, 0, 0), (1, 0, 1), (2, 0, 2), (0, 2, 0), (0, 1, 3), (1, 255, 0xFFFFFFFF), (255, 0, 4)):
            print(hex(code), jump, attach(udp, [(code, *jump), (0, 0, 0, 7), RET]))
    for name, program in {
        "no return": [(0, 0, 0, 1)],
        "word unread": [(0x60, 0, 0, 2), RET],
        "word written": [(0x02, 0, 0, 2), (0x60, 0, 0, 2), RET],
        "one way": [(0x15, 0, 1, 5), (0x02, 0, 0, 2), (0x60, 0, 0, 2), RET],
        "both": [(0x15, 0, 2, 5), (0x02, 0, 0, 2), (0x05, 0, 0, 1), (0x03, 0, 0, 2), (0x61, 0, 0, 2), RET],
        "long code": [(0x106, 0, 0, 1)],
        "return X": [(0x0E, 0, 0, 1)],
    }.items():
        print(name, attach(udp, program))
    print("lock", [e(sys.setsockopt, udp, SOL_SOCKET, LOCK, n) for n in (0, 1, 0)], attach(udp, [RET]))
    print(e(sys.setsockopt, udp, SOL_SOCKET, DETACH, 0))

    def udp_pair(family, host):
        a, b = sys.socket(family, SOCK_DGRAM), sys.socket(family, SOCK_DGRAM)
        for one, port in ((a, 40001), (b, 40002)):
            sys.bind(one, (host, port))
        return a, b

    def tried(send, fd, program, payload):
        attach(fd, program)
        send(payload)
        found = e(sys.recvfrom, fd, 200, MSG_DONTWAIT)
        return found if isinstance(found, str) else found[0].hex()

    def sized(text):
        """IP's header has an identification, which is another each time."""
        return len(text) // 2 if text != "EAGAIN" else text

    def loads(where):
        return [(0x20, 0, 0, where), (0x54, 0, 0, 0xFF), (0x16, 0, 0, 0)]

    rng = random.Random(7)
    alu = [n << 4 for n in range(11) if n != 8]
    programs = [[(0x06, 0, 0, n)] for n in (0, 1, 7, 8, 9, 12, 100, 0xFFFFFFFF)]
    programs += [loads(base + n) for base in (0, NET, LL) for n in (5, 6, 24, 9, 10, 20, 28, 29, 40, 70)]
    programs += [loads(AD + n) for n in (0, 4, 8, 16, 28, 40, 44, 48)] + [
        loads(0x80000000),
        [(0x80, 0, 0, 0), (0x16, 0, 0, 0)],
    ]
    programs += [[(0xB1, 0, 0, n), (0x87, 0, 0, 0), (0x16, 0, 0, 0)] for n in (0, 8, 9, 60)]
    programs += [
        [(0x01, 0, 0, x), (mode, 0, 0, 20), (0x54, 0, 0, 0x3F), (0x16, 0, 0, 0)]
        for x in (0, 4, 8, 100, 0xFFFFFFFC)
        for mode in (0x40, 0x48, 0x50)
    ]
    for op in alu:
        for source in (0, 8):
            a, x = rng.randrange(1 << 32), rng.choice((0, 1, 3, 33, 1 << 31, rng.randrange(1 << 32)))
            k = x % 32 if op in (0x60, 0x70) else x or 5
            programs.append(
                [(0, 0, 0, a), (1, 0, 0, x), (0x04 | op | source, 0, 0, k), (0x54, 0, 0, 0x1F), (0x16, 0, 0, 0)]
            )
    programs.append([(0, 0, 0, 5), (0x84, 0, 0, 0), (0x54, 0, 0, 0x1F), (0x16, 0, 0, 0)])
    for op in (0x15, 0x25, 0x35, 0x45):
        for source in (0, 8):
            for a, b in ((5, 5), (5, 6), (6, 5), (1 << 31, 1), (0, 0)):
                programs.append(
                    [(0, 0, 0, a), (1, 0, 0, b), (op | source, 0, 1, b), (0x06, 0, 0, 20), (0x06, 0, 0, 14)]
                )
    programs.append(
        [
            (0, 0, 0, 21),
            (0x02, 0, 0, 9),
            (0x61, 0, 0, 9),
            (0x03, 0, 0, 1),
            (0x60, 0, 0, 1),
            (0x07, 0, 0, 0),
            (0x87, 0, 0, 0),
            (0x16, 0, 0, 0),
        ]
    )
    text = bytes(range(65, 91))
    for family, host in ((AF_INET, "127.0.0.1"), (AF_INET6, "::1")):
        a, b = udp_pair(family, host)
        raw = sys.socket(family, SOCK_RAW, 254)
        out = sys.socket(family, SOCK_RAW, 254)
        for number, program in enumerate(programs):
            code = "".join(f"{c:x} " for c, *_ in program)
            found = [tried(lambda data: sys.sendto(a, data, 0, (host, 40002)), b, program, text)]
            found.append(sized(tried(lambda data: sys.sendto(out, data, 0, (host, 0)), raw, program, text)))
            print(family, number, code, found)
        for one in (a, b, raw, out):
            sys.close(one)
    return 0
