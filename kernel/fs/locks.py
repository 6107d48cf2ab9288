"""File locks: flock(2) on whole files, fcntl(2) record locks, and the open-file-description kind of those.

Three owners, three lifetimes. flock belongs to the description and goes with its last descriptor. A POSIX record lock
belongs to the process (its descriptor table) and goes at *any* close of the file by that process; fork does not
inherit it. An OFD lock is a record lock that belongs to the description. flock and record locks do not see each other.
"""

from __future__ import annotations

from typing import Any

from kernel import abi
from kernel.abi import EAGAIN, EBADF, EDEADLK, EFAULT, EINVAL, EOVERFLOW, F_RDLCK, F_UNLCK, F_WRLCK
from kernel.fs.file import File
from kernel.fs.vfs import error
from kernel.sched.wait import WaitQueue

END = (1 << 63) - 1  # of a lock with length 0: to the end of the file, however it grows


class RecordLock:
    """[start, end] inclusive, held by `owner`."""

    __slots__ = ("end", "exclusive", "owner", "pid", "start")

    def __init__(self, owner: Any, pid: int, exclusive: bool, start: int, end: int) -> None:
        self.owner = owner
        self.pid = pid
        self.exclusive = exclusive
        self.start = start
        self.end = end


class Locks:
    """The locks of one inode."""

    __slots__ = ("changed", "flocks", "records", "waiting")

    def __init__(self) -> None:
        self.flocks: list[tuple[File, bool]] = []  # (description, exclusive)
        self.records: list[RecordLock] = []
        self.changed = WaitQueue()
        self.waiting: dict[Any, Any] = {}  # owner -> the owner it waits for

    def release_file(self, file: File) -> None:
        """The description is going."""
        before = len(self.flocks) + len(self.records)
        self.flocks = [held for held in self.flocks if held[0] is not file]
        self.records = [lock for lock in self.records if lock.owner is not file]
        if len(self.flocks) + len(self.records) != before:
            self.changed.wake_all()

    def release_owner(self, owner: Any) -> None:
        """A process closed a descriptor of the file."""
        before = len(self.records)
        self.records = [lock for lock in self.records if lock.owner is not owner]
        if len(self.records) != before:
            self.changed.wake_all()

    def conflict(self, owner: Any, exclusive: bool, start: int, end: int) -> RecordLock | None:
        for lock in self.records:
            if lock.owner is not owner and lock.start <= end and start <= lock.end and (exclusive or lock.exclusive):
                return lock
        return None

    def set(self, owner: Any, pid: int, exclusive: bool | None, start: int, end: int) -> None:
        """Replaces what `owner` holds of [start, end]; `exclusive` None only gives it up."""
        kept: list[RecordLock] = []
        for lock in self.records:
            if lock.owner is not owner or lock.end < start or end < lock.start:
                kept.append(lock)
                continue
            if lock.start < start:
                kept.append(RecordLock(owner, lock.pid, lock.exclusive, lock.start, start - 1))
            if lock.end > end:
                kept.append(RecordLock(owner, lock.pid, lock.exclusive, end + 1, lock.end))
        if exclusive is not None:
            new = RecordLock(owner, pid, exclusive, start, end)
            merged = []
            for lock in kept:  # neighbours of one kind become one lock
                if lock.owner is owner and lock.exclusive == exclusive and (
                    lock.end + 1 == new.start or new.end + 1 == lock.start
                ):
                    new.start, new.end = min(lock.start, new.start), max(lock.end, new.end)
                else:
                    merged.append(lock)
            kept = [*merged, new]
        self.records = sorted(kept, key=lambda lock: lock.start)
        self.changed.wake_all()


def _locks(file: File) -> Locks:
    if file.inode is None:
        raise error(EBADF, "nothing to lock")
    if file.inode.locks is None:
        file.inode.locks = Locks()
    locks: Locks = file.inode.locks
    return locks


def flock_file(task: Any, file: File, operation: int) -> None:
    """flock(2). Converting a lock first gives up the old one."""
    kind = operation & ~abi.LOCK_NB
    if kind not in (abi.LOCK_SH, abi.LOCK_EX, abi.LOCK_UN):
        raise error(EINVAL, "flock operation")
    locks = _locks(file)
    exclusive = kind == abi.LOCK_EX
    if (file, exclusive) in locks.flocks and kind != abi.LOCK_UN:
        return
    before = len(locks.flocks)
    locks.flocks = [held for held in locks.flocks if held[0] is not file]
    if len(locks.flocks) != before:
        locks.changed.wake_all()
    if kind == abi.LOCK_UN:
        return
    while any(exclusive or held for _, held in locks.flocks):
        if operation & abi.LOCK_NB:
            raise error(EAGAIN, "locked")
        locks.changed.sleep(task)
    locks.flocks.append((file, exclusive))


def _range(file: File, whence: int, start: int, length: int) -> tuple[int, int]:
    if whence == abi.SEEK_CUR:
        start += file.pos
    elif whence == abi.SEEK_END:
        start += file.inode.size if file.inode is not None else 0
    elif whence != abi.SEEK_SET:
        raise error(EINVAL, "whence")
    if length < 0:
        start, length = start + length, -length
    if start < 0:
        raise error(EINVAL, "range")
    end = END if not length else start + length - 1
    if end > END:
        raise error(EOVERFLOW, "range")
    return start, end


def fcntl_lock(task: Any, file: File, cmd: int, arg: Any) -> Any:
    """F_GETLK, F_SETLK, F_SETLKW and their F_OFD_ forms. `arg` is (type, whence, start, length[, pid])."""
    try:
        kind, whence, first, length = (int(value) for value in tuple(arg)[:4])
    except (TypeError, ValueError):
        raise error(EFAULT, "a lock is (type, whence, start, length)") from None
    if kind not in (F_RDLCK, F_WRLCK, F_UNLCK) or (cmd == abi.F_GETLK and kind == F_UNLCK):
        raise error(EINVAL, "lock type")
    start, end = _range(file, whence, first, length)
    ofd = cmd in (abi.F_OFD_GETLK, abi.F_OFD_SETLK, abi.F_OFD_SETLKW)
    owner = file if ofd else task.files
    pid = -1 if ofd else task.group.pid
    locks = _locks(file)
    exclusive = kind == F_WRLCK
    if cmd in (abi.F_GETLK, abi.F_OFD_GETLK):
        held = locks.conflict(owner, exclusive, start, end) if kind != F_UNLCK else None
        if held is None:
            return (F_UNLCK, whence, first, length, 0)
        span = 0 if held.end == END else held.end - held.start + 1
        return (F_WRLCK if held.exclusive else F_RDLCK, abi.SEEK_SET, held.start, span, held.pid)
    if kind == F_UNLCK:
        locks.set(owner, pid, None, start, end)
        return 0
    if not (file.writable if exclusive else file.readable):
        raise error(EBADF, "lock type against the access mode")
    while True:
        held = locks.conflict(owner, exclusive, start, end)
        if held is None:
            locks.set(owner, pid, exclusive, start, end)
            return 0
        if cmd not in (abi.F_SETLKW, abi.F_OFD_SETLKW):
            raise error(EAGAIN, "locked")
        _wait(task, locks, owner, held)


def _wait(task: Any, locks: Locks, owner: Any, held: RecordLock) -> None:
    """Sleeps until something changes; EDEADLK when the holder waits, perhaps through others, for `owner`."""
    seen = held.owner
    while seen is not None:
        if seen is owner:
            raise error(EDEADLK, "lock cycle")
        seen = locks.waiting.get(seen)
    locks.waiting[owner] = held.owner
    try:
        locks.changed.sleep(task)
    finally:
        locks.waiting.pop(owner, None)
