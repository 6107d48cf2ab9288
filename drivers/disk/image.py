"""A disk in a file of the host: raw sectors, the format `mkfs`, `e2fsck` and `mount -o loop` read.

The file is locked (flock, exclusive; shared for a read-only disk) for as long as it is open, so that two
machines never write one image. `flush` is fdatasync: what it promises is what the host's disk keeps.
"""

from __future__ import annotations

import errno
import fcntl
import os

from csrc.frame import Buffer
from drivers.disk.device import SECTOR_SIZE, check_range, new_counters, whole_sectors

_sync = getattr(os, "fdatasync", os.fsync)


class ImageDisk:
    """The disk in `path`. With `create`, a file that does not exist is made, with so many sectors of zeros
    (sparse).
    """

    __slots__ = ("_fd", "counters", "path", "readonly", "sectors")

    def __init__(self, path: str | os.PathLike[str], create: int | None = None, readonly: bool = False) -> None:
        self.path = os.fspath(path)
        self.readonly = readonly
        self.counters = new_counters()
        flags = os.O_RDONLY if readonly else os.O_RDWR | (os.O_CREAT if create is not None else 0)
        self._fd = -1
        fd = os.open(self.path, flags | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(fd, (fcntl.LOCK_SH if readonly else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OSError(
                    errno.EBUSY, f"{self.path} is in use by another machine: stop it, or work on a copy"
                ) from None
            size = os.lseek(fd, 0, os.SEEK_END)  # of a block device too
            if size == 0 and create is not None:
                size = create * SECTOR_SIZE
                os.ftruncate(fd, size)
            if size == 0:
                raise OSError(errno.EINVAL, f"{self.path} is empty: `truncate -s 64M {self.path}` makes a disk of it")
            if size % SECTOR_SIZE:
                raise OSError(
                    errno.EINVAL,
                    f"{self.path} has {size} bytes, which is no whole number of {SECTOR_SIZE}-byte sectors:"
                    f" is it a disk image? (`truncate -s %{SECTOR_SIZE} {self.path}` pads it)",
                )
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self.sectors = size // SECTOR_SIZE

    def _open(self) -> int:
        if self._fd < 0:
            raise OSError(errno.ENODEV, f"the disk {self.path} is closed")
        return self._fd

    def read(self, sector: int, count: int) -> bytes:
        check_range(self.sectors, sector, count)
        fd = self._open()
        size = count * SECTOR_SIZE
        data = os.pread(fd, size, sector * SECTOR_SIZE)
        while len(data) < size:
            more = os.pread(fd, size - len(data), sector * SECTOR_SIZE + len(data))
            if not more:
                self.counters["read_errors"] += 1
                raise OSError(errno.EIO, f"{self.path} ends before sector {sector + count}: it was truncated")
            data += more
        self.counters["reads"] += 1
        self.counters["read_sectors"] += count
        return data

    def write(self, sector: int, data: Buffer) -> None:
        count = whole_sectors(self.sectors, sector, data)
        fd = self._open()
        if self.readonly:
            raise OSError(errno.EROFS, f"the disk {self.path} was opened read-only")
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view):
                done += os.pwrite(fd, view[done:], sector * SECTOR_SIZE + done)
        except OSError as error:
            self.counters["write_errors"] += 1
            raise OSError(error.errno, f"{self.path}, sector {sector}: {error.strerror}") from error
        self.counters["writes"] += 1
        self.counters["written_sectors"] += count

    def flush(self) -> None:
        fd = self._open()
        if not self.readonly:
            _sync(fd)
        self.counters["flushes"] += 1

    def close(self) -> None:
        if self._fd >= 0:
            try:
                if not self.readonly:
                    _sync(self._fd)
            finally:
                os.close(self._fd)
                self._fd = -1
