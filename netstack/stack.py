"""The stack: protocols bound together, without a clock or a device.

Frames go in with `receive`, come out with `transmit`; time comes in as `now` and goes out as `next_deadline`. After
each `receive`, `on_deadline` and user call the owner drains `transmit(now)` and looks at `next_deadline()`;
`on_output` is called when an outgoing queue stops being empty, for owners that want to be told. Frames to the host's
own addresses travel through the interface "lo", which is always there and is drained inside `transmit`. Callbacks
(`on_output`, a socket's `on_ready`) may make socket calls, but not call `receive`, `transmit` or `on_deadline`.

`receive` is the hot path: one `trl_parse` into a reused struct, then a table indexed by its verdict. Nothing that
arrives may raise. This file holds what comes before IP: is the frame for us, and is it well formed (IEEE 802.3, RFC
894).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from csrc import Frame, ffi, lib
from netstack.address import ETH_BROADCAST, broadcast_of, is_multicast, parse_cidr, parse_ip, parse_mac
from netstack.arp import Arp
from netstack.counters import Counters
from netstack.ethernet import BROADCAST, HOST, LOOPBACK, MULTICAST
from netstack.icmp import Icmp
from netstack.interface import Address, Interface
from netstack.ipv4 import Ipv4
from netstack.neighbour import NeighbourTable
from netstack.raw import Raw
from netstack.route import Path, Route, RouteTable, find_path
from netstack.settings import Settings
from netstack.sockets import make_socket
from netstack.tcp.engine import Tcp
from netstack.timers import Timers
from netstack.udp import Udp

if TYPE_CHECKING:
    from netstack.socket import Socket

PARSE_ETHERNET = int(lib.TRL_PARSE_ETHERNET)
PARSE_TRUSTED = int(lib.TRL_PARSE_L4_TRUSTED)
LOOPBACK_MTU = 65536

_from_buffer = ffi.from_buffer
_parse = lib.trl_parse


class Rng(Protocol):
    """A seeded generator."""

    def random(self) -> float: ...


class Stack:
    """One host's network. Every address is text in this class's calls; see DESIGN.md, "The library"."""

    def __init__(self, rng: Rng, settings: Settings | None = None) -> None:
        self.rng = rng
        self.settings = settings if settings is not None else Settings()
        self.counters = Counters()
        self.counters.ip.DefaultTTL = self.settings.ip_default_ttl
        self.timers = Timers()
        self.routes = RouteTable()
        self.now = 0
        self.interfaces: dict[str, Interface] = {}
        self._links: tuple[Interface, ...] = ()  # all but lo
        self.local: dict[bytes, Interface] = {}  # our own addresses
        self.broadcasts: dict[bytes, Interface] = {}  # directed broadcast addresses of our networks
        self.neighbour_queued = 0
        self.on_output: Callable[[], None] | None = None
        self.pkt = ffi.new("struct trl_pkt *")
        # Windows onto the parsed packet: a slice is a copy.
        self.key4 = ffi.buffer(self.pkt.key, 12)
        self.src16 = ffi.buffer(self.pkt.src, 16)
        self.dst16 = ffi.buffer(self.pkt.dst, 16)
        self.kind = HOST  # of the packet being received: HOST, BROADCAST, MULTICAST, LOOPBACK
        self.arp = Arp(self)
        self.raw = Raw(self)
        self.ipv4 = Ipv4(self)
        self.icmp = Icmp(self)
        self.udp = Udp(self)
        self.tcp = Tcp(
            route=self.route,
            timers=self.timers,
            settings=self.settings,
            counters=self.counters,
            rng=rng,
            send=self.send,
        )
        self._handlers = self._verdicts()
        self.loopback = Interface("lo", 1, None, LOOPBACK_MTU, True, self.settings.netdev_max_backlog, loopback=True)
        self.interfaces["lo"] = self.loopback
        self.add_address("lo", "127.0.0.1/8")

    # Configuration.

    def add_interface(self, name: str, mac: str | bytes | None = None, mtu: int = 1500, gso: bool = False) -> Interface:
        """A link. mac None: its frames are raw IP packets. gso: it takes super-segments with partial checksums."""
        if name in self.interfaces:
            raise OSError(errno.EEXIST, f"there is an interface {name!r} already")
        if not 68 <= mtu <= 65535:
            raise OSError(errno.EINVAL, f"an MTU is 68 (RFC 791) to 65535, not {mtu}")
        hardware = parse_mac(mac) if mac is not None else None
        if hardware is not None and (hardware[0] & 1 or not any(hardware)):
            raise OSError(errno.EADDRNOTAVAIL, f"{mac!r} is not the address of one station")
        interface = Interface(name, len(self.interfaces) + 1, hardware, mtu, gso, self.settings.txqueuelen)
        if hardware is not None:
            interface.neighbours = NeighbourTable(self, interface, "neigh_", self.arp.solicitor(interface))
        self.interfaces[name] = interface
        self._links += (interface,)
        return interface

    def add_address(self, name: str, cidr: str) -> None:
        """An address with its prefix ("10.0.0.2/24"), and the route to its network."""
        interface = self.interface(name)
        address = Address(*parse_cidr(cidr))
        if is_multicast(address.address) or not any(address.address):
            raise OSError(errno.EADDRNOTAVAIL, f"{cidr} is not the address of one host")
        if any(other.address == address.address for other in interface.addresses):
            raise OSError(errno.EEXIST, f"{name} has {cidr} already")
        interface.addresses.append(address)
        self.local.setdefault(address.address, interface)
        if address.version == 4 and address.prefix < 31 and not interface.loopback:
            self.broadcasts[broadcast_of(address.address, address.prefix)] = interface
            self.broadcasts[address.network] = interface
        bits = len(address.address) * 8
        if address.prefix < bits and not interface.loopback:
            try:
                self.routes.add(Route(address.network, address.prefix, interface, src=address.address))
            except OSError as exists:
                if exists.errno != errno.EEXIST:
                    raise
        self._changed()

    def remove_address(self, name: str, cidr: str) -> None:
        interface = self.interface(name)
        wanted, _ = parse_cidr(cidr)
        for address in interface.addresses:
            if address.address == wanted:
                break
        else:
            raise OSError(errno.EADDRNOTAVAIL, f"{name} does not have {cidr}")
        interface.addresses.remove(address)
        for route in self.routes.all():
            if route.interface is interface and route.src == wanted:
                self.routes.remove(route.network, route.prefix, route.metric, interface)
        self.local = {a.address: i for i in self.interfaces.values() for a in i.addresses}
        self.broadcasts = {}
        for i in self.interfaces.values():
            for a in i.addresses:
                if a.broadcast is not None and not i.loopback:
                    self.broadcasts[a.broadcast] = self.broadcasts[a.network] = i
        self._changed()

    def add_route(
        self,
        cidr: str,
        via: str | None = None,
        dev: str | None = None,
        src: str | None = None,
        metric: int = 0,
        **metrics: int,
    ) -> Route:
        """As `ip route add`: metrics are mtu, initcwnd, initrwnd, rto_min (ms), advmss, ... ENETUNREACH for a gateway
        that is not on a link of ours."""
        network, prefix = parse_cidr("0.0.0.0/0" if cidr == "default" else cidr)
        gateway = parse_ip(via) if via is not None else None
        if dev is not None:
            interface = self.interface(dev)
        elif gateway is not None:
            towards = self.routes.lookup(gateway)
            if towards is None or towards.gateway is not None:
                raise OSError(errno.ENETUNREACH, f"the gateway {via} is on no link of this host")
            interface = towards.interface
        else:
            raise OSError(errno.ENODEV, "a route needs a gateway (via) or an interface (dev)")
        mask = (1 << (len(network) * 8 - prefix)) - 1
        if int.from_bytes(network, "big") & mask:
            raise OSError(errno.EINVAL, f"{cidr} has host bits set")
        source = parse_ip(src) if src is not None else None
        if source is not None and source not in self.local:
            raise OSError(errno.EINVAL, f"{src} is not an address of this host")
        route = Route(network, prefix, interface, gateway, source, metric, metrics=metrics)
        self.routes.add(route)
        self._changed()
        return route

    def remove_route(self, cidr: str, metric: int | None = None) -> None:
        network, prefix = parse_cidr("0.0.0.0/0" if cidr == "default" else cidr)
        self.routes.remove(network, prefix, metric)
        self._changed()

    def set_mtu(self, name: str, mtu: int) -> None:
        if not 68 <= mtu <= 65536:
            raise OSError(errno.EINVAL, f"an MTU is 68 (RFC 791) to 65536, not {mtu}")
        self.interface(name).mtu = mtu
        self._changed()

    def interface(self, name: str) -> Interface:
        found = self.interfaces.get(name)
        if found is None:
            raise OSError(errno.ENODEV, f"no interface {name!r}: there are {', '.join(self.interfaces)}")
        return found

    def _changed(self) -> None:
        self.routes.changed()
        self.udp.forget_paths()
        for interface in self.interfaces.values():
            interface.accepted.clear()

    # What others ask about addresses.

    def is_local(self, address: bytes) -> bool:
        return address in self.local or (len(address) == 4 and address[0] == 127)

    def is_broadcast(self, address: bytes, interface: Interface | None = None) -> bool:
        if address == b"\xff\xff\xff\xff":
            return True
        where = self.broadcasts.get(address)
        return where is not None and (interface is None or where is interface)

    def is_bindable(self, address: bytes) -> bool:
        return self.is_local(address) or is_multicast(address) or self.is_broadcast(address)

    def route(self, dst: bytes, src: bytes | None = None) -> Path:
        """The path to an address. OSError ENETUNREACH (no route), EHOSTUNREACH, EINVAL."""
        return find_path(self, dst, src)

    def below(self, n: int) -> int:
        """A random integer from 0 to n-1."""
        return int(self.rng.random() * n)

    # Sockets.

    def socket(self, family: int, type: int, proto: int = 0) -> Socket:
        """A socket, by Linux's numbers. EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT as Linux."""
        return make_socket(self, family, type, proto)

    # Frames in.

    def receive(self, name: str, frame: Any, now: int) -> None:
        """One frame (a Frame, or bytes) arrived on that interface."""
        self.now = now
        interface = self.interfaces[name]
        if frame.__class__ is not Frame:
            frame = Frame(frame, (), len(frame), interface.ethernet)
        elif frame.frags:
            frame.data = b"".join((frame.data, *frame.frags))
            frame.frags = ()
        data = frame.data
        if interface.ethernet:
            if not frame.ethernet:
                self.counters.reject.FrameType += 1
                return
            flags = PARSE_ETHERNET
            self.kind = HOST
            if data[0:6] != interface.mac and len(data) >= 14:
                if not data[0] & 1:
                    self.counters.reject.EthOtherHost += 1
                    return
                self.kind = BROADCAST if data[0:6] == ETH_BROADCAST else MULTICAST
        else:
            if frame.ethernet:
                self.counters.reject.FrameType += 1
                return
            flags = 0
            self.kind = LOOPBACK if interface.loopback else HOST
        if frame.csum_ok or frame.csum_start:
            flags |= PARSE_TRUSTED
        self._handlers[_parse(_from_buffer(data), len(data), flags, self.pkt)](frame, interface, now)

    def _verdicts(self) -> list[Callable[[Frame, Interface, int], None]]:
        """The handler of each verdict of trl_parse."""
        ip = self.ipv4
        table: list[Callable[[Frame, Interface, int], None]] = [self._bad_frame] * lib.TRL_VERDICTS
        table[lib.TRL_OK] = ip.input
        table[lib.TRL_L3_OTHER] = self._other_ethertype
        table[lib.TRL_IP_SHORT] = ip.short
        table[lib.TRL_IP_VERSION] = ip.bad_version
        table[lib.TRL_IP_HEADER_LEN] = ip.bad_header_length
        table[lib.TRL_IP_CHECKSUM] = ip.bad_checksum
        table[lib.TRL_IP_OPTIONS] = ip.bad_options
        table[lib.TRL_IP_FRAGMENT] = ip.fragment
        table[lib.TRL_L4_OTHER] = ip.input
        for verdict in (
            lib.TRL_UDP_SHORT, lib.TRL_UDP_CHECKSUM, lib.TRL_TCP_SHORT, lib.TRL_TCP_OFFSET, lib.TRL_TCP_CHECKSUM,
        ):  # fmt: skip
            table[verdict] = ip.bad_transport
        return table

    def _bad_frame(self, frame: Frame, interface: Interface, now: int) -> None:
        self.counters.reject.EthShort += 1

    def _other_ethertype(self, frame: Frame, interface: Interface, now: int) -> None:
        if self.pkt.ethertype == 0x0806:
            self.arp.input(frame, interface, now)
        else:
            self.counters.reject.EthTypeUnknown += 1

    # Frames out.

    def send(self, path: Path, frame: Frame, now: int) -> bool:
        """What TCP is given to send with."""
        return path.output(frame, now)

    def enqueue(self, interface: Interface, frame: Frame) -> bool:
        """Into the interface's outgoing queue; False, and counted, when that is full."""
        queue = interface.queue
        if len(queue) >= interface.txqueuelen:
            interface.dropped += 1
            if interface.loopback:
                self.counters.reject.LoopbackQueue += 1
            else:
                self.counters.reject.TxQueue += 1
                self.counters.ip.OutDiscards += 1
            return False
        queue.append(frame)
        if len(queue) == 1 and self.on_output is not None:
            self.on_output()
        return True

    def transmit(self, now: int) -> Iterator[tuple[str, Frame]]:
        """Everything that waits to be sent, as (interface name, frame). Where the interface has no gso,
        super-segments come out split and checksums complete."""
        self.now = now
        if self.loopback.queue:
            self._drain_loopback(now)
        for interface in self._links:
            queue = interface.queue
            if not queue:
                continue
            name = interface.name
            gso = interface.gso
            while queue:
                frame = queue.popleft()
                if gso or not (frame.gso_size or frame.csum_start):
                    yield name, frame
                    continue
                ethernet = frame.ethernet
                comment = frame.comment
                for image in frame.segments():
                    single = Frame(image, (), len(image), ethernet)
                    single.comment = comment
                    comment = None
                    yield name, single

    def _drain_loopback(self, now: int) -> None:
        """Deliver what waits on lo, at most one backlog's worth: the rest shows in next_deadline."""
        queue = self.loopback.queue
        budget = self.loopback.txqueuelen
        while queue and budget:
            budget -= 1
            frame = queue.popleft()
            frame.csum_ok = True
            if frame.gso_size:
                frame.gso_segs = max(1, -(-(frame.length - 40) // frame.gso_size))
            self.receive("lo", frame, now)

    @property
    def pending(self) -> bool:
        """Whether `transmit` has something to do."""
        return any(interface.queue for interface in self.interfaces.values())

    def link_failure(self, frame: Frame, now: int) -> None:
        """No neighbour answered for this frame of ours: its socket hears EHOSTUNREACH (Linux's ipv4_link_failure)."""
        self.icmp.link_failure(frame, now)

    # Time.

    def next_deadline(self) -> int | None:
        """When `on_deadline` wants to be called, or None."""
        deadline = self.timers.next_deadline()
        if self.loopback.queue and (deadline is None or deadline > self.now):
            return self.now
        return deadline

    def on_deadline(self, now: int) -> None:
        self.now = now
        self.timers.run(now)
