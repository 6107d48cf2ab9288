"""What the grid has measured: one line of JSON for each pair of flows, and what is made of them.

A pair is the unit: one flow of Linux and one of ours across wires of one seed (the cell's, the direction's and the
turn's). A line says besides under which conditions it was measured: the commit (with a `+` when the rooms differ from
it), the form (plain or compiled), the settings of our machine, how many lanes there were and at which priority, and the
host's load before. So a sweep can be done in slices, on different days, and is read as one.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import statistics
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csrc import compiled
from tests.interop.tcp_grid.cells import MB, Cell
from tests.interop.tcp_grid.lane import ROOT

ROOMS = ("csrc", "drivers", "kernel", "netstack", "tools", "userland")
Flow = dict[str, Any]
Key = tuple[str, str, int, str, str, int]
"""Of a pair: the cell's name, wire and bytes, the direction, the congestion control, the turn."""


def key_of(line: dict[str, Any]) -> Key:
    """Of a line of the file."""
    found: tuple[Any, ...] = tuple(line[what] for what in ("cell", "wire", "verb", "congestion", "turn"))
    return (*found[:2], line["linux"]["bytes"], *found[2:])  # type: ignore[return-value]


def form() -> str:
    """Which form the machine and the wire run in."""
    return "compiled" if compiled.in_use else "plain"


def git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False).stdout


def commit() -> str:
    """What is measured; `+` when the rooms are not as committed, and "" outside of a checkout."""
    head = git("rev-parse", "--short", "HEAD").strip()
    return head + "+" if git("status", "--porcelain", "-uno", "--", *ROOMS).strip() else head


def code() -> str:
    """What the rooms are made of, in short: two commits that differ elsewhere measure the same."""
    trees = git("rev-parse", *(f"HEAD:{room}" for room in ROOMS)) + git("diff", "HEAD", "--", *ROOMS)
    return hashlib.sha256(trees.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Unit:
    """One pair of flows."""

    cell: Cell
    verb: str
    congestion: str
    turn: int

    @property
    def key(self) -> Key:
        return (self.cell.name, self.cell.wire, self.cell.bytes, self.verb, self.congestion, self.turn)


@dataclass
class Result:
    """The pairs of a cell, a direction and a congestion control."""

    cell: Cell
    verb: str
    congestion: str
    linux: list[Flow] = field(default_factory=list)
    ours: list[Flow] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)

    @property
    def side(self) -> str:
        """Whose TCP_INFO is the sender's."""
        return "far" if self.verb == "send" else "near"

    def goodput(self, flows: Iterable[Flow]) -> float:
        """The median, in Mbit/s."""
        return statistics.median(flow["bytes"] * 8 / MB / flow["seconds"] for flow in flows)

    def total(self, flows: Iterable[Flow], what: str) -> int:
        return sum(flow[self.side][what] for flow in flows)

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios: the two flows of a pair met the same fate."""
        return statistics.median(
            ours["bytes"] / ours["seconds"] / (linux["bytes"] / linux["seconds"])
            for linux, ours in zip(self.linux, self.ours, strict=True)
        )

    @property
    def of_medians(self) -> float:
        """The ratio of the medians, which does not know which flow belongs to which."""
        return self.goodput(self.ours) / self.goodput(self.linux)

    def line(self) -> str:
        counts = "  ".join(
            f"{word} {self.total(self.linux, what)}/{self.total(self.ours, what)}"
            for word, what in (("retrans", "total_retrans"), ("dsack", "dsack_dups"), ("rto", "total_rto"))
        )
        who = "we send" if self.verb == "send" else "we take"
        linux, ours = self.goodput(self.linux), self.goodput(self.ours)
        return (
            f"{self.cell.name:30} {who} {self.congestion:6} {len(self.ours):2} {linux:8.2f} {ours:8.2f}  "
            f"{self.of_medians:5.2f}  {self.ratio:5.2f}   {counts}"
        )


HEADING = (
    f"{'cell':30} {'':7} {'':6}  n {'Linux':>8} {'ours':>8}  ratio  pairs   "
    "Linux/ours (medians of n, Mbit/s, and their ratio; the median of the pairs' ratios; sums of n)"
)


def mean(ratios: Iterable[float]) -> float:
    """The geometric mean."""
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs))


def dsacks(results: Iterable[Result]) -> tuple[int, int]:
    """How many the senders were sent: Linux's, ours."""
    linux = ours = 0
    for r in results:
        linux += r.total(r.linux, "dsack_dups")
        ours += r.total(r.ours, "dsack_dups")
    return linux, ours


def interval(pairs: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Of (Linux's, ours) of each pair: between what the ratio of the sums, ours to Linux's, lies in 95 % of as many
    pairs drawn from these with putting back (a percentile bootstrap). D-SACKs come some at a time, in few of the flows,
    so the counts alone do not say how sure their ratio is. Draws without any say nothing; NaN if there are no others.
    """
    dice = random.Random(0)
    ratios = []
    for _ in range(2000):
        drawn = dice.choices(pairs, k=len(pairs))
        linux = sum(pair[0] for pair in drawn)
        ours = sum(pair[1] for pair in drawn)
        if linux or ours:
            ratios.append(ours / linux if linux else math.inf)
    if not ratios:
        return math.nan, math.nan
    ratios.sort()
    return ratios[len(ratios) // 40], ratios[-1 - len(ratios) // 40]


def compared(results: Iterable[Result]) -> str:
    """The D-SACKs of these flows in words: the sums, their ratio, and how far dice like these let it be off. What met
    the same dice, a cell's turn with either congestion control, is drawn as one.
    """
    met: dict[tuple[str, int], tuple[int, int]] = {}
    for r in results:
        for turn, *flows in zip(r.turns, r.linux, r.ours, strict=True):
            before = met.get((r.cell.name, turn), (0, 0))
            linux, ours = (n + flow[r.side]["dsack_dups"] for n, flow in zip(before, flows, strict=True))
            met[r.cell.name, turn] = (linux, ours)
    linux, ours = (sum(side) for side in zip(*met.values(), strict=True)) if met else (0, 0)
    said = f"Linux {linux}, ours {ours}"
    if linux or ours:
        low, high = interval(list(met.values()))
        ratio = ours / linux if linux else math.inf
        said += f": {ratio:.2f} (95 %: {low:.2f} to {high:.2f}, {len(met)} dice)"
    return said


def by_cell(results: Iterable[Result]) -> str:
    """A line for each cell: the D-SACKs where we send, under either congestion control."""
    cells: dict[Cell, list[Result]] = {}
    for r in results:
        if r.verb == "send":
            cells.setdefault(r.cell, []).append(r)
    return "\n".join(f"D-SACKs, {cell.name}: {compared(found)}" for cell, found in cells.items())


class Records:
    """The lines of a file, and the ones to come; without a file they are only remembered."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                if line.endswith("}"):  # a line that was cut off is measured again
                    self.lines.append(json.loads(line))

    def add(self, unit: Unit, linux: Flow, ours: Flow, **conditions: Any) -> None:
        self.append({
            "cell": unit.cell.name, "wire": unit.cell.wire, "verb": unit.verb, "congestion": unit.congestion,
            "turn": unit.turn, **conditions, "linux": linux, "ours": ours,
        })  # fmt: skip

    def append(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def select(
        self, form: str | None = None, sysctls: Iterable[str] | None = None, commits: Iterable[str] = (),
        peer: str | None = None,
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        """Lines measured so; of several of one pair the last. A line that does not say where our machine was is of one
        in a process of its own.
        """
        asked = list(sysctls) if sysctls is not None else None
        wanted = tuple(commits)
        found = {
            key_of(line): line
            for line in self.lines
            if "cell" in line
            and (form is None or line["form"] == form)
            and (asked is None or line["sysctls"] == asked)
            and (peer is None or line.get("peer", "apart") == peer)
            and (not wanted or line["commit"].startswith(wanted))
        }
        return iter(found.values())

    def strangers(self, code: str, form: str, commits: Iterable[str]) -> list[str]:
        """Of which other code there are pairs, that would pass for ours."""
        wanted = tuple(commits)
        return sorted({
            line["commit"] for line in self.lines
            if line["form"] == form and line.get("code") != code
            and (not wanted or line["commit"].startswith(wanted))
        })  # fmt: skip

    def done(self, **conditions: Any) -> set[Key]:
        """The keys of the pairs that have been measured so."""
        return {key_of(line) for line in self.select(**conditions)}

    def results(self, cells: Iterable[Cell], **conditions: Any) -> list[Result]:
        """In the order of the cells; only what has been measured."""
        places: dict[tuple[str, str, str, str], Result] = {}
        cells = list(cells)
        for line in self.select(**conditions):
            cell = next((c for c in cells if (c.name, c.wire, c.bytes) == key_of(line)[:3]), None)
            if cell is not None:
                key = (cell.name, cell.wire, line["verb"], line["congestion"])
                result = places.setdefault(key, Result(cell, line["verb"], line["congestion"]))
                result.linux.append(line["linux"])
                result.ours.append(line["ours"])
                result.turns.append(line["turn"])
        order = [(c.name, c.wire, verb, cc) for c in cells for verb in ("send", "take") for cc in ("cubic", "reno")]
        return [places[key] for key in order if key in places]


def summary(results: list[Result]) -> str:
    """Geometric mean, the cells under 0.8, the D-SACKs of those in which we send."""
    if not results:
        return "nothing has been measured"
    low = sorted((r for r in results if min(r.ratio, r.of_medians) < 0.8), key=lambda r: r.ratio)
    worst = min(results, key=lambda r: r.ratio)
    least = min(len(r.ours) for r in results)
    by_pairs, by_medians = sum(r.ratio < 0.8 for r in results), sum(r.of_medians < 0.8 for r in results)
    lines = [
        f"{len(results)} medians of {least} or more: geometric mean {mean(r.ratio for r in results):.3f} "
        f"(of the ratios of medians {mean(r.of_medians for r in results):.3f}); worst {worst.ratio:.2f} "
        f"({worst.cell.name}, {worst.verb}, {worst.congestion}); "
        f"{by_pairs} under 0.8 ({by_medians} of the ratios of medians)",
        f"D-SACKs where we send: {compared(r for r in results if r.verb == 'send')}",
    ]
    return "\n".join([*lines, *(["under 0.8 by either:"] if low else []), *(r.line() for r in low)])


def number(value: float) -> str:
    """Three digits of it, or all before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(results: list[Result]) -> str:
    """As the page has it: a row for each cell."""
    rows = [
        "| path (delay each way) | we send, CUBIC | we send, Reno | we take, CUBIC | we take, Reno | D-SACKs | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell in dict.fromkeys(r.cell for r in results):
        mine = {(r.verb, r.congestion): r for r in results if r.cell == cell}
        columns = []
        for key in (("send", "cubic"), ("send", "reno"), ("take", "cubic"), ("take", "reno")):
            r = mine.get(key)
            columns.append(f"{r.ratio:.2f}, {r.of_medians:.2f} ({number(r.goodput(r.linux))})" if r else "")
        linux, ours = dsacks(r for r in mine.values() if r.verb == "send")
        counts = sorted({len(r.ours) for r in mine.values()})
        repeats = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
        rows.append(f"| {cell.name} | {' | '.join(columns)} | {linux} / {ours} | {repeats} |")
    return "\n".join(rows)
