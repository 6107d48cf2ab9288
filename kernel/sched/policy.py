"""The seam between the scheduler and its policies.

The mechanism (`scheduler.py`, `cpu.py`) knows what runs where and what time it is; a policy decides who is next. Each
CPU has one run queue of the machine's policy. A policy sees CPU time only as `charge`, so that it works the same in
virtual and in real time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from kernel.cost import Costs

if TYPE_CHECKING:
    from kernel.task import Task

WOKEN, PREEMPTED, EXPIRED, YIELDED, CREATED, MIGRATED = "wakeup", "preempted", "slice", "yield", "created", "migrated"
"""Why a task enters a run queue."""


class RunQueue(Protocol):
    """The runnable tasks of one CPU. The one that runs is not among them."""

    def __len__(self) -> int: ...

    def enqueue(self, task: Task, reason: str) -> None:
        """The task has become runnable (or stopped running but could go on); `reason` is one of the words above."""

    def remove(self, task: Task) -> None:
        """The task leaves without having run (it migrates, or dies)."""

    def pick(self) -> Task | None:
        """Take out the task that runs next; None when there is none."""

    def steal(self) -> Task | None:
        """Take out the task that an idle CPU may have; None when there is none to give."""

    def charge(self, task: Task, ran_ns: int) -> None:
        """The running task has used the CPU for that long since it was picked, or since the last charge."""

    def slice(self, task: Task) -> int:
        """How long the task, just picked or renewed, may run while others wait."""

    def preempts(self, woken: Task, current: Task) -> bool:
        """Whether `woken`, just enqueued, should run at once instead of `current`."""


Policy = Callable[[Costs], RunQueue]
"""A policy makes the run queue of one CPU."""


def policies() -> dict[str, Policy]:
    """The registry: what `--sched` takes."""
    from kernel.sched.rr import RoundRobin

    return {"rr": RoundRobin}


def policy(name: str) -> Policy:
    """The policy of that name; ValueError names those that exist."""
    known = policies()
    if name not in known:
        raise ValueError(f"no scheduling policy {name!r}: there are {', '.join(known)}")
    return known[name]
