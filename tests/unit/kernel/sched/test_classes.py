"""The policies beside each other: real time above fair, nice, SCHED_BATCH and SCHED_IDLE, and who may ask for what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from drivers.clock import VirtualTimeline
from kernel import abi
from kernel.abi import (
    SCHED_BATCH,
    SCHED_FIFO,
    SCHED_IDLE,
    SCHED_OTHER,
    SCHED_RESET_ON_FORK,
    SCHED_RR,
)
from kernel.cost import Costs
from kernel.machine import Machine
from kernel.sched.loadavg import FIXED_1, LoadAverage, step
from kernel.sched.mutex import Mutex

US = 1_000
MS = 1_000_000


def loop(sys: Any) -> None:
    while True:
        sys.cpu(10 * MS)


def inside(function: Callable[..., Any], *args: Any, cpus: int = 1, policy: str = "eevdf") -> list[Any]:
    log: list[Any] = []
    with Machine("m", VirtualTimeline(1), cpus=cpus, policy=policy) as machine:
        process = machine.spawn(function, log, *args)
        assert machine.run(100_000 * MS, process)
        assert process.exit_status == 0, log
    return log


def used(machine: Machine, settings: list[dict[str, int]], ms: int) -> list[int]:
    processes = [machine.spawn(loop) for _ in settings]
    for process, setting in zip(processes, settings):
        assert process.leader is not None
        machine.scheduler.set_scheduler(process.leader, **setting)
    machine.run(ms * MS)
    return [sum(p.times()) for p in processes]


def test_nice_divides_the_cpu_by_weight() -> None:
    with Machine("m", VirtualTimeline(1)) as machine:
        times = used(machine, [{"nice": 0}, {"nice": 5}, {"nice": -5}], 1000)
    total = 1024 + 335 + 3121
    for time, weight in zip(times, (1024, 335, 3121)):
        assert abs(time - 1000 * MS * weight // total) < 3 * MS, times


def test_idle_tasks_get_next_to_nothing_beside_others_and_everything_alone() -> None:
    with Machine("m", VirtualTimeline(1)) as machine:
        times = used(machine, [{"policy": SCHED_IDLE}, {}], 1000)
        assert 0 < times[0] < 10 * MS
    with Machine("m", VirtualTimeline(1)) as machine:
        assert used(machine, [{"policy": SCHED_IDLE}], 100)[0] > 99 * MS


@pytest.mark.parametrize(("policy", "prompt"), [(SCHED_OTHER, True), (SCHED_BATCH, False)])
def test_who_wakes_preempts_unless_it_is_batch(policy: int, prompt: bool) -> None:
    late: list[int] = []

    def waker(sys: Any) -> None:
        sys.sched_setscheduler(0, policy, 0)
        for _ in range(30):
            at = sys.clock_gettime(1) + 5 * MS
            sys.nanosleep(5 * MS)
            late.append(sys.clock_gettime(1) - at)

    with Machine("m", VirtualTimeline(1)) as machine:
        for _ in range(3):
            machine.spawn(loop)
        assert machine.run(2000 * MS, machine.spawn(waker))
    late.sort()
    assert (late[len(late) // 2] < 20 * US) == prompt


def test_a_real_time_loop_leaves_the_others_a_twentieth() -> None:
    with Machine("m", VirtualTimeline(1)) as machine:
        fifo, fair = used(machine, [{"policy": SCHED_FIFO, "rt_priority": 1}, {}], 5_000)
        assert 230 * MS <= fair <= 270 * MS
        assert fifo + fair > 4_990 * MS
    with Machine("m", VirtualTimeline(1), costs=Costs(fair_server=0)) as machine:
        assert used(machine, [{"policy": SCHED_FIFO, "rt_priority": 1}, {}], 5_000)[1] < MS


def test_round_robin_in_real_time_takes_turns_of_a_tenth_of_a_second() -> None:
    turns: list[tuple[int, int]] = []

    class Watch:
        def switch(self, cpu: int, before: Any, after: Any, reason: str, now: int) -> None:
            if after is not None and after.policy == SCHED_RR:
                turns.append((after.tid, now // MS))

        def wakeup(self, waker: Any, task: Any, reason: str, now: int) -> None: ...

    with Machine("m", VirtualTimeline(1)) as machine:
        machine.trace.append(Watch())
        used(machine, [{"policy": SCHED_RR, "rt_priority": 5}] * 3, 650)
    order = [tid for tid, _ in turns][-6:]
    assert len(set(order[:3])) == 3 and order[:3] == order[3:]
    assert [b - a for (_, a), (_, b) in zip(turns[-4:], turns[-3:])] == [100, 100, 100]


def test_a_request_of_ones_own_sets_how_often_one_runs() -> None:
    switches = []
    for runtime in (0, 20 * MS):
        with Machine("m", VirtualTimeline(1)) as machine:
            used(machine, [{"custom_slice": runtime}] * 2, 1000)
            switches.append(machine.scheduler.cpus[0].switches)
    assert switches[0] > 1000 and 40 <= switches[1] <= 60


def test_calls(_: None = None) -> None:
    def main(sys: Any, log: list[Any]) -> None:
        log.append([sys.sched_get_priority_min(p) for p in (0, 1, 2, 3, 5)])
        log.append([sys.sched_get_priority_max(p) for p in (0, 1, 2, 3, 5)])
        log.append((sys.getpriority(abi.PRIO_PROCESS, 0), sys.sched_getscheduler(0)))
        sys.setpriority(abi.PRIO_PROCESS, 0, 7)
        sys.setpriority(abi.PRIO_PGRP, 0, 99)
        log.append((sys.getpriority(), sys.nice(-30)))
        sys.sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, 30)
        log.append((sys.sched_getscheduler(0), sys.sched_getparam(0).sched_priority, sys.sched_rr_get_interval(0)))
        sys.sched_setparam(0, 31)
        log.append(tuple(sys.sched_getattr(0))[:4])
        child = sys.spawn(lambda sys: sys.exit(sys.sched_getscheduler(0) * 10 + sys.getpriority()))
        log.append(sys.wait4(child)[1] >> 8)
        sys.sched_setattr(0, {"sched_policy": SCHED_OTHER, "sched_nice": 3, "sched_runtime": 5 * MS})
        log.append((sys.sched_getattr(0).sched_nice, sys.sched_getattr(0).sched_runtime))
        for wrong in (
            lambda: sys.sched_setscheduler(0, SCHED_FIFO, 0), lambda: sys.sched_setscheduler(0, SCHED_OTHER, 1),
            lambda: sys.sched_setscheduler(0, 99, 0), lambda: sys.sched_setscheduler(-1, 0, 0),
            lambda: sys.sched_setscheduler(999, 0, 0), lambda: sys.setpriority(9, 0, 0),
            lambda: sys.getpriority(abi.PRIO_PROCESS, 999), lambda: sys.sched_setattr(0, None, 0),
            lambda: sys.sched_get_priority_max(9), lambda: sys.sched_setaffinity(0, [7]),
        ):  # fmt: skip
            try:
                wrong()
                log.append("none")
            except OSError as error:
                log.append(abi.errno_name(error.errno or 0))

    log = inside(main)
    assert log[:8] == [
        [0, 1, 1, 0, 0], [0, 99, 99, 0, 0], (0, 0), (19, -11), (SCHED_RR | SCHED_RESET_ON_FORK, 30, 100 * MS),
        (SCHED_RR, 1, 0, 31), 0, (3, 5 * MS),
    ]  # fmt: skip
    assert log[8:] == ["EINVAL"] * 4 + ["ESRCH", "EINVAL", "ESRCH", "EINVAL", "EINVAL", "EINVAL"]


def test_who_may(_: None = None) -> None:
    def main(sys: Any, log: list[Any]) -> None:
        sys.prlimit64(0, abi.RLIMIT_NICE, (15, 15))  # nice 5 and worse
        sys.prlimit64(0, abi.RLIMIT_RTPRIO, (10, 10))
        other = sys.spawn(lambda sys: sys.nanosleep(10**9))
        sys.setresuid(1000, 1000, 1000)

        def attempt(what: Callable[..., Any], *args: Any) -> None:
            try:
                what(*args)
                log.append("ok")
            except OSError as error:
                log.append(abi.errno_name(error.errno or 0))

        attempt(sys.setpriority, abi.PRIO_PROCESS, 0, 10)
        attempt(sys.setpriority, abi.PRIO_PROCESS, 0, 5)
        attempt(sys.setpriority, abi.PRIO_PROCESS, 0, 4)
        attempt(sys.setpriority, abi.PRIO_PROCESS, other, 10)
        attempt(sys.sched_setscheduler, 0, SCHED_FIFO, 10)
        attempt(sys.sched_setscheduler, 0, SCHED_FIFO, 11)
        attempt(sys.sched_setscheduler, 0, SCHED_OTHER, 0)
        attempt(sys.sched_setscheduler, 0, SCHED_OTHER | SCHED_RESET_ON_FORK, 0)
        attempt(sys.sched_setscheduler, 0, SCHED_OTHER, 0)
        attempt(sys.sched_setscheduler, other, SCHED_BATCH, 0)
        attempt(sys.sched_setaffinity, other, [0])
        attempt(sys.nice, -20)

    assert inside(main) == [
        "ok", "ok", "EACCES", "EPERM", "ok", "EPERM", "ok", "ok", "EPERM", "EPERM", "EPERM", "EPERM",
    ]  # fmt: skip


@pytest.mark.parametrize("inherit", [True, False])
def test_priority_inheritance_ends_the_inversion(inherit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Low holds what high wants while middling runs. Through a chain: high waits for mid-low, which waits for low."""
    if not inherit:
        monkeypatch.setattr("kernel.sched.scheduler.Scheduler.set_boost", lambda self, task, boost: None)
    outer, inner = Mutex(), Mutex()
    got: list[int] = []

    def low(sys: Any) -> None:
        inner.acquire(sys._task)
        sys.cpu(5 * MS)
        inner.release(sys._task)
        sys.cpu(50 * MS)

    def chained(sys: Any) -> None:
        sys.nanosleep(MS)
        outer.acquire(sys._task)
        inner.acquire(sys._task)
        inner.release(sys._task)
        outer.release(sys._task)
        assert sys._task.prio == sys._task.normal_prio

    def middling(sys: Any) -> None:
        sys.nanosleep(2 * MS)
        sys.cpu(100 * MS)

    def high(sys: Any) -> None:
        sys.nanosleep(3 * MS)
        outer.acquire(sys._task)
        got.append(sys.clock_gettime(1))
        outer.release(sys._task)

    with Machine("m", VirtualTimeline(1)) as machine:
        for priority, function in ((10, low), (20, chained), (30, middling), (40, high)):
            leader = machine.spawn(function).leader
            assert leader is not None
            machine.scheduler.set_scheduler(leader, SCHED_FIFO, rt_priority=priority)
        assert machine.run()
        assert all(g.exit_status in (0, None) for g in machine.processes.groups.values())
    assert (got[0] < 10 * MS) == inherit


def test_a_circle_of_locks_is_reported() -> None:
    a, b = Mutex(), Mutex()

    def one(sys: Any, first: Mutex, second: Mutex, log: list[str]) -> None:
        first.acquire(sys._task)
        sys.nanosleep(MS)
        try:
            second.acquire(sys._task)
            second.release(sys._task)
        except RuntimeError as error:
            log.append(str(error))
        first.release(sys._task)

    log: list[str] = []
    with Machine("m", VirtualTimeline(1)) as machine:
        machine.spawn(one, a, b, log)
        machine.spawn(one, b, a, log)
        assert machine.run()
    assert len(log) == 1 and "circle" in log[0]


def test_load_average_is_linux_arithmetic() -> None:
    """calc_load of Linux: one process for a minute gives 0.63, not by a formula but by twelve samples."""
    load = 0
    for _ in range(12):
        load = step(load, 1884, FIXED_1)
    assert load * 100 // FIXED_1 == 63
    average = LoadAverage(0)
    average.sample(60 * 1000 * MS, 2)
    assert average.hundredths()[0] == 1.2  # 11 samples in 60 s

    def main(sys: Any, log: list[Any]) -> None:
        for _ in range(2):
            sys.spawn(loop)
        sys.nanosleep(60_100 * MS)
        fd = sys.open("/proc/loadavg", 0)
        log.append(sys.read(fd, 100).split()[:3])

    assert inside(main)[0][0] == b"1.27"


def test_what_proc_says() -> None:
    """/proc/stat by CPU, /proc/PID/schedstat and wchan; and why a task waits, in the trace."""
    reasons: list[str] = []

    class Watch:
        def switch(self, cpu: int, before: Any, after: Any, reason: str, now: int) -> None: ...

        def wakeup(self, waker: Any, task: Any, reason: str, now: int) -> None: ...

        def wait(self, task: Any, reason: str, now: int) -> None:
            reasons.append(reason)

        def migrate(self, task: Any, before: int, after: int, reason: str, now: int) -> None: ...

    def text(sys: Any, path: str) -> str:
        fd = sys.open(path, 0)
        return str(sys.read(fd, 10_000).decode())

    def main(sys: Any, log: list[Any]) -> None:
        sys.sched_setaffinity(0, [0])
        burner = sys.spawn(loop)
        sys.setpriority(abi.PRIO_PROCESS, burner, 5)
        r, _ = sys.pipe2()
        reader = sys.spawn(lambda sys: sys.read(r, 1))
        sys.nanosleep(500 * MS)
        sys.cpu(200 * MS)
        log += [text(sys, "/proc/stat"), text(sys, f"/proc/{burner}/schedstat"), text(sys, f"/proc/{reader}/wchan")]

    log: list[Any] = []
    with Machine("m", VirtualTimeline(1), cpus=2) as machine:
        machine.trace.append(Watch())
        process = machine.spawn(main, log)
        assert machine.run(2_000 * MS, process)
    rows = {line.split()[0]: [int(n) for n in line.split()[1:]] for line in log[0].splitlines() if line[:3] == "cpu"}
    assert all(abs(whole - a - b) <= 1 for whole, a, b in zip(rows["cpu"], rows["cpu0"], rows["cpu1"]))
    user, nice, _, idle = rows["cpu0"][:4]
    assert user >= 19 and nice >= 50 and idle <= 2 and rows["cpu1"][3] >= 70
    ran, waited, slices = (int(n) for n in log[1].split())
    assert ran >= 500 * MS and waited >= 150 * MS and slices > 5
    assert "read" in log[2]
    assert any("read" in reason for reason in reasons) and any("sleep" in reason for reason in reasons)
