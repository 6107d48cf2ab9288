"""Run a failing case again: `python -m terrella.testing.replay FILE`.

FILE is what was saved: the .json, or the .pkt or .pcapng beside it. It prints what happened and exits 1 when
the case still fails, 0 when it does not, 2 when there is no case in FILE. Congestion controls and oracles of the
user's own are imported from where they were; `--import` says where that is now.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from terrella.testing import cases, origins, running, script
from terrella.testing.cases import Case
from terrella.testing.oracles import EVERY


def load(path: str) -> Case:
    """The case of a file. OSError or ValueError when there is none."""
    return cases.from_json(text_of(path))


def text_of(path: str) -> str:
    """The JSON in a file."""
    file = Path(path)
    if file.suffix == ".pcapng":
        file = file.with_suffix(".json")
    text = file.read_text()
    if file.suffix == ".pkt":
        found = script.case_text(text)
        if found is None:
            raise ValueError(f"holds no case: it has no line that begins with {script.CASE!r}")
        text = found
    return text


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m terrella.testing.replay", description="Run a saved case again.")
    parser.add_argument("file", help="a .json, .pkt or .pcapng that a failure left")
    parser.add_argument("--side", choices="ab", default=None, help="print the packetdrill script of this side")
    parser.add_argument("--save", metavar="DIR", help="write the .json, .pkt and .pcapng of this run there")
    parser.add_argument(
        "--import", metavar="FILE", action="append", default=[], dest="files",
        help="a Python file to import first, with a congestion control of your own",
    )  # fmt: skip
    args = parser.parse_args(argv)
    try:
        for file in args.files:
            origins.load_file(file)
        text = text_of(args.file)
        case = cases.from_json(text)
        pair = running.make(case, [*EVERY, *origins.load(cases.needs_of(text))])
    except (OSError, ValueError, KeyError, TypeError) as why:
        print(f"{args.file}: {why}", file=sys.stderr)
        return 2
    trouble: Exception | None = None
    try:
        for step in case.steps:
            running.perform(pair, step)
        pair.finish()
    except Exception as why:
        trouble = why
    if args.save:
        try:
            print(running.save(pair, case, args.save, Path(args.file).stem, trouble), file=sys.stderr)
        except OSError as why:
            print(f"--save {args.save}: {why.strerror}", file=sys.stderr)
            return 2
    if args.side:
        print(script.text(pair, args.side, trouble), end="")
    if trouble is None:
        print(f"no oracle objects: {len(case.steps)} steps, {pair.events} events", file=sys.stderr)
        return 0
    print(f"{type(trouble).__name__}: {trouble}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
