"""Routes: which interface, gateway and source address a destination takes (RFC 1122 section 3.3.1, longest match of
RFC 1812 section 5.2.4.3), and `Path`, the answer kept by a socket.

A table holds, for each prefix length in use, a dict of networks; a lookup tries the lengths from long to short, so it
costs a few dict probes however many routes there are. Among equals the lower metric wins, then the older route.

`generation` changes whenever an answer could: a `Path` whose generation is not the table's must be looked up again.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from csrc import ffi
from netstack.address import (
    ETH_ZERO,
    LOOPBACK6,
    format_ip,
    is_link_local,
    is_loopback,
    is_multicast,
    multicast_mac,
    network_of,
)
from netstack.neighbour import SENDABLE_BITS
from netstack.source import select_source6

if TYPE_CHECKING:
    from csrc import Frame
    from netstack.interface import Interface
    from netstack.neighbour import Neighbour
    from netstack.stack import Stack

SECOND = 1_000_000_000
ETHERTYPE_IPV4 = b"\x08\x00"
ETHERTYPE_IPV6 = b"\x86\xdd"
PMTU_EXCEPTIONS = 2048
MAX_MTU4 = 65535  # what the length field can say, whatever the link (lo) could take
MAX_MTU6 = 65535 + 40
MIN_MTU6 = 1280  # RFC 8200 section 5

UNICAST, LOCAL, BROADCAST, MULTICAST, BLACKHOLE, UNREACHABLE, PROHIBIT = range(7)
REFUSALS = {BLACKHOLE: errno.EINVAL, UNREACHABLE: errno.EHOSTUNREACH, PROHIBIT: errno.EACCES}


class Route:
    """One route. `metrics` are those of `ip route`: mtu, initcwnd, initrwnd, rto_min (ms), advmss, cwnd, ... `owner`:
    the address of ours that brought it, and takes it away."""

    __slots__ = ("gateway", "interface", "kind", "metric", "metrics", "network", "owner", "prefix", "src")

    def __init__(
        self,
        network: bytes,
        prefix: int,
        interface: Interface,
        gateway: bytes | None = None,
        src: bytes | None = None,
        metric: int = 0,
        kind: int = UNICAST,
        metrics: dict[str, Any] | None = None,
        owner: bytes | None = None,
    ) -> None:
        self.network = network
        self.prefix = prefix
        self.interface = interface
        self.gateway = gateway
        self.src = src
        self.metric = metric
        self.kind = kind
        self.metrics = metrics or {}
        self.owner = owner

    def __repr__(self) -> str:
        via = f" via {format_ip(self.gateway)}" if self.gateway else ""
        return f"<Route {format_ip(self.network)}/{self.prefix}{via} dev {self.interface.name}>"


class Redirect:
    """Another gateway for one destination than the route's (redirect.py). `expires` -1: while it is used."""

    __slots__ = ("expires", "gateway", "route")

    def __init__(self, route: Route, gateway: bytes, expires: int) -> None:
        self.route = route
        self.gateway = gateway
        self.expires = expires


class RouteTable:
    """The routes of both IP versions, and the exceptions learnt from ICMP: path MTUs and redirects."""

    __slots__ = ("_by_prefix", "_lengths", "generation", "pmtu", "redirects")

    def __init__(self) -> None:
        self._by_prefix: dict[tuple[int, int], dict[bytes, list[Route]]] = {}
        self._lengths: dict[int, list[int]] = {4: [], 16: []}
        self.generation = 1
        self.pmtu: dict[bytes, tuple[int, int, bool]] = {}  # destination -> (mtu, expires, locked)
        self.redirects: dict[bytes, Redirect] = {}  # by destination

    def changed(self) -> None:
        self.generation += 1

    def add(self, route: Route, same_link: bool = False) -> None:
        """Insert; OSError(EEXIST) when network, metric and kind are there already (same_link: on that interface; IPv6
        has a route to its link-local network on each)."""
        size = len(route.network)
        nets = self._by_prefix.setdefault((size, route.prefix), {})
        routes = nets.setdefault(route.network, [])
        for other in routes:
            if (
                other.metric == route.metric
                and other.kind == route.kind
                and (not same_link or other.interface is route.interface)
            ):
                raise OSError(errno.EEXIST, f"there is a route to {format_ip(route.network)}/{route.prefix} already")
        routes.append(route)
        routes.sort(key=lambda r: r.metric)  # stable: the older first among equals
        self._index(size)
        self.changed()

    def remove(
        self, network: bytes, prefix: int, metric: int | None = None, interface: Interface | None = None
    ) -> None:
        """Delete the first match; OSError(ESRCH) when there is none."""
        size = len(network)
        nets = self._by_prefix.get((size, prefix), {})
        routes = nets.get(network, [])
        for route in routes:
            if (metric is None or route.metric == metric) and (interface is None or route.interface is interface):
                routes.remove(route)
                if not routes:
                    del nets[network]
                if not nets:
                    del self._by_prefix[(size, prefix)]
                self._index(size)
                self.changed()
                return
        raise OSError(errno.ESRCH, f"no route to {format_ip(network)}/{prefix}")

    def remove_interface(self, interface: Interface) -> None:
        for route in self.all():
            if route.interface is interface:
                self.remove(route.network, route.prefix, route.metric, interface)

    def _index(self, size: int) -> None:
        self._lengths[size] = sorted((prefix for s, prefix in self._by_prefix if s == size), reverse=True)

    def lookup(self, dst: bytes, interface: Interface | None = None) -> Route | None:
        """The longest match (through that interface only, when given), or None."""
        size = len(dst)
        value = int.from_bytes(dst, "big")
        bits = size * 8
        by_prefix = self._by_prefix
        for prefix in self._lengths[size]:
            shift = bits - prefix
            routes = by_prefix[size, prefix].get((value >> shift << shift).to_bytes(size, "big"))
            if routes:
                if interface is None:
                    return routes[0]
                for route in routes:
                    if route.interface is interface:
                        return route
        return None

    def all(self) -> list[Route]:
        """Every route, shortest prefixes first, as /proc/net/route would list them."""
        return [
            route
            for key in sorted(self._by_prefix)
            for network in sorted(self._by_prefix[key])
            for route in self._by_prefix[key][network]
        ]

    # Path MTU (RFC 1191 section 6, RFC 8201): exceptions by destination that expire.

    def update_pmtu(self, dst: bytes, mtu: int, now: int, lifetime_ns: int, locked: bool = False) -> None:
        pmtu = self.pmtu
        if dst not in pmtu and len(pmtu) >= PMTU_EXCEPTIONS:
            del pmtu[next(iter(pmtu))]
        pmtu[dst] = (mtu, now + lifetime_ns, locked)
        self.changed()

    def redirect(self, dst: bytes, found: Redirect) -> None:
        redirects = self.redirects
        redirects.pop(dst, None)
        if len(redirects) >= PMTU_EXCEPTIONS:
            del redirects[next(iter(redirects))]
        redirects[dst] = found
        self.changed()

    def pmtu_of(self, dst: bytes, now: int) -> int | None:
        found = self.pmtu.get(dst)
        if found is None:
            return None
        if found[1] <= now:
            del self.pmtu[dst]
            self.changed()
            return None
        return found[0]


class Path:
    """How packets reach one remote address: what a socket keeps of a route. Slots are described in
    docs/architecture.md.

    `output(frame, now)` takes a frame that starts with `template` (completed by the caller): the Ethernet header, if
    any, then the IP header. It returns False when the frame was dropped at once. `locked`: no ICMP error changes the
    MTU, and what is sent may be fragmented unless a socket wants it otherwise (`mtu lock` of ip-route(8); less than
    route/min_pmtu).
    """

    __slots__ = (
        "dst", "generation", "interface", "l3", "link_mtu", "local", "locked", "metrics", "mtu", "neighbour",
        "next_hop", "pinned", "route", "src", "stack", "stamped", "template", "unicast", "version",
    )  # fmt: skip

    def __init__(
        self, stack: Stack, interface: Interface, src: bytes, dst: bytes, next_hop: bytes, route: Route | None, mtu: int
    ) -> None:
        self.stack = stack
        self.interface = interface
        self.src = src
        self.dst = dst
        self.next_hop = next_hop
        self.route = route
        self.metrics: dict[str, Any] = route.metrics if route is not None else {}
        self.version = 4 if len(dst) == 4 else 6
        self.local = interface.loopback
        self.locked = False
        self.unicast = not is_multicast(dst) and not (len(dst) == 4 and stack.is_broadcast(dst))
        most = MAX_MTU4 if self.version == 4 else MAX_MTU6
        self.link_mtu = min(interface.mtu, most)
        self.mtu = min(mtu, most)
        self.generation = stack.routes.generation
        self.neighbour: Neighbour | None = None
        ethernet = b""
        if interface.mac is not None:
            ethertype = ETHERTYPE_IPV4 if self.version == 4 else ETHERTYPE_IPV6
            ethernet = fixed_mac(stack, interface, next_hop) + interface.mac + ethertype
        self.l3 = len(ethernet)
        settings = stack.settings
        if self.version == 4:
            header = bytearray(20)
            header[0] = 0x45
            header[8] = settings.ip_default_ttl
            header[12:16] = src
            header[16:20] = dst
        else:
            header = bytearray(40)
            header[0] = 0x60
            header[7] = settings.conf6_hop_limit
            header[8:24] = src
            header[24:40] = dst
        self.template = bytearray(ethernet) + header
        self.pinned: Any = None  # the template as C is given it, once its length does not change any more (`pin`)
        self.stamped = b""  # the neighbour's MAC that stands in the template

    def pin(self) -> Any:
        """The template for C. From now on its length is fixed."""
        if self.pinned is None:
            self.pinned = ffi.from_buffer(self.template)
        return self.pinned

    @property
    def valid(self) -> bool:
        """False: look it up again with `stack.route(dst, src)`."""
        return self.generation == self.stack.routes.generation

    def output(self, frame: Frame, now: int) -> bool:
        """Send, or queue behind neighbour resolution. False: dropped (and counted)."""
        stack = self.stack
        interface = self.interface
        counters = stack.counters
        if self.version == 4:
            ip = counters.ip
            ip.OutRequests += 1
            ip.OutTransmits += 1
            counters.ipext.OutOctets += frame.length - self.l3
        else:
            ip6 = counters.ip6
            ip6.OutRequests += 1
            ip6.OutTransmits += 1
            ip6.OutOctets += frame.length - self.l3
        if interface.mac is None:
            return stack.enqueue(interface, frame)
        neighbour = self.neighbour
        return neighbour.output(frame, now) if neighbour is not None and neighbour.state else self.transmit(frame, now)

    def leave(self, frame: Frame, now: int) -> bool:
        """`output` for a frame that was just made from the template (`pin`): where the neighbour's MAC stands in that,
        nothing is left to do."""
        neighbour = self.neighbour
        if neighbour is None or neighbour.mac is not self.stamped or not SENDABLE_BITS >> neighbour.state & 1:
            done = self.output(frame, now)
            neighbour = self.neighbour
            if neighbour is not None and self.l3 and SENDABLE_BITS >> neighbour.state & 1:
                self.stamped = self.template[0:6] = neighbour.mac
            return done
        stack = self.stack
        counters = stack.counters
        if self.version == 4:
            ip = counters.ip
            ip.OutRequests += 1
            ip.OutTransmits += 1
            counters.ipext.OutOctets += frame.length - self.l3
        else:
            ip6 = counters.ip6
            ip6.OutRequests += 1
            ip6.OutTransmits += 1
            ip6.OutOctets += frame.length - self.l3
        neighbour.used = now
        interface = self.interface
        queue = interface.queue
        if queue or stack.watched or not interface.txqueuelen:
            return stack.enqueue(interface, frame)
        queue.append(frame)
        if stack.on_output is not None:
            stack.on_output()
        return True

    def transmit(self, frame: Frame, now: int) -> bool:
        """`output` without IP's counters: fragments, and packets that were counted before."""
        interface = self.interface
        if interface.mac is None:
            return self.stack.enqueue(interface, frame)
        neighbour = self.neighbour
        if neighbour is None or neighbour.state == 0:
            if self.template[0] & 1:  # group address: the template has the MAC
                return self.stack.enqueue(interface, frame)
            table = interface.neighbours if self.version == 4 else interface.neighbours6
            neighbour = table.get(self.next_hop, now) if table is not None else None
            if neighbour is None:
                return False
            self.neighbour = neighbour
        return neighbour.output(frame, now)

    def confirm(self, now: int) -> None:
        """The peer is reachable: an ACK made progress (RFC 4861 section 7.3.1)."""
        if self.neighbour is not None:
            self.neighbour.confirm(now)

    def update_pmtu(self, mtu: int, now: int) -> int:
        """A router, or a probe, says that the path takes no more than that (RFC 1191; route/min_pmtu bounds it). The
        MTU now in force; for IPv6 (RFC 8201) it is never less than 1280. When it changed, every path has to be looked
        up again."""
        settings = self.stack.settings
        lock = False
        if self.version == 4:
            if mtu < settings.route_min_pmtu and mtu <= self.mtu:
                mtu, lock = min(settings.route_min_pmtu, self.mtu), True
            expires: int = settings.route_mtu_expires
        else:
            mtu = max(mtu, MIN_MTU6)
            expires = settings.route6_mtu_expires
        if self.local or self.locked or (mtu >= self.mtu and not lock):
            return self.mtu
        self.stack.routes.update_pmtu(self.dst, mtu, now, expires * SECOND, lock)
        return mtu

    def __repr__(self) -> str:
        return f"<Path {format_ip(self.src)} -> {format_ip(self.dst)} dev {self.interface.name} mtu {self.mtu}>"


def fixed_mac(stack: Stack, interface: Interface, next_hop: bytes) -> bytes:
    """The MAC of a group or broadcast next hop; zero for one that has to be resolved."""
    if is_multicast(next_hop):
        return multicast_mac(next_hop)
    if len(next_hop) == 4 and stack.is_broadcast(next_hop, interface):
        return b"\xff" * 6
    return ETH_ZERO


def find_path(
    stack: Stack,
    dst: bytes,
    src: bytes | None,
    interface: Interface | None = None,
    now: int | None = None,
    transit: bool = False,
) -> Path:
    """Route lookup for output (transit: of other hosts' packets, which need no source of ours). OSError: ENETUNREACH
    without a route, EINVAL for a source that is not ours."""
    if src is not None and not any(src):
        src = None
    if src is not None and len(src) != len(dst):
        # A socket that is bound to an address of one version cannot reach the other (Linux, on mapped addresses).
        raise OSError(errno.ENETUNREACH, "source and destination are of different IP versions")
    if not any(dst):  # Linux: the unspecified address means this host
        dst = src or (b"\x7f\x00\x00\x01" if len(dst) == 4 else LOOPBACK6)
    if src is not None and not stack.is_local(src) and not stack.settings.ip_nonlocal_bind:
        raise OSError(errno.EINVAL, f"{format_ip(src)} is not an address of this host")
    if dst in stack.local or (len(dst) == 4 and dst[0] == 127):
        source = src or (dst if dst in stack.local else b"\x7f\x00\x00\x01")
        return Path(stack, stack.loopback, source, dst, dst, None, stack.loopback.mtu)
    if interface is None and len(dst) == 16 and src is not None and is_link_local(dst) and is_link_local(src):
        interface = stack.local.get(src)  # link-local addresses are good on one link: that of the source
    if dst == b"\xff\xff\xff\xff" or (is_multicast(dst) and stack.routes.lookup(dst) is None):
        return _group_path(stack, dst, src, interface)
    route = stack.routes.lookup(dst, interface)
    if route is None:
        raise unreachable(stack, dst)
    if route.kind in REFUSALS:
        raise OSError(REFUSALS[route.kind], f"the route to {format_ip(dst)} refuses it")
    gateway = route.gateway
    if stack.routes.redirects:
        nearer = stack.routes.redirects.get(dst)
        if nearer is not None and nearer.route is route:
            gateway = nearer.gateway
    next_hop = gateway if gateway is not None else dst
    if src is None:
        src = route.src or select_source(stack, route.interface, dst, next_hop)
        if src is None and transit:
            src = bytes(len(dst))
        if src is None:
            raise unreachable(stack, dst)
    elif is_loopback(src) and not (len(src) == 4 and stack.settings.conf_route_localnet):
        raise OSError(errno.EINVAL, f"{format_ip(src)} cannot leave through {route.interface.name}")
    mtu = route.metrics.get("mtu", 0) or route.interface.mtu
    learnt = stack.routes.pmtu_of(dst, stack.now if now is None else now)
    if learnt is not None and learnt < mtu:
        mtu = learnt
    path = Path(stack, route.interface, src, dst, next_hop, route, mtu)
    if route.metrics.get("mtu_lock") or (learnt is not None and stack.routes.pmtu[dst][2]):
        path.locked = len(dst) == 4
    return path


def _group_path(stack: Stack, dst: bytes, src: bytes | None, interface: Interface | None) -> Path:
    """Limited broadcast, and multicast without a route: the interface given, that of the source, or the default
    route's; for IPv6 the first link (Linux has a route to ff00::/8 on each)."""
    if interface is None and src is not None:
        interface = stack.local.get(src)
    if interface is None:
        default = stack.routes.lookup(dst)
        interface = default.interface if default is not None else None
    if interface is None and (len(dst) == 16 or dst == b"\xff\xff\xff\xff"):
        version = 4 if len(dst) == 4 else 6
        interface = next((i for i in stack.interfaces.values() if not i.loopback and i.address_of(version)), None)
    if interface is None:
        raise unreachable(stack, dst)
    source = src or select_source(stack, interface, dst, dst)
    if source is None:
        raise unreachable(stack, dst)
    return Path(stack, interface, source, dst, dst, None, interface.mtu)


def unreachable(stack: Stack, dst: bytes) -> OSError:
    counters: Any = stack.counters.ip if len(dst) == 4 else stack.counters.ip6
    counters.OutNoRoutes += 1
    return OSError(errno.ENETUNREACH, f"no route to {format_ip(dst)}")


def select_source(stack: Stack, interface: Interface, dst: bytes, next_hop: bytes) -> bytes | None:
    """The source of what goes to dst through the interface. IPv4: the address that shares the next hop's network, else
    the primary one (Linux's inet_select_addr). IPv6: RFC 6724."""
    if len(dst) == 16:
        return select_source6(stack, interface, dst)
    first = None
    for address in interface.addresses:
        if len(address.address) != len(next_hop):
            continue
        if network_of(next_hop, address.prefix) == address.network:
            return address.address
        if first is None:
            first = address.address
    return first
