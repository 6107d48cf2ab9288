"""Readiness: poll, select and epoll over the wait queues of files.

`wait_ready` is poll(2): ask every file once; when none is ready, subscribe to the queues of all, sleep, ask again.

epoll turns that round. An item subscribes to its file's queues once, when it is added. A wakeup puts the item on the
ready list of its epoll, and `epoll_wait` looks at that list only, so idle descriptors cost nothing however many there
are. A level-triggered item that is still ready goes back to the end of the list; an edge-triggered one waits for the
next wakeup; a one-shot one is disarmed. An item lives as long as the open description, not the descriptor (epoll(7)).
POLLERR and POLLHUP are always reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from kernel import abi
from kernel.abi import (
    EEXIST,
    EINVAL,
    ELOOP,
    ENOENT,
    EPERM,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLONESHOT,
    EPOLLWAKEUP,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLRDNORM,
)
from kernel.fs.file import File, FileOps
from kernel.fs.regular import DirectoryOps, RegularOps
from kernel.fs.vfs import error
from kernel.sched.wait import Interrupted, WaitQueue

if TYPE_CHECKING:
    from kernel.task import Task

ALWAYS = POLLERR | POLLHUP
_NEST = 4


class _Waker:
    """What a polling task leaves at each queue."""

    __slots__ = ("task",)

    def __init__(self, task: Task) -> None:
        self.task = task

    def __call__(self, mask: int) -> None:
        self.task.wakeup()


def wait_ready(task: Task, entries: Sequence[tuple[File | None, int]], deadline: int | None) -> list[int]:
    """The ready bits of each (file, events), as poll(2): waits until one is not 0 or `deadline` (ns; None: for ever).

    A None file is POLLNVAL. Raises Interrupted with a continuation that keeps the deadline.
    """
    masks = _ask(entries)
    if any(masks) or (deadline is not None and deadline <= task.now):
        return masks
    waker = _Waker(task)
    held: list[WaitQueue] = []
    for file, _ in entries:
        if file is not None:
            for queue in file.ops.wait_queues(file):
                queue.subscribe(waker)
                held.append(queue)
    try:
        while True:
            # Nothing spends time between the question and the sleep, so no wakeup is lost.
            masks = _ask(entries)
            if any(masks):
                return masks
            left = None if deadline is None else deadline - task.now
            if left is not None and left <= 0:
                return masks
            task.block(left)
    except Interrupted:
        masks = _ask(entries)  # what became ready meanwhile counts more than the signal
        if any(masks):
            return masks
        raise Interrupted(partial(wait_ready, task, entries, deadline)) from None
    finally:
        for queue in held:
            queue.unsubscribe(waker)


def _ask(entries: Sequence[tuple[File | None, int]]) -> list[int]:
    return [
        POLLNVAL if file is None else file.ops.ready(file, events | ALWAYS) if events >= 0 else 0
        for file, events in entries
    ]


# ---- epoll ----


class EpItem:
    """One file watched by one epoll."""

    __slots__ = ("armed", "data", "ep", "events", "fd", "file", "next", "queue", "queued", "queues")

    def __init__(self, ep: EventPoll, fd: int, file: File, events: int, data: Any) -> None:
        self.ep = ep
        self.fd = fd
        self.file = file
        self.events = events
        self.data = data
        self.armed = True
        self.queued = False
        self.queue: WaitQueue | None = None
        """The queue it watches, and `queues` the others: mostly there are none."""
        self.queues: tuple[WaitQueue, ...] = ()
        self.next: EpItem | None = None
        """The next one that watches the same file."""

    def __call__(self, mask: int) -> bool:
        return self.woken(mask)

    def woken(self, mask: int) -> bool:
        """A queue of the file was woken. Whether somebody waited here for that."""
        if not self.armed or not mask & (self.events | ALWAYS):
            return False
        ep = self.ep
        if not self.queued:
            self.queued = True
            ep.ready[self] = None
        return ep.waiters.wake(1, POLLIN | POLLRDNORM) > 0

    def ready(self) -> int:
        file = self.file
        return file.ops.ready(file, (self.events | ALWAYS) & 0xFFFF) if self.armed else 0

    def subscribe(self) -> None:
        queues = self.file.ops.wait_queues(self.file)
        for queue in queues:
            queue.subscribe(self, bool(self.events & EPOLLEXCLUSIVE))
        if queues:
            self.queue, self.queues = queues[0], queues[1:]

    def drop(self) -> None:
        """The description is gone, or the item was deleted."""
        if self.queue is not None:
            self.queue.unsubscribe(self)
            for queue in self.queues:
                queue.unsubscribe(self)
            self.queue, self.queues = None, ()
        self.armed = False
        self.ep.items.pop(self, None)
        if self.queued:
            self.queued = False
            del self.ep.ready[self]
        file = self.file
        if file.epitems is self:
            file.epitems = self.next
            return
        item = file.epitems
        while item is not None:
            if item.next is self:
                item.next = self.next
            item = item.next


class EventPoll:
    """The interest list and the ready list of one epoll descriptor."""

    __slots__ = ("items", "ready", "waiters")

    def __init__(self) -> None:
        self.items: dict[EpItem, None] = {}
        self.ready: dict[EpItem, None] = {}  # in order of arrival
        self.waiters = WaitQueue()

    def queue(self, item: EpItem) -> None:
        if not item.queued:
            item.queued = True
            self.ready[item] = None
        self.waiters.wake(1, POLLIN | POLLRDNORM)

    def find(self, fd: int, file: File) -> EpItem | None:
        item: EpItem | None = file.epitems
        while item is not None and (item.ep is not self or item.fd != fd):
            item = item.next
        return item

    def add(self, fd: int, file: File, events: int, data: Any) -> None:
        if self.find(fd, file) is not None:
            raise error(EEXIST, fd)
        item = EpItem(self, fd, file, events & 0xFFFFFFFF, data)
        self.items[item] = None
        item.next = file.epitems
        file.epitems = item
        item.subscribe()
        if item.ready():
            self.queue(item)

    def modify(self, fd: int, file: File, events: int, data: Any) -> None:
        item = self.find(fd, file)
        if item is None:
            raise error(ENOENT, fd)
        if (item.events | events) & EPOLLEXCLUSIVE:
            raise error(EINVAL, "EPOLLEXCLUSIVE cannot be modified")
        item.events = events & 0xFFFFFFFF
        item.data = data
        item.armed = True
        if item.ready():
            self.queue(item)

    def delete(self, fd: int, file: File) -> None:
        item = self.find(fd, file)
        if item is None:
            raise error(ENOENT, fd)
        item.drop()

    def collect(self, most: int) -> list[tuple[Any, int]]:
        """Up to `most` events off the ready list."""
        events: list[tuple[Any, int]] = []
        batch = self.ready
        if not batch:
            return events
        if len(batch) == 1:  # mostly there is one, which stays on the list or leaves it
            for item in batch:
                wanted = item.events
                file = item.file
                mask = file.ops.ready(file, (wanted | ALWAYS) & 0xFFFF) if item.armed else 0
                if mask:
                    events.append((item.data, mask))
                    if wanted & EPOLLONESHOT:
                        item.armed = False
                if not mask or wanted & (EPOLLONESHOT | EPOLLET):
                    item.queued = False
                    del batch[item]
                return events
        ready: dict[EpItem, None] = {}
        self.ready = ready
        again: list[EpItem] = []
        for item in batch:
            if len(events) == most:
                ready[item] = None
                continue
            item.queued = False
            if not item.armed:
                continue
            file, wanted = item.file, item.events
            mask = file.ops.ready(file, (wanted | ALWAYS) & 0xFFFF)
            if not mask:
                continue
            events.append((item.data, mask))
            if wanted & EPOLLONESHOT:
                item.armed = False
            elif not wanted & EPOLLET:
                again.append(item)
        for item in again:
            if not item.queued:
                item.queued = True
                ready[item] = None
        return events

    def any_ready(self) -> bool:
        """Whether a collect would give anything; forgets items that are not ready after all."""
        for item in list(self.ready):
            if item.ready():
                return True
            del self.ready[item]
            item.queued = False
        return False


class EpollOps(FileOps):
    __slots__ = ()

    def ioctl(self, file: File, task: Task, request: int, arg: Any) -> Any:
        raise error(EINVAL, f"ioctl {request:#x} on an epoll")

    def poll(self, file: File) -> int:
        return POLLIN | POLLRDNORM if file.private.any_ready() else 0

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        return (file.private.waiters,)

    def release(self, file: File) -> None:
        ep: EventPoll = file.private
        for item in list(ep.items):
            item.drop()


EPOLL = EpollOps()


def _depth(ep: EventPoll, target: EventPoll, level: int) -> int:
    """How deep epolls nest below `ep`; ELOOP when `target` is among them or it is too deep."""
    if ep is target or level > _NEST:
        raise error(ELOOP, "epoll in a circle")
    deepest = level
    for item in list(ep.items):
        if isinstance(item.file.private, EventPoll):
            deepest = max(deepest, _depth(item.file.private, target, level + 1))
    return deepest


def epoll_control(ep_file: File, op: int, fd: int, file: File, events: int, data: Any) -> None:
    """epoll_ctl(2) on descriptions."""
    if isinstance(file.ops, (RegularOps, DirectoryOps)) or not file.ops.pollable:
        raise error(EPERM, "always ready: epoll does not take it")
    ep = ep_file.private
    if file is ep_file or not isinstance(ep, EventPoll):
        raise error(EINVAL, "epoll_ctl")
    if op == abi.EPOLL_CTL_ADD:
        if events & EPOLLEXCLUSIVE:
            allowed = 0xFFFF & (abi.EPOLLIN | abi.EPOLLOUT | ALWAYS) | EPOLLET | EPOLLEXCLUSIVE | EPOLLWAKEUP
            if events & ~allowed or isinstance(file.private, EventPoll):
                raise error(EINVAL, "EPOLLEXCLUSIVE")
        if isinstance(file.private, EventPoll):
            _depth(file.private, ep, 1)
        ep.add(fd, file, events, data)
    elif op == abi.EPOLL_CTL_MOD:
        ep.modify(fd, file, events, data)
    elif op == abi.EPOLL_CTL_DEL:
        ep.delete(fd, file)
    else:
        raise error(EINVAL, f"epoll_ctl operation {op}")


def epoll_collect(task: Task, ep_file: File, most: int, deadline: int | None) -> list[tuple[Any, int]]:
    """epoll_wait(2): sleeps until something is ready, or `deadline`."""
    ep: EventPoll = ep_file.private
    while True:
        events = ep.collect(most)
        if events:
            waiters = ep.waiters
            if ep.ready and (waiters.sleepers or waiters.watchers is not None):
                waiters.wake(1, POLLIN | POLLRDNORM)
            return events
        left = None if deadline is None else deadline - task.now
        if left is not None and left <= 0:
            return []
        ep.waiters.sleep(task, left)
