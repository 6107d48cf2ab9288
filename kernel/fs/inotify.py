"""inotify(7): what happens to files and in directories, read as events.

An inode that is watched has a list of watches. The VFS's verbs tell the inode itself, and the directory in which its
name is (with the name); a filesystem nobody watches anything of pays for one look at a flag (`fs.watched`). An event
equal to the last one in the queue is dropped; a full queue ends with IN_Q_OVERFLOW.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from kernel.abi import (
    EAGAIN,
    EINVAL,
    FIONREAD,
    IN_DELETE_SELF,
    IN_EXCL_UNLINK,
    IN_IGNORED,
    IN_ISDIR,
    IN_ONESHOT,
    IN_Q_OVERFLOW,
    IN_UNMOUNT,
    O_NONBLOCK,
    POLLIN,
    POLLRDNORM,
)
from kernel.fs.file import File, FileOps, Sink
from kernel.fs.vfs import error
from kernel.sched.wait import WaitQueue

if TYPE_CHECKING:
    from kernel.fs.vfs import Dentry, Inode

MAX_QUEUED = 16384
_HEAD = struct.Struct("=iIII")


class Watch:
    """One inode watched by one inotify descriptor."""

    __slots__ = ("inode", "mask", "owner", "wd")

    def __init__(self, owner: Inotify, wd: int, inode: Inode, mask: int) -> None:
        self.owner = owner
        self.wd = wd
        self.inode = inode
        self.mask = mask
        if inode.watches is None:
            inode.watches = []
        inode.watches.append(self)
        inode.fs.watched = True
        if inode.fs.watching is None:
            inode.fs.watching = {}
        inode.fs.watching[self] = None

    def drop(self) -> None:
        """The watch is over: IN_IGNORED is its last event."""
        assert self.inode.watches is not None
        self.inode.watches.remove(self)
        if not self.inode.watches:
            self.inode.watches = None
        if self.inode.fs.watching is not None:
            self.inode.fs.watching.pop(self, None)
        del self.owner.watches[self.wd]
        self.owner.put(self.wd, IN_IGNORED, 0, b"")

    def gone(self) -> None:
        """The inode is gone."""
        if self.mask & IN_DELETE_SELF:
            self.owner.put(self.wd, IN_DELETE_SELF, 0, b"")
        self.drop()


def unmounted(watching: dict[Any, None] | None) -> None:
    """A filesystem is gone: those who watch something in it are told."""
    for watch in list(watching or ()):
        watch.owner.put(watch.wd, IN_UNMOUNT | (IN_ISDIR if watch.inode.is_dir else 0), 0, b"")
        watch.drop()


class Inotify:
    """The watches and the queue of one descriptor."""

    __slots__ = ("events", "last", "queue", "watches")

    def __init__(self) -> None:
        self.events: deque[bytes] = deque()
        self.watches: dict[int, Watch] = {}
        self.last = 0
        self.queue = WaitQueue()

    def put(self, wd: int, mask: int, cookie: int, name: bytes) -> None:
        room = (len(name) + 16) & ~15 if name else 0  # padded with NULs, one at least
        event = _HEAD.pack(wd, mask, cookie, room) + name.ljust(room, b"\0")
        if self.events and self.events[-1] == event:
            return
        if len(self.events) >= MAX_QUEUED:
            event = _HEAD.pack(-1, IN_Q_OVERFLOW, 0, 0)
            if self.events[-1] == event:
                return
        self.events.append(event)
        self.queue.wake_all(POLLIN | POLLRDNORM)


def tell(
    inode: Inode, mask: int, name: bytes = b"", cookie: int = 0, is_dir: bool = False, unlinked: bool = False
) -> None:
    """Something happened to the inode (or in the directory, to `name`, which may be `unlinked`)."""
    for watch in list(inode.watches or ()):
        if watch.mask & mask and not (unlinked and watch.mask & IN_EXCL_UNLINK):
            watch.owner.put(watch.wd, mask | (IN_ISDIR if is_dir else 0), cookie, name)
            if watch.mask & IN_ONESHOT:
                watch.drop()


def happened(dentry: Dentry | None, inode: Inode, mask: int) -> None:
    """Tell the directory of the name, even when the name is history, then the file itself."""
    is_dir = inode.is_dir
    if dentry is not None and dentry.parent is not dentry and dentry.parent.inode.watches:
        tell(dentry.parent.inode, mask, dentry.name, 0, is_dir, not dentry.hashed)
    if inode.watches:
        tell(inode, mask, b"", 0, is_dir)


class InotifyOps(FileOps):
    __slots__ = ()
    asynchronous = True

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        held: Inotify = file.private
        while not held.events:
            if file.flags & O_NONBLOCK:
                raise error(EAGAIN, "no event")
            held.queue.sleep(task)
        done = 0
        while held.events and done + len(held.events[0]) <= n:
            done += sink.put(held.events.popleft())
        if not done:
            raise error(EINVAL, "buffer too small for the event")
        return done

    def poll(self, file: File) -> int:
        return POLLIN | POLLRDNORM if file.private.events else 0

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        return (file.private.queue,)

    def ioctl(self, file: File, task: Any, request: int, arg: Any) -> Any:
        if request == FIONREAD:
            return sum(len(event) for event in file.private.events)
        return super().ioctl(file, task, request, arg)

    def release(self, file: File) -> None:
        for watch in list(file.private.watches.values()):
            watch.drop()


INOTIFY = InotifyOps()
