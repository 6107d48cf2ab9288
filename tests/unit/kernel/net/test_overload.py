"""When the guard of an interface is raised and lowered, without a device or a clock."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from csrc import Frame
from kernel.net.overload import BATCHES, CLOSE_NS, LITTLE, WINDOW_NS, Overload
from netstack import Stack

FRAME = Frame(bytes(60))
SECOND = 1_000_000_000


class Device:
    """Hands up what it is told to, and has the guard deal with the rest."""

    def __init__(self) -> None:
        self.guarded = 0
        self.batches: list[tuple[list[Frame], int]] = []
        self.overload: Any = None
        self.reads = 0

    def set_guard(self, address: int) -> None:
        self.guarded = address

    def receive(self, budget: int) -> list[Frame]:
        self.reads += 1
        frames, dropped = self.batches.pop(0) if self.batches else ([], 0)
        self.overload.guard.pointer.dropped[2] += dropped
        return frames


def interface() -> tuple[Overload, Device, list[Frame]]:
    stack = Stack(random.Random(1))
    stack.add_interface("eth0", "02:00:00:00:00:01")
    stack.add_address("eth0", "10.0.0.1/24")
    device = Device()
    up: list[Frame] = []
    network = SimpleNamespace(stack=stack, timeline=SimpleNamespace(now=SECOND))
    netif: Any = SimpleNamespace(
        device=device, captures=[], name="eth0", network=network, up=lambda frames, now: up.extend(frames)
    )
    device.overload = Overload(netif)
    return device.overload, device, up


def test_two_crowds_close_to_each_other_raise_it() -> None:
    overload, device, _ = interface()
    overload.crowd(SECOND)
    overload.crowd(SECOND + CLOSE_NS)
    assert not overload.raised and not device.guarded
    overload.crowd(SECOND + CLOSE_NS + 1)
    assert overload.raised and device.guarded


def test_a_device_without_one_and_two_captures_leave_it_down() -> None:
    overload, device, _ = interface()
    overload.netif.captures = [object(), object()]  # type: ignore[list-item]
    for now in (1, 2, 3):
        overload.crowd(now)
    assert not overload.raised and not device.guarded
    overload, _, _ = interface()
    overload.netif.device = object()  # type: ignore[assignment]
    for now in (1, 2, 3):
        overload.crowd(now)
    assert not overload.raised


def test_what_passes_goes_up_and_batches_end() -> None:
    overload, device, up = interface()
    overload.crowd(1)
    overload.crowd(2)
    device.batches = [([FRAME] * 3, 7), ([FRAME] * 2, 0), ([FRAME], 9)]
    overload.readable(SECOND, 10)
    assert len(up) == 5 and device.reads == 2, "the second left nothing behind"
    assert overload.netif.network.stack.counters.reject.GuardUdp == 7
    device.batches = [([], 10)] * 100
    device.reads = 0
    overload.readable(SECOND, 10)
    assert device.reads == BATCHES, "then everybody else has a turn"


def test_it_is_lowered_when_there_was_little_to_do() -> None:
    overload, device, _ = interface()
    overload.crowd(1)
    overload.crowd(2)
    device.batches = [([], LITTLE)]
    overload.readable(2 + WINDOW_NS, LITTLE + 1)
    assert overload.raised, "there was enough"
    device.batches = [([], LITTLE - 1)]
    overload.readable(2 + 2 * WINDOW_NS - 1, LITTLE)
    assert overload.raised, "the second is not over"
    overload.readable(2 + 2 * WINDOW_NS, LITTLE)
    assert not overload.raised and not device.guarded
