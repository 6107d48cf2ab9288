"""The VFS's verbs: open, make, link, remove, rename, change attributes. Linux's fs/namei.c and fs/attr.c.

Each takes a task (for its root, working directory, umask and credentials) and a path with the directory it is
relative to. They check in Linux's order, because the errno of a call that fails for two reasons depends on it; then
the filesystem is asked, and the dentries follow.
"""

from __future__ import annotations

from typing import Any

from kernel import abi
from kernel.abi import (
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    ENXIO,
    EPERM,
    EROFS,
    EXDEV,
    O_ACCMODE,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_TRUNC,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    S_ISGID,
    S_ISUID,
    S_IXGRP,
)
from kernel.fs import regular, seals
from kernel.fs.file import File, FileOps
from kernel.fs.inotify import happened, tell
from kernel.fs.namei import (
    DOT,
    DOTDOT,
    MAY_EXEC,
    MAY_READ,
    MAY_WRITE,
    NORM,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    Walk,
    capable,
    check,
    in_group,
    sticky,
)
from kernel.fs.vfs import Dentry, Inode, Path, Vfs, error
from kernel.ipc.pipe import open_fifo

_O_TMPFILE = abi.O_TMPFILE & ~O_DIRECTORY
_KNOWN = (
    O_ACCMODE | O_CREAT | O_EXCL | abi.O_NOCTTY | O_TRUNC | abi.O_APPEND | abi.O_NONBLOCK | abi.O_DSYNC | abi.O_ASYNC
    | abi.O_DIRECT | abi.O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | abi.O_NOATIME | abi.O_CLOEXEC | abi.O_SYNC | O_PATH
    | _O_TMPFILE
)  # fmt: skip
_PATH_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | abi.O_CLOEXEC
_AT_OPEN = O_CREAT | O_EXCL | abi.O_NOCTTY | O_TRUNC | abi.O_CLOEXEC
"""Flags that only matter to open and are not kept in the description."""


def walk(task: Any) -> Walk:
    return Walk(task.fs, task.cred, task)


def writable_mount(path: Path) -> None:
    if path.mount.flags & abi.MS_RDONLY or path.mount.fs.readonly:
        raise error(EROFS)


def _new_owner(directory: Inode, mode: int, cred: Any) -> tuple[int, int]:
    """Mode and group of a new file: a setgid directory hands on its group, and the bit to directories."""
    if not directory.mode & S_ISGID:
        return mode, cred.fsgid
    if mode & S_IFMT == S_IFDIR:
        mode |= S_ISGID
    elif mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP and not (
        in_group(cred, directory.gid) or capable(cred, abi.CAP_FSETID)
    ):
        mode &= ~S_ISGID
    return mode, directory.gid


def _create(task: Any, parent: Path, name: bytes, mode: int, rdev: int = 0, target: bytes = b"") -> Path:
    """Makes a name in `parent` after the permission checks of may_create()."""
    directory = parent.inode
    writable_mount(parent)
    if not parent.dentry.hashed and parent.dentry.parent is not parent.dentry:
        raise error(ENOENT, "directory was removed")
    check(directory, task.cred, MAY_WRITE | MAY_EXEC, name.decode(errors="replace"))
    if mode & S_IFMT != S_IFLNK:
        mode &= ~task.fs.umask
    mode, gid = _new_owner(directory, mode, task.cred)
    inode = directory.fs.make(directory, name, mode, task.cred.fsuid, gid, rdev, target)
    if directory.watches:
        tell(directory, abi.IN_CREATE, name, 0, inode.is_dir)
    return Path(parent.mount, parent.dentry.attach(name, inode))


# ---- open ----


def open_file(
    task: Any, path: bytes, flags: int, mode: int = 0, base: Path | None = None, resolve: int = 0
) -> File:
    """openat(2) without the descriptor."""
    flags = flags & _KNOWN | abi.O_LARGEFILE  # as every 64-bit kernel does
    if flags & O_PATH:
        flags &= _PATH_FLAGS
    if flags & _O_TMPFILE:
        if flags & abi.O_TMPFILE != abi.O_TMPFILE or flags & O_CREAT or flags & O_ACCMODE == O_RDONLY:
            raise error(EINVAL, "O_TMPFILE")
    elif flags & O_CREAT and flags & O_DIRECTORY:
        raise error(EINVAL, "O_CREAT with O_DIRECTORY")
    w = walk(task)
    if resolve:
        w.resolve = resolve
        if resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT):
            w.root = base if base is not None else task.fs.cwd
    if flags & _O_TMPFILE:
        return _open_tmpfile(task, w.lookup(path, base, directory=True), flags, mode)
    if not flags & O_CREAT:
        nofollow = bool(flags & O_NOFOLLOW)
        there = w.lookup(path, base, follow=not nofollow, directory=bool(flags & O_DIRECTORY) and not nofollow)
        if nofollow and flags & O_DIRECTORY and not there.inode.is_dir:
            raise error(ENOTDIR, path)
        return open_path(task, there, flags)
    here, name, kind, slashes = w.parent(path, base)
    while True:
        if kind != NORM:
            raise error(EEXIST if flags & O_EXCL else EISDIR, path)
        if slashes:
            raise error(EISDIR, path)
        found = w.step(here, name)
        if found is None:
            return open_path(task, _create(task, here, name, S_IFREG | mode & 0o7777), flags, created=True)
        if flags & O_EXCL:
            raise error(EEXIST, path)
        if not found.inode.is_link:
            break
        if flags & O_NOFOLLOW:
            raise error(ELOOP, path)
        target = w.follow(found)
        if isinstance(target, Path):
            found = target
            break
        here, name, kind, slashes = w.parent(target, here)
    if found.inode.is_dir:
        raise error(EISDIR, path)
    return open_path(task, found, flags)


def _open_tmpfile(task: Any, where: Path, flags: int, mode: int) -> File:
    directory = where.inode
    writable_mount(where)
    check(directory, task.cred, MAY_WRITE | MAY_EXEC)
    mode, gid = _new_owner(directory, S_IFREG | mode & 0o7777 & ~task.fs.umask, task.cred)
    inode = directory.fs.make_unnamed(mode, task.cred.fsuid, gid)
    dentry = Dentry(b"#%d" % inode.ino, where.dentry, inode)
    dentry.hashed = False
    inode.linkable = not flags & O_EXCL
    if directory.fs.watched:
        happened(dentry, inode, abi.IN_OPEN)
    return File(directory.fs.file_ops(inode) or regular.REGULAR, flags & ~_AT_OPEN, inode, Path(where.mount, dentry))


def open_path(task: Any, path: Path, flags: int, created: bool = False) -> File:
    """Opens what a walk has found: may_open()'s checks, then the operations for its kind."""
    inode = path.inode
    kind = inode.mode & S_IFMT
    if flags & O_PATH:
        return File(regular.PATH, flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW), inode, path)
    wants_write = flags & O_ACCMODE != O_RDONLY or flags & O_TRUNC
    if kind == S_IFLNK:
        raise error(ELOOP)
    if kind == S_IFDIR and wants_write:
        raise error(EISDIR)
    if kind in (S_IFCHR, S_IFBLK) and path.mount.flags & abi.MS_NODEV:
        raise error(EACCES, "nodev")
    if wants_write and kind in (S_IFREG, S_IFDIR, S_IFLNK):
        writable_mount(path)
    if not created:
        mask = (MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE, MAY_READ | MAY_WRITE)[flags & O_ACCMODE]
        if flags & O_TRUNC:
            mask |= MAY_WRITE
        check(inode, task.cred, mask)
    if flags & abi.O_NOATIME and task.cred.fsuid != inode.uid and not capable(task.cred, abi.CAP_FOWNER):
        raise error(EPERM, "O_NOATIME")
    kept = flags & ~_AT_OPEN
    ops: FileOps | None
    if kind == S_IFIFO:
        return open_fifo(task, inode, kept, path)
    if kind == S_IFSOCK:
        raise error(ENXIO, "a socket")
    if kind in (S_IFCHR, S_IFBLK):
        ops = task.machine.vfs.devices.get((kind, inode.rdev))
        if ops is None:
            raise error(ENXIO, f"no device {inode.rdev >> 8}:{inode.rdev & 255}")
        opener = getattr(ops, "open", None)
        if opener is not None:
            opened: File = opener(task, inode, path, kept | flags & (O_EXCL if kind == S_IFBLK else abi.O_NOCTTY))
            return opened
    elif kind == S_IFDIR:
        ops = regular.DIRECTORY
    else:
        ops = inode.fs.file_ops(inode) or regular.REGULAR
    file = File(ops, kept, inode, path)
    if inode.fs.watched:
        happened(path.dentry, inode, abi.IN_OPEN)
    if flags & O_TRUNC and kind == S_IFREG and not created:
        if inode.seals:
            seals.check_size(inode, 0)
        regular.drop_privileges(inode, task.cred)
        inode.fs.truncate(inode, 0)
        if inode.fs.watched:
            happened(path.dentry, inode, abi.IN_MODIFY)
    return file


# ---- making names ----


def _new_name(task: Any, path: bytes, base: Path | None, want_dir: bool = False) -> tuple[Path, bytes]:
    """The place for a new name; EEXIST when there is something already."""
    w = walk(task)
    here, name, kind, slashes = w.parent(path, base)
    if kind != NORM:
        raise error(EEXIST, path)
    if w.step(here, name) is not None:
        raise error(EEXIST, path)
    if slashes and not want_dir:
        raise error(ENOENT, path)
    return here, name


def mkdir(task: Any, path: bytes, mode: int, base: Path | None = None) -> None:
    here, name = _new_name(task, path, base, want_dir=True)
    _create(task, here, name, S_IFDIR | mode & 0o1777)


def mknod(task: Any, path: bytes, mode: int, rdev: int = 0, base: Path | None = None) -> None:
    kind = mode & S_IFMT or S_IFREG
    if kind == S_IFDIR:
        raise error(EPERM, "mknod of a directory")
    if kind not in (S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK):
        raise error(EINVAL, "mknod kind")
    here, name = _new_name(task, path, base)
    if kind in (S_IFCHR, S_IFBLK) and not capable(task.cred, abi.CAP_MKNOD):
        check(here.inode, task.cred, MAY_WRITE | MAY_EXEC)
        raise error(EPERM, "mknod of a device")
    _create(task, here, name, kind | mode & 0o7777, rdev if kind in (S_IFCHR, S_IFBLK) else 0)


def make_socket(task: Any, path: bytes, mode: int) -> Inode:
    """bind(2) of a Unix socket to a name: EADDRINUSE when it exists."""
    try:
        here, name = _new_name(task, path, None)
    except FileExistsError:
        raise error(abi.EADDRINUSE, path) from None
    return _create(task, here, name, S_IFSOCK | mode).inode


def symlink(task: Any, target: bytes, path: bytes, base: Path | None = None) -> None:
    if not target:
        raise error(ENOENT, "empty link")
    if len(target) >= abi.PATH_MAX:
        raise error(abi.ENAMETOOLONG, "link target")
    here, name = _new_name(task, path, base)
    _create(task, here, name, S_IFLNK | 0o777, 0, target)


def link(task: Any, old: Path, path: bytes, base: Path | None = None) -> None:
    """A new name for `old`, which the caller has looked up (following links or not)."""
    here, name = _new_name(task, path, base)
    inode = old.inode
    if here.mount is not old.mount:
        raise error(EXDEV)
    writable_mount(here)
    # fs.protected_hardlinks: who does not own a file may link it only if it could also write it.
    cred = task.cred
    if cred.fsuid != inode.uid and not capable(cred, abi.CAP_FOWNER):
        special = not inode.is_reg or inode.mode & S_ISUID or inode.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
        try:
            check(inode, cred, MAY_READ | MAY_WRITE)
        except OSError:
            special = True
        if special:
            raise error(EPERM, "not the owner")
    check(here.inode, cred, MAY_WRITE | MAY_EXEC)
    if inode.is_dir:
        raise error(EPERM, "hard link to a directory")
    inode.fs.link(inode, here.inode, name)
    here.dentry.attach(name, inode)
    if inode.fs.watched:
        tell(inode, abi.IN_ATTRIB)
        tell(here.inode, abi.IN_CREATE, name)


# ---- removing names ----


def _may_delete(task: Any, parent: Path, victim: Dentry, want_dir: bool) -> None:
    check(parent.inode, task.cred, MAY_WRITE | MAY_EXEC, victim.name.decode(errors="replace"))
    if sticky(parent.inode, victim.inode, task.cred):
        raise error(EPERM, "sticky directory")
    if want_dir:
        if not victim.inode.is_dir:
            raise error(ENOTDIR, victim.name.decode(errors="replace"))
    elif victim.inode.is_dir:
        raise error(EISDIR, victim.name.decode(errors="replace"))


def _is_mountpoint(task: Any, dentry: Dentry) -> bool:
    return any(mount.mountpoint is dentry for mount in task.machine.vfs.mounts)


def unlink(task: Any, path: bytes, base: Path | None = None) -> None:
    w = walk(task)
    here, name, kind, slashes = w.parent(path, base)
    if kind != NORM:
        raise error(EISDIR, path)
    writable_mount(here)
    victim = w.child(here.dentry, name)
    if victim is None:
        raise error(ENOENT, path)
    if slashes:
        raise error(EISDIR if victim.inode.is_dir else ENOTDIR, path)
    _may_delete(task, here, victim, False)
    if _is_mountpoint(task, victim):
        raise error(EBUSY)
    inode = victim.inode
    inode.get()
    here.inode.fs.unlink(here.inode, name, inode)
    victim.detach()
    if inode.fs.watched:
        tell(inode, abi.IN_ATTRIB)
        tell(here.inode, abi.IN_DELETE, name)
    inode.put()


def rmdir(task: Any, path: bytes, base: Path | None = None) -> None:
    w = walk(task)
    here, name, kind, _ = w.parent(path, base)
    if kind != NORM:
        raise error({DOT: EINVAL, DOTDOT: ENOTEMPTY}.get(kind, EBUSY), path)
    writable_mount(here)
    victim = w.child(here.dentry, name)
    if victim is None:
        raise error(ENOENT, path)
    _may_delete(task, here, victim, True)
    if _is_mountpoint(task, victim):
        raise error(EBUSY)
    here.inode.fs.rmdir(here.inode, name, victim.inode)
    victim.detach()
    if here.inode.watches:
        tell(here.inode, abi.IN_DELETE, name, 0, True)


def rename(
    task: Any, old: bytes, new: bytes, flags: int = 0, old_base: Path | None = None, new_base: Path | None = None
) -> None:
    """renameat2(2)."""
    exchange = bool(flags & abi.RENAME_EXCHANGE)
    plain = abi.RENAME_NOREPLACE | abi.RENAME_WHITEOUT
    if flags & ~(plain | abi.RENAME_EXCHANGE) or (exchange and flags & plain):
        raise error(EINVAL, "rename flags")
    w = walk(task)
    source, name, kind, slashes = w.parent(old, old_base)
    target, new_name, new_kind, new_slashes = w.parent(new, new_base)
    if source.mount is not target.mount:
        raise error(EXDEV)
    if kind != NORM:
        raise error(EBUSY, old.decode(errors="replace"))
    if new_kind != NORM:
        raise error(EEXIST if flags & abi.RENAME_NOREPLACE else EBUSY, new.decode(errors="replace"))
    writable_mount(source)
    moved = w.child(source.dentry, name)
    if moved is None:
        raise error(ENOENT, old.decode(errors="replace"))
    victim = w.child(target.dentry, new_name)
    if victim is not None and flags & abi.RENAME_NOREPLACE:
        raise error(EEXIST, new.decode(errors="replace"))
    if victim is None and exchange:
        raise error(ENOENT, new.decode(errors="replace"))
    if exchange and victim is not None and not victim.inode.is_dir and new_slashes:
        raise error(ENOTDIR, new.decode(errors="replace"))
    if not moved.inode.is_dir and (slashes or (new_slashes and not exchange)):
        raise error(ENOTDIR, new.decode(errors="replace"))
    if moved.is_ancestor_of(target.dentry):
        raise error(EINVAL, "a directory into itself")
    if victim is not None and victim.is_ancestor_of(source.dentry):
        raise error(EINVAL if exchange else ENOTEMPTY, new.decode(errors="replace"))
    if victim is not None and victim.inode is moved.inode:
        return
    _check_rename(task, source, moved, target, victim, exchange)
    fs = moved.inode.fs
    replaced = victim.inode if victim is not None and not exchange else None
    if replaced is not None:
        replaced.get()
    fs.rename(
        source.inode, name, moved.inode, target.inode, new_name, None if victim is None else victim.inode, exchange
    )
    if exchange and victim is not None:
        moved.swap(victim)
    else:
        if victim is not None:
            victim.detach()
        moved.move(target.dentry, new_name)
        if flags & abi.RENAME_WHITEOUT:
            gid = _new_owner(source.inode, S_IFCHR, task.cred)[1]
            source.dentry.attach(name, fs.make(source.inode, name, S_IFCHR, task.cred.fsuid, gid, 0, b""))
    if fs.watched:
        _tell_moved(task, source.inode, name, target.inode, new_name, moved.inode, replaced)
        if exchange and victim is not None:
            _tell_moved(task, target.inode, new_name, source.inode, name, victim.inode)
    if replaced is not None:
        replaced.put()


def _tell_moved(
    task: Any, source: Inode, name: bytes, target: Inode, new_name: bytes, moved: Inode, replaced: Inode | None = None
) -> None:
    vfs = task.machine.vfs
    vfs.moves += 1
    tell(source, abi.IN_MOVED_FROM, name, vfs.moves, moved.is_dir)
    tell(target, abi.IN_MOVED_TO, new_name, vfs.moves, moved.is_dir)
    if replaced is not None:
        tell(replaced, abi.IN_ATTRIB)
    tell(moved, abi.IN_MOVE_SELF)


def _check_rename(
    task: Any, source: Path, moved: Dentry, target: Path, victim: Dentry | None, exchange: bool
) -> None:
    is_dir = moved.inode.is_dir
    _may_delete(task, source, moved, is_dir)
    if victim is None:
        if not target.dentry.hashed and target.dentry.parent is not target.dentry:
            raise error(ENOENT, "directory was removed")
        check(target.inode, task.cred, MAY_WRITE | MAY_EXEC)
    else:
        _may_delete(task, target, victim, victim.inode.is_dir if exchange else is_dir)
    if source.dentry is not target.dentry:
        # A directory's `..` changes, so it must be writable itself.
        if is_dir:
            check(moved.inode, task.cred, MAY_WRITE)
        if exchange and victim is not None and victim.inode.is_dir:
            check(victim.inode, task.cred, MAY_WRITE)
    if _is_mountpoint(task, moved) or (victim is not None and _is_mountpoint(task, victim)):
        raise error(EBUSY, "mount point")


# ---- attributes ----


def chmod(task: Any, path: Path, mode: int) -> None:
    inode, cred = path.inode, task.cred
    writable_mount(path)
    if inode.is_link:
        raise error(abi.EOPNOTSUPP, "mode of a symbolic link")
    if cred.fsuid != inode.uid and not capable(cred, abi.CAP_FOWNER):
        raise error(EPERM, "not the owner")
    mode &= 0o7777
    if mode & S_ISGID and not in_group(cred, inode.gid) and not capable(cred, abi.CAP_FSETID):
        mode &= ~S_ISGID
    if inode.seals:
        seals.check_mode(inode, mode)
    inode.mode = inode.mode & S_IFMT | mode
    _changed(path)


def chown(task: Any, path: Path, uid: int, gid: int) -> None:
    """uid or gid -1 leaves that one alone. Set-id bits of files are cleared, as Linux does."""
    inode, cred = path.inode, task.cred
    writable_mount(path)
    owner = cred.fsuid == inode.uid
    if uid != -1 and not ((owner and uid == inode.uid) or capable(cred, abi.CAP_CHOWN)):
        raise error(EPERM, "only root gives files away")
    if gid != -1 and not ((owner and (gid == inode.gid or in_group(cred, gid))) or capable(cred, abi.CAP_CHOWN)):
        raise error(EPERM, "not a group of the owner")
    if uid != -1:
        inode.uid = uid
    if gid != -1:
        inode.gid = gid
    if not inode.is_dir:
        inode.mode &= ~S_ISUID
        if inode.mode & S_IXGRP:
            inode.mode &= ~S_ISGID
    _changed(path)


def utimens(task: Any, path: Path, atime: int | None, mtime: int | None, now: bool) -> None:
    """Times in ns, None to leave one alone; `now`: both are the present time, which writers may set too."""
    inode, cred = path.inode, task.cred
    writable_mount(path)
    if atime is None and mtime is None:
        return
    if cred.fsuid != inode.uid and not capable(cred, abi.CAP_FOWNER):
        if not now:
            raise error(EPERM, "not the owner")
        check(inode, cred, MAY_WRITE)
    if atime is not None:
        inode.atime = atime
    if mtime is not None:
        inode.mtime = mtime
    _changed(path, abi.IN_MODIFY if atime is None else abi.IN_ACCESS if mtime is None else abi.IN_ATTRIB)


def truncate(task: Any, inode: Inode, size: int, path: Path | None = None) -> None:
    """truncate(2) and ftruncate(2) once the caller may write; `size` is not negative."""
    if size > inode.size:
        limit = task.group.rlimits.get(abi.RLIMIT_FSIZE, (-1, -1))[0]
        if 0 <= limit < size:
            task.send_signal(abi.SIGXFSZ)
            raise error(abi.EFBIG, f"RLIMIT_FSIZE is {limit}")
    if inode.seals:
        seals.check_size(inode, size)
    regular.drop_privileges(inode, task.cred)
    inode.fs.truncate(inode, size)
    if inode.fs.watched:
        happened(path.dentry if path is not None else None, inode, abi.IN_MODIFY)


def _changed(path: Path, event: int = abi.IN_ATTRIB) -> None:
    inode = path.inode
    inode.ctime = inode.fs.now()
    inode.fs.dirty(inode)
    if inode.fs.watched:
        happened(path.dentry, inode, event)


def root_path(vfs: Vfs) -> Path:
    if vfs.root is None:
        raise error(ENOENT, "no root filesystem")
    return vfs.root
