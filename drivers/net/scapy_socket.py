"""Scapy inside a simulation: a `SuperSocket` at the end of an emulated wire, where waiting lets virtual time
pass.

    sock = ScapySocket(port, timeline, address="10.0.0.9/24")
    sock.sr1(IP(dst="10.0.0.2") / ICMP(), timeout=2)      # two virtual seconds, however long they take
    sock.sniff(lfilter=lambda p: TCP in p, count=3)

Scapy's loop (`sendrecv`) asks a host clock how much of its timeout is left. Nothing of Scapy or of `time` is
patched for that. The timeout handed to Scapy is a `float` that answers `clock + timeout` with a deadline on
the timeline, and the deadline answers `deadline - clock` with what is left of it there (`_Seconds`,
`_Deadline`). The socket's own `select` runs the timeline until a frame arrives or that deadline has passed.
So the methods of the socket (`sr`, `sr1`, `srp`, `srp1`, `sniff`) are exact and repeat. Scapy's functions
work too when they are given the socket (`sniff(opened_socket=sock, timeout=2)`, `srp(p, iface=sock.iface,
threaded=False, timeout=2)`); there the timeout is rounded up to a millisecond, and a simulation slower than
real time is cut short.

When nothing can happen any more the wait ends at once, as after a timeout. Everything runs in the caller's
thread: Scapy's sending thread is refused, with an error that says so.

Given an address the socket does what a host's kernel does for Scapy elsewhere: it answers ARP for it, finds
the MAC address of the next hop, and fills in the source fields that were left open. Scapy is imported when
the first socket is made.
"""

from __future__ import annotations

import functools
import ipaddress
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from csrc.frame import Frame
from drivers.clock import SECOND
from drivers.net.device import NetDevice
from drivers.net.hostif import stable_mac

BACKLOG = 65536  # frames that wait for Scapy; beyond that they are dropped and counted
MILLISECOND = 1_000_000
BROADCAST = b"\xff" * 6
ARP_TRIES = 3

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def ScapySocket(
    port: NetDevice,
    world: Any,
    address: str | tuple[str, ...] = (),
    gateway: str | None = None,
    layer: int = 2,
) -> Any:
    """A Scapy SuperSocket on `port`, a device of the simulation that nobody else reads.

    `world` is the timeline, or anything with a `timeline` (a Lab). `address` ("10.0.0.9/24", or several)
    makes the socket answer ARP; `gateway` is the next hop for what is not on the link. `layer` is what the
    free functions of Scapy get to see, Ethernet (2) or IP (3): the methods choose by the packet they are
    given.
    """
    addresses = (address,) if isinstance(address, str) else address
    timeline = getattr(world, "timeline", world)
    station = _Station(port, timeline, [ipaddress.ip_interface(a) for a in addresses], gateway)
    return _classes()(station, layer)


class _Station:
    """The end of the wire: a queue of (time, bytes), and the little of ARP (RFC 826) that Scapy leaves to a
    kernel.
    """

    __slots__ = (
        "addresses", "dropped", "ethernet", "gateway", "inter_ns", "mac", "neighbours", "over", "port", "queue",
        "thread", "timeline", "waiting",
    )  # fmt: skip

    def __init__(self, port: NetDevice, timeline: Any, addresses: list[Address], gateway: str | None) -> None:
        self.port = port
        self.timeline = timeline
        self.addresses = addresses
        self.gateway = ipaddress.ip_address(gateway) if gateway else None
        self.ethernet = port.mac is not None
        self.mac = port.mac or stable_mac(port.name)
        self.neighbours: dict[bytes, bytes] = {}
        self.queue: deque[tuple[int, bytes]] = deque()
        self.dropped = 0
        self.inter_ns = 0
        self.waiting = False
        self.over = False
        self.thread = threading.get_ident()
        port.on_receive = self.arrived
        descriptor = port.fileno()
        if descriptor is not None:
            timeline.watch(descriptor, lambda now: self.arrived())
        self.arrived()

    def arrived(self) -> None:
        """The port's interrupt line: take everything in, answer ARP, and end a wait."""
        now = self.timeline.now
        while frames := self.port.receive(64):
            for frame in frames:
                for image in frame.segments():
                    if self.ethernet and image[12:14] == b"\x08\x06":
                        self._arp(image[14:])
                    if len(self.queue) >= BACKLOG:
                        self.dropped += 1
                        continue
                    self.queue.append((frame.timestamp_ns or now, image))
        if self.waiting and self.queue:
            self.timeline.stop()

    def wait(self, ready: Callable[[], bool], deadline: int | None) -> bool:
        """Let time pass until `ready()`, which only a frame can bring about. False: the deadline passed, or
        nothing is left that could happen.
        """
        timeline = self.timeline
        self.waiting = True
        try:
            while not ready():
                if deadline is not None and timeline.now >= deadline:
                    return False
                timeline.run(deadline)
                if deadline is None and not ready() and timeline.peek() is None:
                    return False
            return True
        finally:
            self.waiting = False

    def send(self, image: bytes) -> int:
        if threading.get_ident() != self.thread:
            raise RuntimeError(
                "a simulation has one thread: call Scapy with threaded=False, or the socket's own sr1()"
            )
        timeline = self.timeline
        self.port.transmit([Frame.of(image, self.ethernet)], timeline.now)
        if self.inter_ns:
            timeline.run(timeline.now + self.inter_ns)
        return len(image)

    def close(self) -> None:
        self.port.on_receive = None
        descriptor = self.port.fileno()
        if descriptor is not None:
            self.timeline.unwatch(descriptor)

    def source(self, destination: str, version: int) -> str | None:
        """Our address of that IP version for a destination: the one on its link, else the first."""
        mine = [a for a in self.addresses if a.version == version]
        try:
            target = ipaddress.ip_address(destination)
        except ValueError:
            target = None
        for address in mine:
            if target in address.network:
                return str(address.ip)
        return str(mine[0].ip) if mine else None

    def resolve(self, destination: str) -> bytes:
        """The MAC address of the next hop; broadcast when nobody answers, as Scapy does."""
        target = ipaddress.ip_address(destination)
        if target.is_multicast:
            low = target.packed[-3:] if target.version == 4 else target.packed[-4:]
            return (
                (b"\x01\x00\x5e" + bytes([low[0] & 0x7F]) + low[1:])
                if target.version == 4
                else b"\x33\x33" + low
            )
        on_link = [a for a in self.addresses if a.version == target.version and target in a.network]
        if not on_link and self.gateway is not None and self.gateway.version == target.version:
            target = self.gateway
        if target.version == 6 or any(target == a.network.broadcast_address for a in on_link):
            return self.neighbours.get(target.packed, BROADCAST)
        if target == ipaddress.IPv4Address(0xFFFFFFFF):
            return BROADCAST
        wanted = target.packed
        source = self.source(str(target), 4)
        sender = ipaddress.ip_address(source).packed if source else bytes(4)
        ask = BROADCAST + self.mac + _ARP_ETHERNET_IPV4 + b"\0\x01" + self.mac + sender + bytes(6) + wanted
        for _ in range(ARP_TRIES):
            if wanted in self.neighbours:
                break
            self.send(ask)
            self.wait(lambda: wanted in self.neighbours, self.timeline.now + SECOND)
        return self.neighbours.get(wanted, BROADCAST)

    def _arp(self, message: bytes) -> None:
        if len(message) < 28 or message[:6] != _ARP_ETHERNET_IPV4[2:]:
            return
        operation, sender_mac, sender, target = message[6:8], message[8:14], message[14:18], message[24:28]
        if operation == b"\0\x02":
            self.neighbours[sender] = sender_mac
        elif operation == b"\0\x01" and any(a.ip.packed == target for a in self.addresses):
            self.neighbours[sender] = sender_mac
            answer = (
                sender_mac
                + self.mac
                + _ARP_ETHERNET_IPV4
                + b"\0\x02"
                + self.mac
                + target
                + sender_mac
                + sender
            )
            self.port.transmit([Frame.of(answer)], self.timeline.now)


_ARP_ETHERNET_IPV4 = b"\x08\x06\0\x01\x08\0\x06\x04"  # EtherType; hardware, protocol, their lengths


class _Deadline:
    """What `clock + timeout` is: a time of the timeline, from which Scapy subtracts its clock."""

    __slots__ = ("at", "timeline")

    def __init__(self, timeline: Any, at: int) -> None:
        self.timeline = timeline
        self.at = at

    def __sub__(self, clock: float) -> _Seconds:
        return _Seconds((self.at - self.timeline.now) / SECOND, self.timeline, self.at)


class _Seconds(float):
    """A number of virtual seconds. `at`, where known, is the exact end in nanoseconds."""

    timeline: Any
    at: int | None

    def __new__(cls, value: float, timeline: Any, at: int | None = None) -> _Seconds:
        made = super().__new__(cls, value)
        made.timeline = timeline
        made.at = at
        return made

    def __radd__(self, clock: float) -> _Deadline:  # type: ignore[misc, override]
        return _Deadline(self.timeline, self.timeline.now + round(float(self) * SECOND))


class _Select:
    """One run of Scapy's loop. Fetched from the socket once per run, so it remembers when that run must end."""

    __slots__ = ("deadline", "timeline")

    def __init__(self, timeline: Any) -> None:
        self.timeline = timeline
        self.deadline: int | None = None

    def __eq__(self, other: object) -> bool:  # Scapy compares the selects of the sockets it reads together
        return isinstance(other, _Select) and other.timeline is self.timeline

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, sockets: list[Any], remain: float | None = None) -> list[Any]:
        stations = [s.station for s in sockets]
        if isinstance(remain, _Seconds):
            self.deadline = remain.at
        elif remain is not None and self.deadline is None:
            self.deadline = self.timeline.now + -(-round(remain * SECOND) // MILLISECOND) * MILLISECOND
        for station in stations:
            if station.thread != threading.get_ident():
                raise RuntimeError("a simulation has one thread: sniff in the one that made the socket")
            station.waiting = True
            station.over = False
        try:
            if stations[0].wait(lambda: any(s.queue for s in stations), self.deadline):
                return [s for s in sockets if s.station.queue]
        finally:
            for station in stations:
                station.waiting = False
        for station in stations:
            station.over = True
        return sockets


@functools.cache
def _classes() -> Any:
    """The SuperSocket class, made when Scapy is first needed."""
    from scapy.arch import str2mac
    from scapy.interfaces import InterfaceProvider, NetworkInterface
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import ARP, Ether
    from scapy.packet import Packet, Raw
    from scapy.sendrecv import sndrcv, sniff
    from scapy.supersocket import SuperSocket

    by_ethertype = {b"\x08\x00": IP, b"\x86\xdd": IPv6, b"\x08\x06": ARP}

    class _Interface(NetworkInterface):
        """What Scapy's functions take as `iface`: its sockets are views of the one that made it."""

        def __init__(self, socket: Any) -> None:
            station = socket.station
            super().__init__(
                InterfaceProvider(),
                {
                    "name": station.port.name,
                    "network_name": station.port.name,
                    "description": station.port.name,
                    "index": 1,
                    "mac": str2mac(station.mac),
                    "ips": [str(a.ip) for a in station.addresses],
                },
            )
            self.socket = socket

        def l2socket(self) -> Any:
            return lambda **_: self.socket.view(2)

        def l2listen(self) -> Any:
            return lambda **_: self.socket.view(2)

        def l3socket(self, ipv6: bool = False) -> Any:
            return lambda **_: self.socket.view(3)

    class _ScapySocket(SuperSocket):
        desc = "the end of an emulated wire, in virtual time"
        nonblocking_socket = True  # no control pipe: this select ends by itself

        def __init__(self, station: _Station, layer: int, owner: bool = True) -> None:
            self.station = station
            self.layer = layer
            self.owner = owner
            self.closed = False
            self.ins: Any = self
            self.outs: Any = self  # Scapy asks whether they are there
            self.iface: Any = _Interface(self) if owner else None

        @property
        def select(self) -> _Select:
            return _Select(self.station.timeline)

        def view(self, layer: int) -> Any:
            """The same end of the wire seen at another layer; closing it closes nothing."""
            return _ScapySocket(self.station, layer, owner=False)

        def fileno(self) -> int:
            return -1

        def recv_raw(self, x: int = 65535) -> tuple[Any, bytes | None, float | None]:
            station = self.station
            if not station.queue:
                if station.over:
                    raise EOFError
                return None, None, None
            at, image = station.queue.popleft()
            if not station.ethernet:
                kind = {4: IP, 6: IPv6}.get(image[0] >> 4 if image else 0, Raw)
            elif self.layer == 2:
                kind = Ether
            else:
                kind, image = by_ethertype.get(image[12:14], Raw), image[14:]
            return kind, image[:x], at / SECOND

        def send(self, x: Any) -> int:
            packet = self.complete(x) if isinstance(x, Packet) else x
            if isinstance(x, Packet):
                x.sent_time = self.station.timeline.now / SECOND
            image = bytes(packet)
            station = self.station
            if not station.ethernet and isinstance(packet, Ether | ARP):
                raise ValueError(f"{station.port.name} carries bare IP: give its wire MAC addresses, or send IP")
            if station.ethernet and isinstance(packet, IP | IPv6):
                kind = b"\x08\x00" if isinstance(packet, IP) else b"\x86\xdd"
                image = station.resolve(packet.dst) + station.mac + kind + image
            return station.send(image)

        def complete(self, packet: Any) -> Any:
            """A copy with the source fields, and the Ethernet destination, filled in where they were left
            open.
            """
            station = self.station
            packet = packet.copy()
            layer = packet
            while layer:
                fields = layer.fields
                if isinstance(layer, IP | IPv6) and "src" not in fields:
                    source = station.source(str(layer.dst), layer.version)
                    if source is not None:
                        layer.src = source
                    break
                if isinstance(layer, ARP):
                    fields.setdefault("hwsrc", str2mac(station.mac))
                    source = station.source(str(layer.pdst), 4)
                    if "psrc" not in fields and source is not None:
                        layer.psrc = source
                    break
                layer = layer.payload
            if isinstance(packet, Ether):
                if "src" not in packet.fields:
                    packet.src = str2mac(station.mac)
                if "dst" not in packet.fields:
                    inner = packet.payload
                    to = station.resolve(inner.dst) if isinstance(inner, IP | IPv6) else BROADCAST
                    packet.dst = str2mac(to)
            return packet

        def sr(self, x: Any, **kw: Any) -> Any:
            """Send packets and collect the answers; `timeout` and `inter` are virtual seconds."""
            packets = [self.complete(p) for p in _expand(x)]
            layer = (
                3 if packets and isinstance(packets[0], IP | IPv6) and self.station.ethernet else self.layer
            )
            station = self.station
            station.inter_ns = round(kw.pop("inter", 0) * SECOND)
            kw["threaded"] = False
            kw.setdefault("verbose", 0)
            kw["timeout"] = self._virtual(kw.get("timeout"))
            try:
                return sndrcv(self.view(layer), packets, **kw)
            finally:
                station.inter_ns = 0

        def sr1(self, x: Any, **kw: Any) -> Any:
            answered, _ = self.sr(x, **kw)
            return answered[0][1] if answered else None

        srp = sr
        srp1 = sr1

        def sniff(self, **kw: Any) -> Any:
            """Scapy's sniff, on this socket: count, prn, lfilter, stop_filter, store; `timeout` is virtual
            seconds.
            """
            if kw.get("filter") is not None:
                raise ValueError(
                    "a BPF filter is for a kernel to run: give lfilter=, a function of the packet"
                )
            kw["timeout"] = self._virtual(kw.get("timeout"))
            return sniff(opened_socket=self, **kw)

        def close(self) -> None:
            if self.station.over:  # Scapy closes at the end of a stream; only this wait has ended
                self.station.over = False
            elif self.owner and not self.closed:
                self.closed = True
                self.station.close()

        def __del__(self) -> None:
            """Nothing to free: the port belongs to the simulation."""

        def _virtual(self, timeout: float | None) -> _Seconds | None:
            if timeout is None or timeout < 0:
                return None
            return _Seconds(timeout, self.station.timeline)

    def _expand(x: Any) -> Iterator[Any]:
        """A packet with sets of values stands for many, and so may each of a list."""
        if isinstance(x, Packet):
            yield from x
        else:
            for item in x:
                yield from _expand(item)

    return _ScapySocket
