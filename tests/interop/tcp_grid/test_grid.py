"""Against Linux across the wire: every byte intact, and not slower than Linux (in small here, the whole in a soak)."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable

import pytest

from tests.interop.tcp_grid import grid
from tests.interop.tcp_grid.lane import LINUX, OURS, Lane

pytestmark = pytest.mark.interop


@pytest.fixture
def ready(need: Callable[..., None]) -> None:
    need("ip", "ping", root=True)


def test_a_small_grid(ready: None) -> None:
    """Few flows on a machine that may be busy: the bytes are exact, goodput is of the same order."""
    results = grid.sweep(grid.SMALL, ["send", "take"], ["cubic"], 1, 2, lambda result: print(result.line()))
    results += grid.sweep(grid.SMALL[:1], ["send", "take"], ["reno"], 1, 2, lambda result: print(result.line()))
    assert grid.mean(result.ratio for result in results) > 0.3


def test_two_flows_share(ready: None) -> None:
    """Neither starves the other within a few seconds."""
    with Lane(f"share{os.getpid()}") as lane:
        lane.wire("--rate", "10Mbit", "--delay", "5ms", "--queue", "30")
        linux, ours = lane.share(LINUX, OURS, "cubic", 5)
    assert 0.1 < sum(ours) / sum(linux) < 10
    assert (sum(ours) + sum(linux)) * 8 / 5 > 7e6, "together they fill the line"


@pytest.mark.soak
def test_the_whole_grid(ready: None) -> None:
    """Geometric mean at least 0.95, no cell's median of nine under 0.8; D-SACKs at most 1.2 times Linux's."""
    results = grid.sweep(
        grid.CELLS, ["send", "take"], ["cubic", "reno"], 9, 1, lambda result: print(result.line(), flush=True)
    )
    assert grid.mean(result.ratio for result in results) >= 0.95
    low = [result.line() for result in results if result.ratio < 0.8]
    assert not low, "\n".join(low)
    sent = [result for result in results if result.verb == "send"]
    spurious = [sum(r.total(flows(r), "dsack_dups") for r in sent) for flows in (lambda r: r.linux, lambda r: r.ours)]
    assert spurious[1] <= 1.2 * spurious[0] + 10, spurious


@pytest.mark.soak
@pytest.mark.parametrize("ours", [(), ("tick=1000000",)], ids=["exact", "a clock of 1 ms"])
def test_spurious_retransmissions(ready: None, ours: tuple[str, ...]) -> None:
    """Under reordering, with ACKs lost, and over 50 us: at most 1.2 times the D-SACKs of Linux, cell by cell."""
    results = grid.sweep(
        grid.SPURIOUS, ["send"], ["cubic", "reno"], 5, 1, lambda result: print(result.line(), flush=True), ours
    )
    for cell in grid.SPURIOUS:
        found = [result for result in results if result.cell == cell]
        linux, mine = (sum(r.total(flows(r), "dsack_dups") for r in found)
                       for flows in (lambda r: r.linux, lambda r: r.ours))  # fmt: skip
        assert mine <= 1.2 * linux + len(found) * 5, (cell.name, linux, mine)


@pytest.mark.soak
@pytest.mark.parametrize("congestion", ["cubic", "reno"])
def test_a_bottleneck_is_shared(ready: None, congestion: str) -> None:
    """The median of nine pairs of flows: within 20 %."""
    with Lane(f"share{os.getpid()}") as lane:
        lane.wire("--rate", "10Mbit", "--delay", "10ms", "--queue", "50")
        ratios = []
        for turn in range(9):
            order = (LINUX, OURS) if turn % 2 else (OURS, LINUX)
            one, other = lane.share(*order, congestion, 40)
            ratio = sum(other[5:]) / sum(one[5:])
            ratios.append(ratio if turn % 2 else 1 / ratio)
    assert 0.8 <= statistics.median(ratios) <= 1.25, ratios
