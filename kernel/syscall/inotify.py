"""System calls of inotify(7)."""

from __future__ import annotations

from typing import Any

from kernel import abi
from kernel.abi import AT_FDCWD, EEXIST, EINVAL, ENOTDIR, O_RDONLY
from kernel.fs.file import File
from kernel.fs.inotify import INOTIFY, Inotify, Watch
from kernel.fs.namei import MAY_READ, check
from kernel.fs.user import file_of, install, lookup, pathname
from kernel.fs.vfs import error
from kernel.syscall.table import syscall

_KNOWN = (
    abi.IN_ALL_EVENTS | abi.IN_ONLYDIR | abi.IN_DONT_FOLLOW | abi.IN_EXCL_UNLINK | abi.IN_MASK_CREATE | abi.IN_MASK_ADD
    | abi.IN_ISDIR | abi.IN_ONESHOT | abi.IN_UNMOUNT | abi.IN_Q_OVERFLOW | abi.IN_IGNORED
)  # fmt: skip


@syscall(26, "inotify_init1", "open_flags")
def sys_inotify_init1(task: Any, flags: int = 0) -> int:
    if flags & ~(abi.O_CLOEXEC | abi.O_NONBLOCK):
        raise error(EINVAL, "inotify_init1 flags")
    anon = task.machine.vfs.anon("anon_inodefs", abi.ANON_INODE_FS_MAGIC)
    inode = anon.inode(0o600, task.cred.fsuid, task.cred.fsgid)
    file = File(INOTIFY, O_RDONLY | flags & abi.O_NONBLOCK, inode, None, Inotify())
    return install(task, file, bool(flags & abi.O_CLOEXEC))


def _held(task: Any, fd: int) -> Inotify:
    held = file_of(task, fd).private
    if not isinstance(held, Inotify):
        raise error(EINVAL, f"{fd} is no inotify descriptor")
    return held


@syscall(27, "inotify_add_watch", "fd", "path", "int")
def sys_inotify_add_watch(task: Any, fd: int, path: str | bytes, mask: int) -> int:
    """The number of the watch; a second one of the same inode changes the first."""
    if not mask & _KNOWN or mask & ~0xFFFFFFFF or (mask & abi.IN_MASK_ADD and mask & abi.IN_MASK_CREATE):
        raise error(EINVAL, "inotify mask")
    held = _held(task, fd)
    inode = lookup(task, AT_FDCWD, pathname(path), not mask & abi.IN_DONT_FOLLOW).inode
    if mask & abi.IN_ONLYDIR and not inode.is_dir:
        raise error(ENOTDIR)
    check(inode, task.cred, MAY_READ)
    kept = mask & (abi.IN_ALL_EVENTS | abi.IN_ONESHOT | abi.IN_EXCL_UNLINK)
    for watch in inode.watches or ():
        if watch.owner is held:
            if mask & abi.IN_MASK_CREATE:
                raise error(EEXIST, "watched already")
            watch.mask = watch.mask | kept if mask & abi.IN_MASK_ADD else kept
            return int(watch.wd)
    held.last += 1
    held.watches[held.last] = Watch(held, held.last, inode, kept)
    return held.last


@syscall(28, "inotify_rm_watch", "fd", "int")
def sys_inotify_rm_watch(task: Any, fd: int, wd: int) -> int:
    watch = _held(task, fd).watches.get(wd)
    if watch is None:
        raise error(EINVAL, f"no watch {wd}")
    watch.drop()
    return 0
