"""Wait queues: the one mechanism by which anything in the kernel waits for anything else.

A task that finds its condition false sleeps on the queue of whoever will make it true, and looks again when it has
been woken (another task may have been faster). Nothing passes between that look and the entry in the queue, since
nothing here spends time before the task is on it: so no wakeup is lost. poll, select and epoll subscribe a callback
instead of sleeping, to as many queues as they like.

Order is first come, first woken. Callbacks run before sleepers are woken, the newest first (as Linux); they run inside
the call of `wake`, so they must not block. Exclusive ones (EPOLLEXCLUSIVE) come after the others, the oldest first, and
where one says that it has woken somebody, those behind it are not told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kernel.abi import POLLERR, POLLHUP, POLLRDHUP

if TYPE_CHECKING:
    from kernel.task import Task

ANY = 0xFFFF
"""The poll mask of a wakeup that does not say what became ready."""


class Interrupted(Exception):
    """A sleep ended because a signal is pending. The way back to user mode makes it EINTR or a restart.

    Raise it (or let it pass) only while nothing has been transferred: the call may be made again from its start, or
    continued by the function given as `Interrupted(resume)` (Linux's restart_syscall: a sleep with what is left of
    its time).
    """


Watcher = Callable[[int], object]
_FOR_ALL = POLLERR | POLLHUP | POLLRDHUP


class WaitQueue:
    """Tasks that sleep until `wake`, and callbacks of those that watch for it."""

    __slots__ = ("sleepers", "watchers")

    def __init__(self) -> None:
        self.sleepers: list[Task] | None = None
        self.watchers: Watcher | dict[Watcher, bool] | None = None
        """The one that there mostly is at most, or several in the order of subscription: whether exclusive."""

    def sleep(self, task: Task, timeout_ns: int | None = None, interruptible: bool = True) -> bool:
        """Block `task` (the running one) until woken: True; or until `timeout_ns` have passed: False.

        Raises Interrupted when a signal that is not blocked is pending already, unless not `interruptible`: then only
        the wakeup or the timeout ends it. A signal that ends a sleep counts as a wakeup: the caller looks at its
        condition first, as in Linux, and is told when it would sleep again.
        """
        task.outcome = 0
        sleepers = self.sleepers
        if sleepers is None:
            sleepers = self.sleepers = []
        sleepers.append(task)
        try:
            return task.block(timeout_ns, interruptible)
        except Interrupted:
            if not task.outcome:
                raise
            return True
        finally:
            if task in sleepers:
                sleepers.remove(task)

    def wake(self, n: int = 1, mask: int = ANY) -> int:
        """Wake up to `n` sleepers, first come first, and tell every watcher. How many sleepers were woken.

        `mask` (POLLIN, POLLOUT, ...) says what became ready, for watchers that care for some of it only.
        """
        watchers = self.watchers
        if watchers is not None:
            if isinstance(watchers, dict):
                _tell(watchers, mask)
            else:
                watchers(mask)
        sleepers = self.sleepers
        if not sleepers:
            return 0
        woken = 0
        while sleepers and woken < n:
            if sleepers.pop(0).wakeup():  # False: a signal or the timeout was there before
                woken += 1
        return woken

    def wake_all(self, mask: int = ANY) -> int:
        """Wake every sleeper and tell every watcher."""
        return self.wake(1 << 60, mask)

    def subscribe(self, callback: Watcher, exclusive: bool = False) -> Watcher:
        """Have `callback(mask)` called at each wakeup (once, if given twice) until `unsubscribe(callback)`."""
        watchers = self.watchers
        if isinstance(watchers, dict):
            watchers[callback] = exclusive
        elif exclusive:
            self.watchers = {callback: True} if watchers is None else {watchers: False, callback: True}
        elif watchers is None or watchers == callback:
            self.watchers = callback
        else:
            self.watchers = {watchers: False, callback: False}
        return callback

    def unsubscribe(self, callback: Watcher) -> None:
        """End a subscription; no error when it has ended already."""
        watchers = self.watchers
        if isinstance(watchers, dict):
            watchers.pop(callback, None)
            if watchers:
                return
        elif watchers != callback:
            return
        self.watchers = None

    def __len__(self) -> int:
        """How many tasks sleep here."""
        return len(self.sleepers) if self.sleepers else 0


def _tell(watchers: dict[Watcher, bool], mask: int) -> None:
    """Several watchers of one queue; an end or an error is for all of them."""
    exclusive: list[Watcher] = []
    for callback, alone in reversed(list(watchers.items())):
        if alone:
            exclusive.append(callback)
        else:
            callback(mask)
    for callback in reversed(exclusive):
        if callback(mask) and not mask & _FOR_ALL:
            return
