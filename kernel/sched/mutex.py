"""The kernel's sleeping lock: an owner, waiters by priority, and priority inheritance.

While somebody waits, the owner runs with the best priority among those who wait for any lock it holds; if it waits for
a lock itself, its booster's priority goes on to the owner of that one, and so on along the chain. So a task of middling
priority cannot keep a low one, and with it a high one, from running. At the release the lock is handed to the best
waiter (first come among equals), which owns it from that moment on.

A wait is not interruptible: the owner releases on its way out, whatever happens to it. Kernel code takes locks in a
fixed order; a cycle would be a bug of the kernel and is reported as one.

Invariants: `owner.held` has the mutex exactly while somebody waits for it; `task.boost` is the best priority of the
waiters of all it holds; `task.blocked_on` is the mutex in whose `waiters` the task is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.sched.priority import NO_BOOST
from kernel.task import Killed

if TYPE_CHECKING:
    from kernel.task import Task


class Mutex:
    """A lock that tasks hold across time that passes: `acquire(task)`, then `release(task)` in a `finally`."""

    __slots__ = ("contended", "owner", "waiters")

    def __init__(self) -> None:
        self.owner: Task | None = None
        self.waiters: list[Task] | None = None
        """The best first; those of one priority in the order in which they came."""
        self.contended = 0
        """How often somebody had to wait for it."""

    def acquire(self, task: Task) -> None:
        """Take the lock for the running task, which does not hold it; sleeps until it is free."""
        owner = self.owner
        if owner is None:
            self.owner = task
            return
        self.contended += 1
        if self.waiters is None:
            self.waiters = []
        if not self.waiters:
            _hold(owner, self)
        self._queue(task)
        task.blocked_on = self
        try:
            _boost(owner, task)
            while self.owner is not task:
                task.block(None, False)
                if task.machine.scheduler.draining and self.owner is not task:
                    raise Killed
        finally:
            task.blocked_on = None
            if task in self.waiters:  # the machine is closed
                self.waiters.remove(task)

    def release(self, task: Task) -> None:
        """Give it to the best waiter, or free it."""
        waiters = self.waiters
        if not waiters:
            self.owner = None
            return
        assert task.held is not None
        task.held.remove(self)
        self.owner = heir = waiters.pop(0)
        heir.blocked_on = None
        if waiters:
            _hold(heir, self)
        scheduler = task.machine.scheduler
        scheduler.set_boost(heir, _best_waiter(heir))
        heir.wakeup()
        scheduler.set_boost(task, _best_waiter(task))

    def _queue(self, task: Task) -> None:
        """Behind all that are as good or better."""
        waiters = self.waiters
        assert waiters is not None
        at = len(waiters)
        while at and waiters[at - 1].prio > task.prio:
            at -= 1
        waiters.insert(at, task)

    def requeue(self, task: Task) -> None:
        """The priority of a waiter has changed."""
        assert self.waiters is not None
        self.waiters.remove(task)
        self._queue(task)


def _hold(owner: Task, mutex: Mutex) -> None:
    if owner.held is None:
        owner.held = [mutex]
    else:
        owner.held.append(mutex)


def _best_waiter(task: Task) -> int:
    """The best priority that waits for anything the task holds."""
    return min((mutex.waiters[0].prio for mutex in task.held or () if mutex.waiters), default=NO_BOOST)


def _boost(owner: Task, waiter: Task) -> None:
    """Carry the priority of a new waiter along the chain of owners."""
    scheduler = waiter.machine.scheduler
    while True:
        if owner is waiter:
            raise RuntimeError(f"kernel locks in a circle: pid {waiter.pid} waits for itself")
        scheduler.set_boost(owner, _best_waiter(owner))
        lock = owner.blocked_on
        if lock is None or lock.owner is None:
            return
        lock.requeue(owner)
        owner = lock.owner
