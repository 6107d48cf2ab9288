"""Options of the SYNs: what is offered, and what comes of the peer's answer. MSS: RFC 9293 section 3.7.1 and RFC 6691;
window scale: RFC 7323 section 2; timestamps: RFC 7323 section 3; SACK permitted: RFC 2018 section 2.

MSS counts payload without options: what is announced is the path's MTU less the fixed headers; what is sent is bounded
by the peer's announcement and the path's MTU, less the options that each segment carries. A peer that announces nothing
gets 536, and 1220 over IPv6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp.segment import ACK, OPT_MSS, OPT_SACK_PERMITTED, OPT_TIMESTAMP, OPT_WSCALE

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection
    from netstack.tcp.segment import Segment

MSS_DEFAULT = 536
MSS_DEFAULT_6 = 1220
MSS_MIN = 48
TIMESTAMP_BYTES = 12
WSCALE_MAX = 14


def headers(version: int) -> int:
    """Bytes of IP and TCP without options."""
    return 40 if version == 4 else 60


def advertised_mss(version: int, mtu: int, metrics: dict[str, int], user_mss: int, min_adv: int) -> int:
    """The MSS option of our SYN (RFC 9293 section 3.7.1), unless the route or the user (TCP_MAXSEG) sets another. Over
    IPv6 every host takes packets of the least MTU (RFC 8200 section 5), so it is never less than what fits those."""
    mss = metrics.get("advmss", 0) or max(mtu - headers(version), min_adv if version == 4 else MSS_DEFAULT_6)
    mss = min(mss, 65535 - 40)
    if user_mss and user_mss < mss:
        mss = user_mss
    return mss


def renew_advertised(c: Connection) -> None:
    """A SYN that goes again offers no more than fits the path, of which a router may have said something by now
    (TCP_MAXSEG counts when the connection is opened)."""
    path = c.path
    mss = advertised_mss(path.version, path.mtu, path.metrics or {}, 0, c.settings.route_min_adv_mss)
    if mss < c.advmss:
        c.advmss = mss


def default_mss(version: int) -> int:
    """The MSS of a peer that announced none (RFC 9293 section 3.7.1)."""
    return MSS_DEFAULT if version == 4 else MSS_DEFAULT_6


def peer_mss(seg: Segment, user_mss: int, version: int) -> int:
    """The MSS that the peer announced, or the default; bounded by TCP_MAXSEG."""
    mss = (seg.mss if seg.options & OPT_MSS else 0) or default_mss(version)
    return min(mss, user_mss) if user_mss else mss


def settle(c: Connection, seg: Segment, now: int) -> None:
    """Active side: the peer's SYN says which of the options offered are in force (RFC 7323 sections 2.2 and 3.2, RFC
    2018 section 2)."""
    opts = seg.options
    c.mss_clamp = peer_mss(seg, c.user_mss, c.path.version)
    if opts & OPT_WSCALE and c.wscale_ok:
        c.snd_wscale = min(seg.wscale, WSCALE_MAX)
    else:
        c.wscale_ok = False
        c.snd_wscale = 0
        c.rcv_wscale = 0
        c.window_clamp = min(c.window_clamp, 65535)
    if opts & OPT_TIMESTAMP and c.ts_ok:
        c.ts_recent = seg.tsval
        c.ts_recent_ns = now
        c.saw_ts = True
        c.rcv_tsecr = seg.tsecr
        c.option_bytes = TIMESTAMP_BYTES
        if seg.flags & ACK:  # in a simultaneous open this waits until our SYN-ACK is acknowledged
            c.advmss -= TIMESTAMP_BYTES
    else:
        c.ts_ok = False
        c.option_bytes = 0
    if not opts & OPT_SACK_PERMITTED:
        c.sack_ok = False


def fitting_mss(version: int, mtu: int, mss_clamp: int, option_bytes: int, min_snd: int) -> int:
    """The MSS that fits a path of this MTU, beside the options that every segment carries."""
    return max(min(mtu - headers(version), mss_clamp), min_snd) - option_bytes


def effective_mss(version: int, mtu: int, mss_clamp: int, option_bytes: int, max_window: int, min_snd: int) -> int:
    """Eff.snd.MSS (RFC 9293 section 3.7.1), at most half the largest window that the peer ever offered (Linux's
    tcp_bound_to_half_wnd), so that a small window does not stall the sender."""
    mss = fitting_mss(version, mtu, mss_clamp, option_bytes, min_snd)
    if max_window:
        cutoff = max_window >> 1 if max_window > MSS_DEFAULT else max_window
        if mss > cutoff:
            mss = max(cutoff, 68 - 20 - option_bytes)
    return mss
