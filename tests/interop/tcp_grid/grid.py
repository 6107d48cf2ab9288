"""The grid: Linux to Linux and Linux to us across the same wire, in both directions, with CUBIC and Reno.

    python -m tests.interop.tcp_grid.grid [--only WORD...] [--repeat N] [--lanes N] [--json FILE]

A cell is what the wire does and how much is carried. In each, flows to Linux and to us alternate; a cell's figure is
the ratio of the medians of their goodputs, and spurious retransmissions are the D-SACKs that the sender was sent.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import statistics
import sys
import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.interop.tcp_grid.lane import LINUX, OURS, Lane

MB = 1_000_000


@dataclass(frozen=True)
class Cell:
    name: str
    wire: str
    bytes: int


CELLS = (
    Cell("clean, no delay", "", 50 * MB),
    Cell("clean, 1 ms", "--delay 1ms", 20 * MB),
    Cell("clean, 10 ms", "--delay 10ms", 10 * MB),
    Cell("clean, 50 ms", "--delay 50ms", 8 * MB),
    Cell("clean, 200 ms", "--delay 200ms", 4 * MB),
    Cell("loss 0.1 %, no delay", "--loss 0.1%", 20 * MB),
    Cell("loss 1 %, no delay", "--loss 1%", 10 * MB),
    Cell("loss 10 %, no delay", "--loss 10%", MB),
    Cell("loss 0.1 %, 10 ms", "--loss 0.1% --delay 10ms", 8 * MB),
    Cell("loss 0.3 %, 50 ms", "--loss 0.3% --delay 50ms", 3 * MB),
    Cell("loss 1 %, 1 ms", "--loss 1% --delay 1ms", 5 * MB),
    Cell("loss 1 %, 10 ms", "--loss 1% --delay 10ms", 2 * MB),
    Cell("loss 1 %, 50 ms", "--loss 1% --delay 50ms", MB),
    Cell("loss 1 %, 200 ms", "--loss 1% --delay 200ms", MB // 2),
    Cell("loss 3 %, 10 ms", "--loss 3% --delay 10ms", MB),
    Cell("loss 3 %, 50 ms", "--loss 3% --delay 50ms", MB // 2),
    Cell("loss 10 %, 10 ms", "--loss 10% --delay 10ms", MB // 4),
    Cell("loss 10 %, 50 ms", "--loss 10% --delay 50ms", MB // 8),
    Cell("reorder 1 %, 10 ms", "--reorder 1% --delay 10ms", 5 * MB),
    Cell("reorder 25 %, 10 ms", "--reorder 25% --delay 10ms", 2 * MB),
    Cell("reorder 5 %, 50 ms", "--reorder 5% --delay 50ms", 2 * MB),
    Cell("jitter 3 ms of 10 ms", "--delay 10ms --jitter 3ms", 2 * MB),
    Cell("duplicate 1 %, 10 ms", "--duplicate 1% --delay 10ms", 5 * MB),
    Cell("corrupt 1 %, 10 ms", "--corrupt 1% --delay 10ms", 2 * MB),
    Cell("1 Mbit/s, 20 ms", "--rate 1Mbit --delay 20ms --queue 50", MB // 4),
    Cell("10 Mbit/s, 10 ms", "--rate 10Mbit --delay 10ms --queue 50", 3 * MB),
    Cell("10 Mbit/s, 50 ms, loss 0.3 %", "--rate 10Mbit --delay 50ms --queue 100 --loss 0.3%", 2 * MB),
    Cell("100 Mbit/s, 10 ms", "--rate 100Mbit --delay 10ms --queue 200", 20 * MB),
    Cell("100 Mbit/s, 50 us", "--rate 100Mbit --delay 50us --queue 100", 20 * MB),
    Cell("all at once", "--loss 1% --delay 20ms --jitter 2ms --reorder 1% --duplicate 1% --corrupt 0.1%", MB),
)
"""The whole grid."""

SPURIOUS = (
    Cell("reorder 25 %, 10 ms", "--reorder 25% --delay 10ms", 2 * MB),
    Cell("reorder 5 %, 50 ms", "--reorder 5% --delay 50ms", 2 * MB),
    Cell("jitter 3 ms of 10 ms", "--delay 10ms --jitter 3ms", 2 * MB),
    Cell("lost ACKs 20 %, 10 ms", "--delay 10ms --loss 20% --back 'loss 0%'", 2 * MB),
    Cell("lost ACKs 20 %, 20 Mbit/s", "--rate 20Mbit --queue 50 --delay 10ms --loss 20% --back 'loss 0%'", 4 * MB),
    Cell("50 us", "--delay 25us --loss 0.5%", 4 * MB),
    Cell("50 us, reordering", "--delay 25us --jitter 20us --reorder 1%", 4 * MB),
)
"""Where the far end, when it sends, is tempted to send again what has arrived."""

SMALL = (
    Cell("loss 1 %, 10 ms", "--loss 1% --delay 10ms", MB // 2),
    Cell("reorder 5 %, 10 ms", "--reorder 5% --delay 10ms", MB // 2),
    Cell("10 Mbit/s, 10 ms", "--rate 10Mbit --delay 10ms --queue 50", MB),
    Cell("all at once", "--loss 1% --delay 5ms --jitter 1ms --reorder 1% --duplicate 1% --corrupt 0.1%", MB // 4),
)
"""What `make test` runs."""


@dataclass
class Result:
    cell: Cell
    verb: str
    congestion: str
    linux: list[dict[str, Any]] = field(default_factory=list)
    ours: list[dict[str, Any]] = field(default_factory=list)

    @property
    def side(self) -> str:
        """Whose TCP_INFO is the sender's."""
        return "far" if self.verb == "send" else "near"

    def goodput(self, flows: Iterable[dict[str, Any]]) -> float:
        """The median, in Mbit/s."""
        return statistics.median(flow["bytes"] * 8 / MB / flow["seconds"] for flow in flows)

    def total(self, flows: Iterable[dict[str, Any]], what: str) -> int:
        return sum(flow[self.side][what] for flow in flows)

    @property
    def ratio(self) -> float:
        return self.goodput(self.ours) / self.goodput(self.linux)

    def line(self) -> str:
        counts = "  ".join(
            f"{word} {self.total(self.linux, what)}/{self.total(self.ours, what)}"
            for word, what in (("retrans", "total_retrans"), ("dsack", "dsack_dups"), ("rto", "total_rto"))
        )
        who = "we send" if self.verb == "send" else "we take"
        linux, ours = self.goodput(self.linux), self.goodput(self.ours)
        return f"{self.cell.name:30} {who} {self.congestion:6} {linux:8.2f} {ours:8.2f}  {self.ratio:5.2f}   {counts}"


def measure(lane: Lane, cell: Cell, verb: str, congestion: str, repeat: int) -> Result:
    """Flows to Linux and to us, in turn, each pair across two wires of one seed: the same frames meet the same fate."""
    result = Result(cell, verb, congestion)
    for turn in range(repeat):
        seed = zlib.crc32(f"{cell.name}/{verb}/{turn}".encode())
        pair = ((LINUX, result.linux), (OURS, result.ours))
        for address, into in pair if turn % 2 else pair[::-1]:
            lane.wire("--seed", str(seed), *shlex.split(cell.wire))
            flow = lane.flow(address, verb, congestion, cell.bytes)
            if not flow["intact"]:
                raise AssertionError(f"{cell.name}, {verb}, {congestion}: {address} delivered other bytes")
            into.append(flow)
    return result


def sweep(
    cells: Iterable[Cell], verbs: Iterable[str], congestions: Iterable[str], repeat: int, lanes: int,
    done: Callable[[Result], None], sysctls: tuple[str, ...] = (),
) -> list[Result]:  # fmt: skip
    """Every cell, over as many lanes at a time."""
    work = [(cell, verb, cc) for cell in cells for verb in verbs for cc in congestions]
    found: list[tuple[int, Result]] = []
    trouble: list[BaseException] = []
    lock = threading.Lock()
    todo = iter(list(enumerate(work)))

    def labour(n: int) -> None:
        try:
            with Lane(f"grid{os.getpid()}{n}", sysctls) as lane:
                while not trouble:
                    with lock:
                        place, job = next(todo, (-1, None))
                    if job is None:
                        return
                    result = measure(lane, *job, repeat)
                    with lock:
                        found.append((place, result))
                        done(result)
        except BaseException as why:
            trouble.append(why)

    threads = [threading.Thread(target=labour, args=(n,)) for n in range(min(lanes, len(work)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if trouble:
        raise trouble[0]
    return [result for _, result in sorted(found, key=lambda item: item[0])]


def mean(ratios: Iterable[float]) -> float:
    """The geometric mean."""
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs))


def main() -> int:
    parser = argparse.ArgumentParser(description="Linux and this stack across the same wires.")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="cells whose name has one of these")
    parser.add_argument("--verb", nargs="*", default=["send", "take"], choices=["send", "take"])
    parser.add_argument("--congestion", nargs="*", default=["cubic", "reno"])
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--set", nargs="*", default=[], metavar="SYSCTL=VALUE", help="settings of our stack")
    parser.add_argument("--spurious", action="store_true", help="the cells where D-SACKs are what counts")
    args = parser.parse_args()
    grid = SPURIOUS if args.spurious else CELLS
    cells = [cell for cell in grid if not args.only or any(word in cell.name for word in args.only)]
    print(f"{'cell':30} {'':7} {'':6} {'Linux':>8} {'ours':>8}  ratio   Linux/ours (Mbit/s, median of {args.repeat})")
    results = sweep(
        cells, args.verb, args.congestion, args.repeat, args.lanes, lambda result: print(result.line(), flush=True),
        tuple(args.set),
    )  # fmt: skip
    ratios = [result.ratio for result in results]
    worst = min(results, key=lambda result: result.ratio)
    print(f"geometric mean {mean(ratios):.3f}; worst {worst.ratio:.2f} ({worst.cell.name}, {worst.verb})")
    spurious = [sum(r.total(getattr(r, who), "dsack_dups") for r in results) for who in ("linux", "ours")]
    print(f"D-SACKs: Linux {spurious[0]}, ours {spurious[1]}, of all cells")
    if args.json:
        with open(args.json, "w") as file:
            json.dump([{"cell": r.cell.name, "wire": r.cell.wire, "verb": r.verb, "congestion": r.congestion,
                        "linux": r.linux, "ours": r.ours} for r in results], file)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
