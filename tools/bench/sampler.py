"""Where the time goes: runs a module and looks at its Python stack at each tick of its CPU time.

    python -m tools.bench.sampler OUT.json [--wait] MODULE [ARG...]

With `--wait` it starts looking when SIGURG comes, so that a server's own start does not count. A sample
lands on the line that was running; C code counts for the line that called it. Sampling, unlike tracing, costs
nothing between samples and does not mind greenlets. The result names functions by their own samples and by
those of everything they called.
"""

from __future__ import annotations

import json
import linecache
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

INTERVAL_S = 0.001  # asked for; the kernel rounds up to its own tick, which may be 4 ms
ROOT = str(Path(__file__).resolve().parents[2]) + "/"


class Sampler:
    def __init__(self) -> None:
        self.samples = 0
        self.own: Counter[str] = Counter()
        self.whole: Counter[str] = Counter()
        self.lines: Counter[tuple[str, str, int]] = Counter()

    def start(self, *_: object) -> None:
        signal.signal(signal.SIGPROF, self.sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def sample(self, number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self.samples += 1
        name = label(frame)
        self.own[name] += 1
        self.lines[name, frame.f_code.co_filename, frame.f_lineno or 0] += 1
        seen = set()
        at: FrameType | None = frame
        while at is not None:
            seen.add(label(at))
            at = at.f_back
        self.whole.update(seen)

    def report(self, most: int = 25) -> dict[str, Any]:
        rows = []
        for name, own in self.own.most_common(most):
            (_, path, line), at_line = max(
                ((key, n) for key, n in self.lines.items() if key[0] == name), key=lambda item: item[1]
            )
            rows.append(
                {
                    "function": name, "own": own / self.samples, "whole": self.whole[name] / self.samples,
                    "line": line, "at_line": at_line / self.samples, "text": linecache.getline(path, line).strip(),
                }
            )  # fmt: skip
        return {"samples": self.samples, "functions": rows}


def label(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename.removeprefix(ROOT)}:{code.co_qualname}"


def main(argv: list[str]) -> int:
    out, wait = argv[1], argv[2:3] == ["--wait"]
    sys.argv = argv[3:] if wait else argv[2:]
    module = sys.argv[0]
    sampler = Sampler()
    if wait:
        signal.signal(signal.SIGURG, sampler.start)
    else:
        sampler.start()
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sampler.stop()
        if sampler.samples:
            Path(out).write_text(json.dumps(sampler.report()))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
