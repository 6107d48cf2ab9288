"""The persist timer: a window of zero, or too small for the next segment, is probed until it opens (RFC 9293 section
3.8.6.1), because both ends would wait for ever if the segment that opened it was lost.

The timer runs while nothing is in flight and something waits. It backs off as the retransmission timer does
(`delay_ns`) and goes on for as long as the peer answers; `timeouts.probe_timeout` says when to give up.
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
    """The first interval is the RTO (SHLD-29)."""
    return int(max(c.rto_ns, c.rto_min_us * 1000))


def start(c: Connection, now: int) -> None:
    """Nothing is in flight and nothing may be sent: probe from now on."""
    rto.arm(c, PROBE0, base_ns(c), now)


def delay_ns(c: Connection) -> int:
    """The next interval: doubled by each probe (SHLD-30), up to the longest RTO."""
    most = c.rto_max_ns
    return int(min(base_ns(c) << min(c.backoff, 30), most))


def probe(c: Connection, now: int) -> None:
    """The timer expired: send a segment if the window allows one, else one that makes the peer answer."""
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
    """Set the timer for the next probe, but not past the end of the user timeout, which answers do not put off."""
    if c.user_timeout_ms and c.probes_stamp_ns:
        delay = max(1, min(delay, c.user_timeout_ms * MS - (now - c.probes_stamp_ns)))
    rto.arm(c, PROBE0, delay, now)


def wake_up(c: Connection, now: int) -> None:
    """Send a segment into the window, whatever Nagle's algorithm says; if there is none, one just below it (Linux's
    tcp_write_wakeup)."""
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
                c.push_marks = (end, *c.push_marks)  # PSH for what is left of that buffer
        output.force(c, size, mss, ACK | PSH, now)
        return
    # A sequence number below the window is not acceptable, so the peer answers it (RFC 9293 section 3.10.7.4, first
    # step). The RFC would send a byte of new data; like Linux and a keepalive probe (section 3.8.4), this sends none.
    if 0 < c.snd_up - c.snd_una <= 0xFFFF:
        emit(c, c.snd_una, ACK, (), 0, now)  # the urgent pointer: the peer should know of it even without room
    emit(c, c.snd_una - 1, ACK, (), 0, now)
