"""What a sender was waiting for, and how long: tcpi_busy_time, tcpi_rwnd_limited and tcpi_sndbuf_limited.

A connection is busy while anything is queued or unacknowledged. Within that time it may be limited by the peer's
window, or by a send buffer that the application has filled; the later of the two in this list is what counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

IDLE, BUSY, RWND_LIMITED, SNDBUF_LIMITED = range(4)


def turn(c: Connection, to: int, now: int) -> None:
    """Account for the time until now, and go on under another name."""
    kind = c.chrono
    if kind:
        elapsed = now - c.chrono_ns
        if kind == BUSY:
            c.busy_ns += elapsed
        elif kind == RWND_LIMITED:
            c.rwnd_limited_ns += elapsed
        else:
            c.sndbuf_limited_ns += elapsed
    c.chrono = to
    c.chrono_ns = now


def start(c: Connection, kind: int, now: int) -> None:
    if kind > c.chrono:
        turn(c, kind, now)


def stop(c: Connection, kind: int, now: int) -> None:
    """That kind is over: idle when nothing is left, else only busy."""
    if not c.rtx and c.snd_nxt >= c.write_seq:
        turn(c, IDLE, now)
    elif c.chrono == kind:
        turn(c, BUSY, now)


def totals(c: Connection, now: int) -> tuple[int, int, int]:
    """(busy, window limited, buffer limited) in ns; busy includes the other two."""
    sums = [c.busy_ns, c.rwnd_limited_ns, c.sndbuf_limited_ns]
    if c.chrono:
        sums[c.chrono - 1] += now - c.chrono_ns
    return sum(sums), sums[1], sums[2]
