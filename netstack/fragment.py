"""Reassembly of fragments, of both IP versions (RFC 791 section 3.2, RFC 8200 section 4.5; RFC 815's idea of filling
the gaps; overlaps as RFC 5722).

A datagram is known by a key (source, destination, identification, for IPv4 the protocol) and interface. Its pieces are
kept as contiguous runs. A piece that lies within a run already there is a duplicate and ignored; one that overlaps in
any other way discards the whole datagram, as Linux does: no interpretation of overlapping data is safe.

What a piece looks like, and what the whole does, is the affair of ipv4.py and ipv6.py: they give `Reassembler.add` a
`Piece`, and build the packet from the `Datagram` they get back when it is complete.

Bounds, for each IP version: all pieces together take at most `ipfrag_high_thresh` bytes, counted with Linux's overhead
per packet; a datagram lives `ipfrag_time` from its first piece. When it dies of age and its first piece was seen, the
sender is told (ICMP time exceeded, code 1; RFC 1122 section 3.3.2, RFC 8200 section 4.5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csrc import Frame
from netstack.ethernet import HOST

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.stack import Stack
    from netstack.timers import Timer

SECOND = 1_000_000_000
OVERHEAD = 768  # struct sk_buff and the rest of truesize
QUEUE_OVERHEAD = 512

Key = tuple[bytes, int]


class Run:
    """Contiguous bytes [start, end)."""

    __slots__ = ("end", "pieces", "start")

    def __init__(self, start: int, end: int, pieces: list[bytes]) -> None:
        self.start = start
        self.end = end
        self.pieces = pieces


class Piece:
    """One fragment. `start` and `end` count bytes of the fragmentable part; `most` is how many it may have in all;
    `first` is kept when start is 0: the packet so far as its headers and a quote of it need."""

    __slots__ = ("data", "ecn", "end", "first", "more", "most", "start")

    def __init__(self, start: int, data: bytes, more: bool, ecn: int, first: bytes, most: int) -> None:
        self.start = start
        self.data = data
        self.end = start + len(data)
        self.more = more
        self.ecn = ecn
        self.first = first
        self.most = most


class Datagram:
    """One datagram being put together."""

    __slots__ = ("charged", "ecn", "first", "interface", "key", "kind", "last_seen", "length", "most", "runs", "timer")

    def __init__(self, key: Key, interface: Interface, kind: int, timer: Timer) -> None:
        self.key = key
        self.interface = interface
        self.kind = kind
        self.timer = timer
        self.runs: list[Run] = []
        self.length = 0  # of the payload, as far as known
        self.most = 0
        self.last_seen = False
        self.first = b""  # the packet with offset 0, or the beginning of it: its header becomes the datagram's
        self.ecn = 0  # which ECN code points were seen, one bit each
        self.charged = QUEUE_OVERHEAD

    def ecn_marked(self, tos: int) -> int:
        """The type of service or traffic class of the whole."""
        if self.ecn & 0b1000:
            return tos | 3
        return tos & 0xFC if self.ecn & 1 else tos

    def payload(self) -> bytes:
        """What the pieces amount to, once complete."""
        return b"".join(self.runs[0].pieces)


class Reassembler:
    """All unfinished datagrams of a stack, of one IP version."""

    __slots__ = ("_counters", "_datagrams", "_high_thresh", "_time", "memory", "stack", "version")

    def __init__(self, stack: Stack, version: int) -> None:
        self.stack = stack
        self.version = version
        self._counters: Any = stack.counters.ip if version == 4 else stack.counters.ip6
        self._high_thresh = "ipfrag_high_thresh" if version == 4 else "ipv6_ip6frag_high_thresh"
        self._time = "ipfrag_time" if version == 4 else "ipv6_ip6frag_time"
        self._datagrams: dict[Key, Datagram] = {}
        self.memory = 0

    def __len__(self) -> int:
        return len(self._datagrams)

    def add(self, key: Key, piece: Piece, interface: Interface, kind: int, now: int) -> Datagram | None:
        """One fragment. The datagram when it is complete (no longer kept here), else None."""
        stack = self.stack
        reject = stack.counters.reject
        counters = self._counters
        high: int = getattr(stack.settings, self._high_thresh)
        datagram = self._datagrams.get(key)
        charge = len(piece.data) + OVERHEAD
        if datagram is None:
            if self.memory + charge + QUEUE_OVERHEAD > high:
                counters.ReasmFails += 1
                reject.FragmentMemory += 1
                return None
            datagram = self._create(key, interface, kind, now)
        start, end = piece.start, piece.end
        if end <= start:
            self._refuse(datagram, "FragmentEmpty")
            return None
        if end > piece.most:
            self._refuse(datagram, "FragmentTooLong")
            return None
        if not piece.more:
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
        placed = self._place(datagram, start, end, piece.data)
        if placed == "duplicate":
            reject.FragmentDuplicate += 1
            return None
        if placed == "overlap":
            stack.counters.ipext.ReasmOverlaps += 1
            self._refuse(datagram, "FragmentOverlap")
            return None
        datagram.charged += charge
        self.memory += charge
        datagram.ecn |= 1 << piece.ecn
        if start == 0:
            datagram.first = piece.first
            datagram.most = piece.most
        run = datagram.runs[0]
        if datagram.last_seen and run.start == 0 and run.end == datagram.length:
            return self._finish(datagram)
        if self.memory > high:
            self._refuse(datagram, "FragmentMemory")
        return None

    def _create(self, key: Key, interface: Interface, kind: int, now: int) -> Datagram:
        def expire(at: int) -> None:
            self._expire(key, at)

        timer = self.stack.timers.timer(expire)
        timer.arm(now + getattr(self.stack.settings, self._time) * SECOND)
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
        self._counters.ReasmFails += 1
        reject = self.stack.counters.reject
        setattr(reject, reason, getattr(reject, reason) + 1)

    def _finish(self, datagram: Datagram) -> Datagram | None:
        """RFC 3168 section 5.3: a CE mark on any piece marks the whole, but not one whose pieces were not
        ECN-capable."""
        seen = datagram.ecn
        if seen & 0b1001 == 0b1001:
            self._refuse(datagram, "FragmentInconsistent")
            return None
        if datagram.length > datagram.most:
            self._refuse(datagram, "FragmentTooLong")
            return None
        self._forget(datagram)
        self._counters.ReasmOKs += 1
        return datagram

    def _expire(self, key: Key, now: int) -> None:
        datagram = self._datagrams.get(key)
        if datagram is None:
            return
        self._forget(datagram)
        self._counters.ReasmTimeout += 1
        self._counters.ReasmFails += 1
        self.stack.counters.reject.FragmentTimeout += 1
        if datagram.first and datagram.kind == HOST:
            quoted = Frame(datagram.first, (), len(datagram.first), False)
            icmp = self.stack.icmp if self.version == 4 else self.stack.icmp6
            icmp.reassembly_timeout(quoted, datagram.interface, now)
