"""The retransmission timeout (RFC 6298), with Linux's way of computing the variance, and how long to go on trying (RFC
9293 section 3.8.3).

`srtt_us` holds eight times SRTT and `mdev_us` four times the mean deviation, so that RFC 6298 (2.3) is shifts and
adds. Linux differs from the RFC in two things. RTTVAR (`rttvar_us`, times four) is the greatest mean deviation of the
last round trip and decays only once per round trip, and its floor is the minimum RTO (200 ms), so that RTO = SRTT +
max(200 ms, 4 * RTTVAR). And a sample below SRTT raises the deviation eight times less, lest a falling round trip
inflate the RTO.

Karn's algorithm (RFC 6298 section 3) is the caller's part: samples come only from segments never retransmitted, or from
timestamps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp.tcb import LOSS_PROBE, MS, RETRANS, SYN_RECEIVED, SYN_SENT

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection


def sample(c: Connection, rtt_us: int) -> None:
    """RFC 6298 (2.2) and (2.3): a new round-trip measurement."""
    srtt = c.srtt_us
    m = rtt_us or 1
    if srtt:
        m -= srtt >> 3
        srtt += m
        mdev = c.mdev_us
        if m < 0:
            m = -m - (mdev >> 2)
            if m > 0:
                m >>= 3
        else:
            m -= mdev >> 2
        mdev = c.mdev_us = mdev + m
        if mdev > c.mdev_max_us:
            c.mdev_max_us = mdev
            if mdev > c.rttvar_us:
                c.rttvar_us = mdev
        if c.snd_una > c.rtt_seq:
            if c.mdev_max_us < c.rttvar_us:
                c.rttvar_us -= (c.rttvar_us - c.mdev_max_us) >> 2
            c.rtt_seq = c.snd_nxt
            c.mdev_max_us = c.rto_min_us
    else:
        srtt = m << 3
        c.mdev_us = m << 1
        c.rttvar_us = max(c.mdev_us, c.rto_min_us)
        c.mdev_max_us = c.rttvar_us
        c.rtt_seq = c.snd_nxt
    c.srtt_us = srtt if srtt > 1 else 1


def computed_ns(c: Connection) -> int:
    """RFC 6298 (2.3): SRTT + 4 * RTTVAR, in nanoseconds, within the upper bound of (2.5)."""
    rto = ((c.srtt_us >> 3) + c.rttvar_us) * 1000
    most = c.rto_max_ns
    return rto if rto < most else most


def head_delta_ns(c: Connection, now: int) -> int:
    """How far ahead the RTO of the oldest segment lies, counted from when it was last sent."""
    return c.rtx[0].xmit_ns + c.rto_ns - now


def arm(c: Connection, kind: int, delay_ns: int, now: int) -> None:
    """Set what the retransmission deadline stands for, and when."""
    most = c.rto_max_ns
    c.pending = kind
    if c.paced and c.wstamp_ns > now and kind in (RETRANS, LOSS_PROBE):
        delay_ns += c.wstamp_ns - now  # a paced segment counts as sent when the time that it takes is over (Linux)
    at = now + (delay_ns if delay_ns < most else most)
    c.rtx_ns = at
    if at < c.deadline_ns or not c.deadline_ns:
        c.rearm(at)


def rearm(c: Connection, now: int) -> None:
    """RFC 6298 (5.2) and (5.3): off when everything is acknowledged, else RTO from now."""
    if not c.packets_out:
        c.pending = 0
        c.rtx_ns = 0
        return
    rto = c.rto_ns
    if c.pending >= LOSS_PROBE:  # another timer took the place of the RTO's: go on with what is left of the RTO
        delta = head_delta_ns(c, now)
        rto = delta if delta > 1000 else 1000
    arm(c, RETRANS, rto, now)


def model_ns(c: Connection, boundary: int, base_ns: int) -> int:
    """How long `boundary` timeouts with exponential backoff take: R1 and R2 of RFC 9293 section 3.8.3 as times."""
    most = c.rto_max_ns
    linear = (most // base_ns).bit_length() - 1
    if boundary <= linear:
        return ((2 << boundary) - 1) * base_ns
    return ((2 << linear) - 1) * base_ns + (boundary - linear) * most


def timed_out(c: Connection, boundary: int, user_timeout_ms: int, now: int) -> bool:
    """Whether retransmission has gone on for longer than `boundary` timeouts would last (RFC 9293 section 3.8.3), or
    for longer than the user timeout if there is one (RFC 5482)."""
    if not c.retransmits:
        return False
    start = c.retrans_stamp_ns or (c.rtx[0].xmit_ns if c.rtx else now)
    if c.state == SYN_SENT:
        start = c.syn_stamp_ns  # an attempt counts from its first SYN
    if user_timeout_ms:
        limit = user_timeout_ms * MS
    else:
        base = c.rto_min_us * 1000
        if c.state in (SYN_SENT, SYN_RECEIVED):
            base = c.settings.tcp_timeout_init_ms * MS
        limit = model_ns(c, boundary, base)
    return now - start >= limit


def clamp_to_user_timeout(c: Connection, now: int) -> int:
    """The RTO, cut so that the user timeout is noticed in time."""
    rto: int = c.rto_ns
    if not c.user_timeout_ms or not c.retrans_stamp_ns:
        return rto
    remaining = c.user_timeout_ms * MS - (now - c.retrans_stamp_ns)
    if remaining <= 0:
        return 1
    return min(rto, remaining)
