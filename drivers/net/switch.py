"""A learning switch (IEEE 802.1D clause 7.8 to 7.9, without the spanning tree).

It learns behind which port a source address is, forwards to that port, floods what it does not know, and
forgets an address that was silent for the ageing time. The network is assumed to have no loops: with one, a
flooded frame circles for ever.

Each port is reached over a wire of its own, with impairments; the switch itself takes no time. The table is
bounded: when it is full of addresses that are not yet old, new ones are not learnt and their frames are flooded
(as Linux's bridge does).
"""

from __future__ import annotations

from collections.abc import Callable

from csrc.frame import Frame
from drivers.clock import SECOND, Stream, Timeline
from drivers.net.impairments import Impairments
from drivers.net.wire import Port, Wire

AGEING = 300 * SECOND
REFRESH = SECOND
"""An entry's age is kept to this precision, so that a busy sender costs no table update per frame."""
RESERVED = bytes.fromhex("0180c20000")
"""01:80:C2:00:00:00 to 0F: for the switch itself, never forwarded."""
BATCH = 64
COUNTERS = ("forwarded", "flooded", "filtered", "invalid", "learnt", "aged", "table_full")


class Switch:
    """Any number of ports. `attach` gives the host's end of a new one."""

    __slots__ = ("_rng", "_table", "_timeline", "ageing_ns", "counters", "name", "table_size", "wires")

    def __init__(
        self,
        timeline: Timeline,
        name: str = "switch",
        *,
        ageing_ns: int = AGEING,
        table_size: int = 4096,
        rng: Stream | None = None,
    ) -> None:
        self.name = name
        self.ageing_ns = ageing_ns
        self.table_size = table_size
        self.wires: list[Wire] = []
        self.counters = dict.fromkeys(COUNTERS, 0)
        self._timeline = timeline
        self._rng = rng if rng is not None else timeline.stream(f"switch/{name}")
        self._table: dict[bytes, tuple[int, int]] = {}  # address -> (port, last heard); the longest silent first

    def attach(
        self, mac: bytes, to_switch: Impairments | None = None, from_switch: Impairments | None = None, mtu: int = 1500
    ) -> Port:
        """A new port: a NetDevice with that address for the host, at the end of a cable to the switch."""
        number = len(self.wires)
        name = f"{self.name}.{number}"
        rng = self._rng.stream(str(number))
        wire = Wire(self._timeline, to_switch, from_switch, name=name, macs=(mac, None), mtu=mtu, rng=rng)
        self.wires.append(wire)
        wire.b.on_receive = self._receiver(number)
        return wire.a

    def where(self, address: bytes) -> int | None:
        """The port behind which the address was last heard, if that is not too long ago."""
        entry = self._table.get(address)
        if entry is None or self._timeline.now - entry[1] > self.ageing_ns:
            return None
        return entry[0]

    def close(self) -> None:
        """Pull every cable."""
        for wire in self.wires:
            wire.close()

    def _receiver(self, number: int) -> Callable[[], None]:
        port = self.wires[number].b

        def ready() -> None:
            while frames := port.receive(BATCH):
                for frame in frames:
                    self._forward(number, frame, self._timeline.now)

        return ready

    def _forward(self, number: int, frame: Frame, now: int) -> None:
        header = bytes(frame.data[:12])
        target, source = header[:6], header[6:]
        if frame.length < 14 or source[0] & 1 or (target[:5] == RESERVED and target[5] < 16):
            self.counters["invalid"] += 1
            return
        self._learn(source, number, now)
        if not target[0] & 1:
            out = self.where(target)
            if out == number:
                self.counters["filtered"] += 1
                return
            if out is not None:
                self.counters["forwarded"] += 1
                self.wires[out].b.transmit((frame,), now)
                return
        self.counters["flooded"] += 1
        for other, wire in enumerate(self.wires):
            if other != number:
                wire.b.transmit((frame,), now)

    def _learn(self, source: bytes, number: int, now: int) -> None:
        table = self._table
        entry = table.get(source)
        if entry is not None:
            if entry[0] == number and now - entry[1] < REFRESH:
                return
            del table[source]
        elif len(table) >= self.table_size:
            oldest = next(iter(table))
            if now - table[oldest][1] <= self.ageing_ns:
                self.counters["table_full"] += 1
                return
            del table[oldest]
            self.counters["aged"] += 1
        if entry is None:
            self.counters["learnt"] += 1
        table[source] = (number, now)
