"""The same frames to Linux in a namespace and to this stack: both answer the same, and hand up the same datagrams.

What differs from run to run is left out of what is compared: ICMP's checksum and the identification.
"""

from __future__ import annotations

import itertools
import json
import random
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from scapy.all import ARP, ICMP, IP, UDP, Ether, Raw
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6

from netstack import Frame, Settings, Stack
from netstack.ipv4_header import checksum

pytestmark = pytest.mark.interop

OURS, PEER = "02:00:00:00:00:01", "02:00:00:00:00:02"
A4, P4, A6, P6 = "10.7.0.1", "10.7.0.2", "2001:db8:7::1", "2001:db8:7::2"
PORT = 7000
NO_LIMITS = {
    "net.ipv4.icmp_ratelimit": 0, "net.ipv6.icmp.ratelimit": 0,
    "net.ipv4.icmp_msgs_per_sec": 100_000, "net.ipv4.icmp_msgs_burst": 100_000,
}  # fmt: skip

LINUX = """
import fcntl, json, os, select, socket, struct, subprocess, sys
ours, peer, a4, p4, a6, p6, port, *more = sys.argv[1:]
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH", b"t0", 0x1002))
for line in (
    "sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000",
    "sysctl -qw net.ipv4.icmp_msgs_burst=100000 net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.t0.accept_dad=0",
    "sysctl -qw net.ipv6.conf.t0.addr_gen_mode=1 net.ipv6.conf.t0.router_solicitations=0",
    f"ip link set t0 address {ours} up", f"ip addr add {a4}/24 dev t0", f"ip -6 addr add {a6}/64 dev t0 nodad",
    f"ip neigh add {p4} lladdr {peer} dev t0 nud permanent", f"ip neigh add {p6} lladdr {peer} dev t0 nud permanent",
    *more,
):
    subprocess.run(line.split(), check=True)
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)]
socks[0].bind((a4, int(port)))
socks[1].bind((a6, int(port)))
poll = select.poll()
for fd in (tap, *socks):
    poll.register(fd, select.POLLIN)
def gather(wait, into):
    while ready := poll.poll(wait):
        for fd, _ in ready:
            if fd == tap:
                into[0].append(os.read(tap, 70000).hex())
            else:
                into[1].append(next(s for s in socks if s.fileno() == fd).recv(70000).hex())
gather(500, ([], []))
print("ready", flush=True)
for line in sys.stdin:
    into = ([], [])
    for frame in json.loads(line):
        os.write(tap, bytes.fromhex(frame))
    gather(25, into)
    print(json.dumps(into), flush=True)
"""


def v4(body: Any, **fields: Any) -> bytes:
    return bytes(Ether(src=PEER, dst=fields.pop("mac", OURS)) / IP(**{"src": P4, "dst": A4, **fields}) / body)


def v6(body: Any, **fields: Any) -> bytes:
    return bytes(Ether(src=PEER, dst=fields.pop("mac", OURS)) / IPv6(**{"src": P6, "dst": A6, **fields}) / body)


def with_options(options: bytes, frame: bytes) -> bytes:
    """That packet with these options, the length and the sum made good."""
    header = bytearray(frame[14:34]) + options
    header[0] += len(options) // 4
    header[2:4] = (len(frame) - 14 + len(options)).to_bytes(2, "big")
    header[10:12] = b"\0\0"
    header[10:12] = checksum(header).to_bytes(2, "big")
    return frame[:14] + bytes(header) + frame[34:]


def option_cases() -> dict[str, list[bytes]]:
    """Record route and time stamps, right and wrong, in what is answered and in what is refused."""
    mine, other = socket.inet_aton(A4), socket.inet_aton(P4)
    lists = {
        f"record {size} at {pointer}": bytes((7, size, pointer)) + bytes(size - 3)
        for size in (3, 4, 6, 7, 11, 39) for pointer in (0, 3, 4, 5, 8, 9, 12, 40) if pointer <= size + 1
    }  # fmt: skip
    for what in (0, 1, 2, 3, 0xE0, 0xF0, 0xF1, 0xF3):
        for size in (4, 5, 8, 12, 20, 36):
            for pointer in (4, 5, 6, 9, 13, 37):
                if pointer <= size + 1:
                    body = (other + bytes(4) + mine + bytes(4)) * 4 if what & 0xF == 3 else bytes(40)
                    name = f"stamps {what:x} {size} at {pointer}"
                    lists[name] = bytes((68, size, pointer, what)) + body[: size - 4]
                    if what == 3:
                        ours = bytes((68, size, pointer, what)) + (mine + bytes(4)) * 4
                        lists[f"{name} of ours"] = ours[:size]
    record, stamps = bytes((7, 11, 4)) + bytes(8), bytes((68, 12, 5, 0)) + bytes(8)
    lists |= {
        "both": record + stamps, "the other way": stamps + record, "two records": record + record,
        "two stamps": stamps + stamps, "a fault behind": record + b"\x07\x01", "no room behind": record + b"\x44",
        "too long": record + b"\x44\x28\5\0", "text behind the end": record + b"\0abc",
        "no operation": b"\1\1" + record + b"\1", "unknown": b"\x99\4ab" + record,
        "security": b"\x82\x0b" + bytes(9) + record,
        "alert": b"\x94\4\0\0" + record, "short alert": b"\x94\3\0" + record, "strange alert": b"\x94\4\1\1" + record,
        "loose route": b"\x83\7\4" + other + record, "strict route": b"\x89\7\4" + other,
        "route at its end": record + b"\x83\7\x08" + other,
    }  # fmt: skip
    found: dict[str, list[bytes]] = {}
    for name, options in lists.items():
        options += bytes(-len(options) % 4)
        for to, frame in {
            "echo": v4(ICMP(id=1) / Raw(b"abcdefgh")), "closed": v4(datagram(20, 9)), "open": v4(datagram(20)),
            "protocol": v4(Raw(bytes(16)), proto=200), "times": v4(ICMP(type=13) / Raw(bytes(4))),
            "to all": v4(datagram(3), dst="10.7.0.255", mac="ff:ff:ff:ff:ff:ff"),
        }.items():  # fmt: skip
            if to in ("echo", "closed") or name in ("both", "the other way", "record 7 at 4", "two records"):
                found[f"{name}, {to}"] = [with_options(options, frame)]
    long = v4(ICMP(id=1) / Raw(bytes(1480 - 8 - 40)))
    found["long with options"] = [with_options(record + b"\1", long)]
    return found


def datagram(size: int, port: int = PORT) -> Any:
    return UDP(sport=5000, dport=port) / Raw(bytes(range(256)) * (size // 256) + bytes(size % 256))


def cut(data: bytes, *places: int) -> list[tuple[int, int, bytes]]:
    edges = (0, *places, len(data))
    return [(a, int(b < len(data)), data[a:b]) for a, b in itertools.pairwise(edges)]


def fragments4(ident: int, pieces: list[tuple[int, int, bytes]]) -> list[bytes]:
    return [v4(Raw(b), id=ident, proto=17, flags=more, frag=at // 8) for at, more, b in pieces]


def fragments6(ident: int, pieces: list[tuple[int, int, bytes]], following: int = 17) -> list[bytes]:
    return [v6(Raw(struct.pack(">BBHI", following, 0, at | more, ident) + b), nh=44) for at, more, b in pieces]


def cases() -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    up6 = bytes(IPv6(src=P6, dst=A6) / datagram(5))[40:]
    pad = b"\1\4\0\0\0\0"
    for port in (PORT, 9):
        found[f"port {port}"] = [v4(datagram(20, port)), v6(datagram(20, port))]
    for mac in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"):
        found[f"to all on the link {mac}"] = [
            v4(ICMP(id=1), mac=mac),
            v4(datagram(4, 9), mac=mac),
            v4(datagram(4), mac=mac),
        ]
    for kind in (0, 3, 5, 8, 10, 14, 15, 17, 18, 19, 42, 43):
        found[f"ICMP {kind}"] = [v4(ICMP(type=kind) / Raw(bytes(12)))]
    for proto in (2, 50, 51, 59, 89, 200, 255):
        found[f"protocol {proto}"] = [
            v4(Raw(bytes(16)), proto=proto),
            v6(Raw(bytes(16)), nh=proto),
            v6(Raw(b""), nh=proto),
        ]
    for size in (0, 7, 8, 12, 13, 14, 100):
        found[f"UDP length {size}"] = [v4(UDP(sport=5000, dport=PORT, len=size, chksum=0) / Raw(b"hello"))]
    found["tos"] = [
        v4(ICMP(), tos=0x47),
        v6(ICMPv6EchoRequest(), tc=0x47),
        v4(ICMP(), ttl=0),
        v6(ICMPv6EchoRequest(), hlim=0),
    ]
    found["no route"] = [v6(ICMPv6EchoRequest(), dst="2001:db8:9::1"), v4(ICMP(), dst="10.9.0.1")]
    for source in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", A4):
        found[f"from {source}"] = [v4(ICMP(), src=source), v4(datagram(4, 9), src=source)]
    for header in (0, 60):
        for options in (
            bytes(6), pad, b"\1\4\1\0\0\0", b"\1\7" + bytes(12), bytes(14), b"\1\0\1\2\0\0", b"\x1e\4\0\0\0\0",
            b"\x5e\4\0\0\0\0", b"\x9e\4\0\0\0\0", b"\xde\4\0\0\0\0", b"\x1e\5\0\0\0\0", b"\x9e\x09\0\0\0\0",
            b"\1\5\0\0\0\0", b"\1\1\0\x9e\1\0", b"\5\2\0\0\1\0", b"\5\3\0\0\0\0", b"\xc2\4\0\0\0\0",
            b"\xc2\4\0\1\0\0", b"\xc2\3\0\1\0\0", b"\x1e\0\1\0" * 7 + b"\1\0", b"\x1e\0" * 9 + bytes(4),
        ):  # fmt: skip
            body = bytes((17, (len(options) + 2) // 8 - 1)) + options + up6
            found[f"header {header} options {options.hex()}"] = [v6(Raw(body), nh=header)]
        for body in (
            b"",
            b"\x11\0\1\2",
            b"\x11\xc8" + bytes(6) + up6,
            b"\x3b\0" + pad,
            b"\xc8\0" + pad + up6,
            b"\0\0" + pad + up6,
        ):
            found[f"header {header} then {body[:8].hex()}"] = [v6(Raw(body), nh=header)]
    for kind in (0, 1, 2, 3, 4, 253):
        for left in (0, 1):
            found[f"routing {kind} left {left}"] = [v6(Raw(bytes((17, 0, kind, left)) + bytes(4) + up6), nh=43)]
    big4 = bytes(IP(src=P4, dst=A4) / datagram(512))[20:]
    big6 = bytes(IPv6(src=P6, dst=A6) / datagram(512))[40:]
    for ident, order in enumerate(((0, 1, 2), (2, 1, 0), (0, 0, 1, 2), (0, 1, 1, 2), (0, 2, 2, 1), (1, 2, 0))):
        for make, big in ((fragments4, big4), (fragments6, big6)):
            pieces = cut(big, 128, 256)
            found[f"{make.__name__} {order}"] = make(100 + ident, [pieces[i] for i in order])
            whole = pieces[:1] + [(120, 1, big[120:256])] + pieces[2:]
            found[f"{make.__name__} overlap {order}"] = make(200 + ident, [whole[i] for i in order])
            ends = [*pieces, (len(big) // 8 * 8, 0, b"12345678")]
            found[f"{make.__name__} two ends {order}"] = make(300 + ident, [ends[i + 1] for i in order] + ends[:1])
    for name, pieces in {
        "atomic": [(0, 0, up6)], "no multiple of 8": [(0, 1, big6[:13])], "too long": [(65528, 0, bytes(9))],
        "empty": [(0, 1, b"")], "little": [(0, 1, big6[:4])], "empty last": [(0, 1, big6[:512]), (512, 0, b"")],
    }.items():  # fmt: skip
        found[f"fragment {name}"] = fragments6(400 + len(name), pieces)
    found["fragment in a fragment"] = fragments6(500, [(0, 0, struct.pack(">BBHI", 17, 0, 0, 1) + up6)], 44)
    for name, (mac, target, option) in {
        "to the group": ("33:33:ff:00:00:01", "ff02::1:ff00:1", b""), "to the host": (OURS, A6, b""),
        "with a MAC": ("33:33:ff:00:00:01", "ff02::1:ff00:1", b"\1\1\2\0\0\0\0\2"),
        "with a long one": (OURS, A6, b"\1\2" + bytes(14)),
        "with none": (OURS, A6, b"\1\0" + bytes(6)), "with another option": (OURS, A6, b"\xfd\1" + bytes(6)),
    }.items():  # fmt: skip
        solicitation = IPv6(src=P6, dst=target, hlim=255) / ICMPv6ND_NS(tgt=A6) / Raw(option)
        found[f"solicitation {name}"] = [bytes(Ether(src=PEER, dst=mac) / solicitation)]
    found["ARP"] = [
        bytes(Ether(src=PEER, dst=mac) / ARP(op=1, hwsrc=PEER, psrc=source, pdst=A4))
        for mac in (OURS, "ff:ff:ff:ff:ff:ff") for source in (P4, "0.0.0.0", "240.0.0.9", "127.0.0.1", "224.0.0.1")
    ]  # fmt: skip
    found |= option_cases()
    found["fragment header cut"] = [v6(Raw(b"\x11\0\0"), nh=44)]
    return found


def hide_times(packet: bytearray, start: int) -> None:
    """In a header there: that a time is given counts, not which."""
    at, end = start + 20, start + (packet[start] & 0xF) * 4
    while at < end and packet[at] not in (0, 68):
        at += max(packet[at + 1], 1) if packet[at] != 1 else 1
    if at + 4 > end or packet[at] != 68:
        return
    step = 8 if packet[at + 3] & 0xF else 4
    for place in range(at + step + (packet[at + 2] - 5) % step, min(at + packet[at + 1], end), step):
        if any(packet[place : place + 4]):
            packet[place : place + 4] = b"time"


def seen(frame: bytes) -> str | None:
    """What is compared of an answer; None for what each says of itself (MLD)."""
    kind, packet = frame[12:14], bytearray(frame[14:])
    if kind == b"\x86\xdd" and packet[6] == 0 and packet[48] == 143:
        return None
    if kind == b"\x08\x00":
        packet[4:6] = packet[10:12] = b"\0\0"
        packet = packet[: int.from_bytes(packet[2:4], "big")]
        at = (packet[0] & 0xF) * 4
        if packet[9] == 1:
            packet[at + 2 : at + 4] = b"\0\0"
            if packet[at] == 14:
                packet[at + 12 : at + 20] = bytes(8)
        for start in (0, at + 8) if packet[9] == 1 and packet[at] in (3, 11, 12) else (0,):
            hide_times(packet, start)
    elif kind == b"\x86\xdd" and packet[6] == 58:
        packet[1] &= 0xF0  # the flow label
        packet[2:4] = packet[42:44] = b"\0\0"
    return frame[:6].hex() + " " + packet.hex()


def differences(
    space: Any,
    tmp_path: Path,
    cases: dict[str, list[bytes]],
    commands: Sequence[str] = (),
    prepare: Callable[[Stack], None] = lambda stack: None,
    seen: Callable[[bytes], str | None] = seen,
) -> tuple[dict[str, Any], int]:
    """What was answered differently, by case, and how many answers there were. `commands` for Linux, and what has the
    same effect on this stack."""
    script = tmp_path / "linux.py"
    script.write_text(LINUX)
    args = (OURS, PEER, A4, P4, A6, P6, str(PORT), *commands)
    linux = space.popen(sys.executable, str(script), *args, stdin=-1, stdout=-1, text=True)
    assert linux.stdin is not None and linux.stdout is not None
    stack = Stack(random.Random(1), Settings(**NO_LIMITS))
    stack.add_interface("t0", OURS, mtu=1500)
    interface = stack.interfaces["t0"]
    mac = bytes.fromhex(PEER.replace(":", ""))
    socks = []
    for family, address, length, peer in ((socket.AF_INET, A4, 24, P4), (socket.AF_INET6, A6, 64, P6)):
        stack.add_address("t0", f"{address}/{length}")
        table: Any = interface.neighbours if length == 24 else interface.neighbours6
        table.add_permanent(socket.inet_pton(family, peer), mac, 0)
        sock = stack.socket(family, socket.SOCK_DGRAM)
        sock.bind((address, PORT))
        socks.append(sock)
    prepare(stack)
    stack.transmit(0)
    now, answers = 0, 0
    different: dict[str, Any] = {}
    try:
        assert linux.stdout.readline() == "ready\n"
        for name, frames in cases.items():
            linux.stdin.write(json.dumps([frame.hex() for frame in frames]) + "\n")
            linux.stdin.flush()
            sent, came = json.loads(linux.stdout.readline())
            theirs = [s for s in map(seen, map(bytes.fromhex, sent)) if s], sorted(came)
            now += 10_000_000
            left = []
            for frame in frames:
                stack.receive("t0", Frame.of(frame), now)
                left += [bytes(f) for _, f in stack.transmit(now)]
            taken = []
            for sock in socks:
                while sock.readiness() & 1:
                    taken.append(sock.recvfrom(70000, now)[0].hex())
            ours = [s for s in map(seen, left) if s], sorted(taken)
            answers += len(ours[0]) + len(taken)
            if ours != theirs:
                different[name] = (ours, theirs)
    finally:
        linux.stdin.close()
        linux.wait()
    return different, answers


def test_the_same_answers(netns: Callable[[], Any], tmp_path: Path) -> None:
    different, answers = differences(netns(), tmp_path, cases())
    assert not different
    assert answers > 60, "where nothing is answered nothing is compared"
