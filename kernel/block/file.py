"""/dev/vda as programs see it: an open block device, by Linux's block/fops.c and ioctl.c.

Reads and writes go through the cache, in pieces of `CHUNK`; a read that goes on where the last one ended has the next
blocks read ahead, twice as many each time. With O_DIRECT they go to the queue: offset and length must be whole
sectors (EINVAL), and the cache is written back before and forgotten after. A device ends: reads there give nothing,
writes ENOSPC, one that begins before is cut short. Its size is not st_size, and O_APPEND means nothing.

O_SYNC and O_DSYNC: a write returns when it is on the medium (through the cache by fsync, directly by FUA). O_EXCL
without O_CREAT: EBUSY while somebody else has opened it so. The last close writes everything back.
"""

from __future__ import annotations

import struct
from errno import EBADF, EBUSY, EFAULT, EINVAL, EIO, ENOSPC, ENOTTY, EPERM
from typing import TYPE_CHECKING, Any

from kernel import abi
from kernel.block.cache import BLOCK
from kernel.block.request import FUA, READ, SECTOR_SIZE, SYNC, WRITE, Bio
from kernel.fs.file import File, FileOps, Sink, Source
from kernel.fs.vfs import Inode, Path, error
from kernel.task import WORK_DIE, WORK_SIGNAL, Killed

if TYPE_CHECKING:
    from kernel.block.device import BlockDevice
    from kernel.task import Task

CHUNK = 1 << 17
DIRECT_CHUNK = 1 << 20
"""The most of one direct transfer that is one bio."""
_RANGE = struct.Struct("=QQ")
MAX_READAHEAD = 128
"""Of an ioctl that asks for more, in sectors times 1024: nobody reads a whole disk ahead."""


class Opened:
    """What an open description of a device has of its own."""

    __slots__ = ("ahead_end", "exclusive", "next_pos", "seen", "window")

    def __init__(self, seen: int, exclusive: bool) -> None:
        self.seen = seen
        """Errors of the cache it knows of."""
        self.exclusive = exclusive
        self.next_pos = 0
        """Where a read would begin that goes on from the last."""
        self.window = 0
        """Blocks that are read ahead; 0 after a read elsewhere."""
        self.ahead_end = 0
        """The block up to which they have been asked for."""


class BlockOps(FileOps):
    """The operations of one device."""

    __slots__ = ("device",)
    seekable = True
    pollable = False

    def __init__(self, device: BlockDevice) -> None:
        self.device = device

    @property
    def size(self) -> int:
        return self.device.disk.sectors * SECTOR_SIZE

    # ---- open and close ----

    def open(self, task: Task, inode: Inode, path: Path, flags: int) -> File:
        device = self.device
        exclusive = bool(flags & abi.O_EXCL)
        if exclusive and device.holder is not None:
            raise error(EBUSY, f"{device.name} is held by somebody who opened it with O_EXCL")
        opened = Opened(device.cache.seen_errors(), exclusive)
        file = File(self, flags & ~(abi.O_EXCL | abi.O_NOCTTY), inode, path, opened)
        if exclusive:
            device.holder = opened
        device.openers += 1
        return file

    def release(self, file: File) -> None:
        device = self.device
        if file.private.exclusive:
            device.holder = None
        device.openers -= 1
        scheduler = device.machine.scheduler
        task = scheduler.running
        if device.openers or task is None or scheduler.draining:
            return
        try:
            device.cache.sync(task)
        except Killed:  # the machine is being closed, which writes the rest
            return
        if not device.openers:
            device.cache.invalidate()

    # ---- reading ----

    def read(self, file: File, task: Task, sink: Sink, n: int, pos: int) -> int:
        left = self.size - pos
        if n > left:
            n = left
        if n <= 0:
            return 0
        if file.flags & abi.O_DIRECT:
            return self._read_direct(task, sink, n, pos)
        done = 0
        try:
            while done < n:
                want = min(n - done, CHUNK - pos % BLOCK)
                task.spend(task.machine.costs.copy(want))
                data = self.device.cache.read(task, pos, want, self._ahead(file.private, pos, want))
                put = sink.put(data)
                done += put
                pos += put
                if put < want or task.work & (WORK_SIGNAL | WORK_DIE):
                    break
        except OSError:
            if not done:
                raise
        return done

    def _ahead(self, opened: Opened, pos: int, count: int) -> tuple[int, int]:
        """Which blocks to have read beyond [pos, pos + count): none unless reads follow each other."""
        most = self.device.readahead * SECTOR_SIZE // BLOCK
        end = (pos + count + BLOCK - 1) // BLOCK
        if pos != opened.next_pos or not most:
            opened.window = opened.ahead_end = 0
            opened.next_pos = pos + count
            return 0, 0
        opened.next_pos = pos + count
        if opened.ahead_end - end > opened.window // 2:
            return 0, 0  # there is enough on its way
        opened.window = min(max(2 * opened.window, 4), most)
        first = max(end, opened.ahead_end)
        opened.ahead_end = min(end + opened.window, (self.size + BLOCK - 1) // BLOCK)
        return first, opened.ahead_end

    def _aligned(self, n: int, pos: int) -> None:
        if n % SECTOR_SIZE or pos % SECTOR_SIZE:
            raise error(EINVAL, f"O_DIRECT moves whole sectors of {SECTOR_SIZE} bytes")

    def _read_direct(self, task: Task, sink: Sink, n: int, pos: int) -> int:
        self._aligned(n, pos)
        device = self.device
        first, end = pos // BLOCK, (pos + n + BLOCK - 1) // BLOCK
        failed = device.cache.sync(task, first, end)
        if failed:
            raise error(failed, device.name)
        bios = [
            Bio(READ, at // SECTOR_SIZE, min(DIRECT_CHUNK, pos + n - at) // SECTOR_SIZE, flags=SYNC)
            for at in range(pos, pos + n, DIRECT_CHUNK)
        ]
        device.queue.submit(task, *bios)
        done = 0
        for bio in bios:
            bio.wait(task)
        for bio in bios:
            if bio.error:
                if not done:
                    bio.check(device.name)
                break
            done += sink.put(bio.data)
        return done

    # ---- writing ----

    def write(self, file: File, task: Task, source: Source, n: int, pos: int) -> int:
        if self.device.queue.readonly:
            raise error(EPERM, f"{self.device.name} is read-only")
        if not n:
            return 0
        left = self.size - pos
        if left <= 0:
            raise error(ENOSPC, f"the end of {self.device.name}")
        if n > left:
            n = left
        if file.flags & abi.O_DIRECT:
            return self._write_direct(file, task, source, n, pos)
        begin, done = pos, 0
        try:
            while done < n:
                want = min(n - done, CHUNK)
                task.spend(task.machine.costs.copy(want))
                chunk = source.peek(want)
                if not len(chunk):
                    break
                self.device.cache.write(task, pos, chunk)
                source.skip(len(chunk))
                done += len(chunk)
                pos += len(chunk)
                if task.work & (WORK_SIGNAL | WORK_DIE):
                    break
        except OSError:
            if not done:
                raise
        if file.flags & abi.O_DSYNC and done:
            self._sync_range(file, task, begin // BLOCK, (begin + done + BLOCK - 1) // BLOCK)
        return done

    def _write_direct(self, file: File, task: Task, source: Source, n: int, pos: int) -> int:
        self._aligned(n, pos)
        device = self.device
        first, end = pos // BLOCK, (pos + n + BLOCK - 1) // BLOCK
        failed = device.cache.sync(task, first, end)
        if failed:
            raise error(failed, device.name)
        device.cache.invalidate(first, end)
        data = memoryview(bytes(source.take(n)))
        flags = SYNC | (FUA if file.flags & abi.O_DSYNC else 0)
        bios = [
            Bio(WRITE, (pos + at) // SECTOR_SIZE, data=data[at : at + DIRECT_CHUNK], flags=flags)
            for at in range(0, len(data) - len(data) % SECTOR_SIZE, DIRECT_CHUNK)
        ]
        device.queue.submit(task, *bios)
        done = 0
        for bio in bios:
            bio.wait(task)
        device.cache.invalidate(first, end)  # somebody may have read it meanwhile
        for bio in bios:
            if bio.error:
                if not done:
                    bio.check(device.name)
                break
            done += bio.count * SECTOR_SIZE
        return done

    def _sync_range(self, file: File, task: Task, first: int = 0, end: int | None = None) -> None:
        """Onto the medium; EIO when this fails, or when something failed since this description was told last."""
        device = self.device
        failed = device.cache.sync(task, first, end)
        if not device.queue.readonly:
            device.flush(task)
        if failed or file.private.seen != device.cache.errors:
            file.private.seen = device.cache.tell_errors()
            raise error(failed or EIO, device.name)

    def fsync(self, file: File, data_only: bool) -> None:
        task = self.device.machine.scheduler.running
        assert task is not None
        self._sync_range(file, task)

    # ---- offsets ----

    def llseek(self, file: File, offset: int, whence: int) -> int:
        if whence == abi.SEEK_CUR:
            offset += file.pos
        elif whence == abi.SEEK_END:
            offset += self.size
        elif whence != abi.SEEK_SET:
            raise error(EINVAL, f"whence {whence}")
        if not 0 <= offset <= self.size:
            raise error(EINVAL, "outside the device")
        return offset

    # ---- ioctl ----

    def ioctl(self, file: File, task: Task, request: int, arg: Any) -> Any:
        """Requests that answer with a number give it."""
        device = self.device
        if request in _ANSWERS:
            return _ANSWERS[request](self)
        if request in (abi.BLKROSET, abi.BLKFLSBUF, abi.BLKRASET, abi.BLKFRASET):
            if not task.cred.capable(abi.CAP_SYS_ADMIN):
                raise error(abi.EACCES, "CAP_SYS_ADMIN")
            if request == abi.BLKFLSBUF:
                device.cache.sync(task)
                device.cache.invalidate()
            elif request == abi.BLKROSET:
                device.queue.readonly = bool(_number(arg)) or bool(getattr(device.disk, "readonly", False))
            else:
                device.readahead = min(_number(arg), MAX_READAHEAD * 1024)
            return 0
        if request == abi.BLKRRPART:
            raise error(EINVAL, "no partitions")
        if request in (abi.BLKDISCARD, abi.BLKZEROOUT):
            return self._clear(file, task, request, arg)
        raise error(ENOTTY, f"ioctl {request:#x}")

    def _clear(self, file: File, task: Task, request: int, arg: Any) -> int:
        """BLKDISCARD, BLKZEROOUT: a range of whole sectors is given up, or becomes zeros."""
        if not file.writable:
            raise error(EBADF, "not open for writing")
        if not isinstance(arg, bytes | bytearray) or len(arg) < _RANGE.size:
            raise error(EFAULT, "two 64-bit numbers were expected: start, length")
        start, length = _RANGE.unpack_from(arg)
        if start % SECTOR_SIZE or length % SECTOR_SIZE or not length or start + length > self.size:
            raise error(EINVAL, "the range")
        device = self.device
        if device.queue.readonly:
            raise error(EPERM, f"{device.name} is read-only")
        first, end = start // BLOCK, (start + length + BLOCK - 1) // BLOCK
        device.cache.sync(task, first, end)
        device.cache.invalidate(first, end)
        if request == abi.BLKDISCARD:
            device.discard(task, start // SECTOR_SIZE, length // SECTOR_SIZE)
        else:
            for at in range(start, start + length, DIRECT_CHUNK):
                device.write(task, at // SECTOR_SIZE, bytes(min(DIRECT_CHUNK, start + length - at)))
        device.cache.invalidate(first, end)
        return 0


def _number(arg: Any) -> int:
    if not isinstance(arg, int):
        raise error(EFAULT, "a number was expected")
    return arg


def _has_discard(ops: BlockOps) -> bool:
    return getattr(ops.device.disk, "discard", None) is not None


def _rotational(ops: BlockOps) -> int:
    drive = ops.device.queue.drive
    return int(drive is not None and drive.costs.rotational)


_ANSWERS: dict[int, Any] = {
    abi.BLKGETSIZE64: lambda ops: ops.size,
    abi.BLKGETSIZE: lambda ops: ops.device.disk.sectors,
    abi.BLKSSZGET: lambda ops: SECTOR_SIZE,
    abi.BLKPBSZGET: lambda ops: SECTOR_SIZE,
    abi.BLKBSZGET: lambda ops: BLOCK,
    abi.BLKIOMIN: lambda ops: SECTOR_SIZE,
    abi.BLKIOOPT: lambda ops: 0,
    abi.BLKALIGNOFF: lambda ops: 0,
    abi.BLKSECTGET: lambda ops: 2560,
    abi.BLKROGET: lambda ops: int(ops.device.queue.readonly),
    abi.BLKRAGET: lambda ops: ops.device.readahead,
    abi.BLKFRAGET: lambda ops: ops.device.readahead,
    abi.BLKROTATIONAL: _rotational,
    abi.BLKDISCARDZEROES: lambda ops: 0,
    abi.BLKGETDISKSEQ: lambda ops: ops.device.number + 1,
}
