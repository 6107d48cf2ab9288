"""System calls of processes as descriptors: pidfd_open, pidfd_send_signal, pidfd_getfd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.abi import (
    ANON_INODE_FS_MAGIC,
    CAP_SYS_PTRACE,
    EBADF,
    EINVAL,
    ENOENT,
    EPERM,
    ESRCH,
    O_NONBLOCK,
    O_RDWR,
    SI_USER,
)
from kernel.fs.file import File
from kernel.fs.pidfd import PIDFD
from kernel.fs.user import install
from kernel.signal import SigInfo
from kernel.syscall.signal import _valid, may_signal
from kernel.syscall.table import syscall

if TYPE_CHECKING:
    from kernel.task import Task, ThreadGroup


def pidfd_file(task: Task, group: ThreadGroup, flags: int = 0) -> File:
    """A description that stands for the process."""
    inode = task.machine.vfs.anon("anon_inodefs", ANON_INODE_FS_MAGIC).inode(0o700, task.cred.fsuid, task.cred.fsgid)
    return File(PIDFD, O_RDWR | flags & O_NONBLOCK, inode, None, group)


def process_behind(task: Task, fd: int) -> ThreadGroup:
    """The process of a pidfd; EBADF for any other descriptor."""
    file = task.files.get(fd)
    if file.ops is not PIDFD:
        raise OSError(EBADF, f"{fd} is no pidfd")
    group: ThreadGroup = file.private
    return group


@syscall(434, "pidfd_open", "int", "pidfd_flags")
def sys_pidfd_open(task: Task, pid: int, flags: int = 0) -> int:
    """Close-on-exec is set."""
    if flags & ~O_NONBLOCK or pid <= 0:
        raise OSError(EINVAL, f"pidfd_open: {pid}, flags {flags:#x}")
    processes = task.machine.processes
    group = processes.groups.get(pid)
    if group is None:
        raise OSError(ENOENT if pid in processes.tasks else ESRCH, f"no process {pid}")
    return install(task, pidfd_file(task, group, flags), True)


@syscall(424, "pidfd_send_signal", "fd", "signal", "=NULL", "int")
def sys_pidfd_send_signal(task: Task, pidfd: int, sig: int, flags: int = 0) -> int:
    if flags not in (0, 1, 2, 4):
        raise OSError(EINVAL, f"pidfd_send_signal: flags {flags:#x}")
    group = process_behind(task, pidfd)
    processes = task.machine.processes
    if processes.groups.get(group.pid) is not group:
        raise OSError(ESRCH, f"process {group.pid} is gone")
    if sig:
        _valid(sig)
    targets = [group]
    if flags == 4:
        targets = [g for _, g in sorted(processes.groups.items()) if g.pgid == group.pid]
    allowed = [g for g in targets if may_signal(task.cred, g, sig, task.group)]
    if not allowed:
        raise OSError(EPERM, f"pidfd_send_signal: {group.pid} belongs to somebody else")
    if sig:
        for target in allowed:
            task.machine.signals.send_process(target, SigInfo(sig, SI_USER, task.group.pid, task.cred.uid))
    return 0


@syscall(438, "pidfd_getfd", "fd", "fd", "int")
def sys_pidfd_getfd(task: Task, pidfd: int, targetfd: int, flags: int = 0) -> int:
    """A descriptor of ours for an open description of the process."""
    if flags:
        raise OSError(EINVAL, f"pidfd_getfd: flags {flags:#x}")
    group = process_behind(task, pidfd)
    leader = group.leader
    if leader is None or leader.files is None:
        raise OSError(ESRCH, f"process {group.pid} is gone")
    mine, theirs = task.cred, leader.cred
    same = {theirs.uid, theirs.euid, theirs.suid} == {mine.uid} and {theirs.gid, theirs.egid, theirs.sgid} == {mine.gid}
    if not (same and group.dumpable) and not mine.capable(CAP_SYS_PTRACE):
        raise OSError(EPERM, f"pidfd_getfd: {group.pid} belongs to somebody else")
    return install(task, leader.files.get(targetfd).get(), True)
