"""How frames get from a simulated device to the stack: by interrupt, by interrupt and polling, or by polling alone.

An interrupt has two halves. The top half only notes that the device wants something (`costs.interrupt`). The deferred
half (a softirq, as Linux calls it) does the protocols' work (`costs.packet` a frame), with interrupts enabled, on the
CPU that took the interrupt; its time is nobody's but is taken from whoever runs there.

- NAPI, the default: while there are frames the device does not interrupt again; they are taken in batches of 64. When
  that has gone on for 2 ms beside a task that wants the CPU, the rest is left to `ksoftirqd`, a thread that competes
  for the CPU like any other. So a flood slows a machine and does not stop it.
- INTERRUPT: an interrupt for each frame, as devices of old. Under a flood the machine does nothing else (receive
  livelock: Mogul and Ramakrishnan 1997).
- POLL: the device never interrupts. It is looked at every `period_ns` (`costs.poll`, frames or not), and at most
  `budget` frames are taken each time; what overflows its ring meanwhile is lost before any work was done for it. A
  machine that polls never falls asleep for ever.

The whole cost of a batch elapses before the stack sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csrc.frame import Frame
    from kernel.net.netif import NetIf
    from kernel.task import Task

BATCH = 64
"""Frames taken from a device at once (Linux's NAPI weight)."""
SOFTIRQ_NS = 2_000_000
"""So long may a softirq go on beside a task that wants the CPU."""
NAPI, INTERRUPT, POLL = "napi", "interrupt", "poll"
MODES = (NAPI, INTERRUPT, POLL)
PERIOD_NS = 50_000


class Napi:
    """The receiving side of one simulated device."""

    __slots__ = (
        "budget", "busy", "counters", "device", "interface", "mode", "network", "period_ns", "spent", "timer",
        "waiting",
    )  # fmt: skip

    def __init__(self, interface: NetIf) -> None:
        self.interface = interface
        self.device = interface.device
        self.network = interface.network
        self.mode = NAPI
        self.budget = BATCH
        self.period_ns = PERIOD_NS
        self.busy = False
        """Frames are being taken, so the device does not interrupt."""
        self.spent = 0
        """Time that this softirq has taken without a pause."""
        self.waiting: list[Frame] | None = None
        self.counters = {"interrupts": 0, "polls": 0, "empty_polls": 0, "deferred": 0}
        self.timer = self.network.machine.timeline.timer(self._serve)

    def set_mode(self, mode: str, budget: int = BATCH, period_ns: int = PERIOD_NS) -> None:
        """Another way of receiving from now on: NAPI, INTERRUPT or POLL with its budget and period. ValueError."""
        if mode not in MODES:
            raise ValueError(f"no way of receiving {mode!r}: there are {', '.join(MODES)}")
        if budget < 1 or period_ns < 1:
            raise ValueError("a budget and a period are at least 1")
        self.mode = mode
        self.budget = budget
        self.period_ns = period_ns
        if mode == POLL and not self.busy:
            self.busy = True
            self.timer.arm(self.network.timeline.now + period_ns)

    # ---- the top half ----

    def interrupt(self) -> None:
        """The interrupt line. The deferred half runs when its cost has elapsed."""
        if self.busy:
            return
        self.busy = True
        self.spent = 0
        self._raise()

    def _raise(self) -> None:
        """An interrupt and the work for its first frame."""
        network = self.network
        self.counters["interrupts"] += 1
        network.cpu.steal(network.interrupt_ns, network.packet_ns)
        at = network.timeline.now + network.interrupt_ns
        if network.reach(at):
            self._serve(at)
        else:
            self.timer.arm(at)

    # ---- the deferred half ----

    def _serve(self, now: int) -> None:
        """Take a batch. One frame's work is paid for; the batch waits until that of the others has elapsed too."""
        if self.mode == POLL:
            self._poll(now)
            return
        frames = self.waiting
        if frames is None:
            frames = self.device.receive(BATCH if self.mode == NAPI else 1)
            if len(frames) > 1 and self.network.virtual:
                self._pay(frames, self.network.packet_ns * (len(frames) - 1), now)
                return
        self.waiting = None
        if frames:
            self.interface.up(frames, now)
        if self.mode == INTERRUPT:
            if waits(self.device):
                self._raise()
            else:
                self.busy = False
            return
        if self.spent >= SOFTIRQ_NS and self.network.cpu.current is not None:
            self.counters["deferred"] += 1
            self.network.ksoftirqd().give(self._drain)
            return
        more = self.device.receive(BATCH)
        if more:  # it was never empty in between, so nobody will interrupt for these
            self._pay(more, self.network.packet_ns * len(more), now)
        else:
            self.busy = False

    def _pay(self, frames: list[Frame], cost: int, now: int) -> None:
        """The frames go up when their work has been paid for."""
        self.waiting = frames
        self.spent += cost
        self.network.cpu.steal(cost, cost)
        self.timer.arm(now + cost)

    def _drain(self, task: Task) -> None:
        """In ksoftirqd: until the device has no more."""
        packet_ns, timeline = self.network.packet_ns, self.network.timeline
        while frames := self.device.receive(BATCH):
            task.spend(packet_ns * len(frames))
            self.interface.up(frames, timeline.now)
        self.busy = False
        if self.mode == POLL:
            self.set_mode(POLL, self.budget, self.period_ns)

    def _poll(self, now: int) -> None:
        """POLL: either the frames of the last look have been paid for, or it is time for the next."""
        frames, self.waiting = self.waiting, None
        if frames is None:
            frames = self.device.receive(self.budget)
            self.counters["polls"] += 1
            cost = self.network.machine.costs.poll + self.network.packet_ns * len(frames)
            self.network.cpu.steal(cost, cost)
            if frames:
                self.waiting = frames
                self.timer.arm(now + cost)
                return
            self.counters["empty_polls"] += 1
        else:
            self.interface.up(frames, now)
        self.timer.arm((now // self.period_ns + 1) * self.period_ns)

    def close(self) -> None:
        self.timer.disarm()
        self.device.on_receive = None


def waits(device: object) -> bool:
    """Whether frames wait in a device that can say so."""
    waiting = getattr(device, "waiting", None)
    return bool(waiting is not None and waiting(0)[0])
