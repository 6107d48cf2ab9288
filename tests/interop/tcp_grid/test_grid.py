"""Against Linux across the wire: every byte intact, and not slower than Linux (in small here, the whole in a soak)."""

from __future__ import annotations

import math
import os
import random
import re
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.tcp_grid import grid, service, share
from tests.interop.tcp_grid.cells import CELLS, SMALL, SPURIOUS
from tests.interop.tcp_grid.lane import LINUX, OURS, WITHIN, Lane
from tests.interop.tcp_grid.results import Records, Result, Unit, compared, dsacks, interval, mean, summary

pytestmark = pytest.mark.interop


@pytest.fixture
def ready(need: Callable[..., None]) -> None:
    need("ip", "ping", root=True)


def kept() -> Records:
    """TERRELLA_GRID_RESULTS names a file: what it has is not measured again, and what is measured goes there."""
    path = os.environ.get("TERRELLA_GRID_RESULTS")
    return Records(Path(path) if path else None)


def measured(
    work: list[Unit], lanes: int, settings: tuple[str, ...], records: Records, peer: str = "within"
) -> list[Result]:
    """The results of these pairs, once all of them have been measured."""
    grid.in_turns(work, records, lanes, settings, done=grid.say, peer=peer)
    asked = {(unit.cell.name, unit.verb, unit.congestion) for unit in work}
    found = records.results(dict.fromkeys(unit.cell for unit in work), form=grid.form(), sysctls=settings, peer=peer)
    return [result for result in found if (result.cell.name, result.verb, result.congestion) in asked]


@pytest.mark.parametrize("peer", ["within", "apart"])
def test_a_small_grid(ready: None, tmp_path: Path, peer: str) -> None:
    """Few flows on a machine that may be busy: the bytes are exact, goodput is of the same order."""
    work = grid.units(SMALL, ["send", "take"], ["cubic"], 1) + grid.units(SMALL[:1], ["send", "take"], ["reno"], 1)
    results = measured(work, 2, (), Records(tmp_path / "results"), peer)
    assert mean(result.ratio for result in results) > 0.3
    again = Records(tmp_path / "results")
    grid.sweep(work, again, peer=peer)
    assert len(again.lines) == len(work), "what has been measured is not measured again"


@pytest.mark.parametrize("wrong", [None, 0, 70_000, 2_999_999])
def test_a_wrong_byte_is_seen(wrong: int | None) -> None:
    """The far end compares what it takes with the pattern, however it comes in pieces."""
    length = 3_000_000
    data = bytearray(service.pattern(length))
    if wrong is not None:
        data[wrong] ^= 1
    at = 0

    class Sys:
        def read(self, fd: int, most: int) -> bytes:
            nonlocal at
            at += (count := min(most, 30_011 + at % 977))
            return bytes(data[at - count : at])

    assert service.compare(Sys(), 3, length) == (length if wrong is None else wrong)


def bursts(dice: random.Random, chance: float, pairs: int) -> list[tuple[int, int]]:
    """D-SACKs as flows have them: most none, some a few; ours as often as `chance` says of Linux's."""

    def flow(often: float) -> int:
        return dice.randint(1, 6) if dice.random() < often else 0

    return [(flow(0.2), flow(0.2 * chance)) for _ in range(pairs)]


def test_the_interval_holds_the_ratio() -> None:
    """What the flows were drawn with lies within the interval 95 times of a hundred; other ratios do not."""
    dice = random.Random(1)
    for true, wrong in ((1, 4), (3, 0.5)):
        found = [interval(bursts(dice, true, 90)) for _ in range(12)]
        assert sum(low <= true <= high for low, high in found) >= 10
        assert sum(low <= wrong <= high for low, high in found) <= 3


def test_the_interval_of_few() -> None:
    """Pairs that are all alike leave no doubt, one that has all leaves any; without D-SACKs nothing is known."""
    assert interval([(4, 2)] * 9) == (0.5, 0.5)
    low, high = interval([(0, 0)] * 7 + [(3, 0), (0, 9)])
    assert low == 0
    assert high == math.inf
    assert all(map(math.isnan, interval([(0, 0)] * 9)))


def test_the_same_dice_count_once() -> None:
    """Sweeps of the same turns are no more than one of them; of other turns they are."""
    counts = [(0, 0), (2, 1), (0, 3), (1, 0), (0, 0), (4, 1)]

    def result(congestion: str, first: int) -> Result:
        linux, ours = ([{"far": {"dsack_dups": pair[side]}} for pair in counts] for side in (0, 1))
        return Result(SPURIOUS[0], "send", congestion, linux, ours, list(range(first, first + len(counts))))

    once = compared([result("reno", 0)])
    again = compared([result("reno", 0), result("cubic", 0)])
    others = compared([result("reno", 0), result("cubic", 6)])
    assert once.startswith("Linux 7, ours 5: 0.71 ")
    assert again.startswith("Linux 14, ours 10: 0.71 ")
    assert once.split("(")[1] == again.split("(")[1] != others.split("(")[1]
    assert compared([]) == "Linux 0, ours 0"


def test_two_flows_share(ready: None) -> None:
    """Neither starves the other within a few seconds."""
    with Lane(f"share{os.getpid()}") as lane:
        lane.wire("--rate", "10Mbit", "--delay", "5ms", "--queue", "30")
        linux, ours = lane.share(LINUX, OURS, "cubic", 5)
    assert 0.1 < sum(ours) / sum(linux) < 10
    assert (sum(ours) + sum(linux)) * 8 / 5 > 7e6, "together they fill the line"


def test_one_seed_one_fate_at_either_end(ready: None) -> None:
    """A wire to a TAP and one to a machine lose the same frames: of numbered requests the same are answered."""
    answered = []
    with Lane(f"fate{os.getpid()}") as lane:
        for to, seed in ((LINUX, "7"), (WITHIN, "7"), (WITHIN, "8")):
            lane.wire("--loss", "10%", "--seed", seed, to=to)
            ping = ["ip", "netns", "exec", lane.a, "ping", "-c", "150", "-i", "0.005", "-W", "1", to]
            said = subprocess.run(ping, capture_output=True, text=True, check=False).stdout
            answered.append([int(number) for number in re.findall(r"icmp_seq=(\d+)", said)])
    assert answered[0] == answered[1] != answered[2]
    assert 90 < len(answered[0]) < 145


@pytest.mark.soak
def test_the_whole_grid(ready: None) -> None:
    """Geometric mean at least 0.95, no cell's median of nine under 0.8; D-SACKs at most 1.2 times Linux's."""
    work = grid.units(CELLS, ["send", "take"], ["cubic", "reno"], 9)
    results = measured(work, 3, (), kept())
    print(summary(results))
    assert mean(result.ratio for result in results) >= 0.95
    low = [result.line() for result in results if result.ratio < 0.8]
    assert not low, "\n".join(low)
    linux, ours = dsacks([result for result in results if result.verb == "send"])
    assert ours <= 1.2 * linux + 10, (linux, ours)


@pytest.mark.soak
@pytest.mark.parametrize("settings", [(), ("tick=1000000",)], ids=["exact", "a clock of 1 ms"])
def test_spurious_retransmissions(ready: None, settings: tuple[str, ...]) -> None:
    """Under reordering, with ACKs lost, and over 50 us: at most 1.2 times the D-SACKs of Linux, cell by cell."""
    results = measured(grid.units(SPURIOUS, ["send"], ["cubic", "reno"], 9), 1, settings, kept(), "apart")
    for cell in SPURIOUS:
        found = [result for result in results if result.cell == cell]
        linux, ours = dsacks(found)
        assert ours <= 1.2 * linux + len(found) * 5, (cell.name, linux, ours)


@pytest.mark.soak
def test_a_bottleneck_is_shared(ready: None) -> None:
    """The median of nine pairs of flows: within 20 %."""
    records = kept()
    share.sweep(records, 9, 4)
    print(share.report(records))
    for congestion in ("cubic", "reno"):
        ratios = share.found(records, "both", congestion).values()
        assert 0.8 <= statistics.median(ratios) <= 1.25, ratios
