"""System calls on extended attributes: xattr(7).

`user.` attributes are for regular files and directories, and ask for the file's own permissions (in a sticky directory
only its owner may set them); `trusted.` ones are seen by CAP_SYS_ADMIN only; `security.` ones are set by it. Any other
namespace is EOPNOTSUPP.
"""

from __future__ import annotations

from typing import Any

from kernel import abi
from kernel.abi import AT_FDCWD, E2BIG, EEXIST, EINVAL, ENODATA, ENOSPC, EOPNOTSUPP, EPERM, ERANGE, S_ISVTX
from kernel.fs.inotify import happened
from kernel.fs.namei import MAY_READ, MAY_WRITE, capable, check
from kernel.fs.operations import writable_mount
from kernel.fs.user import file_of, lookup, pathname, text
from kernel.fs.vfs import Dentry, Inode, error
from kernel.syscall.table import syscall

NAME_MAX = 255
SIZE_MAX = 65536
LIST_MAX = 65536
CREATE, REPLACE = 1, 2

Place = tuple[Inode, Dentry | None]
"""What has attributes, and by which name."""


def _name(name: Any) -> bytes:
    raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else pathname(name)
    if not 0 < len(raw) <= NAME_MAX:
        raise error(ERANGE, "attribute name")
    return raw


def _permitted(task: Any, inode: Inode, name: bytes, write: bool) -> None:
    """xattr_permission()."""
    cred = task.cred
    space, dot, _ = name.partition(b".")
    if not dot:
        raise error(EOPNOTSUPP, text(name))
    if space == b"trusted":
        if not capable(cred, abi.CAP_SYS_ADMIN):
            raise error(EPERM if write else ENODATA, text(name))
    elif space == b"user":
        if not inode.is_reg and not inode.is_dir:
            raise error(EPERM if write else ENODATA, "user attributes of a special file")
        foreign = inode.is_dir and inode.mode & S_ISVTX and cred.fsuid != inode.uid
        if write and foreign and not capable(cred, abi.CAP_FOWNER):
            raise error(EPERM, "sticky directory")
        check(inode, cred, MAY_WRITE if write else MAY_READ)
    elif space == b"security":
        if write and not capable(cred, abi.CAP_SYS_ADMIN):
            raise error(EPERM, text(name))
    else:
        raise error(EOPNOTSUPP, text(name))
    if space in (b"user", b"trusted", b"security") and not name.partition(b".")[2]:
        raise error(EINVAL, "attribute without a name")


def _set(task: Any, place: Place, name: Any, value: Any, flags: int) -> int:
    raw, inode = _name(name), place[0]
    if flags & ~(CREATE | REPLACE):
        raise error(EINVAL, "setxattr flags")
    data = bytes(memoryview(value))
    if len(data) > SIZE_MAX:
        raise error(E2BIG, "attribute value")
    _permitted(task, inode, raw, True)
    held = inode.xattrs
    if held is None:
        held = inode.xattrs = {}
    if flags & CREATE and raw in held:
        raise error(EEXIST, text(raw))
    if flags & REPLACE and raw not in held:
        raise error(ENODATA, text(raw))
    if sum(len(n) + len(v) for n, v in held.items()) + len(data) > 16 * SIZE_MAX:
        raise error(ENOSPC, "attributes")
    held[raw] = data
    _changed(place)
    return 0


def _get(task: Any, place: Place, name: Any) -> bytes:
    raw, inode = _name(name), place[0]
    _permitted(task, inode, raw, False)
    value = (inode.xattrs or {}).get(raw)
    if value is None:
        raise error(ENODATA, text(raw))
    return value


def _list(task: Any, place: Place) -> list[str]:
    names = place[0].xattrs or {}
    hidden = not capable(task.cred, abi.CAP_SYS_ADMIN)
    return [text(n) for n in sorted(names, reverse=True) if not (hidden and n.startswith(b"trusted."))]


def _remove(task: Any, place: Place, name: Any) -> int:
    raw, inode = _name(name), place[0]
    _permitted(task, inode, raw, True)
    if inode.xattrs is None or raw not in inode.xattrs:
        raise error(ENODATA, text(raw))
    del inode.xattrs[raw]
    _changed(place)
    return 0


def _at(task: Any, path: Any, follow: bool, write: bool) -> Place:
    where = lookup(task, AT_FDCWD, pathname(path), follow)
    if write:
        writable_mount(where)
    return where.inode, where.dentry


def _behind(task: Any, fd: int) -> Place:
    file = file_of(task, fd)
    if file.inode is None:
        raise error(EOPNOTSUPP, fd)
    return file.inode, None if file.path is None else file.path.dentry


def _changed(place: Place) -> None:
    inode, dentry = place
    inode.ctime = inode.fs.now()
    inode.fs.dirty(inode)
    if inode.fs.watched:
        happened(dentry, inode, abi.IN_ATTRIB)


@syscall(5, "setxattr", "path", "path", "sink", "int")
def sys_setxattr(task: Any, path: str | bytes, name: str | bytes, value: bytes, flags: int = 0) -> int:
    return _set(task, _at(task, path, True, True), name, value, flags)


@syscall(6, "lsetxattr", "path", "path", "sink", "int")
def sys_lsetxattr(task: Any, path: str | bytes, name: str | bytes, value: bytes, flags: int = 0) -> int:
    return _set(task, _at(task, path, False, True), name, value, flags)


@syscall(7, "fsetxattr", "fd", "path", "sink", "int")
def sys_fsetxattr(task: Any, fd: int, name: str | bytes, value: bytes, flags: int = 0) -> int:
    return _set(task, _behind(task, fd), name, value, flags)


@syscall(8, "getxattr", "path", "path", returns="bytes")
def sys_getxattr(task: Any, path: str | bytes, name: str | bytes) -> bytes:
    return _get(task, _at(task, path, True, False), name)


@syscall(9, "lgetxattr", "path", "path", returns="bytes")
def sys_lgetxattr(task: Any, path: str | bytes, name: str | bytes) -> bytes:
    return _get(task, _at(task, path, False, False), name)


@syscall(10, "fgetxattr", "fd", "path", returns="bytes")
def sys_fgetxattr(task: Any, fd: int, name: str | bytes) -> bytes:
    return _get(task, _behind(task, fd), name)


@syscall(11, "listxattr", "path", returns="list")
def sys_listxattr(task: Any, path: str | bytes) -> list[str]:
    return _list(task, _at(task, path, True, False))


@syscall(12, "llistxattr", "path", returns="list")
def sys_llistxattr(task: Any, path: str | bytes) -> list[str]:
    return _list(task, _at(task, path, False, False))


@syscall(13, "flistxattr", "fd", returns="list")
def sys_flistxattr(task: Any, fd: int) -> list[str]:
    return _list(task, _behind(task, fd))


@syscall(14, "removexattr", "path", "path")
def sys_removexattr(task: Any, path: str | bytes, name: str | bytes) -> int:
    return _remove(task, _at(task, path, True, True), name)


@syscall(15, "lremovexattr", "path", "path")
def sys_lremovexattr(task: Any, path: str | bytes, name: str | bytes) -> int:
    return _remove(task, _at(task, path, False, True), name)


@syscall(16, "fremovexattr", "fd", "path")
def sys_fremovexattr(task: Any, fd: int, name: str | bytes) -> int:
    return _remove(task, _behind(task, fd), name)
