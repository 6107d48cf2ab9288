"""With ACKs lost some data that arrived is sent again, and it cannot be helped: a receiver reports the three blocks
that changed last (RFC 2018 section 4), so what only lost ACKs have told of a sender takes for lost, with the holes
around it. What an ACK that came has told of is never sent again (RFC 6675 section 4, NextSeg)."""

from __future__ import annotations

import struct
from typing import Any, ClassVar

import pytest

from csrc import Frame
from drivers.clock import VirtualTimeline
from netstack.tcp.seq import MASK
from netstack.tcp.tcb import MS
from tests.property.netstack.tcp import world

SIZE = 550_000
OVERFLOWS = {"delay": "10ms", "rate": "20Mbit", "queue": "50"}
"""Slow start ends in a full queue, which takes every other pair of segments: more blocks than an ACK can report."""
SEEDS = range(40)


def tcp(frame: Frame) -> tuple[int, int, int, list[tuple[int, int]]]:
    """Sequence number, length of data, acknowledgment number, SACK blocks; of an IPv4 packet with TCP."""
    data = bytes(frame.data)
    assert (data[0] >> 4, data[9]) == (4, 6)
    at = 4 * (data[0] & 15)
    begin = at + 4 * (data[at + 12] >> 4)
    seq, ack = struct.unpack_from("!II", data, at + 4)
    options, blocks = data[at + 20 : begin], []
    while options and options[0]:
        size = 1 if options[0] == 1 else options[1]
        if options[0] == 5:
            blocks = [(left, right) for left, right in struct.iter_unpack("!II", options[2:size])]
        options = options[size:]
    return seq, len(data) - begin, ack, blocks


class Watched(world.End):
    """A host that keeps count of what ACKs have told, and of what it sent all the same: of the ACKs that came, or, when
    it `overhears`, of those that left the other end. Bytes are counted from the first that is sent.
    """

    ends: ClassVar[dict[int, Watched]] = {}
    overhears: ClassVar[bool] = False

    def __init__(self, timeline: VirtualTimeline, number: int, *args: Any) -> None:
        super().__init__(timeline, number, *args)
        self.ends[number] = self
        self.first = -1
        self.starts: list[int] = []  # of segments
        self.told: set[int] = set()
        self.una = 0
        self.needless: list[int] = []

    def hear(self, frames: list[Frame]) -> None:
        for frame in frames:
            if self.first >= 0:
                _, _, ack, blocks = tcp(frame)
                self.una = max(self.una, (ack - self.first) & MASK)
                for block in blocks:
                    left, right = ((edge - self.first) & MASK for edge in block)
                    self.told.update(at for at in self.starts if left <= at < right)

    def arrive(self, frames: list[Frame], now: int) -> None:
        if not self.overhears:
            self.hear(frames)
        super().arrive(frames, now)

    def transmit(self, frames: list[Frame], now: int) -> None:
        if self.overhears and self is self.ends[2]:
            self.ends[1].hear(frames)
        for frame in frames:
            seq, length, _, _ = tcp(frame)
            if not length:
                continue
            if self.first < 0:
                self.first = seq
            begin = (seq - self.first) & MASK
            for at in range(begin, begin + length, frame.gso_size or length):
                if at in self.told or at < self.una:
                    self.needless.append(at)
                self.starts.append(at)
        self.wire.transmit(frames, now)

    @property
    def out(self) -> Any:
        return self

    @out.setter
    def out(self, wire: Any) -> None:
        self.wire = wire


def flows(loss: str, tick: int, seeds: range = SEEDS) -> tuple[int, int]:
    """How many segments arrived twice, and how many were sent again although an ACK had told of them."""
    duplicates = needless = 0
    for seed in seeds:
        flow = world.Flow(OVERFLOWS, {"delay": "10ms", "loss": loss}, SIZE, "reno", seed, tick)
        assert flow.received == SIZE
        assert flow.sender.total_retrans > 20, "the queue has overflowed"
        duplicates += flow.duplicates
        needless += len(flow.a.needless)  # type: ignore[attr-defined]
    return duplicates, needless


@pytest.mark.parametrize("tick", [1, MS], ids=["exact", "coarse"])
def test_only_what_no_ack_has_told_of_is_sent_again(monkeypatch: pytest.MonkeyPatch, tick: int) -> None:
    monkeypatch.setattr(world, "End", Watched)
    duplicates, needless = flows("20%", tick)
    assert needless == 0
    assert 0 < duplicates < len(SEEDS), "in this path some are sent again, and not many"
    assert flows("0%", tick, SEEDS[:5]) == (0, 0), "with every ACK that comes none is"


def test_what_was_told_and_sent_again_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: had the lost ACKs come, what is sent again would have been known to have arrived."""
    monkeypatch.setattr(world, "End", Watched)
    monkeypatch.setattr(Watched, "overhears", True)
    duplicates, needless = flows("20%", 1)
    assert 0 < duplicates <= needless < 2 * duplicates
