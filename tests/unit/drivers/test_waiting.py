"""How a wait of real time waits: when it looks again and again, and when it sleeps. The host's time and its epoll are
played by a script, so nothing here depends on how busy it is.
"""

from __future__ import annotations

import select
from typing import Any

import pytest

from drivers import clock
from drivers.clock import ALONE_AGAIN_NS, CROWDED_NS, SOON_NS, RealTimeline

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="this host has no epoll")

FD = 1000
US = 1_000


class Host:
    """A time, and an epoll whose descriptor becomes readable `after` the beginning of the wait."""

    def __init__(self) -> None:
        self.now = 1_000_000_000
        self.ready_at = 0
        self.look_ns = 1 * US
        self.processors = 2
        self.looks = self.sleeps = 0

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        if timeout == 0:
            self.looks += 1
            self.now += self.look_ns
            return [(FD, 1)] if self.now >= self.ready_at else []
        assert timeout == -1
        self.sleeps += 1
        self.now = max(self.now + 1, self.ready_at)
        return [(FD, 1)]

    def close(self) -> None:
        pass


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    found = Host()
    monkeypatch.setattr(clock, "wall_ns", lambda: found.now)
    monkeypatch.setattr(clock, "processors", lambda: found.processors)
    return found


@pytest.fixture
def line(host: Host) -> Any:
    line = RealTimeline()
    real, line._poll = line._poll, host  # type: ignore[assignment]
    line.eager = True
    yield line
    line._poll = real
    line.close()


def wait(line: RealTimeline, host: Host, after: int, deadline: int | None = None) -> tuple[int, int, bool]:
    """One wait for what comes `after` so long: (looks, sleeps, whether it came)."""
    host.ready_at = host.now + after
    host.looks = host.sleeps = 0
    came = line._ready(None if deadline is None else host.now + deadline, host.now)
    return host.looks, host.sleeps, bool(came)


def test_the_first_wait_sleeps_and_after_a_short_one_it_looks(line: RealTimeline, host: Host) -> None:
    assert wait(line, host, 10 * US) == (0, 1, True)
    assert wait(line, host, 10 * US) == (10, 0, True)
    assert wait(line, host, SOON_NS - US) == (SOON_NS // US - 1, 0, True)
    assert wait(line, host, 10 * US) == (10, 0, True), "as long as it goes on"


def test_after_a_long_wait_it_sleeps_at_once(line: RealTimeline, host: Host) -> None:
    """What is idle costs one look of SOON_NS, once."""
    wait(line, host, 10 * US)
    assert wait(line, host, 1000 * US) == (SOON_NS // US, 1, True)
    for _ in range(3):
        assert wait(line, host, 1000 * US) == (0, 1, True)
    assert wait(line, host, 10 * US) == (0, 1, True), "the first of a burst is slept for"
    assert wait(line, host, 10 * US) == (10, 0, True)


def test_who_gets_the_processor_back_late_sleeps_for_a_while(line: RealTimeline, host: Host) -> None:
    """A process that sleeps is let in before one that has used its share; one that looks has to wait for its turn."""
    wait(line, host, 10 * US)
    host.look_ns = CROWDED_NS + US
    assert wait(line, host, 3 * CROWDED_NS) == (1, 1, True)
    crowded = host.now - 3 * CROWDED_NS + host.look_ns
    host.look_ns = US
    while host.now < crowded + ALONE_AGAIN_NS - 2000 * US:
        assert wait(line, host, 10 * US) == (0, 1, True)
        wait(line, host, 500 * US)
    host.now = crowded + ALONE_AGAIN_NS
    assert wait(line, host, 10 * US) == (0, 1, True)
    assert wait(line, host, 10 * US) == (10, 0, True)


def test_it_does_not_look_past_a_deadline(line: RealTimeline, host: Host) -> None:
    wait(line, host, 10 * US)
    begin = host.now
    assert wait(line, host, 1000 * US, deadline=20 * US) == (20, 0, False)
    assert host.now == begin + 20 * US


def test_who_is_not_eager_sleeps(line: RealTimeline, host: Host) -> None:
    line.eager = False
    for _ in range(3):
        assert wait(line, host, 10 * US) == (0, 1, True)
    line.spin_ns = 30 * US
    assert wait(line, host, 20 * US) == (20, 0, True)
    assert wait(line, host, 1000 * US) == (30, 1, True)


def test_on_a_single_processor_it_sleeps(line: RealTimeline, host: Host) -> None:
    """Also when it is told to stay on one later on, as by taskset(1)."""
    host.processors = 1
    for _ in range(3):
        assert wait(line, host, 10 * US) == (0, 1, True)
    host.processors = 2
    host.now += 2 * ALONE_AGAIN_NS
    assert wait(line, host, 10 * US) == (10, 0, True)
    host.processors = 1
    host.now += 2 * ALONE_AGAIN_NS
    assert wait(line, host, 10 * US) == (0, 1, True)


def test_processors_are_those_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 3, 5})
    assert clock.processors() == 3
