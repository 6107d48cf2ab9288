"""What the kernel's own work costs: system calls, copies, switches, processes, and whether sleepers cost anything.

    python -m tools.bench.kernel NAME COUNT [--on-linux]

Each program is written once, for the Python ABI, and runs on a machine in virtual time with tracing off, or on the
host's own kernel; the real time of its loop is measured either way (`mark` is called before and after it). Prints one
line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from tools.bench.measures import Figure, Options, Progress

BLOCK = 4096
Mark = Callable[[], None]


def getpid(sys: Any, n: int, mark: Mark) -> None:
    mark()
    for _ in range(n):
        sys.getpid()
    mark()


def pipe_pairs(sys: Any, n: int, mark: Mark) -> None:
    """A write and a read of 4 KiB, by one process on one pipe."""
    r, w = sys.pipe2()
    block = bytes(BLOCK)
    mark()
    for _ in range(n):
        sys.write(w, block)
        sys.read(r, BLOCK)
    mark()


def file_pairs(sys: Any, n: int, mark: Mark) -> None:
    """A write and a read of 4 KiB, in a file of /tmp."""
    name = f"/tmp/trl-bench-{sys.getpid()}"
    fd = sys.open(name, 0o102)
    block = bytes(BLOCK)
    mark()
    for _ in range(n):
        sys.pwrite64(fd, block, 0)
        sys.pread64(fd, BLOCK, 0)
    mark()
    sys.unlink(name)


def ping_pong(sys: Any, n: int, mark: Mark) -> None:
    """Two processes hand a byte to and fro: two switches each time."""
    there, back = sys.pipe2(), sys.pipe2()

    def other(sys: Any) -> None:
        for _ in range(n):
            sys.read(there[0], 1)
            sys.write(back[1], b"x")

    pid = sys.spawn(other)
    mark()
    for _ in range(n):
        sys.write(there[1], b"x")
        sys.read(back[0], 1)
    mark()
    sys.wait4(pid)


def spawn(sys: Any, n: int, mark: Mark) -> None:
    """A child that ends at once, waited for."""

    def child(sys: Any) -> int:
        return 0

    mark()
    for _ in range(n):
        sys.spawn(child)
        sys.wait4()
    mark()


def pipe_bulk(sys: Any, n: int, mark: Mark) -> None:
    """`n` blocks of 64 KiB from one process to another."""
    r, w = sys.pipe2()
    block = bytes(1 << 16)

    def writer(sys: Any) -> None:
        sys.close(r)
        for _ in range(n):
            sys.write(w, block)

    pid = sys.spawn(writer)
    sys.close(w)
    left = n << 16
    mark()
    while left:
        left -= len(sys.read(r, 1 << 16))
    mark()
    sys.wait4(pid)


def beside_sleepers(sys: Any, n: int, mark: Mark, sleepers: int) -> None:
    """Hand a byte to and fro, and spawn and wait now and then, while so many processes sleep."""

    def asleep(sys: Any) -> None:
        sys.nanosleep(10**18)

    for _ in range(sleepers):
        sys.spawn(asleep)
    sys.nanosleep(10**9)
    ping_pong(sys, n, mark)


PROGRAMS: dict[str, tuple[Callable[..., None], int]] = {
    "getpid": (getpid, 300_000), "readwrite": (pipe_pairs, 60_000), "readwrite-file": (file_pairs, 60_000),
    "switch": (ping_pong, 20_000), "spawn": (spawn, 2_000), "pipe": (pipe_bulk, 8_000),
    "sleepers-10": (beside_sleepers, 20_000), "sleepers-1000": (beside_sleepers, 20_000),
    "sleepers-10000": (beside_sleepers, 20_000),
}  # fmt: skip
"""The program of each figure, and how many turns take a tenth of a second or more."""


def run(name: str, count: int, on_linux: bool) -> float:
    """Seconds of the program's loop."""
    marks: list[float] = []

    def mark() -> None:
        marks.append(time.perf_counter())

    function = PROGRAMS[name][0]
    more = [int(name.rpartition("-")[2])] if name.startswith("sleepers") else []
    if on_linux:
        from tools.hostsystem import HostSystem

        function(HostSystem(), count, mark, *more)
    else:
        from drivers.clock import VirtualTimeline
        from kernel.machine import Machine

        with Machine("bench", VirtualTimeline(1)) as machine:
            process = machine.spawn(function, count, mark, *more)
            machine.run(process=process)
            if process.exit_status:
                raise RuntimeError(f"{name} ended with status {process.exit_status:#x}")
    return marks[1] - marks[0]


def measured(name: str, count: int, on_linux: bool = False) -> float:
    """Turns in a second, in a process of its own."""
    command = [sys.executable, "-m", "tools.bench.kernel", name, str(count), *(["--on-linux"] if on_linux else [])]
    done = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600).stdout)
    return float(done["count"] / done["seconds"])


SCALE = {"switch": 2.0, "pipe": 65536 / 1e9}
"""What one turn counts for: two switches, so many GB."""


def figure(options: Options, progress: Progress, name: str) -> Figure:
    """Ours and the host's in turns; each run is long enough for the clock."""
    if name == "sleepers":
        return sleepers(options, progress)
    count = PROGRAMS[name][1]
    scale = SCALE.get(name, 1.0)
    ours: list[float] = []
    theirs: list[float] = []
    for i in range(options.runs):
        progress(f"{name} {i + 1}/{options.runs}")
        ours.append(measured(name, count) * scale)
        theirs.append(measured(name, count, on_linux=True) * scale)
    value, peer = median(ours), median(theirs)
    return Figure(name, value, min(ours), max(ours), len(ours), peer, value / peer, {})


def sleepers(options: Options, progress: Progress) -> Figure:
    """The rate beside 10,000 sleeping processes over the rate beside 10; also beside 1,000. A host whose speed changes
    between the two moves their ratio: so there are three times as many rounds as elsewhere."""
    rates: dict[int, list[float]] = {10: [], 1000: [], 10_000: []}
    rounds = 3 * options.runs
    for i in range(rounds):
        for many, found in rates.items():
            progress(f"sleepers {i + 1}/{rounds}: {many}")
            found.append(measured(f"sleepers-{many}", PROGRAMS["sleepers-10"][1]))
    ratios = [most / few for few, most in zip(rates[10], rates[10_000])]
    extra = {"beside_1000": median(rates[1000]) / median(rates[10]), "alone_per_s": median(rates[10])}
    return Figure("sleepers", median(ratios), min(ratios), max(ratios), len(ratios), None, None, extra)


FIGURES = ("getpid", "readwrite", "readwrite-file", "switch", "spawn", "pipe", "sleepers")


if __name__ == "__main__":
    turns = int(sys.argv[2])
    print(json.dumps({"count": turns, "seconds": run(sys.argv[1], turns, "--on-linux" in sys.argv[3:])}))
