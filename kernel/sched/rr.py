"""Round robin: every runnable task gets a slice in turn.

A task that sleeps keeps what is left of its slice, and when it wakes it runs at once with that: so a server answers
promptly beside busy loops. When the slice is used up the task goes behind everybody else with a new one, so that
tasks that keep waking each other cannot starve the rest: between two turns of a task every other one gets at most a
slice, and one that has been waiting runs after at most (tasks - 1) slices. Nice values have no meaning here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kernel.cost import Costs
from kernel.sched.policy import EXPIRED, PREEMPTED, WOKEN, YIELDED

if TYPE_CHECKING:
    from kernel.task import Task


class RoundRobin:
    """The tasks of one CPU. `urgent` holds those with a slice begun: woken ones, then the one they preempted."""

    __slots__ = ("count", "current", "load", "slice_ns", "turns", "urgent")

    def __init__(self, costs: Costs, cpus: int) -> None:
        self.slice_ns = costs.slice
        self.count = 0
        self.load = 0
        self.current: Task | None = None
        self.urgent: deque[Task] = deque()
        self.turns: deque[Task] = deque()

    def enqueue(self, task: Task, reason: str) -> None:
        self.load += task.weight
        self._push(task, reason)

    def put_back(self, task: Task, reason: str) -> None:
        self.current = None
        self._push(task, reason)

    def _push(self, task: Task, reason: str) -> None:
        self.count += 1
        if reason in (EXPIRED, YIELDED) or task.slice_left <= 0:
            task.slice_left = self.slice_ns
            self.turns.append(task)
        elif reason == WOKEN:
            self.urgent.append(task)
        elif reason == PREEMPTED:
            self.turns.appendleft(task)
        else:
            self.turns.append(task)

    def leave(self, task: Task, sleeps: bool) -> None:
        self.current = None
        self.load -= task.weight

    def remove(self, task: Task) -> None:
        self.count -= 1
        self.load -= task.weight
        (self.urgent if task in self.urgent else self.turns).remove(task)

    def pick(self) -> Task | None:
        if not self.count:
            return None
        self.count -= 1
        self.current = task = (self.urgent or self.turns).popleft()
        return task

    def take(self, task: Task) -> None:
        self.remove(task)
        self.load += task.weight
        self.current = task

    def steal(self, cpu: int, most: int) -> Task | None:
        for queue in (self.urgent, self.turns):
            for task in queue:
                if task.weight <= most and (task.affinity is None or task.affinity >> cpu & 1):
                    self.remove(task)
                    return task
        return None

    def charge(self, task: Task, ran_ns: int) -> None:
        task.slice_left -= ran_ns

    def slice(self, task: Task) -> int:
        if task.slice_left <= 0:
            task.slice_left = self.slice_ns
        return task.slice_left

    def must_yield(self, task: Task) -> bool:
        return task.slice_left <= 0 and self.count > 0

    def preempts(self, woken: Task, current: Task) -> bool:
        return bool(self.urgent) and self.urgent[0] is woken
