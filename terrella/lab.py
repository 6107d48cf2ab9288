"""`Lab`: many machines, links and switches on one clock, every run of a seed the same.

    with Lab(seed=7) as lab:
        a = lab.host("a", "10.0.0.1/24", cpus=2)
        b = lab.host("b", "10.0.0.2/24")
        lab.link(a, b, rate="10Mbit", delay="20ms", loss="1%", queue=100)
        server = b.spawn(serve)                 # runs serve(sys) on b
        client = a.spawn(fetch, "10.0.0.2")     # runs fetch(sys, "10.0.0.2") on a
        lab.capture(a, "a.pcapng")
        lab.run(until="60s")
        client.exit_code, a.output, lab.now

Times are virtual, in integer nanoseconds or as text ("20ms"). Addresses of machines (MAC) and everything random come
from the seed and the names, in the order in which things were made.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any

from drivers.capture import Pcapng
from drivers.clock import VirtualTimeline
from drivers.console import MemoryConsole
from drivers.disk.device import Disk
from drivers.disk.image import ImageDisk
from drivers.net.device import NetDevice
from drivers.net.impairments import Impairments, parse_time
from drivers.net.switch import Switch
from drivers.net.wire import Wire
from kernel.exec.watchdog import Watchdog
from kernel.machine import Machine
from kernel.process import shell_status
from kernel.task import Task, ThreadGroup
from netstack.address import parse_cidr
from netstack.settings import Settings
from netstack.stack import Stack
from netstack.tcp.why import observe
from terrella.why import WhyLog

Destination = str | os.PathLike[str] | IO[bytes]


@contextmanager
def rare_collections() -> Iterator[None]:
    """A run makes frames and records by the thousand, and drops them without cycles: looking for those so often costs
    more than it finds."""
    before = gc.get_threshold()
    if before[0]:  # 0: the user wants none at all
        gc.set_threshold(max(before[0], 50_000), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class LabError(RuntimeError):
    """The lab was asked for something it cannot do; the message says what to do instead."""


class Process:
    """A program started from outside: what it is and how it ended."""

    __slots__ = ("_group", "host")

    def __init__(self, host: Host, group: ThreadGroup) -> None:
        self.host = host
        self._group = group

    @property
    def pid(self) -> int:
        return self._group.pid

    @property
    def status(self) -> int | None:
        """The wait status, as Linux encodes it; None while it runs."""
        return self._group.exit_status

    @property
    def exit_code(self) -> int | None:
        """0 to 255, or 128 + the number of the signal that ended it; None while it runs."""
        return None if self._group.exit_status is None else shell_status(self._group.exit_status)

    def __repr__(self) -> str:
        state = "running" if self.status is None else f"exit code {self.exit_code}"
        return f"<Process {self.pid} on {self.host.name}: {state}>"


class Host:
    """A machine of the lab."""

    __slots__ = ("_captures", "_lab", "_next", "addresses", "machine", "name", "number", "processes")

    def __init__(self, lab: Lab, number: int, name: str, addresses: tuple[str, ...], machine: Machine) -> None:
        self._lab = lab
        self.number = number
        self.name = name
        self.addresses = addresses
        self.machine = machine
        self.processes: list[Process] = []
        self._next = 0
        self._captures: list[Pcapng] = []

    def spawn(self, function: Callable[..., Any], *args: Any, name: str | None = None) -> Process:
        """Start `function(sys, *args)` as a process of this host."""
        self._lab.opened("spawn")
        if not callable(function):
            raise LabError(f"spawn({function!r}): a function is wanted, which is called with (sys, *args)")
        process = Process(self, self.machine.spawn(function, *args, name=name))
        self.processes.append(process)
        return process

    def program(self, path: str | os.PathLike[str], *argv: str) -> Process:
        """Start the program in a .py file of the host computer; argv[0] is its path."""
        self._lab.opened("program")
        with open(path, encoding="utf-8") as file:
            source = file.read()
        process = Process(self, self.machine.exec(source, os.fspath(path), [os.fspath(path), *argv]))
        self.processes.append(process)
        return process

    @property
    def stack(self) -> Stack:
        """Its network: interfaces, routes, counters, settings."""
        return self.machine.stack

    @property
    def output(self) -> str:
        """What its programs wrote to the console so far."""
        console = self.machine.console
        return bytes(console.output).decode("utf-8", "replace") if isinstance(console, MemoryConsole) else ""

    @property
    def address(self) -> str:
        """Its first address, without the prefix."""
        if not self.addresses:
            raise LabError(f"host {self.name} has no address: give one, as in lab.host({self.name!r}, '10.0.0.1/24')")
        return self.addresses[0].partition("/")[0]

    def mac(self) -> bytes:
        """The next address for a network card: locally administered, by host and card number."""
        return bytes((0x02, 0, self.number >> 8, self.number & 0xFF, 0, self._next))

    def plug(self, device: NetDevice, *addresses: str) -> str:
        """A network card: the name of the interface. Without addresses, the first card takes those of the host."""
        name = f"eth{self._next}"
        if not addresses and self._next == 0:
            addresses = self.addresses
        self._next += 1
        self.machine.attach(device, *addresses, name=name)
        for capture in self._captures:
            self.machine.network.capture(name, capture)
        return name

    def record(self, capture: Pcapng) -> None:
        """Write every frame of every card, present and future."""
        self._captures.append(capture)
        for name in self.machine.network.interfaces:
            self.machine.network.capture(name, capture)

    def __repr__(self) -> str:
        return f"<Host {self.name} {' '.join(self.addresses)}>"


def _disks(disk: Any) -> Sequence[Disk]:
    if isinstance(disk, str | os.PathLike):
        return (ImageDisk(disk),)
    return disk if isinstance(disk, Sequence) else (disk,)


class Lab:
    """A small world. Close it (or use `with`): tasks that sleep at the end are killed, in pid order."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.timeline = VirtualTimeline(seed)
        self.hosts: dict[str, Host] = {}
        self.wires: list[Wire] = []
        self.switches: list[Switch] = []
        self._captures: list[Pcapng] = []
        self._logs: list[WhyLog] = []
        self._cpus = 0
        self.closed = False

    @property
    def now(self) -> int:
        """Virtual nanoseconds since the lab began."""
        return self.timeline.now

    def opened(self, call: str) -> None:
        """LabError when the lab is closed."""
        if self.closed:
            raise LabError(
                f"{call}: this lab is closed, and its machines with it (their output can still be read): make a new Lab"
            )

    # ---- building ----

    def host(
        self,
        name: str,
        *cidrs: str,
        cpus: int = 1,
        policy: str = "eevdf",
        settings: Settings | dict[str, Any] | None = None,
        disk: Disk | Sequence[Disk] | str | os.PathLike[str] = (),
    ) -> Host:
        """A machine with these addresses on its first network card. `settings`: sysctls, {"net.ipv4.tcp_sack": 0}.
        `disk`: what /dev/vda is, an image file or a disk of `drivers.disk`; several are vda, vdb ... They are SSDs;
        `host.machine.attach_disk` knows others.
        """
        self.opened("host")
        if name in self.hosts:
            raise LabError(
                f"there is a host {name!r} already: names are what randomness is drawn by, so they must differ"
            )
        for cidr in cidrs:
            try:
                parse_cidr(cidr)
            except OSError as why:
                raise LabError(f"host {name!r}: {why.strerror}; write as 10.0.0.1/24 or 2001:db8::1/64") from why
        if isinstance(settings, dict):
            settings = Settings(**settings)
        machine = Machine(
            name, self.timeline, cpus=cpus, policy=policy, settings=settings, first_cpu=self._cpus,
            console=MemoryConsole(),
        )  # fmt: skip
        self._cpus += cpus
        for one in _disks(disk):
            machine.attach_disk(one)
        host = self.hosts[name] = Host(self, len(self.hosts) + 1, name, cidrs, machine)
        return host

    def switch(self, name: str | None = None) -> Switch:
        """A learning switch; join hosts to it with `link(host, switch)`."""
        self.opened("switch")
        switch = Switch(self.timeline, name or f"switch{len(self.switches)}")
        self.switches.append(switch)
        return switch

    def link(
        self, a: Host, b: Host | Switch, *, rate: int | str | None = None, delay: int | str = 0, loss: Any = 0.0,
        queue: int | str | None = 1000, jitter: int | str = 0, reorder: float | str = 0.0, duplicate: float | str = 0.0,
        corrupt: float | str = 0.0, ecn: int | str | None = None, back: Impairments | None = None,
        addresses: tuple[str, str] | None = None, mtu: int = 1500,
    ) -> Wire | None:  # fmt: skip
        """A cable with netem's impairments, the same each way unless `back` says otherwise (from b to a).

        `ecn`: with so many packets waiting, CE is set. `addresses` are those of the two ends, for hosts with several
        cards. The wire, for a cable between two hosts.
        """
        self.opened("link")
        for one in (a, b):
            if not isinstance(one, Host | Switch):
                raise LabError(f"link({one!r}): a host is wanted, as `host()` gives it, or a switch")
        there = Impairments(
            rate=rate,
            delay=delay,
            jitter=jitter,
            loss=loss,
            reorder=reorder,
            duplicate=duplicate,
            corrupt=corrupt,
            queue=queue,
            ecn=ecn,
        )
        mine = addresses[:1] if addresses else ()
        if isinstance(b, Switch):
            a.plug(b.attach(a.mac(), there, back, mtu=mtu), *mine)
            return None
        if a is b:
            raise LabError(f"a cable from {a.name} to itself: its programs reach each other over lo already")
        wire = Wire(
            self.timeline, there, back, name=f"{a.name}-{b.name}.{len(self.wires)}", macs=(a.mac(), b.mac()), mtu=mtu
        )
        self.wires.append(wire)
        a.plug(wire.a, *mine)
        b.plug(wire.b, *(addresses[1:] if addresses else ()))
        return wire

    def capture(self, host: Host, destination: Destination, why: bool = False) -> Pcapng:
        """Write what passes the host's network cards to a pcapng file (complete once the lab is closed).

        With `why`, the segments that its connections send from now on carry the reason as a packet comment.
        """
        self.opened("capture")
        capture = Pcapng(destination, epoch_ns=self.timeline.epoch_ns)
        self._captures.append(capture)
        host.record(capture)
        if why:
            observe(host.stack)
        return capture

    def why(self, host: Host, destination: str | os.PathLike[str] | IO[str]) -> WhyLog:
        """Write what the host's connections do from now on, and why: JSON lines, complete when the lab is closed."""
        self.opened("why")
        log = WhyLog(destination, epoch_ns=self.timeline.epoch_ns)
        self._logs.append(log)
        log.follow(host.stack, host.name)
        return log

    # ---- running ----

    def run(self, until: int | str | None = None) -> bool:
        """Let time pass until the virtual time `until`; without it, until every program started with `spawn` has ended.

        True when that came about; False when it cannot, because every program sleeps and nothing is left to happen.
        """
        self.opened("run")
        if until is not None:
            end = parse_time(until, "until")
            with rare_collections(), Watchdog([host.machine for host in self.hosts.values()]):
                self.timeline.run(max(end, self.now))
            return True
        waiting = [p for host in self.hosts.values() for p in host.processes if p.status is None]
        left = len(waiting)

        def ended(group: ThreadGroup) -> None:
            nonlocal left
            if any(p._group is group for p in waiting):
                left -= 1
                if not left:
                    self.timeline.stop()

        machines = [host.machine for host in self.hosts.values()]
        for machine in machines:
            machine.on_process_end.append(ended)
        try:
            if left:
                with rare_collections(), Watchdog(machines):
                    self.timeline.run()
        finally:
            for machine in machines:
                machine.on_process_end.remove(ended)
        return not left

    def sleepers(self) -> list[tuple[Host, Task]]:
        """Who sleeps: what to look at when `run` says False."""
        return [(host, task) for host in self.hosts.values() for task in host.machine.sleepers()]

    def close(self) -> None:
        """Kill everything, in the order of hosts and pids; complete the captures. Idempotent."""
        if self.closed:
            return
        self.closed = True
        for host in self.hosts.values():
            host.machine.close()
        for wire in self.wires:
            wire.close()
        for switch in self.switches:
            switch.close()
        with ExitStack() as files:  # one that can't be completed leaves none of the others open
            for log in reversed(self._logs):
                files.callback(log.close)
            for capture in reversed(self._captures):
                files.callback(capture.close)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
