"""The machine under test: one stack behind a device that records, and one process that makes the script's calls.

Nothing here takes time (a cost table of zeros), so whatever the stack does it does at the script's own instants. The
calls are real system calls: they block in the kernel, through the same wait queues as any program's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from csrc import Frame
from drivers.capture import Pcapng
from drivers.clock import VirtualTimeline
from drivers.net.device import new_counters
from kernel import abi
from kernel.cost import Costs
from kernel.machine import Machine
from kernel.sched.wait import WaitQueue
from netstack.settings import Settings
from tools.packetdrill.calls import Caller, CallMismatch, Endpoints, UnsupportedCall
from tools.packetdrill.commands import Route
from tools.packetdrill.script import SystemCall

FREE = Costs(**{field.name: 0 for field in fields(Costs) if field.name != "slice"})
TCP_INFO_SIZE = 256


class Call:
    """One system call under way. `error` is what it got wrong, `unsupported` what the runner does not know."""

    def __init__(self, work: Callable[[Any], None]) -> None:
        self.work = work
        self.finished = False
        self.finished_at = 0
        self.error: str | None = None
        self.unsupported: str | None = None


class Recorder:
    """A device of bare IP packets: keeps what the stack sends, hands over what the script injects."""

    def __init__(self, mtu: int, sent: Callable[[int, bytes], None]) -> None:
        self.name = "tun0"
        self.mac: bytes | None = None
        self.mtu = mtu
        self.gso = True
        self.on_receive: Callable[[], None] | None = None
        self.counters = new_counters()
        self.waiting: deque[Frame] = deque()
        self.sent = sent

    def fileno(self) -> int | None:
        return None

    def receive(self, budget: int) -> list[Frame]:
        out: list[Frame] = []
        while self.waiting and len(out) < budget:
            out.append(self.waiting.popleft())
        return out

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        for frame in frames:
            for image in frame.segments():
                self.sent(now, image)

    def inject(self, image: bytes) -> None:
        self.waiting.append(Frame.of(image, ethernet=False))
        if self.on_receive is not None and len(self.waiting) == 1:
            self.on_receive()

    def close(self) -> None:
        self.waiting.clear()


class Host:
    """Machine, device and process of one run. `sent` is what no event has claimed yet; `history` is everything."""

    def __init__(self, ends: Endpoints, mtu: int, settings: dict[str, str], route: Route) -> None:
        self.ends = ends
        self.sent: deque[tuple[int, bytes]] = deque()
        self.history: list[tuple[int, str, bytes]] = []
        self.timeline = VirtualTimeline(seed=0)
        own = Settings()
        for name, value in settings.items():
            own.set(name, value)
        self.machine = Machine("packetdrill", self.timeline, settings=own, costs=FREE)
        self.device = Recorder(mtu, self._sent)
        prefix = 64 if ends.v6 else 16
        self.machine.attach(self.device, f"{ends.local}/{prefix}", name=self.device.name)
        self.update_route(route, first=True)
        self.inbox: deque[Call] = deque()
        self.bell = WaitQueue()
        self.caller: Caller | None = None
        self.machine.spawn(self._process)
        self.timeline.run(0)

    def _sent(self, now: int, image: bytes) -> None:
        self.sent.append((now, image))
        self.history.append((now, "out", image))

    def _process(self, sys: Any) -> None:
        """The process under test: makes the calls it is given, one after the other."""
        self.caller = Caller(sys, self.ends)
        sys.rt_sigaction(abi.SIGPIPE, abi.SIG_IGN)
        while True:
            while not self.inbox:
                self.bell.sleep(sys._task)
            call = self.inbox.popleft()
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
        everywhere = "::/0" if self.ends.v6 else "0.0.0.0/0"
        stack = self.machine.stack
        if not first:
            stack.remove_route(everywhere)
        metrics: dict[str, Any] = {}
        for name, value in route.attributes.items():
            if isinstance(value, int) and not isinstance(value, bool):
                metrics[name] = value // 1_000_000 if name in ("rto_min", "rtt", "rttvar") else value
            elif name == "features":
                metrics["features"] = 1 if "ecn" in str(value) else 0
        stack.add_route(everywhere, dev=self.device.name, **metrics)

    def set_sysctl(self, name: str, value: str) -> None:
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

    def inject(self, image: bytes) -> None:
        self.history.append((self.now, "in", image))
        self.device.inject(image)
        self.settle()

    def call(self, call: SystemCall) -> Call:
        """Hand a call to the process. It has been made, as far as it does not block, when this returns."""

        def work(sys: Any) -> None:
            assert self.caller is not None
            self.caller.perform(call)

        return self.submit(work)

    def submit(self, work: Callable[[Any], None]) -> Call:
        job = Call(work)
        self.inbox.append(job)
        self.bell.wake()
        self.settle()
        return job

    def tcp_info(self, script_fd: int) -> bytes:
        """struct tcp_info of one of the script's sockets, as getsockopt gives it; b"" for no TCP socket."""
        found: list[bytes] = []

        def work(sys: Any) -> None:
            assert self.caller is not None
            fd = self.caller.fds.get(script_fd, script_fd)
            found.append(bytes(sys.getsockopt(fd, abi.IPPROTO_TCP, abi.TCP_INFO, TCP_INFO_SIZE)))

        self.submit(work)
        return found[0] if found else b""

    def save_capture(self, path: str) -> None:
        """Everything that crossed the device, in order, as pcapng."""
        capture = Pcapng(path)
        interface = capture.add_interface(self.device.name, ethernet=False)
        for now, direction, image in self.history:
            capture.packet(interface, direction, Frame.of(image, ethernet=False), now)
        capture.close()

    def close(self) -> None:
        self.machine.close()
