"""The virtual filesystem's nouns: inode, dentry, mount, path, and what a filesystem must be able to do.

An *inode* is a file; a *dentry* is a name in a directory and the cache of having looked it up; a *mount* puts the
tree of a filesystem over a dentry of another; a *path* is a (mount, dentry) pair, because one dentry may be
reached through several mounts.

Invariants:
- A directory has at most one dentry, so `..` is `dentry.parent`; a file has one per name that was looked up.
- `dentry.children` caches names that exist. It is changed only together with the directory itself (`attach`,
  `detach`, `move`), so a cached answer is never stale. A filesystem whose names come and go by themselves (proc)
  says `cacheable = False`.
- An inode is evicted (its space given back) when it has neither names nor users: `nlink == 0 and users == 0`.
  Open files count as users.

A filesystem is one object that implements `FileSystem`; it is told about whole operations, after the VFS has done
the path walk, permissions and the checks that hold for every filesystem. A method of a filesystem on a disk may
sleep: it runs on the kernel stack of the task that made the call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from kernel import abi
from kernel.abi import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG

if TYPE_CHECKING:
    from kernel.fs.anon import AnonFs
    from kernel.fs.file import FileOps
    from kernel.fs.mapping import AddressSpace
    from kernel.sched.mutex import Mutex


def error(number: int, what: object = "") -> OSError:
    """The `OSError` subclass for `number`, with Linux's text, as a program would see it there.

    A path (bytes) becomes the error's filename; anything else that `what` says is a note for who reads the traceback.
    """
    text = os.strerror(number)
    if isinstance(what, bytes):
        return OSError(number, text, what.decode("utf-8", "surrogateescape"))
    failure = OSError(number, text)
    if what != "":
        failure.add_note(f"{abi.errno_name(number)}: {what}")
    return failure


class Inode:
    """A file: its kind, owner, times (ns since the epoch) and, by kind, its pages, entries, target or device."""

    __slots__ = (
        "atime", "btime", "ctime", "fs", "gid", "ino", "linkable", "lock", "locks", "mapping", "mode", "mtime", "nlink",
        "pipe", "private", "rdev", "seals", "size", "socket", "uid", "users", "watches", "xattrs",
    )  # fmt: skip

    def __init__(self, fs: FileSystem, ino: int, mode: int, uid: int = 0, gid: int = 0, rdev: int = 0) -> None:
        self.fs = fs
        self.ino = ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.rdev = rdev
        self.nlink = 1
        self.size = 0
        self.atime = self.mtime = self.ctime = self.btime = fs.now()
        self.users = 0
        self.seals = 0  # of a file in memory (kernel/fs/seals.py)
        self.linkable = False  # made by O_TMPFILE: it may be given its first name
        self.mapping: AddressSpace | None = None
        self.private: Any = None  # the filesystem's own: directory entries, link target, disk inode
        self.pipe: Any = None  # a FIFO's pipe while somebody has it open
        self.socket: Any = None  # the socket bound to this name
        self.lock: Mutex | None = None  # held while the contents change, made at the first write
        self.locks: Any = None  # record and whole-file locks, made on first use
        self.xattrs: dict[bytes, bytes] | None = None
        self.watches: list[Any] | None = None  # of inotify

    @property
    def is_dir(self) -> bool:
        return self.mode & S_IFMT == S_IFDIR

    @property
    def is_link(self) -> bool:
        return self.mode & S_IFMT == S_IFLNK

    @property
    def is_reg(self) -> bool:
        return self.mode & S_IFMT == S_IFREG

    def get(self) -> None:
        """One more user (an open description)."""
        self.users += 1

    def put(self) -> None:
        """One user fewer; without names either, the inode's space is given back."""
        self.users -= 1
        if not self.users and not self.nlink:
            self._gone()

    def _gone(self) -> None:
        for watch in list(self.watches or ()):
            watch.gone()
        self.fs.evict(self)

    def drop_link(self) -> None:
        """One name fewer (the filesystem has removed the entry)."""
        self.nlink -= 1
        self.ctime = self.fs.now()
        if not self.users and not self.nlink:
            self._gone()

    def __repr__(self) -> str:
        return f"<Inode {self.fs.name}:{self.ino} mode={self.mode:o} nlink={self.nlink}>"


class Dentry:
    """A name in a directory. The root of a filesystem is its own parent."""

    __slots__ = ("children", "hashed", "inode", "name", "parent")

    def __init__(self, name: bytes, parent: Dentry | None, inode: Inode) -> None:
        self.name = name
        self.parent: Dentry = self if parent is None else parent
        self.inode = inode
        self.children: dict[bytes, Dentry] = {}
        self.hashed = True  # False once unlinked: the name is history, open files still point here

    def is_ancestor_of(self, other: Dentry) -> bool:
        """Whether `other` is this dentry or lies below it."""
        while other is not self:
            if other.parent is other:
                return False
            other = other.parent
        return True

    def attach(self, name: bytes, inode: Inode) -> Dentry:
        """The name now exists in this directory."""
        child = Dentry(name, self, inode)
        if inode.fs.cacheable:
            self.children[name] = child
        return child

    def detach(self) -> None:
        """The name was removed."""
        self.parent.children.pop(self.name, None)
        self.hashed = False

    def move(self, parent: Dentry, name: bytes) -> None:
        """The name was renamed. What stood at the new name has been detached before."""
        self.parent.children.pop(self.name, None)
        self.parent = parent
        self.name = name
        parent.children[name] = self

    def swap(self, other: Dentry) -> None:
        """RENAME_EXCHANGE: the two names change places."""
        self.parent, other.parent = other.parent, self.parent
        self.name, other.name = other.name, self.name
        self.parent.children[self.name] = self
        other.parent.children[other.name] = other

    def __repr__(self) -> str:
        return f"<Dentry {self.name!r}{'' if self.hashed else ' (deleted)'}>"


class Mount:
    """The tree of a filesystem, put over `mountpoint` of the mount `parent` (both None for the root of all)."""

    __slots__ = (
        "children", "expiring", "flags", "fs", "id", "mountpoint", "options", "parent", "root", "source", "users",
    )  # fmt: skip

    def __init__(self, ident: int, fs: FileSystem, root: Dentry, flags: int, source: bytes) -> None:
        self.id = ident
        self.fs = fs
        self.root = root
        self.flags = flags  # MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME ...
        self.source = source
        self.options = b""
        self.parent: Mount | None = None
        self.mountpoint: Dentry | None = None
        self.children: dict[Dentry, Mount] = {}
        self.expiring = False  # marked by MNT_EXPIRE
        self.users = 0  # open files and working directories: umount answers EBUSY while there are any


class Path:
    """Where a walk has arrived."""

    __slots__ = ("dentry", "mount")

    def __init__(self, mount: Mount, dentry: Dentry) -> None:
        self.mount = mount
        self.dentry = dentry

    @property
    def inode(self) -> Inode:
        return self.dentry.inode

    def same(self, other: Path) -> bool:
        return self.dentry is other.dentry and self.mount is other.mount

    def __repr__(self) -> str:
        return f"<Path {self.dentry.name!r} on {self.mount.fs.name}>"


class StatFs:
    """What statfs(2) tells of a filesystem; counts are in blocks of `f_bsize` bytes."""

    __slots__ = (
        "f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_ffree", "f_files", "f_flags", "f_frsize", "f_fsid",
        "f_namelen", "f_type",
    )  # fmt: skip

    def __init__(self, kind: int, block: int, blocks: int, free: int, files: int, files_free: int) -> None:
        self.f_type = kind
        self.f_bsize = self.f_frsize = block
        self.f_blocks = blocks
        self.f_bfree = self.f_bavail = free
        self.f_files = files
        self.f_ffree = files_free
        self.f_fsid = 0
        self.f_namelen = abi.NAME_MAX
        self.f_flags = 0

    def __repr__(self) -> str:
        return "statfs(" + ", ".join(f"{name}={getattr(self, name)}" for name in self.__slots__) + ")"


DirEntry = tuple[int, bytes, int, int]  # cookie, name, inode number, DT_*


class FileSystem(Protocol):
    """What the VFS asks of a filesystem. Names are bytes without "/", never "." or "..".

    The VFS has checked permissions, kinds and existence before it calls, and it updates the dentries afterwards;
    the filesystem changes directories, link counts and times (its own and the directories').
    """

    name: str  # as in /proc/mounts: "tmpfs"
    dev: int  # st_dev
    root: Inode
    cacheable: bool  # names change only through the VFS
    readonly: bool
    block_size: int
    now: Callable[[], int]  # CLOCK_REALTIME, ns
    watched: bool = False  # an inotify watch was ever set in it
    watching: dict[Any, None] | None = None  # those that are

    def lookup(self, directory: Inode, name: bytes) -> Inode | None: ...

    def iterate(self, directory: Inode, cookie: int) -> Iterator[DirEntry]:
        """Entries whose cookie is greater, in cookie order, without "." and ".."; a cookie is at least 2."""
        ...

    def make(self, directory: Inode, name: bytes, mode: int, uid: int, gid: int, rdev: int, target: bytes) -> Inode:
        """Creates a file of any kind (by `mode`); `target` is the text of a symbolic link."""
        ...

    def make_unnamed(self, mode: int, uid: int, gid: int) -> Inode:
        """A regular file without a name (O_TMPFILE)."""
        ...

    def link(self, inode: Inode, directory: Inode, name: bytes) -> None: ...

    def unlink(self, directory: Inode, name: bytes, inode: Inode) -> None: ...

    def rmdir(self, directory: Inode, name: bytes, inode: Inode) -> None:
        """ENOTEMPTY when it has entries."""
        ...

    def rename(
        self, source: Inode, name: bytes, inode: Inode, target: Inode, new_name: bytes, victim: Inode | None,
        exchange: bool,
    ) -> None:  # fmt: skip
        """Atomically; `victim` is replaced, or changes places with `inode` when `exchange`."""
        ...

    def last_cookie(self, directory: Inode) -> int:
        """Entries made from now on have larger cookies: a listing that begins now leaves them out, so that it ends
        however many are made meanwhile.
        """
        return (1 << 63) - 1

    def readlink(self, inode: Inode) -> bytes: ...

    def jump(self, inode: Inode, task: Any) -> Path | None:
        """Where a magic link of proc leads without a path; None for ordinary links."""
        ...

    def permission(self, inode: Inode, cred: Any, mask: int) -> bool | None:
        """A filesystem's own say on access; None leaves it to the mode bits."""
        ...

    def truncate(self, inode: Inode, size: int) -> None: ...

    def dirty(self, inode: Inode) -> None:
        """Attributes of the inode were changed in memory."""
        ...

    def sync_inode(self, inode: Inode, data_only: bool) -> None: ...

    def sync(self) -> None: ...

    def evict(self, inode: Inode) -> None:
        """No names, no users: give its space back."""
        ...

    def blocks(self, inode: Inode) -> int:
        """st_blocks: 512-byte units in use."""
        ...

    def file_ops(self, inode: Inode) -> FileOps | None:
        """Operations of an open regular file; None takes the generic ones over `inode.mapping`."""
        ...

    def statfs(self) -> StatFs: ...

    def unmount(self) -> None:
        """The last mount is gone."""
        ...


class Vfs:
    """The mount tree of a machine, the device registry and the filesystem types it can mount."""

    __slots__ = (
        "_anon", "_dev", "_mount_id", "devices", "in_flight", "machine", "memfd", "mounts", "moves", "now", "root",
        "types", "unix_names",
    )  # fmt: skip

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self._dev = 0
        self._mount_id = 20
        self.mounts: list[Mount] = []  # in mount order, as /proc/mounts lists them
        self.types: dict[str, Callable[[bytes, bytes], FileSystem]] = {}  # name -> (source, options) -> filesystem
        self.devices: dict[tuple[int, int], FileOps] = {}  # (S_IFCHR or S_IFBLK, rdev) -> operations
        self.root: Path | None = None
        self.machine: Any = None
        self._anon: dict[str, AnonFs] = {}
        self.memfd: Mount | None = None
        """Where the files of memfd_create are, once there is one."""
        self.moves = 0  # renames that inotify was told of: the cookie that joins the two events
        self.unix_names: dict[bytes, Any] = {}  # abstract names of Unix sockets
        self.in_flight: Any = None  # what their messages carry, once there is one

    def anon(self, name: str, magic: int) -> AnonFs:
        """The filesystem without names that gives pipes, sockets and the like their inodes."""
        fs = self._anon.get(name)
        if fs is None:
            from kernel.fs.anon import AnonFs

            fs = self._anon[name] = AnonFs(name, self.new_dev(), magic, self.now)
        return fs

    @staticmethod
    def nameless(inode: Inode) -> Path:
        """A place for an inode that is in no directory (a pipe), for opening it through /proc/PID/fd."""
        dentry = Dentry(b"", None, inode)
        return Path(Mount(0, inode.fs, dentry, 0, b"none"), dentry)

    def new_dev(self) -> int:
        """A device number (major 0) for a filesystem without a device."""
        self._dev += 1
        return self._dev

    def mount_root(self, fs: FileSystem, source: bytes = b"none") -> Path:
        mount = self._new_mount(fs, Dentry(b"/", None, fs.root), 0, source)
        self.root = Path(mount, mount.root)
        return self.root

    def _new_mount(self, fs: FileSystem, root: Dentry, flags: int, source: bytes) -> Mount:
        self._mount_id += 1
        mount = Mount(self._mount_id, fs, root, flags, source)
        self.mounts.append(mount)
        return mount

    def mount(self, fs: FileSystem, over: Path, flags: int = 0, source: bytes = b"none") -> Mount:
        """Puts `fs` over a directory. `over` is where a walk arrived, so mounts stack."""
        if not over.inode.is_dir:
            raise error(abi.ENOTDIR, "mount point")
        mount = self._new_mount(fs, Dentry(b"/", None, fs.root), flags, source)
        mount.parent = over.mount
        mount.mountpoint = over.dentry
        over.mount.children[over.dentry] = mount
        return mount

    def bind(self, source: Path, over: Path, flags: int = 0) -> Mount:
        """MS_BIND: the tree at `source`, seen at `over` too."""
        if source.inode.is_dir != over.inode.is_dir:
            raise error(abi.ENOTDIR, "mount point")
        mount = self._new_mount(source.mount.fs, source.dentry, flags, source.mount.source)
        mount.parent = over.mount
        mount.mountpoint = over.dentry
        over.mount.children[over.dentry] = mount
        return mount

    def umount(self, mount: Mount, lazy: bool = False) -> None:
        """EBUSY while files, working directories or other mounts are on it (`lazy` detaches it all the same)."""
        if mount.parent is None or mount.mountpoint is None:
            raise error(abi.EINVAL, "the root mount")
        if not lazy and (mount.children or mount.users):
            raise error(abi.EBUSY, "mount in use")
        for child in list(mount.children.values()):
            self.umount(child, lazy)
        del mount.parent.children[mount.mountpoint]
        self.mounts.remove(mount)
        mount.parent = mount.mountpoint = None
        if all(other.fs is not mount.fs for other in self.mounts):
            mount.fs.sync()
            if not mount.users:
                if mount.fs.watching:
                    from kernel.fs.inotify import unmounted

                    unmounted(mount.fs.watching)
                mount.fs.unmount()

    def path_of(self, path: Path, root: Path) -> bytes:
        """The absolute name of `path` as seen from `root`; ` (deleted)` and `(unreachable)` as Linux writes them."""
        names: list[bytes] = []
        mount, dentry = path.mount, path.dentry
        deleted = not dentry.hashed
        reachable = True
        while not (dentry is root.dentry and mount is root.mount):
            if dentry is mount.root:
                if mount.parent is None or mount.mountpoint is None:
                    reachable = mount is self.memfd
                    break
                dentry, mount = mount.mountpoint, mount.parent
                continue
            names.append(dentry.name)
            dentry = dentry.parent
        text = b"/" + b"/".join(reversed(names))
        if not reachable:
            text = b"(unreachable)" + text
        return text + b" (deleted)" if deleted else text
