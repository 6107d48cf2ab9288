"""Tools for the stack's tests: a stack with one Ethernet link, and packets built by Scapy, an independent builder."""

from __future__ import annotations

import random
from typing import Any

from netstack import Frame, Settings, Stack

MS = 1_000_000
S = 1_000_000_000
OUR_MAC = "02:00:00:00:00:01"
PEER_MAC = "02:00:00:00:00:02"
OUR_IP = "10.0.0.1"
PEER_IP = "10.0.0.2"


def refit(frame: bytes | bytearray) -> bytes:
    """An Ethernet frame with the checksum of its 20-byte IP header made good again (in plain Python)."""
    data = bytearray(frame)
    data[24:26] = b"\0\0"
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(14, 34, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    data[24:26] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(data)


class Host:
    """A stack with eth0, 10.0.0.1/24; `peer` is 10.0.0.2 and exists only as packets."""

    def __init__(
        self, seed: int = 1, resolve: bool = True, mtu: int = 1500, gso: bool = False, **settings: object
    ) -> None:
        names = {name.replace("__", "."): value for name, value in settings.items()}
        self.stack = Stack(random.Random(seed), Settings(**names))
        self.stack.add_interface("eth0", OUR_MAC, mtu=mtu, gso=gso)
        self.stack.add_address("eth0", OUR_IP + "/24")
        if resolve:
            table = self.stack.interfaces["eth0"].neighbours
            assert table is not None
            table.add_permanent(bytes([10, 0, 0, 2]), bytes.fromhex(PEER_MAC.replace(":", "")), 0)

    def give(self, packet: Any, now: int = 0) -> None:
        """The packet (Scapy's or bytes) arrives on eth0."""
        self.stack.receive("eth0", Frame.of(bytes(packet)), now)

    def take(self, now: int = 0) -> list[bytes]:
        """What leaves through eth0."""
        return [bytes(frame) for name, frame in self.stack.transmit(now) if name == "eth0"]

    def counter(self, group: str, name: str) -> int:
        return self.stack.counters.as_dict()[group][name]

    def rejects(self) -> dict[str, int]:
        """The reasons counted so far that are not 0."""
        return {name: n for name, n in self.stack.counters.reject.as_dict().items() if n}


def pump(host: Host, until: int) -> list[tuple[int, bytes]]:
    """Let time pass, deadline by deadline; (when, frame) of everything sent."""
    sent = []
    while True:
        deadline = host.stack.next_deadline()
        if deadline is None or deadline > until:
            return sent
        host.stack.on_deadline(deadline)
        sent += [(deadline, frame) for frame in host.take(deadline)]


class Net:
    """Stacks joined by wires that take no time. A wire is a pair of (stack, interface name); `seen` keeps what went
    over them."""

    def __init__(self) -> None:
        self.stacks: list[Stack] = []
        self.wires: dict[tuple[int, str], tuple[Stack, str]] = {}
        self.seen: list[bytes] = []
        self.now = 0

    def stack(self, seed: int = 1, **settings: object) -> Stack:
        names = {name.replace("__", "."): value for name, value in settings.items()}
        self.stacks.append(Stack(random.Random(seed), Settings(**names)))
        return self.stacks[-1]

    def link(
        self, a: Stack, name_a: str, b: Stack, name_b: str, mtu: int = 1500, gso: bool = False, ethernet: bool = True
    ) -> None:
        """A wire between two new interfaces."""
        for stack, name in ((a, name_a), (b, name_b)):
            mac = None
            if ethernet:
                mac = f"02:00:00:00:{self.stacks.index(stack) + 1:02x}:{len(stack.interfaces):02x}"
            stack.add_interface(name, mac, mtu=mtu, gso=gso)
        self.wires[self.stacks.index(a), name_a] = (b, name_b)
        self.wires[self.stacks.index(b), name_b] = (a, name_a)

    def settle(self, turns: int = 200) -> None:
        """Carry frames until nothing moves."""
        for _ in range(turns):
            moved = False
            for number, stack in enumerate(self.stacks):
                for name, frame in list(stack.transmit(self.now)):
                    moved = True
                    self.seen.append(bytes(frame))
                    other, there = self.wires[number, name]
                    copy = Frame(bytes(frame), (), len(frame), frame.ethernet)
                    if frame.csum_start:
                        copy = Frame(
                            b"".join((frame.data, *frame.frags)), (), len(frame), frame.ethernet, frame.gso_size,
                            frame.csum_start, frame.csum_offset,
                        )  # fmt: skip
                    other.receive(there, copy, self.now)
            if not moved:
                return
        raise AssertionError("the network does not come to rest")

    def run(self, until: int) -> None:
        """Let time pass, deadline by deadline."""
        self.settle()
        while True:
            deadlines = [d for d in (s.next_deadline() for s in self.stacks) if d is not None and d <= until]
            if not deadlines:
                break
            self.now = max(self.now, min(deadlines))
            for stack in self.stacks:
                stack.on_deadline(self.now)
            self.settle()
        self.now = until


OUR_IP6 = "2001:db8::1"
PEER_IP6 = "2001:db8::2"


class Host6(Host):
    """The same host with 2001:db8::1/64; the peer is 2001:db8::2, and fe80::2."""

    def __init__(self, seed: int = 1, resolve: bool = True, mtu: int = 1500, **settings: object) -> None:
        super().__init__(seed, resolve, mtu, False, **settings)
        if not settings.get("net__ipv6__conf__all__disable_ipv6"):
            self.stack.add_address("eth0", OUR_IP6 + "/64")
        table = self.stack.interfaces["eth0"].neighbours6
        assert table is not None
        if resolve:
            for prefix in ("20010db80000", "fe8000000000"):
                address = bytes.fromhex(prefix) + bytes(9) + b"\x02"
                table.add_permanent(address, bytes.fromhex(PEER_MAC.replace(":", "")), 0)
