"""tmpfs: a filesystem in memory, after Linux's mm/shmem.c and tmpfs(5).

File contents are sparse pages of an `AddressSpace`; a directory is a dictionary of names with a cookie for each entry,
taken from a counter, so that getdents is right whatever changes between two calls: an entry that stays keeps its
cookie and is listed once.

Space is counted in pages (`size=`), files in inodes (`nr_inodes=`); both give ENOSPC when used up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any

from kernel.abi import (
    EINVAL,
    EMLINK,
    ENOSPC,
    ENOTEMPTY,
    F_SEAL_SEAL,
    PAGE_SIZE,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    TMPFS_MAGIC,
)
from kernel.fs.file import FileOps
from kernel.fs.mapping import AddressSpace, Page
from kernel.fs.seals import SEALABLE
from kernel.fs.vfs import DirEntry, FileSystem, Inode, Path, StatFs, error

MAX_LINKS = 1 << 31
SHORT_LINK = 128
"""A symbolic link of so many bytes or more takes a page."""
ENTRY_SIZE = 20  # what Linux's tmpfs adds to a directory's size per entry (BOGO_DIRENT_SIZE)


class Directory:
    """The entries of a directory: name to (cookie, inode), and the names in cookie order."""

    __slots__ = ("_cookies", "_names", "_next", "entries")

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[int, Inode]] = {}
        self._next = 3  # 0 is the start, 1 and 2 have passed "." and ".."
        self._cookies: list[int] = []  # ascending; those of removed entries stay until there are too many
        self._names: dict[int, bytes] = {}

    @property
    def last(self) -> int:
        """The largest cookie given so far."""
        return self._next - 1

    def add(self, name: bytes, inode: Inode, cookie: int = 0) -> None:
        if not cookie:
            cookie = self._next
            self._next += 1
            self._cookies.append(cookie)
        else:
            at = bisect_right(self._cookies, cookie)
            if not at or self._cookies[at - 1] != cookie:
                self._cookies.insert(at, cookie)
        self.entries[name] = (cookie, inode)
        self._names[cookie] = name

    def remove(self, name: bytes) -> int:
        """The cookie that is free now: an entry put in its place may take it over at once."""
        cookie, _ = self.entries.pop(name)
        del self._names[cookie]
        if len(self._cookies) > 2 * len(self._names) + 16:
            self._cookies = [c for c in self._cookies if c in self._names]
        return cookie

    def replace(self, name: bytes, inode: Inode) -> None:
        """The name stands for another inode now."""
        self.entries[name] = (self.entries[name][0], inode)

    def after(self, cookie: int) -> Iterator[DirEntry]:
        cookies = self._cookies
        while True:
            # Looked up afresh each time: the directory may change while a reader pauses.
            at = bisect_right(cookies, cookie)
            while at < len(cookies) and cookies[at] not in self._names:
                at += 1
            if at >= len(cookies):
                return
            cookie = cookies[at]
            name = self._names[cookie]
            inode = self.entries[name][1]
            yield cookie, name, inode.ino, (inode.mode & S_IFMT) >> 12
            cookies = self._cookies


class _Pages:
    """The page source of one file: counts pages against the filesystem's limit."""

    __slots__ = ("fs",)

    def __init__(self, fs: Tmpfs) -> None:
        self.fs = fs

    def fill(self, index: int) -> Page | None:
        return None

    def allocate(self, index: int) -> None:
        fs = self.fs
        if fs.max_pages is not None and fs.pages >= fs.max_pages:
            raise error(ENOSPC, f"{fs.name} of {fs.max_pages} pages is full")
        fs.pages += 1

    def free(self, count: int) -> None:
        self.fs.pages -= count

    def dirtied(self, index: int) -> None:
        pass

    def next_data(self, index: int) -> int | None:
        return None


class Tmpfs(FileSystem):
    """One mounted tmpfs. `max_pages` and `max_inodes` None: no limit."""

    def __init__(
        self, dev: int, now: Callable[[], int], mode: int = 0o1777, uid: int = 0, gid: int = 0,
        max_pages: int | None = 65536, max_inodes: int | None = 65536, name: str = "tmpfs",
    ) -> None:  # fmt: skip
        self.name = name
        self.dev = dev
        self.now = now
        self.cacheable = True
        self.readonly = False
        self.block_size = PAGE_SIZE
        self.max_pages = max_pages
        self.max_inodes = max_inodes
        self.options = ""
        """What /proc/mounts shows beside the flags of the mount."""
        self.pages = 0
        self.inodes = 0
        self._ino = 0
        self._source = _Pages(self)
        self.root = self._inode(S_IFDIR | mode, uid, gid)

    def _inode(self, mode: int, uid: int, gid: int, rdev: int = 0) -> Inode:
        self._take_inode()
        self._ino += 1
        inode = Inode(self, self._ino, mode, uid, gid, rdev)
        kind = mode & S_IFMT
        if kind == S_IFDIR:
            inode.private = Directory()
            inode.nlink = 2
            inode.size = 2 * ENTRY_SIZE
        elif kind == S_IFREG:
            inode.mapping = AddressSpace(self._source)
            inode.seals = SEALABLE | F_SEAL_SEAL
        return inode

    def _take_inode(self) -> None:
        if self.max_inodes is not None and self.inodes >= self.max_inodes:
            raise error(ENOSPC, f"{self.name} has no inode left of {self.max_inodes}")
        self.inodes += 1

    def _touch(self, directory: Inode, entries: int = 0) -> None:
        directory.mtime = directory.ctime = self.now()
        directory.size += entries * ENTRY_SIZE

    # ---- names ----

    def lookup(self, directory: Inode, name: bytes) -> Inode | None:
        entry = directory.private.entries.get(name)
        return None if entry is None else entry[1]

    def iterate(self, directory: Inode, cookie: int) -> Iterator[DirEntry]:
        return directory.private.after(cookie)

    def last_cookie(self, directory: Inode) -> int:
        last: int = directory.private.last
        return last

    def make(self, directory: Inode, name: bytes, mode: int, uid: int, gid: int, rdev: int, target: bytes) -> Inode:
        long = mode & S_IFMT == S_IFLNK and len(target) >= SHORT_LINK
        if long:
            self._source.allocate(0)
        try:
            inode = self._inode(mode, uid, gid, rdev)
        except OSError:
            self.pages -= long
            raise
        if mode & S_IFMT == S_IFLNK:
            inode.private = target
            inode.size = len(target)
        elif mode & S_IFMT == S_IFDIR:
            directory.nlink += 1
        directory.private.add(name, inode)
        self._touch(directory, 1)
        return inode

    def make_unnamed(self, mode: int, uid: int, gid: int) -> Inode:
        inode = self._inode(mode, uid, gid)
        inode.nlink = 0
        return inode

    def link(self, inode: Inode, directory: Inode, name: bytes) -> None:
        if inode.nlink >= MAX_LINKS:
            raise error(EMLINK)
        if inode.nlink:
            self._take_inode()
        inode.nlink += 1
        inode.ctime = self.now()
        directory.private.add(name, inode)
        self._touch(directory, 1)

    def unlink(self, directory: Inode, name: bytes, inode: Inode) -> None:
        directory.private.remove(name)
        self._touch(directory, -1)
        self._drop_link(inode)

    def _drop_link(self, inode: Inode) -> None:
        """Each further name of a file counts as an inode."""
        if inode.nlink > 1 and not inode.is_dir:
            self.inodes -= 1
        inode.drop_link()

    def rmdir(self, directory: Inode, name: bytes, inode: Inode) -> None:
        if inode.private.entries:
            raise error(ENOTEMPTY, name.decode(errors="replace"))
        directory.private.remove(name)
        directory.nlink -= 1
        self._touch(directory, -1)
        inode.nlink = 1
        inode.drop_link()

    def rename(
        self, source: Inode, name: bytes, inode: Inode, target: Inode, new_name: bytes, victim: Inode | None,
        exchange: bool,
    ) -> None:  # fmt: skip
        old, new = source.private, target.private
        moves = source is not target
        if exchange and victim is not None:
            old.replace(name, victim)
            new.replace(new_name, inode)
            if moves and inode.is_dir != victim.is_dir:
                step = 1 if inode.is_dir else -1
                source.nlink -= step
                target.nlink += step
            victim.ctime = self.now()
        else:
            if victim is not None and victim.is_dir and victim.private.entries:
                raise error(ENOTEMPTY, new_name.decode(errors="replace"))
            cookie = 0
            if victim is not None:
                cookie = new.remove(new_name)
            old.remove(name)
            new.add(new_name, inode, cookie)  # what replaces a name takes its place in the order
            if victim is not None:
                target.size -= ENTRY_SIZE
                if victim.is_dir:
                    target.nlink -= 1
                    victim.nlink = 1
                self._drop_link(victim)
            source.size -= ENTRY_SIZE
            target.size += ENTRY_SIZE
            if inode.is_dir and moves:
                source.nlink -= 1
                target.nlink += 1
        inode.ctime = self.now()
        self._touch(source)
        self._touch(target)

    # ---- files ----

    def readlink(self, inode: Inode) -> bytes:
        target: bytes = inode.private
        return target

    def jump(self, inode: Inode, task: Any) -> Path | None:
        return None

    def permission(self, inode: Inode, cred: Any, mask: int) -> bool | None:
        return None

    def truncate(self, inode: Inode, size: int) -> None:
        assert inode.mapping is not None
        if size <= inode.size:
            inode.mapping.truncate(size)
        inode.size = size
        inode.mtime = inode.ctime = self.now()

    def dirty(self, inode: Inode) -> None:
        pass

    def sync_inode(self, inode: Inode, data_only: bool) -> None:
        pass

    def sync(self) -> None:
        pass

    def evict(self, inode: Inode) -> None:
        if inode.mapping is not None:
            inode.mapping.truncate(0)
        elif inode.is_link and len(inode.private) >= SHORT_LINK:
            self.pages -= 1
        self.inodes -= 1

    def blocks(self, inode: Inode) -> int:
        return len(inode.mapping.pages) * (PAGE_SIZE // 512) if inode.mapping is not None else 0

    def file_ops(self, inode: Inode) -> FileOps | None:
        return None

    def statfs(self) -> StatFs:
        most, inodes = self.max_pages or 0, self.max_inodes or 0
        return StatFs(
            TMPFS_MAGIC, PAGE_SIZE, most, max(0, most - self.pages), inodes, max(0, inodes - self.inodes)
        )

    def unmount(self) -> None:
        pass


_UNITS = {b"k": 10, b"m": 20, b"g": 30}


def _number(text: bytes, base: int = 10) -> int:
    shift = _UNITS.get(text[-1:].lower(), 0)
    try:
        return int(text[:-1] if shift else text, base) << shift
    except ValueError:
        raise error(EINVAL, f"tmpfs option {text!r}") from None


def tmpfs_from_options(dev: int, now: Callable[[], int], options: bytes, pages: int = 65536) -> Tmpfs:
    """The `data` of mount(2), as tmpfs(5): size=, nr_blocks=, nr_inodes=, mode=, uid=, gid=; `pages` is the default
    size.
    """
    fs = Tmpfs(dev, now, max_pages=pages)
    before = fs.max_pages, fs.max_inodes
    for option in options.split(b","):
        key, _, value = option.partition(b"=")
        if key == b"size":
            fs.max_pages = (_number(value) + PAGE_SIZE - 1) // PAGE_SIZE or None
        elif key == b"nr_blocks":
            fs.max_pages = _number(value) or None
        elif key == b"nr_inodes":
            fs.max_inodes = _number(value) or None
        elif key == b"mode":
            fs.root.mode = S_IFDIR | _number(value, 8) & 0o7777
        elif key == b"uid":
            fs.root.uid = _number(value)
        elif key == b"gid":
            fs.root.gid = _number(value)
        elif key:
            raise error(EINVAL, f"tmpfs option {option!r}")
    shown = (
        (fs.max_pages != before[0], f"size={(fs.max_pages or 0) * (PAGE_SIZE // 1024)}k"),
        (fs.max_inodes != before[1], f"nr_inodes={fs.max_inodes or 0}"),
        (fs.root.mode & 0o7777 != 0o1777, f"mode={fs.root.mode & 0o7777:03o}"),
        (fs.root.uid, f"uid={fs.root.uid}"),
        (fs.root.gid, f"gid={fs.root.gid}"),
    )
    fs.options = "".join("," + text for set_, text in shown if set_)
    return fs
