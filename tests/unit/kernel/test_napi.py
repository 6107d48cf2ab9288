"""Interrupts against polling: what a flood does to a machine, by the way in which it receives."""

from __future__ import annotations

from typing import Any

import pytest

from terrella import Lab

MS = 1_000_000


def send(sys: Any, gap: int) -> None:
    fd = sys.socket(2, 2)
    while True:
        sys.sendto(fd, bytes(64), 0, ("10.0.0.2", 9))
        sys.cpu(gap)


def receive(sys: Any, got: list[int]) -> None:
    fd = sys.socket(2, 2)
    sys.bind(fd, ("10.0.0.2", 9))
    while True:
        sys.read(fd, 100)
        got[0] += 1
        sys.cpu(1_000)


def compute(sys: Any, done: list[int]) -> None:
    while True:
        sys.cpu(10_000)
        done[0] += 10_000


def flood(mode: str, rate: int, ms: int = 10) -> tuple[int, int, Any, Any]:
    """(frames read, time computed in ns, counters, CPU)."""
    got, done = [0], [0]
    with Lab(seed=1) as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
        lab.link(a, b, rate="10Gbit", delay="5us", queue=1000)
        interface = b.machine.network.interfaces["eth0"]
        interface.set_mode(mode)
        b.spawn(receive, got)
        b.spawn(compute, done)
        a.spawn(send, max(10**9 // rate - 800, 0))
        lab.run(until=ms * MS)
        cpu = b.machine.scheduler.cpus[0]
        assert cpu.busy_ns + cpu.interrupt_ns <= ms * MS + 100_000
        return got[0], done[0], dict(interface.napi.counters), cpu


def test_little_load_is_the_same_either_way() -> None:
    for mode in ("interrupt", "napi", "poll"):
        read, computed, counters, _ = flood(mode, 20_000)
        assert 195 <= read <= 202 and computed > 8.5 * MS
        assert counters["interrupts"] == (0 if mode == "poll" else counters["interrupts"])


def test_under_a_flood_interrupts_lock_the_machine_up_and_the_others_do_not() -> None:
    read, computed, _, cpu = flood("interrupt", 1_000_000)
    assert read < 50 and computed < MS // 2
    assert cpu.softirq_ns < cpu.interrupt_ns
    read, computed, counters, _ = flood("napi", 1_000_000)
    assert counters["deferred"] == 1 and read > 500 and computed > MS
    read, computed, counters, _ = flood("poll", 1_000_000)
    assert counters["interrupts"] == 0 and read > 500 and computed > MS


def test_a_budget_bounds_what_polling_takes() -> None:
    got = [0]
    with Lab(seed=1) as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
        lab.link(a, b, rate="10Gbit", delay="5us", queue=1000)
        b.machine.network.interfaces["eth0"].set_mode("poll", budget=4, period_ns=100_000)
        b.spawn(receive, got)
        a.spawn(send, 1_000)
        lab.run(until=10 * MS)
        assert 380 <= got[0] <= 400
        assert b.machine.scheduler.cpus[0].softirq_ns <= 100 * (200 + 4 * 900)


def test_what_there_is_not() -> None:
    with Lab(seed=1) as lab:
        a, b = lab.host("a", "10.0.0.1/24"), lab.host("b", "10.0.0.2/24")
        lab.link(a, b)
        interface = b.machine.network.interfaces["eth0"]
        with pytest.raises(ValueError, match="interrupt"):
            interface.set_mode("telepathy")
        with pytest.raises(ValueError, match="at least 1"):
            interface.set_mode("poll", budget=0)
