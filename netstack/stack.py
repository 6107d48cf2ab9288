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
from typing import TYPE_CHECKING, Any, Final, Protocol

from csrc import Frame, ffi, lib
from netstack import anycast
from netstack.address import (
    ALL_NODES,
    ALL_NODES_HERE,
    ALL_ROUTERS,
    ETH_BROADCAST,
    format_ip,
    is_loopback,
    is_multicast,
    link_local_of,
    multicast_mac,
    parse_cidr,
    parse_ip,
    parse_mac,
    solicited_node,
)
from netstack.arp import Arp
from netstack.counters import Counters
from netstack.ethernet import BROADCAST, HOST, LOOPBACK, MULTICAST
from netstack.forward import Forward
from netstack.icmp import Icmp
from netstack.icmp_limit import IcmpLimit
from netstack.icmpv6 import Icmp6
from netstack.interface import Address, Interface
from netstack.ipv4 import Ipv4
from netstack.ipv6 import Ipv6
from netstack.ndp import Ndp
from netstack.neighbour import NeighbourTable
from netstack.packet import Packet
from netstack.raw import Raw
from netstack.redirect import Redirects
from netstack.route import Path, Route, RouteTable, find_path
from netstack.settings import Settings, Value
from netstack.sockets import make_socket
from netstack.tcp import congested
from netstack.tcp.engine import Tcp
from netstack.timers import Timers
from netstack.udp import Udp

if TYPE_CHECKING:
    from netstack.socket import Socket

PARSE_ETHERNET = int(lib.TRL_PARSE_ETHERNET)
PARSE_TRUSTED = int(lib.TRL_PARSE_L4_TRUSTED)
PARSE_ETHERNET_TRUSTED = PARSE_ETHERNET | PARSE_TRUSTED
LOOPBACK_MTU = 65536
MIN_MTU6 = 1280

_from_buffer: Final = ffi.from_buffer
_parse: Final = lib.trl_parse
_parse_plain: Final = lib.trl_parse_plain

ROUTERS_MACS = (multicast_mac(ALL_ROUTERS), multicast_mac(anycast.GROUP))


class Rng(Protocol):
    """A seeded generator."""

    def random(self) -> float: ...


class Stack:
    """One host's network. Every address is text in this class's calls; see docs/reference/library.md."""

    def __init__(self, rng: Rng, settings: Settings | None = None) -> None:
        self.rng = rng
        self.settings = settings if settings is not None else Settings()
        self.counters = Counters()
        self.counters.ip.DefaultTTL = self.settings.ip_default_ttl
        self.settings.follow(self._follow)
        self.timers = Timers()
        self.routes = RouteTable()
        self.now = 0
        self.next_cookie = 0  # SO_COOKIE
        self.realtime_offset: Callable[[], int] = lambda: 0
        """CLOCK_REALTIME less `now`, in ns: what time stamps are given in."""
        self.interfaces: dict[str, Interface] = {}
        self._links: tuple[Interface, ...] = ()  # all but lo
        self.local: dict[bytes, Interface] = {}  # our own addresses
        self.broadcasts: dict[bytes, Interface] = {}  # directed broadcast addresses of our networks
        self.neighbour_queued = 0
        self.on_output: Callable[[], None] | None = None
        self.pkt = ffi.new("struct trl_pkt *")
        self.plain = ffi.new("struct trl_plain *")
        # Windows onto the parsed packet: a slice is a copy.
        self.src16 = ffi.buffer(self.pkt.src, 16)
        self.dst16 = ffi.buffer(self.pkt.dst, 16)
        self.kind = HOST  # of the packet being received: HOST, BROADCAST, MULTICAST, LOOPBACK
        self.arp = Arp(self)
        self.ndp = Ndp(self)
        self.watched = False  # by packet sockets
        self.packet = Packet(self)
        self.raw = Raw(self)
        self.ipv4 = Ipv4(self)
        self.ipv6 = Ipv6(self)
        self.icmp = Icmp(self)
        self.icmp6 = Icmp6(self)
        self.icmp_limit = IcmpLimit(self)
        self.forward = Forward(self)
        self.redirects = Redirects(self)
        self.udp = Udp(self)
        self.tcp = Tcp(
            route=self.route,
            timers=self.timers,
            settings=self.settings,
            counters=self.counters,
            rng=rng,
            send=self.send,
        )
        self.tcp.straight = self.tcp.send
        self._handlers = self._verdicts()
        self.loopback = Interface("lo", 1, None, LOOPBACK_MTU, True, self.settings.netdev_max_backlog, loopback=True)
        self.interfaces["lo"] = self.loopback
        self.add_address("lo", "127.0.0.1/8")
        if not self.settings.conf6_disable_ipv6:
            self.add_address("lo", "::1/128")

    # Configuration.

    def _follow(self, attribute: str, value: Value) -> None:
        """Paths hold the TTL and the hop limit that packets begin with."""
        if attribute == "ip_default_ttl":
            assert isinstance(value, int)
            self.counters.ip.DefaultTTL = value
            self.routes.changed()
        elif attribute == "conf6_hop_limit":
            self.routes.changed()

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
            interface.neighbours6 = NeighbourTable(self, interface, "neigh6_", self.ndp.solicitor(interface))
        self.interfaces[name] = interface
        self._links += (interface,)
        if hardware is not None and mtu >= MIN_MTU6 and not self.settings.conf6_disable_ipv6:
            # RFC 4291 section 2.8, RFC 4862 section 5.3.
            self.add_address(name, format_ip(link_local_of(hardware)) + "/64")
        return interface

    def set_queue(self, name: str, limit: int) -> None:
        """How many frames or super-segments wait at most for the interface's device (tc-pfifo(8)'s limit); with 0 it
        takes nothing, and whoever sends is told so."""
        interface = self.interfaces[name]
        interface.txqueuelen = limit
        congested.follow(self.tcp, interface)

    def add_address(self, name: str, cidr: str, dad: bool | None = None) -> None:
        """An address with its prefix ("10.0.0.2/24", "2001:db8::2/64"), and the route to its network. dad: whether an
        IPv6 address is first looked for on the link (RFC 4862); by default as accept_dad says."""
        interface = self.interface(name)
        address = Address(*parse_cidr(cidr))
        if is_multicast(address.address) or not any(address.address):
            raise OSError(errno.EADDRNOTAVAIL, f"{cidr} is not the address of one host")
        if any(other.address == address.address for other in interface.addresses):
            raise OSError(errno.EEXIST, f"{name} has {cidr} already")
        if address.version == 6 and interface.mtu < MIN_MTU6:
            raise OSError(errno.EINVAL, f"IPv6 needs an MTU of {MIN_MTU6}, {name} has {interface.mtu}")
        if is_loopback(address.address) and address.version == 6 and not interface.loopback:
            raise OSError(errno.EADDRNOTAVAIL, f"{cidr} belongs to lo")
        interface.addresses.append(address)
        if address.version == 4:
            if address.broadcast is not None:  # the network's own number is an address like any other
                self.broadcasts[address.broadcast] = interface
        else:
            if ALL_NODES not in interface.groups:
                interface.join(ALL_NODES)
                interface.join(ALL_NODES_HERE)
            interface.join(solicited_node(address.address))
        if address.prefix < len(address.address) * 8 and not interface.loopback:
            source = address.address if address.version == 4 else None
            route = Route(address.network, address.prefix, interface, src=source, owner=address.address)
            try:
                self.routes.add(route, same_link=address.version == 6)
            except OSError as exists:
                if exists.errno != errno.EEXIST:
                    raise
        if dad is None:
            dad = self.settings.conf6_accept_dad > 0
        if address.version == 6 and dad and interface.neighbours6 is not None and self.settings.conf6_dad_transmits:
            address.tentative = True
            self.ndp.detect(interface, address, self.now)
        else:
            self.address_ready(interface, address)

    def address_ready(self, interface: Interface, address: Address) -> None:
        """The address is this host's from now on."""
        self.local.setdefault(address.address, interface)
        self._changed()

    def remove_address(self, name: str, cidr: str) -> None:
        interface = self.interface(name)
        wanted, _ = parse_cidr(cidr)
        address = interface.find(wanted)
        if address is None:
            raise OSError(errno.EADDRNOTAVAIL, f"{name} does not have {cidr}")
        interface.addresses.remove(address)
        if address.timer is not None:
            address.timer.disarm()
        if address.version == 6:
            interface.leave(solicited_node(wanted))
        for route in self.routes.all():
            if route.interface is interface and wanted in (route.owner, route.src):
                self.routes.remove(route.network, route.prefix, route.metric, interface)
        self.local = {}
        self.broadcasts = {}
        for i in self.interfaces.values():
            for a in i.addresses:
                if a.usable:
                    self.local.setdefault(a.address, i)
                if a.broadcast is not None:
                    self.broadcasts[a.broadcast] = i
        self._changed()

    def add_route(
        self,
        cidr: str,
        via: str | None = None,
        dev: str | None = None,
        src: str | None = None,
        metric: int = 0,
        **metrics: Any,
    ) -> Route:
        """As `ip route add`: metrics are mtu, initcwnd, initrwnd, rto_min (ms), advmss, ... ENETUNREACH for a gateway
        that is not on a link of ours."""
        gateway = parse_ip(via) if via is not None else None
        everywhere = "::/0" if gateway is not None and len(gateway) == 16 else "0.0.0.0/0"
        network, prefix = parse_cidr(everywhere if cidr == "default" else cidr)
        if dev is not None:
            interface = self.interface(dev)
        elif gateway is not None:
            towards = self.routes.lookup(gateway, self.interface(dev) if dev is not None else None)
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

    def interface_at(self, index: int) -> Interface:
        """The interface of that number (from 1, in the order of creation)."""
        for found in self.interfaces.values():
            if found.index == index:
                return found
        raise OSError(errno.ENODEV, f"no interface has the number {index}")

    def interface_address(self, index: int, dst: bytes) -> bytes:
        """The address of ours to which an IPv4 packet came that arrived there for dst: dst itself, or of a broadcast
        the interface's (ip(7), ipi_spec_dst)."""
        if self.is_local(dst):
            return dst
        return self.interface_at(index).address_of(4) or bytes(4)

    def _changed(self) -> None:
        self.routes.changed()
        self.udp.forget_paths()
        for interface in self.interfaces.values():
            interface.forget()

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

    def route(self, dst: bytes, src: bytes | None = None, interface: Interface | None = None) -> Path:
        """The path to an address (through that interface). OSError ENETUNREACH (no route), EHOSTUNREACH, EINVAL."""
        return find_path(self, dst, src, interface)

    def below(self, n: int) -> int:
        """A random integer from 0 to n-1."""
        return int(self.rng.random() * n)

    # Sockets.

    def socket(self, family: int, type: int, proto: int = 0) -> Socket:
        """A socket, by Linux's numbers. EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT as Linux."""
        return make_socket(self, family, type, proto)

    # Frames in.

    def receive(self, name: str, arrived: Any, now: int) -> None:
        """One frame (a Frame, or bytes) arrived on that interface."""
        self.now = now
        interface = self.interfaces[name]
        frame: Frame
        if isinstance(arrived, Frame):
            frame = arrived
            if frame.frags:
                frame.data = b"".join((frame.data, *frame.frags))
                frame.frags = ()
        else:
            frame = Frame(arrived, (), len(arrived), interface.ethernet)
        if self.watched:
            self.packet.incoming(frame, interface)
        data = frame.data
        if frame.ethernet and interface.ethernet:
            # The short way. What is not plain, or the first of its kind, goes the long one.
            buffer = data if isinstance(data, bytes) else _from_buffer(data)
            flags = PARSE_ETHERNET_TRUSTED if frame.csum_ok or frame.csum_start else PARSE_ETHERNET
            if _parse_plain(buffer, len(data), flags, interface.mac, self.plain):
                self.kind = HOST
                if self.ipv4.plain_input(frame, interface, now):
                    return
        if interface.ethernet:
            if not frame.ethernet:
                self.counters.reject.FrameType += 1
                return
            flags = PARSE_ETHERNET
            self.kind = HOST
            if data[0:6] != interface.mac and len(data) >= 14:
                if data[0] & 1:
                    self.kind = BROADCAST if data[0:6] == ETH_BROADCAST else MULTICAST
                unknown = not data[0] & 1 or (data[0:2] == b"33" and bytes(data[0:6]) not in interface.mac_groups)
                if unknown and not (self.settings.conf6_forwarding and bytes(data[0:6]) in ROUTERS_MACS):
                    self.counters.reject.EthOtherHost += 1
                    return
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

    def count_transport_error(self, verdict: int, udp: Any) -> None:
        """The counters of a TCP or UDP header that is truncated, or a checksum that does not match."""
        counters = self.counters
        if verdict in (lib.TRL_UDP_SHORT, lib.TRL_UDP_CHECKSUM):
            udp.InErrors += 1
            if verdict == lib.TRL_UDP_CHECKSUM:
                udp.InCsumErrors += 1
                counters.reject.UdpChecksum += 1
            else:
                counters.reject.UdpShort += 1
            return
        if self.kind != HOST:
            counters.reject.TransportNotHost += 1
            return
        counters.tcp.InSegs += 1
        counters.tcp.InErrs += 1
        if verdict == lib.TRL_TCP_CHECKSUM:
            counters.tcp.InCsumErrors += 1
            counters.reject.TcpChecksum += 1
        elif verdict == lib.TRL_TCP_OFFSET:
            counters.reject.TcpOffset += 1
        else:
            counters.reject.TcpShort += 1

    def _bad_frame(self, frame: Frame, interface: Interface, now: int) -> None:
        self.counters.reject.EthShort += 1

    def _other_ethertype(self, frame: Frame, interface: Interface, now: int) -> None:
        if self.pkt.ethertype == 0x0806:
            self.arp.input(frame, interface, now)
        else:
            self.counters.reject.EthTypeUnknown += 1

    # Frames out.

    @staticmethod
    def send(path: Path, frame: Frame, now: int) -> None:
        """What TCP is given to send with."""
        path.output(frame, now)

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
        if self.watched:
            self.packet.outgoing(frame, interface)
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
            if interface.gso:
                queue, name = interface.queue, interface.name
                while queue:
                    yield name, queue.pop(0)
            elif interface.queue:
                yield from self._plain_frames(interface)

    @staticmethod
    def _plain_frames(interface: Interface) -> Iterator[tuple[str, Frame]]:
        """What waits for an interface that takes neither super-segments nor open checksums."""
        queue, name = interface.queue, interface.name
        while queue:
            frame = queue.pop(0)
            if not (frame.gso_size or frame.csum_start):
                yield name, frame
                continue
            ethernet = frame.ethernet
            comment = frame.comment
            for image in frame.segments():
                single = Frame(image, (), len(image), ethernet)
                single.comment = comment
                comment = None
                yield name, single

    def batches(self, now: int) -> list[tuple[str, list[Frame]]]:
        """`transmit` for those who want everything for an interface at once, in the same order."""
        self.now = now
        if self.loopback.queue:
            self._drain_loopback(now)
        found = []
        for interface in self._links:
            queue = interface.queue
            if queue:
                if interface.gso:
                    frames = queue
                    interface.queue = []
                else:
                    frames = [frame for _, frame in self._plain_frames(interface)]
                found.append((interface.name, frames))
        return found

    def _drain_loopback(self, now: int) -> None:
        """Deliver what waits on lo, at most one backlog's worth: the rest shows in next_deadline."""
        queue = self.loopback.queue
        budget = self.loopback.txqueuelen
        while queue and budget:
            budget -= 1
            frame = queue.pop(0)
            frame.csum_ok = True
            if frame.gso_size:
                frame.gso_segs = max(1, -(-(frame.length - 40) // frame.gso_size))
            self.receive("lo", frame, now)

    @property
    def pending(self) -> bool:
        """Whether `transmit` has something to do."""
        return any(interface.queue for interface in self.interfaces.values())

    def link_failure(self, frame: Frame, now: int) -> None:
        """No neighbour answered for this frame: its socket hears EHOSTUNREACH (Linux's ipv4_link_failure)."""
        l3 = 14 if frame.ethernet else 0
        if len(frame.data) > l3 and frame.data[l3] >> 4 == 6:
            self.icmp6.link_failure(frame, l3, now)
        else:
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
