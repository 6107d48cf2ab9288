"""Older names of calls, as C libraries give them on riscv64: each wraps the call that replaced it, which is what a
trace shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kernel.syscall.file import getdents64
from kernel.syscall.inotify import sys_inotify_init1
from kernel.syscall.path import sys_utimensat
from kernel.syscall.poll import sys_eventfd2, sys_pselect6
from kernel.syscall.signal import signalfd4
from kernel.syscall.table import python

if TYPE_CHECKING:
    from kernel.task import Task

AT_FDCWD = -100


@python("select")
def select(
    task: Task, nfds: int, readfds: Any = (), writefds: Any = (), exceptfds: Any = (), timeout_ns: int | None = None
) -> tuple[list[int], list[int], list[int]]:
    """pselect6 without a mask."""
    found: tuple[list[int], list[int], list[int]] = sys_pselect6(task, nfds, readfds, writefds, exceptfds, timeout_ns)
    return found


@python("getdents")
def getdents(task: Task, fd: int) -> list[tuple[str, int, int]]:
    return getdents64(task, fd)


@python("utimes")
def utimes(task: Task, path: Any, times: Any = None) -> int:
    """(atime, mtime) in nanoseconds."""
    return futimesat(task, AT_FDCWD, path, times)


@python("futimesat")
def futimesat(task: Task, dirfd: int, path: Any, times: Any = None) -> int:
    sys_utimensat(task, dirfd, path, times, 0)
    return 0


@python("inotify_init")
def inotify_init(task: Task) -> int:
    fd: int = sys_inotify_init1(task, 0)
    return fd


@python("eventfd")
def eventfd(task: Task, initial: int = 0) -> int:
    fd: int = sys_eventfd2(task, initial, 0)
    return fd


@python("signalfd")
def signalfd(task: Task, fd: int, signals: Iterable[int]) -> int:
    return signalfd4(task, fd, signals, 0)
