"""Reno (RFC 5681 section 3.1): slow start to ssthresh, then one segment per round trip; half the window after a loss.

Fast retransmit and fast recovery (section 3.2) are in `recovery`, for every algorithm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from netstack.tcp.congestion import additive_increase, register, slow_start

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection


class Reno:
    name: ClassVar[str] = "reno"
    __slots__ = ()

    def ssthresh(self, c: Connection) -> int:
        """RFC 5681 equation 4; like Linux, half of cwnd and not of FlightSize."""
        return int(max(c.cwnd >> 1, 2))

    def cong_avoid(self, c: Connection, ack: int, acked: int, now: int) -> None:
        """Slow start, then a segment for each window acknowledged."""
        if not c.cwnd_limited():
            return
        if c.cwnd < c.ssthresh:
            acked = slow_start(c, acked)
            if not acked:
                return
        additive_increase(c, c.cwnd, acked)

    def undo_cwnd(self, c: Connection) -> int:
        return int(max(c.cwnd, c.prior_cwnd))

    def pkts_acked(self, c: Connection, acked: int, rtt_us: int, now: int) -> None:
        pass

    def event(self, c: Connection, kind: int, now: int) -> None:
        pass


register(Reno)
