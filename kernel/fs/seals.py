"""Seals of files in memory: what nobody may do to them any more (memfd_create(2), fcntl(2) F_ADD_SEALS).

A regular file of tmpfs has seals; all but those of memfd_create with MFD_ALLOW_SEALING are born with F_SEAL_SEAL. Other
filesystems have none: their inodes keep 0, without `SEALABLE`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.abi import (
    EBUSY,
    EINVAL,
    EPERM,
    F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    PAGE_SIZE,
)
from kernel.fs.vfs import error
from kernel.mm.space import Mapped

if TYPE_CHECKING:
    from kernel.fs.file import File
    from kernel.fs.vfs import Inode
    from kernel.task import Task

SEALABLE = 1 << 16
ALL = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_EXEC
NO_WRITE = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE


def get_seals(file: File) -> int:
    """F_GET_SEALS."""
    inode = file.inode
    if inode is None or not inode.seals:
        raise error(EINVAL, "a file without seals")
    return inode.seals & ALL


def add_seals(task: Task, file: File, seals: Any) -> int:
    """F_ADD_SEALS."""
    if not file.writable:
        raise error(EPERM, "not open for writing")
    if seals & ~ALL:
        raise error(EINVAL, f"seals {seals:#x}")
    have = get_seals(file)
    inode = file.inode
    assert inode is not None
    if have & F_SEAL_SEAL:
        raise error(EPERM, "no seal may be added")
    if seals & F_SEAL_WRITE and not have & F_SEAL_WRITE and mapped_for_write(task, inode):
        raise error(EBUSY, "it is mapped for writing")
    if seals & F_SEAL_EXEC and inode.mode & 0o111:  # who may run it must be sure of what is in it
        seals |= F_SEAL_SHRINK | F_SEAL_GROW | NO_WRITE
    inode.seals |= seals
    return 0


def mapped_for_write(task: Task, inode: Inode) -> bool:
    """Whether some process has a shared mapping of the file that may be written to."""
    for other in task.machine.tasks.values():
        for area in other.mm.areas if other.mm is not None else ():
            backing = area.backing
            if area.shared and isinstance(backing, Mapped) and backing.inode is inode and backing.may_write:
                return True
    return False


def writable_part(inode: Inode, pos: int, n: int) -> int:
    """How much of a write of `n` bytes the seals let through: whole pages up to where the file would grow."""
    if inode.seals & NO_WRITE:
        raise error(EPERM, "sealed: no writing")
    if inode.seals & F_SEAL_GROW and pos + n > inode.size:
        n = max(inode.size // PAGE_SIZE * PAGE_SIZE - pos, 0)
        if not n:
            raise error(EPERM, "sealed: it must not grow")
    return n


def check_size(inode: Inode, size: int) -> None:
    """truncate(2)."""
    if (size < inode.size and inode.seals & F_SEAL_SHRINK) or (size > inode.size and inode.seals & F_SEAL_GROW):
        raise error(EPERM, "sealed: the size")


def check_allocation(inode: Inode, punches: bool, end: int) -> None:
    """fallocate(2)."""
    if (punches and inode.seals & NO_WRITE) or (not punches and inode.seals & F_SEAL_GROW and end > inode.size):
        raise error(EPERM, "sealed: fallocate")


def check_mode(inode: Inode, mode: int) -> None:
    """chmod(2)."""
    if inode.seals & F_SEAL_EXEC and (inode.mode ^ mode) & 0o111:
        raise error(EPERM, "sealed: who may execute it")
