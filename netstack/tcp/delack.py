"""When to acknowledge (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2), with Linux's adaptive delay.

An ACK goes out at once in quick-ACK mode (at the beginning of a connection, after a loss, for out-of-order data), when
more than one full-sized segment is unacknowledged and the window can follow, and when something asked for it (`NOW`).
Otherwise it goes out after `ato_ns`, the smoothed time between arrivals, which is kept between 40 ms and 200 ms. A
connection that answers within that time is interactive ("pingpong"): its ACKs wait for the answer.

There is one exception of this stack's own, for frames that come in batches, between which the application reads. Once
segments have come out of order, the path may lose ACKs as well, and one for a whole batch would be too few. So, as long
as the window is far from closed, the first two segments of a batch are acknowledged whether or not the window can
follow, then each sixteenth of what comes in a round trip (or every second segment where that is less), and the rest
when it is read. A flight thus has at least two ACKs. With a single one, which the path may lose, the peer would send a
loss probe, and the ACK of that one segment would be delayed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import output, window
from netstack.tcp.tcb import CLOSED, MS

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

# Bits of ack_pending (PUSHED, PUSHED2: a segment with PSH, or a small one, came; once, twice).
SCHED, TIMER, PUSHED, PUSHED2, NOW, HELD = 1, 2, 4, 8, 16, 32


def incr_quickack(c: Connection, most: int) -> None:
    """Acknowledge the next segments at once, about as many as half a window takes, `most` at most."""
    quick = c.rcv_wnd // (2 * c.rcv_mss) if c.rcv_mss else 0
    quick = min(quick or 2, most)
    if quick > c.ack_quick:
        c.ack_quick = quick


def enter_quickack(c: Connection) -> None:
    """Quick-ACK mode: the sender needs each ACK soon, because of a gap (RFC 5681 section 4.2) or of CE (RFC 3168)."""
    incr_quickack(c, c.settings.tcp_max_quickacks)
    c.ack_pingpong = 0
    c.ato_ns = c.settings.tcp_delack_min_ms * MS


def hold(c: Connection, now: int) -> None:
    """Delay an ACK for as long as one may be delayed."""
    enter_quickack(c)
    c.ack_pending |= SCHED | TIMER
    c.delack_ns = now + c.delack_max_ns
    c.rearm(c.delack_ns)


def in_pingpong(c: Connection) -> bool:
    return bool(c.ack_pingpong >= c.settings.tcp_pingpong_thresh)


def data_received(c: Connection, now: int) -> None:
    """In-order data came: adapt `ato_ns` to the time between arrivals (Linux's tcp_event_data_recv)."""
    c.ack_pending |= SCHED
    ato = c.ato_ns
    if not ato:
        incr_quickack(c, c.settings.tcp_quickack_segs)
        c.ato_ns = c.settings.tcp_delack_min_ms * MS
    else:
        gap = now - c.lrcvtime_ns
        least = c.settings.tcp_delack_min_ms * MS
        if gap <= least >> 1:
            c.ato_ns = (ato >> 1) + (least >> 1)
        elif gap < ato:
            ato = (ato >> 1) + gap
            c.ato_ns = ato if ato < c.rto_ns else c.rto_ns
        elif gap > c.rto_ns:
            incr_quickack(c, c.settings.tcp_max_quickacks)
    c.lrcvtime_ns = now


def after_telling(c: Connection, now: int) -> None:
    """After a segment: tell the application, then acknowledge what it has not answered at once.

    An application that is called back, and not only woken, may read and send within the call: the ACKs and window
    updates that its reading calls for wait until the call is over. Where the engine keeps a list (`Tcp.told`), an
    application that is woken has time until that is settled. It has not if the window has to follow, or if the path has
    lost or reordered segments: there each ACK may be the one that arrives.
    """
    copied = c.copied_seq
    c.ack_pending |= HELD
    c.wake()
    if c.ack_pending & HELD:
        told = c.engine.told
        if told is not None and not c.ack_pending & NOW and not c.rcv_ooopack and c.rcv_nxt - c.rcv_wup <= c.rcv_mss:
            told.append((c, copied))
        else:
            let_go(c, copied, now)


def let_go(c: Connection, copied: int, now: int) -> None:
    """The application has had its chance to answer; `copied` is what `copied_seq` was before."""
    if c.ack_pending & HELD:
        c.ack_pending &= ~HELD
        if c.state != CLOSED:
            copied = c.copied_seq - copied
            if copied:
                after_read(c, copied, now)
            check(c, now)


def check(c: Connection, now: int) -> None:
    """After a segment: acknowledge now, later or not at all (Linux's __tcp_ack_snd_check)."""
    pending = c.ack_pending
    if not pending & SCHED:
        return
    ahead = c.rcv_nxt - c.rcv_wup
    if (
        (
            ahead > c.rcv_mss
            and (
                (c.rcv_ooopack and c.engine.batch and c.rcv_wnd - ahead > 2 * c.rcv_mss and early(c, ahead, now))
                or c.rcv_nxt - c.copied_seq < c.rcvlowat
                or window.candidate(c) >= c.rcv_wnd
            )
        )
        or (c.ack_quick and not in_pingpong(c))
        or pending & NOW
        or c.quickack_user
    ):
        output.send_ack(c, now)
        return
    if not c.ooo:
        delay(c, now)
        return
    # Out of order: duplicate ACKs at once (RFC 5681 section 4.2), but after the third Linux compresses them.
    if not c.sack_ok or c.compressed_ack >= c.settings.tcp_comp_sack_nr:
        output.send_ack(c, now)
        return
    if c.compressed_ack_rcv_nxt != c.rcv_nxt:
        c.compressed_ack_rcv_nxt = c.rcv_nxt
        c.dup_ack_counter = 0
    if c.dup_ack_counter < 3:
        c.dup_ack_counter += 1
        output.send_ack(c, now)
        return
    c.compressed_ack += 1
    if not c.comp_sack_ns:
        rtt = c.rcv_rtt_us
        if c.srtt_us and c.srtt_us < rtt:
            rtt = c.srtt_us
        c.comp_sack_ns = now + min(c.settings.tcp_comp_sack_delay_ns, rtt * 125 // 20)
        c.rearm(c.comp_sack_ns)


def early(c: Connection, ahead: int, now: int) -> bool:
    """Whether more than a segment is to be acknowledged before the whole batch has been taken, which comes at one `now`
    (the exception above)."""
    if ahead > c.rcvq_space >> 4:
        return True
    if now == c.early_ack_ns:
        return False
    c.early_ack_ns = now
    return True


def delay(c: Connection, now: int) -> None:
    """Arm the delayed-ACK deadline (Linux's tcp_send_delayed_ack)."""
    settings = c.settings
    least = settings.tcp_delack_min_ms * MS
    ato = c.ato_ns
    if ato > least:
        most = c.delack_max_ns if in_pingpong(c) or c.ack_pending & PUSHED else 500 * MS
        if c.srtt_us:
            rtt = max((c.srtt_us >> 3) * 1000, least)
            if rtt < most:
                most = rtt
        if ato > most:
            ato = most
    if ato > c.delack_max_ns:
        ato = c.delack_max_ns
    at = now + ato
    if c.ack_pending & TIMER:
        if c.delack_ns <= now + (ato >> 2):
            output.send_ack(c, now)
            return
        if at >= c.delack_ns:
            at = c.delack_ns
    c.ack_pending |= SCHED | TIMER
    c.delack_ns = at
    if at < c.deadline_ns or not c.deadline_ns:
        c.rearm(at)


def expired(c: Connection, now: int) -> None:
    """The delayed-ACK deadline has passed: RFC 9293 section 3.8.6.3 allows 500 ms at most."""
    c.delack_ns = 0
    c.ack_pending &= ~TIMER
    if c.ack_pending & SCHED:
        if not in_pingpong(c):
            c.ato_ns = min(c.ato_ns << 1, c.rto_ns)
        else:
            c.ack_pingpong = 0
            c.ato_ns = c.settings.tcp_delack_min_ms * MS
        output.send_ack(c, now)
        c.counters.DelayedACKs += 1


def after_read(c: Connection, copied: int, now: int) -> None:
    """The application has read: send the ACK that waited for it, or a window update worth sending (RFC 9293 section
    3.8.6.2.2; Linux's tcp_cleanup_rbuf)."""
    pending = c.ack_pending
    if pending & HELD:
        return
    if pending & SCHED and (
        c.rcv_nxt - c.rcv_wup > c.rcv_mss
        or c.early_ack_ns == c.lrcvtime_ns
        or (copied > 0 and (pending & PUSHED2 or (pending & PUSHED and not in_pingpong(c))) and not c.rmem)
    ):
        send_read(c, now)
        return
    if copied > 0 and not c.fin_received:
        left = c.receive_window()
        if 2 * left <= c.window_clamp and not (c.sock is not None and c.sock.shutdown_mask & 1):
            new = window.candidate(c)
            if new and new >= 2 * left:
                send_read(c, now)


def send_read(c: Connection, now: int) -> None:
    """The ACK of a reader. It does not set Linux's clock of what left last: that says when something last came."""
    since = max(c.tso_ns, c.lrcvtime_ns)
    output.send_ack(c, now)
    c.tso_ns = since
