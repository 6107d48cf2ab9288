"""The descriptor table of a process: small integers to open file descriptions.

POSIX gives the lowest free descriptor. Free slots below the end of the table are kept in a heap, so that finding the
lowest does not depend on how many are open. The close-on-exec flag belongs to the descriptor, not to the description.
Threads share one table (CLONE_FILES); fork copies it.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

from kernel.abi import EBADF, EINVAL, EMFILE
from kernel.fs.file import File
from kernel.fs.vfs import error


class FdTable:
    """`limit` arguments are the caller's RLIMIT_NOFILE: descriptors must be below it."""

    __slots__ = ("_cloexec", "_free", "files", "users")

    def __init__(self) -> None:
        self.files: list[File | None] = []
        self._free: list[int] = []  # heap of slots that may be free (entries that are not are skipped)
        self._cloexec = bytearray()
        self.users = 1  # tasks that share the table

    def get(self, fd: Any) -> File:
        """The description behind `fd`, which is whatever a program gave; EBADF."""
        if type(fd) is int:
            number: int = fd
            files = self.files
            if 0 <= number < len(files):
                found = files[number]
                if found is not None:
                    return found
            raise error(EBADF, fd)
        try:
            if fd >= 0:
                file = self.files[fd]
                if file is not None:
                    return file
        except (IndexError, TypeError):
            pass
        raise error(EBADF, fd)

    def _lowest(self, least: int) -> int:
        files, free = self.files, self._free
        if least == 0:
            while free:
                fd = free[0]
                if fd < len(files) and files[fd] is None:
                    return fd
                heappop(free)
            return len(files)
        for fd in range(least, len(files)):
            if files[fd] is None:
                return fd
        return max(least, len(files))

    def lowest(self) -> int:
        """The descriptor that `install` would give now."""
        return self._lowest(0)

    def _set(self, fd: int, file: File, cloexec: bool) -> None:
        files = self.files
        while len(files) <= fd:
            if len(files) < fd:
                heappush(self._free, len(files))
            files.append(None)
            self._cloexec.append(0)
        files[fd] = file
        self._cloexec[fd] = cloexec

    def install(self, file: File, cloexec: bool, limit: int, least: int = 0) -> int:
        """Gives `file` the lowest free descriptor not below `least`. EMFILE. The table takes over the reference."""
        fd = self._lowest(least)
        if limit >= 0 and fd >= limit:
            raise error(EMFILE, f"limit of {limit} descriptors")
        if fd == len(self.files):
            self.files.append(file)
            self._cloexec.append(cloexec)
        else:
            self._set(fd, file, cloexec)
        return fd

    def dup3(self, old: int, new: int, cloexec: bool, limit: int) -> int:
        """`new` becomes a copy of `old`; what it was before is closed without a word about errors."""
        if old == new:
            raise error(EINVAL, "same descriptor")
        if new < 0 or (limit >= 0 and new >= limit):
            raise error(EBADF, new)
        file = self.get(old)
        file.get()
        before = self.files[new] if new < len(self.files) else None
        self._set(new, file, cloexec)
        if before is not None:
            self._closed(before)
        return new

    def close(self, fd: int) -> None:
        file = self.get(fd)
        self.files[fd] = None
        heappush(self._free, fd)
        if len(self._free) > 2 * len(self.files) + 16:  # dup3 onto a free slot leaves its entry behind
            self._free = [slot for slot, open_file in enumerate(self.files) if open_file is None]
        self._closed(file)

    def _closed(self, file: File) -> None:
        """POSIX record locks go at any close of the file by the process."""
        locks = file.locks
        if locks is not None:
            locks.release_owner(self)
        file.put()

    def cloexec(self, fd: int) -> bool:
        self.get(fd)
        return bool(self._cloexec[fd])

    def set_cloexec(self, fd: int, on: bool) -> None:
        self.get(fd)
        self._cloexec[fd] = on

    def fds(self) -> list[int]:
        """Open descriptors, ascending."""
        return [fd for fd, file in enumerate(self.files) if file is not None]

    def copy(self) -> FdTable:
        """For fork: same descriptions, same flags."""
        table = FdTable()
        table.files = list(self.files)
        table._free = list(self._free)
        table._cloexec = bytearray(self._cloexec)
        for file in table.files:
            if file is not None:
                file.count += 1
        return table

    def close_on_exec(self) -> None:
        """execve(2): closes the descriptors so marked."""
        for fd, file in enumerate(self.files):
            if file is not None and self._cloexec[fd]:
                self.close(fd)

    def release(self) -> None:
        """One task fewer uses the table; the last closes everything, in descriptor order."""
        self.users -= 1
        if not self.users:
            for fd in self.fds():
                if self.files[fd] is not None:
                    self.close(fd)
