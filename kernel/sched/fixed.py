"""Fixed priority: the best priority runs; equals in the order in which they came (sched(7), POSIX).

`RealTime` is the class of SCHED_FIFO and SCHED_RR on every machine, above the fair class. A task that is preempted
stays first of its priority, one that yields or whose quantum is over (SCHED_RR, 100 ms) goes last, and so does one that
wakes. A SCHED_FIFO task runs until it sleeps, yields or somebody better comes.

`FixedPriority` is the same for a whole machine (`--sched fixed`): nice is the priority, and nothing else counts. It
starves whom it has to: that is what it is for.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from drivers.clock import FOREVER
from kernel.abi import SCHED_RR
from kernel.cost import Costs
from kernel.sched.policy import EXPIRED, PREEMPTED

if TYPE_CHECKING:
    from kernel.task import Task


class FixedPriority:
    """A queue for each priority, and a bit for each queue that is not empty."""

    __slots__ = ("_bits", "_levels", "count", "current", "load", "quantum_ns")

    def __init__(self, costs: Costs, cpus: int) -> None:
        self.quantum_ns = costs.rt_quantum
        self.count = 0
        self.load = 0
        self.current: Task | None = None
        self._levels: dict[int, deque[Task]] = {}
        self._bits = 0

    @property
    def best(self) -> int:
        """The best priority that waits. Somebody must."""
        bits = self._bits
        return (bits & -bits).bit_length() - 1

    def enqueue(self, task: Task, reason: str) -> None:
        self.load += task.weight
        if task.rr_left <= 0:
            task.rr_left = self.quantum_ns
        self._push(task, False)

    def put_back(self, task: Task, reason: str) -> None:
        self.current = None
        if task.rr_left <= 0:
            task.rr_left = self.quantum_ns
        self._push(task, reason == PREEMPTED or (reason == EXPIRED and task.policy != SCHED_RR))

    def _push(self, task: Task, first: bool) -> None:
        self.count += 1
        level = self._levels.get(task.prio)
        if level is None:
            level = self._levels[task.prio] = deque()
        if first:
            level.appendleft(task)
        else:
            level.append(task)
        self._bits |= 1 << task.prio

    def leave(self, task: Task, sleeps: bool) -> None:
        self.current = None
        self.load -= task.weight
        if sleeps:
            task.rr_left = self.quantum_ns

    def remove(self, task: Task) -> None:
        level = self._levels[task.prio]
        level.remove(task)
        self.count -= 1
        self.load -= task.weight
        if not level:
            self._bits &= ~(1 << task.prio)

    def pick(self) -> Task | None:
        if not self.count:
            return None
        prio = self.best
        level = self._levels[prio]
        self.current = task = level.popleft()
        self.count -= 1
        if not level:
            self._bits &= ~(1 << prio)
        return task

    def take(self, task: Task) -> None:
        self.remove(task)
        self.load += task.weight
        self.current = task

    def has(self, cpu: int, above: int) -> bool:
        """Whether a task waits that is better than `above` and may run on that CPU."""
        return any(
            prio < above and any(task.affinity is None or task.affinity >> cpu & 1 for task in level)
            for prio, level in self._levels.items()
        )

    def steal(self, cpu: int, most: int) -> Task | None:
        bits = self._bits
        while bits:
            prio = (bits & -bits).bit_length() - 1
            bits &= bits - 1
            for task in self._levels[prio]:
                if task.weight <= most and (task.affinity is None or task.affinity >> cpu & 1):
                    self.remove(task)
                    return task
        return None

    def charge(self, task: Task, ran_ns: int) -> None:
        task.rr_left -= ran_ns

    def slice(self, task: Task) -> int:
        if task.policy != SCHED_RR:
            return FOREVER
        if task.rr_left <= 0:
            task.rr_left = self.quantum_ns
        return task.rr_left

    def must_yield(self, task: Task) -> bool:
        if not self.count:
            return False
        best = self.best
        if task.policy == SCHED_RR and task.rr_left <= 0:
            return best <= task.prio
        return best < task.prio

    def preempts(self, woken: Task, current: Task) -> bool:
        return woken.prio < current.prio


RealTime = FixedPriority
