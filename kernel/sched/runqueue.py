"""The run queue of one CPU: real-time tasks by fixed priority, and below them the class of the machine's policy.

A real-time task that never sleeps must not lock everybody else out for ever: when the others have waited while real
time used 0.95 s of a second, they get the CPU for 50 ms (what Linux calls the fair server; 0 turns it off).

`task.on` is the class on which a task that is RUNNABLE or RUNNING counts; `load` is the weight of all that are here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.clock import FOREVER
from kernel.cost import Costs
from kernel.sched.eevdf import Eevdf
from kernel.sched.fixed import FixedPriority, RealTime
from kernel.sched.policy import Policy
from kernel.sched.priority import MAX_RT_PRIO

if TYPE_CHECKING:
    from kernel.sched.policy import Class
    from kernel.task import Task

HEAVIEST = 1 << 40
"""No task weighs more."""


class RunQueue:
    """What waits for one CPU, and what runs on it."""

    __slots__ = ("count", "eevdf", "fair", "fair_owed", "period_ns", "rt", "rt_used", "server_ns")

    def __init__(self, costs: Costs, cpus: int, policy: Policy) -> None:
        self.rt = RealTime(costs, cpus)
        self.fair: Class = policy(costs, cpus)
        self.eevdf: Eevdf | None = self.fair if isinstance(self.fair, Eevdf) else None
        """The same, where it is the usual policy, whose methods the compiled form then calls directly."""
        self.count = 0
        """How many tasks wait."""
        self.period_ns = costs.rt_period
        self.server_ns = costs.fair_server
        self.rt_used = 0
        """CPU time of real-time tasks since nobody of the fair class waited."""
        self.fair_owed = 0
        """What the fair class may still use before real time goes on."""

    def __len__(self) -> int:
        return self.count

    @property
    def load(self) -> int:
        """The weight of all, the running one among them."""
        return self.rt.load + self.fair.load

    def enqueue(self, task: Task, reason: str) -> None:
        """The task has become runnable, or comes from another CPU; `reason` is one of the words of `policy.py`."""
        self.count += 1
        eevdf = self.eevdf
        if task.prio < MAX_RT_PRIO:
            task.on = self.rt
            self.rt.enqueue(task, reason)
        elif eevdf is not None:
            task.on = eevdf
            eevdf.enqueue(task, reason)
        else:
            task.on = self.fair
            self.fair.enqueue(task, reason)

    def put_back(self, task: Task, reason: str) -> None:
        """The running task gives way and could go on."""
        self.count += 1
        task.on.put_back(task, reason)

    def leave(self, task: Task, sleeps: bool) -> None:
        """The running task leaves."""
        eevdf = self.eevdf
        if eevdf is not None and task.on is eevdf:
            eevdf.leave(task, sleeps)
        else:
            task.on.leave(task, sleeps)

    def remove(self, task: Task) -> None:
        """A task that waits leaves."""
        self.count -= 1
        task.on.remove(task)

    def pick(self) -> Task | None:
        """Take out the task that runs next; None when nobody waits."""
        if not self.count:
            return None
        task = None
        if self.rt.count and not (self.fair_owed > 0 and self.fair.count):
            task = self.rt.pick()
        if task is None:
            eevdf = self.eevdf
            if eevdf is not None:
                task = eevdf.pick()
                if not eevdf.count:
                    self.rt_used = 0
            else:
                task = self.fair.pick()
                if not self.fair.count:
                    self.rt_used = 0
        if task is not None:
            self.count -= 1
        return task

    def steal(self, cpu: int, most: int = HEAVIEST) -> Task | None:
        """Take out a task for that CPU, of no more than that weight; None when there is none to give."""
        task = None
        if self.rt.count:
            task = self.rt.steal(cpu, most)
        if task is None and self.fair.count:
            task = self.fair.steal(cpu, most)
        if task is not None:
            self.count -= 1
        return task

    def take(self, task: Task) -> None:
        """A task that waits becomes the running one: what `pick` does, for this one."""
        self.count -= 1
        task.on.take(task)

    def best_prio(self, strict: int) -> int:
        """The best priority that waits, when it is an absolute one (below `strict`)."""
        if self.rt.count and self.fair_owed <= 0:
            return self.rt.best
        fair = self.fair
        if strict > MAX_RT_PRIO and fair.count and isinstance(fair, FixedPriority):
            return fair.best
        return strict

    def has(self, cpu: int, above: int) -> bool:
        """Whether a task waits that is better than that and may run on that CPU: of absolute priority."""
        on = self.rt if self.rt.count else self.fair
        return isinstance(on, FixedPriority) and on.has(cpu, above)

    def charge(self, task: Task, ran_ns: int) -> None:
        """The running task has used the CPU for that long since it was picked, or since the last charge."""
        on, eevdf = task.on, self.eevdf
        if eevdf is not None and on is eevdf:
            eevdf.charge(task, ran_ns)
        else:
            on.charge(task, ran_ns)
        if on is self.fair:
            if self.fair_owed > 0:
                self.fair_owed -= ran_ns
        elif self.server_ns and self.fair.count:
            self.rt_used += ran_ns
            if self.rt_used >= self.period_ns - self.server_ns:
                self.rt_used = 0
                self.fair_owed = self.server_ns

    def slice(self, task: Task) -> int:
        """How long the running task may go on before it has to be looked at again, since others wait."""
        if task.on is self.fair:
            ns = self.fair.slice(task) if self.fair.count else FOREVER
            return min(ns, self.fair_owed) if self.rt.count and self.fair_owed > 0 else ns
        ns = self.rt.slice(task) if self.rt.count else FOREVER
        if self.server_ns and self.fair.count:
            ns = min(ns, max(self.period_ns - self.server_ns - self.rt_used, 0))
        return ns

    def must_yield(self, task: Task) -> bool:
        """That time is over: whether another task is to run now."""
        if task.on is self.fair:
            return bool(self.rt.count and self.fair_owed <= 0) or self.fair.must_yield(task)
        return bool(self.fair_owed > 0 and self.fair.count) or self.rt.must_yield(task)

    def preempts(self, woken: Task, current: Task) -> bool:
        """Whether `woken`, just enqueued, should run at once; `current` is charged up to now."""
        if woken.on is current.on:
            return woken.on.preempts(woken, current)
        return woken.on is self.rt and not self.fair_owed > 0
