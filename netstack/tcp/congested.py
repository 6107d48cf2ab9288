"""Local congestion: the device's own queue takes nothing more, and the sender is told so at once. (No RFC has this: it
is Linux's NET_XMIT_DROP, as from a queueing discipline `pfifo limit 0`.)

A segment that is refused has not been sent: new data stay unsent, and a retransmission is not in flight (though its
round trip is never measured again). It is counted as a segment sent, cwnd is reduced once as for an ECN mark, and the
next attempt comes with the probe or retransmission timer, after half a second and without backoff (RESOURCE_NS).

Connections over such a device are `paced`, which keeps them off every short way, so that other connections pay nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import pacing, recovery
from netstack.tcp.scoreboard import EVER_RETRANS, Sent
from netstack.tcp.tcb import SECOND

if TYPE_CHECKING:
    from netstack.interface import Interface
    from netstack.tcp.connection import Connection
    from netstack.tcp.engine import Tcp

RESOURCE_NS = SECOND // 2


def refuses(c: Connection) -> bool:
    """Whether the device takes nothing."""
    return not c.path.interface.txqueuelen


def refused(c: Connection, size: int, segments: int, now: int) -> None:
    """New data was refused."""
    c.data_segs_out += segments
    c.bytes_sent += size
    c.lsndtime_ns = now
    dropped(c, segments, now)


def retained(c: Connection, rec: Sent, counted: bool, now: int) -> None:
    """A retransmission was refused. Its time is that of the attempt all the same, so that the RTO counts from it, and
    it can have been spurious (`counted`: it was no loss probe)."""
    dropped(c, rec.pcount, now)
    c.counters.TCPRetransFail += rec.pcount
    rec.marks |= EVER_RETRANS
    rec.xmit_ns = now
    if counted:
        c.retrans_stamp_ns = c.retrans_stamp_ns or now
        c.undo_retrans = max(c.undo_retrans, 0) + rec.pcount


def dropped(c: Connection, segments: int, now: int) -> None:
    """So many segments were refused: count them, and reduce cwnd."""
    c.segs_out += segments
    c.tcp_counters.OutSegs += segments
    c.path.interface.dropped += 1
    c.path.stack.counters.reject.TxQueue += 1
    recovery.enter_cwr(c, now)


def follow(tcp: Tcp, interface: Interface) -> None:
    """The device's txqueuelen was changed: its connections have to know whether it takes anything."""
    for c in tcp.connections():
        if getattr(c, "path", None) is not None and c.path.interface is interface and hasattr(c, "paced"):
            c.paced = False
            pacing.configure(c)
