"""Neighbours: which MAC answers for an IP address on a link. The state machine of RFC 4861 section 7.3.2 as Linux
runs it for ARP and NDP alike; how to ask (an ARP request, a neighbour solicitation) is given as a function.

    NONE ──output──► INCOMPLETE ──answer──► REACHABLE ──30 s──► STALE ──output──► DELAY ──5 s──► PROBE
                        │ 3 unanswered, 1 s apart       ▲────────── answer or upper-layer progress ◄──┘ │ 3 unanswered
                        ▼                                                                              ▼
                      FAILED ◄─────────────────────────────────────────────────────────────────────── FAILED

Bounds, each counted when it bites: packets waiting for one neighbour (`unres_qlen_bytes`, oldest dropped), for all
together (`terrella.neigh_queue_total_bytes`), entries (`gc_thresh3`; above `gc_thresh2` the idle ones go). Only our
own wish to send, or a request for our own address, makes an entry; see arp.py for what may change one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from netstack.address import ETH_ZERO, is_multicast, multicast_mac

if TYPE_CHECKING:
    from csrc import Frame
    from netstack.interface import Interface
    from netstack.stack import Stack
    from netstack.timers import Timer

NONE, INCOMPLETE, REACHABLE, STALE, DELAY, PROBE, FAILED, PERMANENT = range(8)
SENDABLE = (REACHABLE, PERMANENT, DELAY, PROBE)
SENDABLE_BITS = 1 << REACHABLE | 1 << PERMANENT | 1 << DELAY | 1 << PROBE
STATE_NAMES = ("NONE", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "PERMANENT")
MS = 1_000_000
SECOND = 1_000_000_000
FRAME_OVERHEAD = 768  # what Linux's truesize adds to a small packet: struct sk_buff and the shared info


class Neighbour:
    """One entry. `mac` is meaningful in the states from REACHABLE to PROBE and in PERMANENT."""

    __slots__ = (
        "address",
        "confirmed",
        "mac",
        "probes",
        "queue",
        "queued_bytes",
        "state",
        "table",
        "timer",
        "updated",
        "used",
    )

    def __init__(self, table: NeighbourTable, address: bytes, now: int) -> None:
        self.table = table
        self.address = address
        self.state = NONE
        self.mac = ETH_ZERO
        self.queue: deque[Frame] = deque()
        self.queued_bytes = 0
        self.probes = 0
        self.confirmed = now
        self.used = now
        self.updated = now
        self.timer: Timer = table.stack.timers.timer(self._on_timer)

    @property
    def usable(self) -> bool:
        return REACHABLE <= self.state <= PROBE or self.state == PERMANENT

    def output(self, frame: Frame, now: int) -> bool:
        """Send the frame to this neighbour, or keep it until the MAC is known. False: dropped at once."""
        state = self.state
        if state in (REACHABLE, DELAY, PROBE, PERMANENT):
            self.used = now
            data = frame.data
            if not isinstance(data, bytearray):
                return self._send(frame)
            data[0:6] = self.mac
            table = self.table
            stack, interface = table.stack, table.interface
            queue = interface.queue
            if queue or stack.watched or not interface.txqueuelen:
                return stack.enqueue(interface, frame)
            queue.append(frame)
            if stack.on_output is not None:
                stack.on_output()
            return True
        if state == STALE:
            self.used = now
            self.state = DELAY
            self.timer.arm(now + self.table.delay_first_probe_ns)
            return self._send(frame)
        return self._resolve(frame, now)

    def _send(self, frame: Frame) -> bool:
        data = frame.data
        if isinstance(data, bytearray):
            data[0:6] = self.mac
        else:
            frame.data = self.mac + bytes(data[6:])
        table = self.table
        return table.stack.enqueue(table.interface, frame)

    def _resolve(self, frame: Frame, now: int) -> bool:
        table = self.table
        self.used = now
        size = frame.length + FRAME_OVERHEAD
        while self.queue and self.queued_bytes + size > table.queue_bytes:
            self._forget(self.queue.popleft())
            table.stack.counters.reject.NeighbourQueue += 1
        if (
            table.stack.neighbour_queued + size > table.stack.settings.neigh_queue_total_bytes
            or size > table.queue_bytes
        ):
            table.stack.counters.reject.NeighbourQueue += 1
            return False
        self.queue.append(frame)
        self.queued_bytes += size
        table.stack.neighbour_queued += size
        if self.state != INCOMPLETE:
            self.state = INCOMPLETE
            self.probes = 0
            self._probe(now, ETH_ZERO)
        return True

    def ask(self, now: int) -> None:
        """Find out the MAC, though nothing waits for it (Linux's neigh_event_send)."""
        if self.state in (NONE, FAILED):
            self.state = INCOMPLETE
            self.probes = 0
            self._probe(now, ETH_ZERO)

    def _forget(self, frame: Frame) -> None:
        size = frame.length + FRAME_OVERHEAD
        self.queued_bytes -= size
        self.table.stack.neighbour_queued -= size

    def _probe(self, now: int, mac: bytes) -> None:
        self.probes += 1
        self.timer.arm(now + self.table.retrans_ns)
        source = self._source()
        self.table.solicit(self.address, mac, source, now)

    def _source(self) -> bytes | None:
        """arp_announce 0 and Linux's ndisc_solicit: the source address of the packet that waits, if there is one."""
        if not self.queue:
            return None
        data = self.queue[0].data
        return bytes(data[26:30]) if len(self.address) == 4 else bytes(data[22:38])

    def _on_timer(self, now: int) -> None:
        table = self.table
        state = self.state
        if state == REACHABLE:
            if now < self.confirmed + table.reachable_ns:
                self.timer.arm(self.confirmed + table.reachable_ns)
            elif now < self.used + table.delay_first_probe_ns:
                # In use, so do not wait for the next packet to doubt it (Linux's neigh_timer_handler).
                self.state = DELAY
                self.timer.arm(now + table.delay_first_probe_ns)
            else:
                self.state = STALE
        elif state == DELAY:
            if now <= self.confirmed + table.delay_first_probe_ns:
                self.state = REACHABLE
                self.timer.arm(self.confirmed + table.reachable_ns)
            else:
                self.state = PROBE
                self.probes = 0
                self._probe(now, self.mac)
        elif state == PROBE:
            if self.probes < table.ucast_solicit:
                self._probe(now, self.mac)
            else:
                self.fail(now)
        elif state == INCOMPLETE:
            if self.probes < table.mcast_solicit:
                self._probe(now, ETH_ZERO)
            else:
                self.fail(now)

    def fail(self, now: int) -> None:
        """No answer: every packet that waits is handed back to its socket as unreachable."""
        self.state = FAILED
        self.timer.disarm()
        self.table.stack.counters.arp.Failures += 1
        waiting = list(self.queue)
        self.queue.clear()
        for frame in waiting:
            self._forget(frame)
            self.table.stack.counters.reject.NeighbourFailed += 1
        for frame in waiting:
            self.table.stack.link_failure(frame, now)

    def confirm(self, now: int) -> None:
        """The upper layer made progress through this neighbour (RFC 4861 section 7.3.1)."""
        self.confirmed = now
        state = self.state
        if state in (STALE, DELAY, PROBE):
            self.state = REACHABLE
            self.timer.arm(now + self.table.reachable_ns)

    def doubt(self) -> None:
        """Somebody else claims the address, but not firmly enough to be believed (RFC 4861 section 7.2.5)."""
        self.state = STALE
        self.timer.disarm()

    def update(self, mac: bytes, state: int, override: bool, now: int) -> None:
        """What an answer, or a request that named us, says: the MAC, and REACHABLE or STALE (Linux's neigh_update)."""
        old = self.state
        if old == PERMANENT:
            return
        if state == REACHABLE:
            self.confirmed = now
        known = self.usable
        if known:
            if mac != self.mac and not override:
                return
            if mac == self.mac and state == STALE:
                return
        if state != old or mac != self.mac:
            self.updated = now
        if mac != self.mac and state != REACHABLE:
            self.confirmed = now - 2 * self.table.reachable_ns  # nothing is known about the new station
        self.mac = mac
        self.state = state
        self.probes = 0
        if state == REACHABLE:
            self.timer.arm(now + self.table.reachable_ns)
        else:
            self.timer.disarm()
        if self.queue:
            waiting = list(self.queue)
            self.queue.clear()
            for frame in waiting:
                self._forget(frame)
                self.output(frame, now)

    def __repr__(self) -> str:
        return f"<Neighbour {self.address.hex()} {STATE_NAMES[self.state]} {self.mac.hex(':')}>"


class NeighbourTable:
    """The neighbours of one interface and IP version. `solicit(address, mac, source, now)` asks: mac zero means
    everybody."""

    __slots__ = (
        "delay_first_probe_ns", "entries", "gc_interval_ns", "interface", "last_aged", "last_gc",
        "locktime_ns", "mcast_solicit", "prefix", "queue_bytes", "reachable_ns", "retrans_ns", "solicit",
        "stack", "ucast_solicit",
    )  # fmt: skip

    def __init__(
        self,
        stack: Stack,
        interface: Interface,
        prefix: str,
        solicit: Callable[[bytes, bytes, bytes | None, int], None],
    ) -> None:
        self.stack = stack
        self.interface = interface
        self.prefix = prefix
        self.solicit = solicit
        self.entries: dict[bytes, Neighbour] = {}
        self.last_gc = -(1 << 62)
        self.last_aged = -(1 << 62)
        settings = stack.settings

        def value(name: str) -> int:
            got: int = getattr(settings, prefix + name)
            return got

        # RFC 4861 section 6.3.2: between 0.5 and 1.5 times the base.
        base = value("base_reachable_time_ms")
        self.reachable_ns = int(base * MS * (0.5 + stack.rng.random()))
        self.delay_first_probe_ns = value("delay_first_probe_time") * SECOND
        self.retrans_ns = value("retrans_time_ms") * MS
        self.locktime_ns = value("locktime") * 10 * MS
        self.ucast_solicit = value("ucast_solicit")
        self.mcast_solicit = value("mcast_solicit")
        self.queue_bytes = value("unres_qlen_bytes")
        self.gc_interval_ns = value("gc_interval") * SECOND

    def lookup(self, address: bytes) -> Neighbour | None:
        return self.entries.get(address)

    def get(self, address: bytes, now: int) -> Neighbour | None:
        """The entry of that address, made if missing; None when the table is full of entries in use."""
        entry = self.entries.get(address)
        if entry is None:
            if now - self.last_aged > self.gc_interval_ns:
                self.age(now)
            if not self._room(now):
                self.stack.counters.reject.NeighbourFull += 1
                return None
            entry = Neighbour(self, address, now)
            if is_multicast(address):
                entry.mac = multicast_mac(address)
                entry.state = PERMANENT
            self.entries[address] = entry
        return entry

    def add_permanent(self, address: bytes, mac: bytes, now: int) -> Neighbour:
        """As `ip neigh add ... nud permanent`."""
        entry = self.entries.get(address) or Neighbour(self, address, now)
        self.entries[address] = entry
        entry.update(mac, REACHABLE, True, now)
        entry.state = PERMANENT
        entry.timer.disarm()
        return entry

    def _room(self, now: int) -> bool:
        """Linux's neigh_alloc: collect above gc_thresh3, or above gc_thresh2 when the last collection is 5 s ago."""
        settings = self.stack.settings
        count = len(self.entries)
        hard: int = getattr(settings, self.prefix + "gc_thresh3")
        soft: int = getattr(settings, self.prefix + "gc_thresh2")
        if count >= hard or (count >= soft and now - self.last_gc > 5 * SECOND):
            self._collect(count - soft + 1, now)
        return len(self.entries) < hard

    def _collect(self, most: int, now: int) -> None:
        """Free entries nobody waits for, the least recently used first."""
        self.last_gc = now
        idle = sorted(
            (entry.used, address)
            for address, entry in self.entries.items()
            if entry.state != PERMANENT and not entry.queue and entry.state not in (INCOMPLETE, DELAY, PROBE)
        )
        for _, address in idle[: max(most, 1)]:
            self.remove(address)
            self.stack.counters.arp.Evicted += 1

    def age(self, now: int) -> None:
        """Above gc_thresh1, drop entries unused for gc_stale_time, and the failed ones. Done when an entry is made, at
        most each gc_interval: an idle stack needs no timer."""
        self.last_aged = now
        settings = self.stack.settings
        if len(self.entries) < getattr(settings, self.prefix + "gc_thresh1"):
            return
        limit = getattr(settings, self.prefix + "gc_stale_time") * SECOND
        for address, entry in list(self.entries.items()):
            if entry.state in (STALE, FAILED, NONE) and not entry.queue and now - entry.used > limit:
                self.remove(address)
                self.stack.counters.arp.Evicted += 1

    def remove(self, address: bytes) -> None:
        entry = self.entries.pop(address, None)
        if entry is not None:
            entry.timer.disarm()
            entry.state = NONE
