"""The measurements: each returns a `Figure`, the median of several runs, ours and the peer's taken in turns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from tools.bench.rig import Rig, Server
from tools.bench.targets import BY_NAME, Target

ECHO, DISCARD, CHARGEN = 7, 9, 19


@dataclass(slots=True)
class Figure:
    """One line of the table. `low` and `high` are the extremes of the runs; the peer is the host's kernel over veth."""

    name: str
    value: float
    low: float
    high: float
    runs: int
    peer: float | None = None
    ratio: float | None = None
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        return BY_NAME[self.name]

    def as_dict(self) -> dict[str, object]:
        target = self.target
        return {
            "name": self.name, "what": target.what, "unit": target.unit, "value": self.value, "low": self.low,
            "high": self.high, "runs": self.runs, "peer": self.peer, "ratio": self.ratio, "floor": target.floor,
            "floor_ratio": target.floor_ratio, "next": target.next, **self.extra,
            "misses": target.misses(self.value, self.ratio),
        }  # fmt: skip


Progress = Callable[[str], None]


@dataclass(slots=True)
class Options:
    runs: int = 3
    seconds: float = 1.0
    cpu: int = 0  # the core that both ends share where latency counts
    megabytes: float = 100.0  # of the simulated flow
    profile: str | None = None


class Session:
    """Starts the machines that the figures ask for, keeps the last one, and reports each run."""

    def __init__(self, rig: Rig, options: Options, progress: Progress) -> None:
        self.rig = rig
        self.options = options
        self.progress = progress
        self._machine: Server | None = None
        self._plain = False

    def machine(self, plain: bool = False) -> Server:
        if self._machine is None or self._plain != plain:
            self.stop()
            self._machine = self.rig.machine(plain)
            self._plain = plain
        return self._machine

    def stop(self) -> None:
        """End the machine that runs, so that it writes its profile."""
        if self._machine is not None:
            self._machine.stop()
            self._machine = None

    def in_turns(
        self, name: str, kind: str, port: int, plain: bool = False, shared_core: bool = False, peer: bool = True
    ) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
        """The runs against the machine, and against the kernel, alternating so that a drift of the host meets both."""
        options = self.options
        cpu = options.cpu if shared_core else None
        ours, theirs = [], []
        machine = self.machine(plain)
        self.rig.load(machine, kind, port, 0.2, cpu)  # warms caches, routes and the allocator
        for i in range(options.runs):
            self.progress(f"{name} {i + 1}/{options.runs}")
            ours.append(self.rig.load(machine, kind, port, options.seconds, cpu))
            if peer:
                theirs.append(self.rig.load(self.rig.kernel(), kind, port, options.seconds, cpu))
        return ours, theirs


def _figure(name: str, values: list[float], peers: list[float], extra: dict[str, float]) -> Figure:
    value = median(values)
    peer = median(peers) if peers else None
    ratio = value / peer if peer else None
    return Figure(name, value, min(values), max(values), len(values), peer, ratio, extra)


def bulk(session: Session, name: str, kind: str, port: int, plain: bool = False) -> Figure:
    """GB/s of one connection, and CPU seconds of the serving process per GB."""
    ours, theirs = session.in_turns(name, kind, port, plain)
    rate = [run["bytes"] / run["seconds"] / 1e9 for run in ours]
    cpu = median(run["cpu_seconds"] / (run["bytes"] / 1e9) for run in ours)
    return _figure(name, rate, [run["bytes"] / run["seconds"] / 1e9 for run in theirs], {"cpu_s_per_gb": cpu})


def echo(session: Session) -> Figure:
    ours, theirs = session.in_turns("echo", "echo", ECHO, shared_core=True)
    extra = {"p99_us": median(run["p99"] for run in ours) * 1e6}
    extra["peer_p99_us"] = median(run["p99"] for run in theirs) * 1e6
    return _figure("echo", [run["median"] * 1e6 for run in ours], [run["median"] * 1e6 for run in theirs], extra)


def connect(session: Session) -> Figure:
    ours, theirs = session.in_turns("connect", "connect", ECHO, shared_core=True)
    rates, peers = ([run["count"] / run["seconds"] for run in runs] for runs in (ours, theirs))
    return _figure("connect", rates, peers, {})


def simulate(options: Options, progress: Progress) -> Figure:
    """Needs no privileges and no rig. Each run is a process of its own."""
    command = [sys.executable, "-m", "tools.bench.simulate", str(options.megabytes)]
    if options.profile is not None:
        command[1:3] = ["-m", "tools.bench.sampler", options.profile, "--wait", "tools.bench.simulate"]
    rates, runs = [], max(1, options.runs // 2)
    for i in range(runs):
        progress(f"simulate {i + 1}/{runs}")
        done = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600).stdout)
        rates.append(done["segments"] / done["wall_s"])
    return _figure("simulate", rates, [], {"megabytes": options.megabytes})


NETWORK: dict[str, Callable[[Session], Figure]] = {
    "bulk-in": lambda s: bulk(s, "bulk-in", "send", DISCARD),
    "bulk-out": lambda s: bulk(s, "bulk-out", "recv", CHARGEN),
    "echo": echo,
    "connect": connect,
    "bulk-in-plain": lambda s: bulk(s, "bulk-in-plain", "send", DISCARD, plain=True),
    "bulk-out-plain": lambda s: bulk(s, "bulk-out-plain", "recv", CHARGEN, plain=True),
}


@contextmanager
def session(options: Options, progress: Progress) -> Iterator[Session]:
    with Rig(options.profile) as rig:
        running = Session(rig, options, progress)
        try:
            yield running
        finally:
            running.stop()
