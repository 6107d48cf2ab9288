"""RACK's reordering window (RFC 8985 section 6.2 step 4)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from netstack.settings import Settings
from netstack.tcp import rack
from netstack.tcp.tcb import CA_OPEN, CA_RECOVERY
from tests.unit.netstack.tcp.kit import Peer


def sender(**names: Any) -> Any:
    c = SimpleNamespace(
        settings=Settings(), reord_seen=1, ca_state=CA_OPEN, sacked_out=0, reordering=3, min_rtt_us=20_000,
        min_rtt_sacked=False,
        srtt_us=24_000 << 3, rack_steps=1, rack_dsack_seen=False, rack_last_delivered=0, rack_persist=0, delivered=0,
    )  # fmt: skip
    vars(c).update(names)
    return c


def test_a_quarter_of_the_least_round_trip() -> None:
    assert rack.reo_wnd_us(sender()) == 5_000


def test_three_sacked_segments_are_proof_where_nothing_was_reordered() -> None:
    assert rack.reo_wnd_us(sender(reord_seen=0, sacked_out=3)) == 0
    assert rack.reo_wnd_us(sender(reord_seen=0, sacked_out=2)) == 5_000
    assert rack.reo_wnd_us(sender(reord_seen=0, ca_state=CA_RECOVERY)) == 0
    assert rack.reo_wnd_us(sender(reord_seen=1, sacked_out=3)) == 5_000
    c = sender(reord_seen=0, sacked_out=3)
    c.settings.set("net.ipv4.tcp_recovery", 5)
    assert rack.reo_wnd_us(c) == 5_000


def test_dsacks_widen_it_up_to_the_smoothed_round_trip() -> None:
    found = [rack.reo_wnd_us(sender(rack_steps=steps)) for steps in range(1, 8)]
    assert found == [5_000, 10_000, 15_000, 20_000, 24_000, 24_000, 24_000]


def test_a_least_round_trip_that_overtaking_made_does_not_bind_it() -> None:
    """By a quarter of SRTT each time."""
    found = [rack.reo_wnd_us(sender(min_rtt_us=40, min_rtt_sacked=True, rack_steps=steps)) for steps in (1, 2, 3, 100)]
    assert found == [10, 6_010, 12_010, 24_000]
    found = [rack.reo_wnd_us(sender(min_rtt_us=1200, rack_steps=steps)) for steps in (1, 2, 3, 10)]
    assert found == [300, 600, 900, 3_000]


def test_nor_does_one_of_less_than_a_millisecond() -> None:
    """Most of a round trip is there not the path: by a quarter of SRTT, once that is half as long again."""
    found = [rack.reo_wnd_us(sender(min_rtt_us=40, rack_steps=steps)) for steps in (1, 2, 3, 100)]
    assert found == [10, 6_010, 12_010, 24_000]
    assert rack.reo_wnd_us(sender(min_rtt_us=800, srtt_us=1200 << 3, rack_steps=2)) == 400


def test_a_clock_that_does_not_resolve_the_path() -> None:
    assert rack.reo_wnd_us(sender(min_rtt_us=1, srtt_us=8)) == 1_000
    assert rack.reo_wnd_us(sender(min_rtt_us=1, srtt_us=8, reord_seen=0)) == 0
    c = sender(min_rtt_us=1, srtt_us=8)
    c.settings.set("terrella.tcp_clock_granularity_us", 10_000)
    assert rack.reo_wnd_us(c) == 10_000


def test_it_is_widened_once_a_round_trip_and_forgotten_after_sixteen_recoveries() -> None:
    c = sender(rack_dsack_seen=True, delivered=100)
    rack.update_reo_wnd(c, 50)
    assert (c.rack_steps, c.rack_persist, c.rack_dsack_seen) == (2, 16, False)
    c.rack_dsack_seen = True
    rack.update_reo_wnd(c, 99)  # sent before the window was widened
    assert c.rack_steps == 2 and not c.rack_dsack_seen
    c.rack_dsack_seen = True
    rack.update_reo_wnd(c, 100)
    assert c.rack_steps == 3
    c.rack_persist = 0
    rack.update_reo_wnd(c, 101)
    assert c.rack_steps == 1


@given(
    st.integers(1, 10_000_000), st.integers(1, 10_000_000), st.integers(1, 255), st.booleans(),
    st.integers(0, 10), st.integers(0, 1_000_000),
)  # fmt: skip
def test_it_never_exceeds_the_round_trip_or_a_tick(
    least: int, smoothed: int, steps: int, seen: bool, sacked: int, tick: int
) -> None:
    c = sender(min_rtt_us=least, srtt_us=smoothed << 3, rack_steps=steps, reord_seen=int(seen), sacked_out=sacked)
    c.settings.set("terrella.tcp_clock_granularity_us", tick)
    assert 0 <= rack.reo_wnd_us(c) <= max(smoothed, tick)


def test_a_predicted_ack_makes_the_least_round_trip_its_own() -> None:
    peer = Peer()
    sock = peer.accept()
    c = sock.conn
    c.min_rtt_sacked = True
    sock.send(b"x", peer.now)
    peer.wait(1)
    hits = peer.stack.counters.tcpext.TCPHPAcks
    peer.send(". 1:1(0) ack 2 win 512")
    assert peer.stack.counters.tcpext.TCPHPAcks == hits + 1
    assert c.min_rtt_us == 1000 and not c.min_rtt_sacked
