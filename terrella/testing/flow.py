"""What one end of a connection knows from the wire alone: what it sent, what reached it, what was promised to it.

All numbers are unwrapped and relative to the initial sequence number of the side that sent the byte: the SYN
is 0, the first byte of data 1. Segments count as they leave this end or arrive at it, so middleboxes in
between need no special care.
"""

from __future__ import annotations

from terrella.testing.wire import (
    ACK,
    FIN,
    HALF,
    HAS_SACK_PERMITTED,
    HAS_TIMESTAMP,
    HAS_WSCALE,
    MASK,
    SYN,
    Segment,
)


class Ranges:
    """A set of integers as disjoint, sorted, non-adjacent half-open ranges."""

    __slots__ = ("spans",)

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []

    def add(self, left: int, right: int) -> None:
        if left >= right:
            return
        kept = []
        for span in self.spans:
            if span[1] < left or right < span[0]:
                kept.append(span)
            else:
                left, right = min(left, span[0]), max(right, span[1])
        kept.append((left, right))
        kept.sort()
        self.spans = kept

    def holds(self, left: int, right: int) -> bool:
        """Whether all of [left, right) is in the set."""
        return left >= right or any(span[0] <= left and right <= span[1] for span in self.spans)

    def until(self, start: int) -> int:
        """The end of the range that holds `start`, or `start`."""
        for left, right in self.spans:
            if left <= start < right:
                return right
        return start


class Flow:
    """One end's view. None of it comes from the stack."""

    __slots__ = (
        "acked", "acking", "edge", "fin_arrived", "fin_sent", "got_syn", "irs", "iss", "my_edge", "nxt", "received",
        "segs_sent", "sent_at", "sent_syn", "sizes", "stamp", "wscale_in", "wscale_out",
    )  # fmt: skip

    def __init__(self) -> None:
        self.iss: int | None = None
        self.irs: int | None = None
        self.sent_syn: Segment | None = None
        self.got_syn: Segment | None = None
        self.nxt = 0  # SND.NXT: the end of what was sent
        self.acked = 0  # SND.UNA: the greatest acknowledgment that arrived
        self.edge = 0  # the greatest right edge the peer offered
        self.acking = 0  # RCV.NXT as last told to the peer
        self.my_edge = 0  # the greatest right edge we offered
        self.received = Ranges()  # what arrived, SYN and FIN included
        self.fin_sent: int | None = None
        self.fin_arrived: int | None = None
        self.segs_sent = 0
        self.wscale_in = self.wscale_out = 0
        self.stamp = 0  # the newest timestamp sent

    def seq_out(self, wire: int) -> int:
        """A number of our own space."""
        assert self.iss is not None
        return ((wire - self.iss + HALF) & MASK) - HALF

    def seq_in(self, wire: int) -> int:
        """A number of the peer's space."""
        assert self.irs is not None
        return ((wire - self.irs + HALF) & MASK) - HALF

    def _negotiate(self) -> None:
        """RFC 7323 section 2.2: windows are scaled when both SYNs had the option."""
        if self.sent_syn is None or self.got_syn is None:
            return
        ours, theirs = self.sent_syn.wscale, self.got_syn.wscale
        both = ours is not None and theirs is not None
        self.wscale_out = min(ours or 0, 14) if both else 0
        self.wscale_in = min(theirs or 0, 14) if both else 0

    def both(self, option: int) -> bool:
        """Whether both SYNs, as this end saw them, carried the option."""
        return bool(
            self.sent_syn is not None
            and self.got_syn is not None
            and self.sent_syn.options & option
            and self.got_syn.options & option
        )

    @property
    def timestamps(self) -> bool:
        return self.both(HAS_TIMESTAMP)

    @property
    def sack(self) -> bool:
        return self.both(HAS_SACK_PERMITTED)

    @property
    def scaling(self) -> bool:
        return self.both(HAS_WSCALE)

    def another(self, seg: Segment) -> bool:
        """Whether a segment of ours begins another connection than this flow's. An old SYN that comes again when the
        connection is over is as good as a new one to a socket that still listens; its peer will reset what it begins
        (RFC 9293 section 3.5, recovery from an old duplicate SYN)."""
        return bool(seg.flags & SYN and self.acked and seg.seq != self.iss)

    def leaves(self, seg: Segment) -> None:
        """A segment of ours was sent."""
        if seg.flags & SYN:
            self.iss = seg.seq
            self.sent_syn = seg
            self._negotiate()
        if self.iss is None:
            return
        self.segs_sent += seg.segs
        self.stamp = seg.tsval or self.stamp
        seq = self.seq_out(seg.seq)
        if seg.room:
            self.nxt = max(self.nxt, seq + seg.room)
        if seg.flags & FIN:
            self.fin_sent = seq + seg.room
        if seg.flags & ACK and self.irs is not None:
            self.acking = max(self.acking, self.seq_in(seg.ack))
            self.my_edge = max(self.my_edge, self.offered(seg))

    def offered(self, seg: Segment) -> int:
        """The right edge that a segment of ours offers, in the peer's space."""
        return self.seq_in(seg.ack) + (seg.window << (0 if seg.flags & SYN else self.wscale_out))

    def arrives(self, seg: Segment) -> None:
        """A segment with good checksums reached us."""
        if seg.flags & SYN and self.irs is None:
            self.irs = seg.seq
            self.got_syn = seg
            self._negotiate()
        if self.irs is None:
            return
        seq = self.seq_in(seg.seq)
        self.received.add(seq, seq + seg.room)
        if seg.flags & FIN:
            self.fin_arrived = seq + seg.room
        if seg.flags & SYN and not seg.flags & ACK:
            self.edge = max(self.edge, 1 + seg.window)  # simultaneous open: the peer's window, counted from our SYN
        if seg.flags & ACK and self.iss is not None:
            ack = self.seq_out(seg.ack)
            if ack <= self.nxt:
                self.acked = max(self.acked, ack)
                self.edge = max(self.edge, ack + (seg.window << (0 if seg.flags & SYN else self.wscale_in)))
