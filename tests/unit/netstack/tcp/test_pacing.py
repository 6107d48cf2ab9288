"""Pacing: the rate is kept whatever the window allows, and waiting is a deadline."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.socket import SO_MAX_PACING_RATE, SOL_SOCKET
from tests.unit.netstack.tcp.kit import MS, Peer

SECOND = 1_000_000_000


def test_segments_leave_at_the_rate() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.setsockopt(SOL_SOCKET, SO_MAX_PACING_RATE, 100_000)
    c = sock.conn
    c.cwnd = 100
    c.data_segs_out = 10  # the first ten are free
    mss = c.mss_cache
    sock.send(bytes(20 * mss), peer.now)
    start = peer.now
    seen: list[tuple[int, int]] = []
    while c.snd_nxt < c.write_seq:
        seen.append((peer.now - start, c.snd_nxt - c.snd_una))
        assert c.pace_ns > peer.now
        peer.now = c.pace_ns
        peer.stack.on_deadline(peer.now)
    assert len(seen) >= 5
    for at, out in seen[1:]:
        burst = 4 * mss
        assert out <= 100_000 * at // SECOND + burst


def test_no_rate_no_waiting() -> None:
    peer = Peer()
    sock = peer.accept()
    sock.conn.cwnd = 100
    sock.send(bytes(20 * sock.conn.mss_cache), peer.now)
    assert sock.conn.snd_nxt == sock.conn.write_seq
    assert not sock.conn.pace_ns


def test_the_option_reads_back() -> None:
    peer = Peer()
    sock = peer.accept()
    assert sock.getsockopt(SOL_SOCKET, SO_MAX_PACING_RATE, 4) == b"\xff" * 4
    assert sock.getsockopt(SOL_SOCKET, SO_MAX_PACING_RATE, 8) == b"\xff" * 8
    sock.setsockopt(SOL_SOCKET, SO_MAX_PACING_RATE, struct.pack("=Q", 1 << 40))
    assert sock.getsockopt(SOL_SOCKET, SO_MAX_PACING_RATE, 8) == struct.pack("=Q", 1 << 40)
    assert sock.info(peer.now).tcpi_max_pacing_rate == 1 << 40


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40 * MS), st.integers(1, 65_160)), min_size=1, max_size=40))
def test_credit_is_at_most_half(steps: list[tuple[int, int]]) -> None:
    """However late the segments are, no more than twice the rate comes about."""
    from netstack.tcp import pacing

    class Fake:
        wstamp_ns = tso_ns = 0
        pacing_rate = 1_000_000
        data_segs_out = 100

    c = Fake()
    now = sent = 0
    for wait, size in steps:
        now = max(now + wait, c.wstamp_ns)
        pacing.sent(c, size, now)  # type: ignore[arg-type]
        sent += size
    assert c.wstamp_ns * c.pacing_rate // SECOND * 2 >= sent - 65_160
