"""System calls on descriptors: read, write and their kind, lseek, dup, fcntl, ioctl, stat, sync, close."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernel import abi
from kernel.abi import EBADF, EFAULT, EINVAL, MAX_RW_COUNT, PAGE_SIZE
from kernel.fs import file as files
from kernel.fs import operations
from kernel.fs.devfs import URANDOM, fill
from kernel.fs.fasync import owner_of, set_async, set_owner, signed_owner
from kernel.fs.fdtable import FdTable
from kernel.fs.file import File
from kernel.fs.locks import fcntl_lock, flock_file
from kernel.fs.namei import capable
from kernel.fs.seals import add_seals, get_seals
from kernel.fs.stat import Stat
from kernel.fs.user import file_of, install, nofile, text
from kernel.fs.vfs import Inode, StatFs, error
from kernel.ipc.pipe import Pipe
from kernel.net.socket import SOCKET
from kernel.syscall.buffers import BytesSink, BytesSource, Sink, Source, WholeSource
from kernel.syscall.table import python, syscall
from kernel.task import Task


def counted(n: Any) -> int:
    """A size_t: what C would see as huge is cut to the most one call moves."""
    if type(n) is not int and not hasattr(n, "__index__"):
        raise error(EINVAL, f"a count was expected, not {type(n).__name__}")
    n = int(n)
    return MAX_RW_COUNT if n < 0 or n > MAX_RW_COUNT else n


def room(task: Any, n: Any) -> int:
    """How large a buffer a Python program gets that asks for `n` bytes. It counts against the machine's memory: more
    than that is a short read.
    """
    n = counted(n)
    most: int = task.machine.frames * PAGE_SIZE
    return n if n < most else most


# ---- read and write ----


@syscall(63, "read", "fd", "sink", "size")
def sys_read(task: Task, fd: int, sink: Sink, count: int) -> int:
    table: FdTable = task.files
    file = table.get(fd)
    if not file.readable:
        raise error(EBADF, "not open for reading")
    file.count += 1  # the description outlives a close by another thread meanwhile
    try:
        ops = file.ops
        if not ops.seekable:
            return ops.read(file, task, sink, count, 0)
        return files.read(file, task, sink, count)
    finally:
        if file.count > 1:
            file.count -= 1
        else:
            file.put()


@python("read")
def read(task: Task, fd: Any, n: Any) -> bytes:
    if type(n) is not int or not 0 <= n <= MAX_RW_COUNT or n > task.machine.frames * PAGE_SIZE:
        n = room(task, n)
    sink = BytesSink(n)
    sys_read(task, fd, sink, n)
    return sink.first if sink.more is None else sink.value()


@syscall(64, "write", "fd", "source", "size")
def sys_write(task: Task, fd: int, source: Source, count: int) -> int:
    table: FdTable = task.files
    file = table.get(fd)
    if not file.writable:
        raise error(EBADF, "not open for writing")
    file.count += 1
    try:
        ops = file.ops
        if not ops.seekable:
            return ops.write(file, task, source, count, 0)
        return files.write(file, task, source, count)
    finally:
        if file.count > 1:
            file.count -= 1
        else:
            file.put()


@python("write")
def write(task: Any, fd: Any, data: Any) -> int:
    source = WholeSource(data) if type(data) is bytes else BytesSource(data)
    done: int = sys_write(task, fd, source, source.left)
    return done


@syscall(67, "pread64", "fd", "sink", "size", "int")
def sys_pread64(task: Any, fd: int, sink: Sink, count: int, offset: int) -> int:
    if offset < 0:
        raise error(EINVAL, "negative offset")
    file = task.files.get(fd)
    file.count += 1
    try:
        return files.pread(file, task, sink, count, offset)
    finally:
        file.put()


@python("pread64")
def pread64(task: Any, fd: Any, n: Any, offset: Any) -> bytes:
    if n.__class__ is not int or not 0 <= n <= MAX_RW_COUNT or n > task.machine.frames * PAGE_SIZE:
        n = room(task, n)
    sink = BytesSink(n)
    sys_pread64(task, fd, sink, n, offset)
    return sink.first if sink.more is None else sink.value()


@syscall(68, "pwrite64", "fd", "source", "size", "int")
def sys_pwrite64(task: Any, fd: int, source: Source, count: int, offset: int) -> int:
    if offset < 0:
        raise error(EINVAL, "negative offset")
    file = task.files.get(fd)
    file.count += 1
    try:
        return files.pwrite(file, task, source, count, offset)
    finally:
        file.put()


@python("pwrite64")
def pwrite64(task: Any, fd: Any, data: Any, offset: Any) -> int:
    source = WholeSource(data) if type(data) is bytes else BytesSource(data)
    done: int = sys_pwrite64(task, fd, source, source.left, offset)
    return done


class ScatterSink:
    """The buffers of readv, filled in order."""

    __slots__ = ("room", "sinks")

    def __init__(self, sinks: list[BytesSink], most: int) -> None:
        self.sinks = sinks
        self.room = min(sum(sink.room for sink in sinks), most)

    def put(self, chunk: Any) -> int:
        view = memoryview(chunk)[: self.room]
        done = 0
        for sink in self.sinks:
            if sink.room:
                done += sink.put(view[done : done + sink.room])
                if done == len(view):
                    break
        self.room -= done
        return done


class Gathered(BytesSource):
    """The buffers of writev, one after another."""

    __slots__ = ("lengths",)

    def __init__(self, buffers: Sequence[Any]) -> None:
        super().__init__(b"".join(buffers))
        self.lengths = [len(memoryview(one).cast("B")) for one in buffers]


def gather(buffers: Any) -> BytesSource:
    """One source over the buffers of writev or sendmsg."""
    if isinstance(buffers, (bytes, bytearray, memoryview, str)) or not isinstance(buffers, Sequence):
        raise error(EFAULT, "a list of buffers was expected")
    if len(buffers) > abi.IOV_MAX:
        raise error(EINVAL, f"more than {abi.IOV_MAX} buffers")
    if len(buffers) == 1:
        return BytesSource(buffers[0])
    try:
        return Gathered(buffers)
    except TypeError:
        raise error(EFAULT, "a list of buffers was expected") from None


def scatter(task: Any, sizes: Any) -> ScatterSink:
    """Sinks for buffers of the given sizes."""
    if not isinstance(sizes, Sequence) or isinstance(sizes, (str, bytes)):
        raise error(EFAULT, "a list of sizes was expected")
    if len(sizes) > abi.IOV_MAX:
        raise error(EINVAL, f"more than {abi.IOV_MAX} buffers")
    sinks = []
    for size in sizes:
        if not isinstance(size, int):
            raise error(EFAULT, "a size was expected")
        if size < 0:
            raise error(EINVAL, "negative size")
        sinks.append(BytesSink(size))
    return ScatterSink(sinks, room(task, -1))


_NEVER_WRITTEN = ("EventPoll", "TimerFd", "SignalFd")


@syscall(65, "readv", "fd", "iovec", "int")
def sys_readv(task: Any, fd: int, sink: Sink, count: int) -> int:
    file = task.files.get(fd)
    if not sink.room and file.readable and file.private.__class__.__name__ != "EventPoll":
        return 0
    file.count += 1
    try:
        return files.read(file, task, sink, sink.room)
    finally:
        file.put()


@python("readv")
def readv(task: Any, fd: Any, sizes: Any) -> list[bytes]:
    """`sys.readv(fd, [size, ...]) -> [bytes, ...]`: what went into each buffer."""
    sink = scatter(task, sizes)
    sys_readv(task, fd, sink, len(sizes))
    return [part.value() for part in sink.sinks]


@syscall(66, "writev", "fd", "iovec", "int")
def sys_writev(task: Any, fd: int, source: Source, count: int) -> int:
    file = task.files.get(fd)
    if not source.left and file.writable and file.private.__class__.__name__ not in _NEVER_WRITTEN:
        return 0
    file.count += 1
    try:
        return files.write(file, task, source, source.left)
    finally:
        file.put()


@python("writev")
def writev(task: Any, fd: Any, buffers: Any) -> int:
    done: int = sys_writev(task, fd, gather(buffers), len(buffers))
    return done


@syscall(69, "preadv", "fd", "iovec", "int", "int")
def sys_preadv(task: Any, fd: int, sink: Sink, count: int, offset: int) -> int:
    return files.pread(task.files.get(fd), task, sink, sink.room, offset)


@python("preadv")
def preadv(task: Any, fd: Any, sizes: Any, offset: Any) -> list[bytes]:
    sink = scatter(task, sizes)
    sys_preadv(task, fd, sink, len(sizes), offset)
    return [part.value() for part in sink.sinks]


@syscall(70, "pwritev", "fd", "iovec", "int", "int")
def sys_pwritev(task: Any, fd: int, source: Source, count: int, offset: int) -> int:
    return files.pwrite(task.files.get(fd), task, source, source.left, offset)


@python("pwritev")
def pwritev(task: Any, fd: Any, buffers: Any, offset: Any) -> int:
    done: int = sys_pwritev(task, fd, gather(buffers), len(buffers), offset)
    return done


# ---- offsets and descriptors ----


@syscall(62, "lseek", "fd", "int", "whence")
def sys_lseek(task: Any, fd: int, offset: int, whence: int) -> int:
    return files.lseek(file_of(task, fd), offset, whence)


@python("lseek")
def lseek(task: Any, fd: Any, offset: Any, whence: Any = 0) -> int:
    pos: int = sys_lseek(task, fd, offset, whence)
    return pos


@syscall(57, "close", "fd")
def sys_close(task: Task, fd: int) -> int:
    table: FdTable = task.files
    file = table.get(fd)
    lingers = file.ops is SOCKET and SOCKET.lingers(file)
    table.close(fd)
    if lingers:
        SOCKET.linger(file, task)
    return 0


@syscall(436, "close_range", "int", "int", "int")
def sys_close_range(task: Any, first: int, last: int, flags: int = 0) -> int:
    if flags & ~(abi.CLOSE_RANGE_CLOEXEC | abi.CLOSE_RANGE_UNSHARE) or not 0 <= first <= last:
        raise error(EINVAL, "close_range")
    table = task.files
    if flags & abi.CLOSE_RANGE_UNSHARE and table.users > 1:
        table.users -= 1
        table = task.files = table.copy()
    for fd in table.fds():
        if first <= fd <= last:
            if flags & abi.CLOSE_RANGE_CLOEXEC:
                table.set_cloexec(fd, True)
            else:
                table.close(fd)
    return 0


@syscall(23, "dup", "fd")
def sys_dup(task: Any, fd: int) -> int:
    file = task.files.get(fd)
    return install(task, file.get(), False)


@syscall(24, "dup3", "fd", "fd", "open_flags")
def sys_dup3(task: Any, old: int, new: int, flags: int = 0) -> int:
    if flags & ~abi.O_CLOEXEC:
        raise error(EINVAL, "dup3 flags")
    if not isinstance(new, int):
        raise error(EBADF, new)
    fd: int = task.files.dup3(old, new, bool(flags), nofile(task))
    return fd


@python("dup2")
def dup2(task: Any, old: Any, new: Any) -> int:
    if old == new:
        task.files.get(old)
        return new
    fd: int = sys_dup3(task, old, new, 0)
    return fd


_LOCK_COMMANDS = (abi.F_GETLK, abi.F_SETLK, abi.F_SETLKW, abi.F_OFD_GETLK, abi.F_OFD_SETLK, abi.F_OFD_SETLKW)
_SETTABLE = abi.O_APPEND | abi.O_NONBLOCK | abi.O_DIRECT | abi.O_NOATIME


def _direct(task: Any, file: File) -> bool:
    """Whether O_DIRECT means something: packets to a pipe, or a file of a filesystem that can (a memfd's can't)."""
    inode = file.inode
    if isinstance(file.private, Pipe):
        return True
    memory = task.machine.vfs.memfd
    if inode is None or not inode.is_reg:
        return inode is not None and inode.mode & abi.S_IFMT == abi.S_IFBLK
    return memory is None or inode.fs is not memory.fs


@syscall(25, "fcntl", "fd", "fcntl_cmd", "int")
def sys_fcntl(task: Any, fd: int, cmd: int, arg: Any = 0) -> Any:
    file: File = task.files.get(fd)
    table = task.files
    if cmd in (abi.F_GETFD, abi.F_SETFD, abi.F_DUPFD, abi.F_DUPFD_CLOEXEC, abi.F_GETFL):
        if cmd == abi.F_GETFD:
            return int(table.cloexec(fd))
        if cmd == abi.F_SETFD and not isinstance(arg, int):
            raise error(EINVAL, "fcntl argument")
        if cmd == abi.F_SETFD:
            table.set_cloexec(fd, bool(arg & abi.FD_CLOEXEC))
            return 0
        if cmd == abi.F_GETFL:
            return file.flags
        most = nofile(task)
        if not isinstance(arg, int) or arg < 0 or 0 <= most <= arg:
            raise error(EINVAL, "F_DUPFD")
        try:
            return table.install(file.get(), cmd == abi.F_DUPFD_CLOEXEC, most, arg)
        except OSError:
            file.put()
            raise
    if file.flags & abi.O_PATH:
        raise error(EBADF, f"{fd} was opened with O_PATH")
    if cmd == abi.F_SETOWN_EX:
        if not isinstance(arg, Sequence) or len(arg) != 2:
            raise error(EFAULT, "F_SETOWN_EX takes (kind, id)")
        set_owner(task, file, *arg)
        return 0
    if not isinstance(arg, int) and cmd not in _LOCK_COMMANDS:
        raise error(EINVAL, "fcntl argument")
    if cmd == abi.F_SETFL:
        if arg & abi.O_NOATIME and not file.flags & abi.O_NOATIME:
            inode = file.inode
            if inode is not None and task.cred.fsuid != inode.uid and not capable(task.cred, abi.CAP_FOWNER):
                raise error(abi.EPERM, "O_NOATIME")
        if arg & abi.O_DIRECT and not _direct(task, file):
            raise error(EINVAL, "O_DIRECT")
        file.ops.set_flags(file, task, arg & _SETTABLE)
        file.flags = file.flags & ~_SETTABLE | arg & _SETTABLE
        if bool(arg & abi.O_ASYNC) != (file.asyncer is not None) or arg & abi.O_ASYNC:
            set_async(task, file, fd, bool(arg & abi.O_ASYNC))
        return 0
    if cmd in (abi.F_GETPIPE_SZ, abi.F_SETPIPE_SZ):
        pipe = file.private
        if not isinstance(pipe, Pipe):
            raise error(EBADF, "not a pipe")
        if cmd == abi.F_GETPIPE_SZ:
            return pipe.limit * abi.PAGE_SIZE
        return pipe.resize(arg, capable(task.cred, abi.CAP_SYS_RESOURCE))
    if cmd in _LOCK_COMMANDS:
        return fcntl_lock(task, file, cmd, arg)
    if cmd == abi.F_ADD_SEALS:
        return add_seals(task, file, arg)
    if cmd == abi.F_GET_SEALS:
        return get_seals(file)
    if cmd == abi.F_GETOWN:
        return signed_owner(file)
    if cmd == abi.F_GETOWN_EX:
        return owner_of(file)
    if cmd == abi.F_DUPFD_QUERY:
        return int(table.get(arg) is file)
    if cmd == abi.F_SETOWN:
        set_owner(task, file, abi.F_OWNER_PGRP if arg < 0 else abi.F_OWNER_PID, abs(arg))
        return 0
    if cmd == abi.F_GETSIG:
        return file.signum
    if cmd == abi.F_SETSIG:
        if not 0 <= arg <= abi.SIGRTMAX:
            raise error(EINVAL, "signal number")
        file.signum = arg
        return 0
    raise error(EINVAL, f"fcntl {cmd}")


@syscall(29, "ioctl", "fd", "ioctl_cmd", "int")
def sys_ioctl(task: Any, fd: int, request: int, arg: Any = 0) -> Any:
    file = file_of(task, fd)
    if request in (abi.FIOCLEX, abi.FIONCLEX):
        task.files.set_cloexec(fd, request == abi.FIOCLEX)
        return 0
    if request == abi.FIONBIO:
        file.flags = file.flags | abi.O_NONBLOCK if arg else file.flags & ~abi.O_NONBLOCK
        return 0
    if request == abi.FIOASYNC:
        if arg and not file.ops.asynchronous:
            raise error(abi.ENOTTY, "nothing to wait for")
        set_async(task, file, fd, bool(arg))
        return 0
    if request in (abi.FIOSETOWN, abi.SIOCSPGRP) and file.ops is SOCKET:
        if not isinstance(arg, int):
            raise error(EFAULT, "an owner is a number")
        set_owner(task, file, abi.F_OWNER_PGRP if arg < 0 else abi.F_OWNER_PID, abs(arg))
        return 0
    if request in (abi.FIOGETOWN, abi.SIOCGPGRP) and file.ops is SOCKET:
        return signed_owner(file)
    return file.ops.ioctl(file, task, request, arg)


@syscall(32, "flock", "fd", "flock_op")
def sys_flock(task: Any, fd: int, operation: int) -> int:
    if operation & ~abi.LOCK_NB not in (abi.LOCK_SH, abi.LOCK_EX, abi.LOCK_UN) and not operation & 32:  # LOCK_MAND
        raise error(EINVAL, f"flock: operation {operation}")
    flock_file(task, file_of(task, fd), operation)
    return 0


# ---- state ----


def inode_of(file: File) -> Inode:
    if file.inode is None:
        raise error(EBADF, "no inode")
    return file.inode


@syscall(80, "fstat", "fd", returns="stat")
def sys_fstat(task: Any, fd: int) -> Stat:
    return Stat(inode_of(task.files.get(fd)))


@syscall(44, "fstatfs", "fd", returns="statfs")
def sys_fstatfs(task: Any, fd: int) -> StatFs:
    return inode_of(task.files.get(fd)).fs.statfs()


@syscall(46, "ftruncate", "fd", "int")
def sys_ftruncate(task: Any, fd: int, length: int) -> int:
    if length < 0:
        raise error(EINVAL, "negative length")
    file = file_of(task, fd)
    if file.inode is None or not file.inode.is_reg or not file.writable:
        raise error(EINVAL, "not a regular file open for writing")
    operations.truncate(task, file.inode, length, file.path)
    return 0


def _known_mode(mode: int) -> None:
    """EOPNOTSUPP for what no filesystem knows: one thing at a time, and a hole keeps the size."""
    what = mode & ~abi.FALLOC_FL_KEEP_SIZE
    keeps = bool(mode & abi.FALLOC_FL_KEEP_SIZE)
    punch, collapse, insert = abi.FALLOC_FL_PUNCH_HOLE, abi.FALLOC_FL_COLLAPSE_RANGE, 0x20
    if what not in (0, punch, collapse, abi.FALLOC_FL_ZERO_RANGE, insert, 0x40, 0x80):
        raise error(abi.EOPNOTSUPP, "fallocate mode")
    if (what == punch and not keeps) or (what in (collapse, insert) and keeps):
        raise error(abi.EOPNOTSUPP, "fallocate mode")


@syscall(47, "fallocate", "fd", "int", "int", "int")
def sys_fallocate(task: Any, fd: int, mode: int, offset: int, length: int) -> int:
    file = file_of(task, fd)
    if offset < 0 or length <= 0:
        raise error(EINVAL, "range")
    _known_mode(mode)
    if not file.writable:
        raise error(EBADF, "not open for writing")
    inode = inode_of(file)
    if not (inode.is_reg or inode.is_dir or inode.mode & abi.S_IFMT in (abi.S_IFIFO, abi.S_IFBLK)):
        raise error(abi.ENODEV, "fallocate")
    file.ops.fallocate(file, task, mode, offset, length)
    return 0


@syscall(82, "fsync", "fd")
def sys_fsync(task: Any, fd: int) -> int:
    file = file_of(task, fd)
    file.ops.fsync(file, False)
    return 0


@syscall(83, "fdatasync", "fd")
def sys_fdatasync(task: Any, fd: int) -> int:
    file = file_of(task, fd)
    file.ops.fsync(file, True)
    return 0


@syscall(81, "sync")
def sys_sync(task: Any) -> int:
    done: list[Any] = []
    for mount in list(task.machine.vfs.mounts):
        if mount.fs not in done:
            done.append(mount.fs)
            mount.fs.sync()
    for device in task.machine.disks.values():
        device.sync(task)
    return 0


@syscall(267, "syncfs", "fd")
def sys_syncfs(task: Any, fd: int) -> int:
    inode_of(file_of(task, fd)).fs.sync()
    return 0


# ---- advice ----


@syscall(84, "sync_file_range", "fd", "int", "int", "int")
def sys_sync_file_range(task: Any, fd: int, offset: int, nbytes: int, flags: int = 0) -> int:
    file = file_of(task, fd)
    if flags & ~7 or offset < 0 or nbytes < 0 or offset + nbytes >= 1 << 63:
        raise error(EINVAL, "sync_file_range")
    inode = inode_of(file)
    if not (inode.is_reg or inode.is_dir or inode.is_link or inode.mode & abi.S_IFMT == abi.S_IFBLK):
        raise error(abi.ESPIPE, fd)
    if flags and (inode.is_reg or inode.mode & abi.S_IFMT == abi.S_IFBLK):
        file.ops.fsync(file, True)
    return 0


@syscall(223, "fadvise64", "fd", "int", "int", "int")
def sys_fadvise64(task: Any, fd: int, offset: int, length: int, advice: int) -> int:
    file = file_of(task, fd)
    if isinstance(file.private, Pipe):
        raise error(abi.ESPIPE, fd)
    if length < 0 or not 0 <= advice <= 5:
        raise error(EINVAL, "fadvise64")
    return 0


@syscall(213, "readahead", "fd", "int", "size")
def sys_readahead(task: Any, fd: int, offset: int, count: int) -> int:
    file = file_of(task, fd)
    if not file.readable:
        raise error(EBADF, "not open for reading")
    if file.inode is None or not (file.inode.is_reg or file.inode.mode & abi.S_IFMT == abi.S_IFBLK):
        raise error(EINVAL, "readahead is for regular files and block devices")
    return 0


_DIRENT_HEAD = 19  # ino, off, reclen, type


@syscall(61, "getdents64", "fd", "int", returns="dents")
def sys_getdents64(task: Any, fd: int, size: int = 32768) -> list[tuple[int, bytes, int, int]]:
    """The next entries that fit a buffer of `size` bytes, as (cookie, name, inode number, type); [] at the end."""
    file = file_of(task, fd)
    if file.inode is None or not file.inode.is_dir:
        raise error(abi.ENOTDIR, fd)
    entries: list[tuple[int, bytes, int, int]] = []
    used = 0
    for entry in file.ops.iterate(file, file.pos):
        length = (_DIRENT_HEAD + len(entry[1]) + 1 + 7) & ~7
        if used + length > size:
            if not entries:
                raise error(EINVAL, "buffer too small")
            break
        used += length
        entries.append(entry)
    if entries:
        file.pos = entries[-1][0]
    return entries


@python("getdents64")
def getdents64(task: Any, fd: Any) -> list[tuple[str, int, int]]:
    return [(text(name), ino, kind) for _, name, ino, kind in sys_getdents64(task, fd)]


GETRANDOM_MAX = (1 << 25) - 1
"""What one call gives at most (random(4))."""


@syscall(278, "getrandom", "sink", "size", "int")
def sys_getrandom(task: Any, sink: Sink, count: int, flags: int = 0) -> int:
    if flags & ~(abi.GRND_NONBLOCK | abi.GRND_RANDOM):
        raise error(EINVAL, "getrandom flags")
    random = task.machine.vfs.devices[abi.S_IFCHR, URANDOM]
    return fill(task, sink, min(count, GETRANDOM_MAX), random.bytes)


@python("getrandom")
def getrandom(task: Any, n: Any, flags: Any = 0) -> bytes:
    sink = BytesSink(room(task, n))
    sys_getrandom(task, sink, sink.room, flags)
    return sink.value()
