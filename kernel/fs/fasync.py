"""Signal-driven input and output: O_ASYNC, F_SETOWN and F_SETSIG (fcntl(2), signal(7)).

A description with O_ASYNC watches its file's wait queues as epoll does, and sends its owner SIGIO when there is
something to read, room to write or an end; with F_SETSIG another signal, queued, whose siginfo says what, and of which
descriptor. Whoever set the owner must be allowed to send it signals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel import abi
from kernel.abi import (
    EFAULT,
    EINVAL,
    ESRCH,
    F_OWNER_PGRP,
    F_OWNER_PID,
    F_OWNER_TID,
    O_ASYNC,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    SIGIO,
)
from kernel.fs.vfs import error
from kernel.ipc.pipe import Pipe
from kernel.signal import SYNCHRONOUS, SigInfo, bit

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.task import Task, ThreadGroup

POLL_IN, POLL_OUT, POLL_HUP = 1, 2, 6
SI_SIGIO = -5
BANDS = {POLL_IN: 0x41, POLL_OUT: 0x304, POLL_HUP: 0x18}
"""si_band: POLLIN|POLLRDNORM, POLLOUT|POLLWRNORM|POLLWRBAND, POLLHUP|POLLERR."""
OWN_CODES = SYNCHRONOUS | bit(abi.SIGCHLD)
"""Signals whose si_code means something else already."""


class Owner:
    """F_SETOWN: who is told, and in whose name."""

    __slots__ = ("cred", "ident", "kind")

    def __init__(self, kind: int, ident: int, cred: Any) -> None:
        self.kind = kind
        self.ident = ident
        self.cred = cred


class Async:
    """What a description with O_ASYNC leaves at its file's wait queues."""

    __slots__ = ("fd", "file", "machine", "queues", "writable")

    def __init__(self, task: Task, file: File, fd: int) -> None:
        self.machine = task.machine
        self.file = file
        self.fd = fd
        self.queues = file.ops.wait_queues(file)
        self.writable = bool(file.ops.poll(file) & POLLOUT)
        for queue in self.queues:
            queue.subscribe(self)

    def drop(self) -> None:
        for queue in self.queues:
            queue.unsubscribe(self)
        self.queues = ()

    def __call__(self, mask: int) -> None:
        ready = self.file.ops.poll(self.file)
        room = bool(ready & POLLOUT)
        reason = 0
        if mask & POLLHUP and ready & POLLHUP and not isinstance(self.file.private, Pipe):
            reason = POLL_HUP
        elif mask & POLLIN and ready & (POLLIN | POLLHUP):
            reason = POLL_IN
        elif mask & (POLLOUT | POLLERR) and ready & (POLLOUT | POLLERR) and not self.writable:
            reason = POLL_OUT
        self.writable = room
        if reason:
            self.tell(reason)

    def tell(self, reason: int) -> None:
        owner = self.file.owner
        if owner is None:
            return
        signals, signum = self.machine.signals, self.file.signum or SIGIO
        info = SigInfo(signum)
        if self.file.signum:
            info.si_code = SI_SIGIO if signum != SIGIO and bit(signum) & OWN_CODES else reason
            info.si_band, info.si_fd = BANDS[reason], self.fd
        if owner.kind == F_OWNER_TID:
            task = self.machine.tasks.get(owner.ident)
            if task is not None and allowed(owner, task.cred):
                signals.send_thread(task, info)
            return
        for group in self._groups(owner):
            if group.leader is not None and allowed(owner, group.leader.cred):
                signals.send_process(group, info)

    def _groups(self, owner: Owner) -> list[ThreadGroup]:
        groups = self.machine.processes.groups
        if owner.kind == F_OWNER_PGRP:
            return [group for group in groups.values() if group.pgid == owner.ident]
        task = self.machine.tasks.get(owner.ident)
        return [task.group] if task is not None else []


def allowed(owner: Owner, cred: Any) -> bool:
    """sigio_perm of Linux."""
    by = owner.cred
    return by.euid == 0 or by.euid in (cred.suid, cred.uid) or by.uid in (cred.suid, cred.uid)


def set_async(task: Task, file: File, fd: int, on: bool) -> None:
    """O_ASYNC was set or cleared; nothing happens on a file that nobody has to wait for."""
    if not on:
        if file.asyncer is not None:
            file.asyncer.drop()
            file.asyncer = None
        file.flags &= ~O_ASYNC
        return
    if file.asyncer is not None:
        file.asyncer.fd = fd
        return
    if file.ops.asynchronous:
        file.asyncer = Async(task, file, fd)
        file.flags |= O_ASYNC
        tty_group = getattr(file.private, "pgrp", None)
        if file.owner is None and tty_group is not None:
            kind = F_OWNER_PGRP if tty_group else F_OWNER_PID
            file.owner = Owner(kind, tty_group or task.pid, task.cred)


def set_owner(task: Task, file: File, kind: int, ident: int) -> None:
    """F_SETOWN, F_SETOWN_EX; nobody for 0."""
    machine = task.machine
    if not isinstance(kind, int) or not isinstance(ident, int):
        raise error(EFAULT, "an owner is (kind, id)")
    if kind not in (F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP):
        raise error(EINVAL, f"kind of owner {kind}")
    if not ident:
        file.owner = None
        return
    if kind == F_OWNER_PGRP:
        found = any(group.pgid == ident for group in machine.processes.groups.values())
    else:
        found = ident in machine.tasks
    if not found:
        raise error(ESRCH, f"no owner {ident}")
    file.owner = Owner(kind, ident, task.cred)


def owner_of(file: File) -> tuple[int, int]:
    """F_GETOWN_EX: (kind, id)."""
    owner = file.owner
    return (owner.kind, owner.ident) if owner is not None else (F_OWNER_TID, 0)


def signed_owner(file: File) -> int:
    """F_GETOWN: a process group is negative, a thread counts as its process."""
    owner = file.owner
    if owner is None:
        return 0
    return -owner.ident if owner.kind == F_OWNER_PGRP else int(owner.ident)
