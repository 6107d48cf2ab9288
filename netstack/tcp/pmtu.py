"""A router says that a path takes no more (RFC 1191, RFC 8201): what it means for a connection.

What a path takes is remembered by `netstack.route`; what nobody says is found out by `mtuprobe`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import output, recovery
from netstack.tcp.scoreboard import mark_lost
from netstack.tcp.tcb import CA_LOSS

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection


def frag_needed(c: Connection, mtu: int, now: int) -> None:
    """RFC 1191, validated by the caller (RFC 5927): smaller segments from now on, and what was too big again.
    `mtu` is less than what the connection went by."""
    c.mtu = mtu
    c.sync_mss()
    if c.rtx:
        resend_larger(c, now)


def resend_larger(c: Connection, now: int) -> None:
    """What is out in segments larger than the path takes is lost, also what was sent again, and is sent once more from
    the first on, with no change of cwnd: there is no more in the network than before. (As in Linux, a recovery that is
    going on for other losses becomes one that cannot be undone.)"""
    mss = output.current_mss(c)
    for rec in c.rtx:
        if min(rec.length, rec.mss) > mss:
            mark_lost(c, rec)
    if c.lost_out:
        c.retransmit_hint = c.snd_una
        if not c.sack_ok:
            recovery.limit_reno_sacked(c)
        if c.ca_state != CA_LOSS:
            c.high_seq = c.snd_nxt
            c.ssthresh = recovery.current_ssthresh(c)
            c.prior_ssthresh = 0
            c.undo_marker = 0
            recovery.set_ca_state(c, CA_LOSS, now)
        output.retransmit_lost(c, now)
