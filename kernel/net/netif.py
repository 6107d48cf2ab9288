"""Network interfaces: devices bound to the stack.

A simulated device raises its interrupt when its receive queue stops being empty. The interrupt takes a CPU (it is
stolen from whoever runs there), and after its published cost the waiting frames are taken as one batch: each costs
protocol work, which also elapses before the batch goes up the stack. Meanwhile the device does not interrupt again. A
real device has a descriptor that the timeline watches, and its batches are handled as they come.

What has arrived is older than what falls due: the stack's deadlines are met after the frames that wait in real devices
were taken, or a process that did not run for a few milliseconds would retransmit what the peer has long acknowledged.

After everything that may have made the stack want to send or changed its timers, `drive` hands its frames to the
devices, one batch per device, and sets the one timer that follows `stack.next_deadline()`. Captures see both
directions here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csrc.frame import Frame
from drivers.capture import Pcapng
from drivers.clock import RealTimeline, VirtualTimeline
from drivers.net.wire import Port
from kernel.net.napi import NAPI, Napi
from kernel.net.overload import CROWD, Overload
from kernel.sched.kthread import Worker

if TYPE_CHECKING:
    from drivers.net.device import NetDevice
    from kernel.machine import Machine

Capture = Any  # a Pcapng, or whoever listens to frames as one does

REAL_BATCH = 270
"""Real time: wire frames taken at once: six super-segments."""
REAL_BATCHES = 2
"""Real time: batches taken before everybody else has a turn."""
REAL_ROUNDS = 8
"""Real time: how often a device is looked at before the timeline asks for all descriptors again. What was answered is
often answered at once, and a read that finds nothing costs less than the question which descriptor is ready.
"""


def never(to_ns: int) -> bool:
    """In real time nobody moves the clock."""
    return False


class NetIf:
    """One device of a machine."""

    __slots__ = ("captures", "device", "fd", "name", "napi", "network", "overload", "real")

    def __init__(self, network: Network, name: str, device: NetDevice) -> None:
        self.network = network
        self.name = name
        self.device = device
        self.captures: list[tuple[Capture, int]] = []
        self.overload = Overload(self)
        self.napi = Napi(self)
        self.fd = device.fileno()
        timeline = network.machine.timeline
        self.real = self.fd is not None and isinstance(timeline, RealTimeline)
        if self.fd is not None and isinstance(timeline, RealTimeline):
            timeline.watch(self.fd, self._readable)
            self._thin_acks(True)
        else:
            device.on_receive = self.napi.interrupt
            if isinstance(timeline, VirtualTimeline) and isinstance(device, Port):
                device.on_arrival = self._arrival

    # ---- simulated devices ----

    def _arrival(self, frames: list[Frame], now: int) -> bool:
        """One frame for an idle CPU, and nothing happens anywhere while the interrupt and the frame are paid for: what
        `napi` would do, in one event.
        """
        network = self.network
        cpu = network.cpu
        if self.napi.busy or len(frames) != 1 or cpu.current is not None:
            return False
        at = now + network.interrupt_ns
        if not network.reach(at):
            return False
        cpu.interrupt_ns += network.interrupt_ns
        cpu.softirq_ns += network.packet_ns
        self.napi.counters["interrupts"] += 1
        busy_until = cpu.busy_until
        cpu.busy_until = at if now > busy_until else busy_until + network.interrupt_ns
        self.up(frames, at)
        return True

    def set_mode(self, mode: str, budget: int = 64, period_ns: int = 50_000) -> None:
        """How a simulated device is received from: "napi", "interrupt" or "poll" (kernel/net/napi.py)."""
        if self.real:
            raise ValueError(f"{self.name} is a real device: the timeline waits for it")
        if isinstance(self.device, Port):
            self.device.on_arrival = self._arrival if mode == NAPI and self.network.virtual else None
        self.napi.set_mode(mode, budget, period_ns)

    # ---- real devices ----

    def _thin_acks(self, on: bool) -> None:
        """Let a device that can spare us acknowledgements that newer ones supersede do so."""
        thin = getattr(self.device, "thin_acks", None)
        if thin is not None:
            thin(on)

    def add_capture(self, capture: Capture, ident: int) -> None:
        """From now on every frame is written, so every one has to be seen."""
        self.overload.lower()
        self.captures.append((capture, ident))
        self._thin_acks(False)

    def take_in(self, now: int) -> None:
        """What waits in a real device goes up the stack before a deadline does its work."""
        if self.real:
            self._take(now)

    def _readable(self, now: int) -> None:
        """The interrupt: what waits goes up the stack, then whoever that has woken runs, and what they did not answer
        is acknowledged.
        """
        network = self.network
        scheduler, tcp, timeline = network.scheduler, network.stack.tcp, network.timeline
        assert isinstance(timeline, RealTimeline)
        for _ in range(REAL_ROUNDS):
            scheduler.woken = []
            told = tcp.told = []
            taken = False
            try:
                taken = self._take(now)
            finally:
                tcp.told = None
                scheduler.after_interrupt()
                if told:
                    tcp.told = told
                    tcp.settle(timeline.now)
                    network.drive()
            now = timeline.now
            if not taken or not timeline.idle(now):
                return

    def _take(self, now: int) -> bool:
        """Whether there was something, and now is not."""
        overload = self.overload
        if overload.raised:
            overload.readable(now, REAL_BATCH)
            return False
        device, timeline = self.device, self.network.timeline
        for _ in range(REAL_BATCHES):
            frames = device.receive(REAL_BATCH)
            if not frames:
                return False
            self.up(frames, now)
            segs = 0
            for frame in frames:
                segs += frame.gso_segs
            if segs < REAL_BATCH or len(frames) == 1:
                return True  # it was emptied
            if len(frames) >= CROWD:
                overload.crowd(now)
                if overload.raised:  # it has to be told of the flows before it looks at the next frame
                    overload.readable(timeline.now, REAL_BATCH)
                    return False
            now = timeline.now  # the next batch may have come while this one was worked on
        return False

    # ---- both ----

    def up(self, frames: list[Frame], now: int) -> None:
        network = self.network
        for capture, ident in self.captures:
            for frame in frames:
                capture.packet(ident, "in", frame, now)
        stack, name = network.stack, self.name
        stack.tcp.batch = len(frames) > 1
        for frame in frames:
            stack.receive(name, frame, now)
        network.drive()

    def down(self, frames: list[Frame], now: int) -> None:
        """Hand a batch to the device."""
        for frame in frames:
            frame.timestamp_ns = now
        for capture, ident in self.captures:
            for frame in frames:
                if not frame.gso_size:
                    frame.complete()  # once for all who want to see the image
                capture.packet(ident, "out", frame, now)
        self.device.transmit(frames, now)

    def close(self) -> None:
        timeline = self.network.machine.timeline
        self.napi.close()
        if self.fd is not None and isinstance(timeline, RealTimeline):
            timeline.unwatch(self.fd)
        self.device.close()


class Network:
    """The devices of a machine and the timer of its stack."""

    __slots__ = (
        "_driving", "_ksoftirqd", "copy_kib", "cpu", "deadlines", "heap", "interfaces", "interrupt_ns", "machine",
        "packet_ns", "reach", "scheduler", "stack", "timeline", "timer", "transmit_ns", "unsent", "virtual",
    )  # fmt: skip

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.timeline = machine.timeline
        self.reach = machine.timeline.reach if isinstance(machine.timeline, VirtualTimeline) else never
        self.stack = machine.stack
        self.deadlines = machine.stack.timers.next_deadline
        self.heap = machine.stack.timers.heap
        self.interfaces: dict[str, NetIf] = {}
        self.scheduler = machine.scheduler
        self.cpu = machine.scheduler.cpus[0]
        """The CPU that takes the interrupts."""
        self.timer = machine.timeline.timer(self._deadline)
        self._driving = False
        self.virtual = machine.scheduler.virtual
        self.interrupt_ns = machine.costs.interrupt + machine.costs.packet if self.virtual else 0
        """What an interrupt and its first frame cost."""
        self.packet_ns = machine.costs.packet if self.virtual else 0
        self._ksoftirqd: Worker | None = None
        self.transmit_ns = machine.costs.transmit
        self.copy_kib = machine.costs.copy_kib
        self.unsent = False
        """Whether an outgoing queue of the stack is not empty."""
        machine.stack.on_output = self._output
        self.tuned()

    def attach(self, device: NetDevice, *addresses: str, name: str | None = None) -> NetIf:
        """Bind a device, as interface `name` (eth0, eth1, ... by default), with these addresses."""
        name = name or f"eth{len(self.interfaces)}"
        mac = ":".join(f"{byte:02x}" for byte in device.mac) if device.mac is not None else None
        self.machine.stack.add_interface(name, mac=mac, mtu=device.mtu, gso=device.gso)
        for address in addresses:
            self.machine.stack.add_address(name, address)
        interface = self.interfaces[name] = NetIf(self, name, device)
        return interface

    def tuned(self) -> None:
        """Settings have changed: net.core.busy_poll, in us, is how long a wait of real time looks before it sleeps."""
        timeline = self.timeline
        if isinstance(timeline, RealTimeline):
            timeline.spin_ns = self.stack.settings.busy_poll * 1_000
            timeline.eager = True

    def ksoftirqd(self) -> Worker:
        """The thread that takes over when there is too much to receive; made when first needed."""
        if self._ksoftirqd is None:
            self._ksoftirqd = Worker(self.machine, f"ksoftirqd/{self.cpu.id}", self.cpu.id)
        return self._ksoftirqd

    def capture(self, name: str, capture: Pcapng) -> None:
        """Write every frame of that interface, both ways."""
        interface = self.interfaces[name]
        ident = capture.add_interface(name, ethernet=interface.device.mac is not None)
        interface.add_capture(capture, ident)

    def drive(self) -> None:
        """Send what the stack wants to send and follow its deadline. After every user call on a socket."""
        if self._driving:
            return
        timer, stack = self.timer, self.stack
        if self.virtual:
            stack.now = now = self.timeline.now
            if self.unsent:
                self._transmit(now)
                deadline = stack.next_deadline()
            else:
                deadline = self.deadlines()
        else:
            if self.unsent:
                self._transmit(self.timeline.now)
            armed = timer.deadline
            if not self.unsent and armed is not None:
                # No deadline is met late; a timer that goes off for one that has moved or is no more does no harm.
                heap = self.heap
                if not heap:
                    return
                first: int = heap[0][0]
                if armed <= first:
                    return
            stack.now = self.timeline.now
            deadline = stack.next_deadline()
        if timer.deadline != deadline:
            if deadline is not None:
                timer.arm(deadline)
            else:
                timer.disarm()

    def _output(self) -> None:
        """The stack has something to send."""
        self.unsent = True

    def _transmit(self, now: int) -> None:
        """Everything that waits to be sent goes to the devices, one batch for each."""
        stack, scheduler = self.stack, self.scheduler
        self._driving = True
        try:
            self.unsent = False
            cost = self.transmit_ns
            for name, batch in stack.batches(now):
                if scheduler.running is not None:
                    scheduler.meter.owe(cost * len(batch))
                elif self.virtual:
                    self.cpu.steal(cost * len(batch))
                interface = self.interfaces.get(name)
                if interface is not None:
                    interface.down(batch, now)
        finally:
            self._driving = False
            if stack.loopback.queue:  # more than one turn may deliver
                self.unsent = True

    def _deadline(self, now: int) -> None:
        machine = self.machine
        self.cpu.steal(machine.costs.timer)
        for interface in self.interfaces.values():
            interface.take_in(now)
        machine.stack.on_deadline(now)
        self.drive()

    def in_flight(self) -> int:
        """Frames that devices have taken and not put on their wires yet: those that delay them say how many."""
        return sum(getattr(interface.device, "in_flight", 0) for interface in self.interfaces.values())

    def close(self) -> None:
        """Let go of every device."""
        self.timer.disarm()
        for interface in self.interfaces.values():
            interface.close()
