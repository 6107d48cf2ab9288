"""Pipes and FIFOs: pipe(7), POSIX write(2), Linux's fs/pipe.c.

A pipe is a queue of slots, 16 unless F_SETPIPE_SZ says otherwise, of one page each. As in Linux a write first tries
to put its odd bytes (its length modulo the page) into the last page, if they all fit there, and then takes a new slot
for each page or part of one. All the rules of POSIX follow from that: a write of PIPE_BUF bytes or fewer needs at most
one slot, so it is stored whole or waits; a longer one may be stored in parts, between those of others.

A slot is `[buffer, start, end, kind]`: the bytes [start, end) of a page. A buffer is the writer's own bytes object
as long as nothing is appended to it, so that a page written whole is read without being copied.

End of file is the state of being empty without writers; writing without readers is SIGPIPE and EPIPE.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from kernel import abi
from kernel.abi import (
    EAGAIN,
    EPIPE,
    O_DIRECT,
    O_NONBLOCK,
    PAGE_SIZE,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    SIGPIPE,
)
from kernel.fs.file import File, FileOps, Sink, Source
from kernel.fs.vfs import Inode, Path, error
from kernel.sched.wait import Interrupted, WaitQueue

if TYPE_CHECKING:
    from kernel.task import Task

PACKET, BORROWED = 1, 2
"""Kinds of a slot that nothing is appended to: a packet (O_DIRECT), and a page that splice or tee has put there."""
SLOTS = 16
MAX_SIZE = 1 << 20  # fs.pipe-max-size
_IN = POLLIN | POLLRDNORM
_OUT = POLLOUT | POLLWRNORM


class Pipe:
    """The buffer between the two ends, and who is at them."""

    __slots__ = ("limit", "opened", "readable", "readers", "slots", "used", "w_counter", "writable", "writers")

    def __init__(self) -> None:
        self.slots: deque[list[Any]] = deque()
        self.limit = SLOTS
        self.used = 0  # bytes
        self.readers = self.writers = 0
        self.w_counter = 0  # how often a writer has opened: tells "no writer yet" from "no writer any more"
        self.readable = WaitQueue()  # readers wait here, for data or for the end
        self.writable = WaitQueue()
        self.opened = WaitQueue()  # opens of a FIFO wait here for the other end

    def close(self, reader: bool, writer: bool) -> None:
        if reader:
            self.readers -= 1
        if writer:
            self.writers -= 1
        if reader and not self.readers:
            self.writable.wake_all()
        if writer and not self.writers:
            self.readable.wake_all()

    def resize(self, size: int, privileged: bool) -> int:
        """F_SETPIPE_SZ: rounded up to a power of two pages; the new capacity in bytes."""
        if size < 0 or size > 1 << 31:
            raise error(abi.EINVAL, "pipe size")
        pages = 1 << max(0, (max(size, 1) + PAGE_SIZE - 1) // PAGE_SIZE - 1).bit_length()
        if pages > self.limit and pages * PAGE_SIZE > MAX_SIZE and not privileged:
            raise error(abi.EPERM, f"pipe size above {MAX_SIZE}")
        if pages < len(self.slots):
            raise error(abi.EBUSY, "more than that is in the pipe")
        self.limit = pages
        self.writable.wake_all()
        return pages * PAGE_SIZE


def own(chunk: Any) -> bytes:
    """`chunk` as bytes that nobody will change: without a copy where it is a whole bytes object already."""
    if type(chunk) is bytes:
        return chunk
    if type(chunk) is memoryview:
        whole = chunk.obj
        if type(whole) is bytes and len(whole) == len(chunk):
            return whole
    return bytes(chunk)


class PipeOps(FileOps):
    """`file.private` is the pipe; the access mode of the description says which end it is."""

    __slots__ = ()
    asynchronous = True

    def read(self, file: File, task: Task, sink: Sink, n: int, pos: int) -> int:
        if not n:
            return 0
        pipe: Pipe = file.private
        slots = pipe.slots
        while True:
            if slots:
                task.spend((n if n < pipe.used else pipe.used) * task.machine.costs.copy_kib >> 10)
                if slots:  # another reader may have been faster
                    return self._take(pipe, sink, n)
                continue
            if not pipe.writers:
                return 0
            if file.flags & O_NONBLOCK:
                raise error(EAGAIN, "pipe empty")
            try:
                pipe.readable.sleep(task)
            except Interrupted:
                if slots:
                    pipe.readable.wake()
                raise

    @staticmethod
    def _take(pipe: Pipe, sink: Sink, n: int) -> int:
        slots = pipe.slots
        full = len(slots) >= pipe.limit
        done = 0
        while slots:
            slot = slots[0]
            data, start, end, packet = slot
            size = end - start
            if size > n - done:
                size = n - done
                chunk: Any = memoryview(data)[start : start + size]
            elif start == 0 and end == len(data):
                chunk = data
            else:
                chunk = memoryview(data)[start:end]
            put = sink.put(chunk)
            done += put
            if packet == PACKET:  # a short read drops the rest of it
                pipe.used -= end - start
                slots.popleft()
                break
            pipe.used -= put
            if start + put == end:
                slots.popleft()
            else:
                slot[1] = start + put
            if put < size or done == n:
                break
        # One wakeup per change of state, and one more for the next in line where there is still something to have.
        if full and len(slots) < pipe.limit:
            pipe.writable.wake(1, _OUT)
        if slots and len(pipe.readable):
            pipe.readable.wake(1, _IN)
        return done

    def write(self, file: File, task: Task, source: Source, n: int, pos: int) -> int:
        pipe: Pipe = file.private
        if not n:
            return 0
        slots = pipe.slots
        task.spend(n * task.machine.costs.copy_kib >> 10)
        if not pipe.readers:
            task.send_signal(SIGPIPE)
            raise error(EPIPE)
        packet = bool(file.flags & O_DIRECT)
        done = 0
        odd = n & (PAGE_SIZE - 1)
        if odd and slots and not packet:
            last = slots[-1]
            if not last[3] and last[2] + odd <= PAGE_SIZE:
                chunk = own(source.take(odd))
                done = len(chunk)
                self._append(last, chunk)
                pipe.used += done
                if done == n or done < odd:
                    self._wrote(pipe)
                    return done
        while True:
            if not pipe.readers:
                task.send_signal(SIGPIPE)
                if done:
                    return done
                raise error(EPIPE)
            if len(slots) < pipe.limit:
                want = n - done if n - done < PAGE_SIZE else PAGE_SIZE
                chunk = own(source.take(want))
                size = len(chunk)
                if size:
                    slots.append([chunk, 0, size, PACKET if packet else 0])
                    pipe.used += size
                    done += size
                if done == n or size < want:
                    self._wrote(pipe)
                    return done
                continue
            if done:
                self._wrote(pipe)
            if file.flags & O_NONBLOCK:
                if done:
                    return done
                raise error(EAGAIN, "pipe full")
            try:
                pipe.writable.sleep(task)
            except Interrupted:
                if len(slots) < pipe.limit:
                    pipe.writable.wake()
                if done:
                    return done
                raise

    @staticmethod
    def _append(slot: list[Any], chunk: Any) -> None:
        data, _, end, _ = slot
        # Positions count from the start of the page, so what was read already stays as padding.
        slot[0] = b"".join((memoryview(data)[:end], chunk))
        slot[2] = end + len(chunk)

    @staticmethod
    def _wrote(pipe: Pipe) -> None:
        pipe.readable.wake(1, _IN)
        if len(pipe.slots) < pipe.limit and len(pipe.writable):
            pipe.writable.wake(1, _OUT)

    def poll(self, file: File) -> int:
        pipe: Pipe = file.private
        mask = 0
        if file.readable:
            if pipe.slots:
                mask = _IN
            if not pipe.writers and file.pos != pipe.w_counter:
                mask |= POLLHUP
        if file.writable:
            if len(pipe.slots) < pipe.limit:
                mask |= _OUT
            if not pipe.readers:
                mask |= POLLERR
        return mask

    def wait_queues(self, file: File) -> tuple[Any, ...]:
        pipe: Pipe = file.private
        if file.readable and file.writable:
            return (pipe.readable, pipe.writable)
        return (pipe.readable,) if file.readable else (pipe.writable,)

    def ioctl(self, file: File, task: Task, request: int, arg: Any) -> Any:
        if request == abi.FIONREAD:
            return file.private.used
        return super().ioctl(file, task, request, arg)

    def release(self, file: File) -> None:
        pipe: Pipe = file.private
        pipe.close(file.readable, file.writable)
        inode = file.inode
        if inode is not None and inode.pipe is pipe and not pipe.readers and not pipe.writers:
            inode.pipe = None  # what was left in a FIFO is gone with its last user


OPS = PipeOps()


def make_pipe(flags: int, inode: Inode | None = None) -> tuple[File, File]:
    """The two ends of a new pipe: (read, write), with the status flags O_NONBLOCK and O_DIRECT of `flags`."""
    pipe = Pipe()
    pipe.readers = pipe.writers = 1
    pipe.w_counter = 1
    status = flags & (O_NONBLOCK | O_DIRECT)
    reader = File(OPS, abi.O_RDONLY | flags & O_NONBLOCK, inode, None, pipe)
    writer = File(OPS, abi.O_WRONLY | status, inode, None, pipe)
    if inode is not None:
        inode.pipe = pipe  # for opening it again through /proc/PID/fd
    return reader, writer


def open_fifo(task: Task, inode: Inode, flags: int, path: Path | None) -> File:
    """open(2) of a FIFO: waits for the other end; O_NONBLOCK does not (ENXIO for writing without a reader)."""
    pipe: Pipe | None = inode.pipe
    if pipe is None:
        pipe = inode.pipe = Pipe()
    file = File(OPS, flags, inode, path, pipe)
    file.pos = -1
    if file.writable and not file.readable and flags & O_NONBLOCK and not pipe.readers:
        if not pipe.writers:
            inode.pipe = None
        _abandon(file)
        raise error(abi.ENXIO, "FIFO without a reader")
    pipe.readers += file.readable
    if file.writable:
        pipe.writers += 1
        pipe.w_counter += 1
    pipe.opened.wake_all()
    try:
        if file.readable and not file.writable and not pipe.writers:
            if flags & O_NONBLOCK:
                file.pos = pipe.w_counter  # no POLLHUP until a writer has come and gone
            else:
                before = pipe.w_counter
                while pipe.w_counter == before:
                    pipe.opened.sleep(task)
        elif file.writable and not file.readable and not pipe.readers:
            while not pipe.readers:
                pipe.opened.sleep(task)
    except BaseException:
        file.put()
        raise
    return file


def _abandon(file: File) -> None:
    """Undo a description that never became one of the pipe's ends."""
    file.private = Pipe()
    file.private.readers = file.private.writers = 2
    file.put()
