"""Timelines and streams: what callers rely on, with explicit times."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from drivers.clock import CPU_RANK, EPOCH_NS, RealTimeline, Stream, Timer, VirtualTimeline

MS = 1_000_000


def recorder(line: VirtualTimeline, log: list[tuple[str, int]], name: str, rank: int | None = None) -> Timer:
    return line.timer(lambda now: log.append((name, now)), rank)


def test_ties_run_in_the_order_of_arming_and_cpus_last_by_id() -> None:
    line, log = VirtualTimeline(), []
    cpu1, cpu0 = recorder(line, log, "cpu1", CPU_RANK + 1), recorder(line, log, "cpu0", CPU_RANK)
    a, b = recorder(line, log, "a"), recorder(line, log, "b")
    for timer in (cpu1, b, cpu0, a):
        timer.arm(10)
    line.run()
    assert log == [("b", 10), ("a", 10), ("cpu0", 10), ("cpu1", 10)]


def test_a_deadline_moved_later_takes_its_new_place_among_ties() -> None:
    line, log = VirtualTimeline(), []
    a, b = recorder(line, log, "a"), recorder(line, log, "b")
    a.arm(5)
    b.arm(10)
    a.arm(10)
    line.run()
    assert log == [("b", 10), ("a", 10)]


def test_a_rank_among_the_events_is_refused() -> None:
    with pytest.raises(ValueError, match="CPU_RANK"):
        VirtualTimeline().timer(print, 7)


def test_run_until_includes_that_time_and_leaves_now_there() -> None:
    line, log = VirtualTimeline(), []
    a, b = recorder(line, log, "a"), recorder(line, log, "b")
    a.arm(100)
    b.arm(101)
    line.run(until=100)
    assert (log, line.now, b.deadline, a.deadline) == ([("a", 100)], 100, 101, None)
    line.run(until=100)
    assert log == [("a", 100)]
    line.run(until=500)
    assert (log[1:], line.now) == ([("b", 101)], 500)
    line.run()
    assert line.now == 500


def test_a_deadline_in_the_past_fires_now_and_time_never_goes_back() -> None:
    line, log = VirtualTimeline(), []
    line.run(until=50)
    recorder(line, log, "late").arm(3)
    line.run()
    assert log == [("late", 50)]


def test_stop_ends_the_run_after_the_callback_and_the_rest_stays_armed() -> None:
    line, log = VirtualTimeline(), []
    line.timer(lambda now: line.stop()).arm(10)
    b = recorder(line, log, "b")
    b.arm(10)
    line.run(until=99)
    assert (line.now, log, b.deadline) == (10, [], 10)
    line.run(until=99)
    assert log == [("b", 10)]


def test_what_a_callback_raises_propagates_and_the_heap_stays_whole() -> None:
    line, log = VirtualTimeline(), []

    def fail(now: int) -> None:
        timer.arm(now + 5)
        raise ZeroDivisionError

    timer = line.timer(fail)
    timer.arm(10)
    recorder(line, log, "b").arm(12)
    with pytest.raises(ZeroDivisionError):
        line.run()
    assert timer.deadline == 15
    with pytest.raises(ZeroDivisionError):
        line.run()
    assert (log, line.now) == ([("b", 12)], 15)


def test_running_inside_a_callback_is_refused() -> None:
    line = VirtualTimeline()
    line.timer(lambda now: line.run()).arm(1)
    with pytest.raises(RuntimeError, match="callback"):
        line.run()


def test_advance_stops_at_events_at_other_cpus_and_at_the_end_of_the_run() -> None:
    line, log = VirtualTimeline(), []
    seen: list[tuple[bool, int]] = []

    def cpu(now: int) -> None:
        for to in (now + 5, now + 10, now + 20):
            seen.append((line.advance(to, CPU_RANK + 1), line.now))

    line.timer(cpu, CPU_RANK + 1).arm(0)
    recorder(line, log, "event").arm(10)
    line.run(until=0)
    assert seen == [(False, 0)] * 3, "the run ends at 0"
    line.timer(cpu, CPU_RANK + 1).arm(0)
    line.run(until=8)
    assert seen[3:] == [(True, 5), (False, 5), (False, 5)]
    first, second = recorder(line, log, "cpu0", CPU_RANK), recorder(line, log, "cpu2", CPU_RANK + 2)
    line.run(until=20)
    second.arm(30)
    assert line.advance(30, CPU_RANK + 1)
    first.arm(40)
    assert not line.advance(40, CPU_RANK + 1)


def test_stop_makes_advance_refuse() -> None:
    line = VirtualTimeline()
    seen = []

    def cpu(now: int) -> None:
        line.stop()
        seen.append(line.advance(now + 1))

    line.timer(cpu).arm(0)
    line.run()
    assert seen == [False]


def test_rearming_and_disarming_a_million_times_leaves_no_litter() -> None:
    line = VirtualTimeline()
    idle = [line.timer(print) for _ in range(100)]
    for i, timer in enumerate(idle):
        timer.arm(1 << 50 | i)
    busy = line.timer(print)
    for i in range(200_000):
        busy.arm((1 << 49) - i)  # always earlier: each leaves a dead entry
        assert len(line._heap) < 400
    for _ in range(20_000):
        line.timer(print).arm(1 << 50)
        gone = line.timer(print)
        gone.arm(1 << 51)
        gone.disarm()
    assert len(line._heap) < 2 * 20_101 + 130


def test_streams_depend_on_seed_and_name_only() -> None:
    line = VirtualTimeline(seed=7)
    first = [line.stream("wire").random() for _ in range(3)]
    other = VirtualTimeline(seed=7)
    other.stream("disk").random()
    assert [other.stream("wire").random() for _ in range(3)] == first
    assert VirtualTimeline(seed=8).stream("wire").random() != first[0]
    assert line.stream("wire") is line.stream("wire")
    a = Stream(7, "wire")
    a.random()
    assert a.stream("x").random() == Stream(7, "wire").stream("x").random() == Stream(7, "wire/x").random()


def test_streams_do_not_depend_on_the_hash_seed() -> None:
    code = "from drivers.clock import Stream; s = Stream(7, 'wire'); print(s.bits(64), s.below(10**9), s.random())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    s = Stream(7, "wire")
    assert outputs == {f"{s.bits(64)} {s.below(10**9)} {s.random()}\n"}


def test_the_sequence_is_pinned() -> None:
    """A change here changes every recorded run: it needs a reason."""
    assert Stream(0, "").below(1 << 32) == PINNED


PINNED = 324_463_587


def test_below_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="below"):
        Stream(0, "x").below(0)


def test_the_virtual_epoch_is_fixed() -> None:
    assert VirtualTimeline().epoch_ns == EPOCH_NS == 1_767_225_600_000_000_000


@pytest.fixture(params=["epoll", "select", "spin", "eager"])
def real(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """With the host's own way of waiting, and with the one for hosts that have no epoll."""
    if request.param == "select":
        monkeypatch.delattr(select, "epoll", raising=False)
    elif not hasattr(select, "epoll"):
        pytest.skip("this host has no epoll")
    line = RealTimeline()
    line.spin_ns = 300_000 if request.param == "spin" else 0
    line.eager = request.param == "eager"
    yield line
    line.close()


def test_real_deadlines_are_met_in_order_and_never_early(real: RealTimeline) -> None:
    start = real.now
    log: list[tuple[int, int]] = []
    for delay in (3 * MS, 1 * MS, 1 * MS + 50_000):
        real.timer(lambda now, due=start + delay: log.append((due, now))).arm(start + delay)
    real.run()
    assert [due - start for due, _ in log] == [1 * MS, 1 * MS + 50_000, 3 * MS]
    assert all(now >= due for due, now in log)


def test_real_waits_are_not_rounded_to_milliseconds(real: RealTimeline) -> None:
    punctual = 0

    def tick(now: int) -> None:
        nonlocal punctual, tries, due
        punctual += now - due < 600_000
        tries -= 1
        due = real.now + 50_000
        if tries and punctual < 10:
            timer.arm(due)

    timer, tries, due = real.timer(tick), 20_000, real.now + 50_000
    timer.arm(due)
    real.run()
    assert punctual == 10, "waits of 50 us that do not take a millisecond, though the machine may be busy"


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="this host has no epoll")
def test_a_deadline_that_moves_away_is_not_told_to_the_host_each_time() -> None:
    line = RealTimeline()
    alarm = line._alarm
    assert alarm is not None
    calls: list[int] = []
    settime = alarm._settime
    alarm._settime = lambda *args: calls.append(1) or settime(*args)  # type: ignore[assignment, func-returns-value]
    r, w = os.pipe()
    fired: list[int] = []
    timer = line.timer(fired.append)
    turns = 0

    def readable(now: int) -> None:
        nonlocal turns
        turns += 1
        timer.arm(now + 3600 * 1000 * MS)
        if turns == 100:
            line.unwatch(r)
            timer.arm(now + MS)

    line.watch(r, readable)
    os.write(w, b"x")
    line.run()
    os.close(r)
    os.close(w)
    line.close()
    assert turns == 100 and len(fired) == 1
    assert len(calls) <= 3


def test_real_run_until_returns_at_that_time_with_nothing_to_do(real: RealTimeline) -> None:
    end = real.now + 2 * MS
    real.run(until=end)
    assert real.now >= end


def test_watched_descriptors_are_reported_until_read_and_not_after_unwatch(real: RealTimeline) -> None:
    r, w = os.pipe()
    seen: list[int] = []
    real.watch(r, seen.append)
    assert not real.step(block=False)
    os.write(w, b"ab")
    assert real.step() and real.step(block=False) and len(seen) == 2
    os.read(r, 9)
    assert not real.step(block=False)
    os.write(w, b"c")
    real.unwatch(r)
    real.unwatch(r)
    assert not real.step(block=False) and len(seen) == 2
    real.run()  # nothing armed, nothing watched: returns
    os.close(r)
    os.close(w)


def test_an_announced_descriptor_is_reported_once_and_not_after_unwatch(real: RealTimeline) -> None:
    r, w = os.pipe()
    seen: list[int] = []
    real.watch(r, seen.append)
    real.announce(r)
    assert real.step() and len(seen) == 1 and not real.step(block=False)
    real.announce(r)
    real.unwatch(r)
    real.step(block=False)
    assert len(seen) == 1
    os.close(r)
    os.close(w)


def test_a_watch_replaced_by_another_callback(real: RealTimeline) -> None:
    r, w = os.pipe()
    first: list[int] = []
    second: list[int] = []
    real.watch(r, first.append)
    real.watch(r, second.append)
    os.write(w, b"x")
    real.step()
    assert (len(first), len(second)) == (0, 1)
    real.unwatch(r)
    os.close(r)
    os.close(w)


def test_post_from_a_thread_runs_on_this_one(real: RealTimeline) -> None:
    ran: list[int] = []

    def called(now: int) -> None:
        ran.append(threading.get_ident())
        real.stop()

    real.timer(print).arm(real.now + 60_000 * MS)
    thread = threading.Thread(target=real.post, args=(called,))
    thread.start()
    real.run()
    thread.join()
    assert ran == [threading.get_ident()]


def test_stop_from_a_signal_handler_ends_a_wait(real: RealTimeline) -> None:
    real.timer(print).arm(real.now + 60_000 * MS)
    before = signal.signal(signal.SIGUSR1, lambda *_: real.stop())
    thread = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        thread.start()
        real.run()
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_stop_that_comes_before_the_run_is_not_lost(real: RealTimeline) -> None:
    real.timer(print).arm(real.now + 60_000 * MS)
    real.stop()
    real.run()
    real.stop()
    real.step()  # does not wait either
    real.run(until=real.now + 60_000 * MS)


def test_what_a_real_callback_raises_propagates_and_the_rest_goes_on(real: RealTimeline) -> None:
    log: list[int] = []

    def fail(now: int) -> None:
        raise ZeroDivisionError

    real.timer(fail).arm(0)
    real.timer(log.append).arm(1)
    with pytest.raises(ZeroDivisionError):
        real.run()
    real.run()
    assert len(log) == 1 and real.peek() is None


def test_real_callbacks_that_arm_for_the_past_do_not_starve_descriptors(real: RealTimeline) -> None:
    r, w = os.pipe()
    os.write(w, b"x")
    timer = real.timer(lambda now: timer.arm(now - 5))
    timer.arm(0)
    seen: list[int] = []
    real.watch(r, lambda now: (seen.append(now), real.stop()))
    real.run()
    assert len(seen) == 1
    real.unwatch(r)
    os.close(r)
    os.close(w)


def test_a_regular_file_cannot_be_watched(tmp_path: Path) -> None:
    line = RealTimeline()
    with open(tmp_path / "file", "w") as file, pytest.raises(PermissionError):
        line.watch(file.fileno(), print)
    assert not line._watched or not hasattr(select, "epoll")
    line.close()


def test_closing_gives_every_descriptor_back() -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this host has no /proc/self/fd")
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        RealTimeline().close()
    assert os.listdir("/proc/self/fd") == before


def test_cost_does_not_grow_with_idle_timers() -> None:
    """Counted, not timed: firing and moving timers beside 10,000 idle ones compares them no more than log n times."""
    compared = 0

    class Time(int):
        def __lt__(self, other: int) -> bool:
            nonlocal compared
            compared += 1
            return int(self) < int(other)

        def __eq__(self, other: object) -> bool:
            return int(self) == other

        __hash__ = int.__hash__

    def cost(idle: int) -> int:
        nonlocal compared
        line = VirtualTimeline()
        for i in range(idle):
            line.timer(print).arm(Time(1 << 40 | i))
        fired = 0

        def tick(now: int) -> None:
            nonlocal fired
            fired += 1
            if fired < 200:
                timer.arm(Time(now + 1))

        timer = line.timer(tick)
        timer.arm(Time(1))
        compared = 0
        line.run(until=1000)
        return compared

    assert cost(10_000) < 200 * 40
