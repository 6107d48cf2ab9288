"""Filesystems without names: what fstat says of pipes, sockets and the epoll family; and the base of made-up ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kernel.abi import EACCES, EINVAL, ENOENT, EPERM, PAGE_SIZE
from kernel.fs.file import FileOps
from kernel.fs.vfs import DirEntry, FileSystem, Inode, Path, StatFs, error


class SyntheticFs(FileSystem):
    """A filesystem whose files are made by the kernel: nothing can be created, removed or renamed in it."""

    def __init__(self, name: str, dev: int, magic: int, now: Callable[[], int]) -> None:
        self.name = name
        self.dev = dev
        self.magic = magic
        self.now = now
        self.cacheable = False
        self.readonly = False
        self.block_size = PAGE_SIZE
        self._ino = 0

    def inode(self, mode: int, uid: int = 0, gid: int = 0) -> Inode:
        """A new inode with the next number."""
        self._ino += 1
        return Inode(self, self._ino, mode, uid, gid)

    def lookup(self, directory: Inode, name: bytes) -> Inode | None:
        return None

    def iterate(self, directory: Inode, cookie: int) -> Iterator[DirEntry]:
        return iter(())

    def make(self, directory: Inode, name: bytes, mode: int, uid: int, gid: int, rdev: int, target: bytes) -> Inode:
        raise error(EACCES if mode else EPERM, self.name)

    def make_unnamed(self, mode: int, uid: int, gid: int) -> Inode:
        raise error(EPERM, self.name)

    def link(self, inode: Inode, directory: Inode, name: bytes) -> None:
        raise error(EPERM, self.name)

    def unlink(self, directory: Inode, name: bytes, inode: Inode) -> None:
        raise error(EPERM, self.name)

    def rmdir(self, directory: Inode, name: bytes, inode: Inode) -> None:
        raise error(EPERM, self.name)

    def rename(
        self, source: Inode, name: bytes, inode: Inode, target: Inode, new_name: bytes, victim: Inode | None,
        exchange: bool,
    ) -> None:  # fmt: skip
        raise error(ENOENT if victim is None and self.name == "proc" else EPERM, self.name)

    def readlink(self, inode: Inode) -> bytes:
        raise error(EINVAL, self.name)

    def jump(self, inode: Inode, task: Any) -> Path | None:
        return None

    def permission(self, inode: Inode, cred: Any, mask: int) -> bool | None:
        return None

    def truncate(self, inode: Inode, size: int) -> None:
        pass

    def dirty(self, inode: Inode) -> None:
        pass

    def sync_inode(self, inode: Inode, data_only: bool) -> None:
        pass

    def sync(self) -> None:
        pass

    def evict(self, inode: Inode) -> None:
        pass

    def blocks(self, inode: Inode) -> int:
        return 0

    def file_ops(self, inode: Inode) -> FileOps | None:
        return None

    def statfs(self) -> StatFs:
        return StatFs(self.magic, PAGE_SIZE, 0, 0, 0, 0)

    def unmount(self) -> None:
        pass


class AnonFs(SyntheticFs):
    """pipefs, sockfs, anon_inodefs: inodes without any directory."""

    @property
    def root(self) -> Inode:  # type: ignore[override]
        raise error(ENOENT, f"{self.name} has no root")
