"""System calls on names: open, make, link, remove, rename, stat, attributes, directories, mounts."""

from __future__ import annotations

from typing import Any

from kernel import abi
from kernel.abi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    EACCES,
    EAGAIN,
    EBUSY,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOENT,
    ENOTDIR,
    EPERM,
    ERANGE,
    UTIME_NOW,
    UTIME_OMIT,
)
from kernel.fs import operations
from kernel.fs.namei import (
    MAY_EXEC,
    MAY_WRITE,
    RESOLVE_BENEATH,
    RESOLVE_CACHED,
    RESOLVE_IN_ROOT,
    Walk,
    capable,
    check,
    permitted,
)
from kernel.fs.stat import Stat, Statx
from kernel.fs.user import base_of, charge_path, file_of, install, lookup, path_at, pathname, text
from kernel.fs.vfs import Dentry, Mount, Path, StatFs, error
from kernel.syscall.table import python, syscall

Name = Any  # str, bytes or a path object


# ---- open ----


@syscall(56, "openat", "dirfd", "path", "open_flags", "mode")
def sys_openat(task: Any, dirfd: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    name = pathname(path)
    charge_path(task, name)
    file = operations.open_file(task, name, flags, mode, base_of(task, dirfd, name))
    return install(task, file, bool(flags & abi.O_CLOEXEC))


_RESOLVE = 0x3F
_OPENAT2_FLAGS = (
    abi.O_ACCMODE | abi.O_CREAT | abi.O_EXCL | abi.O_NOCTTY | abi.O_TRUNC | abi.O_APPEND | abi.O_NONBLOCK | abi.O_SYNC
    | abi.O_ASYNC | abi.O_DIRECT | abi.O_LARGEFILE | abi.O_DIRECTORY | abi.O_NOFOLLOW | abi.O_NOATIME | abi.O_CLOEXEC
    | abi.O_PATH | abi.O_TMPFILE
)  # fmt: skip


@syscall(437, "openat2", "dirfd", "path", "open_how", "", "")
def sys_openat2(task: Any, dirfd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat that refuses what it does not know, and walks as RESOLVE_* says."""
    makes = flags & abi.O_CREAT or flags & abi.O_TMPFILE == abi.O_TMPFILE
    if flags & ~_OPENAT2_FLAGS or resolve & ~_RESOLVE or mode & ~0o7777 or (mode and not makes):
        raise error(EINVAL, "openat2")
    if flags & abi.O_PATH and flags & ~(abi.O_PATH | abi.O_DIRECTORY | abi.O_NOFOLLOW | abi.O_CLOEXEC):
        raise error(EINVAL, "openat2 with O_PATH")
    scoped = resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)
    if scoped == RESOLVE_BENEATH | RESOLVE_IN_ROOT:
        raise error(EINVAL, "openat2: RESOLVE_BENEATH with RESOLVE_IN_ROOT")
    if resolve & RESOLVE_CACHED and (makes or flags & abi.O_TRUNC):
        raise error(EAGAIN, "openat2: RESOLVE_CACHED")
    name = pathname(path)
    charge_path(task, name)
    base = base_of(task, dirfd, b"." if scoped else name)
    file = operations.open_file(task, name, flags, mode, base, resolve)
    return install(task, file, bool(flags & abi.O_CLOEXEC))


@python("open")
def open_(task: Any, path: Name, flags: int, mode: int = 0o666) -> int:
    fd: int = sys_openat(task, AT_FDCWD, path, flags, mode)
    return fd


@python("creat")
def creat(task: Any, path: Name, mode: int = 0o666) -> int:
    return open_(task, path, abi.O_CREAT | abi.O_WRONLY | abi.O_TRUNC, mode)


# ---- stat ----


@syscall(79, "newfstatat", "dirfd", "path", "at_flags", returns="stat")
def sys_newfstatat(task: Any, dirfd: int, path: str | bytes, flags: int = 0) -> Stat:
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | abi.AT_NO_AUTOMOUNT):
        raise error(EINVAL, "flags")
    _, inode = path_at(task, dirfd, path, flags, not flags & AT_SYMLINK_NOFOLLOW)
    return Stat(inode)


@python("stat")
def stat(task: Any, path: Name) -> Stat:
    found: Stat = sys_newfstatat(task, AT_FDCWD, path, 0)
    return found


@python("lstat")
def lstat(task: Any, path: Name) -> Stat:
    found: Stat = sys_newfstatat(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW)
    return found


@syscall(291, "statx", "dirfd", "path", "at_flags", "int", returns="stat")
def sys_statx(task: Any, dirfd: int, path: str | bytes, flags: int = 0, mask: int = abi.STATX_ALL) -> Statx:
    if mask & abi.STATX__RESERVED or flags & abi.AT_STATX_SYNC_TYPE == abi.AT_STATX_SYNC_TYPE:
        raise error(EINVAL, "statx")
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | abi.AT_NO_AUTOMOUNT | abi.AT_STATX_SYNC_TYPE):
        raise error(EINVAL, "flags")
    where, inode = path_at(task, dirfd, path, flags, not flags & AT_SYMLINK_NOFOLLOW)
    if where is None:
        return Statx(inode, 0, False)
    found = Statx(inode, where.mount.id, where.dentry is where.mount.root)
    if not mask & (abi.STATX_CTIME | abi.STATX_MTIME) and inode.fs.name == "tmpfs":
        # Multigrain timestamps: who does not ask for these times does not make them advance, and is not told.
        found.stx_mask &= ~(abi.STATX_CTIME | abi.STATX_MTIME)
        found.st_ctime_ns = found.st_mtime_ns = 0
    return found


@syscall(43, "statfs", "path", returns="statfs")
def sys_statfs(task: Any, path: str | bytes) -> StatFs:
    where = lookup(task, AT_FDCWD, pathname(path))
    found = where.mount.fs.statfs()
    found.f_flags |= abi.ST_VALID | where.mount.flags & (abi.ST_RDONLY | abi.ST_NOSUID | abi.ST_NODEV | abi.ST_NOEXEC)
    return found


@syscall(48, "faccessat", "dirfd", "path", "access_mode")
def sys_faccessat(task: Any, dirfd: int, path: str | bytes, mode: int) -> int:
    return _access(task, dirfd, path, mode, 0)


@syscall(439, "faccessat2", "dirfd", "path", "access_mode", "at_flags")
def sys_faccessat2(task: Any, dirfd: int, path: str | bytes, mode: int, flags: int = 0) -> int:
    return _access(task, dirfd, path, mode, flags)


class _RealCred:
    """access(2) asks for the real ids, not the effective ones."""

    __slots__ = ("effective", "fsgid", "fsuid", "groups")

    def __init__(self, cred: Any) -> None:
        self.fsuid = cred.uid
        self.effective = cred.permitted if cred.uid == 0 else 0
        self.fsgid = cred.gid
        self.groups = cred.groups


def _access(task: Any, dirfd: int, path: str | bytes, mode: int, flags: int) -> int:
    if mode & ~7 or flags & ~(abi.AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise error(EINVAL, "mode")
    name = pathname(path)
    cred = task.cred if flags & abi.AT_EACCESS else _RealCred(task.cred)
    if not name and flags & AT_EMPTY_PATH:
        where, inode = path_at(task, dirfd, path, flags, True)
    else:
        charge_path(task, name)
        where = Walk(task.fs, cred, task).lookup(name, base_of(task, dirfd, name), not flags & AT_SYMLINK_NOFOLLOW)
        inode = where.inode
    if mode & abi.X_OK and inode.is_reg and where is not None and where.mount.flags & abi.MS_NOEXEC:
        raise error(EACCES, "noexec")
    if mode and not permitted(inode, cred, mode):
        raise error(EACCES, text(name))
    if mode & abi.W_OK and where is not None and not inode.mode & abi.S_IFCHR:
        operations.writable_mount(where)
    return 0


@python("access")
def access(task: Any, path: Name, mode: int) -> int:
    sys_faccessat(task, AT_FDCWD, path, mode)
    return 0


# ---- making, linking, removing ----


@syscall(34, "mkdirat", "dirfd", "path", "mode")
def sys_mkdirat(task: Any, dirfd: int, path: str | bytes, mode: int = 0o777) -> int:
    name = pathname(path)
    charge_path(task, name)
    operations.mkdir(task, name, mode, base_of(task, dirfd, name))
    return 0


@python("mkdir")
def mkdir(task: Any, path: Name, mode: int = 0o777) -> int:
    sys_mkdirat(task, AT_FDCWD, path, mode)
    return 0


@syscall(33, "mknodat", "dirfd", "path", "mode_t", "dev")
def sys_mknodat(task: Any, dirfd: int, path: str | bytes, mode: int, dev: int = 0) -> int:
    name = pathname(path)
    charge_path(task, name)
    operations.mknod(task, name, mode, dev, base_of(task, dirfd, name))
    return 0


@python("mknod")
def mknod(task: Any, path: Name, mode: int = 0o600, dev: int = 0) -> int:
    sys_mknodat(task, AT_FDCWD, path, mode, dev)
    return 0


@python("mkfifo")
def mkfifo(task: Any, path: Name, mode: int = 0o666) -> int:
    if not isinstance(mode, int):
        raise error(EINVAL, "mode")
    sys_mknodat(task, AT_FDCWD, path, abi.S_IFIFO | mode & 0o7777, 0)
    return 0


@syscall(36, "symlinkat", "path", "dirfd", "path")
def sys_symlinkat(task: Any, target: str | bytes, dirfd: int, path: str | bytes) -> int:
    name = pathname(path)
    charge_path(task, name)
    operations.symlink(task, pathname(target), name, base_of(task, dirfd, name))
    return 0


@python("symlink")
def symlink(task: Any, target: Name, path: Name) -> int:
    sys_symlinkat(task, target, AT_FDCWD, path)
    return 0


@syscall(78, "readlinkat", "dirfd", "path", "int", returns="bytes")
def sys_readlinkat(task: Any, dirfd: int, path: str | bytes, size: int = abi.PATH_MAX) -> bytes:
    """The target, cut to `size` without a word."""
    if size <= 0:
        raise error(EINVAL, "size")
    name = pathname(path)
    _, inode = path_at(task, dirfd, name, AT_EMPTY_PATH if dirfd != AT_FDCWD else 0, False)
    if not inode.is_link:
        raise error(EINVAL if name else ENOENT, text(name))
    target: bytes = inode.fs.readlink(inode)
    return target[:size]


@python("readlink")
def readlink(task: Any, path: Name) -> str:
    return text(sys_readlinkat(task, AT_FDCWD, path))


@syscall(37, "linkat", "dirfd", "path", "dirfd", "path", "at_flags")
def sys_linkat(task: Any, old_dirfd: int, old: str | bytes, new_dirfd: int, new: str | bytes, flags: int = 0) -> int:
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        raise error(EINVAL, "flags")
    source, inode = path_at(task, old_dirfd, old, flags, bool(flags & AT_SYMLINK_FOLLOW))
    if source is None:
        raise error(abi.EXDEV)
    # A file without a name gets one only if O_TMPFILE made it, it never had one, and O_EXCL did not say never.
    if not inode.nlink and not inode.linkable:
        raise error(ENOENT)
    name = pathname(new)
    operations.link(task, source, name, base_of(task, new_dirfd, name))
    inode.linkable = False
    return 0


@python("link")
def link(task: Any, old: Name, new: Name) -> int:
    sys_linkat(task, AT_FDCWD, old, AT_FDCWD, new, 0)
    return 0


@syscall(35, "unlinkat", "dirfd", "path", "unlink_flags")
def sys_unlinkat(task: Any, dirfd: int, path: str | bytes, flags: int = 0) -> int:
    if flags & ~AT_REMOVEDIR:
        raise error(EINVAL, "flags")
    name = pathname(path)
    charge_path(task, name)
    base = base_of(task, dirfd, name)
    if flags:
        operations.rmdir(task, name, base)
    else:
        operations.unlink(task, name, base)
    return 0


@python("unlink")
def unlink(task: Any, path: Name) -> int:
    sys_unlinkat(task, AT_FDCWD, path, 0)
    return 0


@python("rmdir")
def rmdir(task: Any, path: Name) -> int:
    sys_unlinkat(task, AT_FDCWD, path, AT_REMOVEDIR)
    return 0


@syscall(276, "renameat2", "dirfd", "path", "dirfd", "path", "rename_flags")
def sys_renameat2(
    task: Any, old_dirfd: int, old: str | bytes, new_dirfd: int, new: str | bytes, flags: int = 0
) -> int:
    source, target = pathname(old), pathname(new)
    charge_path(task, source)
    charge_path(task, target)
    operations.rename(
        task, source, target, flags, base_of(task, old_dirfd, source), base_of(task, new_dirfd, target)
    )
    return 0


@python("rename")
def rename(task: Any, old: Name, new: Name) -> int:
    sys_renameat2(task, AT_FDCWD, old, AT_FDCWD, new, 0)
    return 0


# ---- attributes ----


def _place(path: Path | None, inode: Any) -> Path:
    """Where an inode is whose attributes change; a pipe or a socket has a place of its own."""
    if path is not None:
        return path
    if inode is None or inode.fs.name == "anon_inodefs":
        raise error(abi.EOPNOTSUPP, "a file of no filesystem")
    dentry = Dentry(b"", None, inode)
    return Path(Mount(0, inode.fs, dentry, 0, b""), dentry)


def _held(task: Any, fd: int) -> Path:
    file = file_of(task, fd)
    return _place(file.path, file.inode)


@syscall(53, "fchmodat", "dirfd", "path", "mode")
def sys_fchmodat(task: Any, dirfd: int, path: str | bytes, mode: int) -> int:
    operations.chmod(task, _place(*path_at(task, dirfd, path, 0, True)), mode)
    return 0


@syscall(452, "fchmodat2", "dirfd", "path", "mode", "at_flags")
def sys_fchmodat2(task: Any, dirfd: int, path: str | bytes, mode: int, flags: int = 0) -> int:
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise error(EINVAL, "flags")
    operations.chmod(task, _place(*path_at(task, dirfd, path, flags, not flags & AT_SYMLINK_NOFOLLOW)), mode)
    return 0


@syscall(52, "fchmod", "fd", "mode")
def sys_fchmod(task: Any, fd: int, mode: int) -> int:
    operations.chmod(task, _held(task, fd), mode)
    return 0


@python("chmod")
def chmod(task: Any, path: Name, mode: int) -> int:
    sys_fchmodat(task, AT_FDCWD, path, mode)
    return 0


@syscall(54, "fchownat", "dirfd", "path", "int", "int", "at_flags")
def sys_fchownat(task: Any, dirfd: int, path: str | bytes, uid: int, gid: int, flags: int = 0) -> int:
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise error(EINVAL, "flags")
    where = _place(*path_at(task, dirfd, path, flags, not flags & AT_SYMLINK_NOFOLLOW))
    operations.chown(task, where, uid, gid)
    return 0


@syscall(55, "fchown", "fd", "int", "int")
def sys_fchown(task: Any, fd: int, uid: int, gid: int) -> int:
    operations.chown(task, _held(task, fd), uid, gid)
    return 0


@python("chown")
def chown(task: Any, path: Name, uid: int, gid: int) -> int:
    sys_fchownat(task, AT_FDCWD, path, uid, gid, 0)
    return 0


@python("lchown")
def lchown(task: Any, path: Name, uid: int, gid: int) -> int:
    sys_fchownat(task, AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW)
    return 0


@syscall(45, "truncate", "path", "int")
def sys_truncate(task: Any, path: str | bytes, length: int) -> int:
    if length < 0:
        raise error(EINVAL, "negative length")
    where = lookup(task, AT_FDCWD, pathname(path))
    inode = where.inode
    if inode.is_dir:
        raise error(abi.EISDIR)
    if not inode.is_reg:
        raise error(EINVAL, "not a regular file")
    check(inode, task.cred, MAY_WRITE)
    operations.writable_mount(where)
    operations.truncate(task, inode, length, where)
    return 0


@syscall(88, "utimensat", "dirfd", "path", "times", "at_flags")
def sys_utimensat(task: Any, dirfd: int, path: str | bytes | None, times: Any = None, flags: int = 0) -> int:
    """`times` is (atime, mtime) in ns, or UTIME_NOW, UTIME_OMIT; None is now for both. path None: dirfd itself."""
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise error(EINVAL, "flags")
    if isinstance(times, tuple | list) and list(times) == [UTIME_OMIT, UTIME_OMIT]:
        return 0  # Linux does not even look whether the file is there
    if path is None:
        where = _held(task, dirfd)
    else:
        where = _place(*path_at(task, dirfd, path, flags, not flags & AT_SYMLINK_NOFOLLOW))
    now = where.inode.fs.now()
    if times is None:
        operations.utimens(task, where, now, now, True)
        return 0
    try:
        first, second = times
        chosen = [now if t == UTIME_NOW else None if t == UTIME_OMIT else int(t) for t in (first, second)]
    except (TypeError, ValueError):
        raise error(EFAULT, "times is (atime, mtime)") from None
    operations.utimens(task, where, chosen[0], chosen[1], first == second == UTIME_NOW)
    return 0


@python("utime")
def utime(task: Any, path: Name, times: Any = None) -> int:
    sys_utimensat(task, AT_FDCWD, path, times, 0)
    return 0


# ---- where a task is ----


@syscall(166, "umask", "mode")
def sys_umask(task: Any, mask: int) -> int:
    before: int = task.fs.umask
    task.fs.umask = mask & 0o777
    return before


@syscall(49, "chdir", "path")
def sys_chdir(task: Any, path: str | bytes) -> int:
    _chdir(task, lookup(task, AT_FDCWD, pathname(path)))
    return 0


def _chdir(task: Any, where: Path) -> None:
    if not where.inode.is_dir:
        raise error(ENOTDIR)
    check(where.inode, task.cred, MAY_EXEC)
    task.fs.set_cwd(where)


@syscall(50, "fchdir", "fd")
def sys_fchdir(task: Any, fd: int) -> int:
    file = task.files.get(fd)
    if file.path is None:
        raise error(ENOTDIR)
    _chdir(task, file.path)
    return 0


@syscall(51, "chroot", "path")
def sys_chroot(task: Any, path: str | bytes) -> int:
    where = lookup(task, AT_FDCWD, pathname(path))
    if not where.inode.is_dir:
        raise error(ENOTDIR)
    check(where.inode, task.cred, MAY_EXEC)
    if not capable(task.cred, abi.CAP_SYS_CHROOT):
        raise error(EPERM)
    task.fs.set_root(where)
    return 0


@syscall(17, "getcwd", "int", returns="bytes")
def sys_getcwd(task: Any, size: int = abi.PATH_MAX) -> bytes:
    cwd: Path = task.fs.cwd
    if not cwd.dentry.hashed:
        raise error(ENOENT, "the working directory was removed")
    name: bytes = task.machine.vfs.path_of(cwd, task.fs.root)
    if len(name) + 1 > size:
        raise error(ERANGE)
    return name


@python("getcwd")
def getcwd(task: Any) -> str:
    return text(sys_getcwd(task))


# ---- mounts ----


def _root_only(task: Any) -> None:
    if not capable(task.cred, abi.CAP_SYS_ADMIN):
        raise error(EPERM, "only root mounts")


_MOUNT_FLAGS = (
    abi.MS_RDONLY | abi.MS_NOSUID | abi.MS_NODEV | abi.MS_NOEXEC | abi.MS_NOATIME | abi.MS_NODIRATIME | abi.MS_RELATIME
)


@syscall(40, "mount", "path", "path", "path", "mount_flags", "data")
def sys_mount(
    task: Any, source: str | bytes, target: str | bytes, fstype: str | bytes | None, flags: int = 0, data: Any = b""
) -> int:
    _root_only(task)
    over = lookup(task, AT_FDCWD, pathname(target))
    vfs = task.machine.vfs
    kept = flags & _MOUNT_FLAGS
    if flags & abi.MS_REMOUNT:
        if over.dentry is not over.mount.root:
            raise error(EINVAL, "not a mount point")
        over.mount.flags = kept
        return 0
    if flags & abi.MS_BIND:
        vfs.bind(lookup(task, AT_FDCWD, pathname(source)), over, kept)
        return 0
    if fstype is None:
        raise error(EINVAL, "no filesystem type")
    make = vfs.types.get(text(pathname(fstype)))
    if make is None:
        raise error(ENODEV, text(pathname(fstype)))
    options = b"" if data is None else pathname(data)
    mount = vfs.mount(make(pathname(source), options), over, kept, pathname(source))
    mount.options = options
    return 0


@python("mount")
def mount_(
    task: Any, source: Name, target: Name, fstype: Name = None, flags: int = 0, data: Any = b""
) -> int:
    sys_mount(task, source, target, fstype, flags, data)
    return 0


@syscall(39, "umount2", "path", "umount_flags")
def sys_umount2(task: Any, target: str | bytes, flags: int = 0) -> int:
    if flags & ~(abi.MNT_FORCE | abi.MNT_DETACH | abi.MNT_EXPIRE | abi.UMOUNT_NOFOLLOW):
        raise error(EINVAL, "flags")
    where = lookup(task, AT_FDCWD, pathname(target), not flags & abi.UMOUNT_NOFOLLOW)
    _root_only(task)
    if where.dentry is not where.mount.root:
        raise error(EINVAL, "not a mount point")
    if where.mount.parent is None:
        raise error(EBUSY, "the root mount")
    if flags & abi.MNT_EXPIRE:
        if flags & (abi.MNT_FORCE | abi.MNT_DETACH):
            raise error(EINVAL, "flags")
        if where.mount.children or where.mount.users:
            raise error(EBUSY, "mount in use")
        if not where.mount.expiring:  # the second call in a row is the one that unmounts
            where.mount.expiring = True
            raise error(abi.EAGAIN, "marked")
    task.machine.vfs.umount(where.mount, bool(flags & abi.MNT_DETACH))
    return 0
