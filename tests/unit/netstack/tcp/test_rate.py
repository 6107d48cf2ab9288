"""Delivery rate samples never exceed what the path delivered, whatever happens to data and ACKs."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from netstack.tcp import rate
from tests.unit.netstack.tcp.kit import MS, Peer


def test_a_bulk_sender_measures_the_path() -> None:
    """A segment acknowledged every millisecond: that is the rate, and no limit of the application's."""
    peer = Peer()
    sock = peer.accept()
    c = sock.conn
    mss = c.mss_cache
    sock.send(bytes(200 * mss), peer.now)
    peer.now += 50 * MS
    for n in range(1, 120):
        peer.now += MS
        peer.send(f". 1:1(0) ack {1 + n * mss}")
    info = sock.info(peer.now)
    assert 0.8 * mss * 1000 <= info.tcpi_delivery_rate <= 1.02 * mss * 1000
    assert not info.tcpi_delivery_rate_app_limited


def test_an_application_that_pauses_is_marked() -> None:
    peer = Peer()
    sock = peer.accept()
    for n in range(1, 4):
        sock.send(bytes(100), peer.now)
        peer.now += 50 * MS
        peer.send(f". 1:1(0) ack {1 + n * 100}")
    assert sock.info(peer.now).tcpi_delivery_rate_app_limited == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 30)), min_size=1, max_size=30))
@example([(3, 0), (8, 0), (6, 1)])  # what the first lets go, the second has at once: a round trip of nothing
def test_compressed_acks_do_not_deceive(acks: list[tuple[int, int]]) -> None:
    """However the ACKs are bunched, a sample is never above all that was delivered over the shortest round trip."""
    peer = Peer()
    sock = peer.accept()
    c = sock.conn
    mss = c.mss_cache
    sock.send(bytes(300 * mss), peer.now)
    peer.now += 40 * MS
    acked = 0
    for segments, wait in acks:
        acked = min(acked + segments, (c.snd_nxt - c.iss - 1) // mss)
        peer.now += wait * MS
        peer.send(f". 1:1(0) ack {1 + acked * mss}")
        assert rate.bytes_per_second(c) <= acked * mss * 1_000_000 // c.min_rtt_us + mss
