"""Path MTU discovery (RFC 9293 section 3.7.2; RFC 1191, RFC 8201): what it means for a connection when a router says
that a packet was too big, and which packets have DF.

`netstack.route` remembers what a path takes; `mtuprobe` finds out what no router says.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from netstack.socket import (
    IP_PMTUDISC_DO,
    IP_PMTUDISC_DONT,
    IP_PMTUDISC_INTERFACE,
    IP_PMTUDISC_OMIT,
    IP_PMTUDISC_WANT,
)
from netstack.tcp import output, recovery
from netstack.tcp.scoreboard import mark_lost
from netstack.tcp.tcb import CA_LOSS

if TYPE_CHECKING:
    from netstack.route import Path
    from netstack.tcp.connection import Connection
    from netstack.tcp.socket import TcpSocket

MAY_FRAGMENT: Final = 0x100
"""A bit beside a TOS: the packet has no DF."""
LINK_ONLY: Final = (IP_PMTUDISC_INTERFACE, IP_PMTUDISC_OMIT)


def ip_fields(sock: TcpSocket, path: Path) -> tuple[int, int]:
    """TOS (with MAY_FRAGMENT if the packets have no DF) and TTL of what the socket sends. DF is set if IP_MTU_DISCOVER
    is IP_PMTUDISC_DO, or _WANT and the route's MTU is not locked. As in Linux it is always set in what no connection
    sends, even in a SYN-ACK."""
    tos, ttl = sock.marks(path.version)
    tos &= 0xFC
    if path.version == 4:
        mode = sock.ip_mtu_discover
        if mode != IP_PMTUDISC_DO and (mode != IP_PMTUDISC_WANT or path.locked):
            tos |= MAY_FRAGMENT
    return tos, ttl


def too_big(c: Connection, error: Any, now: int) -> None:
    """Fragmentation needed, or packet too big, about what is in flight (RFC 1191, RFC 8201)."""
    mode = c.sock.mtu_discover(error.version) if c.sock is not None else IP_PMTUDISC_WANT
    six = error.version == 6
    if six and (mode in LINK_ONLY or error.mtu - 60 - c.option_bytes >= c.mss_cache):
        return  # as in Linux; or what is sent fits already
    path, before = c.path, c.mtu
    if path.generation != path.stack.routes.generation:
        c.reroute(now)  # the path may have the MTU already, from an error about another connection
        path = c.path
    mtu = path.update_pmtu(error.mtu, now)
    if not six and mode == IP_PMTUDISC_DO and error.mtu < mtu:
        c.soft_error = errno.EMSGSIZE  # packets may not be fragmented, and will not become small enough
    if mtu >= before:
        return
    if six or (mode != IP_PMTUDISC_DONT and mode not in LINK_ONLY):
        c.icmp_frag_needed(mtu, now)
    else:  # what is in flight is not sent again; what follows is smaller
        c.mtu = mtu
        c.sync_mss()


def frag_needed(c: Connection, mtu: int, now: int) -> None:
    """The path takes `mtu` bytes, which is less than before; the caller has validated that (RFC 5927 section 4.1).
    Segments are smaller from now on, and what was too big is sent again (RFC 1191 section 6.4)."""
    c.mtu = mtu
    c.sync_mss()
    if c.rtx:
        resend_larger(c, now)


def resend_larger(c: Connection, now: int) -> None:
    """What is in flight in segments larger than the path takes is lost, and so are retransmissions of it. All of it is
    sent again from the first on, with no change of cwnd, since the loss says nothing about congestion (RFC 1191 section
    6.4). As in Linux, a recovery that is going on for other losses becomes one that cannot be undone."""
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
