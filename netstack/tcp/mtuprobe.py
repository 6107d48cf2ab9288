"""Packetization layer path MTU discovery (RFC 4821; "section" in this file means one of that RFC): finding out what a
path takes without being told.

A search goes on between `low`, what is known to get through (at first tcp_base_mss), and `high`, what the peer and the
link allow (section 7.2). A probe is one segment half way between them (section 7.3), sent when so much data follows it
that its loss is found by duplicate ACKs: DupThresh segments and one more (section 7.4). If it is acknowledged, `low`
rises, and with it the MSS (section 7.6.1). If it is found lost, `high` falls and cwnd does not (section 7.6.2). When
the two are closer than tcp_probe_threshold the search rests; after tcp_probe_interval seconds it begins anew.

tcp_mtu_probing 2 does this from the beginning, 1 only after a black hole (section 7.7), when segments time out again
and again and no ICMP error says why. Then segments are of tcp_base_mss at most, and if that does not help, of half of
what was tried last. These limits and when to probe are Linux's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netstack.tcp import output, pmtu
from netstack.tcp.congestion import TX_START
from netstack.tcp.options import fitting_mss, headers
from netstack.tcp.recovery import current_ssthresh
from netstack.tcp.segment import ACK
from netstack.tcp.tcb import CA_CWR, CA_OPEN, SECOND

if TYPE_CHECKING:
    from netstack.tcp.connection import Connection

LEAST_CWND = 11
"""Segments: with a smaller cwnd the loss of a probe would cost too much (section 7.4)."""
WAIT, SENT, NOT_NOW = 0, 1, -1


class Search:
    """MTUs in bytes; `size` of the probe that is out, 0 when there is none, and its place in the stream."""

    __slots__ = ("begin", "end", "high", "low", "size", "stamp_ns")

    def __init__(self, low: int, high: int, now: int) -> None:
        self.low = low
        self.high = high
        self.size = self.begin = self.end = 0
        self.stamp_ns = now


def mss_of(c: Connection, mtu: int) -> int:
    return fitting_mss(c.path.version, mtu, c.mss_clamp, c.option_bytes, c.settings.tcp_min_snd_mss)


def mtu_of(c: Connection, mss: int) -> int:
    return mss + c.option_bytes + headers(c.path.version)


def start(c: Connection, now: int) -> None:
    """The options of the connection are known: with tcp_mtu_probing 2 the search begins."""
    if c.settings.tcp_mtu_probing > 1:
        begin(c, now)


def begin(c: Connection, now: int) -> None:
    c.mtup = Search(mtu_of(c, c.settings.tcp_base_mss), c.mss_clamp + headers(c.path.version), now)


def black_hole(c: Connection, now: int) -> None:
    """Section 7.7, full-stop timeout: nothing gets through any more."""
    search, settings = c.mtup, c.settings
    if search is None:
        begin(c, now)
    else:
        mss = min(settings.tcp_base_mss, mss_of(c, search.low) >> 1)
        search.low = mtu_of(c, max(mss, settings.tcp_mtu_probe_floor, settings.tcp_min_snd_mss))
    c.sync_mss()


def probe(c: Connection, now: int) -> int:
    """New data may be sent (section 7.5): SENT a probe; WAIT until there is room for one; or NOT_NOW."""
    search = c.mtup
    if search is None or search.size or c.ca_state != CA_OPEN or c.cwnd < LEAST_CWND or c.sacks or c.dsack is not None:
        return NOT_NOW
    settings = c.settings
    size = mss_of(c, (search.high + search.low) >> 1)
    if size > mss_of(c, search.high) or search.high - search.low < settings.tcp_probe_threshold:
        if now - search.stamp_ns >= settings.tcp_probe_interval * SECOND:
            search.high = c.mss_clamp + headers(c.path.version)
            search.low = mtu_of(c, output.current_mss(c))
            search.stamp_ns = now
        return NOT_NOW
    needed = size + (c.reordering + 1) * c.mss_cache
    if c.write_seq - c.snd_nxt < needed or c.snd_wnd < needed:
        return NOT_NOW
    if c.snd_nxt + needed > c.snd_una + c.snd_wnd:
        return WAIT
    flight = c.in_flight()
    if flight + 2 > c.cwnd:
        return WAIT if flight else NOT_NOW
    if c.eor and output.record_end(c, c.snd_nxt, size) < size:
        return NOT_NOW
    if not flight:
        c.cc.event(c, TX_START, now)
    search.begin = c.snd_nxt
    search.end = c.snd_nxt + size
    search.size = mtu_of(c, size)
    output.force(c, size, size, ACK, now)
    c.cwnd -= 1  # the probe takes the place of two segments
    return SENT


def acknowledged(c: Connection, now: int) -> None:
    """Section 7.6.1: SND.UNA has passed the probe, so the path took it in one piece."""
    search = c.mtup
    if search is None or not search.size or search.end > c.snd_una:
        return
    c.prior_ssthresh = current_ssthresh(c)
    c.cwnd = max(1, c.cwnd * mtu_of(c, c.mss_cache) // search.size)  # as many bytes as before
    c.cwnd_cnt = 0
    c.cwnd_stamp_ns = now
    c.ssthresh = current_ssthresh(c)
    search.low = search.size
    search.size = 0
    c.sync_mss()
    c.counters.TCPMTUPSuccess += 1


def failed(c: Connection, now: int) -> bool:
    """Section 7.6.2: losses have been found. Whether the probe is the first segment missing: then the path did not take
    it, which says nothing of congestion."""
    search = c.mtup
    if search is None or not search.size or c.ca_state >= CA_CWR or c.snd_una != search.begin:
        return False
    search.high = search.size - 1
    search.size = 0
    c.counters.TCPMTUPFail += 1
    c.cwnd += 1
    pmtu.resend_larger(c, now)
    return True
