"""Round robin: every runnable task gets a slice in turn.

A task that sleeps keeps what is left of its slice, and when it wakes it runs at once with that: so a server answers
promptly beside busy loops. When the slice is used up the task goes behind everybody else with a new one, so that
tasks that keep waking each other cannot starve the rest: between two turns of a task every other one gets at most a
slice, and one that has been waiting runs after at most (tasks - 1) slices.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kernel.cost import Costs
from kernel.sched.policy import EXPIRED, PREEMPTED, WOKEN, YIELDED

if TYPE_CHECKING:
    from kernel.task import Task


class RoundRobin:
    """The run queue of one CPU. `urgent` holds tasks with a slice begun: woken ones, then the one they preempted."""

    __slots__ = ("slice_ns", "turns", "urgent")

    def __init__(self, costs: Costs) -> None:
        self.slice_ns = costs.slice
        self.urgent: deque[Task] = deque()
        self.turns: deque[Task] = deque()

    def __len__(self) -> int:
        return len(self.urgent) + len(self.turns)

    def enqueue(self, task: Task, reason: str) -> None:
        if reason in (EXPIRED, YIELDED) or task.slice_left <= 0:
            task.slice_left = self.slice_ns
            self.turns.append(task)
        elif reason == WOKEN:
            self.urgent.append(task)
        elif reason == PREEMPTED:
            self.turns.appendleft(task)
        else:
            self.turns.append(task)

    def remove(self, task: Task) -> None:
        (self.urgent if task in self.urgent else self.turns).remove(task)

    def pick(self) -> Task | None:
        if self.urgent:
            return self.urgent.popleft()
        if self.turns:
            return self.turns.popleft()
        return None

    def steal(self) -> Task | None:
        return self.pick()

    def charge(self, task: Task, ran_ns: int) -> None:
        task.slice_left -= ran_ns

    def slice(self, task: Task) -> int:
        if task.slice_left <= 0:
            task.slice_left = self.slice_ns
        return task.slice_left

    def preempts(self, woken: Task, current: Task) -> bool:
        return bool(self.urgent) and self.urgent[0] is woken
