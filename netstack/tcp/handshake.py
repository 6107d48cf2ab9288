"""Establishing a connection (RFC 9293 section 3.5): what a SYN offers, and what the transfer begins with once the
handshake is over.

The SYN's own options are settled by `options` when the answer comes; how a SYN goes out and is sent again is in `emit`.
A passive open offers in `listener`, where there is no connection yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import congestion, mtuprobe, pacing, window
from netstack.tcp import options as opt
from netstack.tcp.seq import MASK
from netstack.tcp.tcb import CA_LOSS, CA_OPEN, INFINITE_SSTHRESH, MS, SECOND

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection


def offer(c: Connection, now: int) -> None:
    """An active open: ISS, and what the SYN will say of this side: MSS, window and scale, timestamps, SACK, ECN."""
    settings = c.settings
    path = c.path
    metrics = path.metrics or {}
    c.iss = c.engine.isn(c.key, now)
    c.snd_una = c.snd_sml = c.iss
    c.snd_nxt = c.write_seq = c.pushed_seq = c.iss + 1
    c.rtt_seq = c.iss
    c.ts_ok = bool(settings.tcp_timestamps)
    c.ts_offset = c.engine.ts_offset(c.key)
    c.sack_ok = bool(settings.tcp_sack)
    c.wscale_ok = bool(settings.tcp_window_scaling)
    c.ecn_ok = settings.tcp_ecn == 1 or bool(metrics.get("features", 0) & 1)
    c.option_bytes = opt.TIMESTAMP_BYTES if c.ts_ok else 0
    c.advmss = opt.advertised_mss(path.version, path.mtu, metrics, c.user_mss, settings.route_min_adv_mss)
    c.mss_clamp = c.user_mss or opt.default_mss(path.version)
    mtuprobe.start(c, now)
    c.sync_mss()
    c.rcv_mss = max(88, min(c.advmss, c.mss_cache, opt.MSS_DEFAULT))
    space = window.win_from_space(c, c.rcvbuf)
    c.rcv_wnd, c.window_clamp, c.rcv_wscale = window.initial(
        space,
        c.advmss - (c.option_bytes if c.ts_recent else 0),  # TIME-WAIT knew the peer's timestamps
        window.locked_clamp(c.window_clamp or metrics.get("window", 0), space, c.rcvbuf_locked),
        c.wscale_ok,
        metrics.get("initrwnd", 0),
        settings.tcp_rmem[2],
        settings.rmem_max,
        settings.tcp_workaround_signed_windows != 0,
    )
    c.rcv_ssthresh = c.rcv_wnd
    c.offered_wscale = c.rcv_wscale


def established(c: Connection, now: int) -> None:
    """The handshake is over: set buffers, window and cwnd for the transfer (Linux's tcp_init_transfer)."""
    settings = c.settings
    metrics = c.path.metrics or {}
    c.sync_mss()
    mtuprobe.start(c, now)
    full = window.win_from_space(c, c.rcvbuf)
    c.rcvq_space_ns = now
    c.rcvq_space_seq = c.copied_seq
    if c.window_clamp >= full:
        c.window_clamp = full
        if settings.tcp_app_win and full > 4 * c.advmss:
            c.window_clamp = max(full - (full >> settings.tcp_app_win), 4 * c.advmss)
    if settings.tcp_app_win and c.window_clamp > 2 * c.advmss and c.window_clamp + c.advmss > full:
        c.window_clamp = max(2 * c.advmss, full - c.advmss)
    c.rcv_ssthresh = min(c.rcv_ssthresh, c.window_clamp)
    c.rcvq_space = min(min(c.rcv_ssthresh, c.rcv_wnd), 10 * c.advmss)
    c.rcv_mss = max(88, min(min(c.advmss, c.mss_cache), min(c.rcv_wnd // 2, opt.MSS_DEFAULT)))
    c.cwnd_stamp_ns = now
    c.lrcvtime_ns = c.rcv_tstamp_ns = now
    if not c.srtt_us:
        # RFC 6298 (5.7): the SYN was retransmitted and there is no sample.
        c.rttvar_us = c.mdev_us = c.mdev_max_us = 3_000_000
        c.rto_ns = 3 * SECOND
    c.ssthresh = INFINITE_SSTHRESH  # a SYN that timed out says nothing about the path's capacity
    # RFC 5681 section 3.1: one segment after a lost SYN; not if the answer is to the first SYN (RFC 3522).
    first = c.saw_ts and c.rcv_tsecr == (c.syn_stamp_ns // MS + c.ts_offset) & MASK
    c.cwnd = 1 if c.total_retrans > 1 and not first else c.init_cwnd()
    if metrics.get("congctl") and not (c.sock is not None and c.sock.cc_name):
        c.cc = congestion.choose(str(metrics["congctl"]))
    if not c.sndbuf_locked:
        c.expand_sndbuf()
    if c.ca_state != CA_LOSS or c.sack_ok:
        c.ca_state = CA_OPEN  # else a SYN timed out without SACK: see `recovery.non_sack_holds`
    c.retransmits = 0
    c.retrans_stamp_ns = 0
    c.high_seq = c.snd_una
    c.highest_sack = c.snd_una
    c.undo_marker = 0
    c.snd_wl1 = c.snd_wl1 or c.irs
    c.lsndtime_ns = now
    c.cwnd_usage_seq = c.snd_nxt
    pacing.configure(c)
    if c.keepalive_on:
        c.start_keepalive(now)
    c.wake_pending = True
