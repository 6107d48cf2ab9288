"""System calls that make pipes."""

from __future__ import annotations

from typing import Any

from kernel import abi
from kernel.abi import EINVAL, O_CLOEXEC, O_DIRECT, O_NONBLOCK, S_IFIFO
from kernel.fs.user import install
from kernel.fs.vfs import error
from kernel.ipc.pipe import make_pipe
from kernel.syscall.table import python, syscall


@syscall(59, "pipe2", "open_flags", returns="fds")
def sys_pipe2(task: Any, flags: int = 0) -> tuple[int, int]:
    """(read end, write end)."""
    if flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT):
        raise error(EINVAL, "pipe2 flags")
    cred = task.cred
    inode = task.machine.vfs.anon("pipefs", abi.PIPEFS_MAGIC).inode(S_IFIFO | 0o600, cred.fsuid, cred.fsgid)
    reader, writer = make_pipe(flags, inode)
    cloexec = bool(flags & O_CLOEXEC)
    try:
        first = install(task, reader, cloexec)
    except OSError:
        writer.put()
        raise
    try:
        second = install(task, writer, cloexec)
    except OSError:
        task.files.close(first)
        raise
    return first, second


@python("pipe2")
def pipe2(task: Any, flags: int = 0) -> tuple[int, int]:
    ends: tuple[int, int] = sys_pipe2(task, flags)
    return ends


@python("pipe")
def pipe(task: Any) -> tuple[int, int]:
    return pipe2(task, 0)
