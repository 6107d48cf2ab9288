"""Processes that want everything: whatever they do, the others keep their share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from drivers.clock import VirtualTimeline
from kernel.abi import RLIMIT_NPROC, SIGKILL
from kernel.machine import Machine
from kernel.sched.policy import POLICIES

US = 1_000
MS = 1_000_000


def loops(sys: Any) -> None:
    while True:
        pass


def burns(sys: Any) -> None:
    while True:
        sys.cpu(1_000 * MS)


def calls(sys: Any) -> None:
    while True:
        sys.getppid()


def yields_never_and_catches_everything(sys: Any) -> None:
    while True:
        try:
            while True:
                sys.cpu(MS)
        except BaseException:
            continue


def spawns(sys: Any) -> None:
    sys.prlimit64(0, RLIMIT_NPROC, (20, 20))
    sys.setresuid(1000, 1000, 1000)
    bomb(sys)


def bomb(sys: Any) -> None:
    while True:
        try:
            sys.spawn(bomb)
        except OSError:
            sys.sched_yield()


def wakes_itself(sys: Any) -> None:
    while True:
        sys.nanosleep(1)
        sys.cpu(50 * US)


def works(sys: Any, log: list[int]) -> None:
    for _ in range(10):
        sys.cpu(2 * MS)
    log.append(sys.clock_gettime(1))


HOGS = [loops, burns, calls, yields_never_and_catches_everything, wakes_itself]


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "fixed"])
@pytest.mark.parametrize("hog", HOGS, ids=lambda hog: hog.__name__)
def test_a_hog_leaves_half(hog: Callable[..., Any], policy: str) -> None:
    log: list[int] = []
    with Machine("m", VirtualTimeline(1), policy=policy) as machine:
        machine.spawn(hog)
        machine.spawn(works, log)
        machine.run(80 * MS)
    assert log and log[0] <= 52 * MS  # 20 ms of work beside one competitor, and a slice


def test_a_crowd_of_hogs_leaves_a_fair_share_on_each_cpu() -> None:
    log: list[int] = []
    with Machine("m", VirtualTimeline(1), cpus=2) as machine:
        for hog in HOGS:
            machine.spawn(hog)
        machine.spawn(works, log)
        machine.run(120 * MS)
    assert log and log[0] <= 100 * MS  # six tasks on two CPUs: 60 ms


def test_who_spawns_for_ever_is_held_by_its_limit_and_the_others_go_on() -> None:
    log: list[int] = []
    with Machine("m", VirtualTimeline(1)) as machine:
        machine.spawn(spawns)
        machine.run(5 * MS)
        machine.spawn(works, log)
        machine.run(600 * MS)
        assert len(machine.tasks) <= 24
        assert log and log[0] <= 500 * MS  # one of some twenty
        for pid in sorted(machine.processes.groups):
            if pid > 1:
                machine.signals.kill_group(machine.processes.groups[pid], SIGKILL)
        machine.run(700 * MS)
        assert len(machine.tasks) == 1, "the machine is itself again"
