"""The persist timer: a window of zero, or too small for the next segment, is probed until it opens (RFC 9293 section
3.8.6.1), lest both ends wait for ever when the segment that opened it was lost.

The timer runs while nothing is out and something waits. It backs off as the retransmission timer does (`delay_ns`) and
goes on for as long as the peer answers; when to give up is `timeouts.probe_timeout`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import congested, output, recovery, rto
from netstack.tcp.emit import emit
from netstack.tcp.segment import ACK, PSH
from netstack.tcp.tcb import MS, PROBE0

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection


def base_ns(c: Connection) -> int:
    """The first interval: the RTO, as the section has it."""
    return int(max(c.rto_ns, c.rto_min_us * 1000))


def start(c: Connection, now: int) -> None:
    """Nothing is out and nothing may be sent: probe, lest a lost window update stall us for ever."""
    rto.arm(c, PROBE0, base_ns(c), now)


def delay_ns(c: Connection) -> int:
    """The interval that comes next: doubled by each probe, up to the longest RTO."""
    most = c.rto_max_ns
    return int(min(base_ns(c) << min(c.backoff, 30), most))


def probe(c: Connection, now: int) -> None:
    """The persist timer: a segment if the window now allows one, else one that makes the peer answer."""
    refused = c.paced and congested.refuses(c)
    wake_up(c, now)
    if c.packets_out or c.snd_nxt >= c.write_seq:
        c.probes_out = 0
        c.backoff = 0
        c.probes_stamp_ns = 0
        return
    c.probes_out += 1
    c.counters.TCPWinProbe += 1
    if refused:
        recovery.enter_cwr(c, now)
        delay = congested.RESOURCE_NS
    else:
        if c.backoff < c.settings.tcp_retries2:
            c.backoff += 1
        delay = delay_ns(c)
    arm(c, delay, now)


def arm(c: Connection, delay: int, now: int) -> None:
    """The next probe: not past the end of the user's timeout, which no answer puts off."""
    if c.user_timeout_ms and c.probes_stamp_ns:
        delay = max(1, min(delay, c.user_timeout_ms * MS - (now - c.probes_stamp_ns)))
    rto.arm(c, PROBE0, delay, now)


def wake_up(c: Connection, now: int) -> None:
    """A segment out of the ordinary: into the window whatever Nagle says, or else just below it."""
    if c.snd_nxt < c.write_seq and c.snd_nxt < c.snd_una + c.snd_wnd:
        mss = output.current_mss(c)
        room = c.snd_una + c.snd_wnd - c.snd_nxt
        size = c.unsent_bytes
        end = c.write_seq
        if c.ends:
            end = c.ends[0]
            size = end - c.snd_nxt
        if c.pushed_seq < end:
            c.pushed_seq = end
        if size > mss or c.snd_nxt + room < end:
            size = min(size, mss, room)
            if c.ends and end not in c.push_marks:
                c.push_marks = (end, *c.push_marks)  # what is left of that buffer
        output.force(c, size, mss, ACK | PSH, now)
        return
    # A sequence number already acknowledged: not acceptable, so it is answered (RFC 9293 section 3.8.4).
    if 0 < c.snd_up - c.snd_una <= 0xFFFF:
        emit(c, c.snd_una, ACK, (), 0, now)  # that urgent data waits is news even to who has no room for it
    emit(c, c.snd_una - 1, ACK, (), 0, now)
