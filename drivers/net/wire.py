"""A cable between two network devices, with a link model of its own in each direction.

`Wire(timeline, a_to_b, b_to_a)` has the ports `a` and `b`. What one transmits the other receives, after what
the direction (drivers/net/direction.py) does to it; always later, never inside `transmit`. A super-segment
travels as its wire frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from csrc.frame import Frame
from drivers.clock import Stream, Timeline
from drivers.net.device import new_counters
from drivers.net.direction import Direction
from drivers.net.impairments import Impairments

RING = 4096
"""Frames a port holds for a receiver that does not come, as a NIC's receive ring."""
LINK_HEADER = 18
"""An Ethernet header with a VLAN tag: what a frame may have beyond the MTU."""


class Port:
    """One end of a wire: a NetDevice."""

    __slots__ = (
        "_missed", "_missed_bytes", "_ring", "_unsent", "closed", "gso", "incoming", "link", "mac", "mtu", "name",
        "on_arrival", "on_receive", "ring_size",
    )  # fmt: skip

    link: Direction
    """The direction that leads away from this port."""
    incoming: Direction
    """The direction that leads to it."""

    def __init__(self, name: str, mac: bytes | None, mtu: int, ring_size: int = RING) -> None:
        self.name = name
        self.mac = mac
        self.mtu = mtu
        self.gso = True
        self.on_receive: Callable[[], None] | None = None
        self.on_arrival: Callable[[list[Frame], int], bool] | None = None
        """Asked first when frames arrive at an empty ring: True when they were taken and need not wait in it."""
        self._missed = self._missed_bytes = self._unsent = 0
        self.ring_size = ring_size
        self.closed = False
        self._ring: deque[Frame] = deque()

    def fileno(self) -> int | None:
        return None

    def receive(self, budget: int) -> list[Frame]:
        ring = self._ring
        if not ring:
            return []
        if len(ring) <= budget:
            batch = list(ring)
            ring.clear()
            return batch
        return [ring.popleft() for _ in range(budget)]

    def waiting(self, now: int) -> tuple[int, int]:
        """How many frames wait to be received, and how many for their turn on the cable."""
        return len(self._ring), self.link.waiting(now)

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        if self.closed:
            self._unsent += len(frames)
        else:
            self.link.transmit(frames, now)

    def arrived(self, frames: list[Frame], now: int) -> None:
        """The far direction delivers here."""
        ring = self._ring
        if not ring and self.on_arrival is not None and self.on_arrival(frames, now):
            return
        if self.closed or len(ring) + len(frames) > self.ring_size:
            room = 0 if self.closed else self.ring_size - len(ring)
            self._missed += len(frames) - room
            self._missed_bytes += sum(frame.length for frame in frames[room:])
            frames = frames[:room]
        if ring:
            ring.extend(frames)
        elif frames:
            ring.extend(frames)
            if self.on_receive is not None:
                self.on_receive()

    @property
    def counters(self) -> dict[str, int]:
        """Made anew; `tx_frames` are those handed to the link, `tx_dropped` those its queue had no room for."""
        link, incoming = self.link, self.incoming
        return new_counters() | {
            "rx_frames": incoming.delivered - self._missed,
            "rx_bytes": incoming.delivered_bytes - self._missed_bytes,
            "rx_dropped": self._missed,
            "tx_frames": link.offered,
            "tx_bytes": link.offered_bytes,
            "tx_dropped": link.overflowed + self._unsent,
            "tx_errors": link.refused,
        }

    def close(self) -> None:
        self.closed = True
        self.on_receive = self.on_arrival = None
        self._ring.clear()

    def __repr__(self) -> str:
        return f"<Port {self.name}>"


class Wire:
    """Two ports and the two directions between them. `b_to_a` None: the same as `a_to_b`.

    The draws come from `rng`, by default the timeline's stream "wire/NAME": give wires on one timeline
    different names. A `mac` of None makes a wire of bare IP packets.
    """

    __slots__ = ("a", "a_to_b", "b", "b_to_a", "name")

    def __init__(
        self,
        timeline: Timeline,
        a_to_b: Impairments | None = None,
        b_to_a: Impairments | None = None,
        *,
        name: str = "wire",
        macs: tuple[bytes | None, bytes | None] = (None, None),
        mtu: int = 1500,
        rng: Stream | None = None,
    ) -> None:
        a_to_b = a_to_b if a_to_b is not None else Impairments()
        b_to_a = b_to_a if b_to_a is not None else a_to_b
        rng = rng if rng is not None else timeline.stream(f"wire/{name}")
        self.name = name
        self.a = Port(f"{name}.a", macs[0], mtu)
        self.b = Port(f"{name}.b", macs[1], mtu)
        longest = mtu + LINK_HEADER
        self.a_to_b = Direction(timeline, a_to_b, rng.stream("a_to_b"), self.b.arrived, longest)
        self.b_to_a = Direction(timeline, b_to_a, rng.stream("b_to_a"), self.a.arrived, longest)
        self.a.link = self.b.incoming = self.a_to_b
        self.b.link = self.a.incoming = self.b_to_a

    def change(self, a_to_b: Impairments, b_to_a: Impairments | None = None) -> None:
        """Other impairments from now on; what is under way arrives as decided."""
        self.a_to_b.change(a_to_b)
        self.b_to_a.change(b_to_a if b_to_a is not None else a_to_b)

    def close(self) -> None:
        """Both ports close and what is under way is lost."""
        self.a.close()
        self.b.close()
        self.a_to_b.clear()
        self.b_to_a.clear()
