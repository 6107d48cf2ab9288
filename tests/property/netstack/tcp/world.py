"""A bulk transfer between two stacks across impaired directions of a wire, in virtual time, with any clock.

`Flow` is the transfer: `goodput` in Mbit/s, `sender` (the connection), `duplicates` (what arrived twice, as the
receiver reported them), and what the wire did. With a `tick` all that happens within a tick is seen to happen at its
beginning, and timers fire at the first tick at or after their time.
"""

from __future__ import annotations

import random
from typing import Any

from csrc import Frame
from drivers.clock import SECOND, VirtualTimeline
from drivers.net.direction import Direction
from drivers.net.impairments import Impairments
from netstack.settings import Settings
from netstack.stack import Stack

BLOCK = bytes(65536)


class End:
    """A host: a stack, its timer, and an application that is called after each event."""

    def __init__(self, timeline: VirtualTimeline, number: int, tick: int, settings: dict[str, Any]) -> None:
        self.tick = tick
        self.stack = Stack(random.Random(number), Settings(**settings))
        self.stack.now = 0
        self.stack.add_interface("eth0")
        self.stack.add_address("eth0", f"10.0.0.{number}/24")
        self.timer = timeline.timer(self.fire)
        self.out: Any = None
        self.application: Any = None

    def arrive(self, frames: list[Frame], now: int) -> None:
        for frame in frames:
            self.stack.receive("eth0", frame, now // self.tick * self.tick)
        self.settle(now)

    def fire(self, now: int) -> None:
        self.stack.on_deadline(now // self.tick * self.tick)
        self.settle(now)

    def settle(self, now: int) -> None:
        seen = now // self.tick * self.tick
        self.application(seen)
        frames = [frame for _, frame in self.stack.transmit(seen)]
        if frames:
            self.out.transmit(frames, now)
        deadline = self.stack.next_deadline()
        if deadline is None:
            self.timer.disarm()
        else:
            self.timer.arm(max(-(-deadline // self.tick) * self.tick, now))


class Flow:
    def __init__(
        self, there: dict[str, str], back: dict[str, str], size: int, congestion: str = "cubic", seed: int = 1,
        tick: int = 1, **settings: Any,
    ) -> None:  # fmt: skip
        self.size = size
        self.timeline = VirtualTimeline(seed)
        names = {name.replace("__", "."): value for name, value in settings.items()}
        self.a, self.b = (End(self.timeline, number, tick, names) for number in (1, 2))
        rng = self.timeline.stream("wire")
        self.there = self.a.out = Direction(self.timeline, Impairments(**there), rng.stream("there"), self.b.arrive)
        self.back = self.b.out = Direction(self.timeline, Impairments(**back), rng.stream("back"), self.a.arrive)
        self.a.application, self.b.application = self.write, self.read
        self.listener = self.b.stack.socket(2, 1)
        self.listener.bind(("10.0.0.2", 80))
        self.listener.listen(1)
        self.source = self.a.stack.socket(2, 1)
        self.source.setsockopt(6, 13, congestion.encode())
        self.sink: Any = None
        self.sent = self.received = 0
        self.begin = self.end = -1
        try:
            self.source.connect(("10.0.0.2", 80), 0)
        except BlockingIOError:
            self.a.settle(0)
        self.timeline.run(until=600 * SECOND)
        self.sender = next(c for c in self.a.stack.tcp.table.values() if hasattr(c, "cwnd"))

    def write(self, now: int) -> None:
        if self.begin < 0 and self.source.readiness() & 4:
            self.begin = self.timeline.now
        while self.begin >= 0 and self.sent < self.size:
            try:
                self.sent += self.source.send(BLOCK[: self.size - self.sent], now)
            except BlockingIOError:
                return

    def read(self, now: int) -> None:
        if self.sink is None:
            try:
                self.sink, _ = self.listener.accept(now)
            except BlockingIOError:
                return
        while True:
            try:
                self.received += len(self.sink.recv(1 << 20, now))
            except BlockingIOError:
                break
        if self.received >= self.size:
            self.end = self.timeline.now
            self.timeline.stop()

    @property
    def goodput(self) -> float:
        return self.size * 8e3 / (self.end - self.begin) if self.end > self.begin else 0.0

    @property
    def duplicates(self) -> int:
        heard = self.b.stack.counters.tcpext
        return int(heard.TCPDSACKOldSent + heard.TCPDSACKOfoSent)
