"""What system calls are given, made into what the VFS works with: paths, descriptors, directory descriptors, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel import abi
from kernel.abi import AT_EMPTY_PATH, AT_FDCWD, EBADF, EFAULT, EINVAL, ENOENT, ENOTDIR
from kernel.fs.fdtable import FdTable
from kernel.fs.file import File
from kernel.fs.namei import Walk
from kernel.fs.vfs import Inode, Path, error

if TYPE_CHECKING:
    from kernel.task import Task, ThreadGroup


def pathname(path: Any) -> bytes:
    """The bytes of a path. Python programs may pass str (UTF-8, surrogates for other bytes), bytes or a path object."""
    if type(path) is str:
        name = path.encode("utf-8", "surrogateescape")
    elif isinstance(path, (bytes, bytearray)):
        name = bytes(path)
    elif hasattr(path, "__fspath__"):
        return pathname(path.__fspath__())
    elif isinstance(path, str):
        name = str(path).encode("utf-8", "surrogateescape")
    else:
        raise error(EFAULT, f"a path was expected, not {type(path).__name__}")
    if b"\0" in name:
        raise error(EINVAL, "a path cannot contain NUL")
    return name


def text(name: bytes) -> str:
    """A name as Python programs get it."""
    return name.decode("utf-8", "surrogateescape")


def file_of(task: Task, fd: object) -> File:
    """The description behind a descriptor that may be used for I/O: EBADF, also for O_PATH ones."""
    table: FdTable = task.files
    file = table.get(fd)
    if file.flags & abi.O_PATH:
        raise error(EBADF, f"{fd} was opened with O_PATH")
    return file


def base_of(task: Task, dirfd: object, path: bytes) -> Path | None:
    """Where a relative `path` starts; None for the working directory."""
    if dirfd == AT_FDCWD or path[:1] == b"/" or not path:
        return None
    file = task.files.get(dirfd)
    if file.path is None or not file.path.inode.is_dir:
        raise error(ENOTDIR, dirfd)
    found: Path = file.path
    return found


def path_at(task: Task, dirfd: object, path: Any, flags: int, follow: bool) -> tuple[Path | None, Inode]:
    """Looks up `path`; with AT_EMPTY_PATH and "" it is the descriptor's own file (its path may be None: a pipe)."""
    name = pathname(path)
    if not name and flags & AT_EMPTY_PATH:
        if dirfd == AT_FDCWD:
            cwd: Path = task.fs.cwd
            return cwd, cwd.inode
        file = task.files.get(dirfd)
        if file.inode is None:
            raise error(ENOENT, dirfd)
        return file.path, file.inode
    found = lookup(task, dirfd, name, follow)
    return found, found.inode


def lookup(task: Task, dirfd: object, name: bytes, follow: bool = True) -> Path:
    costs = task.machine.costs
    task.spend(costs.path_component * (1 + name.count(b"/")))
    return Walk(task.fs, task.cred, task).lookup(name, base_of(task, dirfd, name), follow)


def charge_path(task: Task, name: bytes) -> None:
    """The time a walk takes, before it is made."""
    task.spend(task.machine.costs.path_component * (1 + name.count(b"/")))


def limit(task: Task, which: int) -> int:
    """The soft limit, -1 for none."""
    soft: int = task.group.rlimits.get(which, (-1, -1))[0]
    return soft


def nofile(task: Task) -> int:
    group: ThreadGroup = task.group
    limits = group.rlimits.get(abi.RLIMIT_NOFILE)
    return 1024 if limits is None else limits[0]


def install(task: Task, file: File, cloexec: bool) -> int:
    """Gives the description the lowest free descriptor; releases it when there is none (EMFILE)."""
    table: FdTable = task.files
    try:
        fd = table.install(file, cloexec, nofile(task))
    except OSError:
        file.put()
        raise
    return fd
