"""The seam between the scheduler and its policies.

The mechanism (`scheduler.py`, `cpu.py`) knows what runs where and what time it is; a policy decides who is next. Each
CPU has one run queue (`runqueue.py`): real-time tasks by fixed priority, and below them one `Class` of the machine's
policy for all others. A class sees CPU time only as `charge`, so that it works the same in virtual and in real time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from kernel.cost import Costs

if TYPE_CHECKING:
    from kernel.task import Task

WOKEN, PREEMPTED, EXPIRED, YIELDED, CREATED, MIGRATED, CHANGED = (
    "wakeup", "preempted", "slice", "yield", "created", "migrated", "priority",
)  # fmt: skip
"""Why a task enters a run queue."""


class Class(Protocol):
    """The runnable tasks of one policy on one CPU: those that wait, and `current` while it is one of them."""

    count: int
    """How many wait."""
    load: int
    """The weight of all, `current` among them."""
    current: Task | None

    def enqueue(self, task: Task, reason: str) -> None:
        """The task has become runnable, or comes from another CPU or class."""

    def put_back(self, task: Task, reason: str) -> None:
        """`current` gives way and could go on: PREEMPTED, EXPIRED or YIELDED."""

    def leave(self, task: Task, sleeps: bool) -> None:
        """`current` leaves: it sleeps or ends, or goes to another CPU or class."""

    def remove(self, task: Task) -> None:
        """A task that waits leaves, for another CPU or class."""

    def pick(self) -> Task | None:
        """Make the task that runs next `current`; None when nobody waits. There is no `current` at this moment."""

    def take(self, task: Task) -> None:
        """What `pick` does, for a task that waits and was chosen already."""

    def steal(self, cpu: int, most: int) -> Task | None:
        """Take out a task that waits, may run on that CPU and weighs at most so much; None when there is none."""

    def charge(self, task: Task, ran_ns: int) -> None:
        """`current` has used the CPU for that long since it was picked, or since the last charge."""

    def slice(self, task: Task) -> int:
        """How long `current` may run before it has to be looked at again, when others wait."""

    def must_yield(self, task: Task) -> bool:
        """That time is over: whether another one is to run now. If not, `slice` says until when it goes on."""

    def preempts(self, woken: Task, current: Task) -> bool:
        """Whether `woken`, just enqueued, should run at once instead of `current`, which is charged up to now."""


Policy = Callable[[Costs, int], Class]
"""A policy makes the class of one CPU of a machine that has so many CPUs."""


def policies() -> dict[str, Policy]:
    """The registry: what `--sched` takes."""
    from kernel.sched.eevdf import Eevdf
    from kernel.sched.fixed import FixedPriority
    from kernel.sched.rr import RoundRobin

    return {"eevdf": Eevdf, "rr": RoundRobin, "fixed": FixedPriority}


POLICIES = ("eevdf", "rr", "fixed")
"""Their names, the default first."""


def policy(name: str) -> Policy:
    """The policy of that name; ValueError names those that exist."""
    known = policies()
    if name not in known:
        raise ValueError(f"no scheduling policy {name!r}: there are {', '.join(known)}")
    return known[name]
