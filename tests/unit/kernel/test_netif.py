"""Devices bound to the stack: interrupts cost time, batches wait for their cost, captures see both ways."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

import pytest

from csrc import ffi
from csrc.frame import Frame
from drivers.capture import Pcapng
from drivers.clock import RealTimeline, VirtualTimeline
from kernel.machine import Machine
from kernel.net.netif import REAL_ROUNDS

US = 1_000
MS = 1_000_000


class Card:
    """A network card whose receive queue the test fills."""

    def __init__(self) -> None:
        self.name = "card"
        self.mac: bytes | None = None
        self.mtu = 1500
        self.gso = False
        self.on_receive: Any = None
        self.queue: list[Frame] = []
        self.sent: list[tuple[int, bytes]] = []
        self.counters: dict[str, int] = {}
        self.batches: list[int] = []

    def fileno(self) -> int | None:
        return None

    def deliver(self, *frames: bytes) -> None:
        empty = not self.queue
        self.queue += [Frame.of(f, ethernet=False) for f in frames]
        if empty and self.on_receive is not None:
            self.on_receive()

    def receive(self, budget: int) -> list[Frame]:
        batch, self.queue = self.queue[:budget], self.queue[budget:]
        self.batches.append(len(batch))
        return batch

    def transmit(self, frames: Sequence[Frame], now: int) -> None:
        self.sent += [(now, bytes(f)) for f in frames]

    def close(self) -> None:
        self.queue = []


def udp(payload: bytes, source: int = 1000, to: int = 9) -> bytes:
    """An IPv4 UDP datagram from 10.0.0.9 to 10.0.0.1, without a UDP checksum."""
    total = 28 + len(payload)
    head = bytearray(b"\x45\0" + total.to_bytes(2, "big") + b"\0\0\0\0\x40\x11\0\0\x0a\0\0\x09\x0a\0\0\x01")
    check = sum(int.from_bytes(head[i : i + 2], "big") for i in range(0, 20, 2))
    check = (check & 0xFFFF) + (check >> 16)
    head[10:12] = (0xFFFF - check).to_bytes(2, "big")
    ports = source.to_bytes(2, "big") + to.to_bytes(2, "big") + (8 + len(payload)).to_bytes(2, "big") + b"\0\0"
    return bytes(head) + ports + payload


def receiver(sys: Any, count: int, log: list[Any]) -> None:
    fd = sys.socket(2, 2)
    sys.bind(fd, ("0.0.0.0", 9))
    for _ in range(count):
        data, address = sys.recvfrom(fd, 100)
        log.append((sys.clock_gettime(1), data))
        sys.sendto(fd, data, 0, address)


def test_interrupt_costs_batches_and_capture() -> None:
    card, log, file = Card(), [], io.BytesIO()  # type: ignore[var-annotated]
    with Machine("m", VirtualTimeline(1)) as machine:
        machine.attach(card, "10.0.0.1/24")
        capture = Pcapng(file)
        machine.network.capture("eth0", capture)
        process = machine.spawn(receiver, 101, log)
        machine.run(MS)
        card.deliver(udp(b"one"))
        machine.run(2 * MS)
        costs = machine.costs
        first = log[0][0] - MS
        assert costs.interrupt + costs.packet < first < costs.interrupt + costs.packet + 5 * US
        card.deliver(*(udp(b"%d" % i) for i in range(100)))
        assert machine.run(20 * MS, process)
        assert [data for _, data in log[1:]] == [b"%d" % i for i in range(100)]
        # The work of a whole batch has elapsed before any of it goes up.
        assert log[1][0] - 2 * MS > costs.interrupt + 64 * costs.packet
        assert max(card.batches) == 64
        assert len(card.sent) == 101
        capture.close()
    assert file.getvalue().count(b"\x06\x00\x00\x00") >= 202


def test_interrupts_are_stolen_from_who_runs() -> None:
    def took(frames: int) -> int:
        card = Card()
        with Machine("m", VirtualTimeline(1)) as machine:
            machine.attach(card, "10.0.0.1/24")
            timer = machine.timeline.timer(lambda now: card.deliver(*[udp(b"x", to=99)] * frames))
            timer.arm(2 * MS)
            process = machine.spawn(lambda sys: sys.cpu(10 * MS))
            assert machine.run(None, process)
            return machine.timeline.now

    costs = Machine("x", VirtualTimeline(1)).costs
    assert took(10) - took(0) >= costs.interrupt + 10 * costs.packet
    assert took(0) < 10 * MS + 100 * US


def test_what_has_arrived_is_taken_before_what_falls_due() -> None:
    """A real device with a frame waiting, and a deadline that has passed: the frame goes up first."""
    order: list[str] = []
    ours, theirs = os.pipe()
    timeline = RealTimeline(1)

    class Real(Card):
        def fileno(self) -> int | None:
            return ours

    card = Real()
    try:
        with Machine("m", timeline) as machine:
            machine.attach(card, "10.0.0.1/24")
            stack = machine.stack
            timer = stack.timers.timer(lambda now: order.append("deadline"))
            inner = stack.receive
            stack.receive = lambda *given: (order.append("frame"), inner(*given))  # type: ignore[method-assign]
            timer.arm(timeline.now - MS)
            card.queue.append(Frame.of(udp(b"late"), ethernet=False))
            machine.network.drive()
            timeline.step(block=False)
            assert order == ["frame", "deadline"]
    finally:
        timeline.close()
        os.close(ours)
        os.close(theirs)


def test_a_guard_knows_the_stack_before_it_looks_at_a_frame() -> None:
    """It is raised in the middle of what one interrupt brings, and the rest of that may belong to a known flow."""
    ours, theirs = os.pipe()
    timeline = RealTimeline(1)

    class Real(Card):
        guard = 0
        strange = 0

        def fileno(self) -> int | None:
            return ours

        def set_guard(self, address: int) -> None:
            self.guard = address

        def receive(self, budget: int) -> list[Frame]:
            if self.guard:
                self.strange += ffi.cast("struct trl_guard *", self.guard).addresses_n == 0
            return super().receive(budget)

    card = Real()
    try:
        with Machine("m", timeline) as machine:
            machine.attach(card, "10.0.0.1/24")
            card.queue += [Frame.of(udp(b"crowd"), ethernet=False)] * 5000
            os.write(theirs, b"x")
            while card.queue:
                timeline.step(block=False)
            assert card.guard and not card.strange
    finally:
        timeline.close()
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("keeps", ["nobody", "a deadline", "a post", "a stop"])
def test_a_device_is_read_again_as_long_as_nobody_is_kept_waiting(keeps: str) -> None:
    """A card that always has one more frame is looked at so often, no more; once where it is somebody else's turn."""
    ours, theirs = os.pipe()
    timeline = RealTimeline(1)
    looks = 0
    done: list[str] = []

    class Real(Card):
        def fileno(self) -> int | None:
            return ours

        def receive(self, budget: int) -> list[Frame]:
            nonlocal looks
            looks += 1
            if keeps == "a deadline":
                timeline.timer(lambda now: done.append("due")).arm(timeline.now - 1)
            elif keeps == "a post":
                timeline.post(lambda now: done.append("posted"))
            elif keeps == "a stop":
                timeline.stop()
            return [Frame.of(udp(b"more"), ethernet=False)]

    try:
        with Machine("m", timeline) as machine:
            machine.attach(Real(), "10.0.0.1/24")
            os.write(theirs, b"x")
            timeline.step(block=False)
            assert looks == (REAL_ROUNDS if keeps == "nobody" else 1)
            timeline.step(block=False)  # and then it is their turn
            assert bool(done) == (keeps in ("a deadline", "a post"))
    finally:
        timeline.close()
        os.close(ours)
        os.close(theirs)
