"""`python -m tools.packetdrill.differential`: many random scenarios, against this stack and the host's Linux.

    --seeds 0-99      which; --kind sender: of one kind only; --jobs 8: so many on Linux at a time (most of their time
    is waiting); --out DIR: where each difference leaves DIR/SEED.txt, shrunk, and both records side by side.
    FILE...: scenarios of files, instead of seeds. --mutants: FILE... are scripts, of which only what they do to the
    stack is taken, with one to three changes: another for each of --seeds (0: none).

A difference counts when it comes every time of three: a busy host may decide a race otherwise. What a change has left
without sense, and what a busy host was late for in every run, is not compared, and counted as that.
Exit status 0: no difference; 1: some, or a script that cannot be read, or nothing at all was compared.
"""

from __future__ import annotations

import argparse
import os
import pickle
import select
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tools.packetdrill.differential.judge import Difference, compare, show
from tools.packetdrill.differential.mutants import Senseless, mutant
from tools.packetdrill.differential.record import Group, Scenario, replay
from tools.packetdrill.differential.scenario import KINDS, make
from tools.packetdrill.host import Host
from tools.packetdrill.linuxhost import LinuxHost
from tools.packetdrill.script import ScriptError

LATE_NS = 5_000_000
"""A line carried out later than this makes a run worthless: the kernel saw other times than this stack did. What
drives the kernel sleeps most of the time, but has to be punctual when it does not: it runs before everybody else."""


def together(scenarios: list[Scenario], machine: type[Host] | type[LinuxHost]) -> list[list[Group] | None]:
    """The records of several runs at a time, each in a child of its own; None for one that did not come to its end."""
    children = []
    for scenario in scenarios:
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.close(reader)
                if machine is LinuxHost:
                    signal.alarm(20 + 2 * sum(gap for gap, _ in scenario.steps) // 1_000_000_000)
                with os.fdopen(writer, "wb") as pipe:
                    pickle.dump(replay(scenario, machine), pipe)
            finally:
                os._exit(0)
        os.close(writer)
        children.append((pid, reader))
    records: list[list[Group] | None] = []
    for pid, reader in children:
        with os.fdopen(reader, "rb") as pipe:
            ended = select.select([pipe], [], [], 120)[0]
            data = pipe.read() if ended else b""
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        records.append(pickle.loads(data) if data else None)
    return records


def punctual(scenarios: list[Scenario], tries: int = 4) -> list[list[Group] | None]:
    """What Linux does with each, of runs in which nothing was late; None where none was such."""
    done: dict[int, list[Group]] = {}
    for _ in range(tries):
        left = [number for number in range(len(scenarios)) if number not in done]
        if not left:
            break
        for number, record in zip(left, together([scenarios[number] for number in left], LinuxHost)):
            if record and max(group.late_ns for group in record) < LATE_NS:
                done[number] = record
    return [done.get(number) for number in range(len(scenarios))]


class Late(Exception):
    """Nothing can be said of a scenario: the host was late in every run."""


def differs(scenario: Scenario, tries: int = 3) -> tuple[Difference, list[Group], list[Group]] | None:
    """A difference that comes in each of `tries` runs (the last of them), or None. Late where there was no run to
    compare; RuntimeError for a scenario that does not run here.
    """
    ours = together([scenario], Host)[0]
    if not ours:
        raise RuntimeError("the scenario does not run here")
    found = None
    for count in (1, tries - 1):
        for theirs in punctual([scenario] * count):
            if not theirs:
                raise Late("the host was late each time")
            difference = compare(ours, theirs)
            if difference is None:
                return None
            found = difference, ours, theirs
    return found


def still(candidates: list[Scenario]) -> Scenario | None:
    """The first of them that differs, cut off after the difference."""
    ours = together(candidates, Host)
    first, second = (punctual(candidates) for _ in range(2))
    for candidate, a, b, c in zip(candidates, ours, first, second):
        difference = compare(a, b) if a and b else None
        again = compare(a, c) if a and c else None
        if difference and again and difference.line == again.line:
            return Scenario(candidate.setup, candidate.steps[: difference.group + 1])
    return None


def shrink(scenario: Scenario, found: Difference, width: int = 6) -> Scenario:
    """Fewer steps that still differ: what comes after the difference goes, then ever smaller parts."""
    best = still([Scenario(scenario.setup, scenario.steps[: found.group + 1])]) or scenario
    size = max(1, len(best.steps) // 3)
    while size:
        places = list(range(len(best.steps) - 1 - size, 0, -size))
        smaller = None
        while places and smaller is None:
            smaller = still([Scenario(best.setup, without(best.steps, at, size)) for at in places[:width]])
            places = places[width:]
        if smaller is not None and len(smaller.steps) < len(best.steps):
            best = smaller
            size = max(1, min(size, len(best.steps) // 2))
        else:
            size //= 2
    return best


def without(steps: list[tuple[int, str]], at: int, size: int) -> list[tuple[int, str]]:
    """The steps but those; the time they took stays."""
    gone = sum(gap for gap, _ in steps[at : at + size])
    rest = list(steps[at + size :])
    if rest:
        rest[0] = (rest[0][0] + gone, rest[0][1])
    kept = [(0, line) for _, line in steps[at : at + size] if "O_NONBLOCK" in line]
    return [*steps[:at], *kept, *rest]


Given = Scenario | int | tuple[str, int]
"""A scenario, or the seed of one, or a script and the seed of its mutant."""


class Outcome(Enum):
    SAME = auto()
    DIFFERS = auto()
    SKIPPED = auto()
    """It could not be compared, and nobody is to blame."""
    UNREADABLE = auto()


def one(case: tuple[str, Given], args: argparse.Namespace) -> tuple[Outcome, str]:
    """Compare one scenario, or the one of a seed; what came of it, and what there is to say."""
    name, given = case
    try:
        scenario = made(given, args)
    except Senseless as error:
        return Outcome.SKIPPED, f"{name}: {error}"
    except ScriptError as error:
        return Outcome.UNREADABLE, str(error)
    except Exception as error:  # a crash of the stack itself is a finding too
        return Outcome.DIFFERS, f"{name}: {type(error).__name__}: {error}"
    try:
        found = differs(scenario)
    except Late as error:
        return Outcome.SKIPPED, f"{name}: {error}"
    except RuntimeError as error:
        return Outcome.DIFFERS, f"{name}: {error}"
    if found is None:
        return Outcome.SAME, ""
    if not args.no_shrink:
        smaller = shrink(scenario, found[0])
        with suppress(Late, RuntimeError):  # then the difference stays as it was found
            again = differs(smaller, 1)
            if again is not None:
                scenario, found = smaller, again
    difference, ours, theirs = found
    if args.out is not None:
        body = "\n".join("// " + line for line in show(ours, theirs).splitlines())
        (args.out / f"{name}.txt").write_text(scenario.text() + body + "\n")
    said = f"{name}: {difference.line}\n    ours  {difference.ours}\n    linux {difference.theirs}"
    return Outcome.DIFFERS, said


def made(given: Given, args: argparse.Namespace) -> Scenario:
    if isinstance(given, Scenario):
        return given
    return make(given, args.kind, args.steps) if isinstance(given, int) else mutant(*given)


def cases(args: argparse.Namespace) -> Iterator[tuple[str, Given]]:
    first, _, last = args.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    if args.mutants:
        yield from ((f"{Path(path).stem}.{seed}", (path, seed)) for seed in seeds for path in args.files)
        return
    for path in args.files:
        yield Path(path).stem, Scenario.read(Path(path).read_text())
    if not args.files:
        yield from ((str(seed), seed) for seed in seeds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.packetdrill.differential", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--seeds", default="0-31")
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--mutants", action="store_true")
    args = parser.parse_args()
    if args.out is not None:
        os.makedirs(args.out, exist_ok=True)
    counts: Counter[Outcome] = Counter()
    with get_context("fork").Pool(args.jobs) as pool:
        for outcome, said in pool.imap_unordered(partial(one, args=args), cases(args)):
            counts[outcome] += 1
            if said:
                print(said, file=sys.stdout if outcome is Outcome.DIFFERS else sys.stderr, flush=True)
    text, status = told(counts)
    print(text, file=sys.stderr)
    return status


def told(counts: Counter[Outcome]) -> tuple[str, int]:
    """The last line, and the exit status."""
    total, bad, unread = counts.total(), counts[Outcome.DIFFERS], counts[Outcome.UNREADABLE]
    text = f"{total} scenarios, {bad} differ, {counts[Outcome.SKIPPED] + unread} could not be compared"
    nothing = counts[Outcome.SKIPPED] == total
    return text, 1 if bad or unread or nothing else 0


if __name__ == "__main__":
    sys.exit(main())
