"""Delivery rate sampling (draft-cheng-iccrg-delivery-rate-estimation, which became part of draft-ietf-ccwg-bbr): what
TCP_INFO's tcpi_delivery_rate says.

Each ACK gives one sample: how much was delivered since the newest segment that it covers was sent, over the longer of
two times: that in which those segments were sent, and that in which they were acknowledged. So neither a burst nor
compressed ACKs make the path look faster than it is.

`c.rate` is what a segment remembers when it is sent: (when the last delivery was noted, when the segment that was
delivered then had been sent, whether the application was the limit). It is replaced and not changed, so that sending a
segment costs one reference. A connection is application-limited from the moment it has nothing to send while cwnd has
room, until what was in flight then has been delivered. Samples of that time count only if they are higher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp.segment import SYN

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection
    from netstack.tcp.scoreboard import Sent


def begin(c: Connection, now: int) -> None:
    """The first segment after nothing was in flight is about to be sent."""
    c.rate = (now, now, c.app_limited > 0)


def check_app_limited(c: Connection) -> None:
    """The application hands over data: was it the reason that less was sent than could have been?"""
    if c.unsent_bytes < c.mss_cache and c.lost_out <= c.retrans_out:
        flight = c.packets_out - c.sacked_out - c.lost_out + c.retrans_out
        if flight < c.cwnd:
            c.app_limited = c.delivered + flight or 1
            if not c.rate[2]:
                c.rate = (c.rate[0], c.rate[1], True)


def sample(c: Connection, rec: Sent | None, delivered: int, now: int) -> None:
    """An ACK delivered so many segments; `rec` is the one of them sent last, or None if the receiver has taken SACKs
    back. A SYN says nothing about how fast data is delivered."""
    if c.app_limited and c.delivered > c.app_limited:
        c.app_limited = 0
    if rec is None or rec.flags & SYN:
        if delivered:
            c.rate = (now, c.rate[1], c.app_limited > 0)
        return
    noted_ns, first_ns, limited = rec.rate
    c.rate = (now, rec.xmit_ns, c.app_limited > 0)
    sending = rec.xmit_ns - first_ns
    acking = now - noted_ns
    interval_us = (sending if sending > acking else acking) // 1000
    if interval_us < c.min_rtt_us or interval_us <= 0:
        return  # faster than the shortest round trip: the ACK is for another transmission of the segment
    count = c.delivered - rec.delivered
    if not limited or count * c.rate_interval_us >= c.rate_delivered * interval_us:
        c.rate_delivered = count
        c.rate_interval_us = interval_us
        c.rate_app_limited = limited


def bytes_per_second(c: Connection) -> int:
    """tcpi_delivery_rate."""
    interval = c.rate_interval_us
    return c.rate_delivered * c.mss_cache * 1_000_000 // interval if interval else 0
