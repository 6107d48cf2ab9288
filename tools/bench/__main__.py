"""`make bench`: what things cost, beside the host's own kernel in the same run.

docs/performance.md says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tools.bench import kernel, report
from tools.bench.measures import NETWORK, SIMULATED, Figure, Options, Session, session, simulate
from tools.bench.rig import Unavailable
from tools.bench.targets import BY_NAME


def parser() -> argparse.ArgumentParser:
    about = "What things cost, beside the host's own kernel in the same run."
    p = argparse.ArgumentParser(prog="python -m tools.bench", description=about)
    names = ", ".join(BY_NAME)
    p.add_argument("--only", action="append", metavar="NAME", help=f"one of {names}, or how some of them begin")
    p.add_argument("--check", action="store_true", help="exit 1 when a figure misses its target")
    p.add_argument("--json", action="store_true", help="print JSON")
    p.add_argument("--plain-python", action="store_true",
                   help="measure the Python also where it is compiled; --profile does, too")  # fmt: skip
    p.add_argument("--markdown", action="store_true", help="print the table for docs/performance.md")
    p.add_argument("--profile", action="store_true", help="sample the machine's process (slows it a little)")
    p.add_argument("--runs", type=int, default=3, metavar="N",
                   help="runs of each figure (default 3; bulk figures have 2 N - 1); the median counts")  # fmt: skip
    p.add_argument("--seconds", type=float, default=1.0, metavar="S", help="length of a run (default 1)")
    p.add_argument("--megabytes", type=float, default=100.0, metavar="MB", help="of the simulated flows (default 100)")
    return p


def chosen(words: list[str] | None) -> list[str]:
    if not words:
        return list(BY_NAME)
    names = [name for name in BY_NAME if any(name == w or (w not in BY_NAME and name.startswith(w)) for w in words)]
    if not names:
        raise Unavailable(f"--only {' '.join(words)}: there are {', '.join(BY_NAME)}")
    return names


def progress(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def measure(names: list[str], options: Options, profiles: dict[str, Any]) -> list[Figure]:
    """The figures that can be had here; Unavailable when none can."""
    figures: dict[str, Figure] = {}
    network = [n for n in NETWORK if n in names]
    try:
        with ExitStack() as stack:
            running: Session | None = None
            for name in network:
                if running is None:
                    running = stack.enter_context(session(options, progress))
                figures[name] = NETWORK[name](running)
                if options.profile is not None:
                    running.stop()
                    collect(name, options.profile, profiles)
    except Unavailable as why:
        if not any(n in names for n in (*SIMULATED, *kernel.FIGURES)):
            raise
        progress(f"{', '.join(n for n in network if n not in figures)} not measured: {why}")
    for name in SIMULATED:
        if name in names:
            figures[name] = simulate(options, progress, name)
            if options.profile is not None:
                collect(name, options.profile, profiles)
    for name in kernel.FIGURES:
        if name in names:
            figures[name] = kernel.figure(options, progress, name)
    return [figures[name] for name in names if name in figures]


def collect(name: str, path: str, profiles: dict[str, Any]) -> None:
    file = Path(path)
    if file.exists() and file.stat().st_size:
        profiles[name] = json.loads(file.read_text())
        file.unlink()


def main() -> int:
    args = parser().parse_args()
    if args.plain_python or args.profile:
        os.environ["TERRELLA_COMPILED"] = "0"  # of the processes that are measured
    else:
        os.environ.setdefault("TERRELLA_COMPILED", "auto")
    profiles: dict[str, Any] = {}
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    options = Options(max(1, args.runs), max(0.1, args.seconds), cpus[-1], args.megabytes)
    load = os.getloadavg()[0]
    if load > len(cpus) / 2:
        progress(f"the load average is {load:.1f} on {len(cpus)} CPUs: what is measured is a busy machine")
    with tempfile.TemporaryDirectory(prefix="terrella-bench-") as directory:
        if args.profile:
            options.profile = str(Path(directory) / "profile.json")
        try:
            names = chosen(args.only)
            figures = measure(names, options, profiles)
        except Unavailable as why:
            print(f"bench: {why}", file=sys.stderr)
            return 2
    if args.json:
        print(report.as_json(figures, profiles))
    elif args.markdown:
        print(report.markdown(figures))
    else:
        report.table(figures)
        for name, found in profiles.items():
            print()
            print(report.profile(name, found))
    missed = [f"{name}: not measured" for name in names if name not in [figure.name for figure in figures]]
    missed += [line for figure in figures for line in figure.misses()]
    for line in missed:
        print(f"bench: misses its target: {line}", file=sys.stderr)
    return 1 if args.check and missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
