"""Loss recovery: what an ACK says about the network, and how cwnd answers.

There are five phases, as in Linux: Open; Disorder (duplicate ACKs or SACKs came, but nothing is deemed lost yet:
limited transmit, RFC 3042); CWR (a reduction for ECN, or after a loss probe); Recovery (fast recovery: RFC 6675 with
RACK's judgement of what is lost, RFC 8985; NewReno, RFC 6582, without SACK); and Loss (after a timeout). In CWR and
Recovery, cwnd follows proportional rate reduction (RFC 6937). After a timeout, F-RTO (RFC 5682) finds out whether it
was spurious. A reduction that D-SACK (RFC 3708) or timestamps (Eifel, RFC 3522) show to have been unneeded is undone
(RFC 4015).

`high_seq` is SND.NXT when the phase began: one reduction per round trip (RFC 6675 RecoveryPoint, RFC 6582 `recover`).
`undo_marker` is SND.UNA at that time (0: the reduction cannot be undone), and `undo_retrans` counts the retransmissions
that no D-SACK has shown to be unneeded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import rack, rto
from netstack.tcp.congestion import LOSS
from netstack.tcp.scoreboard import (
    DATA_SACKED,
    ECE_SEEN,
    EVER_RETRANS,
    LOST,
    LOST_RETRANS,
    ORIG_SACK_ACKED,
    SACK_RENEGING,
    SACKED,
    SET_XMIT_TIMER,
    SND_UNA_ADVANCED,
    check_sack_reordering,
    join_sacked,
    mark_lost,
    split,
)  # fmt: skip
from netstack.tcp.seq import HALF, MASK
from netstack.tcp.tcb import (
    CA_CWR,
    CA_DISORDER,
    CA_LOSS,
    CA_OPEN,
    CA_RECOVERY,
    INFINITE_SSTHRESH,
    MS,
    RETRANS,
    SYN_SENT,
)  # fmt: skip

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

REXMIT_NONE, REXMIT_LOST, REXMIT_NEW = 0, 1, 2


def set_ca_state(c: Connection, state: int, now: int) -> None:
    if state == CA_LOSS:
        c.cc.event(c, LOSS, now)  # at each timeout, also at several in a row
    c.ca_state = state


# The congestion window in a reduction: RFC 6937.


def init_cwnd_reduction(c: Connection, now: int) -> None:
    """RFC 6937 section 3, at the beginning of recovery: ssthresh by the congestion control, nothing delivered or sent
    yet."""
    c.high_seq = c.snd_nxt
    c.tlp_high_seq = 0
    c.cwnd_cnt = 0
    c.prior_cwnd = c.cwnd
    c.prr_delivered = 0
    c.prr_out = 0
    c.ssthresh = c.cc.ssthresh(c)
    if c.ecn_ok:
        c.ecn_queue_cwr = True


def cwnd_reduction(c: Connection, newly_acked: int, newly_lost: int, flag: int, now: int) -> None:
    """RFC 6937 section 3: send in proportion to what is delivered, so that pipe ends at ssthresh; when pipe is below
    ssthresh, slow start towards it (PRR-SSRB). The proportion is bounded by one: ssthresh is never less than two
    segments, and so may be twice a cwnd of one."""
    if newly_acked <= 0 or not c.prior_cwnd:
        return
    c.prr_delivered += newly_acked
    pipe = c.in_flight()
    delta = c.ssthresh - pipe
    if delta < 0:
        whole = max(c.prior_cwnd, c.ssthresh)
        send = (c.ssthresh * c.prr_delivered + whole - 1) // whole - c.prr_out
    else:
        send = max(c.prr_delivered - c.prr_out, newly_acked)
        if flag & SND_UNA_ADVANCED and not newly_lost:
            send += 1
        send = min(delta, send)
    send = max(send, 0 if c.prr_out else 1)  # the fast retransmit itself
    c.cwnd = max(1, pipe + send)


def end_cwnd_reduction(c: Connection, now: int) -> None:
    if c.ssthresh < INFINITE_SSTHRESH and (c.ca_state == CA_CWR or c.undo_marker):
        c.cwnd = c.ssthresh
        c.cwnd_stamp_ns = now


def enter_cwr(c: Connection, now: int) -> None:
    """A reduction without a loss: ECE came (RFC 3168 section 6.1.2), or the device refused a segment (`congested`)."""
    c.prior_ssthresh = 0
    if c.ca_state < CA_CWR:
        c.undo_marker = 0
        init_cwnd_reduction(c, now)
        set_ca_state(c, CA_CWR, now)


def current_ssthresh(c: Connection) -> int:
    """The ssthresh to remember for an undo: at least three quarters of cwnd, unless a reduction is going on (Linux's
    tcp_current_ssthresh)."""
    if c.ca_state in (CA_CWR, CA_RECOVERY):
        return int(c.ssthresh)
    return int(max(c.ssthresh, (c.cwnd >> 1) + (c.cwnd >> 2)))


# Undoing.


def any_retrans_done(c: Connection) -> bool:
    if c.retrans_out:
        return True
    return bool(c.rtx and c.rtx[0].marks & EVER_RETRANS)


def init_undo(c: Connection) -> None:
    """Remember where the reduction began, and how many retransmissions a D-SACK has yet to disprove (RFC 3708)."""
    c.undo_marker = c.snd_una
    c.undo_retrans = c.retrans_out
    if c.tlp_high_seq and c.tlp_retrans:
        c.undo_retrans += 1
    if not c.undo_retrans:
        c.undo_retrans = -1


def packet_delayed(c: Connection, now: int) -> bool:
    """Eifel detection (RFC 3522): the ACK echoes a timestamp from before the first retransmission. True as well when
    nothing was retransmitted at all."""
    if c.retrans_stamp_ns:
        if not (c.saw_ts and c.rcv_tsecr):
            return False
        stamp = (c.retrans_stamp_ns // MS + c.ts_offset) & MASK
        return ((c.rcv_tsecr - stamp) & MASK) >= HALF
    return bool(c.state != SYN_SENT and not (not c.sack_ok and c.snd_una >= c.high_seq))


def may_undo(c: Connection, now: int) -> bool:
    return bool(c.undo_marker) and (not c.undo_retrans or packet_delayed(c, now))


def undo_cwnd_reduction(c: Connection, unmark_loss: bool, now: int) -> None:
    """RFC 4015: put back what was taken.

    What is no longer deemed lost stays out of the list that RACK walks: the delay that it was judged by has not
    changed, so RACK would only judge the same again. If some of it was lost after all, the RTO finds it.
    """
    if unmark_loss:
        for rec in c.rtx:
            rec.marks &= ~LOST
        c.lost_out = 0
        c.retransmit_hint = -1
    if c.prior_ssthresh:
        c.cwnd = c.cc.undo_cwnd(c)
        if c.prior_ssthresh > c.ssthresh:
            c.ssthresh = c.prior_ssthresh
            c.ecn_queue_cwr = False
    c.cwnd_stamp_ns = now
    c.undo_marker = 0
    c.rack_advanced = True  # look at the losses again


def non_sack_holds(c: Connection) -> bool:
    """Without SACK the phase is kept until something above high_seq is acknowledged: until then duplicate ACKs may be
    for our own retransmissions, and are no reason for a fast retransmit (RFC 6582 section 3.2 step 2, section 4)."""
    if not c.sack_ok and c.snd_una == c.high_seq:
        if not any_retrans_done(c):
            c.retrans_stamp_ns = 0
        return True
    return False


def try_undo_recovery(c: Connection, now: int) -> bool:
    """All that was out when recovery began is acknowledged."""
    if may_undo(c, now):
        undo_cwnd_reduction(c, False, now)
        c.counters.TCPFullUndo += 1
    elif c.rack_persist:
        c.rack_persist -= 1
    if non_sack_holds(c):
        return True
    set_ca_state(c, CA_OPEN, now)
    c.sack_reneg = False
    return False


def try_undo_dsack(c: Connection, now: int) -> bool:
    """RFC 3708: every retransmission has been reported as a duplicate."""
    if c.undo_marker and not c.undo_retrans:
        c.rack_persist = min(rack.RECOVERY_THRESH, c.rack_persist + 1)
        undo_cwnd_reduction(c, False, now)
        c.counters.TCPDSACKUndo += 1
        return True
    return False


def try_undo_loss(c: Connection, frto_undo: bool, now: int) -> bool:
    """The timeout was spurious: F-RTO (RFC 5682 section 3.1) or timestamps (RFC 3522) say so."""
    if not frto_undo and not may_undo(c, now):
        return False
    undo_cwnd_reduction(c, True, now)
    c.counters.TCPLossUndo += 1
    if frto_undo:
        c.counters.TCPSpuriousRTOs += 1
    c.retransmits = 0
    if non_sack_holds(c):
        return True
    if frto_undo or c.sack_ok:
        set_ca_state(c, CA_OPEN, now)
        c.sack_reneg = False
    return True


def try_undo_partial(c: Connection, prior_una: int, now: int) -> bool:
    """A hole was filled by a delayed original, not by a retransmission."""
    if c.undo_marker and packet_delayed(c, now):
        check_sack_reordering(c, prior_una, by_timestamp=True)
        if c.retrans_out:
            return True  # clock out new data, mark nothing more
        if not any_retrans_done(c):
            c.retrans_stamp_ns = 0
        undo_cwnd_reduction(c, True, now)
        c.counters.TCPPartialUndo += 1
        try_keep_open(c, now)
    return False


def try_keep_open(c: Connection, now: int) -> None:
    """Open, or Disorder while anything is SACKed, lost or sent again."""
    state = CA_OPEN
    if c.sacked_out + c.lost_out or any_retrans_done(c):
        state = CA_DISORDER
    if c.ca_state != state:
        set_ca_state(c, state, now)
        c.high_seq = c.snd_nxt


def try_to_open(c: Connection, flag: int, now: int) -> None:
    """No loss is left to recover from; ECE still means a reduction (RFC 3168 section 6.1.2)."""
    if not any_retrans_done(c):
        c.retrans_stamp_ns = 0
    if flag & ECE_SEEN:
        enter_cwr(c, now)
    if c.ca_state != CA_CWR:
        try_keep_open(c, now)


# Without SACK: duplicate ACKs stand for segments received (RFC 6582).


def limit_reno_sacked(c: Connection) -> bool:
    holes = min(max(c.lost_out, 1), c.packets_out)
    if c.sacked_out + holes > c.packets_out:
        c.sacked_out = c.packets_out - holes
        return True
    return False


def check_reno_reordering(c: Connection, addend: int) -> None:
    if limit_reno_sacked(c):
        c.reordering = min(c.packets_out + addend, c.settings.tcp_max_reordering)
        c.reord_seen += 1
        c.counters.TCPRenoReorder += 1


def add_reno_sack(c: Connection, dupacks: int) -> None:
    """A duplicate ACK: one more segment has left the network (RFC 5681 section 3.2)."""
    if dupacks:
        prior = c.sacked_out
        c.sacked_out += dupacks
        check_reno_reordering(c, 0)
        if c.sacked_out > prior:
            c.delivered += c.sacked_out - prior


def remove_reno_sacks(c: Connection, acked: int) -> None:
    if acked > 0:
        c.delivered += max(acked - c.sacked_out, 1)
        c.sacked_out = 0 if acked - 1 >= c.sacked_out else c.sacked_out - (acked - 1)
    check_reno_reordering(c, acked)


def newreno_mark_lost(c: Connection, una_advanced: bool) -> None:
    """RFC 6582 section 3.2, steps 2 and 3: the third duplicate ACK and each partial ACK deem the first segment lost."""
    state = c.ca_state
    if (state < CA_RECOVERY and c.sacked_out >= c.reordering) or (state == CA_RECOVERY and una_advanced):
        rec = c.rtx[0]
        if rec.marks & LOST:
            return
        if rec.pcount > 1 and rec.length > rec.mss:
            split(c, 0, rec.mss)
        mark_lost(c, rec)


# Phases.


def identify_loss(c: Connection, flag: int, now: int) -> int:
    """What is lost, by RACK (RFC 8985 section 6.2), or without SACK by RFC 6582."""
    if not c.rtx:
        return flag
    if not c.sack_ok:
        newreno_mark_lost(c, bool(flag & SND_UNA_ADVANCED))
        return flag
    prior = c.retrans_out
    if rack.mark_losses(c, now):
        flag &= ~SET_XMIT_TIMER
    if prior > c.retrans_out:
        flag |= LOST_RETRANS
    return flag


def enter_recovery(c: Connection, ece: bool, now: int) -> None:
    """Fast retransmit and fast recovery begin (RFC 5681 section 3.2, RFC 6675 section 5 step 4)."""
    if not any_retrans_done(c):
        c.retrans_stamp_ns = 0
    if c.sack_ok:
        c.counters.TCPSackRecovery += 1
    else:
        c.counters.TCPRenoRecovery += 1
    c.prior_ssthresh = 0
    init_undo(c)
    if c.ca_state not in (CA_CWR, CA_RECOVERY):
        if not ece:
            c.prior_ssthresh = current_ssthresh(c)
        init_cwnd_reduction(c, now)
    set_ca_state(c, CA_RECOVERY, now)


def timeout_mark_lost(c: Connection, now: int) -> None:
    """After a timeout everything is deemed lost but what was sent too lately by RACK's rule (RFC 8985 section 6.3)."""
    rtx = c.rtx
    reneg = bool(rtx and rtx[0].marks & SACKED)
    if reneg:
        # RFC 2018 section 8: the receiver has forgotten what it SACKed.
        c.counters.TCPSACKReneging += 1
        c.sack_reneg = True
        join_sacked(c)
    elif not c.sack_ok:
        c.sacked_out = 0
    for n, rec in enumerate(rtx):
        if reneg:
            if rec.marks & SACKED:
                rec.marks &= ~SACKED
                c.sacked_out -= rec.pcount
        elif c.sack_ok and n and rack.remaining_ns(c, rec.xmit_ns, 0, now) > 0:
            continue
        mark_lost(c, rec)
    c.retransmit_hint = rtx[0].seq if rtx else -1


def enter_loss(c: Connection, now: int) -> None:
    """The retransmission timer expired: ssthresh by RFC 5681 equation (4), and a cwnd of one segment (its section 3.1).
    (Linux adds what RACK does not deem lost.)"""
    new_recovery = c.ca_state < CA_RECOVERY
    timeout_mark_lost(c, now)
    if c.ca_state <= CA_DISORDER or c.high_seq <= c.snd_una or (c.ca_state == CA_LOSS and not c.retransmits):
        c.prior_ssthresh = current_ssthresh(c)
        c.prior_cwnd = c.cwnd
        c.ssthresh = c.cc.ssthresh(c)
        init_undo(c)
    c.cwnd = c.in_flight() + 1
    c.cwnd_cnt = 0
    c.cwnd_stamp_ns = now
    if c.ca_state <= CA_DISORDER and c.sacked_out >= c.settings.tcp_reordering:
        c.reordering = min(c.reordering, c.settings.tcp_reordering)
    set_ca_state(c, CA_LOSS, now)
    c.high_seq = c.snd_nxt
    c.tlp_high_seq = 0
    if c.ecn_ok:
        c.ecn_queue_cwr = True
    # RFC 5682 section 3.1 step 1 (section 2.1 without SACK): only if no other recovery was going on.
    c.frto = bool(c.settings.tcp_frto) and (new_recovery or bool(c.retransmits)) and not (c.mtup and c.mtup.size)


def process_loss(c: Connection, flag: int, dupacks: int, now: int) -> int:
    """An ACK in Loss: F-RTO (RFC 5682 section 3.1; its steps are named here), else go on retransmitting."""
    recovered = c.snd_una >= c.high_seq
    if flag & SND_UNA_ADVANCED and try_undo_loss(c, False, now):
        return REXMIT_NONE
    if c.frto:
        if flag & ORIG_SACK_ACKED and try_undo_loss(c, True, now):
            return REXMIT_NONE  # step 3.b: data never retransmitted arrived: the timeout was spurious
        if c.snd_nxt > c.high_seq:
            if flag & DATA_SACKED or dupacks:
                c.frto = False  # step 3.a: the loss was real
        elif flag & SND_UNA_ADVANCED and not recovered:
            c.high_seq = c.snd_nxt
            if c.snd_nxt < c.write_seq and c.snd_una + c.snd_wnd > c.snd_nxt:
                return REXMIT_NEW  # step 2.b: new data, or the FIN, first
            c.frto = False
    if recovered:
        try_undo_recovery(c, now)
        return REXMIT_NONE
    if not c.sack_ok:
        if c.snd_nxt > c.high_seq and dupacks:
            add_reno_sack(c, dupacks)
        elif flag & SND_UNA_ADVANCED:
            c.sacked_out = 0
    return REXMIT_LOST


def alert(c: Connection, prior_una: int, dupacks: int, flag: int, now: int) -> tuple[int, int]:
    """The ACK is a duplicate, reports something, or comes in a phase other than Open: move between phases (Linux's
    tcp_fastretrans_alert). Returns (what to retransmit, flag)."""
    ece = bool(flag & ECE_SEEN)
    # ECE forbids undoing.
    if ece:
        c.prior_ssthresh = 0
    # The receiver seems to have dropped what it SACKed: wait a little in case it has not, then act as for a timeout.
    if flag & SACK_RENEGING and flag & SND_UNA_ADVANCED:
        rto.arm(c, RETRANS, max((c.srtt_us >> 4) * 1000, 10 * MS), now)
        return REXMIT_NONE, flag & ~SET_XMIT_TIMER
    # Is the phase over?
    if c.ca_state == CA_OPEN:
        c.retrans_stamp_ns = 0
    elif c.snd_una >= c.high_seq:
        if c.ca_state == CA_CWR:
            if c.snd_una != c.high_seq:
                end_cwnd_reduction(c, now)
                set_ca_state(c, CA_OPEN, now)
        elif c.ca_state == CA_RECOVERY:
            if not c.sack_ok:
                c.sacked_out = 0
            if try_undo_recovery(c, now):
                return REXMIT_NONE, flag
            end_cwnd_reduction(c, now)
    # What the phase does with the ACK.
    if c.ca_state == CA_RECOVERY:
        if not flag & SND_UNA_ADVANCED:
            if not c.sack_ok:
                add_reno_sack(c, dupacks)
        elif try_undo_partial(c, prior_una, now):
            return REXMIT_NONE, flag
        if try_undo_dsack(c, now):
            try_to_open(c, flag, now)
        flag = identify_loss(c, flag, now)
        if c.ca_state != CA_RECOVERY:
            if not c.lost_out:
                return REXMIT_NONE, flag
            enter_recovery(c, ece, now)
        return REXMIT_LOST, flag
    rexmit = REXMIT_NONE
    if c.ca_state == CA_LOSS:
        rexmit = process_loss(c, flag, dupacks, now)
        if c.ca_state != CA_LOSS and c.rto_stamp_ns:
            c.total_rto_ns += now - c.rto_stamp_ns
            c.rto_stamp_ns = 0
        flag = identify_loss(c, flag, now)
        if not (c.ca_state == CA_OPEN or flag & LOST_RETRANS):
            return rexmit, flag
    if not c.sack_ok:
        if flag & SND_UNA_ADVANCED:
            c.sacked_out = 0
        add_reno_sack(c, dupacks)
    if c.ca_state <= CA_DISORDER:
        try_undo_dsack(c, now)
    flag = identify_loss(c, flag, now)
    if not c.lost_out:
        try_to_open(c, flag, now)
        return rexmit, flag
    if c.mtup is not None:
        from netstack.tcp import mtuprobe

        if mtuprobe.failed(c, now):
            return REXMIT_NONE, flag
    enter_recovery(c, ece, now)
    return REXMIT_LOST, flag
