"""DF on what a stream sends, by IP_MTU_DISCOVER of the listener, of the one who connects, and when it changes."""

import struct

from userland.abi import *

IP_MTU_DISCOVER = 10
NAMES = "DONT", "WANT", "DO", "PROBE", "INTERFACE", "OMIT"


def main(sys, argv):
    def seen(tap, ports):
        """(from the client, flags, text, DF) of each segment between the two that passed on lo, in order."""
        found = []
        while True:
            try:
                packet, _ = sys.recvfrom(tap, 70000, MSG_DONTWAIT)
            except BlockingIOError:
                return found
            if packet[9] != IPPROTO_TCP:
                continue
            at = (packet[0] & 15) * 4
            pair = int.from_bytes(packet[at : at + 2], "big"), int.from_bytes(packet[at + 2 : at + 4], "big")
            if set(pair) == set(ports):
                text = len(packet) - at - (packet[at + 12] >> 4) * 4
                found.append((int(pair[0] == ports[0]), hex(packet[at + 13]), text, packet[6] >> 6 & 1))

    for listening in range(6):
        for family, host in ((AF_INET, "127.0.0.1"), (AF_INET6, "::ffff:127.0.0.1")):
            tap = sys.socket(AF_PACKET, SOCK_DGRAM, 0x0008)  # ETH_P_IP
            server = sys.socket(family, SOCK_STREAM)
            sys.setsockopt(server, IPPROTO_IP, IP_MTU_DISCOVER, listening)
            sys.bind(server, (host, 0))
            sys.listen(server, 1)
            there = sys.getsockname(server)
            client = sys.socket(family, SOCK_STREAM)
            mine = (listening + 1) % 6
            sys.setsockopt(client, IPPROTO_IP, IP_MTU_DISCOVER, mine)
            sys.connect(client, there)
            ports = sys.getsockname(client)[1], there[1]
            a, _ = sys.accept4(server)
            print(NAMES[listening], NAMES[mine], sys.getsockopt(a, IPPROTO_IP, IP_MTU_DISCOVER), seen(tap, ports))
            for size in (10, 20000):
                sys.write(client, bytes(size))
                got = 0
                while got < size:
                    got += len(sys.read(a, size))
            sys.write(a, b"answer")
            print(sys.read(client, 10), {(way, df) for way, _, text, df in seen(tap, ports) if text})
            for mode in range(6):
                sys.setsockopt(a, IPPROTO_IP, IP_MTU_DISCOVER, mode)
                sys.write(a, b"x" * 300)
                sys.read(client, 300)
                print(NAMES[mode], [one for one in seen(tap, ports) if one[2]])
            sys.setsockopt(a, SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            sys.setsockopt(a, IPPROTO_IP, IP_MTU_DISCOVER, listening)
            sys.close(a)
            print("reset", seen(tap, ports)[-1])
            for fd in (client, server, tap):
                sys.close(fd)
    tap = sys.socket(AF_PACKET, SOCK_DGRAM, 0x0008)
    closed = sys.socket(AF_INET, SOCK_STREAM)
    sys.setsockopt(closed, IPPROTO_IP, IP_MTU_DISCOVER, 0)
    sys.bind(closed, ("127.0.0.1", 0))
    client = sys.socket(AF_INET, SOCK_STREAM)
    sys.setsockopt(client, IPPROTO_IP, IP_MTU_DISCOVER, 0)
    sys.bind(client, ("127.0.0.1", 0))
    try:
        sys.connect(client, sys.getsockname(closed))
    except ConnectionRefusedError:
        print("refused", seen(tap, (sys.getsockname(client)[1], sys.getsockname(closed)[1])))
    return 0
