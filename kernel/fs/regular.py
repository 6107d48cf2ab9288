"""Operations on open regular files and directories, for every filesystem that keeps contents in an address space."""

from __future__ import annotations

from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any

from kernel import abi
from kernel.abi import (
    EFBIG,
    EINVAL,
    EISDIR,
    ENOENT,
    ENXIO,
    MAX_RW_COUNT,
    O_APPEND,
    PAGE_SIZE,
    S_IFDIR,
    S_ISGID,
    S_ISUID,
    S_IXGRP,
)
from kernel.fs.file import DEFAULT_POLL, File, FileOps, Sink, Source
from kernel.fs.inotify import happened
from kernel.fs.mapping import AddressSpace
from kernel.fs.namei import capable
from kernel.fs.seals import SEALABLE, check_allocation, writable_part
from kernel.fs.vfs import Inode, error
from kernel.sched.mutex import Mutex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.fs.vfs import DirEntry

MAX_FILE_SIZE = (1 << 63) - 1
_CHUNK = 1 << 18
_DAY_NS = 86_400 * 10**9
_SET_ID = S_ISUID | S_ISGID
_BORN = SEALABLE | abi.F_SEAL_SEAL
"""Seals that forbid nothing but more of them; every other one makes the number larger."""


def accessed(file: File) -> None:
    """Sets the access time as mounts do by default (relatime): when it is not after mtime or ctime, or a day old."""
    inode = file.inode
    if inode is None or file.flags & abi.O_NOATIME:
        return
    if inode.atime <= inode.mtime or inode.atime <= inode.ctime or inode.fs.now() - inode.atime >= _DAY_NS:
        if file.path is not None and file.path.mount.flags & (abi.MS_NOATIME | abi.MS_RDONLY):
            return
        inode.atime = inode.fs.now()
        inode.fs.dirty(inode)


def modified(inode: Inode) -> None:
    inode.mtime = inode.ctime = inode.fs.now()
    inode.fs.dirty(inode)


def drop_privileges(inode: Inode, cred: Any) -> None:
    """Writing to a set-id file without CAP_FSETID clears the bits (the group's only where it is executable)."""
    if inode.mode & (S_ISUID | S_ISGID) and inode.is_reg and not capable(cred, abi.CAP_FSETID):
        inode.mode &= ~S_ISUID
        if inode.mode & S_IXGRP:
            inode.mode &= ~S_ISGID


def file_size_limit(task: Any, pos: int, n: int) -> int:
    """How much of a write of `n` bytes at `pos` RLIMIT_FSIZE lets through; SIGXFSZ and EFBIG when nothing."""
    limit = task.group.rlimits.get(abi.RLIMIT_FSIZE, (-1, -1))[0]
    if 0 <= limit < pos + n:
        if pos >= limit:
            task.send_signal(abi.SIGXFSZ)
            raise error(EFBIG, f"RLIMIT_FSIZE is {limit}")
        n = limit - pos
    if pos + n > MAX_FILE_SIZE:
        raise error(EINVAL, "past the end of all offsets")
    return n


class RegularOps(FileOps):
    """A file whose contents are pages."""

    __slots__ = ()
    seekable = True

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        inode, mapping = _of(file)
        left = inode.size - pos
        if n > left:
            n = left
        if n <= 0:
            return 0
        task.spend(n * task.machine.costs.copy_kib >> 10)
        left = inode.size - pos
        if n > left:
            n = left
        if n <= _CHUNK:
            done = sink.put(mapping.read(pos, n)) if n > 0 else 0
            n = 0
        else:
            done = 0
        while done < n:
            want = min(n - done, _CHUNK)
            put = sink.put(mapping.read(pos + done, want))
            done += put
            if put < want:
                break
        if inode.atime <= inode.mtime or inode.atime + _DAY_NS <= inode.fs.now() or inode.atime <= inode.ctime:
            accessed(file)
        if inode.fs.watched:
            happened(file.path.dentry if file.path is not None else None, inode, abi.IN_ACCESS)
        return done

    def write(self, file: File, task: Any, source: Source, n: int, pos: int) -> int:
        inode, mapping = _of(file)
        if not n:
            return 0
        lock = inode.lock
        if lock is None:
            lock = inode.lock = Mutex()
        lock.acquire(task)
        try:
            return self._write(file, inode, mapping, task, source, n, pos)
        finally:
            lock.release(task)

    def _write(
        self, file: File, inode: Inode, mapping: AddressSpace, task: Any, source: Source, n: int, pos: int
    ) -> int:
        """With the inode locked: writes are atomic towards each other (POSIX 2.9.7), and contend for the lock."""
        task.spend(n * task.machine.costs.copy_kib >> 10)
        if file.flags & O_APPEND:
            pos = file.pos = inode.size  # the file may have grown while the cost elapsed
        n = file_size_limit(task, pos, n)
        if inode.seals > _BORN:
            n = writable_part(inode, pos, n)
        if inode.mode & _SET_ID:
            drop_privileges(inode, task.cred)
        done = 0
        try:
            while done < n:
                chunk = source.peek(n - done)
                if not len(chunk):
                    break
                stored = mapping.write(pos + done, chunk)
                source.skip(stored)
                done += stored
                if pos + done > inode.size:
                    inode.size = pos + done
                if stored < len(chunk):
                    break
        except OSError:
            if not done:
                raise
        if done:
            modified(inode)
            if inode.fs.watched:
                happened(file.path.dentry if file.path is not None else None, inode, abi.IN_MODIFY)
        return done

    def llseek(self, file: File, offset: int, whence: int) -> int:
        inode, mapping = _of(file)
        size = inode.size
        if whence == abi.SEEK_CUR:
            offset += file.pos
        elif whence == abi.SEEK_END:
            offset += size
        elif whence in (abi.SEEK_DATA, abi.SEEK_HOLE):
            if offset < 0 or offset >= size:
                raise error(ENXIO, "offset at or past the end")
            if whence == abi.SEEK_DATA:
                index = mapping.next_data(offset // PAGE_SIZE)
                if index is None or index * PAGE_SIZE >= size:
                    raise error(ENXIO, "no data after the offset")
                return max(offset, index * PAGE_SIZE)
            return min(size, max(offset, mapping.next_hole(offset // PAGE_SIZE) * PAGE_SIZE))
        elif whence != abi.SEEK_SET:
            raise error(EINVAL, f"whence {whence}")
        if not 0 <= offset <= MAX_FILE_SIZE:
            raise error(EINVAL, "offset out of range")
        return offset

    def ioctl(self, file: File, task: Any, request: int, arg: Any) -> Any:
        if request == abi.FIONREAD:
            return _of(file)[0].size - file.pos
        return super().ioctl(file, task, request, arg)

    def fsync(self, file: File, data_only: bool) -> None:
        inode, _ = _of(file)
        inode.fs.sync_inode(inode, data_only)

    def fallocate(self, file: File, task: Any, mode: int, offset: int, length: int) -> None:
        inode, mapping = _of(file)
        if mode & ~(abi.FALLOC_FL_KEEP_SIZE | abi.FALLOC_FL_PUNCH_HOLE):
            raise error(abi.EOPNOTSUPP, "fallocate mode")
        end = offset + length
        if end > MAX_FILE_SIZE:
            raise error(EFBIG)
        if inode.seals > _BORN:
            check_allocation(inode, bool(mode & abi.FALLOC_FL_PUNCH_HOLE), end)
        drop_privileges(inode, task.cred)
        if mode & abi.FALLOC_FL_PUNCH_HOLE:
            if not mode & abi.FALLOC_FL_KEEP_SIZE:
                raise error(abi.EOPNOTSUPP, "punch without keep-size")
            mapping.punch(offset, end)
            modified(inode)
            if inode.fs.watched:
                happened(file.path.dentry if file.path is not None else None, inode, abi.IN_MODIFY)
            return
        if end > inode.size:
            limit = task.group.rlimits.get(abi.RLIMIT_FSIZE, (-1, -1))[0]
            if 0 <= limit < end:
                task.send_signal(abi.SIGXFSZ)
                raise error(EFBIG, f"RLIMIT_FSIZE is {limit}")
        mapping.reserve(offset // PAGE_SIZE, (end + PAGE_SIZE - 1) // PAGE_SIZE)
        if end > inode.size and not mode & abi.FALLOC_FL_KEEP_SIZE:
            inode.size = end
        inode.ctime = inode.fs.now()
        if inode.fs.watched:
            happened(file.path.dentry if file.path is not None else None, inode, abi.IN_MODIFY)


class DirectoryOps(FileOps):
    """An open directory: its offset is a cookie, 1 and 2 being past `.` and `..`."""

    __slots__ = ()
    seekable = True

    def read(self, file: File, task: Any, sink: Sink, n: int, pos: int) -> int:
        raise error(EISDIR)

    def poll(self, file: File) -> int:
        return DEFAULT_POLL

    def llseek(self, file: File, offset: int, whence: int) -> int:
        if whence == abi.SEEK_CUR:
            offset += file.pos
        elif whence != abi.SEEK_SET:
            raise error(EINVAL, f"whence {whence} on a directory")
        if offset < 0:
            raise error(EINVAL, "negative offset")
        return offset

    def iterate(self, file: File, pos: int) -> Iterator[DirEntry]:
        assert file.inode is not None and file.path is not None
        dentry = file.path.dentry
        if not dentry.hashed and dentry.parent is not dentry:
            raise error(ENOENT, "directory was removed")
        accessed(file)
        if file.inode.fs.watched:
            happened(dentry, file.inode, abi.IN_ACCESS)
        dots: list[DirEntry] = []
        kind = S_IFDIR >> 12
        if pos < 1:
            dots.append((1, b".", file.inode.ino, kind))
        if pos < 2:
            dots.append((2, b"..", dentry.parent.inode.ino, kind))
        if pos < 2 or file.private is None:
            file.private = file.inode.fs.last_cookie(file.inode)
        last: int = file.private
        return chain(dots, takewhile(lambda e: e[0] <= last, file.inode.fs.iterate(file.inode, max(pos, 2))))

    def fsync(self, file: File, data_only: bool) -> None:
        assert file.inode is not None
        file.inode.fs.sync_inode(file.inode, data_only)


def _of(file: File) -> tuple[Inode, AddressSpace]:
    inode = file.inode
    if inode is None or inode.mapping is None:
        raise error(EINVAL, "file without contents")
    return inode, inode.mapping


class PathOps(FileOps):
    """O_PATH: a place in the tree, good for the *at calls, fstat and dup only."""

    __slots__ = ()

    def poll(self, file: File) -> int:
        return abi.POLLNVAL


REGULAR, DIRECTORY, PATH = RegularOps(), DirectoryOps(), PathOps()

__all__ = ["DIRECTORY", "MAX_RW_COUNT", "PATH", "REGULAR", "DirectoryOps", "RegularOps", "accessed", "modified"]
