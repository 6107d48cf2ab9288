"""Path walk: from a string to a (mount, dentry), as path_resolution(7) and Linux's fs/namei.c.

A walk starts at the root, the working directory or a directory descriptor and goes one component at a time. Every
directory on the way needs search (x) permission. A symbolic link in the middle is always followed, at the end only
where the call follows; forty of them in one walk give ELOOP. `..` stops at the caller's root and climbs from the
root of a mount to the directory it covers. A trailing slash means: the last component is a directory, and if it is
a link it is followed.

Calls that make, remove or move a name use `parent`, which stops before the last component and says what that was.
"""

from __future__ import annotations

from typing import Any, Protocol

from kernel.abi import (
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    CAP_FOWNER,
    EACCES,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    EXDEV,
    NAME_MAX,
    PATH_MAX,
    S_IFDIR,
    S_IFMT,
    S_ISVTX,
    SYMLOOP_MAX,
)  # fmt: skip
from kernel.fs.vfs import Dentry, Inode, Mount, Path, error

MAY_EXEC, MAY_WRITE, MAY_READ = 1, 2, 4


class Cred(Protocol):
    """What permission checks need to know of a task's credentials."""

    @property
    def fsuid(self) -> int: ...
    @property
    def fsgid(self) -> int: ...
    @property
    def groups(self) -> Any: ...
    @property
    def effective(self) -> int: ...


def capable(cred: Cred, cap: int) -> bool:
    """Whether `cred` has the capability."""
    return bool(cred.effective >> cap & 1)


class FsContext:
    """The root, the working directory and the umask: shared by threads (CLONE_FS), copied by fork."""

    __slots__ = ("cwd", "root", "umask", "users")

    def __init__(self, root: Path, cwd: Path, umask: int = 0o022) -> None:
        self.root = root
        self.cwd = cwd
        self.umask = umask
        self.users = 1  # tasks that share it
        root.mount.users += 1
        cwd.mount.users += 1

    def copy(self) -> FsContext:
        return FsContext(self.root, self.cwd, self.umask)

    def set_cwd(self, path: Path) -> None:
        path.mount.users += 1
        self.cwd.mount.users -= 1
        self.cwd = path

    def set_root(self, path: Path) -> None:
        path.mount.users += 1
        self.root.mount.users -= 1
        self.root = path

    def release(self) -> None:
        """The last task that used it is gone."""
        self.root.mount.users -= 1
        self.cwd.mount.users -= 1


def in_group(cred: Cred, gid: int) -> bool:
    return gid == cred.fsgid or gid in cred.groups


def permitted(inode: Inode, cred: Cred, mask: int) -> bool:
    """inode_permission(): owner, group or other bits, whichever applies first; then the capabilities."""
    verdict = inode.fs.permission(inode, cred, mask)
    if verdict is not None:
        return verdict
    mode = inode.mode
    if cred.fsuid == inode.uid:
        bits = mode >> 6
    elif in_group(cred, inode.gid):
        bits = mode >> 3
    else:
        bits = mode
    if bits & mask == mask:
        return True
    if inode.is_dir:
        if not mask & MAY_WRITE and capable(cred, CAP_DAC_READ_SEARCH):
            return True
        return capable(cred, CAP_DAC_OVERRIDE)
    if mask == MAY_READ and capable(cred, CAP_DAC_READ_SEARCH):
        return True
    if not mask & MAY_EXEC or mode & 0o111:
        return capable(cred, CAP_DAC_OVERRIDE)
    return False


def check(inode: Inode, cred: Cred, mask: int, what: object = "") -> None:
    if not permitted(inode, cred, mask):
        raise error(EACCES, what)


def sticky(directory: Inode, inode: Inode, cred: Cred) -> bool:
    """Whether the directory's sticky bit forbids `cred` to remove or rename `inode` in it."""
    if not directory.mode & S_ISVTX or cred.fsuid in (inode.uid, directory.uid):
        return False
    return not capable(cred, CAP_FOWNER)


RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 1, 2, 4
RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_CACHED = 8, 16, 32

# What the last component of a walk to the parent was.
NORM, DOT, DOTDOT, ROOT = range(4)


class Walk:
    """One walk (or the several of one call, which share the count of links followed)."""

    __slots__ = ("cred", "fs", "links", "resolve", "root", "task")

    def __init__(self, fs: FsContext, cred: Cred, task: Any = None) -> None:
        self.fs = fs
        self.cred = cred
        self.task = task
        self.links = 0
        self.root = fs.root
        self.resolve = 0
        """RESOLVE_* of openat2(2)."""

    def lookup(self, path: bytes, base: Path | None = None, follow: bool = True, directory: bool = False) -> Path:
        """Where `path` leads. `base` is where a relative path starts: the working directory when None."""
        here, _, _, _ = self._walk(path, base, follow, False, directory)
        return here

    def parent(self, path: bytes, base: Path | None = None) -> tuple[Path, bytes, int, bool]:
        """(directory, last component, its kind NORM/DOT/DOTDOT/ROOT, whether slashes follow it)."""
        return self._walk(path, base, False, True, False)

    def _walk(
        self, path: bytes, base: Path | None, follow: bool, stop_before_last: bool, must_dir: bool
    ) -> tuple[Path, bytes, int, bool]:
        if not path:
            raise error(ENOENT, "empty path")
        if len(path) >= PATH_MAX:
            raise error(ENAMETOOLONG, f"path of {len(path)} bytes")
        if path[0] == 47:  # "/"
            if self.resolve & RESOLVE_BENEATH:
                raise error(EXDEV, path)
            here = self.root
        else:
            here = base if base is not None else self.fs.cwd
        slashes = path[-1] == 47
        must_dir = must_dir or (slashes and not stop_before_last)
        todo = [name for name in path.split(b"/") if name]
        todo.reverse()
        if not todo and stop_before_last:
            return here, b"", ROOT, False
        cred = self.cred
        while todo:
            name = todo.pop()
            inode = here.dentry.inode
            if inode.mode & S_IFMT != S_IFDIR:
                raise error(ENOTDIR, path)
            if not permitted(inode, cred, MAY_EXEC):
                raise error(EACCES, path)
            if name == b".":
                if stop_before_last and not todo:
                    return here, name, DOT, slashes
                continue
            if name == b"..":
                if stop_before_last and not todo:
                    return here, name, DOTDOT, slashes
                here = self.up(here)
                continue
            if stop_before_last and not todo:
                return here, name, NORM, slashes
            there = self.step(here, name)
            if there is None:
                raise error(ENOENT, path)
            if there.dentry.inode.is_link and (todo or follow or must_dir):
                target = self.follow(there)
                if isinstance(target, Path):
                    here = target
                    continue
                if not todo and target[-1] == 47:
                    must_dir = True
                if target[0] == 47:
                    if self.resolve & RESOLVE_BENEATH:
                        raise error(EXDEV, path)
                    if self.resolve & RESOLVE_NO_XDEV and here.mount is not self.root.mount:
                        raise error(EXDEV, path)
                    here = self.root
                more = [part for part in target.split(b"/") if part]
                more.reverse()
                todo.extend(more)
                continue
            here = there
        if must_dir and not here.dentry.inode.is_dir:
            raise error(ENOTDIR, path)
        return here, b"", NORM, slashes

    def step(self, here: Path, name: bytes) -> Path | None:
        """One component down, through whatever is mounted there; None when the name does not exist."""
        dentry = self.child(here.dentry, name)
        if dentry is None:
            return None
        there = self.down(here.mount, dentry)
        if self.resolve & RESOLVE_NO_XDEV and there.mount is not here.mount:
            raise error(EXDEV, name)
        return there

    @staticmethod
    def child(parent: Dentry, name: bytes) -> Dentry | None:
        dentry = parent.children.get(name)
        if dentry is not None:
            return dentry
        if len(name) > NAME_MAX:
            raise error(ENAMETOOLONG, f"name of {len(name)} bytes")
        if not parent.hashed and parent.parent is not parent:
            return None  # a removed directory is empty
        inode = parent.inode.fs.lookup(parent.inode, name)
        return None if inode is None else parent.attach(name, inode)

    @staticmethod
    def down(mount: Mount, dentry: Dentry) -> Path:
        """To the top of whatever is mounted on `dentry`."""
        while mount.children:
            over = mount.children.get(dentry)
            if over is None:
                break
            mount, dentry = over, over.root
        return Path(mount, dentry)

    def up(self, here: Path) -> Path:
        """`..`: never above the caller's root; out of a mount to the directory it covers."""
        mount, dentry = here.mount, here.dentry
        root = self.root
        if self.resolve & RESOLVE_BENEATH and dentry is root.dentry and mount is root.mount:
            raise error(EXDEV, "..")
        if self.resolve & RESOLVE_NO_XDEV and dentry is mount.root and mount is not root.mount:
            raise error(EXDEV, "..")
        while not (dentry is root.dentry and mount is root.mount):
            if dentry is not mount.root:
                return self.down(mount, dentry.parent)
            if mount.parent is None or mount.mountpoint is None:
                break
            dentry, mount = mount.mountpoint, mount.parent
        return self.down(mount, dentry)

    def follow(self, link: Path) -> bytes | Path:
        """The target of a symbolic link: its text, or where a magic link of proc jumps to."""
        self.links += 1
        if self.resolve & RESOLVE_NO_SYMLINKS:
            raise error(ELOOP, "RESOLVE_NO_SYMLINKS")
        if self.links > SYMLOOP_MAX:
            raise error(ELOOP, "too many symbolic links")
        inode = link.dentry.inode
        jump = inode.fs.jump(inode, self.task)
        if jump is not None:
            if self.resolve & RESOLVE_NO_MAGICLINKS:
                raise error(ELOOP, "RESOLVE_NO_MAGICLINKS")
            if self.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT):
                raise error(EXDEV, "a magic link")
            return jump
        inode.atime = inode.fs.now()
        target = inode.fs.readlink(inode)
        if not target:
            raise error(ENOENT, "empty link")
        return target
