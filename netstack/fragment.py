"""Reassembly of IPv4 fragments (RFC 791 section 3.2, RFC 815's idea of filling the gaps; overlaps as RFC 5722).

A datagram is known by source, destination, identification, protocol and interface. Its pieces are kept as contiguous
runs. A piece that lies within a run already there is a duplicate and ignored; one that overlaps in any other way
discards the whole datagram, as Linux does: no interpretation of overlapping data is safe.

Bounds: all pieces together take at most `ipfrag_high_thresh` bytes, counted with Linux's overhead per packet; a
datagram is at most 65535 bytes and lives `ipfrag_time` from its first piece. When it dies of age and its first piece
was seen, the sender is told (ICMP time exceeded, code 1; RFC 1122 section 3.3.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csrc import Frame, ffi, lib
from netstack.ethernet import HOST

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.stack import Stack
    from netstack.timers import Timer

SECOND = 1_000_000_000
OVERHEAD = 768  # struct sk_buff and the rest of truesize
QUEUE_OVERHEAD = 512
MAX_TOTAL = 65535

Key = tuple[bytes, int]


class Run:
    """Contiguous bytes [start, end)."""

    __slots__ = ("end", "pieces", "start")

    def __init__(self, start: int, end: int, pieces: list[bytes]) -> None:
        self.start = start
        self.end = end
        self.pieces = pieces


class Datagram:
    """One datagram being put together."""

    __slots__ = ("charged", "ecn", "first", "interface", "key", "kind", "last_seen", "length", "runs", "timer")

    def __init__(self, key: Key, interface: Interface, kind: int, timer: Timer) -> None:
        self.key = key
        self.interface = interface
        self.kind = kind
        self.timer = timer
        self.runs: list[Run] = []
        self.length = 0  # of the payload, as far as known
        self.last_seen = False
        self.first = b""  # the packet with offset 0: its header becomes the datagram's
        self.ecn = 0  # which ECN code points were seen, one bit each
        self.charged = QUEUE_OVERHEAD


class Reassembler:
    """All unfinished datagrams of a stack."""

    __slots__ = ("_datagrams", "memory", "stack")

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._datagrams: dict[Key, Datagram] = {}
        self.memory = 0

    def __len__(self) -> int:
        return len(self._datagrams)

    def add(self, packet: bytes, interface: Interface, kind: int, now: int) -> bytes | None:
        """One fragment (from its IP header on; well formed). The whole packet when it is complete, else None."""
        stack = self.stack
        counters = stack.counters
        ip = counters.ip
        reject = counters.reject
        ip.ReasmReqds += 1
        header_len = (packet[0] & 0xF) * 4
        field = packet[6] << 8 | packet[7]
        start = (field & 0x1FFF) << 3
        more = bool(field & 0x2000)
        end = start + len(packet) - header_len
        if more:
            end &= ~7
        key = (packet[12:20] + packet[4:6] + packet[9:10], interface.index)
        datagram = self._datagrams.get(key)
        if datagram is None:
            if self.memory + len(packet) + OVERHEAD + QUEUE_OVERHEAD > stack.settings.ipfrag_high_thresh:
                ip.ReasmFails += 1
                reject.FragmentMemory += 1
                return None
            datagram = self._create(key, interface, kind, now)
        if end <= start:
            self._refuse(datagram, "FragmentEmpty")
            return None
        if end + header_len > MAX_TOTAL:
            self._refuse(datagram, "FragmentTooLong")
            return None
        if not more:
            if end < datagram.length or (datagram.last_seen and end != datagram.length):
                self._refuse(datagram, "FragmentInconsistent")
                return None
            datagram.last_seen = True
            datagram.length = end
        elif end > datagram.length:
            if datagram.last_seen:
                self._refuse(datagram, "FragmentInconsistent")
                return None
            datagram.length = end
        placed = self._place(datagram, start, end, packet[header_len : header_len + end - start])
        if placed == "duplicate":
            reject.FragmentDuplicate += 1
            return None
        if placed == "overlap":
            counters.ipext.ReasmOverlaps += 1
            self._refuse(datagram, "FragmentOverlap")
            return None
        charge = len(packet) + OVERHEAD
        datagram.charged += charge
        self.memory += charge
        datagram.ecn |= 1 << (packet[1] & 3)
        if start == 0:
            datagram.first = packet[: header_len + 576]
        run = datagram.runs[0]
        if datagram.last_seen and run.start == 0 and run.end == datagram.length:
            return self._finish(datagram)
        if self.memory > stack.settings.ipfrag_high_thresh:
            self._refuse(datagram, "FragmentMemory")
            return None
        return None

    def _create(self, key: Key, interface: Interface, kind: int, now: int) -> Datagram:
        def expire(at: int) -> None:
            self._expire(key, at)

        timer = self.stack.timers.timer(expire)
        timer.arm(now + self.stack.settings.ipfrag_time * SECOND)
        datagram = Datagram(key, interface, kind, timer)
        self._datagrams[key] = datagram
        self.memory += QUEUE_OVERHEAD
        return datagram

    @staticmethod
    def _place(datagram: Datagram, start: int, end: int, data: bytes) -> str:
        """Put the piece among the runs: "placed", "duplicate" or "overlap"."""
        runs = datagram.runs
        at = len(runs)
        while at and runs[at - 1].start >= end:  # mostly in order, so from the end
            at -= 1
        before = runs[at - 1] if at else None
        if before is not None and start < before.end:
            return "duplicate" if start >= before.start and end <= before.end else "overlap"
        if before is not None and before.end == start:
            before.pieces.append(data)
            before.end = end
        else:
            before = Run(start, end, [data])
            runs.insert(at, before)
            at += 1
        if at < len(runs) and runs[at].start == end:
            after = runs.pop(at)
            before.pieces += after.pieces
            before.end = after.end
        return "placed"

    def _forget(self, datagram: Datagram) -> None:
        datagram.timer.disarm()
        del self._datagrams[datagram.key]
        self.memory -= datagram.charged

    def _refuse(self, datagram: Datagram, reason: str) -> None:
        """The piece shows that the datagram can't be trusted: all of it goes."""
        self._forget(datagram)
        counters = self.stack.counters
        counters.ip.ReasmFails += 1
        setattr(counters.reject, reason, getattr(counters.reject, reason) + 1)

    def _finish(self, datagram: Datagram) -> bytes | None:
        first = datagram.first
        header_len = (first[0] & 0xF) * 4
        total = header_len + datagram.length
        if total > MAX_TOTAL:
            self._refuse(datagram, "FragmentTooLong")
            return None
        # RFC 3168 section 5.3: a CE mark on any piece marks the whole, but not one whose pieces were not ECN-capable.
        seen = datagram.ecn
        if seen & 0b1001 == 0b1001:
            self._refuse(datagram, "FragmentInconsistent")
            return None
        self._forget(datagram)
        packet = bytearray(first[:header_len])
        if seen & 0b1000:
            packet[1] |= 3
        elif seen & 1:
            packet[1] &= 0xFC
        packet[2:4] = total.to_bytes(2, "big")
        packet[6:8] = b"\0\0"
        packet[10:12] = b"\0\0"
        packet[10:12] = lib.trl_checksum(ffi.from_buffer(packet), header_len, 0).to_bytes(2, "big")
        self.stack.counters.ip.ReasmOKs += 1
        return b"".join((packet, *datagram.runs[0].pieces))

    def _expire(self, key: Key, now: int) -> None:
        datagram = self._datagrams.get(key)
        if datagram is None:
            return
        self._forget(datagram)
        counters = self.stack.counters
        counters.ip.ReasmTimeout += 1
        counters.ip.ReasmFails += 1
        counters.reject.FragmentTimeout += 1
        if datagram.first and datagram.kind == HOST:
            quoted = Frame(datagram.first, (), len(datagram.first), False)
            self.stack.icmp.reassembly_timeout(quoted, datagram.interface, now)
