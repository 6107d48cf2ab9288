"""pidfd: a process as a descriptor (pidfd_open(2)). It is readable when the process has ended, and never means another
process, though the pid may be used again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import POLLHUP, POLLIN, POLLRDNORM
from kernel.fs.file import File, FileOps
from kernel.sched.wait import WaitQueue

if TYPE_CHECKING:
    from kernel.task import ThreadGroup


class PidFdOps(FileOps):
    __slots__ = ()
    pidfd = True

    def poll(self, file: File) -> int:
        group: ThreadGroup = file.private
        if group.exit_status is None:
            return 0
        reaped = group.parent is None or group.parent.children.get(group.pid) is not group
        return POLLIN | POLLRDNORM | (POLLHUP if reaped else 0)

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        group: ThreadGroup = file.private
        if group.exit_queue is None:
            group.exit_queue = WaitQueue()
        return (group.exit_queue,)


PIDFD = PidFdOps()
