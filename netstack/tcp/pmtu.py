"""A router says that a path takes no more (RFC 1191, RFC 8201): what it means for a connection.

What a path takes is remembered by `netstack.route`; what nobody says is found out by `mtuprobe`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import output, recovery
from netstack.tcp.scoreboard import mark_lost, unlink

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection


def frag_needed(c: Connection, mtu: int, now: int) -> None:
    """RFC 1191, validated by the caller (RFC 5927): smaller segments from now on, and what was too big again."""
    if mtu >= c.mtu:
        return
    c.mtu = mtu
    old = c.mss_cache
    c.sync_mss()
    if c.mss_cache < old and c.rtx:
        resend_larger(c, now)


def resend_larger(c: Connection, now: int) -> None:
    """What is out in segments larger than the path takes is lost, and sent again, with no change of cwnd: there is no
    more in the network than before."""
    for rec in c.rtx:
        if rec.length and min(rec.length, rec.mss) > c.mss_cache and not rec.marks & 1:
            if not rec.marks & 4:
                mark_lost(c, rec)
                unlink(rec)
            elif rec.marks & 2:
                rec.marks &= ~2
                c.retrans_out -= rec.pcount
    if c.lost_out:
        c.undo_marker = 0
        if c.ca_state < 3:
            c.high_seq = c.snd_nxt
            c.ssthresh = recovery.current_ssthresh(c)
            c.prior_ssthresh = 0
            c.undo_marker = 0
            recovery.set_ca_state(c, 4, now)
        output.retransmit_lost(c, now)
