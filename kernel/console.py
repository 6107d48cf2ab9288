"""The console as a file: a byte-transparent pipe to the outside.

A read that finds nothing makes the whole machine wait for the host while virtual time stands still (in real time the
task sleeps until the host's descriptor is readable). Line discipline and job control are the tty's, not done here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers.clock import RealTimeline
from drivers.console import Console
from kernel.abi import EAGAIN, EPIPE, O_NONBLOCK, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, SIGPIPE
from kernel.fs.file import File, FileOps, Sink, Source
from kernel.fs.vfs import error
from kernel.sched.wait import WaitQueue

if TYPE_CHECKING:
    from kernel.machine import Machine
    from kernel.task import Task


class ConsoleOps(FileOps):
    """Operations on one console of a machine."""

    __slots__ = ("console", "machine", "queue", "watching")

    def __init__(self, machine: Machine, console: Console) -> None:
        self.machine = machine
        self.console = console
        self.queue = WaitQueue()
        self.watching = False
        console.on_readable = self._readable

    def _readable(self) -> None:
        self.queue.wake_all(POLLIN | POLLRDNORM)

    def _watch(self) -> None:
        """Real time: have the timeline tell when the host's descriptor is readable."""
        timeline = self.machine.timeline
        fd = self.console.fileno()
        if isinstance(timeline, RealTimeline) and fd is not None and not self.watching:
            self.watching = True

            def readable(now: int) -> None:
                timeline.unwatch(fd)
                self.watching = False
                self._readable()

            timeline.watch(fd, readable)

    def read(self, file: File, task: Task, sink: Sink, n: int, pos: int) -> int:
        console = self.console
        while True:
            data = console.read(n)
            if data is not None:
                task.spend(task.machine.costs.copy(len(data)))
                return sink.put(data) if data else 0
            if file.flags & O_NONBLOCK:
                raise OSError(EAGAIN, "nothing was typed")
            if not self.machine.real and console.wait():
                continue
            self._watch()
            self.queue.sleep(task)

    def write(self, file: File, task: Task, source: Source, n: int, pos: int) -> int:
        task.spend(task.machine.costs.copy(n))
        try:
            return self.console.write(source.take(n))
        except BrokenPipeError:  # whoever read the host's end of it is gone
            task.send_signal(SIGPIPE)
            raise error(EPIPE) from None

    def poll(self, file: File) -> int:
        mask = POLLOUT | POLLWRNORM
        if self.console.readable():
            mask |= POLLIN | POLLRDNORM
        return mask

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        self._watch()
        return (self.queue,)
