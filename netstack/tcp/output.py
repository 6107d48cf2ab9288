"""What may be sent now, and sending it (RFC 9293 section 3.8; RFC 5681).

`write` sends new data as long as cwnd (RFC 5681 section 3.1), the peer's window, silly window avoidance (RFC 9293
section 3.8.6.2.1) and the Nagle algorithm (section 3.7.4, in Minshall's variant of appendix A.3: only one small segment
may be unacknowledged) allow, as super-segments whose payload is the application's own buffers. `retransmit_lost` sends
again what recovery marked lost (RFC 6675 section 5). Headers are put in front by `emit`.

Exceptions to "new data only within cwnd": a tail loss probe (`push_one=2`), and window probes (`persist`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netstack.tcp import burst, chrono, congested, pacing, persist, rack, rate, recovery, rto, validation
from netstack.tcp.congestion import TX_START
from netstack.tcp.emit import emit, emit_syn
from netstack.tcp.options import renew_advertised
from netstack.tcp.scoreboard import (
    EVER_RETRANS,
    LOST,
    RETRANS_OUT,
    SACKED,
    Link,
    Sent,
    index_of,
    link_last,
    set_mss,
    split,
)  # fmt: skip
from netstack.tcp.segment import ACK, FIN, PSH, RST, SYN
from netstack.tcp.tcb import (
    CA_CWR,
    CA_LOSS,
    CA_RECOVERY,
    LOSS_PROBE,
    MS,
    PROBE0,
    REO_TIMEOUT,
    RETRANS,
    SYN_SENT,
)  # fmt: skip

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

NAGLE_OFF, NAGLE_CORK, NAGLE_PUSH = 1, 2, 4
GSO_MAX = 65_160  # payload of a super-segment: headers and 64 KiB - 1 of IP length
MAX_FRAGS = 16  # more buffers than this in one segment are joined


def send_ack(c: Connection, now: int) -> None:
    """A bare acknowledgment, <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>."""
    emit(c, acceptable_seq(c), ACK, (), 0, now)
    c.tso_ns = now
    if c.paced and congested.refuses(c):
        recovery.enter_cwr(c, now)


def acceptable_seq(c: Connection) -> int:
    """SND.NXT; but where the peer has shrunk its window below that, the window's right edge, since the peer would not
    accept a segment beyond it (RFC 9293 section 3.10.7.4, first step)."""
    beyond = c.snd_nxt - c.snd_una - c.snd_wnd
    if beyond <= 0 or (c.wscale_ok and beyond < 1 << c.rcv_wscale):
        return int(c.snd_nxt)
    return int(c.snd_nxt - beyond)


def current_mss(c: Connection) -> int:
    """How much payload fits beside the options of the moment (RFC 9293 section 3.7.1; RFC 6691)."""
    mss: int = c.mss_cache
    if c.sacks or c.dsack is not None:
        n = min(len(c.sacks) + (c.dsack is not None), 3 if c.ts_ok else 4)
        mss -= 4 + 8 * n
    return mss


def tso_segs(c: Connection, mss: int) -> int:
    """How many segments a super-segment may have: about a millisecond at the pacing rate, more on short paths (Linux's
    tcp_tso_autosize)."""
    settings = c.settings
    size = c.pacing_rate >> 10
    shift = c.min_rtt_us >> settings.tcp_tso_rtt_log
    if shift < 32:
        size += GSO_MAX >> shift
    if size > GSO_MAX or not c.pacing_rate:
        size = GSO_MAX
    segs = size // mss
    if segs < settings.tcp_min_tso_segs:
        segs = settings.tcp_min_tso_segs
    most = GSO_MAX // mss
    if segs > most:
        segs = most
    return int(segs) or 1


def nagle_holds(c: Connection, nonagle: int) -> bool:
    """Whether a segment smaller than the MSS has to wait (RFC 9293 section 3.7.4 and appendix A.3; TCP_CORK)."""
    if nonagle & NAGLE_CORK:
        return True
    return bool(not nonagle and c.packets_out and c.snd_una < c.snd_sml <= c.snd_nxt)


def should_defer(c: Connection, in_flight: int, mss: int, max_segs: int, now: int, size: int, last: bool) -> int:
    """Whether to wait for the next ACK rather than send a part of a super-segment, which is silly window avoidance for
    those (Linux's tcp_tso_should_defer). The first buffer has `size` bytes, and is the `last` that waits or not.
    0: no, 1: yes, 3: yes, and cwnd is the limit, 5: yes, and the peer's window is."""
    since: int = c.wstamp_ns if c.wstamp_ns > c.tso_ns else c.tso_ns  # a paced segment counts from when it was due
    if c.ca_state >= CA_RECOVERY or now - since >= MS:
        return 0
    send_win = c.snd_una + c.snd_wnd - c.snd_nxt
    cong_win = (c.cwnd - in_flight) * mss
    limit = send_win if send_win < cong_win else cong_win
    if limit >= max_segs * mss or (not last and limit >= size):
        return 0
    divisor = c.settings.tcp_tso_win_divisor
    if divisor and limit >= min(c.snd_wnd, c.cwnd * mss) // divisor:
        return 0
    if not c.rtx:
        return 0
    srtt_ns = (c.srtt_us >> 3) * 1000
    if c.rtx[0].xmit_ns + srtt_ns - now > min(srtt_ns >> 1, MS):
        return 0
    if cong_win < send_win:
        if cong_win <= size:
            return 3
    elif send_win <= size:
        return 5
    return 0 if (last and c.fin_queued) or c.snd_nxt + size in c.eor else 1


def take(c: Connection, size: int) -> tuple[Any, ...]:
    """The first `size` bytes of what waits to be sent, as views of the buffers they came in."""
    unsent = c.unsent
    c.unsent_bytes -= size
    chunk = unsent[0]
    have = len(chunk)
    if have == size:
        return (unsent.pop(0),)
    if have > size:
        view = memoryview(chunk)
        unsent[0] = view[size:]
        return (view[:size],)
    frags = []
    while size:
        chunk = unsent[0]
        have = len(chunk)
        if have <= size:
            frags.append(unsent.pop(0))
            size -= have
        else:
            view = memoryview(chunk)
            frags.append(view[:size])
            unsent[0] = view[size:]
            break
    if len(frags) > MAX_FRAGS:
        return (b"".join(frags),)
    return tuple(frags)


def record_end(c: Connection, seq: int, size: int) -> int:
    """How many of the `size` bytes at `seq` lie before the next end of a record (MSG_EOR)."""
    for end in c.eor:
        if end > seq:
            return int(min(size, end - seq))
    return size


def head_end(c: Connection, mss: int) -> int:
    """Where the next segment ends: the first buffer that waits, or a part of it."""
    end, size = c.write_seq, c.unsent_bytes
    if c.ends:
        end = c.ends[0]
        size = end - c.snd_nxt
    return int(c.snd_nxt + mss if size > mss else end)


def grow(c: Connection, most: int, mss: int) -> int:
    """Where the first buffer that waits ends, once it has taken from the second what it may: up to `most` bytes in all,
    and its PSH comes along. It goes on to those behind while its last segment would be a small one in the midst of data
    (RFC 9293 section 3.8.6.2.1). Linux takes from the second only, and sends such a segment.
    """
    ends, snd_nxt = c.ends, c.snd_nxt
    first = end = ends[0]
    while ends and end not in c.eor:
        short = snd_nxt + most - end
        if short <= 0 or (end > first and not (end - snd_nxt) % mss):
            break
        following = ends[1] if len(ends) > 1 else snd_nxt + c.unsent_bytes
        grown = following if following <= end + short else end + short
        if len(ends) == 1:
            c.tail_seq = snd_nxt if grown == following else grown
        if grown == following:
            del ends[0]
        else:
            ends[0] = grown
        if end in c.push_marks:
            c.push_marks = tuple(sorted({grown if mark == end else mark for mark in c.push_marks}))
        end = grown
    return int(end)


def gone(c: Connection) -> None:
    """Forget the ends of buffers that have been sent."""
    ends, snd_nxt = c.ends, c.snd_nxt
    while ends and ends[0] <= snd_nxt:
        del ends[0]


def push_due(c: Connection, end: int) -> int:
    """The flags of a segment that ends at `end`: with PSH if it reaches a place where one is due."""
    marks = c.push_marks
    if marks[0] > end:
        return ACK
    while marks and marks[0] <= end:
        marks = marks[1:]
    c.push_marks = marks
    return ACK | PSH


def write(c: Connection, now: int, push_one: int = 0, nagle: bool = True, cork: bool = False, most: int = 1) -> None:
    """Send what may be sent. With `push_one` 1 send at most `most` full buffers, which were just completed; with 2 a
    loss probe, which is of one segment whatever cwnd says, and of more where cwnd has room (as in Linux)."""
    if c.snd_nxt >= c.write_seq:
        return
    nonagle = c.nonagle if nagle else NAGLE_OFF
    if cork:
        nonagle |= NAGLE_CORK
    mss = current_mss(c)
    sent = 0
    if c.mtup is not None and not push_one:
        from netstack.tcp import mtuprobe

        sent = mtuprobe.probe(c, now)
        if sent == mtuprobe.WAIT:
            return
        sent = max(sent, 0)
    max_segs = tso_segs(c, mss)
    cwnd_limited = rwnd_limited = False
    wnd_end = c.snd_una + c.snd_wnd
    cwnd = c.cwnd
    while True:
        snd_nxt = c.snd_nxt
        if snd_nxt >= c.write_seq:
            break
        if c.paced and pacing.holds(c, now):
            break
        in_flight = c.packets_out - c.sacked_out - c.lost_out + c.retrans_out
        if in_flight >= cwnd:
            if push_one != 2:
                cwnd_limited = True
                break
            quota = 1
        else:
            quota = (cwnd >> 1) or 1
            if quota > cwnd - in_flight:
                quota = cwnd - in_flight
        if quota > max_segs:
            quota = max_segs
        avail = c.unsent_bytes
        last = True
        if c.ends:
            stop = grow(c, quota * mss, mss) - snd_nxt
            if stop < avail:
                avail, last = stop, False
        if c.snd_up:
            quota = 1  # the urgent pointer counts from each segment's own sequence number
        room = wnd_end - snd_nxt
        if avail <= mss:
            if avail + (last and c.fin_queued) > room:  # as in Linux, the FIN goes with its data or both wait
                rwnd_limited = True
                break
            if avail < mss and last and not c.fin_queued and nagle_holds(c, nonagle) and not c.snd_up:
                break
            size = avail
        else:
            if room < mss:
                rwnd_limited = True
                break
            if not push_one:
                defer = should_defer(c, in_flight, mss, max_segs, now, avail, last)
                if defer:
                    cwnd_limited = cwnd_limited or defer == 3
                    rwnd_limited = defer == 5
                    break
            size = mss * quota
            needed = avail if avail < room else room
            if size > needed:
                size = needed
                partial = size % mss
                if partial and (last or mss * quota > room) and nagle_holds(c, nonagle):
                    size -= partial
        end = snd_nxt + size
        flags = push_due(c, end) if c.push_marks else ACK
        if size == avail and last:
            if c.fin_queued and end + 1 <= wnd_end:
                flags |= FIN
                end += 1
            if c.pushed_seq >= snd_nxt + size and size:
                flags |= PSH
        if c.paced and congested.refuses(c):
            congested.refused(c, size, -(-size // mss) or 1, now)
            break
        rec = Sent(snd_nxt, end, take(c, size) if size else (), size, flags, mss)
        pcount = rec.pcount
        if pcount > 1:
            flags |= PSH
        rec.xmit_ns = now
        c.tx_order = rec.order = c.tx_order + 1
        rec.sends = 1
        rec.delivered = c.delivered
        prior = c.packets_out
        if not prior:
            c.cc.event(c, TX_START, now)
            rate.begin(c, now)
        rec.rate = c.rate
        full = size == max_segs * mss
        alike = full and pcount > 1 and rec.flags == ACK and burst.plain(c)
        # It is sent before it is entered into the queue and the list by time: nothing comes back before this returns.
        header = emit(c, snd_nxt, flags, rec.frags, size, now, mss if pcount > 1 else 0)
        c.rtx.append(rec)
        head = c.ts_head
        tail: Link = head.prev
        tail.next = rec
        rec.prev = tail
        rec.next = head
        head.prev = rec
        c.snd_nxt = end
        if c.ends:
            gone(c)
        c.packets_out = prior + pcount
        sent += pcount
        if c.was_full:
            c.check_space(now)  # less waits to be sent (Linux's tcp_event_new_data_sent), and cwnd may allow more
        if size:
            c.data_segs_out += pcount
            c.bytes_sent += size
            c.counters.TCPOrigDataSent += pcount
            if c.paced:
                pacing.sent(c, size, now)
            if size < pcount * mss:
                c.snd_sml = end
            if now - c.lrcvtime_ns < c.ato_ns:
                c.ack_pingpong += 1
            c.lsndtime_ns = now
        if flags & FIN:
            c.fin_queued = False
        c.tso_ns = now
        if not prior or c.pending == LOSS_PROBE or c.pending == PROBE0:
            rto.rearm(c, now)
        if push_one:
            most -= 1
            if push_one == 2 or not most or not full:
                break
        if alike and c.unsent_bytes > size:
            run = burst.run(c, rec, header, wnd_end, now, most if push_one else burst.MOST)
            sent += run * pcount
            if push_one:
                most -= run
                if not most:
                    break
    if rwnd_limited:
        chrono.start(c, chrono.RWND_LIMITED, now)
    elif c.chrono == chrono.RWND_LIMITED:
        chrono.stop(c, chrono.RWND_LIMITED, now)
    if c.ca_state == CA_RECOVERY or c.ca_state == CA_CWR:
        c.prr_out += sent
    if c.packets_out - c.sacked_out - c.lost_out + c.retrans_out >= cwnd:
        cwnd_limited = True
    if sent or cwnd_limited:
        validation.validate(c, cwnd_limited, now)
    if sent:
        if push_one != 2:
            rack.schedule_probe(c, False, now)
    elif not c.packets_out and not c.pending and c.snd_nxt < c.write_seq:
        persist.start(c, now)


# Retransmission.


def retransmit(c: Connection, i: int, segs: int, now: int, counted: bool = True) -> bool:
    """Send record i again, at most `segs` segments of it. False if the peer's window or the device forbids it."""
    rec = c.rtx[i]
    if c.mtup is not None:
        c.mtup.size = 0  # a probe that is out proves nothing any more
    if rec.seq < c.snd_una:
        c.trim_head(rec)
    if c.path.generation != c.path.stack.routes.generation:
        c.reroute(now)
    mss = current_mss(c)
    room = c.snd_una + c.snd_wnd - rec.seq
    if room <= 0:
        # The window was shrunk below what is out: only the first segment is sent again, and serves as a probe.
        if rec.seq != c.snd_una:
            return False
        room = mss
    if rec.flags & SYN:
        renew_advertised(c)
        return emit_syn(c, rec, now)
    size = mss * segs
    if size > room:
        size = room // mss * mss or room
    set_mss(c, rec, mss)
    if rec.length > size:
        split(c, i, size)
    elif rec.pcount == 1 and rec.length < mss and c.settings.tcp_retrans_collapse:
        collapse(c, i, min(mss, room))
    flags = rec.flags | (PSH if rec.pcount > 1 else 0)
    pcount = rec.pcount
    c.tcp_counters.RetransSegs += pcount
    c.total_retrans += pcount
    c.bytes_retrans += rec.length
    if rec.length:
        c.data_segs_out += pcount
        c.bytes_sent += rec.length
        if not c.in_flight():
            c.cc.event(c, TX_START, now)
        c.lsndtime_ns = now
        if now - c.lrcvtime_ns < c.ato_ns:
            c.ack_pingpong += 1
    if c.paced and congested.refuses(c):
        congested.retained(c, rec, counted, now)
        return False
    frags = rec.frags
    if len(frags) > MAX_FRAGS:
        frags = rec.frags = (b"".join(frags),)
    rec.xmit_ns = now
    c.tx_order = rec.order = c.tx_order + 1
    rec.sends += 1
    rec.delivered = c.delivered
    rec.rate = c.rate
    if c.paced:
        pacing.sent(c, rec.length, now)
    marks = rec.marks | EVER_RETRANS
    if counted:
        if not marks & RETRANS_OUT:  # the undoing of a timeout leaves the mark on records that were sent again
            marks |= RETRANS_OUT
            c.retrans_out += pcount
        if not c.retrans_stamp_ns:
            c.retrans_stamp_ns = now
        if c.undo_retrans < 0:
            c.undo_retrans = 0
        c.undo_retrans += pcount
    rec.marks = marks
    link_last(c, rec)
    emit(c, rec.seq, flags, frags, rec.length, now, mss if pcount > 1 else 0)
    c.tso_ns = now
    return True


def collapse(c: Connection, i: int, room: int) -> None:
    """Join the small records behind record i to it, so that a full segment is sent (tcp_retrans_collapse)."""
    rtx = c.rtx
    rec = rtx[i]
    while i + 1 < len(rtx):
        other = rtx[i + 1]
        if rec.end in c.eor:
            break  # MSG_EOR
        if rec.flags & FIN or other.flags & SYN or other.pcount > 1 or other.marks & SACKED or rec.marks & SACKED:
            break
        if rec.length + other.length > room or other.end > c.snd_una + c.snd_wnd:
            break
        rec.frags += other.frags
        rec.length += other.length
        rec.end = other.end
        rec.flags |= other.flags
        rec.marks |= other.marks & EVER_RETRANS
        c.packets_out -= 1
        if other.marks & LOST:
            c.lost_out -= 1
        if other.marks & RETRANS_OUT:
            c.retrans_out -= 1
        if not c.sack_ok and c.sacked_out:
            c.sacked_out -= 1
        if other.next is not None:
            other.prev.next = other.next
            other.next.prev = other.prev
            other.prev = other.next = None
        del rtx[i + 1]


def retransmit_lost(c: Connection, now: int) -> None:
    """Send again what is marked lost and not out yet, oldest first, within cwnd (RFC 6675 section 5 (C), NextSeg
    rule 1)."""
    rtx = c.rtx
    hint = c.retransmit_hint
    i = index_of(c, hint) if hint > rtx[0].seq else 0
    max_segs = tso_segs(c, current_mss(c))
    rearm = False
    while i < len(rtx):
        room = c.cwnd - c.in_flight()
        if room <= 0 or c.retrans_out >= c.lost_out or (c.paced and pacing.holds(c, now)):
            break
        rec = rtx[i]
        marks = rec.marks
        if not marks & LOST or marks & (SACKED | RETRANS_OUT):
            i += 1
            continue
        if not retransmit(c, i, min(room, max_segs), now):
            break
        if c.ca_state == CA_LOSS:
            c.counters.TCPSlowStartRetrans += rec.pcount
        else:
            c.counters.TCPFastRetrans += rec.pcount
            if c.ca_state in (CA_CWR, CA_RECOVERY):
                c.prr_out += rec.pcount
        if i == 0 and c.pending != REO_TIMEOUT:
            rearm = True
        i += 1
    c.retransmit_hint = rtx[i].seq if i < len(rtx) else c.snd_nxt
    if rearm:
        rto.arm(c, RETRANS, c.rto_ns, now)


# One segment more.


def force(c: Connection, size: int, mss: int, flags: int, now: int) -> None:
    """Send one segment of new data, which the caller knows to be allowed (a window probe or an MTU probe)."""
    if c.paced and congested.refuses(c):
        congested.refused(c, size, 1, now)
        return
    end = c.snd_nxt + size
    if size == c.unsent_bytes and c.fin_queued and end < c.snd_una + c.snd_wnd:
        flags |= FIN
        end += 1
        c.fin_queued = False
    if c.push_marks:
        flags |= push_due(c, end)
    rec = Sent(c.snd_nxt, end, take(c, size) if size else (), size, flags, mss)
    rec.xmit_ns = now
    c.tx_order = rec.order = c.tx_order + 1
    rec.sends = 1
    rec.delivered = c.delivered
    prior = c.packets_out
    if not prior:
        rate.begin(c, now)
    rec.rate = c.rate
    c.rtx.append(rec)
    link_last(c, rec)
    seq = c.snd_nxt
    emit(c, seq, flags, rec.frags, size, now)
    c.snd_nxt = end
    if c.ends:
        gone(c)
    c.packets_out += rec.pcount
    if size:
        c.data_segs_out += rec.pcount
        c.bytes_sent += size
        c.counters.TCPOrigDataSent += rec.pcount
        if now - c.lrcvtime_ns < c.ato_ns:
            c.ack_pingpong += 1
        c.lsndtime_ns = now
    if not prior or c.pending == PROBE0:
        rto.rearm(c, now)


def send_reset(c: Connection, now: int) -> None:
    """The connection is given up: <SEQ=SND.NXT><CTL=RST> (RFC 9293 section 3.10.5), with an ACK as in Linux."""
    c.tcp_counters.OutRsts += 1
    flags = RST | ACK if c.state != SYN_SENT else RST
    emit(c, acceptable_seq(c), flags, (), 0, now)
