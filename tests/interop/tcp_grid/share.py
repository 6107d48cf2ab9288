"""Two flows through one bottleneck, from Linux and from us (or from one of them to itself) to one Linux.

    python -m tests.interop.tcp_grid.share [--repeat N] [--lanes N] [--resume FILE] [--who both|linux|ours]

The figure of a pair is what ours got of what Linux's got, without the first fifth of the time. Single pairs vary by
themselves; how far, pairs of Linux with Linux say (`--who linux`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.interop.tcp_grid import grid
from tests.interop.tcp_grid.lane import LINUX, OURS, Lane
from tests.interop.tcp_grid.results import Records, form

WIRE = ("--rate", "10Mbit", "--delay", "10ms", "--queue", "50")
SECONDS = 30
PAIRS = {"both": (LINUX, OURS), "linux": (LINUX, LINUX), "ours": (OURS, OURS)}


class Shared(NamedTuple):
    """One pair of flows."""

    who: str
    congestion: str
    turn: int


def ratio(line: dict[str, Any]) -> float:
    """Of the second to the first, after the first fifth of the time."""
    return sum(line["ours"][2:]) / max(1, sum(line["linux"][2:]))


def found(records: Records, who: str, congestion: str, commits: Iterable[str] = ()) -> dict[int, float]:
    """The ratio of each turn that has been measured."""
    wanted = tuple(commits)
    return {
        line["turn"]: ratio(line) for line in records.lines
        if line.get("share") == who and line["congestion"] == congestion and line["form"] == form()
        and (not wanted or line["commit"].startswith(wanted))
    }  # fmt: skip


def sweep(
    records: Records, repeat: int, lanes: int, whose: Iterable[str] = ("both",), end: float | None = None,
    commits: Iterable[str] = (),
) -> None:  # fmt: skip
    """Measure what the records do not have yet. They begin in turns: the one, then the other."""
    missing = [
        Shared(who, congestion, turn) for turn in range(repeat) for who in whose for congestion in ("cubic", "reno")
        if turn not in found(records, who, congestion, commits)
    ]  # fmt: skip
    under = grid.conditions(min(lanes, len(missing)), ())
    lock = threading.Lock()

    def do(lane: Lane, pair: Shared) -> None:
        now = grid.now()
        lane.wire("--seed", str(pair.turn + 1), *WIRE)
        one, other = PAIRS[pair.who]
        if pair.turn % 2:
            linux, ours = lane.share(one, other, pair.congestion, SECONDS)
        else:
            ours, linux = lane.share(other, one, pair.congestion, SECONDS)
        line = {"share": pair.who, "congestion": pair.congestion, "turn": pair.turn, **under, **now}
        with lock:
            records.append({**line, "linux": linux, "ours": ours})

    grid.over(min(lanes, len(missing)), missing, do, (), end)


def report(records: Records, commits: Iterable[str] = ()) -> str:
    """A line for each kind of pair that has been measured."""
    lines = []
    for who in PAIRS:
        for congestion in ("cubic", "reno"):
            ratios = sorted(found(records, who, congestion, commits).values())
            if ratios:
                each = " ".join(f"{value:.2f}" for value in ratios)
                lines.append(f"shared, {who}, {congestion}: median {statistics.median(ratios):.2f} of {each}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Two flows through one bottleneck.")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--resume", metavar="FILE", help="append to FILE what it does not have")
    parser.add_argument("--who", nargs="*", default=["both"], choices=sorted(PAIRS))
    args = parser.parse_args()
    records = Records(Path(args.resume) if args.resume else None)
    sweep(records, args.repeat, args.lanes, args.who)
    print(report(records))
    return 0


if __name__ == "__main__":
    sys.exit(main())
