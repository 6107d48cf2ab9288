"""What the guard of a device (`csrc/guard.c`) has to know of the stack, and what the stack has to hear of it.

When more small frames come than can be looked at one by one, the owner of a device puts a `Guard` between the two: the
device asks it about each frame as it reads. Known flows pass. SYNs for listeners are answered at once with SYN cookies
(RFC 4987 section 3.6), as the stack does with tcp_syncookies 2. Of everything else an allowance per kind and batch is
let through. `refresh` tells C what has changed in the stack, `settle` tells the stack's counters what C has done; both
are cheap when there is nothing to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csrc import ffi, lib
from netstack.tcp import options, screen, window
from netstack.tcp.engine import TS_BEGIN
from netstack.tcp.tcb import MS, SECOND

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.stack import Stack
    from netstack.tcp.listener import Listener

COOKIE_PERIOD_NS = 60 * SECOND
ALLOWANCE = 16
"""Frames per batch, of each kind, that belong to no known flow and are let through."""
LEAST_FLOWS = 1024
REJECTS = ("GuardNeighbour", "GuardTcp", "GuardUdp", "GuardIcmp", "GuardFragment", "GuardOther")


class Guard:
    """The guard of one interface. `pointer` is what the device is given."""

    __slots__ = (
        "_addresses", "_known", "_last", "_listeners", "_ports", "_said", "_seen", "interface", "pointer", "stack",
    )  # fmt: skip

    def __init__(self, stack: Stack, interface: Interface) -> None:
        self.stack = stack
        self.interface = interface
        g = self.pointer = ffi.new("struct trl_guard *")
        g.mac = interface.mac or bytes(6)
        g.secret = stack.tcp.secret
        self._seen = dict.fromkeys(
            ("cookies", "overflows", "unroutable", "resets", "segments", *REJECTS), 0
        )  # what the counters have been told
        self._known: Any = None
        self._last: bytes | None = None
        self._said: list[Any] = []
        self._listeners: list[tuple[Listener, int]] = []

    def refresh(self, now: int) -> None:
        """Before a batch: tell C the clocks, allowances, listeners and flows."""
        g = self.pointer
        settings = self.stack.settings
        g.period = now // COOKIE_PERIOD_NS & 0xFFFFFFFF
        g.clock_ms = (now // MS + (TS_BEGIN if settings.tcp_timestamps != 1 else 0)) & 0xFFFFFFFF
        g.allow = (ALLOWANCE,) * lib.TRL_GUARD_CLASSES
        g.offsets = settings.tcp_timestamps == 1
        listeners = [one for group in self.stack.tcp.listeners.values() for one in group]
        says = self._says(listeners)
        if says != self._said:
            self._said = says
            self._describe(listeners)
        for i, (listener, _) in enumerate(self._listeners):
            self._ports[i].full = listener.accept_full()
        self._learn()

    def _says(self, listeners: list[Listener]) -> list[Any]:
        """What `_describe` reads and may change while a socket listens: routes, addresses, settings, options."""
        settings = self.stack.settings
        says: list[Any] = [
            self.stack.routes.generation, self.interface.mtu, settings.tcp_syncookies, settings.tcp_timestamps,
            settings.tcp_window_scaling, settings.tcp_sack, settings.tcp_ecn, settings.route_min_adv_mss,
            settings.tcp_rmem[2], settings.rmem_max, settings.tcp_workaround_signed_windows,
            settings.ip_default_ttl, settings.conf6_hop_limit, settings.tcp_reflect_tos,
        ]  # fmt: skip
        for one in listeners:
            sock = one.sock
            by_version = [(sock.marks(v), screen.least_ttl(sock, v)) for v in (4, 6)]
            says += (
                one, by_version, sock.filter is None, sock.bound_device, sock.v6only, sock.user_mss,
                sock.rcvbuf, sock.rcvbuf_locked, sock.window_clamp,
            )  # fmt: skip
        return says

    def _learn(self) -> None:
        """Tell C of the flows that are new. Those that are gone do no harm until the table is full."""
        table, g = self.stack.tcp.table, self.pointer
        newest = next(reversed(table)) if table else None
        if newest == self._last:
            return
        for key in reversed(table):
            if key == self._last:
                break
            if lib.trl_guard_know(g, key, len(key)) < 0:
                capacity = LEAST_FLOWS
                while capacity < 4 * len(table):
                    capacity *= 2
                self._known = ffi.new("uint64_t[]", capacity)
                g.known, g.known_cap, g.known_n = self._known, capacity, 0
                for each in table:
                    lib.trl_guard_know(g, each, len(each))
                break
        self._last = newest

    def _describe(self, listeners: list[Listener]) -> None:
        """Tell C the addresses and listening sockets."""
        g, interface = self.pointer, self.interface
        addresses = [a for a in interface.addresses if a.usable]
        self._addresses = ffi.new("struct trl_guard_address[]", len(addresses))
        for entry, a in zip(self._addresses, addresses, strict=True):
            entry.version, entry.prefix, entry.address = a.version, a.prefix, a.address.ljust(16, b"\0")
        g.addresses, g.addresses_n = self._addresses, len(addresses)
        gateways = {len(r.network): r for r in self.stack.routes.all() if not r.prefix and r.interface is interface}
        g.gateway4, g.gateway6 = 4 in gateways, 16 in gateways
        self._listeners = [(one, version) for one in listeners for version in (4, 6)]
        self._ports = ffi.new("struct trl_guard_port[]", len(self._listeners))
        for entry, (listener, version) in zip(self._ports, self._listeners, strict=True):
            if self._serves(listener, version):
                self._port(entry, listener, version)
        g.ports, g.ports_n = self._ports, len(self._listeners)

    def _serves(self, listener: Listener, version: int) -> bool:
        sock = listener.sock
        address = sock.local[0]
        if sock.filter is not None or screen.least_ttl(sock, version):
            return False
        if sock.bound_device not in (None, self.interface) or not self.stack.settings.tcp_syncookies:
            return False
        if (len(address) == 4) == (version == 4):
            return True
        return version == 4 and not any(address) and not sock.v6only

    def _port(self, entry: Any, listener: Listener, version: int) -> None:
        """What a SYN-ACK of this listener says (`Request`, for a peer on the link)."""
        sock, settings = listener.sock, self.stack.settings
        address, port = sock.local[:2]
        entry.version, entry.port = version, port
        entry.any, entry.address = not any(address), address.ljust(16, b"\0")
        entry.timestamps = settings.tcp_timestamps != 0
        entry.scaling = settings.tcp_window_scaling != 0
        entry.sack, entry.ecn = settings.tcp_sack != 0, settings.tcp_ecn in (1, 2)
        entry.reflect_tos = settings.tcp_reflect_tos != 0
        tos, ttl = sock.marks(version)
        if ttl < 0:
            ttl = settings.ip_default_ttl if version == 4 else settings.conf6_hop_limit
        entry.tos, entry.ttl, entry.user_mss = tos & 0xFC, ttl, sock.user_mss
        mss = options.advertised_mss(version, self.interface.mtu, {}, sock.user_mss, settings.route_min_adv_mss)
        entry.mss = mss
        space = sock.rcvbuf * window.DEFAULT_RATIO >> 8
        clamp = window.locked_clamp(sock.window_clamp, space, sock.rcvbuf_locked)
        stamps = options.TIMESTAMP_BYTES
        for i, (taken, scaled) in enumerate(((0, False), (stamps, False), (stamps, True))):
            rcv_wnd, _, wscale = window.initial(
                space, mss - taken, clamp, scaled, 0, settings.tcp_rmem[2], settings.rmem_max,
                settings.tcp_workaround_signed_windows != 0,
            )  # fmt: skip
            entry.window[i], entry.wscale[i] = min(rcv_wnd, 65535), wscale

    def settle(self) -> int:
        """After a batch: count what was done. Returns how many frames never reached the stack."""
        g, counters, seen = self.pointer, self.stack.counters, self._seen
        cookies, overflows = g.cookies - seen["cookies"], g.overflows - seen["overflows"]
        unroutable, segments = g.unroutable - seen["unroutable"], g.segments - seen["segments"]
        done = segments
        if segments:
            seen["cookies"], seen["overflows"] = g.cookies, g.overflows
            seen["unroutable"], seen["segments"] = g.unroutable, g.segments
            ext = counters.tcpext
            ext.SyncookiesSent += cookies
            ext.TCPReqQFullDoCookies += cookies
            ext.ListenOverflows += overflows
            ext.ListenDrops += overflows + unroutable
            counters.tcp.InSegs += segments
            counters.tcp.OutSegs += cookies
            counters.ip.InDelivers += segments
            counters.ip.OutRequests += cookies
            counters.ip.InReceives += segments
        for kind, name in enumerate(REJECTS):
            dropped = g.dropped[kind] - seen[name]
            if dropped:
                seen[name] += dropped
                done += dropped
                setattr(counters.reject, name, getattr(counters.reject, name) + dropped)
                if kind:
                    counters.ip.InReceives += dropped
                    counters.ip.InDiscards += dropped
        return done
