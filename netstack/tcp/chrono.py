"""What a sender was waiting for, and how long: tcpi_busy_time, tcpi_rwnd_limited and tcpi_sndbuf_limited of TCP_INFO
(Linux's tcp_chrono; no RFC has it).

A connection is busy while anything is queued or unacknowledged. Within that time it may be limited by the peer's
window, or by a send buffer that the application has filled; if both are the case, the send buffer counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

IDLE, BUSY, RWND_LIMITED, SNDBUF_LIMITED = range(4)


def turn(c: Connection, to: int, now: int) -> None:
    """Add the time until now to what it was spent on, and count it as `to` from now on."""
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
    """That kind begins, unless one that goes before it is on already."""
    if kind > c.chrono:
        turn(c, kind, now)


def stop(c: Connection, kind: int, now: int) -> None:
    """That kind is over: the connection is idle if nothing is left, else busy and nothing more."""
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
