"""What happens when a deadline passes (RFC 9293 section 3.10.8): retransmission (section 3.8.1; RFC 6298 section 5),
window probes (section 3.8.6.1), keepalive (section 3.8.4), and when to give up (section 3.8.3; RFC 5482).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netstack.tcp import mtuprobe, output, persist, recovery, rto
from netstack.tcp.emit import emit
from netstack.tcp.segment import ACK
from netstack.tcp.tcb import CLOSED, ESTABLISHED, INFINITE_SSTHRESH, MS, RETRANS, SECOND, SYN_RECEIVED, SYN_SENT

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection


THIN_FLAG = 6 << 16 | 16  # TCP_THIN_LINEAR_TIMEOUTS among a socket's flags, beside those of level SOL_SOCKET
RTO_MAX_FLAG, RTO_MIN_FLAG, DELACK_MAX_FLAG = 6 << 16 | 44, 6 << 16 | 45, 6 << 16 | 46
TICK_NS = 4 * MS  # a jiffy of most Linux kernels
THIN_BELOW = 4  # segments: a flight too small for three duplicate ACKs
THIN_RETRIES = 6


def orphan_retries(c: Connection, alive: bool) -> int:
    """How often a connection that no user holds tries again (Linux's tcp_orphan_retries). `alive`: RTO is below its
    bound; then it is 8 times if the setting says 0. Not at all if it is not, and an ICMP error came."""
    retries: int = c.settings.tcp_orphan_retries
    if c.soft_error and not alive:
        return 0
    return retries or (8 if alive else 0)


def retransmit_timeout(c: Connection, now: int) -> None:
    """The retransmission timer (RFC 6298 section 5, RFC 9293 section 3.8.3)."""
    settings = c.settings
    state = c.state
    handshake = state in (SYN_SENT, SYN_RECEIVED)
    if not c.snd_wnd and not c.orphan and not handshake:
        # The peer shrank the window to nothing over data in flight. Retransmissions are window probes then (RFC 9293
        # section 3.8.6.1), and do not end the connection by their number.
        if window_timed_out(c, now):
            c.timed_out(now)
            return
        recovery.enter_loss(c, now)
        output.retransmit(c, 0, 1, now)
        next_rto(c, now)
        return
    c.counters.TCPTimeouts += 1
    if handshake:
        boundary = c.syn_retries or (settings.tcp_syn_retries if state == SYN_SENT else settings.tcp_synack_retries)
        linear = settings.tcp_syn_linear_timeouts if state == SYN_SENT else 0
        expired = c.retransmits >= boundary + linear  # or earlier: linear timeouts do not add to the time it may take
    else:
        boundary = settings.tcp_retries2
        if c.orphan:
            boundary = orphan_retries(c, c.rto_ns < c.rto_max_ns)
        expired = False
        if settings.tcp_mtu_probing and rto.timed_out(c, settings.tcp_retries1, 0, now):
            mtuprobe.black_hole(c, now)
    if not expired:
        expired = rto.timed_out(c, boundary, c.user_timeout_ms, now)
    if expired:
        c.timed_out(now)
        return
    c.rehash += 1  # Linux takes another hash for flow label and queue. There is none here, but it is counted
    c.counters.TcpTimeoutRehash += 1
    recovery.enter_loss(c, now)
    if not c.retransmits:
        c.total_rto_recoveries += 1
        c.rto_stamp_ns = now
    c.retransmits += 1
    c.total_rto += 1
    if not output.retransmit(c, 0, 1, now):
        rto.arm(c, RETRANS, SECOND // 2, now)
        return
    next_rto(c, now)


def unreachable(c: Connection, error: Any, seq: int, now: int) -> None:
    """RFC 6069 section 4: an ICMP error says that the retransmission was lost because the path is broken, and not to
    congestion. One backoff is taken back, and the timer is set again accordingly."""
    codes = (0, 1) if error.version == 4 else (0,)  # network or host unreachable; no route
    if error.type != (3 if error.version == 4 else 1) or error.code not in codes:
        return
    if seq != c.snd_una or not c.retransmits or not c.backoff or not c.rtx:
        return
    c.backoff -= 1
    base = rto.computed_ns(c) if c.srtt_us else c.settings.tcp_timeout_init_ms * MS
    c.rto_ns = min(base << c.backoff, c.rto_max_ns)
    left = c.rtx[0].xmit_ns + c.rto_ns - now
    if left > 0:
        rto.arm(c, RETRANS, left, now)
    else:
        retransmit_timeout(c, now)


def bounds(c: Connection, flags: dict[int, int]) -> None:
    """The socket's own bounds (TCP_RTO_MAX_MS, TCP_RTO_MIN_US, TCP_DELACK_MAX_US); a route's least RTO comes first."""
    c.rto_max_ns = flags.get(RTO_MAX_FLAG, 0) * MS or c.rto_max_ns
    if not (c.path.metrics and c.path.metrics.get("rto_min")):
        c.rto_min_us = flags.get(RTO_MIN_FLAG, 0) or c.rto_min_us
    # The peer may have the same least RTO: an ACK is not delayed until that expires there (Linux's tcp_delack_max).
    most = flags.get(DELACK_MAX_FLAG, 0) * 1000 or c.settings.tcp_delack_max_ms * MS
    least = c.rto_min_us * 1000
    c.delack_max_ns = most if most <= least else max(least - TICK_NS, TICK_NS)


def window_timed_out(c: Connection, now: int) -> bool:
    """Whether retransmissions into a closed window have gone on for long enough (Linux's tcp_rtx_probe0_timed_out): for
    twice the longest RTO with nothing heard, or for the user timeout whatever was heard."""
    since = now - (c.retrans_stamp_ns or c.rtx[0].xmit_ns)
    timeout = c.rto_max_ns * 2
    if c.user_timeout_ms:
        user = c.user_timeout_ms * MS
        if since >= user:  # (a timer of Linux's is a little late, and so its check is `>`)
            return True
        timeout = min(timeout, user)
    return bool(now - c.rcv_tstamp_ns > timeout and since > timeout)


def thin(c: Connection) -> bool:
    """Whether so little is in flight that only a timeout finds a loss, and the user wants no backoff then
    (tcp_thin_linear_timeouts, which is Linux's). It does not go on for ever: the path may be gone."""
    wanted = c.settings.tcp_thin_linear_timeouts or (c.sock is not None and c.sock.flags.get(THIN_FLAG))
    few = c.packets_out < THIN_BELOW and c.ssthresh < INFINITE_SSTHRESH
    return bool(wanted and few and c.state == ESTABLISHED and c.retransmits <= THIN_RETRIES)


def next_rto(c: Connection, now: int) -> None:
    """RFC 6298 (5.5): back off. Like Linux, do not for the first SYNs (tcp_syn_linear_timeouts)."""
    settings = c.settings
    if thin(c):
        c.backoff = 0
        c.rto_ns = max(rto.computed_ns(c), c.rto_min_us * 1000)
    elif c.state != SYN_SENT or c.total_rto > settings.tcp_syn_linear_timeouts:
        c.backoff += 1
        c.rto_ns = min(c.rto_ns << 1, c.rto_max_ns)
    rto.arm(c, RETRANS, rto.clamp_to_user_timeout(c, now), now)


def probe_timeout(c: Connection, now: int) -> None:
    """The persist timer expired. It goes on for as long as the peer answers (RFC 9293 section 3.8.6.1)."""
    if not c.probes_stamp_ns:
        c.probes_stamp_ns = now
    elif c.user_timeout_ms and now - c.probes_stamp_ns >= c.user_timeout_ms * MS:
        c.timed_out(now)
        return
    most = c.settings.tcp_retries2
    if c.orphan:
        alive = persist.delay_ns(c) < c.rto_max_ns
        most = orphan_retries(c, alive)
        if not alive and c.backoff >= most:
            c.timed_out(now)
            return
    if c.probes_out >= most:
        c.timed_out(now)
        return
    persist.probe(c, now)


def set_keepalive(c: Connection, on: bool, now: int) -> None:
    """SO_KEEPALIVE was set, or taken back."""
    if on and not c.keepalive_on and c.state not in (CLOSED, SYN_SENT):
        c.start_keepalive(now)
    c.keepalive_on = on
    if not on:
        c.keepalive_ns = 0


def keepalive_timeout(c: Connection, now: int) -> None:
    """RFC 9293 section 3.8.4: probe a peer that has been silent."""
    c.keepalive_ns = 0
    idle = c.keep_idle * SECOND
    delay = idle
    if not c.packets_out and c.snd_nxt >= c.write_seq:
        elapsed = now - max(c.lrcvtime_ns, c.rcv_tstamp_ns)
        if elapsed >= idle:
            timeout = c.user_timeout_ms * MS
            if (timeout and elapsed >= timeout and c.probes_out > 0) or (not timeout and c.probes_out >= c.keep_cnt):
                output.send_reset(c, now)
                c.timed_out(now)
                return
            c.counters.TCPKeepAlive += 1
            emit(c, c.snd_una - 1, ACK, (), 0, now)
            c.probes_out += 1
            delay = c.keep_intvl * SECOND
        else:
            delay = idle - elapsed
            c.probes_out = 0  # something came, whatever it was: the peer is there
    c.keepalive_ns = now + delay
    c.rearm(c.keepalive_ns)
