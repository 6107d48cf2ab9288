"""Local congestion: the device's own queue takes nothing more, and who sends is told so at once (Linux's NET_XMIT_DROP,
as from a queueing discipline `pfifo limit 0`).

A segment that is refused has not been sent: new data stay unsent, a retransmission is not out (though its round trip is
never measured again). It counts among the segments out, cwnd is reduced once as for an ECN mark, and the next attempt
comes with the probe or retransmission timer, after half a second and without backoff (RESOURCE_NS).

Connections over such a device are `paced`, which keeps them off every short way, so that who is not pays nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import pacing, recovery
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
    """An attempt at new data."""
    c.data_segs_out += segments
    c.bytes_sent += size
    c.lsndtime_ns = now
    dropped(c, segments, now)


def dropped(c: Connection, segments: int, now: int) -> None:
    c.segs_out += segments
    c.tcp_counters.OutSegs += segments
    c.path.interface.dropped += 1
    c.path.stack.counters.reject.TxQueue += 1
    recovery.enter_cwr(c, now)


def follow(tcp: Tcp, interface: Interface) -> None:
    """The device's queue has become one that takes nothing, or one that does."""
    for c in tcp.connections():
        if getattr(c, "path", None) is not None and c.path.interface is interface and hasattr(c, "paced"):
            c.paced = False
            pacing.configure(c)
