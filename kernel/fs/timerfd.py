"""timerfd(2): a timer whose expirations are read as a count.

Expirations are counted by arithmetic. As in Linux the timer of the machine is armed for one of them only, and again
when that one was read: a period of a nanosecond that nobody reads costs nothing.
"""

from __future__ import annotations

import struct
from typing import Any

from kernel.abi import EAGAIN, EINVAL, O_NONBLOCK, POLLIN, POLLRDNORM
from kernel.fs.file import File, FileOps, Sink
from kernel.fs.vfs import error
from kernel.sched.wait import WaitQueue


class TimerFd:
    """Armed while `timer.deadline` is set, or periodic while `interval` is."""

    __slots__ = ("first", "interval", "offset", "queue", "taken", "timeline", "timer")

    def __init__(self, timeline: Any, offset: int) -> None:
        self.timeline = timeline
        self.offset = offset
        self.queue = WaitQueue()
        self.first: int | None = None  # the first expiration
        self.interval = 0
        self.taken = 0  # expirations that were read
        self.timer = timeline.timer(self._expired)

    def _expired(self, now: int) -> None:
        self.queue.wake_all(POLLIN | POLLRDNORM)

    def again(self) -> None:
        """Wait for the next expiration, when there is one to come."""
        if self.interval and self.first is not None:
            self.timer.arm(self.first + self.total() * self.interval)

    def total(self) -> int:
        """Expirations since it was set."""
        now = self.timeline.now
        if self.first is None or now < self.first:
            return 0
        return 1 + (now - self.first) // self.interval if self.interval else 1

    def get(self) -> tuple[int, int]:
        """(time to the next expiration, interval); 0 when disarmed."""
        if self.first is None:
            return 0, self.interval
        total = self.total()
        if total and not self.interval:
            return 0, 0
        return self.first + total * self.interval - self.timeline.now, self.interval

    def set(self, value: int, interval: int, absolute: bool) -> tuple[int, int]:
        before = self.get()
        self.taken = 0
        self.interval = interval
        if not value:
            self.first = None
            self.timer.disarm()
            return before
        now = self.timeline.now
        self.first = max(value - self.offset, 0) if absolute else now + value
        if self.first <= now:
            self._expired(now)
        else:
            self.timer.arm(self.first)
        return before


class TimerFdOps(FileOps):
    __slots__ = ()

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        timer: TimerFd = file.private
        if n < 8:
            raise error(EINVAL, "timerfd reads 8 bytes")
        while True:
            count = timer.total() - timer.taken
            if count:
                timer.taken += count
                timer.again()
                return sink.put(struct.pack("=Q", count))
            if file.flags & O_NONBLOCK:
                raise error(EAGAIN, "timer has not expired")
            timer.queue.sleep(task)

    def poll(self, file: File) -> int:
        timer: TimerFd = file.private
        return POLLIN | POLLRDNORM if timer.total() > timer.taken else 0

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        return (file.private.queue,)

    def release(self, file: File) -> None:
        file.private.timer.disarm()


TIMERFD = TimerFdOps()
