"""Header prediction (RFC 7323 section 5.6, after Van Jacobson): the most frequent segments are processed in one go.

An established connection to which nothing out of the ordinary has happened expects the next data in order, or a good
acknowledgment, or both at once; and it sends a small piece of data with nothing else under way. `acknowledged` and
`send` each do in one function what `ack.process` and `output.write` do in these cases, step by step in the same order:
they change the same variables to the same values, and a test compares the two. They return False for whatever is not
plain, have changed nothing then, and the caller takes the long way.

Both require the state ESTABLISHED, the congestion state Open, SACK in use and nothing SACKed, no loss probe or urgent
data in flight, and nobody who watches every step (`c.log`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netstack.tcp import ack as acking
from netstack.tcp import chrono, output, rack, rate, rto, validation
from netstack.tcp.congestion import TX_START
from netstack.tcp.emit import JOIN_BELOW, emit, small
from netstack.tcp.scoreboard import NOTHING_SENT, Link, Sent
from netstack.tcp.segment import ACK, PSH
from netstack.tcp.tcb import CA_OPEN, SECOND

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection


def acknowledged(c: Connection, seq: int, ack: int, now: int) -> bool:
    """SEG.ACK acknowledges all that is out, which is one record sent once, and SEG.WND is what it was."""
    rtx = c.rtx
    if len(rtx) != 1:
        return False
    rec = rtx[0]
    if (
        rec.end != ack
        or rec.seq != c.snd_una  # a part of it was acknowledged before: Linux counts that as reordering
        or rec.marks
        or c.zerocopy
        or c.stamps is not None
        or c.paced
        or c.sacked_out
        or c.tlp_high_seq
        or c.rack_steps > 1
        or c.rack_dsack_seen
        or c.snd_up
        or not c.sack_ok
        or c.log is not None
    ):
        return False
    pcount = rec.pcount
    c.retransmits = 0
    c.bytes_acked += ack - c.snd_una
    c.snd_una = ack
    c.snd_wl1 = seq
    c.probes_out = c.soft_error = 0
    c.rcv_tstamp_ns = now
    # Off the retransmission queue (`ack.clean`), with its round trip (RFC 6298, RFC 8985 section 6.2).
    rtt_us = (now - rec.xmit_ns) // 1000
    c.delivered += pcount
    c.rack_advanced = True
    c.rack_rtt_us = rtt_us
    order = rec.order
    if order > c.rack_order or (order == c.rack_order and ack > c.rack_end):
        c.rack_order = order
        c.rack_end = ack
    c.packets_out -= pcount
    following: Link | None = rec.next
    if following is not None:
        before: Link = rec.prev
        before.next = following
        following.prev = before
        rec.prev = rec.next = None
    rtx.clear()
    c.sack_cache = ()
    if c.snd_nxt >= c.write_seq and c.chrono:
        chrono.turn(c, chrono.IDLE, now)
    settings = c.settings
    if rtt_us <= c.min_rtt_us or now - c.min_rtt_ns > settings.tcp_min_rtt_wlen * SECOND:
        c.min_rtt_us = rtt_us or 1
        c.min_rtt_ns = now
        c.min_rtt_sacked = False
    rto.sample(c, rtt_us)
    c.rto_ns = rto.computed_ns(c)
    c.backoff = 0
    c.cc.pkts_acked(c, pcount, rtt_us, now)
    c.pending = c.rtx_ns = 0
    rate.sample(c, rec, pcount, now)
    c.delivered_ns = now
    c.counters.TCPDelivered += pcount
    c.cc.cong_avoid(c, ack, pcount, now)
    c.cwnd_stamp_ns = now
    acking.update_pacing_rate(c)
    return True


def send(c: Connection, data: Any, size: int, now: int) -> bool:
    """SEND of less than a segment, which may leave at once: nothing waits, and nothing is out."""
    snd_nxt = c.snd_nxt
    if (
        snd_nxt != c.write_seq
        or c.rtx
        or size > c.mss_cache
        or snd_nxt + size > c.snd_una + c.snd_wnd
        or c.ca_state != CA_OPEN
        or c.nonagle & output.NAGLE_CORK
        or c.snd_up
        or c.sacks
        or c.dsack is not None
        or not c.sack_ok
        or c.eor
        or c.ecn_ok
        or c.cwnd < 1
        or c.pending
        or c.log is not None
        or c.paced
    ):
        return False
    if not c.chrono:
        chrono.turn(c, chrono.BUSY, now)
    if c.lsndtime_ns:
        validation.after_idle(c, now)
    if c.ts_head is NOTHING_SENT:
        c.begin_flight()
    end = c.write_seq = c.pushed_seq = snd_nxt + size
    mss = c.mss_cache
    frags = (data,)
    rec = Sent(snd_nxt, end, frags, size, ACK | PSH, mss)
    rec.xmit_ns = now
    c.tx_order = rec.order = c.tx_order + 1
    rec.sends = 1
    rec.delivered = c.delivered
    c.cc.event(c, TX_START, now)
    c.app_limited = c.delivered or 1
    c.rate = rec.rate = (now, now, True)
    if size <= JOIN_BELOW and isinstance(data, bytes):
        small(c, snd_nxt, ACK | PSH, 0, data, size, now)
    else:
        emit(c, snd_nxt, ACK | PSH, frags, size, now)
    c.rtx.append(rec)
    head = c.ts_head
    tail: Link = head.prev
    tail.next = rec
    rec.prev = tail
    rec.next = head
    head.prev = rec
    c.snd_nxt = end
    c.packets_out = 1
    c.data_segs_out += 1
    c.bytes_sent += size
    c.counters.TCPOrigDataSent += 1
    if size < mss:
        c.snd_sml = end
    if now - c.lrcvtime_ns < c.ato_ns:
        c.ack_pingpong += 1
    c.lsndtime_ns = c.tso_ns = now
    if c.chrono == chrono.RWND_LIMITED:
        chrono.stop(c, chrono.RWND_LIMITED, now)
    validation.validate(c, c.cwnd <= 1, now)
    if not rack.schedule_probe(c, False, now):
        rto.rearm(c, now)
    return True
