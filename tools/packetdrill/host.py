"""The machine under test: one stack behind a device that records, and one process that makes the script's calls.

Nothing here takes time (a cost table of zeros), so whatever the stack does it does at the script's own instants. The
calls are real system calls: they block in the kernel, through the same wait queues as any program's.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from csrc import Frame
from drivers.clock import VirtualTimeline
from drivers.net.device import new_counters
from kernel import abi
from kernel.cost import Costs
from kernel.machine import Machine
from kernel.sched.wait import WaitQueue
from netstack.settings import Settings
from netstack.tcp.why import observe
from tools.packetdrill import captures, imports
from tools.packetdrill.calls import Caller, Endpoints
from tools.packetdrill.commands import Route
from tools.packetdrill.script import SystemCall
from tools.packetdrill.shell import Shell
from tools.packetdrill.values import CallMismatch, UnsupportedCall

FREE = Costs(**{field.name: 0 for field in fields(Costs) if field.name != "slice"})
TCP_INFO_SIZE = 280


class Call:
    """One system call under way. `error` is what it got wrong, `unsupported` what the runner does not know."""

    def __init__(self, work: Callable[[Any], None], blocks: bool) -> None:
        self.work = work
        self.blocks = blocks
        self.finished = False
        self.finished_at = 0
        self.error: str | None = None
        self.unsupported: str | None = None


class Recorder:
    """A device of bare IP packets: keeps what the stack sends, hands over what the script injects.

    `whole`: super-segments are kept as the stack hands them over (--strict_segments), else as wire frames.
    """

    def __init__(self, mtu: int, sent: Callable[[int, bytes, str | None], None], whole: bool) -> None:
        self.name = "tun0"
        self.mac: bytes | None = None
        self.mtu = mtu
        self.gso = True
        self.on_receive: Callable[[], None] | None = None
        self.counters = new_counters()
        self.waiting: deque[Frame] = deque()
        self.sent = sent
        self.whole = whole

    def fileno(self) -> int | None:
        return None

    def receive(self, budget: int) -> list[Frame]:
        out: list[Frame] = []
        while self.waiting and len(out) < budget:
            out.append(self.waiting.popleft())
        return out

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        for frame in frames:
            comment = frame.comment
            for image in [bytes(frame)] if self.whole else frame.segments():
                self.sent(now, image, comment)
                comment = None

    def inject(self, image: bytes, mss: int = 0, payload: int = 0) -> None:
        """Hand over a packet; with `mss`, one of more payload than that is what GRO made of several."""
        frame = Frame.of(image, ethernet=False)
        if mss and payload > mss:
            frame.gso_size, frame.gso_segs = mss, -(-payload // mss)
        self.waiting.append(frame)
        if self.on_receive is not None and len(self.waiting) == 1:
            self.on_receive()

    def close(self) -> None:
        self.waiting.clear()


def follow_route(stack: Any, device: str, route: Route, destinations: Sequence[str], first: bool = False) -> None:
    """Give the routes to those destinations the attributes that `ip route` lines gave, and the device its queue."""
    if stack.interfaces[device].txqueuelen != route.queue:
        stack.set_queue(device, route.queue)
    metrics: dict[str, Any] = {}
    for name, value in route.attributes.items():
        if isinstance(value, int) and (not isinstance(value, bool) or name == "mtu_lock"):
            metrics[name] = value // 1_000_000 if name == "rto_min" else value
        elif name == "features":
            metrics["features"] = 1 if "ecn" in str(value) else 0
        elif name == "congctl":
            metrics["congctl"] = value
    for destination in destinations:
        if not first:
            stack.remove_route(destination)
        stack.add_route(destination, dev=device, **metrics)


class Host:
    """Machine, device and process of one run. `sent` is what no event has claimed yet; `history` is everything."""

    @staticmethod
    def check(name: str, value: str) -> None:
        """KeyError or OSError for a setting or a value that there is not."""
        Settings.spec(name).check(value)
        imports.check(name, value)

    def __init__(self, ends: Endpoints, mtu: int, settings: dict[str, str], route: Route, whole: bool = False) -> None:
        self.ends = ends
        self.sent: deque[tuple[int, bytes]] = deque()
        self.history: list[tuple[int, str, bytes]] = []
        self.comments: dict[int, str] = {}  # why it was sent, by place in the history, where `explain` was called
        self.timeline = VirtualTimeline(seed=0)
        own = Settings()
        for name, value in settings.items():
            own.set(name, value)
        self.machine = Machine("packetdrill", self.timeline, settings=own, costs=FREE)
        ends.begun_ns = self.machine.realtime_offset()
        self.whole = whole
        self.device = Recorder(mtu, self._sent, whole)
        prefix = 64 if ends.v6 else 16
        self.machine.attach(self.device, f"{ends.local}/{prefix}", name=self.device.name)
        self.update_route(route, first=True)
        self.inbox: deque[Call] = deque()
        self.bell = WaitQueue()
        self.caller: Caller | None = None
        self.files = dict(route.files)
        self.own_shell = Shell(self.machine, self.timeline)
        self.machine.spawn(self._process)
        self.timeline.run(0)

    def _sent(self, now: int, image: bytes, comment: str | None) -> None:
        self.sent.append((now, image))
        if comment is not None:
            self.comments[len(self.history)] = comment
        self.history.append((now, "out", image))

    def _process(self, sys: Any) -> None:
        """The process under test: makes the calls it is given, one after the other."""
        self.caller = Caller(sys, self.ends)
        sys.rt_sigaction(abi.SIGPIPE, abi.SIG_IGN)
        for path, size in self.files.items():
            fd = sys.open(path, abi.O_CREAT | abi.O_WRONLY, 0o600)
            sys.write(fd, bytes(size))
            sys.close(fd)
        while True:
            while not self.inbox:
                self.bell.sleep(sys._task)
            call = self.inbox.popleft()
            if call.blocks:
                sys.clone(self._thread, call)
            else:
                self._carry_out(call, sys)

    def _thread(self, sys: Any, call: Call) -> None:
        """A thread of the process under test, for one call that may block."""
        self._carry_out(call, sys)

    def _carry_out(self, call: Call, sys: Any) -> None:
        try:
            call.work(sys)
        except CallMismatch as trouble:
            call.error = str(trouble)
        except UnsupportedCall as trouble:
            call.unsupported = str(trouble)
        call.finished, call.finished_at = True, self.now

    @property
    def now(self) -> int:
        return self.timeline.now

    def update_route(self, route: Route, first: bool = False) -> None:
        """The route to the remote side, with the attributes that the script's `ip route` lines gave it so far."""
        everywhere = ("::/0",) if self.ends.v6 else ("0.0.0.0/0",)
        follow_route(self.machine.stack, self.device.name, route, everywhere, first)
        self.device.whole = self.whole and route.gso

    def set_sysctl(self, name: str, value: str) -> None:
        imports.check(name, value)
        self.machine.stack.settings.set(name, value)

    # -- time

    def advance(self, until: int) -> None:
        """Let everything up to `until` happen; no effect when that has passed."""
        if until >= self.now:
            self.timeline.run(until)

    def advance_to_packet(self, limit: int) -> bool:
        """Go on until the stack has sent something that is not claimed yet: True; or until `limit`: False."""
        while not self.sent:
            due = self.timeline.peek()
            if due is None or due > limit:
                self.advance(limit)
                return bool(self.sent)
            self.timeline.step()
        return True

    def settle(self) -> None:
        """Let everything due at this very instant happen."""
        self.timeline.run(self.now)

    # -- doing

    def inject(self, image: bytes, mss: int = 0, payload: int = 0) -> None:
        self.history.append((self.now, "in", image))
        self.device.inject(image, mss, payload)
        self.settle()

    def call(self, call: SystemCall) -> Call:
        """Hand a call to the process (one that may block, to a thread of it). It has been made, as far as it does not
        block, when this returns."""

        def work(sys: Any) -> None:
            assert self.caller is not None
            Caller(sys, self.ends, self.caller.fds).perform(call)

        return self.submit(work, call.end is not None)

    def submit(self, work: Callable[[Any], None], blocks: bool = False) -> Call:
        job = Call(work, blocks)
        self.inbox.append(job)
        self.bell.wake()
        self.settle()
        return job

    def shell(self, line: str) -> tuple[int, str]:
        """A line for the machine's own shell: exit status and what it said."""
        return self.own_shell.run(line)

    def option(self, script_fd: int, level: int, name: int, size: int) -> bytes:
        """An option of one of the script's sockets, as getsockopt gives it; b"" when it gives none."""
        found: list[bytes] = []

        def work(sys: Any) -> None:
            assert self.caller is not None
            fd = self.caller.fds.get(script_fd, script_fd)
            with contextlib.suppress(OSError):
                found.append(bytes(sys.getsockopt(fd, level, name, size)))

        self.submit(work)
        return found[0] if found else b""

    def tcp_info(self, script_fd: int) -> bytes:
        """struct tcp_info; b"" for no TCP socket."""
        return self.option(script_fd, abi.IPPROTO_TCP, abi.TCP_INFO, TCP_INFO_SIZE)

    def explain(self) -> None:
        """Have the stack say why it sends what it sends. Before the first connection."""
        observe(self.machine.stack)

    def save_capture(self, path: str) -> None:
        """Everything that crossed the device, in order, as pcapng; with the reasons, if they were asked for."""
        captures.save(path, self.device.name, self.history, self.comments)

    def close(self) -> None:
        self.machine.close()
