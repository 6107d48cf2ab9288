"""The grid: Linux to Linux and Linux to us across the same wire, in both directions, with CUBIC and Reno.

    python -m tests.interop.tcp_grid.grid [--only WORD...] [--repeat N] [--lanes N] [--resume FILE] [--budget SECONDS]
    python -m tests.interop.tcp_grid.grid --report FILE

Our machine is at the end of the wire (`terrella wire TAP --machine`), as Linux is; with `--apart` it is a process of
its own on a TAP of its own, behind a bridge that the wire leads to. The two are kept apart.

A cell is what the wire does and how much is carried (`cells.py`). In each, flows to Linux and to us alternate, and the
two of a pair meet the same fate: a cell's figure is the median of the ratios of their goodputs (beside it stands the
ratio of the medians, which does not know of pairs). Spurious retransmissions are the D-SACKs that the sender was sent.

A wire's seed is made of the cell, the direction and the turn. So a sweep of the same turns meets much the same dice
again, and so do both congestion controls and both clocks: it says how they are met, and nothing of other dice. Where
few events count, take more turns (`--repeat`) or others (`--first`).

With `--resume` each pair of flows is appended to a file as it ends (`results.py`) and is not measured again: the form
with nine repeats can be run in slices. Turns come in order, so after each slice every cell has been measured as often,
but for one. On a host that others use too, `--realtime` keeps them from being measured. The compiled form is measured
where `make fast` has built it (TERRELLA_COMPILED=0: the plain one), and the two are kept apart.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from tests.interop.tcp_grid.cells import CELLS, SPURIOUS, Cell
from tests.interop.tcp_grid.lane import LINUX, OURS, WITHIN, Lane
from tests.interop.tcp_grid.results import (
    HEADING,
    Flow,
    Records,
    Result,
    Unit,
    by_cell,
    code,
    commit,
    form,
    summary,
    table,
)

Done = Callable[[Unit, Flow, Flow], None]
Item = TypeVar("Item")
PEERS = {"within": WITHIN, "apart": OURS}
"""Where our machine is: at the end of the wire, or in a process of its own behind it."""
PLACES = {"within": "at the end of the wire", "apart": "in a process of its own, behind the wire"}
COARSE = ("tick=1000000",)
"""Our machine's clock in the second half of the spurious retransmissions."""


def measure(lane: Lane, unit: Unit, peer: str = "within") -> tuple[Flow, Flow]:
    """A flow to Linux and one to us, each across a wire of the same seed: the same frames meet the same fate."""
    cell = unit.cell
    seed = zlib.crc32(f"{cell.name}/{unit.verb}/{unit.turn}".encode())
    us = PEERS[peer]
    found = {}
    for address in (LINUX, us) if unit.turn % 2 else (us, LINUX):
        lane.wire("--seed", str(seed), *shlex.split(cell.wire), to=address)
        flow = lane.flow(address, unit.verb, unit.congestion, cell.bytes)
        if not flow["intact"]:
            raise AssertionError(f"{cell.name}, {unit.verb}, {unit.congestion}: {address} delivered other bytes")
        found[address] = flow
    return found[LINUX], found[us]


def units(
    cells: Iterable[Cell], verbs: Iterable[str], congestions: Iterable[str], repeat: int, first: int = 0
) -> list[Unit]:
    """Turn by turn, every cell in each."""
    ways = [(cell, verb, cc) for cell in cells for verb in verbs for cc in congestions]
    return [Unit(*way, turn) for turn in range(first, first + repeat) for way in ways]


def over(
    lanes: int, items: Iterable[Item], do: Callable[[Lane, Item], None], sysctls: tuple[str, ...] = (),
    end: float | None = None,
) -> None:  # fmt: skip
    """Do it for each, over as many lanes at a time; begin nothing after `end`."""
    trouble: list[BaseException] = []
    lock = threading.Lock()
    todo = iter(items)

    def labour(n: int) -> None:
        try:
            with Lane(f"grid{os.getpid()}{n}", sysctls) as lane:
                while not trouble and (end is None or time.monotonic() < end):
                    with lock:
                        item = next(todo, None)
                    if item is None:
                        return
                    do(lane, item)
        except BaseException as why:
            trouble.append(why)

    threads = [threading.Thread(target=labour, args=(n,)) for n in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if trouble:
        raise trouble[0]


def conditions(lanes: int, sysctls: tuple[str, ...], peer: str = "apart") -> dict[str, Any]:
    """Under which a pair is measured."""
    return {
        "form": form(), "peer": peer, "sysctls": list(sysctls), "commit": commit(), "code": code(), "lanes": lanes,
        "realtime": os.sched_getscheduler(0) != os.SCHED_OTHER,
    }  # fmt: skip


def now() -> dict[str, Any]:
    return {"load": round(os.getloadavg()[0], 2), "at": time.strftime("%Y-%m-%dT%H:%M:%S")}


def sweep(
    work: Iterable[Unit], records: Records, lanes: int = 1, sysctls: tuple[str, ...] = (),
    end: float | None = None, done: Done | None = None, commits: Iterable[str] = (), peer: str = "within",
) -> None:  # fmt: skip
    """Measure what the records do not have yet (of these commits, or any), over as many lanes at a time."""
    known = records.done(form=form(), sysctls=sysctls, commits=commits, peer=peer)
    missing = [unit for unit in work if unit.key not in known]
    lanes = min(lanes, len(missing))
    under = conditions(lanes, sysctls, peer)
    lock = threading.Lock()

    def do(lane: Lane, unit: Unit) -> None:
        found = now()
        linux, ours = measure(lane, unit, peer)
        with lock:
            records.add(unit, linux, ours, **under, **found)
            if done is not None:
                done(unit, linux, ours)

    over(lanes, missing, do, sysctls, end)


def in_turns(
    work: list[Unit], records: Records, lanes: int, sysctls: tuple[str, ...] = (),
    end: float | None = None, done: Done | None = None, commits: Iterable[str] = (), peer: str = "within",
) -> None:  # fmt: skip
    """Three turns at a time: the cells that leave the processors idle in lanes, then the others one by one."""
    for first in sorted({unit.turn // 3 for unit in work}):
        mine = [unit for unit in work if unit.turn // 3 == first]
        for busy, most in ((False, lanes), (True, 1)):
            some = [unit for unit in mine if unit.cell.busy == busy]
            sweep(some, records, most, sysctls, end, done, commits, peer)


def say(unit: Unit, linux: Flow, ours: Flow) -> None:
    """One pair, as it ends."""
    print(Result(unit.cell, unit.verb, unit.congestion, [linux], [ours]).line(), flush=True)


def main() -> int:
    from tests.interop.tcp_grid import share  # it measures with what is above

    parser = argparse.ArgumentParser(description="Linux and this stack across the same wires.")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="cells whose name has one of these")
    parser.add_argument("--exact", action="store_true", help="the words of --only are whole names")
    parser.add_argument("--verb", nargs="*", default=["send", "take"], choices=["send", "take"])
    parser.add_argument("--congestion", nargs="*", default=["cubic", "reno"], choices=["cubic", "reno"])
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--first", type=int, default=0, metavar="TURN", help="others than before meet other dice")
    parser.add_argument("--lanes", type=int, default=1, help="at a time, of the cells that leave the processors idle")
    parser.add_argument("--kind", choices=["busy", "idle"], help="cells that processors limit, or the others")
    parser.add_argument("--resume", metavar="FILE", help="append to FILE what it does not have")
    parser.add_argument("--mix", action="store_true", help="FILE may have pairs of other code")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin nothing after that")
    parser.add_argument("--realtime", action="store_true", help="at a real-time priority, for a busy host")
    parser.add_argument("--report", metavar="FILE", help="measure nothing: what FILE says")
    parser.add_argument("--table", action="store_true", help="print the table of the page as well")
    parser.add_argument("--form", choices=["plain", "compiled"], help="for --report: only what was measured so")
    parser.add_argument("--commit", nargs="*", default=[], help="only what was measured of these counts")
    parser.add_argument("--set", nargs="*", default=[], metavar="SYSCTL=VALUE", help="settings of our stack")
    parser.add_argument("--apart", action="store_true", help="our machine is a process of its own, behind the wire")
    parser.add_argument("--spurious", action="store_true", help="the cells where D-SACKs are what counts")
    parser.add_argument("--whole", action="store_true", help="grid, shares, D-SACKs with either clock: all there is")
    args = parser.parse_args()

    def chosen(cells: tuple[Cell, ...]) -> list[Cell]:
        return [
            cell for cell in cells
            if (not args.only or any(word == cell.name if args.exact else word in cell.name for word in args.only))
            and (args.kind is None or cell.busy == (args.kind == "busy"))
        ]  # fmt: skip

    peer = "apart" if args.apart or args.set or args.spurious else "within"
    sweeps = [(chosen(SPURIOUS if args.spurious else CELLS), args.verb, tuple(args.set), peer)]
    if args.whole:
        spurious = ((chosen(SPURIOUS), ["send"], clock, "apart") for clock in ((), COARSE))
        sweeps = [(chosen(CELLS), args.verb, (), peer), *spurious]
    records = Records(Path(args.report or args.resume) if args.report or args.resume else None)
    strangers = records.strangers(code(), form(), args.commit)
    if strangers and args.resume and not args.mix:
        what = ", ".join(strangers)
        print(f"{args.resume} has pairs of other code ({what}): name another file, or say --mix", file=sys.stderr)
        return 2
    if not args.report:
        if args.realtime:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))  # and all that a lane starts
        end = None if args.budget is None else time.monotonic() + args.budget
        print(HEADING)
        for cells, verbs, sysctls, peer in sweeps:
            work = units(cells, verbs, args.congestion, args.repeat, args.first)
            in_turns(work, records, args.lanes, sysctls, end, say, args.commit, peer)
        if args.whole:
            share.sweep(records, args.repeat, args.lanes, end=end, commits=args.commit)
        print()
    which = args.form if args.report else form()
    for cells, verbs, sysctls, peer in sweeps:
        results = records.results(cells, form=which, sysctls=sysctls, commits=args.commit, peer=peer)
        results = [r for r in results if r.verb in verbs and r.congestion in args.congestion]
        print(", ".join((f"our machine {PLACES[peer]}", *sysctls)), HEADING, sep="\n")
        for result in results:
            print(result.line())
        if set(cells) <= set(SPURIOUS):
            print(by_cell(results))
        print(summary(results), end="\n\n")
        if args.table:
            print(table(results), end="\n\n")
    print(share.report(records, args.commit))
    return 0


if __name__ == "__main__":
    sys.exit(main())
