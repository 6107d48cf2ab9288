"""eventfd(2): a 64-bit counter to be woken by."""

from __future__ import annotations

import struct
from typing import Any

from kernel.abi import EAGAIN, EINVAL, O_NONBLOCK, POLLERR, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from kernel.fs.file import File, FileOps, Sink, Source
from kernel.fs.vfs import error
from kernel.sched.wait import WaitQueue

MAX = (1 << 64) - 1


class EventFd:
    """A read takes the count (or 1 of it, as a semaphore); a write adds and waits where it would overflow."""

    __slots__ = ("count", "queue", "semaphore")

    def __init__(self, count: int, semaphore: bool) -> None:
        self.count = count
        self.semaphore = semaphore
        self.queue = WaitQueue()


class EventFdOps(FileOps):
    __slots__ = ()

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        event: EventFd = file.private
        if n < 8:
            raise error(EINVAL, "eventfd reads 8 bytes")
        while not event.count:
            if file.flags & O_NONBLOCK:
                raise error(EAGAIN, "eventfd is 0")
            event.queue.sleep(task)
        value = 1 if event.semaphore else event.count
        event.count -= value
        event.queue.wake_all(POLLOUT | POLLWRNORM)
        return sink.put(struct.pack("=Q", value))

    def write(self, file: File, task: Any, source: Source, n: int, pos: int) -> int:
        event: EventFd = file.private
        if n != 8:
            raise error(EINVAL, "eventfd writes 8 bytes")
        (value,) = struct.unpack("=Q", bytes(source.peek(8)))  # a write that is made again finds them
        if value == MAX:
            raise error(EINVAL, "eventfd value")
        while MAX - event.count <= value:
            if file.flags & O_NONBLOCK:
                raise error(EAGAIN, "eventfd is full")
            event.queue.sleep(task)
        source.skip(8)
        event.count += value
        event.queue.wake_all(POLLIN | POLLRDNORM)
        return 8

    def poll(self, file: File) -> int:
        count = file.private.count
        mask = POLLIN | POLLRDNORM if count else 0
        if count < MAX - 1:
            mask |= POLLOUT | POLLWRNORM
        return mask | (POLLERR if count == MAX else 0)

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        return (file.private.queue,)


EVENTFD = EventFdOps()
