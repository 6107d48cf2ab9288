"""Where a task sleeps: the function of the kernel that waits, as /proc/PID/wchan names it.

Linux walks the sleeper's stack for the first function that is not the scheduler's; so does this, over the frames of the
task's greenlet. Nothing is noted down when a task goes to sleep, so whoever does not ask pays nothing. What may be
compiled (docs/explanation/compiled.md) has no frames then, and is passed over in either form: both say the same.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kernel.task import SLEEPING

if TYPE_CHECKING:
    from types import FrameType

    from kernel.task import Task

PASSED_OVER = (
    "kernel.sched.", "kernel.task", "kernel.trace", "greenlet",
    "kernel.fs.eventfd", "kernel.fs.fdtable", "kernel.fs.file", "kernel.fs.poll", "kernel.fs.user", "kernel.ipc.pipe",
    "kernel.net.netif", "kernel.net.overload", "kernel.net.socket", "kernel.syscall.",
)  # fmt: skip


def channel(frame: FrameType | None) -> str:
    """The innermost function of this stack that is not passed over, or else the system call."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<system call "):
            return f"sys_{frame.f_code.co_name}"
        module = frame.f_globals.get("__name__", "")
        if module.startswith("kernel.") and not module.startswith(PASSED_OVER):
            return f"{module.rpartition('.')[2]}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "0"


def here() -> str:
    """Of the running task."""
    return channel(sys._getframe(1))


def wait_channel(task: Task) -> str:
    """Of a sleeping task; "0" for one that does not sleep."""
    if task.state != SLEEPING or task.greenlet is None:
        return "0"
    return channel(task.greenlet.gr_frame)
