"""EEVDF against the ideal it approximates: every competitor gets its weight's share of the CPU at each moment.

The state machine lets processes that always want the CPU come, go and change their nice, others sleep and wake, and
checks after each step that nobody is further from its ideal share than one request (its own, or that of whoever could
not be interrupted), and that nobody starves.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from drivers.clock import VirtualTimeline
from kernel.abi import SCHED_FIFO
from kernel.cost import Costs
from kernel.machine import Machine
from kernel.sched.eevdf import Eevdf
from kernel.sched.priority import WEIGHTS
from kernel.task import Task

US = 1_000
MS = 1_000_000
FREE = Costs(
    tick=0, trap=0, copy_kib=0, path_component=0, switch=0, wakeup=0, interrupt=0, spawn=0, thread=0, execve=0, exit=0
)  # fmt: skip
SLACK = 20 * US
"""Ages are rounded to 2^-10 ns, and what a light task is owed counts in units of its weight."""


def burn(sys: Any) -> None:
    while True:
        sys.cpu(777 * US)


def doze(sys: Any, run: int, rest: int) -> None:
    while True:
        sys.cpu(run)
        sys.nanosleep(rest)


class Shares(RuleBasedStateMachine):
    """One CPU, and those who compete for it."""

    @initialize(sleepers=st.booleans())
    def boot(self, sleepers: bool) -> None:
        self.machine = Machine("m", VirtualTimeline(1), costs=FREE)
        self.machine.boot()
        self.machine.run(0)
        self.ideal: dict[Task, float] = {}
        self.dozers: dict[Task, int] = {}
        self.exact = not sleepers
        """Without sleepers the ideal can be reckoned; with them it is checked that nobody starves."""
        self.waits: dict[Task, int] = {}
        self.most: dict[Task, int] = {}
        """How long a task has not run, and the greatest weight of all meanwhile."""

    def used(self, task: Task) -> int:
        return sum(task.times())

    def total(self) -> int:
        return sum(WEIGHTS[task.nice + 20] for task in self.ideal)

    @rule(nice=st.integers(-20, 19))
    def come(self, nice: int) -> None:
        if len(self.ideal) < 8:
            task = self.machine.spawn(burn).leader
            assert task is not None
            self.machine.scheduler.set_scheduler(task, nice=nice)
            self.ideal[task] = 0.0

    @precondition(lambda self: not self.exact)
    @rule(run=st.integers(10, 3_000), rest=st.integers(10, 9_000))
    def come_and_sleep(self, run: int, rest: int) -> None:
        if len(self.dozers) < 4:
            task = self.machine.spawn(doze, run * US, rest * US).leader
            assert task is not None
            self.dozers[task] = 0

    @precondition(lambda self: self.ideal)
    @rule(which=st.integers(0, 7), nice=st.integers(-20, 19))
    def renice(self, which: int, nice: int) -> None:
        task = list(self.ideal)[which % len(self.ideal)]
        self.machine.scheduler.set_scheduler(task, nice=nice)
        self.waits[task] = 0

    @precondition(lambda self: len(self.ideal) > 1)
    @rule(which=st.integers(0, 7))
    def go(self, which: int) -> None:
        """Its lag, which it takes away, is shared among those who stay."""
        task = list(self.ideal)[which % len(self.ideal)]
        lag = self.ideal.pop(task) - self.used(task)
        self.machine.scheduler.set_scheduler(task, SCHED_FIFO, rt_priority=99)
        self.machine.signals.kill_group(task.group, 9)
        self.machine.run(self.machine.timeline.now + 1)  # it has to run once more, to die: at once
        total = self.total()
        for other in self.ideal:
            self.ideal[other] += (lag + 1) * WEIGHTS[other.nice + 20] / total

    @rule(ms=st.integers(1, 60))
    def pass_time(self, ms: int) -> None:
        before = {task: self.used(task) for task in self.ideal}
        self.machine.run(self.machine.timeline.now + ms * MS)
        total = self.total()
        for task in self.ideal:
            self.ideal[task] += ms * MS * WEIGHTS[task.nice + 20] / total
        for task, used in before.items():
            ran = self.used(task) > used
            self.waits[task] = 0 if ran else self.waits.get(task, 0) + ms * MS
            self.most[task] = max(0 if ran else self.most.get(task, 0), total)

    @invariant()
    def within_one_request(self) -> None:
        if not getattr(self, "exact", False):
            return
        request = FREE.request
        for task, ideal in self.ideal.items():
            lag = ideal - self.used(task)
            assert abs(lag) <= request + SLACK, f"tid {task.tid} of nice {task.nice}: {lag / US:.1f} us from its share"

    @invariant()
    def nobody_starves(self) -> None:
        """Between two requests of a task the others get, at the most, what their weights are worth, and one each."""
        for task in getattr(self, "ideal", ()):
            weight = WEIGHTS[task.nice + 20]
            total = self.most.get(task, 0) + 1024 * len(self.dozers)
            bound = FREE.request * (total / weight + 14)
            assert self.waits.get(task, 0) <= bound + 60 * MS

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            self.machine.close()


Shares.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestShares = Shares.TestCase


def spread(breakage: Any, monkeypatch: Any) -> int:
    """How far four tasks of different weights come from their shares, at worst, in 200 steps of 1 ms."""
    if breakage is not None:
        monkeypatch.setattr(*breakage)
    nices = (0, 3, -3, 0)
    total = sum(WEIGHTS[nice + 20] for nice in nices)
    worst = 0
    with Machine("m", VirtualTimeline(1), costs=FREE) as machine:
        tasks = []
        for nice in nices:
            task = machine.spawn(burn).leader
            assert task is not None
            machine.scheduler.set_scheduler(task, nice=nice)
            tasks.append((task, WEIGHTS[nice + 20]))
        for step in range(1, 200):
            machine.run(step * MS)
            for task, weight in tasks:
                worst = max(worst, abs(sum(task.times()) - step * MS * weight // total))
    return worst


def test_a_broken_policy_is_seen(monkeypatch: Any) -> None:
    """The same bound as above, and what becomes of it without eligibility, or without weights."""
    assert spread(None, monkeypatch) <= FREE.request + SLACK

    def unweighted(self: Eevdf, task: Task, ran_ns: int) -> None:
        aged = ran_ns << 10
        task.vruntime += aged
        self.mass += aged * task.weight

    with monkeypatch.context() as patch:
        assert spread((Eevdf, "charge", unweighted), patch) > 2 * FREE.request
    with monkeypatch.context() as patch:
        assert spread((Eevdf, "must_yield", lambda self, task: False), patch) > 2 * FREE.request
