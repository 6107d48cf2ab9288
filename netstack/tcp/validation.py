"""Congestion window validation: a cwnd that was not used says nothing about the path any more. These are the rules of
RFC 2861 as Linux has them (net.ipv4.tcp_slow_start_after_idle); RFC 7661, which replaces it, is not implemented.

`validate` comes after each sending: it notes whether cwnd was what held the sender back (only then may it grow), and
lets what the application leaves unused decay once per RTO. `after_idle` comes before sending when nothing is out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import chrono, recovery
from netstack.tcp.congestion import CWND_RESTART
from netstack.tcp.tcb import CA_OPEN, CLOSE_WAIT, ESTABLISHED

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection


def validate(c: Connection, limited: bool, now: int) -> None:
    """After sending. `limited`: cwnd was what ended it. A cwnd that the application does not use decays once per RTO
    (RFC 2861 section 3; Linux's tcp_cwnd_validate)."""
    if c.snd_una >= c.cwnd_usage_seq or limited or (not c.is_cwnd_limited and c.packets_out > c.max_packets_out):
        c.is_cwnd_limited = limited
        c.max_packets_out = c.packets_out
        c.cwnd_usage_seq = c.snd_nxt
    if c.cwnd_limited():
        c.cwnd_used = 0
        c.cwnd_stamp_ns = now
    else:
        if c.packets_out > c.cwnd_used:
            c.cwnd_used = c.packets_out
        if c.settings.tcp_slow_start_after_idle and now - c.cwnd_stamp_ns >= c.rto_ns:
            application_limited(c, now)
        if c.was_full and c.snd_nxt >= c.write_seq and c.state in (ESTABLISHED, CLOSE_WAIT):
            chrono.start(c, chrono.SNDBUF_LIMITED, now)  # the application would have had more


def application_limited(c: Connection, now: int) -> None:
    """RFC 2861 section 3: half of the part of cwnd that was not used for an RTO is given up; ssthresh remembers what
    the path allowed."""
    if c.ca_state == CA_OPEN and not c.was_full:
        used = max(c.cwnd_used, c.init_cwnd())
        if used < c.cwnd:
            c.ssthresh = recovery.current_ssthresh(c)
            c.cwnd = (c.cwnd + used) >> 1
        c.cwnd_used = 0
    c.cwnd_stamp_ns = now


def after_idle(c: Connection, now: int) -> None:
    """RFC 2861 section 3: after an idle time of more than an RTO, cwnd is halved for each RTO, down to the restart
    window (RFC 5681 section 4.1, which would go there at once)."""
    idle = now - c.lsndtime_ns
    if c.packets_out or not c.lsndtime_ns or idle <= c.rto_ns or not c.settings.tcp_slow_start_after_idle:
        return
    restart = c.init_cwnd()
    c.cc.event(c, CWND_RESTART, now)
    c.ssthresh = recovery.current_ssthresh(c)
    cwnd = c.cwnd
    restart = min(restart, cwnd)
    idle -= c.rto_ns
    while idle > 0 and cwnd > restart:
        cwnd >>= 1
        idle -= c.rto_ns
    c.cwnd = max(cwnd, restart)
    c.cwnd_stamp_ns = now
    c.cwnd_used = 0
