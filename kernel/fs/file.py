"""Open file descriptions: what `open` makes and descriptors point to.

A description has operations, an offset, status flags and an access mode, all shared by dup and fork. `FileOps` is the
protocol behind which regular files, directories, pipes, sockets, devices and the epoll family stand; a class
implements what makes sense for it and inherits Linux's answer for the rest.

Transfers go through a sink (`put(chunk) -> taken`) or a source (`take(n) -> bytes`) of the system call layer, so that
one implementation serves Python's bytes and a process's memory. `pos` is the offset for files that have one; streams
ignore it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from kernel import abi
from kernel.abi import MAX_RW_COUNT, O_ACCMODE, O_PATH, O_RDWR, O_WRONLY
from kernel.fs.vfs import Inode, Path, error

if TYPE_CHECKING:
    from kernel.task import Task

DEFAULT_POLL = abi.POLLIN | abi.POLLOUT | abi.POLLRDNORM | abi.POLLWRNORM


class Sink(Protocol):
    """Where read puts bytes."""

    room: int  # how many bytes it still takes

    def put(self, chunk: Any, /) -> int: ...


class Source(Protocol):
    """Where write takes bytes from; fewer than `n` means the rest cannot be read (EFAULT when nothing could)."""

    left: int  # how many bytes are still to come

    def peek(self, n: int, /) -> Any: ...
    def skip(self, n: int, /) -> None: ...
    def take(self, n: int, /) -> Any: ...


class FileOps:
    """Operations on an open file description. The defaults are Linux's answers for a file that cannot do it."""

    __slots__ = ()
    seekable: ClassVar[bool] = False  # has an offset: lseek, pread, pwrite
    pidfd: ClassVar[bool] = False
    pollable: ClassVar[bool] = True  # epoll takes it; what is always ready can only be polled
    asynchronous: ClassVar[bool] = False  # O_ASYNC means something

    def read(self, file: File, task: Task, sink: Sink, n: int, pos: int) -> int:
        raise error(abi.EINVAL, "read")

    def write(self, file: File, task: Task, source: Source, n: int, pos: int) -> int:
        raise error(abi.EINVAL, "write")

    def poll(self, file: File) -> int:
        """What is ready now, as POLL* bits, POLLERR and POLLHUP among them."""
        return DEFAULT_POLL

    def ready(self, file: File, events: int) -> int:
        """Which of `events` are ready now: `poll` for who wants some of it only."""
        return self.poll(file) & events

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        """The wait queues that are woken when `poll` may have changed; () for files that are always ready."""
        return ()

    def ioctl(self, file: File, task: Task, request: int, arg: Any) -> Any:
        raise error(abi.ENOTTY, f"ioctl {request:#x}")

    def llseek(self, file: File, offset: int, whence: int) -> int:
        raise error(abi.ESPIPE)

    def iterate(self, file: File, pos: int) -> Any:
        raise error(abi.ENOTDIR, "getdents64")

    def fsync(self, file: File, data_only: bool) -> None:
        raise error(abi.EINVAL, "fsync")

    def fallocate(self, file: File, task: Task, mode: int, offset: int, length: int) -> None:
        raise error(abi.ESPIPE)

    def make_inode(self, file: File) -> Inode | None:
        """The inode of a description that was opened without one."""
        return None

    def set_flags(self, file: File, task: Task, flags: int) -> None:
        """F_SETFL is about to change the status flags."""

    def release(self, file: File) -> None:
        """The last descriptor of the description was closed."""


class File:
    """An open file description."""

    __slots__ = (
        "_inode", "asyncer", "count", "epitems", "flags", "flock", "ops", "owner", "path", "pos", "private", "readable",
        "signum", "writable",
    )  # fmt: skip

    def __init__(
        self, ops: FileOps, flags: int, inode: Inode | None = None, path: Path | None = None, private: Any = None
    ) -> None:
        self.ops = ops
        self.flags = flags
        self._inode = inode
        self.path = path
        self.private = private
        self.pos = 0
        self.count = 1  # descriptors, and calls in progress that hold it
        mode = flags & O_ACCMODE
        usable = not flags & O_PATH
        self.readable = usable and mode != O_WRONLY
        self.writable = usable and mode in (O_WRONLY, O_RDWR)
        self.epitems: Any = None  # the first of the epoll items that watch it: they live as long as the description
        self.flock: Any = None
        self.owner: Any = None  # F_SETOWN (kernel/fs/fasync.py)
        self.asyncer: Any = None  # while O_ASYNC is set
        self.signum = 0  # F_SETSIG
        if inode is not None:
            inode.users += 1
        if path is not None:
            path.mount.users += 1

    @property
    def inode(self) -> Inode | None:
        """The file's inode. That of a socket is made when somebody asks for it."""
        found = self._inode
        if found is None:
            found = self.ops.make_inode(self)
            if found is not None:
                found.users += 1
                self._inode = found
        return found

    @property
    def locks(self) -> Any:
        """The locks held on its inode, if it has any."""
        inode = self._inode
        return inode.locks if inode is not None else None

    def get(self) -> File:
        self.count += 1
        return self

    def put(self) -> None:
        """One holder fewer; the last one releases the description."""
        self.count -= 1
        if self.count:
            return
        while self.epitems is not None:
            self.epitems.drop()
        if self.asyncer is not None:
            self.asyncer.drop()
            self.asyncer = None
        inode = self._inode
        if inode is not None and inode.locks is not None:
            inode.locks.release_file(self)
        if inode is not None and inode.fs.watched and not self.flags & O_PATH:
            self.closed(inode)
        self.ops.release(self)
        if inode is not None:
            inode.put()
        if self.path is not None:
            self.path.mount.users -= 1

    def closed(self, inode: Inode) -> None:
        """inotify is told."""
        from kernel.fs.inotify import happened

        event = abi.IN_CLOSE_WRITE if self.writable else abi.IN_CLOSE_NOWRITE
        happened(self.path.dentry if self.path is not None else None, inode, event)

    @property
    def nonblock(self) -> bool:
        return bool(self.flags & abi.O_NONBLOCK)

    def __repr__(self) -> str:
        return f"<File {type(self.ops).__name__} flags={self.flags:#o} pos={self.pos}>"


def read(file: File, task: Task, sink: Sink, n: int) -> int:
    """read(2) on a description: at its offset, which advances."""
    if not file.readable:
        raise error(abi.EBADF, "not open for reading")
    if n > MAX_RW_COUNT:
        n = MAX_RW_COUNT
    ops = file.ops
    if not ops.seekable:
        return ops.read(file, task, sink, n, 0)
    got = ops.read(file, task, sink, n, file.pos)
    file.pos += got
    return got


def write(file: File, task: Task, source: Source, n: int) -> int:
    """write(2) on a description: at its offset (the end of the file with O_APPEND), which advances."""
    if not file.writable:
        raise error(abi.EBADF, "not open for writing")
    if n > MAX_RW_COUNT:
        n = MAX_RW_COUNT
    ops = file.ops
    if not ops.seekable:
        return ops.write(file, task, source, n, 0)
    if file.flags & abi.O_APPEND and file.inode is not None and file.inode.is_reg:
        file.pos = file.inode.size
    done = ops.write(file, task, source, n, file.pos)
    file.pos += done
    return done


def pread(file: File, task: Task, sink: Sink, n: int, pos: int) -> int:
    if pos < 0:
        raise error(abi.EINVAL, "negative offset")
    if not file.ops.seekable:
        raise error(abi.EBADF if file.flags & abi.O_PATH else abi.ESPIPE)
    if not file.readable:
        raise error(abi.EBADF, "not open for reading")
    return file.ops.read(file, task, sink, n if n < MAX_RW_COUNT else MAX_RW_COUNT, pos)


def pwrite(file: File, task: Task, source: Source, n: int, pos: int) -> int:
    """pwrite(2). With O_APPEND it appends whatever `pos` says: Linux's documented quirk."""
    if pos < 0:
        raise error(abi.EINVAL, "negative offset")
    if not file.ops.seekable:
        raise error(abi.EBADF if file.flags & abi.O_PATH else abi.ESPIPE)
    if not file.writable:
        raise error(abi.EBADF, "not open for writing")
    if file.flags & abi.O_APPEND and file.inode is not None and file.inode.is_reg:
        pos = file.inode.size
    return file.ops.write(file, task, source, n if n < MAX_RW_COUNT else MAX_RW_COUNT, pos)


def lseek(file: File, offset: int, whence: int) -> int:
    if not 0 <= whence <= abi.SEEK_HOLE:
        raise error(abi.EINVAL, f"whence {whence}")
    if not file.ops.seekable:
        inode = file.inode
        if inode is not None and inode.fs.name == "anon_inodefs" and not file.ops.pidfd:
            return 0  # eventfd, epoll and their kind have nothing to seek in, and do not mind
        raise error(abi.EBADF if file.flags & abi.O_PATH else abi.ESPIPE)
    file.pos = file.ops.llseek(file, offset, whence)
    return file.pos
