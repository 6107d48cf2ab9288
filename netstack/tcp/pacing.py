"""Pacing: segments leave at a rate, not in bursts. No RFC has it: this is how Linux paces inside TCP, without a
queueing discipline.

A connection is paced if SO_MAX_PACING_RATE asks for it, if its congestion control needs it (`CongestionControl.paced`),
or if net.core.default_qdisc is fq, the discipline that paces whoever it serves. The rate is cwnd per round trip, with
room to grow: tcp_pacing_ss_ratio per cent of it in slow start (below half of ssthresh), tcp_pacing_ca_ratio above.
SO_MAX_PACING_RATE is a ceiling.

Each (super-)segment moves `wstamp_ns`, the earliest time for the next one, on by the time that it takes at that rate; a
segment that leaves late makes up for the delay, by half of its own time at most. The first ten segments are not paced.
Waiting is a deadline of the connection (`pace_ns`) and never a sleep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.socket import SO_MAX_PACING_RATE, UNPACED
from netstack.tcp import output
from netstack.tcp.tcb import SECOND

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

UNPACED_SEGMENTS = 10


def configure(c: Connection) -> None:
    """Decide whether the connection is paced, and its ceiling: it was opened, or an option was set."""
    sock = c.sock if c.sock is not None else (c.listener.sock if c.listener is not None else None)
    most = sock.flags.get(SO_MAX_PACING_RATE, UNPACED) if sock is not None else UNPACED
    c.max_pacing_rate = most
    c.paced = c.paced or most != UNPACED or getattr(c.cc, "paced", False) or c.settings.default_qdisc == "fq"
    c.paced = c.paced or not c.path.interface.txqueuelen  # see congested.py
    if c.paced and c.pacing_rate > most:
        c.pacing_rate = most


def holds(c: Connection, now: int) -> bool:
    """Whether the next segment has to wait; if so, the deadline is set."""
    at = c.wstamp_ns
    if at <= now:
        return False
    c.pace_ns = at
    if not c.deadline_ns or at < c.deadline_ns:
        c.rearm(at)
    return True


def sent(c: Connection, length: int, now: int) -> None:
    """So many bytes of payload have left."""
    before = max(c.wstamp_ns, c.tso_ns)  # whatever left last: in Linux a bare ACK sets this clock, too
    if c.wstamp_ns < now:
        c.wstamp_ns = now
    rate = c.pacing_rate
    if not rate or c.data_segs_out < UNPACED_SEGMENTS:
        return
    duration = length * SECOND // rate
    late = c.wstamp_ns - before
    c.wstamp_ns += duration - min(duration >> 1, late)


def release(c: Connection, now: int) -> None:
    """The deadline has passed: go on sending."""
    c.pace_ns = 0
    if c.lost_out > c.retrans_out and c.cwnd > c.in_flight():
        output.retransmit_lost(c, now)
    output.write(c, now)
