"""RACK-TLP (RFC 8985; "section" in this file means one of that RFC): loss is detected by time, and a probe at the tail
makes the peer send something to detect it by.

RACK (section 6): a segment is lost when one that was sent sufficiently later has been delivered, that is when RACK.rtt
and the reordering window have passed since its own transmission. As long as no reordering has been seen, the window is
zero in recovery and once DupThresh segments are SACKed; else it is a quarter of the minimum round trip, times a factor
that D-SACKs raise. TLP (section 7): two round trips after the last transmission without an ACK, send new data or the
last segment again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import output, recovery, rto
from netstack.tcp.scoreboard import (
    DATA_SACKED,
    DSACK_TLP,
    LOST,
    NOT_DUP,
    RETRANS_OUT,
    SND_UNA_ADVANCED,
    mark_lost,
    split,
    unlink,
)  # fmt: skip
from netstack.tcp.tcb import CA_CWR, CA_OPEN, CA_RECOVERY, LOSS_PROBE, MS, REO_TIMEOUT, RETRANS

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

TIMEOUT_MIN_NS = 2 * MS  # Linux's TCP_TIMEOUT_MIN: timers, ours and the peer's, may be late by so much
SHORT_US = 1000  # round trips below a millisecond vary with what the hosts do
RECOVERY_THRESH = 16  # recoveries for which a widened window persists (section 6.2 step 4)


def reo_wnd_us(c: Connection) -> int:
    """Section 6.2 step 4: RACK.reo_wnd, never more than SRTT."""
    if not c.reord_seen:
        if c.ca_state >= CA_RECOVERY:
            return 0
        if c.sacked_out >= c.reordering and not c.settings.tcp_recovery & 4:
            return 0
    srtt = c.srtt_us >> 3
    settle = c.min_rtt_us >> 2
    reo = settle
    if c.rack_steps > 1:
        # A quarter of min_rtt says little about the path if a segment that overtook others set it, or if most of a
        # round trip is not the path but the hosts. (The RFC and Linux always take a quarter of min_rtt.)
        overtaken = c.min_rtt_sacked or c.min_rtt_us < SHORT_US
        step = srtt >> 2 if overtaken and 2 * srtt > 3 * c.min_rtt_us else settle
        reo += step * (c.rack_steps - 1)
    if reo > srtt:
        reo = srtt
    if c.min_rtt_us <= 1 and c.reord_seen:
        # The clock is too coarse for this path: two times that differ are only known to differ by a tick.
        tick = c.settings.tcp_clock_granularity_us
        if reo < tick:
            return int(tick)
    return int(reo)


def remaining_ns(c: Connection, xmit_ns: int, reo_us: int, now: int) -> int:
    return int((c.rack_rtt_us + reo_us) * 1000 - (now - xmit_ns))


def detect_loss(c: Connection, now: int) -> int:
    """Section 6.2 step 5, RACK_detect_loss: mark what is lost. Returns the longest time until something else would be,
    or 0."""
    reo_us = reo_wnd_us(c)
    rack_order, rack_end = c.rack_order, c.rack_end
    limit = (c.rack_rtt_us + reo_us) * 1000 - now
    timeout = 0
    head = c.ts_head
    rec = head.next
    while rec is not head:
        following = rec.next
        if not (rec.marks & LOST and not rec.marks & RETRANS_OUT):
            order = rec.order
            if not (rack_order > order or (rack_order == order and rack_end > rec.end)):
                break
            remaining = limit + rec.xmit_ns
            if remaining <= 0:
                mark_lost(c, rec)
                unlink(rec)
            elif remaining > timeout:
                timeout = remaining
        rec = following
    return timeout


def mark_losses(c: Connection, now: int) -> bool:
    """Section 6.2 step 5 after an ACK. True when the reordering timer was set."""
    if not c.rack_advanced:
        return False
    c.rack_advanced = False
    timeout = detect_loss(c, now)
    if timeout:
        rto.arm(c, REO_TIMEOUT, timeout + TIMEOUT_MIN_NS, now)
        return True
    return False


def reo_timeout(c: Connection, now: int) -> None:
    """The reordering timer expired (section 6.2 step 5): what has not been delivered by now is lost."""
    before = c.in_flight()
    lost = c.lost
    detect_loss(c, now)
    if c.in_flight() != before:
        if c.ca_state != CA_RECOVERY:
            recovery.enter_recovery(c, False, now)
            recovery.cwnd_reduction(c, 1, c.lost - lost, 0, now)
        output.retransmit_lost(c, now)
    if c.pending != RETRANS:
        rto.rearm(c, now)


def update_reo_wnd(c: Connection, prior_delivered: int) -> None:
    """Section 6.2 step 4, RACK_update_reo_wnd: widen the window for a D-SACK, at most once per round trip; take that
    back after sixteen recoveries without one."""
    if c.settings.tcp_recovery & 2 or not prior_delivered:
        return
    if prior_delivered < c.rack_last_delivered:
        c.rack_dsack_seen = False
    if c.rack_dsack_seen:
        c.rack_steps = min(255, c.rack_steps + 1)
        c.rack_dsack_seen = False
        c.rack_last_delivered = c.delivered
        c.rack_persist = RECOVERY_THRESH
    elif not c.rack_persist:
        c.rack_steps = 1


# Tail loss probes.


def schedule_probe(c: Connection, advancing: bool, now: int) -> bool:
    """Section 7.2, TLP_calc_PTO: arm the probe timer, where a probe can help."""
    if (
        c.settings.tcp_early_retrans not in (3, 4)
        or not c.packets_out
        or not c.sack_ok
        or c.ca_state not in (CA_OPEN, CA_CWR)
    ):
        return False
    if c.srtt_us:
        timeout = (c.srtt_us >> 2) * 1000
        timeout += c.rto_min_us * 1000 if c.packets_out == 1 else TIMEOUT_MIN_NS
    else:
        timeout = c.settings.tcp_timeout_init_ms * MS
    delta = c.rto_ns if advancing else rto.head_delta_ns(c, now)
    if 0 < delta < timeout:
        timeout = delta
    rto.arm(c, LOSS_PROBE, timeout, now)
    return True


def send_probe(c: Connection, now: int) -> None:
    """Section 7.3, TLP_send_probe: new data if any may be sent, else the last segment again."""
    if not c.tlp_high_seq:
        c.tlp_retrans = False
        mss = output.current_mss(c)
        sent = False
        if c.snd_nxt < c.write_seq and output.head_end(c, mss) <= c.snd_una + c.snd_wnd:
            before = c.packets_out
            output.write(c, now, push_one=2, nagle=False)
            sent = c.packets_out > before
        elif c.rtx:
            i = len(c.rtx) - 1
            rec = c.rtx[i]
            if rec.pcount > 1 and rec.length > (rec.pcount - 1) * mss:
                rec = split(c, i, (rec.pcount - 1) * mss)
                i += 1
            sent = output.retransmit(c, i, 1, now, counted=False)
            c.tlp_retrans = sent
        if sent:
            c.tlp_high_seq = c.snd_nxt
            c.counters.TCPLossProbes += 1
            c.pending = 0
    rto.rearm(c, now)


def probe_ack(c: Connection, ack: int, flag: int, now: int) -> None:
    """Section 7.4, TLP_process_ack: what an ACK says about the probe."""
    if ack < c.tlp_high_seq:
        return
    if not c.tlp_retrans or flag & DSACK_TLP:
        c.tlp_high_seq = 0
    elif ack > c.tlp_high_seq:
        # The probe has repaired a loss: respond as to congestion.
        recovery.init_cwnd_reduction(c, now)
        recovery.set_ca_state(c, CA_CWR, now)
        recovery.end_cwnd_reduction(c, now)
        recovery.try_keep_open(c, now)
        c.counters.TCPLossProbeRecovery += 1
    elif not flag & (SND_UNA_ADVANCED | NOT_DUP | DATA_SACKED):
        c.tlp_high_seq = 0
