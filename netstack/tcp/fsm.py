"""The state machine (RFC 9293 section 3.3.2) as a table, and SEGMENT ARRIVES (section 3.10.7) in the RFC's order.

`TRANSITIONS[state][event]` is Figure 5, with the edges that section 3.10 adds to it (RST, timeouts, ABORT) and without
the one from LISTEN to SYN-SENT, which no system call asks for. Code changes the state only through `move`.

Here are SYN-SENT (3.10.7.3) and the other states (3.10.7.4); a connection is in SYN-RECEIVED in a simultaneous open, or
when the ACK that completes a handshake has just made it. CLOSED (3.10.7.1) is in `engine`, LISTEN (3.10.7.2) and
SYN-RECEIVED before that ACK are in `listener`, TIME-WAIT is in `timewait`. PAWS (RFC 7323 section 5.3) comes before the
first step of 3.10.7.4, and RST, SYN and unacceptable ACKs are answered as RFC 5961 says. The third step, security and
compartment, is left out: those IP options are not implemented. In front of all this stands header prediction (RFC 7323
section 5.6) for the two most frequent kinds of segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netstack.tcp import ack as acking
from netstack.tcp import (
    delack,
    handshake,
    mtuprobe,
    options,
    output,
    predict,
    rack,
    reassembly,
    recvbuf,
    rto,
    timewait,
    window,
)  # fmt: skip
from netstack.tcp.emit import emit_syn
from netstack.tcp.scoreboard import Sent
from netstack.tcp.segment import ACK, CWR, ECE, FIN, OPT_TIMESTAMP, PSH, RST, SYN, URG
from netstack.tcp.seq import HALF, MASK, unwrap
from netstack.tcp.tcb import (
    CA_OPEN,
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    LISTEN,
    RETRANS,
    SECOND,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
    URGENT_AHEAD,
)  # fmt: skip

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection
    from netstack.tcp.segment import Segment

# Events.
OPEN_ACTIVE: Final = "active open"
OPEN_PASSIVE: Final = "passive open"
RCV_SYN: Final = "rcv SYN"
RCV_SYN_ACK: Final = "rcv SYN,ACK"
ACK_OF_SYN: Final = "rcv ACK of SYN"
CLOSE: Final = "CLOSE"
RCV_FIN: Final = "rcv FIN"
ACK_OF_FIN: Final = "rcv ACK of FIN"
RCV_RST: Final = "rcv RST"
TIMEOUT: Final = "timeout"
ABORT: Final = "ABORT"

_GONE = {RCV_RST: CLOSED, TIMEOUT: CLOSED, ABORT: CLOSED}

TRANSITIONS: Final[dict[int, dict[str, int]]] = {
    CLOSED: {OPEN_ACTIVE: SYN_SENT, OPEN_PASSIVE: LISTEN},
    LISTEN: {RCV_SYN: SYN_RECEIVED, CLOSE: CLOSED, ABORT: CLOSED},
    SYN_SENT: {RCV_SYN_ACK: ESTABLISHED, RCV_SYN: SYN_RECEIVED, CLOSE: CLOSED, **_GONE},
    SYN_RECEIVED: {ACK_OF_SYN: ESTABLISHED, CLOSE: FIN_WAIT_1, RCV_FIN: CLOSE_WAIT, **_GONE},
    ESTABLISHED: {CLOSE: FIN_WAIT_1, RCV_FIN: CLOSE_WAIT, **_GONE},
    FIN_WAIT_1: {ACK_OF_FIN: FIN_WAIT_2, RCV_FIN: CLOSING, **_GONE},
    FIN_WAIT_2: {RCV_FIN: TIME_WAIT, **_GONE},
    CLOSE_WAIT: {CLOSE: LAST_ACK, **_GONE},
    CLOSING: {ACK_OF_FIN: TIME_WAIT, **_GONE},
    LAST_ACK: {ACK_OF_FIN: CLOSED, **_GONE},
    TIME_WAIT: {TIMEOUT: CLOSED, RCV_RST: CLOSED, ABORT: CLOSED},
}

_EDGES: Final = [TRANSITIONS.get(state, {}) for state in range(max(TRANSITIONS) + 1)]
"""The same by number."""

TEXT_STATES = 1 << ESTABLISHED | 1 << FIN_WAIT_1 | 1 << FIN_WAIT_2  # where the peer may still send data
WITHOUT_PLAIN_ACK = ~(PSH | ECE | CWR)  # flags that do not make an ACK any less plain are masked out
PAWS_24_DAYS_NS = 24 * 86_400 * SECOND
PAWS_WINDOW_MS = 1
"""A timestamp may be older than TS.Recent by so much (Linux's TCP_PAWS_WINDOW, for clocks of several processors)."""


def move(c: Connection, event: str) -> int:
    """Go where the table says; ValueError for an event the state does not have."""
    state = _EDGES[c.state].get(event)
    if state is None:
        raise ValueError(f"no transition for {event!r} in state {c.state}")
    if c.state != state:
        c.state_changed(c.state, state)
        c.state = state
    return state


# 3.10.5 The ABORT call.


def abort(c: Connection, now: int) -> bool:
    """The user gives the connection up. True when anything was lost by it. In CLOSING and LAST-ACK both sides have said
    everything, so no RST is sent there."""
    if c.state == CLOSED or c.state == TIME_WAIT:
        return False
    if c.state in (CLOSING, LAST_ACK) and c.snd_nxt == c.write_seq:
        c.done(now)
        return False
    c.abort(now)
    return True


# 3.10.7 SEGMENT ARRIVES.


def segment_arrives(c: Connection, seg: Segment, now: int) -> None:
    """One segment for this connection."""
    state = c.state
    c.segs_in += seg.gso_segs
    if seg.length:
        c.data_segs_in += seg.gso_segs
    plain = state == ESTABLISHED and seg.flags & WITHOUT_PLAIN_ACK == ACK
    if plain and not c.ooo and c.ca_state == CA_OPEN and c.urg_data != URGENT_AHEAD:
        # Header prediction: the next data in order, or a good ACK, and nothing else that is new.
        rcv_nxt = c.rcv_nxt
        opts = seg.options
        if seg.seq == rcv_nxt & MASK and (opts == OPT_TIMESTAMP if c.ts_ok else not opts):
            length = seg.length
            ts_good = True
            if c.ts_ok:
                tsval = seg.tsval
                if (tsval - c.ts_recent) & MASK < HALF:
                    c.saw_ts = True
                    c.rcv_tsecr = seg.tsecr
                else:
                    ts_good = False
            if ts_good:
                una = c.snd_una
                ack = una + ((seg.ack - una) & MASK)
                same_window = seg.window << c.snd_wscale == c.snd_wnd and not seg.flags & (ECE | CWR)
                if not length:
                    if una < ack <= c.snd_nxt:
                        if c.ts_ok:
                            c.rcv_rtt_last_tsecr = seg.tsecr
                            if rcv_nxt == c.rcv_wup:
                                c.ts_recent = tsval
                                c.ts_recent_ns = now
                        c.counters.TCPHPAcks += 1
                        if not (same_window and predict.acknowledged(c, rcv_nxt, ack, now)):
                            acking.process(c, seg, rcv_nxt, ack, now)
                        after_ack(c, now)
                        if c.wake_pending:
                            c.wake()
                        return
                elif (
                    same_window
                    and ack <= c.snd_nxt
                    and c.rmem <= c.rcvbuf
                    and length <= c.rcv_wup + c.rcv_wnd - rcv_nxt
                    and not seg.flags & (ECE | CWR)
                ):
                    if c.ts_ok and rcv_nxt == c.rcv_wup:
                        c.ts_recent = tsval
                        c.ts_recent_ns = now
                    if ack == una:
                        c.snd_wl1 = rcv_nxt
                        c.rcv_tstamp_ns = now
                        if not c.rmem:
                            c.probes_out = 0  # while data waits to be read, Linux does not look at this ACK
                        plain = True
                    else:
                        plain = (
                            c.rmem + window.truesize(length) <= c.rcvbuf
                            and not c.sacks
                            and predict.acknowledged(c, rcv_nxt, ack, now)
                        )
                    if plain:
                        if c.ts_ok:
                            window.rtt_from_ts(c, seg, now)
                        c.counters.TCPHPHits += 1
                        reassembly.in_order(c, seg, now)
                        if ack != una:
                            after_ack(c, now)
                        delack.after_telling(c, now)
                        return
    if state == SYN_SENT:
        syn_sent(c, seg, now)
    elif state != CLOSED:
        synchronized(c, seg, now)
    if c.wake_pending:
        c.wake()


def after_ack(c: Connection, now: int) -> None:
    """An ACK may have opened cwnd, the window or the send buffer."""
    if c.snd_nxt < c.write_seq:
        output.write(c, now)
    c.check_space(now)


# 3.10.7.3 SYN-SENT.


def syn_sent(c: Connection, seg: Segment, now: int) -> None:
    """SYN-SENT (3.10.7.3)."""
    flags = seg.flags
    ack = 0
    # First, the ACK bit.
    if flags & ACK:
        ack = unwrap(seg.ack, c.snd_nxt)
        if ack <= c.iss or ack > c.snd_nxt:
            if not c.retransmits:  # the peer has an old connection, which our RST ends: send the SYN again soon (Linux)
                rto.arm(c, RETRANS, rack.TIMEOUT_MIN_NS, now)
            if not flags & RST:
                c.engine.reset_for(seg, now)
            return
        if c.ts_ok and seg.options & OPT_TIMESTAMP and seg.tsecr:
            # TSecr has to be a timestamp that one of our SYNs carried (RFC 7323 section 3.2; the check is Linux's).
            late = (now // 1_000_000 + c.ts_offset - seg.tsecr) & MASK
            sent = (now - c.syn_stamp_ns) // 1_000_000
            if late >= HALF or late > sent + 1:
                c.counters.PAWSActive += 1
                if not flags & RST:
                    c.engine.reset_for(seg, now)
                return
    # Second, the RST bit.
    if flags & RST:
        if flags & ACK:
            c.reset_by_peer(now)
        return
    # Fourth, the SYN bit.
    if not flags & SYN:
        return
    c.irs = seg.seq
    c.rcv_nxt = c.rcv_wup = c.copied_seq = c.irs + 1
    c.snd_wl1 = c.irs
    options.settle(c, seg, now)
    mtuprobe.start(c, now)
    if flags & ACK:
        if c.ecn_ok and flags & (ECE | CWR) != ECE:
            c.ecn_ok = False
        seg_window = seg.window
        c.snd_wnd = seg_window
        c.max_window = seg_window
        if seg_window:
            c.sync_mss()
        c.snd_wl1 = seg.seq
        acking.process(c, seg, c.irs, ack, now)
        c.snd_wnd = seg_window  # the window of a SYN is never scaled
        move(c, RCV_SYN_ACK)
        handshake.established(c, now)
        # The RFC goes on with text and FIN of a SYN-ACK. Linux takes them for Fast Open alone, and so does this: the
        # peer has to send them again.
        if delack.in_pingpong(c) or (c.sock is not None and c.sock.defer_accept):
            delack.hold(c, now)  # the user has said that data follows at once, and the data will carry the ACK
        else:
            output.send_ack(c, now)
        return
    # Simultaneous open.
    if c.ecn_ok and flags & (ECE | CWR) != ECE | CWR:
        c.ecn_ok = False
    c.snd_wnd = c.max_window = seg.window
    c.sync_mss()
    move(c, RCV_SYN)
    c.rcv_mss = max(88, min(c.advmss, c.mss_cache, c.rcv_wnd // 2, options.MSS_DEFAULT))
    rec: Sent = c.rtx[0]
    rec.flags = SYN | ACK
    if c.path.generation != c.path.stack.routes.generation:
        c.reroute(now)
    options.renew_advertised(c)
    emit_syn(c, rec, now, again=False)


# 3.10.7.4 The other states.


def synchronized(c: Connection, seg: Segment, now: int) -> None:
    """The checks of 3.10.7.4 in its order: sequence number, RST, SYN, ACK, URG, text, FIN."""
    flags = seg.flags
    if c.fin_wait_ns and c.state == FIN_WAIT_2:
        timewait.fin_wait_2(c, seg, now)
        return
    if not flags & (ACK | RST | SYN):
        return  # the fifth step would drop it; like Linux, no step before that answers it
    seq = unwrap(seg.seq, c.rcv_nxt)
    length = seg.length
    end = seq + length + (flags & FIN) + (1 if flags & SYN else 0)
    ts = c.ts_ok and seg.options & OPT_TIMESTAMP
    c.saw_ts = bool(ts)
    if ts:
        c.rcv_tsecr = seg.tsecr
        # RFC 7323 section 5.3 R1: PAWS.
        if not paws_ok(c, seg, seq, end, now) and not flags & RST:
            c.counters.PAWSEstab += 1
            if flags & SYN:
                c.challenge_ack(now, syn=True)
            elif end == seq < c.rcv_nxt and flags & ACK:
                pass  # an ACK without text that was overtaken on its way needs no answer
            elif not c.oow_limited(length, flags, now):
                duplicate_ack(c, seq, end, now)
            return
    # First, the sequence number: the test of section 3.4, as wide as Linux has it. What ends at or after the RCV.NXT
    # that was acknowledged last is not too old, and while nothing waits to be read a segment may reach beyond the
    # window.
    right = c.rcv_nxt + c.receive_window()
    if end < c.rcv_wup or (end - (flags & FIN) > right and (seq > right or c.rcvq)):
        if not flags & RST:
            if flags & SYN:
                c.challenge_ack(now, syn=True)
                return
            if end >= c.rcv_wup:
                c.counters.BeyondWindow += 1
            if not c.oow_limited(length, flags, now):
                duplicate_ack(c, seq, end, now)
        elif reset_after_fin(c, seq):
            c.reset_by_peer(now)
        return
    # Second, the RST bit (RFC 5961 section 3.2).
    if flags & RST:
        exact = seq == c.rcv_nxt or reset_after_fin(c, seq)
        if not exact and c.sacks and seq == max(block[1] for block in c.sacks):
            exact = True  # segments before the RST were lost: it stands where the last one received ends (Linux)
        if exact:
            c.reset_by_peer(now)
        else:
            c.challenge_ack(now)
        return
    # Fourth, the SYN bit (RFC 5961 section 4.2).
    unscaled = False
    if flags & SYN:
        if not (
            c.state == SYN_RECEIVED
            and flags & ACK
            and seq + 1 == end == c.rcv_nxt
            and unwrap(seg.ack, c.snd_nxt) == c.snd_nxt
        ):
            c.challenge_ack(now, syn=True)
            return
        seq += 1
        unscaled = True
        seg.flags = flags = flags & ~SYN
    # Fifth, the ACK field (what has none was dropped or answered above).
    ack = unwrap(seg.ack, c.snd_una)
    # These numbers are kept in several variables: take the object that the TCB has where it is equal, to save memory.
    if ack == c.snd_nxt:
        ack = c.snd_nxt
    if seq == c.rcv_nxt:
        seq = c.rcv_nxt
    if ts and seq <= c.rcv_wup and (c.snd_una <= ack or predicted(c, seg, seq)) and ack <= c.snd_nxt:
        # RFC 7323 section 4.3 (2): SEG.TSval is taken when SEG.SEQ <= Last.ACK.sent (and SEG.ACK is acceptable).
        expired = now - c.ts_recent_ns >= PAWS_24_DAYS_NS  # RFC 7323 section 5.5
        if (seg.tsval - c.ts_recent) & MASK <= HALF or expired or not c.ts_recent:
            c.ts_recent = seg.tsval
            c.ts_recent_ns = now
    if c.state == SYN_RECEIVED:
        if not c.snd_una < ack <= c.snd_nxt:
            c.engine.reset_for(seg, now)
            return
        move(c, ACK_OF_SYN)
        if c.rtx:
            c.delivered += 1  # of a simultaneous open both count, the SYN and the SYN-ACK
            c.advmss -= c.option_bytes
        c.snd_wnd = c.max_window = seg.window << c.snd_wscale
        c.snd_wl1 = seq
        acking.process(c, seg, seq, ack, now)
        if unscaled:
            c.snd_wnd = c.max_window = seg.window  # the window of a SYN is never scaled (RFC 7323 section 2.2)
            c.snd_wl1 = seq - 1
        handshake.established(c, now)
        acking.update_pacing_rate(c)
        if c.sock is not None and c.sock.shutdown_mask & 2:
            move(c, CLOSE)  # shut down before it was established
            c.send_fin(now)
        c.wake_pending = True
    else:
        verdict = acking.process(c, seg, seq, ack, now)
        if verdict < 0:
            # RFC 5961 section 5.2: SEG.ACK is too old, or acknowledges what was never sent.
            c.challenge_ack(now)
            return
        if not length and not flags & FIN:
            if ts:
                c.rcv_rtt_last_tsecr = seg.tsecr  # text that echoes it again later is no round-trip sample
            if verdict == 0:
                after_ack(c, now)
                return
    if c.fin_out and c.snd_una == c.write_seq == c.snd_nxt and not fin_acknowledged(c, seg, seq, end, now):
        return
    state = c.state
    # Sixth, the URG bit.
    if (flags & URG or c.urg_data == URGENT_AHEAD) and TEXT_STATES >> state & 1:
        recvbuf.urgent_arrives(c, seg, seq)
    # Seventh and eighth: the text and the FIN.
    if TEXT_STATES >> state & 1 or state in (CLOSE_WAIT, CLOSING, LAST_ACK):
        beyond = (length or flags & FIN) and end - (flags & FIN) > c.rcv_nxt
        if beyond and (unread(c) if state in (FIN_WAIT_1, FIN_WAIT_2) else c.fin_received and seq < c.rcv_nxt):
            # Nobody will read this any more (RFC 9293 section 3.6.1, RFC 2525 section 2.17), or it is behind a FIN.
            c.counters.TCPAbortOnData += 1
            c.engine.reset_for(seg, now)
            c.reset_by_peer(now)
            return
        if length or flags & FIN:
            if c.ts_ok:
                window.rtt_from_ts(c, seg, now)
            if TEXT_STATES >> state & 1:
                reassembly.receive(c, seg, seq, now)
            elif seq < c.rcv_nxt and end <= c.rcv_nxt:
                reassembly.receive(c, seg, seq, now)  # the peer's FIN again: it is acknowledged again
    if c.state == CLOSED or c.state == TIME_WAIT:
        return
    if unscaled:  # a simultaneous open's SYN-ACK: its SYN is a duplicate, and answered as one
        duplicate_ack(c, seq - 1, seq, now)
    if c.snd_nxt < c.write_seq:
        output.write(c, now)
    c.check_space(now)
    if c.ack_pending:
        if c.wake_pending:
            delack.after_telling(c, now)
        else:
            delack.check(c, now)


def predicted(c: Connection, seg: Segment, seq: int) -> bool:
    """Linux takes the timestamp of an ACK that was overtaken when header prediction would have taken the segment."""
    plain = c.state == ESTABLISHED and seg.flags & ~PSH == ACK and not c.ooo and c.urg_data != URGENT_AHEAD
    return bool(plain and seq == c.rcv_nxt and seg.window << c.snd_wscale == c.snd_wnd)


def unread(c: Connection) -> bool:
    """Nobody will read what comes now: closed, or shut down for reading."""
    return bool(c.orphan or (c.sock is not None and c.sock.shutdown_mask & 1))


def paws_ok(c: Connection, seg: Segment, seq: int, end: int, now: int) -> bool:
    """RFC 7323 section 5.3, R1: the timestamp is not older than TS.Recent, or TS.Recent is outdated (section 5.5) or
    not known; or the segment is one that Linux lets through (tcp_disordered_ack)."""
    behind = (c.ts_recent - seg.tsval) & MASK
    if behind <= PAWS_WINDOW_MS or behind >= HALF:
        return True
    if now - c.ts_recent_ns >= PAWS_24_DAYS_NS:
        return True
    if not c.ts_recent:
        return True
    # A duplicate ACK that was overtaken on its way does no harm, and carries SACK information.
    ack = unwrap(seg.ack, c.snd_una)
    return bool(
        end == seq == c.rcv_nxt
        and not seg.flags & (SYN | FIN | RST)
        and ack == c.snd_una
        and not (seq > c.snd_wl1 or (seq == c.snd_wl1 and not 0 < seg.window << c.snd_wscale <= c.snd_wnd))
        and behind <= c.rto_ns * 6 // 5_000_000  # within an RTO, on a timestamp clock of up to 1200 Hz
    )


def reset_after_fin(c: Connection, seq: int) -> bool:
    """Some peers do not count their FIN in the sequence number of a RST that follows it (Linux's tcp_reset_check)."""
    return bool(c.fin_received and seq == c.rcv_nxt - 1 and c.state in (CLOSE_WAIT, LAST_ACK, CLOSING))


def duplicate_ack(c: Connection, seq: int, end: int, now: int) -> None:
    """An unacceptable segment is answered with an ACK (first step), which reports old text as a D-SACK (RFC 2883)."""
    if end != seq and seq < c.rcv_nxt:
        c.counters.DelayedACKLost += 1
        delack.enter_quickack(c)
        if c.sack_ok:
            reassembly.set_dsack(c, seq, min(end, c.rcv_nxt))
    output.send_ack(c, now)


def fin_acknowledged(c: Connection, seg: Segment, seq: int, end: int, now: int) -> bool:
    """Fifth step, by state: our FIN is acknowledged. False when the connection is gone."""
    state = c.state
    if state == FIN_WAIT_1:
        move(c, ACK_OF_FIN)
        c.wake_pending = True
        if c.orphan:
            if c.linger2 < 0:
                c.counters.TCPAbortOnData += 1
                c.engine.reset_for(seg, now)
                c.done(now)
                return False
            if end != seq and end - (seg.flags & FIN) > c.rcv_nxt:
                c.counters.TCPAbortOnData += 1
                c.engine.reset_for(seg, now)
                c.done(now)
                return False
            c.fin_wait_timeout(now)
    elif state == CLOSING:
        c.time_wait(now)
        return False
    elif state == LAST_ACK:
        move(c, ACK_OF_FIN)
        c.done(now)
        return False
    return True


def fin_arrives(c: Connection, now: int) -> None:
    """Eighth step: the FIN bit, in order. RCV.NXT has passed over it."""
    c.fin_received = True
    c.bytes_received += 1  # as Linux counts
    c.ack_pending |= delack.SCHED
    c.wake_pending = True
    state = c.state
    if state in (FIN_WAIT_1, FIN_WAIT_2):
        output.send_ack(c, now)  # at once, as in Linux, while it still reports what was held out of order
    for entry in c.ooo:
        c.rmem -= window.truesize(len(entry[2]))
    c.ooo = []
    c.sacks = []
    c.dsack = None
    if state in (SYN_RECEIVED, ESTABLISHED):
        move(c, RCV_FIN)
        c.ack_pingpong = c.settings.tcp_pingpong_thresh
    elif state == FIN_WAIT_1:
        move(c, RCV_FIN)
    elif state == FIN_WAIT_2:
        c.time_wait(now)
