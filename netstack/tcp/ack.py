"""What an acknowledgment does (RFC 9293 section 3.10.7.4, fifth step; RFC 5681; RFC 6675): takes what it covers off
the retransmission queue, measures the round trip, lets `recovery` judge, and lets congestion control move cwnd.

`process` is called for every segment with ACK of a synchronized connection, after its sequence number was found
acceptable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import beside, chrono, mtuprobe, output, persist, rack, rate, recovery, rto, validation
from netstack.tcp.scoreboard import (
    ACKED,
    CA_ALERT,
    DATA,
    DATA_ACKED,
    DATA_SACKED,
    DSACKING,
    ECE_SEEN,
    LOST,
    NOT_DUP,
    ORIG_SACK_ACKED,
    RETRANS_ANY,
    RETRANS_DATA_ACKED,
    RETRANS_OUT,
    SACK_RENEGING,
    SACKED,
    SET_XMIT_TIMER,
    SND_UNA_ADVANCED,
    SYN_ACKED,
    WIN_UPDATE,
    AckState,
    Link,
    adjust,
    check_sack_reordering,
    rack_advance,
    split,
    tag,
    unlink,
)  # fmt: skip
from netstack.tcp.segment import CWR, ECE, OPT_SACK, SYN
from netstack.tcp.seq import HALF, MASK, unwrap
from netstack.tcp.tcb import CA_CWR, CA_OPEN, CA_RECOVERY, MS, PROBE0, SECOND

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection
    from netstack.tcp.scoreboard import Sent
    from netstack.tcp.segment import Segment

TOO_OLD, UNSENT = -1, -2


def process(c: Connection, seg: Segment, seq: int, ack: int, now: int) -> int:
    """SEG.ACK, SEG.WND and SACK. 1 when taken, 0 when old, TOO_OLD or UNSENT when it is not acceptable."""
    prior_una = c.snd_una
    flag = 0
    options = seg.options
    if ack < prior_una:
        # RFC 5961 section 5.2: SEG.ACK < SND.UNA - MAX.SND.WND is not acceptable (nor is one from before the ISS).
        if ack < prior_una - min(c.max_window, c.bytes_acked):
            return TOO_OLD
        if options & OPT_SACK and c.sack_ok and seg.sack:
            old(c, seg, ack, prior_una, now)
        return 0
    if ack > c.snd_nxt:
        return UNSENT
    prior_packets = c.packets_out
    prior_in_flight = prior_packets - c.sacked_out - c.lost_out + c.retrans_out
    prior_delivered = c.delivered
    prior_lost = c.lost
    forgotten = c.sack_reneg
    prior_fack = c.highest_sack if c.sacked_out else prior_una
    if ack > prior_una:
        flag = SND_UNA_ADVANCED
        c.retransmits = 0
        c.bytes_acked += ack - prior_una
        c.snd_una = ack
        if c.eor:
            c.eor = tuple(end for end in c.eor if end > ack)
    # The send window (RFC 9293 section 3.10.7.4, fifth step): only a newer segment may change it.
    length = seg.length
    if length or seg.flags & 3:
        flag |= DATA
    wnd = seg.window << c.snd_wscale if not seg.flags & SYN else seg.window
    if ack > prior_una or seq > c.snd_wl1 or (seq == c.snd_wl1 and (wnd > c.snd_wnd or not wnd)):
        flag |= WIN_UPDATE
        c.snd_wl1 = seq
        if c.snd_wnd != wnd:
            c.snd_wnd = wnd
            if c.snd_nxt < c.write_seq:
                validation.after_idle(c, now)
            if wnd > c.max_window:
                c.max_window = wnd
                c.sync_mss()
    st = AckState(flag, c.snd_nxt)
    if options & OPT_SACK and c.sack_ok and seg.sack:
        snd_nxt = c.snd_nxt
        blocks = [(unwrap(left, snd_nxt), unwrap(right, snd_nxt)) for left, right in seg.sack]
        tag(c, st, blocks, ack, prior_una, now)
    if c.ecn_ok and seg.flags & (ECE | CWR) and not seg.flags & SYN:
        if seg.flags & ECE:
            st.flag |= ECE_SEEN
        if seg.flags & CWR and not seg.length:
            c.ecn_demand_cwr = False  # RFC 3168 section 6.1.2 has CWR on new data only; Linux takes it here, too
    c.probes_out = c.soft_error = 0  # something got through, so what an ICMP error complained of is past
    c.rcv_tstamp_ns = now
    if not prior_packets:
        flag = st.flag
        if flag & DSACKING:
            rexmit, flag = recovery.alert(c, prior_una, 0, flag, now)
            c.delivered += st.delivered
            if flag & ECE_SEEN:
                c.delivered_ce += st.delivered
                c.counters.TCPDeliveredCE += st.delivered
        if c.pending == PROBE0 or c.snd_nxt < c.write_seq:
            window_opened(c, now)
        if c.tlp_high_seq:
            rack.probe_ack(c, ack, flag, now)
        return 1
    clean(c, st, ack, prior_una, prior_fack, now)
    flag = st.flag
    if c.rack_dsack_seen or c.rack_steps > 1:
        rack.update_reo_wnd(c, st.prior_delivered)
    if c.tlp_high_seq:
        rack.probe_ack(c, ack, flag, now)
    rexmit = 0
    if not flag & NOT_DUP or flag & CA_ALERT or c.ca_state != CA_OPEN:
        dupacks = 0
        if not flag & (SND_UNA_ADVANCED | NOT_DUP | DSACKING):
            dupacks = 1
        rexmit, flag = recovery.alert(c, prior_una, dupacks, flag, now)
    if flag & SET_XMIT_TIMER and not rack.schedule_probe(c, True, now):
        rto.rearm(c, now)
    c.delivered += st.delivered
    acked = c.delivered - prior_delivered
    rate.sample(c, None if forgotten else st.newest, acked, now)
    if acked:
        c.delivered_ns = now
        c.counters.TCPDelivered += acked
        if flag & ECE_SEEN:
            c.delivered_ce += acked
            c.counters.TCPDeliveredCE += acked
    # Move the congestion window: RFC 6937 in a reduction, else by the congestion control (RFC 5681).
    state = c.ca_state
    if state in (CA_CWR, CA_RECOVERY):
        recovery.cwnd_reduction(c, acked, c.lost - prior_lost, flag, now)
    elif flag & ACKED or (flag & DATA_SACKED and c.reordering > c.settings.tcp_reordering):
        c.cc.cong_avoid(c, ack, acked, now)
        c.cwnd_stamp_ns = now
    update_pacing_rate(c)
    if c.log is not None:
        c.log(c, ack, flag, acked, prior_in_flight, now)
    if rexmit:
        if rexmit == recovery.REXMIT_NEW:
            output.write(c, now, nagle=False)
            if c.snd_nxt > c.high_seq:
                return 1
            c.frto = False
        output.retransmit_lost(c, now)
    return 1


def old(c: Connection, seg: Segment, ack: int, prior_una: int, now: int) -> None:
    """An ACK that a later one has overtaken still carries SACK information (Linux's old_ack)."""
    st = AckState(0, c.snd_nxt)
    snd_nxt = c.snd_nxt
    lost = c.lost
    prior_delivered = c.delivered
    blocks = [(unwrap(left, snd_nxt), unwrap(right, snd_nxt)) for left, right in seg.sack]
    tag(c, st, blocks, ack, prior_una, now)
    if not st.flag:
        return
    rexmit, flag = recovery.alert(c, prior_una, 0, st.flag, now)
    c.delivered += st.delivered
    if c.ca_state in (CA_CWR, CA_RECOVERY):
        recovery.cwnd_reduction(c, c.delivered - prior_delivered, c.lost - lost, flag, now)
    if rexmit == recovery.REXMIT_LOST:
        output.retransmit_lost(c, now)


def clean(c: Connection, st: AckState, ack: int, prior_una: int, prior_fack: int, now: int) -> None:
    """Remove what SEG.ACK covers, count it, and measure the round trip. By Karn's algorithm only segments that were
    sent once are measured (RFC 6298 section 3)."""
    rtx = c.rtx
    flag = st.flag
    first_ns = last_ns = -1
    acked = 0
    done = 0
    reord = c.snd_nxt
    sack_ok = c.sack_ok
    prior_sacked = c.sacked_out
    for rec in rtx:
        end = rec.end
        if end > ack:
            if rec.pcount == 1 or ack <= rec.seq:
                break
            # A part of a super-segment is acknowledged: as many segments of it as what is left does not need.
            size = ack - rec.seq
            left = rec.length - size
            whole = rec.pcount - (1 if left <= rec.mss else -(-left // rec.mss))
            split(c, done, size)
            adjust(c, rec.marks, whole - rec.pcount)
            if not whole:
                unlink(rec)
                del rtx[done]
                break
            rec.pcount = whole
            end = rec.end
        marks = rec.marks
        pcount = rec.pcount
        if not marks:
            last_ns = rec.xmit_ns
            if first_ns < 0:
                first_ns = last_ns
            if rec.seq < reord:
                reord = rec.seq
            if end <= c.high_seq:
                flag |= ORIG_SACK_ACKED
        elif marks & RETRANS_ANY:
            if marks & RETRANS_OUT:
                c.retrans_out -= pcount
            flag |= RETRANS_DATA_ACKED
        elif not marks & SACKED:
            last_ns = rec.xmit_ns
            if first_ns < 0:
                first_ns = last_ns
            if rec.seq < reord:
                reord = rec.seq
            if end <= c.high_seq:
                flag |= ORIG_SACK_ACKED
        if marks & SACKED:
            c.sacked_out -= pcount
        elif sack_ok:
            c.delivered += pcount
            if not (marks & RETRANS_ANY and spurious(c, rec)):
                rack_advance(c, rec, marks, now)
        if marks & LOST:
            c.lost_out -= pcount
        if rec.delivered > st.prior_delivered:
            st.prior_delivered = rec.delivered
        if not marks & SACKED and (st.newest is None or rec.order > st.newest.order):
            st.newest = rec
        c.packets_out -= pcount
        acked += pcount
        if rec.flags & SYN:
            flag |= SYN_ACKED
            c.retrans_stamp_ns = 0
        else:
            flag |= DATA_ACKED
        following: Link | None = rec.next
        if following is not None:
            before: Link = rec.prev
            before.next = following
            following.prev = before
            rec.prev = rec.next = None
        done += 1
        if end >= ack:
            break
    if done:
        del rtx[:done]
        if c.zerocopy:
            beside.completed(c)
        if c.stamps is not None:
            beside.acknowledged(c, ack, now)
    if rtx:
        if rtx[0].marks & SACKED:
            flag |= SACK_RENEGING
    elif not c.packets_out:
        c.sack_cache = ()
        if c.snd_nxt >= c.write_seq:
            chrono.turn(c, chrono.IDLE, now)
    if c.snd_up and prior_una <= c.snd_up <= ack:
        c.snd_up = 0
    seq_rtt = sack_rtt = ca_rtt = -1
    if first_ns >= 0 and not flag & RETRANS_DATA_ACKED:
        seq_rtt = (now - first_ns) // 1000
        ca_rtt = (now - last_ns) // 1000
    if st.first_sack_ns >= 0:
        sack_rtt = (now - st.first_sack_ns) // 1000
        ca_rtt = (now - st.last_sack_ns) // 1000
    ca_rtt = update_rtt(c, flag, seq_rtt, sack_rtt, ca_rtt, now)
    if flag & ACKED:
        flag |= SET_XMIT_TIMER
        if c.mtup is not None:
            mtuprobe.acknowledged(c, now)
        if not sack_ok:
            recovery.remove_reno_sacks(c, acked)
            if flag & RETRANS_DATA_ACKED:
                flag &= ~ORIG_SACK_ACKED
        elif reord < prior_fack:
            check_sack_reordering(c, reord)
    elif rtx and sack_rtt >= 0 and st.first_order < rtx[0].order:
        # What was SACKed was sent before the head was sent (again). A SACK for something sent after the head does not
        # rearm the timer, lest the RTO be put off for ever.
        flag |= SET_XMIT_TIMER
    if ca_rtt >= 0 or (acked and prior_sacked):
        c.cc.pkts_acked(c, acked, ca_rtt, now)
    st.flag = flag


def spurious(c: Connection, rec: Sent) -> bool:
    """The ACK echoes a timestamp from before the record was last sent, so it is for the original (Eifel, RFC 3522)."""
    if not (c.saw_ts and c.rcv_tsecr):
        return False
    return ((c.rcv_tsecr - (rec.xmit_ns // MS + c.ts_offset)) & MASK) >= HALF


def update_rtt(c: Connection, flag: int, seq_rtt: int, sack_rtt: int, ca_rtt: int, now: int) -> int:
    """RFC 6298 section 3 and RFC 7323 section 4: a sample from the segments themselves, else from the echoed timestamp.
    Returns what the congestion control is told: the round trip of what was delivered last, or -1. The minimum is taken
    over tcp_min_rtt_wlen seconds."""
    if seq_rtt < 0:
        seq_rtt = sack_rtt
    if seq_rtt < 0 and c.saw_ts and c.rcv_tsecr and flag & ACKED:
        delta = (now // MS + c.ts_offset - c.rcv_tsecr) & MASK
        if delta < HALF and delta < 120_000:
            seq_rtt = ca_rtt = (delta or 1) * 1000
    if seq_rtt < 0:
        return -1
    if ca_rtt <= c.min_rtt_us or now - c.min_rtt_ns > c.settings.tcp_min_rtt_wlen * SECOND:
        c.min_rtt_us = ca_rtt or 1
        c.min_rtt_ns = now
        c.min_rtt_sacked = flag & DATA_SACKED != 0
    rto.sample(c, seq_rtt)
    c.rto_ns = rto.computed_ns(c)
    c.backoff = 0
    return ca_rtt


def window_opened(c: Connection, now: int) -> None:
    """Nothing was out, and more waits: a window that now takes the next segment ends probing, any other goes on with it
    (RFC 9293 section 3.8.6.1)."""
    if c.snd_nxt >= c.write_seq:
        return
    if (c.ends[0] if c.ends else c.write_seq) <= c.snd_una + c.snd_wnd:  # the first buffer that waits
        c.backoff = 0
        c.probes_stamp_ns = 0
        if c.pending == PROBE0:
            c.pending = 0
            c.rtx_ns = 0
    else:
        persist.arm(c, persist.delay_ns(c), now)


def update_pacing_rate(c: Connection) -> None:
    """cwnd per round trip, times a ratio that lets it grow (Linux's tcp_update_pacing_rate). It sizes super-segments
    also where nothing is paced."""
    srtt = c.srtt_us
    settings = c.settings
    ratio = settings.tcp_pacing_ss_ratio if c.cwnd < c.ssthresh >> 1 else settings.tcp_pacing_ca_ratio
    size = (c.mss_cache * ratio) * (80_000 * (c.cwnd if c.cwnd > c.packets_out else c.packets_out))
    size = size // srtt if srtt else size
    c.pacing_rate = size if not c.paced or size < c.max_pacing_rate else c.max_pacing_rate
