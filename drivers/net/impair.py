"""Impairments in front of real devices, in real time: what netem is to a kernel.

`impair(device, ...)` is a device that delays, drops and reorders what goes out and what comes in, per frame on
the wire, with the model of simulated wires (drivers/net/direction.py). `Joined` carries frames between two
devices, as a cable would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from csrc.frame import Frame
from drivers.clock import RealTimeline, Stream, Timeline
from drivers.net.device import NetDevice
from drivers.net.direction import Direction
from drivers.net.impairments import Impairments
from drivers.net.wire import LINK_HEADER, RING

BATCH = 64
RELAYED = 720  # wire frames at once where nothing is done to them: sixteen super-segments
LONGEST = (1 << 16) + LINK_HEADER  # a TAP takes frames of any length, whatever its MTU


class Impaired:
    """A NetDevice around a NetDevice.

    Its descriptor is the inner device's: when that is readable, call `receive`, which takes what has come in
    and gives what has arrived by now, perhaps nothing. What arrives later is announced by
    `on_receive`, or, when that is not set, through the timeline to whoever watches the descriptor. They are told
    again of what a call leaves behind, as of a descriptor that is readable until all has been read.
    """

    __slots__ = (
        "_left", "_missed", "_receiving", "_ring", "_timeline", "device", "gso", "in_", "mac", "mtu", "name",
        "on_receive", "out",
    )  # fmt: skip

    def __init__(
        self, device: NetDevice, timeline: Timeline, out: Impairments, in_: Impairments, rng: Stream | None = None,
        streams: tuple[str, str] = ("out", "in"),
    ) -> None:  # fmt: skip
        rng = rng if rng is not None else timeline.stream(f"impair/{device.name}")
        self.device = device
        self.name = device.name
        self.mac = device.mac
        self.mtu = device.mtu
        self.gso = True  # split here
        self.on_receive: Callable[[], None] | None = None
        self._timeline = timeline
        self._ring: deque[Frame] = deque()
        self._missed = 0
        self._receiving = False
        self._left = timeline.timer(self._left_behind)
        longest = device.mtu + LINK_HEADER
        self.out = Direction(timeline, out, rng.stream(streams[0]), device.transmit, longest)
        self.in_ = Direction(timeline, in_, rng.stream(streams[1]), self._arrived, longest)
        if device.fileno() is None:
            device.on_receive = self._take_in

    def fileno(self) -> int | None:
        return self.device.fileno()

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        self.out.transmit(frames, now)
        self.out.settle(now)

    def receive(self, budget: int) -> list[Frame]:
        self._receiving = True
        try:
            frames = self.device.receive(budget)
            if frames:
                now = self._timeline.now
                self.in_.transmit(frames, now)
                self.in_.settle(now)
        finally:
            self._receiving = False
        ring = self._ring
        if len(ring) > budget and self.on_receive is None and isinstance(self._timeline, RealTimeline):
            self._left.arm(self._timeline.now)
        return [ring.popleft() for _ in range(min(budget, len(ring)))]

    def _left_behind(self, now: int) -> None:
        if self._ring:
            self._announce()

    def _announce(self) -> None:
        if isinstance(self._timeline, RealTimeline) and (fd := self.device.fileno()) is not None:
            self._timeline.announce(fd)

    def _take_in(self) -> None:
        """A simulated inner device has frames: take them all."""
        while frames := self.device.receive(BATCH):
            self.in_.transmit(frames, self._timeline.now)

    def _arrived(self, frames: list[Frame], now: int) -> None:
        ring = self._ring
        idle = not ring
        room = RING - len(ring)
        if len(frames) > room:
            self._missed += len(frames) - room
            frames = frames[:room]
        ring.extend(frames)
        if not idle or not frames or self._receiving:
            return
        if self.on_receive is not None:
            self.on_receive()
        else:
            self._announce()

    @property
    def in_flight(self) -> int:
        """Frames that were transmitted and have not left yet."""
        return self.out.in_flight

    @property
    def counters(self) -> dict[str, int]:
        """The inner device's, and what the impairments did, as `out_lost`, `in_reordered` and so on."""
        found = dict(self.device.counters)
        found["rx_dropped"] = found.get("rx_dropped", 0) + self._missed
        for way, direction in (("out", self.out), ("in", self.in_)):
            for name, count in direction.counters.items():
                found[f"{way}_{name}"] = count
        return found

    def close(self) -> None:
        self.out.clear()
        self.in_.clear()
        self._ring.clear()
        self._left.disarm()
        self.on_receive = None
        self.device.close()


def impair(
    device: NetDevice, timeline: Timeline, out: Impairments, in_: Impairments | None = None, rng: Stream | None = None
) -> Impaired:
    """The device with impairments in front of it; `in_` None: the same as `out`, with draws of its own."""
    return Impaired(device, timeline, out, in_ if in_ is not None else out, rng)


def far_end(
    device: NetDevice, timeline: Timeline, a_to_b: Impairments, b_to_a: Impairments | None = None,
    rng: Stream | None = None,
) -> NetDevice:  # fmt: skip
    """A cable behind `device`, with whoever binds what is returned at its other end, where `Joined` has a second
    device. With one `rng` the n-th frame of a direction has the same fate in both. Without impairments it is the
    device itself.
    """
    b_to_a = b_to_a if b_to_a is not None else a_to_b
    if a_to_b.passes and b_to_a.passes:
        return device
    rng = rng if rng is not None else timeline.stream(f"wire/{device.name}")
    return Impaired(device, timeline, b_to_a, a_to_b, rng, ("b_to_a", "a_to_b"))


class Joined:
    """Two real devices with a link between them: what one receives the other transmits, impaired, while the
    timeline runs. Where nothing is to be done to the frames, super-segments pass whole, as through a veth pair.
    """

    __slots__ = ("_timeline", "a", "a_to_b", "b", "b_to_a")

    def __init__(
        self,
        timeline: RealTimeline,
        a: NetDevice,
        b: NetDevice,
        a_to_b: Impairments,
        b_to_a: Impairments | None = None,
        rng: Stream | None = None,
    ) -> None:
        rng = rng if rng is not None else timeline.stream(f"wire/{a.name}/{b.name}")
        self._timeline = timeline
        self.a, self.b = a, b
        self.a_to_b = Direction(timeline, a_to_b, rng.stream("a_to_b"), b.transmit, LONGEST)
        back = b_to_a if b_to_a is not None else a_to_b
        self.b_to_a = Direction(timeline, back, rng.stream("b_to_a"), a.transmit, LONGEST)
        for device, direction in ((a, self.a_to_b), (b, self.b_to_a)):
            fd = device.fileno()
            if fd is None:
                raise ValueError(f"{device.name} has no descriptor to wait for: Joined is for real devices, use Wire")
            timeline.watch(fd, lambda now, device=device, direction=direction: carry(device, direction, now))  # type: ignore[misc]

    def close(self) -> None:
        """Stop carrying. The devices stay open: they are the caller's."""
        for device in (self.a, self.b):
            fd = device.fileno()
            if fd is not None:
                self._timeline.unwatch(fd)
        self.a_to_b.clear()
        self.b_to_a.clear()


def carry(device: NetDevice, direction: Direction, now: int) -> None:
    """Offer one batch of what the device has received."""
    if direction.impairments.passes and not direction.in_flight:
        direction.relay(device.receive(RELAYED), now)
        return
    frames = device.receive(BATCH)
    if frames:
        direction.transmit(frames, now)
        direction.settle(now)
