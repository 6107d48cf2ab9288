"""signalfd(2): pending signals of the reader's process, read as structures of 128 bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kernel.abi import EAGAIN, EINVAL, O_NONBLOCK, POLLIN, POLLRDNORM
from kernel.fs.file import File, FileOps, Sink
from kernel.fs.vfs import error
from kernel.sched.wait import WaitQueue

if TYPE_CHECKING:
    from kernel.signal import SigInfo

SIZE = 128
_LAYOUT = struct.Struct("=IiiIIiIIIIiiQQQQ")


class SignalFd:
    """The signals it takes, as a mask."""

    __slots__ = ("machine", "mask", "queue")

    def __init__(self, machine: Any, mask: int) -> None:
        self.machine = machine
        self.mask = mask
        self.queue = WaitQueue()


def packed(info: SigInfo) -> bytes:
    """struct signalfd_siginfo."""
    return _LAYOUT.pack(
        info.si_signo, 0, info.si_code, info.si_pid, info.si_uid, 0, 0, 0, 0, 0, info.si_status, info.si_value,
        info.si_value & 0xFFFFFFFFFFFFFFFF, 0, 0, info.si_addr,
    ).ljust(SIZE, b"\0")  # fmt: skip


class SignalFdOps(FileOps):
    __slots__ = ()

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        held: SignalFd = file.private
        if n < SIZE:
            raise error(EINVAL, "signalfd reads 128 bytes")
        signals = task.machine.signals
        done = 0
        while True:
            while n - done >= SIZE:
                info = signals.take(task, held.mask)
                if info is None:
                    break
                done += sink.put(packed(info))
            signals.recalculate(task)
            if done:
                return done
            if file.flags & O_NONBLOCK:
                raise error(EAGAIN, "no signal is pending")
            queue = signals.waiting_queue(task.group.pid)
            try:
                queue.sleep(task)
            finally:
                signals.forget_queue(task.group.pid)

    def poll(self, file: File) -> int:
        """Asked for the task that runs: the signals pending for it."""
        held: SignalFd = file.private
        task = held.machine.scheduler.running
        if task is None:
            return POLLIN | POLLRDNORM
        for info in (*task.pending, *task.group.pending):
            if held.mask >> info.si_signo - 1 & 1:
                return POLLIN | POLLRDNORM
        return 0

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        held: SignalFd = file.private
        task = held.machine.scheduler.running
        return () if task is None else (held.machine.signals.waiting_queue(task.group.pid),)


SIGNALFD = SignalFdOps()
