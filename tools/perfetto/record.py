"""`--perfetto FILE`: listens to machines and writes what they do as a trace for ui.perfetto.dev.

Drawn are: each CPU with the task that runs; each thread with its states (running, runnable, sleeping) and who woke it;
each system call as a slice on its thread, signals and migrations as marks; the packets of each interface; the requests
of each disk (`disks`); counters of run-queue lengths, of bytes in and out, and of what waits in an interface, its cable
or a disk's queue.

A request's flow begins with the packet that brought data, passes through the call that read it, and ends with the call
by which the process answers on the same socket: that is the arrow one follows in the viewer.

Several machines share a trace: the threads of the second have ids from 1,000,000 on, and so forth.
"""

from __future__ import annotations

import socket
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Any

from drivers.clock import CPU_RANK
from kernel.task import RUNNABLE, SLEEPING, STOPPED
from tools.perfetto import proto
from tools.perfetto.disks import Disk
from tools.perfetto.proto import BEGIN, END, INSTANT

if TYPE_CHECKING:
    from csrc.frame import Frame
    from kernel.block.queue import RequestQueue
    from kernel.block.request import Bio, Request
    from kernel.machine import Machine
    from kernel.net.netif import NetIf
    from kernel.signal import SigInfo
    from kernel.syscall.table import Call
    from kernel.task import Task, ThreadGroup

IDS = 1_000_000
"""Thread ids of one machine."""
BATCH = 256
"""Events of a CPU that are written as one packet."""
LONGEST = 80
READS = frozenset({"read", "readv", "recvfrom", "recvmsg", "recvmmsg", "splice"})
WRITES = frozenset({"write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice"})
TCP, UDP = 6, 17
FLAGS = "FSRPAUEC"

Key = tuple[int, int, str, int]
"""Protocol, local port, remote address, remote port."""


class Recorder:
    """One trace file and the machines that it tells of."""

    def __init__(self, out: IO[bytes], epoch_ns: int) -> None:
        self._out = out
        self._epoch_ns = epoch_ns
        self._uuid = 0
        self._flow = 0
        self._listeners: list[Listener] = []
        self._began = False

    def follow(self, machine: Machine) -> Listener:
        """Listen to this machine from now on."""
        if not self._began:
            self._began = True
            self.write(proto.clocks(machine.timeline.now, self._epoch_ns))
            self.write(proto.system("terrella", "6.18.0"))
        listener = Listener(self, machine, len(self._listeners))
        self._listeners.append(listener)
        return listener

    def uuid(self) -> int:
        """A new track's."""
        self._uuid += 1
        return self._uuid

    def flow(self) -> int:
        """A new flow's."""
        self._flow += 1
        return self._flow

    def write(self, packet: bytes) -> None:
        self._out.write(packet)

    def close(self) -> None:
        """Write what is still held back, and stop listening."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self._out.flush()


class Listener:
    """What one machine's trace and interfaces tell, written down."""

    def __init__(self, recorder: Recorder, machine: Machine, index: int) -> None:
        self._recorder = recorder
        self._machine = machine
        self.prefix = f"{machine.name} " if index else ""
        self._base = index * IDS
        self.write = recorder.write
        self._first = machine.scheduler.cpus[0].rank - CPU_RANK
        self._cpu_events: list[list[tuple[int, bytes]]] = [[] for _ in machine.scheduler.cpus]
        self._processes: dict[int, int] = {}
        self._threads: dict[int, int] = {}
        self._open: dict[int, int] = {}
        """By tid: how many slices are open on its track."""
        self._counters: dict[str, tuple[int, int]] = {}
        self._tracks: dict[str, int] = {}
        self._arrived: dict[Key, int] = {}
        """The flow of the newest data on a connection that nobody has read."""
        self._read: dict[Key, int] = {}
        """Of what has been read and not answered; another thread may answer than the one that read."""
        self._taps: list[Tap] = []
        self.uuid = recorder.uuid
        self.flow = recorder.flow
        self._disks: dict[str, Disk] = {}
        machine.trace.append(self)
        for interface in machine.network.interfaces.values():
            self.tap(interface)

    def tap(self, interface: NetIf) -> None:
        """Watch the frames of an interface."""
        tap = Tap(self, interface)
        self._taps.append(tap)
        interface.add_capture(tap, 0)

    def close(self) -> None:
        self._machine.trace.remove(self)
        for tap in self._taps:
            tap.interface.captures[:] = [one for one in tap.interface.captures if one[0] is not tap]
        now = self._machine.timeline.now
        for disk in self._disks.values():
            disk.close(now)
        for tid in sorted(self._open):
            for _ in range(self._open[tid]):
                self.write(proto.event(END, self._threads[tid], now))
        for number in range(len(self._cpu_events)):
            self._flush(number)

    # ---- tracks ----

    def _id(self, task: Task | None) -> int:
        return self._base + task.tid if task is not None else 0

    def _who(self, task: Task | None, cpu: int) -> tuple[str, int, int]:
        if task is None:
            return f"swapper/{cpu}", 0, 120
        return task.comm, self._base + task.tid, task.prio

    def _process(self, group: ThreadGroup) -> int:
        uuid = self._processes.get(group.pid)
        if uuid is None:
            uuid = self._processes[group.pid] = self._recorder.uuid()
            words = [word.decode("utf-8", "replace") for word in group.cmdline]
            comm = group.leader.comm if group.leader is not None else "?"
            self.write(proto.process_track(uuid, self._base + group.pid, f"{self.prefix}{comm}", words))
        return uuid

    def thread(self, task: Task) -> int:
        uuid = self._threads.get(task.tid)
        if uuid is None:
            parent = self._process(task.group)
            uuid = self._threads[task.tid] = self._recorder.uuid()
            self.write(proto.thread_track(uuid, parent, self._base + task.group.pid, self._base + task.tid, task.comm))
        return uuid

    def track(self, name: str) -> int:
        """A track of the machine itself."""
        uuid = self._tracks.get(name)
        if uuid is None:
            uuid = self._tracks[name] = self._recorder.uuid()
            self.write(proto.named_track(uuid, f"{self.prefix}{name}"))
        return uuid

    def count(self, name: str, unit: str, value: int, now: int) -> None:
        """A counter, which is written when it changes."""
        known = self._counters.get(name)
        if known is None:
            uuid = self._recorder.uuid()
            self.write(proto.counter_track(uuid, f"{self.prefix}{name}", unit))
        elif known[1] == value:
            return
        else:
            uuid = known[0]
        self._counters[name] = uuid, value
        self.write(proto.count(uuid, now, value))

    # ---- the scheduler ----

    def _add(self, cpu: int, now: int, event: bytes) -> None:
        events = self._cpu_events[cpu]
        events.append((now, event))
        if len(events) >= 2 * BATCH:
            self._flush(cpu, BATCH)

    def _flush(self, cpu: int, most: int | None = None) -> None:
        """Write the first events of a CPU, in order: an interrupt's end is told before what happens within it."""
        events = self._cpu_events[cpu]
        events.sort(key=itemgetter(0))
        if events:
            self.write(proto.ftrace(self._first + cpu, [event for _, event in events[:most]]))
            del events[:most]

    def _queue_length(self, cpu: int, now: int) -> None:
        queue = self._machine.scheduler.cpus[cpu].queue
        self.count(f"cpu{self._first + cpu} waiting tasks", "tasks", queue.count, now)

    def switch(self, cpu: int, before: Task | None, after: Task | None, reason: str, now: int) -> None:
        number = self._first + cpu
        if after is not None:
            self.thread(after)
        self._add(
            cpu, now, proto.sched_switch(now, self._who(before, number), _state(before), self._who(after, number))
        )
        self._queue_length(cpu, now)

    def wakeup(self, waker: Task | None, task: Task, reason: str, now: int) -> None:
        self.thread(task)
        cpu = waker.cpu.id if waker is not None else task.cpu.id
        who = self._who(task, 0)
        self._add(
            cpu, now, proto.sched_waking(now, self._id(waker), who, self._first + task.cpu.id, reason == "created")
        )
        self._queue_length(task.cpu.id, now)

    def wait(self, task: Task, reason: str, now: int) -> None:
        """The state that the switch shows says that it waits; the call that is open says in what."""

    def migrate(self, task: Task, before: int, after: int, reason: str, now: int) -> None:
        notes = (("from", before), ("to", after), ("reason", reason))
        self.write(proto.event(INSTANT, self.thread(task), now, "migrates", "sched", notes=notes))
        self._queue_length(before, now)

    def interrupt(self, cpu: int, kind: str, begin: int, end: int) -> None:
        """Time that the CPU spent on a device."""
        if kind == "softirq":
            self._add(cpu, begin, proto.softirq(begin, 0, True, 3))
            self._add(cpu, end, proto.softirq(end, 0, False, 3))
        else:
            self._add(cpu, begin, proto.irq_entry(begin, 0, 1, kind))
            self._add(cpu, end, proto.irq_exit(end, 0, 1))

    # ---- system calls ----

    def call_begins(self, task: Task, call: Call, args: tuple[Any, ...], now: int) -> None:
        ends = []
        if call.name in WRITES:
            key = self._key(task, args)
            flow = self._read.pop(key, 0) if key is not None else 0
            if flow:
                ends.append(flow)
        notes = [("args", _arguments(args))]
        self.write(proto.event(BEGIN, self.thread(task), now, call.name, "syscall", ends=ends, notes=notes))
        self._open[task.tid] = self._open.get(task.tid, 0) + 1

    def call_ends(self, task: Task, call: Call, args: tuple[Any, ...], result: Any, now: int) -> None:
        track = self.thread(task)
        if call.name in READS and not isinstance(result, OSError):
            key = self._key(task, args)
            flow = self._arrived.pop(key, 0) if key is not None else 0
            if flow and key is not None:
                self._read[key] = flow
                self.write(proto.event(INSTANT, track, now, "data of a packet", "net", flows=(flow,)))
        if self._open.get(task.tid):
            self._open[task.tid] -= 1
            notes = [("result", _shown(result))]
            self.write(proto.event(END, track, now, notes=notes))

    def signal(self, task: Task, info: SigInfo, now: int) -> None:
        notes = (("signal", info.si_signo),)
        self.write(proto.event(INSTANT, self.thread(task), now, f"signal {info.si_signo}", "signal", notes=notes))

    def ended(self, task: Task, status: int, now: int) -> None:
        if task.tid in self._threads:
            for _ in range(self._open.pop(task.tid, 0)):
                self.write(proto.event(END, self._threads[task.tid], now))
            del self._threads[task.tid]  # the id may be used again
        if task.tid == task.group.pid:
            self._processes.pop(task.tid, None)

    def _key(self, task: Task, args: tuple[Any, ...]) -> Key | None:
        """The connection that a descriptor stands for, if it is one."""
        if not args or not isinstance(args[0], int) or task.files is None:
            return None
        try:
            sock = getattr(task.files.get(args[0]).private, "sock", None)
            if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
                return None
            local = sock.getsockname()[1]
        except OSError:
            return None
        protocol = TCP if sock.type & 0xF == socket.SOCK_STREAM else UDP
        try:
            peer = sock.getpeername()
        except OSError:
            return (UDP, local, "", 0) if protocol == UDP else None
        return protocol, local, str(peer[0]).removeprefix("::ffff:"), peer[1]

    # ---- disks ----

    def _disk(self, queue: RequestQueue) -> Disk:
        disk = self._disks.get(queue.name)
        if disk is None:
            disk = self._disks[queue.name] = Disk(self, queue.name)
        return disk

    def bio_queued(self, queue: RequestQueue, bio: Bio, request: Request, merged: bool, now: int) -> None:
        self._disk(queue).queued(queue, bio, request, merged, now)

    def requests_joined(self, queue: RequestQueue, request: Request, into: Request, now: int) -> None:
        self._disk(queue).joined(queue, request, into, now)

    def request_issued(self, queue: RequestQueue, request: Request, now: int) -> None:
        self._disk(queue).issued(queue, request, now)

    def request_done(self, queue: RequestQueue, request: Request, failed: int, now: int) -> None:
        self._disk(queue).done(queue, request, failed, now)

    # ---- the network ----

    def packet(self, tap: Tap, direction: str, frame: Frame, now: int) -> None:
        """A frame passes an interface."""
        seen = parse(frame)
        name = f"{tap.interface.name} {'receives' if direction == 'in' else 'sends'}"
        flows: tuple[int, ...] = ()
        if direction == "in" and seen.payload and seen.key is not None:
            flow = self._arrived.get(seen.key, 0)
            if not flow:
                flow = self._arrived[seen.key] = self._recorder.flow()
                if seen.key[0] == UDP:
                    self._arrived[UDP, seen.key[1], "", 0] = flow
            flows = (flow,)
        self.write(
            proto.event(INSTANT, self.track(name), now, seen.text, "net", flows, notes=(("bytes", frame.length),))
        )
        counters = tap.interface.device.counters
        for key in ("rx_bytes", "tx_bytes"):
            self.count(f"{tap.interface.name} {key}", "bytes", counters.get(key, 0), now)
        waiting = getattr(tap.interface.device, "waiting", None)
        if waiting is not None:
            received, sent = waiting(now)
            self.count(f"{tap.interface.name} frames to be received", "frames", received, now)
            self.count(f"{tap.interface.name} frames to be sent", "frames", sent, now)


class Tap:
    """Stands where a capture would, at one interface."""

    __slots__ = ("interface", "listener")

    def __init__(self, listener: Listener, interface: NetIf) -> None:
        self.listener = listener
        self.interface = interface

    def packet(self, ident: int, direction: str, frame: Frame, now: int) -> None:
        self.listener.packet(self, direction, frame, now)


class Seen:
    """What is told of a frame."""

    __slots__ = ("key", "payload", "text")

    def __init__(self, text: str, key: Key | None = None, payload: int = 0) -> None:
        self.text = text
        self.key = key
        self.payload = payload


def parse(frame: Frame) -> Seen:
    """Addresses, ports and length of a frame; of what is no TCP or UDP only its kind."""
    data = bytes(memoryview(frame.data)[:128])
    at = 0
    if frame.ethernet:
        kind = int.from_bytes(data[12:14], "big")
        if kind == 0x0806:
            return Seen("ARP")
        at = 14
    version = data[at] >> 4 if len(data) > at else 0
    if version == 4 and len(data) >= at + 20:
        protocol, length = data[at + 9], int.from_bytes(data[at + 2 : at + 4], "big")
        source, target = data[at + 12 : at + 16], data[at + 16 : at + 20]
        family, header = socket.AF_INET, (data[at] & 15) * 4
        fragment = int.from_bytes(data[at + 6 : at + 8], "big") & 0x1FFF
    elif version == 6 and len(data) >= at + 40:
        protocol, length = data[at + 6], int.from_bytes(data[at + 4 : at + 6], "big") + 40
        source, target = data[at + 8 : at + 24], data[at + 24 : at + 40]
        family, header, fragment = socket.AF_INET6, 40, 0
    else:
        return Seen(f"{frame.length} bytes")
    src, dst = socket.inet_ntop(family, source), socket.inet_ntop(family, target)
    length = max(length, frame.length - at)  # a super-segment's own is longer
    l4 = at + header
    if protocol not in (TCP, UDP) or fragment or len(data) < l4 + 8:
        return Seen(f"{ {1: 'ICMP', 58: 'ICMPv6'}.get(protocol, f'protocol {protocol}') } {src} > {dst}")
    sport, dport = int.from_bytes(data[l4 : l4 + 2], "big"), int.from_bytes(data[l4 + 2 : l4 + 4], "big")
    key = protocol, dport, src, sport
    if protocol == UDP or len(data) < l4 + 20:
        payload = length - header - 8
        return Seen(f"UDP {src}:{sport} > {dst}:{dport}, {payload} bytes", key, max(payload, 1))
    payload = length - header - (data[l4 + 12] >> 4) * 4
    flags = "".join(letter for bit, letter in enumerate(FLAGS) if data[l4 + 13] >> bit & 1)
    return Seen(f"TCP {src}:{sport} > {dst}:{dport} [{flags}] {payload} bytes", key, payload)


def _state(task: Task | None) -> int:
    """Why a task leaves its CPU, as Linux numbers the states: R, S, D, T, X."""
    if task is None or task.state == RUNNABLE:
        return 0
    if task.state == SLEEPING:
        return 1 if task.interruptible else 2
    return 4 if task.state == STOPPED else 16


def _arguments(args: tuple[Any, ...]) -> str:
    return ", ".join(_shown(one) for one in args)


def _shown(value: Any) -> str:
    if isinstance(value, OSError):
        return f"-{value.errno}"
    shown = repr(value) if isinstance(value, int | str | bytes | None) else type(value).__name__
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."
