"""The measurements: each returns a `Figure`, the median of several runs, ours and the peer's taken in turns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tools.bench.ns3 import peer
from tools.bench.rig import Rig, Server, Unavailable
from tools.bench.targets import BY_NAME, Target

ECHO, DISCARD, CHARGEN = 7, 9, 19


@dataclass(slots=True)
class Figure:
    """One line of the table. `low` and `high` are the extremes of the runs; the peer is the host's kernel over veth, or
    ns-3."""

    name: str
    value: float
    low: float
    high: float
    runs: int
    peer: float | None = None
    ratio: float | None = None
    extra: dict[str, float] = field(default_factory=dict)
    lwip: float | None = None  # lwIP's, where it is installed
    lwip_ratio: float | None = None

    @property
    def target(self) -> Target:
        return BY_NAME[self.name]

    def misses(self) -> list[str]:
        """Which targets it does not reach."""
        return self.target.misses(self.value, self.ratio, self.lwip_ratio)

    def as_dict(self) -> dict[str, object]:
        target = self.target
        return {
            "name": self.name, "what": target.what, "unit": target.unit, "value": self.value, "low": self.low,
            "high": self.high, "runs": self.runs, "peer": self.peer, "ratio": self.ratio, "lwip": self.lwip,
            "lwip_ratio": self.lwip_ratio, **self.extra, "target": target.text(), "misses": self.misses(),
        }  # fmt: skip


Progress = Callable[[str], None]


@dataclass(slots=True)
class Options:
    runs: int = 3
    seconds: float = 1.0
    cpu: int = 0  # the core that both ends share where latency counts
    megabytes: float = 100.0  # of the simulated flow
    profile: str | None = None
    idle: int = 10_000  # connections beside the busy one


class Session:
    """Starts the machines that the figures ask for, keeps the last one, and reports each run."""

    def __init__(self, rig: Rig, options: Options, progress: Progress) -> None:
        self.rig = rig
        self.options = options
        self.progress = progress
        self._machine: Server | None = None
        self._plain: bool | None = False  # None: no machine, but a bare stack
        self._no_lwip = False
        self.idle: tuple[list[float], list[float], float] | None = None

    def machine(self, plain: bool | None = False) -> Server:
        """The machine, with plain frames or with vnet headers; None: a bare stack instead."""
        if self._machine is None or self._plain != plain:
            self.stop()
            self._machine = self.rig.stack() if plain is None else self.rig.machine(plain)
            self._plain = plain
        return self._machine

    def stop(self) -> None:
        """End the machine that runs, so that it writes its profile."""
        if self._machine is not None:
            self._machine.stop()
            self._machine = None

    def in_turns(
        self, name: str, kind: str, port: int, plain: bool | None = False, shared_core: bool = False, runs: int = 0
    ) -> tuple[list[dict[str, float]], list[dict[str, float]], list[dict[str, float]]]:
        """The runs against the machine, the kernel and lwIP, in turns so that a drift of the host meets all.

        Ends that need not share a core go where the host's scheduler puts them: kept on a core each, the kernel's own
        over veth are half as fast.
        """
        options = self.options
        runs = runs or options.runs
        cpu = options.cpu if shared_core else None
        servers = [self.machine(plain), self.rig.kernel()]
        lwip = self.lwip()
        if lwip is not None:
            servers.append(lwip)
        found: list[list[dict[str, float]]] = [[], [], []]
        for server in servers:
            self.rig.load(server, kind, port, 0.2, cpu)  # warms caches, routes and the allocator
        for i in range(runs):
            self.progress(f"{name} {i + 1}/{runs}")
            for server, runs_of_it in zip(servers, found):
                runs_of_it.append(self.rig.load(server, kind, port, options.seconds, cpu))
        return found[0], found[1], found[2]

    def lwip(self) -> Server | None:
        """None, said once, where it is not installed."""
        if self._no_lwip:
            return None
        try:
            return self.rig.lwip()
        except Unavailable as why:
            self._no_lwip = True
            self.progress(f"lwIP not measured: {why}")
            return None


def _figure(
    name: str, values: list[float], peers: list[float], extra: dict[str, float], lwips: Sequence[float] = ()
) -> Figure:
    peer = median(peers) if peers else None
    lwip = median(lwips) if lwips else None
    low, high = min(values), max(values)
    ratio, lwip_ratio = _ratio(values, peers), _ratio(values, lwips)
    return Figure(name, median(values), low, high, len(values), peer, ratio, extra, lwip, lwip_ratio)


def _ratio(values: Sequence[float], peers: Sequence[float]) -> float | None:
    """The median of the turns' ratios: a slow moment of the host meets both sides of one."""
    return median(value / peer for value, peer in zip(values, peers)) if peers and all(peers) else None


def bulk(session: Session, name: str, kind: str, port: int, plain: bool = False) -> Figure:
    """GB/s of one connection, and CPU seconds of the serving process per GB."""
    found = session.in_turns(name, kind, port, plain, runs=2 * session.options.runs - 1)
    rate, peers, lwips = ([run["bytes"] / run["seconds"] / 1e9 for run in runs] for runs in found)
    cpu = median(run["cpu_seconds"] / (run["bytes"] / 1e9) for run in found[0])
    return _figure(name, rate, peers, {"cpu_s_per_gb": cpu}, lwips)


def echo(session: Session, name: str = "echo", plain: bool | None = False) -> Figure:
    found = session.in_turns(name, "echo", ECHO, plain, shared_core=True)
    times, peers, lwips = ([run["median"] * 1e6 for run in runs] for runs in found)
    extra = {"p99_us": median(run["p99"] for run in found[0]) * 1e6}
    extra["peer_p99_us"] = median(run["p99"] for run in found[1]) * 1e6
    return _figure(name, times, peers, extra, lwips)


def echo_busy(session: Session) -> Figure:
    """The machine has work of its own for three processes; the client has a core to itself."""
    session.stop()
    server = session.rig.machine(plain=False, busy=3)
    try:
        session.rig.load(server, "echo", ECHO, 0.2)
        runs = []
        for i in range(session.options.runs):
            session.progress(f"echo-busy {i + 1}/{session.options.runs}")
            runs.append(session.rig.load(server, "echo", ECHO, session.options.seconds))
    finally:
        server.stop()
    extra = {"p99_us": median(run["p99"] for run in runs) * 1e6}
    return _figure("echo-busy", [run["median"] * 1e6 for run in runs], [], extra)


def connect(session: Session, name: str = "connect", plain: bool | None = False) -> Figure:
    found = session.in_turns(name, "connect", ECHO, plain, shared_core=True)
    rates, peers, lwips = ([run["count"] / run["seconds"] for run in runs] for runs in found)
    cpu = median(run["cpu_seconds"] / run["count"] for run in found[0])
    return _figure(name, rates, peers, {"cpu_us": cpu * 1e6}, lwips)


def beside_idle(session: Session) -> tuple[list[float], list[float], float]:
    """The busy connection's rates alone and beside idle connections, and the bytes of memory that each of those takes.

    Measured once. Alone is a second machine, so that the two rates are taken in turns. The idle connections are of the
    echo service: accepted, with a socket, a descriptor and a flow in a server.
    """
    if session.idle is None:
        rig, options = session.rig, session.options
        session.stop()  # a machine of its own, so that nothing lies about in its memory
        machine, twin = session.machine(), rig.machine(plain=False, twin=True)

        def rate(server: Server) -> float:
            run = rig.load(server, "send", DISCARD, options.seconds)
            return run["bytes"] / run["seconds"] / 1e9

        for server in (machine, twin):
            for kind, port in (("echo", ECHO), ("connect", ECHO), ("send", DISCARD)):
                rig.load(server, kind, port, 0.2)
        session.progress(f"{options.idle} idle connections")
        before = machine.resident_bytes()
        alone, beside = [], []
        with rig.held(machine, ECHO, options.idle):
            each = (machine.resident_bytes() - before) / options.idle
            for _ in range(options.runs):
                alone.append(rate(twin))
                beside.append(rate(machine))
        twin.stop()
        session.idle = (alone, beside, each)
        if options.profile is None:
            session.stop()
    return session.idle


def idle_rate(session: Session) -> Figure:
    """The busy connection's rate beside the idle ones, over its rate alone."""
    alone, beside, _ = beside_idle(session)
    ratios = [with_idle / without for with_idle, without in zip(beside, alone)]
    return _figure("idle-rate", ratios, [], {"alone_gb_s": median(alone)})


def idle_memory(session: Session) -> Figure:
    return _figure("idle-memory", [beside_idle(session)[2]], [], {})


def ready(session: Session) -> Figure:
    """From the start of `terrella up` to the line that says it is ready."""
    times = []
    for _ in range(session.options.runs):
        session.stop()
        times.append(session.machine().ready_s)
    return _figure("ready", times, [], {})


def simulate(options: Options, progress: Progress, name: str = "simulate") -> Figure:
    """Needs no privileges and no rig. Each run is a process of its own; the same flows in ns-3 in turns with them."""
    flows = str(SIMULATED[name])
    command = [sys.executable, "-m", "tools.bench.simulate", str(options.megabytes), flows]
    if options.profile is not None:
        command[1:3] = ["-m", "tools.bench.sampler", options.profile, "--wait", "tools.bench.simulate"]
    rates: list[float] = []
    peers: list[float] = []
    runs = max(1, options.runs // 2)
    with ExitStack() as stack:
        try:
            ns3 = stack.enter_context(peer())
            capture = str(Path(stack.enter_context(TemporaryDirectory(prefix="terrella-bench-"))) / "flow.pcap")
        except Unavailable as why:
            progress(f"{name}: ns-3 not measured: {why}")
            ns3 = []
        for i in range(runs):
            progress(f"{name} {i + 1}/{runs}")
            rates.append(_segments_per_second(command))
            if ns3:
                peers.append(_segments_per_second([*ns3, str(options.megabytes), flows, capture]))
    return _figure(name, rates, peers, {"megabytes": options.megabytes})


def _segments_per_second(command: list[str]) -> float:
    done = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600).stdout)
    return float(done["segments"] / done["wall_s"])


SIMULATED = {"simulate": 1, "simulate-100": 100}
"""The simulated figures, and how many flows share the link."""

NETWORK: dict[str, Callable[[Session], Figure]] = {
    "bulk-in": lambda s: bulk(s, "bulk-in", "send", DISCARD),
    "bulk-out": lambda s: bulk(s, "bulk-out", "recv", CHARGEN),
    "echo": echo,
    "connect": connect,
    "echo-busy": echo_busy,
    "echo-stack": lambda s: echo(s, "echo-stack", plain=None),
    "connect-stack": lambda s: connect(s, "connect-stack", plain=None),
    "idle-rate": idle_rate,
    "idle-memory": idle_memory,
    "ready": ready,
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
