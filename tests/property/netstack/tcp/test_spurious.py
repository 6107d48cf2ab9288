"""What has arrived is seldom sent again: under reordering, with ACKs lost, over 50 us, and with a clock of a
millisecond (RFC 8985 section 3.2, "Reordering resilience"; RFC 6298's G)."""

from __future__ import annotations

import pytest

from netstack.tcp import rack
from netstack.tcp.tcb import MS
from tests.property.netstack.tcp.world import Flow

SIZE = 1_000_000
TEN = {"delay": "10ms"}
SHORT = {"delay": "25us"}
TICKS = pytest.mark.parametrize("tick", [1, MS], ids=["exact", "coarse"])
CONTROLS = pytest.mark.parametrize("congestion", ["cubic", "reno"])
PATHS = {
    "some overtake": (TEN | {"reorder": "1%"}, TEN, 6),
    "a quarter overtake, both ways": (TEN | {"reorder": "25%"}, TEN | {"reorder": "25%"}, 90),
    "all jitter": (TEN | {"jitter": "3ms"}, TEN | {"jitter": "3ms"}, 40),
    "short, some overtake": (SHORT | {"reorder": "5%"}, SHORT, 40),
    "short, all jitter": (SHORT | {"jitter": "10us"}, SHORT | {"jitter": "10us"}, 40),
}
"""There, back, and how many of 700 segments may arrive twice."""


@TICKS
@CONTROLS
@pytest.mark.parametrize("path", PATHS)
def test_reordering_is_not_loss(path: str, congestion: str, tick: int) -> None:
    there, back, most = PATHS[path]
    for seed in (1, 2):
        flow = Flow(there, back, SIZE, congestion, seed, tick)
        assert flow.received == SIZE
        assert flow.duplicates <= most, (seed, flow.duplicates)
        assert flow.sender.total_rto == 0


@TICKS
@CONTROLS
@pytest.mark.parametrize("path", [TEN, TEN | {"rate": "20Mbit", "queue": "1000"}, SHORT | {"rate": "1Gbit"}], ids=str)
def test_lost_acks_are_not_lost_data(path: dict[str, str], congestion: str, tick: int) -> None:
    """The next ACK says what a lost one would have said. (The last one of a flight has no next one: a probe.)"""
    for seed in (1, 2, 3):
        flow = Flow(path, path | {"loss": "20%"}, SIZE, congestion, seed, tick)
        assert flow.received == SIZE
        assert flow.duplicates <= 1, (seed, flow.duplicates)
        if path is TEN:
            assert flow.goodput > 30, "a SYN-ACK that was lost says nothing about what the path carries"


@TICKS
@CONTROLS
def test_a_short_path_loses_what_it_loses(congestion: str, tick: int) -> None:
    """Over 50 us as many segments are sent again as the wire has lost."""
    for seed in (1, 2, 3):
        flow = Flow(SHORT | {"rate": "1Gbit", "loss": "0.5%"}, SHORT, SIZE, congestion, seed, tick)
        assert flow.received == SIZE
        assert flow.duplicates == 0
        probes = flow.a.stack.counters.tcpext.TCPLossProbes
        assert flow.sender.total_retrans <= flow.there.lost + probes


def test_a_window_that_trusts_the_clock_is_seen() -> None:
    """Negative control: without the clock's granularity, a coarse clock takes overtaking for loss."""
    there, back, _ = PATHS["short, all jitter"]
    good, bad = (
        Flow(there, back, SIZE, "reno", 1, MS, terrella__tcp_clock_granularity_us=granularity).duplicates
        for granularity in (1000, 0)
    )
    assert bad > 2 * good, (good, bad)


def test_a_window_that_learns_too_slowly_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a quarter of what overtaking segments took is next to nothing, times what you will."""
    monkeypatch.setattr(rack, "reo_wnd_us", lambda c: min((c.min_rtt_us >> 2) * c.rack_steps, c.srtt_us >> 3))
    with pytest.raises(AssertionError):
        test_reordering_is_not_loss("a quarter overtake, both ways", "cubic", 1)
