"""System calls that move bytes without a trip through the program: splice, tee, sendfile, copy_file_range;
preadv2 and pwritev2; and memfd_create, a file for them to come from.
"""

from __future__ import annotations

from typing import Any

from kernel import abi
from kernel.abi import (
    EAGAIN,
    EBADF,
    EINVAL,
    EOPNOTSUPP,
    ESPIPE,
    O_APPEND,
    O_NONBLOCK,
    O_RDWR,
    PAGE_SIZE,
    RWF_APPEND,
    RWF_DSYNC,
    RWF_HIPRI,
    RWF_NOWAIT,
    RWF_SYNC,
    S_IFREG,
    SPLICE_F_MORE,
    SPLICE_F_NONBLOCK,
)
from kernel.fs import file as files
from kernel.fs import regular
from kernel.fs.file import File
from kernel.fs.tmpfs import Tmpfs
from kernel.fs.user import file_of, install, pathname
from kernel.fs.vfs import Dentry, Mount, Path, error
from kernel.ipc.pipe import BORROWED, Pipe, own
from kernel.net.socket import SOCKET, SocketState
from kernel.syscall.buffers import BytesSink, BytesSource, Sink, Source
from kernel.syscall.file import counted, gather, room, scatter
from kernel.syscall.table import python, syscall
from kernel.task import WORK_DIE, WORK_SIGNAL
from netstack.tcp.socket import TcpSocket

SPLICE_FLAGS = 0xF
_RWF = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND
MFD_FLAGS = 1 | 2 | 8 | 0x10
MFD_NAME_MAX = 249
_CHUNK = 1 << 16


# ---- preadv2 and pwritev2 ----


@syscall(286, "preadv2", "fd", "iovec", "int", "int", "int")
def sys_preadv2(task: Any, fd: int, sink: Sink, count: int, offset: int, flags: int = 0) -> int:
    """Offset -1: at the description's own, which advances."""
    file: File = task.files.get(fd)
    if flags & ~_RWF or flags & RWF_APPEND:
        raise error(EOPNOTSUPP, "preadv2 flags")
    if offset == -1:
        return files.read(file, task, sink, sink.room)
    return files.pread(file, task, sink, sink.room, offset)


@python("preadv2")
def preadv2(task: Any, fd: int, sizes: Any, offset: int, flags: int = 0) -> list[bytes]:
    sink = scatter(task, sizes)
    sys_preadv2(task, fd, sink, len(sizes), offset, flags)
    return [part.value() for part in sink.sinks]


@syscall(287, "pwritev2", "fd", "iovec", "int", "int", "int")
def sys_pwritev2(task: Any, fd: int, source: Source, count: int, offset: int, flags: int = 0) -> int:
    file: File = task.files.get(fd)
    if flags & ~_RWF:
        raise error(EOPNOTSUPP, "pwritev2 flags")
    if flags & RWF_APPEND and file.ops.seekable and file.inode is not None:
        if not file.writable:
            raise error(EBADF, "not open for writing")
        end = file.inode.size
        done = file.ops.write(file, task, source, source.left, end)
        if offset == -1:
            file.pos = end + done
        return done
    if offset == -1:
        return files.write(file, task, source, source.left)
    return files.pwrite(file, task, source, source.left, offset)


@python("pwritev2")
def pwritev2(task: Any, fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
    done: int = sys_pwritev2(task, fd, gather(buffers), len(buffers), offset, flags)
    return done


# ---- splice and tee ----


def _await(task: Any, pipe: Pipe, file: File, flags: int, want_data: bool) -> bool:
    """Until the pipe has data (or room): False at the end of file. EAGAIN where the call must not wait."""
    while True:
        if want_data:
            if pipe.slots:
                return True
            if not pipe.writers:
                return False
        else:
            if not pipe.readers:
                task.send_signal(abi.SIGPIPE)
                raise error(abi.EPIPE)
            if len(pipe.slots) < pipe.limit:
                return True
        if flags & SPLICE_F_NONBLOCK or file.flags & O_NONBLOCK:
            raise error(EAGAIN, "pipe empty" if want_data else "pipe full")
        (pipe.readable if want_data else pipe.writable).sleep(task)


def _free(pipe: Pipe) -> int:
    return (pipe.limit - len(pipe.slots)) * PAGE_SIZE


@syscall(76, "splice", "fd", "int", "fd", "int", "size", "int")
def sys_splice(
    task: Any, fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, n: int, flags: int = 0
) -> int:
    """One of the two is a pipe. Offsets are for files: None is the description's own."""
    if flags & ~SPLICE_FLAGS:
        raise error(EINVAL, "splice flags")
    if not n:
        return 0
    source, target = file_of(task, fd_in), file_of(task, fd_out)
    first, second = source.private, target.private
    from_pipe, to_pipe = isinstance(first, Pipe), isinstance(second, Pipe)
    if (from_pipe and off_in is not None) or (to_pipe and off_out is not None):
        raise error(ESPIPE, "a pipe has no offset")
    if not source.readable or not target.writable:
        raise error(EBADF, "splice")
    if not (from_pipe or to_pipe) or first is second:
        raise error(EINVAL, "splice needs a pipe")
    for file, offset in ((source, off_in), (target, off_out)):
        if offset is not None and (not file.ops.seekable or offset < 0):
            raise error(EINVAL, "no such offset")
    if not to_pipe and target.flags & O_APPEND:
        raise error(EINVAL, "splice to a file opened with O_APPEND")
    if from_pipe and to_pipe:
        return _between(task, source, target, n, flags | (source.flags | target.flags) & O_NONBLOCK)
    if from_pipe:
        _movable(target)
        return _drain(task, source, target, off_out, n, flags)
    _await(task, second, target, flags, False)
    _movable(source)
    start = (source.pos if off_in is None else off_in) & PAGE_SIZE - 1 if source.ops.seekable else 0
    n = _before_urgent(source, min(n, _free(second) - start, _CHUNK))
    if not n:
        return 0
    sink = BytesSink(n)
    if off_in is not None:
        files.pread(source, task, sink, n, off_in)
    else:
        files.read(source, task, sink, n)
    data = sink.value()
    _lend(second, data, start)
    return len(data)


@syscall(71, "sendfile", "fd", "fd", "int", "size")
def sys_sendfile(task: Any, out_fd: int, in_fd: int, offset: int | None, count: int) -> int | tuple[int, int]:
    """Moves bytes between descriptors. Without an offset the file's own advances."""
    source_file = file_of(task, in_fd)
    if not source_file.readable:
        raise error(EBADF, "sendfile")
    if not source_file.ops.seekable and offset is not None:
        raise error(ESPIPE, "sendfile from a stream")
    pos = source_file.pos if offset is None else offset
    if pos < 0:
        raise error(EINVAL, "negative offset")
    target = file_of(task, out_fd)
    if not target.writable:
        raise error(EBADF, "sendfile")
    if not source_file.ops.seekable:
        return _from_stream(task, in_fd, out_fd, count)
    if target.flags & abi.O_APPEND:
        raise error(EINVAL, "sendfile to a file opened with O_APPEND")
    for file in (source_file, target):
        if file.inode is not None and (file.inode.is_dir or file.inode.fs.name == "anon_inodefs"):
            raise error(EINVAL, "sendfile: it has no pages, and takes none")
    done, count = 0, counted(count)
    while done < count:
        sink = BytesSink(min(count - done, 65536))
        files.pread(source_file, task, sink, sink.room, pos + done)
        data = sink.value()
        if not data:
            break
        try:
            sent = files.write(target, task, BytesSource(data), len(data))
        except Exception:
            if not done:
                raise
            break
        done += sent
        if sent < len(data) or task.work & (WORK_SIGNAL | WORK_DIE):
            break
    if offset is None:
        source_file.pos = pos + done
    return done


def _from_stream(task: Any, in_fd: int, out_fd: int, count: int) -> int:
    """Into a pipe a socket is spliced; nothing else that has no offset can be sent."""
    to_pipe = isinstance(file_of(task, out_fd).private, Pipe)
    if to_pipe and not count:
        return 0
    if not to_pipe or isinstance(file_of(task, in_fd).private, Pipe):
        raise error(EINVAL, "sendfile from a stream")
    return sys_splice(task, in_fd, None, out_fd, None, count)


def _movable(file: File) -> None:
    """What has no bytes of its own (an eventfd, a timerfd ...) is not for splice."""
    if file.inode is not None and (file.inode.fs.name == "anon_inodefs" or file.inode.is_dir):
        raise error(EINVAL, "nothing to splice")


def _before_urgent(file: File, n: int) -> int:
    """How many bytes may be spliced from there: no splice passes an urgent byte (Linux's tcp_read_sock)."""
    sock = file.private.sock if isinstance(file.private, SocketState) else None
    conn = sock.conn if isinstance(sock, TcpSocket) else None
    if conn is None or conn.urg_data < 0 or not conn.rcvq or not conn.copied_seq <= conn.rcv_up < conn.copied_seq + n:
        return n
    distance: int = conn.rcv_up - conn.copied_seq
    if not distance and file.flags & O_NONBLOCK:
        raise error(EAGAIN, "an urgent byte")
    return distance


def _lend(pipe: Pipe, data: bytes, start: int) -> None:
    """Puts the pages of a file into a pipe, the first of them from `start` on: each is a slot of its own."""
    at = 0
    while at < len(data):
        size = min(PAGE_SIZE - start, len(data) - at)
        pipe.slots.append([data[at : at + size], 0, size, BORROWED])
        pipe.used += size
        at += size
        start = 0
    if at:
        pipe.readable.wake(1, abi.POLLIN | abi.POLLRDNORM)


def _between(task: Any, source: File, target: File, n: int, flags: int) -> int:
    """Pipe to pipe: slots move, and are not copied."""
    first, second = source.private, target.private
    wait = SPLICE_F_NONBLOCK if flags & O_NONBLOCK else flags
    while True:
        if not _await(task, first, source, wait, True):
            return 0
        _await(task, second, target, wait, False)
        if first.slots:
            break
    done = 0
    while first.slots and done < n and len(second.slots) < second.limit:
        slot = first.slots[0]
        size = min(slot[2] - slot[1], n - done)
        if size == slot[2] - slot[1]:
            second.slots.append(first.slots.popleft())
        else:
            second.slots.append([own(memoryview(slot[0])[slot[1] : slot[1] + size]), 0, size, slot[3] or BORROWED])
            slot[1] += size
        done += size
    first.used -= done
    second.used += done
    task.spend(task.machine.costs.trap)
    first.writable.wake(1, abi.POLLOUT | abi.POLLWRNORM)
    second.readable.wake(1, abi.POLLIN | abi.POLLRDNORM)
    return done


def _drain(task: Any, source: File, target: File, off_out: int | None, n: int, flags: int) -> int:
    """Pipe to file or socket: what was not written goes back to the front."""
    pipe: Pipe = source.private
    if not _await(task, pipe, source, flags, True):
        return 0
    taken: list[bytes] = []
    slots = pipe.slots
    left = min(n, _CHUNK)
    while slots and left:
        slot = slots[0]
        size = min(slot[2] - slot[1], left)
        taken.append(own(memoryview(slot[0])[slot[1] : slot[1] + size]))
        slot[1] += size
        left -= size
        pipe.used -= size
        if slot[1] == slot[2]:
            slots.popleft()
    data = b"".join(taken)
    done = 0
    try:
        while done < len(data):
            rest = BytesSource(memoryview(data)[done:])
            if off_out is not None:
                done += files.pwrite(target, task, rest, rest.left, off_out + done)
            elif flags & SPLICE_F_MORE and target.ops is SOCKET:
                done += SOCKET.send(target, task, rest, rest.left, abi.MSG_MORE, None)
            else:
                done += files.write(target, task, rest, rest.left)
            if rest.left == len(data):
                break
    except OSError:
        if not done:
            raise
    finally:
        if done < len(data):
            for at in reversed(range(done, len(data), PAGE_SIZE)):
                part = data[at : at + PAGE_SIZE]
                slots.appendleft([part, 0, len(part), BORROWED])
            pipe.used += len(data) - done
        pipe.writable.wake(1, abi.POLLOUT | abi.POLLWRNORM)
    return done


@syscall(75, "vmsplice", "fd", "iovec", "int", "int")
def sys_vmsplice(task: Any, fd: int, buffers: Any, count: int = 0, flags: int = 0) -> int:
    """Puts the program's buffers into a pipe."""
    if flags & ~SPLICE_FLAGS:
        raise error(EINVAL, "vmsplice flags")
    target = file_of(task, fd)
    if not isinstance(target.private, Pipe):
        raise error(EBADF, "vmsplice needs a pipe")
    source = gather(buffers)
    if not source.left:
        return 0
    if not target.writable:
        raise error(EBADF, "vmsplice into the read end")
    _await(task, target.private, target, flags, False)
    source = BytesSource(bytes(source.peek(min(source.left, _free(target.private)))))
    return files.write(target, task, source, source.left)


@python("vmsplice")
def vmsplice(task: Any, fd: int, buffers: Any, flags: int = 0) -> int:
    """`buffers` is a list of bytes; how many went into the pipe."""
    done: int = sys_vmsplice(task, fd, buffers, len(buffers) if hasattr(buffers, "__len__") else 0, flags)
    return done


@syscall(77, "tee", "fd", "fd", "size", "int")
def sys_tee(task: Any, fd_in: int, fd_out: int, n: int, flags: int = 0) -> int:
    """Copies what is in one pipe into another, and leaves it there."""
    if flags & ~SPLICE_FLAGS:
        raise error(EINVAL, "tee flags")
    if not n:
        return 0
    source, target = file_of(task, fd_in), file_of(task, fd_out)
    if not source.readable or not target.writable:
        raise error(EBADF, "tee")
    first, second = source.private, target.private
    if not isinstance(first, Pipe) or not isinstance(second, Pipe) or first is second:
        raise error(EINVAL, "tee needs two pipes")
    if not _await(task, first, source, flags, True):
        return 0
    _await(task, second, target, flags, False)
    done = 0
    for data, start, end, packet in list(first.slots):
        if done == n or len(second.slots) >= second.limit:
            break
        chunk = own(memoryview(data)[start : min(end, start + n - done)])
        second.slots.append([chunk, 0, len(chunk), packet or BORROWED])
        second.used += len(chunk)
        done += len(chunk)
    task.spend(task.machine.costs.trap)
    second.readable.wake(1, abi.POLLIN | abi.POLLRDNORM)
    return done


@syscall(285, "copy_file_range", "fd", "int", "fd", "int", "size", "int")
def sys_copy_file_range(
    task: Any, fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, n: int, flags: int = 0
) -> int:
    source, target = file_of(task, fd_in), file_of(task, fd_out)
    for file in (source, target):
        if file.inode is not None and file.inode.is_dir:
            raise error(abi.EISDIR)
        if file.inode is None or not file.inode.is_reg:
            raise error(EINVAL, "copy_file_range between regular files")
    if not source.readable or not target.writable or target.flags & O_APPEND:
        raise error(EBADF, "copy_file_range")
    if flags:
        raise error(EINVAL, "copy_file_range flags")
    start = source.pos if off_in is None else off_in
    to = target.pos if off_out is None else off_out
    if start < 0 or to < 0:
        raise error(abi.EOVERFLOW if start < 0 <= start + n or to < 0 <= to + n else EINVAL, "negative offset")
    if to >= regular.MAX_FILE_SIZE:
        raise error(abi.EFBIG, "copy_file_range")
    assert source.inode is not None
    n = min(room(task, n), max(source.inode.size - start, 0))
    if source.inode is target.inode and start < to + n and to < start + n and n:
        raise error(EINVAL, "the ranges overlap")
    done = 0
    while done < n:
        sink = BytesSink(min(n - done, _CHUNK))
        files.pread(source, task, sink, sink.room, start + done)
        data = sink.value()
        if not data:
            break
        put = files.pwrite(target, task, BytesSource(data), len(data), to + done)
        done += put
        if put < len(data):
            break
    if off_in is None:
        source.pos = start + done
    if off_out is None:
        target.pos = to + done
    return done


# ---- memfd ----


@syscall(279, "memfd_create", "path", "int")
def sys_memfd_create(task: Any, name: str | bytes, flags: int = 0) -> int:
    """A file in memory without a name in any directory."""
    if flags & ~MFD_FLAGS or (flags & abi.MFD_NOEXEC_SEAL and flags & abi.MFD_EXEC):
        raise error(EINVAL, "memfd_create flags")
    label = pathname(name)
    if len(label) > MFD_NAME_MAX:
        raise error(EINVAL, "memfd name")
    vfs = task.machine.vfs
    mount = vfs.memfd
    if mount is None:
        fs = Tmpfs(vfs.new_dev(), vfs.now, mode=0o777, max_pages=task.machine.frames)
        mount = vfs.memfd = Mount(0, fs, Dentry(b"", None, fs.root), 0, b"memfd")
    inode = mount.fs.make_unnamed(S_IFREG | 0o777, task.cred.fsuid, task.cred.fsgid)
    if flags & abi.MFD_NOEXEC_SEAL:
        inode.mode &= ~0o111
        inode.seals = inode.seals & ~abi.F_SEAL_SEAL | abi.F_SEAL_EXEC
    elif flags & abi.MFD_ALLOW_SEALING:
        inode.seals &= ~abi.F_SEAL_SEAL
    dentry = Dentry(b"memfd:" + label, mount.root, inode)
    dentry.hashed = False
    file = File(regular.REGULAR, O_RDWR | abi.O_LARGEFILE, inode, Path(mount, dentry))
    return install(task, file, bool(flags & 1))
