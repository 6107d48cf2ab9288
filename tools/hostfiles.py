"""The part of `HostSystem` that is about files: names relative to a directory, attributes, locks, notifications, and
calls that move bytes between descriptors. All through the C library, so that an errno is the kernel's own.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl as host_fcntl
import os
import struct
from collections.abc import Callable, Sequence
from typing import Any

from tools.hostmessage import iovec
from tools.hostsignal import libc

AT_FDCWD = -100
_UTIME = 1 << 30
_LOCKS = (5, 6, 7, 36, 37, 38)
_GETLOCK = (5, 36)
_FLOCK = struct.Struct("=hh4xqqi4x")
_INT_OUT = {
    0x541B, 0x5411, 0x540F, 0x5429, 0x80045430, 0x8905, 0x5424, 0x80045432, 0x80045438, 0x80045439, 0x80045440, 0x894B,
    0x8903, 0x8904, 0x125E, 0x1267, 0x1268, 0x80081270, 0x1278, 0x1279, 0x127A, 0x127B, 0x127C, 0x127E,
}  # fmt: skip
"""ioctls that answer with an int: FIONREAD, TIOCOUTQ, TIOCGPGRP, TIOCGSID, TIOCGPTN, SIOCATMARK, TIOCGETD, TIOCGDEV,
TIOCGPKT, TIOCGPTLCK, TIOCGEXCL, SIOCOUTQNSD, FIOGETOWN, SIOCGPGRP; BLKROGET, BLKSECTGET, BLKSSZGET, BLKBSZGET,
BLKIOMIN, BLKIOOPT, BLKALIGNOFF, BLKPBSZGET, BLKDISCARDZEROES, BLKROTATIONAL.
"""
_LONG_OUT = {0x1260, 0x1263, 0x1265, 0x80081272, 0x80081280}
"""ioctls that answer with a long: BLKGETSIZE, BLKRAGET, BLKFRAGET, BLKGETSIZE64, BLKGETDISKSEQ."""
_INT_IN = {0x5410, 0x40045431, 0x5421, 0x5452, 0x5420, 0x8901, 0x8902, 0x125D}
"""ioctls that point to an int: TIOCSPGRP, TIOCSPTLCK, FIONBIO, FIOASYNC, TIOCPKT, FIOSETOWN, SIOCSPGRP,
BLKROSET.
"""
_STRUCT_OUT = {0x5401: 36, 0x802C542A: 44, 0x5413: 8}
"""ioctls that answer with a structure: TCGETS, TCGETS2, TIOCGWINSZ."""

_SIZED = """
    splice tee sendfile preadv preadv2 pwritev getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr readlinkat
    copy_file_range
"""
for _name in _SIZED.split():
    getattr(libc, _name).restype = ctypes.c_ssize_t


def fail(what: object = None) -> Any:
    """Raise what errno says."""
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code)) if what is None else OSError(code, os.strerror(code), what)


def _done(result: int, what: object = None) -> int:
    return result if result >= 0 else fail(what)


def _long(value: int | None) -> Any:
    return ctypes.c_long(0 if value is None else value)


class StatFs:
    """struct statfs, with the names of its fields."""

    __slots__ = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_ffree", "f_files", "f_flags", "f_frsize", "f_fsid",
                 "f_namelen", "f_type")  # fmt: skip

    def __init__(self, raw: bytes) -> None:
        words = struct.unpack_from("=15q", raw)
        self.f_type, self.f_bsize, self.f_blocks, self.f_bfree, self.f_bavail, self.f_files, self.f_ffree = words[:7]
        self.f_fsid, self.f_namelen, self.f_frsize, self.f_flags = words[7:11]


class HostFiles:
    """Calls on files and names."""

    _call: Callable[..., int]

    # -- names, relative to a directory --

    def openat(self, dirfd: int, path: Any, flags: int, mode: int = 0) -> int:
        return _done(libc.openat(dirfd, os.fsencode(path), ctypes.c_int(flags), ctypes.c_uint(mode)), path)

    def mkdir(self, path: Any, mode: int = 0o777) -> None:
        _done(libc.mkdir(os.fsencode(path), mode), path)

    def mkdirat(self, dirfd: int, path: Any, mode: int = 0o777) -> None:
        _done(libc.mkdirat(dirfd, os.fsencode(path), mode), path)

    def mknod(self, path: Any, mode: int = 0o600, dev: int = 0) -> None:
        self.mknodat(AT_FDCWD, path, mode, dev)

    def mknodat(self, dirfd: int, path: Any, mode: int, dev: int = 0) -> None:
        _done(libc.mknodat(dirfd, os.fsencode(path), mode, ctypes.c_ulong(dev)), path)

    def mkfifo(self, path: Any, mode: int = 0o666) -> None:
        _done(libc.mkfifo(os.fsencode(path), mode), path)

    def unlink(self, path: Any) -> None:
        _done(libc.unlink(os.fsencode(path)), path)

    def rmdir(self, path: Any) -> None:
        _done(libc.rmdir(os.fsencode(path)), path)

    def unlinkat(self, dirfd: int, path: Any, flags: int = 0) -> None:
        _done(libc.unlinkat(dirfd, os.fsencode(path), flags), path)

    def symlink(self, target: Any, path: Any) -> None:
        _done(libc.symlink(os.fsencode(target), os.fsencode(path)), path)

    def symlinkat(self, target: Any, dirfd: int, path: Any) -> None:
        _done(libc.symlinkat(os.fsencode(target), dirfd, os.fsencode(path)), path)

    def readlink(self, path: Any) -> str:
        return os.fsdecode(self.readlinkat(AT_FDCWD, path))

    def readlinkat(self, dirfd: int, path: Any, size: int = 4096) -> bytes:
        buffer = ctypes.create_string_buffer(max(size, 1))
        got = _done(libc.readlinkat(dirfd, os.fsencode(path), buffer, ctypes.c_size_t(size)), path)
        return buffer.raw[:got]

    def rename(self, old: Any, new: Any) -> None:
        self.renameat2(AT_FDCWD, old, AT_FDCWD, new, 0)

    def renameat2(self, old_dirfd: int, old: Any, new_dirfd: int, new: Any, flags: int = 0) -> None:
        _done(libc.renameat2(old_dirfd, os.fsencode(old), new_dirfd, os.fsencode(new), flags), old)

    def link(self, old: Any, new: Any) -> None:
        self.linkat(AT_FDCWD, old, AT_FDCWD, new, 0)

    def linkat(self, old_dirfd: int, old: Any, new_dirfd: int, new: Any, flags: int = 0) -> None:
        _done(libc.linkat(old_dirfd, os.fsencode(old), new_dirfd, os.fsencode(new), flags), old)

    def access(self, path: Any, mode: int) -> None:
        _done(libc.access(os.fsencode(path), mode), path)

    def faccessat(self, dirfd: int, path: Any, mode: int) -> None:
        _done(libc.faccessat(dirfd, os.fsencode(path), mode, 0), path)

    def faccessat2(self, dirfd: int, path: Any, mode: int, flags: int = 0) -> None:
        _done(libc.syscall(ctypes.c_long(439), dirfd, os.fsencode(path), mode, flags), path)

    def chmod(self, path: Any, mode: int) -> None:
        _done(libc.chmod(os.fsencode(path), mode), path)

    def fchmod(self, fd: int, mode: int) -> None:
        _done(libc.fchmod(fd, mode), fd)

    def fchmodat(self, dirfd: int, path: Any, mode: int) -> None:
        _done(libc.fchmodat(dirfd, os.fsencode(path), mode, 0), path)

    def chown(self, path: Any, uid: int, gid: int) -> None:
        _done(libc.chown(os.fsencode(path), uid, gid), path)

    def lchown(self, path: Any, uid: int, gid: int) -> None:
        _done(libc.lchown(os.fsencode(path), uid, gid), path)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        _done(libc.fchown(fd, uid, gid), fd)

    def fchownat(self, dirfd: int, path: Any, uid: int, gid: int, flags: int = 0) -> None:
        _done(libc.fchownat(dirfd, os.fsencode(path), uid, gid, flags), path)

    def utimensat(self, dirfd: int, path: Any, times: Any = None, flags: int = 0) -> None:
        """`times` is (atime, mtime) in ns, or UTIME_NOW, UTIME_OMIT; None is now for both. path None: dirfd itself."""
        raw = None
        if times is not None:
            pairs = [(0, t) if t in (_UTIME - 1, _UTIME - 2) else divmod(t, 10**9) for t in times]
            raw = b"".join(struct.pack("=qq", *pair) for pair in pairs)
        name = None if path is None else os.fsencode(path)
        if name is None:
            _done(libc.futimens(dirfd, raw))
        else:
            _done(libc.utimensat(dirfd, name, raw, flags), path)

    def utime(self, path: Any, times: Any = None) -> None:
        self.utimensat(AT_FDCWD, path, times, 0)

    # -- state --

    def newfstatat(self, dirfd: int, path: Any, flags: int = 0) -> os.stat_result:
        if not os.fsencode(path) and flags & 0x1000:
            return os.stat(dirfd)
        return os.stat(path, dir_fd=None if dirfd == AT_FDCWD else dirfd, follow_symlinks=not flags & 0x100)

    def statfs(self, path: Any) -> StatFs:
        buffer = ctypes.create_string_buffer(256)
        _done(libc.statfs(os.fsencode(path), buffer), path)
        return StatFs(buffer.raw)

    def fstatfs(self, fd: int) -> StatFs:
        buffer = ctypes.create_string_buffer(256)
        _done(libc.fstatfs(fd, buffer), fd)
        return StatFs(buffer.raw)

    def chdir(self, path: Any) -> None:
        _done(libc.chdir(os.fsencode(path)), path)

    def fchdir(self, fd: int) -> None:
        _done(libc.fchdir(fd), fd)

    def chroot(self, path: Any) -> None:
        _done(libc.chroot(os.fsencode(path)), path)

    def truncate(self, path: Any, length: int) -> None:
        _done(libc.truncate(os.fsencode(path), ctypes.c_long(length)), path)

    def ftruncate(self, fd: int, length: int) -> None:
        _done(libc.ftruncate(fd, ctypes.c_long(length)), fd)

    def syncfs(self, fd: int) -> None:
        _done(libc.syncfs(fd), fd)

    def mount(self, source: Any, target: Any, fstype: Any = None, flags: int = 0, data: Any = b"") -> None:
        kind = None if fstype is None else os.fsencode(fstype)
        options = os.fsencode(data) if data else None
        _done(libc.mount(os.fsencode(source), os.fsencode(target), kind, ctypes.c_ulong(flags), options), target)

    def umount2(self, target: Any, flags: int = 0) -> None:
        _done(libc.umount2(os.fsencode(target), flags), target)

    # -- extended attributes: (path or descriptor, name) --

    def setxattr(self, path: Any, name: str, value: bytes, flags: int = 0) -> None:
        _done(libc.setxattr(os.fsencode(path), name.encode(), value, ctypes.c_size_t(len(value)), flags), path)

    def lsetxattr(self, path: Any, name: str, value: bytes, flags: int = 0) -> None:
        _done(libc.lsetxattr(os.fsencode(path), name.encode(), value, ctypes.c_size_t(len(value)), flags), path)

    def fsetxattr(self, fd: int, name: str, value: bytes, flags: int = 0) -> None:
        _done(libc.fsetxattr(fd, name.encode(), value, ctypes.c_size_t(len(value)), flags), fd)

    @staticmethod
    def _xattr(function: Any, *args: Any) -> bytes:
        buffer = ctypes.create_string_buffer(65536)
        size = _done(function(*args, buffer, ctypes.c_size_t(65536)))
        return buffer.raw[:size]

    def getxattr(self, path: Any, name: str) -> bytes:
        return self._xattr(libc.getxattr, os.fsencode(path), name.encode())

    def lgetxattr(self, path: Any, name: str) -> bytes:
        return self._xattr(libc.lgetxattr, os.fsencode(path), name.encode())

    def fgetxattr(self, fd: int, name: str) -> bytes:
        return self._xattr(libc.fgetxattr, fd, name.encode())

    def listxattr(self, path: Any) -> list[str]:
        return [os.fsdecode(n) for n in self._xattr(libc.listxattr, os.fsencode(path)).split(b"\0")[:-1]]

    def llistxattr(self, path: Any) -> list[str]:
        return [os.fsdecode(n) for n in self._xattr(libc.llistxattr, os.fsencode(path)).split(b"\0")[:-1]]

    def flistxattr(self, fd: int) -> list[str]:
        return [os.fsdecode(n) for n in self._xattr(libc.flistxattr, fd).split(b"\0")[:-1]]

    def removexattr(self, path: Any, name: str) -> None:
        _done(libc.removexattr(os.fsencode(path), name.encode()), path)

    def lremovexattr(self, path: Any, name: str) -> None:
        _done(libc.lremovexattr(os.fsencode(path), name.encode()), path)

    def fremovexattr(self, fd: int, name: str) -> None:
        _done(libc.fremovexattr(fd, name.encode()), fd)

    # -- inotify --

    def inotify_init1(self, flags: int = 0) -> int:
        return _done(libc.inotify_init1(flags))

    def inotify_add_watch(self, fd: int, path: Any, mask: int) -> int:
        return _done(libc.inotify_add_watch(fd, os.fsencode(path), ctypes.c_uint32(mask)), path)

    def inotify_rm_watch(self, fd: int, wd: int) -> None:
        _done(libc.inotify_rm_watch(fd, wd))

    # -- descriptors --

    def close_range(self, first: int, last: int, flags: int = 0) -> None:
        _done(libc.syscall(ctypes.c_long(436), ctypes.c_uint(first), ctypes.c_uint(last), flags))

    def memfd_create(self, name: str, flags: int = 0) -> int:
        return _done(libc.memfd_create(os.fsencode(name), ctypes.c_uint(flags)))

    def ioctl(self, fd: int, request: int, arg: Any = 0) -> Any:
        """A request that answers with an int gives it; one that answers with a structure gives its bytes."""
        buffer: Any = None
        if isinstance(arg, (bytes, bytearray)):
            buffer = ctypes.create_string_buffer(bytes(arg), max(len(arg), 64))
        elif request in _INT_OUT or request in _INT_IN or request in _LONG_OUT:
            buffer = ctypes.create_string_buffer(struct.pack("=i", arg if request in _INT_IN else 0), 64)
        elif request in _STRUCT_OUT:
            buffer = ctypes.create_string_buffer(64)
        value = buffer if buffer is not None else ctypes.c_long(arg)
        result = _done(libc.ioctl(fd, ctypes.c_ulong(request), value), fd)
        if request in _INT_OUT and not isinstance(arg, (bytes, bytearray)):
            return struct.unpack_from("=i", buffer.raw)[0]
        if request in _LONG_OUT:
            return struct.unpack_from("=q", buffer.raw)[0]
        if request in _STRUCT_OUT:
            return buffer.raw[: _STRUCT_OUT[request]]
        return result

    def fcntl(self, fd: int, cmd: int, arg: Any = 0) -> Any:
        if cmd in (5, 6, 7, 36, 37, 38):
            if cmd not in (7, 38):
                result = self.fcntl_lock(fd, cmd, arg)
                return fail() if result == -1 else result
            return self._call(self.fcntl_lock, fd, cmd, arg)
        if cmd == 9:  # F_GETOWN: a process group is a negative answer
            ctypes.set_errno(0)
            owner: int = libc.fcntl(fd, cmd, ctypes.c_long(0))
            return fail() if ctypes.get_errno() else owner
        if cmd in (15, 16):  # F_SETOWN_EX, F_GETOWN_EX: (kind, id)
            raw = ctypes.create_string_buffer(struct.pack("=ii", *(arg or (0, 0))), 16)
            result = self._call(libc.fcntl, fd, cmd, raw)
            return struct.unpack_from("=ii", raw.raw) if cmd == 16 else result
        return self._call(libc.fcntl, fd, cmd, ctypes.c_long(arg))

    def fcntl_lock(self, fd: int, cmd: int, arg: Any) -> Any:
        """`arg` is (type, whence, start, length); F_GETLK gives the same with the holder's pid."""
        kind, whence, start, length = tuple(arg)[:4]
        buffer = ctypes.create_string_buffer(_FLOCK.pack(kind, whence, start, length, 0), 64)
        result = libc.fcntl(fd, cmd, buffer)
        if result >= 0 and cmd in _GETLOCK:
            return _FLOCK.unpack_from(buffer.raw)
        return result

    def readv(self, fd: int, sizes: Sequence[int]) -> list[bytes]:
        return self.preadv2(fd, sizes, -1, 0) if sizes else []

    def preadv(self, fd: int, sizes: Sequence[int], offset: int) -> list[bytes]:
        return self._split(sizes, lambda buffers: _preadv(fd, buffers, offset))

    def preadv2(self, fd: int, sizes: Sequence[int], offset: int, flags: int = 0) -> list[bytes]:
        if offset == -1:
            if flags:
                return self._split(sizes, lambda buffers: _preadv2(fd, buffers, flags))
            return self._split(sizes, lambda buffers: os.readv(fd, buffers))
        return self._split(sizes, lambda buffers: os.preadv(fd, buffers, offset, flags))

    @staticmethod
    def _split(sizes: Sequence[int], read: Any) -> list[bytes]:
        buffers = [bytearray(n) for n in sizes]
        left = read(buffers)
        result = []
        for buffer in buffers:
            result.append(bytes(buffer[:left]))
            left = max(0, left - len(buffer))
        return result

    def pwritev(self, fd: int, buffers: Sequence[Any], offset: int) -> int:
        vector, count = iovec(buffers)
        return _done(libc.pwritev(fd, vector, count, ctypes.c_long(offset)))

    def pwritev2(self, fd: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
        return os.writev(fd, buffers) if offset == -1 and not flags else os.pwritev(fd, buffers, offset, flags)

    def sendfile(self, out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
        at = None if offset is None else ctypes.byref(_long(offset))
        return self._call(libc.sendfile, out_fd, in_fd, at, ctypes.c_size_t(count))

    def copy_file_range(
        self, fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, n: int, flags: int = 0
    ) -> int:
        first = None if off_in is None else ctypes.byref(_long(off_in))
        second = None if off_out is None else ctypes.byref(_long(off_out))
        return _done(libc.copy_file_range(fd_in, first, fd_out, second, ctypes.c_size_t(n), flags))

    def splice(
        self, fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, n: int, flags: int = 0
    ) -> int:
        first = None if off_in is None else ctypes.byref(_long(off_in))
        second = None if off_out is None else ctypes.byref(_long(off_out))
        return self._call(libc.splice, fd_in, first, fd_out, second, ctypes.c_size_t(n), flags)

    def tee(self, fd_in: int, fd_out: int, n: int, flags: int = 0) -> int:
        return self._call(libc.tee, fd_in, fd_out, ctypes.c_size_t(n), flags)


def _preadv2(fd: int, buffers: list[bytearray], flags: int) -> int:
    done: int = _done(libc.preadv2(fd, _vector(buffers), len(buffers), ctypes.c_long(-1), flags))
    return done


def _preadv(fd: int, buffers: list[bytearray], offset: int) -> int:
    """Python's own takes an offset of -1 for the file's: that is preadv2."""
    done: int = _done(libc.preadv(fd, _vector(buffers), len(buffers), ctypes.c_long(offset)))
    return done


def _vector(buffers: list[bytearray]) -> Any:
    """struct iovec[] onto the buffers, which it keeps alive."""
    vector = (ctypes.c_void_p * (2 * max(len(buffers), 1)))()
    held = []
    for i, buffer in enumerate(buffers):
        held.append((ctypes.c_char * len(buffer)).from_buffer(buffer))
        vector[2 * i], vector[2 * i + 1] = ctypes.addressof(held[-1]), len(buffer)
    vector.held = held  # type: ignore[attr-defined]
    return vector


__all__ = ["HostFiles", "errno", "fail", "host_fcntl"]
